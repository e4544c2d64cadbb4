"""Detections held against ground truth, by the THUMOS'14 protocol or by ActivityNet's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np

from featx.datasets.untrimmed import Annotations
from featx.errors import UsageError
from featx.tasks.localization._types import (
    AtThreshold,
    Detections,
    Evaluation,
    Floats,
    Ints,
    Protocol,
)
from featx.tasks.localization.evaluation import _activitynet, _thumos
from featx.tasks.localization.evaluation._bootstrap import Resampled, draws
from featx.tasks.localization.evaluation._truth import Matched, Names, Truth, on_truth, truth_of

TIOUS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
PROTOCOLS: tuple[Protocol, ...] = ("thumos14", "activitynet")
_RULES: dict[Protocol, ModuleType] = {"thumos14": _thumos, "activitynet": _activitynet}


def evaluate(
    found: Detections | Callable[[float], Detections],
    annotations: Annotations,
    *,
    tious: Sequence[float] = TIOUS,
    protocol: Protocol,
    videos: Sequence[str] | None = None,
    annotated_only: bool = False,
    bootstrap: int = 0,
    seed: int = 0,
) -> Evaluation:
    """Return the average precision of every class at every tIoU.

    found: detections, or a function that returns those for an evaluation at a tIoU, where suppression depends on it.
    videos: those it is computed over, by default all that were annotated; one that was not counts as free of actions.
    annotated_only: leave out detections of videos that neither the annotations nor `videos` name; UsageError without.
    bootstrap: how many times videos are drawn again for a 95 % interval of the mean; 0 is none, nor is there one of one video.
    """
    check_request(tious, bootstrap)
    known, listed = evaluated_videos(annotations, videos)
    truth = truth_of(annotations, listed)
    # Drawing one video again gives it again: an interval without width would look like certainty.
    times = (
        draws(len(truth.videos), bootstrap, seed=seed)
        if bootstrap and len(truth.videos) > 1
        else None
    )
    thresholds, missed = [], list[tuple[int, int]]()
    for tiou in tious:
        placed, elsewhere, unknown = on_truth(
            found(tiou) if callable(found) else found,
            truth,
            known=known,
            annotations=annotations.name,
            leave_out=annotated_only,
        )
        missed.append((elsewhere, unknown))
        thresholds.append(_at(placed, truth, tiou, protocol, times))
    return Evaluation(
        protocol=protocol,
        annotations=annotations.name,
        classes=truth.classes,
        instances=truth.counts.sum(axis=1),
        videos=truth.videos,
        thresholds=tuple(thresholds),
        notes=_notes(annotations, truth, protocol, missed, thresholds),
        settings={
            "tious": tuple(tious),
            "bootstrap": bootstrap,
            "seed": seed,
            "annotated_only": annotated_only,
        },
    )


def check_request(tious: Sequence[float], bootstrap: int) -> None:
    """Raise UsageError for thresholds or a number of draws that make no sense."""
    if not tious or any(not 0 < tiou < 1 for tiou in tious) or len(set(tious)) < len(tious):
        given = ",".join(f"{tiou:g}" for tiou in tious)
        raise UsageError(
            f"tIoUs {given!r}: give different numbers between 0 and 1, such as 0.3,0.5,0.7"
        )
    if bootstrap < 0:
        raise UsageError(f"{bootstrap} draws for the interval: give 0 for none, or about 1000")


def evaluated_videos(
    annotations: Annotations, videos: Sequence[str] | None
) -> tuple[Names, tuple[str, ...]]:
    """Return all names that detections may have, and those of the videos that are evaluated, as the annotations spell them."""
    annotated = Names(annotations.videos)
    if videos is None:
        return annotated, annotations.videos
    listed = tuple(annotated.find(name) or name for name in videos)
    if not listed:
        raise UsageError("the list of videos is empty: name a video a line")
    return Names((*annotations.videos, *listed)), listed


def ordered(at: AtThreshold, protocol: Protocol, label: int) -> Ints:
    """Return the rows of a class in the order of evaluation, surest first, without those that are dropped."""
    rows = np.flatnonzero((at.detections.label == label) & (at.matched >= 0))
    order: Ints = _RULES[protocol].order(at.detections.take(rows))
    return rows[order]


def curve(found: Evaluation, at: AtThreshold, label: int) -> tuple[Floats, Floats]:
    """Return a class's recall and precision after each of its detections, surest first, (N,) each."""
    right = np.cumsum(at.matched[ordered(at, found.protocol, label)] == 1)
    return right / max(1, int(found.instances[label])), right / np.arange(1, len(right) + 1)


def mean_over(found: Evaluation) -> float:
    """Return the mean over tIoUs of the mean average precision."""
    return float(np.mean([at.mean_ap for at in found.thresholds]))


def _at(
    placed: Detections, truth: Truth, tiou: float, protocol: Protocol, times: Ints | None
) -> AtThreshold:
    rules = _RULES[protocol]
    matched: Matched = rules.match(placed, truth, tiou)
    rows: Ints = rules.order(placed)
    rows = rows[matched[rows] >= 0]
    ap = np.full(len(truth.classes), np.nan)
    resampled = None if times is None else Resampled(protocol, times)
    for label, counts in enumerate(truth.counts):
        if not counts.any():
            continue
        own = rows[placed.label[rows] == label]
        ap[label] = rules.average_precision(matched[own] == 1, int(counts.sum()))
        if resampled is not None:
            resampled.add(matched[own] == 1, placed.video[own], counts)
    interval = None if resampled is None else resampled.interval()
    return AtThreshold(tiou=tiou, detections=placed, matched=matched, ap=ap, interval=interval)


def _notes(
    annotations: Annotations,
    truth: Truth,
    protocol: Protocol,
    missed: list[tuple[int, int]],
    thresholds: list[AtThreshold],
) -> tuple[str, ...]:
    notes = []
    elsewhere, unknown = zip(*missed, strict=True)
    for numbers, what in (
        (unknown, "were not annotated"),
        (elsewhere, "are not on the list of videos"),
    ):
        if any(numbers):
            most = (
                "" if len(set(numbers)) == 1 else "up to "
            )  # suppression leaves more at higher tIoUs
            notes.append(
                f"{most}{counted(max(numbers), 'detection')} of videos that {what} left out"
            )
    strangers = len(set(truth.videos) - set(annotations.videos))
    if strangers:
        notes.append(
            f"{counted(strangers, 'video')} on the list not annotated, and counted as free of actions"
        )
    empty = [
        name for name, counts in zip(truth.classes, truth.counts, strict=True) if not counts.any()
    ]
    if empty:
        which = ", ".join(empty[:3]) + (f" and {len(empty) - 3} more classes" if empty[3:] else "")
        notes.append(f"{which} without an instance in these videos: left out of the means")
    if protocol == "thumos14" and annotations.numbers and not annotations.ambiguous:
        notes.append(
            "the annotations have no ambiguous stretches: nothing is dropped, as the toolkit would with the official ones"
        )
    bare = [
        video
        for place, video in enumerate(truth.videos)
        if not truth.counts[:, place].any() and place in truth.ambiguous
    ]
    if bare and protocol == "activitynet":
        which = ", ".join(bare[:3]) + (" ..." if bare[3:] else "")
        notes.append(
            f"ambiguous stretches are not looked at, so that all detections in {which} count as false; ActivityNet's code is"
            " often run without such videos (--videos)"
        )
    if not any(len(at.detections) for at in thresholds):
        notes.append("there are no detections")
    return tuple(notes)


def counted(n: int, what: str) -> str:
    """Return how many of what there are, in words."""
    if n == 1:
        return f"1 {what}"
    return f"{n} {what}es" if what.endswith("s") else f"{n} {what}s"
