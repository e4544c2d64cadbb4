"""Rows on their way to an index, normalised, and rows that lie in its files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from featx.errors import FeatxError
from featx.store.reader import Video

Rows = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
# Bytes of rows that are held at once, whatever a layer's width.
BLOCK = 64 << 20


def unit(rows: npt.ArrayLike) -> Rows:
    """Return (N, D) rows of length 1, float32; a row of zeros, which has no direction, stays: its cosine with anything is 0."""
    wide = np.asarray(rows, np.float64)
    length = np.sqrt(np.einsum("ij,ij->i", wide, wide))[:, None]
    return np.asarray(wide / np.where(length > 0, length, 1.0), np.float32)


def stretches(n: int, dims: int, *, block: int = BLOCK) -> Iterator[tuple[int, int]]:
    """Yield [start, end) of `n` rows of `dims` numbers, `block` bytes at a time."""
    each = max(1, block // (dims * 4))
    for start in range(0, n, each):
        yield start, min(start + each, n)


def read(video: Video, layer: str, clips: int, dims: int) -> Iterator[Rows]:
    """Yield a video's rows as they are stored, a block at a time; FeatxError for rows that are of another shape."""
    data = video.dataset(layer)
    if data.shape != (clips, dims) or not clips:
        raise FeatxError(
            f"{layer} of {video.id!r} is {data.shape}, not ({clips}, {dims}): see featx verify"
        )
    for start, end in stretches(data.shape[0], dims):
        yield data[start:end]


class Stored:
    """Rows in files, one after the other, of which only those that are asked for are read.

    files: (path, number of rows) each; a file is nothing but its rows, float32, little-endian. Raises ValueError if a file
    is not as long as its rows.
    """

    def __init__(self, files: Sequence[tuple[Path, int]], dims: int) -> None:
        self.dims = dims
        self._parts: list[Rows] = []
        for path, n in files:
            if path.stat().st_size != n * dims * 4:
                raise ValueError(f"{path.name} has {path.stat().st_size} bytes, not {n * dims * 4}")
            self._parts.append(np.memmap(path, np.dtype("<f4"), "r", shape=(n, dims)))
        self._firsts = np.concatenate([[0], np.cumsum([n for _, n in files], dtype=np.int64)])

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def take(self, numbers: Ints) -> Rows:
        """Return the rows of these numbers, (n, D)."""
        out = np.empty((len(numbers), self.dims), np.float32)
        which = np.searchsorted(self._firsts, numbers, side="right") - 1
        for part in np.unique(which):
            here = which == part
            out[here] = self._parts[part][numbers[here] - self._firsts[part]]
        return out

    def blocks(self, without: Sequence[tuple[int, int]] = ()) -> Iterator[tuple[int, Rows]]:
        """Yield (first row's number, rows) for all rows but those of the stretches `without`, a block at a time."""
        for part, first in zip(self._parts, self._firsts[:-1].tolist(), strict=True):
            for start, end in _kept(first, first + len(part), without):
                for a, b in stretches(end - start, self.dims):
                    yield start + a, part[start - first + a : start - first + b]

    def cosines(self, numbers: Ints, query: Floats) -> Floats:
        """Return the cosines of rows with a query of length 1, in float64: the same wherever a row lies."""
        out = np.empty(len(numbers), np.float64)
        for a, b in stretches(len(numbers), self.dims):
            # Not a matrix product: its last bits depend on how many rows there are.
            out[a:b] = (self.take(numbers[a:b]).astype(np.float64) * query).sum(axis=1)
        return out


def _kept(start: int, end: int, without: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield what the stretches `without`, in order and apart from each other, leave of [start, end)."""
    for a, b in without:
        if a > start and start < end:
            yield start, min(a, end)
        start = max(start, b)
    if start < end:
        yield start, end


def mean_of(total: Floats, n: int) -> Rows:
    """Return the mean of n rows, given their sum, as `FeatureStore.video_level` does: (D,), L2-normalised."""
    mean = total / n
    norm = math.sqrt(float(np.dot(mean, mean)))
    return np.asarray(mean / norm if norm > 0 else mean, np.float32)
