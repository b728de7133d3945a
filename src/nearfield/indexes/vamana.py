"""Vamana: one flat graph of near rows, its links pruned so that they point in different directions.

The fastest choice from some ten thousand rows on. It is walked over small codes, 4 bits a dimension say, and the short
list is scored again by a finer ``rescore`` step: ``lvq(bits=4) | vamana() | rescore(codec='lvq(bits=8)', depth=3)``.

paper: Subramanya, Devvrit, Kadekodi, Krishnaswamy, Simhadri, 2019 (DiskANN), NeurIPS
needs: native
status: proven
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

import numpy as np

from nearfield.core.indexes import Columns, Shapes, Updater
from nearfield.core.params import Range
from nearfield.core.protocols import Layout, Progress, Vectors
from nearfield.numerics import graphs, kernels, orders
from nearfield.numerics.byterows import ByteRows
from nearfield.numerics.finding import Walking, check_finite
from nearfield.numerics.graph_updates import GraphUpdater, Linking


@dataclass
class Vamana(Walking):
    """Walks a graph from row to nearer row, scoring the neighbours of each.

    ``degree`` is the number of links a row keeps (four bytes each); ``width`` how many candidates a walk holds while
    the graph is built; a link is dropped where another one leads ``alpha`` times nearer to its end.
    ``order`` is that of insertion: ``shuffled``, as ``given``, by local intrinsic dimension with the greatest first
    (``lid``) or last (``lid-ascending``); the rows where walks begin come before all. ``budget`` is the effort of a
    search that names none: about how many rows it scores, 30 to 130 at the least: where walks begin, and the
    neighbours of the first rows. Rows added later are linked in at once.

    Under dot with unequal lengths rows are linked at ``x / |x|**2``, and walks begin at the longest, which are linked
    again in the end, to at most three quarters of ``degree``.

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

    @classmethod
    def sweep(cls, n: int, d: int) -> list[str]:
        """Nibbles are walked; what they left of the rows is added to the best."""
        return ["lvq(bits=4) | vamana() | rescore(codec='lvq(bits=8)', depth=3, of='residual')"]

    def build(self, x: Vectors, *, rng: np.random.Generator, progress: Progress | None = None) -> Columns:
        """Link rows in a drawn order, from distances of their bytes; any number of threads makes the same graph."""
        rows = ByteRows.to_link(x.blocks(), x.n, x.metric)
        tell = None if progress is None else lambda done, total: progress("link", done, total)
        order = None if self.order == "shuffled" else orders.insertion(rows, self.order, rng)
        graph = graphs.build(
            rows,
            degree=self.degree,
            width=self.width,
            alpha=self.alpha,
            rng=rng,
            order=order,
            progress=tell,
            aside=x.aside,
        )
        return {"links": graph.links, "entries": graph.entries, "effort": graph.effort}

    def shapes(self, n: int) -> Shapes:
        """Links, where walks begin, and what walks of some widths cost."""
        return {
            "links": ("<u4", (n, self.degree)),
            "entries": ("<u4", (graphs.entry_count(n),)),
            "effort": ("<f4", (2, 4)),
        }

    def take(self, columns: Columns) -> None:
        """Keep the links; numbers are checked as they are followed."""
        check_finite(self, columns, "effort")
        self.graph = graphs.Graph(columns["links"], columns["entries"], columns["effort"])

    def updater(self, columns: Columns, x: Vectors) -> Updater | None:
        """Links rows in and mends dead ones away, by bytes of the rows."""
        if kernels.native() is None:
            return None
        return GraphUpdater(columns, x, Linking(self.degree, self.width, self.alpha))

    @property
    def bytes_per_row(self) -> float:
        """Four a link."""
        return 4.0 * self.degree
