"""How many dimensions rows fill, from how far their nearest rows lie."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core import arrays
from nearfield.core.checks import whole
from nearfield.core.errors import BadInput
from nearfield.core.protocols import F32, I64, Metric
from nearfield.numerics import knn

F64 = NDArray[np.float64]
HIGHEST = 1e6  # a local dimension beyond says only that the nearest rows lie equally far


def measured_rows(x: Any, metric: Metric, most: int, rng: int | np.random.Generator) -> F32:
    """At most ``most`` rows, drawn, as float32: of unit length under cosine, without repeats.

    A row that repeats another lies at no distance from it, which is no dimension but a copy.
    """
    if metric not in ("cosine", "dot", "l2"):
        raise BadInput(f"metric: expected cosine, dot or l2, got {metric!r}: bits lie at whole distances")
    most = whole("rows", most, 3)
    batch = arrays.as_batch(x)
    n = int(batch.shape[0])
    if n <= most:
        blocks, start = [], 0
        for block in batch.blocks(arrays.block_rows(batch.shape[1])):
            blocks.append(arrays.ready(block, metric, start))
            start += len(block)
        found = np.concatenate(blocks) if blocks else np.zeros((0, batch.shape[1]), np.float32)
    else:
        picked = arrays.sample_rows(n, most, arrays.as_generator(rng))
        found = arrays.ready(batch.take(picked), metric)
    first = np.unique(found, axis=0, return_index=True)[1]
    return found if len(first) == len(found) else found[np.sort(first)]


def asked_rows(n: int, sample: int, rng: int | np.random.Generator) -> I64:
    """The rows whose surroundings are looked at: all, or so many of them, drawn."""
    size = min(whole("sample", sample, 2), n)
    return np.sort(arrays.as_generator(rng).choice(n, size=size, replace=False)).astype(np.int64)


def distances(x: F32, at: I64, k: int) -> F64:
    """Distances of some rows to their ``k`` nearest other rows, nearest first: ``[len(at), k]``."""
    if not 0 < k < len(x):
        raise BadInput(f"k: expected from 1 to {len(x) - 1}, one less than the different rows there are, got {k}")
    found = knn.nearest(x[at], x, k + 1)
    far = np.asarray(found[1], dtype=np.float64)
    own = found[0] == at[:, None]
    own[~own.any(axis=1), -1] = True  # the row itself is not among the nearest only where others lie as near
    return np.asarray(far[~own].reshape(len(at), k), dtype=np.float64)


def inverse_local(far: F64) -> F64:
    """One over the local dimension of each row, from its distances ``[m, k]``, ascending.

    The mean of ``log(farthest / distance)`` over all but the farthest (Levina, Bickel 2004); its mean over rows is
    one over the dimension of the whole (MacKay, Ghahramani 2005).
    """
    edge = far[:, -1:]
    near = np.maximum(far[:, :-1], 1e-12 * np.maximum(edge, 1e-300))
    ratios = np.log(np.maximum(edge, 1e-300) / near)
    return np.asarray(ratios.mean(axis=1), dtype=np.float64)


def local(inverse: F64) -> F64:
    """Local dimensions from their inverses."""
    return 1 / np.maximum(inverse, 1 / HIGHEST)
