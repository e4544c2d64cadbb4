"""Detections held against ground truth, by the THUMOS'14 protocol or by ActivityNet's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from featx.datasets.untrimmed import Annotations
from featx.errors import UsageError
from featx.tasks.localization._protocols import RULES, Names, Truth, on_truth, truth_of
from featx.tasks.localization._types import (
    AtThreshold,
    Bools,
    Detections,
    Evaluation,
    Floats,
    Ints,
    Protocol,
)

TIOUS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
PROTOCOLS: tuple[Protocol, ...] = tuple(RULES)


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
    return rows[RULES[protocol].order(at.detections.take(rows))]


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
    rules = RULES[protocol]
    matched = rules.match(placed, truth, tiou)
    rows = rules.order(placed)
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
            " often run on a list without such videos"
        )
    if not any(len(at.detections) for at in thresholds):
        notes.append("there are no detections")
    return tuple(notes)


def counted(n: int, what: str) -> str:
    """Return how many of what there are, in words."""
    if n == 1:
        return f"1 {what}"
    return f"{n} {what}es" if what.endswith("s") else f"{n} {what}s"


# ---------------------------------------------------------------- how sure a mean is: 95 % intervals by drawing videos again


# Draws that are computed at once: a class's true positives times as many numbers lie in memory.
_AT_ONCE = 250


def draws(videos: int, number: int, *, seed: int) -> Ints:
    """Return (videos, number): how often each draw of `videos` videos, with replacement, has each of them."""
    rng = np.random.default_rng(seed)
    times: Ints = rng.multinomial(videos, np.full(videos, 1 / videos), size=number).T.astype(
        np.int64
    )
    return times


class Resampled:
    """Sums and counts of the classes' average precisions in each draw, class by class. times: (videos, draws)."""

    def __init__(self, protocol: Protocol, times: Ints) -> None:
        self._protocol: Protocol = protocol
        self._times = times.astype(np.float64)
        self._sum = np.zeros(times.shape[1])
        self._classes = np.zeros(times.shape[1], np.int64)

    def add(self, positive: Bools, video: Ints, instances: Ints) -> None:
        """Add a class. positive, video: (N,) of its detections in the order of evaluation; instances: (videos,)."""
        for some in _parts(self._times.shape[1]):
            times = self._times[:, some]
            total = instances @ times
            there = (
                total > 0
            )  # a class of which a draw has no instance counts in that draw's mean no more than in any other
            precision = _precision_sums(self._protocol, positive, video, times) / np.maximum(
                total, 1
            )
            self._sum[some] += np.where(there, precision, 0.0)
            self._classes[some] += there

    def interval(self) -> tuple[float, float] | None:
        """Return the 2.5th and the 97.5th percentile of the draws' means; None where no draw has an instance."""
        means = self.means()
        return interval_of(means) if len(means) else None

    def means(self) -> Floats:
        """Return the mean average precision of each draw that has an instance at all."""
        there = self._classes > 0
        means: Floats = self._sum[there] / self._classes[there]
        return means


def _parts(number: int) -> Iterator[slice]:
    for first in range(0, number, _AT_ONCE):
        yield slice(first, min(first + _AT_ONCE, number))


def _precision_sums(protocol: Protocol, positive: Bools, video: Ints, times: Floats) -> Floats:
    """Return (draws,): sums of the precisions at true positives, where a detection comes as often as its video is drawn."""
    places = np.flatnonzero(positive)
    if len(places) == 0:
        return np.zeros(times.shape[1])
    # Precision matters at true positives alone; what lies between two of them is counted by video beforehand.
    between = np.searchsorted(places, np.arange(places[-1] + 1))
    n_videos = len(times)
    counts = np.bincount(
        between * n_videos + video[: places[-1] + 1], minlength=len(places) * n_videos
    )
    ahead = np.cumsum(counts.reshape(len(places), n_videos).astype(np.float64) @ times, axis=0)
    copies = times[video[places]]
    right = np.cumsum(copies, axis=0)
    if protocol == "activitynet":
        precision = right / np.maximum(ahead, 1)
        highest = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        summed: Floats = (copies * highest).sum(axis=0)
        return summed
    total = np.zeros(times.shape[1])
    for copy in range(
        1, int(copies.max()) + 1
    ):  # one by one: each copy is a true positive with a precision of its own
        before = copies - copy
        total += np.divide(
            right - before, ahead - before, out=np.zeros_like(right), where=before >= 0
        ).sum(axis=0)
    return total


def interval_of(values: npt.ArrayLike) -> tuple[float, float]:
    """Return the 2.5th and the 97.5th percentile."""
    low, high = np.quantile(np.asarray(values, np.float64), (0.025, 0.975))
    return float(low), float(high)
