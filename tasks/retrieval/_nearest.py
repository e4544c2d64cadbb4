"""What in an index is nearest to a row, and how well an index of cells finds it."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np

from featx.tasks.retrieval import _faiss
from featx.tasks.retrieval._folder import Recall
from featx.tasks.retrieval._rows import Floats, Ints, Rows, Stored

# Recall is of so many clips, as a search's default shows.
AT = 10
QUERIES = 100
# A search looks into as few cells as give this recall on the file's own clips.
ENOUGH = 0.98
# Codes are of a byte a number: so many times the rows that are wanted are taken by their codes, and compared by the rows.
REFINE = 8
LEAST = 64
SEED = 1


class Nearest:
    """Finds rows nearest to a query: exhaustively, or in the cells of faiss's index, compared by the rows themselves.

    cells: faiss's index, None for an exhaustive search; probes: how many cells to look into.
    """

    def __init__(self, stored: Stored, cells: Any = None, *, probes: int = 0) -> None:
        self._stored, self._cells, self._probes = stored, cells, probes

    def __call__(
        self, query: Rows, fetch: int, without: Sequence[tuple[int, int]] = ()
    ) -> tuple[Floats, Ints, bool]:
        """Return the cosines and numbers of `fetch` rows, best first, and whether there are no others.

        query: (D,), of length 1. without: stretches of rows to leave out.
        """
        there = len(self._stored) - sum(end - start for start, end in without)
        fetch = min(fetch, there)
        if fetch < 1:
            return np.empty(0), np.empty(0, np.int64), True
        numbers = (
            self._exact(query, fetch, without)
            if self._cells is None
            else self._in_cells(query, fetch, without)
        )
        cosines = self._stored.cosines(numbers, query.astype(np.float64))
        order = np.argsort(-cosines, kind="stable")
        return cosines[order], numbers[order], len(numbers) >= there

    def _exact(self, query: Rows, fetch: int, without: Sequence[tuple[int, int]]) -> Ints:
        """Return the numbers of the rows nearest to a query by float32 products, in no order."""
        products = np.empty(0, np.float32)
        numbers = np.empty(0, np.int64)
        for first, rows in self._stored.blocks(without):
            products = np.concatenate([products, rows @ query])
            numbers = np.concatenate([numbers, np.arange(first, first + len(rows))])
            if len(numbers) > fetch:
                best = np.argpartition(products, len(products) - fetch)[-fetch:]
                products, numbers = products[best], numbers[best]
        return numbers

    def _in_cells(self, query: Rows, fetch: int, without: Sequence[tuple[int, int]]) -> Ints:
        probes = self._probes
        with _faiss.one_thread():
            while True:
                numbers = _faiss.cells_search(
                    self._cells, query[None], fetch, probes=probes, without=without
                )[1][0]
                numbers = numbers[numbers >= 0]
                if len(numbers) == fetch or probes >= self._cells.nlist:
                    return np.asarray(numbers, np.int64)
                probes = min(4 * probes, self._cells.nlist)


def measured(stored: Stored, cells: Any, firsts: Ints) -> tuple[int, Recall]:
    """Return how many cells to look into, and the recall that gives, against plain products with all rows.

    firsts: (V + 1,) the first row of each video. The queries are clips of the file, the same ones every time, and each one's
    own video is left out, as in a search. A row as near as the last of the true ones counts as one of them.
    """
    queries = np.sort(
        np.random.default_rng(SEED).choice(len(stored), min(QUERIES, len(stored)), replace=False)
    )
    rows = stored.take(queries)
    own = _own(queries, firsts)
    least = _least_true(stored, rows, own)
    probes = min(4, cells.nlist)
    while True:
        near = Nearest(stored, cells, probes=probes)
        shares, seconds = [], 0.0
        for row, stretch, (true, count) in zip(rows, own, least, strict=True):
            began = perf_counter()
            cosines, _, _ = near(row, max(LEAST, REFINE * AT), [stretch] if stretch else [])
            seconds += perf_counter() - began
            if count:
                shares.append(int((cosines[:count] >= true - 1e-5).sum()) / count)
        recall = Recall(
            at=AT,
            value=float(np.mean(shares)) if shares else 1.0,
            queries=len(queries),
            milliseconds=1000 * seconds / len(queries),
        )
        if recall.value >= ENOUGH or probes >= cells.nlist:
            return probes, recall
        probes = min(2 * probes, cells.nlist)


def _own(queries: Ints, firsts: Ints) -> list[tuple[int, int] | None]:
    """Return the rows of each query's own video; None where the file has no other."""
    if len(firsts) == 2:
        return [None] * len(queries)
    videos = np.searchsorted(firsts, queries, side="right") - 1
    return [(int(firsts[v]), int(firsts[v + 1])) for v in videos]


def _least_true(
    stored: Stored, rows: Rows, own: Sequence[tuple[int, int] | None]
) -> list[tuple[float, int]]:
    """Return for each query the cosine of the last of the AT rows nearest to it, and how many of them there are."""
    best = np.full((len(rows), AT), -np.inf, np.float32)
    for first, block in stored.blocks():
        cosines = rows @ block.T
        for place, stretch in enumerate(own):
            if stretch is not None:
                cosines[place, max(0, stretch[0] - first) : max(0, stretch[1] - first)] = -np.inf
        both = np.concatenate([best, cosines], axis=1)
        best = np.partition(both, both.shape[1] - AT, axis=1)[:, -AT:]
    return [
        (float(row[np.isfinite(row)].min(initial=np.inf)), int(np.isfinite(row).sum()))
        for row in best
    ]
