"""Objects of an HDF5 file that somebody else wrote: opened only where they are the file's own, and no larger than it.

HDF5 can have a dataset's numbers lie in another file (external storage, virtual datasets), follow links into other files and
load code to decode a chunk. A file that is read here does none of it: what it holds is groups and datasets of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import math
import os
import struct
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from featx.errors import UsageError

# HDF5's own filters (deflate, shuffle, Fletcher-32, SZIP, N-bit, scale-offset) and h5py's LZF: any other loads a plugin.
_FILTERS = frozenset({1, 2, 3, 4, 5, 6, 32000})
# Numbers that take less than this are read however well they were compressed; of larger ones this many bytes from one.
_SMALL, _RATIO = 64 << 20, 64
# As many as h5py and NumPy have for a damaged file.
_DAMAGE = (
    KeyError,
    TypeError,
    ValueError,
    OSError,
    RuntimeError,
    AttributeError,
    IndexError,
    OverflowError,
    MemoryError,
    NotImplementedError,
)
# What h5py has no name for: links to other files, and those of somebody's own kind.
_OTHER_LINK = 4
# Of a global heap, which holds texts: its own header and an object's, in bytes.
_HEAP, _HEADER = b"GCOL", 16


class DamagedFile(UsageError):
    """A file of features that is not as its format has it, or that reaches beyond itself."""


def opened(path: str | os.PathLike[str]) -> h5py.File:
    """Open an HDF5 file for reading; OSError where it is none."""
    source = _Source(path)
    file = h5py.File(source, "r")
    _sources().add(source)
    return file


@functools.cache
def _sources() -> weakref.WeakSet[_Source]:
    """Return the files that HDF5 has open, which are closed as Python ends: HDF5 ends later, and would crash as it reads one."""
    found: weakref.WeakSet[_Source] = weakref.WeakSet()
    atexit.register(_close, found)
    return found


def _close(sources: weakref.WeakSet[_Source]) -> None:
    names = {repr(each).encode() for each in sources}
    for each in h5py.h5f.get_obj_ids(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE):
        if each.name in names:
            h5py.File(each).close()


class _Source(io.RawIOBase):
    """A file that HDF5 reads, but for heaps of texts that would keep it for ever: of them it gets the signature wrong.

    HDF5 (2.0 and before) walks a heap from object to object, and stays at one that is free and of no size.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._place, self._end = 0, os.fstat(self._descriptor).st_size

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._end}[whence]
        self._place = start + offset
        return self._place

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view):
            n = os.preadv(self._descriptor, [view[done:]], self._place + done)
            if not n:
                break
            done += n
        self._place += done
        if view[: len(_HEAP)] == _HEAP and not _is_walkable(view[:done]):
            view[: len(_HEAP)] = bytes(len(_HEAP))
        return done


def _is_walkable(heap: memoryview) -> bool:
    """Return whether each object of a global heap, as far as it was read, leads on to another."""
    if len(heap) < _HEADER:
        return False
    (size,) = struct.unpack_from("<Q", heap, 8)
    at, end = _HEADER, min(size, len(heap))
    while at + _HEADER <= end:
        number, length = struct.unpack_from("<H6xQ", heap, at)
        if not number and not length:
            return False
        at += _HEADER + -(-length // 8) * 8 if number else length
    return True


class Objects:
    """Opens the objects of an HDF5 file, and raises DamagedFile for one that is not the file's own.

    path: the file. remedy: what the user can do.
    """

    def __init__(self, path: str | os.PathLike[str], *, remedy: str = "extract it again") -> None:
        self.path, self.remedy = Path(path), remedy
        self._size = self.path.stat().st_size

    def refused(self, name: str, why: str) -> DamagedFile:
        """Return the error that says what is wrong with an object: `why` is the rest of the sentence."""
        return DamagedFile(f"{self.path}: {name} {why}; {self.remedy}")

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[None]:
        """Have whatever h5py raises in the block, for a file that is damaged, become the one error."""
        try:
            yield
        except UsageError:
            raise
        except _DAMAGE as error:
            why = (str(error) or repr(error)).splitlines()[0].strip("'\"")
            raise self.refused(name, f"cannot be read ({why})") from error

    def get(self, parent: h5py.Group, name: str, told: str) -> h5py.Group | h5py.Dataset | None:
        """Open one object of a group, following no link; None if there is none of that name. told: its name in errors."""
        with self.reading(told):
            key = name.encode()
            if b"\0" in key or not key or not parent.id.links.exists(key):
                return None
            found = self.own(parent, key, told)
            return h5py.Group(found) if isinstance(found, h5py.h5g.GroupID) else h5py.Dataset(found)

    def own(
        self, parent: h5py.Group, key: bytes, told: str
    ) -> h5py.h5g.GroupID | h5py.h5d.DatasetID:
        """Open what a group has under a name, as `get` does, within a block of `reading`.

        Without what costs more than the checks: files have tens of thousands of videos.
        """
        about = h5py.h5g.get_objinfo(parent.id, key, follow_link=False)
        if about.type in (h5py.h5g.LINK, _OTHER_LINK):
            raise self.refused(told, "is a link to another place, which is not followed")
        # Of a loop one group is linked to twice; and a dataset that is counts as often as its links.
        if about.nlink != 1:
            raise self.refused(told, "is in the file under more than one name")
        if about.type == h5py.h5g.GROUP:
            return h5py.h5g.open(parent.id, key)
        if about.type != h5py.h5g.DATASET:
            raise self.refused(told, "is neither a group nor a dataset")
        found = h5py.h5d.open(parent.id, key)
        self._check_storage(found, told)
        return found

    def group(self, parent: h5py.Group, name: str, told: str) -> h5py.Group:
        """Open a group of a group."""
        found = self.get(parent, name, told)
        if found is None:
            raise self.refused(told, "is not there")
        if not isinstance(found, h5py.Group):
            raise self.refused(told, "is a dataset, and should be a group")
        return found

    def dataset(self, parent: h5py.Group, name: str, told: str) -> h5py.Dataset:
        """Open a dataset of a group."""
        found = self.get(parent, name, told)
        if found is None:
            raise self.refused(told, "is not there")
        if not isinstance(found, h5py.Dataset):
            raise self.refused(told, "is a group, and should be a dataset")
        return found

    def all_below(
        self, group: h5py.Group, prefix: str = ""
    ) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
        """Yield (name, object) for every object below a group, depth first; an error at the first that is not the file's own."""
        # A stack, not a recursion: groups may lie a thousand deep.
        stack = [(group, prefix)]
        while stack:
            parent, before = stack.pop()
            with self.reading(before or "/"):
                names = list(parent)
            for name in names:
                told = f"{before}{name}"
                found = self.get(parent, name, told)
                if found is None:
                    raise self.refused(told, "has a name that cannot be read")
                yield told, found
                if isinstance(found, h5py.Group):
                    stack.append((found, f"{told}/"))

    def array(self, dataset: h5py.Dataset, told: str, at: Any = ()) -> npt.NDArray[Any]:
        """Read a dataset, or its part `at`."""
        with self.reading(told):
            return np.asarray(dataset[at])

    def _check_storage(self, found: h5py.h5d.DatasetID, told: str) -> None:
        # Only numbers in one piece and in this file have an offset.
        if (offset := found.get_offset()) is not None:
            stored = found.get_storage_size()
            claimed = found.get_space().get_simple_extent_npoints() * found.get_type().get_size()
            if 0 < claimed <= stored <= self._size - offset:
                return
        # First the layout: to ask a virtual dataset for its shape opens the files that it is made of.
        plist = found.get_create_plist()
        layout = plist.get_layout()
        if layout == h5py.h5d.VIRTUAL:
            raise self.refused(told, "is a virtual dataset, whose numbers lie elsewhere")
        if plist.get_external_count():
            raise self.refused(told, "has its numbers in another file")
        if layout not in (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED):
            raise self.refused(told, "is stored in a way that is not known")
        filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
        if foreign := [number for number in filters if number not in _FILTERS]:
            raise self.refused(told, f"needs filter {foreign[0]}, which HDF5 itself does not have")
        shape, itemsize = found.shape, found.get_type().get_size()
        if not shape and found.get_space().get_simple_extent_type() == h5py.h5s.NULL:
            raise self.refused(told, "has no numbers")
        claimed = math.prod(shape) * itemsize
        if not claimed:
            return
        stored = found.get_storage_size()
        if layout == h5py.h5d.CHUNKED:
            chunk = plist.get_chunk()
            chunks = math.prod(-(-side // each) for side, each in zip(shape, chunk, strict=True))
            claimed = chunks * math.prod(chunk) * itemsize
            if found.get_num_chunks() != chunks:
                raise self.refused(told, f"lacks some of its {chunks} chunks")
        most = max(_SMALL, _RATIO * stored) if filters else stored
        if not stored or stored > self._size or claimed > most:
            raise self.refused(
                told, f"claims {claimed} bytes, {stored} stored, in a file of {self._size}"
            )
