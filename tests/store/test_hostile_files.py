"""Feature files that somebody else made: nothing of another file is read, and every reader gives a result or one sentence."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from feature_files import write_features
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from told import telling

from featx.errors import FeatxError, UsageError
from featx.export import export
from featx.extraction.verify import structure
from featx.store import info
from featx.store.reader import FeatureStore
from featx.store.writer import merge
from featx.tasks import open_features
from featx.tasks.retrieval import index

IDS = ["k/a", "k/b_val"]


def features(path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = {i: {"pool5": rng.random((3, 4)), "fc": rng.random((3, 2))} for i in IDS}
    return write_features(path, rows, failures=[("x/bad.mp4", "empty")])


def external(file: h5py.File, secret: Path) -> None:
    del file["k/a/pool5"]
    file["k/a"].create_dataset("pool5", (3, 4), np.float32, external=[(str(secret), 0, 48)])


def virtual(file: h5py.File, secret: Path) -> None:
    del file["k/a/pool5"]
    layout = h5py.VirtualLayout((3, 4), np.float32)
    layout[:] = h5py.VirtualSource(str(secret), "x", (3, 4))
    file["k/a"].create_virtual_dataset("pool5", layout)


def replaced(name: str, make: Callable[[h5py.File, Path], object]) -> Callable[..., None]:
    def change(file: h5py.File, secret: Path) -> None:
        made = make(file, secret)
        del file[name]
        file[name] = made

    return change


def claiming(file: h5py.File, secret: Path) -> None:
    del file["k/a/clip_frames"]
    file["k/a"].create_dataset("clip_frames", (200_000_000, 2), np.int64, chunks=(1000, 2))


REACHING = {
    "external storage": external,
    "a virtual dataset": virtual,
    "a soft link": replaced("k/a/pool5", lambda f, s: h5py.SoftLink("/k/b_val/pool5")),
    "an external link": replaced("k/a/pool5", lambda f, s: h5py.ExternalLink(str(s), "x")),
    "a video that is a link": replaced("k/a", lambda f, s: h5py.ExternalLink(str(s), "x")),
    "a folder that is a link": replaced("k", lambda f, s: h5py.ExternalLink(str(s), "x")),
    "a list that is a link": replaced(".videos", lambda f, s: h5py.ExternalLink(str(s), "x")),
    "a dataset twice": replaced("k/a/pool5", lambda f, s: f["k/b_val/pool5"]),
    "a loop": lambda f, s: f["k/a"].__setitem__("more", f["k"]),
    "a named type": replaced("k/a/pool5", lambda f, s: np.dtype(np.float32)),
    "a claim of 200,000,000 clips": claiming,
}


@pytest.mark.parametrize("reach", REACHING)
@pytest.mark.parametrize("kind", ["file", "fifo"])
def test_what_is_not_the_files_own_is_refused_unread(tmp_path: Path, reach: str, kind: str) -> None:
    out, secret = features(tmp_path / "a.h5"), tmp_path / "secret"
    if kind == "fifo":  # opening it would never return
        os.mkfifo(secret)
    else:
        with h5py.File(secret, "w") as file:
            file["x"] = np.ones((3, 4), np.float32)
    with h5py.File(out, "a") as file:
        REACHING[reach](file, secret)
    for read in READERS.values():
        with pytest.raises(UsageError, match=telling(out)):
            read(out, tmp_path)


@pytest.mark.parametrize("reach", ["external storage", "a virtual dataset", "a soft link"])
def test_another_librarys_file_has_its_own_numbers_too(tmp_path: Path, reach: str) -> None:
    out, secret = features(tmp_path / "a.h5"), tmp_path / "secret"
    with h5py.File(out, "a") as file:
        file.attrs["format"] = "another"
        os.mkfifo(secret)
        REACHING[reach](file, secret)
    with pytest.raises(UsageError, match=telling(out, "k/a/pool5")):
        open_features(out)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_refused_by_every_reader(
    tmp_path: Path, number: float
) -> None:
    out = features(tmp_path / "a.h5")
    with h5py.File(out, "a") as file:
        file["k/a/pool5"][1, 1] = number
    for name in ("rows", "matrix", "merge", "export", "index", "svm"):
        with pytest.raises(FeatxError, match=telling("pool5", "'k/a'", "finite")):
            READERS[name](out, tmp_path)


def test_a_damaged_attribute_is_a_sentence_in_every_reader(tmp_path: Path) -> None:
    """From nine on they lie apart from their group, which opens; asking whether there is one of a name fails."""
    about = {f"more{i}": i for i in range(9)}
    rows = {i: {"pool5": np.ones((3, 4))} for i in IDS}
    out = write_features(tmp_path / "a.h5", rows, attrs=dict.fromkeys(IDS, about))
    content = out.read_bytes()
    at = content.rindex(b"complete\0")
    out.write_bytes(content[:at] + b"X" + content[at + 1 :])
    told = []
    for read in READERS.values():
        try:
            read(out, tmp_path)
        except UsageError as error:
            told.append(str(error))
    assert any("attribute" in each for each in told), told


def test_texts_that_hdf5_would_read_for_ever_are_refused(tmp_path: Path) -> None:
    """A heap of texts whose second object is free and of no size."""
    out = features(tmp_path / "a.h5")
    content = bytearray(out.read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 48 : heap + 4096] = bytes(4096 - 48)
    out.write_bytes(content)
    for read in READERS.values():
        with pytest.raises(UsageError, match=telling(out)):
            read(out, tmp_path)


def test_a_file_that_nobody_closes_does_not_crash_the_end_of_python(tmp_path: Path) -> None:
    program = "import sys; from featx import FeatureStore; v = FeatureStore(sys.argv[1])['k/a']; print(v['pool5'].shape)"
    done = subprocess.run(
        [sys.executable, "-c", program, features(tmp_path / "a.h5")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "(3, 4)\n", "")


def read_rows(path: Path, folder: Path) -> None:
    with FeatureStore(path) as store:
        for video in store.values():
            _ = repr(video), video.attrs, video.clip_frames, video.clip_times
            _ = [video[layer] for layer in video.layers]


def read_matrix(path: Path, folder: Path) -> None:
    with FeatureStore(path) as store:
        store.matrix("pool5")
        store.video_level("pool5")


def read_info(path: Path, folder: Path) -> None:
    with FeatureStore(path) as store:
        summary = info.summarise(store)
        json.dumps(summary)
        info.as_text(summary).encode()


def read_structure(path: Path, folder: Path) -> None:
    with FeatureStore(path) as store:
        if problems := structure(store):
            raise UsageError(f"{path}: {problems}")


def read_merge(path: Path, folder: Path) -> None:
    (folder / "merged.h5").unlink(missing_ok=True)
    merge([path], folder / "merged.h5")


def read_export(path: Path, folder: Path) -> None:
    shutil.rmtree(folder / "exported", ignore_errors=True)
    export(path, folder / "exported", to="activitynet", layer="pool5", overwrite=True)


def read_index(path: Path, folder: Path) -> None:
    shutil.rmtree(folder / "index", ignore_errors=True)
    index(path, layer="pool5", index=folder / "index", exact=True)


def read_svm(path: Path, folder: Path) -> None:
    with open_features(path) as found:
        found.rows_by_id(list(found.ids))


READERS = {
    "rows": read_rows,
    "matrix": read_matrix,
    "info": read_info,
    "structure": read_structure,
    "merge": read_merge,
    "export": read_export,
    "index": read_index,
    "svm": read_svm,
}

VALUES = [
    0, -1, 2**62, 1e308, float("nan"), "", [], [1, 2], True, np.zeros((2, 2)),
    np.array(b"x\xff", h5py.string_dtype()),  # no UTF-8
]  # fmt: skip
JSONS = st.recursive(
    st.sampled_from([None, True, -1, 2**70, 1e308, "", "\ud800", "a\0b", "random"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=4,
)
ARRAYS = [
    np.zeros((3, 4)), np.zeros((3, 4), np.int8), np.zeros((2, 4), np.float32), np.float32(1), np.zeros((0, 2), np.int64),
    np.full((3, 2), np.nan), np.array([[9, 2]] * 3), np.array([b"a"] * 3), np.zeros((3, 2)), np.zeros((3, 2, 1), np.float32),
]  # fmt: skip


def mutate(path: Path, data: st.DataObject) -> None:
    """Change one thing, or two, of a feature file."""
    if data.draw(st.integers(0, 3)) == 0:
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 8))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        return
    with h5py.File(path, "a") as file:
        names: list[str] = []
        file.visit(names.append)
        kind = data.draw(st.sampled_from(["attribute", "json", "dataset", "delete"]))
        if kind == "json":
            name = data.draw(st.sampled_from(sorted(set(file.attrs) - {"format"})))
            try:
                value = json.loads(file.attrs[name])
            except (ValueError, TypeError):
                value = None
            if isinstance(value, dict) and value:
                value[data.draw(st.sampled_from(sorted(value)))] = data.draw(JSONS)
            else:
                value = data.draw(JSONS)
            file.attrs[name] = json.dumps(value)
        elif kind == "attribute":
            of = file[data.draw(st.sampled_from(["/", *names]))]
            if len(of.attrs):
                name = data.draw(st.sampled_from(sorted(of.attrs)))
                del of.attrs[name]
                if data.draw(st.booleans()):
                    of.attrs[name] = data.draw(st.sampled_from(VALUES))
        else:
            name = data.draw(st.sampled_from(names))
            del file[name]
            if kind == "dataset":
                file[name] = data.draw(st.sampled_from(ARRAYS))


def check_mutation(base: Path, folder: Path, data: st.DataObject) -> None:
    path = folder / "mutated.h5"
    shutil.copy(base, path)
    mutate(path, data)
    for read in READERS.values():
        try:
            read(path, folder)
        except FeatxError as error:
            assert "\n" not in str(error).strip()  # noqa: PT017, most readings succeed


COMMON = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}


@settings(max_examples=40, **COMMON)
@given(data=st.data())
def test_a_mutated_file_gives_a_result_or_one_sentence(tmp_path_factory, data) -> None:
    folder = tmp_path_factory.mktemp("mutated")
    check_mutation(features(folder / "base.h5"), folder, data)


@pytest.mark.slow
@settings(max_examples=2000, **COMMON)
@given(data=st.data())
def test_two_thousand_mutated_files_give_a_result_or_one_sentence(tmp_path_factory, data) -> None:
    folder = tmp_path_factory.mktemp("mutated")
    check_mutation(features(folder / "base.h5"), folder, data)
    shutil.rmtree(folder)
