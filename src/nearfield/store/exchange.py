"""Rows in and out: what a Collection is filled from and exported to, a batch at a time.

Where vectors alone are wanted, ``read_vectors`` and ``write_vectors`` are for that.
"""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.checks import whole
from nearfield.core.errors import BadInput, BadParameter, DataWarning
from nearfield.store import exchange_arrow, exchange_csv, exchange_json, exchange_npz, io, io_table, io_text
from nearfield.store import io_base as base
from nearfield.store.atomic import AtomicFile
from nearfield.store.exchange_json import Record, write_beir
from nearfield.store.exchange_names import Names
from nearfield.store.io_base import MAX_RATIO, PathLike
from nearfield.store.rows import BATCH_BYTES, ROWS, RowBatch, left_out

__all__ = ["RowBatch", "Whole", "read_rows", "read_whole", "write_beir", "write_rows"]

JSON = (".jsonl", ".ndjson")
_NAMED = ("id", "text", "meta")
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
    """Yield the rows of a file or folder, at most ``rows`` at a time, in memory of one batch.

    Reads ``.jsonl`` and ``.ndjson``, ``.csv`` and ``.tsv`` (each also ``.gz``; one of numbers
    alone holds vectors), ``.parquet`` and ``.arrow`` (extra
    ``arrow``), a folder of such files that are parts of one table, a BEIR folder (``corpus.jsonl``), and whatever
    ``read_vectors`` reads; beside such a file ``NAME.jsonl`` may hold ids, texts and metadata, a row a line, which a
    ``DataWarning`` tells. An ``.npz`` may hold arrays ``ids`` and ``texts`` beside its vectors.

    ``id`` names the column or key of the ids, ``text`` that of the text (several are joined by a space), ``vector``
    those of vectors, ``meta`` those of metadata; None finds them by name (``id _id doc_id``, ``text body content``,
    ``vector embedding``, Arrow also by type), all others being metadata; an empty string or sequence means none.
    Without ids, a batch has none. A file that ``write_rows`` wrote tells all this itself.

    Raises ``BadInput`` and ``Corrupt`` naming the file and the line or row, when it is reached.

    >>> import tempfile
    >>> name = tempfile.mkdtemp() + "/x.jsonl"
    >>> with open(name, "w") as f: _ = f.write('{"id": "a", "text": "one", "year": 2024, "vector": [1, 2.5]}')
    >>> row, = read_rows(name)
    >>> row.ids, row.texts, row.meta, row.vectors["vector"].tolist()
    (['a'], ['one'], [{'year': 2024}], [[1.0, 2.5]])
    """
    rows = whole("rows", rows, 1, error=BadParameter)
    most, names = base.check_limit(limit), Names(id, text, vector, meta)
    if isinstance(path, (str, os.PathLike)) and os.path.isdir(path):
        return _of_folder(os.fspath(path), names, rows, most, max_ratio)
    name = base.check_path(path)
    suffix = io_text.suffix_of(name)
    if suffix in JSON:
        return exchange_json.read_jsonl(name, names, rows, most, max_ratio)
    if suffix in io.CSV and names == Names() and io_table.is_vectors(name, max_ratio):
        source = io.read_vectors(name, limit=most, max_ratio=max_ratio)
        return _alone(source, _rows_at_once(source, rows))
    if suffix in io.CSV:
        return exchange_csv.read_csv(name, names, rows, most, max_ratio)
    if suffix in io.PARQUET:
        return exchange_arrow.read_parquet(name, names, rows, most, max_ratio)
    if suffix in io.IPC:
        return exchange_arrow.read_ipc(name, names, rows, most, max_ratio)
    return _of_numbers(name, suffix, names, rows, most, max_ratio)


@dataclass(frozen=True)
class Whole:
    """The rows of JSON lines all at once: each with a vector, as an array ``[n, d]``."""

    vectors: NDArray[Any]
    ids: list[str] | None
    texts: list[str] | None


def read_whole(path: PathLike, key: str | None = None, *, max_ratio: float = MAX_RATIO) -> Whole | None:
    """Read JSON lines whose rows have vectors, under ``key`` or a name of vectors; None where they have texts alone.

    Use it before texts are encoded: who hands over vectors wants those. They are held in memory. Raises ``BadInput``
    naming the row that has none, or another width.
    """
    name = base.check_path(path)
    if io_text.suffix_of(name) not in JSON:
        return None
    fields = exchange_json.vectors_in(name, Names(vector=key), None, max_ratio)[1]
    if not fields:
        return None
    if len(fields) > 1:
        raise base.bad(name, f"expected one vector a row, got {base.shown(fields, 120)}; choose with key=...")
    batches = list(read_rows(name, vector=key, max_ratio=max_ratio))
    blocks = [b.vectors[fields[0]] for b in batches]
    at = 0
    for block in blocks:
        odd = [i for i, v in enumerate(block) if np.ndim(v) != 1] if isinstance(block, list) else []
        if odd:
            raise base.bad(name, f"expected a vector in every row, got none in row {at + odd[0]}; complete or drop it")
        at += len(block)
    if len({block.shape[1] for block in blocks if isinstance(block, np.ndarray)}) > 1:
        raise base.bad(name, "expected vectors of one width, got several; repair it")
    ids, texts = ([v for b in batches for v in getattr(b, part) or [None] * len(b)] for part in ("ids", "texts"))
    return Whole(
        np.concatenate(blocks),
        None if None in ids else [str(i) for i in ids],
        [t or "" for t in texts] if any(texts) else None,
    )


def _of_folder(folder: str, names: Names, rows: int, limit: int | None, max_ratio: float) -> Iterator[RowBatch]:
    """A BEIR folder, or one table in parts."""
    from nearfield.store import io_parts

    beir = any(os.path.isfile(os.path.join(folder, f"corpus.jsonl{end}")) for end in ("", ".gz"))
    parts = [] if beir else io_parts.parts_in(folder)
    if not parts:
        return exchange_json.read_beir(folder, names, rows, limit, max_ratio)
    io_parts.check_columns(folder, parts)
    parts = [part for part in parts if not io_parts.is_empty(part)]
    if not parts:
        raise base.bad(folder, "expected at least one row in its parts, got none")
    return _of_parts(parts, names, rows, limit, max_ratio)


def _of_parts(parts: list[str], names: Names, rows: int, limit: int | None, max_ratio: float) -> Iterator[RowBatch]:
    done = 0
    for path in parts:
        if done == limit:
            return
        read = exchange_arrow.read_ipc if io_text.suffix_of(path) in io.IPC else exchange_arrow.read_parquet
        for batch in read(path, names, rows, None if limit is None else limit - done, max_ratio):
            done += len(batch)
            yield batch


def _of_numbers(
    name: str, suffix: str, names: Names, rows: int, limit: int | None, max_ratio: float
) -> Iterator[RowBatch]:
    """Vectors of a file of numbers, with the rows of a file beside it where there is one."""
    beside = _beside(name)
    given = names.listed_vectors
    key = given[0] if len(given) == 1 and suffix in io.KEYED else None
    held = ("id", "text") if suffix == ".npz" else ()  # what may stand beside the vectors in the file itself
    odd = {
        "vector": bool(given) and key is None,
        **{w: bool(getattr(names, w)) and not beside and w not in held for w in _NAMED},
    }
    for what, wrong in odd.items():
        if wrong:
            shown = base.shown(getattr(names, what), 40)
            raise base.bad(name, f"{what}={shown} names a column, got a file of numbers alone; leave it out")
    source = io.read_vectors(name, key=key, limit=limit, max_ratio=max_ratio)
    step = _rows_at_once(source, rows)
    if suffix == ".npz":
        named = names if beside is None else Names()  # of two files the one of rows is what names are of
        inside = exchange_npz.read_beside(name, key, named, source.file_rows, max_ratio)
        if inside is not None and beside is not None:
            raise base.bad(
                name,
                f"expected ids and texts in one place, got them here and in {base.named(beside)}; rename that file",
            )
        if inside is not None:
            return inside.joined(_alone(source, step))
    return (
        _alone(source, step) if beside is None else _joined(source, beside, replace(names, vector=""), step, max_ratio)
    )


def _rows_at_once(source: io.Source, rows: int) -> int:
    return max(1, min(rows, BATCH_BYTES // (source.shape[1] * source.dtype.itemsize)))


def _alone(source: io.Source, step: int) -> Iterator[RowBatch]:
    at = 0
    for block in source.blocks(step):
        ids = source.ids[at : at + len(block)] if source.ids is not None else None
        at += len(block)
        yield RowBatch(ids, vectors={"vector": block})


def _joined(source: io.Source, beside: str, names: Names, step: int, max_ratio: float) -> Iterator[RowBatch]:
    """Vectors with the rows of another file, as many: told, since the names of two files may be alike by chance."""
    lines = sum(1 for _, line in io_text.text_lines(beside, max_ratio) if line.strip())
    if lines != source.file_rows:
        raise base.bad(
            beside,
            f"expected a line for each of {source.file_rows} vectors in {base.named(source.path)}, got {lines}; repair "
            "it, or rename it if it does not belong to them",
        )
    warnings.warn(
        f"{base.named(source.path)}: ids, texts and metadata are read from {base.named(beside)}, a line a row; rename "
        "it if it does not belong to them",
        DataWarning,
        stacklevel=2,
    )
    found = _one_by_one(exchange_json.read_jsonl(beside, names, ROWS, None, max_ratio))
    at = 0
    for block in source.blocks(step):
        records: list[Record] = [(name, text, meta, {}) for name, text, meta in itertools.islice(found, len(block))]
        batch = exchange_json.batch_of(records, at, beside)
        batch.vectors["vector"] = block
        at += len(block)
        yield batch


def _one_by_one(batches: Iterable[RowBatch]) -> Iterator[tuple[Any, str | None, dict[str, Any]]]:
    for batch in batches:
        n = len(batch)
        yield from zip(batch.ids or [None] * n, batch.texts or [None] * n, batch.meta or [{} for _ in range(n)])


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
