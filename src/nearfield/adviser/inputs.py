"""What comes beside the vectors, in files or as it is: relevance judgements, labels, scored pairs."""

from __future__ import annotations

import csv
import json
import math
import os
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.adviser.quality import Judgements
from nearfield.core.arrays import some
from nearfield.core.errors import BadInput, DataWarning
from nearfield.store import io_base as base
from nearfield.store import io_npy

_HIGHEST = 100  # a document of grade g gains 2 ** g - 1
_HEADS = {"query-id", "query_id", "qid", "query"}
_DIGITS = 18  # of the longest row number: int() refuses thousands of digits, and no row has such a number


def _lines(path: Path) -> Iterator[str]:
    import gzip

    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig") as file:
            for line in file:
                if line.strip():
                    yield line.rstrip("\r\n")
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file") from None
    except (UnicodeDecodeError, EOFError, OSError, zlib.error) as error:
        raise BadInput(f"{path}: expected text in UTF-8, got what cannot be read ({error}); fetch it again") from None


def _fields(line: str, where: str) -> list[str]:
    if "\t" in line:
        return line.split("\t")
    try:
        return next(csv.reader([line])) if "," in line else line.split()
    except csv.Error as error:
        raise BadInput(f"{where}: expected a few short fields, got {_told(line)} ({error}); repair the line") from None


def _told(value: Any) -> str:
    """A value as it is shown in an error: short, and even where it is a number of thousands of digits."""
    try:
        return base.shown(value)
    except ValueError:
        return "a number of thousands of digits"


def _qrels_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    for inner in ("qrels/test.tsv", "qrels.tsv", "qrels/dev.tsv", "qrels/train.tsv", "test.tsv"):
        if (path / inner).exists():
            return path / inner
    raise BadInput(f"{path}: expected qrels/test.tsv or qrels.tsv in the folder, found neither")


def judgements(
    path: str | os.PathLike[str], query_ids: Sequence[Any] | None = None, row_ids: Sequence[Any] | None = None
) -> Judgements:
    """Read judgements in the BEIR layout (query-id, corpus-id, score) or TREC's (query, 0, document, grade).

    Ids are looked up among ``query_ids`` and ``row_ids``; without them they are row numbers. Judgements of
    queries or documents that are not there are left out, with a warning; ``BadInput`` where none is left, or none
    above 0. As in trec_eval, a grade below 0 counts as 0: not relevant.
    """
    file = _qrels_file(Path(path))
    queries, rows = _numbers(query_ids), _numbers(row_ids)
    out: Judgements = {}
    strange: list[tuple[str, str]] = []
    count = 0
    for i, line in enumerate(_lines(file)):
        where = f"{file}: line {i + 1}"
        fields = [f.strip() for f in _fields(line, where)]
        if i == 0 and fields[0].lower() in _HEADS:
            continue
        if len(fields) not in (3, 4):
            raise BadInput(f"{where}: expected query, document, grade, got {len(fields)} fields")
        count += 1
        query, row = _row(fields[0], queries), _row(fields[-2], rows)
        grade = _grade(_number(fields[-1]), where)
        if query is not None and row is not None:
            out.setdefault(query, {})[row] = grade
        else:
            strange.append((fields[0], fields[-2]))
    if not count:
        raise BadInput(f"{file}: expected judgements (query, document, grade), got none")
    if strange:
        _tell_strange(file, strange, count)
    return _some_relevant(out, str(file))


def _tell_strange(file: Path, strange: list[tuple[str, str]], count: int) -> None:
    """Warn of judgements that name what is not there; refuse where no other is left."""
    query, document = strange[0]
    told = f"such as query {query[:40]!r} with document {document[:40]!r}"
    if len(strange) == count:
        raise BadInput(f"{file}: no judgement names a query and a document that are there, {told}; check the ids")
    words = f"{file}: {len(strange)} of {count} judgements name a query or a document that is not there, {told}"
    warnings.warn(f"{words}; they are left out", DataWarning, stacklevel=3)


def sound_judgements(qrels: Any) -> Judgements | None:
    """Judgements given in Python, checked: row numbers to row numbers to grades, at least one of them above 0."""
    if qrels is None:
        return None
    if not isinstance(qrels, dict) or not qrels or not all(isinstance(grades, dict) for grades in qrels.values()):
        raise BadInput("qrels: expected {query row: {document row: grade}}, got another form or nothing")
    out = {
        _whole(query, "query"): {_whole(row, "document"): _grade(grade, "qrels") for row, grade in grades.items()}
        for query, grades in qrels.items()
    }
    return _some_relevant(out, "qrels")


def _some_relevant(judged: Judgements, where: str) -> Judgements:
    if not any(grade > 0 for grades in judged.values() for grade in grades.values()):
        raise BadInput(f"{where}: expected a grade above 0 for some document, got none: nothing is relevant to find")
    return judged


def _whole(value: Any, what: str) -> int:
    known = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not known or not -(10**_DIGITS) < value < 10**_DIGITS:
        raise BadInput(f"qrels: expected the row number of a {what}, got {_told(value)} ({type(value).__name__})")
    return int(value)


def _grade(value: Any, where: str) -> float:
    """A grade, 0 where it is below: both trec_eval and ir-measures take it for not relevant."""
    known = isinstance(value, (int, float, np.integer, np.floating, np.bool_))
    if not known or not -np.inf < value <= _HIGHEST:
        raise BadInput(f"{where}: expected a finite number of at most {_HIGHEST} as grade, got {_told(value)}")
    return float(max(value, 0))


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _numbers(ids: Sequence[Any] | None) -> dict[str, int] | None:
    return None if ids is None else {str(name): i for i, name in enumerate(ids)}


def _row(name: str, numbers: dict[str, int] | None) -> int | None:
    if numbers is not None:
        return numbers.get(name)
    return int(name) if name.isdecimal() and len(name) <= _DIGITS else None


def label_rows(path: str | os.PathLike[str]) -> NDArray[np.int64]:
    """Read one label a row, as class numbers: ``.npy`` of one dimension, JSON lines with "label", or a label a line."""
    file = Path(path)
    if file.suffix == ".npy":
        return _npy_classes(file)
    classes = classes_of(_label(file, i, line) for i, line in enumerate(_lines(file)))
    if not classes.size:
        raise BadInput(f"{file}: expected one label a line, got an empty file")
    return classes


def classes_of(labels: Iterable[Any]) -> NDArray[np.int64]:
    """Number labels as they come; an array of the texts would take the length of the longest for each of them."""
    known: dict[Any, int] = {}
    return np.array([known.setdefault(label, len(known)) for label in labels], dtype=np.int64)


def _npy_classes(file: Path) -> NDArray[np.int64]:
    labels = _npy(file, 1)
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise BadInput(f"{file}: expected finite labels, got NaN or infinity in row {some(_not_finite(labels))}")
    try:
        return classes_of(labels.tolist())
    except (ValueError, SystemError):  # code points beyond Unicode
        raise BadInput(f"{file}: expected str, got characters that do not exist; save it again") from None


def _label(file: Path, i: int, line: str) -> str:
    if not line.lstrip().startswith("{"):
        return line.strip()
    record = _json(file, i, line)
    if "label" not in record:
        keys = _told(", ".join(record))
        raise BadInput(f'{file}: line {i + 1}: expected a field "label", got the fields {keys}')
    label = record["label"]
    if not isinstance(label, (str, int, float)) or (isinstance(label, float) and not math.isfinite(label)):
        raise BadInput(f"{file}: line {i + 1}: expected a label that is text or a finite number, got {_told(label)}")
    return str(label)


def pair_rows(path: str | os.PathLike[str]) -> NDArray[np.float64]:
    """Read scored pairs of rows ``[p, 3]``: ``.npy``, JSON lines {i, j, score}, or i, j, score a line."""
    file = Path(path)
    if file.suffix == ".npy":
        return _table(_npy(file, 2), str(file))
    out = []
    for i, line in enumerate(_lines(file)):
        where = f"{file}: line {i + 1}"
        if line.lstrip().startswith("{"):
            record = _json(file, i, line)
            fields = [record.get(key) for key in ("i", "j", "score")]
        else:
            fields = list(_fields(line, where))
        try:
            out.append([float(f) for f in fields])  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            if i == 0 and not line.lstrip().startswith("{"):
                continue  # a header
            raise BadInput(f"{where}: expected two row numbers and a score, got {_told(line)}") from None
        if len(out[-1]) != 3 or not np.isfinite(out[-1]).all():
            raise BadInput(f"{where}: expected two row numbers and a score, got {_told(line)}")
    if not out:
        raise BadInput(f"{file}: expected scored pairs, got none")
    return np.array(out)


def sound_pairs(pairs: Any, n: int) -> Any:
    """Scored pairs given in Python, checked: rows of ``n``, finite scores that are not all the same."""
    if pairs is None:
        return None
    if isinstance(pairs, tuple) and len(pairs) == 3 and hasattr(pairs[0], "ndim") and pairs[0].ndim == 2:
        return (*pairs[:2], _scores(_numbers_of(pairs[2], "pairs")))
    table = _table(pairs, "pairs")
    bad = np.flatnonzero(~((table[:, :2] >= 0) & (table[:, :2] < n) & (table[:, :2] % 1 == 0)).all(axis=1))
    if bad.size:
        got = " and ".join(f"{v:g}" for v in table[bad[0], :2])
        raise BadInput(f"pairs: expected row numbers from 0 to {n - 1}, got {got} in pair {some(bad)}")
    _scores(table[:, 2])
    return table


def _table(values: Any, where: str) -> NDArray[np.float64]:
    table = _numbers_of(values, where)
    if table.ndim != 2 or table.shape[1] != 3:
        raise BadInput(f"{where}: expected (row, row, score) for each pair, got shape {table.shape}")
    return table


def _numbers_of(values: Any, where: str) -> NDArray[np.float64]:
    try:
        found = np.asarray(values)
    except ValueError:
        raise BadInput(f"{where}: expected (row, row, score) for each pair, got lists of different lengths") from None
    if found.dtype.kind not in "fiu":
        raise BadInput(f"{where}: expected numbers, got {found.dtype}")
    if not np.isfinite(found).all():
        raise BadInput(f"{where}: expected finite numbers, got NaN or infinity in pair {some(_not_finite(found))}")
    return np.asarray(found, dtype=np.float64)


def _not_finite(values: NDArray[Any]) -> NDArray[np.int64]:
    return np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))


def _scores(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Refuse scores that are all the same: they rank nothing."""
    if scores.size > 1 and (scores == scores.flat[0]).all():
        raise BadInput(f"pairs: expected scores that differ, got {scores.flat[0]:g} for every pair: there is no order")
    return scores


def _json(file: Path, i: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # no JSON, nested too deep, or a whole number of thousands of digits
        record = None
    if not isinstance(record, dict):
        raise BadInput(f"{file}: line {i + 1}: expected a JSON object with numbers of sane length, got {_told(line)}")
    return record


def _npy(file: Path, dims: int) -> NDArray[Any]:
    """An array of plain values, read after its header was held against the bytes that are there."""
    name = base.check_path(file)
    with base.positioned(name) as opened:
        header = io_npy.parse_header(name, opened.bytes_at(0, io_npy.MAX_HEADER + 12))
        shape = header.shape
        if len(shape) != dims or min(shape) < 1:
            raise BadInput(f"{file}: expected {dims} dimension{'s' * (dims > 1)} and no empty one, got shape {shape}")
        if header.dtype.kind not in "iubUf" or not header.dtype.itemsize:
            raise BadInput(f"{file}: expected real numbers, bools or str, got {header.dtype}; convert them")
        base.check_bytes(name, shape[0], math.prod(shape[1:]), header.dtype.itemsize, opened.size - header.offset)
        raw = np.empty(opened.size - header.offset, dtype=np.uint8)
        opened.read_at(header.offset, raw)
    return raw.view(header.dtype).reshape(shape, order="F" if header.fortran else "C")
