"""Batches of rows on their way into or out of a Collection: ids, texts, metadata and vectors side by side."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import BadInput
from nearfield.core.protocols import Kind
from nearfield.store.ids import check_ids
from nearfield.store.metadata.check import check_metadata, dump, load
from nearfield.store.vectors import Vectors

ROWS = 4096  # rows of a batch, where nobody says otherwise
BATCH_BYTES = 64 << 20  # fewer where their bytes in the file would exceed this

RowVectors: TypeAlias = NDArray[Any] | list[Any]


@dataclass
class RowBatch:
    """Some rows. ``ids`` int or str, None where they have none of their own; ``texts`` and ``meta`` None where no row
    has any.

    ``vectors`` gives each field by name: an array ``[n, d]`` where every row has a dense vector, else a list with an
    entry a row: an array ``[d]`` (dense) or ``[t, d]`` (ragged), ``{term: weight}`` (sparse), or None for a row
    without.

    >>> len(RowBatch(["a", "b"], vectors={"vector": np.zeros((2, 3), dtype=np.float32)}))
    2
    """

    ids: list[Any] | None = None
    texts: list[str | None] | None = None
    meta: list[dict[str, Any]] | None = None
    vectors: dict[str, RowVectors] = field(default_factory=dict)

    def __len__(self) -> int:
        parts = [self.ids, self.texts, self.meta, *self.vectors.values()]
        return next((len(p) for p in parts if p is not None), 0)


def checked(batch: RowBatch, start: int) -> RowBatch:
    """The batch as it will be written; ``BadInput`` where its parts do not fit, ``start`` being its first row."""
    n = len(batch)
    parts = {"ids": batch.ids, "texts": batch.texts, "meta": batch.meta, **batch.vectors}
    for name, part in parts.items():
        if part is not None and len(part) != n:
            raise BadInput(f"{name}: expected one for each of {n} rows from row {start} on, got {len(part)}")
    named = bool(batch.ids) and all(isinstance(i, str) for i in batch.ids or [])
    for what, texts in (("texts", batch.texts), ("ids", batch.ids if named else None)):
        _check_texts(what, texts or [], start)
    ids = None if batch.ids is None else check_ids(batch.ids)[0]
    meta = None if batch.meta is None else [check_metadata(m, f"row {start + i}") for i, m in enumerate(batch.meta)]
    return RowBatch(ids, None if batch.texts is None else list(batch.texts), meta, dict(batch.vectors))


def _check_texts(what: str, texts: list[Any], start: int) -> None:
    for row, text in enumerate(texts):
        if text is None and what == "texts":
            continue
        if not isinstance(text, str):
            raise BadInput(f"{what}: expected str or None, got {type(text).__name__} in row {start + row}")
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise BadInput(
                    f"{what}: expected text that UTF-8 can hold, got a lone surrogate in row {start + row}"
                ) from None


def left_out(batch: RowBatch, names: frozenset[str]) -> RowBatch:
    """The batch without some of its parts: ``ids``, ``texts``, ``meta``, ``vectors``, or a field by name."""
    return RowBatch(
        None if "ids" in names else batch.ids,
        None if "texts" in names else batch.texts,
        None if "meta" in names else batch.meta,
        {} if "vectors" in names else {k: v for k, v in batch.vectors.items() if k not in names},
    )


# ---- vectors --------------------------------------------------------------------------------------
def packed(name: str, given: RowVectors, start: int = 0) -> Vectors | None:
    """The vectors of a field end to end; None where no row has one. Raises ``BadInput`` naming the row."""
    n = len(given)
    name = name if name.isprintable() else repr(name)
    if isinstance(given, np.ndarray):
        _check_numbers(name, given, 2, start)
        return Vectors("dense", n, given)
    present = [i for i, v in enumerate(given) if v is not None]
    if not present:
        return None
    at = None if len(present) == n else np.array(present, dtype=np.int64)
    rows = [given[i] for i in present]
    if isinstance(rows[0], dict):
        return _packed_sparse(name, n, rows, at, start)
    arrays = [np.asarray(r) for r in rows]
    first = arrays[0]
    for i, row in zip(present, arrays):
        _check_numbers(name, row, first.ndim if first.ndim in (1, 2) else 1, start + i)
        if row.shape[-1] != first.shape[-1] or row.dtype != first.dtype:
            raise BadInput(
                f"{name}: expected {first.dtype} of width {first.shape[-1]} as before, got {row.dtype} of width "
                f"{row.shape[-1]} in row {start + i}"
            )
    if first.ndim == 1:
        return Vectors("dense", n, np.stack(arrays), present=at)
    lengths = np.array([len(a) for a in arrays], dtype=np.int64)
    return Vectors("ragged", n, np.concatenate(arrays), present=at, lengths=lengths)


def _check_numbers(name: str, array: NDArray[Any], axes: int, row: int) -> None:
    if array.dtype.kind not in "fiu" or array.ndim != axes or (axes == 1 and array.size == 0):
        what = {1: "a vector", 2: "vectors [rows, width]"}[axes]
        raise BadInput(f"{name}: expected {what} of numbers, got {array.dtype} of shape {array.shape} in row {row}")


def _packed_sparse(name: str, n: int, rows: list[Any], at: NDArray[np.int64] | None, start: int) -> Vectors:
    if not all(isinstance(r, dict) for r in rows):
        raise BadInput(f"{name}: expected {{term: weight}} in every row from row {start} on, got other vectors too")
    lengths = np.array([len(r) for r in rows], dtype=np.int64)
    try:
        indices = np.array([int(k) for r in rows for k in r], dtype=np.int64)
        values = np.array([float(v) for r in rows for v in r.values()], dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadInput(f"{name}: expected {{term number: weight}}, got others from row {start} on ({error})") from None
    return Vectors("sparse", n, values, present=at, lengths=lengths, indices=indices)


def unpacked(found: Vectors) -> RowVectors:
    """The inverse of ``packed``: an array where all rows have a dense vector, else a list."""
    if found.kind == "dense" and found.present is None:
        return found.values
    return found.rows(np.arange(found.n, dtype=np.int64))


# ---- what all rows have in common -----------------------------------------------------------------
@dataclass
class FieldForm:
    """One vector field over all batches: ``width`` 0 for sparse ones; ``complete`` where every row has a vector."""

    kind: Kind
    width: int
    dtype: np.dtype[Any]
    complete: bool


class Spool:
    """Batches kept in an unnamed temporary file, while what they have in common is found out.

    Formats with one schema for all rows are written in two passes: this is the first. ``see`` takes a batch;
    iterating gives all of them back.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.id_kind: str | None = None
        self.has_texts = False
        self.fields: dict[str, FieldForm] = {}
        self._batches = 0
        self._file = cast("IO[bytes]", tempfile.TemporaryFile())  # noqa: SIM115 - closed with the spool

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def fill(self, batches: Iterable[RowBatch]) -> Iterator[RowBatch]:
        """Take every batch; yields each after its checks, for whoever wants to look at more of it."""
        for batch in batches:
            if len(batch):
                good = checked(batch, self.rows)
                self._take(good)
                yield good

    def _take(self, batch: RowBatch) -> None:
        fields: dict[str, Any] = {}
        head = {"n": len(batch), "ids": batch.ids, "texts": batch.texts, "meta": batch.meta, "fields": fields}
        if self._batches and (batch.ids is None) != (self.id_kind is None):
            raise BadInput(f"ids: expected them in all batches or in none, row {self.rows} differs")
        if batch.ids is not None:
            kind = type(batch.ids[0]).__name__
            if self.id_kind not in (None, kind):
                raise BadInput(f"ids: expected all {self.id_kind} as before, got {kind} from row {self.rows} on")
            self.id_kind = kind
        self.has_texts |= batch.texts is not None
        arrays: list[NDArray[Any]] = []
        for name, given in batch.vectors.items():
            found = packed(name, given, self.rows)
            if found is not None:
                parts = [found.values, found.present, found.lengths, found.indices]
                fields[name] = [found.kind, [p is not None for p in parts]]
                arrays += [p for p in parts if p is not None]
                self._see(name, found)
        for name, form in self.fields.items():
            form.complete &= name in fields
        self._file.write(dump(head).encode() + b"\n")
        for array in arrays:
            np.save(self._file, np.ascontiguousarray(array), allow_pickle=False)
        self._batches += 1
        self.rows += len(batch)

    def _see(self, name: str, found: Vectors) -> None:
        width = int(found.values.shape[1]) if found.values.ndim == 2 else 0
        dtype = found.values.dtype.newbyteorder("=")
        form = self.fields.setdefault(name, FieldForm(found.kind, width, dtype, self.rows == 0))
        if (form.kind, form.width, form.dtype) != (found.kind, width, dtype):
            raise BadInput(
                f"{name}: expected {form.kind} {form.dtype} of width {form.width} as before, got {found.kind} {dtype} "
                f"of width {width} from row {self.rows} on"
            )
        form.complete &= found.present is None

    def __iter__(self) -> Iterator[tuple[int, RowBatch, dict[str, Vectors]]]:
        """Yield the number of rows of each batch, the batch without its vectors, and those as they lie end to end."""
        self._file.seek(0)
        for _ in range(self._batches):
            head = load(self._file.readline(), "spool")
            vectors: dict[str, Vectors] = {}
            for name, (kind, there) in head["fields"].items():
                parts: list[Any] = [np.load(self._file, allow_pickle=False) if has else None for has in there]
                values, present, lengths, indices = parts
                vectors[name] = Vectors(kind, head["n"], values, present=present, lengths=lengths, indices=indices)
            yield head["n"], RowBatch(head["ids"], head["texts"], head["meta"]), vectors


# ---- vectors as text ------------------------------------------------------------------------------
def as_json(vector: Any, name: str, row: int) -> str:
    """One vector as JSON: a list of numbers, a list of lists (ragged), or indices and values (sparse).

    float16 and float32 are written in the nine digits that tell all float32 values apart. Raises
    ``BadInput`` for NaN and infinity, which JSON has no word for.
    """
    if isinstance(vector, dict):
        weights = np.array(list(vector.values()), dtype=np.float64)
        return f'{{"indices":{json.dumps([int(k) for k in vector])},"values":{as_json(weights, name, row)}}}'
    array = np.asarray(vector)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise BadInput(f"{name}: expected finite values, got NaN or infinity in row {row}; repair or drop that row")
    if array.ndim == 2:
        return "[" + ",".join(as_json(v, name, row) for v in array) + "]"
    return "[" + decimals(array, ",") + "]"


DIGITS = {"float16": "%.9g", "float32": "%.9g"}  # tell float32 values apart; Python's repr does for float64


def decimals(row: NDArray[Any], separator: str) -> str:
    """The numbers of a row as text that reads back to the same values."""
    form = DIGITS.get(row.dtype.name, "%r" if row.dtype.kind == "f" else "%d")
    return separator.join([form] * row.size) % tuple(row.tolist())
