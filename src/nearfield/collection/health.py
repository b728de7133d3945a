"""What a folder holds, whether it is sound, what a repair would cost, and a consistent copy of it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial, reduce
from operator import xor
from pathlib import Path
from typing import Any

from nearfield.collection import coded, matching
from nearfield.collection.plans import PLANS, Coded, plan_file
from nearfield.collection.state import State, folder_bytes, refuse_links
from nearfield.core.errors import BadInput, Corrupt, NearfieldError, NotWritten
from nearfield.core.protocols import Progress
from nearfield.search.plan import Plan
from nearfield.search.whole import check_whole
from nearfield.store import tokenizers
from nearfield.store.atomic import sync_folder
from nearfield.store.blame import blaming
from nearfield.store.catalog import Catalog, Head, TailRecord, checksum
from nearfield.store.catalog_file import NAME, connect, connect_reader, refuse_irregular, refuse_shared
from nearfield.store.fields import Field
from nearfield.store.folder import Folder, is_there
from nearfield.store.locks import Lock
from nearfield.store.parts import FOLDER, Entry, Fields, SegmentPart
from nearfield.store.records import read_record
from nearfield.store.schema import VERSION, check_format
from nearfield.store.snapshot import Snapshot
from nearfield.store.sound import check_lists, check_segment, check_tail, fault_of
from nearfield.store.tail import TailPart
from nearfield.store.textindex import TextIndex

_NEEDED = ("head", "fields", "segments", "settings", "plans")  # without which nothing can be told of the rows

DAMAGED = "damaged"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_WAIT = 5.0  # seconds for a writer to end


def info(state: State) -> dict[str, Any]:
    """Rows, fields, Plans, and how many bytes are of use."""
    snapshot = state.snapshot()
    total = folder_bytes(state.folder)
    live = sum(_share(v.count, v.part.n) * _bytes_of(state.folder, v.part) for v in snapshot.segments)
    tail = snapshot.tail_part.tail.nbytes * _share(snapshot.tail.count, snapshot.tail.part.n)
    of_use = int(live + tail)
    return {
        "path": str(state.folder),
        "format": VERSION,
        "version": snapshot.head.version,
        "rows": len(snapshot),
        "dead_rows": sum(v.part.n - v.count for v in snapshot.views),
        "segments": len(snapshot.segments),
        "tail_rows": snapshot.tail.count,
        "bytes": total,
        "live_bytes": of_use,
        "dead_bytes": max(0, total - of_use),
        "ids": snapshot.head.ids or None,
        "fields": {name: _described(snapshot, number) for name, number in snapshot.names.items()},
        "texts": any(v.part.texts is not None for v in snapshot.segments) or any(snapshot.tail_part.tail.texts),
        "keys": {path: sorted(types) for path, types in sorted(snapshot.paths.items())},
        "durability": state.durability,
    }


def _share(some: int, all_: int) -> float:
    return some / all_ if all_ else 0.0


def _bytes_of(folder: Path, part: Any) -> int:
    stem = part.path.stem
    return sum(p.stat().st_size for p in (folder / FOLDER).iterdir() if p.name.partition(".")[0] == stem)


def _described(snapshot: Snapshot, number: int) -> dict[str, Any]:
    field, plan = snapshot.fields[number], Coded.of(snapshot, number)
    out = field.record()
    if plan is not None:
        out |= {"plan": plan.plan, "originals": plan.keep}
    return out


def check(state: State, progress: Progress | None = None) -> list[str]:
    """Read every byte; a line for each thing that is wrong, none where all is sound."""
    found: list[str] = []
    _try(found, state.catalog.verify)
    snapshot = state.snapshot()
    total = len(snapshot.segments)
    for i, view in enumerate(snapshot.segments):
        if isinstance(view.part, SegmentPart):
            _try(found, partial(check_segment, view.part, snapshot.fields))
            _try(found, partial(_check_lists, state, view.part))
            _check_codes(found, snapshot, view.part)
        if progress:
            progress("check", i + 1, total)
    found += check_tail(snapshot.tail_part, snapshot.fields, state.catalog.path)
    _try(found, partial(_check_once, found, state.folder, snapshot))
    return found


def _check_once(found: list[str], folder: Path, snapshot: Snapshot) -> None:
    names: set[Any] = set()
    for view in snapshot.views:
        at = view.positions()
        part = view.part
        for name in map(part.id, at.tolist()) if isinstance(part, TailPart) else part.ids.at(at):
            if name in names:
                found.append(f"{folder}: the id {name!r} is there twice")
            names.add(name)


def _check_lists(state: State, part: SegmentPart) -> None:
    """The inverted lists beside a segment, where there are some that would be used."""
    settings = state.settings()
    if settings is None:
        return
    tokenizer = tokenizers.read(settings.tokenizer)
    path = matching.lists_file(part, tokenizer)
    check_lists(path, TextIndex.load(path, tokenizer, part.n), partial(matching.indexed, part, tokenizer))


def _check_codes(found: list[str], snapshot: Snapshot, part: SegmentPart) -> None:
    for number in snapshot.fields:
        plan = Coded.of(snapshot, number)
        if plan is not None and len(part.having(number)):
            _try(found, partial(_check_coded, part, number, plan))


def _check_coded(part: SegmentPart, number: int, plan: Coded) -> None:
    packed = coded.packed_of(part, number, plan.file)
    if str(packed.plan) != str(Plan(plan.plan)):
        raise Corrupt(f"{plan_file(part.folder.path, plan.file)}: holds another plan than the catalogue names")
    path = coded.codes_file(part, plan.file, number)
    vectors = part.vectors(number)
    with blaming(path):
        packed.now.verify()
        check_whole(packed.now, None if vectors is None else vectors.values.__getitem__)


def _try(found: list[str], run: Callable[[], Any]) -> None:
    try:
        run()
    except NearfieldError as error:
        found.append(str(error))


# ---- backup ----------------------------------------------------------------------------------------
def backup(state: State, target: str | os.PathLike[str], progress: Progress | None = None) -> None:
    """Write a consistent copy into a new folder, while others read and write."""
    out = Path(os.path.abspath(target))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(f"{out}: expected a new or empty folder for the copy, got one that holds something")
    if not out.parent.is_dir():
        raise BadInput(f"{out}: the folder {str(out.parent)!r} does not exist; create it first")
    if out.resolve().is_relative_to(state.folder.resolve()):
        raise BadInput(f"{out}: expected a folder outside the collection")
    made = out.with_name(f"{out.name}.{os.urandom(4).hex()}.tmp")
    hold = contextlib.nullcontext() if state.mode == "r" else state.work.held(state.timeout)
    try:
        with hold, state.catalog.telling():  # segments are only deleted by whoever holds this lock
            made.mkdir()
            state.catalog.copy(made / NAME)
            _copy_files(state.place, made, progress)
        state.place.check()
        if out.exists():
            out.rmdir()
        os.replace(made, out)
        sync_folder(out.parent)
    except OSError as error:
        if isinstance(error, NearfieldError):
            raise
        raise NotWritten(f"{out}: {error.strerror or error}; nothing of it is left behind") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _copy_files(folder: Folder, made: Path, progress: Progress | None) -> None:
    place = Folder(made)
    catalog = Catalog(place, write=True, create=False, durability="full")
    try:
        stems = {Entry(**e).file.partition(".")[0] for e in catalog.get("segments", [])}
        plans = {str(p["file"]) for p in catalog.get("plans", {}).values()}
        catalog.shrink()
    finally:
        catalog.close()
        place.close()
    (made / FOLDER).mkdir()
    wanted = [(FOLDER, n) for n in folder.names(FOLDER) if n.partition(".")[0] in stems and n.endswith(".nf")]
    wanted += [(PLANS, n) for n in folder.names(PLANS) if n.removesuffix(".nf") in plans]
    for i, (part, name) in enumerate(wanted):
        (made / part).mkdir(exist_ok=True)
        _copy(folder, part, name, os.open(made / part / name, _NEW, 0o666))
        if progress:
            progress("backup", i + 1, len(wanted))
    for path in (made / FOLDER, made / PLANS, made):
        if path.is_dir():
            sync_folder(path)


def _copy(folder: Folder, part: str, name: str, target: int) -> None:
    """Copy a file of the folder into one that is open, and have it on the disk."""
    with os.fdopen(target, "wb") as out, os.fdopen(folder.open(part, name, os.O_RDONLY), "rb") as file:
        shutil.copyfileobj(file, out, 1 << 20)
        out.flush()
        os.fsync(out.fileno())


# ---- repair ----------------------------------------------------------------------------------------
def repair(folder: Path, *, dry_run: bool = True) -> list[str]:
    """Make a damaged folder one that opens again; tells, a line each, what is lost, or with ``dry_run`` would be.

    Segments that are damaged or missing are taken out of the catalogue and moved into ``damaged/``; rows of the tail
    that do not match their checksums are removed. The catalogue of before is kept beside it.
    """
    path = folder / NAME
    if not is_there(path):
        raise BadInput(f"{folder}: no collection there: {NAME} is missing; restore a backup")
    with contextlib.ExitStack() as held:
        place = Folder(folder)
        held.callback(place.close)
        refuse_links(place.path)
        refuse_irregular(place)
        if not dry_run:
            refuse_shared(place)
            for lock in (Lock(place, "work", "being compacted"), Lock(place, "lock", "being written")):
                held.callback(lock.close)
                held.enter_context(lock.held(_WAIT))
        try:
            db = connect_reader(place)[0] if dry_run else connect(place, write=True)
            held.callback(db.close)
            return _repaired(place, db, dry_run)
        except sqlite3.DatabaseError as error:
            if "unable to open" in str(error):
                raise BadInput(f"{path}: cannot be opened, nothing was changed; see to the rights to it") from None
            raise Corrupt(
                f"{path}: SQLite cannot read it ({error}), so it cannot be repaired; restore a backup"
            ) from None
        except UnicodeDecodeError:
            raise Corrupt(f"{path}: holds text that is none, so it cannot be repaired; restore a backup") from None


def _repaired(place: Folder, db: sqlite3.Connection, dry_run: bool) -> list[str]:
    folder = place.path
    told: list[str] = []
    check_format(db, folder / NAME)  # before anything is read: a view or trigger would run as code
    records, unread = _records(db, told, folder)
    head = Head.of(records["head"])
    fields = {int(k): Field.of(v["field"]) for k, v in records["fields"].items()}
    good: list[Entry] = []
    bad: list[Entry] = []
    for item in records["segments"]:
        entry = Entry(**item)
        try:
            part = SegmentPart(place, entry, fields)
            if good and good[-1].last >= entry.first:
                raise Corrupt(f"its rows overlap those of {good[-1].file}")
            if part.segment.meta["ids"] != head.ids or entry.last >= head.next_row:
                raise Corrupt("its ids are of another kind than the others, or its rows were never numbered")
            check_segment(part, fields)
            good.append(entry)
        except Corrupt as error:
            bad.append(entry)
            told.append(f"{entry.file}: {entry.n} rows (numbers {entry.first} to {entry.last}) are lost: {error}")
        except (OSError, NearfieldError) as error:  # no rights, no memory, no handles: that says nothing of its rows
            raise BadInput(f"{folder}: {entry.file} cannot be read now, nothing was changed: {error}") from None
    tail, lost, why = _sound_tail(db, head, fields, max((e.last for e in good), default=-1))
    told += [f"tail: row {row} is lost: it {fault}" for row, fault in zip(lost, why)]
    dead, lost_dead = _sound_dead(db)
    told += [f"dead: the record of version {v} is lost: rows deleted then come back" for v in lost_dead]
    if head.tail != tail and not lost:
        told.append(f"tail: {head.tail[0]} rows expected, {tail[0]} are there: the others are lost")
    if head.dead != dead and not lost_dead:
        told.append(f"dead: {head.dead[0]} records expected, {dead[0]} are there: rows deleted then come back")
    if head.records != _digest(db) and not unread:
        told.append(f"{NAME}: the records are of another version than the head: what it left out is lost")
    if not told or dry_run:
        return told
    _keep_catalog(place, db)
    with _put_aside(place, [entry.file for entry in bad]):
        db.execute("BEGIN IMMEDIATE")
        db.executemany("DELETE FROM tail WHERE row = ?", [(row,) for row in lost])
        db.executemany("DELETE FROM dead WHERE version = ?", [(v,) for v in lost_dead])
        db.executemany("DELETE FROM manifest WHERE key = ?", [(key,) for key in unread])
        _put(db, "segments", [asdict(e) for e in good])
        new = {**head.record(), "tail": tail, "dead": dead, "records": _digest(db)}
        _put(db, "head", new | {"version": head.version + 1, "generation": head.generation + 1})
        db.execute("COMMIT")
    return told


@contextlib.contextmanager
def _put_aside(place: Folder, names: list[str]) -> Iterator[None]:
    """Move segments into ``damaged/``, and back where what follows fails: one that no catalogue names is deleted."""
    moved: list[str] = []
    try:
        if names:
            place.make(DAMAGED)
        for name in names:
            place.move(FOLDER, DAMAGED, name)
            moved.append(name)
        yield
    except BaseException:
        for name in moved:
            place.move(DAMAGED, FOLDER, name)
        raise


def _keep_catalog(place: Folder, db: sqlite3.Connection) -> None:
    """A copy of the catalogue of before beside it, under a name that was free."""
    with contextlib.suppress(sqlite3.Error):
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    for number in itertools.count(1):
        name = f"{NAME}.before-repair" + (f"-{number}" if number > 1 else "")
        with contextlib.suppress(FileExistsError):
            _copy(place, ".", NAME, place.open(".", name, _NEW))
            return


def _digest(db: sqlite3.Connection) -> tuple[int, int]:
    crcs = [crc for (crc,) in db.execute("SELECT crc FROM manifest WHERE key != 'head'") if isinstance(crc, int)]
    return len(crcs), reduce(xor, crcs, 0)


def _records(db: sqlite3.Connection, told: list[str], folder: Path) -> tuple[dict[str, Any], list[Any]]:
    """The records of the manifest that make sense, and the keys of those that do not."""
    out: dict[str, Any] = {}
    unread: list[Any] = []
    for key, text, crc in db.execute("SELECT key, json, crc FROM manifest").fetchall():
        try:
            if checksum(key, text) != crc:
                raise Corrupt(f"the record {key!r} does not match its checksum")
            out[key] = read_record(key, text)
        except Corrupt as error:
            unread.append(key)
            told.append(f"{NAME}: {error}")
    for key in _NEEDED:
        if key not in out:
            raise Corrupt(f"{folder / NAME}: the record {key!r} is lost, so it cannot be repaired; restore a backup")
    return out, unread


def _sound_tail(
    db: sqlite3.Connection, head: Head, fields: Fields, last: int
) -> tuple[tuple[int, int], list[int], list[str]]:
    """How many rows of the tail are sound, with the digest of them; the others, and why they are not.

    Rows of the tail come behind those of all segments, of which the last has this number.
    """
    columns = "".join(f", f{i}" for i in range(head.fields))
    count, digest, lost, why = 0, 0, [], []
    for r in db.execute(f"SELECT row, id, text, meta, crc{columns} FROM tail").fetchall():
        record = TailRecord(r[0], r[1], r[2], r[3], tuple(r[5:]), r[4])
        fault = fault_of(record, fields)
        if fault is None and type(record.id).__name__ != head.ids:
            fault = "has an id of another type than the others"
        if fault is None and not last < record.row < head.next_row:
            fault = "has the number of another row, or one that was never given"
        if fault is None:
            count, digest = count + 1, digest ^ record.crc
        else:
            lost.append(record.row)
            why.append(fault)
    return (count, digest), lost, why


def _sound_dead(db: sqlite3.Connection) -> tuple[tuple[int, int], list[int]]:
    count, digest, lost = 0, 0, []
    for version, rows, crc in db.execute("SELECT version, rows, crc FROM dead").fetchall():
        if isinstance(rows, bytes) and len(rows) % 8 == 0 and checksum(version, rows) == crc:
            count, digest = count + 1, digest ^ crc
        else:
            lost.append(version)
    return (count, digest), lost


def _put(db: sqlite3.Connection, key: str, value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    db.execute("UPDATE manifest SET json = ?, crc = ? WHERE key = ?", (text, checksum(key, text), key))
