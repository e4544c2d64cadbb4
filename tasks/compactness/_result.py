"""What compactness found: accuracies by number of dimensions, the paper's own points, and both as text and tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from featx.report import DRAWS, Accuracy, mean_interval, table
from featx.report import write_csv as csv_file
from featx.store.recorded import Recorded
from featx.system.text import Text, joined
from featx.tasks.results import number_of, shown

SOURCE = "Tran et al. 2017, Res3D, section 5.1 and figure 3"


@dataclass(frozen=True, kw_only=True)
class Point:
    """A linear SVM's accuracy at one number of dimensions.

    dims: the number. accuracies: on the test videos, one a split, all over the same videos. explained: the share of the training
    videos' variance that the components hold, one a split; empty where the rows are not projected.
    """

    dims: int
    accuracies: tuple[Accuracy, ...]
    explained: tuple[float, ...] = ()

    @property
    def value(self) -> float:
        """The mean over the splits, 0 to 1."""
        return sum(each.value for each in self.accuracies) / len(self.accuracies)

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The mean's 95 % interval, by bootstrap over videos."""
        return mean_interval(self.accuracies)

    @property
    def held(self) -> float | None:
        """The share of variance, mean over the splits."""
        return sum(self.explained) / len(self.explained) if self.explained else None

    def __repr__(self) -> str:
        return shown("Point", number_of(self.dims, "dimension"), f"{100 * self.value:.1f} %")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One layer of one feature file. width: D, of its rows; points: by dimensions; full: of the rows as they are.

    settings: how the rows were made, None for another library's file.
    """

    title: str
    path: str
    layer: str | None
    width: int
    points: tuple[Point, ...]
    full: Point
    settings: Recorded | None = None

    def __repr__(self) -> str:
        points = [
            f"{100 * each.value:.1f} % at {each.dims:,}" for each in (*self.points, self.full)
        ]
        return shown("Curve", self.title, *points)


@dataclass(frozen=True, kw_only=True)
class Printed:
    """What a paper prints: (dimensions, accuracy in per cent) after PCA, and at full size."""

    title: str
    points: tuple[tuple[int, float], ...]
    full: tuple[int, float]
    source: str


# The text of section 5.1 and, at full size, table 9; the other points of figure 3 are only drawn. All: UCF101, mean of three
# splits, weights trained on Sports-1M.
PAPER = (
    Printed(
        title="Res3D res5b",
        points=((10, 56.7), (300, 82.9)),
        full=(25088, 83.1),
        source="section 5.1, table 9",
    ),
    Printed(
        title="C3D fc6", points=((10, 52.8),), full=(4096, 82.2), source="section 5.1, table 9"
    ),
)
PAPER_DATA = "all of UCF101, mean of three splits, trained on Sports-1M"


@dataclass(frozen=True, kw_only=True)
class CompactResult:
    """Curves of accuracy by dimensions. dataset, splits: whose; videos: (training, test) of each split; classes: how many.

    absent: videos that the splits' lists have and that were left out, not being there.
    normalise_again: whether projected rows were brought to length 1 before the SVM. paper: whether the paper's points belong
    beside these. saved: the projection's file, if one was written. notes: sentences for the user.
    official: whether the dataset is known by name, and its splits have numbers.
    """

    dataset: str
    splits: tuple[int, ...]
    videos: tuple[tuple[int, int], ...]
    absent: int
    classes: int
    C: float
    normalise_again: bool
    curves: tuple[Curve, ...]
    paper: tuple[Printed, ...] = ()
    saved: str | None = None
    notes: tuple[str, ...] = field(default=())
    official: bool = True

    @property
    def where(self) -> str:
        """The dataset, its splits and their videos, in words."""
        which = f" split {self.splits[0]}" if self.official else ""
        if len(self.splits) > 1:
            which = f" mean of splits {', '.join(map(str, self.splits))}"
        gone = f" ({self.absent} of the lists are not there)" if self.absent else ""
        train, test = (" / ".join(str(each[side]) for each in self.videos) for side in (0, 1))
        return f"{self.dataset}{which}: {train} training and {test} test videos of {self.classes} classes{gone}"

    def __repr__(self) -> str:
        curves = [
            f"{each.title} {100 * each.full.value:.1f} % at {each.width:,}"
            + (
                f" and {100 * each.points[0].value:.1f} % at {each.points[0].dims:,}"
                if each.points
                else ""
            )
            for each in self.curves
        ]
        parts = number_of(len(self.splits), "split")
        videos = number_of(sum(test for _, test in self.videos), "test video")
        return shown("CompactResult", self.dataset, *curves, parts, videos, notes=self.notes)


def as_text(found: CompactResult) -> Text:
    """Return the curves as text for a person: a table each, and on what they rest."""
    again = "then L2-normalised again, " if found.normalise_again else ""
    lines = [
        found.where,
        f"video rows (mean over clips, L2-normalised), PCA of the training videos alone, {again}linear SVM with C {found.C:g}"
        f" ({SOURCE})",
    ]
    for curve in found.curves:
        rows = [_cells(point, str(point.dims)) for point in curve.points] + [
            _cells(curve.full, f"full, {curve.width}")
        ]
        lines += [
            "",
            f"{curve.title}: {curve.path}",
            table(rows, headers=("dimensions", "%", "95 % interval", "variance held, %")),
        ]
    for each in found.paper:
        named = [(str(dims), value) for dims, value in each.points] + [
            (f"full, {each.full[0]}", each.full[1])
        ]
        printed = table(
            [(name, f"{value:.1f}") for name, value in named], headers=("dimensions", "%")
        )
        lines += ["", f"the paper's {each.title} ({PAPER_DATA}; {each.source})", printed]
    lines += ["", f"intervals: bootstrap over test videos, percentiles of {DRAWS} resamples"]
    lines += [f"note: {note}" for note in found.notes]
    return joined(lines)


def _cells(point: Point, dims: str) -> tuple[str, str, str, str]:
    low, high = point.interval
    held = "" if point.held is None else f"{100 * point.held:.1f}"
    return dims, f"{100 * point.value:.1f}", f"{100 * low:.1f} to {100 * high:.1f}", held


def to_json(found: CompactResult) -> dict[str, Any]:
    """Return everything as plain JSON values; accuracies from 0 to 1, the paper's in per cent as printed."""
    return {
        "dataset": found.dataset,
        "splits": list(found.splits),
        "videos": [{"train": train, "test": test} for train, test in found.videos],
        "absent": found.absent,
        "classes": found.classes,
        "C": found.C,
        "normalise_again": found.normalise_again,
        "interval": f"95 %, bootstrap over test videos, percentiles of {DRAWS} resamples, seed 0",
        "curves": [
            {
                "title": curve.title,
                "features": curve.path,
                "layer": curve.layer,
                "width": curve.width,
                "points": [_point(point) for point in curve.points],
                "full": _point(curve.full),
                "settings": curve.settings.to_json() if curve.settings is not None else None,
            }
            for curve in found.curves
        ],
        "paper": [{**vars(each), "data": PAPER_DATA} for each in found.paper],
        "saved": found.saved,
        "notes": list(found.notes),
    }


def _point(point: Point) -> dict[str, Any]:
    low, high = point.interval
    return {
        "dims": point.dims,
        "value": point.value,
        "low": low,
        "high": high,
        "by_split": [each.as_json() for each in point.accuracies],
        "explained": point.held,
    }


def write_csv(found: CompactResult, path: str | os.PathLike[str]) -> None:
    """Write a line a point, the paper's too: accuracy, interval and variance held in per cent, then each split's accuracy."""
    splits = [f"split_{number}" for number in found.splits]
    rows: list[tuple[object, ...]] = []
    for curve in found.curves:
        for point in (*curve.points, curve.full):
            numbers = (
                point.value,
                *point.interval,
                point.held,
                *(each.value for each in point.accuracies),
            )
            shown = ["" if number is None else f"{100 * number:.3f}" for number in numbers]
            rows.append(
                (
                    curve.title,
                    curve.path,
                    curve.layer or "",
                    point.dims,
                    int(point is curve.full),
                    *shown,
                    found.where,
                )
            )
    for each in found.paper:
        empty: Sequence[str] = [""] * (3 + len(splits))
        for dims, value in (*each.points, each.full):
            name = f"the paper's {each.title}"
            rows.append(
                (name, "", "", dims, int(dims == each.full[0]), f"{value:.1f}", *empty, PAPER_DATA)
            )
    headers = (
        "curve",
        "features",
        "layer",
        "dims",
        "full",
        "accuracy",
        "low",
        "high",
        "variance_held",
        *splits,
        "data",
    )
    csv_file(path, headers, rows)
