"""The file of the catalogue: how SQLite opens it, for writers, for readers, and for readers who cannot write at all."""

from __future__ import annotations

import os
import sqlite3
import time
from dataclasses import dataclass

from nearfield.core.errors import BadInput, ReadOnly, Unsupported
from nearfield.store.folder import Folder, is_there
from nearfield.store.journals import check_beside

NAME, LOG = "catalog.db", "catalog.db-wal"
_TICK = 100_000_000  # ns: two changes nearer than this may have one time of change


def refuse_irregular(folder: Folder) -> None:
    """Raise ``BadInput`` or ``Corrupt`` where what SQLite would open, or act upon by itself, is nothing of ours."""
    path = folder.path / NAME
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise BadInput(f"{path}: expected a regular file, got a link, folder or device; refusing to follow it")
    check_beside(path)


def refuse_shared(folder: Folder) -> None:
    """Raise ``Unsupported`` where the catalogue has other names too: they would change with it."""
    path = folder.path / NAME
    if is_there(path) and os.lstat(path).st_nlink > 1:
        raise Unsupported(
            f"{path}: is a hard link of another copy's, as cp -l makes them, and writing would change both; make it a "
            f"file of its own (cp {NAME} x && mv x {NAME}), or open it with mode='r'"
        )


def connect(folder: Folder, *, write: bool, create: bool = False, name: str = NAME) -> sqlite3.Connection:
    """A connection to the catalogue; to be closed by the caller. Raises what SQLite raises."""
    return _opened(folder, name, "rwc" if create else "rw" if write else "ro")


def connect_quiet(folder: Folder) -> sqlite3.Connection:
    """A connection that takes the file as it is now, without locks; right as long as nobody writes it."""
    return _opened(folder, NAME, "ro&immutable=1")


def connect_reader(folder: Folder) -> tuple[sqlite3.Connection, Look | None]:
    """A connection that reads, and how the files looked where it takes no locks: nobody writes them just now."""
    look = Look.at(folder)
    if can_write(folder) or has_log(folder):
        return connect(folder, write=False), None
    return connect_quiet(folder), look


def _opened(folder: Folder, name: str, how: str) -> sqlite3.Connection:
    uri = (folder.path / name).as_uri() + f"?mode={how}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=256)


def can_write(folder: Folder) -> bool:
    """Whether this process may make files in the folder."""
    return os.access(folder.path, os.W_OK)


def has_log(folder: Folder) -> bool:
    """Whether a writer's log lies there that a reader without rights can read: then SQLite keeps them apart.

    Raises ``ReadOnly`` where the log holds rows and its index is missing: only a writer can merge it.
    """
    log, index = (folder.path / (NAME + end) for end in ("-wal", "-shm"))
    if log.exists() and index.exists() and os.access(log, os.R_OK) and os.access(index, os.R_OK):
        return True
    if log.exists() and log.stat().st_size:
        raise ReadOnly(
            f"{folder.path}: the folder cannot be written, and a writer left a log that must be merged first; "
            "open it once where it can be written"
        )
    return False


@dataclass(frozen=True)
class Look:
    """How the files of the catalogue look; another look means that somebody wrote them."""

    files: tuple[tuple[int, int, int, int] | None, ...]  # device, inode, size and time of change
    settled: bool  # whether the last change lies far enough back for the next one to have another time

    @classmethod
    def at(cls, folder: Folder) -> Look:
        """Look at the files."""
        found: list[tuple[int, int, int, int] | None] = []
        for end in ("", "-wal"):
            try:
                told = os.stat(folder.path / (NAME + end), follow_symlinks=False)
                found.append((told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns))
            except FileNotFoundError:
                found.append(None)
        last = max((f[3] for f in found if f is not None), default=0)
        return cls(tuple(found), abs(time.time_ns() - last) > _TICK)
