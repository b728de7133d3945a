"""Rows of a Packed come and go: against a dict and exact search, for every kind of plan."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.core.errors import BadInput, Corrupt
from nearfield.indexes.vamana import Vamana
from nearfield.numerics.linking import Entering

D = 12
PLANS = [
    "raw()",
    "int8() | rescore(codec='raw', depth=4)",
    "pq(parts=4, code_bits=4) | rescore(codec='float16', depth=200)",
    "float16() | vamana(degree=8, width=32)",
    "lvq(bits=4) | vamana(degree=8, width=32) | rescore(codec='lvq(bits=8)', depth=4, of='residual')",
    "pca(dim=8) | int8() | vamana(degree=8, width=32) | rescore(codec='float16', depth=200)",
]


def rows(n: int, rng: np.random.Generator) -> np.ndarray:
    scales = 1 / np.sqrt(1 + np.arange(D))
    return np.asarray(rng.normal(size=(n, D)) * scales + 0.1, np.float32)


class Model:
    """What a Packed should hold: a vector and a text for each id."""

    def __init__(self, rng: np.random.Generator, plan: str, metric: Any, *, texts: bool) -> None:
        self.rng, self.metric, self.texts = rng, metric, texts
        x = rows(int(rng.integers(5, 90)), rng)
        self.held: dict[str, np.ndarray] = {f"id {i}": v for i, v in enumerate(x)}
        self.next = len(x)
        self.packed = nf.Plan(plan).fit(
            x, metric=metric, ids=list(self.held), texts=self.told(list(self.held)), rng=int(rng.integers(99))
        )

    def told(self, ids: list[str]) -> list[str] | None:
        return [f"text of {i}" for i in ids] if self.texts else None

    def add(self) -> None:
        x = rows(int(self.rng.integers(1, 60)), self.rng)
        ids = [f"id {self.next + i}" for i in range(len(x))]
        self.next += len(x)
        start = self.packed.span
        assert self.packed.add(x, ids=ids, texts=self.told(ids)).tolist() == list(range(start, start + len(x)))
        self.held |= dict(zip(ids, x))

    def upsert(self) -> None:
        old = self.some(8)
        ids = [*old, f"id {self.next}"]
        self.next += 1
        x = rows(len(ids), self.rng)
        self.packed.upsert(x, ids=ids, texts=self.told(ids))
        self.held |= dict(zip(ids, x))

    def delete(self) -> None:
        gone = self.some(40)
        assert self.packed.delete([*gone, "nobody"]) == len(gone)
        self.held = {i: v for i, v in self.held.items() if i not in gone}

    def delete_by_number(self) -> None:
        names = self.packed.ids
        assert names is not None
        at = self.rng.choice(self.packed.span, size=min(5, self.packed.span), replace=False)
        there = {names[int(r)] for r in at if self.row_of(names[int(r)]) == int(r)}
        assert self.packed.delete(rows=at) == len(there)
        self.held = {i: v for i, v in self.held.items() if i not in there}

    def row_of(self, name: str) -> int:
        """The last row of this id, if it is held."""
        names = self.packed.ids
        assert names is not None
        return max(r for r in range(self.packed.span) if names[r] == name) if name in self.held else -1

    def compact(self) -> None:
        if self.held:
            before, names = self.packed.ids, []
            assert before is not None
            names = [before[r] for r in range(self.packed.span)]
            old = self.packed.compact()
            after = self.packed.ids
            assert after is not None
            assert [names[r] for r in old.tolist()] == [after[r] for r in range(self.packed.span)]
            assert self.packed.span == len(self.held)

    def consolidate(self) -> None:
        self.packed.consolidate()

    def some(self, most: int) -> list[str]:
        listed = list(self.held)
        size = min(len(listed), int(self.rng.integers(0, most)))
        return [listed[i] for i in self.rng.permutation(len(listed))[:size]]

    def check(self) -> None:
        packed, n = self.packed, len(self.held)
        assert len(packed) == n
        q = rows(3, self.rng)
        ids, x = list(self.held), np.array(list(self.held.values())).reshape(-1, D).astype(np.float64)
        for k, budget in ((5, 10**6), (5, 40), (200, None)):
            hits = packed.search(q, k=k, budget=budget)
            for i in range(len(q)):
                found = hits[i]
                assert len(found) == min(k, n)
                names = [h.id for h in found]
                assert len(set(names)) == len(names)
                assert set(names) <= set(ids)
                if self.texts:
                    assert all(h.text == f"text of {h.id}" for h in found)
                scores = self.scores(x, q[i])
                got = np.array([scores[ids.index(name)] for name in names])
                np.testing.assert_allclose([h.score for h in found], got, atol=0.08)
                if budget == 10**6 and n:
                    best = np.sort(scores)[::-1][: len(got)]
                    np.testing.assert_allclose(np.sort(got)[::-1], best, atol=0.25)

    def scores(self, x: np.ndarray, q: np.ndarray) -> np.ndarray:
        if self.metric == "cosine":
            return x @ q / np.linalg.norm(x, axis=1) / np.linalg.norm(q)
        return x @ q if self.metric == "dot" else -((x - q) ** 2).sum(axis=1)

    def reload(self, tmp: Path) -> None:
        q = rows(4, self.rng)
        self.packed.save(tmp / "a.nf")
        before = self.packed.search(q, k=5, budget=30)
        self.packed = nf.load(tmp / "a.nf")
        after = self.packed.search(q, k=5, budget=30)
        np.testing.assert_array_equal(before.rows, after.rows)
        np.testing.assert_array_equal(before.scores, after.scores)
        self.packed.verify()


# Indexes that take rows in, and the same as if they could not.
WAYS = [(plan, anew) for plan in PLANS for anew in (False, True) if "vamana" in plan or not anew]


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize(("plan", "anew"), WAYS)
def test_any_sequence_of_changes(
    plan: str, anew: bool, metric: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if anew:
        monkeypatch.setattr(Vamana, "updater", lambda *_: None)
    steps = ["add", "upsert", "delete", "delete_by_number", "consolidate", "compact", "reload"]
    for seed in range(2):
        rng = np.random.default_rng([seed, PLANS.index(plan)])
        model = Model(rng, plan, metric, texts=seed == 1)
        for step in rng.choice(steps, size=12, p=[0.3, 0.15, 0.2, 0.1, 0.05, 0.1, 0.1]):
            if step == "reload":
                model.reload(tmp_path)
            else:
                getattr(model, step)()
            model.check()


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([np.isin(f, t).mean() for f, t in zip(found, truth)]))


def real_or_drawn(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Real rows where they are, else rows drawn around some centres; and queries."""
    root = Path(os.environ.get("NEARFIELD_DATA") or Path(__file__).parents[2].parent / "shared")
    place = (root / "data" if (root / "data").is_dir() else root) / "retrieval" / "arxiv60k"
    if place.is_dir():
        x = np.load(place / "doc_title_minilm_f16.npy")[:n].astype(np.float32)
        return x, np.load(place / "heldout_title_minilm_f16.npy")[:300].astype(np.float32)
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(300, 64))
    x = (centres[rng.integers(300, size=n + 300)] + 0.7 * rng.normal(size=(n + 300, 64))).astype(np.float32)
    return x[:n], x[n:]


@pytest.mark.parametrize("order", ["random", "clustered"])
def test_recall_after_half_of_the_rows_are_replaced(order: str, rng: np.random.Generator) -> None:
    """Within 0.01 of a fresh build, at once and after consolidation."""
    n = 8000
    x, q = real_or_drawn(n * 3 // 2)
    if order == "clustered":
        x = x[np.argsort(x @ x[0], kind="stable")]
    else:
        x = x[rng.permutation(len(x))]
    plan = nf.Plan("lvq(bits=4) | vamana(degree=24, budget=500) | rescore(codec='lvq(bits=8)', depth=4)")
    left = x[n // 2 :]
    fresh, packed = plan.fit(left), plan.fit(x[:n])
    for start in range(0, n // 2, 1000):
        packed.add(x[n + start : n + start + 1000])
        packed.delete(rows=np.arange(start, start + 1000))
    truth = nf.Plan("raw()").fit(left).search(q, k=10).rows
    wanted = recall(fresh.search(q, k=10).rows, truth)
    assert recall(packed.search(q, k=10).rows - n // 2, truth) > wanted - 0.01
    packed.consolidate()
    assert recall(packed.search(q, k=10).rows - n // 2, truth) > wanted - 0.01
    packed.compact()
    assert recall(packed.search(q, k=10).rows, truth) > wanted - 0.01


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for threads in ("1", "3"):
        monkeypatch.setenv("NEARFIELD_THREADS", threads)
        rng = np.random.default_rng(0)
        packed = nf.Plan("int8() | vamana(degree=8, width=32)").fit(rows(900, rng))
        packed.add(rows(700, rng))
        packed.delete(rows=np.arange(0, 1600, 3))
        packed.consolidate()
        found.append(packed.columns["index.links"])
    np.testing.assert_array_equal(*found)


def test_what_fails_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    x, q = rows(300, rng), rows(20, rng)
    packed = nf.Plan("int8() | vamana(degree=8, width=32)").fit(x, ids=list(range(300)))
    packed.add(rows(10, rng), ids=range(300, 310))
    before = packed.search(q, k=10, budget=80)
    bad = rows(400, rng)
    bad[7, 3] = np.nan
    for x, ids in (
        (bad, range(400, 800)),
        (rows(3, rng), [1, 900, 901]),
        (rows(3, rng), None),
        (rows(3, rng)[:, :5], [900, 901, 902]),
        (rows(3, rng), ["a", "b", "c"]),
        (rows(3, rng), [900, 900, 901]),
    ):
        with pytest.raises(BadInput):
            packed.add(x, ids=ids)
    link, calls = Entering.link, []

    def breaks(self: Entering) -> None:
        calls.append(self)
        link(self)
        if len(calls) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(Entering, "link", breaks)
    with pytest.raises(KeyboardInterrupt):
        packed.add(rows(400, rng), ids=range(400, 800))
    monkeypatch.undo()
    after = packed.search(q, k=10, budget=80)
    np.testing.assert_array_equal(before.rows, after.rows)
    assert len(packed) == packed.span == 310
    packed.add(rows(400, rng), ids=range(400, 800))
    assert len(packed) == 710


def test_zero_rows_bits_and_rows_as_they_came(rng: np.random.Generator) -> None:
    x = rows(40, rng)
    packed = nf.Plan("int8()").fit(x)
    with pytest.raises(BadInput):
        packed.add(np.zeros((1, D), np.float32))
    packed.add(np.zeros((2, D), np.float32), on_zero="keep")
    hits = packed.search(x[0], k=42)
    assert {40, 41} <= set(hits.rows[0].tolist())
    packed.delete(rows=[40])
    assert 40 not in packed.search(x[0], k=42).rows[0].tolist()
    bits = rng.integers(0, 256, size=(70, 4)).astype(np.uint8)
    packed = nf.Plan("bits()").fit(bits[:33], metric="hamming")
    packed.add(bits[33:])
    assert packed.search(bits, k=1).scores.max() == 0
    packed = nf.Plan("raw()").fit(x.astype(np.float16))
    packed.add(x[:3])
    with pytest.raises(BadInput, match="float16"):
        packed.add(np.ones((2, D), np.int8))


def test_all_rows_may_go_and_others_come(rng: np.random.Generator) -> None:
    x = rows(200, rng)
    packed = nf.Plan("int8() | vamana(degree=8, width=32)").fit(x)
    packed.delete(rows=np.arange(200))
    assert len(packed) == 0
    assert (packed.search(x[:2], k=3).rows == -1).all()
    with pytest.raises(BadInput, match="at least one row"):
        packed.compact()
    packed.add(x)
    assert np.mean(packed.search(x, k=1, budget=100).rows[:, 0] == np.arange(200, 400)) > 0.95
    assert packed.compact().tolist() == list(range(200, 400))


def test_links_of_a_damaged_file_are_told(tmp_path: Path, rng: np.random.Generator) -> None:
    packed = nf.Plan("int8() | vamana(degree=8, width=32)").fit(rows(200, rng))
    for name, at, value in (("links", (3, 2), 200), ("entries", 0, 1 << 31)):
        kept = packed.columns[f"index.{name}"].copy()
        packed.columns[f"index.{name}"][at] = value
        packed.save(tmp_path / "a.nf")
        packed.columns[f"index.{name}"][:] = kept
        found = nf.load(tmp_path / "a.nf")
        with pytest.raises(Corrupt, match="row numbers"):
            found.add(rows(2, rng))


@pytest.mark.parametrize("gone", [[0, 0], [3, 1], [-1], [200]])
def test_deleted_rows_of_a_damaged_file_are_told(gone: list[int], tmp_path: Path, rng: np.random.Generator) -> None:
    packed = nf.Plan("int8()").fit(rows(200, rng))
    packed.fitted.gone = np.array(gone, np.int64)
    from nearfield.search.file import save

    save(packed, tmp_path / "a.nf")
    with pytest.raises(Corrupt, match="gone"):
        nf.load(tmp_path / "a.nf")


def test_no_link_leads_to_a_deleted_row_after_consolidation(rng: np.random.Generator) -> None:
    """Then searches need no mask, and find what they would find with one."""
    x = rows(2000, rng)
    packed = nf.Plan("float16() | vamana(degree=8, width=40)").fit(x)
    for start in range(0, 1800, 600):
        packed.delete(rows=np.arange(start, start + 550))
        packed.add(rows(400, rng))
        packed.consolidate()
        dead = np.zeros(packed.span, np.bool_)
        dead[packed.fitted.gone] = True
        links, entries = packed.columns["index.links"], packed.columns["index.entries"]
        met = links[~dead]
        assert not dead[met[met < packed.span]].any()
        assert not dead[entries].any()
        assert (links[dead] == 0xFFFFFFFF).all()
        for k in (1, 20, 500):
            for allow in (None, np.arange(packed.span) % 2 == 0):
                found = packed.search(x[:20], k=k, budget=700, allow=allow).rows
                real = found[found >= 0]
                assert not dead[real].any()
                matches = (~dead if allow is None else allow & ~dead).sum()
                assert ((found >= 0).sum(axis=1) == min(k, matches)).all()


def test_ids_as_numpy_gives_them(rng: np.random.Generator) -> None:
    x = rng.normal(size=(30, 8)).astype(np.float32)
    packed = nf.Plan("int8()").fit(x, ids=list(np.arange(30)))
    assert packed.delete([np.int64(3), np.int32(4), 5]) == 3
    assert packed.delete(np.int64(6)) == 1
    with pytest.raises(BadInput, match="which are there"):
        packed.add(x[:1], ids=[np.int64(7)])
    packed.upsert(x[:1], ids=[np.int64(7)])
    assert sorted(packed.search(x[:1], k=30).ids[0]) == [i for i in range(30) if i not in (3, 4, 5, 6)]


@pytest.mark.parametrize("plan", ["pq(parts=4, code_bits=4)", "float16()", "float16() | vamana(degree=8, width=32)"])
def test_copies_change_apart(plan: str, rng: np.random.Generator) -> None:
    x = rng.normal(size=(100, 16)).astype(np.float32)  # whose last block of 32 has room for others
    first = nf.Plan(plan).fit(x)
    second = copy.copy(first)
    first.add(x[:2])
    second.add(x[50:52])
    np.testing.assert_array_equal(first.codes(np.array([100, 101])), first.codes(np.array([0, 1])))
    np.testing.assert_array_equal(second.codes(np.array([100, 101])), second.codes(np.array([50, 51])))
    assert second.delete(rows=[3]) == 1
    assert 3 in first.search(x[3], k=1).rows
