"""Ground truth and detections brought onto the same list of videos and classes, and taken apart by them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from featx.datasets.untrimmed import Annotations, Instance
from featx.errors import UsageError, nearest
from featx.tasks.localization._types import Detections, Floats, Ints

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
            f"there are detections of video {first!r}, which {annotations} does not have: mend the name, give the videos that"
            " were searched with --videos, or leave such detections out with --annotated-only"
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
