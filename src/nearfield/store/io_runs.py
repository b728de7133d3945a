"""TREC runs and judgements: what a search returned for each query, and what is relevant."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from nearfield.core.errors import BadInput
from nearfield.store import io_base as base
from nearfield.store import io_text
from nearfield.store.atomic import AtomicFile

_BLANK = re.compile(r"\s")


def write_run(path: base.PathLike, run: Mapping[Any, Mapping[Any, float]], tag: str = "nearfield") -> None:
    """Write ``{query: {document: score}}`` as a TREC run: ``query Q0 document rank score tag`` on each line.

    Use it to have results evaluated by trec_eval, ir_measures or BEIR. Documents are ranked by score, ties by their
    place in ``run``; trec_eval itself breaks them by document. Scores come back exactly. Raises ``BadInput`` for names
    that are blank or hold white space, and for scores that are not finite.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "x.run")
    >>> write_run(path, {"q1": {"d1": 0.5, "d2": 2.0}})
    >>> path.read_text().splitlines()[0]
    'q1 Q0 d2 1 2.0 nearfield'
    """
    label = _name(tag, "tag")
    with AtomicFile(path) as made:
        with made.writing():
            for query, found in run.items():
                name = _name(query, "query")
                scores = [(_name(d, "document"), _score(s, query)) for d, s in found.items()]
                ranked = sorted(scores, key=lambda pair: -pair[1])
                lines = (f"{name} Q0 {d} {i} {s!r} {label}\n" for i, (d, s) in enumerate(ranked, 1))
                made.file.write("".join(lines).encode())
        made.publish()


def read_run(path: base.PathLike, *, max_ratio: float = base.MAX_RATIO) -> dict[str, dict[str, float]]:
    """Read a TREC run as ``{query: {document: score}}``, documents in the order of their scores; ``.gz`` too.

    As in trec_eval the score orders, the rank is not looked at. Raises ``BadInput`` with the line number for lines of
    other than 6 columns, scores that are no finite numbers, and documents that come twice for a query.
    """
    name = base.check_path(path)
    out: dict[str, dict[str, float]] = {}
    for number, line in io_text.text_lines(name, max_ratio):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 6:
            raise base.bad(
                name, f"line {number}: expected 6 columns (query Q0 document rank score tag), got {len(parts)}"
            )
        found = out.setdefault(parts[0], {})
        if parts[2] in found:
            raise base.bad(name, f"line {number}: the document {base.shown(parts[2], 40)} came before; keep one")
        found[parts[2]] = _read_score(name, number, parts[4])
    if not out:
        raise base.bad(name, "expected a run (query Q0 document rank score tag), got blank lines only")
    return {q: dict(sorted(found.items(), key=lambda pair: -pair[1])) for q, found in out.items()}


def write_qrels(path: base.PathLike, qrels: Mapping[Any, Mapping[Any, int]]) -> None:
    """Write ``{query: {document: grade}}``: BEIR's tsv with a header where the name ends in .tsv, else TREC's columns.

    ``read_qrels`` reads both. Raises ``BadInput`` for names with white space (BEIR: tabs) and grades that are no
    integers.
    """
    beir = str(path).lower().endswith(".tsv")
    with AtomicFile(path) as made:
        with made.writing():
            if beir:
                made.file.write(b"query-id\tcorpus-id\tscore\n")
            for query, found in qrels.items():
                name = _name(query, "query")
                pairs = ((_name(d, "document"), _grade(g, query)) for d, g in found.items())
                form = "{0}\t{1}\t{2}\n" if beir else "{0} 0 {1} {2}\n"
                made.file.write("".join(form.format(name, d, g) for d, g in pairs).encode())
        made.publish()


def _name(value: Any, what: str) -> str:
    text = str(value)
    if not text or _BLANK.search(text) or "\0" in text:
        raise BadInput(f"{what}: expected a name without white space, as TREC files need, got {base.shown(text, 40)}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadInput(f"{what}: expected a name that UTF-8 can hold, got {base.shown(text, 40)}") from None
    return text


def _score(value: Any, query: Any) -> float:
    try:
        score = float(value)
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        raise BadInput(
            f"run: expected finite scores, got {base.shown(value, 40)} for the query {base.shown(query, 40)}"
        )
    return score


def _read_score(path: str, number: int, text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise base.bad(path, f"line {number}: expected a finite score, got {base.shown(text, 40)}")
    return score


def _grade(value: Any, query: Any) -> int:
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not number or not abs(value) < 1 << 31 or int(value) != value:
        raise BadInput(f"qrels: expected integer grades, got {base.shown(value, 40)} for {base.shown(query, 40)}")
    return int(value)
