"""Frames by number, against decoding everything."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED, encode, needs
from told import telling

from featx.video.reader import VideoError, open_video
from featx.video.seek import NotIndexed, index_video, read_frames

ENCODINGS = {
    "h264": ("a.mp4", "libx264", {"g": "20", "bf": "0"}),
    "h264, B-frames": ("b.mp4", "libx264", {"g": "25", "bf": "3"}),
    "h264, open groups": ("c.mkv", "libx264", {"x264-params": "open-gop=1:keyint=15:bframes=3"}),
    "mpeg4 in AVI": ("d.avi", "mpeg4", {"g": "12"}),
    "mpeg4 in AVI, B-frames": ("e.avi", "mpeg4", {"g": "12", "bf": "2"}),
    "mpeg2": ("f.mpg", "mpeg2video", {"g": "15", "bf": "2"}),
    "vp9": ("g.webm", "libvpx-vp9", {"g": "30", "deadline": "realtime", "cpu-used": "8"}),
}


def all_frames(path: Path) -> tuple[list[np.ndarray], np.ndarray]:
    video = open_video(path)
    images = [frame.image() for frame in video]
    return images, video.times


@pytest.mark.parametrize("name", ENCODINGS)
def test_any_frames_are_those_of_a_whole_decoding(tmp_path: Path, name: str) -> None:
    file, codec, options = ENCODINGS[name]
    path = encode(tmp_path / file, 70, codec=codec, options=options)
    images, times = all_frames(path)
    index = index_video(path)
    assert index.n_frames == len(images) == 70
    np.testing.assert_allclose(index.times, times, atol=1e-6)
    draw = random.Random(0)
    for wanted in (
        [0],
        [69],
        [0, 69],
        list(range(30, 46)),
        [7, 9, 11, 40],
        draw.sample(range(70), 5),
    ):
        try:
            found = read_frames(path, index, wanted)
        except NotIndexed:
            found = read_frames(path, index_video(path, decode=True), wanted)
        assert sorted(found.frames) == sorted(wanted)
        for number, frame in found.frames.items():
            np.testing.assert_array_equal(frame.image(), images[number])
            assert frame.time == pytest.approx(times[number], abs=1e-6)


def test_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    stamps = [0, 40, 80, 400, 440, 900, 940, 980, 1500, 1540]
    path = encode(tmp_path / "v.mkv", 10, pts=stamps)
    index = index_video(path)
    np.testing.assert_allclose(index.times[:-1], np.asarray(stamps) / 1000, atol=1e-3)
    found = read_frames(path, index, [3, 8])
    assert [found.frames[n].time for n in (3, 8)] == pytest.approx([0.4, 1.5], abs=1e-3)


def test_frames_are_resized_as_asked(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", 20)
    found = read_frames(
        path, index_video(path), [5], frame_size=lambda height, width: (height // 2, width // 4)
    )
    assert found.frames[5].image().shape == (32, 20, 3)


def test_a_file_cut_short_is_an_error_or_gives_true_frames(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", 60, options={"g": "10"})
    images, _ = all_frames(path)
    index = index_video(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    assert index_video(path).n_frames < 60
    np.testing.assert_array_equal(read_frames(path, index, [12]).frames[12].image(), images[12])
    with pytest.raises(NotIndexed):
        read_frames(path, index, [55])
    counted = index_video(path, decode=True)
    assert counted.n_frames < 60
    path.write_bytes(data[: len(data) // 3])
    with pytest.raises(VideoError, match=telling("frame", counted.n_frames - 1)):
        read_frames(path, counted, [counted.n_frames - 1])


def test_what_is_no_video_says_why(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(VideoError, match=telling("empty")):
        index_video(tmp_path / "empty.mp4")
    with pytest.raises(VideoError, match=telling(os.strerror(errno.ENOENT))):
        index_video(tmp_path / "nothing.mp4")


@needs("ucf101", "hmdb51", "videos")
def test_real_videos_give_the_frames_of_a_whole_decoding() -> None:
    draw = random.Random(0)
    paths = sorted((SHARED / "ucf101" / "UCF-101").glob("*/*.avi"))
    paths = (
        draw.sample(paths, 6)
        + sorted((SHARED / "hmdb51" / "videos").rglob("*.avi"))[:2]
        + sorted(SHARED.glob("videos/*"))[:4]
    )
    for path in paths:
        images, times = all_frames(path)
        index = index_video(path)
        assert index.n_frames == len(images)
        np.testing.assert_allclose(index.times, times, atol=1e-6)
        first = draw.randrange(max(1, len(images) - 16))
        for number, frame in read_frames(
            path, index, range(first, min(first + 16, len(images)))
        ).frames.items():
            np.testing.assert_array_equal(frame.image(), images[number])
