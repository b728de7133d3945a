"""Packed graph: rough scores from one line of memory lead a walk as well as exact ones, for a fraction of the bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nearfield import Plan
from nearfield.numerics import kernels

pytestmark = pytest.mark.skipif(kernels.native() is None, reason="graphs need native code")
Record = Callable[[str, str, bool, str], None]
PAPER = "arXiv 2411.12229, SymphonyQG"
BUDGETS = (300, 350, 400, 475, 550, 650, 800, 1000, 1300, 1700, 2200)
SCORED_BY_CODES = 100  # of the frontier, at the end of a walk
DEGREE = 32  # links of a row of SymphonyQG
WANTED = (0.93, 0.95, 0.98, 0.985)


@pytest.fixture(scope="module")
def packed(rows: np.ndarray) -> Any:
    return Plan("lvq(bits=8) | packed_graph()").fit(rows)


def measured(packed: Any, queries: np.ndarray, truth: np.ndarray, recall: Any) -> np.ndarray:
    """Recall@10, rows scored and the width of the frontier, at growing budgets: ``[3, efforts]``."""
    out = []
    for budget in BUDGETS:
        hits = packed.search(queries, k=10, budget=budget)
        width = max(10, packed.index.graph.width(budget))
        out.append((recall(hits.rows, truth), float(hits.scored.mean()), width))
    return np.array(out).T


def test_rough_scores_lead_as_well_as_exact_ones(
    packed: Any, rows: Any, queries: Any, truth: Any, recall: Any, record_claim: Record
) -> None:
    """At equal recall a walk by lines meets at most a third more rows than one by float16, over links of one rule."""
    index = packed.index
    exact = Plan(f"float16() | vamana(degree={index.degree}, width={index.width}, alpha={index.alpha})").fit(rows)
    ours, theirs = (measured(p, queries, truth, recall) for p in (packed, exact))
    met = {w: (np.interp(w, ours[0], ours[1]), np.interp(w, theirs[0], theirs[1])) for w in WANTED}
    text = ", ".join(f"{w}: {a:.0f} rows by lines, {b:.0f} by float16" for w, (a, b) in met.items())
    held = all(a <= b * 4 / 3 for a, b in met.values())
    record_claim(PAPER, "estimates guide a walk: at equal recall@10 at most a third more rows are met", held, text)
    assert held, text
    read = {w: (_bytes(packed, ours, w), float(np.interp(w, theirs[0], theirs[1])) * 768) for w in WANTED}
    text = ", ".join(f"{w}: {a / 1000:.0f} kB, {b / 1000:.0f} kB" for w, (a, b) in read.items())
    held = all(a < b / 3 for a, b in read.values())
    record_claim(PAPER, "less than a third of the bytes that a walk over float16 reads", held, text)
    assert held, text


def test_fewer_bytes_than_neighbours_packed_beside_each_row(
    packed: Any, rows: Any, queries: Any, truth: Any, recall: Any, record_claim: Record
) -> None:
    """At the recall of rabitqlib's SymphonyQG fewer bytes are read and kept.

    Both are counted for as many rows visited as the frontier is wide, which is the least that either visits.
    """
    rabitqlib = pytest.importorskip("rabitqlib")
    other = rabitqlib.SymqgIndex(rows.shape[1], DEGREE, metric="ip", quantization_bits=0)
    other.build(rows, 200, num_threads=1)
    node = 4 * rows.shape[1] + DEGREE * (rows.shape[1] / 8 + 8 + 4)  # the row; of neighbours codes, factors, numbers
    ours, told, held = measured(packed, queries, truth, recall), [], True
    for ef in (30, 45, 60):
        theirs = recall(other.search_batch(queries, 10, ef, num_threads=1)[0], truth)
        read = _bytes(packed, ours, theirs)
        told.append(f"{theirs:.4f}: {read / 1000:.0f} kB, SymphonyQG {ef * node / 1000:.0f} kB")
        held = held and ours[0].max() > theirs and read < ef * node
    text = "; ".join(told)
    record_claim(PAPER, "fewer bytes read than SymphonyQG reads at the same recall@10", held, text)
    assert held, text
    assert packed.bytes_per_row < node / 5


def test_lines_tell_more_than_signs(rows: Any, queries: Any, packed: Any, record_claim: Record) -> None:
    """Of the rows that lines put first, more are near than of those that one-bit codes of as many bytes do."""
    axes, index = packed.index._axes, packed.index
    lines = np.asarray(index._lines)
    digits = lines[:, :-4]
    slots = np.concatenate([digits >> 2 * i & 3 for i in range(4)], axis=1).astype(np.float32)
    values, at = np.zeros((len(rows), len(axes.digits)), np.float32), 0
    for j, count in enumerate(axes.digits.tolist()):
        levels = 4.0**count
        whole = sum(slots[:, at + i] * 4.0**i for i in range(count))
        values[:, j], at = (whole - (levels - 1) / 2) * axes.steps[j], at + count
    scales = lines[:, -4:-2].copy().view("<f2").astype(np.float32)
    made = values @ (axes.axes * axes.scales[:, None]) * scales + axes.centre
    near = np.argsort(-(queries @ rows.T), axis=1, kind="stable")[:, :10]
    first = np.argsort(-(queries @ made.T), axis=1, kind="stable")[:, :SCORED_BY_CODES]
    signs = Plan("rabitq(bits=1)").fit(rows)
    rough = signs.search(queries, k=SCORED_BY_CODES).rows
    shares = [float(np.mean([np.isin(n, f[:depth]).mean() for n, f in zip(near, found)])) for found in (first, rough)
              for depth in (10, SCORED_BY_CODES)]  # fmt: skip
    text = (
        f"of the nearest ten, lines of {index.line} bytes have {shares[0]:.3f} among their first ten and "
        f"{shares[1]:.4f} among their first hundred; "
        f"signs of {signs.bytes_per_row:g} bytes {shares[2]:.3f} and {shares[3]:.4f}"
    )
    held = shares[0] > shares[2] + 0.05 and shares[1] > shares[3]
    record_claim(PAPER, "lines tell near rows better than the one-bit codes of the paper", held, text)
    assert held, text


def _bytes(packed: Any, curve: np.ndarray, wanted: float) -> float:
    """Bytes read at a recall: a line for each row met, links of the rows visited, codes of the best."""
    index, code = packed.index, packed.fitted.codec.bytes_per_row
    scored, width = (float(np.interp(wanted, curve[0], row)) for row in curve[1:])
    return scored * index.line + width * 4 * index.degree + SCORED_BY_CODES * code
