"""An evaluation's confusion matrix as a picture."""

from __future__ import annotations

import os

from featx.evaluation._result import Evaluation
from featx.report import plot_confusion as plot
from featx.report.picture import drawable


def plot_confusion(found: Evaluation, path: str | os.PathLike[str]) -> None:
    """Draw which classes were taken for which, as `featx.report.plot_confusion` does."""
    top1 = found.top1
    title = [
        drawable(found.dataset, most=60),
        f"{found.protocol.name}: {int(top1.right.sum())} of {len(found.ids)} {found.unit}s right, {top1.value:.1%}",
    ]
    if found.failures:
        title.append(f"{len(found.failures)} videos could not be read: counted as wrong, not drawn")
    plot(path, found.confusion, found.classes, title=title)
