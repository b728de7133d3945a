"""CombMIN: the worst score that any list gives a row.

Distrusts praise: a row that one list puts low stays low. Lists that lack the row have no say.

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
class CombMin(Fuser):
    """The smallest score of each row after ``norm``.

    Other scales are not offered: under them the best row of one list may score below the second of another,
    and what all lists agree on would not come first.

    >>> import numpy as np
    >>> runs = [(np.array([4, 1, 3]), np.array([9.0, 8.0, 5.0])), (np.array([1, 2]), np.array([0.9, 0.1]))]
    >>> CombMin().fuse(runs, k=2)[1].tolist()
    [1.0, 0.75]
    """

    norm: Annotated[str, OneOf("minmax", "rank")] = "minmax"

    @classmethod
    def examples(cls) -> list[Self]:
        """Both ways to put scores on one scale."""
        return [cls(), cls(norm="rank")]

    def combine(self, table: Table) -> F64:
        """The smallest over the lists that hold a row."""
        return np.asarray(np.nanmin(fusion.normalised(table, self.norm), axis=0))
