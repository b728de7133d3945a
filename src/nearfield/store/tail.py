"""The tail: fresh rows, read from the catalogue into memory, growing at its end."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import Corrupt
from nearfield.store.catalog import TailRecord
from nearfield.store.fields import Field
from nearfield.store.filters import Filter, Leaf, mask, text_mask
from nearfield.store.ids import Id, Ids, build_ids
from nearfield.store.metadata import Metadata, decode_metadata
from nearfield.store.parts import Fields, Part
from nearfield.store.strings import Strings
from nearfield.store.textindex import TextIndex
from nearfield.store.tokenizers import Tokenizer
from nearfield.store.vectors import Vectors, dense_terms, is_unit

_FIRST_ROOM = 64


def to_blob(vectors: Vectors, at: int) -> bytes:
    """One vector as the tail keeps it: values end to end; sparse ones as term numbers, then weights."""
    if vectors.kind == "dense":
        return np.ascontiguousarray(vectors.values[at]).tobytes()
    a, b = int(vectors.starts[at]), int(vectors.starts[at + 1])
    values = np.ascontiguousarray(vectors.values[a:b]).tobytes()
    return values if vectors.indices is None else vectors.indices[a:b].astype("<i8").tobytes() + values


def _length(field: Field, blob: bytes) -> int:
    """How many values (dense, sparse) or token vectors (ragged) a blob holds; ``Corrupt`` where it cannot be one."""
    size = field.width * field.values.itemsize if field.kind != "sparse" else 12
    if len(blob) % size or (field.kind == "dense" and len(blob) != size):
        raise Corrupt(f"the tail: expected {size} bytes a vector ({field}), got {len(blob)}")
    return len(blob) // size


def _grown(array: NDArray[Any], used: int, room: int) -> NDArray[Any]:
    """A copy with more room; views of the old one stay as they are."""
    out = np.empty((room, *array.shape[1:]), array.dtype)
    out[:used] = array[:used]
    return out


class _Column:
    """The vectors of one field: dense ones in one growing array, others as they came."""

    def __init__(self, field: Field) -> None:
        self.field = field
        self.at: list[int] = []  # positions of the rows that have a vector
        self.blobs: list[bytes] = []
        self.lengths: list[int] = []
        self.array: NDArray[Any] = np.empty((0, field.width), field.values)

    def add(self, position: int, blob: bytes) -> None:
        self.lengths.append(_length(self.field, blob))
        if self.field.kind == "dense":
            count = len(self.at)
            if count == len(self.array):
                self.array = _grown(self.array, count, max(_FIRST_ROOM, 2 * count))
            self.array[count] = np.frombuffer(blob, self.field.values)
        else:
            self.blobs.append(blob)
        self.at.append(position)

    def view(self, n: int) -> Vectors | None:
        """The vectors of the first ``n`` rows."""
        count = int(np.searchsorted(self.at, n)) if self.at and self.at[-1] >= n else len(self.at)
        if not count:
            return None
        present = None if count == n else np.array(self.at[:count], dtype=np.int64)
        field = self.field
        if field.kind == "dense":
            values = self.array[:count]
            terms = None
            if field.nearness in ("cosine", "l2"):
                terms = dense_terms(values, field.nearness)
                terms = None if is_unit(terms, field.nearness) else terms
            return Vectors("dense", n, values, present=present, terms=terms)
        lengths = np.array(self.lengths[:count], dtype=np.int64)
        blobs = self.blobs[:count]
        if field.kind == "ragged":
            whole = np.frombuffer(b"".join(blobs), field.values).reshape(-1, field.width)
            return Vectors("ragged", n, whole, present=present, lengths=lengths)
        indices = np.frombuffer(b"".join(b[: 8 * z] for b, z in zip(blobs, lengths)), "<i8")
        weights = np.frombuffer(b"".join(b[8 * z :] for b, z in zip(blobs, lengths)), "<f4")
        return Vectors("sparse", n, weights, present=present, lengths=lengths, indices=indices)


class Tail:
    """All rows of the tail since it was last sealed; only ever grows, so that views of it stay as they are."""

    def __init__(self, fields: Fields, where: str = "the tail") -> None:
        self.name = where
        self.rows: NDArray[np.int64] = np.empty(0, np.int64)
        self.n = 0
        self.ids: list[Id] = []
        self.where: dict[Id, int] = {}  # id -> its last position
        self.largest = -1  # of the ids that are numbers
        self.texts: list[str | None] = []
        self.metadata: list[str | None] = []
        self.crcs: NDArray[np.int64] = np.empty(0, np.int64)
        self.nbytes = 0
        self.columns = {number: _Column(field) for number, field in fields.items()}
        self._chunks: list[Metadata] = []
        self._covered = 0
        self._indexes: list[TextIndex] = []
        self._guard = threading.Lock()

    def extend(self, records: Sequence[TailRecord]) -> None:
        """Take further rows, of ascending row numbers."""
        if self.n + len(records) > len(self.rows):
            room = max(_FIRST_ROOM, 2 * (self.n + len(records)))
            self.rows, self.crcs = _grown(self.rows, self.n, room), _grown(self.crcs, self.n, room)
        for record in records:
            position = self.n
            self.rows[position], self.crcs[position] = record.row, record.crc
            for number, blob in enumerate(record.vectors):
                if blob is not None and number in self.columns:
                    self.columns[number].add(position, blob)
                    self.nbytes += len(blob)
            self.ids.append(record.id)
            if isinstance(record.id, int) and record.id > self.largest:
                self.largest = record.id
            self.where[record.id] = position
            self.texts.append(record.text)
            self.metadata.append(record.meta)
            self.nbytes += len(record.text or "") + len(record.meta or "")
            self.n = position + 1

    def view(self) -> TailPart:
        """The rows there are now."""
        return TailPart(self, self.n)

    def chunks(self, n: int) -> list[Metadata]:
        """Metadata columns of at least the first ``n`` rows, in chunks that are joined as they grow."""
        with self._guard:
            if self._covered < n:
                self._chunks.append(Metadata.build(self.dicts(self._covered, n)))
                self._covered = n
            while len(self._chunks) > 1 and len(self._chunks[-2]) < 2 * len(self._chunks[-1]):
                last = [(c, np.arange(len(c), dtype=np.int64)) for c in self._chunks[-2:]]
                self._chunks[-2:] = [Metadata.merge(last)]
            return list(self._chunks)

    def indexes(self, n: int, tokenizer: Tokenizer) -> list[TextIndex]:
        """Inverted lists of at least the first ``n`` rows, in chunks that are made anew as they grow."""
        with self._guard:
            covered = sum(index.n for index in self._indexes)
            if covered < n:
                sizes = [n - covered]
                while self._indexes and self._indexes[-1].n < 2 * sum(sizes):
                    sizes.append(self._indexes.pop().n)
                self._indexes.append(TextIndex.build(self.texts[n - sum(sizes) : n], tokenizer))
            return list(self._indexes)

    def dicts(self, start: int, stop: int) -> list[dict[str, Any]]:
        """The metadata of some rows."""
        rows = zip(self.rows[start:stop].tolist(), self.metadata[start:stop])
        return [decode_metadata(text, f"{self.name}: row {row} of the tail") if text else {} for row, text in rows]


class TailPart(Part):
    """The first ``n`` rows of the tail."""

    def __init__(self, tail: Tail, n: int) -> None:
        self.tail = tail
        self.rows = tail.rows[:n]
        self._vectors: dict[int, Vectors | None] = {}

    def vectors(self, number: int) -> Vectors | None:
        """The vectors of a field."""
        if number not in self._vectors:
            column = self.tail.columns.get(number)
            self._vectors[number] = None if column is None else column.view(self.n)
        return self._vectors[number]

    def find(self, name: Id) -> int:
        """The position of an id, -1 where it is not here."""
        at = self.tail.where.get(name, -1)
        if at >= self.n:  # a later row has it: look for an earlier one
            earlier = [i for i, other in enumerate(self.tail.ids[: self.n]) if other == name]
            at = earlier[-1] if earlier else -1
        return at if at < 0 or type(self.tail.ids[at]) is type(name) else -1

    def id(self, position: int) -> Id:
        """The id of one row."""
        return self.tail.ids[position]

    def names(self, positions: NDArray[np.int64]) -> list[Id]:
        """The ids of some rows."""
        return [self.tail.ids[p] for p in positions.tolist()]

    def text(self, position: int) -> str | None:
        """The text of one row."""
        return self.tail.texts[position]

    def meta(self, position: int) -> dict[str, Any]:
        """The metadata of one row."""
        return self.tail.dicts(position, position + 1)[0]

    @cached_property
    def ids(self) -> Ids:  # type: ignore[override]
        """The ids; only meant for rows that are each there once."""
        names = self.tail.ids[: self.n]
        return build_ids(names, "str" if names and isinstance(names[0], str) else "int")

    @cached_property
    def texts(self) -> Strings | None:  # type: ignore[override]
        """The texts."""
        return Strings.build(self.tail.texts[: self.n])

    @cached_property
    def metadata(self) -> Metadata:  # type: ignore[override]
        """The metadata in columns."""
        return Metadata.build(self.tail.dicts(0, self.n))

    def mask(self, where: Filter) -> NDArray[np.bool_]:
        """Which rows a filter lets through."""
        found, start = [np.zeros(0, np.bool_)], 0
        for chunk in self.tail.chunks(self.n):
            at = slice(start, start + len(chunk))
            ids, texts = partial(_said, self.tail.ids, at), partial(_said, self.tail.texts, at)
            found.append(mask(where, chunk, {"$id": ids, "$text": texts}))
            start = at.stop
        return np.concatenate(found)[: self.n]

    def paths(self) -> dict[str, frozenset[str]]:
        """The keys of the metadata with the types of their values."""
        out: dict[str, frozenset[str]] = {}
        for chunk in self.tail.chunks(self.n):
            for path, types in chunk.paths().items():
                out[path] = out.get(path, frozenset()) | types
        return out


def _said(values: list[Any], at: slice, leaf: Leaf) -> NDArray[np.bool_]:
    return text_mask(leaf, values[at])
