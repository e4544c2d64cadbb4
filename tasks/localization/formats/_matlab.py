"""A matrix from a MATLAB file, of any of its formats."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from featx.errors import FeatxError
from featx.tasks.localization._types import Floats

DAMAGED = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    OverflowError,
    MemoryError,
    RuntimeError,
    zlib.error,
)
# Numbers that a matrix of zeros alone could stand for in a few bytes of a sparse or a compressed one: 1 GB of them.
_MOST = 1 << 27


def read_matrix(path: Path, name: str) -> Floats:
    """Return the variable `name` of a MATLAB file as float64; FeatxError where it is not there, or no real numbers.

    Formats 4 to 7 and 7.3, which is HDF5; integers, single and double precision, full or sparse.
    """
    import h5py
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        values = (
            _from_hdf5(path, name)
            if h5py.is_hdf5(path)
            else loadmat(path, variable_names=[name]).get(name)
        )
        if hasattr(values, "check_format"):
            values.check_format(full_check=True)  # which turning it into a full one relies on
    except (*DAMAGED, MatReadError) as error:
        raise _damaged(path, error) from error
    if values is None:
        raise FeatxError(f"{path} has no variable {name}: give the file that has it")
    if getattr(values, "dtype", np.dtype(object)).kind not in "fiu":
        raise FeatxError(f"{name} in {path} has no real numbers: give the file that has them")
    if int(np.prod(values.shape, dtype=object)) > _MOST:
        raise FeatxError(
            f"{name} in {path} is of shape {values.shape}, more than can be read: give fewer rows"
        )
    dense = values.toarray() if hasattr(values, "toarray") else np.asarray(values)
    return dense.astype(np.float64)


def _from_hdf5(path: Path, name: str) -> Any:
    import h5py

    with h5py.File(path, "r") as file:
        if name not in file:
            return None
        if isinstance(file.get(name, getlink=True), h5py.ExternalLink):
            raise FeatxError(f"{name} of {path} lies in another file: give the one that has it")
        found = file[name]
        if isinstance(found, h5py.Group):
            return _sparse(found)
        if found.external or found.is_virtual:
            raise FeatxError(f"{name} of {path} lies in another file: give the one that has it")
        if found.attrs.get("MATLAB_empty", 0):
            return np.zeros(tuple(found[()]))
        if found.size > _MOST:
            raise FeatxError(
                f"{name} in {path} is of shape {found.shape[::-1]}, more than can be read: give fewer rows"
            )
        return np.asarray(found[()]).T  # MATLAB's columns lie one after another


def _sparse(found: Any) -> Any:
    """Return a sparse matrix from MATLAB's group of its columns' starts, rows and values."""
    from scipy.sparse import csc_array

    starts = found["jc"][()]
    rows, values = (found[part][()] if part in found else np.zeros(0) for part in ("ir", "data"))
    shape = (int(found.attrs["MATLAB_sparse"]), len(starts) - 1)
    return csc_array((values, rows.astype(np.int64), starts.astype(np.int64)), shape=shape)


def _damaged(path: Path, error: Exception) -> FeatxError:
    return FeatxError(f"{path} cannot be read as a MATLAB file ({error!r}): get it again")
