"""Features of one more video, made exactly as a feature file's rows were."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from featx.errors import FeatxError, UsageError
from featx.extraction.engine import Rows, Sink, Stats
from featx.extraction.extract import Report
from featx.extraction.prepare import prepare
from featx.extraction.progress import shown
from featx.extraction.settings import Hooks
from featx.extraction.verify import Verification, recorded_settings
from featx.store.reader import FeatureStore
from featx.store.recorded import CASCADE, PROJECTION, differences
from featx.video.cutting import Summary
from featx.video.source import Source

if TYPE_CHECKING:
    from torch import nn

# Settings that make rows of another kind; with other ones, rows differ by rounding.
_ESSENTIAL = ("model", "weights", "layers", "clip", "transform", "precision", PROJECTION, CASCADE)


@dataclass(frozen=True, kw_only=True, eq=False)
class QueryClips:
    """Clips of a video with their rows: all of them, or the one at a time.

    rows: (T, D) float32. clip_frames: (T, 2) int64, [start, end) in source frames. clip_times: (T, 2) float64, seconds.
    span: from when to when the video is, seconds by its own timestamps. notes: what is not as it was for the file's rows.
    """

    rows: npt.NDArray[np.float32]
    clip_frames: npt.NDArray[np.int64]
    clip_times: npt.NDArray[np.float64]
    span: tuple[float, float]
    notes: tuple[str, ...] = ()


def fingerprint(path: str | os.PathLike[str]) -> str:
    """Return what tells a video file from another, as a feature file's attribute `fingerprint`; empty if it cannot be read."""
    return Source("", os.fspath(path)).fingerprint()


def clip_at(clip_times: npt.NDArray[np.float64], at: float, span: tuple[float, float]) -> int:
    """Return which clip shows the time `at`, seconds: of several, the one whose middle is nearest; of none, the nearest clip.

    clip_times: (T, 2) seconds. span: from when to when the video is. Raises UsageError if `at` is out of the video.
    """
    if not span[0] <= at <= span[1]:
        where = (
            f"is {span[1]:.1f} s long"
            if span[0] == 0
            else f"is from {span[0]:.1f} to {span[1]:.1f} s"
        )
        raise UsageError(f"there is nothing at {at:g} s: the video {where}")
    away = np.maximum(np.maximum(clip_times[:, 0] - at, at - clip_times[:, 1]), 0.0)
    # A clip ends where the next begins: its end is not in it.
    away = np.where((away == 0) & (at >= clip_times[:, 1]), np.finfo(np.float64).tiny, away)
    from_middle = np.abs(clip_times.mean(axis=1) - at)
    return int(np.lexsort((from_middle, away))[0])


def query_features(
    store: FeatureStore,
    path: str | os.PathLike[str],
    layer: str,
    *,
    at: float | None = None,
    weights: str | None = None,
    project: str | os.PathLike[str] | None = None,
    model: nn.Module | None = None,
    on_progress: Callable[[Stats], None] | None = None,
    progress: bool | None = None,
) -> QueryClips:
    """Return the features that `featx.extract` would have stored for a video in this feature file.

    All layers of the file are computed, so that `layer` comes out as it did for the file, and one is kept.

    Args:
        store: The feature file.
        path: The video.
        layer: Whose features.
        at: Seconds: of the one clip at this time. None is of all clips.
        weights: The checkpoint's file, where it is not at its recorded place.
        project: The projection's file, where it is not at its recorded place.
        model: The module that made the file's rows, where that was one of yours.
        on_progress: Called many times a second.
        progress: True shows a progress bar, False shows none. None shows one if a person watches and there is no
            `on_progress`.

    Raises:
        FeatxError: If the video cannot be read, with the reason.
        UsageError: If the file's model cannot be made again.
    """
    text = os.fspath(path)
    if not os.path.lexists(text):
        raise UsageError(f"no such file: {text}")
    made = Verification(str(store.path), len(store))
    # One video is decoded by one process.
    settings = recorded_settings(store.settings, made, weights, project, model)
    prepared = prepare(settings.changed(workers=1))
    if other := differences(store.settings, prepared.recorded, names=_ESSENTIAL):
        raise UsageError(
            f"the query's rows would not be as those of {store.path}: {other}; give its weights, `weights='FILE'`"
        )
    notes = [*made.notes, *prepared.notes]
    if other := differences(store.settings, prepared.recorded):
        notes.append(f"the query's features are made with other settings than the file's: {other}")

    asked = Hooks(on_progress=on_progress) if on_progress is not None else None
    with shown(progress, asked) as hooks, prepared.pool() as pool:
        if hooks.on_start is not None:
            hooks.on_start(Report("", 1, settings=prepared.recorded))

        def run(wanted: frozenset[int] | None) -> _Collected:
            sink = _Collected(layer)
            job = prepared.job(0, text, wanted=wanted)
            prepared.run([job], sink, source=pool, on_progress=hooks.on_progress)
            return sink

        if at is None:
            sink = run(None)
            wanted = list(range(len(_summary(sink, text).clip_frames)))
        else:
            # Where the clips lie is known when the video is decoded: once without a clip, once for the one that is wanted.
            summary = _summary(run(frozenset()), text)
            wanted = [clip_at(summary.clip_times, at, _span(summary))]
            sink = run(frozenset(wanted))
    summary = _summary(sink, text)
    return QueryClips(
        rows=np.stack([sink.by_clip[clip] for clip in wanted]),
        clip_frames=summary.clip_frames[wanted],
        clip_times=summary.clip_times[wanted],
        span=_span(summary),
        notes=tuple(notes),
    )


def _span(summary: Summary) -> tuple[float, float]:
    """Return from when to when a video is: its first clip begins with it."""
    begin = float(summary.clip_times[:, 0].min())
    return begin, begin + summary.duration_s


class _Collected(Sink):
    """The engine's sink: one layer's rows of one video."""

    def __init__(self, layer: str) -> None:
        self._layer = layer
        self.by_clip: dict[int, npt.NDArray[np.float32]] = {}
        self.summary: Summary | None = None
        self.reason = ""

    def rows(self, key: int, clips: list[int], rows: Rows) -> None:
        self.by_clip.update(zip(clips, rows[self._layer], strict=True))

    def restarted(self, key: int) -> None:
        self.by_clip.clear()

    def done(self, key: int, summary: Summary, batch_size: int) -> None:
        self.summary = summary

    def failed(self, key: int, reason: str) -> None:
        self.reason = reason


def _summary(sink: _Collected, path: str) -> Summary:
    if sink.summary is None:
        raise FeatxError(f"the query {path} cannot be read: {sink.reason}")
    return sink.summary
