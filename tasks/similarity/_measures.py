"""The twelve (dis)similarities of two vectors: table 3 of Kliper-Gross, Hassner and Wolf, PAMI 34(3), 2012.

Its measures are of histograms, which have no negative entries. What it leaves open is settled here, for all of them alike:

- A quotient whose numerator and denominator are both 0 counts 0: an entry that both vectors have at 0, the cosine of a vector
  of zeros, and the last measure where one sums to 0.
- Roots, logarithms, quotients and minima are of max(x, 0): the first, fifth, seventh and ninth measure alone take negative
  entries as they are. So no root is ever of a negative total. Whoever has negative entries is told how many (`negatives`).
- Logarithms are of max(x, FLOOR): x log x/y, infinite where y alone is 0, grows with x instead.

"In the last four rows, original vectors were normalized": by length, for there the Euclidean distance has the cosine's AUC to
0.03 per cent in every column. The protocol normalises every vector so before it comes here, and nothing is normalised again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

# The distance of 1 to the next double, which MATLAB calls eps; the benchmark's code is in MATLAB, but its floor is not printed.
FLOOR = 2.0**-52
# Numbers of one side of the pairs that are computed at once: some MiB of float64, which stay in the processor's cache.
_BLOCK = 1 << 18


@dataclass(frozen=True)
class Measure:
    """One row of the table. compute: (P, D), (P, D) float64 -> (P,). formula: of x and y, as text."""

    name: str
    formula: str
    compute: Callable[[Floats, Floats], Floats]


def dot(x: Floats, y: Floats) -> Floats:
    """Σ xy."""
    return np.asarray(np.einsum("pd,pd->p", x, y))


def root_dot(x: Floats, y: Floats) -> Floats:
    """√(Σ xy)."""
    return np.sqrt(dot(_positive(x), _positive(y)))


def root_bhattacharyya(x: Floats, y: Floats) -> Floats:
    """√(Σ √x √y)."""
    return np.sqrt(dot(np.sqrt(_positive(x)), np.sqrt(_positive(y))))


def root_harmonic(x: Floats, y: Floats) -> Floats:
    """√(Σ xy / (x + y))."""
    x, y = _positive(x), _positive(y)
    return np.sqrt(dot(x, y / _no_zeros(x + y)))


def cosine(x: Floats, y: Floats) -> Floats:
    """Σ xy / (‖x‖ ‖y‖)."""
    return dot(x, y) / _no_zeros(np.sqrt(dot(x, x)) * np.sqrt(dot(y, y)))


def root_chi_square(x: Floats, y: Floats) -> Floats:
    """√(Σ (x − y)² / (x + y))."""
    x, y = _positive(x), _positive(y)
    difference = x - y
    return np.sqrt(dot(difference, difference / _no_zeros(x + y)))


def manhattan(x: Floats, y: Floats) -> Floats:
    """Σ |x − y|."""
    return np.asarray(np.abs(x - y).sum(axis=1))


def hellinger(x: Floats, y: Floats) -> Floats:
    """√(Σ (√x − √y)²)."""
    return euclidean(np.sqrt(_positive(x)), np.sqrt(_positive(y)))


def euclidean(x: Floats, y: Floats) -> Floats:
    """√(Σ (x − y)²)."""
    difference = x - y
    return np.sqrt(dot(difference, difference))


def jeffreys(x: Floats, y: Floats) -> Floats:
    """(Σ x log x/y + Σ y log y/x) / 2."""
    x, y = _positive(x), _positive(y)
    return 0.5 * dot(x - y, np.log(np.maximum(x, FLOOR)) - np.log(np.maximum(y, FLOOR)))


def root_maximum(x: Floats, y: Floats) -> Floats:
    """Σ √max(x, y) / √(x + y)."""
    x, y = _positive(x), _positive(y)
    return np.asarray(np.sqrt(np.maximum(x, y) / _no_zeros(x + y)).sum(axis=1))


def minimum(x: Floats, y: Floats) -> Floats:
    """Σ min(x, y) / (Σ x · Σ y)."""
    x, y = _positive(x), _positive(y)
    return np.asarray(np.minimum(x, y).sum(axis=1) / _no_zeros(x.sum(axis=1) * y.sum(axis=1)))


# In the table's order, which is that of a pair's numbers.
MEASURES: tuple[Measure, ...] = (
    Measure("dot", "Σ xy", dot),
    Measure("root_dot", "√Σ xy", root_dot),
    Measure("root_bhattacharyya", "√Σ √x√y", root_bhattacharyya),
    Measure("root_harmonic", "√Σ xy/(x+y)", root_harmonic),
    Measure("cosine", "Σ xy/(‖x‖‖y‖)", cosine),
    Measure("root_chi_square", "√Σ (x−y)²/(x+y)", root_chi_square),
    Measure("manhattan", "Σ |x−y|", manhattan),
    Measure("hellinger", "√Σ (√x−√y)²", hellinger),
    Measure("euclidean", "√Σ (x−y)²", euclidean),
    Measure("jeffreys", "½ (Σ x log x/y + Σ y log y/x)", jeffreys),
    Measure("root_maximum", "Σ √max(x,y)/√(x+y)", root_maximum),
    Measure("minimum", "Σ min(x,y)/(Σx·Σy)", minimum),
)


def measure_pairs(
    rows: Rows, pairs: Ints, *, on_progress: Callable[[int], None] | None = None
) -> Floats:
    """Return every measure of every pair, (P, 12) float64.

    rows: (N, D), a vector a sample. pairs: (P, 2), places of the two vectors among the rows. on_progress: called with the
    number of pairs that are measured. A few MiB are held besides the rows, whatever their width.
    """
    out = np.empty((len(pairs), len(MEASURES)))
    step = max(1, _BLOCK // max(1, rows.shape[1]))
    for start in range(0, len(pairs), step):
        part = pairs[start : start + step]
        x, y = rows[part[:, 0]].astype(np.float64), rows[part[:, 1]].astype(np.float64)
        for column, measure in enumerate(MEASURES):
            out[start : start + step, column] = measure.compute(x, y)
        if on_progress is not None:
            on_progress(start + len(part))
    return out


def negatives(rows: Rows) -> int:
    """Return how many entries are below 0, which most of the measures take for 0; nothing of the rows' size is held."""
    return sum(int(np.count_nonzero(row < 0)) for row in rows)


def _positive(x: Floats) -> Floats:
    return np.maximum(x, 0.0)


def _no_zeros(x: Floats) -> Floats:
    """Return denominators with 1 for 0: what is divided by them is 0 there."""
    return np.where(x == 0, 1.0, x)
