"""Precision-recall curves as a picture: a small panel a class, a line a tIoU."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np

from featx.report.picture import drawable, picture_kind, save_picture
from featx.tasks.localization._types import AtThreshold, Evaluation, Floats
from featx.tasks.localization.evaluation._evaluate import counted, curve, mean_over
from featx.tasks.localization.evaluation._report import PROTOCOL_NAMES

# Of more classes, panels of those with most instances: a picture cannot be of any size.
MOST_PANELS = 100
_COLUMNS = 5


def plot_curves(
    path: str | os.PathLike[str], found: Evaluation, *, title: Sequence[str] = ()
) -> None:
    """Draw each class's precision over recall at every tIoU, its average precision at the middle one above; .png, .svg or .pdf.

    title: lines above; protocol and number of videos follow.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    kind = picture_kind(path)
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
            recall, precision = _corners(*curve(found, at, label))
            # One detection alone is a point, and a line through it nothing.
            panel.plot(
                recall,
                precision,
                color=colour,
                linewidth=1.1,
                marker="o" if len(recall) == 1 else "",
                markersize=3,
            )
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
        f"{PROTOCOL_NAMES[found.protocol]} protocol, {over}: mAP {100 * mean_over(found):.1f} % over all tIoUs"
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


def _corners(recall: Floats, precision: Floats) -> tuple[Floats, Floats]:
    """Leave out what lies on straight lines: between true positives precision falls at the same recall."""
    if len(recall) < 3:
        return recall, precision
    turns = np.diff(recall) > 0
    keep = np.concatenate(([True], turns)) | np.concatenate((turns, [True]))
    return recall[keep], precision[keep]
