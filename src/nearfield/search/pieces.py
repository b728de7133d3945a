"""What a codec makes of a query for a table layout, taken apart: weights, and tables as sums of few of them.

A nibble of four signs, or one of a product code, looks at a few directions of the query only. Which these are is
found from the tables of the unit vectors: the coordinates themselves where a table takes few of them, else the
directions that span what it takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nearfield.core.protocols import F32

Tables: TypeAlias = F32  # [queries, tables, entries]
Pieces: TypeAlias = tuple[NDArray[np.int32], F32]  # sources [pieces, tables], values [pieces, tables, entries]

_MOST = 1 << 26  # numbers that the tables of all unit vectors may have
_FEW = 16  # coordinates that a table takes at most where they are taken as they are
_FLOOR = 1e-10  # of the largest share of a direction: below, it is rounding


def taken_apart(fold: Callable[[F32], list[Tables]], d: int) -> tuple[F32 | None, list[Pieces]] | None:
    """The weights' matrix ``[w, d]`` (None: the query itself), and the pieces of each kind of tables.

    None where tables are not products with the query alone, or are too many.
    """
    zero = fold(np.zeros((1, d), np.float32))
    if any(t.any() for t in zero) or d * sum(t[0].size for t in zero) > _MOST:
        return None
    unit = fold(np.eye(d, dtype=np.float32))
    takes = [(t != 0).any(axis=2).sum(axis=0) for t in unit]
    if all(count.max(initial=0) <= _FEW for count in takes):
        return None, [_of_coordinates(t, int(count.max(initial=1))) for t, count in zip(unit, takes)]
    directions: list[F32] = []
    made = [_of_directions(t, directions) for t in unit]
    return np.ascontiguousarray(np.concatenate(directions)), made


def folded(z: F32, pieces: Pieces) -> Tables:
    """The tables of queries whose weights are ``z`` ``[m, w]``."""
    sources, values = pieces
    return np.asarray(np.einsum("mpt,pte->mte", z[:, sources], values), np.float32)


def _of_coordinates(unit: Tables, most: int) -> Pieces:
    """Each table as a sum over the coordinates that it takes."""
    most = max(most, 1)
    sources = np.argsort(~(unit != 0).any(axis=2), axis=0, kind="stable")[:most]
    values = np.take_along_axis(unit, sources[:, :, None], axis=0)
    return sources.astype(np.int32), np.ascontiguousarray(values, np.float32)


def _of_directions(unit: Tables, directions: list[F32]) -> Pieces:
    """Each table as a sum over directions of its own, which are added to those that there are."""
    start = sum(map(len, directions))
    found: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    for table in unit.transpose(1, 0, 2).astype(np.float64):
        shares, basis = np.linalg.eigh(table.T @ table)
        basis = basis[:, shares > max(_FLOOR * shares[-1], 0)] if shares[-1] > 0 else basis[:, :0]
        found.append(((table @ basis).T, basis.T))
    most = max((len(b) for _, b in found), default=0)
    sources = np.zeros((max(most, 1), len(found)), np.int32)
    values = np.zeros((max(most, 1), len(found), unit.shape[2]), np.float32)
    for t, (own, basis) in enumerate(found):
        sources[: len(basis), t] = start + np.arange(len(basis))
        values[: len(basis), t] = basis
        directions.append(own.astype(np.float32))
        start += len(basis)
    if not found:
        directions.append(np.zeros((0, unit.shape[0]), np.float32))
    return sources, values
