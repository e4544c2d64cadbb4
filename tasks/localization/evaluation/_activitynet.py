"""The ActivityNet protocol: matching and interpolated average precision of its public evaluation code (eval_detection.py)."""

from __future__ import annotations

import numpy as np

from featx.tasks.localization._types import Bools, Detections, Floats, Ints
from featx.tasks.localization.evaluation._truth import Matched, Truth, by_pair


def order(found: Detections) -> Ints:
    """Return the rows in the order of evaluation: by descending score, equal ones last first: an ascending sort, turned round."""
    return np.argsort(found.score, kind="stable")[::-1]


def match(found: Detections, truth: Truth, tiou: float) -> Matched:
    """Return (N,): 1 for true positives, 0 for false ones; ambiguous stretches are none of this protocol's business.

    Each detection, surest first, takes of its video's free instances the one with the highest tIoU, if that is `tiou` or greater;
    of equal ones the last.
    """
    matched = np.zeros(len(found), np.int8)
    pairs = by_pair(found)
    for key, spans in truth.spans.items():
        if key in pairs:
            rows = pairs[key]
            rows = rows[np.argsort(found.score[rows], kind="stable")[::-1]]
            matched[rows] = _taking(spans, found.start[rows], found.end[rows], tiou)
    return matched


def _taking(spans: Floats, start: Floats, end: Floats, tiou: float) -> Bools:
    enough = np.stack([_overlap(span, start, end) >= tiou for span in spans], axis=1)
    taking = np.zeros(len(start), np.bool_)
    free = np.ones(len(spans), np.bool_)
    choices = enough.sum(axis=1)
    row = 0
    # As many rounds as there are instances, not detections: who finds nothing free changes nothing for those after it.
    while free.any():
        ahead = choices[row:] > 0
        row += int(ahead.argmax()) if len(ahead) else 0
        if not len(ahead) or choices[row] == 0:
            break
        overlap = _overlap(spans.T, start[row], end[row])
        overlap[~free] = -1.0
        best = len(overlap) - 1 - int(overlap[::-1].argmax())
        taking[row], free[best] = True, False
        choices = choices - enough[:, best]
        row += 1
    return taking


def _overlap(span: Floats, start: Floats | float, end: Floats | float) -> Floats:
    """Return the tIoU by that code's formula, to the bit: intersection over the sum of lengths less the intersection.

    Of two moments without duration it is 0.
    """
    begin, finish = span
    shared = np.maximum(np.minimum(end, finish) - np.maximum(start, begin), 0.0)
    union = (finish - begin) + (end - start) - shared
    overlap: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlap


def average_precision(positive: Bools, instances: int) -> float:
    """Return the area under the precision-recall curve, precision being the highest at this recall or beyond.

    positive: (N,), whether each detection of the class is a true positive, surest first.
    """
    places = np.flatnonzero(positive)
    precision = np.arange(1, len(places) + 1) / (places + 1)
    return float(np.maximum.accumulate(precision[::-1]).sum() / instances)
