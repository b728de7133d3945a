"""Arrow columns of vectors and of plain values, made from arrays and read into them; without a copy where they can."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import BadInput
from nearfield.core.optional import require
from nearfield.store import io_base as base
from nearfield.store.exchange_names import VECTOR
from nearfield.store.exchange_vectors import side_by_side, vector_of
from nearfield.store.metadata.check import load
from nearfield.store.rows import FieldForm, RowVectors, unpacked
from nearfield.store.vectors import Vectors

SPARSE = ("indices", "values")


# ---- types ----------------------------------------------------------------------------------------
def vector_type(form: FieldForm) -> Any:
    """The Arrow type of a field of vectors: fixed-size lists, lists of those (ragged), indices and values (sparse)."""
    pa = require("pyarrow", extra="arrow")
    if form.kind == "sparse":
        return pa.struct([pa.field("indices", pa.list_(pa.int64())), pa.field("values", pa.list_(pa.float64()))])
    dense = pa.list_(pa.from_numpy_dtype(form.dtype), form.width)
    return dense if form.kind == "dense" else pa.list_(dense)


def seems_vector(field: Any) -> bool:
    """Whether a column of somebody else's holds vectors, by its type or its name.

    Lists of floats and fixed-size lists of numbers do, lists of such, and structs of indices and values; lists of
    integers only under a name such as ``embedding``.
    """
    types = require("pyarrow.types", extra="arrow")
    kind = field.type
    if types.is_struct(kind):
        return sorted(kind.field(i).name for i in range(kind.num_fields)) == list(SPARSE)
    if not _is_list(kind):
        return False
    inner = kind.value_type
    if _is_list(inner):
        return _number(inner.value_type) and (types.is_fixed_size_list(inner) or field.name in VECTOR)
    if types.is_floating(inner):
        return True
    return _number(inner) and (types.is_fixed_size_list(kind) or field.name in VECTOR)


def vectors_among(schema: Any) -> list[str]:
    """The columns that hold vectors; where no type says so, those whose name does, to be read or refused."""
    return [f.name for f in schema if seems_vector(f)] or [name for name in schema.names if name in VECTOR]


def _is_list(kind: Any) -> bool:
    types = require("pyarrow.types", extra="arrow")
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _number(kind: Any) -> bool:
    types = require("pyarrow.types", extra="arrow")
    return bool(types.is_integer(kind) or types.is_floating(kind))


# ---- made -----------------------------------------------------------------------------------------
def dense_column(array: NDArray[Any], missing: NDArray[np.bool_] | None = None) -> Any:
    """Rows ``[n, d]`` as fixed-size lists; an array in C order and native byte order is not copied."""
    pa = require("pyarrow", extra="arrow")
    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    mask = None if missing is None else pa.array(missing)
    return pa.FixedSizeListArray.from_arrays(pa.array(native.reshape(-1)), array.shape[1], mask=mask)


def vector_column(found: Vectors) -> Any:
    """Vectors as a column of ``vector_type``."""
    pa = require("pyarrow", extra="arrow")
    missing = None
    if found.present is not None:
        missing = np.ones(found.n, dtype=np.bool_)
        missing[found.present] = False
    if found.kind == "dense":
        values = found.values
        if found.present is not None:
            values = np.zeros((found.n, found.values.shape[1]), dtype=found.values.dtype)
            values[found.present] = found.values
        return dense_column(values, missing)
    lengths = np.zeros(found.n, dtype=np.int64)
    lengths[slice(None) if found.present is None else found.present] = np.diff(found.starts)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    mask = None if missing is None else pa.array(missing)
    if found.kind == "ragged":
        return pa.ListArray.from_arrays(pa.array(starts), dense_column(found.values), mask=mask)
    parts = [pa.ListArray.from_arrays(pa.array(starts), pa.array(p)) for p in (found.indices, found.values)]
    return pa.StructArray.from_arrays(parts, names=list(SPARSE), mask=mask)


# ---- read -----------------------------------------------------------------------------------------
def vectors_of(column: Any, where: str, start: int = 0) -> RowVectors:
    """The vectors of a column: an array where all rows have a dense one (no copy where Arrow allows), else a list."""
    types = require("pyarrow.types", extra="arrow")
    kind, n = column.type, len(column)
    if column.null_count == n:
        return [None] * n
    if not types.is_struct(kind) and not _is_list(kind):  # lists as text, or nothing to take for vectors
        found = [vector_of(v, f"{where}: row {start + i}") for i, v in enumerate(column.to_pylist())]
        return side_by_side(found, where, start)
    missing = column.is_null().to_numpy(zero_copy_only=False)
    present = None if not column.null_count else np.flatnonzero(~missing)
    kept = column if present is None else column.drop_null()
    if types.is_struct(kind):
        return _sparse(kept, present, n, where)
    if not _is_list(kind.value_type):
        values = numbers(kept, where, start, present)
        return unpacked(Vectors("dense", n, values, present=present))
    lengths = _lengths(kept)
    return unpacked(
        Vectors("ragged", n, numbers(kept.flatten(), f"{where}: a vector", start), present=present, lengths=lengths)
    )


def numbers(column: Any, where: str, start: int = 0, present: NDArray[np.int64] | None = None) -> NDArray[Any]:
    """Lists of one length and number type as an array ``[n, d]``; the memory stays Arrow's where it can.

    Errors name rows from ``start`` on, of which only those ``present`` are in the column.
    """
    kind = column.type

    def row_of(at: int) -> int:
        return start + (at if present is None else int(present[at]))

    if not _is_list(kind) or not _number(kind.value_type):
        raise BadInput(f"{where}: expected lists of numbers, got {base.shown(str(kind))}; choose another column")
    if column.null_count:
        row = row_of(int(np.argmax(column.is_null().to_numpy(zero_copy_only=False))))
        raise BadInput(f"{where}: expected a vector in every row, got null in row {row}; fill or drop such rows")
    width = getattr(kind, "list_size", None)
    if width is None:
        lengths = _lengths(column)
        first = int(np.argmax(lengths > 0)) if len(lengths) else 0  # an empty list is never the measure
        width = int(lengths[first]) if len(lengths) else 1
        if (lengths != width).any():
            row = int(np.argmax(lengths != width))
            raise BadInput(
                f"{where}: expected lists of {width} numbers as in row {row_of(first)}, got {int(lengths[row])} in row "
                f"{row_of(row)}; if it is no vector, choose others with vector=..."
            )
    flat = column.flatten()
    if flat.null_count:
        row = row_of(int(np.argmax(flat.is_null().to_numpy(zero_copy_only=False))) // max(width, 1))
        raise BadInput(f"{where}: expected numbers, got null inside the vector of row {row}; fill or drop such rows")
    if width < 1:
        raise BadInput(
            f"{where}: expected vectors of at least one value, got [] in row {row_of(0)}; null is for rows without"
        )
    return np.asarray(flat.to_numpy(zero_copy_only=False).reshape(len(column), width))


def _lengths(column: Any) -> NDArray[np.int64]:
    size = getattr(column.type, "list_size", None)
    if size is not None:
        return np.full(len(column), size, dtype=np.int64)
    return np.asarray(np.diff(column.offsets.to_numpy()), dtype=np.int64)


def _sparse(column: Any, present: Any, n: int, where: str) -> RowVectors:
    try:
        indices, values = (column.field(name) for name in SPARSE)
    except KeyError:
        raise BadInput(
            f"{where}: expected a struct of indices and values, got {base.shown(str(column.type))}"
        ) from None
    if not (_is_list(indices.type) and _is_list(values.type)) or column.field("indices").null_count:
        raise BadInput(f"{where}: expected lists of indices and values, got {base.shown(str(column.type))}")
    lengths = _lengths(indices)
    if values.null_count or (lengths != _lengths(values)).any():
        raise BadInput(f"{where}: expected as many values as indices in every row")
    parts = [p.flatten() for p in (indices, values)]
    if any(p.null_count or not _number(p.type) for p in parts):
        raise BadInput(f"{where}: expected numbers as indices and values, got {base.shown(str(column.type))}")
    terms, weights = (p.to_numpy(zero_copy_only=False) for p in parts)
    found = Vectors("sparse", n, weights, present=present, lengths=lengths, indices=terms.astype(np.int64))
    return unpacked(found)


def values_of(column: Any, where: str, is_json: bool) -> Iterator[tuple[bool, Any]]:
    """Whether each row has a value, and the value: Python's own, of JSON text what it says."""
    pa, types = require("pyarrow", extra="arrow"), require("pyarrow.types", extra="arrow")
    if types.is_timestamp(column.type) and column.type.unit == "ns":
        try:
            column = column.cast(pa.timestamp("us", tz=column.type.tz))
        except pa.ArrowInvalid:
            raise BadInput(f"{where}: expected times of whole microseconds, got finer ones; round them first") from None
    try:
        values = column.to_pylist()
    except (OverflowError, ValueError):
        raise BadInput(
            f"{where}: expected times of the years 1 to 9999, got others in {base.shown(str(column.type))}; "
            "repair it, or leave it out with meta="
        ) from None
    for value in values:
        if value is not None and is_json:
            yield True, load(value, where)
        else:
            yield value is not None, _fixed(value)


def _fixed(value: Any) -> Any:
    """A time with the offset that it had, as the rest of the metadata has it."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        offset = value.utcoffset()
        return value if offset is None else value.astimezone(timezone(offset))
    if isinstance(value, list):
        return [_fixed(v) for v in value]
    if isinstance(value, dict):
        return {k: _fixed(v) for k, v in value.items()}
    return value
