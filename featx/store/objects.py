"""Objects of an HDF5 file that somebody else wrote: opened only where they are the file's own, and no larger than it.

HDF5 can have a dataset's numbers lie in another file (external storage, virtual datasets), follow links into other files and
load code to decode a chunk. A file that is read here does none of it: what it holds is groups and datasets of its own.
"""

from __future__ import annotations

import contextlib
import math
import os
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


class DamagedFile(UsageError):
    """A file of features that is not as its format has it, or that reaches beyond itself."""


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
            if parent.id.links.get_info(key).type != h5py.h5l.TYPE_HARD:
                raise self.refused(told, "is a link to another place, which is not followed")
            found = h5py.h5o.open(parent.id, key)
            # Of a loop one group is linked to twice; and a dataset that is counts as often as its links.
            if h5py.h5o.get_info(found).rc != 1:
                raise self.refused(told, "is in the file under more than one name")
            if isinstance(found, h5py.h5g.GroupID):
                return h5py.Group(found)
            if not isinstance(found, h5py.h5d.DatasetID):
                raise self.refused(told, "is neither a group nor a dataset")
            self._check_storage(found, told)
            return h5py.Dataset(found)

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
