"""Rows in and out: what a Collection is filled from and exported to, a batch at a time.

Where vectors alone are wanted, ``read_vectors`` and ``write_vectors`` are for that.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import IO, Any

from nearfield.core.errors import BadInput, BadParameter
from nearfield.store import exchange_arrow, exchange_csv, exchange_json, io, io_text
from nearfield.store import io_base as base
from nearfield.store.atomic import AtomicFile
from nearfield.store.exchange_json import write_beir
from nearfield.store.exchange_names import Names
from nearfield.store.io_base import MAX_RATIO, PathLike
from nearfield.store.rows import BATCH_BYTES, ROWS, RowBatch, left_out

__all__ = ["RowBatch", "read_rows", "write_beir", "write_rows"]

JSON = (".jsonl", ".ndjson")
WRITERS: dict[str, Callable[[IO[bytes], Iterable[RowBatch], str], int]] = {
    **dict.fromkeys(JSON, exchange_json.write_jsonl),
    ".csv": exchange_csv.write_csv,
    **dict.fromkeys(io.PARQUET, exchange_arrow.write_parquet),
    **dict.fromkeys(io.IPC, exchange_arrow.write_ipc),
}


def read_rows(
    path: PathLike,
    *,
    id: str | None = None,
    text: str | Sequence[str] | None = None,
    vector: str | Sequence[str] | None = None,
    meta: Sequence[str] | None = None,
    rows: int = ROWS,
    limit: int | None = None,
    max_ratio: float = MAX_RATIO,
) -> Iterator[RowBatch]:
    """Yield the rows of a file or BEIR folder, at most ``rows`` at a time, in memory of one batch.

    Reads ``.jsonl`` and ``.ndjson``, ``.csv`` and ``.tsv`` (each also ``.gz``), ``.parquet`` and ``.arrow`` (extra
    ``arrow``), a folder with ``corpus.jsonl``, and whatever ``read_vectors`` reads; beside such a file ``NAME.jsonl``
    may hold ids, texts and metadata, a row a line.

    ``id`` names the column or key of the ids, ``text`` that of the text (several are joined by a space), ``vector``
    those of vectors, ``meta`` those of metadata; None finds them by name (``id _id doc_id``, ``text body content``,
    ``vector embedding``, Arrow also by type), all others being metadata; an empty string or sequence means none.
    Without ids, row numbers stand for them. A file that ``write_rows`` wrote tells all this itself.

    Raises ``BadInput`` and ``Corrupt`` naming the file and the line or row, when it is reached.

    >>> import tempfile
    >>> name = tempfile.mkdtemp() + "/x.jsonl"
    >>> with open(name, "w") as f: _ = f.write('{"id": "a", "text": "one", "year": 2024, "vector": [1, 2.5]}')
    >>> row, = read_rows(name)
    >>> row.ids, row.texts, row.meta, row.vectors["vector"].tolist()
    (['a'], ['one'], [{'year': 2024}], [[1.0, 2.5]])
    """
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
        raise BadParameter(f"rows: expected a number of rows from 1 on, got {rows!r}")
    most, names = base.check_limit(limit), Names(id, text, vector, meta)
    if isinstance(path, (str, os.PathLike)) and os.path.isdir(path):
        return exchange_json.read_beir(os.fspath(path), names, rows, most, max_ratio)
    name = base.check_path(path)
    suffix = io_text.suffix_of(name)
    if suffix in JSON:
        return exchange_json.read_jsonl(name, names, rows, most, max_ratio)
    if suffix in io.CSV:
        return exchange_csv.read_csv(name, names, rows, most, max_ratio)
    if suffix in io.PARQUET:
        return exchange_arrow.read_parquet(name, names, rows, most, max_ratio)
    if suffix in io.IPC:
        return exchange_arrow.read_ipc(name, names, rows, most, max_ratio)
    return _read_source(io.read_vectors(name, limit=most, max_ratio=max_ratio), names, rows, max_ratio)


def _read_source(source: io.Source, names: Names, rows: int, max_ratio: float) -> Iterator[RowBatch]:
    """Vectors of a file of numbers, with the rows of a file beside it where there is one."""
    beside = _beside(source.path)
    step = max(1, min(rows, BATCH_BYTES // (source.shape[1] * source.dtype.itemsize)))
    blocks = source.blocks(step)
    if beside is None:
        at = 0
        for block in blocks:
            part = slice(at, at + len(block))
            ids: list[Any] = list(range(len(source))[part]) if source.ids is None else source.ids[part]
            at += len(block)
            yield RowBatch(ids, vectors={"vector": block})
        return
    lines = _one_by_one(exchange_json.read_jsonl(beside, names, rows, None, max_ratio))
    at = 0
    for block in blocks:
        found = list(itertools.islice(lines, len(block)))
        if len(found) < len(block):
            raise base.bad(beside, f"expected a line for each of {len(source)} vectors, got {at + len(found)}")
        at += len(block)
        texts, meta = [f[1] for f in found], [f[2] for f in found]
        some = any(t is not None for t in texts)
        yield RowBatch([f[0] for f in found], texts if some else None, meta if any(meta) else None, {"vector": block})
    if len(source) == source.file_rows and next(lines, None) is not None:
        raise base.bad(beside, f"expected a line for each of {len(source)} vectors, got more; remove the others")


def _one_by_one(batches: Iterable[RowBatch]) -> Iterator[tuple[Any, str | None, dict[str, Any]]]:
    for batch in batches:
        n = len(batch)
        yield from zip(batch.ids or [], batch.texts or [None] * n, batch.meta or [{} for _ in range(n)])


def _beside(path: str) -> str | None:
    stem = os.path.splitext(path)[0]
    return next((stem + s for s in (".jsonl", ".jsonl.gz", ".ndjson") if os.path.isfile(stem + s)), None)


def write_rows(
    path: PathLike, batches: Iterable[RowBatch], *, leave_out: Collection[str] = (), guard: bool = True
) -> int:
    """Write batches of rows to ``.jsonl``, ``.csv``, ``.parquet`` or ``.arrow``, or, without a suffix, a BEIR folder.

    Use it to export a Collection, or to convert what ``read_rows`` reads; the file is there whole or not at all, memory
    stays at one batch. ``leave_out`` names parts not to write: ``ids``, ``texts``, ``meta``, ``vectors``, or one field
    of vectors. Returns the number of rows. In CSV, text that a spreadsheet would run as a formula gets an apostrophe
    before it, which ``read_rows`` takes off again; ``guard=False`` writes it as it is.

    JSON lines keep all but the number types of vectors; Parquet and Arrow (extra ``arrow``) keep those too, but not the
    order of a row's keys; what CSV loses its module says. A BEIR folder holds texts and metadata alone (``write_beir``
    adds queries and judgements). Raises ``BadInput`` naming the row for what a format cannot hold.

    >>> import tempfile
    >>> name = tempfile.mkdtemp() + "/x.jsonl"
    >>> write_rows(name, [RowBatch([1, 2], ["one", None])])
    2
    """
    if isinstance(batches, RowBatch):
        batches = [batches]
    wanted = batches if not leave_out else (left_out(b, frozenset(leave_out)) for b in batches)
    suffix = io_text.suffix_of(str(path))
    if not suffix or os.path.isdir(path):
        return write_beir(path, wanted)
    if suffix not in WRITERS or str(path).lower().endswith(".gz"):
        shown = base.named(path)
        raise BadInput(f"{shown}: expected {' '.join(WRITERS)} or the name of a folder, got {suffix!r}; rename it")
    with AtomicFile(path) as made:
        with made.writing():
            write = WRITERS[suffix] if guard or suffix != ".csv" else partial(exchange_csv.write_csv, guard=False)
            count = write(made.file, wanted, str(path))
        if not count:
            raise BadInput(f"{base.named(path)}: expected at least one row to write, got none")
        made.publish()
    return count
