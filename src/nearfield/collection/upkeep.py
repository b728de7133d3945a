"""Keeps a folder small and quick: the tail is sealed, small segments are merged, space is given back.

Runs by itself after writes, and beside them where it takes long: see ``tending``. Segments grow by merging neighbours
of like size, up to ``MOST_ROWS`` or ``MOST_BYTES``; one in which more than ``DEAD_SHARE`` of the rows are gone is
rewritten. A merge holds a block of vectors and the ids, metadata and text sizes of one segment in memory.
"""

from __future__ import annotations

import re
from dataclasses import asdict

import numpy as np

from nearfield.collection.plans import PLANS, Coded
from nearfield.collection.state import State
from nearfield.collection.writing import discard, entries, seal, write_segment
from nearfield.core.errors import Locked
from nearfield.core.indexes import Step
from nearfield.core.protocols import I64, Progress
from nearfield.store.catalog import Change
from nearfield.store.ids import IdKind
from nearfield.store.locks import oldest_lease
from nearfield.store.parts import FOLDER, Entry, Part, SegmentPart
from nearfield.store.snapshot import Snapshot, View

MOST_ROWS = 1 << 20
MOST_BYTES = 1 << 30
DEAD_SHARE = 0.3
FANOUT = 4  # neighbours of like size that are merged
MOST_DEAD_RECORDS = 4096
_COLUMN = re.compile(r"f(\d+)\.")  # of a field's vectors


def maintain(state: State, step: Step | None = None) -> None:
    """Whatever is due after writes. Does nothing where another process or thread is at it."""
    if not _due(state.snapshot()):
        return
    try:
        with state.work.held(0):
            while (group := _due(state.snapshot())) is not None:
                if step:
                    step(0, 1)
                _rewrite(state, *group, step)
                clear(state)
    except Locked:
        return


def due_rows(snapshot: Snapshot) -> int:
    """How many rows the next rewriting that is due would write; 0 where none is."""
    group = _due(snapshot)
    return 0 if group is None else sum(view.count for view in snapshot.segments[slice(*group)])


def _due(snapshot: Snapshot) -> tuple[int, int] | None:
    """The first and behind the last segment to rewrite as one, if any is due."""
    counts = [view.count for view in snapshot.segments]
    for i, view in enumerate(snapshot.segments):
        if counts[i] < (1 - DEAD_SHARE) * view.part.n:
            return i, i + 1
    sizes = [e.nbytes for e in entries(snapshot)]
    start = len(counts)
    rows = size = 0
    while (
        start
        and (rows == 0 or counts[start - 1] <= (FANOUT - 1) * rows)
        and _fits(rows + counts[start - 1], size + sizes[start - 1])
    ):
        start -= 1
        rows, size = rows + counts[start], size + sizes[start]
    return (start, len(counts)) if len(counts) - start >= FANOUT else None


def _fits(rows: int, size: int) -> bool:
    return rows <= MOST_ROWS and size <= MOST_BYTES


def compact(state: State, *, purge: bool = False, progress: Progress | None = None) -> None:
    """Seal the tail, merge what fits together, drop what is gone, and give the space back."""
    with state.work.held(state.timeout):
        with state.writing():
            seal(state, state.snapshot())
        done, total = 0, len(state.snapshot())
        while (group := _group(state.snapshot(), done)) is not None:
            first, last, changed = group
            rows = sum(view.count for view in state.snapshot().segments[first:last])
            if changed:
                _rewrite(state, first, last)
                clear(state)
            done = first + (1 if rows else 0)
            if progress:
                progress("compact", sum(v.count for v in state.snapshot().segments[:done]), total)
        give_back(state, thorough=purge)


def give_back(state: State, *, thorough: bool = False) -> None:
    """Delete the files that nobody reads any more, and give the room back that the catalogue no longer needs."""
    clear(state)
    with state.writing() as snapshot:
        _forget_plans(state, snapshot)
        state.catalog.shrink(thorough=thorough)


def _forget_plans(state: State, snapshot: Snapshot) -> None:
    """Delete files of Plans that no field uses, and codes under them; while somebody reads an older state, none."""
    generation = state.catalog.head().generation
    if oldest_lease(state.place, generation) < generation:
        return
    used = {c.file for n in snapshot.fields if (c := Coded.of(snapshot, n)) is not None}
    used.add(str(state.catalog.get("recoding", {}).get("file")))  # a recode that was stopped goes on with it
    plans = [(PLANS, n) for n in state.place.names(PLANS) if n.endswith(".nf") and n.removesuffix(".nf") not in used]
    codes = [(FOLDER, n) for n in state.place.names(FOLDER) if len(s := n.split(".")) == 4 and s[2] not in used]
    if (plans or codes) and state.durability == "relaxed":
        state.catalog.sync()  # the commit that made them useless must not be lost after they are
    for part, name in (*plans, *codes):
        state.place.delete(part, name)


def _group(snapshot: Snapshot, start: int) -> tuple[int, int, bool] | None:
    """The next segments that fit into one, and whether rewriting them gains anything."""
    views, sizes = snapshot.segments, [e.nbytes for e in entries(snapshot)]
    if start >= len(views):
        return None
    stop, rows, size = start, 0, 0
    while stop < len(views):
        share = views[stop].count / views[stop].part.n
        if stop > start and not _fits(rows + views[stop].count, size + int(share * sizes[stop])):
            break
        rows, size, stop = rows + views[stop].count, size + int(share * sizes[stop]), stop + 1
    return start, stop, stop - start > 1 or rows < views[start].part.n or _holds_dropped(snapshot, views[start].part)


def _holds_dropped(snapshot: Snapshot, part: Part) -> bool:
    """Whether a segment has vectors, or codes, of fields that were dropped."""
    if not isinstance(part, SegmentPart):
        return False
    found = {int(match[1]) for name in part.segment.names() if (match := _COLUMN.match(name))}
    return not found.union(map(int, part.segment.meta.get("coded", {}))) <= set(snapshot.fields)


def _rewrite(state: State, first: int, last: int, step: Step | None = None) -> None:
    """Write the rows that are left in some segments as one. Reads and writes go on beside it."""
    snapshot = state.snapshot()
    views = snapshot.segments[first:last]
    old = entries(snapshot)[first:last]
    made = _merged(state, snapshot, views, step)
    try:
        with state.writing() as now:
            kept = entries(now)
            if old[0] not in kept:  # every row was deleted meanwhile, and these segments with them
                discard(state, made)
                return
            at = kept.index(old[0])
            kept[at : at + len(old)] = made
            change = Change(
                manifest={"segments": [asdict(e) for e in kept]},
                new_generation=True,
                dead_upto=(snapshot.head.version, _dead_elsewhere(state, snapshot.head.version, old)),
            )
            state.commit(change, unlink=tuple(old))
    except BaseException:
        discard(state, made)
        raise


def clear(state: State) -> None:
    """Delete the files that nobody reads any more."""
    with state.writing():  # over the latest state: an older one that nobody holds has given its lease back
        state.sweep()


def _merged(state: State, snapshot: Snapshot, views: tuple[View, ...], step: Step | None) -> list[Entry]:
    sources: list[tuple[Part, I64]] = [(view.part, view.positions()) for view in views if view.count]
    kind: IdKind = "int" if snapshot.head.ids == "int" else "str"
    return [write_segment(state, snapshot, sources, kind, step)] if sources else []


def _dead_elsewhere(state: State, version: int, old: list[Entry]) -> I64:
    """Rows that were taken away up to a version and lie in other segments."""
    rows = np.concatenate([np.zeros(0, np.int64), *(r for v, r, _ in state.catalog.dead(0) if v <= version)])
    inside = np.zeros(len(rows), np.bool_)
    for entry in old:
        inside |= (rows >= entry.first) & (rows <= entry.last)
    return np.asarray(rows[~inside])
