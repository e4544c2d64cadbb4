"""MATLAB files: a matrix in any of its formats, and the S-CNN authors' windows, res_seg_swin.mat."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from featx.datasets.untrimmed import Annotations
from featx.errors import FeatxError
from featx.system.extras import need
from featx.tasks.localization._types import Floats, Ints, Windows

VARIABLE = "seg_swin"
# Places of the columns: video's number, frames, start and end in seconds, confidence, confidence of an action, class.
_VIDEO, _LENGTH, _START, _END, _SCORE, _ACTION, _CLASS = 0, 1, 4, 5, 8, 9, 10
_NAMES = ("video_test_", "video_validation_")


def read_scnn_windows(path: str | os.PathLike[str], annotations: Annotations) -> Windows:
    """Read the windows that are given a class, 1 being the first of the annotations; 0 is background, and left out.

    Video number 4 is video_test_0000004, or video_validation_0000004 where the annotations' names are such. Videos of background
    alone are among those that were searched. FeatxError with the row for what is no window.
    """
    source = Path(path)
    rows = read_matrix(source, VARIABLE)
    if rows.ndim != 2 or rows.shape[1] <= _CLASS:
        raise FeatxError(
            f"{VARIABLE} in {source} is of shape {rows.shape}, not windows x 12 columns: give res_seg_swin.mat's"
        )
    _check(rows, source, len(annotations.classes))
    prefix = next(
        (p for p in _NAMES if any(name.startswith(p) for name in annotations.videos)), _NAMES[0]
    )
    numbers = np.unique(_whole(rows, _VIDEO))
    rows = rows[rows[:, _CLASS] > 0]
    action = rows[:, _ACTION]
    return Windows(
        classes=annotations.classes,
        videos=tuple(f"{prefix}{number:07d}" for number in numbers.tolist()),
        video=np.searchsorted(numbers, _whole(rows, _VIDEO)),
        label=_whole(rows, _CLASS) - 1,
        length=_whole(rows, _LENGTH),
        start=rows[:, _START].copy(),
        end=rows[:, _END].copy(),
        score=rows[:, _SCORE].copy(),
        # A column of zeros was never filled in: windows without an action were left out before.
        action=action.copy() if action.any() else np.full(len(rows), np.nan),
    )


def _whole(rows: Floats, column: int) -> Ints:
    return rows[:, column].astype(np.int64)


def _check(rows: Floats, source: Path, classes: int) -> None:
    video, label = rows[:, _VIDEO], rows[:, _CLASS]
    # Of background, which is left out, video and class alone matter.
    used = np.where(
        (label == 0)[:, None], [16.0, 0.0, 1.0, 0.0], rows[:, [_LENGTH, _START, _END, _SCORE]]
    )
    length, start, end, _ = used.T
    with np.errstate(invalid="ignore"):
        wrong = (
            (
                ~np.isfinite(np.column_stack((video, label, used))).all(axis=1),
                "has a number that is not finite",
            ),
            (
                (video != np.floor(video)) | (video < 0) | (video > 9_999_999),
                "has no video number from 0 to 9999999 in column 1",
            ),
            (
                (length != np.floor(length)) | (length < 1) | (length > 1 << 20),
                "has no number of frames in column 2",
            ),
            (end < start, "has an end before its start in columns 5 and 6"),
            (
                (label != np.floor(label)) | (label < 0) | (label > classes),
                f"has no class from 0 to {classes} in column 11",
            ),
        )
    for bad, what in wrong:
        if bad.any():
            raise FeatxError(
                f"row {int(np.argmax(bad)) + 1} of {VARIABLE} in {source} {what}: mend it"
            )


# ---------------------------------------------------------------- a matrix from a file of any format


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
    need("scipy", what=f"reading {path}")
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
