"""Exported features read back as the detectors' loaders read them: the same rows, at the same seconds."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from export_files import DIMS, RES3D, annotated, extracted, times_of
from told import tells

from featx.clips import ClipSpec
from featx.datasets.thumos14 import OFFICIAL_NUMBERS
from featx.export import export
from featx.export._timeline import at_times, means
from featx.store.reader import FeatureStore

VAL, TEST = "video_validation_0000051", "video_test_0000004"
SPECS = {
    "own": RES3D,
    "overlapping": ClipSpec(frames=8, step=2, stride=4),
    "apart": ClipSpec(frames=1, stride=8),
    "odd": ClipSpec(frames=5, stride=7),
    "pad": ClipSpec(frames=8, step=2, stride=16, tail="pad"),
    "align": ClipSpec(frames=8, step=2, stride=16, tail="align"),
    "resampled": ClipSpec(frames=16, stride=8, fps=12.5),
    "resampled, align": ClipSpec(frames=16, stride=8, fps=12.5, tail="align"),
}
each_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
# Those that are placed by each clip's own times.
SOME = {name: SPECS[name] for name in ("own", "apart", "pad", "resampled, align")}
some_specs = pytest.mark.parametrize("spec", SOME.values(), ids=SOME.keys())


def file_of(tmp_path, spec=RES3D, **settings):
    # 12.5 of 25 and of 50 frames a second are frames' own times, so that half a frame is the tolerance there too.
    videos = {f"validation/{VAL}": times_of(203, 25), f"test/{TEST}": times_of(611, 50)}
    return extracted(tmp_path / "f.h5", videos, spec, **settings)


def annotations_of(tmp_path):
    val = [
        ("Diving", VAL, 1.5, 3.25),
        ("CliffDiving", VAL, 1.5, 3.25),
        ("Ambiguous", VAL, 4.0, 5.0),
    ]
    test = [
        ("CliffDiving", TEST, 2.0, 6.5),
        ("Diving", TEST, 7.0, 8.0),
        ("Diving", "video_test_0000099", 1.0, 2.0),
    ]
    return annotated(tmp_path / "annotation_val", "val", val), annotated(
        tmp_path / "annotation_test", "test", test
    )


def stored(path, name):
    with FeatureStore(path) as store:
        video = next(v for v in store.values() if v.id.endswith(name))
        return video["pool5"], video.clip_times


def about(out):
    return json.loads((out / "featx_export.json").read_text(encoding="utf-8"))


class ActionFormer:
    """What happyharrycn/actionformer_release's THUMOS14Dataset and ActivityNetDataset do with a configuration."""

    def __init__(self, config):
        self.config = config
        database = json.loads(Path(config["json_file"]).read_text(encoding="utf-8"))["database"]
        self.labels = {
            a["label"]: a["label_id"] for v in database.values() for a in v["annotations"]
        }
        assert len(self.labels) == config["num_classes"]
        self.videos = database

    def load(self, key):
        config = self.config
        rows = np.load(
            f"{config['feat_folder']}/{config['file_prefix'] or ''}{key}{config['file_ext']}"
        )
        fps = config["default_fps"] or self.videos[key]["fps"]
        return rows, fps

    def to_grid(self, seconds, fps):
        return (np.asarray(seconds) * fps - 0.5 * self.config["num_frames"]) / self.config[
            "feat_stride"
        ]


@each_spec
def test_actionformer_finds_every_feature_where_the_clip_lies(tmp_path, spec):
    features = file_of(tmp_path, spec)
    report = export(
        features, tmp_path / "out", to="actionformer", annotations=annotations_of(tmp_path)
    )
    loader = ActionFormer(report.config)
    for key in (VAL, TEST):
        rows, fps = loader.load(key)
        assert rows.dtype == np.float32
        expected, times = stored(features, key)
        assert rows.shape[1] == report.config["input_dim"] == DIMS
        # align's last clip lies off the grid and is left out.
        assert len(rows) == len(expected) - (spec.tail == "align")
        assert np.array_equal(rows, expected[: len(rows)])
        begins = np.arange(len(rows)) * report.config["feat_stride"] / fps
        assert np.abs(begins - times[: len(rows), 0]).max() <= 0.5 / fps
        whole = np.isclose(
            times[: len(rows)] @ [-1, 1], spec.span / fps
        )  # a padded clip ends with the video
        assert whole[:-1].all()
        grid = loader.to_grid(times[: len(rows)].mean(axis=1), fps)
        assert (
            np.abs(grid - np.arange(len(rows)))[whole].max()
            <= 0.5 / report.config["feat_stride"] + 1e-6
        )


def test_actionformer_gets_its_configuration_and_annotations(tmp_path):
    features = file_of(tmp_path)
    report = export(
        features, tmp_path / "out", to="actionformer", annotations=annotations_of(tmp_path)
    )
    config = report.config
    assert (config["feat_stride"], config["num_frames"], config["file_prefix"]) == (16, 16, None)
    assert config["default_fps"] is None  # the rates differ: each video has its own
    # Classes of which no exported video has an instance would break the loader's count; two are not THUMOS'14's twenty, of
    # which the thumos loader leaves out number 4.
    assert (config["dataset_name"], config["num_classes"]) == ("anet", 2)
    database = json.loads((tmp_path / "out/annotations.json").read_text(encoding="utf-8"))[
        "database"
    ]
    assert list(database) == [TEST, VAL]
    assert database[VAL]["subset"] == "Validation"
    assert database[TEST]["subset"] == "Test"
    assert (database[VAL]["fps"], database[TEST]["fps"]) == (25, 50)
    assert database[VAL]["annotations"] == [
        {"label": "CliffDiving", "segment": [1.5, 3.25], "label_id": 0},
        {"label": "Diving", "segment": [1.5, 3.25], "label_id": 1},
    ]
    for line in (
        'train_split: ["validation"]',
        'val_split: ["test"]',
        "  feat_stride: 16,",
        "  default_fps: ~,",
    ):
        assert line in report.paste.splitlines()
    assert report.paste in (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert any(tells(note, 1, "ambiguous") for note in report.notes)
    assert any(tells(note, 1, "annotated", "features") for note in report.notes)


def test_actionformer_numbers_the_twenty_classes_as_its_own_loader_expects(tmp_path):
    rows = [(name, VAL, 1.0, 2.0) for name in OFFICIAL_NUMBERS]
    val = annotated(tmp_path / "annotation_val", "val", rows)
    features = extracted(tmp_path / "f.h5", {VAL: times_of(203, 25)})
    report = export(features, tmp_path / "out", to="actionformer", annotations=[val])
    assert report.config["dataset_name"] == "thumos"
    # The loader drops label 4, which is CliffDiving in its own annotations, and keeps 7, Diving.
    labels = ActionFormer(report.config).labels
    assert (labels["CliffDiving"], labels["Diving"], len(labels)) == (4, 7, 20)


def test_one_rate_is_said_once(tmp_path):
    features = extracted(
        tmp_path / "f.h5", {"a": times_of(100, 30000 / 1001), "b": times_of(60, 30000 / 1001)}
    )
    report = export(features, tmp_path / "out", to="actionformer")
    assert report.config["default_fps"] == pytest.approx(30000 / 1001, rel=1e-9)
    assert not report.notes


@each_spec
def test_opentad_finds_every_feature_where_the_clip_lies(tmp_path, spec):
    features = file_of(tmp_path, spec)
    report = export(features, tmp_path / "out", to="opentad", annotations=annotations_of(tmp_path))
    config = report.config
    database = json.loads((tmp_path / "out/annotations.json").read_text(encoding="utf-8"))[
        "database"
    ]
    for key, subset in ((VAL, "training"), (TEST, "validation")):
        video = database[key]
        assert video["subset"] == subset
        fps = video["frame"] / video["duration"]
        rows = np.load(f"{config['data_path']}{config['prefix']}{key}.npy")
        expected, times = stored(features, key)
        assert np.array_equal(rows, expected[: len(rows)])
        # ThumosPaddingDataset and convert_to_seconds: a place x on the grid is (x * stride + offset) / fps seconds.
        seconds = (np.arange(len(rows)) * config["feature_stride"] + config["offset_frames"]) / fps
        whole = np.isclose(times[: len(rows)] @ [-1, 1], spec.span / fps)
        assert np.abs(seconds - times[: len(rows)].mean(axis=1))[whole].max() <= 0.5 / fps + 1e-6
    class_map = (tmp_path / "out/category_idx.txt").read_text(encoding="utf-8").split("\n")
    assert class_map == ["CliffDiving", "Diving", ""]
    # A label without a place in the class map would stop the loader.
    assert {a["label"] for v in database.values() for a in v["annotations"]} == {
        "CliffDiving",
        "Diving",
    }


def test_activitynet_has_a_group_a_video(tmp_path):
    features = extracted(
        tmp_path / "f.h5",
        {"videos/v_--1DO2V4K74": times_of(100, 25), "videos/x6bJUbfpnQ": times_of(40, 25)},
    )
    report = export(features, tmp_path / "out", to="activitynet")
    with h5py.File(report.config["file"], "r") as file:
        assert sorted(file) == ["v_--1DO2V4K74", "v_x6bJUbfpnQ"]
        rows = np.asarray(file["v_--1DO2V4K74"]["c3d_features"])
    assert rows.dtype == np.float32
    assert np.array_equal(rows, stored(features, "4K74")[0])
    assert (
        report.config["feature_stride"],
        report.config["clip_frames"],
        report.config["fps"],
    ) == (16, 16, 25)


@pytest.mark.parametrize("to", ["actionformer", "opentad"])
def test_activitynets_names_keep_their_prefix_on_files_alone(tmp_path, to):
    features = extracted(tmp_path / "f.h5", {"v_--1DO2V4K74": times_of(100, 25)})
    given = {
        "--1DO2V4K74": {
            "subset": "training",
            "annotations": [{"label": "Rock climbing", "segment": [1, 2]}],
        }
    }
    (tmp_path / "a.json").write_text(json.dumps({"database": given}), encoding="utf-8")
    config = export(features, tmp_path / "out", to=to, annotations=[tmp_path / "a.json"]).config
    assert config["file_prefix" if to == "actionformer" else "prefix"] == "v_"
    assert list(
        json.loads((tmp_path / "out/annotations.json").read_text(encoding="utf-8"))["database"]
    ) == ["--1DO2V4K74"]
    assert (tmp_path / "out/features/v_--1DO2V4K74.npy").exists()
    # Without annotations the user has ActivityNet's own, which know no prefix either.
    again = export(features, tmp_path / "more", to=to).config
    assert again["file_prefix" if to == "actionformer" else "prefix"] == "v_"


def gtad_rows(config, name):
    """Read a video as frostinassiky/gtad's VideoDataSet does: one row in skip_videoframes of both streams, side by side."""
    skip, side = config["skip_videoframes"], "val" if "val" in name else "test"
    read = []
    for stream in ("flow", "rgb"):
        with h5py.File(f"{config['feature_path']}/{stream}_{side}.h5", "r") as file:
            read.append(file[name][::skip, ...])
    n = min(len(rows) for rows in read)
    return np.concatenate([rows[:n, :] for rows in read], axis=1).astype(np.float32)


@some_specs
def test_gtad_reads_the_features_of_the_frame_it_takes_them_for(tmp_path, spec):
    features = file_of(tmp_path, spec)
    config = export(
        features, tmp_path / "out", to="gtad", annotations=annotations_of(tmp_path)
    ).config
    for name, frames, rate in ((VAL, 203, 25), (TEST, 611, 50)):
        fps = spec.fps or rate
        rows = gtad_rows(config, name)
        assert rows.shape == (
            -(-round(frames * fps / rate + 0.49) // config["skip_videoframes"]),
            config["feat_dim"],
        )
        assert np.isfinite(rows).all()
        # The first number of a row is the second its clip lies at, so that between clips it must be the frame's own second.
        _, times = stored(features, name)
        seconds = np.arange(len(rows)) * config["skip_videoframes"] / fps
        middles = times.mean(axis=1)
        assert rows[:, 0] == pytest.approx(np.clip(seconds, middles[0], middles[-1]), abs=1e-5)
    with open(tmp_path / "out/annotations/val_Annotation.csv", encoding="utf-8") as file:
        val = list(csv.DictReader(file))
    assert {(row["type"], row["type_idx"]) for row in val} == {
        ("Diving", "26"),
        ("CliffDiving", "22"),
        ("Ambiguous", "0"),
    }
    fps = spec.fps or 25
    assert {row["startFrame"] for row in val if row["type"] != "Ambiguous"} == {
        str(round(1.5 * fps))
    }
    with open(tmp_path / "out/annotations/thumos14_test_groundtruth.csv", encoding="utf-8") as file:
        rates = {row["video-name"]: float(row["frame-rate"]) for row in csv.DictReader(file)}
    assert rates == {TEST: pytest.approx(spec.fps or 50)}


def test_gtad_shows_another_skip_at_once(tmp_path):
    config = export(file_of(tmp_path), tmp_path / "out", to="gtad").config
    assert np.isnan(gtad_rows({**config, "skip_videoframes": 5}, VAL)).any()


@some_specs
def test_mmaction_reads_a_hundred_rows_in_time(tmp_path, spec):
    features = file_of(tmp_path, spec)
    report = export(features, tmp_path / "out", to="mmaction", annotations=annotations_of(tmp_path))
    for role, name in (("train", VAL), ("val", TEST)):
        info = json.loads((tmp_path / f"out/anet_anno_{role}.json").read_text(encoding="utf-8"))
        assert list(info) == [f"v_{name}"]
        video = info[f"v_{name}"]
        # LoadLocalizationFeature, then GenerateLocalizationLabels, and post_processing's own way to the same seconds.
        rows = np.loadtxt(
            f"{report.config['data_root']}v_{name}.csv", dtype=np.float32, delimiter=",", skiprows=1
        )
        raw = np.transpose(rows, (1, 0))
        assert (
            raw.shape == (report.config["feat_dim"], report.config["temporal_dim"]) == (DIMS, 100)
        )
        seconds = video["feature_frame"] / video["duration_frame"] * video["duration_second"]
        assert (
            seconds
            == video["duration_frame"]
            // 16
            * 16
            / video["duration_frame"]
            * video["duration_second"]
        )
        # A mean over a hundredth of what is linear in time is its middle, but where the first and last clips are held.
        _, times = stored(features, name)
        middles = times.mean(axis=1)
        parts = (np.arange(100) + 0.5) / 100 * seconds
        inside = (parts - seconds / 200 >= middles[0]) & (parts + seconds / 200 <= middles[-1])
        assert inside.sum() > 50
        assert raw[0][inside] == pytest.approx(parts[inside], abs=1e-4)
        assert np.all((raw[0] >= middles[0] - 1e-5) & (raw[0] <= middles[-1] + 1e-5))
    assert any(tells(note, 100) for note in report.notes)


def test_mmaction_takes_evenly_spread_clips(tmp_path):
    features = file_of(tmp_path, ClipSpec(frames=8, stride=16, count=7))
    report = export(features, tmp_path / "out", to="mmaction")
    rows = np.loadtxt(
        f"{report.config['data_root']}v_{VAL}.csv", dtype=np.float32, delimiter=",", skiprows=1
    )
    _, times = stored(features, VAL)
    # 203 frames, of which MMAction2 divides the first 192 by 100: row 50 is about 4.04 * 192 / 203 seconds of 8.12.
    assert rows[50, 0] == pytest.approx((50.5 / 100) * 192 / 25, abs=1e-4)
    assert rows[0, 0] == pytest.approx(times[0].mean())


def test_mmactions_header_counts_the_columns(tmp_path):
    report = export(file_of(tmp_path), tmp_path / "out", to="mmaction")
    with open(f"{report.config['data_root']}v_{VAL}.csv", encoding="ascii") as file:
        assert file.readline() == "f0,f1,f2\n"


def test_between_clips_features_are_linear():
    mix = at_times(np.asarray([1.0, 2.0, 4.0]), np.asarray([0.0, 1.0, 1.25, 3.0, 4.0, 9.0]))
    rows = np.asarray([10.0, 20.0, 40.0])
    assert ((1 - mix.share) * rows[mix.left] + mix.share * rows[mix.right]).tolist() == [
        10,
        10,
        12.5,
        30,
        40,
        40,
    ]


def test_means_are_of_what_lies_between():
    # A tent from 0 at 1 s over 1 at 2 s to 0 at 3 s, in halves of 4 s: half of its area of 1 each, over 2 s.
    weights = means(np.asarray([1.0, 2.0, 3.0]), bins=2, seconds=4.0)
    assert weights @ [0.0, 1.0, 0.0] == pytest.approx([0.25, 0.25])
    assert weights.sum(axis=1) == pytest.approx([1, 1])
    assert (means(np.asarray([0.0]), bins=3, seconds=0.0) == 1).all()
    # Clips that come more than once, as evenly spread ones may, count as one.
    assert means(np.asarray([1.0, 1.0]), bins=3, seconds=2.0).sum(axis=1) == pytest.approx(
        [1, 1, 1]
    )
