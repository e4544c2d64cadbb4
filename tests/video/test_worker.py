"""Clips as a worker makes them, against the index arithmetic applied to all of the video's frames at once."""

from pathlib import Path

import numpy as np
import pytest
from conftest import encode
from told import telling

from featx.clips import ClipSpec, Sampling, clip_end, clip_indices, resample, starts
from featx.video.cutting import clips_of, sampled_frames, summarise
from featx.video.reader import VideoError, open_video

SPECS = [
    ClipSpec(frames=8, step=2, stride=16),
    ClipSpec(frames=8, step=2, stride=5, tail="pad"),
    ClipSpec(frames=8, step=2, stride=16, tail="align"),
    ClipSpec(frames=4, step=3, stride=7),
    ClipSpec(frames=2, step=1, stride=9, tail="pad"),
    ClipSpec(frames=1, step=1, stride=8),
    ClipSpec(frames=8, step=2, stride=16, fps=50),
    ClipSpec(frames=4, step=1, stride=4, fps=10, tail="align"),
    ClipSpec(frames=16, step=4, stride=64),
    ClipSpec(frames=8, step=2, stride=16, count=1),
    ClipSpec(frames=8, step=2, stride=16, count=10),
    ClipSpec(frames=2, step=1, stride=2, fps=50, count=4),
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 45])
def test_clips_are_those_of_the_arithmetic(tmp_path: Path, spec: ClipSpec, n: int) -> None:
    path = encode(tmp_path / "a.mp4", n)
    everything = [(f.time, f.end, f.image()) for f in open_video(path)]
    sampled = list(range(n))
    if spec.fps is not None:
        sampled = resample([t for t, _, _ in everything], everything[-1][1], spec.fps)

    video = open_video(path, in_time_order=spec.fps is not None)
    counted = None
    if spec.count is not None:
        again = open_video(path, in_time_order=spec.fps is not None)
        counted = sum(shown for _, shown in sampled_frames(again, Sampling(spec.fps)))
        assert counted == len(sampled)
    made = list(clips_of(video, spec, lambda image: image, n_sampled=counted))
    first = starts(len(sampled), spec)
    assert [number for number, _ in made] == list(range(len(first)))
    for (_, frames), start in zip(made, first, strict=True):
        wanted = [everything[sampled[i]][2] for i in clip_indices(start, len(sampled), spec)]
        np.testing.assert_array_equal(np.stack(frames), np.stack(wanted))

    summary = summarise(video, spec)
    assert summary.frames == n
    assert summary.looped == (len(sampled) < spec.span)
    bounds = [*sampled, n]
    for start, (begin, end) in zip(first, summary.clip_frames, strict=True):
        assert begin == sampled[start]
        assert end == max(begin + 1, bounds[clip_end(start, len(sampled), spec)])
    times = [t for t, _, _ in everything] + [everything[-1][1]]
    np.testing.assert_allclose(summary.clip_times, np.asarray(times)[summary.clip_frames])
    assert summary.duration_s == pytest.approx(n / 25)


def test_adjacent_clips_share_no_frame_whatever_the_rate(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", 120)
    for fps in (None, 12.5, 15, 24):
        spec = ClipSpec(frames=4, step=2, stride=8, fps=fps)
        video = open_video(path, in_time_order=True)
        assert len(list(clips_of(video, spec, lambda image: image))) > 5
        places = summarise(video, spec).clip_frames
        assert (places[1:, 0] == places[:-1, 1]).all()


def test_only_frames_that_a_clip_shows_are_converted(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", 96)
    converted = []
    spec = ClipSpec(frames=8, step=2, stride=16)
    list(clips_of(open_video(path), spec, lambda image: converted.append(1) or image))
    # All of the first span, which would be looped if the video ended in it, and half of the rest.
    assert len(converted) == 16 + 40


def test_of_evenly_spread_clips_only_the_frames_shown_are_converted(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", 96)
    converted = []
    spec = ClipSpec(frames=8, step=2, stride=16, count=3)
    made = list(
        clips_of(open_video(path), spec, lambda image: converted.append(1) or image, n_sampled=96)
    )
    assert len(made) == 3
    assert len(converted) == 24


def test_evenly_spread_clips_of_another_number_of_frames_than_were_counted_are_refused(
    tmp_path: Path,
) -> None:
    path = encode(tmp_path / "a.mp4", 40)
    spec = ClipSpec(frames=8, step=2, stride=16, count=3)
    for counted in (39, 41):
        with pytest.raises(VideoError, match=telling(counted, 40)):
            list(clips_of(open_video(path), spec, lambda image: image, n_sampled=counted))
    with pytest.raises(ValueError):
        list(clips_of(open_video(path), spec, lambda image: image))


@pytest.mark.parametrize("spec", [SPECS[0], SPECS[2], SPECS[6], SPECS[10]], ids=str)
def test_clips_of_a_part_are_those_of_a_video_that_has_only_the_part(
    tmp_path: Path, spec: ClipSpec
) -> None:
    """Frames 10 to 49 of 60 at 25 a second; what comes after the part is not decoded."""
    path = encode(tmp_path / "a.mp4", 60)
    images = [f.image() for f in open_video(path)]
    n = 40 * (2 if spec.fps else 1)
    parted = {"start": 0.4, "end": 2.0}
    video = open_video(path, in_time_order=True)
    sampling = Sampling(spec.fps, **parted)
    made = list(
        clips_of(
            video, spec, lambda image: image, sampling=sampling, n_sampled=n if spec.count else None
        )
    )
    assert len(made) == len(starts(n, spec))
    for (_, frames), start in zip(made, starts(n, spec), strict=True):
        wanted = [images[10 + (i // 2 if spec.fps else i)] for i in clip_indices(start, n, spec)]
        np.testing.assert_array_equal(np.stack(frames), np.stack(wanted))
    summary = summarise(video, spec, sampling=Sampling(spec.fps, **parted))
    assert summary.clip_frames.min() >= 10
    assert summary.clip_frames.max() <= 50
    assert summary.clip_times.min() == pytest.approx(0.4)
    assert summary.frames == 51


def test_a_part_without_a_frame_is_a_failure_that_says_so(tmp_path: Path) -> None:
    video = open_video(encode(tmp_path / "a.mp4", 20), in_time_order=True)
    with pytest.raises(VideoError, match=telling(3, "4 s")):
        list(
            clips_of(
                video, SPECS[0], lambda image: image, sampling=Sampling(None, start=3.0, end=4.0)
            )
        )


def test_memory_is_bounded_by_the_span(tmp_path: Path) -> None:
    import weakref

    path = encode(tmp_path / "a.mp4", 300)
    alive: list[weakref.ref] = []
    most = 0

    class Kept(np.ndarray):
        pass

    def cut(image: np.ndarray) -> np.ndarray:
        nonlocal most
        kept = image[:4, :4].copy().view(Kept)
        alive.append(weakref.ref(kept))
        most = max(most, sum(r() is not None for r in alive))
        return kept

    for _ in clips_of(open_video(path), ClipSpec(frames=8, step=1, stride=2, tail="align"), cut):
        pass
    assert len(alive) == 300
    assert most <= 8 + 2


def test_a_broken_timestamp_does_not_make_any_number_of_clips(tmp_path: Path) -> None:
    path = encode(
        tmp_path / "a.mp4", 40, pts=[40 * i + (100_000_000 if i > 20 else 0) for i in range(40)]
    )
    spec = ClipSpec(frames=1, step=1, stride=16, fps=25)
    with pytest.raises(VideoError, match=telling("frame 20", "100000 s")):
        list(clips_of(open_video(path, in_time_order=True), spec, lambda image: image))
    assert (
        len(
            list(
                clips_of(
                    open_video(path), ClipSpec(frames=8, step=1, stride=8), lambda image: image
                )
            )
        )
        == 5
    )


def test_a_rate_that_the_frames_times_belie_is_not_repeated(tmp_path: Path) -> None:
    video = open_video(encode(tmp_path / "a.mp4", 40, pts=[115 * i for i in range(40)]))
    list(video)
    assert summarise(video, ClipSpec(frames=8, step=1, stride=8)).fps == pytest.approx(
        1000 / 115, rel=0.03
    )
