"""The schema of a catalogue is exactly ours: nothing in it runs when it is opened, checked, repaired or written."""

from __future__ import annotations

import shutil
import sqlite3
import struct
from pathlib import Path

import pytest
from tests.hostile.templates import X

import nearfield as nf
from nearfield.collection.health import repair
from nearfield.core.errors import Corrupt


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("schema") / "notes"
    c = nf.open(place, dim=8)
    c.upsert(list(range(20)), X[:20])
    c.close()
    return place


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT"
INSERT = "INSERT INTO sqlite_master VALUES('{}', '{}', '{}', {}, '{}')"
TRIGGER = "CREATE TRIGGER sqlite_t AFTER INSERT ON tail BEGIN DELETE FROM tail; END"
LOOP = f"CREATE VIEW {{}} AS {ENDLESS} i AS key, i AS json, i AS crc, i AS row, i AS id FROM n"
CASES = {
    "a trigger of SQLite's own name": [INSERT.format("trigger", "sqlite_t", "tail", 0, TRIGGER)],
    "a trigger": ["CREATE TRIGGER t AFTER INSERT ON tail BEGIN DELETE FROM tail; END"],
    "a view that is called manifest": [
        "ALTER TABLE manifest RENAME TO kept",
        INSERT.format("view", "manifest", "manifest", 0, LOOP.format("manifest")),
    ],
    "a view that is called tail": [
        "ALTER TABLE tail RENAME TO sqlite_kept", INSERT.format("view", "tail", "tail", 0, LOOP.format("tail")),
    ],
    "an index": ["CREATE INDEX i ON tail(id)"],
    "another table": ["CREATE TABLE more(x)"],
    "a table of SQLite's name with another text": [
        "CREATE TABLE x(a, b, c)", "UPDATE sqlite_master SET name = 'sqlite_stat1', tbl_name = 'sqlite_stat1' "
        "WHERE name = 'x'",
    ],
    "a default that is computed": [
        "UPDATE sqlite_master SET sql = replace(sql, 'text TEXT', 'text TEXT DEFAULT (randomblob(9))') "
        "WHERE name = 'tail'",
    ],
    "a generated column": ["ALTER TABLE tail ADD COLUMN f1 BLOB AS (id)"],
    "a column between": ["ALTER TABLE tail ADD COLUMN f7 BLOB"],
    "a table that is missing": ["DROP TABLE dead"],
    "a virtual table": ["CREATE VIRTUAL TABLE v USING fts5(x)"],
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_another_schema_is_refused_everywhere(folder: Path, tmp_path: Path, case: str) -> None:
    here = tmp_path / "notes"
    shutil.copytree(folder, here)
    db = sqlite3.connect(here / "catalog.db", isolation_level=None)
    db.execute("PRAGMA writable_schema = ON")
    db.execute("PRAGMA legacy_alter_table = ON")
    for statement in CASES[case]:
        db.execute(statement)
    db.close()
    for look in (lambda: nf.open(here), lambda: nf.open(here, mode="r"), lambda: repair(here), lambda: _repair(here)):
        with pytest.raises(Corrupt, match=r"catalog\.db: .*(did not make|missing|malformed|cannot read)"):
            look()


def _journal(here: Path, name: bytes) -> None:
    """A journal to be rolled back that gives back the first page, and names another file behind it."""
    page = (here / "catalog.db").read_bytes()[:4096]
    magic, word = bytes.fromhex("d9d505f920a163d7"), struct.Struct(">I")
    pages = (here / "catalog.db").stat().st_size // 4096
    head = magic + b"".join(map(word.pack, (1, 7, pages, 512, 4096)))
    record = word.pack(1) + page + word.pack(7 + sum(page[i] for i in range(4096 - 200, 0, -200)))
    end = word.pack((1 << 30) // 4096 + 1) + name + word.pack(len(name)) + word.pack(sum(name)) + magic
    (here / "catalog.db-journal").write_bytes(head.ljust(512, b"\0") + record + end)


def test_a_journal_cannot_have_another_file_deleted(folder: Path, tmp_path: Path) -> None:
    here, outside = tmp_path / "notes", tmp_path / "outside.txt"
    outside.write_text("precious")
    shutil.copytree(folder, here)
    _journal(here, str(outside).encode())
    for look in (lambda: nf.open(here), lambda: nf.open(here, mode="r"), lambda: repair(here), lambda: _repair(here)):
        with pytest.raises(Corrupt, match=r"catalog\.db-journal: names another file"):
            look()
    assert outside.read_text() == "precious"


@pytest.mark.parametrize("suffix", ["-journal", "-wal", "-shm"])
def test_links_beside_a_catalogue_are_refused(folder: Path, tmp_path: Path, suffix: str) -> None:
    here, outside = tmp_path / "notes", tmp_path / "outside.txt"
    outside.write_text("precious")
    shutil.copytree(folder, here)
    (here / f"catalog.db{suffix}").symlink_to(outside)
    for look in (lambda: nf.open(here), lambda: repair(here)):
        with pytest.raises(Corrupt, match="got a link"):
            look()
    assert outside.read_text() == "precious"


def _repair(here: Path) -> list[str]:
    return repair(here, dry_run=False)


def test_what_sqlite_makes_by_itself_is_not_refused(folder: Path, tmp_path: Path) -> None:
    here = tmp_path / "notes"
    shutil.copytree(folder, here)
    db = sqlite3.connect(here / "catalog.db", isolation_level=None)
    db.execute("ANALYZE")
    db.execute("VACUUM")
    db.close()
    with nf.open(here) as c:
        c.add_field("b", nf.dense(3))
        c.upsert(["x"] if c.info()["ids"] == "str" else [99], {"b": X[:1, :3]})
        assert c.check() == []
    assert repair(here) == []
