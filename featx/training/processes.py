"""The processes that train together: one, or as many as `torchrun` started."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from featx.errors import UsageError
from featx.extraction.backends.eager import resolve_device


@dataclass(frozen=True)
class Processes:
    """This process's place among them. device: the one it trains on; nearby: how many of them are on this machine."""

    device: torch.device
    rank: int = 0
    world: int = 1
    nearby: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and speaks."""
        return self.rank == 0

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum over all processes of each value."""
        if self.world > 1:
            distributed.all_reduce(values)
        return values

    def all(self, value: Any) -> list[Any]:
        """Return every process's value, in the order of their ranks."""
        if self.world == 1:
            return [value]
        found: list[Any] = [None] * self.world
        distributed.all_gather_object(found, value)
        return found

    def from_first(self, value: Any) -> Any:
        """Return the first process's value."""
        if self.world == 1:
            return value
        found = [value]
        distributed.broadcast_object_list(found, src=0)
        return found[0]


@contextlib.contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Join the processes that `torchrun` started, or be the only one; with several, each takes the GPU of its local rank.

    device: "auto", "cpu", "cuda" or "cuda:N". Raises UsageError when it is not there.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or "RANK" not in os.environ:
        yield Processes(resolve_device(device))
        return
    rank, local = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    place = resolve_device(device)
    if place.type == "cuda":
        if place.index is not None:
            raise UsageError(
                f"device {device!r} with {world} processes: give `device='cuda'`, and each takes a GPU of its own"
            )
        place = resolve_device(f"cuda:{local}")
        torch.cuda.set_device(place)
    # The first process evaluates while the others wait, for hours on a large validation set.
    distributed.init_process_group(
        "nccl" if place.type == "cuda" else "gloo", timeout=timedelta(hours=12)
    )
    try:
        yield Processes(place, rank, world, int(os.environ.get("LOCAL_WORLD_SIZE", str(world))))
    finally:
        distributed.destroy_process_group()
