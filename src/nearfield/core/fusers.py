"""The base of the Fuser room: several ranked lists of one query become one.

A method sees its lists as one ``Table``: a column for each row that any list holds, a line for each
list. It returns a score for each column; order, ties and length are the same for all methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nearfield.core.arrays import some
from nearfield.core.checks import whole
from nearfield.core.errors import BadInput
from nearfield.core.method import Method
from nearfield.core.protocols import I64

F64: TypeAlias = NDArray[np.float64]
# Row numbers int64 [c] and their scores [c], larger is nearer: best first, no row twice.
Ranking: TypeAlias = tuple[I64, NDArray[np.floating[Any]]]

_LARGEST = 1e100  # beyond it sums and squares leave float64's range: such a score counts as infinite


@dataclass(frozen=True)
class Table:
    """The lists of one query side by side: ``r`` lists over the ``u`` rows that any of them holds.

    ``rows`` int64 ``[u]``, ascending; ``scores`` float64 ``[r, u]``, NaN where a list lacks the row;
    ``ranks`` int64 ``[r, u]``, 1 for the best of a list and 0 where it lacks the row; ``sizes`` int64 ``[r]``.
    """

    rows: I64
    scores: F64
    ranks: I64
    sizes: I64

    @property
    def held(self) -> NDArray[np.bool_]:
        """Which list holds which row, ``[r, u]``."""
        return self.ranks > 0

    def best(self, scores: F64, k: int) -> Ranking:
        """The ``k`` columns with the largest scores, best first; equal scores go to the smaller row number."""
        order = np.argsort(-scores, kind="stable")[:k]
        return self.rows[order], scores[order]


@dataclass
class Fuser(Method):
    """Merges ranked lists of one query, from several fields, searches or models, into one.

    Empty lists are allowed. Row numbers below zero are what ``Hits`` pads with, and are left out. Infinite
    scores (beyond 1e100) count as one spread of the list's finite scores above or below them.
    """

    # Whether the order in which the lists come makes no difference.
    symmetric: ClassVar[bool] = True
    # The best row of every list, where that is one row, comes first.
    unanimous: ClassVar[bool] = True

    @property
    def affine(self) -> bool:
        """Whether nothing changes when the scores of a list are all multiplied by a positive number, or shifted."""
        return True

    def fuse(self, runs: Sequence[Ranking], k: int) -> Ranking:
        """The best ``k`` rows of all lists: row numbers int64 ``[c]`` and fused scores float64 ``[c]``, c <= k.

        Each list is ``(rows [n], scores [n])``, best first. Raises ``BadInput`` naming the list for NaN, for
        scores that rise and for rows that come twice.
        """
        most = whole("k", k, 1)
        table = tabulate(runs)
        return table.best(self.combine(table), most)

    def combine(self, table: Table) -> F64:
        """A score for each row of the table, float64 ``[u]``, larger is better."""
        raise TypeError(f"{type(self).__name__} must define combine")


def tabulate(runs: Sequence[Ranking]) -> Table:
    """Lay ranked lists out as one table; refuses lists that are none.

    >>> table = tabulate([(np.array([7, 2]), np.array([0.9, 0.5])), (np.array([2]), np.array([11.0]))])
    >>> table.rows.tolist(), table.ranks.tolist()
    ([2, 7], [[2, 1], [1, 0]])
    """
    if len(runs) == 0:
        raise BadInput("runs: expected at least one ranked list (rows, scores), got none")
    lists = [_checked(run, number) for number, run in enumerate(runs)]
    rows = np.unique(np.concatenate([ids for ids, _ in lists]))
    scores = np.full((len(lists), rows.size), np.nan)
    ranks = np.zeros((len(lists), rows.size), dtype=np.int64)
    for line, (ids, values) in enumerate(lists):
        places = np.searchsorted(rows, ids)
        scores[line, places] = values
        ranks[line, places] = np.arange(1, ids.size + 1)
    return Table(rows, scores, ranks, np.array([ids.size for ids, _ in lists], dtype=np.int64))


def _checked(run: Any, number: int) -> tuple[I64, F64]:
    """One list in the types of the table, without padding."""
    try:
        ids, scores = (np.asarray(part) for part in run)
    except (TypeError, ValueError):
        raise BadInput(f"run {number}: expected a pair (rows, scores), got {type(run).__name__}") from None
    if ids.ndim != 1 or ids.shape != scores.shape:
        raise BadInput(f"run {number}: expected rows [n] and scores [n], got shapes {ids.shape} and {scores.shape}")
    if ids.size and (ids.dtype.kind not in "iu" or scores.dtype.kind not in "fiu"):
        raise BadInput(f"run {number}: expected whole row numbers and real scores, got {ids.dtype} and {scores.dtype}")
    there = ids >= 0
    ids, values = ids[there].astype(np.int64), scores[there].astype(np.float64)
    if np.isnan(values).any():
        raise BadInput(f"run {number}: expected scores, got NaN at place {some(np.flatnonzero(np.isnan(values)))}")
    rises = np.flatnonzero(values[1:] > values[:-1]) + 1
    if rises.size:
        raise BadInput(f"run {number}: expected the best score first, got a rise at place {some(rises)}; sort the list")
    if np.unique(ids).size != ids.size:
        found, times = np.unique(ids, return_counts=True)
        raise BadInput(f"run {number}: expected each row once, got row {some(found[times > 1])} more often")
    return ids, _within_range(values)


def _within_range(scores: F64) -> F64:
    """The scores, infinite ones put one spread of the finite ones beyond these."""
    far = np.abs(scores) > _LARGEST
    if not far.any():
        return scores
    near = scores[~far]
    low, high = (float(near.min()), float(near.max())) if near.size else (0.0, 0.0)
    spread = high - low or 1.0
    return np.where(far, np.where(scores > 0, high + spread, low - spread), scores)
