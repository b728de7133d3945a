"""The adviser over indexes: each with the budget that it needs, and from how many rows on it pays."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.adviser import sweep
from nearfield.adviser.bench import Bench
from nearfield.adviser.frontier import Wish, fastest
from nearfield.adviser.indexed import crossing, rounded
from nearfield.adviser.quality import Estimate
from nearfield.adviser.rows import Row
from nearfield.adviser.suggested import Suggestions, indexed, scanned, with_parameter
from nearfield.adviser.task import make_task
from nearfield.core import rooms
from nearfield.core.errors import BadInput, BadPlan
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
    assert found.indexed
    assert all(r.bytes_per_row <= 130 for r in found.plans if r.build_s is not None)
    assert not any("raw() | vamana" in r.plan for r in found.plans)  # it takes too many bytes
    assert Index.sweep(10, 10) == []


def test_a_shift_of_the_queries_brings_leanvec() -> None:
    task = make_task(blobs(600), blobs(200, seed=3), metric="cosine", k=10, sample=300, rng=0, on_zero="raise")
    rows = Bench(task).run([nf.Plan("int8()")])
    for shifted in (False, True):
        suggested = Suggestions(task, rows, 0.5, float("inf"), shifted)
        plans = [str(p) for p in suggested.moved("vamana")]
        assert any(p.startswith("leanvec(dim=10, kind='ood')") for p in plans) == shifted
        assert [str(p) for p in suggested.coded("vamana", float("inf"), 1)] == ["int8() | vamana()"]


def test_each_index_says_what_shows_it_best_and_bytes_prune_codes() -> None:
    task = make_task(blobs(600), None, metric="cosine", k=10, sample=300, rng=0, on_zero="raise")
    rows = Bench(task).run([nf.Plan(text) for text in ("int8()", "float16()", "int4()")])
    suggested = Suggestions(task, rows, 0.5, float("inf"))
    names = [plan.index.name() for plan in suggested.own()]
    proven = {n for n, info in rooms.catalog("indexes").items() if info.status == "proven" and n != "flat"}
    proven = {n for n in proven if rooms.load("indexes", n).swept}
    assert set(names) == proven == {"vamana", "packed_graph", "hnsw", "ivf"}
    assert set(names[: len(proven)]) == proven  # one of each before the second of any
    links = nf.Plan("int8() | vamana()").index.bytes_per_row
    assert [str(p) for p in suggested.coded("vamana", links + 40, 3)] == ["int4() | vamana()", "int8() | vamana()"]
    assert list(suggested.coded("vamana", links + 5, 3)) == []
    assert suggested.limits() == [float("inf"), 0.49 * 96, 0.163 * 96]
    assert Suggestions(task, rows, 0.5, 12.0).limits() == [12.0]


def test_memory_chooses_among_indexes(monkeypatch: pytest.MonkeyPatch) -> None:
    scans = ["float16()", "int8()", "lvq(bits=4)", "transform(bytes=36)", "transform(bytes=16) | rescore(codec='int8')"]
    monkeypatch.setattr(sweep, "default_plans", lambda *given, **named: [nf.Plan(text) for text in scans])
    x, q, others = blobs(4000, 64), blobs(300, 64, seed=4), blobs(400, 64, seed=5)
    exact = nf.Plan("raw()").fit(x).search(others, k=10).rows
    seen = {}
    for most in (None, 40):
        found = nf.advise(x, q, keep=0.9, bytes=most, sample=2000, indexes=True, verify=False)
        built = [r for r in found.plans if r.build_s is not None]
        assert built, found.notes
        assert all(r.bytes_per_row <= (most or 1e9) for r in built)
        for row in built:
            got = nf.Plan(row.plan).fit(x).search(others, k=10).rows
            assert np.mean([np.isin(a, b).mean() for a, b in zip(got, exact)]) >= 0.9, row.plan
        able = [r for r in found.plans if r.bytes_per_row <= (most or 1e9) and r.quality["recall@10"].value >= 0.9]
        assert found.fastest == min((r for r in able if r.proven), key=lambda r: (r.us_per_query, r.plan)).plan
        seen[most] = {nf.Plan(r.plan).index.name() for r in built}
    assert seen[None] & {"vamana", "packed_graph", "hnsw"}
    assert seen[40] == {"ivf"}  # links alone take more


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("n", [20, 200])
def test_few_rows(n: int, metric: Any) -> None:
    found = nf.advise(blobs(n), keep=0.9, indexes=True, metric=metric, plans=None)
    assert found.best
    assert found.fastest in [r.plan for r in found.plans]
    assert found.verified is not None
    built = [r for r in found.plans if r.build_s is not None]
    assert all(nf.Plan(r.plan).index.budget < n for r in built)  # type: ignore[attr-defined]


def test_too_few_rows_are_told_in_a_line() -> None:
    with pytest.raises(BadInput, match=r"expected at least 20 rows to measure recall@10 on, got 5"):
        nf.advise(blobs(5), keep=0.9, indexes=True)
    assert nf.advise(blobs(5), k=2, keep=0.9, indexes=True).best


def test_bits_have_no_codes_for_an_index() -> None:
    bits = np.packbits(np.random.default_rng(0).random((400, 64)) < 0.5, axis=1)
    found = nf.advise(bits, metric="hamming", keep=0.9, indexes=True)
    assert not found.indexed
    assert any("packed bits" in note for note in found.notes)
    with pytest.raises((BadInput, BadPlan)) as caught:
        nf.advise(bits, metric="hamming", plans=["bits() | vamana()"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["all the same", "few different", "pairs"])
def test_rows_that_are_there_more_than_once(kind: str) -> None:
    x = blobs(300)
    x = {"all the same": x[:1].repeat(300, 0), "few different": x[:7].repeat(60, 0), "pairs": x.repeat(2, 0)}[kind]
    found = nf.advise(x, keep=0.9, indexes=True)
    assert found.best
    assert "nan" not in found.to_json().lower()


def test_an_index_that_does_not_pay_here_is_not_the_fastest() -> None:
    def row(plan: str, us: float, pays_from: int | None) -> Row:
        return Row(plan, 10.0, 0, 4.0, {"recall@10": Estimate(0.95, 0.9, 1.0)}, us, 0.1, 0.1, pays_from=pays_from)

    rows = [row("int8()", 9.0, None), row("int8() | vamana()", 8.0, 400), row("int8() | hnsw()", 8.5, 90)]
    assert fastest(rows, Wish(keep=0.9), "recall@10", 96, 0.9, 200) == "int8() | hnsw()"
    assert fastest(rows, Wish(keep=0.9), "recall@10", 96, 0.9, 80) == "int8()"
    assert fastest(rows, Wish(keep=0.9), "recall@10", 96, 0.9, 1000) == "int8() | vamana()"


def test_parts() -> None:
    plan = indexed(nf.Plan("lvq(bits=4) | rescore(codec='lvq(bits=8)', of='residual')"), nf.Plan("vamana()").index)
    assert str(scanned(plan)) == "lvq(bits=4) | rescore(codec='lvq(bits=8)', of='mapped')"
    assert str(with_parameter(plan, "budget", 77)).split(" | ")[1] == "vamana(budget=77)"
    assert str(with_parameter(nf.Plan("int8() | flat()"), "budget", 77)) == "int8() | flat()"
    assert crossing(10_000, 100.0, 10.0, 0.5) > 10_000 > crossing(10_000, 10.0, 100.0, 0.5)
    assert rounded(44_321) == "40,000"
