"""Vamana: pruned links reach the near rows while few are scored, and better than the nearest rows alone (DiskANN)."""

from __future__ import annotations

from typing import Any

import numpy as np

from nearfield import Plan
from nearfield.core.protocols import Prepared
from nearfield.numerics import graphs

PAPER = "NeurIPS 2019, DiskANN"


def test_few_rows_are_scored(minilm60k: Any, minilm_queries: Any, truth10: Any, recall: Any, record_claim: Any) -> None:
    """Recall@10 of 0.95 and more while about one row in fifty is scored."""
    packed = Plan("float16() | vamana()").fit(minilm60k)
    hits = packed.search(minilm_queries, k=10, budget=1000)
    got, share = recall(hits.rows, truth10), float(hits.scored.mean()) / len(minilm60k)
    record_claim(PAPER, "recall@10 >= 0.95 from under 2% of the rows", got >= 0.95, f"{got:.4f} from {share:.2%}")
    assert share < 0.02
    assert got >= 0.95


def test_pruned_links_beat_the_nearest_rows(
    minilm60k: Any, minilm_queries: Any, recall: Any, record_claim: Any
) -> None:
    """At as many links a row, and walks from the same rows, a graph of the nearest rows finds less."""
    rows, degree = np.ascontiguousarray(minilm60k[::4]), 24
    packed = Plan(f"float16() | vamana(degree={degree})").fit(rows)
    truth = np.argsort(-(minilm_queries @ rows.T), axis=1, kind="stable")[:, :10]
    near = np.empty((len(rows), degree), np.uint32)
    for at in range(0, len(rows), 1000):
        scores = rows[at : at + 1000] @ rows.T
        scores[np.arange(len(scores)), np.arange(at, at + len(scores))] = -np.inf
        near[at : at + 1000] = np.argpartition(-scores, degree, axis=1)[:, :degree]
    scorer = packed.fitted.codec.scorer("dot")
    asked: Prepared = scorer.prepare(minilm_queries)
    graph: Any = packed.index
    figures = {}
    for name, links, budget in (("pruned", graph.graph.links, 600), ("nearest", near, 900)):
        graph.graph = graphs.Graph(links, graph.graph.entries, graph.graph.effort)
        graph._finder = None
        hits = graph.search(asked, 10, budget=budget)
        figures[name] = (recall(hits.rows, truth), float(hits.scored.mean()))
    told = ", ".join(f"{name} {r:.4f} of {int(s)} scored" for name, (r, s) in figures.items())
    held = figures["pruned"][0] > figures["nearest"][0] + 0.01 and figures["pruned"][1] < figures["nearest"][1]
    record_claim(PAPER, "better than a graph of the nearest rows at equal degree", held, told)
    assert held, told
