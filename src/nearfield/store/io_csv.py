"""Reader of numbers in CSV and TSV: a row a line, with or without a header, perhaps with a column of ids.

Text has no number type: values are read as float64. What ``write_vectors`` wrote of float16 and float32 gives the same
values again once it is converted back.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from nearfield.store import io_base as base
from nearfield.store import io_text, io_words

ID_NAMES = ("id", "_id", "ids", "doc_id")
MAX_CELL = 131_072  # characters: more the csv module does not read
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|nan)\s*", re.IGNORECASE)


def read_csv(path: str, limit: int | None, max_ratio: float) -> base.Source:
    """Open a table of numbers; it is parsed once, line by line, into an unnamed temporary file (in TMPDIR).

    The first line is a header where one of its cells is no number and the cell below is one, or where its first cell
    is an id name. A column headed id, _id, ids or doc_id, or a first column that is no number, holds the ids. Raises
    ``BadInput`` with the line number for cells that are no numbers and for rows of several widths.
    """
    parser = _Parser(path, limit, max_ratio)
    spool = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - it lives as long as the source
    try:
        for block in parser.blocks():
            with base.reading(tempfile.gettempdir()):
                spool.write(block.data)
        with base.reading(tempfile.gettempdir()):
            spool.flush()
    except BaseException:
        spool.close()
        raise
    opener = base.spool_opener(spool, path)
    source = CsvRows(path, parser.rows, parser.width, np.dtype(np.float64), None, offset=0, opener=opener)
    source.names = parser.names if parser.at is not None else None
    return source


class CsvRows(base.RowFile):
    """Rows of numbers, with the ids of the id column where there is one."""

    names: list[str] | None

    @property
    def ids(self) -> list[str] | None:
        """The cells of the id column, as text."""
        return self.names


class _Parser:
    """One pass over the lines: ids are collected, values leave as blocks of float64."""

    def __init__(self, path: str, limit: int | None, max_ratio: float) -> None:
        self.path, self.limit, self.max_ratio = path, limit, max_ratio
        self.names: list[str] = []
        self.rows = self.width = self.cells = 0
        self.at: int | None = None  # the column of ids

    def blocks(self) -> Iterator[NDArray[np.float64]]:
        held: list[list[float]] = []
        for number, cells in self._table():
            if len(cells) != self.cells:
                raise base.bad(
                    self.path, f"line {number}: expected {self.cells} cells as before, got {len(cells)}; complete it"
                )
            held.append(self._row(number, cells))
            self.rows += 1
            if len(held) * self.width >= 1 << 17:
                yield np.array(held, dtype=np.float64)
                held = []
            if self.limit is not None and self.rows >= self.limit:
                break
        if held:
            yield np.array(held, dtype=np.float64)
        if not self.rows:
            raise base.bad(self.path, "expected rows of numbers, got none; write vectors to it first")

    def _table(self) -> Iterator[tuple[int, list[str]]]:
        """The lines of data, once the first two have told the header and the column of ids."""
        table = io_text.table(self.path, self.max_ratio)
        first = next(table, None)
        if first is None:
            return
        second = next(table, None)
        header = self._is_header(first[1], None if second is None else second[1])
        self._set_form(first[1], header, second)
        if not header:
            yield first
        if second is not None:
            yield second
        yield from table

    def _is_header(self, first: list[str], second: list[str] | None) -> bool:
        if first[0].strip().lower() in ID_NAMES:
            return True
        if second is None or len(second) != len(first):
            return False
        # The first column may hold ids: only the others can tell.
        others = list(zip(first, second))[1:] or list(zip(first, second))
        return any(not _NUMBER.fullmatch(a) and _NUMBER.fullmatch(b) for a, b in others)

    def _set_form(self, first: list[str], header: bool, second: tuple[int, list[str]] | None) -> None:
        names = [c.strip().lower() for c in first] if header else []
        self.at = next((names.index(n) for n in ID_NAMES if n in names), None)
        data = first if not header else second[1] if second is not None else []
        if self.at is None and data and not _NUMBER.fullmatch(data[0]):
            self.at = 0
        self.cells = len(first)
        self.width = self.cells - (self.at is not None)
        base.check_form(self.path, 1, self.width, "the first line")

    def _row(self, number: int, cells: list[str]) -> list[float]:
        if self.at is not None:
            self.names.append(cells[self.at])
            cells = cells[: self.at] + cells[self.at + 1 :]
        try:
            return list(map(float, cells))
        except ValueError:
            bad = next(c for c in cells if not io_words.is_number(c.encode()))
            raise base.bad(
                self.path, f"line {number}: expected numbers, got {base.shown(bad, 40)}; drop or convert that column"
            ) from None
