"""What indexes share that find rows natively: what they spend, and when every row is scored instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import Corrupt
from nearfield.core.hits import WAYS, Hits
from nearfield.core.indexes import Columns, Index, check_search
from nearfield.core.protocols import F32, I64, Prepared, RowFormat, Rows
from nearfield.numerics import finders, kernels
from nearfield.numerics.graphs import Graph
from nearfield.numerics.linking import NO_LINK

_LOOKED = 1 << 22  # links that are looked at together
_EFFORTS = 1000  # answers of ``effort`` that are kept


class Finding(Index):
    """An index with a native finder. It says what to spend, and what makes its finder; searches are alike.

    A derived class defines ``take`` (keep its columns), ``make`` (its finder) and ``spend``.
    """

    plans_filters: ClassVar[bool] = False  # whether its finder chooses how to meet filters
    looks: ClassVar[bool] = False  # whether its finder looks at the queries themselves
    budget: int

    def take(self, columns: Columns) -> None:
        """Keep the columns of ``build``; raises ``Corrupt`` where they cannot be."""
        raise TypeError(f"{type(self).__name__} must define take")

    def make(self, fmt: RowFormat) -> Any:
        """The native finder over ``self.rows``."""
        raise TypeError(f"{type(self).__name__} must define make")

    def spend(self, k: int, budget: int, matches: int) -> int | None:
        """What the finder spends for a budget of less than all rows; None where all that match are scored instead."""
        raise TypeError(f"{type(self).__name__} must define spend")

    def attach(self, rows: Rows, columns: Columns) -> Self:
        """Take up codes and the columns of ``build``."""
        self.rows = rows
        self._finder: Any = None
        self._efforts: dict[tuple[int, int, int], int | None] = {}
        if self.learns:
            self.need_fit()
        self.take(columns)
        return self

    def finder(self) -> Any:
        """What finds rows natively."""
        if self._finder is None:
            self._finder = self.make(self._format())
        return self._finder

    def effort(self, k: int, budget: int, matches: int) -> int | None:
        """What the finder spends, or None where every row that matches is scored instead."""
        filtered = matches < self.rows.n
        key = (k, budget, int(filtered) if self.plans_filters else matches)
        if key in (known := self._efforts):
            return known[key]
        if len(known) > _EFFORTS:  # another thread may be reading the old ones
            known = self._efforts = {}
        known[key] = self._effort(k, budget or self.budget, matches)
        return known[key]

    def _effort(self, k: int, budget: int, matches: int) -> int | None:
        if kernels.native() is None:
            return None
        if budget < self.rows.n:
            return self.spend(k, budget, matches)
        return self.rows.n if self.plans_filters and matches < self.rows.n else None

    def prefer(self, strategy: str) -> None:
        """Meet filters in this way, a word of ``core.hits.WAYS``; "walk" leaves the choice to the planner again."""
        self.finder().prefer(WAYS.index(strategy))

    def search(
        self, q: Prepared, k: int, *, budget: int = 0, allow: NDArray[np.bool_] | None = None, depth: int = 1
    ) -> Hits:
        """The best ``k`` that are found; every row is scored where ``budget`` covers them all or few match."""
        n = self.rows.n
        k = check_search(k, n, allow)
        matches = n if allow is None else int(np.count_nonzero(allow))
        allow = None if matches == n else allow
        effort, k = self.effort(k, budget, matches), min(depth * k, n)
        if effort is None:
            found, scores = self._scan(q, k, allow)
            return Hits(found, scores, np.full(q.m, matches, np.int64))
        seen = q.queries if self.looks else None
        made = finders.find(self.finder(), self._format(), _folded(q), k, effort, allow, n, None, seen)
        found, scores, scored, ways = made
        return Hits(found, scores, scored, ways=ways if self.plans_filters and allow is not None else None)

    def _format(self) -> RowFormat:
        fmt = self.rows.scorer.format
        if fmt is None:
            raise TypeError(f"{self.name()}: attached to rows without a layout")
        return fmt

    def _scan(self, q: Prepared, k: int, allow: NDArray[np.bool_] | None) -> tuple[I64, F32]:
        rows = self.rows
        return kernels.scan(self._format(), rows.codes, _folded(q), q.metric, k, terms=rows.terms, allow=allow)


class Walking(Finding):
    """An index whose finder walks a graph; a derived class sets ``graph`` in ``take``."""

    plans_filters: ClassVar[bool] = True
    graph: Graph

    def check(self, n: int, columns: Columns, gone: NDArray[np.bool_]) -> None:
        """Every link, and every row where walks begin, is a row that is there."""
        check_links(self, columns, gone, "links", "entries")

    def make(self, fmt: RowFormat) -> Any:
        """What walks the graph."""
        rows = self.rows
        return self.graph.finder(fmt, rows.codes, rows.scorer.metric, rows.terms)

    def spend(self, k: int, budget: int, matches: int) -> int | None:
        """The width of the frontier."""
        return self.graph.spend(k, budget)


def _folded(q: Prepared) -> Any:
    if q.folded is None:
        raise TypeError("queries: attached to rows without a layout")
    return q.folded


def check_finite(index: Index, columns: Mapping[str, NDArray[Any]], *names: str) -> None:
    """Refuse columns of floats that hold others than finite numbers."""
    for name in names:
        if not np.isfinite(columns[name]).all():
            raise Corrupt(f"{index.name()}: the column {name!r} should hold finite numbers")


def check_links(index: Index, columns: Mapping[str, NDArray[Any]], gone: NDArray[np.bool_], *names: str) -> None:
    """Refuse columns of links that lead to rows that are not there, or that are gone; a blank link is none."""
    for name in names:
        links = columns[name].reshape(-1)
        for start in range(0, links.size, _LOOKED):
            some = links[start : start + _LOOKED]
            some = some[some != NO_LINK]
            if (some >= gone.size).any() or gone[some].any():
                raise Corrupt(f"{index.name()}: the column {name!r} leads to rows that are not there")


def check_each_once(index: Index, columns: Mapping[str, NDArray[Any]], n: int, *names: str) -> None:
    """Refuse columns whose lines do not hold every row once: a row that is missing is never found."""
    for name in names:
        for line in columns[name].reshape(-1, n):
            met = np.zeros(n, np.bool_)
            met[line[line < n]] = True
            if not met.all():
                raise Corrupt(f"{index.name()}: the column {name!r} should hold every row once")


def unfolded(rows: Rows, directions: F32) -> F32 | None:
    """Directions ``[r, d]`` as they lie in the weights of folded queries, so that products with both are equal.

    None where the codec's weights are no linear image of a query, or lose a part of it.
    """
    matrix = _folding(rows, directions.shape[1])
    if matrix is None:
        return None
    scales = _diagonal(matrix)
    if scales is not None:
        return np.asarray(directions * scales, np.float32)
    back = np.linalg.pinv(matrix)  # weights @ back = query
    if np.abs(matrix @ back - np.eye(len(matrix))).max() > 1e-3:
        return None
    return np.asarray(directions @ back.T, np.float32)


def _folding(rows: Rows, d: int) -> NDArray[np.float64] | None:
    """The matrix ``[d, dim]`` that makes weights of queries, where there is one."""
    codec = getattr(rows.scorer, "codec", None)
    if codec is None:
        return None
    weights = codec.fold(np.concatenate([np.eye(d, dtype=np.float32), np.zeros((1, d), np.float32)])).weights
    return None if weights is None or weights[d].any() else weights[:d].astype(np.float64)


def _diagonal(matrix: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The inverse of the diagonal, where there is nothing beside it; what scores nothing counts for nothing."""
    diagonal = np.diagonal(matrix)
    if matrix.shape[0] != matrix.shape[1] or np.any(matrix - np.diag(diagonal)):
        return None
    return np.where(diagonal != 0, 1 / np.where(diagonal != 0, diagonal, 1), 0)


def width_of(rows: Rows) -> int:
    """How wide rows are as they were given to ``build``."""
    return int(rows.decode(rows.codes[:1]).shape[1])
