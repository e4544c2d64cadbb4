"""The window-length prior: how likely a class's actions are about as long as a window (Shou et al. 2016, section 3.4)."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from featx.datasets.untrimmed import Annotations
from featx.errors import FeatxError, UsageError
from featx.tasks.localization._types import Windows
from featx.tasks.localization.formats._matlab import DAMAGED, read_matrix

Floats = npt.NDArray[np.float64]

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
