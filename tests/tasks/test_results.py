"""Results show themselves in a line: what one wants to see of them, and their notes, whatever arrays they hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from feature_files import clustered, write_dataset, write_features
from localization_runs import random_run

from featx.datasets import load_dataset
from featx.tasks import LinearSVM, compact, predict, svm
from featx.tasks.compactness import CompactResult, fit_pca
from featx.tasks.localization._evaluate import evaluate
from featx.tasks.localization._postprocessing import counted_prior
from featx.tasks.recognition import SvmResult, read_model
from featx.tasks.results import number_of, shown
from featx.tasks.similarity import cross_validate

CLASSES = ("jump", "run")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A csv of 40 empty videos, ten of them to test on, and their features."""
    base = tmp_path_factory.mktemp("own")
    videos = [f"{name}/{n:02}" for name in CLASSES for n in range(20)]
    sides = ["train" if int(video[-2:]) < 15 else "test" for video in videos]
    rows = [(f"{v}.mp4", v.split("/")[0], side) for v, side in zip(videos, sides, strict=True)]
    write_dataset(base / "own.csv", rows)
    rows_of = clustered([CLASSES.index(v.split("/")[0]) for v in videos], 6, seed=0, spread=1.0)
    write_features(base / "f.h5", {v: {"pool5": [r]} for v, r in zip(videos, rows_of, strict=True)})
    return base


@pytest.fixture(scope="module")
def recognised(folder: Path) -> SvmResult:
    return svm(folder / "own.csv", folder / "f.h5", save=folder / "svm.npz")


@pytest.fixture(scope="module")
def compacted(folder: Path) -> CompactResult:
    return compact(folder / "own.csv", folder / "f.h5", dims=[2, 4])


def line_of(result: object, *values: object) -> None:
    """Assert that a result's repr begins with its class, has the values in its first line, and no array anywhere."""
    text = repr(result)
    first = text.split("\n")[0]
    assert first.startswith(f"{type(result).__name__}(")
    assert first.endswith(")")
    for value in values:
        assert str(value) in first
    assert "array" not in text
    assert len(first) < 200


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def test_a_recognition(recognised: SvmResult, folder: Path) -> None:
    accuracy = percent(recognised.mean)
    line_of(recognised, "own", accuracy, "1 split,", "10 test videos")
    line_of(recognised.splits[0], "own (own data)", accuracy, 10, 30)
    line_of(recognised.splits[0].accuracy, accuracy, "of 10")
    line_of(recognised.splits[0].classifier, 6, "2 classes")
    line_of(recognised.splits[0].classifier.machines[0], 6, "2 classes", "C 1")
    line_of(read_model(folder / "svm.npz"), "own (own data)", accuracy)
    found = predict(folder / "svm.npz", folder / "f.h5")
    line_of(found, "40 videos", *CLASSES)
    line_of(load_dataset(folder / "own.csv"), "own (own data), train", "30 videos")


def test_a_recognition_of_folds_counts_every_video_once(folder: Path) -> None:
    found = svm(folder / "own.csv", folder / "f.h5", folds=4)
    assert found.pooled is not None
    line_of(found, percent(found.pooled.value), "4 folds", "40 test videos")


def test_a_compactness(compacted: CompactResult) -> None:
    curve = compacted.curves[0]
    line_of(compacted, "own", percent(curve.full.value), "at 6", "at 2", "10 test videos")
    line_of(curve, curve.title, percent(curve.points[1].value))
    line_of(curve.points[0], percent(curve.points[0].value), 2)
    line_of(fit_pca(np.eye(5, 7, dtype=np.float32), 3), "3 of 7", percent(0.75))


def test_notes_stand_below(recognised: SvmResult, compacted: CompactResult) -> None:
    noted = [
        replace(recognised, notes=("one", "another")),
        replace(compacted, notes=("one", "another")),
    ]
    for result in noted:
        assert repr(result).split("\n")[1:] == ["  note: one", "  note: another"]


def test_a_similarity() -> None:
    rng = np.random.default_rng(0)
    same = np.tile([0, 1], 30)
    fold = np.repeat([1, 2], 30)
    values = same[:, None] + rng.normal(size=(60, 4))
    found = cross_validate(values, same, fold, [((1,), 2), ((2,), 1)], C=1.0)
    line_of(found, f"{100 * found.accuracy:.1f}", percent(found.auc), "60 pairs")


@pytest.mark.parametrize("protocol", ["thumos14", "activitynet"])
def test_detections_and_their_evaluation(protocol: str) -> None:
    truth, found = random_run(0)
    line_of(truth, "hand-made", f"{len(truth.instances)} instances", "4 videos")
    line_of(found, f"{len(found)} detections", "4 videos", "2 classes")
    evaluation = evaluate(found, truth, tious=(0.3, 0.5), protocol=protocol)  # type: ignore[arg-type]
    means = [percent(at.mean_ap) for at in evaluation.thresholds]
    line_of(evaluation, protocol, "hand-made", *means, "4 videos")
    line_of(evaluation.thresholds[0], "0.3", len(evaluation.thresholds[0].detections))
    line_of(counted_prior(truth, lengths=(16, 32), durations=(1.0, 2.0)), "hand-made", "2 lengths")


def test_an_estimator_shows_its_parameters() -> None:
    assert repr(LinearSVM(C=2.0)) == "LinearSVM(C=2.0)"


def test_what_is_empty_is_left_out() -> None:
    assert shown("Result", "a", "", "1 b") == "Result(a: 1 b)"
    assert shown("Result", "", "1 b") == "Result(1 b)"
    assert shown("Result", "a", "") == "Result(a)"
    assert shown("Whole", "a", parts=[1], notes=["b"]) == "Whole(a)\n  1\n  note: b"
    assert [number_of(n, "class") for n in (0, 1, 1200)] == [
        "0 classes",
        "1 class",
        "1,200 classes",
    ]
