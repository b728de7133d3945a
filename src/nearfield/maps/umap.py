"""UMAP: lays neighbours near each other in very few dimensions, for pictures and clusters.

In 2 to 8 dimensions it keeps more neighbours than PCA; with more dimensions it gains little and falls far
behind, and distances between far groups mean little: no reducer for search. UMAP itself lays out a sample
of the rows; that sample and its layout are kept as plain arrays, and any row, fitted or new, is placed at the mean
of its nearest sample rows, weighted as UMAP weighs neighbours. It is where UMAP's own transform starts
from; the optimisation that follows there is left out.

paper: S001 (McInnes, Healy, Melville 2018, arXiv:1802.03426)
needs: umap-learn, in fit only
status: proven
slow: compiles for 15 s of CPU, then optimises
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

import numpy as np

from nearfield.core import arrays
from nearfield.core.errors import BadInput
from nearfield.core.maps import Map
from nearfield.core.optional import require
from nearfield.core.params import Range
from nearfield.core.protocols import F32, Metric
from nearfield.numerics import knn
from nearfield.numerics.linear import refuse_wider

FEWEST = 5
BLOCK_ROWS = 4096


@dataclass
class UMAP(Map):
    """Lays out ``rows`` sampled rows in ``dim`` dimensions, and places others among their ``k`` nearest of them.

    ``min_dist`` is how close points may lie; ``epochs=None`` lets UMAP choose. Distances are Euclidean,
    which for rows of unit length order as cosine does; codes of a layout are scored by l2 under every metric.
    """

    euclidean: ClassVar[bool] = True
    skips: ClassVar[dict[str, str]] = {"repeatable": "UMAP promises no equal layouts over machines and threads"}

    dim: Annotated[int, Range(1)] = 2
    k: Annotated[int, Range(2)] = 15
    min_dist: Annotated[float, Range(0, 1)] = 0.1
    epochs: Annotated[int | None, Range(1)] = None
    rows: Annotated[int, Range(FEWEST)] = 10_000

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(dim=3, k=8, epochs=50)]

    def fit(self, x: F32, target: F32 | None = None, *, metric: Metric = "dot", rng: np.random.Generator) -> Self:
        """Lay out a sample of rows ``[n, d]``."""
        refuse_wider("umap", self.dim, x.shape[1])
        if len(x) < FEWEST:
            raise BadInput(f"umap: expected at least {FEWEST} rows to lay out, got {len(x)}")
        sample = np.ascontiguousarray(x[arrays.sample_rows(len(x), self.rows, rng)])
        module: Any = _module()
        layout = module.UMAP(
            n_components=self.dim,
            n_neighbors=min(self.k, len(sample) - 1),
            min_dist=self.min_dist,
            n_epochs=self.epochs,
            init="spectral" if self.dim + 1 < len(sample) // 2 else "random",
            random_state=int(rng.integers(2**31)),
            n_jobs=1,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it talks about threads and disconnected rows
            placed = layout.fit_transform(sample)
        self.sample_ = sample
        self.layout_ = np.ascontiguousarray(placed, dtype=np.float32)
        return self

    def transform(self, x: F32) -> F32:
        """Place rows ``[n, d] -> [n, dim]`` among their nearest laid-out rows; queries likewise."""
        self.need_fit()
        self.check_width(x, self.sample_.shape[1])
        out = np.empty((len(x), self.dim), dtype=np.float32)
        for start in range(0, len(x), BLOCK_ROWS):
            ids, far = knn.nearest(x[start : start + BLOCK_ROWS], self.sample_, min(self.k, len(self.sample_)))
            weights = knn.fuzzy_weights(far)
            out[start : start + BLOCK_ROWS] = np.einsum("mk,mkd->md", weights, self.layout_[ids])
        return out


def _module() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tensorflow, which only its parametric variant uses
        return require("umap", extra="umap")
