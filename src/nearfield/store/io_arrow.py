"""Reader of Parquet: a column of fixed-size lists or lists of one length."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import NearfieldError
from nearfield.core.optional import require
from nearfield.store import io_base as base

MAX_FOOTER = 64 << 20
ID_NAMES = ("id", "_id", "ids")


@contextmanager
def parquet_reading(path: str, what: str = "Parquet") -> Iterator[None]:
    """Turn what pyarrow raises on damaged files into ``Corrupt``."""
    pa = require("pyarrow", extra="arrow")
    try:
        yield
    except NearfieldError:
        raise
    except (
        pa.ArrowException,
        OSError,
        MemoryError,
        ValueError,
        OverflowError,
        KeyError,
        IndexError,
        TypeError,
    ) as error:
        first = str(error).partition("\n")[0]
        raise base.corrupt(path, f"{what} cannot be read ({base.shown(first, 120)}); fetch it again") from None


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """A Parquet file, its ends looked at first, its pages' checksums compared as they are read."""
    parquet = require("pyarrow.parquet", extra="arrow")
    _check_ends(path)
    with parquet_reading(path):
        file = parquet.ParquetFile(
            path, memory_map=False, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True,
            thrift_string_size_limit=MAX_FOOTER, thrift_container_size_limit=1_000_000,
        )  # fmt: skip
    try:
        yield file
    finally:
        file.close(force=True)


def _check_ends(path: str) -> None:
    """Look at the magic and the footer's size before pyarrow allocates a buffer for it."""
    with base.positioned(path) as file:
        head, tail, size = file.bytes_at(0, 4), file.bytes_at(max(0, file.size - 8), 8), file.size
    if head != b"PAR1" or tail[4:] != b"PAR1":
        raise base.corrupt(
            path,
            f"expected a Parquet file (PAR1 at both ends), got {base.shown(head)} and {base.shown(tail[4:])}; "
            "fetch it again",
        )
    footer = int.from_bytes(tail[:4], "little")
    if footer > min(size - 12, MAX_FOOTER):
        raise base.corrupt(path, f"claims a footer of {footer} bytes in a file of {size}; fetch it again")


def read_parquet(path: str, column: str | None, limit: int | None, max_ratio: float) -> base.Source:
    """Open the column of vectors of a Parquet file: the one named, or the only column of lists of numbers."""
    with opened(path) as file, parquet_reading(path):
        name, field, ids = column_of(path, file.schema_arrow, column)
        dtype = value_dtype(path, field)
        rows = int(file.metadata.num_rows)
        base.check_form(path, rows, 1)
        width = _width(path, file, name, field)
        base.check_form(path, rows, width)
        _check_claims(path, file.metadata, rows * width * dtype.itemsize, max_ratio)
    return ParquetRows(path, rows, width, dtype, limit, column=name, id_column=ids)


def column_of(path: str, schema: Any, column: str | None) -> tuple[str, Any, str | None]:
    """The column of vectors by name, its type, and the name of the column of ids where there is one."""
    name = column if column is not None else _only(path, schema)
    if name not in schema.names:
        raise base.bad(
            path, f"expected a column {base.shown(name)}, the file has: {_listed(schema)}; choose with column=..."
        )
    if schema.names.count(name) > 1:
        raise base.bad(path, f"expected one column {name!r}, got {schema.names.count(name)}; rename one")
    kind = schema.field(name).type
    if not is_list(kind):
        raise base.bad(path, f"expected lists of numbers, the column {name!r} is {kind}; choose with column=...")
    return name, kind, next((n for n in ID_NAMES if schema.names.count(n) == 1 and n != name), None)


def is_list(kind: Any) -> bool:
    """Whether a type is one of the lists."""
    types = require("pyarrow.types", extra="arrow")
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def value_dtype(path: str, kind: Any) -> np.dtype[Any]:
    """The number type of the values of a list."""
    types = require("pyarrow.types", extra="arrow")
    value = kind.value_type
    if not (types.is_integer(value) or types.is_floating(value)):
        raise base.bad(
            path, f"expected lists of numbers, got lists of {base.shown(str(value))}; choose with column=..."
        )
    return base.check_dtype(path, np.dtype(value.to_pandas_dtype()))


def _listed(schema: Any, most: int = 12) -> str:
    items = [f"{base.shown(f.name, 40)} ({base.shown(str(f.type), 60)})" for f in schema]
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def _only(path: str, schema: Any) -> str:
    types = require("pyarrow.types", extra="arrow")
    lists = [f for f in schema if is_list(f.type)]
    of_numbers = [f for f in lists if types.is_integer(f.type.value_type) or types.is_floating(f.type.value_type)]
    fit = [f.name for f in of_numbers or lists]
    if len(fit) != 1:
        raise base.bad(
            path, f"expected one column of lists, got {len(fit)} among: {_listed(schema)}; choose with column=..."
        )
    return str(fit[0])


def _width(path: str, file: Any, name: str, kind: Any) -> int:
    if require("pyarrow.types", extra="arrow").is_fixed_size_list(kind):
        return int(kind.list_size)
    for batch in file.iter_batches(batch_size=1, columns=[name], use_threads=False):
        if len(batch):
            return first_width(path, batch.column(0), name)
    raise base.corrupt(path, f"claims {file.metadata.num_rows} rows, got none; fetch it again")


def first_width(path: str, column: Any, name: str) -> int:
    """The length of the list in the first row."""
    if not column[0].is_valid:
        raise base.bad(path, f"expected a list in every row of {name!r}, got null in row 0; fill or drop such rows")
    width = len(column[0].values)
    if not width:
        raise base.bad(path, f"expected numbers in every row of {name!r}, got [] in row 0; fill or drop such rows")
    return width


def check_rows(path: str, metadata: Any) -> None:
    """Add up the rows of the groups.

    The metadata of single columns is not asked for: with a damaged footer pyarrow 26 ends the process there.
    """
    rows = [int(metadata.row_group(g).num_rows) for g in range(metadata.num_row_groups)]
    if any(r < 0 for r in rows) or sum(rows) != metadata.num_rows:
        raise base.corrupt(
            path, f"claims {metadata.num_rows} rows, its row groups {base.shown(rows[:4])}; fetch it again"
        )


def _check_claims(path: str, metadata: Any, unpacked: int, max_ratio: float) -> None:
    """Compare what the column unpacks to with the file and the cap."""
    check_rows(path, metadata)
    with base.positioned(path) as file:
        base.check_ratio(path, unpacked, file.size, max_ratio)


class ColumnRows(base.Streamed):
    """The rows of a column of lists, of Parquet or Arrow IPC."""

    def __init__(
        self,
        path: str,
        rows: int,
        width: int,
        dtype: np.dtype[Any],
        limit: int | None,
        *,
        column: str,
        id_column: str | None,
    ) -> None:
        super().__init__(path, rows, width, dtype, limit)
        self.column, self.id_column = column, id_column

    @cached_property
    def _names(self) -> list[str] | None:
        raise NotImplementedError

    @property
    def ids(self) -> list[str] | None:
        """The values of the column id, _id or ids as text, read when first asked for."""
        return self._names

    def _ids(self, column: Any) -> list[str]:
        if column.null_count:
            raise base.bad(
                self.path, f"expected an id in every row, got null in {self.id_column!r}; fill or drop such rows"
            )
        return [str(v) for v in column.to_pylist()]

    def _dense(self, column: Any, at: int) -> NDArray[Any]:
        width = self._shape[1]
        if column.null_count:
            row = at + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
            raise base.bad(
                self.path,
                f"expected a list in every row of {self.column!r}, got null in row {row}; fill or drop such rows",
            )
        if hasattr(column, "offsets"):
            lengths = np.diff(column.offsets.to_numpy())
            if (lengths != width).any():
                row = int(np.argmax(lengths != width))
                raise base.bad(
                    self.path,
                    f"expected lists of {width} numbers in {self.column!r} as in row 0, "
                    f"got {int(lengths[row])} in row {at + row}; make all of one length",
                )
        values = column.flatten()
        if values.null_count:
            row = at + int(np.argmax(values.is_null().to_numpy(zero_copy_only=False))) // width
            raise base.bad(
                self.path, f"expected numbers, got null inside the list of row {row}; fill or drop such rows"
            )
        flat = values.to_numpy(zero_copy_only=False)
        if flat.size != len(column) * width:
            raise base.corrupt(
                self.path, f"expected {len(column)} lists of {width}, got {flat.size} numbers; fetch it again"
            )
        return np.array(flat.reshape(-1, width), dtype=self._dtype)


class ParquetRows(ColumnRows):
    """The rows of a Parquet column. ``take`` unpacks only the row groups that hold a row wanted."""

    @cached_property
    def _names(self) -> list[str] | None:
        if self.id_column is None:
            return None
        names: list[str] = []
        with opened(self.path) as file, parquet_reading(self.path):
            for batch in file.iter_batches(batch_size=65_536, columns=[self.id_column], use_threads=False):
                names.extend(self._ids(batch.column(0)))
                if len(names) >= len(self):
                    break
        return names[: len(self)]

    def _stream(self, step: int) -> Iterator[NDArray[Any]]:
        at = 0
        with opened(self.path) as file:
            for block in self._batches(file, None, step, 0):
                block = block[: len(self) - at]
                at += len(block)
                if len(block):
                    yield block
                if at >= len(self):
                    return
        raise base.corrupt(self.path, f"claims {self.file_rows} rows, got {at}; fetch it again")

    def _batches(self, file: Any, groups: list[int] | None, step: int, at: int) -> Iterator[NDArray[Any]]:
        with parquet_reading(self.path):
            batches = file.iter_batches(batch_size=step, row_groups=groups, columns=[self.column], use_threads=False)
        while True:
            with parquet_reading(self.path):
                batch = next(batches, None)
                if batch is None:
                    return
                block = self._dense(batch.column(0), at)
            at += len(block)
            yield block

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the rows of these numbers, in this order; each number from 0 to ``len - 1``."""
        rows = self._check_rows(rows)
        out = np.empty((rows.size, self._shape[1]), dtype=self._dtype)
        order = np.argsort(rows, kind="stable")
        wanted = rows[order]
        with opened(self.path) as file:
            sizes = [file.metadata.row_group(g).num_rows for g in range(file.metadata.num_row_groups)]
            starts = np.concatenate([[0], np.cumsum(sizes)])
            for group in np.unique(np.searchsorted(starts, wanted, side="right") - 1).tolist():
                at, done = int(starts[group]), int(np.searchsorted(wanted, starts[group]))
                for block in self._batches(file, [group], self.span, at):
                    end = int(np.searchsorted(wanted, at + len(block)))
                    out[order[done:end]] = block[wanted[done:end] - at]
                    at, done = at + len(block), end
                if at < int(starts[group + 1]):
                    raise base.corrupt(
                        self.path,
                        f"claims {starts[group + 1]} rows, got {at}; fetch it again",
                    )
        return out
