"""LSH: tables of hashes that near rows are likely to share; the one index that says how likely it finds a near row.

Its promise is a probability for each near row, by its angle or distance, whatever the rows are; for that it scores
more rows than graphs or trees do at the same recall. Take it where the promise counts.

paper: Charikar, 2002; Datar, Immorlica, Indyk, Mirrokni, 2004 (p-stable); Lv, Josephson, Wang, Charikar, Li, 2007
  (multi-probe); the family: S051 (Bruch, 2024), S138 (Ma and others, 2023)
needs: native
status: proven
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import Corrupt
from nearfield.core.indexes import Columns, Shapes
from nearfield.core.params import Range
from nearfield.core.protocols import F32, Layout, Progress, RowFormat, Vectors
from nearfield.numerics import finders, graphs, hashing, kernels
from nearfield.numerics.finding import Finding, check_each_once, check_finite, unfolded, width_of


@dataclass
class LSH(Finding):
    """Looks up the keys of a query in ``tables``, then keys that are likely next, and scores the rows there.

    A key is made of ``bits`` projections on drawn directions: of their signs under cosine and dot, of their slots under
    l2, which are ``slot`` times as wide as projections spread. A row at the angle ``a`` shares a key with the query
    with probability ``1 - (1 - (1 - a / pi) ** bits) ** tables``; probing adds to that. Under dot, angles are those of
    rows lifted to equal length. ``budget`` is the effort of a search that names none: how many rows it scores.

    >>> import numpy as np, nearfield as nf
    >>> x = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)
    >>> packed = nf.Plan("float16() | lsh()").fit(x)
    >>> packed.search(x[:3], k=1).rows[:, 0].tolist()
    [0, 1, 2]
    """

    layouts: ClassVar[frozenset[Layout]] = graphs.LAYOUTS
    swept: ClassVar[bool] = False  # it scores many times the rows of a graph

    tables: Annotated[int, Range(1, 1024)] = 16
    bits: Annotated[int, Range(1, 32)] = 12
    slot: Annotated[float, Range(0.01, 100.0)] = 2.0
    budget: Annotated[int, Range(1)] = 4000

    @classmethod
    def examples(cls) -> list[Self]:
        """Few short keys, and the usual."""
        return [cls(tables=3, bits=5), cls()]

    def build(self, x: Vectors, *, rng: np.random.Generator, progress: Progress | None = None) -> Columns:
        """Hash every row into every table."""
        seed = int(rng.integers(1 << 63))
        signs = x.metric != "l2"
        longest, spread, d = _measured(x)
        width = 0.0 if signs else self.slot * max(spread, 1e-30)
        across = hashing.directions(seed, self.tables, self.bits, d + 1)
        offsets = self._offsets(seed, signs)

        def hashed() -> Iterator[hashing.U32]:
            done = 0
            for block in x.blocks():
                if signs:  # brought to equal length by one more coordinate, which queries have not
                    lift = np.sqrt(np.maximum(longest - np.einsum("ij,ij->i", block, block), 0))
                    found = block @ across[:, :d].T + lift[:, None] * across[:, d]
                else:
                    found = block @ (across[:, :d] / width).T + offsets
                yield hashing.keys(found, self.bits, signs=signs)
                done += len(block)
                if progress:
                    progress("hash", done, x.n)

        keys, rows = hashing.table_of(hashed(), x.n, self.tables)
        return {"keys": keys, "rows": rows, "seed": np.array([seed], np.uint64), "width": np.array([width], np.float32)}

    def shapes(self, n: int) -> Shapes:
        """Keys in order and their rows, what directions are drawn from, and how wide slots are (0: signs)."""
        tables = (self.tables, n)
        return {"keys": ("<u4", tables), "rows": ("<u4", tables), "seed": ("<u8", (1,)), "width": ("<f4", (1,))}

    def check(self, n: int, columns: Columns, gone: NDArray[np.bool_]) -> None:
        """Every table, by ascending keys, holds every row once."""
        check_each_once(self, columns, n, "rows")
        keys = columns["keys"]
        if (keys[:, 1:] < keys[:, :-1]).any():
            raise Corrupt("lsh: the column 'keys' should ascend in each table")

    def take(self, columns: Columns) -> None:
        """Keep the tables; row numbers are checked as they are met."""
        check_finite(self, columns, "width")
        self.keys, self.order = columns["keys"], columns["rows"]
        self.seed, self.width = int(columns["seed"][0]), float(columns["width"][0])
        self._across: F32 | None = None

    def make(self, fmt: RowFormat) -> Any:
        """What probes the tables."""
        rows, signs = self.rows, self.width <= 0
        native = finders.native_rows(fmt, rows.codes, rows.scorer.metric, rows.terms)
        across = self._directions()
        return kernels.native().hash_finder(
            native, signs, self.bits, across, self._offsets(self.seed, signs), self.keys, self.order
        )

    def spend(self, k: int, budget: int, matches: int) -> int | None:
        """How many rows are scored; every one that matches where that is as few."""
        return None if matches <= budget else max(k, budget)

    def _directions(self) -> F32:
        """Directions as the weights of folded queries lie to them."""
        if self._across is None:
            d = width_of(self.rows)
            across = hashing.directions(self.seed, self.tables, self.bits, d + 1)[:, :d]
            found = unfolded(self.rows, across / np.float32(self.width) if self.width > 0 else across)
            if found is None:  # queries then fall anywhere, and what is found is what is scored
                found = np.zeros((len(across), self._format().dim), np.float32)
            self._across = np.ascontiguousarray(found)
        return self._across

    def _offsets(self, seed: int, signs: bool) -> F32:
        count = self.tables * self.bits
        return np.zeros(count, np.float32) if signs else hashing.uniform(seed ^ 1, count).astype(np.float32)

    @property
    def bytes_per_row(self) -> float:
        """A key and a row number for each table."""
        return 8.0 * self.tables


def _measured(x: Vectors) -> tuple[float, float, int]:
    """The greatest squared length, how far projections of the rows spread, and the width."""
    longest, total, mean, d = 0.0, 0.0, np.zeros(1), 0
    for block in x.blocks():
        squares = np.einsum("ij,ij->i", block, block, dtype=np.float64)
        longest, total, d = max(longest, float(squares.max(initial=0))), total + float(squares.sum()), block.shape[1]
        mean = mean + block.sum(axis=0, dtype=np.float64)
    mean = mean / x.n
    return longest, float(np.sqrt(max(total / x.n - float(mean @ mean), 0.0))), d
