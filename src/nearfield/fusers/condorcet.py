"""Condorcet fusion: a row goes before another where more lists say so.

An election by duels: use it where lists are judges of equal standing, and scores mean nothing. It takes
time in proportion to ``u log u`` duels in Python, so a few hundred rows a list.

paper: Montague and Aslam, 2002, doi:10.1145/584792.584881 (Condorcet-fuse)
needs: numpy
status: experimental
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cmp_to_key

import numpy as np

from nearfield.core.fusers import F64, Fuser, Table


@dataclass
class Condorcet(Fuser):
    """Rows sorted by duels: no row stands directly behind one that it beats.

    In each list the higher row wins, and a row that is there wins over one that is not. Duels may run in a
    circle; then the order within it depends on where sorting begins, which is the smallest row number here.
    The score of a row is its place from below.

    >>> import numpy as np
    >>> ballots = [np.array([1, 2, 3]), np.array([2, 3, 1]), np.array([2, 1, 3])]
    >>> rows, scores = Condorcet().fuse([(ballot, np.array([3.0, 2.0, 1.0])) for ballot in ballots], k=3)
    >>> rows.tolist(), scores.tolist()
    ([2, 1, 3], [3.0, 2.0, 1.0])
    """

    def combine(self, table: Table) -> F64:
        """The place of each row from below, ``u`` for the winner."""
        behind = np.where(table.held, table.ranks, table.rows.size + 1).T.tolist()

        def duel(one: int, other: int) -> int:
            return sum((a > b) - (a < b) for a, b in zip(behind[one], behind[other]))

        order = sorted(range(table.rows.size), key=cmp_to_key(duel))
        places = np.empty(table.rows.size)
        places[order] = np.arange(table.rows.size, 0, -1)
        return places
