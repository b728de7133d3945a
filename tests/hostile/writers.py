"""Writers that put wrong things in and every checksum right: of ``.nf`` files, and of a catalogue."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tests.hostile.values import OTHERS, other_array, other_json

from nearfield.store.catalog import checksum
from nearfield.store.segments import PAGES, Segment, SegmentWriter

_PREAMBLE = struct.Struct("<8sIIQQI")
_SQL = (int, float, str, bytes, type(None))


# ---- .nf files -------------------------------------------------------------------------------------
def with_footer(path: Path, change: Callable[[Any], Any]) -> None:
    """The same columns under a footer that was changed."""
    data = path.read_bytes()
    magic, version, zero, at, length, _ = _PREAMBLE.unpack_from(data)
    text = json.dumps(change(json.loads(data[at : at + length]))).encode()
    head = _PREAMBLE.pack(magic, version, zero, at, len(text), zlib.crc32(text))
    _put(path, head + struct.pack("<I", zlib.crc32(head)) + data[40:at] + text)


def with_columns(path: Path, change: Callable[[dict[str, np.ndarray]], None], meta: Any = None) -> None:
    """Other columns, written as any are; ``change`` gets a dict of copies."""
    segment = Segment(path, None)
    columns = {name: segment.column(name).copy() for name in segment.names()}
    paged = {name for name in columns if segment.paged(name)}
    change(columns)
    made = path.with_suffix(".made")
    with SegmentWriter(made, segment.kind) as out:
        for name, column in columns.items():
            if not name.endswith(PAGES):
                out.add(name, column, paged=name in paged)
        out.version = struct.unpack_from("<I", path.read_bytes(), 8)[0]
        out.finish(segment.meta if meta is None else meta)
    os.replace(made, path)


def spoil_file(path: Path, draw: random.Random) -> str:
    """One wrong thing in a ``.nf`` file; what it was."""
    if draw.random() < 0.4:
        with_footer(path, lambda told: other_json(told, draw))
        return "footer"
    names: list[str] = []

    def change(columns: dict[str, np.ndarray]) -> None:
        name = draw.choice(sorted(columns))
        names.append(name)
        if draw.random() < 0.08:
            del columns[name]
        else:
            columns[name] = other_array(columns[name], draw)

    with_columns(path, change)
    return names[0]


def _put(path: Path, data: bytes) -> None:
    made = path.with_suffix(".made")
    made.write_bytes(data)
    os.replace(made, path)


# ---- the catalogue ---------------------------------------------------------------------------------
class Catalogue:
    """A catalogue in the hands of somebody who knows its checksums: used in a ``with``, which puts them right."""

    def __init__(self, folder: Path) -> None:
        self.db = sqlite3.connect(folder / "catalog.db", isolation_level=None)

    def __enter__(self) -> Catalogue:
        return self

    def __exit__(self, *_: Any) -> None:
        self.settle()
        self.db.close()

    def record(self, key: str) -> Any:
        """The value of a record."""
        return json.loads(self.db.execute("SELECT json FROM manifest WHERE key = ?", (key,)).fetchone()[0])

    def keys(self) -> list[str]:
        """The keys of all records."""
        return [key for (key,) in self.db.execute("SELECT key FROM manifest ORDER BY key")]

    def put(self, key: str, value: Any) -> None:
        """Write a record, or with bytes whatever is no JSON."""
        text = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False)
        self.db.execute("INSERT OR REPLACE INTO manifest VALUES(?, ?, ?)", (key, text, checksum(key, text)))

    def settle(self) -> None:
        """Make every checksum and the digests of the head those of what is there, as far as there is a head."""
        try:
            head = self.record("head")
            fields = [row[1] for row in self.db.execute("PRAGMA table_info(tail)")][5:]
            tail = self._rows("tail", ["row", "id", "text", "meta"], fields)
            dead = self._rows("dead", ["version", "rows"], [])
            crcs = [crc for (crc,) in self.db.execute("SELECT crc FROM manifest WHERE key != 'head'")]
            records = [len(crcs), _xor(crcs)]
            if isinstance(head, dict):
                self.put("head", head | {"tail": tail, "dead": dead, "records": records})
        except (sqlite3.Error, TypeError, ValueError):
            return  # there is no head, or none that anything can be put into

    def _rows(self, table: str, names: list[str], fields: list[str]) -> list[int]:
        crcs = []
        for row in self.db.execute(f"SELECT {', '.join([*names, *fields])} FROM {table}").fetchall():
            given = [*row[: len(names)], *(v for v in row[len(names) :] if v is not None)]
            crcs.append(checksum(*given))
            self.db.execute(f"UPDATE {table} SET crc = ? WHERE {names[0]} = ?", (crcs[-1], row[0]))
        return [len(crcs), _xor(crcs)]

    # -- mutations ---------------------------------------------------------------------------------
    def spoil(self, draw: random.Random) -> str:
        """One wrong thing; what it was."""
        return draw.choice([self._spoil_record] * 4 + [self._spoil_tail] * 3 + [self._spoil_dead])(draw)

    def _spoil_record(self, draw: random.Random) -> str:
        key = draw.choice(self.keys())
        if draw.random() < 0.04:
            self.put(key, draw.choice([b"\xff", b"{}", b""]))
        else:
            self.put(key, other_json(self.record(key), draw))
        return f"record {key}"

    def _spoil_tail(self, draw: random.Random) -> str:
        columns = [row[1] for row in self.db.execute("PRAGMA table_info(tail)") if row[1] != "crc"]
        name = draw.choice(columns)
        rows = [row for (row,) in self.db.execute("SELECT row FROM tail ORDER BY row")]
        if not rows:
            return "empty tail"
        row = draw.choice(rows)
        old = self.db.execute(f"SELECT {name} FROM tail WHERE row = ?", (row,)).fetchone()[0]
        if name == "row":
            new: Any = draw.choice([0, 1, 5, row + 1000, -1, 2**62, 2**63 - 1])
        elif isinstance(old, bytes) and draw.random() < 0.7:
            kind = np.dtype("<f4" if len(old) % 4 == 0 else "|u1")
            new = other_array(np.frombuffer(old, kind), draw).tobytes()
        else:
            plain = [v for v in OTHERS if isinstance(v, _SQL) and not (isinstance(v, int) and abs(v) >= 2**63)]
            new = draw.choice([*plain, b"", b"abc", b"\xff" * 8])
        try:
            self.db.execute(f"UPDATE tail SET {name} = ? WHERE row = ?", (new, row))
        except sqlite3.IntegrityError:
            return "nothing"
        return f"tail {name}"

    def _spoil_dead(self, draw: random.Random) -> str:
        found = self.db.execute("SELECT version, rows FROM dead").fetchall()
        if not found:
            return "no dead rows"
        version, rows = draw.choice(found)
        new = draw.choice([b"", b"abc", 7, other_array(np.frombuffer(rows, "<i8"), draw).tobytes()])
        self.db.execute("UPDATE dead SET rows = ? WHERE version = ?", (new, version))
        return "dead"


def _xor(crcs: list[Any]) -> int:
    out = 0
    for crc in crcs:
        out ^= crc
    return out
