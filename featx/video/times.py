"""When each frame of a video is shown: its own timestamps, put right where they cannot be.

The frames come in the order in which they are shown, and that order decides. Timestamps that restart
(two recordings one after the other) go on from the frame before; frames without a time, or with the
time of the frame before, get one by the frame rate. All other times stay as they are, to the bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[np.float64]
Marks = npt.NDArray[np.bool_]


@dataclass
class Clock:
    """The timestamps of a video's frames, in the order in which they are shown.

    Attributes:
        rate: Frames a second, for frames that have no time of their own.
        stamps: Each frame's own time in seconds; nan where it has none.
        restarts: First frames of stretches whose timestamps start again, each with the seconds for
            which the frame before it is shown.
    """

    rate: float
    stamps: list[float] = field(default_factory=list)
    restarts: dict[int, float] = field(default_factory=dict)

    def add(self, stamp: float, *, restarts_after: float | None = None) -> None:
        """Add a frame. restarts_after: its stretch is new; seconds that the frame before is shown."""
        if restarts_after is not None:
            self.restarts[len(self.stamps)] = restarts_after
        self.stamps.append(stamp)

    def shown(self) -> tuple[Seconds, Marks]:
        """Return when each frame is shown, strictly increasing, and which times are by the rate."""
        first = [0, *self.restarts]
        stamps = np.asarray(self.stamps, dtype=np.float64)
        found = list[Seconds]()
        marks = list[Marks]()
        for start, end in zip(first, [*first[1:], len(stamps)], strict=True):
            times, guessed = stretch_times(stamps[start:end], self.rate)
            if start:
                shown_for = 1 / self.rate if marks[-1][-1] else self.restarts[start]
                times = times + ((found[-1][-1] + shown_for) - times[0])
            found.append(times)
            marks.append(guessed)
        return np.concatenate(found), np.concatenate(marks)


def stretch_times(stamps: Seconds, rate: float) -> tuple[Seconds, Marks]:
    """Return strictly increasing times of frames, and which of them are not the frames' own.

    Frames of one time share the span to the next time evenly, each shown no longer than a frame is by
    the rate. A frame without a time counts as one with the time of the frame before; those at the
    beginning come a frame each before the first one that has a time.

    Args:
        stamps: (n,) seconds, nan where a frame has no time; of one stretch.
        rate: Frames a second.
    """
    known = np.flatnonzero(~np.isnan(stamps))
    if not len(known):
        return np.arange(len(stamps)) / rate, np.ones(len(stamps), dtype=bool)
    times = stamps.copy()
    # Guessed times may be out of order; the frames themselves never are.
    times[known] = np.sort(stamps[known])
    lead = int(known[0])
    times[:lead] = times[lead] - np.arange(lead, 0, -1) / rate
    latest = np.maximum.accumulate(np.where(np.isnan(times), -math.inf, times))
    news = np.diff(latest, prepend=-math.inf) > 0
    guessed = ~news
    guessed[:lead] = True
    begins = np.flatnonzero(news)
    counts = np.diff(begins, append=len(latest))
    spans = np.diff(latest[begins], append=math.inf)
    steps = np.repeat(np.minimum(1 / rate, spans / counts), counts)
    place = np.arange(len(latest)) - np.repeat(begins, counts)
    return np.where(place > 0, latest + place * steps, latest), guessed
