"""A search finds ``min(k, matches)`` rows: whatever the filter lets through, the Plan, and where the rows lie."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.collection import upkeep, writing
from nearfield.collection.collection import Collection
from nearfield.core.rooms import catalog
from nearfield.store.tail import TailPart

Make = Callable[..., Collection]
N, D = 2400, 16
SHARES = ("nothing", "one", 0.001, 0.01, 0.1, 0.5, "all")
# One Plan for each codec of the room (parameters where the defaults need more rows), and the kinds of longer Plans.
CODECS = {
    "bits": None,  # packed bits as they came: for metric hamming, below
    "opq": "opq(parts=4, code_bits=4)",
    "pq": "pq(parts=4, code_bits=4)",
    "recurrent_binary": "recurrent_binary(hidden=8, steps=3)",
    "rvq": "rvq(stages=3, code_bits=4)",
    "transform": "transform(bytes=8)",
}
LONGER = (
    "int8 | rescore(codec='raw', depth=4)",
    "binary | rescore(codec='int8', depth=20)",
    "pq(parts=4, code_bits=4) | rescore(codec='float16', depth=10)",
    "pca(dim=8) | float16 | rescore(codec='raw', depth=4)",
    "leanvec(dim=8) | lvq(bits=4)",
    "center | normalize | rabitq(bits=1)",
    "truncate(dim=8) | int4",
    "float16 | vamana(degree=8, width=32)",
    "lvq(bits=4) | vamana(degree=8, width=32) | rescore(codec='lvq(bits=8)', depth=4, of='residual')",
)
PLANS = (None, *LONGER, *(CODECS.get(name, name) for name in sorted(catalog("codecs")) if CODECS.get(name, name)))


class Held:
    """What the rows of a Collection should be, by id."""

    def __init__(self, rng: np.random.Generator) -> None:
        scales = 1 / np.sqrt(1 + np.arange(D))
        self.x = (rng.normal(size=(N, D)) * scales + 0.1).astype(np.float32)
        self.q = self.x[:5] + np.float32(0.05) * rng.normal(size=(5, D)).astype(np.float32)
        self.marks = rng.permutation(N)
        self.there = np.ones(N, np.bool_)

    def meta(self, rows: range) -> list[dict[str, int]]:
        return [{"mark": int(self.marks[i])} for i in rows]

    def filter_of(self, share: str | float) -> tuple[str | None, np.ndarray]:
        """A filter that lets so many of the rows through, and which."""
        if share == "all":
            return None, self.there
        if share in ("nothing", "one"):
            mark = -1 if share == "nothing" else int(self.marks[self.there][7])
            return f"mark = {mark}", self.there & (self.marks == mark)
        least = round(N * float(share))
        return f"mark < {least}", self.there & (self.marks < least)


def filled(c: Collection, held: Held) -> None:
    """Three segments and a tail, with dead rows in all of them and some rows written twice."""
    bounds = [0, 900, 1600, 2300, N]
    for start, stop in pairwise(bounds):
        rows = range(start, stop)
        c.upsert(list(rows), held.x[start:stop], meta=held.meta(rows))
    again = range(850, 890)
    held.x[850:890] += 0.25
    c.upsert(list(again), held.x[850:890], meta=held.meta(again))
    gone = [*range(3, N, 11), *range(2310, 2330)]
    c.delete(gone)
    held.there[gone] = False


def layout(c: Collection) -> tuple[int, int]:
    told = c.info()
    return told["segments"], told["tail_rows"]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of 200 rows and more become segments, which do not merge by themselves."""
    monkeypatch.setattr(writing, "DIRECT_ROWS", 200)
    monkeypatch.setattr(upkeep, "MOST_ROWS", 1800)


def truth(held: Held, passes: np.ndarray, q: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Ids and scores of all rows that pass, best first."""
    at = np.flatnonzero(passes)
    x, q = held.x[at].astype(np.float64), q.astype(np.float64)
    if metric == "cosine":
        scores = (x @ q) / np.linalg.norm(x, axis=1) / np.linalg.norm(q)
    else:
        scores = x @ q if metric == "dot" else -((x - q) ** 2).sum(axis=1)
    order = np.argsort(-scores, kind="stable")
    return at[order], scores[order]


def same(found: Any, ids: np.ndarray, scores: np.ndarray) -> None:
    """The same rows with the same scores; rows whose scores are equal to the last digit may change places."""
    assert np.allclose(found.scores, scores, atol=2e-5)
    for place, (got, wanted) in enumerate(zip(found.ids, ids.tolist())):
        near = np.flatnonzero(np.abs(scores - scores[place]) < 1e-5)
        assert got == wanted or got in ids[near] or place == len(ids) - 1


def kept(c: Collection, held: Held, metric: str, *, exact: bool) -> None:
    """The contract, for every filter and several k."""
    for share in SHARES:
        where, passes = held.filter_of(share)
        matches = int(passes.sum())
        assert c.count(where) == matches
        for k in (1, 10, 150, N + 50):
            ways = ({}, {"exact": True}) if k == 10 else ({"budget": 1},) if k == 150 else ({},)
            for way in ways:
                for q in held.q[: 2 if k == 10 else 1]:
                    found = c.search(q, k=k, where=where, explain=True, **way)
                    assert len(found) == min(k, matches), (share, k, way)
                    assert passes[found.ids].all()
                    assert len(set(found.ids)) == len(found)
                    assert np.isfinite(found.scores).all()
                    assert (np.diff(found.scores) <= 1e-6).all()
                    paths = {p["path"] for p in found.explain["searched"]["field 0"]}
                    if (exact and "budget" not in way) or paths <= {"exact", "nothing passes"}:
                        ids, scores = truth(held, passes, q, metric)
                        same(found, ids[:k], scores[:k])
        batch = c.search(held.q, k=20, where=where)
        assert [len(hits) for hits in batch] == [min(20, matches)] * len(held.q)
        assert len(c.search(held.q[0], k=20, offset=15, where=where)) == max(0, min(20, matches - 15))


@pytest.mark.usefixtures("steps")
@pytest.mark.parametrize("plan", PLANS)
def test_every_kind_of_codes(fresh: Make, rng: np.random.Generator, plan: str | None) -> None:
    if plan is not None and plan.startswith("recurrent_binary"):
        pytest.importorskip("torch")
    metric = ("cosine", "l2", "dot")[PLANS.index(plan) % 3]
    held, c = Held(rng), fresh(dim=D, metric=metric)
    filled(c, held)
    if plan is not None:
        c.recode(plan)
        tail = range(2340, 2370)
        held.x[2340:2370] *= 1.5
        held.there[2340:2370] = True
        c.upsert(list(tail), held.x[2340:2370], meta=held.meta(tail))
        c.delete([2341])
        held.there[2341] = False
    segments, tail_rows = layout(c)
    assert segments >= 2
    assert tail_rows > 0
    kept(c, held, metric, exact=plan is None)
    c.compact()
    assert layout(c)[1] == 0
    kept(c, held, metric, exact=plan is None)


@pytest.mark.usefixtures("steps")
@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_exact_under_each_metric_and_over_a_new_handle(fresh: Make, rng: np.random.Generator, metric: str) -> None:
    held, c = Held(rng), fresh(dim=D, metric=metric)
    filled(c, held)
    with nf.open(c.path, mode="r") as reader:
        kept(reader, held, metric, exact=True)


@pytest.mark.usefixtures("steps")
@pytest.mark.parametrize("originals", ["float16", "drop"])
@pytest.mark.parametrize(
    "plan",
    [
        "int8",
        "rabitq(bits=1)",
        "int8 | vamana(degree=8, width=32)",
        "pq(parts=4, code_bits=4) | rescore(codec='int8', depth=9)",
    ],
)
def test_where_the_originals_are_narrower_or_gone(
    fresh: Make, rng: np.random.Generator, plan: str, originals: str
) -> None:
    held, c = Held(rng), fresh(dim=D)
    filled(c, held)
    c.recode(plan, originals=originals)
    tail = range(2340, 2370)
    held.there[2340:2370] = True
    c.upsert(list(tail), held.x[2340:2370], meta=held.meta(tail))
    for _ in range(2):
        for share in SHARES:
            where, passes = held.filter_of(share)
            for k in (1, 10, N + 50):
                found = c.search(held.q[0], k=k, where=where)
                assert len(found) == min(k, int(passes.sum())), (share, k)
                assert passes[found.ids].all()
                assert len(set(found.ids)) == len(found)
        c.compact()


@pytest.mark.usefixtures("steps")
def test_packed_bits(fresh: Make, rng: np.random.Generator) -> None:
    held, c = Held(rng), fresh(dim=128, metric="hamming")
    bits = rng.integers(0, 256, size=(N, 16)).astype(np.uint8)
    for start, stop in ((0, 900), (900, 1800), (1800, 2300), (2300, N)):
        c.upsert(list(range(start, stop)), bits[start:stop], meta=held.meta(range(start, stop)))
    gone = list(range(3, N, 11))
    c.delete(gone)
    held.there[gone] = False
    away = np.unpackbits(bits ^ bits[5], axis=1).sum(axis=1)
    for plan in (None, "bits"):
        if plan:
            c.recode(plan)
        for share in SHARES:
            where, passes = held.filter_of(share)
            found = c.search(bits[5], k=30, where=where)
            assert sorted(-found.scores) == sorted(away[passes])[:30]
            assert (-found.scores == away[found.ids]).all()


@pytest.mark.usefixtures("steps")
def test_sparse_ragged_texts_and_both(fresh: Make, rng: np.random.Generator) -> None:
    held = Held(rng)
    c = fresh(fields={"v": nf.dense(D), "terms": nf.sparse(), "tokens": nf.ragged(4, metric="dot")})
    n = 600
    terms = [{int(t): float(rng.random()) for t in rng.choice(90, size=4, replace=False)} for _ in range(n)]
    tokens = [rng.normal(size=(int(rng.integers(1, 4)), 4)).astype(np.float32) for _ in range(n)]
    texts = [" ".join(rng.choice(["red", "green", "blue", "far", "near"], size=3)) for _ in range(n)]
    marks = rng.permutation(n)
    for start, stop in ((0, 250), (250, 500), (500, n)):
        c.upsert(
            list(range(start, stop)),
            {"v": held.x[start:stop], "terms": terms[start:stop], "tokens": tokens[start:stop]},
            texts=texts[start:stop], meta=[{"mark": int(m)} for m in marks[start:stop]],
        )  # fmt: skip
    there = np.ones(n, np.bool_)
    there[::9] = False
    c.delete(np.flatnonzero(~there).tolist())
    q = rng.normal(size=(2, 4)).astype(np.float32)
    best = np.array([(t @ q.T).max(axis=0).sum() for t in tokens])
    dot = np.array([sum(w * row.get(t, 0) for t, w in {3: 1.0, 7: -0.5}.items()) for row in terms])
    for _ in range(2):
        for least in (0, 1, 6, 60, 300, n):
            passes = there & (marks < least)
            matches, where = int(passes.sum()), f"mark < {least}"
            for k in (1, 10, 700):
                found = c.search({3: 1.0, 7: -0.5}, field="terms", k=k, where=where)
                assert np.allclose(found.scores, np.sort(dot[passes])[::-1][:k], atol=1e-5)
                assert passes[found.ids].all()
                found = c.search(q, field="tokens", k=k, where=where)
                assert np.allclose(found.scores, np.sort(best[passes])[::-1][:k], atol=1e-4)
                assert len(c.search(held.q[0], text="red", k=k, field="v", where=where)) == min(k, matches)
                words = np.array(["blue" in t for t in texts]) & passes
                assert len(c.search(text="blue", k=k, where=where)) == min(k, int(words.sum()))
                several = {"v": held.q[0], "terms": {3: 1.0}, "tokens": q}
                assert len(c.search(several, k=k, where=where)) == min(k, matches)
        c.compact()


@pytest.mark.usefixtures("steps")
@pytest.mark.parametrize("plan", [None, "int8", "binary | rescore(codec='raw', depth=5)"])
def test_rows_without_a_vector_are_no_matches(fresh: Make, rng: np.random.Generator, plan: str | None) -> None:
    held, c = Held(rng), fresh(dim=D)
    having = np.arange(N) % 3 != 0
    for start, stop in ((0, 900), (900, 1800), (1800, 2300), (2300, N)):
        x = [held.x[i] if having[i] else None for i in range(start, stop)]
        c.upsert(list(range(start, stop)), x, meta=held.meta(range(start, stop)))
    if plan:
        c.recode(plan)
        c.upsert([5], held.x[5:6], meta=held.meta(range(5, 6)))
    for share in SHARES:
        where, passes = held.filter_of(share)
        for k in (1, 10, N):
            found = c.search(held.q[0], k=k, where=where)
            assert len(found) == min(k, int((passes & having).sum()))
            assert (passes & having)[found.ids].all()


def test_the_tail_alone(fresh: Make, rng: np.random.Generator) -> None:
    held, c = Held(rng), fresh(dim=D)
    for start in range(0, N, 300):
        c.upsert(
            list(range(start, start + 300)), held.x[start : start + 300], meta=held.meta(range(start, start + 300))
        )
    c.delete(list(range(0, N, 7)))
    held.there[::7] = False
    assert layout(c)[0] == 0
    assert isinstance(c._state.snapshot().tail.part, TailPart)
    kept(c, held, "cosine", exact=True)


def test_an_empty_collection_finds_nothing(fresh: Make, rng: np.random.Generator) -> None:
    c = fresh(dim=D)
    assert c.search(np.ones(D), k=5).ids == []
    assert c.search(np.ones(D), text="word", k=5).ids == []
    c.upsert([1, 2], rng.normal(size=(2, D)))
    c.delete([1, 2])
    assert [h.ids for h in c.search(np.ones((3, D)), k=5)] == [[], [], []]
    c.compact()
    assert c.search(np.ones(D), k=5, min_score=-1.0).ids == []
