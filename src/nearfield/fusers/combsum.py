"""CombSUM: add up the scores of each row, put on one scale.

The plain choice where scores say more than ranks: a clear winner of one list stays one. A list that lacks a
row adds nothing, so rows that several lists hold gain.

paper: Fox and Shaw, 1994, Combination of Multiple Searches (TREC-2)
needs: numpy
status: experimental
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

from nearfield.core.fusers import F64, Fuser, Table
from nearfield.core.params import OneOf
from nearfield.numerics import fusion


@dataclass
class CombSum(Fuser):
    """Sums of scores after ``norm``.

    >>> import numpy as np
    >>> words = (np.array([4, 1, 3]), np.array([9.0, 8.0, 5.0]))
    >>> vectors = (np.array([1, 2]), np.array([0.9, 0.1]))
    >>> rows, scores = CombSum().fuse([words, vectors], k=2)
    >>> rows.tolist(), scores.tolist()
    ([1, 4], [1.75, 1.0])
    """

    norm: Annotated[str, OneOf(*fusion.NORMS)] = "minmax"

    @classmethod
    def examples(cls) -> list[Self]:
        """Every way to put scores on one scale."""
        return [cls(), *(cls(norm=norm) for norm in fusion.NORMS[1:])]

    @property
    def affine(self) -> bool:
        """Unless scores are taken as they are."""
        return self.norm != "none"

    def combine(self, table: Table) -> F64:
        """The sum over the lists that hold a row."""
        return fusion.total(fusion.normalised(table, self.norm))
