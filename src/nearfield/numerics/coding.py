"""Rows to codes and back, and sums of rows: native code where it is installed, its NumPy twin otherwise.

Rows are independent of each other and of the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import BadInput
from nearfield.core.protocols import F32, U8
from nearfield.numerics import reference
from nearfield.numerics.machine import compiled, current_isa, workers_for

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]


def group_sums(x: F32, labels: I32, k: int, *, threads: int | None = None) -> F64:
    """The sums ``[k, d]`` of the rows ``[n, d]`` that bear each label, in float64 and in row order."""
    if current_isa() < 0:
        return reference.group_sums(x, labels, k)
    x, labels = np.ascontiguousarray(x, np.float32), np.ascontiguousarray(labels, np.int32)
    sums: F64 = compiled.group_sums(current_isa(), x, labels, k, workers_for(threads, x.nbytes))
    return sums


def spans(x: F32, mean: F32, *, threads: int | None = None) -> tuple[F64, F64]:
    """The least and the greatest value of each row ``[n, d]`` about the mean ``[d]``."""
    if current_isa() < 0:
        return reference.spans(x, mean)
    low, high = compiled.spans(current_isa(), np.ascontiguousarray(x), mean, workers_for(threads, x.nbytes))
    return low, high


def even_steps(
    x: F32, mean: F32, firsts: F64, lasts: F64, bits: int, cell_bits: int = 0, *, threads: int | None = None
) -> tuple[NDArray[np.uint8] | NDArray[np.uint16], F64]:
    """Rows ``[n, d]`` about the mean as numbers of even steps, each cut into ``2 ** cell_bits`` cells.

    ``firsts`` ``[n, 2]`` are the least value and the step of each row; ``lasts`` those with the cells, in which the
    numbers count. Beside the numbers stand sums ``[n, 3]``: of the squares of what they stand for, of its products
    with the mean, and of the squares of the row.
    """
    if current_isa() < 0:
        return reference.even_steps(x, mean, firsts, lasts, bits, cell_bits)
    x, workers = np.ascontiguousarray(x), workers_for(threads, x.nbytes)
    numbers, sums = compiled.even_steps(current_isa(), x, mean, firsts, lasts, bits, cell_bits, workers)
    return numbers, sums


def weighted_sums(weights: F32, rows: F32, *, threads: int | None = None) -> F32:
    """Sums ``[n, d]`` of rows ``[k, d]`` times weights ``[n, k]``; none depends on how many come with it."""
    if weights.ndim != 2 or rows.ndim != 2 or weights.shape[1] != len(rows):
        raise BadInput(f"weighted_sums: expected [n, k] and [k, d], got {weights.shape} and {rows.shape}")
    if current_isa() < 0:
        return reference.weighted_sums(weights, rows)
    weights, rows = np.ascontiguousarray(weights, np.float32), np.ascontiguousarray(rows, np.float32)
    sums: F32 = compiled.weighted_sums(current_isa(), weights, rows, workers_for(threads, rows.nbytes * len(weights)))
    return sums


@dataclass
class Grids:
    """What coordinates are brought to: the sums of the levels of each column, and where parts of their codes lie.

    ``sums`` ascend within the columns, which begin at ``starts`` ``[columns + 1]``; ``codes`` are those of the sums.
    ``pieces`` ``[p, 5]`` are in the order of columns, the lowest four bits of a code first: column, byte, shift and
    bits of each, and the first of its levels. ``inside`` is added to coordinates before they are measured.
    """

    sums: F32
    codes: NDArray[np.uint16]
    starts: NDArray[np.int64]
    pieces: I32
    inside: F64


def level_codes(columns: F32, grids: Grids, width: int, *, threads: int | None = None) -> tuple[U8, F64]:
    """Coordinates ``[columns, n]`` as codes ``[n, width]`` of the nearest sums, in the middle the lower one.

    Measures ``[2, n]`` beside them: the squared length of what a code stands for, and its product with the row.
    """
    if current_isa() < 0:
        return reference.level_codes(columns, grids.sums, grids.codes, grids.starts, grids.pieces, grids.inside, width)
    codes, measures = compiled.level_codes(
        current_isa(), np.ascontiguousarray(columns), grids.sums, grids.codes, grids.starts, grids.pieces, grids.inside,
        width, workers_for(threads, columns.nbytes),
    )  # fmt: skip
    return codes, measures


def level_values(codes: U8, pieces: I32, levels: F32, columns: int, *, threads: int | None = None) -> F32:
    """The coordinates ``[n, columns]`` that codes stand for: of each the sum of its pieces' levels."""
    if current_isa() < 0:
        return reference.level_values(codes, pieces, levels, columns)
    codes, workers = np.ascontiguousarray(codes), workers_for(threads, codes.nbytes)
    values: F32 = compiled.level_values(current_isa(), codes, pieces, levels, columns, workers)
    return values
