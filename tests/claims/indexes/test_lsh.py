"""LSH: keys are shared as often as the formulas say, probing spares tables, and cost grows less than the rows."""

from __future__ import annotations

from collections.abc import Callable
from math import pi
from typing import Any

import numpy as np
import pytest

from nearfield import Plan
from nearfield.numerics import hashing, kernels

pytestmark = pytest.mark.skipif(kernels.native() is None, reason="hashes need native code")
Record = Callable[[str, str, bool, str], None]
CHARIKAR = "Charikar 2002, doi:10.1145/509907.509965"
DATAR = "Datar 2004, doi:10.1145/997817.997857"
INDYK = "Indyk 1998, doi:10.1145/276698.276876"
LV = "Lv 2007, VLDB, multi-probe LSH"
DRAWN = 8  # directions are drawn so often
BINS = 5  # pairs of query and row, by how near they are, in bins of as many


def shared_keys(packed: Any, queries: np.ndarray) -> np.ndarray:
    """Whether a query and a row share their key: bool ``[tables, m, n]``."""
    index = packed.index
    signs = index.width <= 0
    projections = queries @ index._directions().T + index._offsets(index.seed, signs)
    asked = hashing.keys(projections, index.bits, signs=signs)
    own = np.empty_like(index.keys)
    np.put_along_axis(own, index.order.astype(np.int64), index.keys, axis=1)
    return asked.T[:, :, None] == own[:, None, :]


def nearness(rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Angles between queries and rows, ``[m, n]``."""
    return np.arccos(np.clip(queries @ rows.T, -1, 1))


@pytest.mark.parametrize(
    ("paper", "metric", "index"),
    [(CHARIKAR, "cosine", "lsh(tables=16, bits=8)"), (DATAR, "l2", "lsh(tables=16, bits=4)")],
)
def test_keys_are_shared_as_often_as_promised(
    paper: str, metric: Any, index: str, rows: Any, queries: Any, record_claim: Record
) -> None:
    """In each fifth of real pairs, by how near they are, near and far ones: within 0.02 of the formula."""
    some, few = queries[:100], np.ascontiguousarray(rows[::10])
    angles = nearness(few, some)
    rates = []
    for seed in range(DRAWN):
        packed: Any = Plan(f"raw() | {index}").fit(few, metric=metric, rng=seed)
        rates.append(shared_keys(packed, some).any(axis=0))
        made = packed.index
        if metric == "cosine":
            promised = [hashing.sign_probability(a, made.bits, made.tables) for a in np.linspace(0, pi, 2001)]
        else:  # the width of slots is that of the rows' spread, the same each time
            gaps = 2 * np.sin(np.linspace(0, pi, 2001) / 2) / made.width
            promised = [hashing.slot_probability(gap, made.bits, made.tables) for gap in gaps]
    expected, measured = np.interp(angles, np.linspace(0, pi, 2001), promised), np.mean(rates, axis=0)
    order = np.argsort(angles, axis=None)
    nearest = order[: len(order) // 200]  # most pairs are far: the nearest are a bin of their own
    bins = [nearest, *np.array_split(order, BINS)]
    pairs = [(float(measured.flat[b].mean()), float(expected.flat[b].mean())) for b in bins]
    told = ", ".join(
        f"{np.degrees(angles.flat[b].mean()):.0f} degrees: {m:.3f} for {e:.3f}" for b, (m, e) in zip(bins, pairs)
    )
    held = all(abs(m - e) < 0.02 for m, e in pairs)
    what = "angle" if metric == "cosine" else "distance"
    record_claim(paper, f"rows share a key with probability 1 - (1 - p^k)^L of their {what}, within 0.02", held, told)
    assert held, told


def test_searches_keep_the_promise(rows: Any, queries: Any, truth: Any, recall: Any, record_claim: Record) -> None:
    """A budget that covers a query's own buckets finds at least the share of near rows that the angles promise."""
    near = np.take_along_axis(nearness(rows, queries), truth, axis=1)
    got, due, budgets = [], [], []
    for seed in range(4):
        packed: Any = Plan("raw() | lsh(tables=32, bits=10)").fit(rows, rng=seed)
        covers = int(shared_keys(packed, queries).any(axis=0).sum(axis=1).max())
        got.append(recall(packed.search(queries, k=10, budget=covers).rows, truth))
        due.append(np.mean([hashing.sign_probability(float(a), 10, 32) for a in near.flat]))
        budgets.append(covers)
    text = f"{np.mean(got):.4f} found where {np.mean(due):.4f} are promised, {np.mean(budgets):.0f} rows scored at most"
    held = np.mean(got) >= np.mean(due)
    record_claim(INDYK, "near rows are found with at least the probability that is promised", bool(held), text)
    assert held, text


def test_probing_spares_tables(rows: Any, queries: Any, truth: Any, recall: Any, record_claim: Record) -> None:
    """With a tenth of the tables, probing finds as much as own buckets alone do; the rows that it takes are told."""
    some, best, bits = queries[:200], truth[:200], 12
    many: Any = Plan(f"raw() | lsh(tables=160, bits={bits})").fit(rows)
    shares = np.zeros((len(some), len(rows)), bool)
    for at in range(0, len(some), 20):
        shares[at : at + 20] = shared_keys(many, some[at : at + 20]).any(axis=0)
    plain, cost = float(np.take_along_axis(shares, best, axis=1).mean()), float(shares.sum(axis=1).mean())
    few = Plan(f"raw() | lsh(tables=16, bits={bits})").fit(rows)
    hits = [few.search(some, k=10, budget=budget) for budget in (400, 700, 1000, 1400, 2000, 2800, 4000, 5600, 8000)]
    found, scored = [recall(h.rows, best) for h in hits], [float(h.scored.mean()) for h in hits]
    ours = float(np.interp(plain, found, scored))
    text = f"recall@10 {plain:.3f}: 160 tables score {cost:.0f} rows, 16 tables with probing {ours:.0f}"
    record_claim(LV, "with a tenth of the tables, probing finds as much", found[-1] > plain, text)
    record_claim(LV, "and scores at most a quarter more rows for that", ours <= 1.25 * cost, text)
    assert found[-1] > plain
    assert ours <= 2 * cost, text


def test_cost_grows_below_the_rows(minilm60k: Any, queries: Any, recall: Any, record_claim: Record) -> None:
    """A bit more for each doubling of the rows: what is scored for recall@10 of 0.9 grows like a power below 0.8."""
    some, costs, sizes = queries[:200], [], []
    for bits, step in ((10, 8), (11, 4), (12, 2), (13, 1)):
        rows = np.ascontiguousarray(minilm60k[::step])
        best = np.argsort(-(some @ rows.T), axis=1, kind="stable")[:, :10]
        packed = Plan(f"float16() | lsh(bits={bits})").fit(rows)
        hits = [packed.search(some, k=10, budget=round(len(rows) * s)) for s in (0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7)]
        costs.append(float(np.interp(0.9, [recall(h.rows, best) for h in hits], [h.scored.mean() for h in hits])))
        sizes.append(len(rows))
    power = float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])
    text = ", ".join(f"{n:,} rows: {cost:.0f}" for n, cost in zip(sizes, costs)) + f" scored; a power of {power:.2f}"
    record_claim(INDYK, "rows scored for recall@10 of 0.9 grow like a power of the rows below 0.8", power < 0.8, text)
    assert power < 0.8, text
