"""Temporal non-maximum suppression: of detections that overlap, the surest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from featx.tasks.localization._types import Bools, Floats, Ints

# Overlaps are differences of tIoUs with few decimals: 0.3 - 0.1 is meant to be 0.2, not 0.19999999999999998.
_DECIMALS = 9


def overlap_for(tiou: float) -> float:
    """Return the overlap above which detections are suppressed for an evaluation at `tiou`: 0.1 less, 0 at least."""
    return max(0.0, round(tiou - 0.1, _DECIMALS))


def suppress(
    *, start: Floats, end: Floats, score: Floats, video: Ints, label: Ints, overlap: float
) -> npt.NDArray[np.int64]:
    """Return the rows that are left, ascending: of each video and label, a row goes if a surer one that stays overlaps it.

    start, end, score, video, label: (N,). Overlap is intersection over union, and has to be greater than `overlap`. Of equal
    scores the later row counts as surer, as in the authors' nms_temporal.m.
    """
    n = len(start)
    # Groups side by side; in each the surest first.
    ranked = np.lexsort((-np.arange(n), -score, label, video))
    kept = np.zeros(n, np.bool_)
    if n == 0:
        return np.flatnonzero(kept)
    changes = np.flatnonzero((np.diff(video[ranked]) != 0) | (np.diff(label[ranked]) != 0)) + 1
    for rows in np.split(ranked, changes):
        kept[rows] = _greedy(start[rows], end[rows], overlap)
    return np.flatnonzero(kept)


def _greedy(start: Floats, end: Floats, overlap: float) -> Bools:
    """Return which of one video's and label's detections stay, surest first."""
    n = len(start)
    if n == 1:
        return np.ones(1, np.bool_)
    # In the order of their starts, what can overlap a detection is a stretch of rows: long videos cost no more than short ones.
    by_start = np.argsort(start, kind="stable")
    place = np.empty(n, np.int64)
    place[by_start] = np.arange(n)
    begin, finish = start[by_start], end[by_start]
    length = finish - begin
    longest = length.max()
    first = np.searchsorted(begin, begin - longest - 1e-6 * (1 + longest), side="left").tolist()
    last = np.searchsorted(begin, finish, side="right").tolist()
    left = np.ones(n, np.bool_)
    kept = np.zeros(n, np.bool_)
    for row, p in enumerate(place.tolist()):
        if not left[p]:
            continue
        kept[row] = True
        near = slice(first[p], last[p])
        shared = np.maximum(
            0.0, np.minimum(finish[near], finish[p]) - np.maximum(begin[near], begin[p])
        )
        union = (length[near] + length[p]) - shared
        left[near] &= (
            np.divide(shared, union, out=np.zeros_like(shared), where=union > 0) <= overlap
        )
    return kept
