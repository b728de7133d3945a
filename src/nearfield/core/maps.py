"""The base of the Map room: vectors to vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from nearfield.core.errors import BadInput
from nearfield.core.method import Method
from nearfield.core.protocols import F32, Kind, Metric


@dataclass
class Map(Method):
    """Vectors to vectors; queries may be treated differently from rows.

    ``fit`` gets the float32 rows (a sample of them where they do not fit in memory) and, as
    ``target``, sample queries where there are any. ``metric`` is what the results are scored by,
    ``dot`` or ``l2`` (cosine rows arrive with unit length, as ``dot``). Under ``dot`` a Map may use
    that a shift of all scores of one query changes nothing: PCA projects queries without centring,
    and reports the shift as ``query_bias`` so that scores stay true.
    """

    takes: ClassVar[Kind] = "dense"
    gives: ClassVar[Kind] = "dense"
    euclidean: ClassVar[bool] = False  # whether its results are near by l2 under whatever metric the input is

    def fit(self, x: F32, target: F32 | None = None, *, metric: Metric = "dot", rng: np.random.Generator) -> Self:
        """Learn from rows ``[n, d]``."""
        raise TypeError(f"{type(self).__name__} must define fit")

    @property
    def streams(self) -> bool:
        """Whether it is fitted on every row by ``fit_blocks``, in bounded memory, rather than on a sample."""
        return False

    def fit_blocks(
        self, blocks: Callable[[], Iterator[F32]], *, metric: Metric = "dot", rng: np.random.Generator
    ) -> Self:
        """Learn from all rows of a re-iterable stream of blocks; called where ``streams`` is true."""
        raise TypeError(f"{type(self).__name__} streams and must define fit_blocks")

    def transform(self, x: F32) -> F32:
        """Map rows ``[n, d] -> [n, width]``."""
        raise TypeError(f"{type(self).__name__} must define transform")

    def transform_queries(self, q: F32) -> F32:
        """Map queries ``[m, d] -> [m, width]``; the same as rows unless the Map says otherwise."""
        return self.transform(q)

    def query_bias(self, q: F32) -> F32 | None:
        """What to add to every score of a query ``[m]`` so that it approximates the input's score."""
        return None

    def check_width(self, x: Any, expected: int) -> None:
        """Refuse rows of another width than those that were fitted."""
        if x.shape[1] != expected:
            raise BadInput(f"{self.name()}: expected rows of width {expected}, as fitted, got {x.shape[1]}")
