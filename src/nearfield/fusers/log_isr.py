"""Logarithmic inverse square rank: as ``isr``, agreement counted by its logarithm.

Use it with many lists, where ``isr`` would let the number of lists decide alone.

paper: Mourão, Martins, Magalhães, 2015, doi:10.1016/j.compmedimag.2014.05.006
needs: numpy
status: experimental
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

import numpy as np

from nearfield.core.fusers import F64, Fuser, Table
from nearfield.core.params import Range
from nearfield.numerics import fusion


@dataclass
class LogIsr(Fuser):
    """Sums of ``1 / rank**2``, each times ``log(lists that hold the row + sigma)``.

    ``sigma`` keeps rows of a single list apart; with 0 (the published logISR) these all score 0.

    >>> import numpy as np
    >>> runs = [(np.array([4, 1, 3]), np.array([9.0, 8.0, 5.0])), (np.array([1, 2]), np.array([0.9, 0.1]))]
    >>> LogIsr(sigma=0.0).fuse(runs, k=3)[0].tolist()
    [1, 2, 3]
    """

    skips: ClassVar[dict[str, str]] = {"one list": "with sigma=0, as published, all rows of a single list score 0"}

    sigma: Annotated[float, Range(0, 1)] = 0.01

    @classmethod
    def examples(cls) -> list[Self]:
        """Both published forms: logN_ISR and logISR."""
        return [cls(), cls(sigma=0.0)]

    def combine(self, table: Table) -> F64:
        """The sum of inverse squared ranks times the logarithm of the number of lists."""
        agreement = np.log(fusion.holders(table) + self.sigma)
        return np.asarray(fusion.total(fusion.reciprocal_ranks(table, 0) ** 2) * agreement)
