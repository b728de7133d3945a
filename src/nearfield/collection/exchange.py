"""Rows from files, frames and data sets into a Collection, and out of it again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from nearfield.core.errors import BadInput, did_you_mean
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
    if isinstance(source, (list, tuple, Iterator)):
        return _checked(source)
    if not (hasattr(source, "columns") or hasattr(source, "schema") or hasattr(source, "__arrow_c_stream__")):
        raise BadInput(f"rows: expected a file, a frame, a table or batches of rows, got {type(source).__name__}")
    return frames.from_frame(source, rows=rows, **names)


def _checked(source: Iterable[Any]) -> Iterator[RowBatch]:
    for batch in source:
        if not isinstance(batch, RowBatch):
            raise BadInput(f"rows: expected a file, a frame or batches of rows, got a list of {type(batch).__name__}")
        yield batch


def load(
    made: Collection, batches: Iterable[RowBatch], *, new_only: bool, encoder: Any, progress: Progress | None
) -> int:
    """Write batches of rows, each by one commit; returns how many rows."""
    write = made.add if new_only else made.upsert
    done = 0
    for batch in batches:
        ids, x = _taken(made, batch)
        write(ids, x, texts=batch.texts, meta=batch.meta, encoder=None if x is None else encoder)
        done += len(batch)
        if progress:
            progress("rows", done, 0)
    return done


def _taken(made: Collection, batch: RowBatch) -> tuple[Any, Any]:
    """Ids and vectors: those of the source, by field where their names are those of fields."""
    if not batch.vectors:
        return batch.ids, None
    fields = made.fields
    if set(batch.vectors) <= set(fields):
        return batch.ids, dict(batch.vectors)
    if len(batch.vectors) == 1 and len(fields) == 1:
        return batch.ids, next(iter(batch.vectors.values()))
    got = ", ".join(batch.vectors)
    raise BadInput(f"vectors: expected the fields {', '.join(fields)}, got {got}; name one by vector=")


def export(
    made: Collection, target: Any, where: Any, *, vectors: bool, overwrite: bool, guard: bool, progress: Progress | None
) -> Any:
    """Write rows into a file, and return how many; or give them as a table, a frame or a data set."""
    rows = _rows(made, where, vectors=vectors, progress=progress)
    if isinstance(target, os.PathLike) or "." in str(target) or os.path.isdir(target):
        from nearfield.store.exchange import write_rows

        if vectors and not os.path.splitext(os.fspath(target))[1]:
            raise BadInput(f"export: {os.fspath(target)!r} names a BEIR folder, which holds no vectors: leave them out")
        folder = not os.path.splitext(os.fspath(target))[1]
        check_output(target, overwrite=overwrite)
        if folder or os.path.isdir(target):
            check_output(os.path.join(target, "corpus.jsonl"), overwrite=overwrite)
        return write_rows(target, rows, guard=guard)
    from nearfield.store import frames

    if target not in _KINDS:
        raise BadInput(f"export: expected a file such as rows.jsonl, or {did_you_mean(str(target), _KINDS)}")
    if target == "arrow":
        return frames.to_table(rows)
    return frames.to_dataset(rows) if target == "dataset" else frames.to_frame(rows, target)


def _rows(made: Collection, where: Any, *, vectors: bool, progress: Progress | None) -> Iterator[RowBatch]:
    with made.snapshot() as kept:
        done, total = 0, kept.count(where)
        for rows in kept.scroll(where=where, batch=_OUT):
            columns: dict[str, Any] = {}
            if vectors:
                read = [row.vectors for row in rows]
                columns = {name: _column([r.get(name) for r in read]) for name in kept.fields}
            yield RowBatch([r.id for r in rows], [r.text for r in rows], [r.meta for r in rows], columns)
            done += len(rows)
            if progress:
                progress("export", done, total)


def _column(values: list[Any]) -> Any:
    """Vectors of one field: an array where each row has a dense one."""
    return np.stack(values) if all(isinstance(v, np.ndarray) and v.ndim == 1 for v in values) else values
