"""Files of word vectors that are damaged, or wrong with checksums that hold: each is refused in one line."""

from __future__ import annotations

import json
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearfield.core.errors import Corrupt, NearfieldError
from nearfield.search.words import open_words
from nearfield.search.words_convert import convert
from nearfield.store.segments import Segment, SegmentWriter

WORDS = [f"word{i}" for i in range(40)]
SPLIT = struct.Struct("<8sIIQQI")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    convert((WORDS, np.random.default_rng(3).normal(size=(40, 8))), tmp_path / "w.nf")
    return tmp_path / "w.nf"


def survives(path: Path) -> str:
    """Ask everything: the message where it was refused, "" where it went well."""
    try:
        table = open_words(path)
        for ask in (lambda: table.query([*WORDS, "wrod7"]), lambda: table.most_similar("word3"), table.verify):
            ask()
        _ = list(table), "word1" in table, table["word2"], table["unheard"], repr(table)
    except NearfieldError as error:
        assert "\n" not in str(error)
        assert path.name in str(error)
        return str(error)
    return ""


def test_every_flipped_byte_and_every_cut_is_noticed(path: Path) -> None:
    whole = path.read_bytes()
    assert survives(path) == ""
    draw = random.Random(5)
    for at in draw.sample(range(len(whole)), 250):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << draw.randrange(8))]) + whole[at + 1 :])
        assert survives(path)
    for at in draw.sample(range(len(whole)), 60):
        path.write_bytes(whole[:at])
        assert survives(path)


def rewritten(path: Path, meta: dict[str, Any] | None = None, **changed: np.ndarray | None) -> None:
    """The file with other columns (``__`` for a dot, None to leave one out), its checksums right."""
    segment = Segment(path, "words")
    columns = {name: segment.column(name).copy() for name in segment.names()}
    columns |= {name.replace("__", "."): column for name, column in changed.items()}
    with SegmentWriter(path, "words") as writer:
        for name, column in columns.items():
            if column is not None:
                writer.add(name, column)
        writer.finish(segment.meta if meta is None else meta)


N = len(WORDS)
ENDS = np.arange(1, N + 1, dtype=np.int64)
COLUMNS: dict[str, tuple[dict[str, Any], str]] = {
    "no vectors": ({"vectors": None}, "'vectors' is missing"),
    "flat vectors": ({"vectors": np.zeros(N * 8, np.float32)}, "'vectors'"),
    "vectors of bytes": ({"vectors": np.zeros((N, 8), np.uint8)}, "'vectors'"),
    "no width": ({"vectors": np.zeros((N, 0), np.float32)}, "'vectors'"),
    "another width": ({"vectors": np.zeros((N, 9), np.float32)}, "n and dim"),
    "fewer vectors": ({"vectors": np.zeros((N - 1, 8), np.float32)}, "should be"),
    "NaN": ({"vectors": np.full((N, 8), np.nan, np.float32)}, "NaN"),
    "fewer terms": ({"terms": np.ones(N - 1, np.float32)}, "'terms'"),
    "terms of NaN": ({"terms": np.full(N, np.nan, np.float32)}, "'terms'"),
    "negative terms": ({"terms": np.full(N, -1, np.float32)}, "'terms'"),
    "fewer ends": ({"words__ends": ENDS[1:]}, "'words.ends'"),
    "ends of floats": ({"words__ends": ENDS.astype(np.float64)}, "'words.ends'"),
    "descending ends": ({"words__ends": ENDS[::-1].copy()}, "ascending"),
    "ends beyond": ({"words__ends": ENDS << 40}, "ascending"),
    "negative ends": ({"words__ends": ENDS - 5}, "ascending"),
    "no bytes": ({"words__bytes": np.zeros(0, np.uint8)}, "ascending"),
    "bytes in two axes": ({"words__bytes": np.zeros((9, 40), np.uint8)}, "'words.bytes'"),
    "rows beyond": ({"hash__rows": np.full(N, N, np.uint32)}, "'hash'"),
    "descending keys": ({"hash__keys": np.arange(N, dtype=np.uint32)[::-1].copy()}, "'hash'"),
    "fewer keys": ({"hash__keys": np.arange(N - 1, dtype=np.uint32)}, "'hash.keys'"),
    "pairs of another length": ({"pairs__keys": np.arange(3, dtype=np.uint64)}, "one length"),
    "pair ends beyond": ({"pairs__ends": np.array([9], np.int64), "pairs__keys": np.zeros(1, np.uint64)}, "'pairs'"),
    "negative pair ends": (
        {"pairs__ends": np.array([-4, 100], np.int64), "pairs__keys": np.zeros(2, np.uint64)},
        "'pairs'",
    ),
    "pair rows beyond": ({"pairs__rows": np.full(3, N, np.uint32)}, "'pairs"),
    "fewer counts": ({"pairs__counts": np.zeros(3, np.uint16)}, "'pairs.counts'"),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_columns_that_contradict_are_refused(path: Path, case: str) -> None:
    changed, words = COLUMNS[case]
    rewritten(path, **changed)
    assert words in survives(path)


def test_columns_that_lie_harm_nobody(path: Path) -> None:
    rewritten(path, pairs__counts=np.zeros(N, np.uint16), hash__rows=np.zeros(N, np.uint32))
    assert "the column 'hash.rows' is not of the words" in survives(path)
    table = open_words(path)
    assert sum(word in table for word in WORDS) <= 1
    rewritten(path, words__bytes=np.full(Segment(path, "words").column("words.bytes").size, 0xFF, np.uint8))
    assert "UTF-8" in survives(path)


@pytest.mark.parametrize("meta", [{}, {"n": 40}, {"n": "40", "dim": 8}, {"n": 40, "dim": 7}, {"n": None, "dim": None}])
def test_a_wrong_description_is_refused(path: Path, meta: dict[str, Any]) -> None:
    rewritten(path, meta)
    assert "n and dim" in survives(path)


def test_spoilt_footers_never_escape_the_family(path: Path) -> None:
    whole = path.read_bytes()
    magic, version, zero, at, length, _ = SPLIT.unpack_from(whole)
    told = json.loads(whole[at : at + length])
    draw = random.Random(8)
    refused = 0
    for _ in range(200):
        made = json.loads(json.dumps(told))
        name = draw.choice([*made["columns"]])
        key = draw.choice(["dtype", "shape", "offset", "crc"])
        made["columns"][name][key] = draw.choice(
            [None, 0, -1, 64, 2**63, "<f4", "<i8", "|u1", [], [40], [40, 8], [2**40, 8], [-1], "x", {}, [0], 1.5]
        )
        text = json.dumps(made).encode()
        head = SPLIT.pack(magic, version, zero, at, len(text), zlib.crc32(text))
        path.write_bytes(head + struct.pack("<I", zlib.crc32(head)) + whole[40:at] + text)
        refused += bool(survives(path))
    assert refused > 150


def test_damage_is_found_where_it_is_touched_and_no_sooner(tmp_path: Path) -> None:
    words = [f"w{i}" for i in range(40_000)]
    convert((words, np.ones((40_000, 16), np.float32)), tmp_path / "w.nf")
    spoilt = bytearray((tmp_path / "w.nf").read_bytes())
    spoilt[64 + 64 * 39_999] ^= 1
    (tmp_path / "w.nf").write_bytes(spoilt)
    table = open_words(tmp_path / "w.nf")
    assert table.query(words[:1000]).shape == (1000, 16)
    with pytest.raises(Corrupt, match=r"w\.nf: damaged at offset .*'vectors'"):
        table[words[-1]]
    with pytest.raises(Corrupt, match="damaged at offset"):
        table.most_similar(words[0])
    with pytest.raises(Corrupt):
        table.verify()
