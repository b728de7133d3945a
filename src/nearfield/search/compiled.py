"""A fitted Plan as one native call: where maps and folds are affine, a query passes through without Python.

What a map or a codec makes of a query is asked of it by the unit vectors, and compared on drawn queries with what it
makes of those: a step that is not affine is found out, and the plan then runs step by step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from nearfield.core.codecs import CodecScorer
from nearfield.core.indexes import Index
from nearfield.core.maps import Map
from nearfield.core.protocols import F32, TABLE_LAYOUTS, Folded
from nearfield.numerics import finders, kernels
from nearfield.search.pieces import Pieces, folded, taken_apart
from nearfield.search.rescore import Rescore
from nearfield.search.tiers import DiskColumn

WIDEST = 4096  # asking by unit vectors takes the square of the width
_PROBES = 8
_TOLERANCE = 1e-4
_FARTHEST = 2.0**60
_CONSTANTS = ("inside", "slope", "outside")

Affine: TypeAlias = tuple[int, int, F32 | None, F32 | None, F32 | None]  # in, out, matrix, diagonal, offset
Number: TypeAlias = tuple[F32 | None, float, bool]  # product with the query, constant, whether there is one
Column: TypeAlias = tuple[CodecScorer, Any, F32 | None, Any]  # how codes are scored, the codes, their terms, checksums


def compile_plan(
    index: Index,
    scorer: CodecScorer,
    maps: list[Map],
    steps: list[tuple[Rescore, Column]],
    d: int,
    *,
    unit: bool,
    live: finders.Filters | None,
) -> Any:
    """The native pipeline of a plan, or None where it has to run step by step.

    ``live`` are the rows that are found where no filter is given, if some are not.
    """
    if kernels.native() is None or d > WIDEST or scorer.format is None:
        return None
    finder = index.finder()
    mapping = _maps(maps, d, unit=unit)
    bias = (None, 0.0, False) if steps and steps[-1][0].of == "input" else _bias(maps, d, unit=unit)
    if finder is None or mapping is None or bias is None:
        return None
    fold = _fold(scorer, mapping[1])
    made = []
    for step, (finer, codes, terms, checks) in steps:
        mapped = step.of != "input"
        own = _fold(finer, mapping[1] if mapped else d)
        if own is None or finer.format is None:
            return None
        if isinstance(codes, DiskColumn):
            rows = finders.native_rows_on_disk(finer.format, codes.native, finer.metric, terms, codes.shape[0])
        else:
            rows = finders.native_rows(finer.format, codes, finer.metric, terms, checks=checks)
        made.append((rows, own, mapped, step.of == "residual", step.depth))
    return None if fold is None else kernels.native().Pipeline(finder, unit, mapping, fold, bias, made, live)


def _maps(maps: list[Map], d: int, *, unit: bool) -> Affine | None:
    if not maps:
        return (d, d, None, None, None)
    return _affine(lambda q: _through(maps, q), d, _drawn(d, unit=unit))


def _bias(maps: list[Map], d: int, *, unit: bool) -> Number | None:
    """What the maps add to every score of a query."""

    def added(q: F32) -> F32:
        total = np.zeros((len(q), 1), np.float32)
        for step in maps:
            extra = step.query_bias(q)
            total += 0 if extra is None else extra[:, None]
            q = np.asarray(step.transform_queries(q), np.float32)
        return total

    return _scalar(added, d, _drawn(d, unit=unit)) if maps else (None, 0.0, False)


def _through(maps: list[Map], q: Any) -> F32:
    for step in maps:
        q = step.transform_queries(q)
    return np.asarray(q, np.float32)


def _drawn(d: int, *, unit: bool) -> F32:
    q = np.random.default_rng(0).normal(size=(_PROBES, d))
    if unit:
        q /= np.linalg.norm(q, axis=1, keepdims=True)
    return q.astype(np.float32)


def _affine(f: Callable[[F32], F32], d: int, probes: F32) -> Affine | None:
    """``f`` as a matrix (or its diagonal, or nothing where it is the identity) and an offset; None where it is not."""
    offset = f(np.zeros((1, d), np.float32))[0]
    reach = _reach(f, probes, offset)
    matrix = np.ascontiguousarray(((f(reach * np.eye(d, dtype=np.float32)) - offset) / reach).T)
    want = f(reach * probes)
    if not np.isfinite(matrix).all() or not _alike(reach * probes @ matrix.T + offset, want):
        return None
    shift = offset if offset.any() else None
    if matrix.shape == (d, d) and not np.any(matrix - np.diag(np.diagonal(matrix))):
        diagonal = np.ascontiguousarray(np.diagonal(matrix))
        return (d, d, None, None if (diagonal == 1).all() else diagonal, shift)
    return (d, len(matrix), matrix, None, shift)


def _reach(f: Callable[[F32], F32], probes: F32, offset: F32) -> np.float32:
    """How long queries are asked by: what those of length one add is lost beside the offset of rows far from zero."""
    least, reach = float(np.abs(offset).max(initial=0)), 1.0
    while reach < _FARTHEST and np.abs(f(np.float32(reach) * probes) - offset).max(initial=0) < least:
        reach *= 16
    return np.float32(reach if reach < _FARTHEST else 1.0)  # no query adds anything to a constant


def _alike(a: F32, b: F32) -> bool:
    return bool(np.abs(a - b).max(initial=0) <= _TOLERANCE * max(np.abs(b).max(initial=0), 1e-30))


def _fold(scorer: CodecScorer, d: int) -> Any:
    """What the codec makes of a query: weights and three constants, each affine in it; of tables also their pieces."""
    fold, probes = scorer.fold, _drawn(d, unit=scorer.metric != "l2")

    def weights(q: F32) -> F32:
        found = fold(q).weights
        return np.zeros((len(q), 0), np.float32) if found is None else found

    tables: list[Pieces | None] = []
    try:
        numbers = [_number(fold, name, d, probes) for name in _CONSTANTS]
        if scorer.layout in TABLE_LAYOUTS:
            made, tables = _tables(fold, d, probes)
        else:
            made = _affine(weights, d, probes)
    except (ValueError, FloatingPointError):  # a fold that refuses zeros or unit vectors
        return None
    if made is None or None in numbers:
        return None
    return (made, *numbers, *tables)


def _tables(fold: Callable[[F32], Folded], d: int, probes: F32) -> tuple[Affine | None, list[Pieces | None]]:
    """Weights of the query, and the nibble tables and byte tables as pieces of them."""

    def kinds(q: F32) -> list[F32]:
        got = fold(q)
        return [t for t in (got.nibble_tables, got.byte_tables) if t is not None]

    found = taken_apart(kinds, d)
    if found is None:
        return None, []
    matrix, pieces = found
    z = probes if matrix is None else probes @ matrix.T
    if not all(_alike(folded(z, p), want) for p, want in zip(pieces, kinds(probes))):
        return None, []
    got, made = fold(probes), iter(pieces)
    each = [None if t is None or not t.size else next(made) for t in (got.nibble_tables, got.byte_tables)]
    return (d, d if matrix is None else len(matrix), matrix, None, None), each


def _number(fold: Callable[[F32], Folded], name: str, d: int, probes: F32) -> Number | None:
    if getattr(fold(probes), name) is None:
        return (None, 0.0, False)
    return _scalar(lambda q: getattr(fold(q), name)[:, None], d, probes)


def _scalar(f: Callable[[F32], F32], d: int, probes: F32) -> Number | None:
    """A number a query, as a product with it and a constant."""
    found = _affine(f, d, probes)
    if found is None:
        return None
    _, _, matrix, diagonal, offset = found
    number = 0.0 if offset is None else float(offset[0])
    if d == 1:
        return (np.ones(1, np.float32) if diagonal is None and matrix is None else diagonal, number, True)
    row = None if matrix is None or not matrix.any() else np.ascontiguousarray(matrix[0])
    return (row, number, True)
