"""Rank-biased centroid: ranks weighted as by a reader who goes on with a fixed probability.

Use it where how far down a result is read is known: ``persistence`` is the share of readers that go on to the
next result.

paper: Bailey, Moffat, Scholer, Thomas, 2017, doi:10.1145/3077136.3080839
needs: numpy
status: experimental
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np

from nearfield.core.fusers import F64, Fuser, Table
from nearfield.core.params import Range
from nearfield.numerics import fusion


@dataclass
class Rbc(Fuser):
    """Sums of ``(1 - persistence) * persistence**(rank - 1)`` over the lists that hold a row.

    >>> import numpy as np
    >>> runs = [(np.array([4, 1, 3]), np.array([9.0, 8.0, 5.0])), (np.array([1, 2]), np.array([0.9, 0.1]))]
    >>> Rbc(persistence=0.5).fuse(runs, k=2)[1].tolist()
    [0.75, 0.5]
    """

    persistence: Annotated[float, Range(0.01, 0.99)] = 0.9

    @classmethod
    def examples(cls) -> list[Self]:
        """A patient reader and a hasty one."""
        return [cls(), cls(persistence=0.5)]

    def combine(self, table: Table) -> F64:
        """The sum of the readers' weights."""
        weights = (1 - self.persistence) * self.persistence ** (table.ranks - 1.0)
        return fusion.total(np.where(table.held, weights, 0.0))
