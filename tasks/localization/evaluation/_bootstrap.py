"""How sure a mean average precision is: 95 % intervals by drawing videos again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from featx.tasks.localization._types import Bools, Floats, Ints, Protocol

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
