"""From scored windows to detections: the length prior, suppression, and the rounding of results as they were published."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from featx.tasks.localization._prior import Prior, weighted
from featx.tasks.localization._suppression import suppress
from featx.tasks.localization._types import Detections, Floats, Windows


def detections_of(
    windows: Windows, prior: Prior | None, *, overlap: float | None, rounded: bool = False
) -> Detections:
    """Return windows as detections, surest first: scores times the prior, then suppression (Shou et al. 2016, section 3.4).

    prior: None leaves the scores. overlap: above which a surer detection of the same video and class suppresses another; None
    leaves all. rounded: times with one decimal, scores with five digits, as the authors wrote results before they were evaluated.
    """
    score = windows.score if prior is None else weighted(windows, prior)
    rows = np.arange(len(windows))
    if overlap is not None:
        rows = suppress(
            start=windows.start,
            end=windows.end,
            score=score,
            video=windows.video,
            label=windows.label,
            overlap=overlap,
        )
    # Equal scores stay in the authors' order, which the evaluation goes by: videos, classes, and the later window first.
    rows = rows[np.lexsort((-rows, windows.label[rows], windows.video[rows], -score[rows]))]
    found = Detections(
        classes=windows.classes,
        videos=windows.videos,
        video=windows.video[rows],
        label=windows.label[rows],
        start=windows.start[rows],
        end=windows.end[rows],
        score=score[rows],
    )
    return as_written(found) if rounded else found


def as_written(found: Detections) -> Detections:
    """Return detections as the S-CNN authors wrote them to a file: %.1f seconds and scores of five significant digits.

    The order of rows stays. The authors wrote the surest first, as `detections_of` returns them, so that by the THUMOS'14
    protocol scores which are equal only now are evaluated in the order of the unrounded ones.
    """
    return replace(
        found,
        start=_printed(found.start, "%.1f"),
        end=_printed(found.end, "%.1f"),
        score=_printed(found.score, "%.5g"),
    )


def _printed(values: Floats, form: str) -> Floats:
    # Not np.round, which multiplies and divides: 0.25 and its like would go another way than in print.
    return np.array([float(form % value) for value in values.tolist()], np.float64)
