"""Inverse square rank: add up one over the squared rank, times the number of lists.

Between ranks and CombMNZ: the first places count far more than later ones, and agreement counts.

paper: Mourão, Martins, Magalhães, 2015, doi:10.1016/j.compmedimag.2014.05.006
needs: numpy
status: experimental
"""

from __future__ import annotations

from dataclasses import dataclass

from nearfield.core.fusers import F64, Fuser, Table
from nearfield.numerics import fusion


@dataclass
class Isr(Fuser):
    """Sums of ``1 / rank**2``, each times the number of lists that hold the row.

    >>> import numpy as np
    >>> runs = [(np.array([4, 1, 3]), np.array([9.0, 8.0, 5.0])), (np.array([1, 2]), np.array([0.9, 0.1]))]
    >>> Isr().fuse(runs, k=2)[1].tolist()
    [2.5, 1.0]
    """

    def combine(self, table: Table) -> F64:
        """The sum of inverse squared ranks times the number of lists."""
        return fusion.total(fusion.reciprocal_ranks(table, 0) ** 2) * fusion.holders(table)
