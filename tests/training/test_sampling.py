"""Draws of training clips: their distributions, counted."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from told import telling

from featx.clips import ClipSpec
from featx.errors import UsageError
from featx.training.sampling import (
    AUGMENTATIONS,
    MULTI_SCALE,
    Augmentation,
    augmentation,
    draw_crop,
    draw_flip,
    draw_frames,
    draw_window,
)
from featx.transforms import TRAN2017

HARA = ClipSpec(frames=16, stride=16)
RES3D = ClipSpec(frames=8, step=2, stride=16)


def even(counts: Counter[object] | Counter[int], outcomes: int, draws: int) -> bool:
    """Whether all outcomes came, each within five standard deviations of its share: wrong once in a million runs, and seeded."""
    share = 1 / outcomes
    spread = 5 * np.sqrt(draws * share * (1 - share))
    return len(counts) == outcomes and all(abs(n - draws * share) < spread for n in counts.values())


@pytest.mark.parametrize("clip", [HARA, RES3D])
def test_a_clip_begins_anywhere_inside_the_video_with_the_same_chance(clip: ClipSpec) -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_frames(rng, 40, clip, AUGMENTATIONS["spatial-center"]) for _ in range(5_000)]
    assert even(Counter(d[0] for d in drawn), 40 - clip.span + 1, 5_000)
    assert all(np.diff(d).tolist() == [clip.step] * (clip.frames - 1) for d in drawn)


def test_a_video_shorter_than_a_clip_is_looped() -> None:
    rng = np.random.default_rng(0)
    assert draw_frames(rng, 5, HARA, AUGMENTATIONS["spatial-random"]) == [
        *range(5),
        *range(5),
        *range(5),
        0,
    ]
    assert draw_frames(rng, 16, HARA, AUGMENTATIONS["spatial-random"]) == list(range(16))
    assert draw_frames(rng, 1, RES3D, AUGMENTATIONS["tran2017"]) == [0] * 8


def test_temporal_scales_take_the_nearest_frames_of_a_longer_or_shorter_stretch() -> None:
    rng = np.random.default_rng(0)
    drawn = [
        draw_frames(rng, 200, HARA, AUGMENTATIONS["multi-scale-spatiotemporal-random"])
        for _ in range(5_000)
    ]
    kinds = Counter(tuple(np.subtract(d, d[0]).tolist()) for d in drawn)
    half = tuple(k // 2 for k in range(16))  # "make two copies of each frame"
    third = tuple(k * 5 // 16 for k in range(16))  # 16 / 3 frames, a fraction of a frame left out
    assert even(kinds, 5, 5_000)
    assert set(kinds) == {
        tuple(range(0, 48, 3)),
        tuple(range(0, 32, 2)),
        tuple(range(16)),
        half,
        third,
    }
    assert max(max(d) for d in drawn) <= 199


def test_frames_are_spread_evenly_over_the_whole() -> None:
    rng, row = np.random.default_rng(0), AUGMENTATIONS["scnn"]
    # S-CNN's 16 frames at start + k * L / 16 of its longest window; 8 of it for Res3D.
    assert draw_frames(rng, 512, HARA, row) == list(range(0, 512, 32))
    assert draw_frames(rng, 512, RES3D, row) == list(range(0, 512, 64))
    assert draw_frames(rng, 16, HARA, row) == list(range(16))
    assert draw_frames(rng, 20, RES3D, row) == [0, 2, 5, 7, 10, 12, 15, 17]
    assert draw_frames(rng, 3, RES3D, row) == [0, 0, 0, 1, 1, 1, 2, 2]
    assert rng.random() == np.random.default_rng(0).random()  # nothing was drawn


def test_the_crops_of_good_practices_five_configurations() -> None:
    rng = np.random.default_rng(0)
    names = [
        "spatial-center",
        "spatial-random",
        "multi-scale-spatial-random",
        "multi-scale-spatial-corner",
    ]
    center, uniform, multi, corner = (
        [draw_crop(rng, 240, 320, 112, AUGMENTATIONS[n]) for _ in range(6_000)] for n in names
    )
    assert {(c.top, c.left, c.side) for c in center} == {(0, 40, 240)}
    assert {(c.top, c.side) for c in uniform} == {(0, 240)}
    assert even(Counter(c.left for c in uniform), 81, 6_000)
    sides = [240, 202, 170, 143, 120]  # 240 / 2^(k/4)
    assert even(Counter(c.side for c in multi), 5, 6_000)
    assert even(Counter(c.side for c in corner), 5, 6_000)
    assert {c.side for c in multi} == {c.side for c in corner} == set(sides)
    small = [c for c in multi if c.side == 120]
    assert even(Counter(c.top // 11 for c in small), 11, len(small))
    assert even(Counter(c.left // 67 for c in small), 3, len(small))
    assert (min(c.top for c in small), max(c.top for c in small)) == (0, 120)
    assert max(c.left for c in small) == 200
    for side in sides:
        down, right = 240 - side, 320 - side
        places = Counter((c.top, c.left) for c in corner if c.side == side)
        expected = {(down // 2, right // 2), (0, 0), (0, right), (down, 0), (down, right)}
        assert set(places) == expected
    # At full scale two of the five corners lie above each other: places with unequal chances, the corners' being equal.
    half = Counter((c.top, c.left) for c in corner if c.side == 120)
    assert even(half, 5, sum(half.values()))


def test_trans_crops_are_as_large_as_the_input_and_lie_anywhere() -> None:
    rng = np.random.default_rng(0)
    crops = [draw_crop(rng, 128, 171, 112, AUGMENTATIONS["tran2017"]) for _ in range(6_000)]
    assert {c.side for c in crops} == {112}
    assert even(Counter(c.top for c in crops), 17, 6_000)
    assert even(Counter(c.left for c in crops), 60, 6_000)


def test_the_asymmetric_papers_crops_lie_in_the_corners_and_the_centre() -> None:
    rng = np.random.default_rng(0)
    crops = Counter(
        (c.top, c.left)
        for c in (draw_crop(rng, 128, 171, 112, AUGMENTATIONS["asymmetric"]) for _ in range(5_000))
    )
    assert set(crops) == {(8, 29), (0, 0), (0, 59), (16, 0), (16, 59)}
    assert even(crops, 5, 5_000)


@pytest.mark.parametrize("name", [n for n in AUGMENTATIONS if n != "none"])
def test_half_of_the_clips_are_mirrored(name: str) -> None:
    rng = np.random.default_rng(0)
    assert even(Counter(draw_flip(rng, AUGMENTATIONS[name]) for _ in range(4_000)), 2, 4_000)
    assert not any(draw_flip(rng, AUGMENTATIONS["none"]) for _ in range(100))


def test_sports_1m_draws_from_five_two_second_windows_that_stay_the_same() -> None:
    row = AUGMENTATIONS["tran2017-sports1m"]
    windows = [draw_window((0, 4, 7), choice, 5_000, 25.0, 16, row) for choice in range(10)]
    assert [len(w) for w in windows] == [50] * 10
    assert windows[:5] == windows[5:]
    assert len({w.start for w in windows}) == 5
    assert windows[0] != draw_window((0, 4, 8), 0, 5_000, 25.0, 16, row)
    assert draw_window((0,), 3, 20, 25.0, 16, row) == range(20)  # a video shorter than a window
    assert len(draw_window((0,), 3, 300, 2.0, 16, row)) == 16  # a window always holds a clip
    assert draw_window((0,), 3, 300, 25.0, 16, AUGMENTATIONS["tran2017"]) == range(300)


def test_scales_are_the_papers() -> None:
    assert np.allclose(MULTI_SCALE, [1, 0.840896, 0.707107, 0.594604, 0.5], atol=1e-6)
    assert AUGMENTATIONS["multi-scale-spatial-random"].largest_side(TRAN2017) == 240
    assert AUGMENTATIONS["tran2017"].largest_side(TRAN2017) == 112


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"position": "middle"}, ("position", "'middle'")),
        ({"position": "center", "scales": (1.5,)}, ("scales", 1.5)),
        ({"position": "center", "temporal_scales": ()}, ("temporal", "()")),
        ({"position": "center", "flip": 2.0}, ("flip", 2.0)),
        ({"position": "center", "frame_size": 0}, (0,)),
        ({"position": "center", "windows": -1}, ("windows", -1)),
    ],
)
def test_wrong_augmentations_are_told(values: dict[str, object], told: tuple[object, ...]) -> None:
    with pytest.raises(UsageError, match=telling(*told)):
        Augmentation(**values)  # type: ignore[arg-type]


def test_a_crop_larger_than_the_frame_and_an_unknown_name_are_told() -> None:
    with pytest.raises(UsageError, match=telling("128x100", 112)):
        draw_crop(np.random.default_rng(0), 128, 100, 112, AUGMENTATIONS["tran2017"])
    with pytest.raises(UsageError, match=telling("'spatial-centre'", "spatial-center")):
        augmentation("spatial-centre")
