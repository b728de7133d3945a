"""Exact nearest neighbours among rows, in blocks of bounded memory."""

from __future__ import annotations

import numpy as np

from nearfield.core.errors import BadInput
from nearfield.core.protocols import F32, I64

BLOCK_SCORES = 8 << 20  # scores held at a time


def nearest(q: F32, x: F32, k: int, *, others: bool = False) -> tuple[I64, F32]:
    """The ``k`` rows of ``x`` nearest to each query by distance, nearest first: ids ``[m, k]``, distances ``[m, k]``.

    With ``others`` the queries are the rows themselves and no row is its own neighbour.

    >>> x = np.array([[0], [1], [3]], dtype=np.float32)
    >>> nearest(x, x, 1, others=True)[0].ravel().tolist()
    [1, 0, 1]
    """
    most = len(x) - 1 if others else len(x)
    if not 0 < k <= most:
        raise BadInput(f"nearest: expected k from 1 to {most}, the rows there are, got {k}")
    squares = np.einsum("ij,ij->i", x, x)
    ids = np.empty((len(q), k), dtype=np.int64)
    far = np.empty((len(q), k), dtype=np.float32)
    step = max(1, BLOCK_SCORES // len(x))
    for start in range(0, len(q), step):
        block = q[start : start + step]
        scores = squares[None, :] - 2 * (block @ x.T)
        if others:
            rows = np.arange(len(block))
            scores[rows, start + rows] = np.inf
        found = np.argpartition(scores, k - 1, axis=1)[:, :k] if k < len(x) else np.argsort(scores, axis=1)
        values = _distances(block, x, found)
        order = np.lexsort((found, values), axis=1)
        ids[start : start + step] = np.take_along_axis(found, order, axis=1)
        far[start : start + step] = np.take_along_axis(values, order, axis=1)
    return ids, far


def _distances(q: F32, x: F32, ids: I64) -> F32:
    """Distances from each query to its rows; by differences, since products cancel where rows are near or equal."""
    out = np.empty(ids.shape, dtype=np.float32)
    for j, column in enumerate(ids.T):
        gap = q - x[column]
        out[:, j] = np.sqrt(np.einsum("ij,ij->i", gap, gap))
    return out


def fuzzy_weights(distances: F32, *, rounds: int = 32) -> F32:
    """How much each neighbour counts ``[m, k]``, rows summing to one (McInnes, Healy, Melville 2018).

    A neighbour weighs ``exp(-(distance - nearest) / width)`` with the width of each row chosen so that
    its weights, before scaling, sum to ``log2(k)``.
    """
    k = distances.shape[1]
    beyond = (distances - distances[:, :1]).astype(np.float64)
    wanted = max(np.log2(k), 1.0)
    low = np.zeros(len(distances))
    high = np.full(len(distances), np.inf)
    width = np.maximum(beyond.mean(axis=1), 1e-12)
    for _ in range(rounds):
        total = np.exp(-beyond / width[:, None]).sum(axis=1)
        above = total > wanted
        high = np.where(above, width, high)
        low = np.where(above, low, width)
        width = np.where(np.isinf(high), width * 2, (low + np.minimum(high, 1e300)) / 2)
        width = np.clip(width, 1e-12, 1e12)
    weights = np.exp(-beyond / width[:, None])
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)
