"""How well scores tell two kinds apart, whatever the threshold: ROC curves, their areas, and a picture of them."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from featx.report.picture import drawable, picture_kind, save_picture

Floats = npt.NDArray[np.float64]
Curve = tuple[Floats, Floats]

# Places at which curves are averaged.
_PLACES = 1001


def roc_curve(scores: Floats, positive: npt.ArrayLike) -> Curve:
    """Return the rates of false and of true positives from (0, 0) to (1, 1), a step for each different score, highest first.

    scores: (N,), higher for what is more likely positive. positive: (N,), true or false, some of both.
    """
    kinds = np.asarray(positive, bool)
    if kinds.all() or not kinds.any():
        raise ValueError(
            f"{kinds.sum()} of {len(kinds)} are positive: a ROC curve takes both kinds"
        )
    order = np.argsort(-scores, kind="stable")
    last = np.append(
        np.flatnonzero(np.diff(scores[order])), len(order) - 1
    )  # equal scores are taken together
    rates = [np.append(0.0, np.cumsum(kind[order])[last] / kind.sum()) for kind in (~kinds, kinds)]
    return rates[0], rates[1]


def area_under(curve: Curve) -> float:
    """Return the area under a curve: how often a positive scores above a negative, equal scores counting half."""
    false, true = curve
    return float(np.sum(np.diff(false) * (true[1:] + true[:-1])) / 2)


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Return the mean of the true positive rates at each false positive rate."""
    places = np.linspace(0, 1, _PLACES)
    # Where a curve rises without going right, the value at its upper end.
    mean = np.mean([np.interp(places, false, true) for false, true in curves], axis=0)
    return np.append(0.0, places), np.append(0.0, mean)


def plot_roc(
    path: str | os.PathLike[str],
    curves: Sequence[Curve],
    *,
    label: str,
    kinds: tuple[str, str],
    title: Sequence[str] = (),
) -> None:
    """Draw the ROC curves of folds, and their mean if there are several; .png, .svg or .pdf.

    label: of the mean, or of the only one. kinds: what negatives and positives are. title: its lines.
    """
    kind = picture_kind(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 5.9), layout="constrained", dpi=110)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=1, label="chance")
    if len(curves) > 1:
        for number, (false, true) in enumerate(curves):
            axes.plot(
                false,
                true,
                color="tab:blue",
                alpha=0.35,
                linewidth=0.8,
                label=None if number else f"{len(curves)} folds",
            )
    axes.plot(
        *(mean_curve(curves) if len(curves) > 1 else curves[0]),
        color="tab:blue",
        linewidth=2.2,
        label=drawable(label),
    )
    axes.set_xlim(-0.01, 1.01)  # lines along the border are seen whole
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal")
    axes.grid(alpha=0.3)
    axes.set_xlabel(f"false positives: share of {kinds[0]}")
    axes.set_ylabel(f"true positives: share of {kinds[1]}")
    axes.legend(loc="lower right", fontsize=9)
    axes.set_title(
        "\n".join(drawable(line, most=80) for line in title), fontsize=9, parse_math=False
    )
    save_picture(figure, path, kind)
