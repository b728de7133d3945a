"""Rows turned by a shared matrix, so that no row's result depends on the rows beside it."""

from __future__ import annotations

import numpy as np

from nearfield.core.protocols import F32
from nearfield.numerics import kernels


def turn(x: F32, matrix: F32) -> F32:
    """``x @ matrix`` for rows ``[n, d]`` and a matrix ``[d, width]``.

    BLAS orders its sums by the shape of the block, so that the same row could round differently in another
    block and fall on the other side of a threshold; these sums keep one order. A matrix whose columns lie
    together (``numpy.asfortranarray``) is read as it lies, which counts where a single row is turned.
    """
    return kernels.dots(x, np.ascontiguousarray(matrix.T))
