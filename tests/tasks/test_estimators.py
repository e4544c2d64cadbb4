"""The estimators against `featx svm` on the same videos, in scikit-learn's own tools, and on what is no input."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feature_files import clustered, write_dataset, write_features
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    PredefinedSplit,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import check_estimator

import featx.tasks
from featx.errors import FeatxError, UsageError
from featx.store.reader import FeatureStore
from featx.tasks import LinearSVM, VideoMean, open_features, svm

CLASSES = ("jump", "run", "wave")
TRAINED = 14
VIDEOS = [f"{name}/{n:02}" for name in CLASSES for n in range(20)]
LABELS = [video.split("/")[0] for video in VIDEOS]
SIDES = ["train" if int(video.split("/")[1]) < TRAINED else "test" for video in VIDEOS]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A csv of 60 empty videos, 42 of them to train on; groups of two."""
    rows = [
        (f"{video}.mp4", label, side, f"{label}{int(video.split('/')[1]) // 2}")
        for video, label, side in zip(VIDEOS, LABELS, SIDES, strict=True)
    ]
    path = tmp_path_factory.mktemp("data") / "own.csv"
    return write_dataset(path, rows, header=("path", "label", "split", "group"))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their features, of one to three clips: res5b is wider than there are videos, pool5 is not."""
    places = [CLASSES.index(label) for label in LABELS]
    rng = np.random.default_rng(1)
    layers = {
        name: clustered(places, dims, seed=dims, spread=spread)
        for name, dims, spread in (("res5b", 90, 3.0), ("pool5", 12, 1.0))
    }
    videos = {
        video: {
            name: np.maximum(0, rows[n] + 0.5 * rng.normal(size=(1 + n % 3, rows.shape[1])))
            for name, rows in layers.items()
        }
        for n, video in enumerate(VIDEOS)
    }
    return write_features(tmp_path_factory.mktemp("features") / "f.h5", videos)


def chosen(side: str) -> tuple[list[str], list[str]]:
    places = [place for place, each in enumerate(SIDES) if each == side]
    return [VIDEOS[place] for place in places], [LABELS[place] for place in places]


# ---------------------------------------------------------------- as featx svm


@pytest.mark.parametrize("layer", ["res5b", "pool5"])
@pytest.mark.parametrize("C", [0.1, 1.0])
def test_a_pipeline_is_featx_svm(dataset: Path, file: Path, layer: str, C: float) -> None:
    found = svm(dataset, file, layers=layer, C=C).splits[0]
    pipeline = make_pipeline(VideoMean(file, layer=layer), LinearSVM(C=C))
    pipeline.fit(*chosen("train"))
    ids, labels = chosen("test")
    assert list(found.ids) == ids
    np.testing.assert_array_equal(pipeline.decision_function(ids), found.scores)
    assert [found.classes[place] for place in found.predictions] == pipeline.predict(ids).tolist()
    assert pipeline.score(ids, labels) == found.accuracy.value
    assert 0.5 < found.accuracy.value < 1
    machine = found.classifier.machines[0]
    np.testing.assert_array_equal(pipeline[-1].coef_, machine.coef)
    np.testing.assert_array_equal(pipeline[-1].intercept_, machine.intercept)


def test_C_is_chosen_as_featx_svm_chooses_it(dataset: Path, file: Path) -> None:
    found = svm(dataset, file, layers="pool5", C="cv").splits[0]
    ids, labels = chosen("train")
    groups = [f"{each.split('/')[0]}{int(each.split('/')[1]) // 2}" for each in ids]
    rows = VideoMean(file, layer="pool5").transform(ids)
    fitted = LinearSVM(C="cv").fit(rows, labels, groups=groups)
    assert fitted.tuning_ == found.classifier.tunings[0]
    assert fitted.C_ == found.C[0] == fitted.tuning_.best
    np.testing.assert_array_equal(fitted.coef_, found.classifier.machines[0].coef)
    alone = LinearSVM(C="cv").fit(rows, labels)
    assert alone.tuning_ != fitted.tuning_, "each row is a group of its own"


@pytest.mark.parametrize("normalise", [True, False])
def test_means_of_clips_in_memory_are_those_of_the_file(file: Path, normalise: bool) -> None:
    with FeatureStore(file) as store:
        clips = [store[video]["res5b"] for video in VIDEOS]
        by_store = VideoMean(store, layer="res5b", normalise=normalise).transform(VIDEOS)
        assert store.file, "whoever opened it closes it"
        np.testing.assert_array_equal(by_store, VideoMean(normalise=normalise).fit_transform(clips))
    assert by_store.dtype == np.float32
    with open_features(file, "res5b") as features:
        np.testing.assert_array_equal(by_store, features.rows_by_id(VIDEOS, normalise=normalise))
    expected = np.stack([each.mean(axis=0, dtype=np.float64) for each in clips])
    if normalise:
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(by_store, expected, rtol=1e-6)


def test_clips_are_a_matrix_a_mean_or_a_block() -> None:
    clips = np.array([[[3.0, 0], [0, 1]], [[0, 0], [0, 0]]])
    plain = [[1.5, 0.5], [0, 0]]
    np.testing.assert_array_equal(VideoMean(normalise=False).transform(clips), plain)
    np.testing.assert_array_equal(VideoMean(normalise=False).transform(plain), plain)
    unit = VideoMean().transform([clips[0], clips[1, :1]])
    np.testing.assert_allclose(unit, [np.array(plain[0]) / np.sqrt(2.5), [0, 0]], rtol=1e-6)


# ---------------------------------------------------------------- as scikit-learn's


def test_the_svm_passes_scikit_learns_own_checks() -> None:
    check_estimator(LinearSVM(), on_skip=None)


@pytest.mark.parametrize("classes", [2, 3])
def test_functions_have_the_shapes_of_linearsvc(classes: int) -> None:
    labels = np.arange(60) % classes
    rows = clustered(labels.tolist(), 8, seed=0, spread=2.0).astype(np.float64)
    names = np.array(["c", "a", "b"])[labels]
    ours, theirs = LinearSVM().fit(rows, names), LinearSVC(tol=1e-9, dual=False).fit(rows, names)
    assert ours.coef_.shape == theirs.coef_.shape
    assert ours.intercept_.shape == theirs.intercept_.shape
    assert ours.classes_.tolist() == theirs.classes_.tolist()
    np.testing.assert_allclose(
        ours.decision_function(rows), theirs.decision_function(rows), atol=1e-3
    )
    assert ours.predict(rows).tolist() == theirs.predict(rows).tolist()


def test_they_work_in_scikit_learns_tools(dataset: Path, file: Path) -> None:
    pipeline = make_pipeline(VideoMean(file, layer="pool5"), LinearSVM())
    split = PredefinedSplit([-1 if side == "train" else 0 for side in SIDES])
    found = cross_val_score(pipeline, VIDEOS, LABELS, cv=split)
    assert found.tolist() == [svm(dataset, file, layers="pool5").mean]
    search = GridSearchCV(
        pipeline,
        {"videomean__layer": ["res5b", "pool5"], "linearsvm__C": [0.1, 1.0]},
        cv=GroupKFold(3),
    ).fit(VIDEOS, LABELS, groups=[video[-2:] for video in VIDEOS])
    assert set(search.best_params_) == {"videomean__layer", "linearsvm__C"}
    assert search.predict(VIDEOS[:2]).tolist() == LABELS[:2]


def test_an_open_store_goes_through_clones_and_a_path_through_pickle(file: Path) -> None:
    with FeatureStore(file) as store:
        pipeline = make_pipeline(VideoMean(store, layer="pool5"), LinearSVM())
        assert clone(pipeline)[0].features is store
        assert len(cross_val_score(pipeline, VIDEOS, LABELS, cv=3)) == 3
    fitted = make_pipeline(VideoMean(file, layer="pool5"), LinearSVM()).fit(VIDEOS, LABELS)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.decision_function(VIDEOS), fitted.decision_function(VIDEOS))


def test_parameters_are_read_and_set() -> None:
    mean, machine = VideoMean(layer="pool5"), LinearSVM(C=2.0)
    assert mean.get_params() == {"features": None, "layer": "pool5", "normalise": True}
    assert machine.get_params() == {"C": 2.0}
    assert mean.set_params(normalise=False).normalise is False
    assert machine.set_params(C="cv").C == "cv"
    assert "normalise=False" in repr(mean)


def test_what_is_not_fitted_says_so(file: Path) -> None:
    with pytest.raises(NotFittedError):
        LinearSVM().predict(np.ones((2, 3)))
    with pytest.raises(NotFittedError):
        make_pipeline(VideoMean(file), LinearSVM()).predict(VIDEOS)


# ---------------------------------------------------------------- what is no input


@pytest.mark.parametrize(
    ("clips", "value"),
    [
        ([], "no videos"),
        ([[[1.0, 2]], np.ones((0, 2))], "video 1"),
        ([[[1.0, 2]], [[1.0, 2, 3]]], "3 numbers of video 1, 2 of others"),
        ([[[1.0, np.nan]]], "not finite in video 0"),
        ([[[1.0, 2]], np.ones((1, 2, 2))], "video 1 of X is float64 (1, 2, 2)"),
        (["a/1"], "video 0 of X is <U3 ()"),
    ],
)
def test_clips_that_are_none_are_named(clips: Any, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        VideoMean().transform(clips)
    assert value in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_ids_and_layers_that_a_file_lacks_are_named(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        VideoMean(file).transform([VIDEOS[0], "jump/99"])
    assert "'jump/99'" in str(caught.value)
    with pytest.raises(UsageError) as caught:
        VideoMean(file, layer="fc6").transform(VIDEOS)
    assert "'fc6'" in str(caught.value)
    with pytest.raises(UsageError) as caught:
        VideoMean(layer="fc6").transform([[[1.0]]])
    assert "'fc6'" in str(caught.value)
    broken = tmp_path / "broken.npz"
    np.savez(broken, ids=["a"], features=[[1.0, np.inf]])
    with pytest.raises(FeatxError) as other:
        VideoMean(broken).transform(["a"])
    assert str(broken) in str(other.value)


@pytest.mark.parametrize(
    ("C", "y", "value"),
    [(0.0, "ab", "C is 0"), (1e300, "ab", "C is 1e+300"), (1.0, "aa", "'a'")],
)
def test_an_svm_that_cannot_be_fitted_says_why(C: float, y: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        LinearSVM(C=C).fit(np.eye(2), list(y))
    assert value in str(caught.value)


def test_names_are_found_when_they_are_used() -> None:
    assert set(featx.tasks.__all__) <= set(dir(featx.tasks))
    assert all(callable(getattr(featx.tasks, name)) for name in featx.tasks.__all__)
    with pytest.raises(AttributeError):
        featx.tasks.VideoMax  # noqa: B018 - what is not there


def test_without_scikit_learn_the_command_that_brings_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(vars(featx.tasks), "LinearSVM", raising=False)
    with pytest.raises(UsageError) as caught:
        featx.tasks.LinearSVM  # noqa: B018 - what is looked up
    assert "pip install 'featx[tasks]'" in str(caught.value)
    assert featx.tasks.open_features is open_features
