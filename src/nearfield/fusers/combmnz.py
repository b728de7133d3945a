"""CombMNZ: the sum of scores, times the number of lists that hold the row.

CombSUM with more weight on agreement: use it where the lists come from searches that err differently.

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
class CombMnz(Fuser):
    """Sums of scores after ``norm``, each times the number of lists that hold the row.

    >>> import numpy as np
    >>> runs = [(np.array([4, 1, 3]), np.array([9.0, 8.0, 5.0])), (np.array([1, 2]), np.array([0.9, 0.1]))]
    >>> CombMnz().fuse(runs, k=1)[1].tolist()
    [3.5]
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
        """The sum over the lists that hold a row, times their number."""
        return fusion.total(fusion.normalised(table, self.norm)) * fusion.holders(table)
