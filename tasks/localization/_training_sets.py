"""What S-CNN's networks are trained on: trimmed videos, and windows of untrimmed ones by tIoU (Shou et al. 2016, section 3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from featx.clips import ClipSpec, starts
from featx.datasets import Dataset, Item
from featx.datasets.untrimmed import Instance
from featx.errors import FeatxError, UsageError
from featx.tasks.localization._types import Bools, Floats, Ints, tiou_of

Stage = Literal["proposal", "classification", "localization"]
STAGES: tuple[Stage, ...] = ("proposal", "classification", "localization")
BACKGROUND, ACTION = "background", "action"
_FRAME_TIME = 1e-9  # seconds: stretches that share less only touch, for their ends are rounded


@dataclass(frozen=True, kw_only=True)
class Matching:
    """By which tIoU a window is a sample.

    positive: above it, of the instance's class. best: above it, an instance's best window is, too. background: below it with
    every instance, of the background.
    """

    positive: float = 0.7
    best: float = 0.5
    background: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.background <= self.best <= self.positive < 1:
            raise UsageError(
                f"tIoU is below {self.background:g} for background, above {self.best:g} for an instance's best window and above"
                f" {self.positive:g} for others: give numbers between 0 and 1, none smaller than the one before"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Slid:
    """All windows of one video. start: (W,) sampled frame; length: (W,) sampled frames; begin, end: (W,) seconds."""

    video: str
    path: str
    start: Ints
    length: Ints
    begin: Floats
    end: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Matched:
    """Which windows of a video are samples.

    row: (P,) places among the windows, label: (P,) from 0, overlap: (P,) tIoU with the class's best instance, of actions; a
    window that matches instances of two classes comes twice. background: (B,) places of those that could be background.
    """

    row: Ints
    label: Ints
    overlap: Floats
    background: Ints


@dataclass(frozen=True, kw_only=True)
class Samples:
    """How many samples a training set has: of trimmed videos, of windows of actions, of background.

    candidates: windows that could be background. classes: for each class, its trimmed videos and its windows.
    """

    trimmed: int
    windows: int
    background: int
    candidates: int
    classes: Mapping[str, tuple[int, int]]

    @property
    def total(self) -> int:
        """All of them."""
        return self.trimmed + self.windows + self.background


def slid(video: str, path: str, clip: ClipSpec, at: Floats) -> Slid:
    """Return the windows of a video of N sampled frames, at: (N + 1,) seconds, those that run past its end dropped.

    They are in the order of `featx.clips.placed`.
    """
    frames = len(at) - 1
    found = [
        (scale.span, starts(frames, scale)) for scale in clip.at_scales if scale.span <= frames
    ]
    start = np.concatenate(
        [np.zeros(0, np.int64), *(np.array(each, np.int64) for _, each in found)]
    )
    length = np.repeat(
        np.array([span for span, _ in found], np.int64), [len(each) for _, each in found]
    )
    order = np.lexsort((length, start + length))
    start, length = start[order], length[order]
    return Slid(
        video=video, path=path, start=start, length=length, begin=at[start], end=at[start + length]
    )


def match(
    slid: Slid, instances: Iterable[Instance], ambiguous: Iterable[Instance], matching: Matching
) -> Matched:
    """Return which of a video's windows are samples of what, by the video's own instances.

    A window that shares any time with an ambiguous stretch is no background: it may show an action.
    """
    most = np.zeros(len(slid.start))
    by_class: dict[int, tuple[Floats, Bools]] = {}
    for instance in instances:
        found = tiou_of(slid.begin, slid.end, np.array([instance.start]), np.array([instance.end]))[
            :, 0
        ]
        best, taken = by_class.setdefault(
            instance.label, (np.zeros(len(found)), np.zeros(len(found), np.bool_))
        )
        np.maximum(best, found, out=best)
        np.maximum(most, found, out=most)
        taken |= found > matching.positive
        if len(found) and found.max() > matching.best:
            taken[found.argmax()] = True
    free = most < matching.background
    for stretch in ambiguous:
        free &= (
            np.minimum(slid.end, stretch.end) - np.maximum(slid.begin, stretch.start) <= _FRAME_TIME
        )
    rows = {label: np.flatnonzero(taken) for label, (_, taken) in sorted(by_class.items())}
    return Matched(
        row=np.concatenate([np.zeros(0, np.int64), *rows.values()]),
        label=np.repeat(np.array(list(rows), np.int64), [len(r) for r in rows.values()]),
        overlap=np.concatenate(
            [np.zeros(0), *(by_class[label][0][row] for label, row in rows.items())]
        ),
        background=np.flatnonzero(free),
    )


def training_set(
    stage: Stage,
    classes: Sequence[str],
    trimmed: Sequence[Item],
    videos: Sequence[tuple[Slid, Matched]],
    *,
    matching: Matching,
    seed: int,
) -> tuple[Dataset, Samples]:
    """Return what a network is trained on, labels 0 = background, and how many samples of which kind that is.

    trimmed: whole videos of one action, labels from 0. Background is drawn from `seed`, as many windows as there are samples of
    actions for the proposal network, to which all actions are one class; for the others, as many as a class has on average.
    Raises FeatxError where a class has no sample, or the background.
    """
    made = _counted(classes, trimmed, videos)
    if lacking := [name for name, pair in made.items() if not sum(pair)]:
        raise FeatxError(
            f"nothing to train {', '.join(lacking[:3])}{' …' if len(lacking) > 3 else ''} on: no trimmed video, and no window"
            f" above a tIoU of {matching.best:g} with an instance; get the class's videos"
        )
    actions = _windows_of(videos, classes, one=stage == "proposal")
    whole = [_trimmed(item, stage) for item in trimmed]
    share = 1 if stage == "proposal" else len(classes)
    background, candidates = _drawn(videos, round((len(whole) + len(actions)) / share), seed)
    if not background:
        raise FeatxError(
            f"no window stays below a tIoU of {matching.background:g} with every instance: there is no background"
        )
    samples = Samples(
        trimmed=len(whole), windows=len(actions), background=len(background), candidates=candidates, classes=made
    )  # fmt: skip
    told: dict[str, Any] = {"stage": stage, "tiou": asdict(matching), "seed": seed}
    told |= {
        "trimmed": samples.trimmed,
        "windows": samples.windows,
        "background": samples.background,
    }
    dataset = Dataset(
        name="thumos14",
        split=1,
        subset=f"{stage} windows",
        classes=(BACKGROUND, ACTION) if stage == "proposal" else (BACKGROUND, *classes),
        items=(*whole, *actions, *background),
        source="Shou et al. 2016, section 3.2",
        made=told,
    )
    return dataset, samples


def notes_on(stage: Stage, samples: Samples) -> list[str]:
    """Return what a user should know of a training set."""
    notes = []
    for kind, what in enumerate(("trimmed video", "window")):
        if lacking := [name for name, pair in samples.classes.items() if not pair[kind]]:
            notes.append(
                f"{', '.join(lacking[:3])}{' …' if len(lacking) > 3 else ''}: no {what} to train on, the other samples alone"
            )
    actions = samples.trimmed + samples.windows
    wanted = actions if stage == "proposal" else round(actions / len(samples.classes))
    if samples.background < wanted:
        notes.append(
            f"{samples.background} windows are background, all there are; {wanted} would balance the classes"
        )
    return notes


def _counted(
    classes: Sequence[str], trimmed: Sequence[Item], videos: Sequence[tuple[Slid, Matched]]
) -> dict[str, tuple[int, int]]:
    whole = np.bincount([item.label for item in trimmed], minlength=len(classes))
    windows = sum(
        (np.bincount(m.label, minlength=len(classes)) for _, m in videos),
        np.zeros(len(classes), np.int64),
    )
    return {name: (int(whole[k]), int(windows[k])) for k, name in enumerate(classes)}


def _trimmed(item: Item, stage: Stage) -> Item:
    label = 1 if stage == "proposal" else item.label + 1
    return Item(id=item.id, path=item.path, label=label, group=item.group)


def _windows_of(
    videos: Sequence[tuple[Slid, Matched]], classes: Sequence[str], *, one: bool
) -> list[Item]:
    """Return the windows of actions; one: of one class, each window once, with its best overlap."""
    items = []
    for slid, matched in videos:
        if not one:
            triples = zip(
                matched.row.tolist(), matched.label.tolist(), matched.overlap.tolist(), strict=True
            )
            items += [
                _window(slid, row, label + 1, overlap, classes[label])
                for row, label, overlap in triples
            ]
            continue
        best: dict[int, float] = {}
        for row, overlap in zip(matched.row.tolist(), matched.overlap.tolist(), strict=True):
            best[row] = max(overlap, best.get(row, 0.0))
        items += [_window(slid, row, 1, best[row], ACTION) for row in sorted(best)]
    return items


def _drawn(
    videos: Sequence[tuple[Slid, Matched]], wanted: int, seed: int
) -> tuple[list[Item], int]:
    """Return so many windows of background, all where there are fewer, and how many there are."""
    sizes = [len(matched.background) for _, matched in videos]
    total = sum(sizes)
    chosen = np.sort(
        np.random.default_rng(seed).choice(total, size=min(max(1, wanted), total), replace=False)
    )
    firsts = np.cumsum([0, *sizes])
    items = []
    for (slid, matched), first, end in zip(videos, firsts, firsts[1:], strict=False):
        mine = chosen[np.searchsorted(chosen, first) : np.searchsorted(chosen, end)] - first
        items += [
            _window(slid, row, 0, 1.0, BACKGROUND) for row in matched.background[mine].tolist()
        ]
    return items, total


def _window(slid: Slid, row: int, label: int, overlap: float, name: str) -> Item:
    return Item(
        id=f"{slid.video}/{slid.start[row]}+{slid.length[row]}/{name}",
        path=slid.path,
        label=label,
        start=float(slid.begin[row]),
        end=float(slid.end[row]),
        overlap=min(overlap, 1.0),
    )
