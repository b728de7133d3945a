"""Fusers give what other packages give, and what a plain reading of each formula gives."""

from __future__ import annotations

import itertools
import json
import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearfield.core import rooms
from nearfield.core.errors import BadInput, BadParameter
from nearfield.core.fusers import Ranking, tabulate
from nearfield.core.plan import read
from nearfield.fusers.condorcet import Condorcet
from nearfield.fusers.weighted import Weighted
from nearfield.numerics import fusion

CASES = json.loads(Path(__file__).with_name("fusion_oracle.json").read_text())
METHODS = list(CASES[0]["fused"])


def make(text: str) -> Any:
    (step,) = read(text)
    return rooms.load("fusers", step.name)(**dict(step.params))


def ranking(run: list[list[float]]) -> Ranking:
    return np.array(run[0], dtype=np.int64), np.array(run[1], dtype=np.float64)


@pytest.mark.parametrize("text", METHODS)
def test_scores_are_those_of_other_packages(text: str) -> None:
    for case in CASES:
        rows, scores = make(text).fuse([ranking(run) for run in case["runs"]], 100)
        want = {int(row): score for row, score in case["fused"][text].items()}
        assert set(rows.tolist()) == set(want)
        np.testing.assert_allclose(scores, [want[row] for row in rows.tolist()], rtol=1e-9, atol=1e-9)


def plainly(runs: list[Ranking]) -> dict[str, dict[int, float]]:
    """Each formula as a loop over dictionaries, from the papers."""
    ranks = [{int(row): place for place, row in enumerate(rows, 1)} for rows, _ in runs]
    scaled = []
    for rows, scores in runs:
        low, high = float(scores[-1]), float(scores[0])
        scaled.append({int(r): (float(s) - low) / (high - low) if high > low else 1.0 for r, s in zip(rows, scores)})
    out: dict[str, dict[int, float]] = {}
    for row in set().union(*ranks):
        places = [r[row] for r in ranks if row in r]
        values = [s[row] for s in scaled if row in s]
        n = len(places)
        given = {
            "rrf()": sum(1 / (60 + p) for p in places),
            "isr()": n * sum(1 / p**2 for p in places),
            "log_isr()": math.log(n + 0.01) * sum(1 / p**2 for p in places),
            "rbc()": sum(0.1 * 0.9 ** (p - 1) for p in places),
            "combsum()": sum(values),
            "combmnz()": sum(values) * n,
            "combanz()": sum(values) / n,
            "combmed()": statistics.median(values),
            "combmax()": max(values),
            "combmin()": min(values),
        }
        for text, score in given.items():
            out.setdefault(text, {})[row] = score
    return out


def test_scores_are_those_of_the_formulas() -> None:
    rng = np.random.default_rng()
    for _ in range(20):
        runs = []
        for size in rng.integers(1, 30, size=rng.integers(1, 6)):
            runs.append((rng.choice(50, size=size, replace=False), np.sort(rng.normal(size=size))[::-1]))
        for text, want in plainly(runs).items():
            rows, scores = make(text).fuse(runs, 1000)
            np.testing.assert_allclose(scores, [want[row] for row in rows.tolist()], rtol=1e-9, err_msg=text)
            order = sorted(want, key=lambda row: (-scores[rows.tolist().index(row)], row))
            assert rows.tolist() == order


def test_no_row_follows_one_that_it_beats() -> None:
    """The order of Condorcet fusion is a path through the graph of duels."""
    rng = np.random.default_rng()
    for _ in range(20):
        runs = [(rng.permutation(30)[: rng.integers(5, 30)], None) for _ in range(3)]
        runs = [(rows, -np.arange(len(rows), dtype=float)) for rows, _ in runs]
        ranks = [{int(row): place for place, row in enumerate(rows)} for rows, _ in runs]
        order = Condorcet().fuse(runs, 100)[0].tolist()
        for one, other in itertools.pairwise(order):
            wins = sum(r.get(one, 99) < r.get(other, 99) for r in ranks)
            losses = sum(r.get(one, 99) > r.get(other, 99) for r in ranks)
            assert wins >= losses


def test_the_winner_of_every_duel_comes_first_whatever_a_circle_does() -> None:
    circle = [[9, 1, 2, 3], [2, 9, 3, 1], [9, 3, 1, 2]]
    runs = [(np.array(rows), np.arange(4.0, 0, -1)) for rows in circle]
    assert Condorcet().fuse(runs, 4)[0].tolist()[0] == 9


def test_weights_are_read_and_checked() -> None:
    assert Weighted(weights=[0.5, 2]) == Weighted(weights="0.5 2") == Weighted(weights=("0.5", 2))  # type: ignore[arg-type]
    assert str(Weighted(weights="1, 2")) == "weighted(weights='1, 2')"
    for wrong in ("one", "-1 2", "nan", "inf 1", "0 0", [1, "x"], 3):
        with pytest.raises(BadParameter, match="weights"):
            Weighted(weights=wrong)  # type: ignore[arg-type]
    run = (np.arange(3), np.array([3.0, 2.0, 1.0]))
    with pytest.raises(BadInput, match="expected 2 lists"):
        Weighted(weights="1 2").fuse([run], 3)
    rows, _ = Weighted(weights="1 0").fuse([run, (np.array([7]), np.array([1.0]))], 9)
    assert rows.tolist() == [0, 1, 2, 7]


def test_weighted_reciprocal_ranks_are_rrf() -> None:
    for case in CASES:
        runs = [ranking(run) for run in case["runs"]]
        a, b = make("rrf()").fuse(runs, 9), Weighted(norm="reciprocal").fuse(runs, 9)
        np.testing.assert_array_equal(a[0], b[0])


def test_a_table_says_where_each_row_stands() -> None:
    table = tabulate([(np.array([7, 2]), np.array([0.9, 0.5])), (np.array([2]), np.array([11.0]))])
    assert table.rows.tolist() == [2, 7]
    assert table.sizes.tolist() == [2, 1]
    assert table.held.tolist() == [[True, True], [True, False]]
    np.testing.assert_array_equal(table.scores, [[0.5, 0.9], [11.0, np.nan]])
    np.testing.assert_array_equal(fusion.normalised(table, "minmax"), [[0.0, 1.0], [1.0, np.nan]])
    np.testing.assert_array_equal(fusion.holders(table), [2.0, 1.0])
    np.testing.assert_array_equal(fusion.total(table.scores), [11.5, 0.9])
