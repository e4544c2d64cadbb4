"""The linear SVM of all tasks: scikit-learn's, one against the rest, on wide rows as fast as on narrow ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featx.errors import FeatxError

Rows = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

# LIBLINEAR's own, which the papers name the classifier by; they print no other.
C = 1.0
TOLERANCE = 1e-4
MOST_ITERATIONS = 100_000
# Added to the Gram matrix's diagonal, in shares of its mean: equal rows make it singular.
_RIDGE = 1e-10
# Columns of the rows that are taken to float64 at once.
_COLUMNS = 4096


@dataclass(frozen=True)
class LinearSVM:
    """One linear function a class. coef: (K, D) float32; intercept: (K,) float64; C: what it was trained with."""

    coef: Rows
    intercept: npt.NDArray[np.float64]
    C: float

    def scores(self, rows: Rows) -> npt.NDArray[np.float64]:
        """Return each row's signed distance to each class's border, times the border's norm: (N, D) -> (N, K)."""
        return np.asarray(rows @ self.coef.T, np.float64) + self.intercept

    def predict(self, rows: Rows) -> Ints:
        """Return the class with the highest score, (N,) int64, the first of equals."""
        return np.asarray(self.scores(rows).argmax(axis=1))


def fit_svm(rows: Rows, labels: Ints, *, C: float = C, n_classes: int) -> LinearSVM:
    """Fit a linear SVM, one class against the rest: squared hinge loss, L2 penalty (LIBLINEAR's default).

    rows: (N, D). labels: (N,) from 0 to `n_classes` - 1, each there. Where D is more than N, the SVM is solved in
    coordinates of the rows' own span, N of them, which turns nothing but the axes: the same function, in less time and memory.
    """
    from sklearn.svm import LinearSVC

    missing = set(range(n_classes)) - set(labels.tolist())
    if missing or n_classes < 2:
        raise FeatxError(f"{len(missing)} of {n_classes} classes have no training video: every class takes one")
    lower = _span(rows) if rows.shape[1] > len(rows) else None
    solver = LinearSVC(C=C, dual=True, tol=TOLERANCE, max_iter=MOST_ITERATIONS, random_state=0)
    solver.fit(rows.astype(np.float64) if lower is None else lower, labels)
    coef, intercept = solver.coef_, np.atleast_1d(solver.intercept_)
    if lower is not None:
        coef = _from_span(rows, lower, coef)
    if n_classes == 2:  # one function tells two classes apart
        coef, intercept = np.concatenate([-coef, coef]), np.concatenate([-intercept, intercept])
    return LinearSVM(np.asarray(coef, np.float32), np.asarray(intercept, np.float64), C)


def _span(rows: Rows) -> npt.NDArray[np.float64]:
    """Return (N, N) lower triangular rows with the same inner products as `rows`, but for rounding."""
    from scipy.linalg import cholesky

    gram = np.zeros((len(rows), len(rows)))
    for start in range(0, rows.shape[1], _COLUMNS):
        part = rows[:, start : start + _COLUMNS].astype(np.float64)
        gram += part @ part.T
    gram[np.diag_indices_from(gram)] += _RIDGE * max(float(np.trace(gram)) / len(gram), np.finfo(float).tiny)
    return np.asarray(cholesky(gram, lower=True, overwrite_a=True, check_finite=False))


def _from_span(rows: Rows, lower: npt.NDArray[np.float64], coef: npt.NDArray[np.float64]) -> Rows:
    """Return the functions of `_span`'s coordinates, (K, N), as functions of the rows', (K, D)."""
    from scipy.linalg import solve_triangular

    shares = solve_triangular(lower, coef.T, lower=True, trans="T", check_finite=False).T  # (K, N)
    out = np.empty((len(coef), rows.shape[1]), np.float32)
    for start in range(0, rows.shape[1], _COLUMNS):
        out[:, start : start + _COLUMNS] = shares @ rows[:, start : start + _COLUMNS].astype(np.float64)
    return out
