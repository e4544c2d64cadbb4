"""A video's frames to clips, and where they lie: each frame is decoded once and held for no longer than a clip's span."""

from __future__ import annotations

import itertools
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.clips import ClipSpec, Sampling, clip_end, clip_indices, placed, starts
from featx.video.reader import Frame, VideoError, VideoReader

Clip = npt.NDArray[np.uint8]
# Seconds that one frame may fill when a video is resampled.
MOST_ON_SCREEN = 600.0


@dataclass(frozen=True)
class Summary:
    """What a video turned out to be, once it is decoded to its end; the attributes of its group in the feature file.

    clip_frames: (T, 2) int64, [start, end) in source frames; clip_times: (T, 2) float64 seconds.
    discontinuities: how often the timestamps start again; guessed_times: frames without a time of their own.
    mirrored, display_angle, pixel_aspect, interlaced: as in VideoInfo.
    Of a part of a video, frames and seconds are those up to the part's end, where decoding stopped.
    """

    decoder: str
    frames: int
    fps: float
    width: int
    height: int
    rotation: int
    codec: str
    duration_s: float
    container_frames: int
    damaged_frames: int
    looped: bool
    clip_frames: npt.NDArray[np.int64]
    clip_times: npt.NDArray[np.float64]
    discontinuities: int = 0
    guessed_times: int = 0
    mirrored: bool = False
    display_angle: float | None = None
    pixel_aspect: float | None = None
    interlaced: bool = False

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of the video's group; what is seldom is there only where it occurs."""
        return {
            each.name: value
            for each in fields(self)
            if not isinstance(value := getattr(self, each.name), np.ndarray)
            and (each.name not in SELDOM or value != each.default)
        }


# Attributes of a feature file's video that are there only where what they tell occurs.
SELDOM = frozenset(each.name for each in fields(Summary) if each.default is not MISSING)


def sampled_frames(video: Iterable[Frame], sampling: Sampling) -> Iterator[tuple[Frame, int]]:
    """Yield every frame of a video, in order, with how often it is sampled; none after the part that is sampled.

    Raises VideoError if not one is sampled, and if, resampled, one frame would fill more than MOST_ON_SCREEN seconds:
    a broken timestamp would otherwise make any number of clips.
    """
    n = 0
    for frame in video:
        if sampling.over(frame.time):
            break
        if sampling.fps is not None and frame.end - frame.time > MOST_ON_SCREEN:
            gap = frame.end - frame.time
            raise VideoError(
                f"frame {frame.index} stays on screen for {gap:.0f} s by its timestamps: extract it without resampling"
            )
        shown = sampling.on(frame.time, frame.end)
        n += shown
        yield frame, shown
    if not n:
        raise VideoError(
            f"not one of its frames lies in the part from {sampling.start:g} to {sampling.end:g} s"
        )


def clips_of(
    video: Iterable[Frame],
    spec: ClipSpec,
    cut: Callable[[Clip], Clip],
    sends: Callable[[int], bool] = lambda _: True,
    *,
    sampling: Sampling | None = None,
    n_sampled: int | None = None,
) -> Iterator[tuple[int, list[Clip]]]:
    """Yield (number, its `spec.frames` cut frames) for every clip of a video, in order, decoding each frame once.

    video: its frames, in order. cut: (H, W, 3) uint8 -> what is kept of a frame. sends: which clips are
    wanted; no flow is computed for the others. sampling: of a part of the video; of all of it by default.
    n_sampled: how many sampled frames there are, which must be known where `spec.count` is set.
    Raises VideoError as `sampled_frames` does. Where the clips lie is told by `summarise`, afterwards.
    """
    if spec.count is not None:
        grids: list[_Grid | _Spread] = [_Spread(spec, n_sampled)]
    else:
        grids = [
            _Grid(scale, alone=scale.step == spec.step * spec.scales[0]) for scale in spec.at_scales
        ]
    n = 0  # sampled frames so far
    number = 0
    for frame, shown in sampled_frames(video, sampling or Sampling(spec.fps)):
        kept: Callable[[], Clip] | None = None
        for _ in range(shown):
            needing = [grid.needs(n) for grid in grids]
            if kept is None and any(needing):
                kept = frame.keep(cut)
            n += 1
            for grid, needs in zip(grids, needing, strict=True):
                grid.window.append(kept if needs else None)
            for grid in grids:
                while grid.next + grid.spec.span == n:
                    if sends(number):
                        yield number, _held(list(grid.window)[:: grid.spec.step])
                    grid.passed += 1
                    number += 1
    if n_sampled is not None and n != n_sampled:
        raise VideoError(
            f"it had {n_sampled} frames when they were counted and {n} when they were decoded"
        )
    # Clips that only the end of the video makes: those of a single scale, or the loop of a video shorter than the shortest.
    window = grids[0].window
    first = n - len(window)  # the sampled frame that window[0] is
    for start, scale in placed(n, spec)[number:]:
        if sends(number):
            yield number, _held([window[i - first] for i in clip_indices(start, n, scale)])
        number += 1


def _held(frames: list[Callable[[], Clip] | None]) -> list[Clip]:
    """Return a clip's frames; RuntimeError, rather than a clip with holes, if `needs` was wrong about one."""
    held = [frame() for frame in frames if frame is not None]
    if len(held) != len(frames):
        raise RuntimeError("a frame that a clip shows was not kept")
    return held


class _Grid:
    """Where clips of one scale lie that follow one another by the stride, before it is known how many there are.

    window: the last span's sampled frames, None for those that no clip shows. alone: clips off the grid may come at the end:
    of a tail, or the loop of a video that is shorter than every clip.
    """

    def __init__(self, spec: ClipSpec, *, alone: bool = True) -> None:
        self.spec = spec
        self.window: deque[Callable[[], Clip] | None] = deque(maxlen=spec.span)
        self.passed = 0  # clips that are complete
        self._alone = alone

    @property
    def next(self) -> int:
        """The sampled frame that the next clip starts at."""
        return self.passed * self.spec.stride

    def needs(self, n: int) -> bool:
        """Return whether sampled frame `n` can be part of a clip."""
        spec = self.spec
        if self._alone and (spec.tail != "drop" or n < spec.span):
            return True
        last = n // spec.stride
        first = max(0, -(-(n - spec.span + 1) // spec.stride))
        return any((n - k * spec.stride) % spec.step == 0 for k in range(first, last + 1))


class _Spread:
    """Where evenly spread clips lie in a video of `n_sampled` sampled frames."""

    def __init__(self, spec: ClipSpec, n_sampled: int | None) -> None:
        if n_sampled is None:
            raise ValueError(
                "where evenly spread clips lie depends on the number of sampled frames: count them first"
            )
        self.spec = spec
        self.window: deque[Callable[[], Clip] | None] = deque(maxlen=spec.span)
        self.passed = 0
        self._starts = starts(n_sampled, spec)
        self._shown = {
            i for start in set(self._starts) for i in clip_indices(start, n_sampled, spec)
        }

    @property
    def next(self) -> int:
        """The sampled frame that the next clip starts at."""
        return self._starts[self.passed] if self.passed < len(self._starts) else sys.maxsize

    def needs(self, n: int) -> bool:
        """Return whether sampled frame `n` is part of a clip."""
        return n in self._shown


def summarise(video: VideoReader, spec: ClipSpec, *, sampling: Sampling | None = None) -> Summary:
    """Return a decoded video's summary, with each clip's place in source frames and seconds.

    sampling: of a part of the video; of all of it by default.
    """
    times = video.times
    n_source = video.n_frames
    sampling = sampling or Sampling(spec.fps)
    counts = [sampling.on(time, end) for time, end in itertools.pairwise(times.tolist())]
    sampled = np.repeat(np.arange(n_source), counts)
    n = len(sampled)
    clips = placed(n, spec)
    # A clip ends where the next sampled frame begins, so that adjacent clips share no source frame.
    after = next((i for i in range(sampled[-1] + 1, n_source) if sampling.over(times[i])), n_source)
    bounds = np.append(sampled, after)
    edges = [(bounds[s], max(bounds[clip_end(s, n, scale)], bounds[s] + 1)) for s, scale in clips]
    frames = np.asarray(edges, dtype=np.int64)
    info = video.info
    return Summary(
        decoder=video.decoder,
        frames=n_source,
        fps=_rate(info.fps, n_source, float(times[-1] - times[0])),
        width=info.width,
        height=info.height,
        rotation=info.rotation,
        codec=info.codec,
        duration_s=float(times[-1] - times[0]),
        container_frames=info.container_frames,
        damaged_frames=video.damaged_frames,
        looped=n < spec.at_scales[0].span,
        clip_frames=frames.reshape(-1, 2),
        clip_times=times[frames.reshape(-1, 2)],
        discontinuities=video.discontinuities,
        guessed_times=video.guessed_times,
        mirrored=info.mirrored,
        display_angle=info.display_angle,
        pixel_aspect=info.pixel_aspect,
        interlaced=info.interlaced,
    )


def _rate(claimed: float, frames: int, seconds: float) -> float:
    """Return the frame rate: the container's, unless the frames' own times belie it by more than a hundredth."""
    measured = frames / seconds if seconds > 0 else claimed
    return claimed if abs(measured - claimed) <= 0.01 * claimed else measured
