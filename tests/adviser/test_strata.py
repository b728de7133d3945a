"""Samples that hold the longest rows, and what they tell under dot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.adviser import strata
from nearfield.adviser.bench import Bench, step_growth
from nearfield.adviser.quality import recall_values
from nearfield.adviser.task import make_task
from nearfield.adviser.verify import exact_truth
from nearfield.core import arrays
from nearfield.core.protocols import Metric


def heavy(n: int = 8000, d: int = 16, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    x *= (1 + rng.pareto(2.5, n))[:, None] / np.linalg.norm(x, axis=1, keepdims=True)
    return x.astype(np.float32)


def task_of(x: np.ndarray, metric: Metric = "dot", sample: int = 1000) -> Any:
    q = np.random.default_rng(9).normal(size=(200, x.shape[1])).astype(np.float32)
    return make_task(x, q, metric=metric, k=10, sample=sample, rng=0, on_zero="raise")


def test_the_longest_are_in_the_sample_and_each_row_has_its_weight() -> None:
    x = heavy()
    task = task_of(x)
    order = np.argsort(-np.linalg.norm(x, axis=1))
    assert set(order[:250]) == set(task.head) <= set(task.rows)
    assert len(task.rows) == 1000
    weights = strata.weights(task.rows, task.head, task.n)
    assert weights.sum() == pytest.approx(task.n)
    assert set(weights[np.isin(task.rows, task.head)]) == {1.0}
    assert not np.isin(task.spare, task.rows).any()


def test_other_metrics_and_like_lengths_are_sampled_uniformly() -> None:
    x = heavy()
    assert not task_of(x, "l2").head.size
    assert not task_of(x, "cosine").head.size
    assert not task_of(x / np.linalg.norm(x, axis=1, keepdims=True)).head.size
    assert not strata.longest(arrays.as_batch(x), "dot", len(x)).size  # the sample is everything


def test_what_plans_are_fitted_on_is_distributed_as_all_rows() -> None:
    x = heavy()
    task = task_of(x)
    places = strata.representative(task.rows, task.head, task.n)
    lengths, sampled = (np.linalg.norm(v, axis=1) for v in (x, task.x[places]))
    for share in (0.5, 0.9, 0.97, 0.99):
        assert np.quantile(sampled, share) == pytest.approx(np.quantile(lengths, share), rel=0.1)
    assert sampled.max() == lengths.max()


def test_ranks_among_all_are_told_from_the_sample() -> None:
    """The tenth of the sample: by weights it has nearly the rank that it has among all rows."""
    x = heavy()
    task = task_of(x)
    bench = Bench(task)
    scores = task.q @ x.T
    tenth = np.take_along_axis(task.q @ task.x.T, bench.exact[:, 9:10].astype(np.int64), axis=1)
    real = np.exp(np.log((scores >= tenth).sum(axis=1)).mean())
    assert 0.85 <= bench.thinning.rank(10) / real <= 1.15
    assert bench.thinning.rank(10) < 20  # a uniform sample: about 80


def test_recall_under_dot_is_predicted() -> None:
    """Uniform samples are off by 0.05 and more here, for all of these plans in the same direction."""
    x = heavy()
    task = task_of(x)
    truth = exact_truth(task, 10)
    for row in Bench(task).run([nf.Plan(p) for p in ("int4()", "transform(bytes=6)", "rabitq(bits=2)")]):
        found = nf.Plan(row.plan).fit(x, metric="dot").search(task.q, k=10).rows
        assert abs(row.quality["recall@10"].value - recall_values(found, truth).mean()) < 0.04, row.plan


def test_steps_that_grow_with_rows_are_seen() -> None:
    rng = np.random.default_rng(0)
    even, odd = rng.uniform(-1, 1, (2000, 8)), rng.standard_t(2, (2000, 8))
    grown = []
    for x in (even.astype(np.float32), odd.astype(np.float32)):
        codec = nf.Plan("int8()").codec_for("l2").fit(x, rng=rng)
        grown.append(step_growth(codec, x, np.random.default_rng(1)))
    assert abs(grown[0]) < 0.05 < 0.2 < grown[1]
    row_wise = nf.Plan("int8(scale='row')").codec_for("l2").fit(x, rng=rng)
    assert step_growth(row_wise, x, rng) == 0.0
