"""Reader of numbers in CSV and TSV: a row a line, with or without a header, perhaps with a column of ids.

Text has no number type: values are read as float64. What ``write_vectors`` wrote of float16 and float32 gives the same
values again once it is converted back.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from nearfield.store import io_base as base
from nearfield.store import io_table, io_words

MAX_CELL = 131_072  # characters: more the csv module does not read


def read_csv(path: str, limit: int | None, max_ratio: float) -> base.Source:
    """Open a table of numbers; it is parsed once, line by line, into an unnamed temporary file (in TMPDIR).

    ``io_table.form_of`` says what is a header. A column headed id, _id, ids or doc_id, or a first column that is an
    index or holds names, holds the ids; an index that counts 0, 1, 2 ... gives none. Cells are separated by commas or
    tabs, or by what else cuts the first lines into numbers: blanks, tabs, semicolons. Raises ``BadInput`` with the line
    number for cells that are no numbers, blank ones too, and for rows of several widths.
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
    source.names = parser.named()
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
        self.index = False

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
        """The lines of data, once the first ones have told the form."""
        lines = io_table.table(self.path, self.max_ratio)
        first = io_table.peek(lines)
        if not first:
            return iter(())
        form = io_table.form_of(first)
        io_table.tell(self.path, form)
        self.at, self.index, self.cells = form.ids, form.index, form.cells
        self.width = self.cells - (self.at is not None)
        base.check_form(self.path, 1, self.width, "the first line")
        return itertools.chain(first[form.header :], lines)

    def named(self) -> list[str] | None:
        """The ids; None where there are none, or only the count of the rows."""
        if self.at is None or (self.index and all(name == str(i) for i, name in enumerate(self.names))):
            return None
        return self.names

    def _row(self, number: int, cells: list[str]) -> list[float]:
        if self.at is not None:
            self.names.append(self._name(number, cells[self.at]))
            cells = cells[: self.at] + cells[self.at + 1 :]
        try:
            return list(map(float, cells))
        except ValueError:
            bad = next(c for c in cells if not io_words.is_number(c.encode()))
            what = "drop or convert that column" if bad.strip() else "fill that cell, or drop the row or the column"
            raise base.bad(self.path, f"line {number}: expected numbers, got {base.shown(bad, 40)}; {what}") from None

    def _name(self, number: int, cell: str) -> str:
        if not cell.strip():
            raise base.bad(self.path, f"line {number}: expected an id in column {self.at}, got a blank cell; fill it")
        return cell
