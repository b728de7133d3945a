"""Distribution-based score fusion: scores scaled by their mean and three deviations, and added up.

Like ``combsum``, less at the mercy of a single outlier: the scale of a list comes from all of its scores.

paper: Mazzeschi, 2023, Distribution-Based Score Fusion
needs: numpy
status: experimental
"""

from __future__ import annotations

from dataclasses import dataclass

from nearfield.core.fusers import F64, Fuser, Table
from nearfield.numerics import fusion


@dataclass
class Dbsf(Fuser):
    """Sums of scores after ``sigma3``: 0 is three standard deviations below a list's mean, 1 three above.

    A list of equal scores, or of one row, counts 0.5 a row.

    >>> import numpy as np
    >>> runs = [(np.array([4, 1, 3]), np.array([9.0, 8.0, 5.0])), (np.array([1, 2]), np.array([0.9, 0.1]))]
    >>> rows, scores = Dbsf().fuse(runs, k=2)
    >>> rows.tolist(), scores.round(3).tolist()
    ([1, 4], [1.171, 0.633])
    """

    def combine(self, table: Table) -> F64:
        """The sum over the lists that hold a row."""
        return fusion.total(fusion.normalised(table, "sigma3"))
