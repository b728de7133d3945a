"""What a folder holds, whether it is sound, what a repair would cost, and a consistent copy of it."""

from __future__ import annotations

import contextlib
import functools
import json
import operator
import os
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nearfield.collection import coded
from nearfield.collection.plans import PLANS, Coded
from nearfield.collection.state import State, folder_bytes
from nearfield.core.errors import BadInput, Corrupt, NearfieldError, NotWritten
from nearfield.core.protocols import Progress
from nearfield.store.catalog import NAME, Catalog, Head, TailRecord, checksum
from nearfield.store.fields import Field
from nearfield.store.parts import FOLDER, Entry, SegmentPart
from nearfield.store.schema import VERSION
from nearfield.store.snapshot import Snapshot


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
            _try(found, view.part.verify)
            _check_codes(found, state.folder, snapshot, view.part)
        if progress:
            progress("check", i + 1, total)
    names: set[Any] = set()
    for view in snapshot.views:
        for position in view.positions().tolist():
            name = view.part.id(position)
            if name in names:
                found.append(f"{state.folder}: the id {name!r} is there twice")
            names.add(name)
    return found


def _check_codes(found: list[str], folder: Path, snapshot: Snapshot, part: SegmentPart) -> None:
    for number in snapshot.fields:
        plan = Coded.of(snapshot, number)
        if plan is not None and len(part.having(number)):
            _try(found, lambda n=number, f=plan.file: coded.packed_of(folder, part, n, f).verify())  # type: ignore[misc]


def _try(found: list[str], run: Callable[[], Any]) -> None:
    try:
        run()
    except NearfieldError as error:
        found.append(str(error))


# ---- backup ----------------------------------------------------------------------------------------
def backup(state: State, target: str | os.PathLike[str], progress: Progress | None = None) -> None:
    """Write a consistent copy into a new folder, while others read and write."""
    out = Path(target)
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
            _copy_files(state.folder, made, progress)
        if out.exists():
            out.rmdir()
        os.replace(made, out)
        _sync(out.parent)
    except OSError as error:
        if isinstance(error, NearfieldError):
            raise
        raise NotWritten(f"{out}: {error.strerror or error}; nothing of it is left behind") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _copy_files(folder: Path, made: Path, progress: Progress | None) -> None:
    catalog = Catalog(made, write=True, create=False, durability="full")
    try:
        stems = {Entry(**e).file.partition(".")[0] for e in catalog.get("segments", [])}
        plans = {str(p["file"]) for p in catalog.get("plans", {}).values()}
        catalog.shrink()
    finally:
        catalog.close()
    (made / FOLDER).mkdir()
    wanted = [p for p in sorted((folder / FOLDER).iterdir()) if p.name.partition(".")[0] in stems and p.suffix == ".nf"]
    wanted += [p for p in sorted((folder / PLANS).glob("*.nf")) if p.stem in plans]
    for i, path in enumerate(wanted):
        place = made / path.parent.name
        place.mkdir(exist_ok=True)
        shutil.copyfile(path, place / path.name, follow_symlinks=False)
        _sync(place / path.name)
        if progress:
            progress("backup", i + 1, len(wanted))
    for place in (made / FOLDER, made / PLANS, made):
        if place.is_dir():
            _sync(place)


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# ---- repair ----------------------------------------------------------------------------------------
def repair(folder: Path, *, dry_run: bool = True) -> list[str]:
    """Make a damaged folder one that opens again; tells, a line each, what is lost, or with ``dry_run`` would be.

    Segments that are damaged or missing are taken out of the catalogue and moved into ``damaged/``; rows of the tail
    that do not match their checksums are removed. The catalogue of before is kept beside it.
    """
    path = folder / NAME
    if not path.exists():
        raise BadInput(f"{folder}: no collection there: {NAME} is missing; restore a backup")
    try:
        uri = path.resolve().as_uri() + ("?mode=ro" if dry_run else "?mode=rw")
        db = sqlite3.connect(uri, uri=True, isolation_level=None)
        try:
            return _repaired(folder, db, dry_run)
        finally:
            db.close()
    except sqlite3.DatabaseError as error:
        raise Corrupt(f"{path}: SQLite cannot read it ({error}), so it cannot be repaired; restore a backup") from None


def _repaired(folder: Path, db: sqlite3.Connection, dry_run: bool) -> list[str]:
    told: list[str] = []
    records = _records(db, told, folder)
    head = Head(**{**records["head"], **{k: tuple(records["head"][k]) for k in ("tail", "dead", "records")}})
    fields = {int(k): Field.of(v["field"]) for k, v in records["fields"].items()}
    good, bad = [], []
    for item in records["segments"]:
        entry = Entry(**item)
        try:
            SegmentPart(folder, entry, fields).verify()
            good.append(entry)
        except NearfieldError as error:
            bad.append(entry)
            told.append(f"{entry.file}: {entry.n} rows (numbers {entry.first} to {entry.last}) are lost: {error}")
    tail, lost = _sound_tail(db, head)
    told += [f"tail: row {row} is lost: it does not match its checksum" for row in lost]
    dead, lost_dead = _sound_dead(db)
    told += [f"dead: the record of version {v} is lost: rows deleted then come back" for v in lost_dead]
    if head.tail != tail and not lost:
        told.append(f"tail: {head.tail[0]} rows expected, {tail[0]} are there: the others are lost")
    if not told or dry_run:
        return told
    shutil.copyfile(folder / NAME, folder / f"{NAME}.before-repair")
    db.execute("BEGIN IMMEDIATE")
    db.executemany("DELETE FROM tail WHERE row = ?", [(row,) for row in lost])
    db.executemany("DELETE FROM dead WHERE version = ?", [(v,) for v in lost_dead])
    _put(db, "segments", [asdict(e) for e in good])
    crcs = [crc for (crc,) in db.execute("SELECT crc FROM manifest WHERE key != 'head'")]
    new = {**asdict(head), "tail": tail, "dead": dead, "records": (len(crcs), functools.reduce(operator.xor, crcs, 0))}
    _put(db, "head", new | {"version": head.version + 1, "generation": head.generation + 1})
    db.execute("COMMIT")
    (folder / "damaged").mkdir(exist_ok=True)
    for entry in bad:
        source = folder / FOLDER / entry.file
        if source.exists():
            os.replace(source, folder / "damaged" / entry.file)
    return told


def _records(db: sqlite3.Connection, told: list[str], folder: Path) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, text, crc in db.execute("SELECT key, json, crc FROM manifest"):
        if checksum(key, text) == crc:
            out[key] = json.loads(text)
        else:
            told.append(f"{NAME}: the record {key!r} does not match its checksum")
    for key in ("head", "fields", "segments", "settings"):
        if key not in out:
            raise Corrupt(f"{folder / NAME}: the record {key!r} is lost, so it cannot be repaired; restore a backup")
    return out


def _sound_tail(db: sqlite3.Connection, head: Head) -> tuple[tuple[int, int], list[int]]:
    columns = "".join(f", f{i}" for i in range(head.fields))
    count, digest, lost = 0, 0, []
    for r in db.execute(f"SELECT row, id, text, meta, crc{columns} FROM tail").fetchall():
        record = TailRecord(r[0], r[1], r[2], r[3], tuple(r[5:]), r[4])
        if record.digest() == record.crc:
            count, digest = count + 1, digest ^ record.crc
        else:
            lost.append(record.row)
    return (count, digest), lost


def _sound_dead(db: sqlite3.Connection) -> tuple[tuple[int, int], list[int]]:
    count, digest, lost = 0, 0, []
    for version, rows, crc in db.execute("SELECT version, rows, crc FROM dead").fetchall():
        if isinstance(rows, bytes) and checksum(version, rows) == crc:
            count, digest = count + 1, digest ^ crc
        else:
            lost.append(version)
    return (count, digest), lost


def _put(db: sqlite3.Connection, key: str, value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    db.execute("UPDATE manifest SET json = ?, crc = ? WHERE key = ?", (text, checksum(key, text), key))
