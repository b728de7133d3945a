"""Rows from files, frames and data sets into a Collection, and out of it again."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nearfield.core.errors import BadInput, NearfieldError, did_you_mean, warn
from nearfield.core.protocols import Progress
from nearfield.store.outputs import check_output
from nearfield.store.rows import RowBatch

if TYPE_CHECKING:
    from nearfield.collection.collection import Collection

_ROWS = 10_000  # written by one commit
_OUT = 1000
_KINDS = ("arrow", "pandas", "polars", "dataset")


def batches_of(source: Any, rows: int, **names: Any) -> Iterator[RowBatch]:
    """The rows of a file, a frame, an Arrow table, a data set, or of batches, at most ``rows`` at a time."""
    if isinstance(source, RowBatch):
        return iter([source])
    if isinstance(source, (str, os.PathLike)):
        from nearfield.store.exchange import read_rows

        return read_rows(source, rows=rows, **names)
    from nearfield.store import frames

    if hasattr(source, "with_format") and hasattr(source, "iter"):
        return frames.from_dataset(source, rows=rows, **names)
    stream = hasattr(source, "__arrow_c_stream__")  # a reader of record batches is an iterator too
    if isinstance(source, (list, tuple, Iterator)) and not stream:
        return _checked(source)
    lazy = type(source).__module__.startswith("polars")  # asking a lazy frame for its columns costs a pass over it
    if not (stream or lazy or hasattr(source, "columns") or hasattr(source, "schema")):
        raise BadInput(f"rows: expected a file, a frame, a table or batches of rows, got {type(source).__name__}")
    return frames.from_frame(source, rows=rows, **names)


def _checked(source: Iterable[Any]) -> Iterator[RowBatch]:
    for batch in source:
        if not isinstance(batch, RowBatch):
            raise BadInput(f"rows: expected a file, a frame or batches of rows, got a list of {type(batch).__name__}")
        yield batch


@dataclass
class Loaded:
    """How many rows were written, how many of them have no vector, and the numbers that were given as ids to others."""

    rows: int = 0
    without: int = 0
    numbered: list[range] = field(default_factory=list)

    def number(self, ids: list[Any]) -> None:
        """Note the ids that rows without any were given: numbers in a row, or names that nobody else can have."""
        if ids and isinstance(ids[0], int):
            first = self.numbered.pop().start if self.numbered and self.numbered[-1].stop == ids[0] else ids[0]
            self.numbered.append(range(first, ids[-1] + 1))


def load(
    made: Collection, batches: Iterable[RowBatch], *, new_only: bool, encoder: Any, progress: Progress | None,
    numbered: Sequence[range] = (),
) -> Loaded:  # fmt: skip
    """Write batches of rows, each by one commit.

    ``numbered`` are ids that rows of sources before this one were given, as they had none: no row may replace them.
    Where some rows of the source have vectors, those that have none stay without one; else the texts are encoded.
    """
    write = made.writer(new_only=new_only)
    done = Loaded()
    seen: dict[str, None] = {}  # the fields that the source has vectors of
    named: bool | None = None
    try:
        for batch in batches:
            if named not in (None, batch.ids is not None):
                raise BadInput(f"ids: expected one in every row or in none, row {done.rows} differs; complete them")
            named = batch.ids is not None
            seen |= dict.fromkeys(batch.vectors)
            x = _vectors(made, batch, list(seen))
            _check_numbered(batch, numbered)
            ids = write(batch.ids, x, batch.texts, batch.meta, encoder if seen else None)
            if not named:
                done.number(ids)
            done.rows += len(batch)
            done.without += _without(x, len(batch))
            if progress:
                progress("rows", done.rows, 0)
    except NearfieldError as error:
        if done.rows:
            error.args = (f"{error}; the {done.rows:,} rows before this batch are written", *error.args[1:])
        raise
    return done


def _check_numbered(batch: RowBatch, numbered: Sequence[range]) -> None:
    """Refuse ids that name rows by the numbers that these happened to get: they would go without a word."""
    if not numbered:
        return
    taken = (i for i in batch.ids or () if isinstance(i, int) and any(r.start <= i < r.stop for r in numbered))
    found = list(itertools.islice(taken, 5))
    if found:
        raise BadInput(
            f"ids: expected others than rows without ids were given before, got {', '.join(map(str, found))}; put "
            "files with ids before those without"
        )


def _vectors(made: Collection, batch: RowBatch, seen: list[str]) -> dict[str, Any]:
    """The vectors of a batch by field: its own, or those of its texts where its source has none."""
    fields = made.fields
    if not seen:
        texts = _spoken(batch)
        if texts is None and fields:
            raise BadInput("rows: expected vectors or texts, found neither; name them by vector= or text=")
        return made.vectors_of_texts(texts)
    found = dict(batch.vectors) or {seen[0]: [None] * len(batch)}
    if not set(found) <= set(fields):  # a key of null alone is no field that would be missed
        found = {k: v for k, v in found.items() if not _empty(v)} or {seen[0]: [None] * len(batch)}
    if len(found) == 1 and len(fields) == 1 and not set(found) <= set(fields):
        found = {next(iter(fields)): next(iter(found.values()))}
    if not set(found) <= set(fields):
        raise BadInput(f"vectors: expected the fields {', '.join(fields)}, got {', '.join(found)}; name one by vector=")
    for name, given in found.items():
        if fields[name].kind == "dense" and isinstance(given, list):
            odd = next((i for i, v in enumerate(given) if isinstance(v, np.ndarray) and not v.size), None)
            if odd is not None:
                raise BadInput(f"{name}: expected {fields[name].dim} numbers, got [] in row {odd}; None is for none")
    return found


def _spoken(batch: RowBatch) -> list[str | None] | None:
    """What an encoder is given of each row: its title and its text, as the tools of BEIR join them."""
    if batch.meta is None:
        return batch.texts
    texts = batch.texts or [None] * len(batch)
    found = [titled(m.get("title"), t) for m, t in zip(batch.meta, texts)]
    return found if batch.texts is not None or any(found) else None


def titled(title: Any, text: str | None) -> str | None:
    """A title before its text, unless the text starts with it already."""
    if not isinstance(title, str) or not title.strip() or f"{text or ''} ".startswith(f"{title} "):
        return text
    return f"{title} {text or ''}".strip()


def _empty(given: Any) -> bool:
    return isinstance(given, list) and all(v is None for v in given)


def _without(x: dict[str, Any], n: int) -> int:
    """How many of the rows have no vector in any field."""
    has = np.zeros(n, np.bool_)
    for given in x.values():
        has |= np.array([v is not None for v in given], np.bool_) if isinstance(given, list) else True
    return int(n - has.sum())


def export(
    made: Collection, target: Any, where: Any, *, vectors: bool, overwrite: bool, guard: bool, progress: Progress | None
) -> Any:
    """Write rows into a file, and return how many; or give them as a table, a frame or a data set."""
    _check_target(target)
    rows = _rows(made, where, vectors=vectors, progress=progress)
    if isinstance(target, os.PathLike) or "." in str(target) or os.path.isdir(target):
        from nearfield.store.exchange import write_rows

        folder = not os.path.splitext(os.fspath(target))[1]
        check_output(target, overwrite=overwrite)
        if vectors and folder:
            raise BadInput(
                f"export: {os.fspath(target)!r} names a BEIR folder, which holds no vectors: leave them out, or name a "
                "file such as rows.jsonl"
            )
        if folder or os.path.isdir(target):
            check_output(os.path.join(target, "corpus.jsonl"), overwrite=overwrite)
        return write_rows(target, rows, guard=guard)
    from nearfield.store import frames

    if target not in _KINDS:
        raise BadInput(f"export: expected a file such as rows.jsonl, or {did_you_mean(str(target), _KINDS)}")
    if target == "arrow":
        return frames.to_table(rows)
    return frames.to_dataset(rows) if target == "dataset" else frames.to_frame(rows, target)


def _check_target(target: Any) -> None:
    if not isinstance(target, (str, os.PathLike)):
        kinds = ", ".join(_KINDS)
        raise BadInput(f"export: expected the name of a file or one of {kinds}, got {type(target).__name__}")


def _rows(made: Collection, where: Any, *, vectors: bool, progress: Progress | None) -> Iterator[RowBatch]:
    with made.snapshot() as kept:
        done, total, coded = 0, kept.count(where), False
        for rows in kept.scroll(where=where, batch=_OUT):
            columns: dict[str, Any] = {}
            if vectors:
                read = [row.vectors for row in rows]
                coded = coded or _warned(rows)
                columns = {name: _column([r.get(name) for r in read]) for name in kept.fields}
            yield RowBatch([r.id for r in rows], [r.text for r in rows], [r.meta for r in rows], columns)
            done += len(rows)
            if progress:
                progress("export", done, total)


def _warned(rows: list[Any]) -> bool:
    """Warn of vectors that cannot be written; whether there were some."""
    fields = sorted({name for row in rows for name in row.only_coded})
    if fields:
        warn(
            f"export: the vectors of {', '.join(map(repr, fields))} are left out: their originals were dropped, and "
            "their plan cannot turn codes back into vectors"
        )
    return bool(fields)


def _column(values: list[Any]) -> Any:
    """Vectors of one field: an array where each row has a dense one."""
    return np.stack(values) if all(isinstance(v, np.ndarray) and v.ndim == 1 for v in values) else values
