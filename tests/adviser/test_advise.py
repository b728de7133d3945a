"""The adviser on small generated data: what it returns, what it chooses, what it says."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nearfield as nf
from nearfield.adviser import sweep
from nearfield.adviser.bench import Bench
from nearfield.adviser.task import make_task
from nearfield.core.errors import BadInput, BadParameter, BadPlan, Unknown

FEW = ["raw()", "float16()", "int8()", "pca(dim=8) | int8()", "pca(dim=4) | int8()", "int8() | rescore(depth=4)"]


def blobs(n: int = 1500, d: int = 24, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 8)) @ rng.normal(size=(8, d)) + 0.3 * rng.normal(size=(n, d))
    return x.astype(np.float32)


@pytest.fixture(scope="module")
def advice() -> nf.adviser.advice.Advice:
    return nf.advise(blobs(), keep=0.9, plans=FEW, sample=600)


def test_json_is_what_is_promised(advice):
    told = json.loads(advice.to_json())
    assert set(told) == {"plans", "best", "predicted", "verified", "warnings"}
    keys = {
        "plan",
        "bytes_per_row",
        "shared_bytes",
        "smaller",
        "quality",
        "us_per_query",
        "fit_s",
        "encode_s",
        "frontier",
    }
    for row in told["plans"]:
        assert set(row) == keys
        for estimate in row["quality"].values():
            assert set(estimate) == {"value", "low", "high"}
            assert 0 <= estimate["low"] <= estimate["value"] <= estimate["high"] <= 1
    assert told["best"] in [row["plan"] for row in told["plans"]]
    assert abs(told["predicted"]["recall@10"]["value"] - told["verified"]["recall@10"]["value"]) < 0.04


def test_sizes_are_those_of_the_fitted_plan(advice):
    x = blobs()
    for row in advice.plans:
        packed = nf.Plan(row.plan).fit(x)
        assert packed.bytes_per_row == row.bytes_per_row
        assert packed.shared_bytes == row.shared_bytes
        assert row.smaller == pytest.approx(4 * 24 / row.bytes_per_row)


def test_verified_recall_is_that_of_the_packed_search():
    x, q = blobs(1200), blobs(60, seed=1)
    exact = nf.Plan("raw()").fit(x).search(q, k=10).rows
    for plan in ("pca(dim=6) | int8()", "pca(dim=2) | int8() | rescore(depth=3)"):
        advice = nf.advise(x, q, plans=[plan])
        found = nf.Plan(plan).fit(x).search(q, k=10).rows
        recall = np.mean([len(np.intersect1d(f, t)) / 10 for f, t in zip(found, exact)])
        assert advice.verified["recall@10"].value == pytest.approx(recall, abs=2e-3)
        assert advice.plans[0].quality["recall@10"].value == pytest.approx(recall, abs=2e-3)  # the sample is everything


def test_keep_takes_the_smallest_that_keeps(advice):
    good = [r for r in advice.plans if r.quality["recall@10"].value >= 0.9]
    assert advice.chosen.bytes_per_row == min(r.bytes_per_row for r in good)


def test_bytes_smaller_and_latency_hold_together():
    x = blobs()
    for wish in ({"bytes": 12}, {"smaller": 8}, {"bytes": 30, "smaller": 3}):
        chosen = nf.advise(x, plans=FEW, sample=600, verify=False, **wish).chosen
        assert chosen.bytes_per_row <= min(wish.get("bytes", 1e9), 96 / wish.get("smaller", 1e-9))
    slow = nf.advise(x, plans=FEW, sample=600, verify=False, latency_us=1e9)
    assert slow.chosen.quality["recall@10"].value > 0.99


def test_what_cannot_be_had_is_said_and_the_nearest_given():
    x = blobs()
    advice = nf.advise(x, keep=0.999, bytes=6, plans=FEW, sample=600)
    assert advice.chosen.bytes_per_row <= 6
    assert any("keeps 0.999" in w for w in advice.warnings)
    advice = nf.advise(x, bytes=1, plans=FEW, sample=600, verify=False)
    assert any("no plan fits in 1 bytes" in w for w in advice.warnings)
    advice = nf.advise(x, latency_us=1e-6, plans=FEW, sample=600, verify=False)
    assert any("no plan answers" in w for w in advice.warnings)


def test_the_knee_is_on_the_frontier():
    advice = nf.advise(blobs(), plans=FEW, sample=600, verify=False)
    assert advice.chosen.frontier
    assert "knee" in str(advice)


def test_text_names_every_plan_and_marks_the_choice(advice):
    text = str(advice)
    for row in advice.plans:
        assert row.plan in text
    chosen = next(line for line in text.splitlines() if line.startswith("> "))
    assert str(advice.best) in chosen
    assert "predicted" in text
    assert "verified" in text


def test_judgements_labels_and_pairs_are_measured():
    x = blobs()
    queries = x[:40] + 0.05 * blobs(40, seed=3)
    near = {i: {i: 2, (i + 1) % 1500: 1} for i in range(40)}
    classes = (x[:, 0] > 0).astype(int)
    pairs = np.array([[i, i + 1, float(x[i] @ x[i + 1])] for i in range(200)])
    advice = nf.advise(x, queries, qrels=near, labels=classes, pairs=pairs, keep=0.9, plans=FEW)
    assert advice.primary == "nDCG@10"
    for row in advice.plans:
        assert {"nDCG@10", "kNN accuracy", "Spearman", "recall@10"} <= set(row.quality)
    raw = next(r for r in advice.plans if r.plan == "raw()")
    assert raw.quality["nDCG@10"].value > 0.5
    assert raw.quality["kNN accuracy"].value > 0.8
    assert raw.quality["Spearman"].value > 0.3
    assert nf.advise(x, labels=classes, plans=FEW, verify=False).primary == "kNN accuracy"
    vectors = (x[:100], x[1:101], np.arange(100.0))
    assert nf.advise(x, pairs=vectors, plans=FEW, verify=False).primary == "Spearman"


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2", "hamming"])
def test_every_metric(metric):
    x = blobs()
    if metric == "hamming":
        x = np.packbits(x > 0, axis=1)
    base = "bits()" if metric == "hamming" else "raw()"
    advice = nf.advise(x, metric=metric, plans=[base, "pca(dim=6) | int8()"], sample=700, keep=0.999)
    row = next(r for r in advice.plans if r.plan == base)
    assert row.quality["recall@10"].value > 0.999
    assert advice.verified is not None


def test_the_same_seed_gives_the_same_advice():
    a, b = (nf.advise(blobs(), plans=FEW, sample=500, rng=5, verify=False) for _ in range(2))
    assert [r.quality for r in a.plans] == [r.quality for r in b.plans]


def test_sources_and_integers_are_taken_as_they_are():
    x = np.clip(blobs() * 20, -127, 127).astype(np.int8)
    advice = nf.advise(x, metric="dot", plans=["raw()", "pca(dim=6) | int8()"], sample=600)
    assert next(r for r in advice.plans if r.plan == "raw()").bytes_per_row == 24
    assert any("came as int8" in w for w in advice.warnings)


def test_progress_is_told():
    said = []
    nf.advise(blobs(), plans=FEW, sample=500, progress=lambda what, done, total: said.append((what, done, total)))
    assert {what for what, _, _ in said} == {"check", "sweep", "exact truth", "verify"}
    assert all(0 < done <= total for _, done, total in said)


def test_zero_rows_are_refused_or_kept():
    x = blobs()
    x[1234] = 0
    with pytest.raises(BadInput, match="1234"):
        nf.advise(x, plans=FEW, sample=300)
    assert nf.advise(x, plans=FEW, sample=300, on_zero="keep").verified is not None


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"keep": 0}, BadParameter), ({"keep": 1.5}, BadParameter), ({"bytes": 0.5}, BadParameter),
        ({"smaller": -1}, BadParameter), ({"latency_us": 0}, BadParameter), ({"keep": True}, BadParameter),
        ({"metric": "cos"}, BadInput), ({"k": 0}, BadInput), ({"sample": 3}, BadInput), ({"on_zero": "no"}, BadInput),
        ({"queries": np.zeros((0, 24), np.float32)}, BadInput), ({"queries": np.ones((3, 5))}, BadInput),
        ({"labels": [1, 2]}, BadInput), ({"qrels": {0: {1: 1}}}, BadInput), ({"pairs": [[0, 1]]}, BadInput),
        ({"plans": []}, BadInput), ({"plans": ["nonsense()"]}, Unknown), ({"plans": ["int8("]}, BadPlan),
    ],
)  # fmt: skip
def test_bad_wishes_are_one_clear_error(wrong, error):
    with pytest.raises(error):
        nf.advise(blobs(100), **({"plans": FEW} | wrong))


def test_bad_rows_are_refused():
    with pytest.raises(BadInput, match="at least 20 rows"):
        nf.advise(blobs(1))
    x = blobs()
    x[777, 3] = np.nan
    with pytest.raises(BadInput, match="777"):
        nf.advise(x, plans=FEW, sample=100)


@pytest.mark.parametrize("d", [1, 3, 16, 384])
def test_the_default_sweep_is_wide_and_readable(d):
    plans = sweep.default_plans(d, metric="cosine", queries=True)
    texts = [str(p) for p in plans]
    assert len(set(texts)) == len(texts)
    assert len(texts) >= 60 or d < 16
    assert [str(nf.Plan(t)) for t in texts] == texts


def test_methods_that_are_slow_are_named_as_left_out():
    advice = nf.advise(blobs(300, 8), sample=200, verify=False)
    assert len(advice.plans) > 40
    for name in sweep.left_out(8):
        assert name in str(advice)
    assert not any(name in row.plan for row in advice.plans for name in sweep.left_out(8))


def test_experimental_methods_are_listed_but_not_advised():
    for row in nf.advise(blobs(300, 8), bytes=5, sample=200, verify=False).plans:
        assert row.proven == sweep.proven(nf.Plan(row.plan))
    assert all(r.proven for r in [nf.advise(blobs(300, 8), bytes=5, sample=200, verify=False).chosen])


def test_plans_that_learn_from_queries_are_measured_on_others():
    x, queries = blobs(), blobs(120, seed=2)
    task = make_task(x, queries, metric="cosine", k=10, sample=600, rng=0, on_zero="raise", qrels={0: {1: 1}})
    measured = np.concatenate([np.arange(task.m)[fold.at] for fold in task.folds])
    np.testing.assert_array_equal(measured, np.arange(task.m))  # each query once
    for fold in task.folds:
        assert fold.fit is not None
        assert len(fold.fit)
        assert not (task.q[fold.at][:, None] == fold.fit[None]).all(axis=2).any()
    advice = nf.advise(x, queries, qrels={0: {1: 1}}, plans=["leanvec(dim=6, kind='ood')"], sample=600)
    assert "nDCG@10" in advice.plans[0].quality


def test_further_rows_are_others_than_those_of_the_sample():
    x = np.random.default_rng(4).normal(size=(30_000, 300)).astype(np.float32)
    task = make_task(x, None, metric="dot", k=10, sample=15_000, rng=0, on_zero="raise")
    assert len(task.rows) + len(task.own) + len(task.spare) == 15_000
    seen = np.concatenate([task.rows, task.own, task.spare])
    assert len(np.unique(seen)) == len(seen)
    np.testing.assert_array_equal(task.further(50), x[np.sort(task.spare[:50])])
    assert len(task.further(10**6)) == len(task.spare)
    small = make_task(x, None, metric="dot", k=10, sample=500, rng=0, on_zero="raise")
    assert len(small.spare) == 0
    assert small.further(9).shape == (0, 300)


def test_what_learns_much_is_fitted_on_further_rows():
    x = np.random.default_rng(5).normal(size=(20_000, 320)).astype(np.float32)
    task = make_task(x, None, metric="dot", k=10, sample=15_000, rng=0, on_zero="raise")
    bench, codec = Bench(task), nf.Plan("rvq(stages=2, code_bits=4)").codec_for("dot")
    rows = bench._fit_sample(codec, task.x, bench._input())
    assert len(rows) == min(codec.rows_wanted(), len(bench.fit_rows) + len(task.spare)) > len(bench.fit_rows)
    assert bench._fit_sample(nf.Plan("int8()").codec_for("dot"), task.x, bench._input()) is task.x


@pytest.mark.parametrize(("m", "k"), [(1, 1), (2, 1), (5, 1), (2, 10)])
def test_keep_is_kept_where_few_queries_tell_little(m: int, k: int) -> None:
    """The sample calls many plans perfect: plans are verified, each twice as large, until one keeps what was asked."""
    rng = np.random.default_rng([m, k])
    x, q = (rng.standard_normal((n, 32)).astype(np.float32) for n in (6000, m))
    advice = nf.advise(x, queries=q, keep=0.98, k=k, sample=1500)
    assert advice.verified[f"recall@{k}"].value >= 0.98


def test_equal_rows_are_no_errors() -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((5, 8)).astype(np.float32)[rng.integers(0, 5, 500)]
    for plan in ("raw", "int8"):
        assert nf.advise(x, plans=[plan]).verified["recall@10"].value == 1.0


def test_labels_need_rows_that_are_not_judged() -> None:
    x = blobs(100)
    qrels = {0: {row: row % 2 for row in range(100)}}
    with pytest.raises(BadInput, match="leave out labels"):
        nf.advise(x, queries=x[:3], qrels=qrels, labels=[0, 1] * 50, plans=["raw"])


@pytest.mark.parametrize("labels", [[[1], [1, 2]] * 750, "a" * 1500, [None] * 1500, [float("nan")] * 1500, 3])
def test_labels_that_are_none_are_refused(labels: object) -> None:
    with pytest.raises(BadInput, match="labels"):
        nf.advise(blobs(), labels=labels, plans=["raw"])
