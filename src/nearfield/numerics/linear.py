"""What the linear Maps share: rows ``W (x - mu)``, queries ``W q`` under dot, and the mean's share of the scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import BadInput
from nearfield.core.maps import Map
from nearfield.core.protocols import F32, Metric
from nearfield.numerics import kernels


def refuse_wider(name: str, dim: int, d: int) -> None:
    """Refuse to give more dimensions than the rows have."""
    if dim > d:
        raise BadInput(f"{name}: dim={dim} is more than the {d} dimensions of the rows; give at most {d}")


@dataclass
class LinearMap(Map):
    """A Map whose rows are ``W (x - mu)``.

    With orthonormal ``W``, ``<q, x> = <q, mu> + <W q, W (x - mu)>`` but for what was dropped, so under
    dot the queries are projected without centring and ``<q, mu>`` is the bias of their scores. Under l2
    both sides are shifted alike.
    """

    def keep(self, components: NDArray[Any], mean: NDArray[Any] | None, metric: Metric) -> None:
        """Take up ``W [dim, d]`` and the mean ``[d]`` (None: no centring)."""
        self.components_ = np.ascontiguousarray(components, dtype=np.float32)
        self.mean_ = np.zeros(components.shape[1], np.float32) if mean is None else mean.astype(np.float32)
        self.centred_ = bool(self.mean_.any())
        self.shifted_queries_ = self.centred_ and metric == "l2"

    def transform(self, x: F32) -> F32:
        """Centre and project rows ``[n, d] -> [n, dim]``."""
        self.need_fit()
        self.check_width(x, self.mean_.size)
        centred = x - self.mean_ if self.centred_ else x
        return kernels.dots(centred, self.components_)

    def transform_queries(self, q: F32) -> F32:
        """Project queries ``[m, d] -> [m, dim]``; centred only under l2."""
        if self.is_fitted() and self.shifted_queries_:
            return self.transform(q)
        self.need_fit()
        self.check_width(q, self.mean_.size)
        return kernels.dots(q, self.components_)

    def query_bias(self, q: F32) -> F32 | None:
        """The mean's share of every score ``[m]``, under dot."""
        self.need_fit()
        if self.shifted_queries_ or not self.centred_:
            return None
        return np.asarray(np.einsum("ij,j->i", q, self.mean_), dtype=np.float32)
