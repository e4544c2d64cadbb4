"""Rows by video, out of feature files and of other libraries': the mean of the right clips, or a sentence."""

from __future__ import annotations

import io
import zipfile

import h5py
import numpy as np
import pytest
from feature_files import write_features
from told import telling, tells

from featx.datasets import Item
from featx.errors import FeatxError, UsageError
from featx.tasks import open_features


def item(item_id, **more):
    return Item(id=item_id, path=f"/videos/{item_id}.avi", label=0, **more)


def unit(row):
    return np.asarray(row, np.float64) / np.linalg.norm(row)


@pytest.fixture
def file(tmp_path):
    videos = {
        "a/1": {"pool5": [[1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 3, 0]], "prob": [[0.5, 0.5]] * 3},
        "a/2": {"pool5": np.zeros((1, 4)), "prob": [[1, 0]]},
    }
    return write_features(tmp_path / "f.h5", videos, failures=[("/videos/a/3.avi", "no frames")])


def test_a_row_is_the_mean_over_clips_normalised(file):
    with open_features(file) as features:
        assert (features.layer, features.dims, features.title) == (
            "pool5",
            4,
            "pool5 of res3d (hand-made)",
        )
        rows = features.rows([item("a/2"), item("a/1")])
        plain = features.rows([item("a/1")], normalise=False)
    # The mean of three clips of 1, 2 and 3 in three dimensions; a video of zeros has no direction.
    np.testing.assert_allclose(rows, [np.zeros(4), unit([1, 2, 3, 0])], rtol=1e-6)
    np.testing.assert_allclose(plain, [[1 / 3, 2 / 3, 1, 0]], rtol=1e-6)


def test_another_layer_can_be_chosen(file):
    with open_features(file, "prob") as features:
        np.testing.assert_allclose(features.rows([item("a/1")]), [unit([1, 1])], rtol=1e-6)
    with pytest.raises(UsageError, match=telling("pool5", "prob", "'res5b'")):
        open_features(file, "res5b")


def test_a_part_of_a_video_has_the_clips_whose_middle_it_holds(file):
    """Clips of 0.64 s: their middles are at 0.32, 0.96 and 1.6 s."""
    with open_features(file) as features:
        rows = features.rows([item("a/1", start=0.9, end=1.5), item("a/1#2", start=0.9)][:1])
        np.testing.assert_allclose(rows, [[0, 1, 0, 0]])
        to_the_end = features.rows([item("a/1", start=0.9)])
        np.testing.assert_allclose(to_the_end, [unit([0, 2, 3, 0])], rtol=1e-6)
        with pytest.raises(FeatxError, match=telling("a/1", "0 to 0.2 s", "stride")):
            features.rows([item("a/1", end=0.2)])


def test_missing_videos_are_listed_with_reason_and_remedy(file):
    with open_features(file) as features, pytest.raises(FeatxError) as caught:
        features.rows([item("a/1"), item("a/3"), *(item(f"b/{i}") for i in range(9))])
    assert tells(caught.value, "10 of 11", "a/3", "no frames", "b/0, b/1, b/2, b/3", 5)
    options = "--model res3d", "--weights hand-made", "--layers pool5,prob"
    assert tells(caught.value, "featx extract", *options, file)


def spoilt(path, rows):
    """A feature file of which another program has replaced the rows of b; none where they are None."""
    write_features(path, {name: {"pool5": np.ones((1, 3))} for name in "ab"})
    with h5py.File(path, "r+") as file:
        del file["b/pool5"]
        if rows is not None:
            file["b/pool5"] = np.asarray(rows, np.float32)
    return path


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    path = spoilt(tmp_path / "f.h5", [[1, np.nan, 0]])
    with open_features(path) as features, pytest.raises(FeatxError, match=telling("finite", "'b'")):
        features.rows([item("b")])


def by_video(path):
    with h5py.File(path, "w") as file:
        file["a/1"] = [[1.0, 0, 0], [0, 1, 0]]
        file["a/2"] = [0.0, 0, 2]


def as_matrix(path):
    with h5py.File(path, "w") as file:
        file["ids"], file["features"] = ["a/1.avi", "a/2.avi"], np.array([[3.0, 3, 0], [0, 0, 1]])


def as_npy(path):
    np.save(path, np.array([[3, 3, 0], [0, 0, 1]], np.float16))
    path.with_suffix(".txt").write_text("a/1\na/2\n")


def as_npz(path):
    np.savez(path, ids=["1", "2"], features=np.array([[3, 3, 0], [0, 0, 1]]))


@pytest.mark.parametrize(
    ("name", "write"),
    [("f.h5", by_video), ("f.h5", as_matrix), ("f.npy", as_npy), ("f.npz", as_npz)],
)
def test_other_libraries_features_are_read(tmp_path, name, write):
    write(tmp_path / name)
    with open_features(tmp_path / name) as features:
        assert (features.dims, features.settings, features.title) == (3, None, name)
        rows = features.rows([item("a/2"), item("a/1")])
        np.testing.assert_allclose(rows, [[0, 0, 1], unit([1, 1, 0])], rtol=1e-6)
        with pytest.raises(FeatxError, match=telling("1 of 1", "b/9")):
            features.rows([item("b/9")])
    with pytest.raises(UsageError, match=telling(name, "fc6")):
        open_features(tmp_path / name, "fc6")


def test_files_that_are_no_features_are_told_in_a_sentence(tmp_path):
    (tmp_path / "text.h5").write_text("not HDF5")
    with pytest.raises(UsageError, match=telling("text.h5")):
        open_features(tmp_path / "text.h5")
    (tmp_path / "text.npy").write_text("not NumPy")
    (tmp_path / "text.txt").write_text("a\n")
    with pytest.raises(UsageError, match=telling("text.npy")):
        open_features(tmp_path / "text.npy")
    np.save(tmp_path / "alone.npy", np.zeros((2, 3)))
    with pytest.raises(UsageError, match=telling("alone.txt")):
        open_features(tmp_path / "alone.npy")
    (tmp_path / "alone.txt").write_text("a\nb\nc\n")
    with pytest.raises(UsageError, match=telling("3 ids", "float64")):
        open_features(tmp_path / "alone.npy")
    (tmp_path / "alone.txt").write_text("a\na\n")
    with pytest.raises(UsageError, match=telling("'a'")):
        open_features(tmp_path / "alone.npy")
    np.save(tmp_path / "objects.npy", np.array([{}, {}], object))
    (tmp_path / "objects.txt").write_text("a\nb\n")
    # A pickle, which could run anything.
    with pytest.raises(UsageError, match=telling("objects.npy")):
        open_features(tmp_path / "objects.npy")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(UsageError, match=telling("other.npz", "x")):
        open_features(tmp_path / "other.npz")
    with h5py.File(tmp_path / "ragged.h5", "w") as file:
        file["a"], file["b"] = np.zeros(3), np.zeros(4)
    with pytest.raises(UsageError, match=telling("ragged.h5")):
        open_features(tmp_path / "ragged.h5")
    with pytest.raises(UsageError, match=telling("none.h5")):
        open_features(tmp_path / "none.h5")
    with pytest.raises(UsageError, match=telling(tmp_path)):
        open_features(tmp_path)


@pytest.mark.parametrize(
    ("rows", "told"),
    [(np.ones((0, 3)), ()), (None, ("pool5",)), (np.ones((1, 4), np.float32), (4, 3))],
)
def test_a_video_unlike_the_others_is_named(tmp_path, rows, told):
    path = spoilt(tmp_path / "f.h5", rows)
    refused = pytest.raises(FeatxError, match=telling("'b'", *told))
    with open_features(path, "pool5") as features, refused:
        features.rows([item("a"), item("b")])


def arrays_of(path, ids, features):
    if path.suffix == ".npz":
        np.savez(path, ids=ids, features=features)
    else:
        with h5py.File(path, "w") as file:
            file["ids"] = ids
            if features is None:
                file.create_group("features")
            else:
                file["features"] = features


@pytest.mark.parametrize(
    ("name", "ids", "features"),
    [
        ("objects.npz", np.array(["a", "b"], object), np.ones((2, 3))),
        ("one.npz", "a", np.ones((2, 3))),
        ("none.npz", ["a", "b"], np.ones((2, 0))),
        ("text.npz", ["a", "b"], np.array([["x"], ["y"]])),
        ("group.h5", ["a", "b"], None),
        ("one.h5", "a", np.ones((2, 3))),
        ("latin.h5", np.array([b"\xff", b"b"]), np.ones((2, 3))),
    ],
)
def test_arrays_that_are_no_rows_are_a_sentence(tmp_path, name, ids, features):
    arrays_of(tmp_path / name, ids, features)
    with pytest.raises(UsageError, match=telling(name)):
        open_features(tmp_path / name)


def claiming(path, *, shape, dtype, content=b""):
    """Write the two arrays that a file has to have, one of them with another header than its numbers."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, kind in (("ids", "|S0"), ("features", dtype)):
            told = {
                "descr": kind,
                "fortran_order": False,
                "shape": shape[: 1 if name == "ids" else None],
            }
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(header, told)
            archive.writestr(f"{name}.npy", header.getvalue() + content)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((10**12, 0), "<f4"),
        ((10**12, 4), "|V0"),
        ((10**12, 4), "<f4"),
        ((10**18, 10**18), "<f4"),
        ((2**70, 4), "<f4"),
    ],
)  # fmt: skip
def test_claims_of_rows_that_are_not_there_are_a_sentence(tmp_path, shape, dtype):
    """A list of so many ids takes more memory than there is."""
    claiming(tmp_path / "f.npz", shape=shape, dtype=dtype, content=bytes(64))
    with pytest.raises(UsageError, match=telling("f.npz")):
        open_features(tmp_path / "f.npz")


def test_an_archive_that_unpacks_to_far_more_than_it_is_is_not_unpacked(tmp_path):
    path = tmp_path / "f.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("ids.npy", "w") as ids,
    ):
        for _ in range(70):
            ids.write(bytes(1 << 20))
    with pytest.raises(UsageError, match=telling("f.npz", 70 << 20)):
        open_features(path)


def test_a_compressed_archive_is_read(tmp_path):
    np.savez_compressed(tmp_path / "f.npz", ids=["a", "b"], features=np.eye(2))
    with open_features(tmp_path / "f.npz") as found:
        np.testing.assert_array_equal(found.rows([item("b")]), [[0, 1]])


def test_ids_as_bytes_and_names_that_mislead_are_read(tmp_path):
    np.savez(tmp_path / "f.npz", ids=np.array([b"a", b"b"]), features=np.eye(2))
    (tmp_path / "f.npz").rename(tmp_path / "f.npy")
    with open_features(tmp_path / "f.npy") as found:
        np.testing.assert_array_equal(found.rows([item("b"), item("a")]), [[0, 1], [1, 0]])


def test_other_libraries_files_a_video_hold_numbers(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["a"] = np.array([b"x", b"y"])
    with pytest.raises(UsageError, match=telling("f.h5")):
        open_features(tmp_path / "f.h5")
    with h5py.File(tmp_path / "g.h5", "w") as file:
        file["a"], file["b"] = np.ones((0, 2)), np.ones(2)
    with (
        open_features(tmp_path / "g.h5") as features,
        pytest.raises(FeatxError, match=telling("'a'")),
    ):
        features.rows([item("a"), item("b")])
