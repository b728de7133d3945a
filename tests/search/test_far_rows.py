"""Rows far from zero under l2, rows longer than float32 can measure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nearfield as nf
from nearfield.core.errors import BadInput, Corrupt


def far(offset: float, n: int = 1200, d: int = 32) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, queries and the exact ten nearest, by differences in float64."""
    rng = np.random.default_rng(int(offset))
    x, q = ((rng.standard_normal((m, d)) + offset).astype(np.float32) for m in (n, 40))
    distances = np.square(q[:, None].astype(np.float64) - x[None]).sum(axis=2)
    return x, q, np.argsort(distances, axis=1)[:, :10]


def recall(rows: np.ndarray, truth: np.ndarray) -> float:
    return float((rows[:, :, None] == truth[:, None, :]).any(axis=2).mean())


@pytest.mark.parametrize("offset", [100.0, 1000.0, 10_000.0])
def test_raw_is_exact_under_l2_wherever_rows_lie(offset: float, tmp_path: Path) -> None:
    x, q, truth = far(offset)
    packed = nf.Plan("raw").fit(x, metric="l2")
    hits = packed.search(q, k=10)
    assert recall(hits.rows, truth) > 0.998
    assert (packed.search(x[:50], k=1).rows[:, 0] == np.arange(50)).all()
    np.testing.assert_allclose(hits.scores[:, 0], -np.square(q - x[truth[:, 0]]).sum(axis=1), rtol=1e-4)
    packed.save(tmp_path / "far.nf")
    again = nf.load(tmp_path / "far.nf")
    np.testing.assert_array_equal(again.search(q, k=10).scores, hits.scores)
    np.testing.assert_allclose(again.decode(np.arange(20)), x[:20], rtol=1e-6)
    assert again.shared_bytes == 4 * 32


@pytest.mark.parametrize("plan", ["float16", "int8", "rabitq(bits=4)", "pq(parts=16)", "int8 | rescore(codec='raw')"])
def test_codes_lose_nothing_to_where_rows_lie(plan: str) -> None:
    found = []
    for offset in (0.0, 3000.0):
        x, q, truth = far(offset)
        found.append(recall(nf.Plan(plan).fit(x, metric="l2").search(q, k=10).rows, truth))
    assert abs(found[0] - found[1]) < 0.06


def test_rows_near_zero_and_whole_numbers_stay_as_they_are() -> None:
    x, _, _ = far(2.0)
    assert nf.Plan("raw").fit(x, metric="l2").fitted.origin is None
    assert nf.Plan("raw").fit(x + 1000, metric="cosine").fitted.origin is None
    whole = np.random.default_rng(0).integers(240, 250, (200, 8), dtype=np.uint8)
    packed = nf.Plan("raw").fit(whole, metric="l2")
    assert packed.fitted.origin is None
    assert packed.bytes_per_row == 8 + 4


def test_a_wrong_origin_in_a_file_is_refused(tmp_path: Path) -> None:
    x, _, _ = far(1000.0)
    packed = nf.Plan("raw").fit(x, metric="l2")
    packed.fitted.origin = np.zeros(31, np.float32)
    packed.save(tmp_path / "bad.nf")
    with pytest.raises(Corrupt, match=r"state\.origin"):
        nf.load(tmp_path / "bad.nf")


def test_the_adviser_measures_from_the_same_origin() -> None:
    x, _, _ = far(1000.0)
    advice = nf.advise(x, metric="l2", keep=0.99, plans=["raw", "center() | raw"])
    assert all(row.quality["recall@10"].value > 0.999 for row in advice.plans)
    assert advice.verified["recall@10"].value > 0.999


@pytest.mark.parametrize("metric", ["l2", "dot"])
def test_lengths_that_float32_cannot_measure_are_refused_by_row(metric: nf.core.protocols.Metric) -> None:
    x = np.random.default_rng(0).standard_normal((300, 16)).astype(np.float32)
    x[[7, 41]] *= 1e19
    with pytest.raises(BadInput, match="row 7, 41; scale"):
        nf.Plan("raw").fit(x, metric=metric)
    with pytest.raises(BadInput, match=r"queries: .* row 0; scale"):
        nf.Plan("raw").fit(x[:7], metric=metric).search(x[7:8])
    assert nf.Plan("raw").fit(x, metric="cosine").search(x[7:8], k=1).rows[0, 0] == 7
