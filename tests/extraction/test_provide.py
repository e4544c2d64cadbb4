"""A dataset's features: those beside it, or extracted there from all of its videos."""

from __future__ import annotations

import pytest
from feature_files import write_features
from tiny import ENTRY, NAME
from told import telling

from featx.errors import UsageError
from featx.extraction.provide import dataset_features
from featx.models import registry
from featx.store.file import FeatureStore
from featx.synthetic.layouts import write_dataset


@pytest.fixture(scope="module", autouse=True)
def _tiny():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._ENTRIES, NAME, ENTRY)
        yield


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


def test_features_are_extracted_once_from_all_videos_and_then_found(hmdb51):
    calls = []
    first = dataset_features(
        "hmdb51",
        root=hmdb51,
        model=NAME,
        weights="random",
        on_start=lambda r: calls.append(r.total),
        workers=1,
    )
    assert first.path == hmdb51 / "features" / f"{NAME}-random.h5"
    assert calls == [12]
    with FeatureStore(first.path) as store:
        assert len(store) == 12
        assert all(video_id.startswith("videos/") for video_id in store.ids)
        assert store.layers == ["res5a", "pool5", "prob"]
    # Whoever asks for these, for this model's, or for none by name, gets the same file, and nothing is extracted.
    for asked in ({"model": NAME, "weights": "random"}, {"model": NAME}, {}, {"layers": ["pool5"]}):
        again = dataset_features(
            "hmdb51", root=hmdb51, **asked, on_start=lambda r: calls.append(r.total)
        )
        assert (again.path, again.report) == (first.path, None)
    assert calls == [12]
    with pytest.raises(UsageError, match=telling("res5a", "pool5", "prob", "fc6")):
        dataset_features("hmdb51", root=hmdb51, layers=["fc6"])


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
        dataset_features("hmdb51", root=tmp_path / "hmdb51")
    assert (
        dataset_features("hmdb51", root=tmp_path / "hmdb51", model="two").path == folder / "two.h5"
    )


def test_beside_own_data_is_outside_of_its_class_folders(tmp_path):
    from conftest import encode

    for name in ("own/a/1", "own/a/2", "own/b/1", "own/b/2"):
        encode(tmp_path / f"{name}.mp4", 12, size=(32, 40))
    found = dataset_features(tmp_path / "own", model=NAME, weights="random", workers=1)
    assert found.path == tmp_path / "own.features" / f"{NAME}-random.h5"
    with FeatureStore(found.path) as store:
        assert store.ids == ["a/1", "a/2", "b/1", "b/2"]


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

    def find(path, **more):
        return dataset_features("hmdb51", root=tmp_path / "hmdb51", weights=str(path), **more).path

    assert find(mine) == find(mine, model="res3d") == there
    with pytest.raises(UsageError, match=telling("res3d-last.h5", mine, other)):
        find(other)
    with pytest.raises(UsageError, match=telling("res3d", "c3d")):
        dataset_features(
            "hmdb51", root=tmp_path / "hmdb51", model="c3d", weights=str(mine), out=there
        )
    mine.rename(tmp_path / "moved")
    assert find(mine) == there, "the checkpoint is gone, and its recorded place is as given"


def test_where_nothing_can_be_written_nothing_is_extracted(hmdb51, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=telling(tmp_path / "file" / "x.h5")):
        dataset_features(
            "hmdb51", root=hmdb51, model=NAME, weights="random", out=tmp_path / "file" / "x.h5"
        )
