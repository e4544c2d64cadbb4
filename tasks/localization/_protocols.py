"""The two protocols: ground truth and detections on one list of videos, what matches what, and average precision."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from featx.datasets.untrimmed import Annotations, Instance
from featx.errors import UsageError, nearest
from featx.tasks.localization._types import Bools, Detections, Floats, Ints, Protocol

Matched = npt.NDArray[np.int8]

_SUFFIX = re.compile(r"\.(mp4|avi|mkv|webm|mov|m4v|mpg|mpeg|flv|wmv|ogv|3gp|ts)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """Ground truth of a list of videos.

    videos: sorted. spans: (M, 2) seconds of each (label, video) that has an instance, in their file's order.
    ambiguous: (K, 2) seconds of each video that has such stretches. counts: (classes, videos) instances.
    """

    classes: tuple[str, ...]
    videos: tuple[str, ...]
    spans: dict[tuple[int, int], Floats]
    ambiguous: dict[int, Floats]
    counts: Ints


class Names:
    """Videos' names, with or without a video file's suffix: v.mp4 is v where no other v is known."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = set(known)
        self._bare: dict[str, str | None] = {}
        for name in sorted(self._known):
            bare = _SUFFIX.sub("", name)
            self._bare[bare] = None if bare in self._bare else name

    def find(self, name: str) -> str | None:
        """Return the known name that is meant, None for an unknown video."""
        return name if name in self._known else self._bare.get(_SUFFIX.sub("", name))


def truth_of(annotations: Annotations, videos: Iterable[str]) -> Truth:
    """Return the ground truth of some videos; UsageError where none of them has an instance."""
    listed = tuple(sorted(set(videos)))
    places = {name: place for place, name in enumerate(listed)}
    inside = [i for i in annotations.instances if i.video in places]
    if not inside:
        raise UsageError(
            f"none of the {len(listed)} videos has an instance in {annotations.name}: give a list of annotated videos"
        )
    counts = np.zeros((len(annotations.classes), len(listed)), np.int64)
    for instance in inside:
        counts[instance.label, places[instance.video]] += 1
    spans = _together(inside, [(i.label, places[i.video]) for i in inside])
    unclear = [i for i in annotations.ambiguous if i.video in places]
    ambiguous = _together(unclear, [(0, places[i.video]) for i in unclear])
    return Truth(
        classes=annotations.classes,
        videos=listed,
        spans=spans,
        ambiguous={video: times for (_, video), times in ambiguous.items()},
        counts=counts,
    )


def _together(
    instances: Sequence[Instance], keys: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], Floats]:
    found: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for instance, key in zip(instances, keys, strict=True):
        found.setdefault(key, []).append((instance.start, instance.end))
    return {key: np.array(times, np.float64) for key, times in found.items()}


def on_truth(
    found: Detections, truth: Truth, *, known: Names, annotations: str, leave_out: bool
) -> tuple[Detections, int, int]:
    """Return detections in the truth's videos and classes, how many of known videos are not on its list, and how many unknown.

    known: of all videos that may occur. UsageError for a detection of a class, or unless `leave_out` of a video, that is unknown.
    """
    labels = {name: label for label, name in enumerate(truth.classes)}
    used = np.unique(found.label)
    for name in (found.classes[label] for label in used):
        if name not in labels:
            raise UsageError(
                f"there are detections of class {name!r}, which {annotations} does not have: "
                f"give the class's name there{nearest(name, labels)}"
            )
    places = {name: place for place, name in enumerate(truth.videos)}
    place = np.full(len(found.videos), -2, np.int64)  # -2 unknown, -1 not on the list
    for number, name in enumerate(found.videos):
        if (meant := known.find(name)) is not None:
            place[number] = places.get(meant, -1)
    where = place[found.video]
    unknown = int((where == -2).sum())
    if unknown and not leave_out:
        first = found.videos[found.video[np.argmax(where == -2)]]
        raise UsageError(
            f"there are detections of video {first!r}, which {annotations} does not have: mend the name, give `videos`, a list of"
            " those that were searched, or leave such detections out with `annotated_only=True`"
        )
    rows = np.flatnonzero(where >= 0)
    label = np.array([labels.get(name, -1) for name in found.classes], np.int64)
    placed = replace(
        found.take(rows),
        videos=truth.videos,
        classes=truth.classes,
        video=where[rows],
        label=label[found.label[rows]],
    )
    return placed, int((where == -1).sum()), unknown


def by_pair(found: Detections) -> dict[tuple[int, int], Ints]:
    """Return the rows of each (label, video) that has detections, ascending."""
    return {(label, video): rows for label, video, rows in _grouped(found)}


def _grouped(found: Detections) -> Iterator[tuple[int, int, Ints]]:
    key = found.label * max(1, len(found.videos)) + found.video
    order = np.argsort(key, kind="stable")
    if len(order) == 0:
        return
    for rows in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
        yield int(found.label[rows[0]]), int(found.video[rows[0]]), rows


# ---------------------------------------------------------------- THUMOS'14
# Its toolkit's matching and average precision (TH14evalDet, Jiang et al. 2014).


def _thumos_order(found: Detections) -> Ints:
    """Return the rows in the order of evaluation: by descending score, equal ones by their video's name, then as they come."""
    rank = np.empty(len(found.videos), np.int64)
    rank[np.argsort(np.array(found.videos, object), kind="stable")] = np.arange(len(found.videos))
    return np.lexsort((rank[found.video], -found.score))


def _thumos_match(found: Detections, truth: Truth, tiou: float) -> Matched:
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


def _thumos_precision(positive: Bools, instances: int) -> float:
    """Return the sum of the precisions at each true positive over the number of instances; not interpolated.

    positive: (N,), whether each detection of the class is a true positive, surest first, without those that are dropped.
    """
    places = np.flatnonzero(positive)
    return float((np.arange(1, len(places) + 1) / (places + 1)).sum() / instances)


# ---------------------------------------------------------------- ActivityNet
# Matching and interpolated average precision of its public evaluation code (eval_detection.py).


def _activitynet_order(found: Detections) -> Ints:
    """Return the rows in the order of evaluation: by descending score, equal ones last first: an ascending sort, turned round."""
    return np.argsort(found.score, kind="stable")[::-1]


def _activitynet_match(found: Detections, truth: Truth, tiou: float) -> Matched:
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


def _activitynet_precision(positive: Bools, instances: int) -> float:
    """Return the area under the precision-recall curve, precision being the highest at this recall or beyond.

    positive: (N,), whether each detection of the class is a true positive, surest first.
    """
    places = np.flatnonzero(positive)
    precision = np.arange(1, len(places) + 1) / (places + 1)
    return float(np.maximum.accumulate(precision[::-1]).sum() / instances)


# ---------------------------------------------------------------- both


@dataclass(frozen=True, kw_only=True)
class Rules:
    """A protocol. name, text: what a report calls it, and says of it, without an end.

    order: the rows of detections in the order of evaluation. match: (N,) int8 of detections at a tIoU: 1 for a true positive, 0
    for a false one, -1 for one that is dropped. average_precision: of a class, by which of its detections are true positives,
    surest first, and its number of instances.
    """

    name: str
    text: str
    order: Callable[[Detections], Ints]
    match: Callable[[Detections, Truth, float], Matched]
    average_precision: Callable[[Bools, int], float]


RULES: dict[Protocol, Rules] = {
    "thumos14": Rules(
        name="THUMOS'14",
        text=(
            "the THUMOS'14 toolkit's: each instance takes the free detection of highest tIoU, greater than the threshold;"
            " detections in ambiguous stretches dropped; average precision not interpolated"
        ),
        order=_thumos_order,
        match=_thumos_match,
        average_precision=_thumos_precision,
    ),
    "activitynet": Rules(
        name="ActivityNet",
        text=(
            "ActivityNet's evaluation code's: each detection, surest first, takes the free instance of highest tIoU, the"
            " threshold or greater; ambiguous stretches not looked at; average precision interpolated"
        ),
        order=_activitynet_order,
        match=_activitynet_match,
        average_precision=_activitynet_precision,
    ),
}
