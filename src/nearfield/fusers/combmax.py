"""CombMAX: the best score that any list gives a row.

Use it where each list knows another part of the data, so that absence from a list says nothing.

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
class CombMax(Fuser):
    """The largest score of each row after ``norm``.

    >>> import numpy as np
    >>> runs = [(np.array([4, 1, 3]), np.array([9.0, 8.0, 5.0])), (np.array([1, 2]), np.array([0.9, 0.1]))]
    >>> CombMax().fuse(runs, k=2)[0].tolist()
    [1, 4]
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
        """The largest over the lists that hold a row."""
        return np.asarray(np.nanmax(fusion.normalised(table, self.norm), axis=0))
