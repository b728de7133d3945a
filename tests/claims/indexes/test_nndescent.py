"""NN-descent: nearly all near rows of every row from few of all comparisons, and a graph that is walked well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nearfield import Plan
from nearfield.numerics import kernels, neighbours
from nearfield.numerics.byterows import ByteRows
from nearfield.numerics.knn import nearest

pytestmark = pytest.mark.skipif(kernels.native() is None, reason="near rows need native code")
Record = Callable[[str, str, bool, str], None]
PAPER = "Dong 2011, doi:10.1145/1963405.1963487"
K = 20  # as the paper
SIZES = (8, 4, 2, 1)  # one row in so many
BUDGETS = (150, 200, 250, 300, 400, 500, 650, 800, 1000, 1300, 1700)


def found_near(rows: np.ndarray, **how: Any) -> tuple[float, float, int]:
    """Recall of the near rows of some, the share of all pairs that was compared, and how many that are.

    What trees compare before is counted with it.
    """
    made = neighbours.near_rows(ByteRows.of(iter([rows]), len(rows), "l2"), K, rng=np.random.default_rng(0), **how)
    some = np.random.default_rng(1).choice(len(rows), 1000, replace=False)
    exact = nearest(rows[some], rows, K + 1)[0][:, 1:]  # without the row itself
    recall = float(np.mean([np.isin(a, b).mean() for a, b in zip(exact, made.ids[some])]))
    return recall, made.compared / (len(rows) * (len(rows) - 1) / 2), made.compared


@pytest.fixture(scope="module")
def grown(minilm60k: np.ndarray) -> dict[int, tuple[float, float, int]]:
    each = [np.ascontiguousarray(minilm60k[::step]) for step in SIZES]
    return {len(rows): found_near(rows) for rows in each}


def test_nine_of_ten_from_several_percent(grown: dict[int, tuple[float, float, int]], record_claim: Record) -> None:
    """Recall of 0.9 and more, while less than a tenth of all pairs of rows are compared."""
    n = max(grown)
    recall, share, _ = grown[n]
    held = recall >= 0.9 and share < 0.1
    text = f"{recall:.4f} of the {K} nearest of {n:,} rows, {share:.1%} of all pairs compared"
    record_claim(PAPER, "recall above 0.9 of a graph of near rows, from several percent of all comparisons", held, text)
    assert held, text


def test_cost_grows_a_little_more_than_the_rows(
    grown: dict[int, tuple[float, float, int]], record_claim: Record
) -> None:
    """The paper measures a power of 1.14, at a recall that falls but little."""
    power = float(np.polyfit(np.log(list(grown)), np.log([pairs for _, _, pairs in grown.values()]), 1)[0])
    told = ", ".join(f"{n:,} rows: {pairs / n:.0f} a row, {recall:.3f}" for n, (recall, _, pairs) in grown.items())
    held = power <= 1.2 and min(recall for recall, _, _ in grown.values()) >= 0.9
    record_claim(PAPER, "comparisons grow like a power of about 1.14 of the rows", held, f"{power:.2f} ({told})")
    assert held, (power, told)


def test_neighbours_of_neighbours_are_near(rows: Any, grown: Any, record_claim: Record) -> None:
    """Descent finds most of what trees missed, and it matters little how well the lists were begun.

    Two trees are the least: the leaves of one are closed, and no neighbour of a neighbour leads out of them.
    """
    alone, poor = found_near(rows, rounds=0), found_near(rows, grown=2)
    recall = grown[len(rows)][0]
    text = f"{alone[0]:.3f} from 8 trees, {recall:.3f} with descent, {poor[0]:.3f} with descent from 2"
    held = 1 - recall <= (1 - alone[0]) / 4 and poor[0] >= recall - 0.03
    record_claim(PAPER, "neighbours of neighbours are near: rounds find three quarters of what is missing", held, text)
    assert held, text


def test_walked_as_well_as_vamana(rows: Any, queries: Any, truth: Any, recall: Any, record_claim: Record) -> None:
    """Links that come of near rows, pruned, against links that come of searches, at equal rows scored."""
    curves = {}
    for index in ("nndescent()", "vamana(degree=32)"):
        packed = Plan(f"float16() | {index}").fit(rows)
        hits = [packed.search(queries, k=10, budget=budget) for budget in BUDGETS]
        curves[index] = np.array([(h.scored.mean(), recall(h.rows, truth)) for h in hits]).T
    ours, theirs = curves.values()
    at = {count: [float(np.interp(count, *curve)) for curve in (ours, theirs)] for count in (300, 450, 700)}
    text = "; ".join(f"{count} rows scored: {a:.4f}, vamana {b:.4f}" for count, (a, b) in at.items())
    held = all(a > b - 0.01 for a, b in at.values())
    record_claim(PAPER, "its graph, pruned, is walked within a point of recall@10 of Vamana's", held, text)
    assert held, text
