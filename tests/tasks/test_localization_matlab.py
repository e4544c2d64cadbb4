"""Matrices from MATLAB's files, of every format."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat
from scipy.sparse import csc_matrix
from told import telling

from featx.errors import FeatxError
from featx.tasks.localization._matlab import read_matrix

ROWS = np.array([[1.0, 0.0, 0.5], [0.0, 0.0, 0.25], [3.0, 4.0, 0.0], [0.0, 0.0, 7.0]])


def hdf5(path: Path) -> h5py.File:
    """A file of format 7.3: HDF5 behind a block of MATLAB's own."""
    with h5py.File(path, "w", userblock_size=512):
        pass
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return h5py.File(path, "r+")


def sparse(file: h5py.File, rows: int) -> None:
    columns = csc_matrix(ROWS)
    group = file.create_group("m")
    group.attrs["MATLAB_sparse"] = np.uint64(rows)
    for name, values in (
        ("data", columns.data),
        ("ir", columns.indices.astype("u8")),
        ("jc", columns.indptr.astype("u8")),
    ):
        group[name] = values


def test_every_format_gives_the_same_numbers(tmp_path: Path) -> None:
    savemat(tmp_path / "5.mat", {"m": ROWS, "other": "text"})
    savemat(tmp_path / "7.mat", {"m": ROWS}, do_compression=True)
    savemat(tmp_path / "4.mat", {"m": ROWS}, format="4")
    savemat(tmp_path / "single.mat", {"m": ROWS.astype(np.float32)})
    savemat(tmp_path / "sparse.mat", {"m": csc_matrix(ROWS)})
    with hdf5(tmp_path / "73.mat") as file:
        file.create_dataset("m", data=ROWS.T, chunks=True, compression="gzip")
    with hdf5(tmp_path / "73sparse.mat") as file:
        sparse(file, 4)
    for path in sorted(tmp_path.glob("*.mat")):
        found = read_matrix(path, "m")
        assert found.dtype.name == "float64"
        assert found.tolist() == ROWS.tolist(), path
    savemat(tmp_path / "integers.mat", {"m": ROWS.astype(np.int16)})
    assert read_matrix(tmp_path / "integers.mat", "m").tolist() == ROWS.astype(np.int16).tolist()


def test_what_is_no_matrix_is_refused(tmp_path: Path) -> None:
    outside = csc_matrix(ROWS)
    outside.indices[1] = 9
    contents = {
        "text": "text",
        "cells": np.array([ROWS, "x"], object),
        "imaginary": ROWS + 1j,
        "outside": outside,
    }
    for name, value in contents.items():
        savemat(tmp_path / f"{name}.mat", {"m": value})
    with hdf5(tmp_path / "text73.mat") as file:
        file["m"] = "text"
    with hdf5(tmp_path / "outside73.mat") as file:
        sparse(file, 2)
    with hdf5(tmp_path / "elsewhere.mat") as file:
        file["m"] = h5py.ExternalLink("73.mat", "m")
    with hdf5(tmp_path / "group.mat") as file:
        file.create_group("m")
    (tmp_path / "cut.mat").write_bytes((tmp_path / "outside73.mat").read_bytes()[:1500])
    damaged = [path.name for path in tmp_path.glob("*.mat")]
    assert len(damaged) == 9
    for name in damaged:
        with pytest.raises(FeatxError, match=telling(name)):
            read_matrix(tmp_path / name, "m")
    for name in ("text", "text73"):
        with pytest.raises(FeatxError, match=telling(f"{name}.mat", "n")):
            read_matrix(tmp_path / f"{name}.mat", "n")


def test_more_than_memory_holds_is_refused(tmp_path: Path) -> None:
    savemat(tmp_path / "many.mat", {"m": csc_matrix((1 << 20, 1 << 10))})
    with hdf5(tmp_path / "many73.mat") as file:
        file.create_dataset("m", shape=(1 << 14, 1 << 20), chunks=(1, 1 << 10), dtype="f8")
    for name in ("many", "many73"):
        with pytest.raises(FeatxError, match=telling(f"{name}.mat", "m")):
            read_matrix(tmp_path / f"{name}.mat", "m")
