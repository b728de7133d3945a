"""S051, S138: every family of the surveys stands behind one interface, and real rows rank them as the surveys do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.numerics import kernels

pytestmark = pytest.mark.skipif(kernels.native() is None, reason="these indexes need native code")
FAMILIES = {
    "graph": ("vamana", "hnsw", "nndescent"),
    "trees": ("kd_forest",),
    "hashing": ("lsh",),
}
WANTED = 0.9


def rows_scored(index: str, x: np.ndarray, q: np.ndarray, truth: np.ndarray) -> float:
    """How many rows a query scores, at the least effort that finds nine of ten near rows."""
    packed = nf.Plan(f"float16() | {index}()").fit(x)
    for budget in (100, 150, 220, 330, 500, 750, 1100, 1600, 2400, 3600, 5400, 8000, len(x)):
        hits = packed.search(q, k=10, budget=budget)
        if np.mean([np.isin(a, b).mean() for a, b in zip(hits.rows, truth)]) >= WANTED:
            break
    return float(hits.scored.mean())


def test_graphs_score_fewest_rows_then_trees_then_hashes(
    minilm60k: np.ndarray, minilm_queries: np.ndarray, record_claim: Callable[..., Any]
) -> None:
    x, q = np.ascontiguousarray(minilm60k[::6]), minilm_queries[:200]
    truth = nf.Plan("float16()").fit(x).search(q, k=10).rows
    scored = {name: rows_scored(name, x, q, truth) for family in FAMILIES.values() for name in family}
    worst = {family: max(scored[name] for name in names) for family, names in FAMILIES.items()}
    text = ", ".join(f"{name}: {count:.0f}" for name, count in scored.items()) + f", flat: {len(x)}"
    assert worst["graph"] < worst["trees"] < worst["hashing"] < len(x)
    claim = f"graphs score the fewest rows for recall@10 of {WANTED}, then trees, then hashes, then a scan"
    left = {"S051": "cover trees and sampling", "S138": "spectral hashing, ball trees and product codes"}
    for paper, without in left.items():
        record_claim(paper, claim, True, text, without=without)
