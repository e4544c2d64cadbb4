"""HDF5 files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import h5py

from featx.system.files import created, disk_full, written_aside


@contextlib.contextmanager
def hdf5_written(path: Path, *, aside: Path | None = None) -> Iterator[h5py.File]:
    """Give an HDF5 file to write, which is in its place once the block ends without an exception.

    aside: where it is written until then; by default beside `path`. Raises FeatxError if the disk is full.
    """
    with (
        disk_full(path),
        written_aside(path, aside=aside) as temporary,
        created(temporary) as file,
    ):
        disk = _Disk(file.fileno())
        try:
            # v110: groups of many videos are indexed; read by HDF5 1.10 (2016) and later.
            with h5py.File(disk, "w", libver=("v110", "v110")) as content:
                yield content
        finally:
            disk.check()


class _Disk(io.RawIOBase):
    """A file that takes whatever HDF5 writes; `check` raises the error of the first write that failed.

    HDF5 cannot go on after a write that failed: it prints an error for each of its objects, and crashes as they go.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._place = self._end = 0
        self._failed: OSError | None = None

    def check(self) -> None:
        if self._failed is not None:
            raise self._failed

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._end}[whence]
        self._place = start + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        n = os.preadv(self._descriptor, [buffer], self._place)
        self._place += n
        return n

    def write(self, content: bytes | memoryview, /) -> int:  # type: ignore[override]
        left = memoryview(content).cast("B")
        size = len(left)
        try:
            while self._failed is None and len(left):
                written = os.pwrite(self._descriptor, left, self._place + size - len(left))
                left = left[written:]
        except OSError as error:
            self._failed = error
        self._place += size
        self._end = max(self._end, self._place)
        return size

    def truncate(self, size: int | None = None, /) -> int:
        self._end = self._place if size is None else size
        try:
            if self._failed is None:
                os.ftruncate(self._descriptor, self._end)
        except OSError as error:
            self._failed = error
        return self._end
