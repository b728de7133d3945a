"""What the harness can be run on: stores of rows behind one small interface, among them some with planted faults."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import nearfield
from crash import model
from crash.model import Op, State
from nearfield.core.errors import NearfieldError, NotWritten
from nearfield.store.segments import Segment, SegmentWriter

PROBE = 1_000_000  # numbers from here on are written by checks only
Rows = Iterable[tuple[str, str, dict[str, Any], Any]]  # id, text, metadata, vector


class Target:
    """A store of rows in a folder of its own; ``apply`` returns when the operation is acknowledged."""

    errors: tuple[type[Exception], ...] = (NearfieldError,)  # what a call may raise when the disk fails
    durable = True  # acknowledged means: survives a loss of power

    def __init__(self, folder: Path, universe: int = 200) -> None:
        self.folder, self.universe = folder, universe

    def open(self) -> None:
        """Create the store, or open it for writing."""
        raise NotImplementedError

    def open_to_read(self) -> None:
        """Open it beside a writer."""
        self.open()

    def apply(self, op: Op) -> None:
        """Do an operation and wait until it is acknowledged."""
        if op.do == "reopen":
            self.close()
            self.open()
        elif op.do == "compact":
            self.compact()
        else:
            self.change(op)

    def change(self, op: Op) -> None:
        """Upsert, update or delete."""
        raise NotImplementedError

    def compact(self) -> None:
        """Rewrite what is there into fewer places."""

    def rows(self) -> Rows:
        """All rows, in one consistent reading."""
        raise NotImplementedError

    def read(self) -> State:
        """The state; raises ``Torn`` for a row that was never written."""
        return model.decode(self.rows())

    def check(self) -> None:
        """Raise where anything is damaged."""

    def close(self) -> None:
        """Let go of it."""

    def leftovers(self) -> list[str]:
        """Files that a writer, once it has opened and written, should have removed."""
        return sorted(path.name for path in self.folder.rglob("*.tmp"))


class Sqlite(Target):
    """A table of SQLite; one transaction for each operation."""

    errors = (sqlite3.Error, OSError)
    journal, synchronous = "wal", "full"

    def open(self) -> None:
        make_folder(self.folder)
        self.db = sqlite3.connect(self.folder / "rows.db", isolation_level=None, timeout=20)
        try:
            self.db.execute(f"PRAGMA journal_mode={self.journal}")
            self.db.execute(f"PRAGMA synchronous={self.synchronous}")
            self.db.execute("PRAGMA wal_autocheckpoint=20")  # so that short workloads meet checkpoints
            columns = "number INTEGER PRIMARY KEY, text TEXT, meta TEXT, vector BLOB"
            self.db.execute(f"CREATE TABLE IF NOT EXISTS row({columns})")
        except BaseException:
            self.db.close()
            raise

    def change(self, op: Op) -> None:
        with self._transaction():
            self._write(op)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self.db.execute("ROLLBACK")
            raise

    def _write(self, op: Op) -> None:
        if op.do == "upsert":
            vectors = model.vectors(op.numbers, op.version)
            for n, vector in zip(op.numbers, vectors, strict=True):
                row = n, model.text(n, op.version), json.dumps(model.meta(n, op.version)), vector.tobytes()
                self.db.execute("INSERT OR REPLACE INTO row VALUES (?, ?, ?, ?)", row)
        elif op.do == "update":
            changes = ((json.dumps(model.meta(n, op.version)), n) for n in op.numbers)
            self.db.executemany("UPDATE row SET meta=? WHERE number=?", changes)
        else:
            self.db.executemany("DELETE FROM row WHERE number=?", ((n,) for n in op.numbers))

    def compact(self) -> None:
        self.db.execute("VACUUM")

    def rows(self) -> Rows:
        for n, text, meta, vector in self.db.execute("SELECT * FROM row"):
            yield model.name(n), text, json.loads(meta), np.frombuffer(vector, np.float32)

    def check(self) -> None:
        said = self.db.execute("PRAGMA integrity_check").fetchall()
        if said != [("ok",)]:
            raise sqlite3.DatabaseError(str(said)[:300])

    def close(self) -> None:
        self.db.close()


def sqlite(journal: str, synchronous: str, *, durable: bool) -> type[Target]:
    """SQLite with some journal and some care."""
    return type("Sqlite", (Sqlite,), {"journal": journal, "synchronous": synchronous, "durable": durable})


class RowByRow(Sqlite):
    """Planted: a batch is committed row by row."""

    def change(self, op: Op) -> None:
        for number in op.numbers:
            super().change(Op(op.do, [number], op.version))


class EarlyAck(Sqlite):
    """Planted: an operation is acknowledged before it is done."""

    waiting: Op | None = None

    def change(self, op: Op) -> None:
        self._flush()
        self.waiting = op

    def rows(self) -> Rows:
        self._flush()
        return super().rows()

    def close(self) -> None:
        self._flush()
        super().close()

    def _flush(self) -> None:
        waiting, self.waiting = self.waiting, None
        if waiting:
            super().change(waiting)


class Whole(Target):
    """All rows in one file that is written anew for each operation; how, subclasses say."""

    file = "rows"

    def open(self) -> None:
        make_folder(self.folder)
        self.state = self._load() if (self.folder / self.file).exists() else {}

    def change(self, op: Op) -> None:
        state = op.applied(self.state)
        self._store(state)
        self.state = state

    def rows(self) -> Rows:
        state = self._load() if (self.folder / self.file).exists() else {}
        vectors = model.vectors(state, [version for version, _ in state.values()])
        for vector, (n, (version, mark)) in zip(vectors, state.items(), strict=True):
            yield model.name(n), model.text(n, version), model.meta(n, mark), vector

    def _load(self) -> State:
        raise NotImplementedError

    def _store(self, state: State) -> None:
        raise NotImplementedError


class OneSegment(Whole):
    """A segment file of nearfield, replaced as a whole."""

    file = "rows.nf"

    def open(self) -> None:
        try:
            super().open()
        except OSError as error:  # the folder is made by this harness, not by nearfield
            raise NotWritten(f"{self.folder}: {error.strerror}") from error

    def _load(self) -> State:
        segment = Segment(self.folder / self.file, "crash")
        segment.verify()
        return {int(n): (int(v), int(m)) for n, v, m in segment.column("rows")}

    def _store(self, state: State) -> None:
        rows = np.array([(n, v, m) for n, (v, m) in state.items()], np.int64).reshape(-1, 3)
        with SegmentWriter(self.folder / self.file, "crash") as writer:
            writer.add("ballast", np.arange(3000, dtype=np.int64))  # more than a page or two
            writer.add("rows", rows)
            writer.finish({"rows": len(rows)})

    def leftovers(self) -> list[str]:
        return []  # this store has no writer that would remove them


class Plain(Whole):
    """A file of JSON lines, replaced as a whole; each step that makes that safe can be left out."""

    errors = (OSError,)
    file = "rows.json"
    sync_file, sync_folder, in_place = True, True, False

    def _load(self) -> State:
        rows = [json.loads(line) for line in (self.folder / self.file).read_text("ascii").splitlines()]
        if rows[-1] != ["end", len(rows) - 1]:
            raise ValueError("the file is cut")
        return {n: (v, m) for n, v, m in rows[:-1]}

    def _store(self, state: State) -> None:
        final = self.folder / self.file
        path = final if self.in_place else final.with_suffix(".tmp")
        rows: list[list[Any]] = [[n, v, m] for n, (v, m) in state.items()]
        with open(path, "w", encoding="ascii") as file:
            for row in [*rows, ["end", len(rows)]]:
                file.write(json.dumps(row) + " " * 200 + "\n")
            file.flush()
            if self.sync_file:
                os.fsync(file.fileno())
        if not self.in_place:
            os.replace(path, final)
        if self.sync_folder:
            sync_folder(self.folder)


def plain(**switches: bool) -> type[Target]:
    """``Plain`` with some steps left out."""
    return type("Plain", (Plain,), switches)


class Collection(Target):
    """The Collection, by its public surface alone."""

    durability = "full"

    def open(self) -> None:
        # Scores are not asked for, and the dot product keeps vectors as they came.
        self.rows_: Any = nearfield.open(self.folder, dim=model.DIM, metric="dot", durability=self.durability)

    def open_to_read(self) -> None:
        self.rows_ = nearfield.open(self.folder, mode="r")

    def change(self, op: Op) -> None:
        ids = [model.name(n) for n in op.numbers]
        if op.do == "delete":
            self.rows_.delete(ids)
        elif op.do == "update":
            self.rows_.update(ids, meta=[model.meta(n, op.version) for n in op.numbers])
        else:
            texts = [model.text(n, op.version) for n in op.numbers]
            meta = [model.meta(n, op.version) for n in op.numbers]
            self.rows_.upsert(ids, model.vectors(op.numbers, op.version), texts=texts, meta=meta)

    def compact(self) -> None:
        self.rows_.compact()

    def rows(self) -> Rows:
        # That each row is also found by its id is asked on the way; another version in between makes no fault.
        while True:
            version = self.rows_.info()["version"]
            rows = list(self.rows_)
            ids = [row.id for row in rows]
            again, count = self.rows_.get(ids), self.rows_.count()
            if self.rows_.info()["version"] == version:
                break
        if [row.id for row in again] != ids or count != len(ids):
            raise model.Torn(f"{len(ids)} rows are there, {len(again)} found by id, {count} counted")
        for row in rows:
            yield row.id, row.text, row.meta, row.vector

    def check(self) -> None:
        found = self.rows_.check()
        if found:
            raise RuntimeError(f"check() finds {len(found)} faults: {found[0]}")

    def close(self) -> None:
        self.rows_.close()


class RelaxedCollection(Collection):
    """The Collection where the last operations may be lost with the power."""

    durability = "relaxed"
    durable = False


class GraphCollection(Collection):
    """The Collection under a Plan with a graph, from the first ``compact`` on; the originals are kept to be read."""

    plan = "float16() | vamana(degree=4, width=16)"

    def compact(self) -> None:
        info = self.rows_.info()
        if info["rows"] and not any(f.get("plan") for f in info["fields"].values()):
            self.rows_.recode(self.plan)
        super().compact()


class MovedCollection(Collection):
    """The Collection by a relative name, through a link that is turned to another collection before each operation."""

    def open(self) -> None:
        # Outside of what is watched, and the same for each process that opens this folder.
        side = Path(tempfile.gettempdir()) / f"moved-{zlib.crc32(os.fsencode(self.folder)):08x}"
        side.mkdir(exist_ok=True)
        self.way, self.decoy = side / "way", side / "decoy"
        self._turn(self.folder.parent)
        before = os.getcwd()
        os.chdir(side)
        try:
            name = Path(self.way.name) / self.folder.name
            self.rows_ = nearfield.open(name, dim=model.DIM, metric="dot", durability=self.durability)
        finally:
            os.chdir(before)
        self.decoy.mkdir(exist_ok=True)
        with nearfield.open(self.decoy / self.folder.name, dim=model.DIM) as decoy:
            decoy.upsert(["decoy"], model.vectors([1], 1))
        self._turn(self.decoy)

    def _turn(self, target: Path) -> None:
        """Have the link lead elsewhere, in one step."""
        fresh = self.way.with_name(self.way.name + ".new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target)
        os.replace(fresh, self.way)

    def change(self, op: Op) -> None:
        before = os.getcwd()
        os.chdir(self.decoy)
        try:
            super().change(op)
        finally:
            os.chdir(before)

    def check(self) -> None:
        super().check()
        if hasattr(self, "decoy"):
            with nearfield.open(self.decoy / self.folder.name) as decoy:
                if decoy.ids() != ["decoy"] or decoy.check():
                    raise RuntimeError("the other collection was written")


def make_folder(folder: Path) -> None:
    """Create a folder whose name survives."""
    if not folder.exists():
        folder.mkdir()
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def collection_missing() -> str | None:
    """Why the Collection cannot be tested; None where it can."""
    return None if hasattr(nearfield, "open") else "nearfield.open is not there yet"


TARGETS: dict[str, type[Target]] = {
    "collection": Collection,
    "collection-relaxed": RelaxedCollection,
    "collection-graph": GraphCollection,
    "collection-moved": MovedCollection,
    "segment": OneSegment,
    "sqlite-wal-full": Sqlite,
    "sqlite-wal-normal": sqlite("wal", "normal", durable=False),
    "sqlite-delete-extra": sqlite("delete", "extra", durable=True),
    "plain": Plain,
    # Planted faults, and settings that SQLite itself documents as unsafe: the harness has to find each of them.
    "sqlite-wal-normal-called-durable": sqlite("wal", "normal", durable=True),
    "sqlite-delete-full": sqlite("delete", "full", durable=True),
    "sqlite-delete-off": sqlite("delete", "off", durable=True),
    "sqlite-row-by-row": RowByRow,
    "sqlite-early-ack": EarlyAck,
    "plain-no-sync": plain(sync_file=False),
    "plain-no-folder-sync": plain(sync_folder=False),
    "plain-in-place": plain(in_place=True),
}
