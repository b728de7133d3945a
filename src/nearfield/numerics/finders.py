"""Native finders: what searches an index, alone or within a whole plan, in one call for many queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nearfield.core.bitmaps import Bitmap
from nearfield.core.errors import BadInput
from nearfield.core.protocols import F32, I64, TABLE_LAYOUTS, U8, Folded, Metric, RowFormat
from nearfield.numerics.handing import (
    ELEMENTS,
    METRICS,
    Allow,
    as_codes,
    as_f32,
    as_queries,
    bitmap,
    coefficients,
    finite,
    native_format,
    rows_of,
    terms_of,
)
from nearfield.numerics.machine import native, thread_count, which_isa
from nearfield.numerics.pieces import Pace

Filters: TypeAlias = tuple[NDArray[np.uint64], I64]  # words [1 or m, w], how many rows match [1 or m]

_IDS, _SCORES = np.dtype(np.int64), np.dtype(np.float32)
_COUNTS = (3, 1)
_PIECE = 256  # queries of a first piece


def native_rows(
    fmt: RowFormat, codes: U8, metric: Metric, terms: F32 | None, n: int | None = None, checks: Any = None
) -> Any:
    """Codes, checked and handed over once for many searches: ``[n, width]``, or blocks of 32 of ``n`` rows.

    ``checks`` are checksums of codes that are mapped from a file, compared as rows are scored again.
    """
    codes = as_codes(codes)
    blocks = n is not None and fmt.layout in TABLE_LAYOUTS
    if blocks:
        rows_of(fmt, codes, n)
    elif codes.ndim != 2 or codes.shape[1] != fmt.width:
        raise BadInput(f"codes: expected [n, {fmt.width}], got shape {codes.shape}")
    n = n if blocks and n is not None else len(codes)
    terms = terms_of(metric, terms, n)
    made: Any = native_format(fmt)
    return native().Rows(which_isa(), made, codes.reshape(-1), n, METRICS[metric], terms, blocks, checks)


def native_rows_on_disk(fmt: RowFormat, disk: Any, metric: Metric, terms: F32 | None, n: int) -> Any:
    """Codes ``[n, width]`` that stay in a file, for many searches that score some of them."""
    made: Any = native_format(fmt)
    return native().rows_on_disk(which_isa(), made, disk, METRICS[metric], terms_of(metric, terms, n))


def find(
    finder: Any,
    fmt: RowFormat,
    folded: Folded,
    k: int,
    effort: int,
    allow: Allow | None,
    n: int,
    threads: int | None,
    vectors: F32 | None = None,
) -> tuple[I64, F32, I64, I64]:
    """The best ``k`` rows that a native finder finds with so much effort, how many it scored for each query, and which
    way each was answered under a filter.

    Every row that matches is scored where a finder meets fewer than ``k``; -1 and -inf where fewer match. ``vectors``
    are the queries themselves, for finders that look at more than the codes.
    """
    q, m = as_queries(fmt, folded)
    given = None if allow is None else filters(allow)
    workers = 1 if m == 1 else thread_count(threads)
    seen = None if vectors is None else finite(as_f32(vectors, "queries"), "queries")
    found: tuple[I64, F32, I64, I64]
    found = finder.find(m, coefficients(q), given, min(k, n), min(effort, n), workers, seen)
    return found


def filters(allow: Allow) -> Filters:
    """A filter, bool ``[n]``, or one for each query, bool ``[m, n]``, in words of 64 rows with its count."""
    if isinstance(allow, Bitmap):
        return allow.words, allow.counts
    if allow.dtype != np.bool_ or allow.ndim not in (1, 2):
        raise BadInput(f"allow: expected bool [n] or [m, n], got {allow.dtype} {list(allow.shape)}")
    found: Filters = native().bitmap(np.ascontiguousarray(allow))
    return found


def disk_graph(
    rows: Any, nodes: Any, shape: tuple[int, int, str, int, int, int], entries: Any, beam: int, cached: int
) -> Any:
    """What walks a graph whose nodes lie in blocks, in an array or on disk.

    ``shape``: nodes a block, bytes a node, type of the values, dimensions, bytes of the values, links.
    """
    per, size, values, dim, width, degree = shape
    element = ELEMENTS["f32" if values == "float32" else "f16"]
    return native().DiskGraph(rows, nodes, (per, size, element, dim, width, degree), entries, beam, cached)


def find_on_disk(
    graph: Any, fmt: RowFormat, folded: Folded, queries: F32, k: int, width: int, allow: Allow | None, n: int
) -> tuple[I64, F32, I64]:
    """The best ``k`` rows by the vectors of a graph on disk, and how many were scored by codes; see :func:`find`."""
    q, m = as_queries(fmt, folded)
    bits = None if allow is None else bitmap(allow, n)
    workers = 1 if m == 1 else thread_count()
    found: tuple[I64, F32, I64] = graph.search(coefficients(q), queries, bits, min(k, n), min(width, n), workers)
    return found


def run(
    pipeline: Any, q: F32, k: int, effort: int, given: Filters | None, *, threads: int | None = None
) -> tuple[I64, F32, I64, bool]:
    """A whole search in one call: ids and scores ``[m, k]``; rows scored, rows scored again, the way taken ``[3, m]``.

    And whether every query was answered. Of those that were not, -1 rows were scored: they are not finite, of another
    width, without the direction that the metric needs, or have scores that are no numbers.
    """
    m = len(q)
    workers = 1 if m == 1 else thread_count(threads)
    ids, scores = np.empty((m, k), np.int64), np.empty((m, k), np.float32)
    counts = np.empty((3, m), np.int64)
    if m <= _PIECE:
        sound: bool = pipeline.search(q, k, effort, given, workers, ids, scores, counts)
    else:
        sound = True
        for piece in Pace(_PIECE).pieces(m):
            sound &= _piece(pipeline, q, k, effort, given, workers, ids, scores, counts, piece)
    return ids, scores, counts, sound


def one_by_one(pipeline: Any, k: int, effort: int) -> Callable[[F32], tuple[I64, F32, I64] | None]:
    """:func:`run` of one query ``[1, d]`` without a filter, for many; None also where anything is wrong, which that
    tells."""
    search, empty, shape = pipeline.search, np.empty, (1, k)

    def one(q: F32) -> tuple[I64, F32, I64] | None:
        ids, scores, counts = empty(shape, _IDS), empty(shape, _SCORES), empty(_COUNTS, _IDS)
        try:
            return (ids, scores, counts) if search(q, k, effort, None, 1, ids, scores, counts) else None
        except Exception:
            return None

    return one


def _piece(
    pipeline: Any, q: F32, k: int, effort: int, given: Filters | None, workers: int,
    ids: I64, scores: F32, counts: I64, piece: slice,
) -> bool:  # fmt: skip
    """The answers of some queries, into their places."""
    if given is not None and len(given[1]) > 1:
        given = (given[0][piece], given[1][piece])
    told = np.empty((3, piece.stop - piece.start), np.int64)
    sound: bool = pipeline.search(q[piece], k, effort, given, workers, ids[piece], scores[piece], told)
    counts[:, piece] = told
    return sound
