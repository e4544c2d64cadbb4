"""Precision-recall curves: a picture of them, and the panels of a page."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np

from featx.report.page import Markup, element
from featx.report.picture import drawable, picture_kind, save_picture
from featx.tasks.localization._evaluate import counted, curve, mean_over
from featx.tasks.localization._protocols import RULES
from featx.tasks.localization._types import AtThreshold, Evaluation, Floats

# Of more classes, panels of those with most instances: a picture cannot be of any size.
MOST_PANELS = 100
_COLUMNS = 5


def plot_curves(
    path: str | os.PathLike[str], found: Evaluation, *, title: Sequence[str] = ()
) -> None:
    """Draw each class's precision over recall at every tIoU, its average precision at the middle one above; .png, .svg or .pdf.

    title: lines above; protocol and number of videos follow.
    """
    kind = picture_kind(path)
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    there = np.flatnonzero(found.instances > 0)
    shown = np.sort(there[np.argsort(-found.instances[there], kind="stable")[:MOST_PANELS]])
    rows = math.ceil(len(shown) / _COLUMNS)
    columns = min(_COLUMNS, len(shown))
    named = _middle(found)
    colours = [colormaps["viridis"](x) for x in np.linspace(0.0, 0.92, len(found.thresholds))]
    figure = Figure(
        figsize=(max(2.1 * columns, 5.5) + 0.6, 1.95 * rows + 1.5), layout="constrained", dpi=110
    )
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for panel in panels.flat[len(shown) :]:
        panel.set_axis_off()
    for panel, label in zip(panels.flat, shown.tolist(), strict=False):
        for at, colour in zip(found.thresholds, colours, strict=True):
            recall, precision = _corners(*begun(*curve(found, at, label)))
            panel.plot(recall, precision, color=colour, linewidth=1.1)
            # Of one instance in a thousand the line is too short to be seen.
            panel.plot(recall[-1:], precision[-1:], "o", color=colour, markersize=2.5)
        name = drawable(found.classes[label])
        name = name if len(name) <= 22 else name[:21] + "…"
        panel.set_title(
            f"{name}\n{100 * named.ap[label]:.1f} % of {found.instances[label]}",
            fontsize=8,
            parse_math=False,
        )
        panel.set_xlim(-0.02, 1.02)
        panel.set_ylim(-0.02, 1.02)
        panel.grid(alpha=0.3)
        panel.tick_params(labelsize=7)
    for column in range(columns):
        lowest = panels.flat[max(place for place in range(len(shown)) if place % columns == column)]
        lowest.set_xlabel("recall", fontsize=8)
        lowest.tick_params(labelbottom=True)
    figure.supylabel("precision", fontsize=8)
    lines = [panels.flat[0].plot([], [], color=colour, linewidth=2)[0] for colour in colours]
    names = [f"{at.tiou:g}: {100 * at.mean_ap:.1f} %" for at in found.thresholds]
    figure.legend(
        lines,
        names,
        title="mAP at tIoU",
        title_fontsize=8,
        loc="outside lower center",
        ncols=min(7 if columns == _COLUMNS else 3, len(names)),
        fontsize=8,
        frameon=False,
    )
    head = [drawable(line, most=90) for line in title]
    over = f"{counted(len(found.videos), 'video')} of {drawable(found.annotations, most=40)}"
    head.append(
        f"{RULES[found.protocol].name} protocol, {over}: mAP {100 * mean_over(found):.1f} % over all tIoUs"
    )
    head.append(
        f"above each class: its average precision at tIoU {named.tiou:g}, and its number of instances"
    )
    if len(shown) < len(there):
        head.append(f"the {len(shown)} classes with most instances, of {len(there)}")
    figure.suptitle("\n".join(head), fontsize=9, parse_math=False)
    save_picture(figure, path, kind)


def _middle(found: Evaluation) -> AtThreshold:
    """Return what was found at tIoU 0.5, which most papers name, or else at the middle one."""
    return next(
        (at for at in found.thresholds if at.tiou == 0.5),
        found.thresholds[len(found.thresholds) // 2],
    )


def begun(recall: Floats, precision: Floats) -> tuple[Floats, Floats]:
    """Return a curve from its first true positive on, and before it a point at recall 0 of the same precision.

    False positives that are surer than that one have recall 0 and precision 0: no curve begins there. Empty without a true
    positive.
    """
    first = int(np.searchsorted(recall, 0.0, side="right"))
    there = precision[first : first + 1]
    return np.append(np.zeros(len(there)), recall[first:]), np.append(there, precision[first:])


def _corners(recall: Floats, precision: Floats) -> tuple[Floats, Floats]:
    """Leave out what lies on straight lines: between true positives precision falls at the same recall."""
    if len(recall) < 3:
        return recall, precision
    turns = np.diff(recall) > 0
    keep = np.concatenate(([True], turns)) | np.concatenate((turns, [True]))
    return recall[keep], precision[keep]


# ---------------------------------------------------------------- panels of a page


# Panels of a page, and points of a curve: a panel is some 200 pixels wide.
MOST_PAGE_PANELS, MOST_POINTS = 40, 150
STYLE = """
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 10.5rem), 1fr)); gap: .7rem; }
.panel { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .5rem; min-width: 0; }
.panel svg { display: block; width: 100%; height: auto; }
.panel figcaption { font-size: .85rem; line-height: 1.3; }
.panel text { font-size: 8px; fill: var(--soft); }
.grid { fill: none; stroke: var(--line); stroke-width: .7; }
.curve { fill: none; stroke: var(--hit); stroke-width: 1.6; stroke-linejoin: round; }
.under { fill: var(--hit); opacity: .14; }
.other { fill: none; stroke: var(--false); stroke-width: 1.3; stroke-dasharray: 4 2.5; }
"""
# A panel's drawing: 120 wide and high, curves in a square of 100 from (14, 6).
_LEFT, _TOP, _SIDE = 14, 6, 100


def panels(both: Sequence[tuple[Evaluation, AtThreshold]], labels: Sequence[int]) -> Markup:
    """Return the classes' curves by one protocol, filled below, and by others dashed."""
    return element("div", *(_panel(both, label) for label in labels), class_="panels")


def points_of(evaluation: Evaluation, at: AtThreshold, label: int) -> Floats:
    """Return recall and precision as (P, 2), P at most MOST_POINTS: as the protocol's average precision reads the curve.

    The first is the first true positive.
    """
    recall, precision = curve(evaluation, at, label)
    if evaluation.protocol == "activitynet":
        precision = np.maximum.accumulate(precision[::-1])[::-1]
    # Where recall rises, and before it does: between the two the curve falls straight down.
    rises = np.flatnonzero(np.diff(recall, prepend=0.0) > 0)
    kept = np.unique(np.concatenate([rises, rises[1:] - 1]))
    if len(kept) > MOST_POINTS:
        kept = kept[np.unique(np.linspace(0, len(kept) - 1, MOST_POINTS).round().astype(int))]
    return np.stack([recall[kept], precision[kept]], axis=1)


def _panel(both: Sequence[tuple[Evaluation, AtThreshold]], label: int) -> Markup:
    evaluation = both[0][0]
    lines = [_path(points_of(e, a, label), number) for number, (e, a) in enumerate(both)]
    parts = [part for line in reversed(lines) for part in line]
    name = evaluation.classes[label]
    count = int(evaluation.instances[label])
    values = " / ".join(f"{100 * a.ap[label]:.1f}" for _, a in both)
    drawing = element(
        "svg",
        *_axes(),
        *parts,
        viewBox="0 0 120 120",
        role="img",
        **{"aria-label": f"precision over recall, {name}"},
    )
    said = f"AP {values} %, {count:,} instance{'s' if count != 1 else ''}"
    return element(
        "figure",
        drawing,
        element("figcaption", element("strong", name, class_="name", title=name), said),
        class_="panel",
    )


def _path(points: Floats, number: int) -> list[Markup]:
    if not len(points):
        return []
    first = [(0.0, float(points[0, 1]))]
    at = [
        f"{_LEFT + _SIDE * r:.1f} {_TOP + _SIDE * (1 - p):.1f}"
        for r, p in [*first, *points.tolist()]
    ]
    line = "M" + " L".join(at)
    if number:
        return [element("path", d=line, class_="other")]
    end = _LEFT + _SIDE * float(points[-1, 0])
    return [element("path", d=f"{line} L{end:.1f} {_TOP + _SIDE} L{_LEFT} {_TOP + _SIDE} Z", class_="under"),
            element("path", d=line, class_="curve")]  # fmt: skip


def _axes() -> list[Markup]:
    low, right = _TOP + _SIDE, _LEFT + _SIDE
    marks = [_TOP + _SIDE * n / 4 for n in range(5)]
    across = " ".join(f"M{_LEFT} {y:g} H{right}" for y in marks)
    down = " ".join(f"M{_LEFT + _SIDE * n / 4:g} {_TOP} V{low}" for n in range(5))
    anchors = {
        "start": {"text-anchor": "start"},
        "middle": {"text-anchor": "middle"},
        "end": {"text-anchor": "end"},
    }
    turned = f"rotate(-90 {_LEFT - 6} {_TOP + _SIDE / 2:g})"
    return [
        element("path", d=f"{across} {down}", class_="grid"),
        element("text", "1", x=str(_LEFT - 3), y=str(_TOP + 6), **anchors["end"]),
        element("text", "0", x=str(_LEFT - 3), y=str(low), **anchors["end"]),
        element("text", "0", x=str(_LEFT), y=str(low + 10), **anchors["start"]),
        element("text", "1", x=str(right), y=str(low + 10), **anchors["end"]),
        element("text", "recall", x=f"{_LEFT + _SIDE / 2:g}", y=str(low + 10), **anchors["middle"]),
        element(
            "text",
            "precision",
            x=str(_LEFT - 4),
            y=f"{_TOP + _SIDE / 2:g}",
            transform=turned,
            **anchors["middle"],
        ),
    ]
