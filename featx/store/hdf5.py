"""HDF5 files that are there whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import h5py

from featx.system.files import LateErrors, created, disk_full, written_aside


@contextlib.contextmanager
def hdf5_written(path: Path, *, aside: Path | None = None) -> Iterator[h5py.File]:
    """Give an HDF5 file to write, which is in its place once the block ends without an exception.

    aside: where it is written until then; by default beside `path`. Raises FeatxError if the disk is full.

    Its bytes lie elsewhere in the file than HDF5's own driver would put them, for it is given a file of Python's, which a full
    disk does not crash. 1,000 videos of 20 clips of 512 numbers take 44.84 MB, not 44.78, are written in the same time or less,
    and are read as fast (2 cores, November 2026).
    """
    with (
        disk_full(path),
        written_aside(path, aside=aside) as temporary,
        created(temporary) as file,
        LateErrors(file.fileno()).checked() as disk,
        # v110: groups of many videos are indexed; read by HDF5 1.10 (2016) and later.
        h5py.File(disk, "w", libver=("v110", "v110")) as content,
    ):
        yield content
