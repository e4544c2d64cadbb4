"""From scored windows to detections: the window-length prior and suppression (Shou et al. 2016, section 3.4)."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from featx.datasets.untrimmed import Annotations
from featx.errors import FeatxError, UsageError
from featx.tasks.localization._matlab import DAMAGED, read_matrix
from featx.tasks.localization._types import Bools, Detections, Floats, Ints, Windows
from featx.tasks.results import number_of, shown


def detections_of(
    windows: Windows, prior: Prior | None, *, overlap: float | None, rounded: bool = False
) -> Detections:
    """Return windows as detections, surest first: scores times the prior, then suppression (Shou et al. 2016, section 3.4).

    prior: None leaves the scores. overlap: above which a surer detection of the same video and class suppresses another; None
    leaves all. rounded: times with one decimal, scores with five digits, as the authors wrote results before they were evaluated.
    """
    score = windows.score if prior is None else weighted(windows, prior)
    rows = np.arange(len(windows))
    if overlap is not None:
        rows = suppress(
            start=windows.start,
            end=windows.end,
            score=score,
            video=windows.video,
            label=windows.label,
            overlap=overlap,
        )
    # Equal scores stay in the authors' order, which the evaluation goes by: videos, classes, and the later window first.
    rows = rows[np.lexsort((-rows, windows.label[rows], windows.video[rows], -score[rows]))]
    found = Detections(
        classes=windows.classes,
        videos=windows.videos,
        video=windows.video[rows],
        label=windows.label[rows],
        start=windows.start[rows],
        end=windows.end[rows],
        score=score[rows],
    )
    return as_written(found) if rounded else found


def as_written(found: Detections) -> Detections:
    """Return detections as the S-CNN authors wrote them to a file: %.1f seconds and scores of five significant digits.

    The order of rows stays. The authors wrote the surest first, as `detections_of` returns them, so that by the THUMOS'14
    protocol scores which are equal only now are evaluated in the order of the unrounded ones.
    """
    return replace(
        found,
        start=_printed(found.start, "%.1f"),
        end=_printed(found.end, "%.1f"),
        score=_printed(found.score, "%.5g"),
    )


def _printed(values: Floats, form: str) -> Floats:
    # Not np.round, which multiplies and divides: 0.25 and its like would go another way than in print.
    return np.array([float(form % value) for value in values.tolist()], np.float64)


# ---------------------------------------------------------------- the window-length prior
# How likely a class's actions are about as long as a window.


LENGTHS = (16, 32, 64, 128, 256, 512)
# Seconds that the authors counted for them. 22.44 is presumably a slip for 20.44; their stored prior comes of 22.44 alone.
SCNN_DURATIONS = (0.6, 1.24, 2.52, 5.08, 10.20, 22.44)


@dataclass(frozen=True, kw_only=True, eq=False)
class Prior:
    """Weights of window lengths. weights: (lengths, classes); lengths: in frames; source: what it was counted on or read from."""

    lengths: tuple[int, ...]
    classes: tuple[str, ...]
    weights: Floats
    source: str

    def __repr__(self) -> str:
        lengths, classes = (
            number_of(len(self.lengths), "length"),
            number_of(len(self.classes), "class"),
        )
        return shown("Prior", self.source, lengths, classes)


def window_durations(lengths: Sequence[int], fps: float) -> tuple[float, ...]:
    """Return the seconds from a window's first frame to its last one, (L - 1) / fps, for each length."""
    return tuple((length - 1) / fps for length in lengths)


def length_prior(annotations: Annotations, durations: Sequence[float]) -> Floats:
    """Return (durations, classes): the share of a class's instances that last half to twice each duration, both included.

    An instance may count for several durations; each class is normalised to sum 1. A class of which no instance counts, or that
    has none, gets the same weight for every duration: nothing is known that would prefer one.
    """
    spans = np.array(
        [(i.label, i.end - i.start) for i in annotations.instances], np.float64
    ).reshape(-1, 2)
    label, length = spans[:, 0].astype(np.int64), spans[:, 1]
    # As the authors compare: floating-point differences of the times as they were written, not rounded again.
    counts = np.stack(
        [
            np.bincount(
                label[(length >= w / 2) & (length <= w * 2)], minlength=len(annotations.classes)
            ).astype(np.float64)
            for w in durations
        ]
    )
    total = counts.sum(axis=0)
    return np.where(total > 0, counts / np.maximum(total, 1), 1 / len(durations))


def counted_prior(
    annotations: Annotations, *, lengths: Sequence[int], durations: Sequence[float]
) -> Prior:
    """Return the prior of window lengths in frames, whose durations are given in seconds, counted on annotations."""
    return Prior(
        lengths=tuple(lengths),
        classes=annotations.classes,
        weights=length_prior(annotations, durations),
        source=f"counted on {annotations.name}",
    )


def scnn_prior(annotations: Annotations) -> Prior:
    """Return the prior of the S-CNN authors' windows, counted on annotations with their durations."""
    return counted_prior(annotations, lengths=LENGTHS, durations=SCNN_DURATIONS)


def weighted(windows: Windows, prior: Prior) -> Floats:
    """Return the windows' scores times the prior of their length and class, (N,); FeatxError where it has no weight for them."""
    columns = {name: column for column, name in enumerate(prior.classes)}
    rows = {length: row for row, length in enumerate(prior.lengths)}
    for name in (windows.classes[label] for label in np.unique(windows.label)):
        if name not in columns:
            raise FeatxError(
                f"the prior {prior.source} has no class {name}: give one of the same classes"
            )
    for length in np.unique(windows.length).tolist():
        if length not in rows:
            known = ", ".join(map(str, prior.lengths))
            raise FeatxError(
                f"the prior {prior.source} has no windows of {length} frames, only {known}: give one that has"
            )
    row = np.array([rows.get(length, -1) for length in range(max(prior.lengths) + 1)])
    column = np.array([columns.get(name, -1) for name in windows.classes])
    weights: Floats = prior.weights[row[windows.length], column[windows.label]]
    return windows.score * weights


def read_prior(path: str | os.PathLike[str], classes: tuple[str, ...]) -> Prior:
    """Read weights, a row a window length and a column a class, from weight.mat, .npy or .csv.

    Rows are of 16, 32, 64 … frames, columns of `classes` in their order, unless a csv's first line names them: length and the
    classes' names. UsageError for another kind of file, FeatxError for what is in it.
    """
    source = Path(path)
    suffix = source.suffix.lower()
    if suffix not in (".mat", ".npy", ".csv"):
        raise UsageError(
            f"cannot read a prior from {source}: give a .mat with the variable weight, a .npy or a .csv"
        )
    if not source.is_file():
        raise UsageError(f"there is no file {source}: give the prior's .mat, .npy or .csv")
    lengths: tuple[int, ...] | None = None
    if suffix == ".csv":
        lengths, classes, values = _from_csv(source, classes)
    else:
        values = read_matrix(source, "weight") if suffix == ".mat" else _from_npy(source)
    if values.ndim != 2 or 0 in values.shape or values.shape[1] != len(classes):
        raise FeatxError(
            f"{source} has numbers of shape {values.shape}: give a row a window length and {len(classes)} columns"
        )
    if not np.isfinite(values).all() or (values < 0).any():
        row, column = np.argwhere(~np.isfinite(values) | (values < 0))[0]
        raise FeatxError(
            f"{source}: {values[row, column]:g} for {classes[column]} in row {row + 1} is no weight: mend it"
        )
    return Prior(
        lengths=lengths or tuple(16 << row for row in range(len(values))),
        classes=classes,
        weights=values,
        source=f"read from {source.name}",
    )


def _from_npy(path: Path) -> Floats:
    try:
        values = np.load(path, allow_pickle=False)
    except DAMAGED as error:
        raise FeatxError(
            f"{path} cannot be read as a .npy of numbers ({error}): write it again"
        ) from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        raise FeatxError(f"{path} has no real numbers: give a .npy of window lengths x classes")
    return values.astype(np.float64)


def _from_csv(
    path: Path, classes: tuple[str, ...]
) -> tuple[tuple[int, ...] | None, tuple[str, ...], Floats]:
    try:
        rows = [row for row in csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"))) if row]
        if not rows or rows[0][0].strip() != "length":
            return (
                None,
                classes,
                np.array([[float(cell) for cell in row] for row in rows], np.float64),
            )
        names = tuple(name.strip() for name in rows[0][1:])
        lengths = tuple(int(row[0]) for row in rows[1:])
        values = np.array([[float(cell) for cell in row[1:]] for row in rows[1:]], np.float64)
    except (OSError, ValueError, csv.Error) as error:
        raise FeatxError(
            f"{path} is no table of weights ({error}): give a row a window length and a column a class"
        ) from error
    if (
        len(set(names)) < len(names)
        or len(set(lengths)) < len(lengths)
        or any(length < 1 for length in lengths)
    ):
        raise FeatxError(f"{path} has a length or a class twice, or a length below 1: mend it")
    return lengths, names, values


# ---------------------------------------------------------------- suppression: of detections that overlap, the surest


# Overlaps are differences of tIoUs with few decimals: 0.3 - 0.1 is meant to be 0.2, not 0.19999999999999998.
_DECIMALS = 9


def overlap_for(tiou: float) -> float:
    """Return the overlap above which detections are suppressed for an evaluation at `tiou`: 0.1 less, 0 at least."""
    return max(0.0, round(tiou - 0.1, _DECIMALS))


def suppress(
    *, start: Floats, end: Floats, score: Floats, video: Ints, label: Ints, overlap: float
) -> npt.NDArray[np.int64]:
    """Return the rows that are left, ascending: of each video and label, a row goes if a surer one that stays overlaps it.

    start, end, score, video, label: (N,). Overlap is intersection over union, and has to be greater than `overlap`. Of equal
    scores the later row counts as surer, as in the authors' nms_temporal.m.
    """
    n = len(start)
    # Groups side by side; in each the surest first.
    ranked = np.lexsort((-np.arange(n), -score, label, video))
    kept = np.zeros(n, np.bool_)
    if n == 0:
        return np.flatnonzero(kept)
    changes = np.flatnonzero((np.diff(video[ranked]) != 0) | (np.diff(label[ranked]) != 0)) + 1
    for rows in np.split(ranked, changes):
        kept[rows] = _greedy(start[rows], end[rows], overlap)
    return np.flatnonzero(kept)


def _greedy(start: Floats, end: Floats, overlap: float) -> Bools:
    """Return which of one video's and label's detections stay, surest first."""
    n = len(start)
    if n == 1:
        return np.ones(1, np.bool_)
    # In the order of their starts, what can overlap a detection is a stretch of rows: long videos cost no more than short ones.
    by_start = np.argsort(start, kind="stable")
    place = np.empty(n, np.int64)
    place[by_start] = np.arange(n)
    begin, finish = start[by_start], end[by_start]
    length = finish - begin
    longest = length.max()
    first = np.searchsorted(begin, begin - longest - 1e-6 * (1 + longest), side="left").tolist()
    last = np.searchsorted(begin, finish, side="right").tolist()
    left = np.ones(n, np.bool_)
    kept = np.zeros(n, np.bool_)
    for row, p in enumerate(place.tolist()):
        if not left[p]:
            continue
        kept[row] = True
        near = slice(first[p], last[p])
        shared = np.maximum(
            0.0, np.minimum(finish[near], finish[p]) - np.maximum(begin[near], begin[p])
        )
        union = (length[near] + length[p]) - shared
        left[near] &= (
            np.divide(shared, union, out=np.zeros_like(shared), where=union > 0) <= overlap
        )
    return kept
