"""HNSW: layers that thin out, a cost that grows like the logarithm of the rows, and a rule that holds in clusters."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from nearfield import Plan
from nearfield.numerics import finders, kernels, layers

pytestmark = pytest.mark.skipif(kernels.native() is None, reason="graphs need native code")
Record = Callable[[str, str, bool, str], None]
PAPER = "arXiv 1603.09320, HNSW"
EFFORTS = (200, 300, 400, 500, 650, 800, 1000, 1300, 1700, 2200)


def nearest(rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
    return np.argsort(-(queries @ rows.T), axis=1, kind="stable")[:, :10]


def curve(packed: Any, queries: np.ndarray, truth: np.ndarray, recall: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rows scored a query and recall@10, at growing efforts."""
    hits = [packed.search(queries, k=10, budget=budget) for budget in EFFORTS]
    return np.array([h.scored.mean() for h in hits]), np.array([recall(h.rows, truth) for h in hits])


def test_as_good_as_the_faiss_one(minilm60k: Any, minilm_queries: Any, recall: Any, record_claim: Record) -> None:
    """At as many distances, by faiss's own count, and equal parameters: recall@10 within a point of it."""
    faiss = pytest.importorskip("faiss")
    faiss.omp_set_num_threads(1)
    rows, queries = np.ascontiguousarray(minilm60k[::8]), minilm_queries[:500]
    truth = nearest(rows, queries)
    other = faiss.IndexHNSWFlat(rows.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
    other.hnsw.efConstruction = 200
    other.add(rows)
    scored, found = curve(Plan("raw() | hnsw(degree=16, width=200)").fit(rows), queries, truth, recall)
    told, gaps = [], []
    for ef in (16, 32, 64):
        other.hnsw.efSearch = ef
        faiss.cvar.hnsw_stats.reset()
        theirs = recall(other.search(queries, 10)[1], truth)
        count = faiss.cvar.hnsw_stats.ndis / len(queries)
        ours = float(np.interp(count, scored, found))
        gaps.append(ours - theirs)
        told.append(f"{count:.0f} distances: {ours:.4f}, faiss {theirs:.4f}")
    text = "; ".join(told)
    record_claim(PAPER, "recall@10 within a point of faiss's at equal distances computed", min(gaps) > -0.01, text)
    assert scored[0] < 450
    assert min(gaps) > -0.01, text


def test_cost_grows_like_the_logarithm(minilm60k: Any, minilm_queries: Any, recall: Any, record_claim: Record) -> None:
    """Each doubling of the rows adds about as many distances at recall@10 of 0.95, where it doubles those of a scan."""
    queries, costs = minilm_queries[:400], []
    sizes = [len(minilm60k) // step for step in (32, 16, 8, 4)]
    for size in sizes:
        rows = np.ascontiguousarray(minilm60k[:: len(minilm60k) // size])
        scored, found = curve(Plan("float16() | hnsw()").fit(rows), queries, nearest(rows, queries), recall)
        costs.append(float(np.interp(0.95, found, scored)))
    power = float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])
    text = ", ".join(f"{s:,} rows: {c:.0f}" for s, c in zip(sizes, costs)) + f" distances; a power of {power:.2f}"
    held = power < 0.3 and max(np.diff(costs)) < 0.25 * costs[0]
    record_claim(PAPER, "the cost of a search grows like the logarithm of the rows", held, text)
    assert held, text


def test_layers_thin_out_and_lead_near(minilm60k: Any, minilm_queries: Any, record_claim: Record) -> None:
    """Each layer holds the same share of the one below, and the descent saves most of a walk from any one row."""
    rows, queries = np.ascontiguousarray(minilm60k[::4]), minilm_queries[:400]
    packed: Any = Plan("float16() | hnsw(degree=16)").fit(rows)
    counts = [len(rows), *layers.layer_counts(len(rows), 16)]
    assert len(packed.index.graph.upper) == sum(counts[1:])
    shares = [below / above for below, above in pairwise(counts)]
    assert all(abs(share - 16) < 1 for share in shares[:2])
    fmt, folded = packed.now.scorer.format, packed.now.scorer.prepare(queries).folded
    graph = packed.index.graph
    entry = graph.entries[: counts[-1]]  # of the highest layer
    flat = layers.Graph(graph.links, np.ascontiguousarray(entry[:1]), graph.effort)
    finder = flat.finder(fmt, packed.index.rows.codes, packed.index.rows.scorer.metric, packed.index.rows.terms)
    costs = {}
    for name, one in (("layers", packed.index.finder()), ("one row", finder)):
        found, _, scored, _ = finders.find(one, fmt, folded, 1, 1, None, len(rows), None)
        first = np.einsum("ij,ij->i", queries, rows[found[:, 0]])
        costs[name] = (float(scored.mean()), float(first.mean()))
    told = "; ".join(f"{name}: {count:.0f} distances to a row of {score:.3f}" for name, (count, score) in costs.items())
    text = f"{told} (layers of {', '.join(f'{c:,}' for c in counts)})"
    (many, near), (flat_many, flat_near) = costs["layers"], costs["one row"]
    record_claim(PAPER, "a greedy walk that begins in the top layer computes fewer distances", many < flat_many, text)
    held = near > flat_near and many < 1.1 * flat_many
    record_claim(PAPER, "and ends nearer than one of as many distances in the lowest layer alone", held, text)
    assert held, text
    assert many < len(rows) / 100


def test_the_rule_holds_in_clusters(minilm60k: Any, minilm_queries: Any, recall: Any, record_claim: Record) -> None:
    """Where rows lie in tight clusters, links to the nearest rows stay inside them, and the rule's lead out."""
    rng = np.random.default_rng(0)
    hearts = minilm60k[::240]
    noise = 0.02 * rng.normal(size=(len(hearts), 24, hearts.shape[1])).astype(np.float32)
    rows = (hearts[:, None] + noise).reshape(-1, hearts.shape[1])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    queries = minilm_queries[:400]
    truth = nearest(rows, queries)
    packed: Any = Plan("float16() | hnsw(degree=8)").fit(rows)
    graph, index = packed.index.graph, packed.index
    scores = rows @ rows.T
    np.fill_diagonal(scores, -np.inf)
    near = np.argpartition(-scores, 16, axis=1)[:, :16].astype(np.uint32)
    told, asked = {}, packed.now.scorer.prepare(queries)
    for name, links in (("rule", graph.links), ("nearest", near)):
        index.graph = layers.Layered(links, graph.entries, graph.effort, graph.upper)
        index._finder = None
        index._efforts.clear()
        hits = index.search(asked, 10, budget=900)
        told[name] = (recall(hits.rows, truth), float(hits.scored.mean()))
    text = ", ".join(f"{name} {r:.4f} of {int(s)} scored" for name, (r, s) in told.items())
    held = told["rule"][0] > max(0.9, told["nearest"][0] + 0.1)
    record_claim(PAPER, "its rule for links keeps recall on clustered rows, the nearest rows alone lose it", held, text)
    assert held, text
