"""The twelve measures against slow transcriptions of their formulas, one number at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from featx.tasks.similarity import FLOOR, MEASURES, measure_pairs
from featx.tasks.similarity._measures import negatives

Vector = Sequence[float]


def ratio(numerator: float, denominator: float) -> float:
    """The convention: 0/0 counts 0."""
    if numerator == denominator == 0:
        return 0.0
    return numerator / denominator


def log_ratio(a: float, b: float) -> float:
    return math.log(max(a, FLOOR) / max(b, FLOOR))


def entries(x: Vector, y: Vector) -> list[tuple[float, float]]:
    """Both vectors' entries for measures of histograms: what is below 0 is 0."""
    return [(max(a, 0.0), max(b, 0.0)) for a, b in zip(x, y, strict=True)]


def dot(x: Vector, y: Vector) -> float:
    return math.fsum(a * b for a, b in zip(x, y, strict=True))


def root_dot(x: Vector, y: Vector) -> float:
    return math.sqrt(math.fsum(a * b for a, b in entries(x, y)))


def root_bhattacharyya(x: Vector, y: Vector) -> float:
    return math.sqrt(math.fsum(math.sqrt(a) * math.sqrt(b) for a, b in entries(x, y)))


def root_harmonic(x: Vector, y: Vector) -> float:
    return math.sqrt(math.fsum(ratio(a * b, a + b) for a, b in entries(x, y)))


def cosine(x: Vector, y: Vector) -> float:
    return ratio(
        dot(x, y), math.sqrt(math.fsum(a * a for a in x)) * math.sqrt(math.fsum(b * b for b in y))
    )


def root_chi_square(x: Vector, y: Vector) -> float:
    return math.sqrt(math.fsum(ratio((a - b) ** 2, a + b) for a, b in entries(x, y)))


def manhattan(x: Vector, y: Vector) -> float:
    return math.fsum(abs(a - b) for a, b in zip(x, y, strict=True))


def hellinger(x: Vector, y: Vector) -> float:
    return math.sqrt(math.fsum((math.sqrt(a) - math.sqrt(b)) ** 2 for a, b in entries(x, y)))


def euclidean(x: Vector, y: Vector) -> float:
    return math.sqrt(math.fsum((a - b) ** 2 for a, b in zip(x, y, strict=True)))


def jeffreys(x: Vector, y: Vector) -> float:
    both = entries(x, y)
    return (
        math.fsum(a * log_ratio(a, b) for a, b in both)
        + math.fsum(b * log_ratio(b, a) for a, b in both)
    ) / 2


def root_maximum(x: Vector, y: Vector) -> float:
    return math.fsum(ratio(math.sqrt(max(a, b)), math.sqrt(a + b)) for a, b in entries(x, y))


def minimum(x: Vector, y: Vector) -> float:
    both = entries(x, y)
    return ratio(
        math.fsum(min(a, b) for a, b in both),
        math.fsum(a for a, _ in both) * math.fsum(b for _, b in both),
    )


# In the order of the paper's table 3.
LITERAL: list[Callable[[Vector, Vector], float]] = [
    dot, root_dot, root_bhattacharyya, root_harmonic, cosine, root_chi_square,
    manhattan, hellinger, euclidean, jeffreys, root_maximum, minimum,
]  # fmt: skip
PLACES = [pytest.param(place, id=function.__name__) for place, function in enumerate(LITERAL)]
DIMS = 40
# Of sums of 40 terms in float64, each of a few roundings, a logarithm among them.
CLOSE = 1e-12


def vectors(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return 50 pairs of vectors of length 1, as the protocol has them: (50, 40) each."""
    rng = np.random.default_rng(7)
    x, y = rng.gamma(0.5, size=(2, 50, DIMS))
    if kind == "sparse":  # as after a ReLU
        x, y = (each * (rng.random((50, DIMS)) < 0.4) for each in (x, y))
    if kind == "softmax":
        x, y = (np.exp(20 * each) for each in (x, y))
    if kind == "negative":
        x, y = rng.normal(size=(2, 50, DIMS))
    if kind == "equal":
        y = x.copy()
    if kind == "apart":  # no entry that both have
        x[:, ::2] = 0
        y[:, 1::2] = 0
    return tuple(each / np.linalg.norm(each, axis=1, keepdims=True) for each in (x, y))


@pytest.mark.parametrize("kind", ["dense", "sparse", "softmax", "negative", "equal", "apart"])
@pytest.mark.parametrize("place", PLACES)
def test_a_measure_is_its_formula(place: int, kind: str) -> None:
    x, y = vectors(kind)
    expected = [LITERAL[place](a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    found = MEASURES[place].compute(x, y)
    assert found.shape == (50,)
    # A distance of vectors that nearly cancel has the terms' rounding, not its own: hence the absolute part.
    np.testing.assert_allclose(found, expected, rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize("place", PLACES)
def test_a_measure_does_not_depend_on_which_sample_is_first(place: int) -> None:
    x, y = vectors("sparse")
    compute = MEASURES[place].compute
    np.testing.assert_allclose(compute(x, y), compute(y, x), rtol=CLOSE)


ZERO, ONE = [0.0, 0.0, 0.0, 0.0], [0.5, 0.0, 0.5, 0.0]
HALF = math.sqrt(0.5)
# Worked out by hand, in the table's order; FLOOR is 2 ** -52.
EDGES = [
    pytest.param(ZERO, ZERO, [0.0] * 12, id="two zero vectors"),
    pytest.param(
        ONE,
        ZERO,
        [0, 0, 0, 0, 0, 1.0, 1.0, 1.0, HALF, 51 * math.log(2) / 2, 2.0, 0],
        id="one zero vector",
    ),
    pytest.param(
        ONE,
        ONE,
        [0.5, HALF, 1.0, HALF, 1.0, 0, 0, 0, 0, 0, 2 * HALF, 1.0],
        id="equal vectors",
    ),
    pytest.param(
        ONE,
        [0.0, 0.5, 0.0, 0.5],
        [0, 0, 0, 0, 0, math.sqrt(2), 2.0, math.sqrt(2), 1.0, 51 * math.log(2), 4.0, 0],
        id="nothing in common",
    ),
    pytest.param(
        [-0.5, -0.5, 0.0, 0.0],
        [0.5, 0.5, 0.0, 0.0],
        # Measures 1, 5, 7 and 9 take the vectors as they are, the others x as a vector of zeros.
        [-0.5, 0, 0, 0, -1.0, 1.0, 2.0, 1.0, math.sqrt(2), 51 * math.log(2) / 2, 2.0, 0],
        id="opposite vectors",
    ),
    pytest.param(
        [-0.5, -0.5, 0.0, 0.0],
        [-0.5, -0.5, 0.0, 0.0],
        [0.5, 0, 0, 0, 1.0, 0, 0, 0, 0, 0, 0, 0],
        id="equal and negative",
    ),
]


@pytest.mark.parametrize(("x", "y", "expected"), EDGES)
def test_conventions_at_the_edges(x: Vector, y: Vector, expected: Sequence[float]) -> None:
    found = [float(m.compute(np.array([x]), np.array([y]))[0]) for m in MEASURES]
    np.testing.assert_allclose(found, expected, atol=CLOSE)
    np.testing.assert_allclose([function(x, y) for function in LITERAL], expected, atol=CLOSE)


def test_blocks_give_what_all_pairs_at_once_give(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = np.maximum(0, rng.normal(size=(30, DIMS))).astype(np.float32)
    pairs = rng.integers(30, size=(101, 2))
    told: list[int] = []
    whole = measure_pairs(rows, pairs, on_progress=told.append)
    assert told == [101]
    expected = np.stack(
        [
            m.compute(rows[pairs[:, 0]].astype(float), rows[pairs[:, 1]].astype(float))
            for m in MEASURES
        ],
        axis=1,
    )
    np.testing.assert_array_equal(whole, expected)
    monkeypatch.setattr("featx.tasks.similarity._measures._BLOCK", 4 * DIMS)
    told.clear()
    # NumPy adds up a row alone and a row among others in different orders.
    np.testing.assert_allclose(
        measure_pairs(rows, pairs, on_progress=told.append), whole, rtol=CLOSE
    )
    assert told == [*range(4, 101, 4), 101]


def test_rows_wider_than_a_block_are_taken_a_pair_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("featx.tasks.similarity._measures._BLOCK", 8)
    rows = np.eye(3, 20, dtype=np.float32)
    found = measure_pairs(rows, np.array([[0, 0], [0, 1], [2, 1]]))
    np.testing.assert_allclose(found[:, 0], [1, 0, 0])
    np.testing.assert_allclose(found[:, 8], [0, math.sqrt(2), math.sqrt(2)])


def test_memory_is_the_rows_and_a_few_blocks() -> None:
    import tracemalloc

    rows = np.zeros((40, 25088), np.float32)
    pairs = np.random.default_rng(0).integers(40, size=(300, 2))
    tracemalloc.start()
    measure_pairs(rows, pairs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The pairs' rows in float64 are 120 MB; a block's are 4 MB, and some ten arrays of its size are alive at once.
    assert peak < 40e6


def test_measures_are_finite_for_whatever_is() -> None:
    rng = np.random.default_rng(1)
    rows = np.concatenate(
        [
            rng.normal(size=(5, 6)),
            np.zeros((1, 6)),
            1e-38 * rng.random((2, 6)),
            1e15 * rng.normal(size=(2, 6)),
        ]
    )
    pairs = np.stack(np.meshgrid(np.arange(10), np.arange(10)), axis=-1).reshape(-1, 2)
    assert np.isfinite(measure_pairs(rows.astype(np.float32), pairs)).all()


def test_negative_entries_are_counted() -> None:
    assert negatives(np.array([[-1, 0, 2], [0, -0.0, -3]], np.float32)) == 2


def test_the_table_has_the_papers_rows_in_order() -> None:
    assert [m.name for m in MEASURES] == [function.__name__ for function in LITERAL]
    assert len({m.formula for m in MEASURES}) == 12
