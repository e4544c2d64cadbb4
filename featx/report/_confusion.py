"""Which classes were taken for which: a picture, and a table of the classes that come out worst."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from featx.report._table import table
from featx.report.picture import drawable, picture_kind, save_picture

Ints = npt.NDArray[np.int64]

# Of more classes, numbers in the cells could not be read.
MOST_NUMBERS = 25
LONGEST_NAME = 24
# Classes that are listed for a person; --json has all.
MOST_CLASSES = 20


def plot_confusion(
    path: str | os.PathLike[str],
    confusion: Ints,
    classes: Sequence[str],
    *,
    title: Sequence[str] = (),
) -> None:
    """Draw which classes were taken for which: a row a class, in shares of its videos; .png, .svg or .pdf.

    confusion: (C, C), videos of the row's class that were taken for the column's. title: its lines, each short enough for one.
    Classes that no video has and none was taken for are left out, and the title says so.
    """
    kind = picture_kind(path)
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    shown = np.flatnonzero(confusion.any(axis=0) | confusion.any(axis=1))
    counts = confusion[np.ix_(shown, shown)]
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    names = [_short(drawable(classes[int(c)])) for c in shown]
    n = len(shown)
    numbers = n <= MOST_NUMBERS
    lines = [drawable(line) for line in title]
    if n < len(classes):
        lines.append(f"{len(classes) - n} classes without videos are left out")

    cell = 0.42 if numbers else 0.135  # inches; 0.135 holds a name in 7 points
    side = min(max(cell * n, 2.6), 40.0)
    margin = 0.085 * max(map(len, names)) + 0.5
    figure = Figure(
        figsize=(side + margin + 1.3, side + margin + 0.9), layout="constrained", dpi=110
    )
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
            axes.text(
                column,
                row,
                str(counts[row, column]),
                ha="center",
                va="center",
                color=colour,
                fontsize=8,
            )
    else:
        axes.set_xticks(np.arange(n) - 0.5, minor=True)
        axes.set_yticks(np.arange(n) - 0.5, minor=True)
        axes.grid(which="minor", color="0.9", linewidth=0.3)
        axes.tick_params(which="minor", length=0)
    bar = figure.colorbar(
        picture, ax=axes, fraction=0.04, pad=0.02, aspect=30, shrink=1.0 if numbers else 0.5
    )
    bar.set_label("share of the class's videos", fontsize=text)
    bar.ax.tick_params(labelsize=text)
    axes.set_title("\n".join(lines), fontsize=text, parse_math=False)
    save_picture(figure, path, kind)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def class_lines(classes: Sequence[str], confusion: Ints, right: Ints, videos: Ints) -> list[str]:
    """Return a table of the classes, worst first, with what they were most often taken for.

    confusion: (C, C), as for `plot_confusion`. right, videos: (C,), of each class; one without videos is left out.
    """
    confusion = confusion.copy()
    np.fill_diagonal(confusion, 0)
    shares = np.divide(right, videos, out=np.full(len(videos), np.inf), where=videos > 0)
    worst = [c for c in np.argsort(shares, kind="stable") if videos[c]]
    rows = []
    for c in worst[:MOST_CLASSES]:
        other = int(confusion[c].argmax())
        taken = f"{classes[other]} ({confusion[c, other]})" if confusion[c, other] else ""
        rows.append((classes[c], f"{100 * shares[c]:.1f}", f"{right[c]} of {videos[c]}", taken))
    more = (
        [f"... and {len(worst) - MOST_CLASSES} more classes: --json lists them all"]
        if len(worst) > MOST_CLASSES
        else []
    )
    return [
        table(rows, headers=("class, worst first", "%", "right", "most often taken for")),
        *more,
    ]
