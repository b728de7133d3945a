"""Rows of pandas frames, cell by cell: nothing but pandas is needed.

The index is the ids where it says something: where it has a name, or does not just count the rows from 0. pandas gives
a ``RangeIndex`` to what it filters or cuts, too, where the labels that stay are evenly spaced: they are ids as any
others. The first rows of a frame, as of ``head``, cannot be told from a fresh frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nearfield.core.errors import BadInput
from nearfield.store import io_base as base
from nearfield.store.exchange_json import Record, batch_of, joined
from nearfield.store.exchange_names import Names
from nearfield.store.exchange_vectors import side_by_side, vector_of
from nearfield.store.rows import RowBatch

_INDEX = "the index"  # of a frame whose index has no name


def from_pandas(frame: Any, names: Names, rows: int) -> Iterator[RowBatch]:
    """Yield the rows of a frame, at most ``rows`` at a time."""
    index = _index(frame)
    keys = [str(k) for k in frame.columns]
    if index is not None and index not in keys:
        keys = [index, *keys]
    elif index is not None and not np.array_equal(frame.index, frame[frame.index.name]):
        raise BadInput(f"rows: expected one meaning of {index!r}, got an index and a column of it; rename one")
    if len(set(keys)) < len(keys):
        raise BadInput("rows: expected each column once in the frame; rename one")
    if names == Names() and _counts(frame):
        return _of_numbers(frame, index, rows)
    return _batches(frame, keys, index, names, rows)


def _counts(frame: Any) -> bool:
    """Whether the columns are an array's: numbers alone, that pandas counted."""
    numbers = all(getattr(kind, "kind", "") in "fiu" and isinstance(kind, np.dtype) for kind in frame.dtypes)
    return numbers and frame.shape[1] > 1 and list(frame.columns) == list(range(frame.shape[1]))


def _of_numbers(frame: Any, index: str | None, rows: int) -> Iterator[RowBatch]:
    for start in range(0, len(frame), rows):
        part = frame.iloc[start : start + rows]
        ids = None if index is None else part.index.tolist()
        _check_index(ids or [], start)
        yield RowBatch(ids, vectors={"vector": part.to_numpy()})


def _index(frame: Any) -> str | None:
    """What the index is called where it may hold ids; None for the one that pandas makes up."""
    index = frame.index
    if index.nlevels > 1:
        raise BadInput(
            f"rows: expected an index of one level as ids, got {index.nlevels}; reset_index() makes columns of them"
        )
    if index.name is not None:
        return str(index.name)
    counts = type(index).__name__ == "RangeIndex" and index.start == 0 and index.step == 1
    return None if counts else _INDEX


def _batches(frame: Any, keys: list[str], index: str | None, names: Names, rows: int) -> Iterator[RowBatch]:
    id_key = names.id_in(keys, "rows")
    if id_key is None and names.id is None:
        id_key = index
    texts = names.texts_in(keys, "rows")
    vectors = names.vectors_in(keys, "rows") or _by_type(frame, names)
    if names.vector is None:
        vectors += [k for k in _unmistakable(frame, names) if k not in vectors]
    taken = [id_key, _INDEX, *texts, *vectors]  # an index without a name is either the ids or means nothing
    meta = names.meta_in(keys, taken, "rows")
    for start in range(0, len(frame), rows):
        part = frame.iloc[start : start + rows]
        cells = {k: [_plain(v) for v in _cells(part, k)] for k in keys if k not in vectors}
        if id_key == index and id_key is not None:
            _check_index(cells[id_key], start)
        records: list[Record] = [
            (
                None if id_key is None else cells[id_key][i],
                joined([cells[t][i] for t in texts], f"rows: row {start + i}"),
                {k: cells[k][i] for k in meta if cells[k][i] is not None},
                {},
            )
            for i in range(len(part))
        ]
        batch = batch_of(records, start, "rows")
        for k in vectors:
            where = f"rows: {base.shown(k)}"
            found = [vector(v, f"{where}: row {start + i}") for i, v in enumerate(_cells(part, k))]
            batch.vectors[k] = side_by_side(found, where, start)
        yield batch


def _cells(part: Any, key: str) -> list[Any]:
    at = next((i for i, k in enumerate(part.columns) if str(k) == key), None)
    return list((part.index if at is None else part.iloc[:, at]).tolist())


def _by_type(frame: Any, names: Names) -> list[str]:
    """Columns of float arrays or lists, as Arrow tells them by their type, where no name says what is a vector."""
    if names.vector is not None:
        return []
    out = []
    for i, key in enumerate(map(str, frame.columns)):
        column = frame.iloc[:, i]
        if column.dtype == object and key not in names.given:
            first = next((v for v in column if v is not None), None)
            if _floats(first):
                out.append(key)
    return out


def _unmistakable(frame: Any, names: Names) -> list[str]:
    """Columns of ``{term: weight}`` or of 2-D arrays of floats, whatever their names: no metadata is of these."""
    out = []
    for i, key in enumerate(map(str, frame.columns)):
        if frame.iloc[:, i].dtype == object and key not in names.given:
            first = next(
                (v for v in frame.iloc[:, i] if (isinstance(v, np.ndarray) and v.ndim) or (isinstance(v, dict) and v)),
                None,
            )
            terms = isinstance(first, dict) and all(isinstance(k, (int, np.integer)) for k in first)
            if terms or (isinstance(first, np.ndarray) and first.ndim == 2 and first.dtype.kind == "f"):
                out.append(key)
    return out


def _floats(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return bool(value.dtype.kind == "f" and value.ndim == 1)
    kinds = {type(v) for v in value} if isinstance(value, list) else set()
    return float in kinds and kinds <= {float, int}


def _check_index(ids: list[Any], start: int) -> None:
    for row, value in enumerate(ids):
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise BadInput(
                f"rows: expected an index of int or str, as it holds the ids, got {base.shown(value, 40)} in row "
                f"{start + row}; reset_index() makes a column of it"
            )


def vector(value: Any, where: str) -> Any:
    """The vector of a cell: lists and arrays, ``{term: weight}`` or its two lists, and these as text."""
    if isinstance(value, dict) and not {"indices", "values"} <= value.keys():
        return value  # terms and weights: whoever takes them looks at them
    return vector_of(_plain(value) if not isinstance(value, np.ndarray) else value, where)


def _plain(value: Any) -> Any:
    """A cell as Python has it; NaN, NaT and NA are nothing, arrays lists."""
    if type(value).__name__ in ("NaTType", "NAType") or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, np.ndarray):  # a masked one gives None where it is
        return [_plain(v) for v in value.tolist()] if value.ndim else _plain(value.item())
    if isinstance(value, (list, tuple)) and any(isinstance(v, (np.ndarray, dict)) for v in value):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value.to_pydatetime(warn=False) if type(value).__name__ == "Timestamp" else value
