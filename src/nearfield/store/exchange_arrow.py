"""Rows as Arrow record batches: Parquet and Arrow IPC files, and what frames and data sets are made from.

A key of metadata is a column of its own: of the Arrow type of its values where all are of one, else of JSON text. What
a column is (id, text, a kind of vector, metadata) stands in the metadata of its field, so that all comes back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np

from nearfield.core.errors import BadInput
from nearfield.core.optional import require
from nearfield.store import exchange_columns, exchange_kinds, io_arrow, io_ipc
from nearfield.store import io_base as base
from nearfield.store.exchange_kinds import JSON, KeyForm, Kind
from nearfield.store.exchange_names import Names
from nearfield.store.metadata.check import dump
from nearfield.store.rows import BATCH_BYTES, FieldForm, RowBatch, Spool
from nearfield.store.vectors import Vectors

MARK = b"nearfield"


# ---- writing --------------------------------------------------------------------------------------
def write_parquet(file: IO[bytes], batches: Iterable[RowBatch], path: str) -> int:
    """Write Parquet, a row group a batch, with page checksums."""
    parquet = require("pyarrow.parquet", extra="arrow")
    with Spool() as spool:
        schema, tables = record_batches(spool, batches)
        options: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}
        with parquet.ParquetWriter(file, schema, **options) as out:
            for batch in tables:
                out.write_batch(batch)
        return spool.rows


def write_ipc(file: IO[bytes], batches: Iterable[RowBatch], path: str) -> int:
    """Write the Arrow IPC file format (Feather version 2), a record batch a batch, uncompressed."""
    ipc = require("pyarrow.ipc", extra="arrow")
    with Spool() as spool:
        schema, tables = record_batches(spool, batches)
        with ipc.new_file(file, schema) as out:
            for batch in tables:
                out.write_batch(batch)
        return spool.rows


def record_batches(spool: Spool, batches: Iterable[RowBatch]) -> tuple[Any, Iterator[Any]]:
    """The schema of all batches, and each as a record batch of it; ``spool`` keeps them in between."""
    forms: dict[str, KeyForm] = {}
    for batch in spool.fill(batches):
        exchange_kinds.survey(forms, batch.meta or [])
    kinds = {key: form.settle(spool.rows) for key, form in forms.items()}
    nones = {key for key, form in forms.items() if form.nones and kinds[key] != JSON}
    schema = _schema(spool, kinds, nones)
    return schema, (_record_batch(schema, spool, kinds, *found) for found in spool)


def _schema(spool: Spool, kinds: dict[str, Kind], nones: set[str]) -> Any:
    pa = require("pyarrow", extra="arrow")
    fields: list[Any] = []

    def add(name: str, holds: Any, **mark: Any) -> None:
        taken = {f.name for f in fields}
        while name in taken:  # the mark keeps the name as it was
            name += "_"
        fields.append(pa.field(name, holds, metadata={MARK: json.dumps(mark, ensure_ascii=False).encode()}))

    if spool.id_kind is not None:
        add("id", pa.int64() if spool.id_kind == "int" else pa.string(), role="id")
    if spool.has_texts:
        add("text", pa.string(), role="text")
    for name, form in spool.fields.items():
        add(name, exchange_columns.vector_type(form), role="vector", key=name, kind=form.kind)
    for key, kind in kinds.items():
        add(key, exchange_kinds.arrow_type(kind), role="meta", key=key, json=kind == JSON, none=key in nones)
    return pa.schema(fields)


def _record_batch(
    schema: Any, spool: Spool, kinds: dict[str, Kind], n: int, batch: RowBatch, vectors: dict[str, Vectors]
) -> Any:
    pa = require("pyarrow", extra="arrow")
    columns: list[Any] = []
    if spool.id_kind is not None:
        columns.append(pa.array(batch.ids, type=schema.field(0).type))
    if spool.has_texts:
        columns.append(pa.array(batch.texts or [None] * n, type=pa.string()))
    for name, form in spool.fields.items():
        columns.append(_vectors(vectors.get(name), form, n))
    for key, kind in kinds.items():
        values = [m.get(key) for m in batch.meta] if batch.meta else [None] * n
        if kind == JSON:
            has = [key in m for m in batch.meta] if batch.meta else [False] * n
            values = [dump(v) if h else None for v, h in zip(values, has)]
        columns.append(pa.array(values, type=exchange_kinds.arrow_type(kind)))
    return pa.record_batch(columns, schema=schema)


def _vectors(found: Vectors | None, form: FieldForm, n: int) -> Any:
    if found is None:
        pa = require("pyarrow", extra="arrow")
        return pa.nulls(n, type=exchange_columns.vector_type(form))
    return exchange_columns.vector_column(found)


# ---- reading --------------------------------------------------------------------------------------
def read_parquet(path: str, names: Names, rows: int, limit: int | None, max_ratio: float) -> Iterator[RowBatch]:
    """Yield the rows of a Parquet file."""
    with io_arrow.opened(path) as file:
        io_arrow.check_rows(path, file.metadata)
        step = _step(rows, int(file.metadata.num_rows), path)
        with io_arrow.parquet_reading(path):
            batches = file.iter_batches(batch_size=step, use_threads=False)
        yield from _limited(_checked(path, batches), names, step, limit, path)


def read_ipc(path: str, names: Names, rows: int, limit: int | None, max_ratio: float) -> Iterator[RowBatch]:
    """Yield the rows of an Arrow IPC file or stream; memory is that of its largest record batch."""
    with io_ipc.opened(path) as reader:
        yield from _limited(io_ipc.batches(path, reader), names, rows, limit, path)


def _step(rows: int, count: int, path: str) -> int:
    """Fewer rows than asked for where a row takes much of the file."""
    with base.positioned(path) as file:
        return max(1, min(rows, BATCH_BYTES * max(count, 1) // file.size))


def _checked(path: str, batches: Iterator[Any]) -> Iterator[Any]:
    while True:
        with io_arrow.parquet_reading(path):
            batch = next(batches, None)
            if batch is None:
                return
            batch.validate(full=True)
        yield batch


def _limited(batches: Iterator[Any], names: Names, step: int, limit: int | None, path: str) -> Iterator[RowBatch]:
    done = 0
    for batch in batches:
        for start in range(0, len(batch), step):
            left = step if limit is None else min(step, limit - done)
            if left <= 0:
                return
            part = batch.slice(start, left)
            with io_arrow.parquet_reading(path, "Arrow data"):
                yield rows_of(part, names, done, base.named(path))
            done += len(part)
    if not done:
        raise base.bad(path, "expected at least one row, got none; write rows to it first")


def rows_of(batch: Any, names: Names, start: int, where: str) -> RowBatch:
    """A record batch as rows: columns are what their marks say, else what the names say, else what their types are."""
    schema = batch.schema
    if len(set(schema.names)) < len(schema.names):
        raise BadInput(f"{where}: expected each column once, got {base.shown(schema.names, 120)}; rename one")
    marks = {f.name: _mark(f) for f in schema}
    roles = {role: [n for n, m in marks.items() if m.get("role") == role] for role in ("id", "text", "vector")}
    id_key = names.id_in(schema.names, where) if names.id is not None or not roles["id"] else roles["id"][0]
    marked = any(marks.values())
    texts = roles["text"] if marked and names.text is None else names.texts_in(schema.names, where)
    if names.vector is not None:
        vectors = names.vectors_in(schema.names, where)
    else:
        vectors = roles["vector"] if marked else exchange_columns.vectors_among(schema)
        vectors = [name for name in vectors if name not in names.given]
    if names.id is None and not roles["id"]:
        id_key = None if marked else id_key or _pandas_index(schema)
    meta = names.meta_in(schema.names, [id_key, *texts, *vectors], where)
    read = _Reader(batch, marks, where, start)
    return RowBatch(read.ids(id_key), read.texts(texts), read.meta(meta), read.vectors(vectors))


def _pandas_index(schema: Any) -> str | None:
    """The column that was the index of a pandas frame, where it was none that pandas counted itself."""
    try:
        found = (schema.pandas_metadata or {}).get("index_columns", [])
    except (ValueError, AttributeError, RecursionError):
        return None
    return found[0] if len(found) == 1 and found[0] in schema.names else None


def _mark(field: Any) -> dict[str, Any]:
    """What ``write_rows`` noted about a column; nothing where it did not write it."""
    try:
        found = json.loads((field.metadata or {}).get(MARK, b"{}"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


class _Reader:
    """The parts of one record batch."""

    def __init__(self, batch: Any, marks: dict[str, dict[str, Any]], where: str, start: int) -> None:
        self.batch, self.marks, self.where, self.start = batch, marks, where, start
        self.at = {name: i for i, name in enumerate(batch.schema.names)}

    def column(self, name: str) -> Any:
        return self.batch.column(self.at[name])

    def ids(self, name: str | None) -> list[Any] | None:
        if name is None:
            return None
        column = self.column(name)
        if column.null_count:
            row = self.start + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
            raise BadInput(f"{self.where}: expected an id in every row, got null in row {row}; fill or drop such rows")
        out: list[Any] = column.to_pylist()
        if not isinstance(out[0], (int, str)) or isinstance(out[0], bool):
            raise BadInput(
                f"{self.where}: expected ids that are int or str in {name!r}, got {column.type}; convert them"
            )
        return out

    def texts(self, names: list[str]) -> list[str | None] | None:
        if not names:
            return None
        columns = [self.column(n).to_pylist() for n in names]
        for name, found in zip(names, columns):
            if not all(v is None or isinstance(v, str) for v in found):
                raise BadInput(
                    f"{self.where}: expected text in {name!r}, got {self.column(name).type}; choose text=..."
                )
        if len(columns) == 1:
            return None if all(v is None for v in columns[0]) else columns[0]
        return [" ".join(p for p in parts if p) for parts in zip(*columns)]

    def vectors(self, names: list[str]) -> dict[str, Any]:
        """Every field, of None alone where no row of this batch has one: other batches of the source may."""
        out = {}
        for name in names:
            key = self.marks[name].get("key", name)
            where = f"{self.where}: {base.shown(name)}"
            out[key] = exchange_columns.vectors_of(self.column(name), where, self.start)
        return out

    def meta(self, names: list[str]) -> list[dict[str, Any]] | None:
        rows: list[dict[str, Any]] = [{} for _ in range(len(self.batch))]
        for name in names:
            mark = self.marks[name]
            values = exchange_columns.values_of(
                self.column(name), f"{self.where}: {base.shown(name)}", bool(mark.get("json"))
            )
            key = str(mark.get("key", name))
            missing_is_none = mark.get("none", not mark)  # in a file of others null is None
            for row, (there, value) in zip(rows, values):
                if there or missing_is_none:
                    row[key] = value
        return rows if any(rows) else None
