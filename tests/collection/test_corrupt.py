"""Damage anywhere in a folder: the right answer or an error with a name, never anything else.

``NEARFIELD_FUZZ`` multiplies the number of damaged folders: 20,000 at 1, and 8,000 where it is not set.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.collection import writing
from nearfield.core.errors import Corrupt, NearfieldError
from nearfield.store.parts import Entry

CASES = int(1000 * float(os.environ.get("NEARFIELD_FUZZ", "0.4")))
X = np.random.default_rng(5).normal(size=(40, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segment, a tail, dead rows in both, inverted lists, codes under a plan."""
    place = tmp_path_factory.mktemp("corrupt") / "notes"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "DIRECT_ROWS", 20)
        c = nf.open(place, dim=4)
        texts = [f"word{i % 3} text" for i in range(40)]
        meta = [{"n": i, "t": "ab"[i % 2]} for i in range(40)]
        c.upsert([f"d{i}" for i in range(25)], X[:25], texts=texts[:25], meta=meta[:25])
        c.recode("int8 | rescore(codec='float16', depth=4)")
        c.upsert([f"d{i}" for i in range(22, 34)], X[22:34], texts=texts[22:34], meta=meta[22:34])
        c.delete(["d3", "d30"])
        look(c)
        c.close()
    return place


def look(c: Any) -> Any:
    """Everything that a person may see."""
    rows = [(r.id, r.text, repr(r.meta), r.vector.tobytes()) for r in c]
    found = c.search(X[0], k=5), c.search(X[1], k=5, where="n > 20"), c.search(text="word1", k=5)
    return rows, [h.ids for h in found], [h.scores.tolist() for h in found], c.ids("t = 'a'"), len(c)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The bytes with a bit turned, cut short, or with some of them written elsewhere."""
    out, kind = bytearray(data), rng.choice(["flip", "flip", "flip", "cut", "splice"])
    if kind == "flip":
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del out[rng.randrange(len(out)) :]
    else:
        a, b, n = rng.randrange(len(out)), rng.randrange(len(out)), rng.randrange(1, 300)
        out[a : a + n] = out[b : b + n]
    return bytes(out)


def put(path: Path, data: bytes) -> None:
    """Another file in its place: what is mapped already stays as it is."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(data)
    os.replace(fresh, path)


def test_every_file_that_matters_is_there(folder: Path) -> None:
    names = {p.name.count(".") for p in (folder / "segments").iterdir()}
    assert names == {1, 2, 3}, "rows, inverted lists, codes"
    assert list((folder / "plans").iterdir())


@pytest.mark.parametrize("seed", range(20))
def test_damage_is_named_or_makes_no_difference(folder: Path, tmp_path: Path, seed: int) -> None:
    here = tmp_path / "notes"
    shutil.copytree(folder, here)
    with nf.open(here, mode="r") as c:
        wanted = look(c)
    files = [p for p in here.rglob("*") if p.is_file() and p.suffix in (".nf", ".db") and p.stat().st_size]
    whole = {p: p.read_bytes() for p in files}
    rng = random.Random(f"{seed}")
    outcomes = {"right": 0, "named": 0}
    for case in range(CASES):
        path = rng.choice(files)
        put(path, damaged(whole[path], rng))
        try:
            with nf.open(here, mode="r") as c:
                got = look(c)
            assert got == wanted, f"seed {seed}, case {case}: {path.name}: another answer"
            outcomes["right"] += 1
        except NearfieldError:
            outcomes["named"] += 1
        put(path, whole[path])
    assert min(outcomes.values()) > CASES // 20, outcomes


def test_a_missing_segment_is_named_and_repair_tells_the_loss(folder: Path, tmp_path: Path) -> None:
    from nearfield.collection.health import repair

    here = tmp_path / "notes"
    shutil.copytree(folder, here)
    segment = next(p for p in (here / "segments").iterdir() if p.name.count(".") == 1)
    segment.unlink()
    with pytest.raises(Corrupt, match=segment.name):
        nf.open(here)
    told = repair(here, dry_run=True)
    assert "25 rows" in told[0]
    with pytest.raises(Corrupt, match=segment.name):
        nf.open(here)
    assert repair(here, dry_run=False) == told
    with nf.open(here) as c:
        assert sorted(c.ids()) == sorted(f"d{i}" for i in range(22, 34) if i != 30)
        assert c.check() == []
        c.upsert(["new"], X[:1])
    assert (here / "catalog.db.before-repair").exists()


@pytest.mark.parametrize("version", [0, 2])
def test_another_format_is_refused_by_both_versions(folder: Path, tmp_path: Path, version: int) -> None:
    here = tmp_path / "notes"
    shutil.copytree(folder, here)
    data = bytearray((here / "catalog.db").read_bytes())
    data[60:64] = version.to_bytes(4, "big")
    (here / "catalog.db").write_bytes(bytes(data))
    with pytest.raises(Corrupt, match=f"format {version}; this nearfield reads format 1"):
        nf.open(here)


def test_a_folder_by_a_stranger_runs_nothing_and_reads_nothing_outside(folder: Path, tmp_path: Path) -> None:
    import sqlite3

    here = tmp_path / "notes"
    shutil.copytree(folder, here)
    db = sqlite3.connect(here / "catalog.db")
    db.execute("CREATE TRIGGER evil AFTER INSERT ON tail BEGIN DELETE FROM tail; END")
    db.commit()
    db.close()
    with pytest.raises(Corrupt, match="holds the trigger 'evil'"):
        nf.open(here)
    shutil.rmtree(here)
    shutil.copytree(folder, here)
    segment = next(p for p in (here / "segments").iterdir() if p.name.count(".") == 1)
    outside = tmp_path / "outside.nf"
    shutil.move(segment, outside)
    segment.symlink_to(outside)
    with pytest.raises(Corrupt, match="got a link"):
        nf.open(here)
    shutil.rmtree(here)
    shutil.copytree(folder, here)
    _rename_in_catalog(here, "../outside.nf")
    with pytest.raises(Corrupt, match=r"of another version|expected the name of a segment file"):
        nf.open(here)
    with pytest.raises(Corrupt, match="expected the name of a segment file"):
        Entry("../outside.nf", 1, 0, 0, 1)


def _rename_in_catalog(here: Path, name: str) -> None:
    import json
    import sqlite3

    from nearfield.store.catalog import checksum

    db = sqlite3.connect(here / "catalog.db")
    entries = json.loads(db.execute("SELECT json FROM manifest WHERE key = 'segments'").fetchone()[0])
    entries[0]["file"] = name
    text = json.dumps(entries)
    db.execute("UPDATE manifest SET json = ?, crc = ? WHERE key = 'segments'", (text, checksum("segments", text)))
    db.commit()
    db.close()
