"""What is wrong with detections, and which instances were found: what an evaluation's counts do not tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from featx.datasets.untrimmed import Annotations, Instance
from featx.tasks.localization._protocols import Matched
from featx.tasks.localization._types import (
    AtThreshold,
    Bools,
    Detections,
    Evaluation,
    Floats,
    Ints,
    Protocol,
    tiou_of,
)

# Kinds of false positives, and below 0 what is none: Alwassel et al., "Diagnosing error in temporal action detectors"
# (ECCV 2018), section 4.
SECOND, WRONG_CLASS, POOR_OVERLAP, BOTH_WRONG, BACKGROUND = range(5)
TRUE, DROPPED = -1, -2
NAMES = (
    "second detection",
    "wrong class",
    "poor overlap",
    "wrong class, poor overlap",
    "background",
)
# Below this tIoU a detection has nothing to do with an instance (the same).
LEAST_TIOU = 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """Detections held against the instances of the videos that an evaluation was computed over; N and I of them.

    matched: (N,), as `AtThreshold` has it. kind: (N,), a place in NAMES, TRUE or DROPPED. tiou: (N,), the highest with an
    instance of the kind's concern (of the same class for a second detection, of any for background), and nearest: (N,) that
    instance's place, -1 where the video has none. hit: (I,), the row of the instance's true positive, -1 where it was missed.
    best: (I,), the instance's highest tIoU with a detection of its class, and by: (I,) that detection's row, -1 where none is.
    """

    detections: Detections
    matched: Matched
    instances: tuple[Instance, ...]
    kind: Matched
    tiou: Floats
    nearest: Ints
    hit: Ints
    best: Floats
    by: Ints

    @property
    def found(self) -> Bools:
        """Return whether a true positive is the instance's: (I,)."""
        return self.hit >= 0


def judge(evaluation: Evaluation, at: AtThreshold, annotations: Annotations) -> Judged:
    """Return what is wrong with the detections that an evaluation counted at one of its thresholds."""
    return judged(
        at.detections,
        at.matched,
        annotations,
        videos=evaluation.videos,
        tiou=at.tiou,
        protocol=evaluation.protocol,
    )


def judged(
    detections: Detections,
    matched: Matched,
    annotations: Annotations,
    *,
    videos: Sequence[str],
    tiou: float,
    protocol: Protocol,
) -> Judged:
    """Return what is wrong with detections, of which matched tells the true positives, in these videos."""
    chosen = set(videos)
    instances = tuple(i for i in annotations.instances if i.video in chosen)
    n, label = len(detections), labels_of(detections, annotations.classes)
    kind = np.where(matched == 1, TRUE, np.where(matched == 0, BACKGROUND, DROPPED)).astype(np.int8)
    overlap, nearest = np.zeros(n), np.full(n, -1)
    best, by, hit = (
        np.zeros(len(instances)),
        np.full(len(instances), -1),
        np.full(len(instances), -1),
    )
    for rows, places in _by_video(detections, instances):
        of = [instances[place] for place in places]
        tious = tiou_of(
            detections.start[rows],
            detections.end[rows],
            np.array([i.start for i in of]),
            np.array([i.end for i in of]),
        )
        own = label[rows][:, None] == np.array([i.label for i in of])[None, :]
        reached = tious > tiou if protocol == "thumos14" else tious >= tiou
        kinds, which = _kinds(tious, own, reached)
        kind[rows] = np.where(kind[rows] == BACKGROUND, kinds, kind[rows])
        nearest[rows] = places[which]
        overlap[rows] = tious[np.arange(len(rows)), which]
        true = np.flatnonzero(matched[rows] == 1)
        allowed = np.where((own & reached)[true], tious[true], -1.0)
        for which_true, place in _taken(allowed, detections.score[rows[true]], protocol):
            hit[places[place]] = rows[true[which_true]]
        of_own = np.where(own, tious, 0.0)
        best[places], highest = of_own.max(axis=0), of_own.argmax(axis=0)
        by[places] = np.where(best[places] > 0, rows[highest], -1)
    return Judged(
        detections=detections,
        matched=matched,
        instances=instances,
        kind=kind,
        tiou=overlap,
        nearest=nearest,
        hit=hit,
        best=best,
        by=by,
    )


def labels_of(detections: Detections, classes: Sequence[str]) -> Ints:
    """Return the detections' places in other classes, -1 for one that is not among them: (N,)."""
    places = {name: place for place, name in enumerate(classes)}
    return np.array([places.get(name, -1) for name in detections.classes], np.int64)[
        detections.label
    ]


def best_threshold(detections: Detections, matched: Matched, instances: int) -> float:
    """Return the score at which F1 over all classes is highest when all that score as much are kept; infinity without any."""
    kept = np.flatnonzero(matched >= 0)
    order = kept[np.argsort(-detections.score[kept], kind="stable")]
    true = np.cumsum(matched[order] == 1)
    if not len(order) or not true[-1]:
        return float("inf")
    f1 = 2 * true / (np.arange(1, len(order) + 1) + instances)
    return float(detections.score[order[int(f1.argmax())]])


def _by_video(detections: Detections, instances: Sequence[Instance]) -> Iterator[tuple[Ints, Ints]]:
    """Yield the rows of detections and the places of instances of each video that has both."""
    of = {name: place for place, name in enumerate(detections.videos)}
    video = np.array([of.get(i.video, -1) for i in instances], np.int64)
    order, others = np.argsort(detections.video, kind="stable"), np.argsort(video, kind="stable")
    for place in np.intersect1d(detections.video, video):
        rows = order[slice(*np.searchsorted(detections.video[order], [place, place + 1]))]
        yield rows, others[slice(*np.searchsorted(video[others], [place, place + 1]))]


def _kinds(tious: Floats, own: Bools, reached: Bools) -> tuple[Ints, Ints]:
    """Return of N detections the kinds that they have if they are false, and of which of M instances: (N,) and (N,)."""
    near = tious >= LEAST_TIOU
    each = [own & reached, ~own & reached, own & near, ~own & near]
    kinds = np.select(
        [mask.any(axis=1) for mask in each],
        [SECOND, WRONG_CLASS, POOR_OVERLAP, BOTH_WRONG],
        BACKGROUND,
    )
    masks = np.stack([*each, np.ones_like(own)])[
        kinds, np.arange(len(kinds))
    ]  # (N, M), of each detection's kind
    return kinds, np.where(masks, tious, -1.0).argmax(axis=1)


def _taken(tious: Floats, scores: Floats, protocol: Protocol) -> list[tuple[int, int]]:
    """Return which of N true positives is which of M instances', matched again as the protocol did.

    tious: (N, M), -1 where the two may not be matched.
    """
    if (
        protocol == "thumos14"
    ):  # each instance takes the free detection with the highest tIoU, of equal ones the surest
        ranked = np.argsort(-scores, kind="stable")
        return [(int(ranked[row]), place) for place, row in _one_by_one(tious[ranked].T)]
    # Each detection, the surest first, takes the free instance, of equal ones the last.
    ranked, last = np.argsort(scores, kind="stable")[::-1], tious.shape[1] - 1
    return [(int(ranked[row]), last - place) for row, place in _one_by_one(tious[ranked, ::-1])]


def _one_by_one(tious: Floats) -> list[tuple[int, int]]:
    """Return what each row, one after the other, takes of the columns that are free: the first one with its highest tIoU."""
    tious, pairs = tious.copy(), list[tuple[int, int]]()
    for row in range(len(tious) if tious.size else 0):
        column = int(tious[row].argmax())
        if tious[row, column] >= 0:
            tious[:, column] = -1.0
            pairs.append((row, column))
    return pairs
