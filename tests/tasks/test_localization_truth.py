"""Ground truth as it is distributed: the official folders, and JSON as ActivityNet's, ActionFormer's and OpenTAD's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from told import telling, tells

from featx.datasets import load_dataset, thumos14
from featx.datasets.thumos14 import read_annotations
from featx.errors import FeatxError, UsageError
from featx.tasks.cli._options import thresholds_of
from featx.tasks.localization import evaluate_file
from featx.tasks.localization._evaluate import draws
from featx.tasks.localization._formats import read_detections


def folder(place: Path, side: str = "test", classes: str | None = None) -> Path:
    place.mkdir()
    for name, row in (
        ("Diving", "v1  1.0 2.0\r\nv2 4.0 6.0\r\n"),
        ("GolfSwing", ""),
        ("Billiards", "v2 7 9\n\n"),
    ):
        (place / f"{name}_{side}.txt").write_text(row)
    if classes is not None:
        (place / "detclasslist.txt").write_text(classes)
    return place


def database(path: Path, **subsets: str) -> Path:
    """JSON as ActionFormer has it; a subset of a video each."""
    found = {
        "label": "Diving",
        "segment": [1.0, 2.0],
        "segment(frames)": [30.0, 60.0],
        "label_id": 7,
    }
    videos = {
        n: {"subset": s, "duration": 33.83, "fps": 30.0, "annotations": [found]}
        for n, s in subsets.items()
    }
    path.write_text(json.dumps({"version": "Thumos14-30fps", "database": videos}))
    return path


def test_classes_go_by_the_lists_numbers_as_in_the_toolkit(tmp_path: Path) -> None:
    assert read_annotations(folder(tmp_path / "none")).classes == (
        "Billiards",
        "Diving",
        "GolfSwing",
    )
    counted = read_annotations(
        folder(tmp_path / "counted", classes="3 GolfSwing\r\n1 Diving\r\n2 Billiards\r\n")
    )
    assert counted.classes == ("Diving", "Billiards", "GolfSwing")
    assert counted.numbers == (26, 12, 33)
    own = read_annotations(
        folder(tmp_path / "own", classes="50 Billiards\n40 Diving\n60 GolfSwing\n")
    )
    assert (own.classes, own.numbers) == (("Diving", "Billiards", "GolfSwing"), (40, 50, 60))
    (tmp_path / "found.txt").write_text("v1 1 2 50 0.5\n")
    assert own.classes[read_detections(tmp_path / "found.txt", own).label[0]] == "Billiards"
    for name, lines, told in (
        ("twice", "1 Diving\n1 Billiards\n2 GolfSwing\n", ()),
        ("lacking", "1 Diving\n2 Billiards\n", ("GolfSwing",)),
    ):
        with pytest.raises(FeatxError, match=telling(name, *told)):
            read_annotations(folder(tmp_path / name, classes=lines))


def test_classes_numbers_reach_the_figures(tmp_path: Path) -> None:
    place = folder(tmp_path / "annotation", classes="3 GolfSwing\n1 Diving\n2 Billiards\n")
    (tmp_path / "found.txt").write_text("v1 1 2 1 0.5\nv2 4 6 1 0.5\nv2 7 9 2 0.5\n")
    found = evaluate_file(tmp_path / "found.txt", annotations=place, bootstrap=0, tious=(0.5,))
    assert found.evaluations[0].thresholds[0].ap[:2].tolist() == [1.0, 1.0]
    assert tells(found.about[-1], 3, "1 Diving", "3 GolfSwing")
    assert tells(found.evaluations[0].notes[1], "ambiguous")
    assert read_annotations(place, subset="Test").classes == found.annotations.classes


def test_one_of_several_subsets_has_to_be_named(tmp_path: Path) -> None:
    path = database(tmp_path / "thumos14.json", v1="Validation", v2="Test")
    (tmp_path / "found.txt").write_text("v2 1 2 1 0.5\n")
    with pytest.raises(UsageError, match=telling("Test", "Validation", "subset")):
        evaluate_file(tmp_path / "found.txt", annotations=path, bootstrap=0)
    for subset, share in (("test", 1.0), ("All", 0.5)):
        found = evaluate_file(
            tmp_path / "found.txt", annotations=path, subset=subset, bootstrap=0, tious=(0.5,)
        )
        assert [each.thresholds[0].mean_ap for each in found.evaluations] == [share, share]
    assert (
        len(
            evaluate_file(
                tmp_path / "found.txt", annotations=database(path, v2="Test"), bootstrap=0
            ).evaluations
        )
        == 2
    )


def test_a_prior_is_not_counted_on_what_is_evaluated(tmp_path: Path) -> None:
    path = database(
        tmp_path / "thumos_14_anno.json",
        video_test_0000001="validation",
        video_validation_0000001="training",
    )
    rows = np.zeros((1, 12))
    rows[0, [0, 1, 4, 5, 8, 10]] = 1, 16, 1.0, 1.6, 0.9, 1
    savemat(tmp_path / "windows.mat", {"seg_swin": rows})
    with pytest.raises(UsageError, match=telling("video_test_0000001")):
        evaluate_file(
            tmp_path / "windows.mat", annotations=path, subset="validation", prior_annotations=path
        )


def test_moments_are_counted_and_never_matched(tmp_path: Path) -> None:
    """ActivityNet 1.3 has an instance from 0 to 0 s, and detectors that clip times to the video's end leave such."""
    path = database(tmp_path / "anet.json", v1="validation")
    content = json.loads(path.read_text())
    content["database"]["v1"]["annotations"].append({"label": "Diving", "segment": [0, 0]})
    path.write_text(json.dumps(content))
    (tmp_path / "found.txt").write_text("v1 1 2 1 0.9\nv1 0 0 1 0.5\nv1 1 1 1 0.4\n")
    found = evaluate_file(tmp_path / "found.txt", annotations=path, bootstrap=20, tious=(0.5,))
    assert [each.thresholds[0].mean_ap for each in found.evaluations] == [0.5, 0.5]
    assert found.about[1] == "2 detections without duration among them, which nothing matches"


def test_intervals_need_a_draw_with_an_instance(tmp_path: Path) -> None:
    path = database(tmp_path / "a.json", v1="test")
    (tmp_path / "found.txt").write_text("v1 1 2 1 0.9\n")
    one = evaluate_file(tmp_path / "found.txt", annotations=path, bootstrap=100)
    assert one.evaluations[0].thresholds[0].interval is None  # which would have no width
    (tmp_path / "list.txt").write_text("v1\n" + "".join(f"free{n}\n" for n in range(50)))
    there = [bool(draws(51, 1, seed=seed)[50, 0]) for seed in range(6)]  # v1 is the last by name
    assert len(set(there)) == 2
    for seed, drawn in enumerate(there):
        found = evaluate_file(
            tmp_path / "found.txt",
            annotations=path,
            videos=tmp_path / "list.txt",
            bootstrap=1,
            seed=seed,
        )
        assert found.evaluations[0].thresholds[0].interval == ((1.0, 1.0) if drawn else None)


def test_thresholds_are_numbers_or_rows_of_them() -> None:
    assert thresholds_of("0.3:0.1:0.7") == [0.3, 0.4, 0.5, 0.6, 0.7]
    assert thresholds_of("0.5:0.05:0.95") == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    assert thresholds_of(" .1, 0.25:0.5:0.5") == [0.1, 0.25]
    for text in (
        "",
        "0.3:0.7",
        "0.3:0:0.7",
        "0.7:0.1:0.3",
        "0.3:1e-9:0.7",
        "nan:0.1:0.5",
        "0.1:inf:0.5",
        "a",
        "0.1:0.1:1e9",
    ):
        with pytest.raises(UsageError, match=telling(repr(text))):
            thresholds_of(text)


def test_videos_are_found_elsewhere_below_the_root_where_their_own_folder_lacks_them(
    tmp_path: Path,
) -> None:
    for name in (
        "validation/video_validation_0000001.mp4",
        "elsewhere/video_validation_0000002.mp4",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    wanted = [f"video_validation_000000{n}" for n in (1, 2, 3)]
    found, absent = thumos14.untrimmed_videos(wanted, "val", root=tmp_path)
    assert [Path(path).parent.name for path in found.values()] == ["validation", "elsewhere"]
    assert absent == (wanted[2],)


def test_who_asks_for_thumos14_as_a_dataset_of_classes_is_sent_to_detection() -> None:
    with pytest.raises(UsageError, match=telling("thumos14", "featx detect")):
        load_dataset("thumos14")
