"""Reciprocal rank fusion: add up one over the rank, with an offset.

The choice where nothing is known about the scores: it looks at ranks alone, needs no scale and no weights, and is
hard to beat without judgements.

paper: Cormack, Clarke, Büttcher, 2009, doi:10.1145/1571941.1572114
needs: numpy
status: experimental
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

from nearfield.core.fusers import F64, Fuser, Table
from nearfield.core.params import Range
from nearfield.numerics import fusion


@dataclass
class Rrf(Fuser):
    """Sums of ``1 / (offset + rank)`` over the lists that hold a row; the best of a list has rank 1.

    A small ``offset`` trusts the first places more; 60 is the paper's.

    >>> import numpy as np
    >>> runs = [(np.array([4, 1, 3]), np.array([9.0, 8.0, 5.0])), (np.array([1, 2]), np.array([0.9, 0.1]))]
    >>> rows, scores = Rrf().fuse(runs, k=2)
    >>> rows.tolist(), bool(scores[0] == 1 / 61 + 1 / 62)
    ([1, 4], True)
    """

    offset: Annotated[float, Range(0)] = 60.0

    @classmethod
    def examples(cls) -> list[Self]:
        """The paper's offset, and a small one."""
        return [cls(), cls(offset=1.0)]

    def combine(self, table: Table) -> F64:
        """The sum of reciprocal ranks."""
        return fusion.total(fusion.reciprocal_ranks(table, self.offset))
