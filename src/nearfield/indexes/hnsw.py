"""HNSW: graphs of near rows in layers; thin ones lead to where the walk of the lowest begins.

The index that most vector databases have. Its links keep Malkov's rule; ``vamana()``, one flat graph with a rule of its
own, is about as good and begins its walks elsewhere. Take the one that measures better on your rows.

paper: Malkov, Yashunin, 2018 (HNSW), arXiv 1603.09320; order of insertion: S080 (Elliott, Clark, 2024)
needs: native
status: proven
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.core.indexes import Columns, Shapes
from nearfield.core.params import Range
from nearfield.core.protocols import Layout, Progress, Vectors
from nearfield.numerics import graphs, layers, orders
from nearfield.numerics.byterows import ByteRows
from nearfield.numerics.finding import Walking, check_finite, check_links


@dataclass
class HNSW(Walking):
    """Descends greedily through the upper layers, then walks the lowest.

    ``degree`` is the paper's M: the links of a row in each upper layer, twice as many in the lowest; ``width`` its
    efConstruction: how many candidates a walk holds while the graph is built. A row is in layer ``l`` with probability
    ``degree ** -l``. ``order`` is that of insertion: ``shuffled``, as ``given``, by local intrinsic dimension with the
    greatest first (``lid``) or last (``lid-ascending``). ``budget`` is the effort of a search that names none: about
    how many rows it scores. It cannot be fewer than a descent and a walk that meets ``k`` rows take, some 50 to 150.
    Rows added later are scored as well, every one, until the index is built anew beside what goes on: once there are
    more than 512 of them and more than an eighth of all.

    Under dot with unequal lengths nothing is descended: walks begin at the longest rows of the lowest layer, and links
    are chosen as in ``vamana``, the longest rows having at most three quarters of them.

    >>> import numpy as np, nearfield as nf
    >>> x = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)
    >>> packed = nf.Plan("float16() | hnsw(degree=8)").fit(x)
    >>> packed.search(x[:3], k=1).rows[:, 0].tolist()
    [0, 1, 2]
    """

    layouts: ClassVar[frozenset[Layout]] = graphs.LAYOUTS

    degree: Annotated[int, Range(2, 512)] = 16
    width: Annotated[int, Range(2, 100_000)] = 200
    order: Annotated[str, orders.ORDERS] = "shuffled"
    budget: Annotated[int, Range(1)] = 1000

    @classmethod
    def examples(cls) -> list[Self]:
        """One of few links, one by dimension, one of many links."""
        return [cls(degree=4, width=32), cls(degree=8, width=50, order="lid"), cls()]

    @classmethod
    def sweep(cls, n: int, d: int) -> list[str]:
        """Nibbles are walked; what they left of the rows is added to the best."""
        return ["lvq(bits=4) | hnsw() | rescore(codec='lvq(bits=8)', depth=3, of='residual')"]

    def build(self, x: Vectors, *, rng: np.random.Generator, progress: Progress | None = None) -> Columns:
        """Link rows layer by layer, from distances of their bytes; any number of threads makes the same graph."""
        rows = ByteRows.to_link(x.blocks(), x.n, x.metric)
        tell = None if progress is None else lambda done, total: progress("link", done, total)
        order = orders.insertion(rows, self.order, rng)
        drawn = self.order == "shuffled"
        made = layers.build(
            rows, order, degree=self.degree, width=self.width, drawn=drawn, rng=rng, progress=tell, aside=x.aside
        )
        return {"links": made.links, "members": made.entries, "upper": made.upper, "effort": made.effort}

    def shapes(self, n: int) -> Shapes:
        """Links of the lowest layer, the rows of the upper ones and their links, and what walks of some widths cost."""
        counts = layers.layer_counts(n, self.degree)
        return {
            "links": ("<u4", (n, 2 * self.degree)),
            "members": ("<u4", (counts[0],)),
            "upper": ("<u4", (sum(counts), self.degree)),
            "effort": ("<f4", (2, 4)),
        }

    def check(self, n: int, columns: Columns, gone: NDArray[np.bool_]) -> None:
        """Every link leads to a row, those of the upper layers to one of their members."""
        check_links(self, columns, gone, "links", "members")
        check_links(self, columns, np.zeros(len(columns["members"]), np.bool_), "upper")

    def take(self, columns: Columns) -> None:
        """Keep links and members; numbers are checked as they are followed."""
        check_finite(self, columns, "effort")
        self.graph = layers.Layered(columns["links"], columns["members"], columns["effort"], columns["upper"])

    @property
    def bytes_per_row(self) -> float:
        """Four a link, and those of the share of rows that is in upper layers."""
        share = 1 / (self.degree - 1)
        return 8.0 * self.degree + share * (4.0 * self.degree + 4)
