"""IVF: few lists hold nearly all near rows, and codes of what centroids leave tell more than codes of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nearfield import Plan
from nearfield.numerics import kernels

pytestmark = pytest.mark.skipif(kernels.native() is None, reason="lists need native code")
Record = Callable[[str, str, bool, str], None]
PAPER = "Jégou 2011, doi:10.1109/TPAMI.2010.57"
RABITQ = "arXiv 2405.12497, RaBitQ"
LISTS = 122


def test_as_good_as_the_lists_of_faiss(rows: Any, queries: Any, truth: Any, recall: Any, record_claim: Record) -> None:
    """With as many lists, and as many rows scanned by faiss's own count, recall@10 is within a point of its."""
    faiss = pytest.importorskip("faiss")
    faiss.omp_set_num_threads(1)
    other = faiss.IndexIVFFlat(faiss.IndexFlatIP(rows.shape[1]), rows.shape[1], LISTS, faiss.METRIC_INNER_PRODUCT)
    other.train(rows)
    other.add(rows)
    packed = Plan(f"raw() | ivf(lists={LISTS})").fit(rows)
    hits = [packed.search(queries, k=10, budget=b) for b in (200, 400, 700, 1100, 1700, 2500, 3600, 5000, 7000)]
    scanned, found = [h.scored.mean() for h in hits], [recall(h.rows, truth) for h in hits]
    gaps, told = [], []
    for probes in (4, 8, 16, 32):
        other.nprobe = probes
        faiss.cvar.indexIVF_stats.reset()
        theirs = recall(other.search(queries, 10)[1], truth)
        count = faiss.cvar.indexIVF_stats.ndis / len(queries)
        ours = float(np.interp(count, scanned, found))
        gaps.append(ours - theirs)
        told.append(f"{count:.0f} rows: {ours:.4f}, faiss {theirs:.4f}")
    text, held = "; ".join(told), min(gaps) > -0.01
    record_claim(PAPER, f"recall@10 within a point of faiss's at equal rows scanned, {LISTS} lists", held, text)
    assert held, text


@pytest.mark.parametrize(
    ("paper", "codec", "gain"), [(PAPER, "pq(parts=96, code_bits=4)", 0.005), (RABITQ, "rabitq(bits=1)", 0.01)]
)
def test_codes_of_residuals_beat_codes_of_rows(
    paper: str, codec: str, gain: float, rows: Any, queries: Any, truth: Any, recall: Any, record_claim: Record
) -> None:
    """All lists scanned: at equal bytes, codes of what a row's centroid leaves of it find more."""
    figures, sizes = {}, set()
    for residual in (True, False):
        packed = Plan(f"{codec} | ivf(lists={LISTS}, residual={residual})").fit(rows)
        figures[residual] = recall(packed.search(queries, k=10, budget=len(rows)).rows, truth)
        sizes.add(packed.bytes_per_row)
    assert len(sizes) == 1
    text = f"{codec}: residuals {figures[True]:.4f}, rows {figures[False]:.4f}, {sizes.pop():g} bytes"
    held = figures[True] > figures[False] + gain
    record_claim(paper, f"codes of residuals beat codes of rows at equal bytes ({codec.split('(')[0]})", held, text)
    assert held, text


def test_few_lists_find_more_than_a_scan_of_plain_codes(
    rows: Any, queries: Any, truth: Any, recall: Any, record_claim: Record
) -> None:
    """A quarter of the rows, scanned by codes of residuals, against all rows by codes of the same size."""
    codec = "pq(parts=96, code_bits=4)"
    packed = Plan(f"{codec} | ivf(lists={LISTS})").fit(rows)
    hits = packed.search(queries, k=10, budget=len(rows) // 4)
    scan = recall(Plan(codec).fit(rows).search(queries, k=10).rows, truth)
    share, found = float(hits.scored.mean()) / len(rows), recall(hits.rows, truth)
    text = f"{found:.4f} from {share:.1%} of the rows, {scan:.4f} from all"
    held = share < 0.26 and found > scan
    record_claim(PAPER, "IVFADC finds more than ADC, from a quarter of the rows", held, text)
    assert held, text


def test_one_bit_and_a_finer_residual_find_nearly_all(
    rows: Any, queries: Any, truth: Any, recall: Any, record_claim: Record
) -> None:
    """Signs choose whom to score again: in a sixth of the bytes of the rows nearly all near rows are found."""
    packed = Plan("rabitq(bits=1) | ivf() | rescore(codec='lvq(bits=4)', depth=10, of='residual')").fit(rows)
    hits = packed.search(queries, k=10, budget=len(rows) // 5)
    share, found = float(hits.scored.mean()) / len(rows), recall(hits.rows, truth)
    text = f"{found:.4f} from {share:.1%} of the rows, {packed.bytes_per_row:g} bytes a row of {4 * rows.shape[1]}"
    held = found >= 0.93 and share < 0.25 and packed.bytes_per_row * 6 < 4.05 * rows.shape[1]
    record_claim(RABITQ, "one-bit lists and a finer residual: recall@10 of 0.93 in a sixth of the bytes", held, text)
    assert held, text
