"""The kernels: native code where the extension can be imported, its NumPy twin otherwise.

``NEARFIELD_ISA`` forces an instruction set (``numpy`` forces the twin), ``NEARFIELD_THREADS`` the number
of threads; both are read at each call. Results never depend on the number of threads.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nearfield.core.arrays import seems_finite
from nearfield.core.bitmaps import Bitmap
from nearfield.core.errors import BadInput, BadParameter
from nearfield.core.protocols import BLOCK, F32, I64, TABLE_LAYOUTS, U8, Constant, Folded, Layout, Metric, RowFormat
from nearfield.numerics import reference

if TYPE_CHECKING:
    from nearfield import _native
else:
    try:
        from nearfield import _native
    except ImportError:  # no compiler where it was installed: the twin does the work
        _native = None

Allow: TypeAlias = NDArray[np.bool_] | NDArray[np.uint64] | Bitmap
Filters: TypeAlias = tuple[NDArray[np.uint64], I64]  # words [1 or m, w], how many rows match [1 or m]

_LAYOUTS = {Layout.F32: 0, Layout.F16: 1, Layout.AFFINE8: 2, Layout.AFFINE4: 3}
_ELEMENTS = {"f32": 0, "f16": 1, "bf16": 2, "e4m3": 3, "e5m2": 4, "u8": 5, "i8": 6}
_METRICS = {"dot": 0, "hamming": 0, "cosine": 1, "l2": 2}
_KINDS = {"u8": 1, "f16": 2, "f32": 3}
_EVERY_ISA = ("base", "avx2", "avx512", "neon")
_PIECE, _SOON = 256, 0.05  # queries of a first piece, and how many seconds a piece may take
_SMALL = 1 << 18  # bytes times queries below which one thread is quicker than waking others


def _compiled() -> list[tuple[str, bool]]:
    return [] if _native is None else _native.isas()


@lru_cache(maxsize=16)
def _resolve(name: str) -> int:
    """Return the number of an instruction set, -1 for NumPy."""
    isas = _compiled()
    runnable = [isa for isa, runs in isas if runs]
    if name == "":
        return max((i for i, (_, runs) in enumerate(isas) if runs), default=-1)
    if name == "numpy":
        return -1
    if name not in runnable:
        choices = ", ".join(["numpy", *runnable])
        why = "does not run here" if name in _EVERY_ISA else "is not an instruction set"
        raise BadParameter(f"NEARFIELD_ISA: {name!r} {why}; choose one of {choices}")
    return [isa for isa, _ in isas].index(name)


def _isa() -> int:
    return _resolve(os.environ.get("NEARFIELD_ISA", ""))


def native() -> Any:
    """The compiled module, or None where it is not installed."""
    return _native


def which_isa() -> int:
    """The number of the instruction set for what has no NumPy twin: the one in use, or the plainest."""
    return max(_isa(), 0)


def native_rows(
    fmt: RowFormat, codes: U8, metric: Metric, terms: F32 | None, n: int | None = None, checks: Any = None
) -> Any:
    """Codes, checked and handed over once for many searches: ``[n, width]``, or blocks of 32 of ``n`` rows.

    ``checks`` are checksums of codes that are mapped from a file, compared as rows are scored again.
    """
    codes = _codes(codes)
    blocks = n is not None and fmt.layout in TABLE_LAYOUTS
    if blocks:
        _shape(fmt, codes, n)
    elif codes.ndim != 2 or codes.shape[1] != fmt.width:
        raise BadInput(f"codes: expected [n, {fmt.width}], got shape {codes.shape}")
    n = n if blocks and n is not None else len(codes)
    terms = _metric(metric, terms, n)
    made: Any = _native_format(fmt)
    return _native.Rows(which_isa(), made, codes.reshape(-1), n, _METRICS[metric], terms, blocks, checks)


def native_rows_on_disk(fmt: RowFormat, disk: Any, metric: Metric, terms: F32 | None, n: int) -> Any:
    """Codes ``[n, width]`` that stay in a file, for many searches that score some of them."""
    made: Any = _native_format(fmt)
    return _native.rows_on_disk(which_isa(), made, disk, _METRICS[metric], _metric(metric, terms, n))


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
) -> tuple[I64, F32, I64]:
    """The best ``k`` rows that a native finder finds with so much effort, and how many it scored for each query.

    -1 and -inf where it found fewer: a finder promises nothing. ``vectors`` are the queries themselves, for finders
    that look at more than the codes.
    """
    return find_ways(finder, fmt, folded, k, effort, allow, n, threads, vectors)[:3]


def find_ways(
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
    """:func:`find`, and which way each query was answered under a filter."""
    q, m = _queries(fmt, folded)
    given = None if allow is None else filters(allow)
    workers = 1 if m == 1 else thread_count(threads)
    seen = None if vectors is None else _finite(_f32(vectors, "queries"), "queries")
    found: tuple[I64, F32, I64, I64]
    found = finder.find(m, _coefficients(q), given, min(k, n), min(effort, n), workers, seen)
    return found


def filters(allow: Allow) -> Filters:
    """A filter, bool ``[n]``, or one for each query, bool ``[m, n]``, in words of 64 rows with its count."""
    if isinstance(allow, Bitmap):
        return allow.words, allow.counts
    if allow.dtype != np.bool_ or allow.ndim not in (1, 2):
        raise BadInput(f"allow: expected bool [n] or [m, n], got {allow.dtype} {list(allow.shape)}")
    found: Filters = _native.bitmap(np.ascontiguousarray(allow))
    return found


def disk_graph(
    rows: Any, nodes: Any, shape: tuple[int, int, str, int, int, int], entries: Any, beam: int, cached: int
) -> Any:
    """What walks a graph whose nodes lie in blocks, in an array or on disk.

    ``shape``: nodes a block, bytes a node, type of the values, dimensions, bytes of the values, links.
    """
    per, size, values, dim, width, degree = shape
    element = _ELEMENTS["f32" if values == "float32" else "f16"]
    return _native.DiskGraph(rows, nodes, (per, size, element, dim, width, degree), entries, beam, cached)


def find_on_disk(
    graph: Any, fmt: RowFormat, folded: Folded, queries: F32, k: int, width: int, allow: Allow | None, n: int
) -> tuple[I64, F32, I64]:
    """The best ``k`` rows by the vectors of a graph on disk, and how many were scored by codes; see :func:`find`."""
    q, m = _queries(fmt, folded)
    bits = None if allow is None else _bitmap(allow, n)
    workers = 1 if m == 1 else thread_count()
    found: tuple[I64, F32, I64] = graph.search(_coefficients(q), queries, bits, min(k, n), min(width, n), workers)
    return found


def run(
    pipeline: Any, q: F32, k: int, effort: int, given: Filters | None, *, threads: int | None = None
) -> tuple[I64, F32, I64, I64, I64] | None:
    """A whole search in one call: ids and scores ``[m, k]``, rows scored, rows scored again, the way taken ``[m]``.

    None where it cannot answer: queries that are not finite, of another width, or that find fewer than ``k`` rows.
    """
    m = len(q)
    workers = 1 if m == 1 else thread_count(threads)
    ids, scores = np.empty((m, k), np.int64), np.empty((m, k), np.float32)
    counts = np.empty((3, m), np.int64)
    if m <= _PIECE:
        sound: bool = pipeline.search(q, k, effort, given, workers, ids, scores, counts)
    else:
        sound = all(
            _piece(pipeline, q, k, effort, given, workers, ids, scores, counts, piece) for piece in _pieces(m, _PIECE)
        )
    return (ids, scores, counts[0], counts[1], counts[2]) if sound else None


def _pieces(m: int, some: int) -> Iterator[slice]:
    """Pieces of ``m`` queries, of about a twentieth of a second each: between two of them a search can be stopped."""
    at = 0
    while at < m:
        begun = time.perf_counter()
        yield slice(at, min(at + some, m))
        at += some
        took = time.perf_counter() - begun
        some = min(2 * some, 1 << 20) if took < _SOON else max(some // 2, 1) if took > 2 * _SOON else some


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


@lru_cache(maxsize=1)
def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def thread_count(threads: int | None = None) -> int:
    """Return the number of threads to use: the argument, else ``NEARFIELD_THREADS``, else the cores."""
    if threads is not None:
        if threads < 1:
            raise BadParameter(f"threads: expected at least 1, got {threads}")
        return threads
    text = os.environ.get("NEARFIELD_THREADS", "")
    if not text:
        return _cores()
    if not text.isdecimal() or int(text) < 1:
        raise BadParameter(f"NEARFIELD_THREADS: expected a whole number of at least 1, got {text!r}")
    return min(int(text), 1024)


def info() -> dict[str, Any]:
    """Return the instruction set in use, which were compiled, which cannot run here, and the threads."""
    isas = _compiled()
    which = _isa()
    return {
        "isa": "numpy" if which < 0 else isas[which][0],
        "compiled": [name for name, _ in isas],
        "not run": [name for name in _EVERY_ISA if not dict(isas).get(name, False)],
        "threads": thread_count(),
    }


def _constant(c: Constant | None) -> tuple[int, int, float, float]:
    return (0, 0, 0.0, 1.0) if c is None else (_KINDS[c.kind], c.offset, c.low, c.step)


def _check(fmt: RowFormat) -> None:
    """Check that the codes and constants lie inside the row."""
    sizes = {"u8": 1, "f16": 2, "f32": 4}
    bytes_each = {"f32": 4, "f16": 2, "bf16": 2}.get(fmt.element, 1)
    needed = fmt.dim * bytes_each
    if fmt.layout == Layout.AFFINE4:
        needed = (fmt.dim + 1) // 2
    elif fmt.layout in TABLE_LAYOUTS:
        needed = fmt.nibble_columns + fmt.byte_columns
    if needed > fmt.width:
        raise BadParameter(f"row format: the codes take {needed} bytes, the row has {fmt.width}")
    for name, c in (("scale", fmt.scale), ("shift", fmt.shift)):
        if c is not None and not 0 <= c.offset <= fmt.width - sizes[c.kind]:
            raise BadParameter(f"row format: {name} at byte {c.offset} leaves the row of {fmt.width} bytes")
    if fmt.levels is not None and (len(fmt.levels) != 16 or not all(-128 <= v <= 127 for v in fmt.levels)):
        raise BadParameter(f"row format: levels are 16 signed bytes, got {fmt.levels}")


@lru_cache(maxsize=256)
def _native_format(fmt: RowFormat) -> _native.Format | None:
    """Check a format and hand it over, once; None where there is nothing native."""
    _check(fmt)
    if not _compiled():
        return None
    return _native.Format(
        _LAYOUTS.get(fmt.layout, 4),
        _ELEMENTS[fmt.element],
        fmt.width,
        fmt.dim,
        fmt.nibble_columns,
        fmt.byte_columns,
        list(reference.levels(fmt)),
        _constant(fmt.scale),
        _constant(fmt.shift),
    )


def _f32(v: Any, what: str, shape: tuple[int, ...] | None = None) -> F32:
    got = np.ascontiguousarray(v, dtype=np.float32)
    if shape is not None and got.shape != shape:
        raise BadInput(f"{what}: expected shape {shape}, got {got.shape}")
    return got


def _codes(codes: Any, what: str = "codes") -> U8:
    got = np.asarray(codes)
    if got.dtype != np.uint8:
        raise BadInput(f"{what}: expected uint8, got {got.dtype}")
    return np.ascontiguousarray(got)


def _finite(v: F32, what: str) -> F32:
    if not seems_finite(v) and not np.isfinite(v).all():
        bad = np.flatnonzero(~np.isfinite(v.reshape(len(v), -1)).all(axis=1))[:3].tolist()
        raise BadInput(f"{what}: NaN or infinity in the coefficients of queries {bad}; check the queries")
    return v


def _queries(fmt: RowFormat, folded: Folded) -> tuple[Folded, int]:
    """Check the coefficients of the queries against the format; return them contiguous, and how many."""
    table = fmt.layout in TABLE_LAYOUTS
    main = folded.weights if not table else folded.nibble_tables if fmt.nibble_columns else folded.byte_tables
    if main is None and table and not fmt.nibble_columns and not fmt.byte_columns:
        main = folded.inside
    if main is None:
        name = "weights" if not table else "nibble_tables" if fmt.nibble_columns else "byte_tables"
        raise BadInput(f"folded queries: layout {fmt.layout.value!r} needs {name}, got None")
    m = len(main)
    out = Folded()
    if not table:
        out.weights = _finite(_f32(main, "weights", (m, fmt.dim)), "weights")
    if table and fmt.nibble_columns:
        out.nibble_tables = _finite(_f32(main, "nibble_tables", (m, 2 * fmt.nibble_columns, 16)), "nibble_tables")
    if table and fmt.byte_columns:
        if folded.byte_tables is None:
            raise BadInput(f"folded queries: layout {fmt.layout.value!r} needs byte_tables, got None")
        out.byte_tables = _finite(_f32(folded.byte_tables, "byte_tables", (m, fmt.byte_columns, 256)), "byte_tables")
    out.inside = _of_queries(folded.inside, "inside", m)
    out.slope = _of_queries(folded.slope, "slope", m)
    out.outside = _of_queries(folded.outside, "outside", m)
    out.squares = _of_queries(folded.squares, "squares", m)
    return out, m


def _coefficients(q: Folded) -> tuple[F32 | None, ...]:
    return q.weights, q.nibble_tables, q.byte_tables, q.inside, q.slope, q.outside, q.squares


def _of_queries(v: F32 | None, what: str, m: int) -> F32 | None:
    return None if v is None else _f32(v, what, (m,))


def _metric(metric: str, terms: Any, n: int) -> F32 | None:
    if metric not in _METRICS:
        raise BadParameter(f"metric: expected one of {', '.join(_METRICS)}, got {metric!r}")
    if metric == "l2" and terms is None:
        raise BadInput("terms: l2 needs |row|^2 for each row, got None")
    return None if terms is None or _METRICS[metric] == 0 else _f32(terms, "terms", (n,))


def _bitmap(allow: Allow, n: int) -> NDArray[np.uint64]:
    if isinstance(allow, Bitmap):
        first: NDArray[np.uint64] = allow.words[0]
        return first
    if allow.dtype == np.uint64:
        if allow.shape != (-(-n // 64),):
            raise BadInput(f"allow: expected {-(-n // 64)} words of 64 rows, got shape {allow.shape}")
        return np.ascontiguousarray(allow, dtype=np.uint64)
    if allow.dtype != np.bool_ or allow.shape != (n,):
        raise BadInput(f"allow: expected bool [{n}], got {allow.dtype} {list(allow.shape)}")
    out = np.zeros(-(-n // 64) * 8, np.uint8)
    packed = np.packbits(allow, bitorder="little")
    out[: len(packed)] = packed
    return out.view("<u8").astype(np.uint64, copy=False)


def _mask(allow: Allow, n: int) -> NDArray[np.bool_]:
    words = _bitmap(allow, n).astype("<u8", copy=False)
    return np.unpackbits(words.view(np.uint8), bitorder="little")[:n].astype(np.bool_)


def _shape(fmt: RowFormat, codes: U8, n: int | None) -> int:
    """Check the shape of codes laid out for ``scan``; return the number of rows."""
    if fmt.layout in TABLE_LAYOUTS:
        if n is None:
            raise BadParameter("n: blocks of a table layout do not tell the number of rows; pass n")
        expected: tuple[int, ...] = (-(-n // BLOCK), fmt.width, BLOCK)
    else:
        rows = int(codes.shape[0]) if codes.ndim else 0
        if n is not None and n != rows:
            raise BadInput(f"n: expected {rows}, the number of rows, got {n}")
        n, expected = rows, (rows, fmt.width)
    if codes.shape != expected:
        raise BadInput(f"codes: layout {fmt.layout.value!r} expects shape {expected}, got {codes.shape}")
    return n


def _workers(threads: int | None, size: int) -> int:
    return 1 if threads is None and size <= _SMALL else thread_count(threads)


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
    codes = _codes(codes)
    which = _isa()
    native = _native_format(fmt)
    n = _shape(fmt, codes, n)
    if k < 1:
        raise BadParameter(f"k: expected at least 1, got {k}")
    q, m = _queries(fmt, folded)
    terms = _metric(metric, terms, n)
    if native is None or which < 0:
        return reference.scan(fmt, codes, q, metric, k, n, terms, None if allow is None else _mask(allow, n), m)
    bits = None if allow is None else _bitmap(allow, n)
    workers = _workers(threads, codes.size * m)
    flat = codes.reshape(-1)
    return _native.scan(which, native, flat, n, m, _coefficients(q), _METRICS[metric], terms, bits, k, workers)


def scan_floats(q: F32, x: F32, metric: Metric, k: int, *, terms: F32 | None = None) -> tuple[I64, F32]:
    """Return the best ``k`` float32 rows ``[n, d]`` for each query: :func:`scan` of rows as they are.

    A score does not depend on where a row stands, as it may with BLAS: equal rows have equal scores.
    """
    x = _f32(x, "x")
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
    codes = _codes(codes)
    which = _isa()
    native = _native_format(fmt)
    if codes.ndim != 2 or codes.shape[1] != fmt.width:
        raise BadInput(f"codes: expected [n, {fmt.width}], got shape {codes.shape}")
    n = codes.shape[0]
    q, m = _queries(fmt, folded)
    terms = _metric(metric, terms, n)
    if rows is not None:
        rows = np.ascontiguousarray(rows, dtype=np.int64)
        if rows.ndim != 1 or (rows.size and (int(rows.min()) < 0 or int(rows.max()) >= n)):
            raise BadInput(f"rows: expected row numbers from 0 to {n - 1} in one dimension")
    if native is None or which < 0:
        return reference.score_rows(fmt, codes, q, metric, rows, terms, m)
    count = n if rows is None else len(rows)
    workers = _workers(threads, count * fmt.width * m)
    flat = codes.reshape(-1)
    return _native.score_rows(which, native, flat, n, m, _coefficients(q), _METRICS[metric], terms, rows, workers)


def pack(codes: U8, width: int) -> U8:
    """Interleave rows of bytes in blocks of 32 for table layouts: ``[n, width]`` to ``[ceil(n/32), width, 32]``.

    Byte ``p`` of 32 consecutive rows lies together; rows behind the last are zero.
    """
    codes = _codes(codes)
    if codes.ndim != 2 or codes.shape[1] != width:
        raise BadInput(f"codes: expected [n, {width}], got shape {codes.shape}")
    return reference.pack(codes, width)


def unpack(blocks: U8, n: int) -> U8:
    """Undo :func:`pack`: rows ``[n, width]``."""
    blocks = _codes(blocks, "blocks")
    if blocks.ndim != 3 or blocks.shape[0] != -(-n // BLOCK) or blocks.shape[2] != BLOCK:
        raise BadInput(f"blocks: expected [{-(-n // BLOCK)}, width, {BLOCK}], got shape {blocks.shape}")
    return reference.unpack(blocks, n)


def topk(scores: F32, k: int, *, threads: int | None = None) -> tuple[I64, F32]:
    """Return positions and values of the ``k`` largest scores of each row of ``[m, n]``; ties to the lower.

    NaN is never returned; missing places are -1 with -inf.
    """
    if k < 1:
        raise BadParameter(f"k: expected at least 1, got {k}")
    scores = _f32(scores, "scores")
    if scores.ndim != 2:
        raise BadInput(f"scores: expected [m, n], got shape {scores.shape}")
    if _isa() < 0:
        return reference.topk(scores, k)
    return _native.topk(scores, k, _workers(threads, scores.size))


def merge(parts: Sequence[tuple[I64, F32]], k: int) -> tuple[I64, F32]:
    """Merge lists of best rows ``(ids [m, j], scores [m, j])`` into the best ``k``; ties to the lower id."""
    if k < 1:
        raise BadParameter(f"k: expected at least 1, got {k}")
    return reference.merge(parts, k)


def assign(x: F32, centroids: F32, *, threads: int | None = None) -> tuple[NDArray[np.int32], F32]:
    """Return the nearest centroid of each row and the squared distance to it; ties to the lowest number.

    ``x`` ``[n, d]``, ``centroids`` ``[c, d]``, both float32 and finite; ids int32 ``[n]``, float32 ``[n]``.
    """
    x, centroids = _f32(x, "x"), _f32(centroids, "centroids")
    if x.ndim != 2 or centroids.ndim != 2 or x.shape[1] != centroids.shape[1] or not len(centroids):
        raise BadInput(f"assign: expected x [n, d] and centroids [c, d], got {x.shape} and {centroids.shape}")
    which = _isa()
    if which < 0:
        return reference.assign(x, centroids)
    return _native.assign(which, x, centroids, _workers(threads, x.size * len(centroids)))


def plus_plus(x: F32, k: int, rng: np.random.Generator) -> I64:
    """Return the numbers of ``k`` rows of ``x`` ``[n, d]``, each drawn as k-means++ draws a start.

    Each next row is drawn in proportion to its squared distance from the nearest one before; fewer than
    ``k`` are returned where no row differs from them all.
    """
    x = _f32(x, "x")
    if x.ndim != 2 or not len(x) or k < 1:
        raise BadInput(f"plus_plus: expected x [n, d] of at least one row and k of at least 1, got {x.shape}, {k}")
    first, draws = int(rng.integers(len(x))), rng.random(k - 1)
    which = _isa()
    if which < 0:
        return reference.plus_plus(x, first, draws)
    return _native.plus_plus(which, x, first, draws)


def part_tables(q: F32, codebooks: F32, *, threads: int | None = None) -> F32:
    """Dot products of the parts of queries ``[m, parts * sub]`` with codebooks ``[parts, c, sub]``.

    Returns float32 ``[m, parts, c]``: the look-up tables of product codes.
    """
    q, codebooks = _f32(q, "q"), _f32(codebooks, "codebooks")
    if q.ndim != 2 or codebooks.ndim != 3 or q.shape[1] != codebooks.shape[0] * codebooks.shape[2]:
        raise BadInput(
            f"part_tables: expected q [m, parts * sub] and codebooks [parts, c, sub], "
            f"got {q.shape} and {codebooks.shape}"
        )
    which = _isa()
    if which < 0:
        return reference.part_tables(q, codebooks)
    out = _native.part_tables(which, q, codebooks, _workers(threads, len(q) * codebooks.size))
    return out.reshape(len(q), codebooks.shape[0], codebooks.shape[1])


def hamming(q: U8, codes: U8, *, threads: int | None = None) -> NDArray[np.int32]:
    """Count the bits in which queries ``[m, b]`` and rows ``[n, b]`` of packed bits differ: int32 ``[m, n]``."""
    q, codes = _codes(q, "q"), _codes(codes)
    if q.ndim != 2 or codes.ndim != 2 or q.shape[1] != codes.shape[1]:
        raise BadInput(f"hamming: expected q [m, b] and codes [n, b], got {q.shape} and {codes.shape}")
    which = _isa()
    if which < 0:
        return reference.hamming(q, codes)
    return _native.hamming(which, q, codes, _workers(threads, len(q) * codes.size))


def dots(q: F32, x: F32, *, threads: int | None = None) -> F32:
    """Dot products of queries ``[m, d]`` with rows ``[n, d]``: float32 ``[m, n]``.

    A product does not depend on how many queries or rows come with it, as it may with BLAS.
    """
    q, x = _f32(q, "q"), _f32(x, "x")
    if q.ndim != 2 or x.ndim != 2 or q.shape[1] != x.shape[1]:
        raise BadInput(f"dots: expected q [m, d] and x [n, d], got {q.shape} and {x.shape}")
    which, (n, d) = _isa(), x.shape
    if which < 0 or d == 0:
        return reference.dots(q, x)
    coefficients = (_finite(q, "weights"), *(None,) * 6)
    workers = _workers(threads, x.nbytes * len(q))
    flat = x.reshape(-1).view(np.uint8)
    return _native.score_rows(which, _floats(d), flat, n, len(q), coefficients, _METRICS["dot"], None, None, workers)


@lru_cache(maxsize=256)
def _floats(d: int) -> Any:
    return _native_format(RowFormat(Layout.F32, 4 * d, d))
