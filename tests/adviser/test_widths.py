"""The adviser at every width that models give, and at the odd ones."""

from __future__ import annotations

import numpy as np
import pytest

import nearfield as nf
from nearfield.adviser import sweep
from nearfield.core import rooms

WIDTHS = (1, 2, 3, 7, 64, 257, 768, 1024, 1536, 2048, 3072, 4096, 8192)
MODERN = 768  # whole sweeps over wider rows take minutes


def rows(d: int, n: int = 160) -> np.ndarray:
    rng = np.random.default_rng(d)
    x = rng.normal(size=(n, 12)) @ rng.normal(size=(12, d)) + 0.3 * rng.normal(size=(n, d))
    return x.astype(np.float32)


@pytest.mark.parametrize("d", [*WIDTHS, 50_000, 100_000])
@pytest.mark.parametrize("metric", ["cosine", "dot", "l2", "hamming"])
def test_every_plan_of_the_sweep_is_one_that_its_methods_allow(d: int, metric: str) -> None:
    for most in (float("inf"), 1, d, 1.49 * d):
        plans = sweep.default_plans(d, metric=metric, queries=True, everything=True, most_bytes=most)
        assert [str(nf.Plan(str(plan))) for plan in plans] == [str(plan) for plan in plans]
    assert nf.Plan(sweep.budget_plan(int(1.5 * d)))


@pytest.mark.parametrize("d", WIDTHS)
def test_every_plan_that_an_index_asks_for_is_one_that_its_methods_allow(d: int) -> None:
    for name in rooms.catalog("indexes"):
        for text in rooms.load("indexes", name).sweep(10**6, d):
            assert str(sweep.fitting(text)) == str(nf.Plan(text))


@pytest.mark.parametrize("d", [w if w <= 257 else pytest.param(w, marks=pytest.mark.slow) for w in WIDTHS if w <= 2048])
def test_the_whole_sweep_runs(d: int) -> None:
    x = rows(d)
    advice = nf.advise(x[40:], x[:40], keep=0.9, k=5, verify=d <= MODERN)
    assert not any("could not run here" in note for note in advice.notes)
    assert len(advice.plans) > 50
    packed = advice.best.fit(x[40:])
    assert packed.search(x[:3], k=5).rows.shape == (3, 5)


@pytest.mark.parametrize("d", [pytest.param(w, marks=pytest.mark.slow) if w > 3072 else w for w in WIDTHS if w > 257])
def test_wide_rows_are_advised_on(d: int) -> None:
    x = rows(d)
    plans = [str(p) for p in sweep.default_plans(d, metric="cosine") if str(p).startswith(("rvq", "pq", "transform"))]
    some = [*(p for p in plans if "rescore" not in p and "code_bits=8" not in p)][-3:]
    assert any("rvq" in plan for plan in some)
    advice = nf.advise(x[40:], x[:40], keep=0.5, k=5, plans=[*some, "pca(dim=8) | int8()"])
    assert {row.plan for row in advice.plans} >= set(some)
    assert advice.verified is not None
    assert advice.best.fit(x[40:]).search(x[:2], k=5).rows.shape == (2, 5)


def test_what_is_slow_at_a_width_is_named() -> None:
    narrow, wide = ({str(p) for p in sweep.default_plans(d, metric="cosine", queries=True)} for d in (sweep.WIDE, 2048))
    assert any(p.startswith("itq") for p in narrow)
    assert not any(p.startswith("itq") or "ood" in p for p in wide)
    assert {"itq", "leanvec(kind='ood')"} <= set(sweep.left_out(2048)) - set(sweep.left_out(sweep.WIDE))
    everything = sweep.default_plans(2048, metric="cosine", queries=True, everything=True)
    assert any(str(p).startswith("itq") for p in everything)
