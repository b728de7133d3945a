"""Projections that keep the dot products between queries and rows (LeanVec, arXiv:2312.16335).

With second moments ``K`` (queries) and ``L`` (rows), the loss of a pair of projections ``A``, ``B``,
each ``[d, dim]``, is the mean squared error of ``<A' q, B' x>``::

    f(A, B) = E (q' A B' x - q' x)^2 = tr((A B' - I) L (A B' - I)' K)
"""

from __future__ import annotations

import numpy as np

from nearfield.numerics import spectra
from nearfield.numerics.spectra import F64

MOST_STEPS = 500
TOLERANCE = 1e-3  # stop where a round lowers the loss by less than this share
DECAY = 0.999  # the step at round t is (t + 2) ** -DECAY; the authors begin at 1, from zero: a larger loss here


def loss(queries: F64, rows: F64, a: F64, b: F64) -> float:
    """The mean squared error of the dot products, from second moments ``[d, d]``."""
    gap = a @ b.T - np.eye(len(a))
    return float(np.einsum("ij,ij->", gap @ rows, queries @ gap))


def eigen_search(queries: F64, rows: F64, dim: int, *, steps: int = 24) -> F64:
    """Directions ``[d, dim]`` of the best mixture of both second moments, for both sides.

    Golden-section search over the share of the queries' moment; both are scaled to trace one.
    """
    asked, held = queries / max(np.trace(queries), 1e-30), rows / max(np.trace(rows), 1e-30)

    def basis(share: float) -> F64:
        return spectra.leading(share * asked + (1 - share) * held, dim)[1]

    def value(share: float) -> float:
        p = basis(share)
        return loss(queries, rows, p, p)

    ratio = (np.sqrt(5) - 1) / 2
    low, high = 0.0, 1.0
    left, right = 1 - ratio, ratio
    at_left, at_right = value(left), value(right)
    best = min((value(0.0), 0.0), (value(1.0), 1.0), (at_left, left), (at_right, right))
    for _ in range(steps):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = value(left)
            best = min(best, (at_left, left))
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = value(right)
            best = min(best, (at_right, right))
        if high - low < 1e-3:
            break
    return basis(best[1])


def frank_wolfe(queries: F64, rows: F64, dim: int, start: F64 | None = None) -> tuple[F64, F64]:
    """Separate projections ``(A, B)``, each ``[d, dim]``, by alternating Frank-Wolfe steps.

    The orthogonality of the columns is relaxed to a spectral norm of at most one, the convex hull; its
    extreme point against a gradient ``G = U S V'`` is ``-U V'``. Starts from each side's own leading
    directions, turned to agree, unless ``start`` is given for both.
    """
    a, b = _own_directions(queries, rows, dim) if start is None else (start, start)
    best = (loss(queries, rows, a, b), a, b)
    before = best[0]
    for t in range(MOST_STEPS):
        step = (t + 2) ** -DECAY
        a = a + step * (_extreme(_slope(queries, rows, a, b)) - a)
        b = b + step * (_extreme(_slope(rows, queries, b, a)) - b)
        now = loss(queries, rows, a, b)
        if now < best[0]:
            best = (now, a, b)
        if t and abs(before - now) <= TOLERANCE * before:
            break
        before = now
    return best[1], best[2]


def _slope(mine: F64, other: F64, a: F64, b: F64) -> F64:
    """Half the gradient of the loss by ``a``."""
    image = other @ b
    return mine @ (a @ (b.T @ image) - image)


def _extreme(slope: F64) -> F64:
    u, _, v = np.linalg.svd(slope, full_matrices=False)
    return np.asarray(-u @ v)


def _own_directions(queries: F64, rows: F64, dim: int) -> tuple[F64, F64]:
    b = spectra.leading(rows, dim)[1]
    a = spectra.leading(queries, dim)[1]
    u, _, v = np.linalg.svd(a.T @ b)
    return a @ (u @ v), b
