"""LeanVec: a projection learned for the queries as well as for the rows.

Where queries are distributed otherwise than rows (questions against passages, texts against images),
directions chosen from the rows alone keep what no query asks about. Given sample queries,
``kind="ood"`` keeps the dot products between the two sides. Follow it with a codec and ``rescore``.

paper: S053 (Tepper et al. 2023, arXiv:2312.16335)
needs: numpy
status: proven
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np

from nearfield.core.errors import BadInput
from nearfield.core.params import OneOf, Range
from nearfield.core.protocols import F32, Metric
from nearfield.numerics import kernels, query_aware, spectra
from nearfield.numerics.linear import LinearMap, refuse_wider


@dataclass
class LeanVec(LinearMap):
    """Projects queries by ``A`` and rows by ``B`` so that ``<A q, B x>`` approximates ``<q, x>``.

    ``kind="id"`` takes the leading directions of the rows' second moment for both (an SVD without
    centring). ``kind="ood"`` minimises the squared error of the dot products between sample queries and
    rows: ``solver="eigen"`` searches the mixture of the two second moments whose directions, shared by
    both sides, serve best (seconds); ``"frank_wolfe"`` finds separate ``A`` and ``B`` among matrices of
    spectral norm at most one (ten times as long); ``"both"`` starts the second from the first. Distances need
    one projection for both sides, so under l2 ``"ood"`` always takes the eigenvector search.
    """

    dim: Annotated[int, Range(1)]
    kind: Annotated[str, OneOf("id", "ood")] = "id"
    solver: Annotated[str, OneOf("eigen", "frank_wolfe", "both")] = "eigen"

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(dim=4), *(cls(dim=4, kind="ood", solver=s) for s in ("frank_wolfe", "eigen", "both"))]

    def fit(self, x: F32, target: F32 | None = None, *, metric: Metric = "dot", rng: np.random.Generator) -> Self:
        """Find both projections from rows ``[n, d]`` and, for ``ood``, sample queries ``[m, d]``."""
        d = x.shape[1]
        refuse_wider("leanvec", self.dim, d)
        if self.kind == "id":
            basis = spectra.principal(x, np.zeros(d), self.dim)[1]
            return self._keep(basis, basis, metric)
        if target is None or len(target) == 0:
            raise BadInput("leanvec: kind='ood' expects sample queries, got none; pass queries=, or use kind='id'")
        self.check_width(target, d)
        rows, queries = spectra.covariance(x, np.zeros(d)), spectra.covariance(target, np.zeros(d))
        shared = self.solver == "eigen" or metric == "l2"
        start = (
            None if self.solver == "frank_wolfe" and not shared else query_aware.eigen_search(queries, rows, self.dim)
        )
        if shared and start is not None:
            return self._keep(start, start, metric)
        return self._keep(*query_aware.frank_wolfe(queries, rows, self.dim, start), metric)

    def _keep(self, queries: spectra.F64, rows: spectra.F64, metric: Metric) -> Self:
        self.keep(rows.T, None, metric)
        self.query_components_ = np.ascontiguousarray(queries.T, dtype=np.float32)
        return self

    def transform_queries(self, q: F32) -> F32:
        """Project queries ``[m, d] -> [m, dim]`` by their own matrix."""
        self.need_fit()
        self.check_width(q, self.mean_.size)
        return kernels.dots(q, self.query_components_)
