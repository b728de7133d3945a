"""Rows in one place: a segment file, the tail, or a batch being written. Searches and merges see no difference."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import BadFilter, BadInput, Corrupt
from nearfield.core.protocols import I64
from nearfield.numerics.runs import smallest_uint
from nearfield.store.blame import blaming
from nearfield.store.fields import Field
from nearfield.store.filters import Compare, Filter, In, Leaf, mask, text_mask
from nearfield.store.folder import Folder, is_there
from nearfield.store.ids import Id, IdKind, Ids, IntIds, StrIds, Wanted, build_ids
from nearfield.store.metadata import Metadata
from nearfield.store.records import SEGMENT_FILE
from nearfield.store.segments import Segment, SegmentWriter
from nearfield.store.strings import Strings
from nearfield.store.vectors import Vectors, ascending, read_vectors, write_vectors

KIND = "rows"
FOLDER = "segments"
FREE_ROWS = 1 << 20  # rows that a file of any size may hold: ids, numbers and metadata may be constants of no bytes
ROWS_PER_BYTE = 8  # beyond those: a bit a row
Fields = dict[int, Field]  # by the number that a field keeps for ever


class Part:
    """Rows with ids, texts, metadata and vectors; ``rows`` are their permanent numbers, ascending."""

    rows: I64
    ids: Ids
    texts: Strings | None
    metadata: Metadata

    def vectors(self, number: int) -> Vectors | None:
        """The vectors of a field, by its number; None where no row here has any."""
        raise TypeError(f"{type(self).__name__} must define vectors")

    def having(self, number: int) -> I64:
        """Where the rows that have a vector of a field lie, kept as it is or only as codes."""
        found = self.vectors(number)
        if found is None:
            return np.zeros(0, np.int64)
        return np.arange(self.n, dtype=np.int64) if found.present is None else found.present

    @property
    def n(self) -> int:
        """How many rows there are, dead ones among them."""
        return len(self.rows)

    def position(self, row: int) -> int:
        """Where the row of this number lies, -1 where it is not here."""
        at = int(np.searchsorted(self.rows, row))
        return at if at < self.n and self.rows[at] == row else -1

    def id(self, position: int) -> Id:
        """The id of one row."""
        return self.ids.at(np.array([position]))[0]  # type: ignore[no-any-return]

    def names(self, positions: I64) -> list[Id]:
        """The ids of some rows."""
        return self.ids.at(positions)

    def text(self, position: int) -> str | None:
        """The text of one row."""
        return None if self.texts is None else self.texts.one(position)

    @property
    def has_texts(self) -> bool:
        """Whether any row here has a text, dead ones among them."""
        return self.texts is not None and bool(self.texts.sizes.any())

    def meta(self, position: int) -> dict[str, Any]:
        """The metadata of one row."""
        return self.metadata.row(position)

    def mask(self, where: Filter) -> NDArray[np.bool_]:
        """Which rows a filter lets through; those that are gone may be among them."""
        return mask(where, self.metadata, {"$id": self._id_mask, "$text": self._text_mask})

    def _id_mask(self, leaf: Leaf) -> NDArray[np.bool_]:
        values = wanted_ids(leaf)
        if values is None:
            return text_mask(leaf, self.ids.all())
        out = np.zeros(self.n, np.bool_)
        found = self.ids.find(Wanted([v for v in values if type(v).__name__ == self.ids.kind], self.ids.kind))
        out[found[found >= 0]] = True
        return out

    def _text_mask(self, leaf: Leaf) -> NDArray[np.bool_]:
        return text_mask(leaf, [None] * self.n if self.texts is None else self.texts.all())

    def paths(self) -> dict[str, frozenset[str]]:
        """The keys of the metadata with the types of their values."""
        return self.metadata.paths()

    def places(self, rows: I64) -> I64:
        """Where rows of these numbers lie, -1 for each that is not here."""
        if not self.n or not len(rows):
            return np.full(len(rows), -1, np.int64)
        at = np.minimum(np.searchsorted(self.rows, rows), self.n - 1)
        return np.where(self.rows[at] == rows, at, -1).astype(np.int64)

    def positions(self, rows: I64) -> I64:
        """Where rows of these numbers lie; only those that are here."""
        at = self.places(rows)
        return at[at >= 0]


@dataclass
class Batch(Part):
    """Rows in memory on their way into a segment."""

    rows: I64
    ids: Ids
    texts: Strings | None
    metadata: Metadata
    columns: dict[int, Vectors]

    def vectors(self, number: int) -> Vectors | None:
        """The vectors of a field."""
        return self.columns.get(number)


@dataclass(frozen=True)
class Entry:
    """What the catalogue says of a segment: its file, how many rows, the first and last row number, its bytes."""

    file: str
    n: int
    first: int
    last: int
    nbytes: int

    def __post_init__(self) -> None:
        if not isinstance(self.file, str) or not SEGMENT_FILE.fullmatch(self.file):
            raise Corrupt(f"segments: expected the name of a segment file, got {str(self.file)[:40]!r}")
        numbers = (self.n, self.first, self.last, self.nbytes)
        if not all(type(v) is int and v >= 0 for v in numbers) or self.first + self.n - 1 > self.last or self.n < 1:
            raise Corrupt(f"segments: expected row numbers of {self.file}, got {numbers}")


def most_rows(nbytes: int) -> int:
    """How many rows files of so many bytes may claim: what claims more is refused before room is made for it."""
    return max(FREE_ROWS, ROWS_PER_BYTE * nbytes)


class SegmentPart(Part):
    """The rows of one segment file; every column is mapped, and verified where it is touched."""

    _MASKS = 16  # filters whose rows are remembered

    def __init__(self, folder: Folder, entry: Entry, fields: Fields) -> None:
        self.entry = entry
        self.folder = folder
        self.path = folder.path / FOLDER / entry.file
        if not is_there(self.path):
            raise Corrupt(f"{self.path}: the catalogue names this file and it is not there; see: repair --dry-run")
        try:
            self.segment = Segment(self.path, KIND, follow=False)
        except PermissionError as error:
            raise BadInput(f"{self.path}: cannot be read ({error.strerror}); see to the rights to it") from None
        except BadInput as error:  # a folder of its name, or a file of another kind
            raise Corrupt(str(error)) from None
        self._fields = fields
        self._vectors: dict[int, Vectors | None] = {}
        self._masks: OrderedDict[Filter, NDArray[np.bool_]] = OrderedDict()
        self._check()

    def _check(self) -> None:
        meta = self.segment.meta
        wanted = {"n": self.entry.n, "first": self.entry.first, "last": self.entry.last}
        if any(meta.get(k) != v for k, v in wanted.items()) or meta.get("ids") not in ("int", "str"):
            raise Corrupt(f"{self.path}: the catalogue says {wanted}, the file { ({k: meta.get(k) for k in wanted}) }")
        if self.n > most_rows(self.segment.nbytes):
            raise Corrupt(f"{self.path}: claims {self.n} rows, which {self.segment.nbytes} bytes cannot hold")
        coded = meta.get("coded", {})
        if not isinstance(coded, dict):
            raise Corrupt(f"{self.path}: expected the fields of which there are codes alone, got {str(coded)[:40]!r}")

    def _sound(self, make: Callable[[], Any]) -> Any:
        """Contents that make no sense are the file's fault: say which file."""
        with blaming(self.path, but=(BadFilter,)):
            return make()

    @property
    def n(self) -> int:
        """How many rows there are, dead ones among them."""
        return self.entry.n

    @cached_property
    def rows(self) -> I64:  # type: ignore[override]
        """The row numbers, ascending."""
        entry = self.entry
        if entry.last - entry.first + 1 == entry.n:
            return np.arange(entry.first, entry.last + 1, dtype=np.int64)
        return self._sound(self._read_rows)  # type: ignore[no-any-return]

    def _read_rows(self) -> I64:
        rows = self.segment.column("rows").astype(np.int64) + self.entry.first
        right = rows.shape == (self.n,) and rows[0] == self.entry.first and rows[-1] == self.entry.last
        if not right or (rows[1:] <= rows[:-1]).any():
            raise Corrupt("the row numbers do not ascend from the first to the last")
        return rows

    def _column(self, name: str) -> NDArray[Any]:
        return self.segment.column(name)

    @cached_property
    def ids(self) -> Ids:  # type: ignore[override]
        """The ids."""
        return self._sound(self._read_ids)  # type: ignore[no-any-return]

    def _read_ids(self) -> Ids:
        order = self._column("ids.order") if "ids.order" in self.segment else None
        if order is not None and (order.shape != (self.n,) or int(order.max()) >= self.n):
            raise Corrupt("the order of the ids names rows that are not there")
        if self.segment.meta["ids"] == "int":
            base = int(self.segment.meta["ids.base"])
            if "ids.values" not in self.segment:
                return IntIds(np.arange(base, base + self.n, dtype=np.int64))
            values = self._column("ids.values")
            if values.shape != (self.n,):
                raise Corrupt(f"expected {self.n} ids, got {values.shape}")
            return IntIds(values.astype(np.int64) + base, order)
        names = self._strings("ids")
        hashes = self._column("ids.hashes")
        if names is None or order is None or hashes.shape != (self.n,) or hashes.dtype != np.uint32:
            raise Corrupt("the ids lack their bytes, hashes or order")
        return StrIds(names, hashes, order)

    def _strings(self, name: str) -> Strings | None:
        if f"{name}.sizes" not in self.segment:
            return None
        found = Strings(self._column(f"{name}.bytes"), self._column(f"{name}.sizes"))
        flat = found.data.ndim == 1 and found.sizes.shape == (self.n,)
        if not flat or found.data.dtype != np.uint8 or found.sizes.dtype.kind != "u":
            raise Corrupt(f"expected {self.n} {name}, got {len(found)}")
        return found

    @cached_property
    def texts(self) -> Strings | None:  # type: ignore[override]
        """The texts, None where no row here has one."""
        return self._sound(lambda: self._strings("texts"))  # type: ignore[no-any-return]

    @cached_property
    def metadata(self) -> Metadata:  # type: ignore[override]
        """The metadata."""
        return self._sound(self._read_metadata)  # type: ignore[no-any-return]

    def _read_metadata(self) -> Metadata:
        described = self.segment.meta.get("metadata")
        return Metadata.restore(self.n, described, lambda name: self._column(f"meta.{name}"), self._sound)

    def vectors(self, number: int) -> Vectors | None:
        """The vectors of a field."""
        if number not in self._vectors:
            field = self._fields[number]
            self._vectors[number] = self._sound(lambda: read_vectors(self.segment, f"f{number}", field, self.n))
        return self._vectors[number]

    def fits(self, number: int, dim: int, metric: str) -> bool:
        """Whether the vectors of a field are of this width, and near by this metric."""
        field = self._fields[number]
        return (field.dim, field.nearness) == (dim, metric)

    def having(self, number: int) -> I64:
        """Where the rows that have a vector of a field lie, kept as it is or only as codes."""
        if str(number) not in self.segment.meta.get("coded", {}):
            return super().having(number)
        if f"f{number}.present" not in self.segment:
            return np.arange(self.n, dtype=np.int64)
        return self._sound(lambda: self._present(number))  # type: ignore[no-any-return]

    def _present(self, number: int) -> I64:
        present = self._column(f"f{number}.present").astype(np.int64)
        if not ascending(present, self.n):
            raise Corrupt("the rows that have codes are not ascending, or not among the rows")
        return present

    def meta(self, position: int) -> dict[str, Any]:
        """The metadata of one row."""
        return self._sound(lambda: self.metadata.row(position))  # type: ignore[no-any-return]

    def paths(self) -> dict[str, frozenset[str]]:
        """The keys of the metadata with the types of their values."""
        return self._sound(self.metadata.paths)  # type: ignore[no-any-return]

    def text(self, position: int) -> str | None:
        """The text of one row."""
        return self._sound(lambda: super(SegmentPart, self).text(position))  # type: ignore[no-any-return]

    def id(self, position: int) -> Id:
        """The id of one row."""
        return self._sound(lambda: super(SegmentPart, self).id(position))  # type: ignore[no-any-return]

    def position(self, row: int) -> int:
        """Where the row of this number lies, -1 where it is not here."""
        entry = self.entry
        if entry.last - entry.first + 1 == entry.n:
            return row - entry.first if entry.first <= row <= entry.last else -1
        return super().position(row)

    def mask(self, where: Filter) -> NDArray[np.bool_]:
        """Which rows a filter lets through; remembered, since the rows never change."""
        found = self._masks.get(where)
        if found is None:
            found = self._masks[where] = self._sound(lambda: super(SegmentPart, self).mask(where))
            while len(self._masks) > self._MASKS:
                self._masks.popitem(last=False)
        return found

    def verify_vectors(self, number: int, at: I64 | None = None) -> None:
        """Check the bytes of some dense vectors (all where None) that have not been touched yet."""
        found = self.vectors(number)
        if found is None:
            return
        name = f"f{number}.values"
        if at is None or found.kind != "dense":
            self.segment.touch(name, 0, found.values.nbytes)
            return
        self.segment.touch_rows(name, at, found.values.shape[1] * found.values.dtype.itemsize)


def wanted_ids(leaf: Leaf) -> list[Any] | None:
    """The ids that a condition names, None where it is of another kind."""
    if isinstance(leaf, In):
        return list(leaf.values)
    return [leaf.value] if isinstance(leaf, Compare) and leaf.op == "=" else None


def write_part(
    folder: Folder, sources: Sequence[tuple[Part, I64]], fields: Fields, kind: IdKind, dropped: Collection[int] = ()
) -> Entry:
    """Write chosen rows of several parts, one after another, as one segment file; their row numbers must ascend.

    Memory holds a block of vectors at a time, and the ids, texts' sizes and metadata of all rows. Of fields that are
    ``dropped`` only which rows have one is written: their codes are kept elsewhere.
    """
    rows = np.concatenate([part.rows[at] for part, at in sources])
    if not len(rows) or (rows[1:] <= rows[:-1]).any():
        raise BadInput("segment: expected rows whose numbers ascend")
    place = folder.path / FOLDER
    name = f"{os.urandom(8).hex()}.nf"
    first, last = int(rows[0]), int(rows[-1])
    with SegmentWriter(place / name, KIND, folder) as out:
        if last - first + 1 != len(rows) or len(rows) > FREE_ROWS:  # the size of a file bounds the rows it may claim
            out.add("rows", (rows - first).astype(_wide(last - first)))
        meta: dict[str, Any] = {"n": len(rows), "first": first, "last": last, "ids": kind}
        _write_ids(out, sources, kind, meta)
        _write_strings(out, "texts", [(part.texts, at) for part, at in sources])
        metadata = Metadata.merge([(part.metadata, at) for part, at in sources])
        for column, values in metadata.columns().items():
            out.add(f"meta.{column}", values)
        meta["metadata"] = metadata.description()
        for number, field in fields.items():
            if number in dropped:
                _write_having(out, number, sources, meta)
            else:
                write_vectors(out, f"f{number}", field, [(part.vectors(number), at) for part, at in sources])
        out.finish(meta)
        return Entry(name, len(rows), first, last, out.nbytes)


def _write_having(out: SegmentWriter, number: int, sources: Sequence[tuple[Part, I64]], meta: dict[str, Any]) -> None:
    has = np.concatenate([np.isin(at, part.having(number)) for part, at in sources])
    if has.any():
        meta.setdefault("coded", {})[str(number)] = int(np.count_nonzero(has))
        if not has.all():
            out.add(f"f{number}.present", np.flatnonzero(has).astype(np.uint32))


def _wide(largest: int) -> np.dtype[Any]:
    return np.dtype(np.uint32) if largest < 1 << 32 else np.dtype(np.int64)


def _write_ids(out: SegmentWriter, sources: Sequence[tuple[Part, I64]], kind: IdKind, meta: dict[str, Any]) -> None:
    if kind == "int":
        values = np.concatenate([_int_values(part, at) for part, at in sources])
        ids = IntIds.build(values)
        base = int(values.min())
        meta["ids.base"] = base
        span = int(values.max()) - base
        if ids.order is None and span == len(values) - 1:
            return  # one after another, as where rows are numbered
        out.add("ids.values", (values - base).astype(smallest_uint(span)) if span < 1 << 32 else values)
        if span >= 1 << 32:
            meta["ids.base"] = 0
        if ids.order is not None:
            out.add("ids.order", ids.order)
        return
    _write_strings(out, "ids", [(_names(part), at) for part, at in sources])
    hashes = np.concatenate([_row_hashes(part)[at] for part, at in sources])
    order = np.argsort(hashes, kind="stable").astype(np.uint32)
    out.add("ids.hashes", hashes[order])
    out.add("ids.order", order)


def _int_values(part: Part, at: I64) -> I64:
    if not isinstance(part.ids, IntIds):
        raise Corrupt("segment: expected int ids in every part, got str")
    return np.asarray(part.ids.values[at], dtype=np.int64)


def _names(part: Part) -> Strings:
    if not isinstance(part.ids, StrIds):
        raise Corrupt("segment: expected str ids in every part, got int")
    return part.ids.names


def _row_hashes(part: Part) -> NDArray[np.uint32]:
    """The hash of each row's id, in the order of the rows."""
    if not isinstance(part.ids, StrIds):
        raise Corrupt("segment: expected str ids in every part, got int")
    out = np.empty(part.n, np.uint32)
    out[part.ids.order] = part.ids.hashes
    return out


def _write_strings(out: SegmentWriter, name: str, sources: Sequence[tuple[Strings | None, I64]]) -> None:
    if not any(strings is not None and strings.sizes[at].any() for strings, at in sources):
        return
    sizes = np.concatenate([np.zeros(len(at), np.uint8) if s is None else s.sizes[at] for s, at in sources])
    lengths = Strings.lengths(sizes)
    out.add(f"{name}.sizes", sizes.astype(smallest_uint(int(sizes.max()))))
    out.begin(f"{name}.bytes", np.uint8, (int(lengths.sum()),))
    for strings, at in sources:
        if strings is not None:
            for piece in strings.pieces(at):
                out.append(f"{name}.bytes", piece)


def batch_part(rows: I64, names: Sequence[Id], kind: IdKind, texts: Sequence[str | None] | None,
               metadata: Sequence[dict[str, Any]], columns: dict[int, Vectors]) -> Batch:  # fmt: skip
    """Rows in memory as a part."""
    strings = Strings.build(texts) if texts is not None and any(t is not None for t in texts) else None
    return Batch(rows, build_ids(names, kind), strings, Metadata.build(metadata), columns)
