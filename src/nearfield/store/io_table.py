"""The form of a table of numbers in text: what separates its cells, whether it has a header, which column names rows.

Everything is told by the first lines. pandas heads columns 0, 1, 2 ... and leaves the head of its index blank, R
numbers rows, NumPy separates by blanks: none of that may pass for values, nor values for that.
"""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from nearfield.core.errors import DataWarning
from nearfield.store import io_base as base
from nearfield.store import io_text, io_words

ID_NAMES = ("id", "_id", "ids", "doc_id")
INDEX_NAMES = ("", "unnamed: 0", "index")  # how pandas and R head the column of an index
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|nan)\s*", re.IGNORECASE)
_WHOLE = re.compile(r"\s*\d{1,18}\s*")
_FRACTION = re.compile(r"\s*[+-]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][+-]?\d+)?\s*")
_MISSING = ("", "na", "n/a", "null", "none", "<na>", "#n/a", "-", "?")
_LINES = 1000  # are looked at ...
_BYTES = 1 << 20  # ... or so many characters

Line: TypeAlias = tuple[int, list[str]]


@dataclass(frozen=True)
class Form:
    """``ids`` is the column that names the rows; ``index`` says that it has no name of its own, so that a mere count
    in it means nothing; ``counted``, that the header is one; ``doubt``, what else the table could be."""

    header: bool
    counted: bool
    ids: int | None
    index: bool
    cells: int
    doubt: str


def is_number(cell: str) -> bool:
    """Whether a cell holds a number, or NaN or infinity."""
    return _NUMBER.fullmatch(cell) is not None


def is_name(cell: str) -> bool:
    """Whether a cell holds neither a number nor what stands for a missing one."""
    return not is_number(cell) and cell.strip().lower() not in _MISSING


# ---- lines ----------------------------------------------------------------------------------------
def table(path: str, max_ratio: float) -> Iterator[Line]:
    """The lines of a table of numbers in cells, comments before it (``# ...``, as NumPy writes them) left out."""
    rows = io_text.table(path, max_ratio, _separator(path, max_ratio))
    return itertools.dropwhile(lambda line: line[1][0] == "#" or line[1][0].startswith("# "), rows)


def _separator(path: str, max_ratio: float) -> str:
    """What separates cells: what the suffix says, unless no line has that and blanks or other signs cut numbers."""
    usual = "\t" if io_text.suffix_of(path) == ".tsv" else ","
    lines = (line for _, line in io_text.text_lines(path, max_ratio) if line.strip() and not line.startswith("# "))
    first = [line[:_BYTES] for line in itertools.islice(lines, 2)]
    if not first or any(usual in line for line in first):
        return usual
    for other in ("\t", ";"):
        if all(other in line for line in first):
            return other
    parts = first[-1].split()
    return " " if len(parts) > 1 and is_number(parts[-1]) and len(first[0].split()) == len(parts) else usual


def peek(lines: Iterator[Line]) -> list[Line]:
    """The first lines of a table, which are taken from it."""
    out: list[Line] = []
    size = 0
    for line in lines:
        out.append(line)
        size += sum(map(len, line[1]))
        if len(out) >= _LINES or size >= _BYTES:
            break
    return out


# ---- form -----------------------------------------------------------------------------------------
def form_of(lines: Sequence[Line]) -> Form:
    """What the first lines tell.

    The first line is a header where its first cell is a name of ids; where a cell is a name and the one below it a
    number; where its cells count up by one and every line below has a fraction; where they count from 0, whatever is
    below but a count that goes on. A blank cell, NA and the like are no names.
    """
    first, others = lines[0][1], [cells for _, cells in lines[1:]]
    counted, doubt = _counts_columns(first, others)
    header = counted or _has_names(first, others[0] if others else None)
    ids, index, more = _ids_of(first if header else None, others if header else [first, *others])
    return Form(header, counted, ids, index, len(first), doubt or more)


def tell(path: str, form: Form) -> None:
    """Say which of two meanings a table was given."""
    if form.doubt:
        warnings.warn(f"{base.named(path)}: {form.doubt}", DataWarning, stacklevel=2)


def is_vectors(path: str, max_ratio: float) -> bool:
    """Whether a table holds vectors alone, with or without ids: numbers under no header, or under one that counts."""
    lines = peek(table(path, max_ratio))
    if not lines:
        return False
    form = form_of(lines)
    rows = [[c for i, c in enumerate(cells) if i != form.ids] for _, cells in lines[form.header :]]
    whole = bool(rows) and all(not is_name(cell) for row in rows for cell in row)
    return whole and form.counted >= form.header and len(rows[0]) > 1


def is_plain(path: str, max_ratio: float) -> bool:
    """Whether text holds numbers alone, as NumPy writes an array, and not a word before those of each line.

    Words are seldom numbers. Where all of them are, they are values if one is a fraction or below zero, if one comes
    twice, or if all others are whole too; else names, which a ``DataWarning`` tells.
    """
    lines = ((n, _parts(line.decode("utf-8", "replace"))) for n, line in io_words.lines(path, max_ratio))
    rows = [cells for _, cells in peek((n, cells) for n, cells in lines if cells and cells[0] != "#")]
    if not rows or len(rows[0]) < 2 or not all(is_number(cell) for row in rows for cell in row):
        return False
    if len(rows[0]) == 2 and all(map(_WHOLE.fullmatch, rows[0])):
        return False  # "rows width", as word2vec begins
    firsts = [row[0] for row in rows]
    if not all(map(_WHOLE.fullmatch, firsts)) or len(set(firsts)) < len(firsts):
        return True
    if not any(_FRACTION.fullmatch(cell) for row in rows for cell in row):
        return True
    warnings.warn(
        f"{base.named(path)}: the first number of each line is taken for the name of the row; write .csv or .npy if it "
        "is a value",
        DataWarning,
        stacklevel=2,
    )
    return False


def _parts(line: str) -> list[str]:
    """The parts of a line between blanks, or between commas where that makes numbers of it."""
    parts, cells = line.split(), line.split(",")
    return cells if len(cells) > 1 and all(map(is_number, cells)) else parts


def _has_names(first: list[str], second: list[str] | None) -> bool:
    if first[0].strip().lower() in ID_NAMES:
        return True
    if second is None or len(second) != len(first):
        return False
    # The first column may hold ids: only the others can tell.
    others = list(zip(first, second))[1:] or list(zip(first, second))
    return any(is_name(a) and is_number(b) for a, b in others)


def _counts_columns(first: list[str], others: list[list[str]]) -> tuple[bool, str]:
    """Whether the first line counts columns, as pandas heads those of an array; and what is said where it may not."""
    headed = not is_number(first[0])  # a column of ids stands before the others
    heads = first[1:] if headed else first
    if not others or not all(map(_WHOLE.fullmatch, heads)) or len(heads) < (1 if headed else 2):
        return False, ""
    numbers = [int(c) for c in heads]
    if any(b != a + 1 for a, b in itertools.pairwise(numbers)):
        return False, ""
    if all(any(map(_FRACTION.fullmatch, row)) for row in others):
        return len(numbers) > 1 or numbers == [0], ""
    if numbers[0] != 0 or others[0] == [str(len(numbers) + n) for n in numbers]:
        return False, ""
    said = (
        "the first line counts 0, 1 ... and is taken for the names of columns; if it is a row, put a line of names "
        "before it"
    )
    return True, "" if headed else said


def _ids_of(header: list[str] | None, rows: list[list[str]]) -> tuple[int | None, bool, str]:
    """The column of ids, whether it is an index without a name, and what is said where it may be another."""
    names = [c.strip().lower() for c in header or []]
    named = next((names.index(n) for n in ID_NAMES if n in names), None)
    if named is not None:
        return named, False, ""
    if len(names) > 1 and names[0] in INDEX_NAMES:
        return 0, True, ""
    if rows and 2 * sum(is_name(row[0]) for row in rows) >= len(rows):  # a few would be slips, to be told of
        return 0, False, ""
    if header is not None or len(rows) < 2 or len(rows[0]) < 2:
        return None, False, ""
    if not any([row[0].strip() for row in rows] == [str(k + i) for i in range(len(rows))] for k in (0, 1)):
        return None, False, ""
    index = all(any(map(_FRACTION.fullmatch, row[1:])) for row in rows)
    what = "row numbers, not for values" if index else "values, not for row numbers"
    said = (
        f"the first column counts the rows and is taken for {what}; a line of names before the rows says otherwise "
        "('id' heads row numbers)"
    )
    return 0 if index else None, index, said
