"""Forest of trees: each parts the rows in halves, again and again, by where they lie between two means of some.

Built in a moment, and rows that are found do not depend on where a walk begins; graphs score fewer rows for the same
recall. Rows of low intrinsic dimension suit it, and a budget of several leaves for each tree.

paper: S051 (Bruch, 2024), S138 (Ma and others, 2023), which tell of the family; Silpa-Anan, Hartley, 2008 (several
  trees); Dasgupta, Sinha, 2013, arXiv 1302.1948 (when they fail); Bernhardsson (Annoy)
needs: native
status: proven
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.core.indexes import Columns, Shapes
from nearfield.core.params import Range
from nearfield.core.protocols import Layout, Progress, RowFormat, Vectors
from nearfield.numerics import finders, graphs, kernels
from nearfield.numerics import trees as forest
from nearfield.numerics.byterows import ByteRows, padded
from nearfield.numerics.finding import Finding, check_each_once, check_finite


@dataclass
class KDForest(Finding):
    """Takes leaves of all trees by how far a query lies on their wrong side, and scores their rows.

    Each of the ``trees`` has leaves of at most ``leaf`` rows. A node finds two means of some of its rows, and parts all
    of them in halves by their distances from the two, as Annoy does but for the halves. ``budget`` is the effort of a
    search that names none: how many rows it scores, apart from a product for each node that it passes.

    >>> import numpy as np, nearfield as nf
    >>> x = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)
    >>> packed = nf.Plan("float16() | kd_forest()").fit(x)
    >>> packed.search(x[:3], k=1).rows[:, 0].tolist()
    [0, 1, 2]
    """

    layouts: ClassVar[frozenset[Layout]] = graphs.LAYOUTS
    looks: ClassVar[bool] = True
    swept: ClassVar[bool] = False  # graphs score fewer rows

    trees: Annotated[int, Range(1, 1024)] = 16
    leaf: Annotated[int, Range(2, 100_000)] = 64
    budget: Annotated[int, Range(1)] = 2000

    @classmethod
    def examples(cls) -> list[Self]:
        """Few trees of small leaves, and the usual."""
        return [cls(trees=3, leaf=10), cls()]

    def sized(self, d: int) -> Self:
        """The same for rows of ``d`` dimensions."""
        made = self.fresh()
        made._dim = d
        return made

    def build(self, x: Vectors, *, rng: np.random.Generator, progress: Progress | None = None) -> Columns:
        """Part the rows, from distances of their bytes; any number of threads makes the same trees."""
        rows = ByteRows.of(x.blocks(), x.n, x.metric)
        made = forest.grow(rows, self.trees, self.leaf, rng=rng)
        if progress:
            progress("part", self.trees, self.trees)
        length = np.sqrt(rows.square.max()) if x.metric == "dot" else 0
        columns: Columns = {"rows": made.rows, "normals": made.normals, "sides": made.sides}
        return columns | {"thresholds": made.thresholds, "length": np.array([length], np.float32)}

    def shapes(self, n: int) -> Shapes:
        """Rows by leaves, the direction and the threshold of each node, and how long rows are under products."""
        nodes = forest.node_count(forest.levels_of(n, self.leaf))
        return {
            "rows": ("<u4", (self.trees, n)),
            "normals": ("|i1", (self.trees, nodes, padded(self._dim))),
            "sides": ("<f4", (self.trees, nodes, 4)),
            "thresholds": ("<f4", (self.trees, nodes)),
            "length": ("<f4", (1,)),
        }

    def check(self, n: int, columns: Columns, gone: NDArray[np.bool_]) -> None:
        """Every tree holds every row once."""
        check_each_once(self, columns, n, "rows")

    def take(self, columns: Columns) -> None:
        """Keep the trees; row numbers are checked as they are met."""
        check_finite(self, columns, "sides", "thresholds", "length")
        self._dim = self._format().dim
        levels = forest.levels_of(self.rows.n, self.leaf)
        self.forest = forest.Trees(columns["rows"], columns["normals"], columns["sides"], columns["thresholds"], levels)
        self.length = float(columns["length"][0])

    def make(self, fmt: RowFormat) -> Any:
        """What takes leaves by how far they lie."""
        rows, made = self.rows, self.forest
        native = finders.native_rows(fmt, rows.codes, rows.scorer.metric, rows.terms)
        return kernels.native().trees_finder(
            native, made.rows, made.normals, made.sides, made.thresholds, made.levels, self._dim, self.length
        )

    def spend(self, k: int, budget: int, matches: int) -> int | None:
        """How many rows are scored; every one that matches where that is as few."""
        return None if matches <= budget else max(k, budget)

    @property
    def bytes_per_row(self) -> float:
        """Four a tree, and for each node, of which there are about as many as leaves, a direction and twenty."""
        return self.trees * (4.0 + (padded(self._dim) + 20.0) / (0.75 * self.leaf))
