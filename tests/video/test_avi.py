"""AVI: times by its chunks and its index, whole and damaged."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from odd_videos import write

from featx.clips import ClipSpec
from featx.video.cutting import summarise
from featx.video.decoders._avi import ShownTimes, claimed_frames, steps
from featx.video.reader import VideoReader, open_video
from featx.video.seek import index_video, read_frames

CODECS = [("libx264", {"bf": "3", "g": "10"}), ("libx264", {"bf": "0"})]


def read(path: Path, **options: bool) -> tuple[VideoReader, list[np.ndarray]]:
    video = open_video(path, **options)
    return video, [frame.image() for frame in video]


@pytest.mark.parametrize(("codec", "options"), CODECS)
@pytest.mark.parametrize("in_time_order", [False, True])
def test_reordered_frames_are_shown_at_their_own_times(
    tmp_path: Path, codec: str, options: dict[str, str], in_time_order: bool
) -> None:
    how = {"codec": codec, "options": options}
    path = write(tmp_path / "a.avi", **how)
    video = open_video(path, in_time_order=in_time_order)
    times = [frame.time for frame in video]
    np.testing.assert_allclose(video.times, np.arange(41) / 25, atol=1e-9)  # as they were encoded
    np.testing.assert_array_equal(times, video.times[:-1])
    assert (video.info.container_frames, video.damaged_frames) == (40, 0)
    images = read(path)[1]
    for shown, truth in zip(images, read(write(tmp_path / "a.mp4", **how))[1], strict=True):
        np.testing.assert_array_equal(shown, truth)
    index = index_video(path)
    np.testing.assert_allclose(index.times, video.times, atol=1e-9)
    np.testing.assert_array_equal(read_frames(path, index, [23]).frames[23].image(), images[23])


def test_empty_chunks_prolong_the_frame_before_them(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    halves = {"pts": range(0, 80, 2), "time_base": Fraction(1, 50)}
    write(path, options={"bf": "3"}, **halves)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 80  # the point of this file
    video, _ = read(path)
    np.testing.assert_allclose(video.times, np.arange(41) / 25, atol=1e-9)
    spec = ClipSpec(frames=8, step=1, stride=8)
    summary = summarise(video, spec)
    assert (summary.frames, summary.container_frames, summary.fps) == (40, 40, 25)


DAMAGED = [("libx264", {"bf": "3", "g": "10"}), ("mpeg4", {"bf": "2", "g": "10"})]


@pytest.mark.parametrize(("codec", "options"), DAMAGED)
def test_lost_chunks_are_counted_and_do_not_shift_the_frames_after_them(
    tmp_path: Path, codec: str, options: dict[str, str]
) -> None:
    whole = write(tmp_path / "a.avi", codec=codec, options=options)
    with av.open(str(whole)) as container:
        chunks = [p.pos - 8 for p in container.demux(video=0) if p.size]
    content = bytearray(whole.read_bytes())
    content[chunks[12] : chunks[16]] = bytes(chunks[16] - chunks[12])
    path = tmp_path / "b.avi"
    path.write_bytes(content)
    sound, images = read(whole)
    video, found = read(path)
    assert video.n_frames < 40
    assert video.damaged_frames >= 4
    places = np.searchsorted(sound.times, video.times[:-1] - 1e-6)
    np.testing.assert_allclose(sound.times[places], video.times[:-1], atol=1e-9)
    later = [n for n, place in enumerate(places) if place >= 24]
    assert places[later].tolist() == list(range(24, 40))
    for n in later:
        np.testing.assert_array_equal(found[n], images[places[n]])


def test_shown_times_of_a_group_of_which_a_frame_is_lost() -> None:
    times = ShownTimes()
    for time in range(6):
        times.decoded(time)
    times.lost(3)  # decoded as 0 1 2 3 4 5, shown as 0 3 2 4 1 5
    assert [times.frame(t) for t in (0, 2, 4, 1, 5)] == [0, 1, 3, 4, 5]


def test_a_chunk_of_which_nothing_comes_keeps_its_time() -> None:
    times = ShownTimes()
    shown = []
    for time in range(60):
        times.decoded(time)
        if time != 20:
            shown.append(times.frame(time))
    assert shown[:20] == list(range(20))
    assert shown[-20:] == list(range(40, 60))
    assert (np.diff(shown) > 0).all()


@pytest.mark.parametrize(
    ("chunks", "codec", "numbers", "frames"),
    [
        (100, "h264", [], 100),  # no index
        (100, "h264", range(100), 100),
        (200, "h264", range(0, 200, 2), 100),
        (200, "mpeg4", range(0, 200, 2), 100),
        (10, "h264", [0, 1, 2, 5, 9], 5),
        (173, "mpeg4", range(172), 173),
        (1000, "h264", range(0, 200, 2), 901),  # a header that claims too much goes on doing so
    ],
)
def test_frames_that_an_avi_claims(
    chunks: int, codec: str, numbers: list[int], frames: int
) -> None:
    index = [(100 * n, n) for n in numbers]
    assert claimed_frames(chunks, codec, index) == frames
    assert steps(index) == (2 if list(numbers)[:2] == [0, 2] else 1)
