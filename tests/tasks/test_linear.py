"""The SVM's solver against scikit-learn's, on wide and narrow rows, and what it does with odd ones."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from feature_files import clustered
from told import telling

from featx.errors import FeatxError, UsageError
from featx.tasks import linear
from featx.tasks.linear import Coordinates, Hyperplanes, fit_in


def fit_svm(rows: np.ndarray, labels: np.ndarray, *, C: float = 1.0, n_classes: int) -> Hyperplanes:
    return fit_in(Coordinates([rows]), labels, C=C, n_classes=n_classes)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def exact(rows: np.ndarray, labels: np.ndarray, C: float) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's coef (K, D) and intercept (K,), of the same objective, to a gradient of 1e-9 of the first."""
    from sklearn.svm import LinearSVC

    found = LinearSVC(C=C, dual=False, tol=1e-9, max_iter=10_000).fit(
        rows.astype(np.float64), labels
    )
    return found.coef_, found.intercept_


def drawn(n: int, dims: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(n) % classes
    return unit(clustered(labels.tolist(), dims, seed=seed, spread=3.0)), labels


@pytest.mark.parametrize("dims", [20, 90, 400])
@pytest.mark.parametrize("classes", [2, 7])
@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
def test_functions_are_those_of_scikit_learn(dims: int, classes: int, C: float) -> None:
    rows, labels = drawn(180, dims, classes)
    train, test = slice(0, 120), slice(120, 180)
    ours = fit_svm(rows[train], labels[train], C=C, n_classes=classes)
    coef, intercept = exact(rows[train], labels[train], C)
    if classes == 2:
        coef, intercept = np.concatenate([-coef, coef]), np.concatenate([-intercept, intercept])
    scores = rows[test] @ coef.T + intercept
    # The dual's gradient ends below 1e-5; coef is float32, of norms below 20, and rows have length 1.
    np.testing.assert_allclose(ours.scores(rows[test]), scores, atol=3e-4)
    assert (ours.predict(rows[test]) == scores.argmax(axis=1)).all()
    assert len(set(ours.predict(rows[test]))) > 1


@pytest.mark.parametrize("dims", [10, 300])
def test_equal_rows_and_rows_of_zeros_are_no_trouble(dims: int) -> None:
    rows, labels = drawn(60, dims, 3)
    rows = np.concatenate([rows, rows, np.zeros((6, dims), np.float32)])
    labels = np.concatenate([labels, labels, np.arange(6) % 3])
    ours = fit_svm(rows, labels, n_classes=3)
    coef, intercept = exact(rows, labels, 1.0)
    np.testing.assert_allclose(ours.scores(rows), rows @ coef.T + intercept, atol=3e-4)


def test_the_order_of_rows_says_nothing() -> None:
    rows, labels = drawn(100, 300, 5)
    order = np.random.default_rng(1).permutation(100)
    straight, mixed = (
        fit_svm(rows, labels, n_classes=5),
        fit_svm(rows[order], labels[order], n_classes=5),
    )
    np.testing.assert_allclose(straight.scores(rows), mixed.scores(rows), atol=1e-4)


def test_parts_are_one_matrix() -> None:
    rows, labels = drawn(80, 300, 4)
    whole = fit_svm(rows, labels, n_classes=4)
    parts = fit_in(
        Coordinates([rows[:, :100], rows[:, 100:130], rows[:, 130:]]), labels, C=1.0, n_classes=4
    )
    np.testing.assert_allclose(parts.coef, whole.coef, atol=1e-6)
    narrow = fit_in(Coordinates([rows[:, :20], rows[:, 20:40]]), labels, C=1.0, n_classes=4)
    np.testing.assert_array_equal(narrow.coef, fit_svm(rows[:, :40], labels, n_classes=4).coef)


@pytest.mark.parametrize("C", [1.0, 1e6])
def test_classes_that_overlap_have_an_answer(C: float) -> None:
    """Labels of chance, numbers of length 6 that follow one another: the dual has not ended after 20,000 passes."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(1500, 3)) @ rng.normal(size=(3, 36)) + 0.01 * rng.normal(
        size=(1500, 36)
    )
    labels = rng.integers(2, size=1500)
    ours = fit_svm((rows / rows.std(axis=0)).astype(np.float32), labels, C=C, n_classes=2)
    coef, intercept = exact((rows / rows.std(axis=0)).astype(np.float32), labels, C)
    np.testing.assert_allclose(ours.coef[1], coef[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours.intercept[1], intercept[0], atol=1e-4)


def test_wide_rows_are_not_copied() -> None:
    """They take 16 MB, and in float64 32; what is needed is 200 x 200 coordinates, a stretch of columns, and coef."""
    rows, labels = drawn(200, 20_000, 4)
    fit_svm(rows[:20], labels[:20], n_classes=4)  # whatever is loaded once
    tracemalloc.start()
    fit_svm(rows, labels, n_classes=4)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12e6


def test_the_first_of_equal_scores_is_predicted() -> None:
    same = Hyperplanes(np.ones((3, 2), np.float32), np.zeros(3), 1.0)
    assert same.predict(np.ones((1, 2), np.float32)).tolist() == [0]


def test_what_cannot_be_trained_is_said() -> None:
    rows, labels = drawn(30, 10, 3)
    with pytest.raises(FeatxError, match=telling(1, 4)):
        fit_svm(rows, labels, n_classes=4)
    for C in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match=telling("C", f"{C:g}")):
            fit_svm(rows, labels, C=C, n_classes=3)
    for C in (1e-300, 1e300):  # LIBLINEAR did not return, and no signal but KILL ended it
        with pytest.raises(UsageError, match=telling("C", f"{C:g}", "1e-09", "1e+09")):
            fit_svm(rows, labels, C=C, n_classes=3)


def test_where_the_dual_does_not_end_the_primal_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows, labels = (
        unit(rng.normal(size=(400, 120))),
        rng.integers(2, size=400),
    )  # classes that cannot be told apart
    monkeypatch.setattr(linear, "_MOST_PASSES", 100)
    ours = fit_svm(rows, labels, C=1e4, n_classes=2)
    coef, intercept = exact(rows, labels, 1e4)
    # Scores are of the size of 10 here.
    np.testing.assert_allclose(ours.scores(rows)[:, 1], rows @ coef[0] + intercept[0], atol=1e-3)


def test_a_solver_that_does_not_end_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels = drawn(60, 20, 3)
    monkeypatch.setattr(linear, "_MOST_PASSES", 2)
    with pytest.raises(FeatxError, match=telling(2, "C 100")):
        fit_svm(rows, labels, C=100.0, n_classes=3)
