"""The confusion matrix as a picture."""

from __future__ import annotations

import os

import numpy as np

from featx.evaluation._result import Evaluation
from featx.picture import drawable, picture_kind, save_picture

# Of more classes, numbers in the cells could not be read.
MOST_NUMBERS = 25
LONGEST_NAME = 24


def plot_confusion(found: Evaluation, path: str | os.PathLike[str]) -> None:
    """Draw which classes were taken for which: a row a class, in shares of its videos; .png, .svg or .pdf.

    Classes that no video has and none was taken for are left out, and the title says so.
    """
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    kind = picture_kind(path)
    counts = found.confusion
    shown = np.flatnonzero(counts.any(axis=0) | counts.any(axis=1))
    counts = counts[np.ix_(shown, shown)]
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    names = [_short(drawable(found.classes[c])) for c in shown]
    n = len(shown)
    numbers = n <= MOST_NUMBERS

    cell = 0.42 if numbers else 0.135  # inches; 0.135 holds a name in 7 points
    side = min(max(cell * n, 2.6), 40.0)
    margin = 0.085 * max(map(len, names)) + 0.5
    figure = Figure(figsize=(side + margin + 1.3, side + margin + 0.9), layout="constrained", dpi=110)
    axes = figure.add_subplot()
    # Without numbers, a single video of a class must not be paler than the eye can see.
    scale = PowerNorm(1.0 if numbers else 0.5, vmin=0, vmax=1)
    picture = axes.imshow(shares, cmap="Blues", norm=scale, interpolation="nearest")
    size = min(9.0, 0.8 * 72 * side / n)
    axes.set_xticks(range(n), names, rotation=90, fontsize=size, parse_math=False)
    axes.set_yticks(range(n), names, fontsize=size, parse_math=False)
    text = max(9.0, side)  # points: a large picture is looked at from afar
    axes.set_xlabel("taken for", fontsize=text)
    axes.set_ylabel("class", fontsize=text)
    if numbers:
        for row, column in np.argwhere(counts):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=8)
    else:
        axes.set_xticks(np.arange(n) - 0.5, minor=True)
        axes.set_yticks(np.arange(n) - 0.5, minor=True)
        axes.grid(which="minor", color="0.9", linewidth=0.3)
        axes.tick_params(which="minor", length=0)
    bar = figure.colorbar(picture, ax=axes, fraction=0.04, pad=0.02, aspect=30, shrink=1.0 if numbers else 0.5)
    bar.set_label("share of the class's videos", fontsize=text)
    bar.ax.tick_params(labelsize=text)
    axes.set_title(_title(found, n), fontsize=text, parse_math=False)
    save_picture(figure, path, kind)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _title(found: Evaluation, n_shown: int) -> str:
    top1, n = found.top1, len(found.ids)
    lines = [
        drawable(found.dataset, most=60),
        f"{found.protocol.name}: {int(top1.right.sum())} of {n} videos right, {top1.value:.1%}",
    ]
    if found.failures:
        lines.append(f"{len(found.failures)} videos could not be read: counted as wrong, not drawn")
    if n_shown < len(found.classes):
        lines.append(f"{len(found.classes) - n_shown} classes without videos are left out")
    return "\n".join(lines)
