"""A folder of Parquet or Arrow files that are one table in parts, as Spark, Dask, pandas and datasets write it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.store import io_arrow, io_ipc
from nearfield.store import io_base as base

SUFFIXES = (".parquet", ".pq", ".arrow", ".feather")
_DIGITS = re.compile(r"(\d+)")


def parts_in(folder: base.PathLike) -> list[str]:
    """The parts in a folder, in the order of the numbers in their names; none where it holds no such file.

    Names that begin with ``.`` or ``_`` are no parts, such as ``_SUCCESS``, nor are files of other kinds. Raises
    ``BadInput`` for files of two formats and for parts in folders within, whose rows would be missed.
    """
    try:
        with os.scandir(folder) as entries:
            found = [e for e in entries if not e.name.startswith((".", "_"))]
            names = [e.name for e in found if e.is_file() and e.name.lower().endswith(SUFFIXES)]
            inner = next((e.name for e in found if e.is_dir() and _holds_parts(e.path)), None)
    except OSError:
        return []
    if inner is not None:
        raise base.bad(folder, f"expected parts of a table, got a folder of parts, {inner!r}; load each by itself")
    if len({n.lower().endswith((".parquet", ".pq")) for n in names}) > 1:
        raise base.bad(folder, f"expected parts of one format, got {base.shown(sorted(names), 120)}; move one away")
    return [os.path.join(os.fspath(folder), n) for n in sorted(names, key=_in_order)]


def _holds_parts(folder: str) -> bool:
    with os.scandir(folder) as entries:
        return any(e.name.lower().endswith(SUFFIXES) and not e.name.startswith((".", "_")) for e in entries)


def is_empty(path: str) -> bool:
    """Whether a part has no rows, as Spark leaves some."""
    if path.lower().endswith((".parquet", ".pq")):
        with io_arrow.opened(path) as file:
            return int(file.metadata.num_rows) == 0
    with io_ipc.opened(path) as reader:
        return not any(len(batch) for batch in io_ipc.batches(path, reader))


def check_columns(folder: str, parts: Sequence[str]) -> None:
    """Refuse parts with other columns than the first, before any of them is read."""
    first: set[str] | None = None
    for path in parts:
        with io_arrow.opened(path) if path.lower().endswith((".parquet", ".pq")) else io_ipc.opened(path) as file:
            columns = set((file.schema_arrow if hasattr(file, "schema_arrow") else file.schema).names)
        first = columns if first is None else first
        if columns != first:
            odd = base.shown(sorted(columns ^ first), 120)
            raise base.bad(folder, f"expected the same columns in all parts, {path!r} differs in {odd}; separate them")


def _in_order(name: str) -> list[Any]:
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in _DIGITS.split(name)]


class PartRows(base.Source):
    """The vectors of all parts, one after another."""

    def __init__(self, folder: str, parts: Sequence[base.Source], limit: int | None) -> None:
        self.parts = parts
        widths, dtypes = {p.shape[1] for p in parts}, {p.dtype for p in parts}
        if len(widths) > 1:
            raise base.bad(folder, f"expected vectors of one width in all parts, got {sorted(widths)}; separate them")
        self.starts = np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.int64)
        super().__init__(folder, int(self.starts[-1]), widths.pop(), np.result_type(*dtypes), limit)

    @cached_property
    def _names(self) -> list[str] | None:
        found = [p.ids for p in self.parts]
        if any(names is None for names in found):
            return None
        return [name for names in found for name in names or []][: len(self)]

    @property
    def ids(self) -> list[str] | None:
        """The ids of all parts, where each has some."""
        return self._names

    def blocks(self, rows: int = 0) -> Iterator[NDArray[Any]]:
        """Yield the rows in order, at most ``rows`` at a time (0: as many as fill 16 MiB)."""
        step, left = self._step(rows), len(self)
        for part in self.parts:
            for block in part.blocks(step):
                if left > 0:
                    yield block[:left].astype(self._dtype, copy=False)
                left -= len(block)
            if left <= 0:
                return

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the rows of these numbers, in this order; each number from 0 to ``len - 1``."""
        rows = self._check_rows(rows)
        out = np.empty((rows.size, self._shape[1]), dtype=self._dtype)
        place = np.searchsorted(self.starts, rows, side="right") - 1
        for number in np.unique(place).tolist():
            here = place == number
            out[here] = self.parts[number].take(rows[here] - self.starts[number])
        return out
