"""Frames that damage costs are counted, and none are where a sound video has gaps in its times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from odd_videos import COUNT, pictures, write

from featx.video.reader import VideoReader, open_video


def read(path: Path) -> VideoReader:
    video = open_video(path)
    for _ in video:
        pass
    return video


def packets(path: Path) -> list[tuple[int, int]]:
    """Return where each packet's bytes begin and end."""
    with av.open(str(path)) as container:
        return [(p.pos, p.pos + p.size) for p in container.demux(video=0) if p.size]


def damaged(path: Path, *spans: tuple[int, int], zeros: bool = False) -> Path:
    """Write noise, or zeros, over parts of a copy of a file."""
    content = bytearray(path.read_bytes())
    for start, end in spans:
        noise = np.random.default_rng(start).integers(0, 256, end - start, dtype=np.uint8)
        content[start:end] = bytes(end - start) if zeros else noise.tobytes()
    target = path.with_name(f"damaged_{path.name}")
    target.write_bytes(content)
    return target


FORMATS: list[tuple[str, dict[str, Any]]] = [
    ("a.avi", {"codec": "flv"}),
    ("a.avi", {"codec": "wmv1"}),
    ("a.avi", {"codec": "wmv2"}),
    ("a.avi", {"codec": "msmpeg4"}),
    ("a.avi", {"codec": "ffv1"}),
    ("a.avi", {"codec": "huffyuv", "pix_fmt": "yuv422p"}),
    ("a.3gp", {"codec": "h263"}),
    ("a.mov", {"codec": "prores", "pix_fmt": "yuv422p10le"}),
    ("a.mov", {"codec": "png", "pix_fmt": "rgb24"}),
    ("a.mov", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
]


@pytest.mark.parametrize(("name", "how"), FORMATS)
def test_a_packet_that_gives_no_frame_is_a_lost_frame(
    tmp_path: Path, name: str, how: dict[str, Any]
) -> None:
    path = write(tmp_path / name, pictures(20, (96, 128)), **how)
    assert (read(path).n_frames, read(path).damaged_frames) == (20, 0)
    places = packets(path)
    # Some decoders make a frame of zeros: there the chunks' headers go too, as the index tells.
    spans = [(places[8][0] - 8, places[11][1])] if name.endswith("avi") else places[8:12]
    video = read(damaged(path, *spans, zeros=True))
    assert video.n_frames + video.damaged_frames >= 20
    assert video.damaged_frames >= 1


def test_small_packets_of_h264_are_frames(tmp_path: Path) -> None:
    still = [pictures(1, (32, 32))[0]] * 60
    path = write(tmp_path / "a.avi", still, options={"g": "20", "bf": "0"})
    places = packets(path)
    assert sum(end - start <= 16 for start, end in places) > 40  # the point of this file
    assert read(path).damaged_frames == 0
    video = read(damaged(path, *places[20:26], zeros=True))
    assert video.damaged_frames >= 60 - video.n_frames > 0


HOLES: list[tuple[str, dict[str, Any]]] = [
    ("a.mkv", {"options": {"g": "10", "bf": "2"}}),
    ("a.mkv", {"options": {"g": "10", "bf": "0"}, "audio_seconds": 1.6}),
    ("a.webm", {"codec": "libvpx", "options": {"g": "10", "deadline": "realtime"}}),
    ("a.flv", {"codec": "flv", "container": "flv", "options": {"g": "10"}}),
]
STREAM = {"container": "mpegts", "options": {"g": "10", "bf": "0"}}


@pytest.mark.parametrize(("name", "how"), HOLES)
def test_frames_that_fell_into_a_hole_in_the_file_are_counted(
    tmp_path: Path, name: str, how: dict[str, Any]
) -> None:
    short = {"muxer": {"cluster_time_limit": "400"}} if name.endswith(("mkv", "webm")) else {}
    path = write(tmp_path / name, **how, **short)
    assert (read(path).n_frames, read(path).damaged_frames) == (COUNT, 0)
    places = packets(path)
    video = read(damaged(path, (places[12][0] - 14, places[17][0] - 14)))
    assert video.n_frames < COUNT
    assert abs(video.n_frames + video.damaged_frames - COUNT) <= 2


def test_frames_that_a_transport_stream_marks_as_lost_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ts", **STREAM)
    size = path.stat().st_size
    videos = [read(damaged(path, (size * n // 10, size * (n + 1) // 10))) for n in (3, 4, 5, 6, 7)]
    # Its packets are numbered from 0 to 15: one hole in 16 shows no gap in the numbers.
    counted = sum(video.n_frames + video.damaged_frames >= COUNT - 1 for video in videos)
    assert counted >= 3
    assert max(video.n_frames + video.damaged_frames for video in videos) <= COUNT + 4


@pytest.mark.parametrize(("name", "how"), [*HOLES, ("a.ts", STREAM)])
def test_gaps_in_the_times_of_a_sound_video_are_no_losses(
    tmp_path: Path, name: str, how: dict[str, Any]
) -> None:
    paused = [k + (k // 3) * 2 + (k > 20) * 100 for k in range(COUNT)]
    video = read(write(tmp_path / name, pts=paused, **how))
    assert np.diff(video.times).max() > 3.9
    assert (video.n_frames, video.damaged_frames) == (COUNT, 0)


def test_an_alpha_channel_beside_the_frames_is_no_hole(tmp_path: Path) -> None:
    paused = [k + (k > 20) * 100 for k in range(COUNT)]
    how = {"codec": "libvpx", "pix_fmt": "yuva420p", "options": {"auto-alt-ref": "0"}}
    video = read(write(tmp_path / "a.webm", pts=paused, **how))
    assert (video.n_frames, video.damaged_frames) == (COUNT, 0)


PRINTED: list[tuple[str, dict[str, Any]]] = [
    ("a.mkv", {"codec": "ffv1", "options": {"level": "3", "slicecrc": "1", "g": "1"}}),
    ("a.mov", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
]


@pytest.mark.parametrize(("name", "how"), PRINTED)
def test_damage_that_a_decoder_only_prints_is_counted(
    tmp_path: Path, name: str, how: dict[str, Any]
) -> None:
    path = write(tmp_path / name, pictures(20), **how)
    level = av.logging.get_level()
    places = [packets(path)[n] for n in (5, 9, 13)]
    middles = [((a + b) // 2, (a + b) // 2 + 40) for a, b in places]
    video = read(damaged(path, *middles))
    assert (video.n_frames, video.damaged_frames) == (20, 3)
    assert av.logging.get_level() == level
