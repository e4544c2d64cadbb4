"""What S-CNN's networks are trained on: windows matched by hand, and how the sets are balanced."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SHARED, encode, needs
from told import telling, tells

from featx.clips import clip_indices, placed, resample, window_spec
from featx.datasets import Dataset, Item
from featx.datasets.thumos14 import read_annotations
from featx.datasets.untrimmed import Instance
from featx.errors import FeatxError, UsageError
from featx.tasks.localization import Matching
from featx.tasks.localization._train import slide
from featx.tasks.localization._training_sets import (
    Matched,
    Slid,
    match,
    notes_on,
    slid,
    training_set,
)
from featx.tasks.localization._types import tiou_of
from featx.training.clips import DrawSettings
from featx.training.loader import Loader, Stream
from featx.training.sampling import AUGMENTATIONS
from featx.transforms import Transform
from featx.video.reader import open_video

MATCHING = Matching()
TRANSFORM = Transform(resize=(32, 40), crop=24, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
CLASSES = ("dive", "jump")


def spans_of(spans: list[tuple[float, float]], video: str = "v") -> Slid:
    """Windows of these seconds, at 25 frames a second."""
    begin, end = np.array(spans, np.float64).reshape(-1, 2).T
    frames = np.round(begin * 25).astype(np.int64)
    return Slid(
        video=video,
        path=f"{video}.mp4",
        start=frames,
        length=np.round(end * 25).astype(np.int64) - frames,
        begin=begin,
        end=end,
    )


def instance(start: float, end: float, label: int = 0) -> Instance:
    return Instance("v", label, start, end)


# ---------------------------------------------------------------- matching, by hand


def test_tiou_by_hand() -> None:
    one = np.array([0.0]), np.array([10.0])
    found = tiou_of(
        np.array([0.0, 5.0, 10.0, 0.0, 20.0]), np.array([10.0, 15.0, 20.0, 40.0, 30.0]), *one
    )
    assert found[:, 0].tolist() == pytest.approx([1, 5 / 15, 0, 10 / 40, 0])
    found = tiou_of(
        np.array([0.0, 4.0]),
        np.array([4.0, 8.0]),
        np.array([2.0, 0.0, 9.0]),
        np.array([6.0, 4.0, 10.0]),
    )
    assert found == pytest.approx(np.array([[2 / 6, 1.0, 0.0], [2 / 6, 0.0, 0.0]]))


def test_windows_above_and_below_the_thresholds() -> None:
    spans = [(0.0, 10.0), (0.0, 7.5), (0.0, 7.0), (0.0, 3.5), (0.0, 3.0), (0.0, 2.5), (20.0, 30.0)]
    found = match(spans_of(spans), [instance(0, 10)], [], MATCHING)
    # tIoU 1, 0.75, 0.7, 0.35, 0.3, 0.25 and 0: above 0.7, and below 0.3, both strictly.
    assert found.row.tolist() == [0, 1]
    assert found.overlap.tolist() == pytest.approx([1.0, 0.75])
    assert found.background.tolist() == [5, 6]


def test_an_instances_best_window_is_taken_from_a_half_on() -> None:
    spans = [(0.0, 6.0), (0.0, 5.5), (30.0, 40.0)]
    assert match(spans_of(spans), [instance(0, 10)], [], MATCHING).row.tolist() == [0]
    assert (
        match(spans_of([(0.0, 5.0)]), [instance(0, 10)], [], MATCHING).row.tolist() == []
    )  # exactly 0.5 is not above it
    twice = match(spans_of([(0.0, 6.0), (0.0, 6.0)]), [instance(0, 10)], [], MATCHING)
    assert twice.row.tolist() == [0]  # the first of equals
    # Every instance has a best window of its own.
    both = match(
        spans_of([(0.0, 6.0), (20.0, 26.0)]), [instance(0, 10), instance(20, 30)], [], MATCHING
    )
    assert both.row.tolist() == [0, 1]


def test_a_window_of_two_classes_is_a_sample_of_each() -> None:
    found = match(
        spans_of([(0.0, 10.0), (0.0, 8.0)]),
        [instance(0, 10, 1), instance(0, 9, 0), instance(0, 8.5, 1)],
        [],
        MATCHING,
    )
    assert list(zip(found.row.tolist(), found.label.tolist(), strict=True)) == [
        (0, 0),
        (1, 0),
        (0, 1),
        (1, 1),
    ]
    # Of a class's instances the one that the window fits best.
    assert found.overlap.tolist() == pytest.approx([0.9, 8 / 9, 1.0, 8 / 8.5])


def test_what_touches_an_ambiguous_stretch_is_no_background() -> None:
    spans = [(0.0, 4.0), (4.0, 8.0), (4.1, 8.1), (12.0, 16.0)]
    found = match(spans_of(spans), [], [instance(8, 12, -1)], MATCHING)
    assert found.background.tolist() == [0, 1, 3]  # the ends touch and share no time
    wide = match(spans_of([(0.0, 100.0)]), [], [instance(8, 12, -1)], MATCHING)
    assert wide.background.tolist() == []


def test_a_video_without_windows_or_instances() -> None:
    none = match(spans_of([]), [instance(0, 10)], [], MATCHING)
    assert (len(none.row), len(none.background)) == (0, 0)
    assert match(spans_of([(0.0, 1.0)]), [], [], MATCHING).background.tolist() == [0]


@pytest.mark.parametrize(
    "values",
    [
        {"background": 0.6},
        {"best": 0.8},
        {"positive": 1.0},
        {"background": 0.0},
        {"best": float("nan")},
    ],
)
def test_thresholds_that_contradict_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=telling("tIoU", *(f"{v:g}" for v in values.values()))):
        Matching(**values)


# ---------------------------------------------------------------- balance


def trimmed(*labels: int) -> list[Item]:
    return [
        Item(id=f"t{i}", path=f"t{i}.avi", label=label, group=f"g{i}")
        for i, label in enumerate(labels)
    ]


def pool(n: int = 60) -> list[tuple[Slid, Matched]]:
    """Two videos: the first has an instance of each class, which share a window; both have much background."""
    first = spans_of([(0.0, 10.0), (0.0, 9.0), *((20.0 + k, 21.0 + k) for k in range(n))])
    second = spans_of([(0.0, 10.0), *((20.0 + k, 21.0 + k) for k in range(n))], "w")
    return [
        (first, match(first, [instance(0, 10, 0), instance(0, 9, 1)], [], MATCHING)),
        (second, match(second, [instance(0, 10, 0)], [], MATCHING)),
    ]


def built(stage: Any, seed: int = 0, n: int = 60) -> tuple[Dataset, Counter[int]]:
    data, samples = training_set(
        stage, CLASSES, trimmed(0, 0, 0, 1), pool(n), matching=MATCHING, seed=seed
    )
    counts = Counter(item.label for item in data.items)
    assert (samples.total, samples.background, samples.candidates) == (
        len(data.items),
        counts[0],
        2 * n,
    )
    assert samples.classes == {"dive": (3, 3), "jump": (1, 2)}
    return data, counts


def test_the_proposal_network_has_as_much_background_as_actions() -> None:
    data, counts = built("proposal")
    assert data.classes == ("background", "action")
    # Four trimmed videos and three windows: a window of two classes is one of an action.
    assert counts == {1: 7, 0: 7}


@pytest.mark.parametrize("stage", ["classification", "localization"])
def test_the_other_networks_have_as_much_background_as_a_class(stage: str) -> None:
    data, counts = built(stage)
    assert data.classes == ("background", "dive", "jump")
    assert counts == {1: 6, 2: 3, 0: 4}  # of 6 and 3 samples, 4.5 on average: rounded to even
    by_id = {item.id: item for item in data.items}
    assert len(by_id) == len(data.items)
    assert by_id["v/0+225/jump"].overlap == 1.0
    assert by_id["v/0+225/dive"].overlap == pytest.approx(0.9)
    assert (by_id["v/0+225/dive"].start, by_id["v/0+225/dive"].end) == (0.0, 9.0)
    assert all(
        item.overlap == 1.0 for item in data.items if item.label == 0 or item.id.startswith("t")
    )


def test_background_is_drawn_by_the_seed_from_all_videos() -> None:
    def drawn(stage: str, seed: int) -> list[str]:
        return [item.id for item in built(stage, seed)[0].items if item.label == 0]

    assert drawn("proposal", 0) == drawn("proposal", 0) != drawn("proposal", 1)
    assert drawn("classification", 0) == drawn("localization", 0)
    assert {name[0] for name in drawn("proposal", 0)} == {"v", "w"}
    # Every candidate can come: 7 of 120 in each of 200 draws, none left out but with a chance of (113/120)^200 * 120 = 7e-4.
    assert len({name for seed in range(200) for name in drawn("proposal", seed)}) == 120


def test_too_little_background_is_taken_whole_and_told() -> None:
    data, samples = training_set(
        "proposal", CLASSES, trimmed(0, 0, 0, 1), pool(2), matching=MATCHING, seed=0
    )
    assert Counter(item.label for item in data.items) == {1: 7, 0: 4}
    (note,) = notes_on("proposal", samples)
    assert tells(note, "4 windows", 7)
    with pytest.raises(FeatxError, match=telling("background")):
        training_set("proposal", CLASSES, trimmed(0, 0, 0, 1), pool(0), matching=MATCHING, seed=0)


def test_a_class_without_samples_is_an_error_and_one_without_windows_is_told() -> None:
    with pytest.raises(FeatxError, match=telling("fly")):
        training_set(
            "classification", (*CLASSES, "fly"), trimmed(0, 1), pool(), matching=MATCHING, seed=0
        )
    _, samples = training_set(
        "classification", (*CLASSES, "fly"), trimmed(0, 2), pool(), matching=MATCHING, seed=0
    )
    trimmed_lacking, windows_lacking = notes_on("classification", samples)
    assert tells(trimmed_lacking, "jump", "trimmed")
    assert tells(windows_lacking, "fly", "window")


def test_windows_of_a_video_by_its_own_frames(tmp_path: Path) -> None:
    path = encode(tmp_path / "v.mp4", 70, size=(48, 64), fps=30)
    spec = window_spec(8, lengths=(16, 32, 64, 128), fps=None)
    found = slide("v", str(path), spec)
    assert Counter(found.length.tolist()) == {
        16: (70 - 16) // 4 + 1,
        32: (70 - 32) // 8 + 1,
        64: 1,
    }  # none runs past the end
    assert found.end == pytest.approx((found.start + found.length) / 30)
    # 70 frames at 30 a second last 2.33 s: 59 ticks of 25 a second.
    clocked = slide("v", str(path), replace(spec, fps=25.0))
    assert Counter(clocked.length.tolist()) == {16: (59 - 16) // 4 + 1, 32: (59 - 32) // 8 + 1}
    assert clocked.begin == pytest.approx(clocked.start / 25)
    assert len(slide("v", str(encode(tmp_path / "short.mp4", 10)), spec).start) == 0


def test_windows_come_in_the_order_of_detection() -> None:
    spec = window_spec(4)
    for frames in (0, 15, 16, 500, 1_000):
        found = slid("v", "v.mp4", spec, np.arange(frames + 1) / 25)
        asked = [
            (start, scale.span)
            for start, scale in placed(frames, spec)
            if start + scale.span <= frames
        ]
        assert list(zip(found.start.tolist(), found.length.tolist(), strict=True)) == asked


@needs("thumos14", "ucf101/ucfTrainTestlist")
def test_thumos14_gives_as_many_samples_as_the_authors_trained_on() -> None:
    """27,384 and 14,704 updates of 8 windows were 16 epochs (their settings for Res3D): 13,692 and 7,352 samples.

    Which videos they could read and how many frames each gave is not known: 5 % are allowed. Positive above a tIoU of 0.5, or no
    balance, would be off by half and more.
    """
    folder, lists = SHARED / "thumos14", SHARED / "ucf101" / "ucfTrainTestlist"
    annotations = read_annotations(folder / "annotation_val", subset="val")
    names = [
        row.split()[0]
        for side in ("train", "test")
        for row in (lists / f"{side}list01.txt").read_text().splitlines()
    ]
    items = [
        Item(id=n, path=n, label=annotations.classes.index(c))
        for n in names
        if (c := n.split("/")[0]) in annotations.classes
    ]
    assert len(items) == 2_765
    videos = []
    for name in annotations.videos:
        frames = int(annotations.durations[name] * 25)
        windows = slid(name, name, window_spec(16), np.arange(frames + 1) / 25)
        own = [
            [i for i in group if i.video == name]
            for group in (annotations.instances, annotations.ambiguous)
        ]
        videos.append((windows, match(windows, *own, MATCHING)))
    for stage, published in (
        ("proposal", 13_692),
        ("classification", 7_352),
        ("localization", 7_352),
    ):
        _, samples = training_set(
            stage, annotations.classes, items, videos, matching=MATCHING, seed=0
        )
        assert samples.total == pytest.approx(published, rel=0.05)
        assert not notes_on(stage, samples)


def test_a_window_shows_the_frames_that_detection_shows_of_it(tmp_path: Path) -> None:
    """Of a video at 30 frames a second, windows at 25: the same ticks, whichever window is asked for."""
    path = encode(tmp_path / "v.mp4", 110, size=(48, 64), fps=30)
    spec = window_spec(4, lengths=(16, 32, 64))
    video = open_video(path, frame_size=TRANSFORM.frame_size)
    whole = np.stack([frame.image()[4:28, 8:32] for frame in video])
    times = video.times
    sampled = resample(times[:-1].tolist(), float(times[-1]), 25.0)
    windows = slide("v", str(path), spec)
    items = [
        Item(
            id=str(i),
            path=str(path),
            label=0,
            start=float(windows.begin[i]),
            end=float(windows.end[i]),
        )
        for i in range(0, len(windows.start), 5)
    ]
    augmentation = replace(AUGMENTATIONS["scnn"], position="center", flip=0.0)
    drawn = DrawSettings(spec, TRANSFORM, "pyav", 2, None, augmentation)
    with Loader(
        Stream(items, clips_per_video=1, seed=0),
        iter([range(len(items))] * 9),
        drawn,
        batch=len(items),
        workers=1,
    ) as loader:
        batch = loader.next()
    assert batch is not None
    by_window = {(start, scale.span): scale for start, scale in placed(len(sampled), spec)}
    for name, clip in zip(batch.ids, batch.clips.numpy(), strict=True):
        start, length = int(windows.start[int(name)]), int(windows.length[int(name)])
        shown = clip_indices(start, len(sampled), by_window[start, length])
        np.testing.assert_array_equal(clip, whole[[sampled[k] for k in shown]])
