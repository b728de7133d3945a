"""LeanVec in a graph (S053): reduced codes are walked, finer ones of the whole rows put the best in order.

The paper's speed comes from bytes: a query touches a fraction of what a walk over float16 rows does, for the same
recall. Bytes are counted and asserted, since they do not depend on the machine; processor time is recorded alone.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

from nearfield import Plan

PAPER = "S053"
WHOLE = "float16() | vamana()"
LEAN = "leanvec(dim=160) | lvq(bits={bits}) | vamana() | rescore(codec='lvq(bits=8)', depth=5)"
WANTED = 0.95
BUDGETS = (300, 400, 500, 600, 700, 850, 1000, 1200, 1500, 2000, 3000)


def exact(rows: Any, queries: Any) -> Any:
    parts = [np.argsort(-(queries[i : i + 100] @ rows.T), axis=1, kind="stable")[:, :10] for i in range(0, 1000, 100)]
    return np.concatenate([p for p in parts if len(p)])


def touched(packed: Any, hits: Any) -> float:
    """Bytes of codes that a query reads: rows scored first, and rows scored again."""
    f = packed.fitted
    again = 0 if hits.rescored is None else hits.rescored.mean() * sum(c.bytes_per_row for c in f.rescore_codecs)
    return float(hits.scored.mean() * f.codec.bytes_per_row + again)


@dataclass
class Reached:
    """A fitted plan, the least budget of the list that reaches recall@10 of 0.95, and the bytes that it touches."""

    packed: Any
    budget: int
    bytes: float

    def microseconds(self, queries: Any) -> float:
        """Processor time of a query, one call each."""
        start = time.process_time()
        for i in range(200):
            self.packed.search(queries[i : i + 1], k=10, budget=self.budget)
        return (time.process_time() - start) * 5000


@pytest.fixture(scope="module")
def reached(minilm60k: Any, minilm_queries: Any, truth10: Any, recall: Any) -> Callable[[str], Reached]:
    @cache
    def of(plan: str) -> Reached:
        packed = Plan(plan).fit(minilm60k)
        for budget in BUDGETS:
            hits = packed.search(minilm_queries, k=10, budget=budget)
            if recall(hits.rows, truth10) >= WANTED:
                return Reached(packed, budget, touched(packed, hits))
        pytest.fail(f"{packed.plan}: recall {WANTED} was not reached")

    return of


@pytest.mark.parametrize("bits", [4, 8])
def test_fewer_bytes_for_the_same_recall(bits: int, reached: Callable[[str], Reached], record_claim: Any) -> None:
    """At recall@10 of 0.95 under a third (4 bits) or half (8 bits) of the bytes that a walk over float16 touches."""
    whole, lean = reached(WHOLE), reached(LEAN.format(bits=bits))
    share, bound = lean.bytes / whole.bytes, {4: 0.33, 8: 0.5}[bits]
    told = (
        f"{share:.2f} of the bytes touched (budgets {lean.budget} and {whole.budget}), "
        f"{lean.packed.bytes_per_row:g} bytes a row in place of {whole.packed.bytes_per_row:g}"
    )
    record_claim(
        PAPER, f"walks of {bits}-bit reduced codes touch under {bound} of float16's bytes", share < bound, told
    )
    assert lean.packed.bytes_per_row < 0.8 * whole.packed.bytes_per_row
    assert share < bound, told


@pytest.mark.parametrize("bits", [4, 8])
def test_less_time_for_the_same_recall(
    bits: int, reached: Callable[[str], Reached], minilm_queries: Any, record_timing: Any
) -> None:
    whole, lean = (r.microseconds(minilm_queries) for r in (reached(WHOLE), reached(LEAN.format(bits=bits))))
    figure = f"{lean:.0f} us of the processor against {whole:.0f}, {lean / whole:.2f} of it"
    record_timing(PAPER, f"walks of {bits}-bit reduced codes take less time than float16's", lean < whole, figure)


def test_the_map_of_the_queries_finds_more(minilm60k: Any, data: Any, recall: Any, record_claim: Any) -> None:
    """Queries of one field against rows of all: directions learned from both sides keep more at equal budget."""
    with gzip.open(data / "retrieval/arxiv60k/papers.jsonl.gz", "rt", encoding="utf-8") as file:
        names = np.array([json.loads(line)["primary"] for line in file])
    theirs = np.random.default_rng(0).permutation(np.flatnonzero(names == "cs.CL"))
    queries, sample = minilm60k[theirs[:300]], minilm60k[theirs[300:2300]]
    rows = np.ascontiguousarray(np.delete(minilm60k, theirs[:2300], axis=0)[::4])
    truth = exact(rows, queries)
    got = {}
    for kind in ("id", "ood"):
        text = f"leanvec(dim=64, kind='{kind}') | lvq(bits=8) | vamana() | rescore(codec='float16', depth=3)"
        hits = Plan(text).fit(rows, queries=sample).search(queries, k=10, budget=1000)
        got[kind] = recall(hits.rows, truth)
    told = ", ".join(f"{kind} {value:.4f}" for kind, value in got.items())
    held = got["ood"] > got["id"] + 0.005
    record_claim(PAPER, "in a graph OOD finds more than ID where queries are of one field", held, told)
    assert held, told
