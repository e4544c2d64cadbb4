"""A run's curves as a picture."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from featx.report.picture import drawable, picture_kind, save_picture

# More updates than this are averaged together: a picture has no pixels for them.
_MOST = 400


def plot_curves(folder: str | Path, *, title: str = "") -> None:
    """Draw loss, top-1 and learning rate of a run's steps.csv and epochs.csv to curves.png; nothing where no update was made."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    folder = Path(folder)
    steps, epochs = _columns(folder / "steps.csv"), _columns(folder / "epochs.csv")
    if not steps.get("step"):
        return
    figure = Figure(figsize=(9, 7), layout="constrained", dpi=110)
    loss, top1, lr = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1))
    step, lines = (
        _averaged(steps["step"]),
        {name: _averaged(steps[name]) for name in ("loss", "top1", "lr")},
    )
    several = -(-len(steps["step"]) // _MOST)
    each = "each update" if several == 1 else f"means of {several} updates"
    loss.plot(
        step,
        lines["loss"],
        color="tab:blue",
        alpha=0.6,
        linewidth=1,
        label=f"training clips, {each}",
    )
    top1.plot(
        step,
        100 * lines["top1"],
        color="tab:blue",
        alpha=0.6,
        linewidth=1,
        label=f"training clips, {each}",
    )
    if epochs.get("step"):
        at = np.asarray(epochs["step"])
        loss.plot(
            at,
            epochs["train_loss"],
            "o-",
            color="tab:blue",
            markersize=3,
            label="training clips, means of an epoch",
        )
        top1.plot(at, 100 * np.asarray(epochs["train_top1"]), "o-", color="tab:blue", markersize=3,
                  label="training clips, means of an epoch")  # fmt: skip
        loss.plot(
            at,
            epochs["val_loss"],
            "s-",
            color="tab:orange",
            markersize=4,
            label="validation videos",
        )
        top1.plot(
            at,
            100 * np.asarray(epochs["val_top1"]),
            "s-",
            color="tab:orange",
            markersize=4,
            label="validation videos",
        )
    finite = lines["loss"][np.isfinite(lines["loss"])]
    if len(finite):
        loss.set_ylim(
            0,
            1.05
            * max(
                [
                    float(np.quantile(finite, 0.99)),
                    *[v for v in epochs.get("val_loss", []) if np.isfinite(v)],
                ]
            ),
        )
    top1.set_ylim(0, 102)
    loss.set_ylabel("cross-entropy")
    top1.set_ylabel("top-1 (%)")
    lr.plot(step, lines["lr"], color="tab:green", drawstyle="steps-post")
    lr.set_yscale("log")
    lr.yaxis.set_minor_formatter(NullFormatter())
    lr.set_ylabel("learning rate")
    lr.set_xlabel("update")
    for axes in (loss, top1, lr):
        axes.grid(alpha=0.3)
    loss.legend(fontsize=8)
    figure.suptitle(drawable(title, most=100), fontsize=11, parse_math=False)
    path = folder / "curves.png"
    save_picture(figure, path, picture_kind(path))


def _columns(path: Path) -> dict[str, list[float]]:
    """Return a table's columns as numbers, NaN where a cell is empty."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        name: [float(row[name]) if row[name] else float("nan") for row in rows]
        for name in (rows[0] if rows else ())
    }


def _averaged(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    array = np.asarray(values, dtype=np.float64)
    several = -(-len(array) // _MOST)
    edges = np.arange(0, len(array), several)
    return np.add.reduceat(array, edges) / np.diff(np.append(edges, len(array)))
