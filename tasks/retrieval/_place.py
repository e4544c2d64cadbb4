"""What is indexed, where the index lies, and whether there is room for it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from featx.errors import UsageError, nearest
from featx.store.reader import FeatureStore
from featx.tasks.retrieval import _faiss

PROB = "prob"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an indexing is going to do.

    videos, clips: that the index is going to have. new: videos to read. size: bytes to be written. why: an index that was
    there is made anew, empty where none was or it is only added to.
    """

    index: Path
    layer: str
    dims: int
    videos: int
    clips: int
    new: int
    size: int
    exact: bool
    why: str

    def check_room(self) -> None:
        """Raise UsageError where the index fits neither on the disk nor, with cells, in memory."""
        free = os.statvfs(self.index)
        room = free.f_bavail * free.f_frsize
        if self.size > room:
            raise UsageError(
                f"the index of {self.layer} takes {self.size / 1e6:,.0f} MB and {room / 1e6:,.0f} MB are free at {self.index}:"
                " index a narrower layer with `layer`, or elsewhere with `index`"
            )
        needed = 0 if self.exact else self.clips * self.dims + _faiss.TRAINING_BYTES
        if needed > (memory := free_memory()):
            raise UsageError(
                f"the index of {self.layer} takes {needed / 1e6:,.0f} MB of memory and {memory / 1e6:,.0f} MB are free:"
                " index a narrower layer with `layer`, or without cells, with `exact=True`"
            )


def free_memory() -> float:
    """Return how many bytes of memory are free; infinity where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(
            float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")
        )
    except (OSError, StopIteration, ValueError):
        return float("inf")


def stamp_of(path: str | os.PathLike[str]) -> dict[str, int]:
    """Return by which a feature file that was rewritten is told from one that was not; taken before it is opened."""
    try:
        status = os.stat(path)
    except OSError:
        return {"bytes": -1, "modified": -1}
    return {"bytes": status.st_size, "modified": status.st_mtime_ns}


def chosen_layer(store: FeatureStore, layer: str | None) -> tuple[str, int]:
    """Return the layer to index and how many numbers its rows have; by default the narrowest one that is not prob."""
    if layer is not None and layer not in store.layers:
        raise UsageError(f"no layer {layer!r} in {store.path}{nearest(layer, store.layers)}")
    if not len(store):
        raise UsageError(f"{store.path} has no videos: extract some")
    widths = {name: int(store[store.ids[0]].dataset(name).shape[1]) for name in store.layers}
    chosen = layer or min(widths, key=lambda name: (name == PROB, widths[name]))
    return chosen, widths[chosen]


def folder_of(
    path: str | os.PathLike[str], layer: str, index: str | os.PathLike[str] | None
) -> Path:
    """Return the folder of a layer's index: beside the feature file, or in the folder `index`."""
    real = Path(os.path.realpath(path))
    return (Path(index) if index is not None else real.with_name(f"{real.name}.index")) / layer
