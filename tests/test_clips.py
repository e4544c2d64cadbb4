import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from told import telling

from featx.clips import ClipSpec, Sampling, Ticks, clip_end, clip_indices, resample, starts
from featx.errors import UsageError

RES3D = ClipSpec(frames=8, step=2, stride=16)


def spec(frames: int = 8, step: int = 2, stride: int = 16, **rest: object) -> ClipSpec:
    return ClipSpec(frames=frames, step=step, stride=stride, **rest)


@pytest.mark.parametrize(
    ("n", "tail", "expected"),
    [
        (0, "drop", []),
        (1, "drop", [0]),
        (15, "drop", [0]),
        (16, "drop", [0]),
        (31, "drop", [0]),
        (32, "drop", [0, 16]),
        (100, "drop", [0, 16, 32, 48, 64, 80]),
        (16, "pad", [0]),
        (17, "pad", [0, 16]),
        (32, "pad", [0, 16]),
        (100, "pad", [0, 16, 32, 48, 64, 80, 96]),
        (15, "pad", [0]),
        (16, "align", [0]),
        (17, "align", [0, 1]),
        (100, "align", [0, 16, 32, 48, 64, 80, 84]),
        (15, "align", [0]),
    ],
)
def test_starts_of_adjacent_clips(n: int, tail: str, expected: list[int]) -> None:
    assert starts(n, spec(tail=tail)) == expected


@pytest.mark.parametrize(
    ("stride", "n", "tail", "expected"),
    [
        (8, 40, "drop", [0, 8, 16, 24]),
        (8, 44, "drop", [0, 8, 16, 24]),
        (8, 44, "pad", [0, 8, 16, 24, 32]),
        (8, 44, "align", [0, 8, 16, 24, 28]),
        (1, 18, "drop", [0, 1, 2]),
        (32, 90, "drop", [0, 32, 64]),
        (32, 90, "pad", [0, 32, 64]),  # frames 80 to 89 lie in the gap between two clips
        (32, 97, "pad", [0, 32, 64, 96]),
        (32, 90, "align", [0, 32, 64, 74]),
    ],
)
def test_starts_with_overlap_and_with_gaps(
    stride: int, n: int, tail: str, expected: list[int]
) -> None:
    assert starts(n, spec(stride=stride, tail=tail)) == expected


@pytest.mark.parametrize(
    ("n", "count", "expected"),
    [
        (100, 1, [42]),  # the middle: 42 frames before the clip of 16, and 42 after it
        (101, 1, [42]),
        (100, 2, [0, 84]),
        (100, 4, [0, 28, 56, 84]),
        (100, 5, [0, 21, 42, 63, 84]),
        (26, 5, [0, 3, 5, 8, 10]),  # 2.5 and 7.5 are rounded up
        (18, 5, [0, 1, 1, 2, 2]),  # three places for five clips: some come again
        (16, 3, [0, 0, 0]),
        (7, 3, [0, 0, 0]),  # looped
        (0, 3, []),
    ],
)
def test_starts_of_clips_evenly_spread(n: int, count: int, expected: list[int]) -> None:
    assert starts(n, spec(count=count)) == expected
    assert starts(n, spec(stride=3, count=count)) == expected


@given(n=st.integers(1, 500), count=st.integers(1, 60), step=st.integers(1, 3))
def test_evenly_spread_clips_are_as_many_as_asked_for_and_at_equal_intervals(
    n: int, count: int, step: int
) -> None:
    chosen = spec(4, step, count=count)
    first = starts(n, chosen)
    assert len(first) == count
    assert first == sorted(first)
    last = max(0, n - chosen.span)
    assert all(
        abs(start - (i + (count == 1) / 2) * last / max(1, count - 1)) <= 0.5
        for i, start in enumerate(first)
    )


def test_settings_without_a_count_are_stored_as_before_there_was_one() -> None:
    assert spec().to_dict() == {"frames": 8, "step": 2, "stride": 16, "fps": None, "tail": "drop"}
    assert spec(count=10).to_dict()["count"] == 10
    assert ClipSpec(**spec(count=10).to_dict()) == spec(count=10)


@pytest.mark.parametrize(
    ("fps", "start", "end", "expected"),
    [
        (None, None, None, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (None, 0.2, 0.5, [2, 3, 4]),
        (None, 0.15, None, [2, 3, 4, 5, 6, 7, 8, 9]),
        (None, None, 0.21, [0, 1, 2]),
        (None, 0.2 + 1e-9, 0.5 + 1e-9, [2, 3, 4]),  # a rounding error moves no frame in or out
        (None, 5.0, 6.0, []),
        (None, 0.5, 0.5, []),
        (5, 0.3, 0.8, [3, 5, 7]),  # the clock starts with the part
        (20, 0.8, None, [8, 8, 9, 9]),
    ],
)
def test_sampled_frames_are_those_of_the_part(
    fps: float | None, start: float | None, end: float | None, expected: list[int]
) -> None:
    """Ten frames a second, from 3 s on: the part is counted from the first frame."""
    times = [3 + i / 10 for i in range(11)]
    sampling = Sampling(fps, start=start, end=end)
    counts = [sampling.on(a, b) for a, b in itertools.pairwise(times)]
    assert [i for i, count in enumerate(counts) for _ in range(count)] == expected
    over = [i for i in range(10) if sampling.over(times[i])]
    assert over == ([] if end is None else [i for i in range(10) if times[i] - 3 >= end - 1e-6])


@pytest.mark.parametrize(
    ("start", "n", "expected"),
    [
        (0, 100, [0, 2, 4, 6, 8, 10, 12, 14]),
        (84, 100, [84, 86, 88, 90, 92, 94, 96, 98]),
        (96, 100, [96, 98, 99, 99, 99, 99, 99, 99]),  # padded: the last frame again
        (0, 5, [0, 2, 4, 1, 3, 0, 2, 4]),  # looped
        (0, 1, [0] * 8),
        (0, 15, [0, 2, 4, 6, 8, 10, 12, 14]),
    ],
)
def test_indices_of_a_clip(start: int, n: int, expected: list[int]) -> None:
    assert clip_indices(start, n, RES3D) == expected


def test_clip_end_stays_inside_the_video() -> None:
    assert [clip_end(s, 100, RES3D) for s in (0, 84, 96)] == [16, 100, 100]
    assert clip_end(0, 5, RES3D) == 5


@given(
    n=st.integers(1, 400),
    frames=st.integers(1, 20),
    step=st.integers(1, 5),
    stride=st.integers(1, 60),
    tail=st.sampled_from(["drop", "pad", "align"]),
)
def test_every_clip_is_well_formed(n: int, frames: int, step: int, stride: int, tail: str) -> None:
    chosen = spec(frames, step, stride, tail=tail)
    first = starts(n, chosen)
    assert first[0] == 0
    assert first == sorted(set(first))
    for start in first:
        indices = clip_indices(start, n, chosen)
        assert len(indices) == frames
        assert all(0 <= i < n for i in indices)
        assert start < clip_end(start, n, chosen) <= n
    # Whole clips are the same whatever the tail; "align" leaves no frame after the last clip.
    whole = starts(n, spec(frames, step, stride))
    assert first[: len(whole)] == whole
    if tail == "align":
        assert clip_end(first[-1], n, chosen) == n


@pytest.mark.parametrize(
    ("times", "end", "fps", "expected"),
    [
        ([0, 0.04, 0.08, 0.12], 0.16, 25, [0, 1, 2, 3]),
        ([0, 0.04, 0.08, 0.12], 0.16, 12.5, [0, 2]),
        ([0, 0.04, 0.08, 0.12], 0.16, 50, [0, 0, 1, 1, 2, 2, 3, 3]),
        ([10, 10.04, 10.08], 10.12, 25, [0, 1, 2]),  # a stream that does not begin at zero
        (
            [0, 0.1, 0.5, 0.52],
            0.6,
            10,
            [0, 1, 1, 1, 1, 2],
        ),  # a frame that stays on screen is shown again
        (
            [0, 0, 0, 0.1],
            0.2,
            10,
            [0, 3],
        ),  # the first frame has the first tick, whatever its duration
        ([5], 5, 25, [0]),  # no duration at all
        ([0], 1, 4, [0, 0, 0, 0]),
    ],
)
def test_resampling_takes_the_frame_on_screen(
    times: list[float], end: float, fps: float, expected: list[int]
) -> None:
    assert resample(times, end, fps) == expected


@pytest.mark.parametrize(
    ("source", "fps"), [(30000 / 1001, 15), (29.97, 10), (25, 24), (24, 25), (60, 12.5)]
)
def test_resampling_keeps_the_duration(source: float, fps: float) -> None:
    times = np.arange(1000) / source
    chosen = resample(list(times), 1000 / source, fps)
    assert len(chosen) == pytest.approx(1000 / source * fps, abs=1)
    assert chosen == sorted(chosen)
    ticks = np.arange(len(chosen)) / fps
    late = ticks - times[chosen]
    assert late.min() > -2e-6
    assert late.max() < 1 / source + 2e-6


def test_ticks_are_the_same_one_frame_at_a_time() -> None:
    times = list(np.cumsum(np.random.default_rng(0).uniform(0, 0.1, 200)))
    ticks = Ticks(12)
    counts = [ticks.on(a, b) for a, b in zip(times, [*times[1:], times[-1] + 0.04], strict=True)]
    assert [i for i, c in enumerate(counts) for _ in range(c)] == resample(
        times, times[-1] + 0.04, 12
    )


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"frames": 0}, ("frames", 0)),
        ({"step": -1}, ("step", -1)),
        ({"stride": 0}, ("stride", 0)),
        ({"stride": 1.5}, ("stride", 1.5)),
        ({"fps": 0.0}, ("fps", 0.0)),
        ({"fps": float("nan")}, ("fps", "nan")),
        ({"tail": "keep"}, ("'keep'", "drop", "pad", "align")),
        ({"frames": 5000, "step": 3}, (15000,)),
        ({"count": 0}, ("clips", 0)),
        ({"count": 2.0}, ("clips", 2.0)),
        ({"count": 3, "tail": "align"}, ("'align'", 3)),
    ],
)
def test_impossible_specs_say_what_is_wrong(
    wrong: dict[str, object], told: tuple[object, ...]
) -> None:
    with pytest.raises(UsageError, match=telling(*told)):
        spec(**wrong)
