"""Which columns of a file stay in memory, and which are read from disk a few rows at a time.

What every search goes through (codes, terms, links) has to stay in memory. A re-score step looks at a short list
alone: its rows can be read when they are wanted, each checked when it is first read.

paper: S044 (ESPN), S161 (BiDR): small codes in memory, what verifies them on disk, read ahead of its use
needs: native
status: experimental
"""

from __future__ import annotations

import os
import re
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nearfield.core.checks import plain
from nearfield.core.errors import BadInput, Corrupt
from nearfield.core.protocols import I64, U8
from nearfield.numerics import kernels
from nearfield.search.fit import INDEX, Fitted
from nearfield.store.segments import Segment

Memory: TypeAlias = int | str
_UNITS = {"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_COUNTS = ("searches", "rounds", "wanted", "early", "ready", "unused", "reads", "bytes", "nanoseconds")


class TooLittle(BadInput):
    """Less memory is allowed than searching takes."""


def as_bytes(memory: Memory) -> int:
    """A size in bytes, given as a number or as text such as ``"200MB"``."""
    number = plain(memory)
    if isinstance(number, int) and not isinstance(number, bool) and number >= 0:
        return int(number)
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", memory.lower()) if isinstance(memory, str) else None
    if found is None or found[2] not in _UNITS:
        raise BadInput(f"memory: expected bytes, as a whole number or as text such as '200MB', got {memory!r}")
    return int(float(found[1]) * _UNITS[found[2]])


def choose(fitted: Fitted, columns: Mapping[str, NDArray[Any]], memory: int | None, path: str) -> list[str]:
    """The columns that are read from disk so that the others fit in memory: the largest of re-score steps first."""
    chosen = [INDEX + name for name in fitted.index.from_disk]
    if memory is None:
        return chosen
    kept, movable = sizes(fitted, columns)
    if kept > memory:
        raise TooLittle(f"{path}: memory: what every search goes through takes {kept} bytes, more than {memory}")
    left = memory - kept - sum(movable.values())
    for name in sorted(movable, key=lambda c: -movable[c]):
        if left < 0:
            left += movable[name]
            chosen.append(name)
    return chosen


def sizes(fitted: Fitted, columns: Mapping[str, NDArray[Any]]) -> tuple[int, dict[str, int]]:
    """Bytes that have to stay in memory, and of each column that may be read from disk instead.

    Texts and names are only looked up where they are asked for, and count for neither.
    """
    apart = (*(INDEX + name for name in fitted.index.from_disk), "texts.", "ids.")
    every = {name: column.nbytes for name, column in columns.items() if not name.startswith(apart)}
    movable = {name: every.pop(name) for name in (f"rescore{i}" for i in range(len(fitted.rescore_codecs)))}
    return sum(every.values()) + fitted.shared_bytes, movable


class DiskColumn:
    """Rows ``[n, width]`` of a column that stays in its file: read by number, checked when they are first read."""

    def __init__(self, segment: Segment, name: str, shape: tuple[int, ...]) -> None:
        self.segment, self.name = segment, name
        self.shape = shape
        self._offset, self._size = segment.place(name)
        self._piece, sums = segment.checksums(name)
        self._sums = sums.copy()  # a mapping of a file that is cut short cannot be read
        self._told = f"{segment.path}: column {name!r}"
        self._checked = np.zeros(len(self._sums), dtype=np.bool_)
        self._counts = dict.fromkeys(_COUNTS, 0)
        self._lock = threading.Lock()
        native = kernels.native()
        n, width = shape
        self.native: Any = None
        self._file = segment.descriptor()
        if native is not None:
            self.native = native.Disk(self._file, self._offset, n, width, self._piece, self._sums, self._told)

    @property
    def nbytes(self) -> int:
        """Bytes of the rows on disk."""
        return self._size

    def take(self, rows: I64) -> U8:
        """The bytes of some rows: ``uint8 [r, width]``."""
        if self.native is not None:
            with faults():
                taken: U8 = self.native.take(np.ascontiguousarray(rows, dtype=np.int64))
            return taken
        with self._lock:
            self._counts["searches"] += 1
            self._counts["rounds"] += 1
            self._counts["wanted"] += len(rows)
            parts = [self._row(int(row)) for row in rows]
        return np.frombuffer(b"".join(parts), np.uint8).reshape(len(rows), self.shape[1])

    def counts(self) -> dict[str, int]:
        """What searches have asked of the rows so far."""
        return dict(self.native.counts()) if self.native is not None else dict(self._counts)

    def _row(self, row: int) -> bytes:
        """One row, by plain reads of the pieces that hold it."""
        start, stop = row * self.shape[1], (row + 1) * self.shape[1]
        first, last = start // self._piece, -(-stop // self._piece)
        if self._checked[first:last].all():
            return self._read(start, stop)
        data = self._read(first * self._piece, min(last * self._piece, self._size))
        for piece in range(first, last):
            at = (piece - first) * self._piece
            if zlib.crc32(memoryview(data)[at : at + self._piece]) != self._sums[piece]:
                place = self._offset + piece * self._piece
                raise Corrupt(f"{self._told}: damaged at offset {place}: checksum mismatch")
            self._checked[piece] = True
        return data[start - first * self._piece : stop - first * self._piece]

    def _read(self, start: int, stop: int) -> bytes:
        data = b""
        os.lseek(self._file, self._offset + start, os.SEEK_SET)  # reads at a place are not everywhere; the lock is held
        while len(data) < stop - start:
            more = os.read(self._file, stop - start - len(data))
            if not more:
                place = self._offset + start + len(data)
                raise Corrupt(f"{self._told}: cut short while it was open: nothing at offset {place}")
            data += more
        self._counts["reads"] += 1
        self._counts["bytes"] += len(data)
        return data


@contextmanager
def faults() -> Iterator[None]:
    """What native code finds damaged is raised as ``Corrupt``."""
    try:
        yield
    except Exception as error:
        native = kernels.native()
        if native is not None and isinstance(error, native.DiskFault):
            raise Corrupt(str(error)) from None
        raise


def native_checks(segment: Segment, name: str) -> Any:
    """The checksums of a mapped column, for native code that touches some of its rows."""
    offset, size = segment.place(name)
    piece, sums = segment.checksums(name)
    return kernels.native().Checks(offset, size, piece, sums.copy(), f"{segment.path}: column {name!r}")


def told(columns: Mapping[str, DiskColumn]) -> dict[str, dict[str, float]]:
    """For each column on disk: counts, and what they are a search."""
    out: dict[str, dict[str, float]] = {}
    for name, column in columns.items():
        counts = column.counts()
        searches, wanted = max(1, counts["searches"]), max(1, counts["wanted"])
        out[name] = {
            **counts,
            "hit_rate": counts["ready"] / wanted,
            "early_rate": counts["early"] / wanted,
            "reads_a_search": counts["reads"] / searches,
            "rounds_a_search": counts["rounds"] / searches,
            "milliseconds_a_search": counts["nanoseconds"] / 1e6 / searches,
        }
    return out
