"""Does a segment or the tail hold what it says? Everything is read, where opening reads what it needs.

Checksums tell damage from what was written. A segment that was written wrongly finds one row under the id of another,
or none at all: so whatever searches rely on is worked out again and compared.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from nearfield.core.arrays import block_rows
from nearfield.core.errors import Corrupt, NearfieldError
from nearfield.store.blame import blaming
from nearfield.store.catalog import TailRecord
from nearfield.store.fields import Field
from nearfield.store.ids import MAX_BYTES, IntIds, StrIds
from nearfield.store.parts import Fields, SegmentPart
from nearfield.store.records import MOST
from nearfield.store.strings import Strings
from nearfield.store.tail import Tail, TailPart
from nearfield.store.textindex import TextIndex
from nearfield.store.vectors import Vectors, dense_terms

_CLOSE = 1e-4  # of a term: sums of float32 in another order differ by less
_ODD = "holds what no row has"
_ROWS = 10_000  # rows whose metadata are read together


def check_segment(part: SegmentPart, fields: Fields) -> None:
    """Raise ``Corrupt`` naming the file unless every byte of a segment is as written, and all of it makes sense."""
    part.segment.verify()
    with blaming(part.path):
        _ = part.rows
        _check_ids(part)
        _check_texts("texts", part.texts)
        part.metadata.verify()
        for start in range(0, part.n, _ROWS):
            part.metadata.rows(np.arange(start, min(part.n, start + _ROWS)))
        for number, field in fields.items():
            part.having(number)
            _check_vectors(field, part.vectors(number))


def check_tail(part: TailPart, fields: Fields, path: object) -> Iterator[str]:
    """A line for each row of the tail that makes no sense."""
    for position in range(part.n):
        try:
            part.meta(position)
        except NearfieldError as error:
            told = str(error)
            yield told if str(path) in told else f"{path}: {told}"
    for number, field in fields.items():
        try:
            _check_vectors(field, part.vectors(number))
        except NearfieldError as error:
            yield f"{path}: the tail: {error}"


def fault_of(record: TailRecord, fields: Fields) -> str | None:
    """Why a record cannot be a row of the tail, None where it can: its types, metadata and vectors."""
    fault = record.fault()
    if fault:
        return fault
    alone = Tail(fields, _ODD)
    try:
        alone.extend([record])
        return next(check_tail(alone.view(), fields, _ODD), None)
    except NearfieldError as error:
        return f"{_ODD}: {error}"


def check_lists(path: object, found: TextIndex | None, make: Callable[[], TextIndex]) -> None:
    """Raise ``Corrupt`` unless inverted lists that are kept are those of the texts; None is none, and sound."""
    if found is None:
        return
    made = make()
    pairs = ((found.terms.sizes, made.terms.sizes), (found.terms.data, made.terms.data), (found.starts, made.starts),
             (found.rows, made.rows), (found.counts, made.counts), (found.lengths, made.lengths))  # fmt: skip
    if not all(np.array_equal(a, b) for a, b in pairs):
        raise Corrupt(f"{path}: the inverted lists are not those of the texts; delete the file: it is made again")


def _check_ids(part: SegmentPart) -> None:
    ids = part.ids
    if isinstance(ids, IntIds):
        values = ids.values if ids.order is None else ids.values[ids.order]
        if (values[1:] <= values[:-1]).any():  # as many as rows, and none twice: every row is among them
            raise Corrupt("the order of the ids is not theirs")
    if isinstance(ids, StrIds):
        _check_texts("ids", ids.names)
        _check_order(ids, part.n)


def _check_order(ids: StrIds, n: int) -> None:
    names, starts = ids.names.data.tobytes(), ids.names.starts.tolist()
    if (np.diff(ids.names.starts) < 1).any() or int(np.diff(ids.names.starts).max(initial=0)) > MAX_BYTES:
        raise Corrupt("expected ids that are neither empty nor longer than 1 MiB")
    right = np.array([zlib.crc32(names[a:b]) for a, b in pairwise(starts)], np.uint32)
    met = np.zeros(n, np.bool_)
    met[ids.order] = True
    if not met.all() or (ids.hashes != right[ids.order]).any() or (ids.hashes[1:] < ids.hashes[:-1]).any():
        raise Corrupt("the hashes of the ids, or their order, are not theirs")


def _check_texts(name: str, texts: Strings | None) -> None:
    if texts is None:
        return
    whole, starts = texts.data.tobytes(), texts.starts.tolist()
    try:
        for a, b in pairwise(starts):
            whole[a:b].decode()
    except UnicodeDecodeError:
        raise Corrupt(f"{name}: expected UTF-8") from None


def _check_vectors(field: Field, found: Vectors | None) -> None:
    if found is None:
        return
    if field.kind == "dense":
        _check_dense(field, found)
        return
    lengths = np.diff(found.starts)
    if found.values.dtype.kind == "f" and not np.isfinite(found.values).all():
        raise Corrupt(f"expected finite vectors ({field}), got NaN or infinity")
    if field.kind == "ragged" and (lengths < 1).any():
        raise Corrupt(f"expected at least one vector a row ({field})")
    if found.indices is not None:
        _check_terms(field, found)


def _check_dense(field: Field, found: Vectors) -> None:
    step = block_rows(field.width)
    for start in range(0, len(found.values), step):
        block = found.values[start : start + step]
        if block.dtype.kind == "f" and not np.isfinite(block).all():
            raise Corrupt(f"expected finite vectors ({field}), got NaN or infinity from vector {start} on")
        if field.nearness not in ("cosine", "l2"):
            continue
        right = dense_terms(block, field.nearness)
        there = np.ones(len(block), np.float32) if found.terms is None else found.terms[start : start + step]
        if found.terms is None and field.nearness == "l2":
            raise Corrupt(f"expected the squared length of each vector ({field})")
        if not (np.abs(there - right) <= _CLOSE * np.abs(right)).all():
            raise Corrupt(f"the terms of the vectors ({field}) are not theirs, from vector {start} on")


def _check_terms(field: Field, found: Vectors) -> None:
    terms = found.indices
    if terms is None or not len(terms):
        return
    rows = np.repeat(np.arange(found.count), np.diff(found.starts))
    again = (rows[1:] == rows[:-1]) & (terms[1:] <= terms[:-1])
    if terms.dtype != np.int64 or int(terms.min()) < 0 or int(terms.max()) >= (field.dim or MOST) or again.any():
        raise Corrupt(f"expected term numbers that ascend in each row ({field})")
