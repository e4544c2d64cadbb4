"""A video's features over time as a picture."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featx.errors import UsageError
from featx.report.picture import drawable, picture_kind, save_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = NDArray[np.floating[Any]]

# More columns than a picture has pixels for are averaged together.
MOST_COLUMNS = 600


def plot_features(
    path: str | os.PathLike[str],
    times: ArrayLike,
    features: ArrayLike,
    *,
    title: str = "",
    dimensions: int = 64,
) -> None:
    """Draw one video's features over time: heat map, change from clip to clip, and similarity of all clips.

    times: (T, 2) seconds, [start, end) of each clip. features: (T, D). The picture's format follows
    the path's suffix (.png, .svg or .pdf); it appears whole or not at all.
    """
    times, features = np.asarray(times, np.float64), np.asarray(features, np.float32)
    if features.ndim != 2 or times.shape != (len(features), 2):
        raise ValueError(
            f"times {times.shape} and features {features.shape}: expected (T, 2) and (T, D)"
        )
    if features.size == 0:
        raise UsageError("no clips to draw: choose a video and a layer that have some")
    kind = picture_kind(path)
    from matplotlib.figure import Figure

    shown_times, shown = _fewer(times, features)
    edges = _edges(shown_times)
    figure = Figure(figsize=(12, 5.2), layout="constrained", dpi=110)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.25, 1), height_ratios=(2.2, 1))
    heat, change = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
    square = figure.add_subplot(grid[:, 1])
    _draw_heat_map(figure, heat, edges, shown, dimensions, features.shape[1])
    _draw_change(change, times, features)
    _draw_similarity(figure, square, edges, shown)
    heat.sharex(change)
    heat.tick_params(labelbottom=False)
    change.set_xlim(edges[0], edges[-1])
    count = f"{len(features)} clip{'s' if len(features) > 1 else ''}"
    name = drawable(title, most=90)
    figure.suptitle(f"{name}   ({count})" if name else count, fontsize=11, parse_math=False)
    save_picture(figure, path, kind)


def _draw_heat_map(
    figure: Figure, axes: Axes, edges: Values, features: Values, dimensions: int, n_all: int
) -> None:
    finite = np.where(np.isfinite(features), features, 0).astype(np.float64)
    spread = finite.std(axis=0)
    chosen = np.argsort(-spread, kind="stable")[: min(dimensions, n_all)]
    values = (finite[:, chosen] - finite[:, chosen].mean(axis=0)) / np.maximum(
        spread[chosen], 1e-12
    )
    # In the order in which they peak, so that what happens together stands together.
    values = values[:, np.argsort(values.argmax(axis=0), kind="stable")]
    mesh = axes.pcolormesh(
        edges,
        np.arange(len(chosen) + 1),
        values.T,
        cmap="RdBu_r",
        vmin=-2.5,
        vmax=2.5,
        shading="flat",
        rasterized=True,
    )
    axes.set_yticks([])
    axes.set_ylabel(f"{len(chosen)} of {n_all} dimensions")
    if len(features) == 1:
        axes.text(
            0.5, 0.5, "one clip: nothing varies", transform=axes.transAxes, ha="center", va="center"
        )
    axes.set_title("dimensions that vary most, in the order of their peaks", fontsize=9)
    bar = figure.colorbar(mesh, ax=axes, pad=0.015, fraction=0.05, extend="both")
    bar.set_label("standard deviations\nfrom the mean over clips", fontsize=8)


def _draw_change(axes: Axes, times: Values, features: Values) -> None:
    axes.set_xlabel("time in the video (s)")
    axes.set_ylabel("change\n(1 − cosine)")
    axes.grid(alpha=0.3)
    if len(features) == 1:
        axes.set_yticks([])
        axes.text(
            0.5,
            0.5,
            "one clip: nothing to compare it with",
            transform=axes.transAxes,
            ha="center",
            va="center",
        )
        return
    unit = _unit(features)
    change = 1 - np.sum(unit[1:] * unit[:-1], axis=1)
    middle = times.mean(axis=1)
    between = (middle[1:] + middle[:-1]) / 2
    marker = "o" if len(change) <= 100 else None
    axes.plot(between, change, color="tab:blue", marker=marker, markersize=3, linewidth=1.2)
    finite = change[np.isfinite(change)]
    axes.set_ylim(0, max(1e-6, 1.15 * float(finite.max())) if len(finite) else 1)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-3, 3))


def _draw_similarity(figure: Figure, axes: Axes, edges: Values, features: Values) -> None:
    unit = _unit(features)
    cosine = unit @ unit.T
    finite = cosine[np.isfinite(cosine)]
    # Never so fine a scale that rounding errors look like structure.
    lowest = min(float(finite.min()), 1 - 1e-4) if len(finite) else 0.0
    mesh = axes.pcolormesh(
        edges, edges, cosine, cmap="viridis", vmin=lowest, vmax=1, shading="flat", rasterized=True
    )
    axes.set_facecolor("lightgray")
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.set_xlabel("time in the video (s)")
    axes.set_ylabel("time in the video (s)")
    axes.set_title("similarity of clips", fontsize=9)
    bar = figure.colorbar(mesh, ax=axes, pad=0.02, fraction=0.046)
    bar.set_label("cosine", fontsize=8)
    bar.ax.ticklabel_format(axis="y", useOffset=False)


def _unit(features: Values) -> Values:
    """Return (T, D) rows of length 1; a row of zeros, which has no direction, becomes NaN."""
    rows = features.astype(np.float64)
    length = np.sqrt(np.sum(rows * rows, axis=1, keepdims=True))
    return cast(Values, rows / np.where(length > 0, length, np.nan))


def _fewer(times: Values, features: Values) -> tuple[Values, Values]:
    """Average neighbouring clips until there are no more than MOST_COLUMNS."""
    each = math.ceil(len(features) / MOST_COLUMNS)
    if each == 1:
        return times, features
    starts = np.arange(0, len(features), each)
    ends = np.minimum(starts + each, len(features))
    means = np.add.reduceat(features, starts, axis=0) / (ends - starts)[:, None]
    return np.stack([times[starts, 0], times[ends - 1, 1]], axis=1), means


def _edges(times: Values) -> Values:
    """Return the T + 1 bounds of the columns that stand for T clips: halfway between the clips' middles."""
    middle = times.mean(axis=1)
    half = (middle[1:] + middle[:-1]) / 2
    edges = np.concatenate([times[:1, 0], half, times[-1:, 1]])
    # Clips that share their times still get a column each.
    smallest = max(1e-6, (edges[-1] - edges[0]) * 1e-6)
    return cast(Values, np.maximum.accumulate(edges + smallest * np.arange(len(edges))))
