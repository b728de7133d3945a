"""Reader of Arrow IPC: the file format (.arrow, .feather) and the stream that Hugging Face datasets keep."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from nearfield.core.optional import require
from nearfield.store import io_arrow
from nearfield.store import io_base as base

MAGIC = b"ARROW1"
STREAM = b"\xff\xff\xff\xff"


@contextmanager
def opened(path: str, *names: str) -> Iterator[Any]:
    """A reader of record batches, of either format, and of these columns only; nothing is mapped."""
    pa, ipc = require("pyarrow", extra="arrow"), require("pyarrow.ipc", extra="arrow")
    with base.positioned(path) as probe:
        head = probe.bytes_at(0, 8)
        tail = probe.bytes_at(max(0, probe.size - 10), 10)
        size = probe.size
    if head[:6] != MAGIC and head[:4] != STREAM:
        raise base.corrupt(path, f"expected an Arrow IPC file or stream, got one that starts with {base.shown(head)}")
    if head[:6] == MAGIC and (tail[4:] != MAGIC or int.from_bytes(tail[:4], "little") > min(size, io_arrow.MAX_FOOTER)):
        raise base.corrupt(path, f"expected an Arrow IPC file up to its footer, it ends in {base.shown(tail)}")
    with io_arrow.parquet_reading(path, "Arrow IPC"):
        file = pa.OSFile(path, "rb")
    with file:
        with io_arrow.parquet_reading(path, "Arrow IPC"):
            open_it = ipc.open_file if head[:6] == MAGIC else ipc.open_stream
            reader = open_it(file)
            if names:
                wanted = [reader.schema.names.index(n) for n in names]
                file.seek(0)
                reader = open_it(file, options=ipc.IpcReadOptions(included_fields=wanted, use_threads=False))
        yield reader


def batches(path: str, reader: Any) -> Iterator[Any]:
    """The record batches one after another, each checked whole: offsets of lists included."""
    count = getattr(reader, "num_record_batches", None)
    at = 0
    while count is None or at < count:
        with io_arrow.parquet_reading(path, "Arrow IPC"):
            try:
                batch = reader.get_batch(at) if count is not None else reader.read_next_batch()
            except StopIteration:
                return
            batch.validate(full=True)
        at += 1
        yield batch


def read_ipc(path: str, column: str | None, limit: int | None, max_ratio: float) -> base.Source:
    """Open the column of vectors: the one named, or the only column of lists of numbers.

    The rows are counted in one pass, since the format does not tell them.
    """
    rows = width = unpacked = 0
    with base.positioned(path) as probe:
        size = probe.size
    with opened(path) as reader, io_arrow.parquet_reading(path, "Arrow IPC"):
        name, kind, ids = io_arrow.column_of(path, reader.schema, column)
        dtype = io_arrow.value_dtype(path, kind)
        width = int(getattr(kind, "list_size", 0))
    with opened(path, name) as reader:
        for batch in batches(path, reader):
            if not width and len(batch):
                width = io_arrow.first_width(path, batch.column(0), name)
            rows += len(batch)
            unpacked += len(batch) * width * dtype.itemsize
            base.check_ratio(path, unpacked, size, max_ratio)
    base.check_form(path, rows, width if rows else 1, f"the column {base.shown(name)}")
    return IpcRows(path, rows, width, dtype, limit, column=name, id_column=ids)


class IpcRows(io_arrow.ColumnRows):
    """The rows of a column of an Arrow IPC file, read from its start on."""

    @cached_property
    def _names(self) -> list[str] | None:
        if self.id_column is None:
            return None
        names: list[str] = []
        with opened(self.path, self.id_column) as reader:
            for batch in batches(self.path, reader):
                names.extend(self._ids(batch.column(0)))
                if len(names) >= len(self):
                    break
        return names[: len(self)]

    def _stream(self, step: int) -> Iterator[NDArray[Any]]:
        at = 0
        with opened(self.path, self.column) as reader:
            for batch in batches(self.path, reader):
                for start in range(0, len(batch), step):
                    part = batch.slice(start, min(step, len(self) - at))
                    with io_arrow.parquet_reading(self.path, "Arrow IPC"):
                        block = self._dense(part.column(0), at)
                    at += len(block)
                    yield block
                    if at >= len(self):
                        return
        raise base.corrupt(self.path, f"had {self.file_rows} rows when opened, got {at}; it has changed, open it again")
