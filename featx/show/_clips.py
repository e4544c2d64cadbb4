"""One clip of one video, for a picture."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featx.errors import FeatxError, UsageError
from featx.extraction.prepare import Prepared
from featx.video.cutting import Summary
from featx.video.pool import ClipArrived, Pool
from featx.video.source import Source, find_videos
from featx.video.worker import Done, Failed, Job, Restarted

Frames = npt.NDArray[np.uint8]


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
    with prepared.pool(workers=1) as pool:
        job = prepared.job(0, source.path, wanted=frozenset())
        summary, _ = _decoded(pool, job)
        number = choose(summary)
        wanted = Job(1, source.path, summary.decoder, wanted=frozenset({number}))
        summary, clips = _decoded(pool, wanted)
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
