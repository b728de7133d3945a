"""The order in which rows enter a graph: drawn, as they came, or by local intrinsic dimension.

paper: S080 (Elliott, Clark, 2024, arXiv 2405.17813); LID: Amsaleg et al. 2015
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nearfield.core.params import OneOf
from nearfield.core.protocols import F32
from nearfield.numerics import neighbours
from nearfield.numerics.byterows import ByteRows
from nearfield.numerics.linking import U32

ORDERS = OneOf("shuffled", "given", "lid", "lid-ascending")  # lid: descending
_NEAR = 32  # neighbours from which a row's dimension is estimated


def insertion(rows: ByteRows, how: str, rng: np.random.Generator) -> U32:
    """The numbers of the rows in the order in which they enter."""
    n = len(rows.values)
    if how == "given" or n < 3:
        return np.arange(n, dtype=np.uint32)
    if how == "shuffled":
        return rng.permutation(n).astype(np.uint32)
    gaps = neighbours.near_rows(rows, min(_NEAR, n - 1), rng=rng).gaps
    found = local_dimension(np.sqrt(gaps))
    return np.argsort(found if how == "lid-ascending" else -found, kind="stable").astype(np.uint32)


def local_dimension(distances: F32) -> NDArray[np.float64]:
    """The local intrinsic dimension ``[n]`` at each row, from the distances ``[n, k]`` of its neighbours, ascending.

    The maximum-likelihood estimate: how fast neighbours become more as the distance grows. Neighbours that
    coincide with the row tell nothing; where none is left, or all are as far, it is 0.

    >>> local_dimension(np.array([[1, 2, 4]], dtype=np.float32)).round(2).tolist()
    [1.44]
    """
    last = distances[:, -1:].astype(np.float64)
    there = (distances > 0) & np.isfinite(distances)
    ratio = np.where(there, distances, 1) / np.where(last > 0, last, 1)
    logs = np.where(there, np.log(np.where(ratio > 0, ratio, 1)), 0)
    total, count = -logs.sum(axis=1), there.sum(axis=1)
    return np.where(total > 0, count / np.where(total > 0, total, 1), 0.0)
