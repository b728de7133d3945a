"""Searches of a graph under filters: always min(k, matches) rows, all of them allowed, whichever way is taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nearfield as nf
from nearfield.core.errors import BadInput
from nearfield.core.hits import WAYS

N, D = 3000, 24
FORCED = ["walk", "scan", "hop", "post"]  # "walk" leaves the choice to the planner
PLANS = {
    "cosine": "lvq(bits=4) | vamana(degree=12, width=48) | rescore(codec='lvq(bits=8)', depth=3)",
    "l2": "float16() | vamana(degree=12, width=48)",
    "dot": "lvq(bits=4) | vamana(degree=12, width=48)",
    "cosine, in layers": "lvq(bits=4) | hnsw(degree=6, width=48) | rescore(codec='lvq(bits=8)', depth=3)",
    "cosine, packed": "float16() | packed_graph(degree=12, width=48)",
    "l2, packed": "lvq(bits=8) | packed_graph(degree=12, width=48)",
}


def _rows() -> Any:
    rng = np.random.default_rng(8)
    groups = rng.normal(size=(30, D))
    of = rng.integers(30, size=N)
    return (groups[of] + 0.7 * rng.normal(size=(N, D))).astype(np.float32), of


@pytest.fixture(scope="module")
def rows() -> Any:
    return _rows()


@pytest.fixture(scope="module")
def queries() -> Any:
    x, _ = _rows()
    return (x[:25] + 0.3 * np.random.default_rng(9).normal(size=(25, D))).astype(np.float32)


@pytest.fixture(scope="module")
def packed(rows: Any) -> dict[str, Any]:
    return {name: nf.Plan(plan).fit(rows[0], metric=name.split(",")[0]) for name, plan in PLANS.items()}  # type: ignore[arg-type]


def _filter(share: float, seed: int = 0) -> Any:
    """So many of the rows, at least one where the share is not 0."""
    allow = np.zeros(N, np.bool_)
    chosen = np.random.default_rng(seed).permutation(N)[: int(np.ceil(share * N))]
    allow[chosen] = True
    return allow


def _sound(hits: Any, allow: Any, k: int) -> None:
    each = np.broadcast_to(allow, (len(hits), N))
    for i, found in enumerate(hits.rows):
        real = found[found >= 0]
        want = min(k, int(each[i].sum()))
        assert len(real) == len(set(real.tolist())) == want
        assert (found[:want] >= 0).all()  # none behind a gap
        assert each[i][real].all()
        assert np.isneginf(hits.scores[i, want:]).all()
        assert (np.diff(hits.scores[i, :want]) <= 0).all()


def _recall(found: Any, truth: Any) -> float:
    return float(np.mean([np.isin(t[t >= 0], f).mean() for f, t in zip(found, truth)]))


@pytest.mark.parametrize("metric", list(PLANS))
@pytest.mark.parametrize("way", FORCED)
@pytest.mark.parametrize("share", [0, 1e-9, 0.002, 0.05, 0.3, 0.6, 0.95, 1])
def test_every_way_finds_as_many_as_there_are(metric: str, way: str, share: float, packed: Any, queries: Any) -> None:
    one, allow = packed[metric], _filter(share)
    one.index.prefer(way)
    try:
        for k in (1, 10, 200):
            _sound(one.search(queries, k=k, budget=150, allow=allow), allow, k)
    finally:
        one.index.prefer("walk")


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 1), seed=st.integers(0, 99), k=st.integers(1, 50), budget=st.integers(1, 2 * N))
def test_any_filter(packed: Any, queries: Any, share: float, seed: int, k: int, budget: int) -> None:
    allow = _filter(share, seed)
    hits = packed["cosine"].search(queries[:3], k=k, budget=budget, allow=allow)
    _sound(hits, allow, k)
    spent = hits.scored + (0 if hits.rescored is None else hits.rescored)
    if allow.any() and not allow.all():
        # a walk that gives up has cost at most twice the scan that follows
        entries = packed["cosine"].index.graph.entries.size
        room = entries + 3 * k + 100 if hits.strategy != ["post"] * 3 else N
        assert (spent <= 3 * allow.sum() + room).all()


@pytest.mark.parametrize("metric", ["cosine", "l2", "dot"])
def test_a_scan_is_exact_under_the_codes(metric: str, rows: Any, packed: Any, queries: Any) -> None:
    plan = PLANS[metric].split("|")[0]
    flat = nf.Plan(plan).fit(rows[0], metric=metric)  # type: ignore[arg-type]
    one = nf.Plan(f"{plan} | vamana(degree=12, width=48)").fit(rows[0], metric=metric)  # type: ignore[arg-type]
    for share in (0.01, 0.2, 0.7):
        allow = _filter(share)
        hits = one.search(queries, k=10, budget=N, allow=allow)  # a budget of all rows is a scan
        want = flat.search(queries, k=10, allow=allow)
        assert hits.strategy == ["scan"] * len(queries)
        assert (hits.scored == allow.sum()).all()
        assert np.mean(hits.rows == want.rows) > 0.99  # queries are folded natively, with errors of their own
        np.testing.assert_allclose(hits.scores, want.scores, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", list(PLANS))
def test_every_graph_takes_the_way_it_is_told_to(name: str, packed: Any, queries: Any) -> None:
    one = packed[name]
    for share, way in ((0.3, "scan"), (0.3, "hop"), (0.9, "post")):
        one.index.prefer(way)
        hits = one.search(queries, k=10, budget=300, allow=_filter(share))
        one.index.prefer("walk")
        assert hits.strategy.count(way) >= len(queries) - 2  # a walk may give up
    assert one.search(queries, k=10, budget=300, allow=_filter(0.005)).strategy == ["scan"] * len(queries)


def test_recall_is_no_worse_than_without_a_filter(packed: Any, queries: Any, rows: Any) -> None:
    one, x = packed["l2"], rows[0]
    exact = nf.Plan("float16()").fit(x, metric="l2")
    plain = _recall(one.search(queries, k=10, budget=400).rows, exact.search(queries, k=10).rows)
    for share in (0.003, 0.03, 0.1, 0.3, 0.6, 0.9):
        allow = _filter(share)
        truth = exact.search(queries, k=10, allow=allow).rows
        for way in ("walk", "hop", "post") if share > 0.05 else ("walk",):
            one.index.prefer(way)
            got = one.search(queries, k=10, budget=400, allow=allow)
            assert _recall(got.rows, truth) >= plain - 0.03, (share, way)
        one.index.prefer("walk")


@pytest.mark.parametrize("near", [True, False])
def test_filters_that_go_with_the_queries_or_against_them(near: bool, packed: Any, queries: Any, rows: Any) -> None:
    x, of = rows
    exact = nf.Plan("float16()").fit(x, metric="l2")
    for i in range(10):
        allow = (of == of[i]) == near
        truth = exact.search(queries[i : i + 1], k=10, allow=allow).rows
        for way in FORCED:
            packed["l2"].index.prefer(way)
            got = packed["l2"].search(queries[i : i + 1], k=10, budget=600, allow=allow)
            _sound(got, allow, 10)
            assert _recall(got.rows, truth) >= 0.8, (i, way)
        packed["l2"].index.prefer("walk")


def test_few_matches_are_scanned_and_many_are_not(packed: Any, queries: Any) -> None:
    one = packed["cosine"]
    few = one.search(queries, k=10, budget=300, allow=_filter(0.01))
    assert few.strategy == ["scan"] * len(queries)
    assert (few.scored == 30).all()
    many = one.search(queries, k=10, budget=300, allow=_filter(0.9))
    assert set(many.strategy) <= {"hop", "post"}
    assert one.search(queries, k=10).strategy is None
    assert len(WAYS) == 5


def test_a_bitmap_serves_as_the_flags_it_was_made_of(packed: Any, queries: Any) -> None:
    for share in (0.0, 0.01, 0.4, 0.9, 1.0):
        allow = _filter(share)
        bitmap = nf.Bitmap(allow)
        assert bitmap.matches == allow.sum()
        assert (bitmap.flags == allow).all()
        a = packed["cosine"].search(queries, k=10, allow=allow)
        b = packed["cosine"].search(queries, k=10, allow=bitmap)
        np.testing.assert_array_equal(a.rows, b.rows)
        np.testing.assert_array_equal(a.scores, b.scores)
    flat = nf.Plan("raw()").fit(np.random.default_rng(0).normal(size=(70, 8)).astype(np.float32))
    odd = np.arange(70) % 2 == 1
    assert (flat.search(np.ones((1, 8)), k=70, allow=nf.Bitmap(odd)).rows[0, :35] % 2 == 1).all()


@pytest.mark.parametrize("plan", ["cosine", "flat"])
def test_a_filter_for_each_query(plan: str, packed: Any, queries: Any, rows: Any) -> None:
    one = nf.Plan("float16()").fit(rows[0]) if plan == "flat" else packed[plan]
    allow = np.stack([_filter(share, i) for i, share in enumerate(np.linspace(0, 1, len(queries)))])
    hits = one.search(queries, k=10, budget=300, allow=allow)
    _sound(hits, allow, 10)
    for i in range(len(queries)):
        alone = one.search(queries[i], k=10, budget=300, allow=allow[i])
        np.testing.assert_array_equal(hits.rows[i], alone.rows[0])
    for form in (allow, nf.Bitmap(allow)):
        np.testing.assert_array_equal(one.search(queries, k=10, budget=300, allow=form).rows, hits.rows)


def test_filters_of_another_shape(packed: Any, queries: Any) -> None:
    one = packed["cosine"]
    for bad in (
        np.ones(N - 1, np.bool_),
        np.ones(N, np.uint8),
        np.ones((2, N - 1), np.bool_),
        np.ones((1, 1, N), np.bool_),
    ):
        with pytest.raises(BadInput, match="allow"):
            one.search(queries, allow=bad)
    with pytest.raises(BadInput, match="allow"):
        one.search(queries, allow=nf.Bitmap(np.ones(N + 1, np.bool_)))
    with pytest.raises(BadInput, match="a filter for each"):
        one.search(queries, allow=np.zeros((2, N), np.bool_))
    with pytest.raises(BadInput, match="allow"):
        nf.Bitmap(np.ones(3))  # type: ignore[arg-type]


def test_threads_change_nothing(packed: Any, queries: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for share in (0.02, 0.3, 0.8):
        found = []
        for threads in ("1", "3"):
            monkeypatch.setenv("NEARFIELD_THREADS", threads)
            found.append(packed["cosine"].search(queries, k=10, budget=300, allow=_filter(share)))
        np.testing.assert_array_equal(found[0].rows, found[1].rows)
        np.testing.assert_array_equal(found[0].scored, found[1].scored)


def test_a_collection_tells_how_a_filter_was_met(rows: Any, queries: Any, tmp_path: Any) -> None:
    x = rows[0]
    with nf.open(tmp_path / "c", dim=D) as c:
        c.upsert(list(range(N)), x, meta=[{"g": i % 100} for i in range(N)])
        c.recode("lvq(bits=4) | vamana(degree=12, width=48) | rescore(codec='lvq(bits=8)', depth=3)")
        c.compact()
        for below, ways in ((5, {"exact"}), (30, {"scan", "hop", "post"}), (90, {"hop", "post"})):
            found = c.search(queries[0], k=10, where=f"g < {below}", budget=100, explain=True)
            (told,) = found.explain["searched"]["field 0"]
            assert told.get("strategy", told["path"]) in ways
            assert len(found.ids) == 10
            assert all(i % 100 < below for i in found.ids)
