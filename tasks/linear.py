"""The linear SVM of all tasks: scikit-learn's LinearSVC, one class against the rest, on wide rows as fast as on narrow ones."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featx.errors import FeatxError, UsageError
from featx.system.extras import need

Rows = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# LIBLINEAR's own, which the papers name the classifier by; they print no other.
C = 1.0
# Far beyond it LIBLINEAR never returns, nor hears a signal: with 1e-300 and 1e300 its primal solver ran until it was killed.
_MOST_C = 1e9
# Of the dual problem's gradient: scores come within 3e-4 of the exact ones (tests/tasks/test_linear.py).
_TOLERANCE = 1e-5
_MOST_PASSES = 3_000
# Added to the Gram matrix's diagonal, in shares of its mean: equal rows make it singular.
_RIDGE = 1e-10
# Of the primal problem's gradient, in shares of the first.
_PRIMAL_TOLERANCE = 1e-8
# Columns of the rows that are taken to float64 at once.
_COLUMNS = 2048
# Multiplications that one processor has done in some hundredths of a second.
_SMALL = 1e9


@dataclass(frozen=True)
class Hyperplanes:
    """What a linear SVM has fitted: one linear function a class. coef: (K, D) float32; intercept: (K,) float64; C: its own."""

    coef: Rows
    intercept: Floats
    C: float

    def scores(self, rows: Rows) -> Floats:
        """Return each row's signed distance to each class's border, times the border's norm: (N, D) -> (N, K)."""
        return np.asarray(rows @ self.coef.T, np.float64) + self.intercept

    def predict(self, rows: Rows) -> Ints:
        """Return the class with the highest score, (N,) int64, the first of equals."""
        return np.asarray(self.scores(rows).argmax(axis=1))

    def __repr__(self) -> str:
        return f"Hyperplanes({self.coef.shape[0]} classes, {self.coef.shape[1]:,} numbers, C {self.C:g})"


def fit_in(coordinates: Coordinates, labels: Ints, *, C: float, n_classes: int) -> Hyperplanes:
    """Fit a linear SVM, one class against the rest: squared hinge loss, L2 penalty (LIBLINEAR's default).

    coordinates: of N rows; coef's columns are the rows' parts' one after the other. labels: (N,) from 0 to `n_classes` - 1, each
    there. Where D is more than N, the SVM is solved in coordinates of the rows' own span, N of them, which turns nothing but the
    axes: the same function, in less time and memory (tools/svm_solvers.py). Raises FeatxError for a class without a row, and
    where the solver does not end; UsageError for a C that is no positive number.
    """
    check_C(C)
    missing = set(range(n_classes)) - set(labels.tolist())
    if missing or n_classes < 2:
        raise FeatxError(
            f"{len(missing)} of {n_classes} classes have no training video: every class takes one"
        )
    coef, intercept = fit_narrow(coordinates.rows, labels, C=C, n_classes=n_classes)
    return Hyperplanes(coordinates.back(coef), intercept, C)


def check_C(C: float) -> None:
    """Raise UsageError for what is no C."""
    if not (np.isfinite(C) and C > 0):
        raise UsageError(f"C is {C:g}: give a number above 0")
    if not 1 / _MOST_C <= C <= _MOST_C:
        raise UsageError(f"C is {C:g}: give a number from {1 / _MOST_C:g} to {_MOST_C:g}")


def check_installed() -> None:
    """Raise UsageError where what trains an SVM is not installed."""
    need("sklearn", "scipy", "threadpoolctl", what="a linear SVM")


def fit_narrow(rows: Floats, labels: Ints, *, C: float, n_classes: int) -> tuple[Floats, Floats]:
    """Return coef (K, D) and intercept (K,) of the functions; rows: (N, D) float64, of `Coordinates`."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    # Rows in their own span are told apart whatever their labels: the dual's passes, a row at a time, end soon, and LIBLINEAR's
    # copy of a triangular matrix leaves the zeros out. Where rows outnumber columns classes may overlap: of 3,000 x 512 numbers
    # of noise the dual took 90 s with C 100, and had not ended, the primal 2.
    ways = [False] if len(rows) > rows.shape[1] else [True, False]
    for dual in ways:
        tolerance = _TOLERANCE if dual else _PRIMAL_TOLERANCE
        solver = LinearSVC(C=C, dual=dual, tol=tolerance, max_iter=_MOST_PASSES, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                solver.fit(rows, labels)
                break
            except ConvergenceWarning:
                continue
    else:
        raise FeatxError(
            f"the linear SVM has not ended after {_MOST_PASSES} passes with C {C:g}: give a smaller C,"
            " or features of smaller range"
        )
    coef, intercept = solver.coef_, np.atleast_1d(solver.intercept_)
    if n_classes == 2:  # one function tells two classes apart
        coef, intercept = np.concatenate([-coef, coef]), np.concatenate([-intercept, intercept])
    return coef, intercept


class Coordinates:
    """Rows in as few numbers as they need: their own D, or, of N rows with more than N numbers, N.

    parts: (N, D1), (N, D2), ... float32, the rows' columns; they are kept, not copied, unless the rows are narrow.
    rows: (N, M) float64, with the same inner products, but for rounding.
    """

    def __init__(self, parts: Sequence[Rows]) -> None:
        check_installed()
        self._parts = parts
        self._wide = sum(part.shape[1] for part in parts) > len(parts[0])
        self.rows: Floats = (
            _span(parts) if self._wide else np.concatenate(parts, axis=1, dtype=np.float64)
        )

    def back(self, coef: Floats) -> Rows:
        """Return functions of `rows`, (K, M), as functions of the parts, (K, D1 + D2 + ...)."""
        from scipy.linalg import solve_triangular

        if not self._wide:
            return np.asarray(coef, np.float32)
        with _one_thread_if_small(coef.size * sum(part.shape[1] for part in self._parts)):
            shares = solve_triangular(
                self.rows, coef.T, lower=True, trans="T", check_finite=False
            ).T  # (K, N)
            return np.concatenate(
                [np.asarray(shares @ block, np.float32) for block in _blocks(self._parts)], axis=1
            )


def _blocks(parts: Sequence[Rows]) -> Iterator[Floats]:
    """Yield all columns in float64, a few at a time."""
    for part in parts:
        for start in range(0, part.shape[1], _COLUMNS):
            yield part[:, start : start + _COLUMNS].astype(np.float64)


def _span(parts: Sequence[Rows]) -> Floats:
    """Return (N, N) lower triangular rows with the same inner products as the parts' together, but for rounding."""
    from scipy.linalg import cholesky

    gram = np.zeros((len(parts[0]), len(parts[0])))
    with _one_thread_if_small(gram.size * sum(part.shape[1] for part in parts)):
        for block in _blocks(parts):
            gram += block @ block.T
        gram[np.diag_indices_from(gram)] += _RIDGE * max(
            float(np.trace(gram)) / len(gram), np.finfo(float).tiny
        )
        return np.asarray(cholesky(gram, lower=True, overwrite_a=True, check_finite=False))


def _one_thread_if_small(multiplications: float) -> AbstractContextManager[object]:
    """Keep BLAS to one thread inside, unless there are more multiplications than it pays for.

    On a busy machine BLAS' threads wait for one another many times as long as they compute.
    """
    from threadpoolctl import threadpool_limits

    if multiplications >= _SMALL:
        return contextlib.nullcontext()
    limits: AbstractContextManager[object] = threadpool_limits(1, "blas")
    return limits
