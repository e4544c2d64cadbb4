"""Decoding processes for small clips, and all that they say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from featx.clips import ClipSpec
from featx.transforms import Transform
from featx.video.pool import Pool, PoolEvent
from featx.video.worker import DecodeSettings, Job

TINY = Transform(resize=(20, 24), crop=16, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


SETTINGS = DecodeSettings(ClipSpec(frames=4, step=1, stride=4), TINY, "auto", 3)


def all_events(pool: Pool, jobs: list[Job], seconds: float = 60) -> Iterator[PoolEvent]:
    pool.submit(jobs)
    deadline = time.monotonic() + seconds
    while not pool.idle:
        assert time.monotonic() < deadline, "the pool does not come to an end"
        yield from pool.events(0.1)


def jobs_for(paths: list[Path]) -> list[Job]:
    return [Job(key, str(path), "auto") for key, path in enumerate(paths)]
