"""The catalogue of a Collection: one SQLite file, and the only commit point.

Tables (format 1)::

    manifest  key, json, crc            settings, fields, segments, garbage, head and what else there is one of
    tail      row, id, text, meta, crc, f0, f1 ...   fresh rows; f<i> holds the vector of field i
    dead      version, rows, crc        row numbers (int64) that a commit took away
    queries   number, field, vector, crc  the log of queries, where one is kept

SQLite checks no checksums of its own: every record has its CRC-32, and ``head`` the number and the exclusive or of
the checksums of tail and dead, so that a record that is changed or missing is noticed before it is used.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nearfield.core.errors import BadInput, Corrupt, NearfieldError, NotWritten, ReadOnly, StorageFull
from nearfield.core.protocols import I64
from nearfield.store.atomic import sync_folder
from nearfield.store.catalog_file import LOG, NAME, Look, can_write, connect, connect_reader, refuse_irregular
from nearfield.store.folder import Folder
from nearfield.store.locks import calm_at_fork
from nearfield.store.records import read_record
from nearfield.store.schema import MAGIC, TABLES, VERSION, check_format

_BUSY_MS = 20_000
_PATIENCE = 0.5  # seconds
_ABANDONED: list[sqlite3.Connection] = []  # a child must neither use nor close the connections of its parent
Durability = Literal["full", "relaxed"]
_TEXT, _BLOB = frozenset((str, type(None))), frozenset((bytes, type(None)))  # what SQLite gives for such a column


@dataclass(frozen=True)
class Head:
    """What each commit changes: versions, the next row number, and digests of the tables of rows."""

    version: int = 0  # of everything: one more with each commit
    generation: int = 0  # of the segment files
    next_row: int = 0
    ids: str = ""  # "int" or "str", once there are rows
    tail: tuple[int, int] = (0, 0)  # rows and the exclusive or of their checksums
    dead: tuple[int, int] = (0, 0)  # records, likewise
    records: tuple[int, int] = (0, 0)  # of the manifest, likewise, but for the head itself
    fields: int = 0  # how many fields there have ever been: the columns f0, f1 ... of the tail

    @classmethod
    def of(cls, record: dict[str, Any]) -> Head:
        """A head from its record, once that was checked."""
        known = {k: record[k] for k in cls.__dataclass_fields__}
        return cls(**known | {k: tuple(record[k]) for k in ("tail", "dead", "records")})

    def record(self) -> dict[str, Any]:
        """Its record."""
        return {k: getattr(self, k) for k in self.__dataclass_fields__}


def checksum(*parts: Any) -> int:
    """CRC-32 of the values of a record: as Python writes them (blobs: their length), then the blobs themselves."""
    told = "\0".join([str(len(p)) if isinstance(p, bytes) else repr(p) for p in parts])
    crc = zlib.crc32(told.encode("utf-8", errors="surrogatepass"))
    for part in parts:
        if isinstance(part, bytes):
            crc = zlib.crc32(part, crc)
    return crc


@dataclass
class TailRecord:
    """A fresh row as it lies in the tail."""

    row: int
    id: Any
    text: str | None
    meta: str | None
    vectors: tuple[bytes | None, ...]  # one for each field there ever was
    crc: int = 0

    def sealed(self) -> TailRecord:
        """With its checksum."""
        return replace(self, crc=self.digest())

    def digest(self) -> int:
        return checksum(self.row, self.id, self.text, self.meta, *(v for v in self.vectors if v is not None))

    def fault(self) -> str | None:
        """Why this cannot be a row, None where it can: SQLite keeps values of any type in any column."""
        if self.digest() != self.crc:
            return "does not match its checksum"
        named = type(self.id) is int or (type(self.id) is str and self.id != "")
        texts = type(self.text) in _TEXT and type(self.meta) in _TEXT
        if self.row < 0 or not named or not texts or not _BLOB.issuperset(map(type, self.vectors)):
            return "holds values of other types than rows have"
        return None


@dataclass
class Change:
    """What one commit does; applied whole or not at all."""

    added: list[TailRecord] = field(default_factory=list)  # rows for the tail
    gone: list[tuple[int, int]] = field(default_factory=list)  # rows that leave the tail, with their checksums
    dead: I64 | None = None  # row numbers that readers must no longer see
    manifest: dict[str, Any] = field(default_factory=dict)  # records to replace
    next_row: int | None = None
    ids: str | None = None
    new_generation: bool = False
    dead_upto: tuple[int, I64] | None = None  # all records up to this version become one, of these rows
    new_fields: int = 0


class Catalog:
    """One connection to the catalogue; its methods may be called by several threads."""

    def __init__(self, folder: Folder, *, write: bool, create: bool, durability: Durability) -> None:
        self.folder = folder
        self.path = folder.path / NAME
        self.write = write
        self._durability = durability
        self._guard = threading.RLock()
        self.uncertain = False  # a commit failed at its end: it may yet be found on the disk, until the next one
        calm_at_fork(self._guard)
        self._head: tuple[tuple[str, int] | None, Head] = (None, Head())  # as its record has it
        self._look: Look | None = None  # of a catalogue that is read without locks
        self._looks = 0
        with self.telling():
            self._open_patiently(create)

    # -- opening -----------------------------------------------------------------------------------

    def _open_patiently(self, create: bool) -> None:
        """Open it; a log that comes and goes with its writer cannot be read for a moment by those who cannot write."""
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                return self._open(create)
            except (ReadOnly, sqlite3.OperationalError):
                if self.write or can_write(self.folder) or time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def _open(self, create: bool) -> None:
        refuse_irregular(self.folder)
        if create and not self.path.exists():
            self._make()
        self.folder.remember(NAME)
        self._db = self._connect()
        try:
            self._prepare(create)
            self.folder.remember(NAME)  # SQLite opened it by its name
            self._watch_log()
        except BaseException:
            self._db.close()
            raise

    def _watch_log(self) -> None:
        """The log too must be the same from now on: SQLite would go on writing one that was deleted.

        It is there from the first read on until the last connection closes.
        """
        if self.write or can_write(self.folder):  # whoever cannot write holds no log, and sees it come and go
            self._db.execute("PRAGMA user_version").fetchone()
            self.folder.remember_anew(LOG)

    @property
    def immutable(self) -> bool:
        """Whether it is read without locks, since nobody writes it just now and this process cannot."""
        return self._look is not None

    def _connect(self) -> sqlite3.Connection:
        self._look = None
        if self.write:
            if not can_write(self.folder):
                raise ReadOnly(f"{self.folder.path}: the folder cannot be written; open it with mode='r'")
            return connect(self.folder, write=True)
        db, self._look = connect_reader(self.folder)
        self._looks += 1
        return db

    def _make(self) -> None:
        """Make the file under another name, then give it its own: whoever sees it sees all of it."""
        name = f"{NAME}.{os.urandom(4).hex()}.tmp"
        try:
            os.close(os.open(self.path.with_name(name), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))  # as umask allows
            self._db = connect(self.folder, write=True, name=name)
            try:
                self._db.execute("PRAGMA journal_mode = MEMORY")  # nobody sees the file yet
                self._create()
            finally:
                self._db.close()
            self.folder.check()
            os.replace(self.path.with_name(name), self.path)
        finally:
            with contextlib.suppress(OSError):
                self.path.with_name(name).unlink(missing_ok=True)
        sync_folder(self.folder.path)

    def _prepare(self, create: bool) -> None:
        db = self._db
        db.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("PRAGMA cell_size_check = ON")
        db.execute("PRAGMA temp_store = MEMORY")
        if not self.write:
            db.execute("PRAGMA query_only = ON")
        if create and not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            self._create()  # an earlier nearfield was stopped while it made the file
        self._check_format()
        if self.write:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA synchronous = {'FULL' if self._durability == 'full' else 'NORMAL'}")
            db.execute("PRAGMA journal_size_limit = 16777216")

    def _create(self) -> None:
        db = self._db
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("BEGIN IMMEDIATE")
        try:
            if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in TABLES.values():
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {MAGIC}")
                db.execute(f"PRAGMA user_version = {VERSION}")
                self._put("head", Head().record())
            db.execute("COMMIT")
        except BaseException:
            self._rollback()
            raise

    def _check_format(self) -> None:
        check_format(self._db, self.path)

    def close(self) -> None:
        """Close the connection; the log is merged into the file by the last one that closes."""
        with self._guard, contextlib.suppress(sqlite3.Error):
            self._db.close()

    def abandon(self) -> None:
        """Forget the connection without touching the file: it belongs to the process that this one was forked from."""
        _ABANDONED.append(self._db)

    # -- errors ------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """Turn what SQLite raises into one line that names the file."""
        try:
            yield
        except NearfieldError:
            raise
        except sqlite3.Error as error:
            raise self._told(error) from error
        except (UnicodeDecodeError, ValueError, RecursionError) as error:  # damaged text, or a message that quotes it
            raise Corrupt(f"{self.path}: damaged: holds text that cannot be read; see: check, repair") from error
        except OSError as error:
            if error.errno in (28, 122):
                raise StorageFull(
                    f"{self.path.parent}: the disk is full; what was there is intact, free some room"
                ) from error
            raise NotWritten(f"{self.path.parent}: {error.strerror or error}; what was committed is intact") from error

    def _told(self, error: sqlite3.Error) -> NearfieldError:
        said = str(error)
        if "full" in said:
            return StorageFull(f"{self.path}: the disk is full; what was there before is intact, free some room")
        if "readonly" in said or "read-only" in said:
            return ReadOnly(f"{self.path}: cannot be written ({said}); open it with mode='r'")
        if "locked" in said or "busy" in said:
            return NotWritten(f"{self.path}: another program holds SQLite's lock ({said}); try again")
        if "unable to open" in said:
            return BadInput(f"{self.path}: cannot be opened; see that the folder is there and may be read")
        if "disk I/O" in said:
            return NotWritten(
                f"{self.path}: the disk fails ({said}); what was committed is intact as far as it can be read"
            )
        return Corrupt(f"{self.path}: damaged ({said}); see: check, repair, or restore a backup")

    # -- reading -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """One consistent state for several reads; kept short, so that the log can be merged."""
        with self._guard, self.telling():
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                if self._db.in_transaction:
                    self._db.execute("COMMIT")

    def changed(self) -> int:
        """A number that differs once another connection has committed; raises ``Replaced`` for another folder."""
        self.folder.check_now_and_then()
        with self._guard, self.telling():
            if self._look is not None and (not self._look.settled or self.disturbed()):
                self._reopen()
            try:
                return self._version()
            except sqlite3.OperationalError:
                if self.write:
                    raise
            self._reopen()
            return self._version()

    def _version(self) -> int:
        """Of this connection; those of a connection before it are others."""
        of_data = 0 if self._look is not None else int(self._db.execute("PRAGMA data_version").fetchone()[0])
        return (self._looks << 32) + of_data

    def _reopen(self) -> None:
        """Read by another connection: the files are others, or a log came or went with its writer."""
        self._db.close()
        self._open_patiently(create=False)

    def disturbed(self, *, failed: bool = False) -> bool:
        """Whether a catalogue that this process cannot write was written meanwhile: what was read may be no state.

        What ``failed`` to be read is worth another try too where the last change is so near that it has no time of
        its own, and where a log came or went.
        """
        look = self._look
        if look is None:  # under SQLite's locks; what fails again is opened anew by ``changed``
            return failed and not self.write and not can_write(self.folder)
        return Look.at(self.folder).files != look.files or (failed and not look.settled)

    def head(self) -> Head:
        """The head; one that was read or written last is not read anew."""
        with self._guard, self.telling():
            found = self._found("head")
            if found is None:
                raise self._missing("head")
            if found != self._head[0]:
                self._head = (found, Head.of(self._parsed("head", *found)))
            return self._head[1]

    def check_records(self, head: Head) -> None:
        """Raise ``Corrupt`` unless the records of the manifest are those that this head was committed with."""
        with self._guard, self.telling():
            found = self._db.execute("SELECT key, json, crc FROM manifest WHERE key != 'head'").fetchall()
        digest = 0
        for key, text, crc in found:
            if checksum(key, text) != crc:
                raise Corrupt(f"{self.path}: the record {str(key)[:40]!r} does not match its checksum")
            digest ^= crc
        if (len(found), digest) != head.records:
            raise Corrupt(f"{self.path}: records of the manifest are missing, or are of another version")

    def get(self, key: str, default: Any = None) -> Any:
        """A record of the manifest, verified; ``default`` where there is none."""
        with self._guard, self.telling():
            found = self._found(key)
            if found is None:
                if default is None:
                    raise self._missing(key)
                return default
            return self._parsed(key, *found)

    def _found(self, key: str) -> Any:
        """The text and the checksum of a record as they lie there; None where there is none."""
        return self._db.execute("SELECT json, crc FROM manifest WHERE key = ?", (key,)).fetchone()

    def _missing(self, key: str) -> Corrupt:
        return Corrupt(f"{self.path}: the record {key!r} is missing")

    def _parsed(self, key: str, text: Any, crc: Any) -> Any:
        if checksum(key, text) != crc:
            raise Corrupt(f"{self.path}: the record {key!r} does not match its checksum")
        try:
            return read_record(key, text)
        except Corrupt as error:
            raise Corrupt(f"{self.path}: {error}; see: check, repair, or restore a backup") from None

    def tail(self, after: int, fields: int) -> list[TailRecord]:
        """The rows of the tail behind a row number, verified."""
        columns = "".join(f", f{i}" for i in range(fields))
        with self._guard, self.telling():
            found = self._db.execute(
                f"SELECT row, id, text, meta, crc{columns} FROM tail WHERE row > ? ORDER BY row", (after,)
            ).fetchall()
        out = [TailRecord(r[0], r[1], r[2], r[3], tuple(r[5:]), r[4]) for r in found]
        for record in out:
            fault = record.fault()
            if fault:
                raise Corrupt(f"{self.path}: row {record.row} of the tail {fault}; see: check, repair")
        return out

    def dead(self, after: int) -> list[tuple[int, I64, int]]:
        """What was taken away after a version: (version, row numbers, checksum), verified."""
        with self._guard, self.telling():
            found = self._db.execute(
                "SELECT version, rows, crc FROM dead WHERE version > ? ORDER BY version", (after,)
            ).fetchall()
        out = []
        for version, rows, crc in found:
            if not isinstance(rows, bytes) or len(rows) % 8 or checksum(version, rows) != crc:
                raise Corrupt(
                    f"{self.path}: the record of rows taken away by version {version} does not match its checksum"
                )
            out.append((version, np.frombuffer(rows, dtype="<i8"), crc))
        return out

    def logged(self, field: str) -> list[bytes]:
        """The logged queries of a field, oldest first; records that do not match their checksums are passed over."""
        with self._guard, self.telling():
            found = self._db.execute(
                "SELECT field, vector, crc FROM queries WHERE field = ? ORDER BY number", (field,)
            ).fetchall()
        return [v for name, v, crc in found if isinstance(v, bytes) and checksum(name, v) == crc]

    def log(self, queries: list[tuple[str, bytes]], most: int) -> None:
        """Note queries, and forget all but the last so many."""
        with self._guard, self.telling():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany(
                    "INSERT INTO queries(field, vector, crc) VALUES(?, ?, ?)",
                    [(name, vector, checksum(name, vector)) for name, vector in queries],
                )
                last = "SELECT number FROM queries ORDER BY number DESC LIMIT 1 OFFSET ?"
                self._db.execute(f"DELETE FROM queries WHERE number <= ({last})", (most,))
                self.folder.check()
                self._db.execute("COMMIT")
            except BaseException:
                self._rollback()
                raise

    # -- writing -----------------------------------------------------------------------------------

    def commit(self, change: Change) -> Head:
        """Apply a change in one transaction; durable when this returns (under ``full``).

        Raises ``Replaced`` where the name of the folder no longer leads to it: nobody would find the rows again.
        """
        with self._guard, self.telling():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                head = self._apply(change)
                self.folder.check()
                self.uncertain = True
                self._db.execute("COMMIT")
                self.uncertain = False
                return head
            except BaseException:
                self._rollback()
                raise

    def _apply(self, change: Change) -> Head:
        db, head = self._db, self.head()
        version = head.version + 1
        for number in range(head.fields, head.fields + change.new_fields):
            db.execute(f"ALTER TABLE tail ADD COLUMN f{number} BLOB")
        count, digest = head.tail
        if change.added:
            width = len(change.added[0].vectors)
            names = "".join(f", f{i}" for i in range(width))
            marks = ", ".join("?" * (5 + width))
            db.executemany(
                f"INSERT INTO tail(row, id, text, meta, crc{names}) VALUES({marks})",
                [(r.row, r.id, r.text, r.meta, r.crc, *r.vectors) for r in change.added],
            )
            for record in change.added:
                digest ^= record.crc
            count += len(change.added)
        if change.gone:
            db.executemany("DELETE FROM tail WHERE row = ?", [(row,) for row, _ in change.gone])
            for _, crc in change.gone:
                digest ^= crc
            count -= len(change.gone)
        dead = self._bury(change, version, head.dead)
        records = head.records
        for key, value in change.manifest.items():
            records = self._replaced(key, value, records)
        new = Head(
            version,
            head.generation + change.new_generation,
            head.next_row if change.next_row is None else change.next_row,
            head.ids if change.ids is None else change.ids,
            (count, digest),
            dead,
            records,
            head.fields + change.new_fields,
        )
        self._head = (self._put("head", new.record()), new)
        return new

    def _bury(self, change: Change, version: int, dead: tuple[int, int]) -> tuple[int, int]:
        db, (count, digest) = self._db, dead
        if change.dead_upto is not None:
            upto, rows = change.dead_upto
            for old, _, crc in self.dead(0):
                if old <= upto:
                    count, digest = count - 1, digest ^ crc
            db.execute("DELETE FROM dead WHERE version <= ?", (upto,))
            if len(rows):
                count, digest = count + 1, digest ^ self._insert_dead(upto, rows)
        if change.dead is not None and len(change.dead):
            count, digest = count + 1, digest ^ self._insert_dead(version, change.dead)
        return count, digest

    def _insert_dead(self, version: int, rows: I64) -> int:
        data = np.asarray(rows, dtype="<i8").tobytes()
        crc = checksum(version, data)
        self._db.execute("INSERT INTO dead VALUES(?, ?, ?)", (version, data, crc))
        return crc

    def _replaced(self, key: str, value: Any, records: tuple[int, int]) -> tuple[int, int]:
        """Write a record; the digest of all records afterwards."""
        count, digest = records
        old = self._db.execute("SELECT crc FROM manifest WHERE key = ?", (key,)).fetchone()
        return count + (old is None), digest ^ (0 if old is None else old[0]) ^ self._put(key, value)[1]

    def _put(self, key: str, value: Any) -> tuple[str, int]:
        """Write a record; what of it lies there now: its text and checksum."""
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        written = text, checksum(key, text)
        self._db.execute("INSERT OR REPLACE INTO manifest VALUES(?, ?, ?)", (key, *written))
        return written

    def _rollback(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def sync(self) -> None:
        """Have every commit on the disk."""
        with self._guard, self.telling():
            self._db.execute("PRAGMA wal_checkpoint(FULL)").fetchall()

    # -- upkeep ------------------------------------------------------------------------------------

    def shrink(self, *, thorough: bool = False) -> None:
        """Give free pages back to the disk; ``thorough`` rewrites the file, so that nothing deleted is left in it."""
        with self._guard, self.telling():
            if thorough:
                self._db.execute("VACUUM")
            else:
                self._db.executescript("PRAGMA incremental_vacuum")  # a page a step: execute() takes but one step
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def verify(self) -> None:
        """Have SQLite check its own structure, and read every record of the manifest."""
        with self._guard, self.telling():
            found = self._db.execute("PRAGMA integrity_check(1)").fetchone()[0]
            keys = [key for (key,) in self._db.execute("SELECT key FROM manifest")]
            fields = check_format(self._db, self.path)
        if found != "ok":
            raise Corrupt(f"{self.path}: damaged ({found})")
        for key in keys:
            self.get(key)
        if self.head().fields != fields:
            raise Corrupt(f"{self.path}: the tail has columns of {fields} fields, {self.head().fields} were made")

    def copy(self, target: Path) -> None:
        """Write a consistent copy of the catalogue into a new file."""
        with self._guard, self.telling():
            os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))  # as umask allows
            out = sqlite3.connect(target)
            try:
                self._db.backup(out)
            finally:
                out.close()
