"""Optimized product quantization: less distortion than PQ in the same bytes, and more recall."""

from __future__ import annotations

import numpy as np
import pytest

from nearfield import Plan
from nearfield.codecs.opq import OPQ
from nearfield.codecs.pq import PQ

PAPER = "doi:10.1109/CVPR.2013.379"


@pytest.mark.parametrize("parts", [48, 96])
def test_distortion_is_far_below_that_of_pq(minilm60k: np.ndarray, record_claim, parts: int) -> None:
    rows, fresh = minilm60k[::5], minilm60k[1::40]
    errors = []
    for codec in (
        PQ(parts=parts, code_bits=4, gain=False),
        OPQ(parts=parts, code_bits=4, rounds=4, gain=False, weight=0.0),
    ):
        codec.fit(rows, rng=np.random.default_rng(0))
        errors.append(float(((codec.decode(codec.encode(fresh)) - fresh) ** 2).sum(axis=1).mean()))
    ratio = errors[1] / errors[0]
    record_claim(PAPER, "distortion at most 0.75 of PQ's", ratio <= 0.75, f"{ratio:.3f} with {parts} parts")
    assert ratio <= 0.75


def test_the_alternation_improves_on_the_parametric_start(minilm60k: np.ndarray, record_claim) -> None:
    rows, fresh = minilm60k[::4], minilm60k[1::40]
    trained, held_out = [], []
    for rounds in (0, 6):
        codec = OPQ(parts=48, code_bits=4, rounds=rounds, gain=False, weight=0.0).fit(
            rows, rng=np.random.default_rng(0)
        )
        for x, out in ((rows, trained), (fresh, held_out)):
            out.append(float(((codec.decode(codec.encode(x)) - x) ** 2).sum(axis=1).mean()))
    figure = f"fitted rows {trained[0]:.4f} to {trained[1]:.4f}, others {held_out[0]:.4f} to {held_out[1]:.4f}"
    record_claim(PAPER, "alternation below the eigenvalue allocation", held_out[1] < held_out[0], figure)
    # Here it lowers the error of the rows that it is fitted on only: 147,456 numbers learned from 15,000 rows.
    assert trained[1] < 0.98 * trained[0]
    assert abs(held_out[1] / held_out[0] - 1) < 0.01


def test_recall_is_well_above_that_of_pq(minilm60k, minilm_queries, truth10, recall, record_claim) -> None:
    packed = Plan([OPQ(parts=96, code_bits=4, rounds=4)]).fit(minilm60k)
    assert packed.bytes_per_row == 49
    got = recall(packed.search(minilm_queries, k=10).rows, truth10)
    record_claim(PAPER, "recall@10 at least 0.75 with 49 bytes, 0.05 above PQ", got >= 0.75, f"{got:.3f}")
    assert got >= 0.75
