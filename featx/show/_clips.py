"""Clips for pictures: one clip of one video, and the frames of many that pass through the engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featx.errors import FeatxError, UsageError
from featx.extraction.settings import Prepared
from featx.video.cutting import Summary
from featx.video.pool import ClipArrived, Pool, PoolEvent, WorkerLost
from featx.video.reader import DecoderChoice
from featx.video.source import Source, find_videos
from featx.video.worker import Done, Failed, Job, Restarted

Frames = npt.NDArray[np.uint8]


class WatchedPool(Pool):
    """Decoding processes whose events are shown to `watch` before anybody else."""

    def __init__(
        self,
        prepared: Prepared,
        *,
        workers: int,
        watch: Callable[[PoolEvent], None] = lambda _: None,
    ) -> None:
        super().__init__(prepared.decode, workers=workers, timeout=prepared.timeout)
        self._watch = watch

    def events(self, timeout: float) -> Iterator[PoolEvent]:
        try:
            for event in super().events(timeout):
                self._watch(event)
                yield event
        except WorkerLost as error:
            raise FeatxError(f"{error}: run the same command again") from error


@dataclass(frozen=True)
class Clip:
    """A clip as the network sees it. frames: (T, crop, crop, 3) uint8, of the centre crop; span: [start, end) source frames."""

    video: str
    number: int
    frames: Frames
    span: tuple[int, int]
    times: tuple[float, float]
    looped: bool


def one_video(path: str | os.PathLike[str]) -> Source:
    """Return the one video that the path means; UsageError if it means more."""
    sources = find_videos(path).sources
    if len(sources) > 1:
        raise UsageError(f"{os.fspath(path)} has {len(sources)} videos: give one of them")
    return sources[0]


def one_clip(prepared: Prepared, source: Source, choose: Callable[[Summary], int]) -> Clip:
    """Decode a video to learn which clips it has, and once more for the frames of the one that `choose` says."""
    with WatchedPool(prepared, workers=1) as pool:
        summary, _ = _decoded(
            pool, Job(0, source.path, prepared.decode.decoder, wanted=frozenset())
        )
        number = choose(summary)
        decoder: DecoderChoice = "decord" if summary.decoder == "decord" else "pyav"
        summary, clips = _decoded(pool, Job(1, source.path, decoder, wanted=frozenset({number})))
    start, end = (int(x) for x in summary.clip_frames[number])
    begin, until = (float(x) for x in summary.clip_times[number])
    return Clip(source.id, number, clips[number], (start, end), (begin, until), summary.looped)


def _decoded(pool: Pool, job: Job) -> tuple[Summary, dict[int, Frames]]:
    clips: dict[int, Frames] = {}
    pool.submit([job])
    while True:
        for event in pool.events(1.0):
            if isinstance(event, ClipArrived):
                clips[event.clip] = event.frames[0].copy()
            elif isinstance(event, Restarted):
                clips.clear()
            elif isinstance(event, Failed):
                raise FeatxError(f"{job.path}: {event.reason}")
            elif isinstance(event, Done):
                return event.summary, clips
