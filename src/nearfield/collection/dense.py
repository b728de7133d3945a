"""The best rows of a dense field: an exact scan of the rows that a filter lets through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.codecs.raw import Raw
from nearfield.core import arrays
from nearfield.core.codecs import CodecScorer, score_floats
from nearfield.core.protocols import F32, I64, Element, Prepared
from nearfield.numerics import kernels
from nearfield.store.fields import Field
from nearfield.store.parts import Part, SegmentPart
from nearfield.store.vectors import Vectors

FEW = 8  # where fewer than one row in so many passes, those are scored one by one
_ELEMENTS: dict[str, Element] = {"float32": "f32", "float16": "f16", "int8": "i8", "uint8": "u8"}
_SCORES = 1 << 24  # scores held at once where all are wanted


@dataclass
class Query:
    """Queries of a field, ready: checked, of unit length under cosine, folded for the kernels."""

    field: Field
    given: NDArray[Any]  # float32 [m, d]; packed bits under hamming
    prepared: Prepared | None

    @property
    def m(self) -> int:
        return int(self.given.shape[0])


@lru_cache(maxsize=64)
def _scorer(field: Field) -> CodecScorer:
    codec = Raw()
    codec.dim_, codec.element_ = field.dim, _ELEMENTS[field.dtype]
    return codec.scorer(field.nearness)


def make_query(field: Field, q: Any) -> Query:
    """Queries ``[m, d]`` that were checked already."""
    if field.nearness == "hamming":
        return Query(field, q, None)
    prepared = _scorer(field).prepare(q)
    return Query(field, prepared.queries, prepared)


def best(part: Part, number: int, query: Query, k: int, mask: NDArray[np.bool_] | None) -> tuple[I64, F32, int]:
    """Row numbers ``[m, j]`` and scores of a part's best rows, -1 and -inf where fewer pass; how many were scored."""
    found = part.vectors(number)
    chosen = _chosen(found, mask)
    if found is None or (chosen is not None and not chosen.any()):
        return np.full((query.m, 0), -1, np.int64), np.zeros((query.m, 0), np.float32), 0
    count = found.count if chosen is None else int(np.count_nonzero(chosen))
    at, scores = _best(part, number, found, query, min(k, count), chosen, count)
    positions = at if found.present is None else np.where(at >= 0, found.present[at], -1)
    rows = np.where(positions >= 0, part.rows[positions], -1)
    return rows, scores, count


def _chosen(found: Vectors | None, mask: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    """Which vectors pass: those of rows that do."""
    if found is None or mask is None or found.present is None:
        return mask
    return mask[found.present]


def _best(
    part: Part, number: int, found: Vectors, query: Query, k: int, chosen: NDArray[np.bool_] | None, count: int
) -> tuple[I64, F32]:
    if chosen is not None and count * FEW <= found.count:
        few = np.flatnonzero(chosen)
        at, scores = kernels.topk(score(part, number, query, few), k)
        return np.where(at >= 0, few[at], -1), scores
    _verify(part, number, None)
    if query.prepared is None or _far(part, found, query.field):
        return _by_blocks(part, number, found, query, k, chosen)
    scorer = _scorer(query.field)
    if scorer.format is None or query.prepared.folded is None:
        return _by_blocks(part, number, found, query, k, chosen)
    return kernels.scan(
        scorer.format, _codes(found), query.prepared.folded, query.field.nearness, k, terms=found.terms, allow=chosen
    )


def _by_blocks(
    part: Part, number: int, found: Vectors, query: Query, k: int, chosen: NDArray[np.bool_] | None
) -> tuple[I64, F32]:
    parts = []
    for at in _blocks_of(found.count, query.m):
        few = at if chosen is None else at[chosen[at]]
        if len(few):
            local, scores = kernels.topk(score(part, number, query, few), min(k, len(few)))
            parts.append((np.where(local >= 0, few[local], -1), scores))
    return kernels.merge(parts, k)


def _blocks_of(n: int, m: int) -> Iterator[I64]:
    step = max(1, _SCORES // max(1, m))
    for start in range(0, n, step):
        yield np.arange(start, min(n, start + step), dtype=np.int64)


def score(part: Part, number: int, query: Query, at: I64) -> F32:
    """The scores ``[m, r]`` of some vectors of a part, by their place among the vectors."""
    found = part.vectors(number)
    if found is None:
        return np.zeros((query.m, 0), np.float32)
    _verify(part, number, at)
    if query.prepared is None:
        return -kernels.hamming(query.given, np.ascontiguousarray(found.values[at])).astype(np.float32)
    scorer, folded = _scorer(query.field), query.prepared.folded
    if _far(part, found, query.field) or scorer.format is None or folded is None:
        return _from_the_middle(found, query, at)
    return kernels.score_rows(scorer.format, _codes(found), folded, query.field.nearness, at, found.terms)


def _codes(found: Vectors) -> NDArray[np.uint8]:
    return found.values.view(np.uint8).reshape(found.count, -1)


def _far(part: Part, found: Vectors, field: Field) -> bool:
    """Whether the rows lie so far from zero that products lose the digits of their distances."""
    if field.nearness != "l2" or field.values.kind != "f":
        return False
    known = part.__dict__.setdefault("_origins", {})
    if field not in known or part.n != known[field][0]:
        known[field] = part.n, arrays.far_origin(arrays.ArraySource(found.values), "l2")
    return known[field][1] is not None


def _from_the_middle(found: Vectors, query: Query, at: I64) -> F32:
    """l2 is the same seen from anywhere: look from among the rows."""
    rows = np.asarray(found.values[at], dtype=np.float32)
    origin = rows[:1000].astype(np.float64).mean(axis=0).astype(np.float32)
    return score_floats(query.given - origin, rows - origin, "l2")


def _verify(part: Part, number: int, at: I64 | None) -> None:
    if isinstance(part, SegmentPart):
        part.verify_vectors(number, at)
