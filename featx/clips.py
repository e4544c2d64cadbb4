"""Which frames make a clip: index arithmetic, no I/O and no torch.

A video is first reduced to its *sampled frames*: all of them, or, with `fps`, the frame on
screen at each tick of a clock of that rate. `frames`, `step` and `stride` count sampled frames.
A clip is the half-open interval [start, start + span) with span = frames * step, so that clips
with stride = span tile the video, as in the Res3D authors' protocol (8 frames at every second
frame, starts at frames 1, 17, 33, ... counted from 1). With `count`, that many clips are spread
evenly over the video instead, however long it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from featx.errors import UsageError

Tail = Literal["drop", "pad", "align"]


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """Which frames make a clip and where the next clip starts.

    frames: frames in a clip, as the model sees them.
    step: sampled frames from one frame of the clip to the next.
    stride: sampled frames from one clip's start to the next one's; smaller than the span overlaps.
    fps: resample to this many frames a second by presentation time; None keeps every frame.
    tail: what to do with frames after the last whole clip: "drop" them, "pad" one more clip by
        repeating the last frame, or "align" one more clip to the video's end.
    count: this many clips at equal intervals from the video's first frame to its end, whatever the stride;
        one clip is the video's middle. A video always gives `count` clips: where it has fewer places
        for them, some come more than once, and an average over them weighs the places as it should.
    """

    frames: int
    step: int = 1
    stride: int
    fps: float | None = None
    tail: Tail = "drop"
    count: int | None = None

    def __post_init__(self) -> None:
        for name in ("frames", "step", "stride"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1_000_000:
                raise UsageError(f"clip {name} is {value!r}: give a whole number from 1 to 1000000")
        if self.span > 10_000:  # a span of frames is held in memory
            raise UsageError(f"a clip of {self.frames} frames at step {self.step} spans {self.span} frames: the most is 10000")
        if self.fps is not None and not (math.isfinite(self.fps) and 0.001 <= self.fps <= 1000):
            raise UsageError(f"clip fps is {self.fps!r}: give a rate from 0.001 to 1000 frames a second, or leave it out")
        if self.tail not in get_args(Tail):
            raise UsageError(f"clip tail is {self.tail!r}: give one of {', '.join(get_args(Tail))}")
        if self.count is None:
            return
        if not isinstance(self.count, int) or isinstance(self.count, bool) or not 1 <= self.count <= 10_000:
            raise UsageError(f"the number of clips is {self.count!r}: give a whole number from 1 to 10000, or leave it out")
        if self.tail != "drop":
            raise UsageError(
                f"clip tail is {self.tail!r}, and {self.count} clips spread evenly leave no tail: give one or the other"
            )

    @property
    def span(self) -> int:
        """Sampled frames that one clip covers."""
        return self.frames * self.step

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, as they are stored in the feature file.

        Without `count` where there is none: as in the files that were written before there was one.
        """
        return {name: value for name, value in asdict(self).items() if name != "count" or value is not None}


def starts(n_frames: int, spec: ClipSpec) -> list[int]:
    """Return the first sampled frame of every clip of a video with `n_frames` sampled frames.

    A video shorter than one clip gives one clip, which `clip_indices` loops (Hara et al. 2017,
    section 3.2); an empty one gives none.
    """
    if n_frames <= 0:
        return []
    if spec.count is not None:
        return _evenly(max(0, n_frames - spec.span), spec.count)
    if n_frames < spec.span:
        return [0]
    whole = list(range(0, n_frames - spec.span + 1, spec.stride))
    covered = whole[-1] + spec.span
    if covered < n_frames:
        following = whole[-1] + spec.stride
        if spec.tail == "align":
            whole.append(n_frames - spec.span)
        elif spec.tail == "pad" and following < n_frames:
            whole.append(following)
    return whole


def _evenly(last: int, count: int) -> list[int]:
    """Return `count` starts at equal intervals from 0 to `last`, rounded to the nearest, halves up; of one, the middle."""
    if count == 1:
        return [last // 2]
    return [(2 * i * last + count - 1) // (2 * (count - 1)) for i in range(count)]


def clip_indices(start: int, n_frames: int, spec: ClipSpec) -> list[int]:
    """Return the sampled frames that the clip at `start` shows: `frames` indices below `n_frames`."""
    wanted = range(start, start + spec.span, spec.step)
    if n_frames < spec.span:
        return [i % n_frames for i in wanted]
    return [min(i, n_frames - 1) for i in wanted]


def clip_end(start: int, n_frames: int, spec: ClipSpec) -> int:
    """Return the end, exclusive, of the sampled frames that the clip at `start` covers."""
    return min(start + spec.span, n_frames)


class Ticks:
    """A clock of `fps` ticks a second that starts with the first frame; tells which ticks fall on a frame.

    A tick within a microsecond of a frame's time counts as on it: 12.5 fps out of 25 takes every
    second frame exactly. The first frame always has a tick, whatever its duration.
    """

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._next = 0
        self._origin: float | None = None

    def on(self, time: float, end: float) -> int:
        """Return how many ticks fall on the frame shown from `time` to `end` (seconds); call once a frame, in order."""
        if self._origin is None:
            self._origin = time
            end = max(end, time + 2e-6)
        before = self._next
        self._next = max(before, math.ceil((end - 1e-6 - self._origin) * self._fps))
        return self._next - before


class Sampling:
    """Which of a video's frames are sampled frames: those of a part of it, each as often as ticks of `fps` fall on it.

    fps: None takes every frame once. start, end: seconds from the video's first frame, None for its own beginning or
    end; a frame is in the part if it comes on screen at `start` or later, and before `end`, to a microsecond.
    """

    def __init__(self, fps: float | None, *, start: float | None = None, end: float | None = None) -> None:
        self.fps = fps
        self.start = 0.0 if start is None else start
        self.end = math.inf if end is None else end
        self._ticks = Ticks(fps) if fps is not None else None
        self._origin: float | None = None

    def on(self, time: float, end: float) -> int:
        """Return how often the frame shown from `time` to `end` (seconds) is sampled; call once a frame, in order."""
        if self._origin is None:
            self._origin = time
        if not self.start - 1e-6 <= time - self._origin < self.end - 1e-6:
            return 0
        return self._ticks.on(time, end) if self._ticks is not None else 1

    def over(self, time: float) -> bool:
        """Return whether no frame from `time` on can be sampled."""
        return self._origin is not None and time - self._origin >= self.end - 1e-6


def resample(times: Sequence[float], end: float, fps: float) -> list[int]:
    """Return, for each tick at `times[0] + k / fps` before `end`, the frame then on screen.

    times: presentation times in seconds, non-decreasing; end: when the last frame leaves the screen.
    """
    ticks = Ticks(fps)
    shown = zip(times, [*times[1:], end], strict=True)
    return [index for index, (time, gone) in enumerate(shown) for _ in range(ticks.on(time, gone))]
