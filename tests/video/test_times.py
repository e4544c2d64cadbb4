"""Times of frames: a table of timestamps and what must come of them, and files in which they occur."""

from __future__ import annotations

import math
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import encode

from featx.clips import ClipSpec
from featx.video.cutting import clips_of, summarise
from featx.video.reader import open_video
from featx.video.seek import index_video, read_frames
from featx.video.times import Clock, stretch_times

NO = math.nan


@pytest.mark.parametrize(
    ("stamps", "shown", "guessed"),
    [
        ([1.0, 1.04, 1.09], [1.0, 1.04, 1.09], 0),
        ([0.0, 0.12, 0.04, 0.08], [0.0, 0.04, 0.08, 0.12], 0),  # AVI: the times are guesses
        ([0.0, 0.0, 0.0], [0.0, 0.04, 0.08], 2),
        ([0.0, 0.0, 0.08, 0.08], [0.0, 0.04, 0.08, 0.12], 2),
        ([0.0, 0.0, 0.0, 0.03], [0.0, 0.01, 0.02, 0.03], 2),
        ([0.0, 0.0, 9.0], [0.0, 0.04, 9.0], 1),
        ([NO, NO, NO], [0.0, 0.04, 0.08], 3),
        ([NO, NO, 0.0, 0.04], [-0.08, -0.04, 0.0, 0.04], 2),
        ([0.0, NO, 0.08, NO], [0.0, 0.04, 0.08, 0.12], 2),
        ([NO], [0.0], 1),
    ],
)
def test_times_of_a_stretch(stamps: list[float], shown: list[float], guessed: int) -> None:
    times, count = stretch_times(np.array(stamps), 25)
    np.testing.assert_allclose(times, shown, atol=1e-12)
    assert count.sum() == guessed


def test_a_new_stretch_goes_on_when_the_last_frame_leaves_the_screen() -> None:
    clock = Clock(25)
    for stamp, after in (
        (5.0, None),
        (5.04, None),
        (1.0, 0.02),
        (1.1, None),
        (NO, 0.5),
        (NO, None),
    ):
        clock.add(stamp, restarts_after=after)
    times, guessed = clock.shown()
    np.testing.assert_allclose(times, [5.0, 5.04, 5.06, 5.16, 5.66, 5.7], atol=1e-12)
    assert guessed.tolist() == [False] * 4 + [True] * 2


def twice(path: Path, codec: str, **options: str) -> Path:
    """Write 40 frames twice, one recording after the other, as recorders do."""
    content = encode(path, 40, codec=codec, options={"g": "10", **options}).read_bytes()
    path.write_bytes(content * 2)
    return path


RECORDINGS = [
    ("a.ts", "libx264", {"bf": "3"}),
    ("b.ts", "libx264", {"bf": "0"}),
    ("c.mpg", "mpeg2video", {"bf": "2"}),
    ("d.ts", "mpeg2video", {"bf": "0"}),
]


@pytest.mark.parametrize(("name", "codec", "options"), RECORDINGS)
@pytest.mark.parametrize("in_time_order", [False, True])
def test_two_recordings_one_after_the_other_are_shown_one_after_the_other(
    tmp_path: Path, name: str, codec: str, options: dict[str, str], in_time_order: bool
) -> None:
    video = open_video(twice(tmp_path / name, codec, **options), in_time_order=in_time_order)
    frames = [(f.time, f.image().mean()) for f in video]
    assert (video.n_frames, video.discontinuities, video.guessed_times) == (80, 1, 0)
    times = video.times
    np.testing.assert_allclose(times - times[0], np.arange(81) / 25, atol=1e-6)
    np.testing.assert_array_equal([time for time, _ in frames], times[:-1])
    means = np.array([mean for _, mean in frames])
    np.testing.assert_allclose(means[:40], means[40:], atol=1)


def test_every_frame_of_both_recordings_is_sampled_at_their_rate(tmp_path: Path) -> None:
    path = twice(tmp_path / "a.ts", "libx264")
    spec = ClipSpec(frames=4, step=1, stride=4, fps=25)
    video = open_video(path, in_time_order=True)
    assert len(list(clips_of(video, spec, lambda image: image))) == 20
    summary = summarise(video, spec)
    assert (summary.frames, summary.fps, summary.discontinuities) == (80, 25, 1)
    assert summary.duration_s == pytest.approx(3.2)
    np.testing.assert_array_equal(summary.clip_frames[:, 0], np.arange(0, 80, 4))
    assert summary.attributes()["discontinuities"] == 1
    assert "guessed_times" not in summary.attributes()


@pytest.mark.parametrize(("name", "codec", "options"), RECORDINGS)
def test_frames_of_the_second_recording_are_found_by_number(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    path = twice(tmp_path / name, codec, **options)
    images = [frame.image() for frame in open_video(path)]
    index = index_video(path)
    assert index.n_frames == 80
    found = read_frames(path, index, [3, 43, 79])
    for number, frame in found.frames.items():
        np.testing.assert_array_equal(frame.image(), images[number])
    assert found.frames[43].time - found.frames[3].time == pytest.approx(1.6)


def without_times(path: Path, known: int, *, reordered: bool) -> Path:
    """Write Matroska whose times are negative before frame `known`: FFmpeg reads them as absent."""
    source = encode(path.with_suffix(".mp4"), 30, options={"bf": "2" if reordered else "0"})
    with (
        av.open(str(source)) as given,
        av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as output,
    ):
        stream = given.streams.video[0]
        copied = output.add_stream_from_template(stream)
        for packet in given.demux(stream):
            if packet.size:
                shift = round(known / 25 / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = copied
                output.mux(packet)
    return path


@pytest.mark.parametrize("reordered", [False, True])
@pytest.mark.parametrize("in_time_order", [False, True])
def test_frames_before_the_first_time_come_before_it(
    tmp_path: Path, reordered: bool, in_time_order: bool
) -> None:
    path = without_times(tmp_path / "a.mkv", 5, reordered=reordered)
    video = open_video(path, in_time_order=in_time_order)
    times = [frame.time for frame in video]
    assert (video.n_frames, video.guessed_times, video.discontinuities) == (30, 5, 0)
    np.testing.assert_allclose(video.times, np.arange(-5, 26) / 25, atol=1e-3)
    if in_time_order:
        np.testing.assert_array_equal(times, video.times[:-1])
    np.testing.assert_array_equal(index_video(path).times, video.times)


def test_no_clip_of_frames_without_times_has_zero_length(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.h264", 20)
    video = open_video(path)
    spec = ClipSpec(frames=1, step=1, stride=1)
    assert len(list(clips_of(video, spec, lambda image: image))) == 20
    summary = summarise(video, spec)
    assert summary.guessed_times == 20
    np.testing.assert_allclose(np.diff(summary.clip_times, axis=1), 1 / 25)
