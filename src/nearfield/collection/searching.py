"""Rankings of one snapshot: filters become masks, each field or text gives a ranking, several are fused into one."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfield.collection import dense, matching
from nearfield.collection.intake import ragged_columns, sparse_columns
from nearfield.collection.matching import EMPTY, picked
from nearfield.collection.plans import Coded
from nearfield.core import arrays
from nearfield.core.dlpack import without_tensors
from nearfield.core.errors import BadInput, Cancelled
from nearfield.core.fusers import Ranking
from nearfield.core.protocols import F32, I64, Metric
from nearfield.numerics import kernels
from nearfield.search.queries import as_queries
from nearfield.store import tokenizers
from nearfield.store.fields import Field, known_field
from nearfield.store.filters import Filter, check
from nearfield.store.parts import Part, SegmentPart
from nearfield.store.snapshot import Snapshot

if TYPE_CHECKING:
    from nearfield.search.packed import Packed

Mask = NDArray[np.bool_]
DEPTH = 100  # rows of each ranking that are fused, or ten times what is asked for
_PRODUCTS = 1 << 30  # of numbers, between two looks at the clock, by each thread: about a tenth of a second
_EXACT = 2000  # rows that are scored by their own vectors rather than by codes, where no more pass
_PANEL = 16  # queries that kernels score together at the least
NO_SCORES: F32 = np.zeros(0, np.float32)


class Stop:
    """Ends a search that takes too long, or is no longer wanted."""

    def __init__(self, timeout: float | None, cancel: threading.Event | None) -> None:
        self._end = None if timeout is None else time.monotonic() + timeout
        self._timeout = timeout
        self._cancel = cancel

    def check(self) -> None:
        """Raise ``Cancelled`` where the time is up or somebody asked to stop."""
        if self._cancel is not None and self._cancel.is_set():
            raise Cancelled("search: cancelled")
        if self._end is not None and time.monotonic() > self._end:
            raise Cancelled(f"search: not done within {self._timeout:g} s; allow more time, or narrow it with where=")


@dataclass
class Scope:
    """Which rows a search may find, and how it was told so."""

    snapshot: Snapshot
    masks: list[Mask | None]  # one for each view; None: all
    where: Filter | None = None
    exact: bool = False
    stop: Stop = field(default_factory=lambda: Stop(None, None))
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def matches(self) -> int:
        """How many rows may be found."""
        pairs = zip(self.snapshot.views, self.masks)
        return sum(view.part.n if mask is None else int(np.count_nonzero(mask)) for view, mask in pairs)


def make_scope(snapshot: Snapshot, where: Filter | None, stop: Stop, *, exact: bool = False) -> Scope:
    """Evaluate a filter on every part; ``BadFilter`` where no row's value could compare with its literals."""
    if where is not None:
        check(where, snapshot.paths)
    masks: list[Mask | None] = []
    for view in snapshot.views:
        stop.check()
        mask = view.live
        if where is not None:
            passes = view.part.mask(where)
            mask = passes if mask is None else passes & mask
        masks.append(mask)
    return Scope(snapshot, masks, where, exact, stop)


# ---- one ranking -----------------------------------------------------------------------------------
def rank_dense(scope: Scope, number: int, q: NDArray[Any], k: int, budget: int | None = None) -> list[Ranking]:
    """The best rows of a dense field for each query ``[m, d]``; so many at a time that it can be stopped meanwhile."""
    most = max([view.part.n for view in scope.snapshot.views], default=0) * scope.snapshot.fields[number].dim
    step = max(_PANEL, _PRODUCTS * kernels.thread_count() // max(1, most))
    return [r for i in range(0, len(q), step) for r in _rank_block(scope, number, q[i : i + step], k, budget)]


def _rank_block(scope: Scope, number: int, q: NDArray[Any], k: int, budget: int | None) -> list[Ranking]:
    query = dense.make_query(scope.snapshot.fields[number], q)
    parts, paths = [], []
    for view, mask in zip(scope.snapshot.views, scope.masks):
        scope.stop.check()
        packed, strategy = _packed(scope, view.part, number, mask), None
        if packed is not None:
            from nearfield.collection.coded import best_coded

            rows, scores, scored, strategy = best_coded(packed, view.part, number, q, k, mask, budget)
        else:
            rows, scores, scored = dense.best(view.part, number, query, k, mask)
        parts.append((rows, scores))
        path = "nothing passes" if not scored else "exact" if packed is None else str(packed.plan)
        told = {} if strategy is None else {"strategy": strategy}
        paths.append({"rows": view.part.n, "scored": scored, "path": path} | told)
    scope.told[f"field {number}"] = paths
    rows, scores = _merged(parts, query.m, k)
    return [(r[r >= 0], s[r >= 0]) for r, s in zip(rows, scores)]


def _packed(scope: Scope, part: Part, number: int, mask: Mask | None) -> Packed | None:
    """The codes to search a part by; None where it is searched exactly: no Plan, the tail, or so few rows pass."""
    plan = Coded.of(scope.snapshot, number)
    if plan is None or scope.exact or not isinstance(part, SegmentPart) or not len(part.having(number)):
        return None
    passing = part.n if mask is None else int(np.count_nonzero(mask))
    few = passing <= _EXACT and passing * dense.FEW <= part.n
    if few and plan.keep is not None:
        return None
    from nearfield.collection.coded import packed_of

    return packed_of(part, number, plan.file)


def _merged(parts: list[tuple[I64, F32]], m: int, k: int) -> tuple[I64, F32]:
    full = [p for p in parts if p[0].shape[1]]
    if len(full) == 1:
        return full[0]
    if not full:
        return np.zeros((m, 0), np.int64), np.zeros((m, 0), np.float32)
    return kernels.merge(full, min(k, sum(p[0].shape[1] for p in full)))


def rank_sparse(scope: Scope, number: int, terms: I64, weights: F32, k: int) -> Ranking:
    """The best rows of a sparse field; rows that share no term with the query score 0."""
    spec = scope.snapshot.fields[number]
    found = []
    for view, mask in zip(scope.snapshot.views, scope.masks):
        scope.stop.check()
        vectors = view.part.vectors(number)
        scores = matching.sparse_scores(view.part, number, spec, terms, weights)
        if vectors is None or scores is None:
            continue
        at = np.arange(view.part.n) if vectors.present is None else vectors.present
        passes = np.ones(len(at), np.bool_) if mask is None else mask[at]
        found.append(picked(view.part.rows[at[passes]], scores[passes], k))
    return _joined(found, k)


def rank_ragged(scope: Scope, number: int, tokens: F32, k: int) -> Ranking:
    """The best rows of a ragged field by MaxSim."""
    spec = scope.snapshot.fields[number]
    found = []
    for view, mask in zip(scope.snapshot.views, scope.masks):
        scope.stop.check()
        vectors = view.part.vectors(number)
        if vectors is None:
            continue
        at = np.arange(view.part.n) if vectors.present is None else vectors.present
        passes = np.arange(len(at)) if mask is None else np.flatnonzero(mask[at])
        scores = matching.maxsim(view.part, number, spec, tokens, passes)
        found.append(picked(view.part.rows[at[passes]], scores, k))
    return _joined(found, k)


def _joined(found: list[tuple[I64, F32]], k: int) -> Ranking:
    rows = np.concatenate([EMPTY, *(r for r, _ in found)])
    return picked(rows, np.concatenate([NO_SCORES, *(s for _, s in found)]), k)


def rank_text(scope: Scope, text: str, k: int, tokenizer: str, *, keep: bool) -> Ranking:
    """The best rows that hold a word of a text."""
    how = tokenizers.read(tokenizer)
    rows, scores, matches = matching.bm25(scope.snapshot, text, k, scope.masks, tokenizer=how, keep=keep)
    scope.told["text"] = {"tokenizer": tokenizer, "rows that hold a word": matches}
    return rows, scores


def refuse_without_texts(snapshot: Snapshot) -> None:
    """Raise ``BadInput`` where there are rows, and none has a text."""
    if len(snapshot) and not any(view.part.has_texts for view in snapshot.views):
        raise BadInput(
            "text: expected rows with texts to look for words in, got a collection without any; search with a vector, "
            "or write texts="
        )


# ---- queries ---------------------------------------------------------------------------------------
def ready_queries(name: str, spec: Field, given: Any, on_zero: str) -> tuple[Any, bool]:
    """Queries of a field, checked: for dense ones ``[m, d]``, and whether it was a single one."""
    if spec.kind == "sparse":
        found = sparse_columns(name, spec, [given], 1)
        return (found.indices, found.values), True
    given = without_tensors(given, "query")
    if spec.kind == "ragged":
        return np.asarray(ragged_columns(name, spec, [given], 1).values, dtype=np.float32), True
    try:
        single = not hasattr(given, "blocks") and np.ndim(given) == 1 and len(given) > 0
    except ValueError:
        single = False  # a ragged list, which is refused below
    batch = np.asanyarray(given)[None, :] if single else given
    if spec.nearness == "hamming":
        bits = arrays.as_batch(batch, "query")
        if bits.shape[1] != spec.width:
            raise BadInput(f"query: expected {spec.width} bytes of packed bits, as the field has, got {bits.shape[1]}")
        rows = bits.take(np.arange(bits.shape[0]))
        return arrays.packed_bits(rows, "query"), single
    return as_queries(batch, spec.nearness, spec.dim, on_zero), single


def field_named(snapshot: Snapshot, name: str | None, kind: str | None = None) -> tuple[str, int]:
    """A field by its name; the only one, or the first of a kind, where none is named."""
    names = [n for n, number in snapshot.names.items() if kind is None or snapshot.fields[number].kind == kind]
    if name is None:
        if not names:
            raise BadInput("search: this collection has no vectors to search; add a field, or search text=")
        name = names[0]
    return name, snapshot.names[known_field(name, snapshot.names)]


# ---- ranges --------------------------------------------------------------------------------------
def all_above(scope: Scope, number: int, q: NDArray[Any], least: float) -> Ranking:
    """Every row whose score is at least so much, best first: a range search."""
    query = dense.make_query(scope.snapshot.fields[number], q)
    rows, scores = [EMPTY], [NO_SCORES]
    for view, mask in zip(scope.snapshot.views, scope.masks):
        vectors = view.part.vectors(number)
        if vectors is None:
            continue
        positions = np.arange(view.part.n) if vectors.present is None else vectors.present
        passes = np.arange(len(positions)) if mask is None else np.flatnonzero(mask[positions])
        for start in range(0, len(passes), 1 << 18):
            scope.stop.check()
            at = passes[start : start + (1 << 18)]
            found = dense.score(view.part, number, query, at)[0]
            near = found >= least
            rows.append(view.part.rows[positions[at[near]]])
            scores.append(found[near])
    every, score = np.concatenate(rows), np.concatenate(scores)
    order = np.lexsort((every, -score))
    return every[order], score[order]


def metric_of(specs: list[Field], texts: bool) -> Metric | None:
    """The metric whose scores come back: that of the one field that was searched, if it was one."""
    return specs[0].nearness if len(specs) == 1 and not texts and specs[0].kind == "dense" else None


def is_several(q: Any) -> bool:
    """Whether a query names fields."""
    return isinstance(q, Mapping)
