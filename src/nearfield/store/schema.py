"""What a catalogue may be made of: exactly the tables of this format, and what SQLite makes by itself.

A trigger or view runs code of whoever wrote the file, whatever it is called, and a table under one of our names may be
a view over others: so the type, name and text of every entry of the schema are compared with what this code makes.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from nearfield.core.errors import Corrupt
from nearfield.store.records import MOST_FIELDS

MAGIC = 0x4E465244  # application_id
VERSION = 1
TABLES = {
    "manifest": "CREATE TABLE manifest(key TEXT PRIMARY KEY, json TEXT NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID",
    "tail": "CREATE TABLE tail(row INTEGER PRIMARY KEY, id NOT NULL, text TEXT, meta TEXT, crc INTEGER NOT NULL)",
    "dead": "CREATE TABLE dead(version INTEGER PRIMARY KEY, rows BLOB NOT NULL, crc INTEGER NOT NULL)",
    "queries": "CREATE TABLE queries(number INTEGER PRIMARY KEY, field TEXT NOT NULL, vector BLOB NOT NULL, "
    "crc INTEGER NOT NULL)",
}
_OWN = {  # what SQLite itself adds: the statistics of ANALYZE
    ("table", "sqlite_stat1", "sqlite_stat1", "CREATE TABLE sqlite_stat1(tbl,idx,stat)"),
    ("table", "sqlite_stat4", "sqlite_stat4", "CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)"),
}


def check_format(db: sqlite3.Connection, path: Path) -> int:
    """Raise ``Corrupt`` unless this is a catalogue of this format and nothing else; how many fields its tail has."""
    magic, version = (db.execute(f"PRAGMA {p}").fetchone()[0] for p in ("application_id", "user_version"))
    if magic != MAGIC:
        raise Corrupt(f"{path}: not the catalogue of a nearfield collection, or damaged at offset 68")
    if version != VERSION:
        raise Corrupt(
            f"{path}: written in format {version}; this nearfield reads format {VERSION}: "
            f"{'upgrade nearfield' if version > VERSION else 'the file is damaged at offset 60'}"
        )
    fields, missing = 0, set(TABLES)
    for kind, name, table, sql in db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"):
        if (kind, name, table, sql) in _OWN:
            continue
        count = _fields_of(name, sql) if kind == "table" and table == name else None
        if count is None or name not in missing:
            raise Corrupt(f"{path}: holds the {kind} {str(name)[:40]!r}, which nearfield did not make")
        missing.remove(name)
        fields = max(fields, count)
    if missing:
        raise Corrupt(f"{path}: damaged: the table {min(missing)!r} is missing; restore a backup")
    return fields


def _fields_of(name: Any, sql: Any) -> int | None:
    """How many columns of vectors a table has whose text is what this code makes; None where it is another."""
    if not isinstance(name, str) or not isinstance(sql, str) or name not in TABLES:
        return None
    if sql == TABLES[name]:
        return 0
    if name != "tail":
        return None
    count = sql.count(", f")
    return count if count <= MOST_FIELDS and sql == with_fields(count) else None


def with_fields(count: int) -> str:
    """The text of the tail's table once so many columns were added: SQLite writes each before the last bracket."""
    return TABLES["tail"][:-1] + "".join(f", f{i} BLOB" for i in range(count)) + ")"
