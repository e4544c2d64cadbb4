"""`featx detect eval`: files of detections evaluated as a user would."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from localization_slow import SCNN, THUMOS, published
from scipy.io import savemat
from told import telling, tells

from featx.errors import FeatxError, UsageError
from featx.tasks.cli.detect_eval import evaluate
from featx.tasks.localization import evaluate_file


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Annotations of two classes and three videos, one of them with an ambiguous stretch alone, for testing and validation."""
    for side in ("test", "val"):
        folder = tmp_path / f"annotation_{side}"
        folder.mkdir()
        (folder / f"Diving_{side}.txt").write_text("v1 1.0 2.0\nv2 4.0 6.0\n")
        (folder / f"LongJump_{side}.txt").write_text("v1 10.0 14.0\n")
        (folder / f"Ambiguous_{side}.txt").write_text("v3 0.0 5.0\n")
    (tmp_path / "found.txt").write_text(
        "v1.mp4 1.0 2.0 1 0.9\nv2 4.0 6.0 1 0.8\nv1 10.0 14.0 2 0.7\n"
    )
    return tmp_path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(evaluate, list(map(str, arguments)), catch_exceptions=False)


def test_both_protocols_are_shown_with_their_names_and_videos(place: Path) -> None:
    result = call(
        place / "found.txt", "--annotations", place / "annotation_test", "--bootstrap", 50
    )
    assert result.exit_code == 0
    lines = result.output.splitlines()
    for told in (("THUMOS'14", "3 videos"), ("ActivityNet", "3 videos")):
        assert any(tells(line, *told) for line in lines), told
    assert tells(result.output, "95 %", "3 detections", "ambiguous", "v3")
    assert max(map(len, result.output.replace(str(place), "").splitlines())) <= 100
    assert result.output.count("100.00  100.00  100.00  100.00  100.00  100.00  100.00") >= 6


def test_json_has_every_figure_and_the_videos(place: Path) -> None:
    arguments = (
        place / "found.txt",
        "--annotations",
        place / "annotation_test",
        "--tiou",
        "0.5,0.75",
        "--json",
    )
    content = json.loads(call(*arguments).output)
    assert set(content["protocols"]) == {"thumos14", "activitynet"}
    thumos = content["protocols"]["thumos14"]
    assert thumos["videos"] == ["v1", "v2", "v3"]
    assert [each["tiou"] for each in thumos["tious"]] == [0.5, 0.75]
    assert thumos["classes"][1] == {
        "class": "LongJump",
        "instances": 1,
        "ap": {"0.5": 1.0, "0.75": 1.0},
    }
    assert thumos["tious"][0]["map"] == 1
    low, high = thumos["tious"][0]["interval"]
    assert 0 <= low <= high <= 1
    assert call(*arguments).output == json.dumps(content, indent=1) + "\n"
    assert (
        json.loads(call(*arguments, "--bootstrap", 0).output)["protocols"]["thumos14"]["tious"][0][
            "interval"
        ]
        is None
    )


def test_a_list_of_videos_and_unknown_ones(place: Path) -> None:
    (place / "list.txt").write_text("v1.mp4\n\nv1\n")
    arguments = ("--annotations", place / "annotation_test", "--bootstrap", 0)
    listed = call(place / "found.txt", *arguments, "--videos", place / "list.txt")
    assert tells(listed.output, "1 video", place / "list.txt")
    (place / "found.txt").write_text("v9 1.0 2.0 1 0.9\n")
    with pytest.raises(UsageError, match=telling("'v9'")):
        call(place / "found.txt", *arguments)
    left = call(place / "found.txt", *arguments, "--annotated-only").output
    assert tells(left, "1 detection")
    with pytest.raises(UsageError, match=telling("none.txt")):
        call(place / "found.txt", *arguments, "--videos", place / "none.txt")


def test_windows_take_their_prior_from_annotations_beside_or_a_file(place: Path) -> None:
    rows = np.zeros((3, 14))
    rows[:, [0, 1, 4, 5, 8, 10]] = [
        (1, 16, 0.04, 0.64, 0.9, 1),
        (1, 16, 0.2, 0.8, 0.8, 1),
        (2, 32, 0.04, 1.28, 0.7, 0),
    ]
    path = place / "windows.mat"
    savemat(path, {"seg_swin": rows})
    for side in ("test", "val"):
        for name in (f"Diving_{side}.txt", f"LongJump_{side}.txt", f"Ambiguous_{side}.txt"):
            file = place / f"annotation_{side}" / name
            file.write_text(file.read_text().replace("v", "video_test_000000"))
    annotations = place / "annotation_test"
    beside = evaluate_file(path, annotations=annotations, bootstrap=0, tious=(0.5,))
    assert "weighted by the prior counted on annotation_val (val)" in beside.about[0]
    assert "as the S-CNN authors wrote theirs" in beside.about[1]
    detections = beside.evaluations[0].thresholds[0].detections
    # The second overlaps the first. Of dives of 1 and 2 s, one counts for 0.6 s, both for 1.24 s, one for 2.52 s: a fourth.
    assert detections.score.tolist() == [float(f"{0.9 / 4:.5g}")]
    assert detections.end.tolist() == [0.6]
    exact = evaluate_file(path, annotations=annotations, bootstrap=0, tious=(0.5,), rounded=False)
    assert exact.evaluations[0].thresholds[0].detections.end.tolist() == [0.64]
    np.save(place / "w.npy", np.full((6, 2), 0.5))
    given = evaluate_file(
        path, annotations=annotations, prior=place / "w.npy", bootstrap=0, tious=(0.5,)
    )
    assert given.evaluations[0].thresholds[0].detections.score.tolist() == [0.45]
    with pytest.raises(UsageError, match=telling("`prior`", "`prior_annotations`")):
        evaluate_file(
            path,
            annotations=annotations,
            prior=place / "w.npy",
            prior_annotations=place / "annotation_val",
        )
    with pytest.raises(UsageError, match=telling(place / "nowhere", "`prior_annotations`")):
        evaluate_file(path, annotations=annotations, prior_annotations=place / "nowhere")
    with pytest.raises(UsageError, match=telling("`class_ids`")):
        evaluate_file(path, annotations=annotations, class_ids="official")
    with pytest.raises(UsageError, match=telling("`prior`")):
        evaluate_file(place / "found.txt", annotations=annotations, prior=place / "w.npy")


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_curves_are_drawn_the_same_every_time(place: Path, suffix: str) -> None:
    arguments = (
        place / "found.txt",
        "--annotations",
        place / "annotation_test",
        "--bootstrap",
        0,
        "--plot",
        place / f"pr{suffix}",
    )
    assert tells(call(*arguments).output, f"pr{suffix}")
    content = (place / f"pr{suffix}").read_bytes()
    call(*arguments)
    assert (place / f"pr{suffix}").read_bytes() == content


def test_wrong_usage_is_refused_before_any_work(place: Path) -> None:
    good = (place / "found.txt", "--annotations", place / "annotation_test")
    for more, told in (
        (("--tiou", "0.5;0.7"), "'0.5;0.7'"),
        (("--tiou", "50"), "'50'"),
        (("--plot", place / "pr.gif"), "pr.gif"),
        (("--plot", place / "found.txt"), "found.txt"),
        (("--subset", "val"), "<Class>_val.txt"),
    ):
        with pytest.raises(FeatxError, match=telling(told)):
            call(*good, *more)
    with pytest.raises(UsageError, match=telling("absent.txt")):
        call(place / "absent.txt", *good[1:])
    with pytest.raises(UsageError, match=telling(place / "absent")):
        call(place / "found.txt", "--annotations", place / "absent")
    assert call(place / "found.txt").exit_code == 2


@published
def test_the_published_figures_come_out_of_the_command() -> None:
    result = call(
        SCNN / "res_seg_swin.mat",
        "--annotations",
        THUMOS / "annotation_test",
        "--bootstrap",
        0,
        "--tiou",
        "0.1,0.5",
    )
    assert "THUMOS'14      47.72  18.97" in result.output
    assert tells(result.output, "213 videos", "3358 instances", "20 classes")


@published
def test_a_hundred_thousand_detections_are_all_accounted_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    videos = sorted(
        {
            line.split()[0]
            for p in (THUMOS / "annotation_test").glob("*_test.txt")
            for line in p.read_text().splitlines()
            if line
        }
    )
    videos = [name for name in videos if name.startswith("video_test_")]
    assert len(videos) == 213
    start = rng.uniform(0, 300, 100_000)
    rows = zip(rng.integers(213, size=100_000), start, start + rng.uniform(0.5, 20, 100_000), rng.integers(1, 21, 100_000),
               rng.random(100_000), strict=True)  # fmt: skip
    (tmp_path / "many.txt").write_text(
        "".join(f"{videos[v]} {s:.2f} {e:.2f} {c} {p:.6f}\n" for v, s, e, c, p in rows)
    )
    found = evaluate_file(
        tmp_path / "many.txt", annotations=THUMOS / "annotation_test", bootstrap=1000
    )
    for evaluation in found.evaluations:
        instances = int(evaluation.instances.sum())
        assert instances == 3358
        hits = [int((at.matched == 1).sum()) for at in evaluation.thresholds]
        # An instance is found once at most, and fewer are where more is asked; some are, by so many tries.
        assert hits == sorted(hits, reverse=True)
        assert instances > hits[0] > hits[-1] > 0
        for at in evaluation.thresholds:
            assert len(at.detections) == len(at.matched) == 100_000
            assert at.interval is not None
            assert at.interval[0] < at.mean_ap < at.interval[1] < 0.2
