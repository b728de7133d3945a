"""What is made smaller is smaller on the disk: bytes of the folder after each step, and nothing lost for readers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import nearfield as nf
from collection.kit import line, process
from nearfield.collection.collection import Collection
from nearfield.store.fields import dense

N, DIM = 4000, 384
WORDS = ["alpha", "beta", "gamma", "river", "tea", "socks"]
FIXED = 100_000  # of a folder: pages of an empty catalogue, its shared memory, the Plan's constants


def size(folder: Path) -> int:
    """Bytes of all files."""
    return sum(p.lstat().st_size for p in folder.rglob("*") if p.is_file())


def catalogue(folder: Path) -> int:
    """Bytes of the catalogue and its log."""
    return sum(p.stat().st_size for p in folder.glob("catalog.db*") if not p.name.endswith("-shm"))


@pytest.fixture
def rows(rng: np.random.Generator) -> dict:
    return {
        "ids": [f"id{i}" for i in range(N)],
        "x": rng.normal(size=(N, DIM)).astype("f4"),
        "texts": [" ".join(rng.choice(WORDS, size=20)) for _ in range(N)],
        "meta": [{"n": i, "lang": ["de", "en"][i % 2]} for i in range(N)],
    }


def fill(c: Collection, rows: dict, step: int = 1000) -> None:
    """Rows by the tail: many small writes."""
    for a in range(0, N, step):
        at = slice(a, a + step)
        c.upsert(rows["ids"][at], rows["x"][at], texts=rows["texts"][at], meta=rows["meta"][at])


def told(rows: dict) -> int:
    """Bytes of texts, ids and metadata, as plain text."""
    return sum(len(v) for name in ("ids", "texts") for v in rows[name]) + sum(len(json.dumps(m)) for m in rows["meta"])


def test_each_step_is_as_small_as_it_can_be(fresh: Callable[..., Collection], rows: dict) -> None:
    c = fresh(dim=DIM)
    fill(c, rows)
    vectors, codes = N * DIM * 4, N * (DIM + 1)
    least = codes + told(rows)
    q = rows["x"][:50] + 0.1
    exact = [hits.ids for hits in c.search(q, 10)]
    assert size(c.path) > vectors + told(rows)

    c.recode("int8()")
    assert size(c.path) <= vectors + least + FIXED
    assert catalogue(c.path) <= FIXED
    recoded = size(c.path)
    c.compact()
    assert size(c.path) <= recoded
    assert [hits.ids for hits in c.search(q, 10, exact=True)] == exact

    found = [hits.ids for hits in c.search(q, 10)]
    c.recode("int8()", originals="drop")
    assert size(c.path) <= 1.1 * least + FIXED
    c.compact()
    assert size(c.path) <= 1.3 * least
    dropped = size(c.path)
    assert [hits.ids for hits in c.search(q, 10)] == found
    c.compact(purge=True)
    assert size(c.path) <= dropped
    assert [r.text for r in c.get(rows["ids"])] == rows["texts"]
    assert [r.meta for r in c.get(rows["ids"])] == rows["meta"]
    assert c.check() == []


def test_compact_gives_back_what_the_tail_took(fresh: Callable[..., Collection], rows: dict) -> None:
    c = fresh(dim=DIM)
    fill(c, rows)
    assert catalogue(c.path) > N * DIM * 4
    c.compact()
    assert catalogue(c.path) <= FIXED
    assert size(c.path) <= N * DIM * 4 + told(rows) + FIXED
    fill(c, rows)  # and again, in place of what is there
    c.compact()
    assert catalogue(c.path) <= FIXED
    assert size(c.path) <= N * DIM * 4 + told(rows) + FIXED


def test_narrower_originals(fresh: Callable[..., Collection], rows: dict) -> None:
    c = fresh(dim=DIM)
    fill(c, rows)
    c.recode("int8()", originals="float16")
    assert size(c.path) <= N * DIM * 2 + N * (DIM + 1) + told(rows) + FIXED


def test_deleted_rows_and_logged_queries(fresh: Callable[..., Collection], rows: dict) -> None:
    c = fresh(dim=DIM, keep_queries=200)
    fill(c, rows)
    for vector in rows["x"][:500]:
        c.search(vector, 1)
    c.delete(rows["ids"][100:])
    c.compact()
    assert size(c.path) <= 100 * DIM * 4 + 200 * DIM * 4 * 2 + FIXED
    c.delete(rows["ids"])
    c.compact()
    assert len(c) == 0
    assert size(c.path) <= 200 * DIM * 4 * 2 + FIXED


@pytest.mark.parametrize("plan", [None, "int8()"])
def test_compact_gives_back_a_dropped_field(fresh: Callable[..., Collection], rows: dict, plan: str | None) -> None:
    c = fresh(fields={"a": dense(DIM), "b": dense(DIM)})
    c.upsert(rows["ids"], {"a": rows["x"], "b": -rows["x"]})
    if plan is not None:
        c.recode(plan, field="a", originals="drop")
        c.recode(plan, field="b")
    c.drop_field("b")
    c.compact()
    kept = N * DIM * 4 if plan is None else N * (DIM + 1)
    assert size(c.path) <= kept + 20 * N + FIXED
    assert len(list((c.path / "plans").glob("*"))) == (plan is not None)
    assert c.search(rows["x"][7], 1).ids == ["id7"]
    entries = sorted(p.name for p in (c.path / "segments").iterdir())
    c.compact()  # nothing is left to do
    assert sorted(p.name for p in (c.path / "segments").iterdir()) == entries
    assert c.check() == []


def test_a_copy_is_no_larger(fresh: Callable[..., Collection], rows: dict, tmp_path: Path) -> None:
    c = fresh(dim=DIM)
    fill(c, rows)
    c.recode("int8()", originals="drop")
    c.compact()
    c.backup(tmp_path / "copy")
    assert size(tmp_path / "copy") <= size(c.path)
    with nf.open(tmp_path / "copy") as copy:
        copy.upsert(rows["ids"], rows["x"])
        copy.compact()
        assert catalogue(copy.path) <= FIXED


READER = """
import sys, nearfield as nf, numpy as np
c = nf.open(sys.argv[1], mode=sys.argv[2])
s = c.snapshot()
print("holds", flush=True)
sys.stdin.readline()
q = np.random.default_rng(5).normal(size=(1, int(sys.argv[3]))).astype("f4")
print(" ".join(s.search(q, 5)[0].ids), flush=True)
print(s.get(["id5"])[0].text, flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("mode", ["a", "r"])
def test_readers_of_before_stay_valid(fresh: Callable[..., Collection], rows: dict, mode: str) -> None:
    """A reader that has looked at nothing yet finds the Plan, the codes and the vectors of its own state."""
    c = fresh(dim=DIM)
    fill(c, rows)
    c.recode("rabitq(bits=2)")
    q = np.random.default_rng(5).normal(size=(1, DIM)).astype("f4")
    want = c.search(q, 5)[0].ids
    with process(READER, c.path, mode, DIM) as reader:
        assert line(reader) == "holds"
        c.recode("int8()")
        c.compact()
        c.recode("pca(dim=16) | int8()", originals="drop")
        c.compact()
        reader.stdin.write("go on\n")
        reader.stdin.flush()
        assert line(reader) == " ".join(want)
        assert line(reader) == rows["texts"][5]
        held = size(c.path)
        reader.stdin.write("end\n")
        reader.stdin.flush()
        reader.wait(60)
    c.compact()
    assert size(c.path) < held / 2
    assert len(list((c.path / "plans").iterdir())) == 1
    assert len(list((c.path / "segments").iterdir())) == 2
    assert c.check() == []
