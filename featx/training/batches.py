"""What the loop trains on: batches of clips, wherever they come from."""

from __future__ import annotations

import queue
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

import torch


@dataclass
class Batch:
    """Clips of one forward pass. clips: (N, T, S, S, 3) uint8, as `network_input` takes them.

    labels: (N,) int64. overlaps: (N,) float32, of the items. ids: of the videos, or of generated clips. missing: how many clips
    are not there yet. Give the batch back with `release` when its clips are copied.
    """

    clips: torch.Tensor
    labels: torch.Tensor
    overlaps: torch.Tensor
    sides: list[int]
    flips: list[bool]
    ids: list[str]
    missing: int = 0
    # Where the clips' memory goes when it may be filled again; None where nothing waits for it.
    _free: queue.Queue[torch.Tensor] | None = None
    # Videos that could not be read and were replaced in it, with the reason; frames in it that the decoder marked as damaged.
    replaced: Counter[tuple[str, str]] = field(default_factory=Counter)
    damaged_frames: int = 0

    def release(self) -> None:
        """Let the clips' memory be filled again."""
        if self._free is not None:
            self._free.put(self.clips)


class Epochs(Protocol):
    """What the loop knows of the endless stream whose clips it gets."""

    @property
    def epoch_clips(self) -> int:
        """Clips in an epoch."""


class Batches(Protocol):
    """A context whose `next` gives the stream's batches without end, in order. notes: what the user should be told."""

    notes: list[str]

    def __enter__(self) -> Batches: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

    def next(self, timeout: float | None = None) -> Batch | None:
        """Return the next batch, on any device; None where it is not there within `timeout` seconds."""
