"""Forest of trees: each parts the rows in halves, again and again, by where they lie between two of them.

Built in a moment, and rows that are found do not depend on where a walk begins; graphs score fewer rows for the same
recall. Rows of low intrinsic dimension suit it.

paper: S051 (Bruch, 2024), S138 (Ma and others, 2023), which tell of the family; Dasgupta, Freund, 2008
  (random projection trees); Bernhardsson (Annoy)
needs: native
status: proven
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

import numpy as np

from nearfield.core.indexes import Columns, Shapes
from nearfield.core.params import Range
from nearfield.core.protocols import F32, Layout, Progress, RowFormat, Vectors
from nearfield.numerics import finders, graphs, kernels
from nearfield.numerics import trees as forest
from nearfield.numerics.finding import Finding, check_finite, unfolded_scales


@dataclass
class KDForest(Finding):
    """Takes leaves of all trees by how far a query lies on their wrong side, and scores their rows.

    Each of the ``trees`` has leaves of at most ``leaf`` rows. A node draws two of its rows, and parts all of them in
    halves by their distances from the two, as Annoy does but for the halves. ``budget`` is the effort of a search
    that names none: how many rows it scores, apart from two for each node that it passes.

    >>> import numpy as np, nearfield as nf
    >>> x = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)
    >>> packed = nf.Plan("float16() | kd_forest()").fit(x)
    >>> packed.search(x[:3], k=1).rows[:, 0].tolist()
    [0, 1, 2]
    """

    layouts: ClassVar[frozenset[Layout]] = graphs.LAYOUTS
    swept: ClassVar[bool] = False  # graphs score fewer rows

    trees: Annotated[int, Range(1, 1024)] = 16
    leaf: Annotated[int, Range(2, 100_000)] = 64
    budget: Annotated[int, Range(1)] = 2000

    @classmethod
    def examples(cls) -> list[Self]:
        """Few trees of small leaves, and the usual."""
        return [cls(trees=3, leaf=10), cls()]

    def build(self, x: Vectors, *, rng: np.random.Generator, progress: Progress | None = None) -> Columns:
        """Part the rows, from distances of their bytes; any number of threads makes the same trees."""
        rows = graphs.ByteRows.of(x.blocks(), x.n, x.metric)
        made = forest.grow(rows, self.trees, self.leaf, rng=rng)
        if progress:
            progress("part", self.trees, self.trees)
        length = np.sqrt(rows.square.max()) if x.metric == "dot" else 0
        columns: Columns = {"rows": made.rows, "pairs": made.pairs, "planes": made.planes}
        return columns | {"length": np.array([length], np.float32)}

    def shapes(self, n: int) -> Shapes:
        """Rows by leaves, the pair and the plane of each node, and how long rows are under products."""
        nodes = forest.node_count(forest.levels_of(n, self.leaf))
        return {
            "rows": ("<u4", (self.trees, n)),
            "pairs": ("<u4", (self.trees, nodes, 2)),
            "planes": ("<f4", (self.trees, nodes, 2)),
            "length": ("<f4", (1,)),
        }

    def take(self, columns: Columns) -> None:
        """Keep the trees; row numbers are checked as they are met."""
        check_finite(self, columns, "planes", "length")
        levels = forest.levels_of(self.rows.n, self.leaf)
        self.forest = forest.Trees(columns["rows"], columns["pairs"], columns["planes"], levels)
        self.length = float(columns["length"][0])
        self._unfold: F32 | None = None

    def make(self, fmt: RowFormat) -> Any:
        """What takes leaves by how far they lie."""
        rows, made = self.rows, self.forest
        native = finders.native_rows(fmt, rows.codes, rows.scorer.metric, rows.terms)
        return kernels.native().trees_finder(
            native, made.rows, made.pairs, made.planes, made.levels, self._unfolding(), self.length
        )

    def spend(self, k: int, budget: int, matches: int) -> int | None:
        """How many rows are scored; every one that matches where that is as few."""
        return None if matches <= budget else max(k, budget)

    def _unfolding(self) -> F32:
        """What the weights of a query are multiplied by to have its length; only products need it."""
        if self._unfold is None:
            found = unfolded_scales(self.rows)
            self._unfold = np.ones(self._format().dim, np.float32) if found is None else found
        return self._unfold

    @property
    def bytes_per_row(self) -> float:
        """Four a tree, and sixteen for each node, of which there are about as many as leaves."""
        return self.trees * (4.0 + 16.0 / (0.75 * self.leaf))
