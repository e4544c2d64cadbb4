"""Precision over recall, a panel a class, as drawings within a page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featx.report.page import Markup, element
from featx.tasks.localization._types import AtThreshold, Evaluation, Floats
from featx.tasks.localization.evaluation._evaluate import curve

# Panels of a page, and points of a curve: a panel is some 200 pixels wide.
MOST_PANELS, MOST_POINTS = 40, 150
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
    """Return recall and precision as (P, 2), P at most MOST_POINTS: as the protocol's average precision reads the curve."""
    recall, precision = curve(evaluation, at, label)
    if evaluation.protocol == "activitynet":
        precision = np.maximum.accumulate(precision[::-1])[::-1]
    # Where recall rises, and before it does: between the two the curve falls straight down.
    rises = np.flatnonzero(np.diff(recall, prepend=0.0) > 0)
    kept = np.unique(np.concatenate([rises, np.maximum(rises - 1, 0)])) if len(rises) else rises
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
