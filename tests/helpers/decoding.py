"""Decoding into small clips, by processes or by a worker in this one."""

from __future__ import annotations

import mmap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from featx.clips import ClipSpec, Tail
from featx.transforms import TRAN2017, Transform
from featx.video.flow_cache import check_folder
from featx.video.pool import Pool, PoolEvent
from featx.video.worker import ClipReady, DecodeSettings, Done, Job, Restarted, Worker

TINY = Transform(resize=(20, 24), crop=16, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
SETTINGS = DecodeSettings(ClipSpec(frames=4, step=1, stride=4), TINY, "auto", 3)


Events = list[Any]


def decode(
    path: Path, folder: Path | None, given: str = "rgbf", tail: Tail = "drop", **part: float
) -> tuple[np.ndarray, Events]:
    """One video through a worker in this process: its clips, (N, 1, 8, 112, 112, 3), and the events it told."""
    transform = replace(TRAN2017, input=given, flow="dis")
    cache = check_folder(folder) if folder else None
    settings = DecodeSettings(
        ClipSpec(frames=8, step=2, stride=16, tail=tail), transform, "pyav", 16, cache
    )
    memory = mmap.mmap(-1, settings.slots * settings.clip_bytes)
    events: Events = []
    clips: dict[int, np.ndarray] = {}

    def send(event: Any) -> None:
        events.append(event)
        if isinstance(event, ClipReady):
            clips[event.clip] = worker._slots[event.slot].copy()
        elif isinstance(event, Restarted):
            clips.clear()

    worker = Worker(SimpleNamespace(send=send), settings, memory, lambda: 0)  # type: ignore[arg-type]
    worker._video(Job(0, str(path), "pyav", **part))
    assert isinstance(events[-1], Done), events
    return np.stack([clips[i] for i in sorted(clips)]), events


def all_events(pool: Pool, jobs: list[Job], seconds: float = 60) -> Iterator[PoolEvent]:
    pool.submit(jobs)
    deadline = time.monotonic() + seconds
    while not pool.idle:
        assert time.monotonic() < deadline, "the pool does not come to an end"
        yield from pool.events(0.1)


def jobs_for(paths: list[Path]) -> list[Job]:
    return [Job(key, str(path), "auto") for key, path in enumerate(paths)]
