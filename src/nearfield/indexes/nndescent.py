"""NN-descent: a graph of near rows, found by comparing neighbours of neighbours.

The near rows of each row come first, without a search; then their links are pruned and led back, as those of the other
graphs, and walked like them. Take it where it measures better than those on your rows.

paper: Dong, Moses, Li, 2011, WWW; McInnes (PyNNDescent); the family: S051 (Bruch, 2024), S138 (Ma and others, 2023)
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
from nearfield.numerics import graphs, kernels, neighbours
from nearfield.numerics.byterows import ByteRows
from nearfield.numerics.finding import Walking, check_finite
from nearfield.numerics.graph_updates import GraphUpdater, Linking


@dataclass
class NNDescent(Walking):
    """Walks a graph of the nearest rows, pruned, with links back.

    ``near`` is how many near rows of each row are found, in at most ``rounds``, begun from so many ``trees``: with one
    alone nothing would lead from one of its leaves to another. ``degree`` is the number of links that a row keeps of
    them and of those back. A link is dropped where another one leads ``alpha`` times nearer to its end. ``budget`` is
    the effort of a search that names none: about how many rows it scores, 40 to 130 at the least. Rows added later are
    linked in as in ``vamana``.

    >>> import numpy as np, nearfield as nf
    >>> x = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)
    >>> packed = nf.Plan("float16() | nndescent(near=16)").fit(x)
    >>> packed.search(x[:3], k=1).rows[:, 0].tolist()
    [0, 1, 2]
    """

    layouts: ClassVar[frozenset[Layout]] = graphs.LAYOUTS
    swept: ClassVar[bool] = False  # vamana is about as good, and built in half the time

    degree: Annotated[int, Range(2, 1024)] = 32
    near: Annotated[int, Range(2, 1024)] = 40
    rounds: Annotated[int, Range(0, 100)] = 12
    trees: Annotated[int, Range(2, 256)] = 8
    alpha: Annotated[float, Range(1.0, 4.0)] = 1.1
    budget: Annotated[int, Range(1)] = 1000

    @classmethod
    def examples(cls) -> list[Self]:
        """One of few links, and the usual."""
        return [cls(degree=8, near=12, trees=2), cls()]

    def build(self, x: Vectors, *, rng: np.random.Generator, progress: Progress | None = None) -> Columns:
        """Find near rows, from distances of bytes, and link them; any number of threads makes the same graph."""
        rows = ByteRows.to_link(x.blocks(), x.n, x.metric)
        tell = None if progress is None else lambda done, total: progress("compare", done, total)
        k = min(self.near, max(1, x.n - 1))
        near = neighbours.near_rows(
            rows, k, rng=rng, grown=self.trees, rounds=self.rounds, progress=tell, aside=x.aside
        )
        made = graphs.link_near(rows, near.ids, degree=self.degree, alpha=self.alpha, rng=rng)
        return {"links": made.links, "entries": made.entries, "effort": made.effort}

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
        """Links rows in as ``vamana`` does, by walks as wide as two lists, and mends dead ones away."""
        if kernels.native() is None:
            return None
        return GraphUpdater(columns, x, Linking(self.degree, 2 * self.near, self.alpha))

    @property
    def bytes_per_row(self) -> float:
        """Four a link."""
        return 4.0 * self.degree
