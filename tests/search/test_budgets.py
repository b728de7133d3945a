"""A budget is about how many rows the first stage scores, whichever way a plan is run and however deep it re-scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nearfield as nf

N, D = 6000, 32
FINER = "rescore(codec='lvq(bits=8)', depth=8)"
PLANS = [
    f"lvq(bits=4) | vamana(degree=12, width=48) | {FINER}",
    f"int8() | packed_graph(degree=12, width=48) | {FINER}",
    f"lvq(bits=4) | hnsw(degree=8, width=48) | {FINER}",
    f"binary() | ivf(lists=150) | {FINER}",
    f"lvq(bits=4) | lsh(tables=8) | {FINER}",
    f"lvq(bits=4) | kd_forest(trees=4, leaf=20) | {FINER}",
]


def rows(seed: int, n: int) -> Any:
    """Rows of few dimensions among many."""
    basis = np.random.default_rng(0).normal(size=(10, D))
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 10)) @ basis + rng.normal(size=(n, D)) / 3
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


X, Q = rows(1, N), rows(2, 30)


@pytest.mark.parametrize("plan", PLANS)
def test_both_ways_spend_alike(plan: str, monkeypatch: pytest.MonkeyPatch) -> None:
    packed, mapped = (nf.Plan(f"{step}{plan}").fit(X, metric="l2") for step in ("", "normalize() | "))
    most = 8 * 5 + N // 150 if "ivf" in plan else 150  # a list too many, or where walks begin
    assert packed.now.search_compiled(Q, 5, 100, None) is not None
    assert mapped.now.search_compiled(Q, 5, 100, None) is None
    allow = np.random.default_rng(3).random(N) < 0.3
    for budget in (100, 300, 1000):
        quick, filtered = packed.search(Q, 5, budget=budget), packed.search(Q, 5, budget=budget, allow=allow)
        if "kd_forest" not in plan:  # whose trees score two more rows for each node
            assert abs(quick.scored.mean() - budget) <= max(most, 0.3 * budget)
        with monkeypatch.context() as patch:
            patch.setattr(packed.now, "pipeline", None)
            patch.setattr(packed.now, "settled", {})
            slow = packed.search(Q, 5, budget=budget)
            again = packed.search(Q, 5, budget=budget, allow=allow)
        np.testing.assert_allclose(slow.scored.mean(), quick.scored.mean(), rtol=0.02)
        np.testing.assert_allclose(again.scored.mean(), filtered.scored.mean(), rtol=0.02)
        assert (slow.rows == quick.rows).mean() > 0.95
        np.testing.assert_allclose(mapped.search(Q, 5, budget=budget).scored.mean(), quick.scored.mean(), rtol=0.05)


WALKED = ["hnsw()", "vamana()", "packed_graph()", "nndescent()", "diskgraph()"]
BEAM = 8 * 32  # rows that a step of diskgraph meets at the most


@pytest.mark.parametrize("index", WALKED)
def test_walks_keep_near_small_budgets_down_to_their_floor(index: str) -> None:
    packed = nf.Plan(f"int8() | {index}").fit(X)
    floor, over = 130, 64 if index != "diskgraph()" else 1.5 * BEAM
    before = 0.0
    for budget in (1, 50, 100, 200, 400):
        hits = packed.search(Q, 10, budget=budget)
        assert (hits.rows >= 0).all()
        assert before <= hits.scored.mean() <= max(1.3 * budget + over, floor)
        before = hits.scored.mean()
    assert packed.search(Q, 10, budget=50).scored.mean() < 0.7 * packed.search(Q, 10, budget=200).scored.mean()


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_narrow_walks_on_disk_score_what_they_find_by_its_vectors(share: float) -> None:
    packed = nf.Plan("lvq(bits=4) | diskgraph(values='float32', beam=3)").fit(X, metric="dot")
    allow = np.random.default_rng(3).random(N) < share if share < 1 else None
    for budget in (1, 60, 150):
        hits = packed.search(Q, 10, budget=budget, allow=allow)
        assert (hits.rows >= 0).all()
        assert allow is None or allow[hits.rows].all()
        assert all(len(set(found)) == 10 for found in hits.rows.tolist())
        np.testing.assert_allclose(hits.scores, np.einsum("md,mkd->mk", Q, X[hits.rows]), atol=1e-5)
        assert (np.diff(hits.scores, axis=1) <= 0).all()


@pytest.mark.parametrize("index", WALKED)
def test_rows_that_come_late_are_scored_within_budgets_too(index: str) -> None:
    packed = nf.Plan(f"int8() | {index}").fit(X[: N * 5 // 7])
    packed.background = False
    for start in range(N * 5 // 7, N, 200):
        packed.add(X[start : start + 200])
    tail = N - packed._changes().indexed
    over = 64 if index != "diskgraph()" else 1.5 * BEAM
    linked = index in ("vamana()", "packed_graph()", "nndescent()")
    assert tail == 0 if linked else tail <= max(512, N // 8)
    hits = packed.search(Q, 10, budget=400)
    assert hits.scored.mean() <= 1.5 * 400 + tail + over
    packed.consolidate()
    assert packed.search(Q, 10, budget=400).scored.mean() <= 1.3 * 400 + over


def test_rows_that_come_late_bring_their_lines() -> None:
    packed = nf.Plan("int8() | packed_graph()").fit(X[:4000])
    packed.add(X[4000:])
    packed.delete(rows=np.arange(0, N, 5))
    assert np.mean(packed.search(X[4001::5], k=1, budget=200).rows[:, 0] == np.arange(4001, N, 5)) > 0.97
    packed.compact()
    left = np.setdiff1d(np.arange(N), np.arange(0, N, 5))
    assert np.mean(packed.search(X[left], k=1, budget=200).rows[:, 0] == np.arange(len(left))) > 0.97
