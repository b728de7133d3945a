"""Arrow tables and arrays, pandas and polars frames, Hugging Face data sets: to vectors and rows, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import BadInput, BadParameter
from nearfield.core.optional import require
from nearfield.store import exchange_arrow, exchange_columns
from nearfield.store.exchange_arrow import record_batches
from nearfield.store.exchange_names import Names
from nearfield.store.frames_pandas import from_pandas
from nearfield.store.rows import ROWS, RowBatch, Spool

__all__ = ["from_arrow", "from_dataset", "from_frame", "to_arrow", "to_dataset", "to_frame", "to_table"]


# ---- vectors and Arrow ----------------------------------------------------------------------------
def from_arrow(x: Any, column: str | None = None) -> NDArray[Any]:
    """Take vectors from Arrow as an array ``[n, d]``, on the same memory where Arrow has them end to end.

    ``x`` is an array or chunked array of lists of one length, or a table, record batch, frame or whatever else has
    ``__arrow_c_array__`` or ``__arrow_c_stream__``, of which ``column`` is taken (default: the only one of lists). One
    chunk is not copied and cannot be written to; several are joined, which copies. Needs the extra ``arrow``. Raises
    ``BadInput`` for null, lists of several lengths and other types.
    """
    pa = require("pyarrow", extra="arrow")
    found = x if isinstance(x, (pa.Array, pa.ChunkedArray, pa.Table, pa.RecordBatch)) else _imported(x)
    if isinstance(found, (pa.Table, pa.RecordBatch)):
        found = found.column(_column(found.schema, column))
    elif column is not None:
        raise BadInput(f"vectors: column={column!r} names one of a table, got an array; leave it out")
    if isinstance(found, pa.ChunkedArray):
        chunks = [c for c in found.chunks if len(c)]
        found = chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks or [pa.array([], found.type)])
    if not len(found):
        raise BadInput("vectors: expected at least one row, got none")
    if isinstance(found, pa.ExtensionArray):  # fixed-shape tensors lie as fixed-size lists
        found = found.storage
    return exchange_columns.numbers(found, "vectors")


def _imported(x: Any) -> Any:
    pa = require("pyarrow", extra="arrow")
    try:
        if hasattr(x, "__arrow_c_stream__"):
            return pa.chunked_array(x) if not _is_table(x) else pa.table(x)
        if hasattr(x, "__arrow_c_array__"):
            return pa.record_batch(x) if _is_table(x) else pa.array(x)
    except (pa.ArrowException, TypeError, ValueError, NotImplementedError) as error:
        raise BadInput(f"vectors: Arrow cannot take them ({str(error).partition(chr(10))[0][:120]})") from None
    raise BadInput(f"vectors: expected Arrow data or something that exports it, got {type(x).__name__}")


def _is_table(x: Any) -> bool:
    """Whether what comes through the C interface has columns: tables say so by a name for each."""
    return any(hasattr(x, name) for name in ("columns", "column_names", "schema"))


def _column(schema: Any, column: str | None) -> str:
    fit = [f.name for f in schema if exchange_columns.seems_vector(f)] if column is None else [column]
    if len(fit) != 1 or schema.names.count(fit[0]) != 1:
        shown = ", ".join(map(repr, schema.names[:12]))
        raise BadInput(f"vectors: expected one column of vectors, got {len(fit)} among {shown}; choose with column=...")
    return fit[0]


def to_arrow(x: NDArray[Any]) -> Any:
    """Give rows ``[n, d]`` as an Arrow array of fixed-size lists, on the same memory where they are in C order.

    Needs the extra ``arrow``.
    """
    if not isinstance(x, np.ndarray) or x.ndim != 2 or x.dtype.kind not in "fiu" or x.shape[1] < 1:
        shown = f"{x.dtype} of shape {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
        raise BadInput(f"vectors: expected a 2-D array of numbers, got {shown}")
    return exchange_columns.dense_column(x)


# ---- rows and Arrow -------------------------------------------------------------------------------
def to_table(batches: Iterable[RowBatch]) -> Any:
    """Give rows as one Arrow table: id, text, a column a vector field, a column a key of metadata.

    The columns are those that ``write_rows`` writes to Parquet, marked so that ``from_frame`` gives back the same rows.
    Needs the extra ``arrow``.
    """
    pa = require("pyarrow", extra="arrow")
    with Spool() as spool:
        schema, found = record_batches(spool, batches)
        return pa.Table.from_batches(list(found), schema=schema)


def from_frame(
    frame: Any,
    *,
    id: str | None = None,
    text: str | Sequence[str] | None = None,
    vector: str | Sequence[str] | None = None,
    meta: Sequence[str] | None = None,
    rows: int = ROWS,
) -> Iterator[RowBatch]:
    """Yield the rows of a pandas or polars frame, an Arrow table, or anything with ``__arrow_c_stream__``.

    Columns are found by name and type as by ``read_rows``. pandas frames need nothing else: None, NaN, NaT and NA mean
    there that the row has no value, and without a column of ids an index is the ids, unless it has no name and counts
    the rows from 0: so do those of a fresh frame and of its ``head``. One of numbers under the columns 0, 1, 2 ...
    holds vectors. A lazy polars frame is collected. All but pandas need the extra ``arrow``.
    """
    names = Names(id, text, vector, meta)
    library = type(frame).__module__.partition(".")[0]
    if library == "pandas" and hasattr(frame, "columns"):
        return from_pandas(frame, names, rows)
    return _from_table(frame.collect() if library == "polars" and hasattr(frame, "collect") else frame, names, rows)


def _from_table(frame: Any, names: Names, rows: int) -> Iterator[RowBatch]:
    pa = require("pyarrow", extra="arrow")
    done = 0
    for batch in _even(_record_batches(pa, frame), rows):
        yield exchange_arrow.rows_of(batch, names, done, "rows")
        done += len(batch)


def _record_batches(pa: Any, frame: Any) -> Iterator[Any]:
    if isinstance(frame, pa.RecordBatchReader):
        return iter(frame)  # it may be longer than the memory
    table = frame if isinstance(frame, (pa.Table, pa.RecordBatch)) else _imported(frame)
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    if not isinstance(table, pa.Table):
        raise BadInput(f"rows: expected a table of columns, got {type(frame).__name__}")
    return iter(table.to_batches())


def _even(batches: Iterator[Any], rows: int) -> Iterator[Any]:
    """The rows ``rows`` at a time, however they are chunked: a commit for each of many small chunks takes long."""
    pa = require("pyarrow", extra="arrow")
    held: list[Any] = []
    count = 0
    for batch in batches:
        while len(batch):
            part = batch.slice(0, rows - count)
            batch = batch.slice(len(part))
            held.append(part)
            count += len(part)
            if count == rows:
                yield _joined(pa, held)
                held, count = [], 0
    if held:
        yield _joined(pa, held)


def _joined(pa: Any, batches: list[Any]) -> Any:
    if len(batches) == 1:
        return batches[0]
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def to_frame(batches: Iterable[RowBatch], kind: Literal["pandas", "polars"] = "pandas") -> Any:
    """Give rows as a pandas or polars frame with the columns id, text, the vector fields and the keys of metadata.

    Use it for a look at some rows; all of them are held in memory. pandas cells are Python's own values and arrays, in
    columns of objects where some rows have none; polars goes through Arrow (extra ``arrow``), and metadata of several
    types under one key is JSON text there, and times with an offset are in UTC. A key of metadata named like another
    column gets ``_`` behind its name.
    """
    if kind == "polars":
        return require("polars", extra="polars").DataFrame(_in_utc(to_table(_without_nones(batches))))
    if kind != "pandas":
        raise BadParameter(f"kind: expected 'pandas' or 'polars', got {kind!r}")
    pandas = require("pandas", extra="pandas")
    columns = _columns(batches)
    return pandas.DataFrame({k: _series(pandas, v) for k, v in columns.items()})


def _in_utc(table: Any) -> Any:
    """The same instants: polars knows time zones by name, and no offsets."""
    pa = require("pyarrow", extra="arrow")

    def named(kind: Any) -> Any:
        if pa.types.is_timestamp(kind) and kind.tz:
            return pa.timestamp(kind.unit, tz="UTC")
        if pa.types.is_list(kind):
            return pa.list_(named(kind.value_type))
        if pa.types.is_struct(kind):
            return pa.struct([pa.field(f.name, named(f.type)) for f in kind])
        return kind

    columns = [column.cast(kind) if (kind := named(column.type)) != column.type else column for column in table.columns]
    schema = [field.with_type(column.type) for field, column in zip(table.schema, columns)]
    return pa.Table.from_arrays(columns, schema=pa.schema(schema, metadata=table.schema.metadata))


def _without_nones(batches: Iterable[RowBatch]) -> Iterator[RowBatch]:
    """None and a missing key are one in a frame: a column of numbers with holes stays one of numbers."""
    for b in batches:
        meta = None if b.meta is None else [{k: v for k, v in m.items() if v is not None} for m in b.meta]
        yield RowBatch(b.ids, b.texts, meta, b.vectors)


def _series(pandas: Any, values: list[Any]) -> Any:
    kinds = {type(v) for v in values}
    if kinds in ({int}, {float}, {bool}):
        return pandas.Series(values)
    return pandas.Series(values, dtype=object)  # whatever is in it stays as it is


def _columns(batches: Iterable[RowBatch]) -> dict[str, list[Any]]:
    """Every column as a list as long as all rows, None where a row has nothing."""
    out: dict[str, list[Any]] = {}
    done = 0
    for batch in batches:
        parts: dict[str, Any] = {} if batch.ids is None else {"id": batch.ids}
        if batch.texts is not None:
            parts["text"] = batch.texts
        parts |= {k: list(v) for k, v in batch.vectors.items()}
        keys = dict.fromkeys(k for m in batch.meta or [] for k in m)
        meta = {k: [m.get(k) for m in batch.meta or []] for k in keys}
        taken = {"id", "text", *batch.vectors}
        for key, values in [*parts.items(), *((k + "_" * (k in taken), v) for k, v in meta.items())]:
            out.setdefault(key, [None] * done).extend(values)
        done += len(batch)
        for values in out.values():
            values.extend([None] * (done - len(values)))
    return out


# ---- data sets ------------------------------------------------------------------------------------
def from_dataset(
    dataset: Any,
    *,
    id: str | None = None,
    text: str | Sequence[str] | None = None,
    vector: str | Sequence[str] | None = None,
    meta: Sequence[str] | None = None,
    rows: int = ROWS,
) -> Iterator[RowBatch]:
    """Yield the rows of a Hugging Face ``datasets.Dataset`` or ``IterableDataset``, a batch at a time.

    Columns are found as by ``read_rows``. Needs the extra ``arrow``; the rows come through Arrow, so that a data set of
    many gigabytes stays on disk.
    """
    if not hasattr(dataset, "with_format") or not hasattr(dataset, "iter"):
        what = "a dictionary of splits: pass one of them" if isinstance(dataset, dict) else type(dataset).__name__
        raise BadInput(f"dataset: expected a datasets.Dataset, got {what}")
    names = Names(id, text, vector, meta)
    return _from_dataset(dataset, names, rows)


def _from_dataset(dataset: Any, names: Names, rows: int) -> Iterator[RowBatch]:
    done = 0
    for table in dataset.with_format("arrow").iter(batch_size=rows):
        for batch in table.combine_chunks().to_batches():
            yield exchange_arrow.rows_of(batch, names, done, "dataset")
            done += len(batch)


def to_dataset(batches: Iterable[RowBatch]) -> Any:
    """Give rows as a Hugging Face ``datasets.Dataset`` in memory, with the columns of ``to_table``.

    Needs the package ``datasets``.
    """
    datasets = require("datasets", extra="datasets")
    return datasets.Dataset(to_table(_without_nones(batches)).replace_schema_metadata(None))
