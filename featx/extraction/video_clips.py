"""Clips of video files as a torch dataset, for loops that are not featx's own."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import torch
from torch.utils.data import IterableDataset, get_worker_info

from featx.clips import ClipSpec
from featx.errors import UsageError
from featx.extraction.settings import Machine
from featx.system.processors import cpu_count
from featx.transforms import Transform
from featx.video.decoders import installed_decoder
from featx.video.flow import resolve_method
from featx.video.pool import ClipArrived, Pool
from featx.video.source import find_videos
from featx.video.worker import DecodeSettings, Done, Failed, Job

# Clips that a decoding process may be ahead of the loop.
_SLOTS = 8


class VideoClip(NamedTuple):
    """A clip of a video.

    Attributes:
        clip: (3, T, H, W) float32, normalised; or (T, H, W, 3) uint8 RGB.
        video: The video's id, as in a feature file.
        number: Which of the video's clips it is, from 0.
    """

    clip: torch.Tensor
    video: str
    number: int


class VideoClips(IterableDataset[VideoClip]):
    """Clips of video files, a `VideoClip` at a time, as `featx.extract` gives them to a network.

    Videos are decoded in processes of their own, each frame once, and a few clips ahead of the loop.
    A video's clips come in order; clips of several videos come in turns. Every iteration decodes
    anew. In a `torch.utils.data.DataLoader` with workers, each worker takes a share of the videos,
    and the decoding processes are divided among them.

    A video that cannot be read is listed in `failures`, with a warning at the end of the iteration;
    clips of it that were given before stay given.

    Args:
        videos: Files, folders (searched recursively), glob patterns, or lists of paths in text files.
        clip: Which frames make a clip.
        transform: How frames become a clip; a centre crop, RGB or flow.
        normalise: False gives clips as uint8 (T, H, W, 3), without mean and standard deviation.
        machine: Decoding processes, their decoder and their timeout; the rest has no effect. The
            fields may be given one by one too. Decoders that are not exact are refused: what they
            gave may turn out to be void.
        decoder, workers, timeout: As in `Machine`.
        root: Folder that video ids are relative to. None is the folder given.

    Raises:
        UsageError: For inputs without videos, and for settings that make no clips.
    """

    def __init__(
        self,
        videos: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
        *,
        clip: ClipSpec,
        transform: Transform,
        normalise: bool = True,
        machine: Machine | None = None,
        decoder: str | None = None,
        workers: int | None = None,
        timeout: float | None = None,
        root: str | None = None,
    ) -> None:
        _check(clip, transform)
        flat: dict[str, Any] = {"decoder": decoder, "workers": workers, "timeout": timeout}
        given = {name: value for name, value in flat.items() if value is not None}
        self._machine = replace(machine or Machine(), **given)
        chosen = installed_decoder(self._machine.decoder, in_processes=True)
        if not chosen.exact:
            raise UsageError(
                f"decoder is {chosen.name!r}, whose clips may turn out to be void when they are"
                " given already: leave it out"
            )
        self._settings = DecodeSettings(
            clip, transform, chosen.name, _SLOTS, max_pixels=self._machine.max_pixels
        )
        self._normalise = normalise
        self._sources = find_videos(videos, root=root).sources
        self._notes = _Notes()

    @property
    def ids(self) -> list[str]:
        """The videos' ids, in order."""
        return [source.id for source in self._sources]

    @property
    def clip(self) -> ClipSpec:
        """Which frames make a clip."""
        return self._settings.clip

    @property
    def transform(self) -> Transform:
        """How frames become a clip."""
        return self._settings.transform

    @property
    def failures(self) -> list[tuple[str, str]]:
        """(path, reason) of every video that could not be read so far, in any process."""
        return list(self._notes.read("failed").items())

    @property
    def damaged(self) -> list[tuple[str, int]]:
        """(path, damaged frames) of every video so far that decodes in part."""
        return list(self._notes.read("damaged").items())

    def __repr__(self) -> str:
        side = self.transform.crop
        takes = f"clips of {self.clip.frames} frames of {side}x{side}"
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"VideoClips({len(self._sources)} videos{failed}; {takes})"

    def __iter__(self) -> Iterator[VideoClip]:
        """Decode the videos.

        Yields:
            Their clips.

        Raises:
            FeatxError: If decoding processes cannot be started.
        """
        total = self._machine.workers or cpu_count()
        share = get_worker_info()
        mine = range(len(self._sources))
        if share is not None:
            mine = mine[share.id :: share.num_workers]
            total //= share.num_workers
        if not mine:
            return
        failed: list[tuple[str, str]] = []
        with Pool(
            self._settings,
            workers=max(1, min(total, len(mine))),
            timeout=self._machine.timeout,
        ) as pool:
            pool.submit(Job(key, self._sources[key].path, self._settings.decoder) for key in mine)
            given = dict.fromkeys(mine, 0)
            while not pool.idle:
                for event in pool.events(0.1):
                    # A video that is decoded anew, after a crash, gives its first clips again.
                    if isinstance(event, ClipArrived) and event.clip == given[event.key]:
                        given[event.key] += 1
                        item, before = self._item(event), monotonic()
                        yield item
                        if monotonic() - before > 1:
                            pool.excuse()
                    elif isinstance(event, Failed):
                        failed.append((self._sources[event.key].text, event.reason))
                        self._notes.add("failed", *failed[-1])
                    elif isinstance(event, Done) and event.summary.damaged_frames:
                        path = self._sources[event.key].text
                        self._notes.add("damaged", path, event.summary.damaged_frames)
        if failed:
            path, reason = failed[0]
            warnings.warn(
                f"{len(failed)} of {len(mine)} videos could not be read: {path}: {reason};"
                " `failures` lists them",
                stacklevel=2,
            )

    def _item(self, arrived: ClipArrived) -> VideoClip:
        frames = torch.from_numpy(arrived.frames[0].copy())  # its memory is the next clip's soon
        if self._normalise:
            frames = self.transform.normalise(frames[None])[0].contiguous()
        return VideoClip(frames, self._sources[arrived.key].id, arrived.clip)


def _check(clip: ClipSpec, transform: Transform) -> None:
    """Raise UsageError for what makes no clips."""
    asked: list[tuple[str, object, type]]
    asked = [("clip", clip, ClipSpec), ("transform", transform, Transform)]
    for name, value, kind in asked:
        if not isinstance(value, kind):
            raise UsageError(f"{name} is a {type(value).__name__}: give a featx.{kind.__name__}")
    if transform.n_crops > 1 or transform.flip:
        which = f"crops is {transform.crops!r}" if transform.n_crops > 1 else "flip is True"
        raise UsageError(
            f"{which}, and a mean over several views is for features: give a transform of one view"
        )
    if transform.flow is not None:
        resolve_method(transform.flow)


class _Notes:
    """What is told of videos, by all processes that read them: a line each in a file of the first one's."""

    def __init__(self) -> None:
        handle, self._path = tempfile.mkstemp(prefix="featx-", suffix=".notes")
        os.close(handle)
        weakref.finalize(self, _removed, self._path, os.getpid())

    def add(self, kind: str, path: str, value: str | int) -> None:
        line = json.dumps([kind, path, value]) + "\n"
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(line)

    def read(self, kind: str) -> dict[str, Any]:
        """Return what was told of a kind: path -> value, sorted by path."""
        try:
            lines = Path(self._path).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:  # in a copy on another machine
            return {}
        told = [json.loads(line) for line in lines]
        return {path: value for what, path, value in sorted(told) if what == kind}


def _removed(path: str, owner: int) -> None:
    """Remove a file, unless this is a copy of the process that made it."""
    if os.getpid() == owner:
        Path(path).unlink(missing_ok=True)
