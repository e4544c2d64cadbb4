"""A video's ground truth and detections on a time line, under a strip of its frames, as a picture."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.datasets.untrimmed import Annotations
from featx.errors import FeatxError, UsageError, nearest
from featx.report.picture import drawable, picture_kind, save_picture
from featx.tasks.localization._types import Detections, Protocol
from featx.tasks.localization.evaluation._truth import Matched
from featx.tasks.localization.pictures._timeline_errors import judged
from featx.tasks.localization.pictures._timeline_rows import (
    MOST_DETECTIONS,
    Line,
    line_of,
    spread_times,
    tick_label,
    ticks,
)
from featx.video.thumbnails import Film

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
    from featx.tasks.localization.evaluation._evaluate import evaluate

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
                span, lane, facecolor=(colour, 0.55), edgecolor=colour, linewidth=0.8, zorder=2
            )
    for start, end in line.ambiguous:
        axes.axvspan(
            start, end, facecolor="none", edgecolor="0.55", hatch="////", linewidth=0, zorder=1
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
        Patch(facecolor=(TRUE, 0.55), edgecolor=TRUE, label="true positive"),
        Patch(facecolor=(FALSE, 0.55), edgecolor=FALSE, label="false positive"),
    ]
    if line.outcomes[-1]:
        handles.append(Patch(facecolor=(DROPPED, 0.55), edgecolor=DROPPED, label="dropped"))
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


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
