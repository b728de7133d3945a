"""What comes beside the vectors, in files or as it is: relevance judgements, labels, scored pairs."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.adviser.quality import Judgements
from nearfield.core.arrays import some
from nearfield.core.checks import plain, shown
from nearfield.core.errors import BadInput, DataWarning
from nearfield.search.encoding import as_encoder, encode_texts
from nearfield.store import io

_HIGHEST = 100  # a document of grade g gains 2 ** g - 1
_DIGITS = 18  # of the longest row number: int() refuses thousands of digits, and no row has such a number


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
    given = [(q, d, grade) for q, grades in io.read_qrels(file).items() for d, grade in grades.items()]
    for name, document, grade in given:
        query, row = _row(name, queries), _row(document, rows)
        if query is not None and row is not None:
            out.setdefault(query, {})[row] = _grade(grade, f"{file}: query {shown(name)}")
        else:
            strange.append((name, document))
    if strange:
        _tell_strange(file, strange, len(given))
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
    found = plain(value)
    if isinstance(found, bool) or not isinstance(found, int) or not -(10**_DIGITS) < found < 10**_DIGITS:
        raise BadInput(f"qrels: expected the row number of a {what}, got {shown(value)} ({type(value).__name__})")
    return int(found)


def _grade(value: Any, where: str) -> float:
    """A grade, 0 where it is below: both trec_eval and ir-measures take it for not relevant."""
    known = isinstance(value, (int, float, np.integer, np.floating, np.bool_))
    if not known or not -np.inf < value <= _HIGHEST:
        raise BadInput(f"{where}: expected a finite number of at most {_HIGHEST} as grade, got {shown(value)}")
    return float(max(value, 0))


def _numbers(ids: Sequence[Any] | None) -> dict[str, int] | None:
    return None if ids is None else {str(name): i for i, name in enumerate(ids)}


def _row(name: str, numbers: dict[str, int] | None) -> int | None:
    if numbers is not None:
        return numbers.get(name)
    return int(name) if name.isdecimal() and len(name) <= _DIGITS else None


def label_rows(path: str | os.PathLike[str]) -> NDArray[np.int64]:
    """Read one label a row, as class numbers: any file of labels that the store reads."""
    return io.read_labels(path).codes


def pair_rows(path: str | os.PathLike[str], encoder: Any = None) -> Any:
    """Read scored pairs: of rows as ``[p, 3]``; of texts as vectors, vectors and scores, by the encoder."""
    if str(path).lower().endswith(".npy"):
        source = io.read_vectors(path)
        return _table(source.take(np.arange(source.shape[0])), str(path))
    pairs = io.read_pairs(path)
    if pairs.i is not None and pairs.j is not None:
        return np.stack([pairs.i, pairs.j, pairs.scores], axis=1)
    if encoder is None:
        raise BadInput(f"{path}: expected pairs of row numbers beside vectors, got texts; name their encoder")
    a, b = (encode_texts(as_encoder(encoder), texts or []) for texts in (pairs.left, pairs.right))
    return a, b, pairs.scores


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
