"""Graphs in layers and orders of insertion: layers hold what the law says, and threads change nothing."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.numerics import finders, kernels, layers, orders
from nearfield.numerics.byterows import ByteRows
from nearfield.numerics.linking import NO_LINK

pytestmark = pytest.mark.skipif(kernels.native() is None, reason="graphs need native code")


def rows(n: int = 3000, d: int = 24, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def layered(x: np.ndarray, *, threads: int = 1, degree: int = 6, how: str = "shuffled") -> layers.Layered:
    rng = np.random.default_rng(3)
    made = ByteRows.of(iter([x]), len(x), "l2")
    order = orders.insertion(made, how, rng)
    return layers.build(made, order, degree=degree, width=40, rng=rng, threads=threads)


def test_layers_become_thinner_by_the_degree() -> None:
    assert layers.layer_counts(10_000, 10) == [1000, 100, 10, 1]
    assert layers.layer_counts(5, 16) == [1]
    made = layered(rows(), degree=6)
    counts = layers.layer_counts(3000, 6)
    assert len(np.unique(made.entries)) == counts[0] == 500
    at = 0
    for count in counts:
        links = made.upper[at : at + count]
        at += count
        there = links != NO_LINK
        assert (links[there] < count).all()
        assert count < 3 or (there.sum(axis=1) >= 1).mean() > 0.99
        assert not (links == np.arange(count)[:, None]).any()


@pytest.mark.parametrize("how", ["shuffled", "given", "lid", "lid-ascending"])
def test_any_number_of_threads_builds_the_same(how: str) -> None:
    one, three = layered(rows(), how=how), layered(rows(), threads=3, how=how)
    for name in ("links", "entries", "upper"):
        np.testing.assert_array_equal(getattr(one, name), getattr(three, name))


def test_links_are_near_and_in_different_directions() -> None:
    x = rows(500, 8)
    made = layered(x, degree=8)
    for row in range(0, 500, 25):
        links = made.links[row][made.links[row] != NO_LINK]
        assert row not in links
        gaps = ((x[links] - x[row]) ** 2).sum(axis=1)
        assert gaps.mean() < 0.7 * ((x - x[row]) ** 2).sum(axis=1).mean()


def test_recall_of_hnsw_is_that_of_hnswlib() -> None:
    hnswlib = pytest.importorskip("hnswlib", reason="hnswlib is not installed")
    x, q = rows(4000, 32), rows(100, 32, 1)
    truth = nf.Plan("raw()").fit(x, metric="l2").search(q, k=10).rows
    theirs = hnswlib.Index("l2", 32)
    theirs.init_index(4000, M=8, ef_construction=60, random_seed=1)
    theirs.add_items(x, num_threads=1)
    ours = nf.Plan("raw() | hnsw(degree=8, width=60)").fit(x, metric="l2")
    for width in (20, 60, 200):
        theirs.set_ef(width)
        found = theirs.knn_query(q, 10, num_threads=1)[0]
        rows_found = finders.find(
            ours.index.finder(), ours.now.scorer.format, ours.now.scorer.prepare(q).folded, 10, width, None, 4000, 1
        )[0]
        assert share(rows_found, truth) > share(found, truth) - 0.02


def share(found: Any, truth: Any) -> float:
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(found, truth)]))


def test_order_given_is_the_order_of_the_rows() -> None:
    made = ByteRows.of(iter([rows(50)]), 50, "l2")
    assert orders.insertion(made, "given", np.random.default_rng(0)).tolist() == list(range(50))


def test_rows_of_higher_local_dimension_come_first() -> None:
    rng = np.random.default_rng(0)
    flat, full = np.zeros((500, 20), np.float32), rng.normal(size=(500, 20)).astype(np.float32)
    flat[:, :2] = rng.normal(size=(500, 2))
    x = np.concatenate([flat, full + 20])
    made = ByteRows.of(iter([x]), 1000, "l2")
    first = orders.insertion(made, "lid", rng)[:450]
    assert (first >= 500).mean() > 0.95
    last = orders.insertion(made, "lid-ascending", rng)[-450:]
    assert (last >= 500).mean() > 0.95


@pytest.mark.parametrize("dimension", [2, 5, 10])
def test_local_dimension_of_a_cube(dimension: int) -> None:
    from nearfield.numerics.knn import nearest

    x = np.random.default_rng(0).random(size=(4000, dimension)).astype(np.float32)
    _, distances = nearest(x[:500], x, 60)
    assert np.median(orders.local_dimension(distances)) == pytest.approx(dimension, rel=0.25)


def test_local_dimension_of_equal_rows_is_nothing() -> None:
    assert orders.local_dimension(np.zeros((2, 4), np.float32)).tolist() == [0, 0]
    assert orders.local_dimension(np.ones((1, 4), np.float32)).tolist() == [0]


@pytest.mark.parametrize("index", ["vamana(degree=8, width=32", "hnsw(degree=4, width=32"])
def test_like_rows_that_come_together_are_found(index: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1200, 20)).astype(np.float32)
    x[600:] += 8  # all of them behind the others
    packed = nf.Plan(f"float16() | {index}, order='given')").fit(x, metric="l2")
    right = packed.search(x, k=1, budget=300).rows[:, 0] == np.arange(1200)
    assert right[:600].mean() > 0.9
    assert right[600:].mean() > 0.9


@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_frontiers_of_every_width_on_every_instruction_set(metric: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(12)
    x = rng.integers(-4, 5, size=(900, 9)).astype(np.float32)  # whose products are exact, and often equal
    q = rng.integers(-4, 5, size=(6, 9)).astype(np.float32)
    packed = nf.Plan("raw() | vamana(degree=8, width=32)").fit(x, metric=metric)
    monkeypatch.setenv("NEARFIELD_ISA", "base")
    plain = pickle.loads(pickle.dumps(packed))
    wanted = {(k, budget): plain.search(q, k, budget=budget) for k in range(1, 140) for budget in (1, 150)}
    for isa in kernels.info()["compiled"]:
        if isa in kernels.info()["not run"]:
            continue
        monkeypatch.setenv("NEARFIELD_ISA", isa)
        other = pickle.loads(pickle.dumps(packed))
        for (k, budget), want in wanted.items():
            found = other.search(q, k, budget=budget)
            np.testing.assert_array_equal(found.rows, want.rows, f"{isa}, {k} of {budget}")
            np.testing.assert_array_equal(found.scored, want.scored)
