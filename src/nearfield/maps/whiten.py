"""Whiten: decorrelates the dimensions and brings them to equal variance.

Helps vectors of language models that were not tuned contrastively, whose few large directions drown
the rest; tuned encoders rarely gain. It changes the geometry on purpose: rows and queries are both
centred and whitened, and scores no longer approximate those of the input. Follow it with
``normalize()`` to compare by cosine, as the paper does.

paper: S070 (Huang et al. 2021, arXiv:2104.01767; Kessy, Lewin, Strimmer 2018, arXiv:1512.00809;
  shrinkage: Ledoit, Wolf 2004, doi:10.1016/S0047-259X(03)00096-4)
needs: numpy
status: proven
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np

from nearfield.core.errors import BadInput, BadParameter
from nearfield.core.maps import Map
from nearfield.core.params import OneOf, Range
from nearfield.core.protocols import F32, Metric
from nearfield.numerics import kernels, spectra
from nearfield.numerics.linear import refuse_wider

FLOOR = 1e-9  # of the largest variance: below it a direction is rounding, not data


@dataclass
class Whiten(Map):
    """Whitens with the covariance of the fitted rows.

    ``kind``: ``"pca"`` turns to the principal directions (``dim`` keeps the leading ones), ``"zca"`` stays
    as near to the input as whitening can, ``"cholesky"`` lets each dimension depend on later ones only.
    ``shrinkage`` is the share of a scaled identity mixed into the covariance: 0 is plain whitening, None
    takes the estimate of Ledoit and Wolf, which matters where rows are few.
    """

    kind: Annotated[str, OneOf("pca", "zca", "cholesky")] = "pca"
    shrinkage: Annotated[float | None, Range(0, 1)] = None
    dim: Annotated[int | None, Range(1)] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dim is not None and self.kind != "pca":
            raise BadParameter(f"whiten(dim=) expects kind='pca', the one that ranks directions, got {self.kind!r}")

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(dim=3), cls(kind="zca", shrinkage=0.1), cls(kind="cholesky", shrinkage=0.0)]

    def fit(self, x: F32, target: F32 | None = None, *, metric: Metric = "dot", rng: np.random.Generator) -> Self:
        """Find mean and whitening matrix of rows ``[n, d]``; refused where the covariance has no inverse."""
        d = x.shape[1]
        if self.dim is not None:
            refuse_wider("whiten", self.dim, d)
        mean = x.mean(axis=0, dtype=np.float64)
        values, vectors = spectra.principal(x, mean, d)
        share = spectra.shrinkage(x, mean, values) if self.shrinkage is None else self.shrinkage
        values = (1 - share) * values + share * values.mean()  # a scaled identity turns no direction
        kept = d if self.dim is None else self.dim
        if not values[0] > 0 or values[kept - 1] < FLOOR * values[0]:
            rank = int((values > FLOOR * max(values[0], 1e-300)).sum()) if values[0] > 0 else 0
            raise BadInput(
                f"whiten: expected rows that vary in {kept} directions, "
                f"got {len(x)} sample{'s' * (len(x) > 1)} varying in {rank}; "
                "give shrinkage above 0, a smaller dim with kind='pca', or more rows"
            )
        self.mean_ = mean.astype(np.float32)
        self.components_ = np.ascontiguousarray(self._matrix(values, vectors, kept), dtype=np.float32)
        self.shrinkage_ = float(share)
        return self

    def _matrix(self, values: spectra.F64, vectors: spectra.F64, kept: int) -> spectra.F64:
        if self.kind == "pca":
            return np.asarray((vectors[:, :kept] / np.sqrt(values[:kept])).T)
        if self.kind == "zca":
            return np.asarray((vectors / np.sqrt(values)) @ vectors.T)
        return np.asarray(np.linalg.cholesky((vectors / values) @ vectors.T).T, dtype=np.float64)

    def transform(self, x: F32) -> F32:
        """Whiten rows ``[n, d] -> [n, dim]``; queries likewise."""
        self.need_fit()
        self.check_width(x, self.mean_.size)
        return kernels.dots(x - self.mean_, self.components_)

    def inverse(self, z: F32) -> F32:
        """Back to the input space, ``[n, dim] -> [n, d]``; what was dropped stays at the mean."""
        self.need_fit()
        back = np.linalg.pinv(self.components_.astype(np.float64)).T
        return np.asarray(z @ back + self.mean_, dtype=np.float32)
