"""Readers of texts and of what is known about them: judgements, scored pairs, labels."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.store import io_base as base
from nearfield.store import io_npy, io_words

MAX_TEXT_LINE = 64 << 20
_INT = re.compile(r"[+-]?\d{1,18}")
LEFT = ("sentence1", "text1", "word1", "left")
RIGHT = ("sentence2", "text2", "word2", "right")
SCORE = ("score", "similarity", "similarity_score", "relatedness")
LABEL = ("label", "labels", "class", "target", "category")


@dataclass(frozen=True)
class Texts:
    """Texts in the order of the file; ``ids`` is None where the file names none. A title stands before "
    "its text."""

    path: str
    texts: list[str]
    ids: list[str] | None

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)


@dataclass(frozen=True)
class Pairs:
    """Scored pairs, either of texts (``left``, ``right``) or of row numbers (``i``, ``j``)."""

    path: str
    scores: NDArray[np.float64]
    left: list[str] | None = None
    right: list[str] | None = None
    i: NDArray[np.int64] | None = None
    j: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return int(self.scores.size)


@dataclass(frozen=True)
class Labels:
    """A class for every row: ``codes[row]`` is a position in ``names``."""

    path: str
    codes: NDArray[np.int64]
    names: list[str]

    def __len__(self) -> int:
        return int(self.codes.size)


# ---- lines and objects ----------------------------------------------------------------------------
def suffix_of(path: str) -> str:
    """The suffix in lower case, without ``.gz``."""
    name = path.lower().removesuffix(".gz").replace("\\", "/").rsplit("/", 1)[-1]
    return "." + name.rsplit(".", 1)[1] if "." in name else ""


def text_lines(path: str, max_ratio: float) -> Iterator[tuple[int, str]]:
    """Yield (line number, text) of every line, unpacked where the file is compressed."""
    for number, line in io_words.lines(path, max_ratio, MAX_TEXT_LINE):
        yield number, io_words.decoded(path, number, line)


def json_lines(path: str, max_ratio: float) -> Iterator[tuple[int, Any]]:
    """Yield (line number, value) of JSON lines; blank lines are passed over."""
    for number, line in text_lines(path, max_ratio):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                what = "nesting too deep" if isinstance(error, RecursionError) else str(error)
                raise base.bad(
                    path,
                    f"line {number}: expected a JSON value on each line, got {base.shown(line, 40)} "
                    f"({base.shown(what, 80)}); repair the line",
                ) from None


def _clean(path: str, number: int, value: Any, what: str) -> str:
    """Return a string, refusing other types and lone surrogates, which no file can keep."""
    if not isinstance(value, str):
        raise base.bad(path, f"line {number}: expected text in {what}, got {base.shown(value, 40)}; make it a string")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise base.bad(
                path, f"line {number}: expected Unicode in {what}, got half a surrogate pair; repair it"
            ) from None
    return value


def _id(path: str, number: int, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise base.bad(
            path, f"line {number}: expected an id that is a string or an integer, got {base.shown(value, 40)}"
        )
    return _clean(path, number, str(value), "the id")


# ---- texts ----------------------------------------------------------------------------------------
def texts_of(path: str, field: str | None, limit: int | None, max_ratio: float) -> Texts:
    """Read texts from JSON lines or, where the suffix is .txt, one from each line."""
    kind = suffix_of(path)
    if kind == ".txt" and field is not None:
        raise base.bad(path, f"field={field!r} names a key of JSON lines, got a text a line; leave it out")
    if kind == ".txt":
        rows: Iterator[tuple[int, str | None, str]] = ((n, None, line) for n, line in text_lines(path, max_ratio))
    elif kind in (".jsonl", ".ndjson", ".json"):
        rows = (_text_row(path, n, value, field) for n, value in json_lines(path, max_ratio))
    else:
        raise base.bad(
            path,
            f"expected .jsonl, .ndjson, .json or .txt (also .gz), got {kind or 'no suffix'!r}; rename or convert it",
        )
    texts: list[str] = []
    seen: dict[str, int] = {}
    for number, name, text in rows:
        if texts and (name is None) == bool(seen):
            raise base.bad(path, f"line {number}: expected an id on all lines or on none; complete them")
        if name is not None and seen.setdefault(name, number) != number:
            raise base.bad(
                path, f"line {number}: the id {base.shown(name, 40)} came before on line {seen[name]}; ids must differ"
            )
        texts.append(text)
        if limit is not None and len(texts) >= limit:
            break
    if not texts:
        raise base.bad(path, "expected texts, got blank lines only")
    return Texts(path, texts, list(seen) or None)


def _text_row(path: str, number: int, value: Any, field: str | None) -> tuple[int, str | None, str]:
    if isinstance(value, str):
        return number, None, _clean(path, number, value, "the line")
    if not isinstance(value, dict):
        raise base.bad(path, f"line {number}: expected a string or an object with a text, got {base.shown(value, 40)}")
    key = field or "text"
    if key not in value:
        keys = ", ".join(base.shown(k, 40) for k in list(value)[:12]) or "none"
        raise base.bad(path, f"line {number}: expected the key {key!r}, got the keys {keys}; choose with field=...")
    text = _clean(path, number, value[key], f"{key!r}")
    title = value.get("title") if field is None else None
    if title:
        text = f"{_clean(path, number, title, repr('title'))} {text}".strip()
    name = value.get("_id", value.get("id"))
    return number, None if name is None else _id(path, number, name), text


# ---- judgements -----------------------------------------------------------------------------------
def qrels_of(path: str, max_ratio: float) -> dict[str, dict[str, int]]:
    """Read relevance judgements: BEIR (query, document, grade, with a header) or TREC (query, 0, "
    "document, grade)."""
    out: dict[str, dict[str, int]] = {}
    first = True
    for number, line in text_lines(path, max_ratio):
        if not line.strip():
            continue
        parts = [p.strip() for p in line.split("\t")] if "\t" in line else line.split()
        if len(parts) == 1:
            parts = [p.strip() for p in line.split(",")]
        header, first = first and not _is_float(parts[-1]), False
        if len(parts) not in (3, 4):
            raise base.bad(
                path,
                f"line {number}: expected 3 columns (query, document, grade) or TREC's 4, got {len(parts)}; "
                "separate them with tabs",
            )
        if not header:
            query, document = parts[0], parts[-2]
            grade = _grade(path, number, parts[-1])
            if out.setdefault(query, {}).setdefault(document, grade) != grade:
                raise base.bad(
                    path,
                    f"line {number}: query {base.shown(query, 40)} and document {base.shown(document, 40)} "
                    "came before with another grade; keep one",
                )
    if not out:
        raise base.bad(path, "expected judgements (query, document, grade), got none")
    return out


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _grade(path: str, number: int, text: str) -> int:
    value = float(text) if _is_float(text) else math.nan
    if not (math.isfinite(value) and value == int(value) and abs(value) < 1 << 31):
        raise base.bad(path, f"line {number}: expected an integer grade, got {base.shown(text, 40)}")
    return int(value)


# ---- tables ---------------------------------------------------------------------------------------
def table(path: str, max_ratio: float, separator: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of a csv or tsv file; blank lines are passed over.

    Cells are separated as the suffix says, or by ``separator``, of which " " stands for any blanks. A cell in quotes
    may hold ends of lines; one that is still open at the end of the file is refused: it holds all rows behind it.
    """
    if separator == " ":
        yield from ((number, line.split()) for number, line in text_lines(path, max_ratio) if line.strip())
        return
    separator = separator or ("\t" if suffix_of(path) == ".tsv" else ",")
    tabs = separator == "\t"
    feed = _Feed(path, max_ratio)
    # Tab-separated files of the field hold bare quotes in their texts; comma-separated ones quote.
    rows = csv.reader(feed, delimiter=separator, quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL)
    while True:
        first = feed.number + 1
        try:
            cells = next(rows, None)
        except csv.Error as error:
            since = f" in the row that begins in line {first}" if first < feed.number else ""
            raise base.bad(
                path, f"line {feed.number}: expected a row of cells, got: {error}{since}; quote or shorten it"
            ) from None
        if cells is None:
            return
        if feed.ended:  # only within quotes does a row go on to the end: each line has its own end in the last cell
            opened = feed.number + 1 - cells[-1].count("\n")
            raise base.bad(
                path,
                f"line {opened}: expected an end of the quote that opens there, got the end of the file; close it, or "
                'write a quote within a cell as "" in quotes',
            )
        if cells and any(c.strip() for c in cells):
            yield feed.number, cells


class _Feed:
    """Lines for ``csv.reader``, which wants their ends, with the number of the last one."""

    def __init__(self, path: str, max_ratio: float) -> None:
        self.source = text_lines(path, max_ratio)
        self.number = 0
        self.ended = False

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        found = next(self.source, None)
        if found is None:
            self.ended = True
            raise StopIteration
        self.number, line = found
        return line + "\n"


# ---- pairs ----------------------------------------------------------------------------------------
def pairs_of(path: str, max_ratio: float) -> Pairs:
    """Read scored pairs of texts or of row numbers from JSON lines, csv or tsv."""
    kind = suffix_of(path)
    if kind in (".jsonl", ".ndjson", ".json"):
        rows = _json_pairs(path, max_ratio)
    elif kind in (".csv", ".tsv"):
        rows = _table_pairs(path, max_ratio)
    else:
        raise base.bad(
            path, f"expected .jsonl, .csv or .tsv (also .gz), got {kind or 'no suffix'!r}; rename or convert it"
        )
    left: list[Any] = []
    right: list[Any] = []
    scores: list[float] = []
    for number, a, b, score in rows:
        if left and type(a) is not type(left[0]):
            raise base.bad(
                path, f"line {number}: expected pairs of texts or pairs of row numbers, got both; split the file"
            )
        left.append(a)
        right.append(b)
        scores.append(_score(path, number, score))
    if not left:
        raise base.bad(path, "expected scored pairs, got none")
    values = np.array(scores, dtype=np.float64)
    if isinstance(left[0], int):
        return Pairs(path, values, i=np.array(left, dtype=np.int64), j=np.array(right, dtype=np.int64))
    return Pairs(path, values, left=left, right=right)


def _score(path: str, number: int, value: Any) -> float:
    good = not isinstance(value, bool) and isinstance(value, (int, float, str))
    try:
        score = float(value) if good else math.nan
    except (ValueError, OverflowError):
        score = math.nan
    if not math.isfinite(score):
        raise base.bad(path, f"line {number}: expected a finite score, got {base.shown(value, 40)}")
    return score


def _row_number(path: str, number: int, value: Any) -> int:
    if isinstance(value, str) and _INT.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 62:
        raise base.bad(path, f"line {number}: expected a row number from 0 on, got {base.shown(value, 40)}")
    return value


def _first(names: tuple[str, ...], known: Any) -> str | None:
    return next((n for n in names if n in known), None)


def _columns(path: str, number: int, known: list[str]) -> tuple[str, str, str, bool]:
    """Choose the two columns, the score and whether they are row numbers."""
    score = _first(SCORE, known)
    if score and "i" in known and "j" in known:
        return "i", "j", score, True
    left, right = _first(LEFT, known), _first(RIGHT, known)
    if not (score and left and right):
        keys = ", ".join(base.shown(k, 40) for k in known[:12]) or "none"
        raise base.bad(
            path, f"line {number}: expected sentence1, sentence2, score or i, j, score, got {keys}; rename them"
        )
    return left, right, score, False


def _json_pairs(path: str, max_ratio: float) -> Iterator[tuple[int, Any, Any, Any]]:
    for number, value in json_lines(path, max_ratio):
        if not isinstance(value, dict):
            raise base.bad(
                path,
                f"line {number}: expected an object with sentence1, sentence2 and score, got {base.shown(value, 40)}",
            )
        a, b, score, numbers = _columns(path, number, list(value))
        if numbers:
            yield number, _row_number(path, number, value[a]), _row_number(path, number, value[b]), value[score]
        else:
            yield number, _clean(path, number, value[a], repr(a)), _clean(path, number, value[b], repr(b)), value[score]


def _table_pairs(path: str, max_ratio: float) -> Iterator[tuple[int, Any, Any, Any]]:
    """With a header, columns by name; without one, three columns: two numbers or texts, and the score."""
    at, numbers, width = (0, 1, 2), False, 0
    for number, cells in table(path, max_ratio):
        if not width:
            width = len(cells)
            if width < 3 or not _is_float(cells[2]):
                header = [c.strip().lower() for c in cells]
                a, b, score, numbers = _columns(path, number, header)
                at = header.index(a), header.index(b), header.index(score)
                continue
            numbers = all(_INT.fullmatch(c.strip()) for c in cells[:2])
        if len(cells) != width:
            raise base.bad(
                path, f"line {number}: expected {width} columns, got {len(cells)}; quote cells that hold a separator"
            )
        x, y, score = (cells[c] for c in at)
        if numbers:
            yield number, _row_number(path, number, x), _row_number(path, number, y), score
        else:
            yield number, x, y, score


# ---- labels ---------------------------------------------------------------------------------------
def labels_of(path: str, key: str | None, limit: int | None, max_ratio: float) -> Labels:
    """Read one label a row from npy, npz, txt, csv, tsv or JSON lines."""
    kind = suffix_of(path)
    readers: dict[str, Callable[[], Iterator[tuple[int, str]]]] = {
        ".txt": lambda: text_lines(path, max_ratio),
        ".csv": lambda: _table_labels(path, key, max_ratio),
        ".tsv": lambda: _table_labels(path, key, max_ratio),
        ".jsonl": lambda: _json_labels(path, key, max_ratio),
        ".ndjson": lambda: _json_labels(path, key, max_ratio),
        ".json": lambda: _json_labels(path, key, max_ratio),
    }
    if kind == ".npy":
        return _coded(path, _npy_labels(path, limit))
    if kind not in readers:
        known = ", ".join([".npy", *readers])
        raise base.bad(path, f"expected labels in {known}, got {kind or 'no suffix'!r}; rename or convert it")
    values: list[str] = []
    for number, text in readers[kind]():
        if not text.strip():
            raise base.bad(
                path, f"line {number}: expected a label on every line, got a blank one; fill or drop the row"
            )
        values.append(text.strip())
        if limit is not None and len(values) >= limit:
            break
    if not values:
        raise base.bad(path, "expected labels, got none")
    return _coded(path, values)


def _coded(path: str, values: list[str]) -> Labels:
    """Number the classes in the order of integers where all are, else of text. No array of strings is
    made: it would take the length of the longest label for every row."""
    names = set(values)
    whole = all(_INT.fullmatch(n) for n in names)
    ordered = sorted(names, key=int) if whole else sorted(names)
    codes = {name: code for code, name in enumerate(ordered)}
    return Labels(path, np.fromiter((codes[v] for v in values), dtype=np.int64, count=len(values)), ordered)


def _npy_labels(path: str, limit: int | None) -> list[str]:
    with base.positioned(path) as file:
        header = io_npy.parse_header(path, file.bytes_at(0, io_npy.MAX_HEADER + 12))
        if header.dtype.kind not in "iubUf" or header.dtype.itemsize == 0:
            raise base.bad(
                path, f"expected labels that are numbers or strings, got {base.shown(str(header.dtype))}; convert them"
            )
        shape = header.shape[:1] if len(header.shape) == 2 and header.shape[1] == 1 else header.shape
        if len(shape) != 1:
            raise base.bad(path, f"expected a 1-D array with a label a row, got shape {base.shown(header.shape)}")
        base.check_form(path, shape[0], 1)
        base.check_bytes(path, shape[0], 1, header.dtype.itemsize, file.size - header.offset)
        count = shape[0] if limit is None else min(limit, shape[0])
        raw = np.empty(count * header.dtype.itemsize, dtype=np.uint8)
        file.read_at(header.offset, raw)
    values = raw.view(header.dtype)
    if header.dtype.kind == "f" and not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise base.bad(path, f"expected finite labels, got {values[row]} in row {row}; repair them")
    try:
        return [str(v) for v in values.tolist()]
    except (ValueError, SystemError):  # code points beyond Unicode
        raise base.corrupt(path, "expected strings, got code points that do not exist; save it again") from None


def _table_labels(path: str, key: str | None, max_ratio: float) -> Iterator[tuple[int, str]]:
    width = at = 0
    for number, cells in table(path, max_ratio):
        if not width:
            width = len(cells)
            header = [c.strip() for c in cells]
            at, skip = _label_column(path, header, key)
            if skip:
                continue
        if len(cells) != width:
            raise base.bad(
                path, f"line {number}: expected {width} columns, got {len(cells)}; quote cells that hold a separator"
            )
        yield number, cells[at]


def _label_column(path: str, header: list[str], key: str | None) -> tuple[int, bool]:
    """Which column, and whether the first line is a header."""
    if key is not None:
        if key not in header:
            raise base.bad(path, f"expected a column {key!r}, got {base.shown(header, 120)}; choose with key=...")
        return header.index(key), True
    lower = [c.lower() for c in header]
    name = _first(LABEL, lower)
    if name is not None:
        return lower.index(name), True
    if len(header) > 1:
        raise base.bad(
            path, f"expected one column or one named label, got {base.shown(header, 120)}; choose with key=..."
        )
    return 0, False


def _json_labels(path: str, key: str | None, max_ratio: float) -> Iterator[tuple[int, str]]:
    for number, value in json_lines(path, max_ratio):
        if isinstance(value, dict):
            name = key if key is not None else _first(LABEL, value)
            if name is None or name not in value:
                keys = ", ".join(base.shown(k, 40) for k in list(value)[:12]) or "none"
                raise base.bad(
                    path,
                    f"line {number}: expected the key {name or 'label'!r}, got the keys {keys}; choose with key=...",
                )
            value = value[name]
        if not isinstance(value, (str, int)) and not (isinstance(value, float) and math.isfinite(value)):
            raise base.bad(
                path, f"line {number}: expected a label that is a string or a number, got {base.shown(value, 40)}"
            )
        yield number, _clean(path, number, str(value), "the label")
