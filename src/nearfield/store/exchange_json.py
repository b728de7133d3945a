"""Rows as JSON lines, and as a BEIR folder (corpus, queries, judgements)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, TypeAlias

from nearfield.core.errors import BadInput, Corrupt
from nearfield.store import io_base as base
from nearfield.store import io_runs, io_text
from nearfield.store.atomic import AtomicFile
from nearfield.store.exchange_names import VECTOR, Names, poured
from nearfield.store.exchange_vectors import side_by_side, vector_keys, vector_of
from nearfield.store.metadata.check import dump, load
from nearfield.store.rows import BATCH_BYTES, RowBatch, as_json, checked

Tidy: TypeAlias = Callable[[dict[str, Any], str], dict[str, Any]]
Record: TypeAlias = tuple[Any, str | None, dict[str, Any], dict[str, Any]]


# ---- reading --------------------------------------------------------------------------------------
def read_jsonl(
    path: str, names: Names, rows: int, limit: int | None, max_ratio: float, tidy: Tidy | None = None
) -> Iterator[RowBatch]:
    """Yield the rows of JSON lines, an object a line; ``BadInput`` with the line number for what is none.

    ``vectors`` may hold an object of fields, ``meta`` or ``metadata`` one of metadata; times are tagged as
    ``{"$time": ...}`` and ``{"$date": ...}``.
    """
    held: list[Record] = []
    done = size = 0
    names, fields = vectors_in(path, names, limit, max_ratio)
    for number, line in io_text.text_lines(path, max_ratio):
        if not line.strip():
            continue
        found = _value(path, number, line)
        if tidy is not None:
            found = tidy(found, f"{base.named(path)}: line {number}")
        held.append(_record(path, number, found, names))
        size += len(line)
        if len(held) >= rows or size >= BATCH_BYTES or done + len(held) == limit:
            yield batch_of(held, done, path, fields)
            done += len(held)
            held, size = [], 0
        if done == limit:
            return
    if held:
        yield batch_of(held, done, path, fields)
    elif not done:
        raise base.bad(path, "expected rows, got blank lines only")


def vectors_in(path: str, names: Names, limit: int | None, max_ratio: float) -> tuple[Names, list[str]]:
    """The fields of the first row that has vectors, found before any row is given away.

    Whether the rows of a file have vectors must not hang on how many are read at a time: where some have, the others
    are rows without. Text costs a search for the names only.
    """
    known = VECTOR if names.vector is None else names.listed_vectors
    wanted = [json.dumps(name, ensure_ascii=escaped) for name in known for escaped in (True, False)]
    loose, rows = names.optional_vectors(), 0
    for number, line in io_text.text_lines(path, max_ratio) if known else ():
        if line.lstrip().startswith("{") and any(name in line for name in wanted):
            fields = _fields(_value(path, number, line), loose, f"{base.named(path)}: line {number}")
            if fields:
                return loose, list(fields)
        rows += bool(line.strip())
        if rows == limit:
            break
    return names, []


def _value(path: str, number: int, line: str) -> dict[str, Any]:
    try:
        value = load(line, "")
    except Corrupt as error:
        why = str(error).rpartition("(")[2].rstrip(")")
        raise base.bad(
            path, f"line {number}: expected a JSON object on each line, got {base.shown(line, 40)} ({why}); repair it"
        ) from None
    if not isinstance(value, dict):
        raise base.bad(path, f"line {number}: expected a JSON object on each line, got {base.shown(value, 40)}")
    return value


def _record(path: str, number: int, found: dict[str, Any], names: Names) -> Record:
    where = f"{base.named(path)}: line {number}"
    keys = list(found)
    id_key, text_keys = names.id_in(keys, where), names.texts_in(keys, where)
    vectors = _fields(found, names, where)
    taken = [id_key, *text_keys, *_vector_keys(found, names, where), "vectors" if _several(found, names) else None]
    meta = poured(found, names.meta_in(keys, taken, where), where)
    return _id(path, number, found, id_key), joined([found[k] for k in text_keys], where), meta, vectors


def _several(found: dict[str, Any], names: Names) -> bool:
    """Whether the row has an object of fields."""
    return names.vector is None and "vectors" not in names.given and isinstance(found.get("vectors"), dict)


def _vector_keys(found: dict[str, Any], names: Names, where: str) -> list[str]:
    keys = names.vectors_in(list(found), where)
    if names.vector is not None:
        return keys
    return vector_keys(found, [k for k in keys if k != "vectors" or not _several(found, names)])


def _fields(found: dict[str, Any], names: Names, where: str) -> dict[str, Any]:
    """The vectors of a row by field."""
    fields = dict(found["vectors"]) if _several(found, names) else {}
    fields |= {k: found[k] for k in _vector_keys(found, names, where)}
    return {k: vector_of(v, f"{where}: {base.shown(k)}") for k, v in fields.items()}


def _id(path: str, number: int, found: dict[str, Any], key: str | None) -> Any:
    value = None if key is None else found[key]
    if value is not None and (isinstance(value, bool) or not isinstance(value, (str, int))):
        raise base.bad(
            path, f"line {number}: expected an id that is a string or an integer, got {base.shown(value, 40)}"
        )
    return value


def joined(parts: Sequence[Any], where: str) -> str | None:
    """The text of a row: its parts with a space between, blank ones left out."""
    for part in parts:
        if part is not None and not isinstance(part, str):
            raise BadInput(
                f"{where}: expected text, got {base.shown(part, 40)}; make it a string, or choose with text=..."
            )
    if len(parts) == 1:
        return None if parts[0] is None else str(parts[0])
    return " ".join(p for p in parts if p) if parts else None


def batch_of(records: Sequence[Record], start: int, path: str, named: Iterable[str] = ()) -> RowBatch:
    """Rows side by side, without ids where no row has one; ``named`` fields are there even if all are None."""
    ids = [r[0] for r in records]
    whole = all(i is not None for i in ids)
    if not whole and any(i is not None for i in ids):
        row = start + ids.index(None)
        raise base.bad(path, f"expected an id in every row or in none, row {row} has none; complete them")
    texts = [r[1] for r in records]
    meta = [r[2] for r in records]
    fields = dict.fromkeys([*named, *(k for r in records for k in r[3])])
    return RowBatch(
        ids if whole else None,
        texts if any(t is not None for t in texts) else None,
        meta if any(meta) else None,
        {
            k: side_by_side([r[3].get(k) for r in records], f"{base.named(path)}: {base.shown(k)}", start)
            for k in fields
        },
    )


# ---- writing --------------------------------------------------------------------------------------
def write_jsonl(file: IO[bytes], batches: Iterable[RowBatch], path: str) -> int:
    """Write an object a line with ``id``, ``text``, ``vector`` (or ``vectors`` by field) and ``meta``; all comes back,
    numbers of vectors without their type."""
    done = 0
    for batch in batches:
        good = checked(batch, done)
        lines = [_line(good, i, done + i) for i in range(len(good))]
        file.write("".join(lines).encode())
        done += len(lines)
    return done


def _line(batch: RowBatch, i: int, row: int) -> str:
    parts = [] if batch.ids is None else [f'"id":{dump(batch.ids[i])}']
    if batch.texts is not None:
        parts.append(f'"text":{dump(batch.texts[i])}')
    fields = {k: v[i] for k, v in batch.vectors.items() if v[i] is not None}
    texts = [f"{json.dumps(k, ensure_ascii=False)}:{as_json(v, k, row)}" for k, v in fields.items()]
    if texts:
        parts += texts if list(fields) == ["vector"] else [f'"vectors":{{{",".join(texts)}}}']
    if batch.meta is not None:
        parts.append(f'"meta":{dump(batch.meta[i])}')
    return "{" + ",".join(parts) + "}\n"


# ---- BEIR -----------------------------------------------------------------------------------------
def read_beir(folder: str, names: Names, rows: int, limit: int | None, max_ratio: float) -> Iterator[RowBatch]:
    """Yield the documents of a BEIR folder: the title stands before the text, and stays in the metadata."""

    def tidy(found: dict[str, Any], where: str) -> dict[str, Any]:
        title = found.get("title")
        if not title:
            found.pop("title", None)
        elif names.text is None and "text" in found:
            found["text"] = joined([title, found["text"]], where)
        return found

    return read_jsonl(beir_corpus(folder), names, rows, limit, max_ratio, tidy)


def beir_corpus(folder: str) -> str:
    """The file of documents in a BEIR folder."""
    for name in ("corpus.jsonl", "corpus.jsonl.gz"):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return base.check_path(path)
    raise base.bad(
        folder, "expected corpus.jsonl (a BEIR folder), Parquet or Arrow parts, or the name of a file, found none"
    )


def write_beir(
    folder: base.PathLike,
    batches: Iterable[RowBatch],
    *,
    queries: Mapping[str, str] | None = None,
    qrels: Mapping[str, Mapping[str, int]] | None = None,
    split: str = "test",
) -> int:
    """Write a BEIR folder: ``corpus.jsonl``, with ``queries`` ``queries.jsonl``, with ``qrels`` ``qrels/SPLIT.tsv``.

    Use it to hand a collection to retrieval benchmarks. Documents are ``_id``, ``title`` (of the metadata, where the
    text starts with it), ``text`` and ``metadata``; ids become text. The layout has no place for vectors, which are
    refused. Returns the number of documents.
    """
    name = os.fspath(folder)
    os.makedirs(name, exist_ok=True)
    done = 0
    with AtomicFile(os.path.join(name, "corpus.jsonl")) as made:
        with made.writing():
            for batch in batches:
                good = checked(batch, done)
                if any(v is not None for given in good.vectors.values() for v in given):
                    raise base.bad(name, "a BEIR folder holds no vectors; leave them out: leave_out=['vectors']")
                made.file.write("".join(_document(good, i, done) for i in range(len(good))).encode())
                done += len(good)
        if not done:
            raise base.bad(name, "expected at least one row to write, got none")
        made.publish()
    if queries is not None:
        with AtomicFile(os.path.join(name, "queries.jsonl")) as made:
            with made.writing():
                rows = [{"_id": str(k), "text": v, "metadata": {}} for k, v in queries.items()]
                made.file.write("".join(dump(r) + "\n" for r in rows).encode())
            made.publish()
    if qrels is not None:
        os.makedirs(os.path.join(name, "qrels"), exist_ok=True)
        io_runs.write_qrels(os.path.join(name, "qrels", f"{split}.tsv"), qrels)
    return done


def _document(batch: RowBatch, i: int, start: int) -> str:
    text = (batch.texts[i] if batch.texts is not None else None) or ""
    meta = dict(batch.meta[i]) if batch.meta is not None else {}
    title = meta.get("title")
    if isinstance(title, str) and title and f"{text} ".startswith(f"{title} "):
        del meta["title"]
        text = text[len(title) + 1 :]
    else:
        title = ""
    name = str(start + i if batch.ids is None else batch.ids[i])
    return dump({"_id": name, "title": title, "text": text, "metadata": meta}) + "\n"
