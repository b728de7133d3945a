"""LeanVec in a graph as one native call: queries pass through another matrix than rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nearfield as nf


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("kind", ["kind='id'", "kind='ood', solver='frank_wolfe'"])
def test_the_same_as_step_by_step(metric: Any, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    x = (rng.normal(size=(1500, 24)) * np.linspace(2, 0.2, 24)).astype(np.float32)
    q = (rng.normal(size=(60, 24)) * np.linspace(0.2, 2, 24)).astype(np.float32)
    plan = f"leanvec(dim=12, {kind}) | lvq(bits=4) | vamana(degree=8, width=32) | rescore(codec='lvq(bits=8)', depth=4)"
    packed = nf.Plan(plan).fit(x, metric=metric, queries=q[20:])
    map_: Any = packed.fitted.maps[0]
    same = np.allclose(map_.transform_queries(x[:5]), map_.transform(x[:5]))
    assert same == (kind == "kind='id'" or metric == "l2")  # distances need one matrix for both
    quick = packed.search(q[:20], k=5, budget=400)
    assert packed.now.search_compiled(q[:20], 5, 400, None) is not None
    monkeypatch.setattr(packed.now, "pipeline", None)
    slow = packed.search(q[:20], k=5, budget=400)
    assert np.mean(quick.rows == slow.rows) > 0.95
    both = quick.rows == slow.rows
    np.testing.assert_allclose(quick.scores[both], slow.scores[both], rtol=2e-4, atol=2e-4)
