"""Which frames make a clip: index arithmetic, no I/O and no torch.

A video is first reduced to its *sampled frames*: all of them, or, with `fps`, the frame on
screen at each tick of a clock of that rate. `frames`, `step` and `stride` count sampled frames.
A clip is the half-open interval [start, start + span) with span = frames * step, so that clips
with stride = span tile the video, as in the Res3D authors' protocol (8 frames at every second
frame, starts at frames 1, 17, 33, ... counted from 1). With `count`, that many clips are spread
evenly over the video instead, however long it is. With `scales`, the video is tiled several times,
by clips of as many frames that lie further apart: the windows of temporal localization.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from featx.errors import UsageError

Tail = Literal["drop", "pad", "align"]


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """Which frames make a clip and where the next clip starts.

    A clip is the half-open interval [start, start + frames * step) of sampled frames: all of a
    video's frames, or, with `fps`, those on screen at the ticks of a clock of that rate.

    Attributes:
        frames: Frames in a clip, as the model sees them.
        step: Sampled frames from one frame of the clip to the next.
        stride: Sampled frames from one clip's start to the next one's; smaller than the span overlaps.
        fps: Resample to this many frames a second by presentation time; None keeps every frame.
        tail: What to do with frames after the last whole clip: "drop" them, "pad" one more clip by
            repeating the last frame, or "align" one more clip to the video's end.
        count: This many clips at equal intervals from the video's first frame to its end, whatever the stride;
            one clip is the video's middle. A video always gives `count` clips: where it has fewer places
            for them, some come more than once, and an average over them weighs the places as it should.
        scales: Clips at each of these, ascending: at scale s frames lie s times `step` and clips s times `stride`
            apart, so that a clip covers s spans. Several take whole clips only (tail "drop").
    """

    frames: int
    step: int = 1
    stride: int
    fps: float | None = None
    tail: Tail = "drop"
    count: int | None = None
    scales: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", tuple(self.scales))  # a list, where it comes from JSON
        for name in ("frames", "step", "stride"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1_000_000:
                raise UsageError(f"clip {name} is {value!r}: give a whole number from 1 to 1000000")
        self._check_scales()
        longest = self.span * self.scales[-1]
        if longest > 10_000:  # a span of frames is held in memory
            at = f" and scale {self.scales[-1]}" if self.scales != (1,) else ""
            raise UsageError(
                f"a clip of {self.frames} frames at step {self.step}{at} spans {longest} frames: the most is 10000"
            )
        if self.fps is not None and not (math.isfinite(self.fps) and 0.001 <= self.fps <= 1000):
            raise UsageError(
                f"clip fps is {self.fps!r}: give a rate from 0.001 to 1000 frames a second, or leave it out"
            )
        if self.tail not in get_args(Tail):
            raise UsageError(f"clip tail is {self.tail!r}: give one of {', '.join(get_args(Tail))}")
        if self.count is None:
            return
        if (
            not isinstance(self.count, int)
            or isinstance(self.count, bool)
            or not 1 <= self.count <= 10_000
        ):
            raise UsageError(
                f"the number of clips is {self.count!r}: give a whole number from 1 to 10000, or leave it out"
            )
        if self.tail != "drop":
            raise UsageError(
                f"clip tail is {self.tail!r}, and {self.count} clips spread evenly leave no tail: give one or the other"
            )

    def _check_scales(self) -> None:
        scales = self.scales
        whole = all(isinstance(s, int) and not isinstance(s, bool) and s >= 1 for s in scales)
        if not scales or not whole or list(scales) != sorted(set(scales)):
            raise UsageError(
                f"clip scales is {list(scales)}: give whole numbers from 1, each greater than the one before"
            )
        if scales == (1,):
            return
        if self.tail != "drop":
            raise UsageError(
                f"clip tail is {self.tail!r}, and clips at scales {list(scales)} have none: give drop"
            )
        if self.count is not None:
            raise UsageError(
                f"{self.count} clips spread evenly have no scales: leave out the number of clips, or {list(scales)}"
            )

    @property
    def span(self) -> int:
        """Sampled frames that one clip covers, at scale 1."""
        return self.frames * self.step

    @property
    def at_scales(self) -> tuple[ClipSpec, ...]:
        """The clips of each scale alone, with that scale's step and stride."""
        if self.scales == (1,):
            return (self,)
        return tuple(
            replace(self, step=self.step * s, stride=self.stride * s, scales=(1,))
            for s in self.scales
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, as they are stored in the feature file.

        Without `count` and `scales` where there are none: as in the files that were written before there were any.
        """
        values = {**asdict(self), "scales": list(self.scales)}
        if self.count is None:
            del values["count"]
        if self.scales == (1,):
            del values["scales"]
        return values


def window_spec(
    frames: int,
    *,
    lengths: Sequence[int] = (16, 32, 64, 128, 256, 512),
    overlap: float = 0.75,
    fps: float | None = 25.0,
) -> ClipSpec:
    """Return clips that are windows of several lengths, as S-CNN slides them (Shou et al. 2016, section 3.1).

    frames: shown of each window, at equal distances.
    lengths: in sampled frames, ascending multiples of the first. overlap: of a window with the next one of its length.
    fps: of the sampled frames; None takes every frame of the video.
    Raises UsageError for lengths that cannot be divided so.
    """
    first = lengths[0] if lengths else 0
    if first < 1 or any(length % first for length in lengths):
        raise UsageError(
            f"window lengths are {list(lengths)}: give multiples of the first one, ascending"
        )
    if not 1 <= frames <= first or first % frames:
        raise UsageError(
            f"windows of {first} frames cannot show {frames} at equal distances: give lengths that are multiples of it"
        )
    if not 0 <= overlap < 1:
        raise UsageError(f"window overlap is {overlap:g}: give 0 or more, and less than 1")
    stride = first * (1 - overlap)
    if round(stride) < 1 or not math.isclose(stride, round(stride), abs_tol=1e-6):
        raise UsageError(
            f"windows of {first} frames that overlap by {overlap:g} begin every {stride:g} frames: give another overlap"
        )
    scales = tuple(length // first for length in lengths)
    return ClipSpec(
        frames=frames, step=first // frames, stride=round(stride), fps=fps, scales=scales
    )


def placed(n_frames: int, spec: ClipSpec) -> list[tuple[int, ClipSpec]]:
    """Return every clip of a video with `n_frames` sampled frames: its first sampled frame, and its scale's own clips.

    They are in the order of their numbers: by where they end, the shorter one first, which is the order in which
    a video that is decoded once completes them. A video shorter than the shortest clip gives one, looped.
    """
    if spec.scales == (1,):
        return [(start, spec) for start in starts(n_frames, spec)]
    shortest, *longer = spec.at_scales
    found = [(start, shortest) for start in starts(n_frames, shortest)]
    found += [
        (start, scale)
        for scale in longer
        if n_frames >= scale.span
        for start in starts(n_frames, scale)
    ]
    return sorted(found, key=lambda clip: (clip[0] + clip[1].span, clip[1].span))


def numbered(n_clips: int, spec: ClipSpec) -> list[tuple[int, ClipSpec]]:
    """Return a video's first `n_clips` clips as `placed` does: where nothing but whole clips are taken, their numbers say it all.

    As a video that is decoded once completes its clips before it is known how long it is. Not for `count`, nor for a tail
    other than "drop".
    """
    shortest = spec.at_scales[0]
    return placed(shortest.span + shortest.stride * n_clips, spec)[:n_clips]


def starts(n_frames: int, spec: ClipSpec) -> list[int]:
    """Return the first sampled frame of every clip, of one scale, of a video with `n_frames` sampled frames.

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

    def __init__(
        self, fps: float | None, *, start: float | None = None, end: float | None = None
    ) -> None:
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
