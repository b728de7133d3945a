"""What a person asks for, turned into rankings: vectors, texts, rows that are there; grouped, varied, cut."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.collection import searching
from nearfield.collection.encoding import Encoding
from nearfield.collection.querylog import QueryLog
from nearfield.collection.reading import found_ids
from nearfield.collection.results import Hit, hit_list
from nearfield.collection.searching import Scope, Stop
from nearfield.collection.state import Settings, State
from nearfield.core.arrays import check_on_zero
from nearfield.core.checks import real, shown, whole
from nearfield.core.errors import BadInput
from nearfield.core.fusers import Ranking
from nearfield.core.hits import HitList, HitLists
from nearfield.core.protocols import F32
from nearfield.numerics.mmr import mmr
from nearfield.store.fields import Field, known_field
from nearfield.store.filters import Filter, to_text, unknown_paths
from nearfield.store.snapshot import Snapshot


@dataclass
class Request:
    """The options of a search; see ``Collection.search``."""

    k: int | None = 10
    text: str | None = None
    id: Any = None
    where: Filter | None = None
    field: str | None = None
    fuse: Any = None
    weights: Sequence[float] | None = None
    depth: int | None = None
    budget: int | None = None
    min_score: float | None = None
    group_by: str | None = None
    diversity: float | None = None
    offset: int = 0
    on_zero: str = "raise"
    exact: bool = False
    explain: bool = False
    timeout: float | None = None
    cancel: threading.Event | None = None
    expand: Any = None

    def check(self) -> None:
        """Refuse what makes no sense before anything is searched; numbers become Python's own."""
        if self.k is None and self.min_score is None:
            raise BadInput("k: expected a whole number of at least 1, got None; k=None goes with min_score=")
        self.offset = whole("offset", self.offset)
        check_on_zero(self.on_zero)
        for name in ("k", "budget", "depth"):
            if getattr(self, name) is not None:
                setattr(self, name, whole(name, getattr(self, name), 1))
        if self.min_score is not None:
            self.min_score = real("min_score", self.min_score)
        if self.timeout is not None:
            self.timeout = real("timeout", self.timeout, "a finite number of seconds, at least 0", least=0)
        if self.diversity is not None:
            self.diversity = real("diversity", self.diversity, "a number from 0 to 1", least=0, most=1)
        if self.cancel is not None and not callable(getattr(self.cancel, "is_set", None)):
            raise BadInput(f"cancel: expected an event such as threading.Event(), got {shown(self.cancel)}")
        if self.group_by is not None and not isinstance(self.group_by, str):
            raise BadInput(f"group_by: expected a metadata key, got {shown(self.group_by)}")
        if self.expand is not None and not hasattr(self.expand, "vector"):
            raise BadInput(f"expand: expected HyDE(...), got {type(self.expand).__name__}")
        if self.text is not None and not isinstance(self.text, str):
            raise BadInput(f"text: expected str, got {type(self.text).__name__}")

    @property
    def reach(self) -> int:
        """How many rows a ranking must hold before it is cut, grouped or varied."""
        wanted = (self.k or 0) + self.offset
        return max(10 * wanted, searching.DEPTH) if self.diversity is not None else wanted


def run(
    state: State, settings: Settings, encoding: Encoding, log: QueryLog, q: Any, request: Request
) -> HitList | HitLists:
    """Search a Collection."""
    request.check()
    snapshot = state.snapshot()
    if request.field is not None:
        known_field(request.field, snapshot.names)
    stop = Stop(request.timeout, request.cancel)
    scope = searching.make_scope(snapshot, request.where, stop, exact=request.exact)
    keep = state.mode != "r"
    if isinstance(q, str):
        q, request = _text_query(scope, q, request, encoding)
    if request.id is not None:
        q = _vector_of(scope, request, q)
    if q is None and request.text is None:
        raise BadInput("search: expected a vector, a text or an id, got nothing")
    if request.text is not None and q is None:
        q = _encoded(scope, request.text, request, encoding)
    lists, specs, several = _rankings(scope, settings, log, q, request, keep)
    metric = searching.metric_of(specs, request.text is not None)
    out = HitLists()
    for ranks in lists:
        rows, scores = _cut(scope, _fuse(scope, ranks, request), request)
        explain = _explained(scope, request, len(rows)) if request.explain else None
        out.append(hit_list(snapshot, rows, scores, metric if len(ranks) == 1 else None, explain))
    return out if several else out[0]


def _encoded(scope: Scope, text: str, request: Request, encoding: Encoding) -> Any:
    """The vector of a text, made by the encoder, or from what expands it; None where there is no encoder."""

    def nearest(name: str, vector: F32, n: int) -> F32:
        _, number = searching.field_named(scope.snapshot, name)
        ready, _ = searching.ready_queries(name, scope.snapshot.fields[number], vector, request.on_zero)
        ((rows, _),) = searching.rank_dense(scope, number, ready, n, request.budget)
        found = [value for value in _vectors_of(scope, number, rows) if value is not None]
        return np.asarray(found, dtype=np.float32).reshape(-1, len(vector))

    found = encoding.query(text, scope.snapshot, request.expand, nearest)
    if found is None and request.expand is not None:
        raise BadInput("expand: expected an encoder to make vectors of texts with; open the collection with encoder=")
    return found


def _text_query(scope: Scope, q: str, request: Request, encoding: Encoding) -> tuple[Any, Request]:
    """A text as query: its vector where there is an encoder, else its words."""
    vector = _encoded(scope, q, request, encoding)
    if vector is not None:
        return vector, request
    if request.text is not None:
        raise BadInput("search: expected one text, got two, and no encoder to make a vector of the first")
    request.text = q
    return None, request


def _vector_of(scope: Scope, request: Request, q: Any) -> Any:
    """The vector of a row that is there; the row itself is left out of what may be found."""
    if q is not None:
        raise BadInput("search: expected a vector or id=, and not both")
    snapshot = scope.snapshot
    views, at = found_ids(snapshot, [request.id])
    if not len(views):
        raise BadInput(f"id: expected the id of a row that is there, got {request.id!r}")
    name, number = searching.field_named(snapshot, request.field)
    view, position = int(views[0]), int(at[0])
    found = snapshot.view(view).part.vectors(number)
    value = None if found is None else found.rows(np.array([position]))[0]
    if value is None:
        raise BadInput(f"id: row {request.id!r} has no vector in field {name!r}")
    mask = scope.masks[view]
    mask = np.ones(snapshot.view(view).part.n, np.bool_) if mask is None else mask.copy()
    mask[position] = False
    scope.masks[view] = mask
    return value


def _rankings(
    scope: Scope, settings: Settings, log: QueryLog, q: Any, request: Request, keep: bool
) -> tuple[list[list[Ranking]], list[Field], bool]:
    """For each query the rankings to fuse; the fields they are of, and whether there were several queries."""
    snapshot = scope.snapshot
    queries = dict(q) if searching.is_several(q) and not _is_sparse(snapshot, request, q) else {request.field: q}
    fields: list[tuple[int, Field, Any, bool]] = []
    for name, given in queries.items():
        if given is not None:
            known, number = searching.field_named(snapshot, name)
            spec = snapshot.fields[number]
            ready, single = searching.ready_queries(known, spec, given, request.on_zero)
            fields.append((number, spec, ready, single))
            if spec.kind == "dense" and spec.nearness != "hamming":
                log.add(known, ready)
    if not fields and request.text is None:
        raise BadInput(f"search: expected a vector of a field, or text=, got None for {', '.join(map(repr, queries))}")
    specs = [spec for _, spec, _, _ in fields]
    count = max([len(ready) for _, spec, ready, _ in fields if spec.kind == "dense"], default=1)
    several = any(not single for _, _, _, single in fields)
    if several and (len(fields) > 1 or request.text is not None):
        raise BadInput("search: expected one query to fuse with others, got a batch; search for each of them")
    deep = _depth(request, len(fields) + (request.text is not None), scope.matches)
    lists: list[list[Ranking]] = [[] for _ in range(count)]
    for number, spec, ready, _ in fields:
        for i, ranking in enumerate(_of_field(scope, number, spec, ready, request, deep)):
            lists[i].append(ranking)
    if request.text is not None:
        lists[0].append(searching.rank_text(scope, request.text, deep, settings.tokenizer, keep=keep))
        if not fields and not len(lists[0][0][0]):
            searching.refuse_without_texts(snapshot)
    return lists, specs, several


def _is_sparse(snapshot: Snapshot, request: Request, q: Any) -> bool:
    """Whether a dictionary is a sparse vector rather than queries by field."""
    return not any(isinstance(key, str) for key in q)


def _depth(request: Request, rankings: int, matches: int) -> int:
    """How many rows each ranking holds: all for a range, and for groups, which may hold any number of them."""
    if request.k is None or request.group_by is not None:
        return max(1, matches)
    if request.depth is not None:
        return max(request.depth, request.reach)
    return request.reach if rankings == 1 else max(10 * request.reach, searching.DEPTH)


def _of_field(scope: Scope, number: int, spec: Field, ready: Any, request: Request, k: int) -> list[Ranking]:
    if spec.kind == "sparse":
        terms, weights = ready
        return [searching.rank_sparse(scope, number, terms, weights, k)]
    if spec.kind == "ragged":
        return [searching.rank_ragged(scope, number, ready, k)]
    if request.k is None and request.min_score is not None:
        return [searching.all_above(scope, number, ready[i : i + 1], request.min_score) for i in range(len(ready))]
    return searching.rank_dense(scope, number, ready, k, request.budget)


def _fuse(scope: Scope, runs: list[Ranking], request: Request) -> Ranking:
    longest = sum(len(rows) for rows, _ in runs)
    wanted = longest if request.group_by is not None or request.k is None else max(request.reach, 1)
    if len(runs) == 1 and request.fuse is None and request.weights is None:
        return runs[0][0][:wanted], runs[0][1][:wanted]
    from nearfield.collection.fusing import make_fuser

    fuser = make_fuser(request.fuse, request.weights, len(runs))  # refused also where there is nothing to fuse
    return fuser.fuse(runs, max(1, wanted)) if len(runs) > 1 else (runs[0][0][:wanted], runs[0][1][:wanted])


def _cut(scope: Scope, ranking: Ranking, request: Request) -> Ranking:
    """Group, vary, and take the part that was asked for."""
    rows, scores = ranking
    if request.min_score is not None:
        near = scores >= request.min_score
        rows, scores = rows[near], scores[near]
    if request.group_by is not None:
        first = _first_of_groups(scope.snapshot, rows, request.group_by, (request.k or len(rows)) + request.offset)
        rows, scores = rows[first], scores[first]
    stop = None if request.k is None else request.offset + request.k
    if request.diversity is not None and len(rows):
        order = _varied(scope, rows, scores, request, stop or len(rows))
        rows, scores = rows[order], scores[order]
    return rows[request.offset : stop], scores[request.offset : stop]


def _first_of_groups(snapshot: Snapshot, rows: NDArray[np.int64], key: str, most: int) -> list[int]:
    """The places of the best row of each group; rows without the key are each a group of their own."""
    seen: set[Any] = set()
    out: list[int] = []
    for place, row in enumerate(rows.tolist()):
        part, at = snapshot.place(row)
        value: Any = part.meta(at)
        for step in key.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        group = repr(value)
        if value is None or group not in seen:
            seen.add(group)
            out.append(place)
            if len(out) == most:
                break
    return out


def _varied(scope: Scope, rows: NDArray[np.int64], scores: NDArray[Any], request: Request, k: int) -> NDArray[np.int64]:
    """Rows that are near and not all the same."""
    name, number = searching.field_named(scope.snapshot, request.field, "dense")
    kind = scope.snapshot.fields[number].kind
    if kind != "dense":
        raise BadInput(f"diversity: expected a search of a dense field, got field {name!r}, which is {kind}")
    vectors = _vectors_of(scope, number, rows)
    for row, vector in zip(rows.tolist(), vectors):
        if vector is None:
            part, at = scope.snapshot.place(row)
            raise BadInput(f"diversity: row {part.id(at)!r} has no vector in field {name!r}")
    return mmr(np.asarray(scores, dtype=np.float64), np.stack(vectors), k, 1 - float(request.diversity or 0))


def _vectors_of(scope: Scope, number: int, rows: NDArray[np.int64]) -> list[Any]:
    """The vector of each row in a field, None where it has none."""
    places = [scope.snapshot.place(row) for row in rows.tolist()]
    found = [(part.vectors(number), at) for part, at in places]
    return [None if held is None else held.rows(np.array([at]))[0] for held, at in found]


def _explained(scope: Scope, request: Request, found: int) -> dict[str, Any]:
    told = {
        "version": scope.snapshot.head.version, "rows": len(scope.snapshot), "where": None,
        "matches": scope.matches, "found": found, "searched": scope.told, "fuse": request.fuse,
    }  # fmt: skip
    if scope.where is not None:
        unknown = unknown_paths(scope.where, scope.snapshot.paths)
        told |= {"where": to_text(scope.where)} | ({"keys that no row has": unknown} if unknown else {})
    return told


__all__ = ["Hit", "Request", "run"]
