"""Rows as people give them, checked and made into what is kept; nothing is written before all of it is sound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core import arrays
from nearfield.core.dlpack import without_tensors
from nearfield.core.errors import BadInput
from nearfield.core.protocols import Batch
from nearfield.store.fields import Field, exactly
from nearfield.store.ids import Id, IdKind, check_ids, refuse_repeats
from nearfield.store.metadata import check_metadata
from nearfield.store.strings import check_encodable
from nearfield.store.vectors import Vectors

CHUNK_BYTES = 256 << 20  # of vectors written into one segment at a time
CHUNK_ROWS = 1 << 20


@dataclass
class Intake:
    """Sound rows: ids of one kind, texts, metadata and, by field, vectors that are checked as they are taken.

    Rows that came without ids have none here (``unnamed``) until the writer, under its lock, numbers them.
    """

    ids: list[Id]
    kind: IdKind
    texts: list[str | None] | None
    meta: list[dict[str, Any]]
    vectors: dict[str, Given] = field(default_factory=dict)
    unnamed: bool = False

    def __len__(self) -> int:
        return len(self.meta)

    def row_bytes(self) -> int:
        """Bytes of a row's vectors, about."""
        return 1 + sum(given.row_bytes() for given in self.vectors.values())

    def chunks(self) -> Iterator[tuple[slice, dict[str, Vectors]]]:
        """Rows and their vectors, so many at a time that memory stays bounded."""
        step = max(1, min(CHUNK_ROWS, CHUNK_BYTES // self.row_bytes()))
        for start in range(0, len(self), step):
            at = slice(start, min(len(self), start + step))
            yield at, {name: given.take(at) for name, given in self.vectors.items()}


@dataclass
class Given:
    """The vectors of one field as they came: a batch (dense), or already columns (sparse, ragged)."""

    name: str
    field: Field
    n: int
    on_zero: str
    batch: Batch | None = None
    present: NDArray[np.int64] | None = None
    columns: Vectors | None = None

    def row_bytes(self) -> int:
        """Bytes of a row, about."""
        if self.columns is None:
            return self.field.width * self.field.values.itemsize
        return 1 + (self.columns.values.nbytes * (3 if self.field.kind == "sparse" else 1)) // max(1, self.n)

    def take(self, at: slice) -> Vectors:
        """The vectors of consecutive rows, checked."""
        if self.columns is not None:
            return _cut(self.columns, at)
        present, batch = self.present, self.batch
        if batch is None:
            raise BadInput(f"{self.name}: expected vectors, got none")
        first, last = at.start, at.stop
        where = None
        if present is not None:
            first, last = (int(v) for v in np.searchsorted(present, [at.start, at.stop]))
            where = present[first:last] - at.start
        rows = batch.array[first:last] if isinstance(batch, arrays.ArraySource) else batch.take(np.arange(first, last))
        values = self._checked(rows, first)
        return Vectors("dense", at.stop - at.start, values, present=where)

    def _checked(self, rows: NDArray[Any], start: int) -> NDArray[Any]:
        values = exactly(rows, self.field.values, start, self.name)
        if self.field.nearness == "cosine" and self.on_zero != "keep":
            zero = np.flatnonzero(~values.any(axis=1))
            if len(zero):
                raise BadInput(
                    f"{self.name}: cosine needs a direction, got zero vectors in row {arrays.some(zero + start)}; "
                    'remove them, or open the collection with on_zero="keep" to score them 0'
                )
        if values.dtype.kind == "f" and self.field.nearness != "cosine":
            arrays.ready(values, self.field.nearness, start, self.name)  # refuses lengths that float32 cannot square
        return values


def _cut(found: Vectors, at: slice) -> Vectors:
    present = found.present
    first, last = at.start, at.stop
    where = None
    if present is not None:
        first, last = (int(v) for v in np.searchsorted(present, [at.start, at.stop]))
        where = present[first:last] - at.start
    a, b = int(found.starts[first]), int(found.starts[last])
    return Vectors(
        found.kind, at.stop - at.start, found.values[a:b], present=where,
        lengths=np.diff(found.starts)[first:last], indices=None if found.indices is None else found.indices[a:b],
    )  # fmt: skip


def take_rows(
    ids: Any, vectors: Mapping[str, Any], texts: Any, meta: Any, fields: Mapping[str, Field], *, on_zero: str,
    repeats: str = "raise",
) -> Intake:  # fmt: skip
    """Check everything about rows that can be checked before their vectors are read."""
    names: list[Id] = []
    kind: IdKind = "int"
    if isinstance(ids, Set):
        raise BadInput(f"ids: expected a list, as a set has no order, got {type(ids).__name__}")
    if ids is not None:
        names, kind = check_ids(ids)
    n = _count(vectors, texts, meta) if ids is None else len(names)
    out = Intake(names, kind, sound_texts(texts, n), _metadata(meta, n), unnamed=ids is None)
    for name, given in vectors.items():
        if given is not None:
            out.vectors[name] = _given(name, fields[name], given, n, on_zero)
    if repeats == "last" and not out.unnamed:
        return _last(out)
    refuse_repeats(names)
    return out


def _count(vectors: Mapping[str, Any], texts: Any, meta: Any) -> int:
    """How many rows there are, where no ids tell it."""
    for given in (texts, meta, *vectors.values()):
        if isinstance(given, (str, Mapping)):
            return 1  # one text, the metadata of one row, or one sparse vector
        if given is not None and _has_length(given):
            return 1 if _one_vector(given) else len(given)
        if given is not None and getattr(given, "shape", None):
            return int(given.shape[0])
    return 0


def _one_vector(given: Any) -> bool:
    """Whether numbers come as ``[dim]``, the vector of one row."""
    if hasattr(given, "shape"):
        return len(given.shape) == 1 and getattr(given, "dtype", np.float32) is not np.dtype(object)
    return isinstance(given, (list, tuple)) and bool(given) and isinstance(given[0], (int, float, np.number))


def sound_texts(texts: Any, n: int) -> list[str | None] | None:
    """Texts as they are kept, one a row; refuses what is no text or None, and sets, which have no order."""
    if texts is None:
        return None
    if isinstance(texts, str) and n == 1:
        texts = [texts]
    if isinstance(texts, (str, bytes, dict, Set)) or not _has_length(texts):
        raise BadInput(f"texts: expected a list of str, got {type(texts).__name__}")
    if len(texts) != n:
        raise BadInput(f"texts: expected one for each of {n} ids, got {len(texts)}")
    out = [None if t is None else str(t) if isinstance(t, str) else t for t in texts]
    odd = [i for i, t in enumerate(out) if t is not None and not isinstance(t, str)]
    if odd:
        raise BadInput(f"texts: expected str or None, got {type(out[odd[0]]).__name__} in row {arrays.some(odd)}")
    check_encodable(out, "texts")
    return out


def _has_length(given: Any) -> bool:
    """Whether there are items to count: an array of no axes has none, whatever it says."""
    return hasattr(given, "__len__") and getattr(given, "shape", None) != ()


def _metadata(meta: Any, n: int) -> list[dict[str, Any]]:
    if meta is None:
        return [{} for _ in range(n)]
    if isinstance(meta, dict):
        if n != 1:
            raise BadInput(f"meta: expected a dictionary for each of {n} ids, got one")
        meta = [meta]
    if isinstance(meta, (str, bytes, Set)) or hasattr(meta, "columns") or not _has_length(meta):
        raise BadInput(f"meta: expected a list of dictionaries, got {type(meta).__name__}")
    if len(meta) != n:
        raise BadInput(f"meta: expected one for each of {n} ids, got {len(meta)}")
    return [check_metadata(m, f"meta of row {i}") for i, m in enumerate(meta)]


def _given(name: str, spec: Field, given: Any, n: int, on_zero: str) -> Given:
    given = without_tensors(given, name)
    if spec.kind == "dense":
        return _dense(name, spec, given, n, on_zero)
    if spec.kind == "sparse":
        return Given(name, spec, n, on_zero, columns=sparse_columns(name, spec, given, n))
    return Given(name, spec, n, on_zero, columns=ragged_columns(name, spec, given, n))


def _dense(name: str, spec: Field, given: Any, n: int, on_zero: str) -> Given:
    present = None
    if isinstance(given, (list, tuple)):
        arrays.refuse_empty(name, given)
    if isinstance(given, (list, tuple)) and any(v is None for v in given):
        _refuse_count(name, len(given), n)
        present = np.array([i for i, v in enumerate(given) if v is not None], dtype=np.int64)
        given = [v for v in given if v is not None] or np.zeros((0, spec.width), spec.values)
    if n == 1 and present is None and np.ndim(given) == 1:
        given = np.asarray(given)[None, :]
    if not n and not len(given):
        given = np.zeros((0, spec.width), spec.values)
    batch = arrays.as_batch(given, name)
    _refuse_count(name, batch.shape[0], n if present is None else len(present))
    if batch.shape[1] != spec.width:
        what = "bytes of packed bits" if spec.metric == "hamming" else "dimensions"
        raise BadInput(
            f"{name}: expected {spec.width} {what}, as the field has, got {batch.shape[1]}: another model made these?"
        )
    if spec.metric == "hamming" and batch.dtype != np.uint8:
        raise BadInput(f"{name}: metric 'hamming' expects packed bits as uint8 (numpy.packbits), got {batch.dtype}")
    return Given(name, spec, n, on_zero, batch=batch, present=present)


def _refuse_count(name: str, got: int, n: int) -> None:
    if got != n:
        raise BadInput(f"{name}: expected a vector for each of {n} ids, got {got}")


def sparse_columns(name: str, spec: Field, given: Any, n: int) -> Vectors:
    """Sparse vectors from dictionaries ``{term: weight}``, (indices, weights) pairs, CSR arrays or a SciPy matrix."""
    rows: list[tuple[Any, Any] | None]
    if hasattr(given, "tocsr"):
        given = given.tocsr()
        given = (given.indptr, given.indices, given.data)
    if isinstance(given, tuple) and len(given) in (3, 4) and np.ndim(given[0]) == 1 and len(given[0]) == n + 1:
        indptr, indices, data = (np.asarray(v) for v in given[:3])
        _check_csr(name, indptr, indices, data)
        rows = [(indices[a:b], data[a:b]) for a, b in pairwise(indptr.tolist())]
    else:
        if isinstance(given, dict):
            given = [given]
        if not isinstance(given, (list, tuple)):
            raise BadInput(f"{name}: expected a list of {{term: weight}}, or CSR arrays, got {type(given).__name__}")
        rows = [_pair(name, i, v) for i, v in enumerate(given)]
    _refuse_count(name, len(rows), n)
    present = np.array([i for i, r in enumerate(rows) if r is not None], dtype=np.int64)
    kept = [_sorted_terms(name, spec, int(i), *r) for i, r in zip(present, [r for r in rows if r is not None])]
    lengths = np.array([len(i) for i, _ in kept], dtype=np.int64)
    indices = np.concatenate([np.zeros(0, np.int64), *(i for i, _ in kept)])
    weights = np.concatenate([np.zeros(0, np.float32), *(w for _, w in kept)])
    return Vectors(
        "sparse", n, weights, present=None if len(present) == n else present, lengths=lengths, indices=indices
    )


def _check_csr(name: str, indptr: NDArray[Any], indices: NDArray[Any], data: NDArray[Any]) -> None:
    sound = indptr.dtype.kind in "iu" and indptr[0] == 0 and (np.diff(indptr) >= 0).all() and indptr[-1] == len(indices)
    if not sound or len(indices) != len(data):
        raise BadInput(f"{name}: expected CSR arrays (indptr from 0, ascending, to {len(indices)}), got others")


def _pair(name: str, row: int, value: Any) -> tuple[Any, Any] | None:
    if value is None:
        return None
    if isinstance(value, Mapping):
        return list(value), list(value.values())
    if isinstance(value, (tuple, list)) and len(value) == 2 and np.ndim(value[0]) == 1:
        return value[0], value[1]
    raise BadInput(f"{name}: expected {{term: weight}} or (terms, weights), got {type(value).__name__} in row {row}")


def _sorted_terms(name: str, spec: Field, row: int, terms: Any, weights: Any) -> tuple[Any, Any]:
    numbers, values = np.asarray(terms), np.asarray(weights)
    if not len(numbers):
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    if numbers.dtype.kind not in "iu" or values.dtype.kind not in "fiu" or numbers.shape != values.shape:
        raise BadInput(f"{name}: expected whole term numbers and a weight each, got others in row {row}")
    top = spec.dim or 1 << 62
    if int(numbers.min()) < 0 or int(numbers.max()) >= top:
        raise BadInput(f"{name}: expected term numbers from 0 to {top - 1}, got others in row {row}")
    with np.errstate(over="ignore"):
        floats = values.astype(np.float32)
    if not np.isfinite(floats).all():
        raise BadInput(f"{name}: expected finite weights, got NaN or infinity in row {row}")
    order = np.argsort(numbers, kind="stable")
    sorted_numbers = numbers[order].astype(np.int64)
    if (sorted_numbers[1:] == sorted_numbers[:-1]).any():
        raise BadInput(f"{name}: expected each term once, got one again in row {row}")
    kept = floats[order] != 0
    return sorted_numbers[kept], floats[order][kept]


def ragged_columns(name: str, spec: Field, given: Any, n: int) -> Vectors:
    """Token vectors from a list of ``[t, dim]`` arrays, or from (values, starts)."""
    if isinstance(given, tuple) and len(given) == 2 and np.ndim(given[1]) == 1 and len(given[1]) == n + 1:
        values, starts = np.asarray(given[0]), np.asarray(given[1])
        sound = starts.dtype.kind in "iu" and starts[0] == 0 and (np.diff(starts) >= 0).all()
        if not sound or starts[-1] != len(values):
            raise BadInput(f"{name}: expected starts ascending from 0 to {len(values)}, got others")
        given = [values[a:b] for a, b in pairwise(starts.tolist())]
    if n == 1 and isinstance(given, np.ndarray) and given.ndim == 2:
        given = [given]
    if not isinstance(given, (list, tuple, np.ndarray)):
        raise BadInput(f"{name}: expected a list of arrays [tokens, {spec.dim}], got {type(given).__name__}")
    _refuse_count(name, len(given), n)
    present = np.array([i for i, v in enumerate(given) if v is not None], dtype=np.int64)
    rows = []
    for i in present.tolist():
        row = np.asarray(given[i])
        if row.ndim != 2 or row.shape[1] != spec.dim or not len(row) or row.dtype.kind not in "fiu":
            raise BadInput(
                f"{name}: expected at least one vector of {spec.dim} numbers, got shape {row.shape} in row {i}"
            )
        rows.append(exactly(row, spec.values, 0, f"{name} of row {i}"))
    whole = np.concatenate([np.zeros((0, spec.dim), spec.values), *rows])
    lengths = np.array([len(r) for r in rows], dtype=np.int64)
    return Vectors("ragged", n, whole, present=None if len(present) == n else present, lengths=lengths)


def _last(found: Intake) -> Intake:
    """Of rows with the same id, the last."""
    last = {name: i for i, name in enumerate(found.ids)}
    if len(last) == len(found):
        return found
    keep: Sequence[int] = sorted(last.values())
    out = Intake(
        [found.ids[i] for i in keep], found.kind, None if found.texts is None else [found.texts[i] for i in keep],
        [found.meta[i] for i in keep],
    )  # fmt: skip
    for name, given in found.vectors.items():
        whole = given.take(slice(0, len(found)))
        rows = whole.rows(np.array(keep, dtype=np.int64))
        out.vectors[name] = _given(name, given.field, rows, len(keep), given.on_zero)
    return out
