"""Random projection: dot products kept on average by directions that look at no data.

Use it where rows change too much to fit anything, or thousands of dimensions are to be halved at
once; PCA keeps more at the same width wherever it can be fitted.

paper: S001 (Johnson, Lindenstrauss 1984; sparse: Li, Hastie, Church 2006, doi:10.1145/1150402.1150436;
  hadamard: Ailon, Chazelle 2009, doi:10.1137/060673096)
needs: numpy
status: proven
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np

from nearfield.core.maps import Map
from nearfield.core.params import OneOf, Range
from nearfield.core.protocols import F32, Metric
from nearfield.numerics import kernels, transforms
from nearfield.numerics.linear import refuse_wider


@dataclass
class RandomProjection(Map):
    """Projects onto ``dim`` random directions, scaled so that dot products come out right on average.

    ``kind``: ``"gaussian"`` directions; ``"sparse"`` ones of which one entry in ``sqrt(d)`` is not zero
    (two bits of information each, stored as one byte); ``"hadamard"``: random signs, a Walsh-Hadamard
    transform (rows padded to a power of two) and ``dim`` of its coefficients, with nothing else to store.
    """

    dim: Annotated[int, Range(1)]
    kind: Annotated[str, OneOf("gaussian", "sparse", "hadamard")] = "gaussian"

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(dim=8), cls(dim=8, kind="sparse"), cls(dim=8, kind="hadamard")]

    def fit(self, x: F32, target: F32 | None = None, *, metric: Metric = "dot", rng: np.random.Generator) -> Self:
        """Draw the directions for rows ``[n, d]``; their values play no part."""
        d = int(x.shape[1])
        refuse_wider("random_projection", self.dim, d)
        self.width_ = d
        if self.kind == "gaussian":
            self.components_ = rng.normal(scale=self.dim**-0.5, size=(self.dim, d)).astype(np.float32)
        elif self.kind == "sparse":
            signs = rng.choice(np.array([-1, 1], dtype=np.int8), size=(self.dim, d))
            self.components_ = np.where(rng.random((self.dim, d)) < d**-0.5, signs, 0).astype(np.int8)
        else:
            padded = 1 << (d - 1).bit_length()
            self.signs_ = rng.choice(np.array([-1, 1], dtype=np.int8), size=d)
            self.kept_ = np.sort(rng.choice(padded, size=self.dim, replace=False)).astype(np.int64)
        return self

    def transform(self, x: F32) -> F32:
        """Rows ``[n, d] -> [n, dim]``; queries likewise."""
        self.need_fit()
        self.check_width(x, self.width_)
        if self.kind == "hadamard":
            return self._hadamard(x)
        projected = kernels.dots(x, self.components_.astype(np.float32))
        if self.kind == "sparse":
            projected *= np.float32(self.width_**0.25 * self.dim**-0.5)
        return np.asarray(projected, dtype=np.float32)

    def _hadamard(self, x: F32) -> F32:
        padded = 1 << (self.width_ - 1).bit_length()
        wide = np.zeros((len(x), padded), dtype=np.float32)
        wide[:, : self.width_] = x * self.signs_
        scale = np.float32(np.sqrt(padded / self.dim))
        return np.ascontiguousarray(transforms.hadamard(wide)[:, self.kept_] * scale)
