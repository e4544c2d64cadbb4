"""Accuracy by number of dimensions, drawn as in figure 3 of the Res3D paper."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from featx.report.picture import drawable, picture_kind, save_picture
from featx.tasks.compactness._result import PAPER_DATA, CompactResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = "osD^vP*X"
_PAPER_COLOUR = "0.45"
_PAPER_MARKERS = "*P"
# Factor on the logarithmic axis from one curve's points to the next one's.
_BESIDE = 1.03


def plot_curves(found: CompactResult, path: str | os.PathLike[str]) -> None:
    """Draw the curves to a .png, .svg or .pdf: dimensions on a logarithmic axis, the full size beside it, bars for intervals."""
    kind = picture_kind(path)
    from matplotlib.figure import Figure

    columns = len(found.curves) + len(found.paper)
    legend_rows = columns + bool(found.paper)
    figure = Figure(
        figsize=(8.2 + 0.25 * columns, 4.6 + 0.24 * legend_rows), layout="constrained", dpi=110
    )
    grid = figure.add_gridspec(1, 2, width_ratios=(6, 0.8 + 0.5 * columns))
    low = figure.add_subplot(grid[0])
    full = figure.add_subplot(grid[1], sharey=low)
    _draw_measured(low, full, found)
    _draw_paper(low, full, found)
    _label(low, full, found)
    handles, names = low.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", fontsize=9, frameon=False)
    figure.suptitle(
        "\n".join(drawable(line) for line in _title(found)), fontsize=10, parse_math=False
    )
    save_picture(figure, path, kind)


def _draw_measured(low: Axes, full: Axes, found: CompactResult) -> None:
    for place, curve in enumerate(found.curves):
        colour, marker = f"C{place % 10}", _MARKERS[place % len(_MARKERS)]
        # Beside each other, for bars that cover each other cannot be told apart, and bands mix to a third colour.
        aside = _BESIDE ** (place - (len(found.curves) - 1) / 2)
        values = [100 * point.value for point in curve.points]
        x = [aside * point.dims for point in curve.points]
        low.plot(
            x,
            values,
            color=colour,
            marker=marker,
            markersize=5,
            linewidth=1.6,
            label=drawable(curve.title),
        )
        low.errorbar(
            x,
            values,
            [
                [v - 100 * p.interval[0] for v, p in zip(values, curve.points, strict=True)],
                [100 * p.interval[1] - v for v, p in zip(values, curve.points, strict=True)],
            ],
            fmt="none",
            ecolor=colour,
            elinewidth=1.0,
            capsize=2.5,
        )
        value, (least, most) = 100 * curve.full.value, curve.full.interval
        bar = [[value - 100 * least], [100 * most - value]]
        full.errorbar(
            [place],
            [value],
            bar,
            color=colour,
            marker=marker,
            markersize=7,
            capsize=4,
            linewidth=1.2,
        )
        full.annotate(
            f"{value:.1f}",
            (place, value),
            xytext=(6, 4),
            textcoords="offset points",
            fontsize=8,
            color=colour,
        )


def _draw_paper(low: Axes, full: Axes, found: CompactResult) -> None:
    for place, each in enumerate(found.paper):
        marker = _PAPER_MARKERS[place % len(_PAPER_MARKERS)]
        x, values = zip(*each.points, strict=True)
        style: dict[str, Any] = {
            "color": _PAPER_COLOUR,
            "marker": marker,
            "markersize": 10,
            "markerfacecolor": "none",
            "linestyle": "none",
        }
        low.plot(x, values, label=f"the paper's {each.title}: {PAPER_DATA}", **style)
        at = len(found.curves) + place
        full.plot([at], [each.full[1]], **style)
        marks = [(low, dims, value) for dims, value in each.points] + [(full, at, each.full[1])]
        for axes, where, value in marks:
            axes.annotate(
                f"{value:.1f}",
                (where, value),
                xytext=(7, 4),
                textcoords="offset points",
                fontsize=8,
                color="0.3",
            )


def _label(low: Axes, full: Axes, found: CompactResult) -> None:
    ticks = sorted(
        {p.dims for c in found.curves for p in c.points}
        | {d for each in found.paper for d, _ in each.points}
    )
    low.set_xscale("log")
    low.set_xticks(ticks, _tick_labels(ticks))
    low.minorticks_off()
    if ticks:
        low.set_xlim(ticks[0] / 1.3, ticks[-1] * 1.5)  # room for numbers beside the points
    low.set_xlabel("dimensions after PCA")
    low.set_ylabel("accuracy of a linear SVM (%)")
    low.grid(alpha=0.3)
    widths = [curve.width for curve in found.curves] + [each.full[0] for each in found.paper]
    full.set_xticks(
        range(len(widths)),
        [f"{width:,}" for width in widths],
        rotation=45 if len(widths) > 2 else 0,
    )
    full.set_xlim(-0.6, len(widths) - 0.2)
    full.set_xlabel("full size")
    full.tick_params(axis="y", labelleft=False)
    full.grid(alpha=0.3)


def _tick_labels(ticks: list[int]) -> list[str]:
    """Return each tick's number, or nothing where it would run into the one before."""
    least = (ticks[-1] / ticks[0]) ** (1 / 20) if ticks else 1.0
    labels, before = [], 0.0
    for tick in ticks:
        labels.append(f"{tick:,}" if tick >= before * least else "")
        before = tick if labels[-1] else before
    return labels


def _title(found: CompactResult) -> list[str]:
    again = ", L2-normalised again" if found.normalise_again else ""
    return [
        found.where,
        f"PCA of the training videos{again}, linear SVM with C {found.C:g}; bars: 95 % intervals",
    ]
