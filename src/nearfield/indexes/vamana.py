"""Vamana: one flat graph of near rows, its links pruned so that they point in different directions.

The fastest choice from some ten thousand rows on. It is walked over small codes, 4 bits a dimension say, and the short
list is scored again by a finer ``rescore`` step: ``lvq(bits=4) | vamana() | rescore(codec='lvq(bits=8)', depth=3)``.

paper: Subramanya, Devvrit, Kadekodi, Krishnaswamy, Simhadri, 2019 (DiskANN), NeurIPS
needs: native
status: experimental
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import Corrupt
from nearfield.core.hits import Hits
from nearfield.core.indexes import Columns, Index, Shapes, check_search
from nearfield.core.params import Range
from nearfield.core.protocols import F32, I64, Layout, Prepared, Progress, Rows, Vectors
from nearfield.numerics import graphs, kernels, orders

WALKED = 2.5  # a row met in a walk costs about so many rows of a scan


@dataclass
class Vamana(Index):
    """Walks a graph from row to nearer row, scoring the neighbours of each.

    ``degree`` is the number of links a row keeps (four bytes each); ``width`` how many candidates a walk holds while
    the graph is built; a link is dropped where another one leads ``alpha`` times nearer to its end.
    ``order`` is that of insertion: ``shuffled``, as ``given``, by local intrinsic dimension with the greatest first
    (``lid``) or last (``lid-ascending``); the rows where walks begin come before all. ``budget`` is the effort of a
    search that names none: about how many rows it scores.

    >>> import numpy as np, nearfield as nf
    >>> x = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)
    >>> packed = nf.Plan("float16() | vamana(degree=16)").fit(x)
    >>> packed.search(x[:3], k=1).rows[:, 0].tolist()
    [0, 1, 2]
    """

    layouts: ClassVar[frozenset[Layout]] = graphs.LAYOUTS

    degree: Annotated[int, Range(2, 1024)] = 24
    width: Annotated[int, Range(2, 100_000)] = 100
    alpha: Annotated[float, Range(1.0, 4.0)] = 1.1
    order: Annotated[str, orders.ORDERS] = "shuffled"
    budget: Annotated[int, Range(1)] = 1000

    @classmethod
    def examples(cls) -> list[Self]:
        """One of few links, one of many."""
        return [cls(degree=8, width=32), cls(degree=8, width=32, order="lid"), cls()]

    def build(self, x: Vectors, *, rng: np.random.Generator, progress: Progress | None = None) -> Columns:
        """Link rows in a drawn order, from distances of their bytes; any number of threads makes the same graph."""
        rows = graphs.ByteRows.of(x.blocks(), x.n, x.metric)
        tell = None if progress is None else lambda done, total: progress("link", done, total)
        order = None if self.order == "shuffled" else orders.insertion(rows, self.order, rng)
        graph = graphs.build(
            rows, degree=self.degree, width=self.width, alpha=self.alpha, rng=rng, order=order, progress=tell
        )
        return {"links": graph.links, "entries": graph.entries, "effort": graph.effort}

    def shapes(self, n: int) -> Shapes:
        """Links, where walks begin, and what walks of some widths cost."""
        return {
            "links": ("<u4", (n, self.degree)),
            "entries": ("<u4", (graphs.entry_count(n),)),
            "effort": ("<f4", (2, 4)),
        }

    def attach(self, rows: Rows, columns: Columns) -> Self:
        """Take up codes and links."""
        self.rows = rows
        self._finder: Any = None
        self._efforts: dict[tuple[int, int, int], int | None] = {}
        if not np.isfinite(columns["effort"]).all():
            raise Corrupt("vamana: the column 'effort' should hold finite numbers")
        self.graph = graphs.Graph(columns["links"], columns["entries"], columns["effort"])
        return self

    @property
    def bytes_per_row(self) -> float:
        """Four a link."""
        return 4.0 * self.degree

    def finder(self) -> Any:
        """What finds rows natively."""
        if self._finder is None:
            rows = self.rows
            if rows.scorer.format is None:
                raise TypeError("vamana: attached to rows without a layout")
            self._finder = self.graph.finder(rows.scorer.format, rows.codes, rows.scorer.metric, rows.terms)
        return self._finder

    def effort(self, k: int, budget: int, matches: int) -> int | None:
        """The width of the frontier, or None where every row that matches is scored instead."""
        key = (k, budget, matches)
        if key not in self._efforts:
            if len(self._efforts) > 1000:
                self._efforts.clear()
            self._efforts[key] = self._effort(k, budget or self.budget, matches)
        return self._efforts[key]

    def _effort(self, k: int, budget: int, matches: int) -> int | None:
        n = self.rows.n
        few = matches < n and matches * matches <= WALKED * budget * n
        if budget >= n or few or kernels.native() is None:
            return None
        width = max(k, self.graph.width(budget))
        return int(width * n / matches)  # as many candidates that match as there would be without a filter

    def search(self, q: Prepared, k: int, *, budget: int = 0, allow: NDArray[np.bool_] | None = None) -> Hits:
        """The best ``k`` met; every row is scored where ``budget`` covers them all or few match."""
        n = self.rows.n
        k = check_search(k, n, allow)
        matches = n if allow is None else int(np.count_nonzero(allow))
        width = self.effort(k, budget, matches)
        if width is None:
            found, scores = self._scan(q, k, allow)
            return Hits(found, scores, np.full(q.m, matches, np.int64))
        found, scores, scored = self._walk(q, k, width, allow)
        self._fill(q, k, matches, allow, found, scores, scored)
        return Hits(found, scores, scored)

    def _scan(self, q: Prepared, k: int, allow: NDArray[np.bool_] | None) -> tuple[I64, F32]:
        rows = self.rows
        if rows.scorer.format is None or q.folded is None:
            raise TypeError("vamana: attached to rows without a layout")
        return kernels.scan(rows.scorer.format, rows.codes, q.folded, q.metric, k, terms=rows.terms, allow=allow)

    def _walk(self, q: Prepared, k: int, width: int, allow: NDArray[np.bool_] | None) -> tuple[I64, F32, I64]:
        rows = self.rows
        if rows.scorer.format is None or q.folded is None:
            raise TypeError("vamana: attached to rows without a layout")
        return kernels.find(self.finder(), rows.scorer.format, q.folded, k, width, allow, rows.n, None)

    def _fill(
        self, q: Prepared, k: int, matches: int, allow: NDArray[np.bool_] | None, found: I64, scores: F32, scored: I64
    ) -> None:
        """Scan for the queries whose walk met too few rows."""
        short = np.flatnonzero((found >= 0).sum(axis=1) < min(k, matches))
        if short.size:
            found[short], scores[short] = self._scan(q.only(short), k, allow)
            scored[short] += matches
