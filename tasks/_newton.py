"""Many linear SVMs on the same rows at once: Newton's method, so that all classes share each product with the rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from featx.errors import FeatxError
from tasks._threads import one_thread_if_small

Floats = npt.NDArray[np.float64]

# How far the functions may lie from the exact ones, in shares of their norm.
TOLERANCE = 1e-5
# What float64 leaves of a gradient that is zero, in shares of the first one.
_ROUNDING = 1e-13
# Products with the rows that it takes, roughly: what matters is whether the whole is small.
_PRODUCTS = 20
_MOST_STEPS = 100
_MOST_INNER = 500
_MOST_HALVINGS = 40
# A slope that ends the search along a step, in shares of the slope at its beginning.
_FLAT = 0.01


def squared_hinge(rows: Floats, signs: Floats, *, C: float) -> tuple[Floats, Floats]:
    """Return the minimisers of (|w|² + b²) / 2 + C · Σ max(0, 1 − y (w·x + b))², LIBLINEAR's objective, for K sets of signs.

    rows: (N, D). signs: (N, K), each 1 or −1. Returns (D, K) and (K,). The objective is strongly convex with modulus 1, so that
    a point's distance from the minimiser is at most its gradient's norm: it ends where that is TOLERANCE of the point's own.
    Newton's steps on where the hinge is open (Keerthi and DeCoste, JMLR 6, 2005), solved by conjugate gradients.
    Raises FeatxError where it does not end.
    """
    with one_thread_if_small(_PRODUCTS * rows.size * signs.shape[1]):
        return _minimised(rows, signs, C=C)


def _minimised(rows: Floats, signs: Floats, *, C: float) -> tuple[Floats, Floats]:
    n_dims, n_sets = rows.shape[1], signs.shape[1]
    w, b = np.zeros((n_dims, n_sets)), np.zeros(n_sets)
    left = np.arange(n_sets)  # those that have not ended
    margins = np.zeros_like(signs)  # w·x + b
    first: Floats | None = None
    for _ in range(_MOST_STEPS):
        y = signs[:, left]
        errors = np.where(y * margins < 1, margins - y, 0.0)
        grad_w, grad_b = w[:, left] + 2 * C * (rows.T @ errors), b[left] + 2 * C * errors.sum(axis=0)
        norms = _norms(grad_w, grad_b)
        first = norms if first is None else first
        small = np.maximum(TOLERANCE * np.maximum(1.0, _norms(w[:, left], b[left])), _ROUNDING * first[left])
        going = norms > small
        if not going.any():
            return w, b
        left, y, margins = left[going], y[:, going], margins[:, going]
        grad_w, grad_b, norms = grad_w[:, going], grad_b[going], norms[going]
        # Ever more exact steps, for the last ones to land on the minimum.
        goal = np.maximum(norms * np.minimum(0.1, np.sqrt(norms / first[left])), 0.3 * small[going])
        opened = (y * margins < 1).astype(np.float64)
        step_w, step_b, moved = _newton_step(rows, opened, grad_w, grad_b, C=C, goal=goal)
        length = _line_search(y, margins, moved, (w[:, left], b[left]), (step_w, step_b), C=C)
        w[:, left] += length * step_w
        b[left] += length * step_b
        margins = margins + length * moved
    raise FeatxError(
        f"the linear SVM has not ended after {_MOST_STEPS} steps with C {C:g}: give a smaller C, or features of smaller range"
    )


def _newton_step(
    rows: Floats, opened: Floats, grad_w: Floats, grad_b: Floats, *, C: float, goal: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return steps (D, K) and (K,), and what they change the margins by, (N, K): conjugate gradients to residuals of `goal`."""
    step_w, step_b, moved = np.zeros_like(grad_w), np.zeros_like(grad_b), np.zeros_like(opened)
    rest_w, rest_b = -grad_w, -grad_b
    way_w, way_b = rest_w.copy(), rest_b.copy()
    square = _dots(rest_w, rest_b, rest_w, rest_b)
    for _ in range(_MOST_INNER):
        going = np.sqrt(square) > goal
        if not going.any():
            break
        along = rows @ way_w + way_b
        weighted = opened * along
        turned_w, turned_b = way_w + 2 * C * (rows.T @ weighted), way_b + 2 * C * weighted.sum(axis=0)
        size = np.where(going, square / np.maximum(_dots(way_w, way_b, turned_w, turned_b), np.finfo(float).tiny), 0.0)
        step_w += size * way_w
        step_b += size * way_b
        moved += size * along
        rest_w -= size * turned_w
        rest_b -= size * turned_b
        following = _dots(rest_w, rest_b, rest_w, rest_b)
        share = np.where(going, following / np.maximum(square, np.finfo(float).tiny), 0.0)
        way_w = rest_w + share * way_w
        way_b = rest_b + share * way_b
        square = following
    return step_w, step_b, moved


def _line_search(
    y: Floats, margins: Floats, moved: Floats, at: tuple[Floats, Floats], step: tuple[Floats, Floats], *, C: float
) -> Floats:
    """Return the share of each step to take, (K,): all of it, unless the objective rises again before; then to its lowest."""
    square, start = _dots(*step, *step), _dots(*at, *step)

    def slope(length: Floats) -> Floats:
        reached = margins + length * moved
        errors = np.where(y * reached < 1, reached - y, 0.0)
        return np.asarray(start + length * square + 2 * C * np.einsum("nk,nk->k", errors, moved))

    low, high = np.zeros(y.shape[1]), np.ones(y.shape[1])
    flat = _FLAT * np.abs(slope(low))
    length = high.copy()
    for _ in range(_MOST_HALVINGS):
        now = slope(length)
        above, below = now > flat, (now < -flat) & (length < 1)
        if not (above | below).any():
            break
        high, low = np.where(above, length, high), np.where(below, length, low)
        length = np.where(above | below, (low + high) / 2, length)
    return np.asarray(length)


def _dots(a_w: Floats, a_b: Floats, b_w: Floats, b_b: Floats) -> Floats:
    return np.asarray(np.einsum("dk,dk->k", a_w, b_w) + a_b * b_b)


def _norms(w: Floats, b: Floats) -> Floats:
    return np.asarray(np.sqrt(_dots(w, b, w, b)))
