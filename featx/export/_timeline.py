"""Where a video's features lie in time, and whether a stride says so truly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featx.clips import ClipSpec, starts
from featx.errors import UsageError
from featx.store.reader import Video

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """A feature file's clips: each covers `span` frames, and the next begins `stride` frames later.

    fps: of these frames, where the video was resampled; None for its own frames. clips: as `starts` takes them.
    """

    span: int
    stride: int
    fps: float | None
    clips: ClipSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class Timeline:
    """A video's features in time. name: the last part of its id.

    rows: how many of its features are exported; left_out: how many at its end are not, being off the grid.
    fps, frames: of the frames that span and stride count: the video's mean rate, or the one it was resampled to.
    source_fps, source_frames: of the video itself. duration: seconds. centres: (rows,) seconds, the middles of the clips, from
    the first frame on.
    late: seconds by which the beginning of a clip lies farthest from where stride and fps put it.
    """

    id: str
    name: str
    rows: int
    left_out: int
    fps: float
    frames: int
    source_fps: float
    source_frames: int
    duration: float
    centres: Floats
    late: float
    looped: bool
    damaged: int

    def far(self, grid: Grid) -> bool:
        """Return whether a feature lies so far from its place that it shows mostly something else."""
        return self.late > max(grid.span, grid.stride) / 2 / self.fps + self._frame(grid)

    def noticeable(self, grid: Grid) -> bool:
        """Return whether a feature lies more than half a frame from its place."""
        return self.late > 0.5 / self.fps + self._frame(grid) + 1e-6

    def _frame(self, grid: Grid) -> float:
        # A clip of resampled frames begins when the source frame on screen then did, up to one of these earlier.
        return 0.0 if grid.fps is None else 1 / self.source_fps


def grid_of(clip: ClipSpec) -> Grid:
    """Return the grid of the clips that a feature file records; UsageError if they lie at several scales."""
    if len(clip.scales) > 1:
        raise UsageError(
            f"the clips were extracted at {len(clip.scales)} scales and have no single stride, which detectors count features by:"
            " extract them again with `stride` alone"
        )
    (spec,) = clip.at_scales
    return Grid(span=spec.span, stride=spec.stride, fps=spec.fps, clips=spec)


def timeline(video: Video, grid: Grid, *, by_stride: bool) -> Timeline:
    """Return where a video's features lie.

    by_stride: for a reader that counts features by the stride, so that a last clip that lies off it is left out.
    """
    attrs = video.attrs
    frames, duration = int(attrs["frames"]), float(attrs["duration_s"])
    own = frames / duration if duration > 0 else float(attrs["fps"])
    # From the first frame, as annotations and detectors count; a stream's own times may begin later.
    times = video.clip_times
    times = times - (times[0, 0] - video.clip_frames[0, 0] / own)
    sampled = frames if grid.fps is None else _resampled(duration, grid.fps)
    fps = own if grid.fps is None else grid.fps
    rows = len(times)
    if (
        by_stride
        and grid.clips.tail == "align"
        and rows > 1
        and starts(sampled, grid.clips)[-1] != (rows - 1) * grid.stride
    ):
        rows -= 1
    begins = np.arange(rows) * grid.stride / fps
    return Timeline(
        id=video.id,
        name=video.id.rpartition("/")[2],
        rows=rows,
        left_out=len(times) - rows,
        fps=fps,
        frames=sampled,
        source_fps=own,
        source_frames=frames,
        duration=duration,
        centres=times[:rows].mean(axis=1),
        late=float(np.abs(times[:rows, 0] - begins).max(initial=0.0)),
        looped=bool(attrs.get("looped", False)),
        damaged=int(attrs.get("damaged_frames", 0)),
    )


def _resampled(duration: float, fps: float) -> int:
    """Return how many ticks of a clock fall on a video, as `featx.clips.Ticks` counts them."""
    return max(1, math.ceil((duration - 1e-6) * fps))


@dataclass(frozen=True, eq=False)
class Mix:
    """Rows as mixtures of two neighbours: (1 - share) * rows[left] + share * rows[right], (N,) each."""

    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    share: Floats


def at_times(centres: Floats, times: Floats) -> Mix:
    """Return the features at given times, linear between the middles of the clips, and constant before and after them.

    centres: (T,) seconds, ascending, where equal ones are the same clip. times: (N,) seconds.
    """
    places, first = np.unique(centres, return_index=True)
    left = np.clip(np.searchsorted(places, times, side="right") - 1, 0, len(places) - 1)
    right = np.minimum(left + 1, len(places) - 1)
    gap = places[right] - places[left]
    share = np.clip((times - places[left]) / np.where(gap > 0, gap, 1), 0, 1)
    # A millionth of a clip is rounding: a time on a clip's middle gives that clip's own row, to the bit.
    return Mix(left=first[left], right=first[right], share=np.round(share, 6))


def means(centres: Floats, *, bins: int, seconds: float) -> npt.NDArray[np.float64]:
    """Return weights (bins, T): the mean of the features over each of `bins` equal parts of [0, seconds].

    Between clips' middles features are linear, as in `at_times`, so that the mean over a part is exact.
    """
    if seconds <= 0:  # of a single frame whose duration nothing tells
        return np.repeat(np.eye(1, len(centres)), bins, axis=0)
    edges = np.linspace(0, seconds, bins + 1)
    points = np.unique(np.concatenate([edges, centres[(centres > 0) & (centres < seconds)]]))
    # Linear from one point to the next, so that the mean over that stretch is the value in its middle.
    middles = (points[:-1] + points[1:]) / 2
    mix = at_times(centres, middles)
    part = np.clip(np.searchsorted(edges, middles, side="right") - 1, 0, bins - 1)
    weight = np.diff(points) * bins / seconds
    found = np.zeros((bins, len(centres)))
    np.add.at(found, (part, mix.left), weight * (1 - mix.share))
    np.add.at(found, (part, mix.right), weight * mix.share)
    return found
