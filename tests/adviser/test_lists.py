"""Ranked lists and their thinning, against plain recomputation."""

from __future__ import annotations

import numpy as np
import pytest

from nearfield.adviser import lists


@pytest.fixture(scope="module")
def two_orders():
    """Exact lists and those of coarser rows."""
    draw = np.random.default_rng(11)
    x, q = (draw.normal(size=(n, 12)).astype(np.float32) for n in (900, 170))
    exact = lists.top_lists(q, x, "dot", lists.SHORT)
    return x, q, exact, lists.top_lists(q, np.round(x), "dot", lists.LONG)


def test_top_lists_are_those_of_a_full_sort(two_orders):
    x, q, exact, _ = two_orders
    scores = np.take_along_axis(q @ x.T, exact, axis=1)
    np.testing.assert_allclose(scores, -np.sort(-(q @ x.T), axis=1)[:, : lists.SHORT], rtol=1e-6)


@pytest.mark.parametrize("depth", [1, 3])
def test_the_curve_is_recall_in_thinned_samples(two_orders, depth):
    """Search in what a thinning keeps, and count: every point of the curve must come out."""
    x, _, exact, coarse = two_orders
    thinning = lists.Thinning(exact, len(x), np.random.default_rng(12))
    at = slice(20, 150)
    curve = thinning.curve(thinning.masked(coarse), coarse.shape[1], at, depth, thinning.masked(exact))
    wanted = []
    for f in thinning.fractions:
        per_mask = []
        for i in range(f):
            kept = thinning.part % f == i
            true, found = ([row[kept[row]] for row in each[at]] for each in (exact, coarse))
            per_mask.append([
                np.mean([len(set(t[:k]) & set(a[: depth * k])) / k for t, a in zip(true, found)]) for k in lists.GRID
            ])  # fmt: skip
        wanted += [(k, len(x) / f, r) for k, r in zip(lists.GRID, np.mean(per_mask, axis=0))]
    table = {(k, round(n)): r for k, n, r in wanted}
    assert len(curve.k) > 12
    for k, rank, r in zip(curve.k, curve.rank, curve.recall):
        f = round(rank / k)  # each row stands for itself, and for f - 1 that were dropped
        assert rank == pytest.approx(f * k)
        assert r == pytest.approx(table[k, round(len(x) / f)], abs=1e-9)


def test_nothing_is_thinned_where_nothing_is_predicted(two_orders):
    x, _, exact, coarse = two_orders
    thinning = lists.Thinning(exact, len(x), np.random.default_rng(12), fractions=())
    assert thinning.masked(coarse) == {}
