"""Center: the mean taken off, so that codes spend no bits on what all rows share.

Use it before codecs that have no mean of their own. It changes no ranking: under dot the queries stay
as they are and the mean's share of a score is added back; under l2 both sides are shifted alike.

paper: none (standard)
needs: numpy
status: proven
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from nearfield.core.maps import Map
from nearfield.core.protocols import F32, Metric


@dataclass
class Center(Map):
    """Subtracts the mean of the fitted rows."""

    def fit(self, x: F32, target: F32 | None = None, *, metric: Metric = "dot", rng: np.random.Generator) -> Self:
        """Find the mean of rows ``[n, d]``."""
        self.mean_ = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.shifted_queries_ = metric == "l2"
        return self

    def transform(self, x: F32) -> F32:
        """Rows ``[n, d]`` less the mean."""
        self.need_fit()
        self.check_width(x, self.mean_.size)
        return np.asarray(x - self.mean_, dtype=np.float32)

    def transform_queries(self, q: F32) -> F32:
        """Queries ``[m, d]`` as they are; less the mean under l2."""
        self.need_fit()
        self.check_width(q, self.mean_.size)
        return self.transform(q) if self.shifted_queries_ else np.asarray(q, dtype=np.float32)

    def query_bias(self, q: F32) -> F32 | None:
        """The mean's share of every score ``[m]``, under dot."""
        self.need_fit()
        return None if self.shifted_queries_ else np.einsum("ij,j->i", q, self.mean_)

    def inverse(self, z: F32) -> F32:
        """Rows with the mean put back, ``[n, d]``."""
        self.need_fit()
        return np.asarray(z + self.mean_, dtype=np.float32)
