"""Accuracy against multiply-adds, for the networks of a study."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.errors import FeatxError, UsageError
from featx.report.picture import check_picture, drawable, save_picture
from featx.system.csv_cells import cell_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A study's own columns first, then what others may call them.
NAME, ACCURACY, PAPER = ("name", "row", "model"), ("accuracy",), ("paper", "paper_accuracy")
MULTIPLY_ADDS, GROUP = ("multiply_adds",), ("group",)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A network of a study. accuracy, paper: measured and printed, percent, None where there is none; group: its colour.

    multiply_adds: of one clip's forward pass.
    """

    name: str
    multiply_adds: float
    accuracy: float | None
    paper: float | None = None
    group: str = ""


def cost(
    results: str | os.PathLike[str], out: str | os.PathLike[str], *, title: str | None = None
) -> list[Cost]:
    """Draw the accuracy of a study's networks against their multiply-adds, and return them.

    As figure 5 of Tran et al. 2017. results: a .csv with the columns name, multiply_adds and accuracy (percent), and, where
    there are, paper (percent, drawn hollow) and group (a colour each); other columns are not looked at, and a network
    without an accuracy yet has an empty cell. title: the file's name by default.
    """
    check_picture(out)
    rows = read_costs(results)
    plot_cost(rows, out, title=Path(results).stem if title is None else title)
    return rows


def read_costs(results: str | os.PathLike[str]) -> list[Cost]:
    """Read a study's table; UsageError, with the line, for what is no number, and for a column that is missing."""
    path = os.fspath(results)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            lines = [(reader.line_num, line) for line in reader]
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} is not a table in UTF-8 ({error}): give a study's .csv") from None
    named = {
        wanted[0]: next((c for c in wanted if c in columns), None)
        for wanted in (NAME, ACCURACY, PAPER, MULTIPLY_ADDS, GROUP)
    }
    if missing := [name for name in ("name", "accuracy", "multiply_adds") if named[name] is None]:
        raise UsageError(
            f"{path} has no column {' or '.join(missing)}, only {', '.join(columns) or 'none'}: give a study's .csv"
        )

    def cell(line: dict[str, Any], name: str) -> str:
        column = named[name]
        return (line[column] or "").strip() if column is not None else ""

    def number(where: int, line: dict[str, Any], name: str, most: float) -> float | None:
        text = cell(line, name)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not 0 <= value <= most:
            limit = " from 0 to 100" if most == 100 else ""
            raise UsageError(f"{path}, line {where}: {name} is {text!r}: give a number{limit}")
        return value

    rows = []
    for where, line in lines:
        multiply_adds = number(where, line, "multiply_adds", 1e18)
        if not multiply_adds:
            raise UsageError(
                f"{path}, line {where}: {cell(line, 'name')!r} has no multiply_adds: give a number above 0"
            )
        rows.append(
            Cost(
                name=cell_text(cell(line, "name")),
                multiply_adds=multiply_adds,
                accuracy=number(where, line, "accuracy", 100),
                paper=number(where, line, "paper", 100),
                group=cell_text(cell(line, "group")),
            )
        )
    return rows


def plot_cost(rows: Sequence[Cost], out: str | os.PathLike[str], *, title: str = "") -> None:
    """Draw accuracies against multiply-adds: measured ones filled, printed ones hollow, a colour a group.

    A network with both has them joined by a line. Raises FeatxError if no row has an accuracy of either kind.
    """
    kind = check_picture(out)
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    drawn = [row for row in rows if row.accuracy is not None or row.paper is not None]
    if not drawn:
        raise FeatxError(
            f"not one of {len(rows)} rows has an accuracy to draw: run the study first"
        )
    groups = list(dict.fromkeys(row.group for row in drawn))
    palette = colormaps["tab10" if len(groups) <= 10 else "tab20"]
    colours = {group: palette(i % palette.N) for i, group in enumerate(groups)}

    figure = Figure(figsize=(9, 6), layout="constrained", dpi=110)
    axes = figure.add_subplot()
    for row in drawn:
        x, colour = row.multiply_adds / 1e9, colours[row.group]
        if row.accuracy is not None and row.paper is not None:
            axes.plot(
                [x, x], [row.accuracy, row.paper], color=colour, linewidth=0.8, alpha=0.6, zorder=1
            )
        if row.paper is not None:
            axes.plot(
                [x], [row.paper], "o", color=colour, markerfacecolor="white", markersize=6, zorder=2
            )
        if row.accuracy is not None:
            axes.plot([x], [row.accuracy], "o", color=colour, markersize=7, zorder=3)
    costs = [row.multiply_adds for row in drawn]
    if max(costs) > 20 * min(costs):
        axes.set_xscale("log")
        # At 1, 2 and 5 of every decade: matplotlib's own labels run into each other.
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(0.12, 0.1)
    axes.set_xlabel("multiply-adds of one clip (1e9)")
    axes.set_ylabel("accuracy (%)")
    axes.grid(alpha=0.3)
    _legend(figure, drawn, colours)
    head = drawable(title, most=100)
    missing = len(rows) - len(drawn)
    # Over the axes, not the figure, where a long title would meet the legend.
    axes.set_title(
        f"{head}\n{missing} of {len(rows)} without an accuracy" if missing else head,
        fontsize=10,
        parse_math=False,
    )
    figure.draw_without_rendering()
    _name(axes, drawn)
    save_picture(figure, out, kind)


def _legend(figure: Figure, drawn: Sequence[Cost], colours: dict[str, Any]) -> None:
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], color=c, marker="o", linestyle="", label=drawable(g, most=40))
        for g, c in colours.items()
        if g
    ]
    if any(row.paper is not None for row in drawn):
        kinds = [("gray", "measured")] if any(row.accuracy is not None for row in drawn) else []
        for face, label in [*kinds, ("white", "as the paper prints it")]:
            marks.append(
                Line2D(
                    [],
                    [],
                    color="gray",
                    markerfacecolor=face,
                    marker="o",
                    linestyle="",
                    label=label,
                )
            )
    if marks:
        figure.legend(handles=marks, fontsize=8, loc="outside right upper", frameon=False)


def _name(axes: Axes, drawn: Sequence[Cost]) -> None:
    """Write each network's name beside its mark, where it meets no mark and no name, if there is such a place."""
    from matplotlib.transforms import Bbox

    marks = [
        (row.multiply_adds / 1e9, y)
        for row in drawn
        for y in (row.accuracy, row.paper)
        if y is not None
    ]
    taken = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in axes.transData.transform(marks)]
    places = [
        (8, 0, "left"),
        (-8, 0, "right"),
        (0, 11, "center"),
        (0, -11, "center"),
        (8, 9, "left"),
        (8, -9, "left"),
    ]
    places += [(-8, 9, "right"), (-8, -9, "right"), (0, 20, "center"), (0, -20, "center")]
    for row in drawn:
        point = (row.multiply_adds / 1e9, row.accuracy if row.accuracy is not None else row.paper)
        boxes = []
        for dx, dy, side in places:
            text = axes.annotate(
                drawable(row.name, most=30),
                point,
                (dx, dy),
                textcoords="offset points",
                ha=side,
                va="center",
                fontsize=7.5,
            )
            box = text.get_window_extent()
            overlap = sum(
                box.x0 < t.x1 and t.x0 < box.x1 and box.y0 < t.y1 and t.y0 < box.y1 for t in taken
            )
            outside = not (axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1)
            boxes.append((overlap + outside, text, box))
        _, best, box = min(boxes, key=lambda b: b[0])
        for _, text, _ in boxes:
            if text is not best:
                text.remove()
        taken.append(box)
