"""Rows as CSV and TSV: everything is text, so what kind of value a column holds is told by all of its cells.

A column is of whole numbers, of numbers or of true and false where every cell that is not blank is one, else of text;
whole numbers with leading zeros or of more than 64 bits stay text. A first column without a name is the index of a
pandas frame: the ids where there are no others, nothing where it only counts the rows. Lost on the way: None and
missing values and empty texts are all blank cells, lists and dicts come back as JSON text, times as ISO text, and text
as a number where a whole column of it looks so.

A spreadsheet takes a cell of text that begins with ``= + - @``, a tab or a carriage return for a formula, and runs it.
Such cells are written with an apostrophe before them, unless ``guard=False``; then the first name of the header begins
with one too, which tells ``read_csv`` to take them off again. Numbers are left as they are.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime
from typing import IO, Any

from nearfield.store import io_base as base
from nearfield.store import io_csv, io_text
from nearfield.store.exchange_json import Record, batch_of, joined
from nearfield.store.exchange_names import Names
from nearfield.store.exchange_vectors import vector_of
from nearfield.store.metadata.check import dump
from nearfield.store.rows import BATCH_BYTES, RowBatch, Spool, as_json, unpacked

_INT = re.compile(r"-?(0|[1-9]\d{0,18})")
_FLOAT = re.compile(r"-?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_MARK = "'"
_BOOL = {"true": True, "false": False}
MAX_COLUMNS = 10_000
INDEX = "index"  # what the column of an index is called, where it has no name


# ---- reading --------------------------------------------------------------------------------------
def read_csv(path: str, names: Names, rows: int, limit: int | None, max_ratio: float) -> Iterator[RowBatch]:
    """Yield the rows of a table with a header; the file is passed over once before, to tell the kinds of columns.

    Vectors are cells with a list of numbers, as JSON or NumPy writes it. Raises ``BadInput`` with the line number.
    """
    table = io_text.table(path, max_ratio)
    header, index = _header(path, next(table, None))
    header, guarded = _unguarded_header(header)
    where = base.named(path)
    vectors = names.vectors_in(header, where)
    kinds, counts = _kinds(path, header, table, set(vectors))
    id_key, texts = names.id_in(header, where), names.texts_in(header, where)
    if index and not counts and id_key is None and names.id is None:
        id_key = INDEX
    meta = names.meta_in(header, [id_key, *texts, *vectors, INDEX if index and counts else None], where)
    plan = _Plan({k: i for i, k in enumerate(header)}, kinds, id_key, texts, vectors, meta)
    held: list[Record] = []
    done = size = 0
    for number, cells in _data(path, header, max_ratio):
        cells = [_unguarded(cell) for cell in cells] if guarded else cells
        held.append(plan.record(f"{where}: line {number}", cells))
        size += sum(map(len, cells))
        if len(held) >= rows or size >= BATCH_BYTES or done + len(held) == limit:
            yield batch_of(held, done, path, vectors)
            done += len(held)
            held, size = [], 0
        if done == limit:
            return
    if held:
        yield batch_of(held, done, path, vectors)


def _header(path: str, first: tuple[int, list[str]] | None) -> tuple[list[str], bool]:
    """The names of the columns, and whether the first is an index, whose head pandas leaves blank."""
    header = [] if first is None else list(first[1])
    index = len(header) > 1 and not header[0] and INDEX not in header
    if index:
        header[0] = INDEX
    if not header or len(set(header)) < len(header) or len(header) > MAX_COLUMNS or not all(header):
        raise base.bad(
            path, f"expected a header of up to {MAX_COLUMNS} names, each once, got {base.shown(header, 120)}; repair it"
        )
    return header, index


def _unguarded_header(header: list[str]) -> tuple[list[str], bool]:
    """The names as they were before they were guarded, and whether cells were."""
    if not header[0].startswith(_MARK) or len(header[0]) == 1:
        return header, False
    return [_unguarded(name) for name in (header[0][1:], *header[1:])], True


def _unguarded(cell: str) -> str:
    return cell[1:] if cell.startswith(_MARK) and _FORMULA.match(cell) else cell


def _data(path: str, header: list[str], max_ratio: float) -> Iterator[tuple[int, list[str]]]:
    table = io_text.table(path, max_ratio)
    next(table, None)
    for number, cells in table:
        if len(cells) != len(header):
            raise base.bad(
                path,
                f"line {number}: expected {len(header)} cells as in the header, got {len(cells)}; "
                "quote cells that hold a separator",
            )
        yield number, cells


def _kinds(path: str, header: list[str], table: Iterator[Any], vectors: set[str]) -> tuple[dict[str, str], bool]:
    """What each column holds: int, float, bool, or str where the cells agree on nothing else; and whether the first
    counts the rows 0, 1, 2 ..., as an index does that means nothing."""
    open_to = {name: ["int", "float", "bool"] for name in header if name not in vectors}
    filled: set[str] = set()
    lines, counts = 0, True
    for _, cells in table:
        counts = counts and cells[0] == str(lines)
        lines += 1
        for name, cell in zip(header, cells):
            if cell and (left := open_to.get(name)):
                filled.add(name)
                open_to[name] = [kind for kind in left if _IS[kind](cell)]
    if not lines:
        raise base.bad(path, "expected rows under the header, got none; write some")
    return {name: (left[0] if left and name in filled else "str") for name, left in open_to.items()}, counts


def _is_int(cell: str) -> bool:
    return _INT.fullmatch(cell) is not None and -(1 << 63) <= int(cell) < 1 << 63


def _is_float(cell: str) -> bool:
    """A finite number, but not one of digits alone that is no whole number: a postcode, a telephone number."""
    if _FLOAT.fullmatch(cell) is None or (cell.lstrip("-").isdigit() and not _is_int(cell)):
        return False
    return math.isfinite(float(cell))


_IS: dict[str, Callable[[str], bool]] = {
    "int": _is_int,
    "float": _is_float,
    "bool": lambda cell: cell.lower() in _BOOL,
}
_MADE: dict[str, Callable[[str], Any]] = {
    "int": int, "float": float, "bool": lambda cell: _BOOL[cell.lower()], "str": str,
}  # fmt: skip


class _Plan:
    """Which cell becomes what."""

    def __init__(
        self, at: dict[str, int], kinds: dict[str, str], id_key: str | None, texts: list[str], vectors: list[str],
        meta: list[str],
    ) -> None:  # fmt: skip
        self.id = None if id_key is None else (at[id_key], _MADE["int" if kinds.get(id_key) == "int" else "str"])
        self.texts = [at[k] for k in texts]
        self.vectors = {k: at[k] for k in vectors}
        self.meta = [(k, at[k], _MADE[kinds.get(k, "str")]) for k in meta]

    def record(self, where: str, cells: list[str]) -> Record:
        name = self.id[1](cells[self.id[0]]) if self.id and cells[self.id[0]] else None
        text = joined([cells[i] or None for i in self.texts], where)
        meta = {k: made(cells[i]) for k, i, made in self.meta if cells[i]}
        vectors = {k: vector_of(cells[i] or None, f"{where}: {base.shown(k)}") for k, i in self.vectors.items()}
        return name, text, meta, vectors


# ---- writing --------------------------------------------------------------------------------------
def write_csv(file: IO[bytes], batches: Iterable[RowBatch], path: str, *, guard: bool = True) -> int:
    """Write a header and a line a row: id, text, a column a vector field, a column a key of metadata.

    With ``guard``, text that a spreadsheet would run as a formula is written so that it is shown.
    """
    keys: dict[str, None] = {}
    formulas = False
    with Spool() as spool:
        for batch in spool.fill(batches):
            formulas = formulas or (guard and _holds_formulas(batch))
            for meta in batch.meta or []:
                keys |= dict.fromkeys(meta)
        formulas = formulas or (guard and any(map(_FORMULA.match, keys)))
        head = ["id"] * (spool.id_kind is not None) + ["text"] * spool.has_texts + list(spool.fields)
        clash = next((k for k in keys if k in head or not k), None)
        if clash is not None or len(keys) > MAX_COLUMNS:
            what = f"differ, the metadata has {clash!r} too" if clash is not None else f"are few, got {len(keys)}"
            raise base.bad(path, f"expected names of columns that {what}; write .jsonl or .parquet")
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        names = [*head, *keys]
        if formulas:
            names = list(map(_guarded, names))
            names[0] = _MARK + names[0]
        writer.writerow(names)
        told: Callable[[Any], str] = _guarded_cell if formulas else _cell
        for n, batch, vectors in spool:
            fields = {name: unpacked(found) for name, found in vectors.items()}
            for i in range(n):
                cells = [] if batch.ids is None else [told(batch.ids[i])]
                if spool.has_texts:
                    cells.append(told(batch.texts[i] if batch.texts is not None else None))
                cells += [_vector(fields.get(name), i, name) for name in spool.fields]
                meta = batch.meta[i] if batch.meta is not None else {}
                cells += [told(meta.get(key)) for key in keys]
                _check(path, cells)
                writer.writerow(cells)
            file.write(out.getvalue().encode())
            out.seek(0)
            out.truncate()
        return spool.rows


def _vector(field: Any, i: int, name: str) -> str:
    return "" if field is None or field[i] is None else as_json(field[i], name, i)


def _holds_formulas(batch: RowBatch) -> bool:
    values = itertools.chain(batch.ids or (), batch.texts or (), *(meta.values() for meta in batch.meta or ()))
    return any(isinstance(value, str) and _FORMULA.match(value) for value in values)


def _guarded(text: str) -> str:
    return _MARK + text if _FORMULA.match(text) else text


def _guarded_cell(value: Any) -> str:
    return _guarded(value) if isinstance(value, str) else _cell(value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return dump(value) if isinstance(value, (list, dict)) else repr(value) if isinstance(value, float) else str(value)


def _check(path: str, cells: list[str]) -> None:
    for cell in cells:
        if len(cell) > io_csv.MAX_CELL or "\0" in cell or "\r" in cell:
            what = f"{len(cell)} characters" if len(cell) > io_csv.MAX_CELL else base.shown(cell, 40)
            raise base.bad(
                path,
                f"CSV holds cells of up to {io_csv.MAX_CELL} characters without NUL and carriage returns, got {what}; "
                "write .jsonl or .parquet",
            )
