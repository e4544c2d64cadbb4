"""A video's time line: what stands on it, and its picture under a strip of the video's frames."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.datasets.untrimmed import Annotations
from featx.errors import FeatxError, UsageError, nearest
from featx.report.picture import drawable, picture_kind, save_picture
from featx.tasks.localization._diagnosis import Judged, judged, labels_of
from featx.tasks.localization._protocols import Matched
from featx.tasks.localization._types import Detections, Protocol
from featx.video.thumbnails import Film

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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


# ---------------------------------------------------------------- the picture


Images = list[npt.NDArray[np.uint8]]

# Told apart by those who do not see all colours (Okabe and Ito, 2008), and on paper.
TRUE, FALSE, DROPPED, TRUTH = "#0072b2", "#d55e00", "#8c959f", "#1b1f24"
_COLOURS = {1: TRUE, 0: FALSE, -1: DROPPED}
NO_VIDEO = "no frames: the video is not at hand"
LONGEST_NAME = 26
# Inches, and dots per inch of a .png.
_PLOT, _RIGHT, _BELOW, _STRIP, _DPI = 12.0, 0.25, 0.85, 0.9, 110
# A row's least and most, and what few rows share.
_ROW, _FEW_ROWS = (0.46, 0.8), 2.4
# Of a row's height: where bars of detections begin and how high the highest is; where instances are.
_FROM, _HIGHEST, _TRUTHS = 0.06, 0.54, (0.68, 0.22)


def plot_timeline(
    detections: Detections,
    annotations: Annotations,
    video: str,
    out: str | os.PathLike[str],
    *,
    path: str | os.PathLike[str] | None = None,
    tiou: float = 0.5,
    protocol: Protocol = "thumos14",
    matched: Matched | None = None,
    top: int = MOST_DETECTIONS,
) -> tuple[str, ...]:
    """Draw a video's instances and its `top` highest detections on a time line; .png, .svg or .pdf.

    path: the video's file, for a strip of frames above it. matched: (N,), as an evaluation of these detections at this tIoU has
    it; evaluated here where None. Returns what a reader should know, such as what is left out, a sentence each.

    Raises UsageError for an unknown video. A video that cannot be read leaves out the strip, and is a sentence.
    """
    kind = picture_kind(out)
    if video not in annotations.videos:
        raise UsageError(
            f"no video {video!r} in {annotations.name}{nearest(video, annotations.videos)}"
        )
    if matched is None:
        detections, matched = _evaluated(detections, annotations, tiou, protocol)
    known = judged(detections, matched, annotations, videos=(video,), tiou=tiou, protocol=protocol)
    images, seconds, missing = _strip(path)
    line = line_of(known, annotations, video, seconds=seconds, top=top)
    notes = (*line.notes, *missing)
    _draw(line, images, [line.video, line.summary(tiou)], notes, out, kind)
    return notes


def _evaluated(
    detections: Detections, annotations: Annotations, tiou: float, protocol: Protocol
) -> tuple[Detections, Matched]:
    from featx.tasks.localization._evaluate import evaluate

    at = evaluate(detections, annotations, tious=(tiou,), protocol=protocol).thresholds[0]
    return at.detections, at.matched


def _strip(path: str | os.PathLike[str] | None) -> tuple[Images, float | None, tuple[str, ...]]:
    """Return frames evenly over a video, as many as fill the strip, its length, and a sentence where there are none."""
    from PIL import Image

    if path is None:
        return [], None, (NO_VIDEO,)
    seconds = None
    try:
        film = Film(path)
        seconds = film.duration
        width, height = Image.open(io.BytesIO(film.at([seconds / 2])[0])).size
        count = int(np.clip(round(_PLOT / _STRIP * height / width), 4, 24))
        jpegs = film.at(
            spread_times(seconds, count),
            height=min(360, round(1.5 * _DPI * _PLOT / count * height / width)),
        )
    except FeatxError as error:
        return [], seconds, (f"no frames: {error}",)
    return [np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")) for jpeg in jpegs], seconds, ()


def _draw(
    line: Line,
    images: Images,
    title: list[str],
    notes: Sequence[str],
    out: str | os.PathLike[str],
    kind: str,
) -> None:
    from matplotlib.figure import Figure

    rows = max(len(line.rows), 1) * float(np.clip(_FEW_ROWS / max(len(line.rows), 1), *_ROW))
    strip = _PLOT / len(images) * images[0].shape[0] / images[0].shape[1] if images else 0.0
    head = 0.62 + 0.2 * len(notes)
    height = _BELOW + rows + strip + head
    left = 0.3 + 0.088 * max(
        [len(_short(row.name)) for row in line.rows], default=0
    )  # inches of a name in 9.5 points
    width = left + _PLOT + _RIGHT
    figure = Figure(figsize=(width, height), dpi=_DPI)

    def place(x: float, y: float, wide: float, tall: float) -> tuple[float, float, float, float]:
        return (left + x) / width, y / height, wide / width, tall / height

    axes = figure.add_axes(place(0, _BELOW, _PLOT, rows))
    _draw_rows(axes, line)
    _draw_axis(axes, line)
    for n, image in enumerate(images):
        part = _PLOT / len(images)
        frame = figure.add_axes(place(n * part + 0.01, _BELOW + rows + 0.06, part - 0.02, strip))
        frame.imshow(image, aspect="auto", interpolation="antialiased")
        frame.set_axis_off()
    _draw_head(figure, left, title, notes)
    _draw_legend(figure, line, left / width)
    save_picture(figure, out, kind)


def _draw_head(figure: Figure, left: float, title: list[str], notes: Sequence[str]) -> None:
    width, height = figure.get_figwidth(), figure.get_figheight()

    def write(text: str, down: float, **style: Any) -> None:
        figure.text(
            left / width,
            (height - down) / height,
            drawable(text, most=160),
            parse_math=False,
            **style,
        )

    name, counts = title
    write(name if len(name) <= 90 else "…" + name[-89:], 0.3, fontsize=12, weight="bold")
    write(counts, 0.5, fontsize=9.5)
    for n, note in enumerate(notes):
        write(note, 0.7 + 0.2 * n, fontsize=9, color="0.35")


def _draw_rows(axes: Axes, line: Line) -> None:
    for number, row in enumerate(line.rows):
        base = len(line.rows) - 1 - number
        if number % 2:
            axes.axhspan(base, base + 1, color="0.965", linewidth=0, zorder=0)
        for colour, filled in ((TRUTH, True), (TRUTH, False)):
            spans = [(t.start, t.end - t.start) for t in row.truths if t.found == filled]
            low, tall = _TRUTHS
            axes.broken_barh(
                spans,
                (base + low, tall),
                facecolor=colour if filled else "white",
                edgecolor=colour,
                linewidth=0.9,
            )
        for bar in row.bars:
            colour = _COLOURS[bar.matched]
            span = [(bar.start, bar.end - bar.start)]
            lane = (base + _FROM, _HIGHEST * bar.height)
            axes.broken_barh(
                span, lane, facecolor=_pale(colour), edgecolor=colour, linewidth=0.8, zorder=2
            )
    for start, end in line.ambiguous:
        axes.axvspan(
            start, end, facecolor="none", edgecolor="0.55", hatch="////", linewidth=0, zorder=3
        )
    if not line.rows:
        axes.text(
            0.5,
            0.5,
            "no instance and no detection",
            transform=axes.transAxes,
            ha="center",
            va="center",
            color="0.35",
        )
    names = [_short(drawable(row.name)) for row in line.rows]
    axes.set_yticks(
        [len(names) - 0.5 - n for n in range(len(names))], names, fontsize=9.5, parse_math=False
    )
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(0, max(1, len(names)))


def _draw_axis(axes: Axes, line: Line) -> None:
    at = ticks(line.seconds, 14)
    axes.set_xlim(0, line.seconds)
    axes.set_xticks(at, [tick_label(t, line.seconds) for t in at], fontsize=9)
    unit = "s" if line.seconds <= 120 else "min:s" if line.seconds < 3600 else "h:min:s"
    axes.set_xlabel(f"time ({unit})", fontsize=9)
    axes.grid(axis="x", color="0.88", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _draw_legend(figure: Figure, line: Line, left: float) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor=TRUTH, edgecolor=TRUTH, label="instance, found"),
        Patch(facecolor="white", edgecolor=TRUTH, label="instance, missed"),
        Patch(facecolor=_pale(TRUE), edgecolor=TRUE, label="true positive"),
        Patch(facecolor=_pale(FALSE), edgecolor=FALSE, label="false positive"),
    ]
    if line.outcomes[-1]:
        handles.append(Patch(facecolor=_pale(DROPPED), edgecolor=DROPPED, label="dropped"))
    if line.ambiguous:
        handles.append(
            Patch(facecolor="none", edgecolor="0.55", hatch="////", linewidth=0, label="ambiguous")
        )
    figure.legend(handles=handles, loc="lower left", ncols=len(handles), fontsize=9, frameon=False, borderpad=0,
                  bbox_to_anchor=(left, 0.12 / figure.get_figheight()))  # fmt: skip
    place = 1 - _RIGHT / figure.get_figwidth(), 0.19 / figure.get_figheight()
    figure.text(
        *place,
        "the taller a detection's bar, the higher its score",
        ha="right",
        fontsize=9,
        color="0.35",
    )


def _pale(colour: str) -> tuple[float, float, float]:
    """Return a bar's filling. It is opaque: two that are seen through each other have a third colour, of no meaning."""
    from matplotlib.colors import to_rgb

    red, green, blue = (0.55 * part + 0.45 for part in to_rgb(colour))
    return red, green, blue


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
