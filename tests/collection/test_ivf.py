"""A Collection under a Plan of lists: rows come, go and are merged, and stay in the lists whose centroids they need."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nearfield as nf


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("codec", ["binary()", "lvq(bits=8)", "float16()"])
def test_lists_as_rows_come_and_go(fresh: Any, codec: str, metric: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(900, 24)).astype(np.float32) + 0.2
    q = rng.normal(size=(12, 24)).astype(np.float32)
    c = fresh(dim=24, metric=metric)
    for start in range(0, 600, 50):
        c.add(list(range(start, start + 50)), x[start : start + 50])
    c.recode(f"{codec} | ivf(lists=12) | rescore(codec='lvq(bits=8)', depth=20, of='residual')", originals="drop")
    for start in range(600, 900, 50):
        c.add(list(range(start, start + 50)), x[start : start + 50])
    c.delete(list(range(0, 900, 3)))
    c.compact()
    left = np.array([i for i in range(900) if i % 3])
    want = nf.Plan("raw()").fit(x[left], metric=metric).search(q, k=5)
    hits = c.search(q, k=5, budget=900)
    assert len(hits) == 12
    shares = [np.isin([h.id for h in found], left[rows]).mean() for found, rows in zip(hits, want.rows)]
    assert np.mean(shares) > 0.95
    assert len(c) == len(left)
