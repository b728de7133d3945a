"""The search for the smallest plan, against a world where it is known, and through advise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import nearfield as nf
from nearfield.adviser import sweep
from nearfield.adviser.quality import Estimate
from nearfield.adviser.rows import Row
from nearfield.adviser.smallest import RISING, TRIES, Search, sized
from nearfield.adviser.verify import exact_truth, verify

GOAL = 0.9
Curve = Callable[[float], float]


def row(plan: str, size: float, quality: float) -> Row:
    return Row(plan, size, 0, 1.0, {"recall@10": Estimate(quality, quality, quality)}, 1.0, 0.0, 0.0)


def curve(middle: float, steep: float) -> Curve:
    """Recall by bytes: 0.9 at ``middle``."""
    return lambda size: float(1 / (1 + np.exp(-(np.log(9) + steep * np.log(size / middle)))))


def found(promised: Curve, true: Curve, *, more: list[tuple[Row, float]] = (), beside: float = 0.0) -> Search:
    """Search as advise does; the sweep holds budgets of an octave apart."""

    def made(size: int) -> Row:
        return row(sweep.budget_plan(size), size + beside, promised(size))

    pool = [made(size) for size in (16, 32, 64, 128, 256, 512, 1024)] + [r for r, _ in more]
    truth = {r.plan: value for r, value in more}
    search = Search("recall@10", GOAL, pool, made)
    queue = sorted((r for r in pool if r.quality["recall@10"].value >= GOAL), key=lambda r: r.bytes_per_row)
    next_: Row | None = queue[0]
    while next_ is not None:
        size = sized(next_)
        search.add(next_, truth[next_.plan] if size is None else true(size))
        queue = search.left(queue) if search.hit is None else queue
        next_ = search.next(queue)
    assert len(search.tried) <= TRIES
    assert len({r.plan for r in search.tried}) == len(search.tried)  # none twice
    return search


@pytest.mark.parametrize("steep", [1.5, 3.0])
@pytest.mark.parametrize("off", [0.6, 0.9, 1.0, 1.1, 1.6])
@pytest.mark.parametrize("middle", [40.0, 75.0, 163.0, 307.0])
@pytest.mark.parametrize("beside", [0.0, 4.0])
def test_the_smallest_budget_is_found_whichever_way_promises_err(
    middle: float, off: float, steep: float, beside: float
) -> None:
    """Rungs an octave apart: a miss does not jump to the next one, and a hit does not stay on it."""
    search = found(curve(middle * off, steep), curve(middle, steep), beside=beside)
    assert search.hit is not None
    assert middle + beside <= search.hit.bytes_per_row <= 1.08 * (middle + beside) + 1


def test_a_smaller_plan_of_another_kind_is_tried() -> None:
    other = row("int4()", 120.0, 0.905)
    search = found(curve(200, 2), curve(190, 2), more=[(other, 0.91)])
    assert search.hit is other
    missing = found(curve(150, 2), curve(190, 2), more=[(other, 0.5)])
    assert missing.hit is not None
    assert 190 <= missing.hit.bytes_per_row <= 1.08 * 190


def test_where_nothing_reaches_the_goal_the_search_ends() -> None:
    search = found(curve(50, 2), lambda size: 0.3)
    assert search.hit is None
    assert len(search.tried) <= RISING
    assert search.tried[-1].bytes_per_row == 1024


def test_the_bytes_that_a_plan_fills_are_read_off_its_text() -> None:
    assert sized(row("transform(bytes=24)", 28.0, 0.5)) == 24
    for plan, size in (("transform(bytes=24)", 19.0), ("transform(bytes=24) | rescore()", 800.0), ("int8()", 24.0)):
        assert sized(row(plan, size, 0.5)) is None


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_advice_is_as_small_as_may_be(metric: str) -> None:
    rng = np.random.default_rng(3)
    x = (rng.normal(size=(1760, 24)) / np.sqrt(1 + np.arange(24))).astype(np.float32)
    advice = nf.advise(x[160:], x[:160], keep=0.9, metric=metric, sample=500)
    from nearfield.adviser.task import make_task

    task = make_task(x[160:], x[:160], metric=metric, k=10, sample=500, rng=0, on_zero="raise")
    truth = exact_truth(task, 10)
    assert advice.verified is not None
    assert advice.verified["recall@10"].value >= 0.9
    assert advice.chosen.plan == str(advice.best)
    beside = 4 * (metric == "l2")
    for size in range(4, int(advice.chosen.bytes_per_row / 1.08) - beside):
        reached = verify(task, nf.Plan(sweep.budget_plan(size)), truth)["recall@10"].value
        assert reached < 0.9, size


def test_plans_that_the_user_named_are_the_only_ones() -> None:
    x = np.random.default_rng(1).normal(size=(900, 16)).astype(np.float32)
    plans = ["transform(bytes=4)", "transform(bytes=8)", "transform(bytes=16)"]
    advice = nf.advise(x, keep=0.9, plans=plans, sample=400)
    assert {r.plan for r in advice.plans} == set(plans)
