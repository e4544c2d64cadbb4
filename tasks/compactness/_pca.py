"""Principal components of few, wide rows: exact, and in no more memory than the rows take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]

# Numbers of the rows that are taken to float64 at once: 128 MB.
_AT_ONCE = 1 << 24
# Of the largest variance; what varies less is the rounding of float32 rows, in no direction of theirs.
_LEAST = 1e-10


@dataclass(frozen=True)
class Pca:
    """mean: (D,). components: (K, D), orthonormal, by falling variance. variances: (K,), along them. total: of all."""

    mean: Rows
    components: Rows
    variances: Numbers
    total: float

    def project(self, rows: Rows) -> Rows:
        """Return the rows' coordinates along the components, (N, D) -> (N, K); the first k are what a PCA to k gives."""
        out = np.empty((len(rows), len(self.components)), np.float32)
        step = max(1, _AT_ONCE // rows.shape[1])
        for start in range(0, len(rows), step):
            out[start : start + step] = (rows[start : start + step] - self.mean) @ self.components.T
        return out

    def explained(self, dims: int) -> float:
        """Return the share of the rows' variance that the first `dims` components hold."""
        return float(self.variances[:dims].sum() / self.total)

    def __repr__(self) -> str:
        kept, width = self.components.shape
        return f"Pca({kept:,} of {width:,} dimensions, {100 * self.explained(kept):.1f} % of the variance)"


def fit_pca(rows: Rows, dims: int) -> Pca:
    """Return the first `dims` principal components of rows, (N, D), or as many as there are.

    There are N - 1 at most, D at most, and fewer where rows repeat each other. Exact: the eigenvectors of the rows' inner
    products (N x N), or of their covariance (D x D), whichever is smaller, in float64; the same for any number of dimensions.
    tools/pca_solvers.py compares it with scikit-learn's and faiss's. A component's largest number is positive.
    """
    from scipy.linalg import eigh

    n, width = rows.shape
    mean = rows.mean(axis=0, dtype=np.float64)
    products = _inner(rows, mean) if n <= width else _covariance(rows, mean)
    total = float(np.trace(products))
    size = len(products)
    wanted = max(1, min(dims, n - 1, width))
    values, vectors = eigh(
        products,
        subset_by_index=(size - wanted, size - 1),
        driver="evr",
        overwrite_a=True,
        check_finite=False,
    )
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = (values > _LEAST * values[0]) & (values > 0)
    values, vectors = values[kept], vectors[:, kept]
    components = _from_inner(rows, mean, vectors / np.sqrt(values)) if n <= width else vectors.T
    signs = np.sign(components[np.arange(len(components)), np.abs(components).argmax(axis=1)])[
        :, None
    ]
    return Pca(
        mean=mean.astype(np.float32),
        components=np.ascontiguousarray(components * signs, np.float32),
        variances=values / max(1, n - 1),
        total=total / max(1, n - 1),
    )


def _inner(rows: Rows, mean: Numbers) -> Numbers:
    """Return (N, N) inner products of the centred rows."""
    out = np.zeros((len(rows), len(rows)))
    step = max(1, _AT_ONCE // len(rows))
    for start in range(0, rows.shape[1], step):
        part = rows[:, start : start + step] - mean[start : start + step]
        out += part @ part.T
    return out


def _covariance(rows: Rows, mean: Numbers) -> Numbers:
    """Return (D, D) inner products of the centred rows' columns."""
    out = np.zeros((rows.shape[1], rows.shape[1]))
    step = max(1, _AT_ONCE // rows.shape[1])
    for start in range(0, len(rows), step):
        part = rows[start : start + step] - mean
        out += part.T @ part
    return out


def _from_inner(rows: Rows, mean: Numbers, shares: Numbers) -> Numbers:
    """Return the components, (K, D), that are these shares, (N, K), of the centred rows."""
    out = np.empty((shares.shape[1], rows.shape[1]))
    step = max(1, _AT_ONCE // len(rows))
    for start in range(0, rows.shape[1], step):
        out[:, start : start + step] = shares.T @ (
            rows[:, start : start + step] - mean[start : start + step]
        )
    return out
