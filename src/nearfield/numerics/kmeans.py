"""k-means: Lloyd's rounds from a k-means++ or a random start, repeatable and safe on few or equal rows.

Empty clusters take over the rows that lie farthest from their centroids. With fewer distinct rows than
centroids, the spare centroids repeat rows.

paper: Lloyd, 1982, doi:10.1109/TIT.1982.1056489; Arthur and Vassilvitskii, 2007 (k-means++)
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nearfield.core.protocols import F32
from nearfield.numerics import coding, kernels

F64: TypeAlias = NDArray[np.float64]
I32: TypeAlias = NDArray[np.int32]
Init: TypeAlias = Literal["k-means++", "rows"]

_BLOCK_ROWS = 2048
_SEED_ROWS, _SEED_PER_CENTROID = 4096, 16  # a start is drawn from so many rows: more change little


def nearest(x: F32, centroids: F32, *, threads: int | None = None) -> I32:
    """The nearest centroid ``[n]`` of each row ``[n, d]`` among ``[k, d]``, the first where equal."""
    return kernels.assign(x, centroids, threads=threads)[0]


def kmeans(
    x: F32,
    k: int,
    *,
    rng: np.random.Generator,
    rounds: int = 20,
    init: Init = "k-means++",
    threads: int | None = None,
) -> F32:
    """Centroids ``[k, d]`` of rows ``[n, d]``, from a k-means++ start or from random rows."""
    x = np.ascontiguousarray(x, dtype=np.float32)
    if init == "rows":
        return lloyd(x, _random_rows(x, k, rng), rounds=rounds, threads=threads)
    most = max(_SEED_ROWS, _SEED_PER_CENTROID * k)
    seeds = x if len(x) <= most else x[np.sort(rng.choice(len(x), most, replace=False))]
    start = kernels.plus_plus(seeds, k, rng)
    return lloyd(x, seeds[np.resize(start, k)], rounds=rounds, threads=threads)


def lloyd(x: F32, centroids: F32, *, rounds: int, threads: int | None = None) -> F32:
    """Improve centroids by Lloyd's rounds; stops early once no row changes its cluster."""
    labels: I32 | None = None
    for _ in range(rounds):
        new = nearest(x, centroids, threads=threads)
        if labels is not None and np.array_equal(new, labels):
            break
        labels = new
        centroids = update(x, labels, centroids)
    return centroids


def update(x: F32, labels: I32, centroids: F32) -> F32:
    """The mean of each cluster; an empty one moves to a row far from its own centroid."""
    k = len(centroids)
    counts = np.bincount(labels, minlength=k)
    means = coding.group_sums(x, labels, k) / np.maximum(counts, 1)[:, None]
    out = np.where(counts[:, None] > 0, means, centroids).astype(np.float32)
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        far = _farthest(x, out[labels], len(empty))
        out[empty[: len(far)]] = x[far]
    return out


def inertia(x: F32, centroids: F32) -> float:
    """The sum of squared distances from rows to their nearest centroids."""
    return float(_squares(x, centroids[nearest(x, centroids)]).sum())


def _squares(x: F32, y: F32) -> F64:
    out = np.empty(len(x))
    for start in range(0, len(x), _BLOCK_ROWS):
        gap = x[start : start + _BLOCK_ROWS].astype(np.float64) - y[start : start + _BLOCK_ROWS]
        out[start : start + len(gap)] = np.einsum("ij,ij->i", gap, gap)
    return out


def _farthest(x: F32, own: F32, count: int) -> NDArray[np.int64]:
    """Rows farthest from their centroids, no two of them equal and none of them on its centroid."""
    squares = _squares(x, own)
    order = np.argsort(-squares, kind="stable")[: 4 * count]
    order = order[squares[order] > 0]
    _, first = np.unique(x[order], axis=0, return_index=True)
    return np.asarray(order[np.sort(first)][:count])


def _random_rows(x: F32, k: int, rng: np.random.Generator) -> F32:
    chosen = rng.permutation(len(x))
    return x[np.resize(chosen, k)]
