"""Graphs under dot product where rows differ in length: what they find in so many rows scored, zeros and updates."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.numerics import byterows, graphs
from nearfield.numerics.byterows import ByteRows
from nearfield.numerics.linking import NO_LINK

N, D, K = 4000, 32, 10
GRAPHS = ["vamana()", "hnsw()", "packed_graph()", "nndescent()", "diskgraph()"]
LENGTHS = {
    "lognormal": lambda rng, n: np.exp(rng.normal(size=n)),
    "pareto": lambda rng, n: 1 + rng.pareto(2, size=n),
    "mild": lambda rng, n: np.exp(0.1 * rng.normal(size=n)),
}


def directions(n: int, seed: int) -> Any:
    x = np.random.default_rng(seed).normal(size=(n, D)) / np.sqrt(np.arange(1, D + 1))
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


def rows(lengths: str, n: int = N) -> Any:
    drawn = LENGTHS[lengths](np.random.default_rng(3), n)
    return np.asarray(directions(n, 1) * drawn[:, None], np.float32)


Q = directions(100, 2)


def best(x: Any, q: Any, k: int = K) -> Any:
    return np.argsort(-(q @ x.T), axis=1)[:, :k]


def recall(found: Any, true: Any) -> float:
    return float(np.mean([np.isin(f, t).mean() for f, t in zip(found, true)]))


def at(packed: nf.Packed, q: Any, true: Any, scored: int, **how: Any) -> float:
    """Recall where so many rows are scored, between those of two budgets."""
    budgets = [scored * tenths // 10 for tenths in (6, 8, 9, 10, 11, 12, 15)]
    hits = [packed.search(q, k=K, budget=budget, **how) for budget in budgets]
    return float(np.interp(scored, [h.scored.mean() for h in hits], [recall(h.rows, true) for h in hits]))


@pytest.mark.parametrize("lengths", ["lognormal", "pareto"])
@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("codec", ["float16()", "lvq(bits=8)"])
def test_few_rows_scored_find_the_best_products(codec: str, graph: str, lengths: str) -> None:
    x = rows(lengths)
    packed = nf.Plan(f"{codec} | {graph}").fit(x, metric="dot")
    assert at(packed, Q, best(x, Q), 300) >= 0.97


@pytest.fixture(scope="session")
def factors(data: Path) -> Any:
    """Items and users of ``log(1 + plays)`` of Last.fm, of rank 64: ``V S`` and ``U``."""
    with gzip.open(data / "recsys/lastfm/train.csv.gz", "rt", encoding="utf-8", newline="") as file:
        users, items, plays = np.array([line for line in csv.reader(file) if line[0].isdigit()], np.float64).T[:3]
    user, item = (np.unique(numbers, return_inverse=True)[1] for numbers in (users, items))
    table = np.zeros((user.max() + 1, item.max() + 1))
    table[user, item] = np.log1p(plays)
    _, left = np.linalg.eigh(table @ table.T)
    left = left[:, :-65:-1]
    return np.ascontiguousarray(table.T @ left, np.float32), np.ascontiguousarray(left[:500], np.float32)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("codec", ["float16()", "lvq(bits=8)"])
def test_a_hundred_rows_scored_find_the_best_factors(codec: str, graph: str, factors: Any) -> None:
    x, q = factors
    packed = nf.Plan(f"{codec} | {graph}").fit(x, metric="dot")
    assert at(packed, q, best(x, q), 100) >= 0.96


@pytest.mark.parametrize("lengths", ["lognormal", "pareto"])
@pytest.mark.parametrize("graph", GRAPHS)
def test_a_hundred_rows_scored_find_most_of_the_best_products(graph: str, lengths: str) -> None:
    x = rows(lengths)
    packed = nf.Plan(f"float16() | {graph}").fit(x, metric="dot")
    assert packed.search(Q, k=K, budget=20).scored.mean() < 50  # where walks begin, and the neighbours of the first
    assert at(packed, Q, best(x, Q), 100) >= 0.94


def test_the_longest_rows_are_linked_to_fewer() -> None:
    x = rows("lognormal")
    made = ByteRows.to_link(iter([x]), N, "dot")
    graph = graphs.build(made, degree=16, width=64, alpha=1.1, rng=np.random.default_rng(0))
    counts = (graph.links != NO_LINK).sum(axis=1)
    longest = graphs.linked_again(made, graph.entries)
    assert len(longest) > N // 8 - 16
    assert counts[longest].max() == 12
    assert counts.max() == 16
    assert not len(graphs.linked_again(ByteRows.to_link(iter([directions(500, 5)]), 500, "dot"), graph.entries[:1]))


def test_hnsw_walks_its_lowest_layer_alone() -> None:
    packed = nf.Plan("float16() | hnsw()").fit(rows("lognormal"), metric="dot")
    assert (packed.index.graph.upper == NO_LINK).all()
    equal = nf.Plan("float16() | hnsw()").fit(directions(N, 1), metric="dot")
    assert (equal.index.graph.upper != NO_LINK).any()


def test_slightly_unequal_lengths_lose_nothing_to_equal_ones() -> None:
    x = rows("mild")
    unit = np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)
    plan = nf.Plan("float16() | vamana()")
    equal = at(plan.fit(unit, metric="dot"), Q, best(unit, Q), 300)
    assert at(plan.fit(x, metric="dot"), Q, best(x, Q), 300) >= equal - 0.02


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("graph", ["vamana()", "hnsw()"])
def test_filters_find_the_best_products(graph: str, share: float) -> None:
    x = rows("lognormal")
    allow = np.random.default_rng(4).random(N) < share
    there = np.flatnonzero(allow)
    packed = nf.Plan(f"float16() | {graph}").fit(x, metric="dot")
    hits = packed.search(Q, k=K, budget=300, allow=allow)
    assert recall(hits.rows, there[best(x[there], Q)]) >= 0.97
    assert hits.scored.mean() < 600


# -- where rows lie --------------------------------------------------------------------------------


def test_rows_of_one_length_are_linked_as_trees_part_them() -> None:
    x = directions(500, 5)
    x[::50] = 0
    link, part = (make(iter([x]), 500, "dot") for make in (ByteRows.to_link, ByteRows.of))
    some = np.abs(x).max(axis=1) > 0
    assert not link.inverted
    np.testing.assert_array_equal(link.sides[some], part.sides[some])
    np.testing.assert_array_equal(link.values[some], part.values[some])
    np.testing.assert_array_equal(link.sides[~some, 1:3], part.sides[~some, 1:3])
    assert not link.scale[~some].any()  # zeros are zeros


def test_others_are_inverted() -> None:
    x = rows("lognormal", 500)
    made = ByteRows.to_link(iter([x[:300], x[300:]]), 500, "dot")
    length = np.linalg.norm(x, axis=1, keepdims=True)
    wanted = x * length.max() / length**2
    assert made.inverted
    np.testing.assert_allclose(made.values[:, :D] * made.scale[:, None], wanted, atol=0.02 * np.abs(wanted).max())
    np.testing.assert_allclose(np.sqrt(made.square), np.linalg.norm(wanted, axis=1), rtol=0.03)
    np.testing.assert_allclose(made.own(np.arange(500)), x, atol=0.005 * np.abs(x).max())
    assert not made.lift.any()


def test_zeros_and_very_short_rows_lie_far_out_apart_from_each_other() -> None:
    x = rows("lognormal", 200)
    x[:20] = 0
    x[20:40] *= 1e-9
    made = ByteRows.to_link(iter([x]), 200, "dot")
    places = made.values[:40, :D] * made.scale[:40, None]
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), 1e4, rtol=0.01)
    assert np.isfinite(made.sides).all()
    gaps = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(40)
    assert gaps.min() > 1000
    assert not made.own(np.arange(20)).any()


def test_l2_knows_no_inversion() -> None:
    x = rows("lognormal", 300)
    link, part = (make(iter([x]), 300, "l2") for make in (ByteRows.to_link, ByteRows.of))
    np.testing.assert_array_equal(link.sides, part.sides)
    assert not link.inverted
    assert not link.lift.any()


# -- queries that are against most rows ------------------------------------------------------------


@pytest.mark.parametrize("graph", GRAPHS)
def test_zeros_are_found_where_all_else_scores_less(graph: str) -> None:
    x = np.abs(rows("lognormal", 2000))
    x[::7] = 0
    packed = nf.Plan(f"float16() | {graph}").fit(x, metric="dot")
    hits = packed.search(-np.abs(Q), k=K, budget=300)
    assert (hits.scores == 0).mean() >= 0.99


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("graph", GRAPHS)
def test_a_few_rows_opposite_to_all_others_are_found(graph: str, zeros: bool) -> None:
    x = np.abs(rows("lognormal", 2000))
    x[::7] *= 0 if zeros else 1
    x[[3, 500, 501, 1900]] *= -1
    q = -np.abs(Q)
    packed = nf.Plan(f"float16() | {graph}").fit(x, metric="dot")
    assert recall(packed.search(q, k=4, budget=300).rows, best(x, q, 4)) >= 0.97


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("n", [1, 2, 30])
def test_few_rows_or_none_but_zeros(graph: str, n: int) -> None:
    for x in (np.zeros((n, D), np.float32), rows("pareto", n), rows("lognormal", n) * np.float32(1e-12)):
        packed = nf.Plan(f"float16() | {graph}").fit(x, metric="dot")
        hits = packed.search(Q[:3], k=n, budget=max(1, n - 1))
        assert np.sort(hits.rows, axis=1).tolist() == [list(range(n))] * 3


# -- rows that come and go -------------------------------------------------------------------------


@pytest.mark.parametrize("graph", ["vamana()", "packed_graph()", "nndescent()"])
def test_rows_are_linked_in_and_out_where_the_others_lie(graph: str) -> None:
    x = rows("lognormal")
    packed = nf.Plan(f"float16() | {graph}").fit(x[:2500], metric="dot")
    packed.background = False
    for start in range(2500, N, 500):
        packed.add(x[start : start + 500])
    assert packed._changes().indexed == N
    assert at(packed, Q, best(x, Q), 300) >= 0.97
    packed.delete(rows=np.arange(0, N, 4))
    left = np.setdiff1d(np.arange(N), np.arange(0, N, 4))
    assert at(packed, Q, left[best(x[left], Q)], 300) >= 0.97
    packed.compact()
    assert at(packed, Q, best(x[left], Q), 300) >= 0.97


def test_rows_of_one_length_turn_unequal() -> None:
    x = directions(3000, 1)
    x[1500:] *= np.exp(np.random.default_rng(6).normal(size=(1500, 1))).astype(np.float32)
    packed = nf.Plan("float16() | vamana()").fit(x[:1500], metric="dot")
    for start in range(1500, 3000, 250):
        packed.add(x[start : start + 250])
    assert at(packed, Q, best(x, Q), 300) >= 0.97


def test_a_row_longer_than_all_is_found_at_once() -> None:
    x = rows("lognormal", 1500)
    packed = nf.Plan("float16() | vamana()").fit(x, metric="dot")
    packed.add(5 * np.abs(x).max() * Q[:1])
    assert packed.search(Q[:1], k=1, budget=100).rows.tolist() == [[1500]]


def test_zeros_that_come_one_by_one_do_not_lie_in_one_place() -> None:
    x = np.abs(rows("lognormal", 600))
    packed = nf.Plan("float16() | vamana(degree=8, width=32)").fit(x, metric="dot")
    for _ in range(40):
        packed.add(np.zeros((1, D), np.float32))
    hits = packed.search(-np.abs(Q), k=K, budget=200)
    assert (hits.scores == 0).mean() >= 0.99


def test_a_graph_of_lifted_rows_takes_in_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """As files of earlier versions hold them."""
    x = rows("lognormal")
    with monkeypatch.context() as patch:
        patch.setattr(byterows, "_ALIKE", 2.0)
        packed = nf.Plan("float16() | vamana()").fit(x[:2500], metric="dot")
    before = at(packed, Q, best(x[:2500], Q), 300)
    for start in range(2500, N, 500):
        packed.add(x[start : start + 500])
    packed.consolidate()
    assert at(packed, Q, best(x, Q), 300) >= before
    assert before < 0.95  # which is what inverted rows are for
