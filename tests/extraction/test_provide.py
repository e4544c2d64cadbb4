"""A dataset's features: those beside it, or extracted there from all of its videos."""

from __future__ import annotations

import pytest
from feature_files import write_features
from tiny import NAME
from told import telling

from featx.datasets import DatasetLists
from featx.errors import UsageError
from featx.extraction.provide import Provided, Wanted, dataset_features
from featx.extraction.settings import Hooks, Machine
from featx.store.reader import FeatureStore
from featx.synthetic.layouts import write_dataset

pytestmark = pytest.mark.usefixtures("tiny_network")


@pytest.fixture(scope="module")
def hmdb51(tmp_path_factory):
    return write_dataset(
        "hmdb51",
        tmp_path_factory.mktemp("data"),
        classes=["grow", "shrink"],
        per_class=6,
        seconds=0.4,
        size=(32, 40),
    ).root


def find(root, *, out=None, hooks=None, **wanted) -> Provided:
    """What there is of hmdb51 in a folder; closed, for most tests look at its path alone."""
    lists = DatasetLists("hmdb51", root=root)
    with dataset_features(lists, Wanted(**wanted), out=out, hooks=hooks) as found:
        return found


def test_features_are_extracted_once_from_all_videos_and_then_found(hmdb51):
    calls = []
    first = find(
        hmdb51,
        model=NAME,
        weights="random",
        hooks=Hooks(on_start=lambda r: calls.append(r.total)),
        machine=Machine(workers=1),
    )
    assert first.path == hmdb51 / "features" / f"{NAME}-random.h5"
    assert calls == [12]
    with FeatureStore(first.path) as store:
        assert len(store) == 12
        assert all(video_id.startswith("videos/") for video_id in store.ids)
        assert store.layers == ["res5a", "pool5", "prob"]
    # Whoever asks for these, for this model's, or for none by name, gets the same file, and nothing is extracted.
    for asked in ({"model": NAME, "weights": "random"}, {"model": NAME}, {}, {"layers": ["pool5"]}):
        again = find(hmdb51, **asked, hooks=Hooks(on_start=lambda r: calls.append(r.total)))
        assert (again.path, again.report) == (first.path, None)
    assert calls == [12]
    with pytest.raises(UsageError, match=telling("res5a", "pool5", "prob", "fc6")):
        find(hmdb51, layers=["fc6"])


def test_of_several_files_one_must_be_chosen(hmdb51, tmp_path):
    (tmp_path / "hmdb51").mkdir()
    for name in ("videos", "testTrainMulti_7030_splits"):
        (tmp_path / "hmdb51" / name).symlink_to(hmdb51 / name)
    folder = tmp_path / "hmdb51" / "features"
    folder.mkdir()
    for name in ("one", "two"):
        write_features(
            folder / f"{name}.h5",
            {"a": {"pool5": [[1.0]]}},
            model={"name": name, "num_classes": None},
        )
    with pytest.raises(UsageError, match=telling("one.h5", "two.h5", "features")):
        find(tmp_path / "hmdb51")
    assert find(tmp_path / "hmdb51", model="two").path == folder / "two.h5"


def test_beside_own_data_is_outside_of_its_class_folders(tmp_path):
    from conftest import encode

    for name in ("own/a/1", "own/a/2", "own/b/1", "own/b/2"):
        encode(tmp_path / f"{name}.mp4", 12, size=(32, 40))
    wanted = Wanted(model=NAME, weights="random", machine=Machine(workers=1))
    with dataset_features(tmp_path / "own", wanted) as found:
        assert found.path == tmp_path / "own.features" / f"{NAME}-random.h5"
        assert found.store.ids == ["a/1", "a/2", "b/1", "b/2"]


def test_what_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("FEATX_DATA", str(tmp_path))
    with pytest.raises(UsageError, match=telling("hmdb51", tmp_path / "hmdb51", "hmdb51_org.rar")):
        dataset_features("hmdb51")


def test_another_checkpoint_of_the_same_name_has_features_of_its_own(hmdb51, tmp_path):
    """runs/a/last.safetensors and runs/b/last.safetensors would be looked for under one name."""
    import hashlib

    (tmp_path / "hmdb51").mkdir()
    for name in ("videos", "testTrainMulti_7030_splits"):
        (tmp_path / "hmdb51" / name).symlink_to(hmdb51 / name)
    mine, other = tmp_path / "a" / "last.safetensors", tmp_path / "b" / "last.safetensors"
    for path in (mine, other):
        path.parent.mkdir()
        path.write_text(path.parent.name)
    weights = {
        "name": "res3d",
        "sha256": hashlib.sha256(b"a").hexdigest(),
        "seed": None,
        "file": str(mine),
    }
    (tmp_path / "hmdb51" / "features").mkdir()
    there = write_features(
        tmp_path / "hmdb51" / "features" / "res3d-last.h5",
        {"a": {"pool5": [[1.0]]}},
        weights=weights,
    )

    def find_by(path, **more):
        return find(tmp_path / "hmdb51", weights=str(path), **more).path

    assert find_by(mine) == find_by(mine, model="res3d") == there
    with pytest.raises(UsageError, match=telling("res3d-last.h5", mine, other)):
        find_by(other)
    with pytest.raises(UsageError, match=telling("res3d", "c3d")):
        find_by(mine, model="c3d", out=there)
    mine.rename(tmp_path / "moved")
    assert find_by(mine) == there, "the checkpoint is gone, and its recorded place is as given"


def test_where_nothing_can_be_written_nothing_is_extracted(hmdb51, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=telling(tmp_path / "file" / "x.h5")):
        find(hmdb51, model=NAME, weights="random", out=tmp_path / "file" / "x.h5")


def test_of_many_files_each_is_opened_once_and_one_stays_open(hmdb51, tmp_path, monkeypatch):
    (tmp_path / "hmdb51").mkdir()
    for name in ("videos", "testTrainMulti_7030_splits"):
        (tmp_path / "hmdb51" / name).symlink_to(hmdb51 / name)
    folder = tmp_path / "hmdb51" / "features"
    folder.mkdir()
    for name, layer in (("one", "pool5"), ("two", "pool5"), ("three", "fc6")):
        write_features(
            folder / f"{name}.h5",
            {"a": {layer: [[1.0]]}},
            model={"name": "two" if name == "three" else name, "num_classes": None},
        )
    opened = []
    plain = FeatureStore.__init__
    monkeypatch.setattr(
        FeatureStore,
        "__init__",
        lambda self, path: (opened.append((path.stem, self)), plain(self, path))[1],
    )
    lists = DatasetLists("hmdb51", root=tmp_path / "hmdb51")
    with dataset_features(lists, Wanted(model="two", layers=["fc6"])) as found:
        assert sorted(name for name, _ in opened) == ["one", "three", "two"]
        assert [name for name, store in opened if store.file] == ["three"]
        assert found.store.ids == ["a"]
    assert not found.store.file
