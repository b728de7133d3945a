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
