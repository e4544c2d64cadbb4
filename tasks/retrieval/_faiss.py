"""faiss: an index of cells and one-byte codes, for rows of which an exhaustive search would take too long.

torch brings an OpenMP of its own; the two do not disturb each other, but a thread that waits in one spins on a core that
the other may need, so that what is small runs in one thread here.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from featx.system.extras import need
from featx.tasks.retrieval._rows import Floats, Ints, Rows, Stored, stretches

# Rows that an exhaustive search has to read; more go by cells. See the table in README.
EXACT_BYTES = 2 << 30
# Rows a cell for training: faiss wants 39 or more.
TRAINING = 40
ITERATIONS = 10
# Bytes of rows that cells are trained on: of wide layers fewer cells then.
TRAINING_BYTES = 512 << 20
SEED = 0


def load() -> Any:
    """Import faiss; UsageError where it is not installed."""
    need("faiss", what="an index of cells", otherwise="make the index with `exact=True`")
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # SWIG's, when Python 3.12 imports what it made
        import faiss
    return faiss


@contextmanager
def one_thread() -> Iterator[Any]:
    """Yield faiss, which computes in one thread meanwhile."""
    faiss = load()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield faiss
    finally:
        faiss.omp_set_num_threads(before)


def n_cells(n: int, dims: int) -> int:
    """Return how many cells for n rows: about 2 sqrt(n), a power of two, and no more than there are rows to train on."""
    trained = min(n, TRAINING_BYTES // (dims * 4))
    return int(
        max(1, 2 ** math.floor(math.log2(max(1.0, min(2.83 * math.sqrt(n), trained / TRAINING)))))
    )


def train(stored: Stored) -> Any:
    """Return an empty index of cells for rows like those stored: IVF, a byte a number (SQ8)."""
    faiss = load()
    n, dims = len(stored), stored.dims
    cells = n_cells(n, dims)
    sample = np.sort(
        np.random.default_rng(SEED).choice(n, min(n, max(TRAINING * cells, 1000)), replace=False)
    )
    index = faiss.index_factory(dims, f"IVF{cells},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = ITERATIONS
    index.train(stored.take(sample))
    return index


def add(index: Any, stored: Stored) -> None:
    """Add the rows that an index does not have yet."""
    first = int(index.ntotal)
    for start, end in stretches(len(stored) - first, stored.dims):
        index.add(stored.take(np.arange(first + start, first + end, dtype=np.int64)))


def cells_search(
    index: Any, queries: Rows, k: int, *, probes: int, without: Sequence[tuple[int, int]] = ()
) -> tuple[Floats, Ints]:
    """Return the cosines, (Q, k) float64, and numbers, (Q, k) int64, of the rows nearest to each query, best first.

    They are nearest by the codes in `probes` cells; the number is -1 where these have fewer rows.
    queries: (Q, D), of length 1. without: stretches of rows to leave out.
    """
    faiss = load()
    parameters = faiss.SearchParametersIVF(nprobe=probes)
    if without:
        # faiss keeps no reference to what a selector is made of: `held` does.
        held = [faiss.IDSelectorRange(start, end) for start, end in without]
        either = held[0]
        for each in held[1:]:
            either = faiss.IDSelectorOr(either, each)
            held = [*held, either]
        parameters = faiss.SearchParametersIVF(
            nprobe=probes, sel=(kept := faiss.IDSelectorNot(either))
        )
        held.append(kept)
    scores, numbers = index.search(queries, k, params=parameters)
    return scores.astype(np.float64), numbers


def write(index: Any, path: Path) -> None:
    """Write an index to a file."""
    load().write_index(index, str(path))


def read(path: Path) -> Any:
    """Read an index from a file, whose sha256 must have been checked: faiss trusts what it reads."""
    return load().read_index(str(path))
