"""Readers beside a writer, each a process: whatever a reader sees is one commit, whole, never an older one than before.

Each commit keeps the sum of all vectors at zero and carries a stamp, and each call of a reader must see that.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nearfield as nf
from nearfield.collection.collection import Collection

Make = Callable[..., Collection]
SMALL = """
    import json, random, sys, threading
    import numpy as np, nearfield as nf
    from nearfield.collection import upkeep, writing
    writing.SEAL_ROWS, writing.DIRECT_ROWS, upkeep.MOST_ROWS, upkeep.FANOUT = 24, 16, 200, 3
    folder, seed, enough = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    rng = np.random.default_rng(seed)
"""
WRITER = """
    c = nf.open(folder, timeout=30)
    there, stamp, chance = [], 0, random.Random(seed)
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    while stamp < enough or not stop.is_set():
        stamp += 1
        n = chance.choice([1, 3, 12])
        x = rng.normal(size=(n, 4)).astype(np.float32)
        first = 1_000_000 * seed + 1000 * stamp
        ids = [first + i for i in range(2 * n)]
        meta = [{"stamp": stamp, "side": i // n} for i in range(2 * n)] + [{"last": stamp}]
        vectors = np.concatenate([x, -x, np.zeros((1, 4), np.float32)])
        c.upsert([*ids, seed], vectors, texts=["pair"] * (2 * n) + ["last"], meta=meta)
        there.append(ids)
        if len(there) > 12:
            gone = there.pop(chance.randrange(len(there)))
            assert c.delete(gone) == len(gone)
        if stamp % 10 == 0:
            c.compact(purge=stamp % 40 == 0)
        if stamp == 15 and "recode" in sys.argv:
            c.recode("float16 | rescore(codec='raw', depth=4)")
    print(json.dumps({"stamps": stamp, "rows": sum(map(len, there)) + 1}))
"""
READER = """
    c = nf.open(folder, mode="r")
    problems, looks, last, versions = [], 0, 0, set()
    def sound(rows, what):
        rows = list(rows)
        total = np.sum([r.vector for r in rows] or np.zeros((1, 4)), axis=0)
        if np.abs(total).max() > 1e-4:
            problems.append(f"{what}: the vectors add up to {total.tolist()}")
        if len({r.id for r in rows}) < len(rows):
            problems.append(f"{what}: an id twice")
        return rows
    while (len(versions) < enough or looks < 40) and looks < 4000:
        looks += 1
        q = rng.normal(size=4).astype(np.float32)
        rows = sound(c, "all rows")
        stamp = max([r.meta["last"] for r in rows if "last" in r.meta], default=0)
        if stamp < last or any(r.meta.get("stamp", 0) > stamp for r in rows):
            problems.append(f"stamp {stamp} after {last}")
        last = stamp
        versions.add(stamp)
        hits = sound(c.search(q, k=10_000), "search")
        if abs(sum(h.score for h in hits)) > 1e-3:
            problems.append(f"scores add up to {sum(h.score for h in hits)}")
        sides = [r.meta["side"] for r in c.get(where="side in (0, 1)")]
        if sides.count(0) != sides.count(1):
            problems.append(f"{sides.count(0)} of one side and {sides.count(1)} of the other")
        found = c.search(text="pair", k=10_000)
        if len(found) % 2 or any(h.text != "pair" for h in found):
            problems.append(f"{len(found)} texts found")
        if looks % 20 == 0:
            c.close()
            c = nf.open(folder, mode="r")
    print(json.dumps({"problems": problems[:5], "looks": looks, "versions": len(versions), "last": last}))
"""


def start(code: str, folder: Path, seed: int, enough: int, *more: str) -> subprocess.Popen[str]:
    """A reader ends when it has seen ``enough`` versions; a writer after as many stamps, once its input is closed."""
    told = textwrap.dedent(SMALL) + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", told, str(folder), str(seed), str(enough), *more],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return json.loads(out)


@pytest.mark.parametrize("more", [(), ("recode",)], ids=["plain", "recode"])
def test_readers_see_whole_commits(fresh: Make, more: tuple[str, ...]) -> None:
    c = fresh(dim=4, metric="dot")
    c.upsert([0], [[0, 0, 0, 0]], meta=[{"last": 0}])
    c.delete([0])
    readers = [start(READER, c.path, seed, 5) for seed in (11, 12)]
    writer = start(WRITER, c.path, 1, 41, *more)
    seen = [told(reader) for reader in readers]
    done = told(writer)
    assert [reader["problems"] for reader in seen] == [[], []]
    assert done["stamps"] > 40
    assert sum(reader["versions"] for reader in seen) > 6, seen
    assert len(c) == done["rows"]
    assert c.check() == []
    c.compact()
    c.compact()
    named = {p.name.partition(".")[0] for p in (c.path / "segments").iterdir()}
    assert len(named) == c.info()["segments"]  # no reader is left: neither are its files


def test_writers_take_turns(fresh: Make) -> None:
    c = fresh(dim=4, metric="dot")
    writers = [start(WRITER, c.path, seed, 21) for seed in (1, 2)]
    rows = [told(writer)["rows"] for writer in writers]
    assert len(c) == sum(rows)
    for writer in (1, 2):
        assert c.count(f"$id in ({writer})") == 1
        assert sum(i // 1_000_000 == writer for i in c.ids()) == rows[writer - 1] - 1
    assert c.check() == []
    with nf.open(c.path, mode="r") as reader:
        assert sorted(reader.ids()) == sorted(c.ids())
