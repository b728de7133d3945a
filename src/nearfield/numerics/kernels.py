"""The kernels: native code where the extension can be imported, its NumPy twin otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import BadInput, BadParameter
from nearfield.core.protocols import BLOCK, F32, I64, U8, Folded, Layout, Metric, RowFormat
from nearfield.numerics import reference
from nearfield.numerics.handing import (
    METRICS,
    Allow,
    as_codes,
    as_f32,
    as_queries,
    bitmap,
    coefficients,
    finite,
    mask,
    native_format,
    rows_of,
    terms_of,
)
from nearfield.numerics.machine import compiled, current_isa, info, native, thread_count, which_isa, workers_for

# Rows are assigned in multiples of a tile; so many products take a thread about a twentieth of a second, and between
# two such pieces Python sees an interrupt.
_TILE, _PRODUCTS = 48, 1 << 31

__all__ = [
    "assign",
    "dots",
    "hamming",
    "info",
    "merge",
    "native",
    "pack",
    "part_tables",
    "plus_plus",
    "scan",
    "scan_floats",
    "score_rows",
    "thread_count",
    "topk",
    "unpack",
    "which_isa",
]


def scan(
    fmt: RowFormat,
    codes: U8,
    folded: Folded,
    metric: Metric,
    k: int,
    *,
    n: int | None = None,
    terms: F32 | None = None,
    allow: Allow | None = None,
    threads: int | None = None,
) -> tuple[I64, F32]:
    """Return the best ``k`` rows for each query: ids ``[m, k]`` and scores ``[m, k]``, best first.

    ``codes`` are rows ``[n, width]`` for float and affine layouts and blocks ``[ceil(n/32), width, 32]``
    (see :func:`pack`, with ``n``) for table layouts. ``terms`` ``[n]`` is ``|row|^2`` for l2 and
    ``1/|row|`` for cosine (None: rows of unit norm). ``allow`` is bool ``[n]`` or its bitmap in 64-bit
    words. Equal scores are broken by the smaller row number; missing rows are -1 with score -inf.
    ``hamming`` is scored like ``dot``: fold minus the distance. Raises BadInput for shapes that do not fit.
    """
    codes = as_codes(codes)
    which = current_isa()
    native = native_format(fmt)
    n = rows_of(fmt, codes, n)
    if k < 1:
        raise BadParameter(f"k: expected at least 1, got {k}")
    q, m = as_queries(fmt, folded)
    terms = terms_of(metric, terms, n)
    if native is None or which < 0:
        return reference.scan(fmt, codes, q, metric, k, n, terms, None if allow is None else mask(allow, n), m)
    bits = None if allow is None else bitmap(allow, n)
    workers = workers_for(threads, codes.size * m)
    flat = codes.reshape(-1)
    return compiled.scan(which, native, flat, n, m, coefficients(q), METRICS[metric], terms, bits, k, workers)


def scan_floats(q: F32, x: F32, metric: Metric, k: int, *, terms: F32 | None = None) -> tuple[I64, F32]:
    """Return the best ``k`` float32 rows ``[n, d]`` for each query: :func:`scan` of rows as they are.

    A score does not depend on where a row stands, as it may with BLAS: equal rows have equal scores.
    """
    x = as_f32(x, "x")
    folded = Folded(weights=q, squares=np.einsum("ij,ij->i", q, q) if metric == "l2" else None)
    width = 4 * x.shape[1]
    return scan(RowFormat(Layout.F32, width, x.shape[1]), x.view(np.uint8), folded, metric, k, terms=terms)


def score_rows(
    fmt: RowFormat,
    codes: U8,
    folded: Folded,
    metric: Metric,
    rows: I64 | None = None,
    terms: F32 | None = None,
    *,
    threads: int | None = None,
) -> F32:
    """Score row-major codes ``[n, width]`` of any layout: float32 ``[m, r]`` for ``rows`` ``[r]`` or all.

    Use it where rows are visited in no order (graphs, rescoring). The scores are those of :func:`scan`,
    bit for bit. ``terms`` ``[n]`` as there. Raises BadInput for a row number outside the codes.
    """
    codes = as_codes(codes)
    which = current_isa()
    native = native_format(fmt)
    if codes.ndim != 2 or codes.shape[1] != fmt.width:
        raise BadInput(f"codes: expected [n, {fmt.width}], got shape {codes.shape}")
    n = codes.shape[0]
    q, m = as_queries(fmt, folded)
    terms = terms_of(metric, terms, n)
    if rows is not None:
        rows = np.ascontiguousarray(rows, dtype=np.int64)
        if rows.ndim != 1 or (rows.size and (int(rows.min()) < 0 or int(rows.max()) >= n)):
            raise BadInput(f"rows: expected row numbers from 0 to {n - 1} in one dimension")
    if native is None or which < 0:
        return reference.score_rows(fmt, codes, q, metric, rows, terms, m)
    count = n if rows is None else len(rows)
    workers = workers_for(threads, count * fmt.width * m)
    flat = codes.reshape(-1)
    return compiled.score_rows(which, native, flat, n, m, coefficients(q), METRICS[metric], terms, rows, workers)


def pack(codes: U8, width: int) -> U8:
    """Interleave rows of bytes in blocks of 32 for table layouts: ``[n, width]`` to ``[ceil(n/32), width, 32]``.

    Byte ``p`` of 32 consecutive rows lies together; rows behind the last are zero.
    """
    codes = as_codes(codes)
    if codes.ndim != 2 or codes.shape[1] != width:
        raise BadInput(f"codes: expected [n, {width}], got shape {codes.shape}")
    return reference.pack(codes, width)


def unpack(blocks: U8, n: int) -> U8:
    """Undo :func:`pack`: rows ``[n, width]``."""
    blocks = as_codes(blocks, "blocks")
    if blocks.ndim != 3 or blocks.shape[0] != -(-n // BLOCK) or blocks.shape[2] != BLOCK:
        raise BadInput(f"blocks: expected [{-(-n // BLOCK)}, width, {BLOCK}], got shape {blocks.shape}")
    return reference.unpack(blocks, n)


def topk(scores: F32, k: int, *, threads: int | None = None) -> tuple[I64, F32]:
    """Return positions and values of the ``k`` largest scores of each row of ``[m, n]``; ties to the lower.

    NaN is never returned; missing places are -1 with -inf.
    """
    if k < 1:
        raise BadParameter(f"k: expected at least 1, got {k}")
    scores = as_f32(scores, "scores")
    if scores.ndim != 2:
        raise BadInput(f"scores: expected [m, n], got shape {scores.shape}")
    if current_isa() < 0:
        return reference.topk(scores, k)
    return compiled.topk(scores, k, workers_for(threads, scores.size))


def merge(parts: Sequence[tuple[I64, F32]], k: int) -> tuple[I64, F32]:
    """Merge lists of best rows ``(ids [m, j], scores [m, j])`` into the best ``k``; ties to the lower id."""
    if k < 1:
        raise BadParameter(f"k: expected at least 1, got {k}")
    return reference.merge(parts, k)


def assign(x: F32, centroids: F32, *, threads: int | None = None) -> tuple[NDArray[np.int32], F32]:
    """Return the nearest centroid of each row and the squared distance to it; ties to the lowest number.

    ``x`` ``[n, d]``, ``centroids`` ``[c, d]``, both float32 and finite; ids int32 ``[n]``, float32 ``[n]``.
    """
    x, centroids = as_f32(x, "x"), as_f32(centroids, "centroids")
    if x.ndim != 2 or centroids.ndim != 2 or x.shape[1] != centroids.shape[1] or not len(centroids):
        raise BadInput(f"assign: expected x [n, d] and centroids [c, d], got {x.shape} and {centroids.shape}")
    which = current_isa()
    if which < 0:
        return reference.assign(x, centroids)
    workers = workers_for(threads, x.size * len(centroids))
    some = max(1, workers * _PRODUCTS // (_TILE * centroids.size)) * _TILE
    if len(x) <= some:
        return compiled.assign(which, x, centroids, workers)
    found = [compiled.assign(which, x[at : at + some], centroids, workers) for at in range(0, len(x), some)]
    return np.concatenate([ids for ids, _ in found]), np.concatenate([gaps for _, gaps in found])


def plus_plus(x: F32, k: int, rng: np.random.Generator) -> I64:
    """Return the numbers of ``k`` rows of ``x`` ``[n, d]``, each drawn as k-means++ draws a start.

    Each next row is drawn in proportion to its squared distance from the nearest one before; fewer than
    ``k`` are returned where no row differs from them all.
    """
    x = as_f32(x, "x")
    if x.ndim != 2 or not len(x) or k < 1:
        raise BadInput(f"plus_plus: expected x [n, d] of at least one row and k of at least 1, got {x.shape}, {k}")
    first, draws = int(rng.integers(len(x))), rng.random(k - 1)
    which = current_isa()
    if which < 0:
        return reference.plus_plus(x, first, draws)
    return compiled.plus_plus(which, x, first, draws)


def part_tables(q: F32, codebooks: F32, *, threads: int | None = None) -> F32:
    """Dot products of the parts of queries ``[m, parts * sub]`` with codebooks ``[parts, c, sub]``.

    Returns float32 ``[m, parts, c]``: the look-up tables of product codes.
    """
    q, codebooks = as_f32(q, "q"), as_f32(codebooks, "codebooks")
    if q.ndim != 2 or codebooks.ndim != 3 or q.shape[1] != codebooks.shape[0] * codebooks.shape[2]:
        raise BadInput(
            f"part_tables: expected q [m, parts * sub] and codebooks [parts, c, sub], "
            f"got {q.shape} and {codebooks.shape}"
        )
    which = current_isa()
    if which < 0:
        return reference.part_tables(q, codebooks)
    out = compiled.part_tables(which, q, codebooks, workers_for(threads, len(q) * codebooks.size))
    return out.reshape(len(q), codebooks.shape[0], codebooks.shape[1])


def hamming(q: U8, codes: U8, *, threads: int | None = None) -> NDArray[np.int32]:
    """Count the bits in which queries ``[m, b]`` and rows ``[n, b]`` of packed bits differ: int32 ``[m, n]``."""
    q, codes = as_codes(q, "q"), as_codes(codes)
    if q.ndim != 2 or codes.ndim != 2 or q.shape[1] != codes.shape[1]:
        raise BadInput(f"hamming: expected q [m, b] and codes [n, b], got {q.shape} and {codes.shape}")
    which = current_isa()
    if which < 0:
        return reference.hamming(q, codes)
    return compiled.hamming(which, q, codes, workers_for(threads, len(q) * codes.size))


def dots(q: F32, x: F32, *, threads: int | None = None) -> F32:
    """Dot products of queries ``[m, d]`` with rows ``[n, d]``: float32 ``[m, n]``.

    A product does not depend on how many queries or rows come with it, as it may with BLAS.
    """
    q, x = as_f32(q, "q"), as_f32(x, "x")
    if q.ndim != 2 or x.ndim != 2 or q.shape[1] != x.shape[1]:
        raise BadInput(f"dots: expected q [m, d] and x [n, d], got {q.shape} and {x.shape}")
    which, (n, d) = current_isa(), x.shape
    if which < 0 or d == 0:
        return reference.dots(q, x)
    coefficients = (finite(q, "weights"), *(None,) * 6)
    workers = workers_for(threads, x.nbytes * len(q))
    flat = x.reshape(-1).view(np.uint8)
    return compiled.score_rows(which, _floats(d), flat, n, len(q), coefficients, METRICS["dot"], None, None, workers)


@lru_cache(maxsize=256)
def _floats(d: int) -> Any:
    return native_format(RowFormat(Layout.F32, 4 * d, d))
