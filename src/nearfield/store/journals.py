"""What SQLite finds beside a catalogue and acts upon by itself, before any of it can be looked at.

A rollback journal may name another file that a transaction over several databases went by; once it is rolled back
SQLite deletes that file, wherever it lies. Catalogues are written with a write-ahead log, and never several at once.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from nearfield.core.errors import Corrupt

_MAGIC = bytes.fromhex("d9d505f920a163d7")  # of a journal; at its end: behind the name of such a file


def check_beside(path: Path) -> None:
    """Raise ``Corrupt`` where a journal or log beside a catalogue is no file, or has SQLite reach for others."""
    for suffix in ("-journal", "-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        try:
            mode = os.lstat(beside).st_mode
        except OSError:
            continue
        if not stat.S_ISREG(mode):
            raise Corrupt(f"{beside}: expected a regular file, got a link, folder or device; refusing to follow it")
        if suffix == "-journal" and _end_of(beside) == _MAGIC:
            raise Corrupt(f"{beside}: names another file for SQLite to delete; nearfield writes none such, delete it")


def _end_of(path: Path) -> bytes:
    with open(path, "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(-min(len(_MAGIC), file.tell()), os.SEEK_END)
        return file.read()
