"""Writes: rows in, rows out, the tail sealed. Each is one commit, applied whole or not at all."""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import asdict
from typing import Any

import numpy as np

from nearfield.collection.intake import Intake
from nearfield.collection.plans import dropped
from nearfield.collection.reading import found_ids, matching
from nearfield.collection.state import State, remove
from nearfield.core.errors import BadInput, Exists, NearfieldError
from nearfield.core.indexes import Step
from nearfield.core.protocols import I64
from nearfield.store.catalog import Change, TailRecord
from nearfield.store.filters import Filter
from nearfield.store.ids import Id, IdKind
from nearfield.store.metadata import encode_metadata
from nearfield.store.parts import FOLDER, Entry, Part, SegmentPart, batch_part, write_part
from nearfield.store.snapshot import Snapshot
from nearfield.store.tail import to_blob

SEAL_ROWS = 16_384  # rows of the tail that are sealed into a segment ...
SEAL_BYTES = 32 << 20  # ... or their bytes
DIRECT_ROWS = 4_096  # rows of one batch that go straight into a segment ...
DIRECT_BYTES = 8 << 20  # ... or their bytes


def entries(snapshot: Snapshot) -> list[Entry]:
    """What the catalogue says of the segments."""
    return [v.part.entry for v in snapshot.segments if isinstance(v.part, SegmentPart)]


def write_rows(state: State, given: Intake, *, new_only: bool = False, since: int | None = None) -> None:
    """Insert rows, in place of those of the same ids; with ``new_only`` these are refused, with ``since`` those of them
    that were written from that row number on: the other batches of one source."""
    if not len(given):
        return
    with state.writing() as snapshot:
        if given.unnamed:
            given.ids, given.kind = fresh_ids(snapshot, len(given))
        snapshot = _of_one_kind(state, snapshot, given.kind)
        where, at = snapshot.find(given.ids, given.kind)
        if (new_only or given.unnamed) and (where >= 0).any():
            names = [given.ids[i] for i in np.flatnonzero(where >= 0)[:5].tolist()]
            raise Exists(f"ids: expected new ones, got {', '.join(map(repr, names))}, which are there; use upsert")
        old = snapshot.rows_of(where[where >= 0], at[where >= 0])
        if since is not None and (old >= since).any():
            names = [given.ids[i] for i in np.flatnonzero(where >= 0)[np.flatnonzero(old >= since)[:5]].tolist()]
            raise BadInput(
                f"ids: expected each id once, got {', '.join(map(repr, names))} again, written since this load began; "
                "remove the repeats"
            )
        if len(given) >= DIRECT_ROWS or len(given) * given.row_bytes() >= DIRECT_BYTES:
            _write_direct(state, snapshot, given, old)
        else:
            _write_tail(state, snapshot, given, old)


def fresh_ids(snapshot: Snapshot, n: int) -> tuple[list[Id], IdKind]:
    """Ids for rows that came without: numbers behind every one that is or was there, or random names beside names.

    The writer's lock must be held: what is free now is free until the commit.
    """
    if len(snapshot) and snapshot.head.ids == "str":
        return [uuid.uuid4().hex for _ in range(n)], "str"
    first = max(snapshot.head.next_row, snapshot.largest_id + 1)
    if first + n > 1 << 63:
        raise BadInput(f"ids: expected room for {n} numbers behind {first - 1}, the largest id; pass ids")
    return list(range(first, first + n)), "int"


def _of_one_kind(state: State, snapshot: Snapshot, kind: IdKind) -> Snapshot:
    """A state that takes ids of this kind: where every row was deleted, what is left of them goes."""
    if snapshot.head.ids in ("", kind):
        return snapshot
    if len(snapshot):
        raise BadInput(f"ids: expected {snapshot.head.ids}, as those that are there, got {kind}")
    if not snapshot.segments and not snapshot.tail.part.n:
        return snapshot
    old = entries(snapshot)
    none = np.zeros(0, np.int64)
    change = Change(manifest={"segments": []}, new_generation=True, dead_upto=(snapshot.head.version, none))
    state.commit(change, unlink=tuple(old))
    return state.snapshot()


def _numbers(snapshot: Snapshot, vectors: dict[str, Any]) -> dict[int, Any]:
    return {snapshot.names[name]: found for name, found in vectors.items()}


def _write_tail(state: State, snapshot: Snapshot, given: Intake, old: I64) -> None:
    records: list[TailRecord] = []
    start = snapshot.head.next_row
    for at, vectors in given.chunks():
        columns = _numbers(snapshot, vectors)
        blobs = {number: _blobs(found) for number, found in columns.items()}
        for i in range(at.start, at.stop):
            row = tuple(blobs[f][i - at.start] if f in blobs else None for f in range(snapshot.head.fields))
            meta = given.meta[i]
            text = None if given.texts is None else given.texts[i]
            record = TailRecord(start + i, given.ids[i], text, encode_metadata(meta) if meta else None, row)
            record.crc = record.digest()
            records.append(record)
    change = Change(added=records, dead=old, next_row=start + len(given), ids=given.kind)
    change.gone = _tail_rows(snapshot, old)
    state.commit(change)
    fresh = state.snapshot()
    if fresh.tail.part.n >= SEAL_ROWS or fresh.tail_part.tail.nbytes >= SEAL_BYTES:
        seal(state, fresh)


def _blobs(found: Any) -> list[bytes | None]:
    out: list[bytes | None] = [None] * found.n
    places = range(found.n) if found.present is None else found.present.tolist()
    for at, position in enumerate(places):
        out[position] = to_blob(found, at)
    return out


def _tail_rows(snapshot: Snapshot, rows: I64) -> list[tuple[int, int]]:
    """Those of these rows that lie in the tail, with their checksums."""
    part = snapshot.tail_part
    return [(int(part.rows[p]), int(part.tail.crcs[p])) for p in part.positions(rows)]


def _write_direct(state: State, snapshot: Snapshot, given: Intake, old: I64) -> None:
    """Write rows into segments, the tail before them: row numbers must ascend from segment to segment."""
    if not snapshot.segments or snapshot.tail.part.n:
        state.place.make(FOLDER)
    tail = snapshot.tail.without(old)
    sources: list[tuple[Part, I64]] = [(tail.part, tail.positions())] if tail.count else []
    made: list[Entry] = []
    start = snapshot.head.next_row
    try:
        for at, vectors in given.chunks():
            part = batch_part(
                np.arange(start + at.start, start + at.stop, dtype=np.int64), given.ids[at], given.kind,
                None if given.texts is None else given.texts[at], given.meta[at], _numbers(snapshot, vectors),
            )  # fmt: skip
            sources.append((part, np.arange(part.n, dtype=np.int64)))
            made.append(write_segment(state, snapshot, sources, given.kind))
            sources = []
        _swap(state, snapshot, made, old, next_row=start + len(given), kind=given.kind)
    except BaseException:
        discard(state, made)
        raise


def write_segment(
    state: State, snapshot: Snapshot, sources: list[tuple[Part, I64]], kind: IdKind, step: Step | None = None
) -> Entry:
    """Write rows as a segment, and their codes for fields under a Plan."""
    made = write_part(state.place, sources, snapshot.fields, kind, dropped(snapshot))
    try:
        if snapshot.plans:
            from nearfield.collection.coded import write_codes

            write_codes(state.place, snapshot, made, sources, step)
    except BaseException:
        discard(state, [made])
        raise
    return made


def discard(state: State, made: list[Entry]) -> None:
    """Delete segment files that were not committed. What cannot be told, or deleted, now is left to ``tidy``."""
    if state.catalog.uncertain:
        return  # after a crash the commit that failed could be found on the disk, and would name them
    with contextlib.suppress(NearfieldError, OSError):
        named = {e["file"] for e in state.catalog.get("segments", [])}  # an interrupt may come behind the commit
        for entry in made:
            if entry.file not in named:
                remove(state.place, entry.file)


def _swap(
    state: State, snapshot: Snapshot, made: list[Entry], old: I64, *, next_row: int | None = None,
    kind: IdKind | None = None,
) -> None:  # fmt: skip
    """Commit segments that take the place of the whole tail."""
    segments = [asdict(e) for e in (*entries(snapshot), *made)]
    tail = snapshot.tail_part
    change = Change(
        gone=_tail_rows(snapshot, tail.rows[snapshot.tail.positions()]),
        dead=old[~np.isin(old, tail.rows)],
        manifest={"segments": segments},
        next_row=next_row,
        ids=kind,
        new_generation=True,
    )
    if tail.n:  # rows of the tail that were dead are in no segment: nobody needs to hear of them any more
        change.dead_upto = (snapshot.head.version, _dead_in_segments(state, tail))
    state.commit(change)


def _dead_in_segments(state: State, tail: Part) -> I64:
    rows = np.concatenate([np.zeros(0, np.int64), *(r for _, r, _ in state.catalog.dead(0))])
    return rows[~np.isin(rows, tail.rows)]


def seal(state: State, snapshot: Snapshot) -> None:
    """Write the tail into a segment. The writer's lock must be held."""
    if not snapshot.tail.part.n:
        return
    state.place.make(FOLDER)
    made: list[Entry] = []
    try:
        if snapshot.tail.count:
            kind: IdKind = "int" if snapshot.head.ids == "int" else "str"
            sources: list[tuple[Part, I64]] = [(snapshot.tail.part, snapshot.tail.positions())]
            made.append(write_segment(state, snapshot, sources, kind))
        _swap(state, snapshot, made, np.zeros(0, np.int64))
    except BaseException:
        discard(state, made)
        raise


def delete_rows(state: State, ids: Any, where: Filter | None) -> int:
    """Delete rows by id or filter; ids that are not there are passed over. Returns how many went."""
    with state.writing() as snapshot:
        return bury(state, snapshot, chosen_rows(snapshot, ids, where))


def chosen_rows(snapshot: Snapshot, ids: Any, where: Filter | None) -> I64:
    """The numbers of rows that are there, by id or filter."""
    if ids is not None:
        views, at = found_ids(snapshot, ids)
        return snapshot.rows_of(views, at)
    return np.concatenate([np.zeros(0, np.int64), *(v.part.rows[matching(v, where)] for v in snapshot.views)])


def bury(state: State, snapshot: Snapshot, rows: I64) -> int:
    """Delete rows by number. The writer's lock must be held."""
    rows = np.unique(rows)
    if len(rows):
        state.commit(Change(dead=rows, gone=_tail_rows(snapshot, rows)))
    return len(rows)
