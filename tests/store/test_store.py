import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from journals import ORIGIN, summary
from told import telling, tells

from featx.clips import ClipSpec
from featx.errors import FeatxError, MissingKey, UsageError
from featx.extraction.verify import structure
from featx.store.journal import Journal, Origin
from featx.store.reader import FeatureStore, GivenVideo, same_video
from featx.store.recorded import (
    Decoding,
    Model,
    Projected,
    Recorded,
    SecondNetwork,
    Weights,
    differences,
)
from featx.store.writer import FeatureWriter, merge, publish
from featx.transforms import TRAN2017
from featx.video.source import Stamp

RECORDED = Recorded(
    model=Model(name="m"),
    weights=Weights({"name": "w"}),
    layers=("pool5", "fc"),
    clip=ClipSpec(frames=16, stride=16),
    transform=TRAN2017,
    precision="x",
    device="x",
    batch_size=1,
    decoder=Decoding(choice="x"),
)
SHAPES = {"pool5": (2, 1, 1, 1), "fc": (3,)}


def write(
    out: Path,
    videos: dict[str, int],
    *,
    failures: Sequence[tuple[str, str]] = (),
    settings: Recorded = RECORDED,
    scale: float = 1,
) -> Path:
    """A feature file of videos with so many clips, row i of video v being (i + len(v)) times the scale."""
    journal = Journal(out)
    old = FeatureStore(out) if out.exists() else None
    for video, n in videos.items():
        origin = Origin(f"v/{video}.mp4", Stamp(5, 0), "abc", "torch")
        order = np.random.default_rng(n).permutation(n)
        for half in np.array_split(order, 2):
            value = ((half + len(video)) * scale).astype(np.float32)[:, None]
            if len(half):
                journal.add(
                    video,
                    half.tolist(),
                    {"pool5": np.repeat(value, 2, 1), "fc": np.repeat(value, 3, 1)},
                    origin,
                )
                journal.commit()
        made = summary(n)
        object.__setattr__(
            made, "clip_frames", np.stack([np.arange(n) * 16, np.arange(1, n + 1) * 16], 1)
        )
        journal.end(video, made, origin)
    journal.commit()
    publish(out, settings, entries=journal.entries, shapes=SHAPES, failures=failures, old=old)
    if old:
        old.close()
    journal.remove()
    return out


def test_a_file_is_read_by_id_by_index_and_in_order(tmp_path: Path) -> None:
    with FeatureStore(
        write(tmp_path / "a.h5", {"z": 2, "k/b": 3, "k/a": 1}, failures=[("v/bad.mp4", "empty")])
    ) as store:
        assert store.ids == ["k/a", "k/b", "z"]
        assert [v.id for v in store.values()] == store.ids
        assert len(store) == 3
        assert "z" in store
        assert "k" not in store
        assert store[store.ids[2]].id == store["z"].id
        np.testing.assert_array_equal(store["k/b"]["pool5"], [[3, 3], [4, 4], [5, 5]])
        assert store["k/b"].attrs["path"] == "v/k/b.mp4"
        assert store["k/b"].attrs["complete"] is True
        assert store.failures == [("v/bad.mp4", "empty")]
        assert store.settings == RECORDED
        assert structure(store) == []


def test_h5py_alone_reads_it(tmp_path: Path) -> None:
    with h5py.File(write(tmp_path / "a.h5", {"k/b": 3})) as file:
        assert file.attrs["format"] == "featx-features"
        assert json.loads(file.attrs["layers"]) == ["pool5", "fc"]
        assert file["k/b/pool5"].shape == (3, 2)
        assert file["k/b/pool5"].attrs["shape"].tolist() == [2, 1, 1, 1]
        assert file["k/b/clip_frames"].dtype == np.int64
        assert file["k/b/clip_times"].dtype == np.float64
        assert [i.decode() for i in file[".videos"]] == ["k/b"]
        assert file[".failures"].shape == (0,)


def test_matrix_and_video_level(tmp_path: Path) -> None:
    with FeatureStore(write(tmp_path / "a.h5", {"a": 2, "b": 3})) as store:
        rows, owner = store.matrix("fc")
        np.testing.assert_array_equal(rows[:, 0], [1, 2, 1, 2, 3])
        np.testing.assert_array_equal(owner, [0, 0, 1, 1, 1])
        rows, owner = store.matrix("fc", ["b"])
        assert (rows.shape, owner.tolist()) == ((3, 3), [0, 0, 0])
        np.testing.assert_allclose(store.video_level("fc"), np.full((2, 3), 3**-0.5), rtol=1e-6)
        assert store.matrix("fc", [])[0].shape[0] == 0


def test_a_mean_of_zeros_stays_zero(tmp_path: Path) -> None:
    with FeatureStore(write(tmp_path / "a.h5", {"a": 2}, scale=0)) as store:
        np.testing.assert_array_equal(store.video_level("fc"), np.zeros((1, 3)))


def test_videos_are_added_to_a_file_that_is_there(tmp_path: Path) -> None:
    out = write(tmp_path / "a.h5", {"b": 2, "d/x": 1})
    write(out, {"a": 1, "d": 3})
    with FeatureStore(out) as store:
        assert store.ids == ["a", "b", "d", "d/x"]
        np.testing.assert_array_equal(store["b"]["pool5"], [[1, 1], [2, 2]])
        np.testing.assert_array_equal(store["d/x"]["pool5"], [[3, 3]])
        assert store["d"].layers == ["fc", "pool5"]
        assert structure(store) == []


def test_merge_of_parts_is_the_whole(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.h5", {"a": 2, "b": 3, "c/d": 1})
    one = write(
        tmp_path / "1.h5",
        {"a": 2, "c/d": 1},
        failures=[("v/b.mp4", "not there"), ("v/bad.mp4", "empty")],
    )
    two = write(tmp_path / "2.h5", {"b": 3, "a": 2})
    assert merge([one, two], tmp_path / "merged.h5") == 3
    with FeatureStore(whole) as a, FeatureStore(tmp_path / "merged.h5") as b:
        assert a.ids == b.ids
        assert all(same_video(a[i], b[i]) for i in a.ids)
        assert b.failures == [("v/bad.mp4", "empty")]
        assert structure(b) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1.h5", "2.h5", "merged.h5", "whole.h5"]


def test_merge_refuses_what_does_not_belong_together(tmp_path: Path) -> None:
    one = write(tmp_path / "1.h5", {"a": 2})
    with pytest.raises(UsageError, match=telling("'a'", "1.h5", "2.h5")):
        merge([one, write(tmp_path / "2.h5", {"a": 2}, scale=2)], tmp_path / "m.h5")
    with pytest.raises(UsageError, match=telling("precision", "x", "float32")):
        merge(
            [
                one,
                write(
                    tmp_path / "3.h5",
                    {"b": 2},
                    settings=replace(RECORDED, precision="float32"),
                ),
            ],
            tmp_path / "m.h5",
        )
    with pytest.raises(UsageError, match=telling("2.h5")):
        merge([one], tmp_path / "2.h5")
    assert not (tmp_path / "m.h5").exists()


def test_what_is_not_a_feature_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("not HDF5")
    h5py.File(tmp_path / "other.h5", "w").close()
    (tmp_path / "begun.h5.parts").mkdir()
    for name in ("none.h5", "text.h5", "other.h5", "begun.h5"):
        with pytest.raises(UsageError, match=telling(name)):
            FeatureStore(tmp_path / name)
    (tmp_path / "v.mp4").write_bytes(b"a video")
    (tmp_path / "videos").mkdir()
    for name in ("v.mp4", "videos"):
        with pytest.raises(GivenVideo, match=telling(name, "featx extract")):
            FeatureStore(tmp_path / name)
    with h5py.File(write(tmp_path / "new.h5", {"a": 1}), "a") as file:
        file.attrs["format_version"] = 99
    with pytest.raises(UsageError, match=telling("new.h5", 99)):
        FeatureStore(tmp_path / "new.h5")


def test_unknown_videos_and_layers_name_the_nearest(tmp_path: Path) -> None:
    with FeatureStore(write(tmp_path / "a.h5", {"biking/v1": 1, "diving/v1": 1})) as store:
        with pytest.raises(UsageError, match=telling("biking/v2", "biking/v1")):
            store["biking/v2"]
        with pytest.raises(UsageError, match=telling("POOL4", "pool5")):
            store[store.ids[0]]["POOL4"]
        with pytest.raises(UsageError, match=telling("'clip_times'", "pool5")):
            store[store.ids[0]]["clip_times"]


def test_a_video_without_all_its_rows_is_not_published(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a.h5")
    journal.add(
        "a",
        [0],
        {"pool5": np.zeros((1, 2), np.float32), "fc": np.zeros((1, 3), np.float32)},
        ORIGIN,
    )
    journal.end("a", summary(2), ORIGIN)
    journal.commit()
    with pytest.raises(FeatxError, match=telling("'a'", 1, 2)):
        publish(tmp_path / "a.h5", RECORDED, entries=journal.entries, shapes=SHAPES, failures=[])
    journal.close()
    assert not (tmp_path / "a.h5").exists()


def test_differences_name_the_setting_and_both_values() -> None:
    one = replace(RECORDED, clip=ClipSpec(frames=8, stride=16))
    two = replace(RECORDED, clip=ClipSpec(frames=8, stride=8), layers=("pool5",))
    assert differences(one, one) == ""
    told = "layers is pool5,fc there and pool5 here, clip.stride is 16 there and 8 here"
    assert differences(one, two) == told


def test_differences_begin_with_what_others_follow_from_and_count_those() -> None:
    one = replace(RECORDED, weights=Weights({"name": "a", "source": "x" * 500, "sha256": "1"}))
    two = replace(
        RECORDED,
        model=Model(name="another", num_classes=3),
        weights=Weights({"name": "b", "source": "y" * 500, "sha256": "2"}),
        layers=("fc",),
        clip=ClipSpec(frames=16, stride=4),
    )
    told = differences(one, two)
    first, second, rest = told.split(", ")
    assert first.startswith("model.name is ")
    assert second == "weights.name is a there and b here"
    assert tells(rest, 3, "more")  # num_classes, layers, clip.stride
    assert len(told) < 200


def test_what_is_recorded_comes_back_from_json() -> None:
    full = replace(
        RECORDED,
        model=Model(name="m.Net", more={"layout": "NCTHW"}),
        clip=ClipSpec(frames=8, stride=16, scales=(1, 2)),
        decoder=Decoding(choice="pyav", versions={"pyav": "15", "flow": {"opencv": "4"}}),
        projection=Projected(
            layer="fc",
            dims=2,
            width=3,
            fitted_on={"dataset": "d"},
            explained=0.5,
            file="f",
            sha256="0",
        ),
        cascade=SecondNetwork(
            name="second",
            gate="action",
            threshold=0.7,
            labels=("a", "b"),
            weights=Weights({"name": "v"}),
        ),
    )
    for each in (RECORDED, full):
        plain = json.loads(json.dumps(each.to_json()))
        assert Recorded.from_json(plain) == each
        assert Recorded.from_json(plain).to_json() == each.to_json()


@pytest.mark.parametrize("lacking", ["model", "weights", "clip", "transform", "decoder"])
def test_a_record_that_lacks_a_part_is_no_record(lacking: str) -> None:
    plain = RECORDED.to_json()
    del plain[lacking]
    with pytest.raises(KeyError):
        Recorded.from_json(plain)


def test_a_feature_file_is_a_mapping(tmp_path: Path) -> None:
    with FeatureStore(write(tmp_path / "a.h5", {"a": 2, "b": 3})) as store:
        assert list(store) == list(store.keys()) == ["a", "b"]
        assert {i: len(v) for i, v in store.items()} == {"a": 2, "b": 3}
        assert store.get("c") is None
        for missing in (lambda: store["c"], lambda: store["a"]["conv9"]):
            with pytest.raises(KeyError) as error:
                missing()
            assert isinstance(error.value, MissingKey | UsageError)
        assert "2 videos" in repr(store)
        assert "'a'" in repr(store["a"])


def test_a_feature_file_is_a_table(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    with FeatureStore(write(tmp_path / "a.h5", {"a": 2, "b": 3})) as store:
        clips = store.to_pandas()
        assert clips["video"].tolist() == ["a", "a", "b", "b", "b"]
        assert clips["start_frame"].tolist() == [0, 16, 0, 16, 32]
        numbers = store.to_pandas(layer="fc")
        np.testing.assert_array_equal(numbers[["fc_0", "fc_1", "fc_2"]], store.matrix("fc")[0])
        videos = store.to_pandas(rows="video", layer="fc")
        assert videos.index.tolist() == ["a", "b"]
        np.testing.assert_array_equal(videos["fc_2"], store.video_level("fc")[:, 2])
        assert isinstance(videos, pandas.DataFrame)


def by_hand(out: Path, **given: object) -> None:
    what = {
        "rows": {"pool5": [[1.0, 2.0]] * 3, "fc": [[3.0]] * 3},
        "clip_frames": [[0, 16], [16, 32], [32, 48]],
        "clip_times": [[0.0, 0.5], [0.5, 1.0], [1.0, 1.5]],
        "path": "x/b.mp4",
        "frames": 48,
        "fps": 32.0,
        **given,
    }
    with FeatureWriter(out, RECORDED) as writer:
        writer.add("b", **what)
        writer.add("a", **what)
        writer.fail("x/bad.mp4", "empty")


def test_rows_of_ones_own_make_a_feature_file(tmp_path: Path) -> None:
    by_hand(tmp_path / "a.h5")
    with FeatureStore(tmp_path / "a.h5") as store:
        assert structure(store) == []
        assert (store.ids, store.settings) == (["a", "b"], RECORDED)
        assert store.failures == [("x/bad.mp4", "empty")]
        assert (store["b"].path, store["b"].fps, store["b"].duration) == ("x/b.mp4", 32.0, 1.5)
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]
    with pytest.raises(UsageError, match=telling(tmp_path / "a.h5")):
        by_hand(tmp_path / "a.h5")


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": {"pool5": [[1.0]]}},
        {"rows": {"pool5": [[1.0, 2.0]] * 2, "fc": [[3.0]] * 3}},
        {"rows": {"pool5": [[float("nan"), 2.0]] * 3, "fc": [[3.0]] * 3}},
        {"clip_times": [[0.0, 0.5]]},
        {"clip_frames": [], "clip_times": []},
    ],
)
def test_rows_that_do_not_agree_leave_no_file(tmp_path: Path, wrong: dict) -> None:
    with pytest.raises(UsageError, match=telling("'b'")):
        by_hand(tmp_path / "a.h5", **wrong)
    assert list(tmp_path.iterdir()) == []


BREAKAGES = {
    "a video not complete": (lambda f: f["a"].attrs.__setitem__("complete", False), ("'a'",)),
    "a row not finite": (lambda f: f["a/fc"].__setitem__((0, 0), np.nan), ("'a'", "fc")),
    "another start": (lambda f: f["a/clip_frames"].__setitem__((1, 0), 17), ("'a'",)),
    "an end after the video's": (lambda f: f["a/clip_frames"].__setitem__((1, 1), 999), ("'a'",)),
    "times out of order": (lambda f: f["a/clip_times"].__setitem__((0, 0), 50.0), ("'a'",)),
    "a layer lacking": (lambda f: f["a"].__delitem__("fc"), ("'a'", "fc")),
    "a listed video lacking": (lambda f: f.__delitem__("a"), ("'a'", ".videos")),
    "a video not listed": (lambda f: f.copy("a", "c"), ("'c'", ".videos")),
    "a video that failed": (
        lambda f: f["b"].attrs.__setitem__("path", "v/bad.mp4"),
        ("v/bad.mp4",),
    ),
    "another shape": (
        lambda f: f["a/pool5"].attrs.__setitem__("shape", (1, 2, 1, 1)),
        ("pool5", "[1, 2, 1, 1]"),
    ),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_every_broken_invariant_is_found(tmp_path: Path, breakage: str) -> None:
    out = write(tmp_path / "a.h5", {"a": 2, "b": 2}, failures=[("v/bad.mp4", "empty")])
    with FeatureStore(out) as store:
        assert list(structure(store)) == []
    damage, told = BREAKAGES[breakage]
    with h5py.File(out, "a") as file:
        damage(file)
    with FeatureStore(out) as store:
        assert any(tells(problem, *told) for problem in structure(store)), list(structure(store))
