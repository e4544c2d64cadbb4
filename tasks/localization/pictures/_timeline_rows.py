"""What stands on a video's time line: a row a class, its instances and its detections, whoever draws it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from featx.datasets.untrimmed import Annotations
from featx.tasks.localization.pictures._timeline_errors import Judged, labels_of

# More detections of a video could not be told apart, nor more rows be seen at once.
MOST_DETECTIONS = 100
MOST_ROWS = 20
# A bar's height, of the highest possible one: of the lowest score shown, to the highest.
_LOW, _HIGH = 0.25, 1.0


@dataclass(frozen=True)
class Truth:
    """An instance, in seconds, and whether a true positive is its."""

    start: float
    end: float
    found: bool


@dataclass(frozen=True)
class Bar:
    """A detection: seconds, score, 1 true, 0 false or -1 dropped, and its height from _LOW to _HIGH by its score."""

    start: float
    end: float
    score: float
    matched: int
    height: float


@dataclass(frozen=True)
class Row:
    """A class: truths by their start; bars the highest first, so that none hides another."""

    name: str
    truths: tuple[Truth, ...]
    bars: tuple[Bar, ...]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A video's time line, 0 to `seconds`. known: whether that is the video's length, or only where the last bar ends.

    outcomes: how many of the video's detections are true (1), false (0) and dropped (-1), whether they are shown or not.
    scores: the lowest and the highest shown, None without any. notes: what was left out or cut off, a sentence each.
    """

    video: str
    seconds: float
    known: bool
    rows: tuple[Row, ...]
    ambiguous: tuple[tuple[float, float], ...]
    outcomes: Mapping[int, int]
    scores: tuple[float, float] | None
    notes: tuple[str, ...]

    @property
    def found(self) -> tuple[int, int]:
        """How many instances on the line were found, of how many."""
        truths = [t for row in self.rows for t in row.truths]
        return sum(t.found for t in truths), len(truths)

    def summary(self, tiou: float) -> str:
        """Return how many instances were found and what became of the detections, those that are not shown included."""
        counts = [
            (self.outcomes[1], "true"),
            (self.outcomes[0], "false"),
            (self.outcomes[-1], "dropped"),
        ]
        parts = [f"{self.found[0]} of {self.found[1]} instances found at tIoU {tiou:g}"]
        parts.append(
            "detections: " + (", ".join(f"{n:,} {name}" for n, name in counts if n) or "none")
        )
        if self.scores is not None:
            parts.append("shown from score {1:.3g} down to {0:.3g}".format(*self.scores))
        return "; ".join(parts)


def line_of(
    judged: Judged,
    annotations: Annotations,
    video: str,
    *,
    seconds: float | None = None,
    top: int = MOST_DETECTIONS,
) -> Line:
    """Return a video's time line with its `top` highest detections; seconds: its length, the annotations' where None."""
    found, notes = judged.detections, list[str]()
    place = found.videos.index(video) if video in found.videos else -1
    every = np.flatnonzero(found.video == place)
    shown = every[np.argsort(-found.score[every], kind="stable")][:top]
    if len(shown) < len(every):
        notes.append(f"the {len(shown)} highest of {len(every):,} detections are shown")
    scores = (
        (float(found.score[shown].min()), float(found.score[shown].max())) if len(shown) else None
    )
    label = labels_of(found, annotations.classes)[shown]
    truths: dict[int, list[Truth]] = {}
    for instance, hit in zip(judged.instances, judged.found, strict=True):
        if instance.video == video:
            truths.setdefault(instance.label, []).append(
                Truth(instance.start, instance.end, bool(hit))
            )
    # Classes of the ground truth in their order, then those that are only detected, the highest score first.
    labels = [*sorted(truths), *(int(c) for c in dict.fromkeys(label.tolist()) if c not in truths)]
    if len(labels) > MOST_ROWS:
        notes.append(
            f"{MOST_ROWS} of {len(labels)} classes are shown, those of the ground truth first"
        )
        labels = labels[:MOST_ROWS]
    rows = []
    for c in labels:
        bars = [_bar(judged, int(row), scores) for row in shown[label == c]]
        name = annotations.classes[c] if c >= 0 else "class that is not annotated"
        rows.append(Row(name, tuple(sorted(truths.get(c, ()), key=lambda t: t.start)), tuple(bars)))
    ambiguous = tuple((i.start, i.end) for i in annotations.ambiguous if i.video == video)
    length = annotations.durations.get(video) if seconds is None else seconds
    ends = [truth.end for row in rows for truth in row.truths] + [
        bar.end for row in rows for bar in row.bars
    ]
    ends += [end for _, end in ambiguous]
    if length is None:
        notes.append("the video's length is not known: the time line ends with the last bar")
    elif past := sum(end > length + 0.5 for end in ends):
        notes.append(
            f"{past} bar{'s run' if past > 1 else ' runs'} past the video's end at {length:.1f} s"
        )
    return Line(
        video=video,
        seconds=length if length is not None else max([*ends, 1.0]),
        known=length is not None,
        rows=tuple(rows),
        ambiguous=ambiguous,
        outcomes={of: int((judged.matched[every] == of).sum()) for of in (1, 0, -1)},
        scores=scores,
        notes=tuple(notes),
    )


def ticks(seconds: float, most: int) -> list[float]:
    """Return where marks stand on a time line, at most `most` steps apart, at 0 and round times."""
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
    step = next(
        (s for s in steps if seconds <= s * most), 3600.0 * (1 + int(seconds / 3600 / most))
    )
    return [round(n * step, 1) for n in range(int(seconds / step + 1e-9) + 1)]


def tick_label(at: float, seconds: float) -> str:
    """Return a mark's text: seconds on a line of up to two minutes, m:ss or h:mm:ss on a longer one."""
    if seconds <= 120:
        return f"{at:g}"
    minutes, rest = divmod(round(at), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if seconds >= 3600 else f"{minutes}:{rest:02d}"


def spread_times(seconds: float, count: int) -> list[float]:
    """Return the middles of as many equal parts of a line."""
    return [seconds * (part + 0.5) / count for part in range(count)]


def _bar(judged: Judged, row: int, scores: tuple[float, float] | None) -> Bar:
    found = judged.detections
    score = float(found.score[row])
    low, high = scores or (score, score)
    height = _LOW + (_HIGH - _LOW) * ((score - low) / (high - low) if high > low else 1.0)
    return Bar(
        float(found.start[row]), float(found.end[row]), score, int(judged.matched[row]), height
    )
