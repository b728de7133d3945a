"""Packed graph: a graph of near rows, each packed into one line of memory; the best met are scored by their codes.

A fast choice from some ten thousand rows on, where memory allows for links and lines (160 bytes) beside codes that are
as fine as results should be: ``lvq(bits=8) | packed_graph()``, or for recalls near 1 ``lvq(bits=4) | packed_graph() |
rescore(codec='lvq(bits=8)', depth=2, of='residual')``, twelve bits in all.
SymphonyQG packs one-bit codes of the neighbours beside each row, and reads 2,000 bytes a step; rows of one line each
are read only where they were not met before, and more bits go where rows vary more.

Where rows lie in tight clusters, two bits an axis tell those of one cluster apart less well: ``vamana`` over finer
codes finds more there in few rows scored (``bench scored``).

paper: Gou, Gao, Xu, Long, 2025 (SymphonyQG), arXiv:2411.12229
needs: native
status: proven
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.core.arrays import roomy
from nearfield.core.errors import Corrupt, Unsupported
from nearfield.core.indexes import Columns, Shapes, Updater
from nearfield.core.params import OneOf, Range
from nearfield.core.protocols import F32, Layout, Metric, Progress, RowFormat, Vectors
from nearfield.numerics import finders, graphs, kernels
from nearfield.numerics.byterows import ByteRows
from nearfield.numerics.finding import Walking, check_finite
from nearfield.numerics.graph_updates import GraphUpdater, Linking
from nearfield.numerics.lined_updates import LinedUpdater
from nearfield.numerics.lines import END, SAMPLE, Axes, Lined


@dataclass
class PackedGraph(Walking):
    """Walks a graph over rows of ``line`` bytes, and scores the best of its frontier by the codes.

    ``degree`` is the number of links a row keeps (four bytes each); ``width`` how many candidates a walk holds while
    the graph is built; a link is dropped where another one leads ``alpha`` times nearer to its end. ``budget`` is the
    effort of a search that names none: about how many lines it reads, 30 to 130 at the least. Rows added later are
    linked in at once.

    >>> import numpy as np, nearfield as nf
    >>> x = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)
    >>> packed = nf.Plan("float16() | packed_graph()").fit(x)
    >>> packed.search(x[:3], k=1).rows[:, 0].tolist()
    [0, 1, 2]
    """

    layouts: ClassVar[frozenset[Layout]] = graphs.LAYOUTS
    learns: ClassVar[bool] = True
    looks: ClassVar[bool] = True

    degree: Annotated[int, Range(2, 1024)] = 24
    line: Annotated[int, OneOf(64, 128, 192, 256)] = 64
    width: Annotated[int, Range(2, 100_000)] = 128
    alpha: Annotated[float, Range(1.0, 4.0)] = 1.2
    budget: Annotated[int, Range(1)] = 1000

    @classmethod
    def examples(cls) -> list[Self]:
        """One of few links, one of longer lines, one as it is."""
        return [cls(degree=8, width=32), cls(line=128, width=32), cls()]

    @classmethod
    def sweep(cls, n: int, d: int) -> list[str]:
        """The best are scored by bytes, or by nibbles and then what these left: twelve bits for recalls near 1."""
        finest = "lvq(bits=4) | packed_graph() | rescore(codec='lvq(bits=8)', depth=2, of='residual')"
        return ["lvq(bits=8) | packed_graph()", finest]

    def fit(self, x: F32, n: int, *, metric: Metric, as_given: bool, rng: np.random.Generator) -> Self:
        """Learn the axes of lines."""
        some = x if len(x) <= SAMPLE else x[np.sort(rng.choice(len(x), SAMPLE, replace=False))]
        made = Axes.of(some, self.line)
        self.centre_, self.axes_, self.scales_ = made.centre, made.axes, made.scales
        self.steps_, self.digits_, self.size_, self.metric_ = made.steps, made.digits, made.size, str(metric)
        return self

    @property
    def _axes(self) -> Axes:
        self.need_fit()
        return Axes(self.centre_, self.axes_, self.scales_, self.steps_, self.digits_, self.size_)

    def build(self, x: Vectors, *, rng: np.random.Generator, progress: Progress | None = None) -> Columns:
        """Link rows in a drawn order; any number of threads makes the same graph.

        Walks to a row see lines, as searches do; links are chosen of what they come near to by distances of bytes.
        Inverted rows (lengths that differ, under dot) are walked to by bytes: lines are of the rows themselves.
        """
        lines = roomy((x.n, self.line), np.uint8)
        rows = ByteRows.to_link(self._lined(x, lines), x.n, x.metric)
        tell = None if progress is None else lambda done, total: progress("link", done, total)
        graph = graphs.build(
            rows,
            degree=self.degree,
            width=self.width,
            alpha=self.alpha,
            rng=rng,
            progress=tell,
            aside=x.aside,
            lined=None if rows.inverted else Lined(lines, self._axes, x.metric),
        )
        graph.effort = self._measure(graph, rows, lines, x.metric, rng)
        return {"links": graph.links, "entries": graph.entries, "effort": graph.effort, "lines": lines}

    def _lined(self, x: Vectors, lines: NDArray[np.uint8]) -> Iterator[F32]:
        """The blocks of rows, each made into lines before it goes on."""
        axes, at = self._axes, 0
        for block in x.blocks():
            lines[at : at + len(block)] = axes.lines(block, self.line, x.metric)
            at += len(block)
            yield block

    def _measure(
        self,
        graph: graphs.Graph,
        rows: ByteRows,
        lines: NDArray[np.uint8],
        metric: Metric,
        rng: np.random.Generator,
    ) -> F32:
        """What walks of some widths cost, from walks to some of the rows."""
        scale = np.ascontiguousarray(rows.own_scale)
        held = finders.native_rows(rows.format, rows.values.view(np.uint8), "cosine", scale)
        finder = _finder(held, graph, lines, self._axes, metric)
        return graphs.effort_of(graph, rows, None, rng, finder=finder)

    def shapes(self, n: int) -> Shapes:
        """Links, where walks begin, what walks of some widths cost, and the lines."""
        return {
            "links": ("<u4", (n, self.degree)),
            "entries": ("<u4", (graphs.entry_count(n),)),
            "effort": ("<f4", (2, 4)),
            "lines": ("|u1", (n, self.line)),
        }

    def check(self, n: int, columns: Columns, gone: NDArray[np.bool_]) -> None:
        """Links lead to rows, and the scales at the end of each line are finite."""
        super().check(n, columns, gone)
        ends = np.ascontiguousarray(columns["lines"][:, -END:]).view("<f2")
        if not np.isfinite(ends).all():
            raise Corrupt("packed_graph: the column 'lines' should hold finite scales")

    def take(self, columns: Columns) -> None:
        """Keep links and lines; numbers are checked as they are followed."""
        check_finite(self, columns, "effort")
        if self.metric_ not in ("dot", "l2") or not isinstance(self.size_, float):
            raise Corrupt("packed_graph: expected a metric and a size beside the axes")
        self._axes.check(len(self.centre_), self.line)
        self.graph = graphs.Graph(columns["links"], columns["entries"], columns["effort"])
        self._lines = columns["lines"]

    def updater(self, columns: Columns, x: Vectors) -> Updater | None:
        """Links rows in and mends dead ones away, by bytes of the rows; each brings its line."""
        if kernels.native() is None:
            return None
        axes, metric = self._axes, x.metric
        return LinedUpdater(
            GraphUpdater(columns, x, Linking(self.degree, self.width, self.alpha)),
            columns["lines"],
            lambda block: axes.lines(block, self.line, metric),
            lambda graph, rows, lines, rng: self._measure(graph, rows, lines, metric, rng),
        )

    @property
    def bytes_per_row(self) -> float:
        """Four a link, and the line."""
        return 4.0 * self.degree + self.line

    def make(self, fmt: RowFormat) -> Any:
        """What walks over the lines."""
        rows = self.rows
        held = finders.native_rows(fmt, rows.codes, rows.scorer.metric, rows.terms)
        metric: Metric = "l2" if self.metric_ == "l2" else "dot"
        return _finder(held, self.graph, self._lines, self._axes, metric)


def _finder(rows: Any, graph: graphs.Graph, lines: NDArray[np.uint8], axes: Axes, metric: Metric) -> Any:
    native = kernels.native()
    if native is None:
        raise Unsupported("graphs are walked by native code, which is not installed here; use the index flat()")
    return native.packed_finder(rows, graph.links, graph.entries, graph.effort, lines, axes.native(metric))
