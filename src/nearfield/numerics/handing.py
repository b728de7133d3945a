"""What is handed to native code: formats, codes, folded queries and filters, checked first."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nearfield.core.arrays import seems_finite
from nearfield.core.bitmaps import Bitmap
from nearfield.core.errors import BadInput, BadParameter
from nearfield.core.protocols import BLOCK, F32, TABLE_LAYOUTS, U8, Constant, Folded, Layout, RowFormat
from nearfield.numerics import reference
from nearfield.numerics.machine import native

Allow: TypeAlias = NDArray[np.bool_] | NDArray[np.uint64] | Bitmap

_LAYOUTS = {Layout.F32: 0, Layout.F16: 1, Layout.AFFINE8: 2, Layout.AFFINE4: 3}
ELEMENTS = {"f32": 0, "f16": 1, "bf16": 2, "e4m3": 3, "e5m2": 4, "u8": 5, "i8": 6}
METRICS = {"dot": 0, "hamming": 0, "cosine": 1, "l2": 2}
_KINDS = {"u8": 1, "f16": 2, "f32": 3}


def _constant(c: Constant | None) -> tuple[int, int, float, float]:
    return (0, 0, 0.0, 1.0) if c is None else (_KINDS[c.kind], c.offset, c.low, c.step)


def check_format(fmt: RowFormat) -> None:
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
def native_format(fmt: RowFormat) -> Any:
    """Check a format and hand it over, once; None where there is nothing native."""
    check_format(fmt)
    if native() is None:
        return None
    return native().Format(
        _LAYOUTS.get(fmt.layout, 4),
        ELEMENTS[fmt.element],
        fmt.width,
        fmt.dim,
        fmt.nibble_columns,
        fmt.byte_columns,
        list(reference.levels(fmt)),
        _constant(fmt.scale),
        _constant(fmt.shift),
    )


def as_f32(v: Any, what: str, shape: tuple[int, ...] | None = None) -> F32:
    """Float32 values that lie together; with a shape, of that shape."""
    got = np.ascontiguousarray(v, dtype=np.float32)
    if shape is not None and got.shape != shape:
        raise BadInput(f"{what}: expected shape {shape}, got {got.shape}")
    return got


def as_codes(codes: Any, what: str = "codes") -> U8:
    """Bytes that lie together."""
    got = np.asarray(codes)
    if got.dtype != np.uint8:
        raise BadInput(f"{what}: expected uint8, got {got.dtype}")
    return np.ascontiguousarray(got)


def finite(v: F32, what: str) -> F32:
    """The coefficients of queries, none of them NaN or infinite."""
    if not seems_finite(v) and not np.isfinite(v).all():
        bad = np.flatnonzero(~np.isfinite(v.reshape(len(v), -1)).all(axis=1))[:3].tolist()
        raise BadInput(f"{what}: NaN or infinity in the coefficients of queries {bad}; check the queries")
    return v


def as_queries(fmt: RowFormat, folded: Folded) -> tuple[Folded, int]:
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
        out.weights = finite(as_f32(main, "weights", (m, fmt.dim)), "weights")
    if table and fmt.nibble_columns:
        out.nibble_tables = finite(as_f32(main, "nibble_tables", (m, 2 * fmt.nibble_columns, 16)), "nibble_tables")
    if table and fmt.byte_columns:
        if folded.byte_tables is None:
            raise BadInput(f"folded queries: layout {fmt.layout.value!r} needs byte_tables, got None")
        out.byte_tables = finite(as_f32(folded.byte_tables, "byte_tables", (m, fmt.byte_columns, 256)), "byte_tables")
    out.inside = _of_queries(folded.inside, "inside", m)
    out.slope = _of_queries(folded.slope, "slope", m)
    out.outside = _of_queries(folded.outside, "outside", m)
    out.squares = _of_queries(folded.squares, "squares", m)
    return out, m


def coefficients(q: Folded) -> tuple[F32 | None, ...]:
    """The coefficients as native code takes them."""
    return q.weights, q.nibble_tables, q.byte_tables, q.inside, q.slope, q.outside, q.squares


def _of_queries(v: F32 | None, what: str, m: int) -> F32 | None:
    return None if v is None else as_f32(v, what, (m,))


def terms_of(metric: str, terms: Any, n: int) -> F32 | None:
    """What a metric needs of each row beside its codes: checked, None where it needs nothing."""
    if metric not in METRICS:
        raise BadParameter(f"metric: expected one of {', '.join(METRICS)}, got {metric!r}")
    if metric == "l2" and terms is None:
        raise BadInput("terms: l2 needs |row|^2 for each row, got None")
    return None if terms is None or METRICS[metric] == 0 else as_f32(terms, "terms", (n,))


def bitmap(allow: Allow, n: int) -> NDArray[np.uint64]:
    """A filter of rows in words of 64."""
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


def mask(allow: Allow, n: int) -> NDArray[np.bool_]:
    """A filter of rows as bools ``[n]``."""
    words = bitmap(allow, n).astype("<u8", copy=False)
    return np.unpackbits(words.view(np.uint8), bitorder="little")[:n].astype(np.bool_)


def rows_of(fmt: RowFormat, codes: U8, n: int | None) -> int:
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
