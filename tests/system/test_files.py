"""Files that are written whole or not at all: without room, and where somebody has put a link."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import command
from feature_files import write_features
from told import telling, tells

from featx.errors import FeatxError, UsageError
from featx.store.hdf5 import hdf5_written
from featx.store.journal import Journal
from featx.system.files import (
    check_target,
    created,
    lock_folder,
    opened_to_append,
    write_atomically,
)
from featx.training.folder import RunFolder


@contextlib.contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_hdf5(path: Path) -> None:
    """Small datasets, which HDF5 holds back and writes as each is closed."""
    with hdf5_written(path) as file:
        for i in range(12):
            file.create_dataset(f"v{i}/rows", data=np.ones((4, 1024), np.float32))


def write_torch(path: Path) -> None:
    """torch.save has an error of its own for a write that failed, which does not say why."""
    import torch

    state = {f"{i}": torch.ones(1000) for i in range(12)}
    write_atomically(path, lambda file: torch.save(state, file))


@pytest.mark.parametrize(
    "write",
    [lambda path: write_atomically(path, bytes(10_000)), write_hdf5, write_torch],
    ids=["bytes", "hdf5", "torch"],
)
def test_without_room_what_was_there_stays_and_nothing_is_left(
    tmp_path: Path, write: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_bytes(b"before")
    with (
        no_file_larger_than(8192),
        pytest.raises(FeatxError, match=telling(tmp_path / "out", "ulimit")),
    ):
        write(tmp_path / "out")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("out", b"before")]
    assert capfd.readouterr() == ("", "")


def test_without_room_for_its_state_a_training_run_keeps_the_one_before(tmp_path: Path) -> None:
    import torch

    run = RunFolder(tmp_path / "run")
    for name in ("steps.csv", "epochs.csv"):
        run.add(name, [("step",)])
    run.save({"step": 1})
    before = {path: path.read_bytes() for path in run.path.iterdir()}
    with (
        no_file_larger_than(8192),
        pytest.raises(FeatxError, match=telling(run.path / "state.pt", "ulimit")),
    ):
        run.save({"step": 2, "weights": torch.ones(10_000)})
    assert {path: path.read_bytes() for path in run.path.iterdir()} == before
    assert run.state() == {"step": 1}


def test_hdf5_is_the_same_as_written_by_its_own_driver(tmp_path: Path) -> None:
    import h5py

    def fill(file: h5py.File) -> None:
        rows = np.arange(200_000, dtype=np.float32).reshape(2000, 100)
        file.create_dataset("a/rows", data=rows)
        file.create_dataset("b", data=rows[:, :3], chunks=(64, 3), compression="gzip")
        file["a"].attrs["text"] = "x" * 70_000
        file.create_dataset("a/later", shape=(2000, 100), dtype="f4")[500:600] = rows[:100]

    with hdf5_written(tmp_path / "ours.h5") as file:
        fill(file)
    with h5py.File(tmp_path / "theirs.h5", "w", libver=("v110", "v110")) as file:
        fill(file)
    with (
        h5py.File(tmp_path / "ours.h5", "r") as ours,
        h5py.File(tmp_path / "theirs.h5", "r") as theirs,
    ):
        for name in ("a/rows", "b", "a/later"):
            np.testing.assert_array_equal(ours[name][...], theirs[name][...])
        assert dict(ours["a"].attrs) == dict(theirs["a"].attrs)


def test_without_room_for_a_lock_nothing_is_left(tmp_path: Path) -> None:
    with no_file_larger_than(0), pytest.raises(FeatxError, match=telling(tmp_path / "a" / "b")):
        lock_folder(tmp_path / "a" / "b", name="b")
    assert not (tmp_path / "a" / "b").exists()
    lock_folder(tmp_path / "a" / "b", name="b").close()


@pytest.mark.parametrize(
    "words",
    [
        ("index", "F", "--index", "OUT"),
        ("merge", "F", "OUT"),
        ("export", "F", "OUT", "--to", "activitynet"),
        ("export", "F", "OUT", "--to", "actionformer"),
    ],
    ids=lambda words: "-".join((words[0], words[-1])),
)
def test_a_command_without_room_says_where_and_removes_what_it_began(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    write_features(
        tmp_path / "f.h5", {f"v{i}": {"pool5": np.ones((8, 512), np.float32)} for i in range(4)}
    )
    names = {"F": str(tmp_path / "f.h5"), "OUT": str(tmp_path / "out")}
    done = subprocess.run(
        command(*(names.get(word, word) for word in words)),
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)),
    )
    assert done.returncode == 1
    assert tells(done.stderr.splitlines()[-1], tmp_path / "out", "ulimit")
    assert "Traceback" not in done.stderr
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "f.h5"]
    assert {path.name for path in left} <= {"lock", "featx_export.json"}  # by which it continues


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    path = tmp_path / "precious"
    path.write_text("precious")
    return path


def test_a_link_where_a_temporary_file_goes_is_replaced(tmp_path: Path, precious: Path) -> None:
    for write, content in ((write_hdf5, None), (lambda p: write_atomically(p, b"new"), b"new")):
        (tmp_path / "out.tmp").symlink_to(precious)
        write(tmp_path / "out")
        assert content is None or (tmp_path / "out").read_bytes() == content
    (tmp_path / "link").symlink_to(precious)
    with created(tmp_path / "link") as file:
        file.write(b"new")
    assert precious.read_text() == "precious"


def test_a_link_where_a_lock_goes_is_refused(tmp_path: Path, precious: Path) -> None:
    (tmp_path / "out.h5.parts").mkdir()
    (tmp_path / "out.h5.parts" / "lock").symlink_to(precious)
    with pytest.raises(UsageError, match=telling("out.h5.parts/lock")):
        Journal(tmp_path / "out.h5")
    with pytest.raises(UsageError, match=telling("lock")):
        RunFolder(tmp_path / "out.h5.parts")
    assert precious.read_text() == "precious"


def test_a_link_where_the_parts_go_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out.h5.parts").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=telling("out.h5.parts")):
        Journal(tmp_path / "out.h5")


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "fifo"])
def test_only_a_file_of_its_own_is_appended_to(tmp_path: Path, precious: Path, kind: str) -> None:
    path = tmp_path / "log"
    if kind == "symlink":
        path.symlink_to(precious)
    elif kind == "hardlink":
        path.hardlink_to(precious)
    else:
        os.mkfifo(path)
    with pytest.raises(UsageError, match=telling(path)):
        opened_to_append(path)
    path.unlink()
    for _ in range(2):
        with opened_to_append(path) as file:
            file.write(b"x")
    assert path.read_bytes() == b"xx"
    assert precious.read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "example"),
    [
        *((f"q{suffix}", "features.h5") for suffix in (".npy", ".NPZ", ".csv", ".json", ".txt")),
        *((f"q{suffix}", "features.h5") for suffix in (".mp4", ".avi", ".png", ".pth")),
        ("q.h5", "predictions.csv"),
        ("q.mp4", "predictions.csv"),
        ("q.npy", "packed.safetensors"),
    ],
)
def test_a_name_that_means_another_format_is_refused(
    tmp_path: Path, name: str, example: str
) -> None:
    with pytest.raises(UsageError, match=telling(name, f"q{Path(example).suffix}")):
        check_target(tmp_path / name, example=example)


@pytest.mark.parametrize(
    ("name", "example"),
    [
        *((name, "features.h5") for name in ("q.h5", "q.HDF5", "q", "q.features", "v1.2")),
        *((name, "predictions.csv") for name in ("q.csv", "q.txt", "q.tsv", "q")),
        ("q.svg", "picture.png"),
    ],
)
def test_a_name_that_fits_or_means_nothing_is_taken(
    tmp_path: Path, name: str, example: str
) -> None:
    check_target(tmp_path / name, example=example)


def test_an_odd_name_of_before_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "q.npy").write_bytes(b"\x89HDF\r\n\x1a\n")
    check_target(tmp_path / "q.npy", example="features.h5")
