"""One consistent state of a Collection, and how it is brought up to date with the catalogue."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import BadInput, Corrupt, NearfieldError
from nearfield.core.protocols import I64
from nearfield.store.blame import blaming
from nearfield.store.catalog import Catalog, Durability, Head, TailRecord
from nearfield.store.fields import Field
from nearfield.store.folder import Folder
from nearfield.store.ids import IntIds, Wanted
from nearfield.store.locks import Lease, on_fork
from nearfield.store.parts import Entry, Fields, Part, SegmentPart
from nearfield.store.tail import Tail, TailPart

_TRIES = 20  # of reading a catalogue without locks, while somebody writes it


@dataclass(frozen=True)
class View:
    """A part, and which of its rows are still there (None: all)."""

    part: Part
    live: NDArray[np.bool_] | None = None

    @property
    def count(self) -> int:
        """Rows that are there."""
        return self.part.n if self.live is None else int(np.count_nonzero(self.live))

    def positions(self) -> I64:
        """Where the rows that are there lie."""
        return np.arange(self.part.n, dtype=np.int64) if self.live is None else np.flatnonzero(self.live)

    def without(self, rows: I64) -> View:
        """The same with further rows gone."""
        at = self.part.positions(rows)
        if not len(at):
            return self
        live = np.ones(self.part.n, np.bool_) if self.live is None else self.live.copy()
        live[at] = False
        return replace(self, live=live)


@dataclass(frozen=True)
class Snapshot:
    """All rows of one version: segments in the order of their rows, then the tail."""

    head: Head
    names: dict[str, int]  # fields by name
    fields: Fields  # by number
    segments: tuple[View, ...]
    tail: View
    plans: dict[str, Any]
    lease: Lease | None = field(default=None, compare=False)

    @property
    def views(self) -> tuple[View, ...]:
        """Every part."""
        return (*self.segments, self.tail) if self.tail.part.n else self.segments

    def __len__(self) -> int:
        return sum(view.count for view in self.views)

    @property
    def tail_part(self) -> TailPart:
        """The tail."""
        if not isinstance(self.tail.part, TailPart):
            raise Corrupt("the tail is not one")
        return self.tail.part

    @property
    def largest_id(self) -> int:
        """The largest id that is a number, of rows that are there or were until the last compaction; -1 for none."""
        found = [v.part.ids for v in self.segments]
        return max([self.tail_part.tail.largest, *(ids.largest for ids in found if isinstance(ids, IntIds))])

    def find(self, names: Sequence[Any], kind: Any) -> tuple[I64, I64]:
        """For each id the number of its view (the tail is behind the last segment) and its position there, or -1."""
        where = np.full(len(names), -1, np.int64)
        at = np.full(len(names), -1, np.int64)
        tail = self.tail_part
        if tail.n:
            found = np.array([tail.find(name) for name in names], dtype=np.int64)
            self._take(len(self.segments), self.tail, np.arange(len(names)), found, where, at)
        if not self.segments or (where >= 0).all():
            return where, at
        left = np.flatnonzero(where < 0)
        wanted = Wanted(list(names), kind).some(left)
        for number in reversed(range(len(self.segments))):
            view = self.segments[number]
            self._take(number, view, left, view.part.ids.find(wanted), where, at)
            open_ = np.flatnonzero(where[left] < 0)
            if not len(open_):
                break
            left, wanted = left[open_], wanted.some(open_)
        return where, at

    @staticmethod
    def _take(number: int, view: View, left: I64, found: I64, where: I64, at: I64) -> None:
        there = found >= 0
        if view.live is not None:
            there[there] = view.live[found[there]]
        where[left[there]], at[left[there]] = number, found[there]

    def view(self, number: int) -> View:
        """A part by its number, the tail being behind the last segment."""
        return self.tail if number == len(self.segments) else self.segments[number]

    def rows_of(self, where: I64, at: I64) -> I64:
        """Row numbers of what ``find`` found."""
        out = np.full(len(where), -1, np.int64)
        for number in np.unique(where[where >= 0]).tolist():
            here = where == number
            out[here] = self.view(number).part.rows[at[here]]
        return out

    @cached_property
    def _firsts(self) -> list[int]:
        return [v.part.entry.first for v in self.segments if isinstance(v.part, SegmentPart)]

    def place(self, row: int) -> tuple[Part, int]:
        """The part and position of a row that is, or was, in this state."""
        number = bisect_right(self._firsts, row) - 1
        for part in (self.segments[number].part if number >= 0 else self.tail.part, self.tail.part):
            at = part.position(row)
            if at >= 0:
                return part, at
        raise BadInput(f"row {row}: expected the number of a row that is there")

    def places(self, rows: I64) -> Iterator[tuple[Part, I64, I64]]:
        """The parts in which rows lie that are, or were, in this state: which of them, and at what positions."""
        numbers = np.searchsorted(self._firsts, rows, side="right") - 1
        missing = np.ones(len(rows), np.bool_)
        for number in set(numbers.tolist()) - {-1}:
            part, asked = self.segments[number].part, np.flatnonzero(numbers == number)
            at = part.places(rows[asked])
            here = at >= 0
            missing[asked] = ~here
            yield part, asked[here], at[here]
        left = np.flatnonzero(missing)
        if len(left):
            at = self.tail.part.places(rows[left])
            if (at < 0).any():
                row = int(rows[left[at < 0][0]])
                raise BadInput(f"row {row}: expected the number of a row that is there")
            yield self.tail.part, left, at

    @cached_property
    def paths(self) -> dict[str, frozenset[str]]:
        """The metadata keys of all parts with the types of their values."""
        out: dict[str, frozenset[str]] = {}
        for view in self.views:
            for path, types in view.part.paths().items():
                out[path] = out.get(path, frozenset()) | types
        return out

    def walk(self) -> Iterator[tuple[View, I64]]:
        """Every part with the positions of its rows that are there."""
        for view in self.views:
            yield view, view.positions()


class Reader:
    """Keeps a snapshot of a folder and brings it up to date."""

    def __init__(self, folder: Folder, *, write: bool, create: bool, durability: Durability) -> None:
        self.folder = folder
        self._how = (write, durability)
        self._catalog: Catalog | None = Catalog(folder, write=write, create=create, durability=durability)
        self._guard = threading.RLock()
        self._snapshot: Snapshot | None = None
        self._tail = Tail({})
        self._seen = -1
        self._stale = True
        on_fork(self)

    @property
    def catalog(self) -> Catalog:
        """The catalogue; a process that was forked gets a connection of its own."""
        with self._guard:
            if self._catalog is None:
                write, durability = self._how
                self._catalog = Catalog(self.folder, write=write, create=False, durability=durability)
            return self._catalog

    def forked(self) -> None:
        """In a child: neither the connection nor what the parent's other threads hold is its own."""
        self._guard = threading.RLock()
        if self._catalog is not None:
            self._catalog.abandon()
        self._catalog, self._snapshot, self._stale = None, None, True

    def stale(self) -> None:
        """Something was committed here: look again."""
        self._stale = True

    def forget(self) -> None:
        """Something went wrong: read everything anew."""
        with self._guard:
            self._snapshot, self._stale = None, True

    def close(self) -> None:
        """Give everything back."""
        with self._guard:
            if self._snapshot is not None and self._snapshot.lease is not None:
                self._snapshot.lease.close()
            self._snapshot = None
            if self._catalog is not None:
                self._catalog.close()

    def snapshot(self) -> Snapshot:
        """The latest state."""
        with self._guard:
            for tries in range(_TRIES):
                seen = self.catalog.changed()
                if self._snapshot is not None and not self._stale and seen == self._seen:
                    return self._snapshot
                try:
                    new = self._refreshed(self._snapshot)
                except NearfieldError:
                    self._snapshot = None
                    self.folder.check()  # which explains whatever was missing
                    if not self.catalog.disturbed(failed=True) or tries == _TRIES - 1:
                        raise
                    continue
                except BaseException:
                    self._snapshot = None
                    raise
                old, self._snapshot = self._snapshot, new
                if old is not None and old.lease is not None and old.lease is not new.lease:
                    old.lease.close()  # whoever still holds it has the files open
                if not self.catalog.disturbed():
                    break
                self._stale = True
            self._seen, self._stale = seen, False
            return new

    def seen(self) -> Snapshot | None:
        """The state that was seen last, None where it is known to have changed since."""
        with self._guard:
            return None if self._stale else self._snapshot

    def pinned(self) -> tuple[Snapshot, Lease]:
        """The latest state with a lease of its own, which keeps its files until it is closed."""
        with self._guard:  # while the reader's own lease holds
            found = self.snapshot()
            return found, Lease(self.folder, found.head.generation)

    def _refreshed(self, old: Snapshot | None) -> Snapshot:
        while True:
            with self.catalog.reading():
                head = self.catalog.head()
                if old is not None and head.version == old.head.version:
                    return old
                if old is not None and head.generation == old.head.generation:
                    rows = self.catalog.tail(
                        int(self._tail.rows[self._tail.n - 1]) if self._tail.n else -1, head.fields
                    )
                    return self._moved(old, head, rows, self.catalog.dead(old.head.version))
                self.catalog.check_records(head)
                manifest = {key: self.catalog.get(key, {}) for key in ("fields", "plans")}
                entries = self.catalog.get("segments", [])
                records, dead = self.catalog.tail(-1, head.fields), self.catalog.dead(0)
            lease = Lease(self.folder, head.generation)
            if self.catalog.head().generation == head.generation:
                return self._whole(old, head, manifest, entries, records, dead, lease)
            lease.close()

    def _moved(
        self, old: Snapshot, head: Head, records: list[TailRecord], dead: list[tuple[int, I64, int]]
    ) -> Snapshot:
        """The next version over the same segments."""
        self._admit(records, head)
        rows = np.concatenate([np.zeros(0, np.int64), *(r for _, r, _ in dead)])
        segments = tuple(view.without(rows) for view in old.segments) if len(rows) else old.segments
        part = self._tail.view()
        live = None
        if old.tail.live is not None:
            live = np.ones(part.n, np.bool_)
            live[: len(old.tail.live)] = old.tail.live
        new = replace(old, head=head, segments=segments, tail=View(part, live).without(rows))
        self._check(new)
        count, digest = old.head.dead
        for _, _, crc in dead:
            count, digest = count + 1, digest ^ crc
        self._check_dead((count, digest), head)
        return new

    def _whole(
        self,
        old: Snapshot | None,
        head: Head,
        manifest: dict[str, Any],
        entries: Any,
        records: list[TailRecord],
        dead: list[tuple[int, I64, int]],
        lease: Lease,
    ) -> Snapshot:
        """A version over other segments; parts that stay keep what they have read."""
        numbered = {int(k): v for k, v in manifest["fields"].items()}
        if any(number >= head.fields for number in numbered):
            raise Corrupt(f"{self.catalog.path}: names a field of a number that was never given; restore a backup")
        fields = {k: Field.of(v["field"]) for k, v in numbered.items()}
        known = {v.part.entry: v.part for v in (old.segments if old else ()) if isinstance(v.part, SegmentPart)}
        same = old is not None and old.fields == fields
        parts: list[SegmentPart] = []
        for entry in [Entry(**e) for e in entries]:
            parts.append(known[entry] if same and entry in known else SegmentPart(self.folder, entry, fields))
        _check_parts(parts, head)
        rows = np.concatenate([np.zeros(0, np.int64), *(r for _, r, _ in dead)])
        self._tail = Tail(fields, str(self.catalog.path))
        self._admit(records, head)
        digest = 0
        for _, _, crc in dead:
            digest ^= crc
        self._check_dead((len(dead), digest), head)
        new = Snapshot(
            head,
            {str(v["name"]): k for k, v in numbered.items()},
            fields,
            tuple(View(part).without(rows) for part in parts),
            View(self._tail.view()).without(rows),
            manifest["plans"],
            lease,
        )
        self._check(new)
        return new

    def _admit(self, records: list[TailRecord], head: Head) -> None:
        """Take rows into the tail, once they have ids of the kind that all have."""
        odd = next((r.row for r in records if type(r.id).__name__ != head.ids), None)
        if odd is not None:
            raise Corrupt(f"{self.catalog.path}: row {odd} of the tail has an id of another type than the others")
        with blaming(self.catalog.path):
            self._tail.extend(records)

    def _check(self, new: Snapshot) -> None:
        """The rows of the tail are those that were committed: none missing, none that should be gone.

        They come behind all segments: a row with the number of another would be found in its place.
        """
        last = max((v.part.entry.last for v in new.segments if isinstance(v.part, SegmentPart)), default=-1)
        numbers = self._tail.rows[: self._tail.n]
        if len(numbers) and (numbers[0] <= last or numbers[-1] >= new.head.next_row):
            raise Corrupt(f"{self.catalog.path}: the tail holds rows of numbers that segments have, or none was given")
        live = new.tail.positions()
        found = (len(live), int(np.bitwise_xor.reduce(self._tail.crcs[live])) if len(live) else 0)
        if found != new.head.tail:
            raise Corrupt(
                f"{self.catalog.path}: the tail should hold {new.head.tail[0]} rows, {len(live)} are there, or others; "
                "see: check, repair, or restore a backup"
            )

    def _check_dead(self, found: tuple[int, int], head: Head) -> None:
        if found != head.dead:
            raise Corrupt(
                f"{self.catalog.path}: records of deleted rows are missing: {head.dead[0]} expected, {found[0]} there"
            )


def _check_parts(parts: list[SegmentPart], head: Head) -> None:
    """Segments follow one another, hold and hold ids of one kind."""
    for before, after in pairwise(parts):
        if before.entry.last >= after.entry.first:
            raise Corrupt(f"{after.path}: its rows overlap those of {before.path.name}; see: repair --dry-run")
    odd = next((p for p in parts if p.segment.meta["ids"] != head.ids or p.entry.last >= head.next_row), None)
    if odd is not None:
        raise Corrupt(f"{odd.path}: has ids of another kind than the catalogue says, or rows that were never numbered")
