"""Borda count: a row gets a point for every row that a list puts below it.

An election with ranked ballots: use it where lists are judges of equal standing and of about the same length.

paper: Aslam and Montague, 2001, doi:10.1145/383952.384007 (BordaFuse)
needs: numpy
status: experimental
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nearfield.core.fusers import F64, Fuser, Table
from nearfield.numerics import fusion


@dataclass
class Borda(Fuser):
    """Points over all lists: with ``u`` rows in all, the first of a list gets ``u``, the next one less.

    The rows that a list lacks share the points that it leaves over, evenly.

    >>> import numpy as np
    >>> runs = [(np.array([4, 1, 3]), np.array([9.0, 8.0, 5.0])), (np.array([1, 2]), np.array([0.9, 0.1]))]
    >>> rows, points = Borda().fuse(runs, k=4)
    >>> rows.tolist(), points.tolist()
    ([1, 4, 2, 3], [7.0, 5.5, 4.0, 3.5])
    """

    def combine(self, table: Table) -> F64:
        """The sum of points."""
        most = table.rows.size
        left = (most - table.sizes[:, None] + 1) / 2
        return fusion.total(np.where(table.held, most + 1.0 - table.ranks, left))
