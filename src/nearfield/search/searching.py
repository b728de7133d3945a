"""Searches rows under a fitted Plan: one native call where that is possible, else step by step."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.arrays import ArraySource, as_batch, check_on_zero
from nearfield.core.bitmaps import Bitmap
from nearfield.core.checks import plain, whole
from nearfield.core.hits import Hits
from nearfield.core.indexes import check_search
from nearfield.core.protocols import F32, I64
from nearfield.numerics import finders
from nearfield.search.compiled import compile_plan
from nearfield.search.filtering import each_filter, several
from nearfield.search.queries import as_queries
from nearfield.search.rescore import rescore
from nearfield.search.state import State
from nearfield.search.tiers import faults, native_checks

QUERY_BLOCK = 512  # queries prepared together: their tables stay within a few megabytes
_FLOATS = np.dtype(np.float32)
_SETTLED = 256  # ways to search that are remembered
_UNKNOWN = object()  # a pipeline that was not asked for yet


class Searched(State):
    """A state of rows and the ways to search it; any number of threads may do so at once."""

    pipeline: Any = _UNKNOWN

    @cached_property
    def settled(self) -> dict[tuple[int, int | None], tuple[Any, ...]]:
        """For a ``k`` and a budget that were asked for before: what answers a query, and what is told of it beside."""
        return {}

    def search(
        self,
        queries: Any,
        k: int = 10,
        budget: int | None = None,
        allow: NDArray[np.bool_] | Bitmap | None = None,
        on_zero: str = "raise",
        vectors: Callable[..., Any] | None = None,
        encoder: Any = None,
        expand: Any = None,
    ) -> Hits:
        """The ``k`` best rows for each query; ``vectors`` makes them of texts by ``encoder`` and ``expand``."""
        n, wanted = self.fitted.n, k
        check_on_zero(on_zero)
        if type(k) is not int or allow is not None or not 0 < k <= n:  # the usual is plainly sound
            wanted = plain(k)
            k = check_search(wanted, n, allow)
        asked = allow
        bare = allow is None and self.fitted.mended  # deleted rows need no mask where no link leads to them
        if self.live is not None:
            given = allow.flags if isinstance(allow, Bitmap) else allow
            allow, k = self.live if given is None else given & self.live, max(1, min(k, len(self)))
        sound = budget is None or (type(budget) is int and budget > 0)
        if sound and type(queries) is np.ndarray and queries.dtype.kind in "fiu":
            made = self.search_compiled(_as_floats(queries), k, budget or 0, None if bare else allow)
            if made is not None:
                hits, done = made
                if done and (bare or allow is None):
                    self._settle((wanted, budget), k)
                if done:
                    return hits
                if (hits.scored >= 0).any():
                    return self._with_rest(hits, queries, partial(self.search, k=wanted, budget=budget), asked, on_zero)
        if isinstance(allow, Bitmap):
            allow = allow.flags
        if budget is not None:
            budget = whole("budget", budget, 1, what="a whole number of rows")
        shared = None if several(allow) else allow
        x = np.atleast_2d(queries) if vectors is None else vectors(self, queries, encoder, expand, shared)
        if type(queries) is not np.ndarray:
            batch = as_batch(x, "queries")
            if type(batch) is ArraySource:  # as an array, a list or what texts became has a way through native code too
                return self.search(batch.array, wanted, budget, asked, on_zero)
        if several(allow):
            return each_filter(partial(self.search, k=k, budget=budget, on_zero=on_zero), x, allow)
        return self._search_by_steps(x, k, budget, allow, on_zero)

    def _search_by_steps(
        self, x: Any, k: int, budget: int | None, allow: NDArray[np.bool_] | None, on_zero: str
    ) -> Hits:
        """What every plan and every query can take."""
        f, n = self.fitted, self.fitted.n
        q = as_queries(x, f.metric, f.d, on_zero)
        if f.origin is not None:
            q = q - f.origin
        self.touch(*self.searched)
        zeros = f.zero_rows
        admit = self._without(allow, zeros)
        found = [self._search_block(q[i : i + QUERY_BLOCK], k, budget, admit) for i in range(0, len(q), QUERY_BLOCK)]
        hits = _stack(found, k, n)
        hits.metric, hits.names, hits.texts = f.metric, self.ids, self.texts
        if zeros.size:
            _merge_zeros(hits, zeros if allow is None else zeros[allow[zeros]], k)
        if f.metric == "cosine" and on_zero == "keep":
            _blank_queries(hits, np.abs(q).max(axis=1, initial=0) == 0, allow, n)
        return hits

    def _settle(self, key: tuple[int, int | None], k: int) -> None:
        effort = self.index.effort(k, key[1] or 0, self.fitted.n)
        if effort is not None and len(self.settled) < _SETTLED:
            self.settled[key] = (finders.one_by_one(self.pipeline, k, effort), self.fitted.metric, *self.named)

    def search_settled(self, q: NDArray[Any], k: int, budget: int | None) -> Hits | None:
        """The answer to one query in the way that an earlier one went: a search of microseconds is not asked twice
        whether its arguments are sound. None where anything is otherwise."""
        if type(k) is not int or not (budget is None or type(budget) is int) or q.dtype is not _FLOATS:
            return None
        way = self.settled.get((k, budget))
        if way is None or (q.ndim != 2 and q.ndim != 1) or (q.ndim == 2 and len(q) != 1):
            return None
        one, metric, names, texts = way
        found = one(q if q.ndim == 2 else q[None, :])
        if found is None:
            return None
        rows, scores, counts = found
        return Hits(rows, scores, counts[0], metric, names, texts, counts[1] if self.rescorers else None)

    def _with_rest(
        self, hits: Hits, queries: NDArray[Any], search: Callable[..., Hits], allow: Any, on_zero: str
    ) -> Hits:
        """Answer those of several queries that native code left, as each of them is answered by itself."""
        as_queries(queries, self.fitted.metric, self.fitted.d, on_zero)  # a query that is refused is told by its place
        left = np.flatnonzero(hits.scored < 0)
        flags = allow.flags if isinstance(allow, Bitmap) else allow
        rest = search(queries[left], allow=flags[left] if several(flags) else flags, on_zero=on_zero)
        hits.rows[left], hits.scores[left], hits.scored[left] = rest.rows, rest.scores, rest.scored
        if hits.rescored is not None and rest.rescored is not None:
            hits.rescored[left] = rest.rescored
        return hits

    def search_compiled(
        self, q: F32, k: int, budget: int, allow: NDArray[np.bool_] | Bitmap | None
    ) -> tuple[Hits, bool] | None:
        """The answers of one native call and whether all queries have one: of the others, -1 rows were scored.

        None where the plan or the filter need more care.
        """
        if self.pipeline is _UNKNOWN:
            self.pipeline = self._compile()
        if self.pipeline is None or not 1 <= q.ndim <= 2:
            return None
        q = q if q.ndim == 2 else q[None, :]
        matches, given = self.fitted.n, None if allow is None else finders.filters(allow)
        if given is not None:
            if len(given[1]) != len(q) and (several(allow) or len(given[1]) > 1):
                return None
            matches = int(given[1].min(initial=matches))
            given = given if matches < self.fitted.n else None
        effort = self.index.effort(k, budget, matches)
        if effort is None:
            return None
        if given is not None and len(given[1]) > 1 and self.index.effort(k, budget, int(given[1].max())) != effort:
            return None  # each goes its own way
        with faults():
            rows, scores, (scored, rescored, ways), whole = finders.run(self.pipeline, q, k, effort, given)
        names, texts = self.named
        return Hits(rows, scores, scored, self.fitted.metric, names, texts, rescored if self.rescorers else None,
                    ways if given is not None else None), whole  # fmt: skip

    def _compile(self) -> Any:
        f = self.fitted
        if f.zero_rows.size or f.origin is not None or f.as_given or f.metric == "hamming":
            return None
        if self.index.finder() is None:
            return None
        names = [f"rescore{i}" for i in range(len(self.rescorers))]
        if self.segment:  # these are not verified as they are touched
            self.touch(*self.searched, *(f"{name}.terms" for name in names))
        finer = [
            (s, self.finer(n), self.columns.get(f"{n}.terms"), self._checks(n)) for s, n in zip(self.rescorers, names)
        ]
        steps = list(zip(f.plan.rescores, finer))
        live = None if self.live is None else finders.filters(self.live)
        return compile_plan(self.index, self.scorer, f.maps, steps, f.d, unit=f.metric == "cosine", live=live)

    def _checks(self, name: str) -> Any:
        """Checksums by which native code checks the rows of a mapped column that it touches."""
        if self.segment is None or name in self.on_disk:
            return None
        return native_checks(self.segment, name)

    def _search_block(self, q: F32, k: int, budget: int | None, allow: NDArray[np.bool_] | None) -> Hits:
        mapped, bias = q, None
        for map_ in self.fitted.maps:
            extra = map_.query_bias(mapped)
            if extra is not None:
                bias = extra if bias is None else bias + extra
            mapped = map_.transform_queries(mapped)
        depth = max((step.depth for step in self.fitted.plan.rescores), default=1)
        with faults():
            hits = self.index.search(self.scorer.prepare(mapped), k, budget=budget or 0, allow=allow, depth=depth)
        if not self.fitted.plan.rescores:
            if bias is not None:
                hits.scores += bias[:, None]
            return hits
        rows, scores = hits.rows, hits.scores
        counted = np.zeros(len(q), dtype=np.int64)
        for i, (step, scorer) in enumerate(zip(self.fitted.plan.rescores, self.rescorers)):
            later = [s.depth for s in self.fitted.plan.rescores[i + 1 :]]
            keep = min(max([k, *(depth * k for depth in later)]), self.fitted.n)
            name = f"rescore{i}"
            places = np.where(rows >= 0, self.index.places(rows), -1)
            self.touch_rows(name, places)
            prepared = scorer.prepare(q if step.of == "input" else mapped)
            counted += (rows >= 0).sum(axis=1)
            first = scores if step.of == "residual" else None
            if first is not None and prepared.folded is not None:
                prepared.folded.squares = None if prepared.metric != "l2" else np.zeros(len(q), np.float32)
            terms = self.columns.get(f"{name}.terms")
            rows, scores = rescore(prepared, scorer, self.finer(name), terms, rows, keep, first, places)
            if step.of != "input" and bias is not None:
                scores += bias[:, None]
        return Hits(rows, scores, hits.scored, rescored=counted)

    def _without(self, allow: NDArray[np.bool_] | None, zeros: I64) -> NDArray[np.bool_] | None:
        if not zeros.size:
            return allow
        admit = np.ones(self.fitted.n, dtype=np.bool_) if allow is None else allow.copy()
        admit[zeros] = False
        return admit


def _as_floats(queries: NDArray[Any]) -> F32:
    """Numbers as float32; those that it cannot hold become infinite, which no search takes."""
    if queries.dtype == np.float32:
        return queries
    with np.errstate(over="ignore"):
        return queries.astype(np.float32)


def _stack(found: list[Hits], k: int, n: int) -> Hits:
    if not found:
        return Hits(np.zeros((0, k), np.int64), np.zeros((0, k), np.float32), np.zeros(0, np.int64))
    if len(found) == 1:
        return found[0]
    rescored = [h.rescored for h in found if h.rescored is not None]
    return Hits(
        np.concatenate([h.rows for h in found]),
        np.concatenate([h.scores for h in found]),
        np.concatenate([h.scored for h in found]),
        rescored=np.concatenate(rescored) if rescored else None,
    )


def _merge_zeros(hits: Hits, zeros: I64, k: int) -> None:
    """Zero rows score 0 under cosine: merge them into results that left them out."""
    m = len(hits)
    extra = zeros[:k]
    rows = np.concatenate([hits.rows, np.broadcast_to(extra, (m, extra.size))], axis=1)
    scores = np.concatenate([hits.scores, np.zeros((m, extra.size), np.float32)], axis=1)
    order = np.lexsort((np.where(rows < 0, np.iinfo(np.int64).max, rows), -scores), axis=1)[:, :k]
    hits.rows = np.take_along_axis(rows, order, axis=1)
    hits.scores = np.take_along_axis(scores, order, axis=1)


def _blank_queries(hits: Hits, blank: NDArray[np.bool_], allow: NDArray[np.bool_] | None, n: int) -> None:
    """A zero query is as near to every row: all score 0, and rows come in their own order."""
    rows = np.arange(n) if allow is None else np.flatnonzero(allow)
    k = hits.rows.shape[1]
    for i in np.flatnonzero(blank):
        count = min(k, rows.size)
        hits.rows[i], hits.scores[i] = -1, -np.inf
        hits.rows[i, :count], hits.scores[i, :count] = rows[:count], 0
