"""The THUMOS'14 protocol: its toolkit's matching and average precision (TH14evalDet, Jiang et al. 2014)."""

from __future__ import annotations

import numpy as np

from featx.tasks.localization._types import Bools, Detections, Floats, Ints
from featx.tasks.localization.evaluation._truth import Matched, Truth, by_pair


def order(found: Detections) -> Ints:
    """Return the rows in the order of evaluation: by descending score, equal ones by their video's name, then as they come."""
    rank = np.empty(len(found.videos), np.int64)
    rank[np.argsort(np.array(found.videos, object), kind="stable")] = np.arange(len(found.videos))
    return np.lexsort((rank[found.video], -found.score))


def match(found: Detections, truth: Truth, tiou: float) -> Matched:
    """Return (N,): 1 for true positives, 0 for false ones, -1 for those that an ambiguous stretch drops.

    Each instance, in its file's order, takes of its video's free detections the one with the highest tIoU, if it is greater than
    `tiou`; of equal ones the surest. Free detections that share any time with an ambiguous stretch of their video are dropped.
    """
    matched = np.zeros(len(found), np.int8)
    pairs = by_pair(found)
    for key, spans in truth.spans.items():
        if key not in pairs:
            continue
        rows = pairs[key]
        rows = rows[np.argsort(-found.score[rows], kind="stable")]
        matched[rows] = ~_free(spans, found.start[rows], found.end[rows], tiou)
    for (_, video), rows in pairs.items():
        if video in truth.ambiguous:
            spans = truth.ambiguous[video]
            shared = np.minimum(found.end[rows, None], spans[:, 1]) > np.maximum(
                found.start[rows, None], spans[:, 0]
            )
            matched[rows[shared.any(axis=1) & (matched[rows] == 0)]] = -1
    return matched


def _free(spans: Floats, start: Floats, end: Floats, tiou: float) -> Bools:
    free = np.ones(len(start), np.bool_)
    for begin, finish in spans.tolist():
        # The toolkit's own formula, to the bit: over the hull, which is the union where there is an intersection.
        shared = np.minimum(end, finish) - np.maximum(start, begin)
        hull = np.maximum(end, finish) - np.minimum(start, begin)
        overlap = np.divide(np.maximum(shared, 0.0), hull, out=np.zeros_like(hull), where=hull > 0)
        overlap[~free] = -1.0
        best = int(overlap.argmax())
        if overlap[best] > tiou:
            free[best] = False
    return free


def average_precision(positive: Bools, instances: int) -> float:
    """Return the sum of the precisions at each true positive over the number of instances; not interpolated.

    positive: (N,), whether each detection of the class is a true positive, surest first, without those that are dropped.
    """
    places = np.flatnonzero(positive)
    return float((np.arange(1, len(places) + 1) / (places + 1)).sum() / instances)
