"""The adviser over indexes: each with the budget that it needs, and from how many rows on it pays."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.adviser.bench import Bench
from nearfield.adviser.indexed import candidates, crossing, indexed, rounded, scanned, with_parameter
from nearfield.adviser.task import make_task
from nearfield.core.errors import BadInput
from nearfield.core.indexes import Index

PLANS = ["int8()", "float16()", "int8() | vamana(degree=8, width=32)"]


def blobs(n: int, d: int = 24, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    x = np.random.default_rng(9).normal(size=(8, d))
    return (rng.normal(size=(n, 8)) @ x + 0.3 * rng.normal(size=(n, d))).astype(np.float32)


@pytest.fixture(scope="module")
def advice() -> Any:
    return nf.advise(blobs(3000), keep=0.9, plans=PLANS, sample=1000)


def test_the_budget_is_the_least_that_keeps_enough(advice: Any) -> None:
    row = next(r for r in advice.plans if r.build_s is not None)
    plan = nf.Plan(row.plan)
    budget = plan.index.budget  # type: ignore[attr-defined]
    assert budget < 3000
    assert row.quality["recall@10"].value >= 0.9
    x, q = blobs(3000), blobs(300, seed=4)
    exact = nf.Plan("raw()").fit(x).search(q, k=10).rows
    packed = plan.fit(x)
    got = packed.search(q, k=10)
    recall = np.mean([len(np.intersect1d(f, t)) / 10 for f, t in zip(got.rows, exact)])
    assert recall > 0.85
    assert got.scored.mean() < 2 * budget
    assert packed.bytes_per_row == row.bytes_per_row
    assert row.bytes_per_row == 24 + 4 * 8 + next(r for r in advice.plans if r.plan == "int8()").bytes_per_row - 24


def test_the_smallest_is_advised_and_the_quickest_is_told(advice: Any) -> None:
    assert str(advice.best) == "int8()"
    assert advice.fastest in [r.plan for r in advice.plans]
    told = json.loads(advice.to_json())
    assert told["fastest"] == advice.fastest
    row = next(r for r in told["plans"] if "vamana" in r["plan"])
    assert row["pays_from"] >= 1
    assert row["build_s"] >= 0
    assert "build s" in str(advice)
    assert any("no index needed" in note for note in advice.notes)


def test_a_latency_that_no_scan_meets_brings_indexes(monkeypatch: pytest.MonkeyPatch) -> None:
    x = blobs(3000)
    without = nf.advise(x, keep=0.9, latency_us=1e7, sample=1000, verify=False)
    assert not without.indexed
    assert not nf.advise(x, keep=0.9, latency_us=1e-3, sample=1000, verify=False, indexes=False).indexed
    quick = nf.advise(x, keep=0.9, latency_us=1e-3, sample=1000)
    assert quick.indexed
    assert all("budget=" in r.plan for r in quick.plans if r.build_s is not None)


def test_only_plans_with_an_index_can_be_named() -> None:
    found = nf.advise(blobs(1500), plans=["int8() | vamana(degree=8, width=32, budget=300)"], sample=600)
    assert str(found.best) == "int8() | vamana(degree=8, width=32, budget=300)"  # a budget that is named stays
    assert found.verified == found.plans[0].quality
    with pytest.raises(BadInput, match=r"no plan could be measured.*searches codes of the layouts"):
        nf.advise(blobs(1500), plans=["pq(parts=4) | vamana()"], sample=600)


def test_every_index_of_the_room_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    from nearfield.indexes.vamana import Vamana

    monkeypatch.setattr(Vamana, "sweep", classmethod(lambda cls, n, d: ["raw() | vamana(degree=16, width=16)"]))
    found = nf.advise(blobs(1500), keep=0.9, bytes=130, sample=600, indexes=True, verify=False)
    assert {nf.Plan(r.plan).index.name() for r in found.plans} >= {"flat", "vamana"}
    assert not any("raw() | vamana" in r.plan for r in found.plans)  # it takes too many bytes
    assert Index.sweep(10, 10) == []


def test_a_shift_of_the_queries_brings_leanvec() -> None:
    task = make_task(blobs(600), blobs(200, seed=3), metric="cosine", k=10, sample=300, rng=0, on_zero="raise")
    rows = Bench(task).run([nf.Plan("int8()")])
    for shifted in (False, True):
        plans = [str(p) for p in candidates(task, rows, 0.5, float("inf"), shifted=shifted)]
        assert any(p.startswith("leanvec(dim=10, kind='ood')") for p in plans) == shifted
        assert any(p.startswith("int8() | vamana()") for p in plans)


def test_parts() -> None:
    plan = indexed(nf.Plan("lvq(bits=4) | rescore(codec='lvq(bits=8)', of='residual')"), nf.Plan("vamana()").index)
    assert str(scanned(plan)) == "lvq(bits=4) | rescore(codec='lvq(bits=8)', of='mapped')"
    assert str(with_parameter(plan, "budget", 77)).split(" | ")[1] == "vamana(budget=77)"
    assert str(with_parameter(nf.Plan("int8() | flat()"), "budget", 77)) == "int8() | flat()"
    assert crossing(10_000, 100.0, 10.0, 0.5) > 10_000 > crossing(10_000, 10.0, 100.0, 0.5)
    assert rounded(44_321) == "40,000"
