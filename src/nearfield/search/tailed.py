"""An index over the first rows and a scan of those behind them, which came after it was built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from nearfield.core import rooms
from nearfield.core.hits import Hits
from nearfield.core.indexes import Columns, Index, check_search
from nearfield.core.protocols import F32, I64, Prepared, Rows
from nearfield.numerics import kernels


@dataclass
class Tailed(Index):
    """Finds the best of what the index finds and of every row behind."""

    def over(self, index: Index, columns: Columns, rows: Rows, indexed: int) -> Self:
        """An index, attached to the first rows, and all rows."""
        blocks = 32 if rows.interleaved else 1
        self.rows, self.indexed = rows, indexed
        self.start = indexed // blocks * blocks  # the scan begins at a block
        head = replace(rows, codes=rows.codes[: -(-indexed // blocks)], n=indexed)
        tail = replace(rows, codes=rows.codes[self.start // blocks :], n=rows.n - self.start)
        if rows.terms is not None:
            head.terms, tail.terms = rows.terms[:indexed], rows.terms[self.start :]
        self.index = index.attach(head, columns)
        self.flat: Index = rooms.load("indexes", "flat")().attach(tail, {})
        return self

    @property
    def bytes_per_row(self) -> float:
        """Those of the index."""
        return self.index.bytes_per_row

    def vectors(self, rows: I64, coded: Callable[[I64], F32]) -> F32:
        """Those that the index keeps, and of rows behind what codes tell."""
        early = rows < self.indexed
        if early.all():
            return self.index.vectors(rows, coded)
        late = coded(rows[~early])
        out = np.empty((len(rows), late.shape[1]), np.float32)
        out[~early] = late
        if early.any():
            out[early] = self.index.vectors(rows[early], coded)
        return out

    def search(
        self, q: Prepared, k: int, *, budget: int = 0, allow: NDArray[np.bool_] | None = None, depth: int = 1
    ) -> Hits:
        """The best ``k`` of both."""
        n = self.rows.n
        k = check_search(k, n, allow)
        behind = np.ones(n - self.start, np.bool_) if allow is None else allow[self.start :].copy()
        behind[: self.indexed - self.start] = False
        found = self.index.search(
            q, min(k, self.indexed), budget=budget, allow=None if allow is None else allow[: self.indexed], depth=depth
        )
        k = min(depth * k, n)
        late = self.flat.search(q, min(k, len(behind)), allow=behind)
        rows = np.where(late.rows >= 0, late.rows + self.start, -1)
        merged, scores = kernels.merge([(found.rows, found.scores), (rows, late.scores)], k)
        return Hits(merged, scores, found.scored + late.scored)
