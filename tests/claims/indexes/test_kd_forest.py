"""Forests: trees fail apart from each other and where rows are hard, and do as well as Annoy's at equal rows scored."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import comb
from typing import Any

import numpy as np
import pytest

from nearfield import Plan
from nearfield.numerics import kernels, trees

pytestmark = pytest.mark.skipif(kernels.native() is None, reason="trees need native code")
Record = Callable[[str, str, bool, str], None]
SILPA = "Silpa-Anan 2008, doi:10.1109/CVPR.2008.4587638"
DASGUPTA = "arXiv 1302.1948, Dasgupta and Sinha"
ANNOY = "Bernhardsson, Annoy"


def leaves_of(packed: Any, rows: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The leaf in which each query and each row lies, for each tree: ``[trees, m]`` and ``[trees, n]``."""
    made, d = packed.index.forest, rows.shape[1]
    node = np.zeros((len(made.rows), len(queries)), np.int64)
    for t, at in enumerate(node):
        for _ in range(made.levels):
            along = np.einsum("ij,ij->i", queries, made.normals[t, at, :d]) * made.sides[t, at, 0]
            at[:] = 2 * at + 1 + (along >= made.thresholds[t, at])
    begins = trees.leaf_begins(len(rows), made.levels)
    own = np.empty((len(made.rows), len(rows)), np.int64)
    leaf = np.repeat(np.arange(len(begins) - 1), np.diff(begins))
    np.put_along_axis(own, made.rows.astype(np.int64), np.broadcast_to(leaf, own.shape), axis=1)
    return node - ((1 << made.levels) - 1), own


@pytest.fixture(scope="module")
def together(rows: np.ndarray, queries: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Whether a query lies in the leaf of its near row, in each of 64 trees: bool ``[m, 10, trees]``."""
    packed = Plan("raw() | kd_forest(trees=64)").fit(rows)
    asked, own = leaves_of(packed, rows, queries)
    return np.moveaxis(own[:, truth] == asked[:, :, None], 0, 2)


def test_trees_fail_apart_from_each_other(together: np.ndarray, record_claim: Record) -> None:
    """Eight trees all miss a row as often as trees would that know nothing of each other, by the rates of others."""
    first, rest = together[..., :32], together[..., 32:]
    for count in (2, 8):
        misses = np.array([comb(32 - hit, count) / comb(32, count) for hit in range(33)])
        promised = float(misses[first.sum(axis=2)].mean())
        groups = rest.reshape(*rest.shape[:2], -1, count)
        measured = float((~groups.any(axis=3)).mean())
        text = f"{count} trees miss {measured:.4f} of the near rows, {promised:.4f} are foretold; one misses "
        text += f"{float((~rest).mean()):.4f}"
        held = abs(measured - promised) < 0.01
        claim = f"the failures of trees are independent: those of {count} multiply, for each row"
        record_claim(DASGUPTA, claim, held, text)
        assert held, text


def test_trees_fail_where_a_potential_is_high(
    together: np.ndarray, rows: Any, queries: Any, record_claim: Record
) -> None:
    """The mean, over all rows, of how much nearer the nearest one is foretells how often a tree misses it."""
    gaps = np.sqrt(np.maximum(2 - 2 * np.sort(queries @ rows.T, axis=1)[:, ::-1], 1e-12))
    potential = (gaps[:, :1] / gaps[:, 1:]).mean(axis=1)
    missed = 1 - together[:, 0].mean(axis=1)
    quarters = np.array_split(np.argsort(potential, kind="stable"), 4)
    means = [float(missed[q].mean()) for q in quarters]
    text = ", ".join(f"{potential[q].mean():.2f}: {m:.3f} missed" for q, m in zip(quarters, means))
    held = all(a < b for a, b in pairwise(means))
    record_claim(DASGUPTA, "failures grow with the potential of a query, from quarter to quarter", held, text)
    assert held, text


def test_more_trees_find_more_in_as_many_rows(
    rows: Any, queries: Any, truth: Any, recall: Any, record_claim: Record
) -> None:
    """At a tenth of the rows scored, each doubling of the trees finds more, and so does each doubling of the budget."""
    packed = {count: Plan(f"raw() | kd_forest(trees={count})").fit(rows) for count in (1, 2, 4, 8, 16)}
    found = [recall(p.search(queries, k=10, budget=1500).rows, truth) for p in packed.values()]
    further = [recall(packed[16].search(queries, k=10, budget=b).rows, truth) for b in (375, 750, 1500, 3000, 6000)]
    told = ", ".join(f"{count}: {r:.3f}" for count, r in zip(packed, found))
    text = f"recall@10 by trees {told}; by rows scored, 16 trees, 375 to 6000: {', '.join(f'{r:.3f}' for r in further)}"
    held = all(a < b for a, b in [*pairwise(found), *pairwise(further)])
    record_claim(SILPA, "several trees, searched together, find more in as many rows", held, text)
    assert held, text


def test_as_good_as_annoy(rows: Any, queries: Any, truth: Any, recall: Any, record_claim: Record) -> None:
    """With as many trees, and as many rows scored (what nodes take aside), recall@10 within a point of Annoy's."""
    annoy = pytest.importorskip("annoy")
    other = annoy.AnnoyIndex(rows.shape[1], "angular")
    other.set_seed(1)
    for i, row in enumerate(rows):
        other.add_item(i, row)
    other.build(16, n_jobs=1)
    packed = Plan("raw() | kd_forest(trees=16)").fit(rows)
    gaps, told = [], []
    for effort in (1000, 2000, 4000, 8000):
        every = [other.get_nns_by_vector(q, len(rows), effort) for q in queries]  # all that it scored, best first
        count = round(np.mean([len(found) for found in every]))
        theirs = recall(np.array([found[:10] for found in every]), truth)
        ours = recall(packed.search(queries, k=10, budget=count).rows, truth)
        gaps.append(ours - theirs)
        told.append(f"{count} rows: {ours:.4f}, Annoy {theirs:.4f}")
    text, held = "; ".join(told), min(gaps) > -0.01
    record_claim(ANNOY, "recall@10 within a point of Annoy's at equal rows scored, 16 trees", held, text)
    assert held, text
