"""Diskgraph: a graph whose nodes stay on disk, each row beside its links; small codes in memory lead the way.

For more rows than memory holds: only the codes of the plan stay there, 4 bits a dimension say. A search reads the
blocks of the rows that it visits, several at once, and scores these by their own vectors: it needs no ``rescore`` step.

paper: Subramanya, Devvrit, Kadekodi, Krishnaswamy, Simhadri, 2019 (DiskANN), NeurIPS
needs: native
status: proven
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from nearfield.core.errors import BadInput, Corrupt
from nearfield.core.hits import Hits
from nearfield.core.indexes import Columns, Index, Shapes, check_search
from nearfield.core.params import OneOf, Range
from nearfield.core.protocols import F32, I64, U8, Layout, Prepared, Progress, Rows, Vectors
from nearfield.numerics import finders, graphs, kernels
from nearfield.numerics.byterows import ByteRows
from nearfield.numerics.finding import check_links

BLOCK = 4096  # what a disk reads at once
WALKED = 2.5  # a row met in a walk costs about so many rows of a scan
_CHECKED = 1 << 14  # nodes that are checked together


@dataclass
class DiskGraph(Index):
    """Walks a graph whose nodes are read from disk, ``beam`` at a time.

    ``degree``, ``width`` and ``alpha`` as in ``vamana``; ``values`` is the type of the vectors beside the links;
    ``cached`` nodes near the places where walks begin are kept in memory once they were read. ``budget`` is about how
    many rows are scored by their codes; with as many as there are rows all are, and those scores count. It is overshot
    by what a step of the beam meets, and cannot be fewer than where walks begin and the neighbours of the first row.
    Where that visits fewer than ``k`` nodes, the best of the others met are read as well. Rows that are added later are
    known by their codes alone, and all scored until the index is built anew.

    >>> import numpy as np, nearfield as nf
    >>> x = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)
    >>> packed = nf.Plan("lvq(bits=4) | diskgraph(degree=16)").fit(x)
    >>> packed.search(x[:3], k=1).rows[:, 0].tolist()
    [0, 1, 2]
    """

    layouts: ClassVar[frozenset[Layout]] = graphs.LAYOUTS
    swept: ClassVar[bool] = False  # its place is where rows do not fit in memory, which no sweep over few rows tells
    from_disk: ClassVar[frozenset[str]] = frozenset({"nodes"})

    degree: Annotated[int, Range(2, 1024)] = 32
    width: Annotated[int, Range(2, 100_000)] = 100
    alpha: Annotated[float, Range(1.0, 4.0)] = 1.1
    values: Annotated[str, OneOf("float16", "float32")] = "float16"
    beam: Annotated[int, Range(1, 1024)] = 8
    cached: Annotated[int, Range(0, 1 << 24)] = 1000
    budget: Annotated[int, Range(1)] = 1000

    @classmethod
    def examples(cls) -> list[Self]:
        """One of few links and whole vectors, one of many."""
        return [cls(degree=8, width=32, values="float32", beam=1, cached=0), cls()]

    def sized(self, d: int) -> Self:
        """The same for rows of ``d`` dimensions."""
        made = self.fresh()
        made._dim = d
        return made

    @property
    def _bytes_of_values(self) -> int:
        return -(-self._dim * np.dtype(self.values).itemsize // 4) * 4

    @property
    def _size(self) -> int:
        """Bytes of a node: values, the square of their length, links."""
        return self._bytes_of_values + 4 + 4 * self.degree

    @property
    def _block(self) -> int:
        return -(-self._size // BLOCK) * BLOCK

    @property
    def _per(self) -> int:
        return self._block // self._size

    def build(self, x: Vectors, *, rng: np.random.Generator, progress: Progress | None = None) -> Columns:
        """Link rows as ``vamana`` does, and lay each beside its links."""
        rows = ByteRows.to_link(x.blocks(), x.n, x.metric)
        tell = None if progress is None else lambda done, total: progress("link", done, total)
        graph = graphs.build(
            rows, degree=self.degree, width=self.width, alpha=self.alpha, rng=rng, progress=tell, aside=x.aside
        )
        laid = self.sized(rows.dim)._lay(x, graph.links)
        return {"nodes": laid, "entries": graph.entries, "effort": graph.effort}

    def _lay(self, x: Vectors, links: NDArray[np.uint32]) -> U8:
        """Blocks of nodes."""
        nodes = np.zeros((-(-x.n // self._per), self._block), np.uint8)
        each = as_strided(nodes, (len(nodes), self._per, self._size), (self._block, self._size, 1))
        at, kept, behind = 0, self._dim * np.dtype(self.values).itemsize, self._bytes_of_values
        for block in x.blocks():
            made = np.zeros((len(block), self._size), np.uint8)
            values = self._as_kept(block)
            squares = np.einsum("ij,ij->i", values, values, dtype=np.float32)
            made[:, :kept] = values.view(np.uint8)
            made[:, behind : behind + 4] = squares[:, None].view(np.uint8)
            made[:, behind + 4 :] = np.ascontiguousarray(links[at : at + len(block)]).view(np.uint8)
            row = np.arange(at, at + len(block))
            each[row // self._per, row % self._per] = made
            at += len(block)
        return nodes

    def _as_kept(self, block: F32) -> NDArray[Any]:
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(block, self.values)
        if not np.isfinite(values).all():
            worst = float(np.abs(block).max())
            raise BadInput(
                f"diskgraph: float16 holds values within +-65504, got one of {worst:g}; use values='float32'"
            )
        return values

    def shapes(self, n: int) -> Shapes:
        """Nodes, where walks begin, and what walks of some widths cost."""
        return {
            "nodes": ("|u1", (-(-n // self._per), self._block)),
            "entries": ("<u4", (graphs.entry_count(n),)),
            "effort": ("<f4", (2, 4)),
        }

    def check(self, n: int, columns: Columns, gone: NDArray[np.bool_]) -> None:
        """Links lead to rows, and the values beside them are finite."""
        check_links(self, columns, gone, "entries")
        behind = self._bytes_of_values
        for start in range(0, n, _CHECKED):
            at = np.arange(start, min(n, start + _CHECKED))
            blocks = columns["nodes"][at // self._per]
            nodes = np.take_along_axis(blocks, (at % self._per * self._size)[:, None] + np.arange(self._size), axis=1)
            values = np.ascontiguousarray(nodes[:, : self._dim * np.dtype(self.values).itemsize]).view(self.values)
            squares = np.ascontiguousarray(nodes[:, behind : behind + 4]).view("<f4")
            if not (np.isfinite(values).all() and np.isfinite(squares).all()):
                raise Corrupt("diskgraph: the column 'nodes' should hold finite values")
            links = {"nodes": np.ascontiguousarray(nodes[:, behind + 4 :]).view("<u4")}
            check_links(self, links, gone, "nodes")

    def attach(self, rows: Rows, columns: Columns) -> Self:
        """Take up codes and nodes; these are an array, or rows on disk."""
        self.rows = rows
        fmt = rows.scorer.format
        if fmt is None:
            raise TypeError("diskgraph: attached to rows without a layout")
        self._dim = fmt.dim
        self._native: Any = None
        self._nodes: Any = columns["nodes"]
        if not np.isfinite(columns["effort"]).all():
            raise Corrupt("diskgraph: the column 'effort' should hold finite numbers")
        self.graph = graphs.Graph(np.zeros((0, self.degree), np.uint32), columns["entries"], columns["effort"])
        return self

    def vectors(self, rows: I64, coded: Callable[[I64], F32]) -> F32:
        """Some rows by their values beside the links."""
        at = rows // self._per
        blocks: U8 = self._nodes[at] if isinstance(self._nodes, np.ndarray) else self._nodes.take(at)
        kept = np.arange(self._dim * np.dtype(self.values).itemsize)
        picked = np.take_along_axis(blocks, (rows % self._per * self._size)[:, None] + kept, axis=1)
        return np.ascontiguousarray(picked).view(self.values).astype(np.float32)

    @property
    def bytes_per_row(self) -> float:
        """A node, with its share of what a block leaves unused."""
        return self._block / self._per

    def search(
        self, q: Prepared, k: int, *, budget: int = 0, allow: NDArray[np.bool_] | None = None, depth: int = 1
    ) -> Hits:
        """The best ``k`` visited; every row is scored by its codes where ``budget`` covers them all or few match."""
        n = self.rows.n
        k = min(depth * check_search(k, n, allow), n)
        matches = n if allow is None else int(np.count_nonzero(allow))
        budget = budget or self.budget
        if budget >= n or kernels.native() is None:
            found, scores = self._scan(q, k, allow)
            return Hits(found, scores, np.full(q.m, matches, np.int64))
        width = self.graph.width(budget)
        if matches < n and matches * matches <= WALKED * budget * n:
            found, scores = self._chosen(q, k, width, allow)
            return Hits(found, scores, np.full(q.m, matches, np.int64))
        found, scores, scored = self._walk(q, k, int(width * n / matches), allow)
        short = np.flatnonzero((found >= 0).sum(axis=1) < min(k, matches))
        if short.size:  # their walks met too few rows
            found[short], scores[short] = self._chosen(q.only(short), k, width, allow)
            scored[short] += matches
        return Hits(found, scores, scored)

    def _scan(self, q: Prepared, k: int, allow: NDArray[np.bool_] | None) -> tuple[I64, F32]:
        rows = self.rows
        if rows.scorer.format is None or q.folded is None:
            raise TypeError("diskgraph: attached to rows without a layout")
        return kernels.scan(rows.scorer.format, rows.codes, q.folded, q.metric, k, terms=rows.terms, allow=allow)

    def _chosen(self, q: Prepared, k: int, width: int, allow: NDArray[np.bool_] | None) -> tuple[I64, F32]:
        """The best ``k`` by their vectors of those that are best by their codes."""
        rows, _ = self._scan(q, min(max(k, width), self.rows.n), allow)
        scores = self._disk().score(self._floats(q), rows, 1 if q.m == 1 else kernels.thread_count())
        order = np.lexsort((rows, -scores), axis=1)[:, :k]
        return np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)

    def _walk(self, q: Prepared, k: int, width: int, allow: NDArray[np.bool_] | None) -> tuple[I64, F32, I64]:
        fmt = self.rows.scorer.format
        if fmt is None or q.folded is None:
            raise TypeError("diskgraph: attached to rows without a layout")
        return finders.find_on_disk(self._disk(), fmt, q.folded, self._floats(q), k, width, allow, self.rows.n)

    def _floats(self, q: Prepared) -> F32:
        return np.ascontiguousarray(q.queries, np.float32)

    def _disk(self) -> Any:
        if self._native is None:
            rows, fmt = self.rows, self.rows.scorer.format
            if fmt is None:
                raise TypeError("diskgraph: attached to rows without a layout")
            coded = finders.native_rows(fmt, rows.codes, rows.scorer.metric, rows.terms)
            nodes = self._nodes if isinstance(self._nodes, np.ndarray) else self._nodes.native
            laid = (self._per, self._size, self.values, self._dim, self._bytes_of_values, self.degree)
            self._native = finders.disk_graph(coded, nodes, laid, self.graph.entries, self.beam, self.cached)
        return self._native
