"""A plan as one native call answers as it does step by step."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.core.errors import BadInput, BadPlan
from nearfield.numerics import finders

PLANS = [
    "raw() | vamana(degree=8, width=32)",
    "float16() | vamana(degree=8, width=32)",
    "int8() | vamana(degree=8, width=32) | rescore(codec='float16', depth=3)",
    "lvq(bits=4) | vamana(degree=8, width=32)",
    "lvq(bits=4) | vamana(degree=8, width=32) | rescore(codec='lvq(bits=8)', depth=3, of='residual')",
    "lvq(bits=4) | vamana(degree=8) | rescore(codec='lvq(bits=4)', of='residual') | rescore(codec='raw', depth=2)",
    "pca(dim=10) | lvq(bits=8) | vamana(degree=8, width=32) | rescore(codec='float16', depth=4)",
    "center() | int4() | vamana(degree=8, width=32) | rescore(codec='float16', depth=3, of='mapped')",
    "whiten(dim=12) | float16() | vamana(degree=8, width=32)",
    "lvq(bits=4) | hnsw(degree=4, width=32) | rescore(depth=3)",
    "int8() | nndescent(degree=8, near=12)",
    "float8() | kd_forest(trees=4, leaf=20)",
    "pca(dim=10) | lvq(bits=8) | lsh(bits=6) | rescore(codec='float16', depth=4)",
    "normalize() | float16() | vamana(degree=8, width=32)",
]


@pytest.fixture
def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(1500, 24)).astype(np.float32) + 0.3
    return x, rng.normal(size=(20, 24)).astype(np.float32) + 0.3


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("plan", PLANS)
def test_the_same_as_step_by_step(plan: str, metric: Any, data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, q = data
    packed = nf.Plan(plan).fit(x, metric=metric)
    quick = packed.search(q, k=5, budget=300)
    assert packed.now.search_compiled(q, 5, 300, None) is not None or "normalize" in plan
    monkeypatch.setattr(packed.now, "pipeline", None)
    slow = packed.search(q, k=5, budget=300)
    assert np.mean(quick.rows == slow.rows) > 0.95
    same = quick.rows == slow.rows
    np.testing.assert_allclose(quick.scores[same], slow.scores[same], rtol=2e-4, atol=2e-4)
    assert quick.metric == slow.metric


@pytest.mark.parametrize("size", [1.0, 1e4, 1e8])
@pytest.mark.parametrize("plan", ["center() | int8()", "pca(dim=16) | int8()", "whiten(dim=16) | float16()"])
def test_rows_far_from_zero(plan: str, size: float, data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, q = (np.float32(size) * (some + 2) for some in data)
    packed = nf.Plan(f"{plan} | vamana(degree=8, width=32)").fit(x, metric="l2")
    quick = packed.search(q, k=5, budget=300)
    monkeypatch.setattr(packed.now, "pipeline", None)
    slow = packed.search(q, k=5, budget=300)
    assert np.mean(quick.rows == slow.rows) > 0.95
    np.testing.assert_allclose(quick.scores, slow.scores, rtol=1e-3)


def test_lists_and_texts_go_the_same_way(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, q = data
    packed = nf.Plan(PLANS[4]).fit(x)

    class Encoder:
        def encode(self, texts: list[str]) -> Any:
            return np.stack([q[int(text)] for text in texts])

        encode_queries = encode

    want, alone = packed.search(q, k=5, budget=300), packed.search(q[:1], k=5, budget=300)
    monkeypatch.setattr(type(packed.now), "_search_by_steps", None)
    found = [
        (packed.search(q.tolist(), k=5, budget=300), want),
        (packed.search(q[0].tolist(), k=5, budget=300), alone),
        (packed.search([str(i) for i in range(len(q))], k=5, budget=300, encoder=Encoder()), want),
    ]
    for hits, wanted in found:
        np.testing.assert_array_equal(hits.rows, wanted.rows)
        np.testing.assert_array_equal(hits.scores, wanted.scores)


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.int32, ">f4"])
@pytest.mark.parametrize("plan", PLANS[3:6])
def test_queries_of_any_type_find_the_same(plan: str, kind: Any, data: Any) -> None:
    x, q = data
    packed, q = nf.Plan(plan).fit(x, metric="l2"), np.rint(10 * q)
    for some in (q, q[0]):
        want = packed.search(some.astype(np.float32), k=5, budget=100)
        found = packed.search(some.astype(kind), k=5, budget=100)
        np.testing.assert_array_equal(found.rows, want.rows)
        np.testing.assert_array_equal(found.scores, want.scores)
        np.testing.assert_array_equal(found.scored, want.scored)
    with pytest.raises(BadInput, match="finite"):
        packed.search(np.full(x.shape[1], 1e300), k=5, budget=100)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("index", ["flat()", "vamana(degree=16)"])
def test_residuals_score_as_both_codecs_together(metric: Any, index: str, data: Any) -> None:
    x, q = data
    plan = nf.Plan(f"lvq(bits=4) | {index} | rescore(codec='lvq(bits=8)', depth=20, of='residual')")
    hits = plan.fit(x, metric=metric).search(q, k=5, budget=1500)
    exact = nf.Plan("raw()").fit(x, metric=metric).search(q, k=5)
    assert np.mean(hits.rows == exact.rows) > 0.97
    np.testing.assert_allclose(hits.scores, exact.scores, rtol=2e-3, atol=2e-2)


def test_residuals_are_finer_than_their_bytes_alone(data: Any) -> None:
    x, q = data
    exact = nf.Plan("raw()").fit(x).search(q, k=10)
    shares = []
    for of in ("residual", "input"):
        plan = nf.Plan(f"lvq(bits=4) | rescore(codec='lvq(bits=4)', depth=10, of={of!r})")
        found = plan.fit(x).search(q, k=10)
        shares.append(np.mean([np.isin(a, b).mean() for a, b in zip(found.rows, exact.rows)]))
    assert shares[0] > shares[1] + 0.02


def test_residuals_where_there_are_none() -> None:
    x = np.ones((20, 8), np.float32)
    with pytest.raises(BadPlan, match="first rescore"):
        nf.Plan("int8() | rescore() | rescore(of='residual')")
    with pytest.raises(BadPlan, match="residual"):
        nf.Plan("raw() | rescore(codec='int8', of='residual')").fit(x.astype(np.int8))


@pytest.mark.parametrize("bad", ["nan", "inf", "zero", "huge", "wide"])
def test_bad_queries_are_refused_as_ever(bad: str, data: Any) -> None:
    x, q = data
    packed = nf.Plan("lvq(bits=4) | vamana(degree=8) | rescore(depth=2)").fit(x)
    packed.search(q)
    q = np.array(q[:2])
    if bad == "huge":
        q[1] = 1e25
        assert packed.search(q).rows.shape == (2, 10)
        return
    if bad == "wide":
        q = np.ones((2, 25), np.float32)
    else:
        q[1] = {"nan": np.nan, "inf": np.inf, "zero": 0}[bad]
    with pytest.raises(BadInput):
        packed.search(q)


def test_a_filter_and_a_large_k(data: Any) -> None:
    x, q = data
    packed = nf.Plan("lvq(bits=4) | vamana(degree=8) | rescore(depth=2)").fit(x)
    for share in (0.001, 0.1, 0.5, 0.9, 1.0):
        allow = np.random.default_rng(1).random(len(x)) < share
        for k in (1, 10, 400):
            hits = packed.search(q, k=k, budget=200, allow=allow)
            for found in hits.rows:
                real = found[found >= 0]
                assert allow[real].all()
                assert len(set(real)) == len(real) == min(k, allow.sum())


def test_codes_of_another_layout_are_refused_by_name() -> None:
    with pytest.raises(BadPlan, match=r"vamana: searches codes of the layouts .* pq\(parts=4\) has the layout lut8"):
        nf.Plan("pq(parts=4) | vamana()").fit(np.random.default_rng(0).normal(size=(600, 8)))


def test_a_long_batch_is_answered_in_pieces_between_which_it_can_be_stopped(data: Any) -> None:
    x, _ = data
    packed = nf.Plan("lvq(bits=4) | vamana(degree=8) | rescore(depth=2)").fit(x)
    q = np.random.default_rng(2).normal(size=(3000, x.shape[1])).astype(np.float32)
    whole = packed.search(q, k=5, budget=100)
    each = [packed.search(some, k=5, budget=100) for some in np.array_split(q, 20)]
    np.testing.assert_array_equal(whole.rows, np.concatenate([h.rows for h in each]))
    np.testing.assert_array_equal(whole.scored, np.concatenate([h.scored for h in each]))

    class Slow:
        asked: list[int] = []

        def search(self, q: Any, *_: Any) -> bool:
            self.asked.append(len(q))
            time.sleep(len(q) / 2000)
            return True

    finders.run(Slow(), q[:1500], 5, 10, None)
    assert sum(Slow.asked) == 1500
    assert max(Slow.asked[1:]) < 256  # a piece of so many takes too long


class TestSettled:
    """A search like an earlier one goes straight to native code: whatever is otherwise is told as it would be."""

    @pytest.fixture
    def packed(self) -> nf.Packed:
        x = np.random.default_rng(3).normal(size=(600, 24)).astype(np.float32)
        packed = nf.Plan("lvq(bits=4) | vamana() | rescore(codec='lvq(bits=8)', depth=2)").fit(x)
        packed.search(x[:1], 5, budget=100)
        packed.search(x[:1], 5)
        return packed

    def test_one_query_is_answered_as_within_a_batch(self, packed: nf.Packed) -> None:
        q = np.random.default_rng(4).normal(size=(20, 24)).astype(np.float32)
        whole = packed.search(q, 5, budget=100)
        for i, one in enumerate(q):
            for given in (one, one[None, :]):
                got = packed.search(given, 5, budget=100)
                assert np.array_equal(got.rows[0], whole.rows[i])
                assert np.array_equal(got.scores[0], whole.scores[i])
                assert got.scored.tolist() == [whole.scored[i]]
                assert got.rescored is not None
                assert got.rescored.shape == (1,)

    @pytest.mark.parametrize("k", [True, 5.0, 0, "5"])
    def test_k_that_equals_another_is_still_looked_at(self, packed: nf.Packed, k: Any) -> None:
        q = np.ones((1, 24), np.float32)
        packed.search(q, 1)
        with pytest.raises(BadInput, match="k: expected a whole number"):
            packed.search(q, k)

    @pytest.mark.parametrize("budget", [100.0, True, "100", -1])
    def test_budget_too(self, packed: nf.Packed, budget: Any) -> None:
        with pytest.raises(BadInput, match="budget"):
            packed.search(np.ones((1, 24), np.float32), 5, budget=budget)

    def test_what_is_no_query_is_refused(self, packed: nf.Packed) -> None:
        for q in (np.ones((1, 23)), np.full((1, 24), np.nan), np.zeros((1, 24)), np.ones((1, 1, 24))):
            with pytest.raises(BadInput):
                packed.search(q.astype(np.float32), 5, budget=100)
        with pytest.raises(BadInput, match="on_zero"):
            packed.search(np.ones((1, 24), np.float32), 5, budget=100, on_zero="no")

    def test_rows_that_come_or_go_are_seen(self, packed: nf.Packed) -> None:
        new = 3 * np.ones((1, 24), np.float32)
        packed.add(new)
        assert packed.search(new, 5, budget=100).rows[0, 0] == 600
        packed.delete(rows=np.array([600]))
        assert 600 not in packed.search(new, 5, budget=100).rows

    def test_a_query_that_lies_apart_in_memory(self, packed: nf.Packed) -> None:
        q = np.random.default_rng(5).normal(size=(24, 2)).astype(np.float32)
        apart, together = packed.search(q[:, 0], 5, budget=100), packed.search(q[:, 0].copy(), 5, budget=100)
        assert np.array_equal(apart.rows, together.rows)
