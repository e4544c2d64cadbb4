"""The clips of many videos that excite a channel most."""

from __future__ import annotations

import math
import os
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from featx.errors import FeatxError, UsageError
from featx.extraction.engine import Rows, Sink
from featx.extraction.extract import Report
from featx.extraction.prepare import prepare
from featx.extraction.settings import Hooks, Settings
from featx.report.picture import check_picture, drawable, save_picture
from featx.show._clips import Frames
from featx.show._features import covered
from featx.show._words import clip_span, model_name, plural
from featx.video.cutting import Summary
from featx.video.pool import ClipArrived, PoolEvent
from featx.video.source import Source, find_videos
from featx.video.worker import Failed, Restarted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# More frames of a clip than this are not told apart in a row of a picture.
MOST_FRAMES = 8


@dataclass(frozen=True, kw_only=True)
class Excitement:
    """A clip's largest activation of the channel, and its place (t, y, x) in the layer's map, where it has one."""

    video: str
    path: str
    clip: int
    clip_frames: tuple[int, int]
    clip_times: tuple[float, float]
    value: float
    place: tuple[int, int, int] | None


@dataclass(frozen=True, kw_only=True)
class Exciting:
    """The clips that excite a channel most, the most exciting first; shape: of the layer; videos: how many were read.

    failures: (path, reason) of videos that were not.
    """

    out: str
    model: str
    weights: dict[str, Any]
    precision: str
    input: str
    layer: str
    shape: tuple[int, ...]
    channel: int
    per_video: int
    videos: int
    clips: int
    top: list[Excitement]
    failures: list[tuple[str, str]]


def exciting(
    inputs: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    out: str | os.PathLike[str],
    settings: Settings,
    channel: int,
    *,
    top: int = 10,
    per_video: int = 1,
    root: str | None = None,
    hooks: Hooks | None = None,
) -> Exciting:
    """Draw the `top` clips of videos in which a channel of a layer is most active, of each video `per_video` at the most.

    As figure 8b of Yang et al. 2019. settings.layers: the one layer. A clip's value is the channel's largest activation
    anywhere in it, of the centre crop, not mirrored; of equal ones the first by video id and time goes first. Every video
    is decoded once, and no more frames are held than those of the best clips and of the batches on their way.
    Raises FeatxError if no video can be read, or an activation is not finite.
    """
    kind = check_picture(out)
    layers = settings.layer_names or []
    if len(layers) != 1:
        raise UsageError(
            f"layers is {','.join(layers)!r}: give one layer, whose channel is to be excited"
        )
    for name, value in (("top", top), ("clips of a video", per_video)):
        if not 1 <= value <= 100:
            raise UsageError(f"{name} is {value}: give a whole number from 1 to 100")
    sources = find_videos(inputs, root=root).sources
    prepared = prepare(settings.changed(crops="center", flip=False))
    layer, shape = layers[0], prepared.backend.shapes[layers[0]]
    if not 0 <= channel < shape[0]:
        raise UsageError(
            f"there is no channel {channel} in {prepared.recorded.model.name}'s {layer}: give 0 to {shape[0] - 1}"
        )
    hooks = hooks or Hooks()
    if hooks.on_start:
        hooks.on_start(Report(os.fspath(out), len(sources), settings=prepared.recorded))
    best = _Best(sources, layer, shape, channel, top, per_video)
    stats = prepared.run(
        [prepared.job(key, source.path) for key, source in enumerate(sources)],
        best,
        watch=best.arrived,
        on_progress=hooks.on_progress,
    )
    if not best.top:
        path, reason = best.failures[0]
        raise FeatxError(f"0 of {plural(len(sources), 'video')} could be read; {path}: {reason}")
    result = Exciting(
        out=os.fspath(out),
        model=prepared.recorded.model.name,
        weights=dict(prepared.recorded.weights.values),
        precision=prepared.recorded.precision,
        input=prepared.decode.transform.input,
        layer=layer,
        shape=shape,
        channel=channel,
        per_video=per_video,
        videos=stats.videos,
        clips=stats.clips,
        top=[excitement for excitement, _ in best.top],
        failures=sorted(best.failures),
    )
    save_picture(_figure(result, [frames for _, frames in best.top]), out, kind)
    return result


@dataclass(frozen=True)
class _Candidate:
    clip: int
    value: float
    place: tuple[int, int, int] | None
    frames: Frames


class _Best(Sink):
    """Watches clips arrive, takes their rows as the engine's sink, and keeps the best ones with their frames.

    A clip's frames are held until its row is there: as many as are on their way through the engine. A video's candidates
    join the best when it has been decoded to its end: until then it may be begun anew.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        layer: str,
        shape: tuple[int, ...],
        channel: int,
        n_top: int,
        per_video: int,
    ) -> None:
        self._sources, self._layer, self._shape, self._channel = sources, layer, shape, channel
        self._n_top, self._per_video = n_top, min(n_top, per_video)
        self.top: list[tuple[Excitement, Frames]] = []
        self.failures: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        self._frames: dict[
            tuple[int, int, int], Frames
        ] = {}  # (key, attempt, clip) -> frames without their row
        # Clips arrive and rows come out in different threads, each of which counts how often a video was begun anew.
        self._begun: dict[int, int] = defaultdict(int)
        self._taken: dict[int, int] = defaultdict(int)
        self._candidates: dict[int, list[_Candidate]] = defaultdict(list)

    def arrived(self, event: PoolEvent) -> None:
        """Hold a clip's frames; called in the caller's thread."""
        if isinstance(event, ClipArrived):
            with self._lock:
                self._frames[event.key, self._begun[event.key], event.clip] = event.frames[0].copy()
        elif isinstance(event, Restarted | Failed):
            self._begun[event.key] += 1

    def rows(self, key: int, clips: list[int], rows: Rows) -> None:
        maps = rows[self._layer].reshape(len(clips), *self._shape)[:, self._channel]
        for clip, values in zip(clips, maps, strict=True):
            with self._lock:
                frames = self._frames.pop((key, self._taken[key], clip))
            where = int(values.argmax())
            place: tuple[int, int, int] | None = None
            if values.ndim == 3:
                t, y, x = (int(i) for i in np.unravel_index(where, values.shape))
                place = t, y, x
            value = float(values.flat[where])
            if not math.isfinite(value):
                raise FeatxError(
                    f"channel {self._channel} of {self._layer} is {value} in clip {clip} of {self._sources[key].text}:"
                    " use sound weights, or `precision='float32'`"
                )
            self._candidates[key].append(_Candidate(clip, value, place, frames))
        self._candidates[key] = sorted(self._candidates[key], key=lambda c: (-c.value, c.clip))[
            : self._per_video
        ]

    def restarted(self, key: int) -> None:
        self._candidates.pop(key, None)
        attempt = self._taken[key]
        self._taken[key] += 1
        with self._lock:
            self._frames = {
                at: frames for at, frames in self._frames.items() if at[:2] != (key, attempt)
            }

    def done(self, key: int, summary: Summary, batch_size: int) -> None:
        source = self._sources[key]
        for found in self._candidates.pop(key, []):
            start, end = summary.clip_frames[found.clip]
            begin, until = summary.clip_times[found.clip]
            excitement = Excitement(
                video=source.id,
                path=source.text,
                clip=found.clip,
                clip_frames=(int(start), int(end)),
                clip_times=(float(begin), float(until)),
                value=found.value,
                place=found.place,
            )
            self.top.append((excitement, found.frames))
        self.top.sort(key=lambda each: (-each[0].value, each[0].video, each[0].clip))
        del self.top[self._n_top :]

    def failed(self, key: int, reason: str) -> None:
        self.failures.append((self._sources[key].text, reason))


def _figure(result: Exciting, clips: Sequence[Frames]) -> Figure:
    from matplotlib.figure import Figure

    n_frames = len(clips[0])
    chosen = [round(i) for i in np.linspace(0, n_frames - 1, min(n_frames, MOST_FRAMES))]
    cell, left, head, gap = 1.1, 2.4, 0.8, 0.06
    width = max(left + len(chosen) * cell + 0.15, 8.0)  # the title's, where clips are single frames
    height = head + len(clips) * (cell + gap) + 0.1
    figure = Figure(figsize=(width, height), dpi=110)
    for rank, (found, frames) in enumerate(zip(result.top, clips, strict=True), start=1):
        bottom = height - head - rank * (cell + gap)
        axes = figure.add_axes(
            (left / width, bottom / height, len(chosen) * cell / width, cell / height)
        )
        axes.set_xlim(0, len(chosen))
        axes.set_ylim(0, 1)
        axes.axis("off")
        for column, t in enumerate(chosen):
            axes.imshow(frames[t], extent=(column + 0.02, column + 0.98, 0, 1), aspect="auto")
        if found.place is not None and result.shape[2:] != (1, 1):
            _frame_cell(axes, chosen, n_frames, result.shape, found.place)
        name = drawable(found.video, most=30)
        text = (
            f"{rank}.   {found.value:.4g}\n{name}\nclip {found.clip}, {clip_span(found.clip_times)}"
        )
        figure.text(
            0.15 / width,
            (bottom + cell / 2) / height,
            text,
            ha="left",
            va="center",
            fontsize=8,
            parse_math=False,
        )
    figure.text(
        0.5,
        1 - 0.12 / height,
        _title(result),
        ha="center",
        va="top",
        fontsize=9.5,
        parse_math=False,
    )
    return figure


def _frame_cell(
    axes: Axes,
    chosen: list[int],
    n_frames: int,
    shape: tuple[int, ...],
    place: tuple[int, int, int],
) -> None:
    """Frame the cell of the map (C, T, H, W) that was most active, on the frames that its step in time stands for."""
    from matplotlib.patches import Rectangle

    step, y, x = place
    start, end = covered(n_frames, shape[1])[step]
    columns = [i for i, t in enumerate(chosen) if start <= t + 0.5 < end]
    nearest = min(range(len(chosen)), key=lambda i: abs(chosen[i] + 0.5 - (start + end) / 2))
    height, width = 1 / shape[2], 0.96 / shape[3]
    for column in columns or [nearest]:
        corner = (column + 0.02 + x * width, 1 - (y + 1) * height)
        axes.add_patch(
            Rectangle(corner, width, height, fill=False, edgecolor="yellow", linewidth=1.2)
        )


def _title(result: Exciting) -> str:
    n = len(result.top)
    most = "one clip" if result.per_video == 1 else f"{result.per_video} clips"
    failed = (
        f"; {plural(len(result.failures), 'video')} could not be read" if result.failures else ""
    )
    who = drawable(model_name(result.model, result.weights, result.input), most=80)
    lines = [
        f"{who}: {plural(n, 'clip')} that most excite{'s' if n == 1 else ''} channel {result.channel} of {result.layer}",
        f"of {plural(result.clips, 'clip')} of {plural(result.videos, 'video')}, at most {most} a video{failed}",
        "with the channel's largest activation in the clip"
        + (
            "; framed: the cell of its map where it is"
            if len(result.shape) == 4 and result.shape[2:] != (1, 1)
            else ""
        ),
    ]
    return "\n".join(lines)
