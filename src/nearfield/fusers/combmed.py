"""CombMED: the median of the scores that the lists give a row.

Use it with five lists or more of which some may be wide of the mark.

paper: Fox and Shaw, 1994, Combination of Multiple Searches (TREC-2)
needs: numpy
status: experimental
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np

from nearfield.core.fusers import F64, Fuser, Table
from nearfield.core.params import OneOf
from nearfield.numerics import fusion


@dataclass
class CombMed(Fuser):
    """The median score of each row after ``norm``.

    Other scales are not offered: under them the best row of one list may score below the second of another,
    and what all lists agree on would not come first.

    >>> import numpy as np
    >>> runs = [(np.array([4, 1, 3]), np.array([9.0, 8.0, 5.0])), (np.array([1, 2]), np.array([0.9, 0.1]))]
    >>> CombMed().fuse(runs, k=2)[1].tolist()
    [1.0, 0.875]
    """

    norm: Annotated[str, OneOf("minmax", "rank")] = "minmax"

    @classmethod
    def examples(cls) -> list[Self]:
        """Both ways to put scores on one scale."""
        return [cls(), cls(norm="rank")]

    def combine(self, table: Table) -> F64:
        """The median over the lists that hold a row."""
        return np.asarray(np.nanmedian(fusion.normalised(table, self.norm), axis=0))
