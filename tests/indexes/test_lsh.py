"""Hashes: rows share keys as often as the formulas say, and probing takes buckets in the order of the paper."""

from __future__ import annotations

from math import pi
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.numerics import hashing, kernels

pytestmark = pytest.mark.skipif(kernels.native() is None, reason="hashes need native code")


def at_angle(angle: float, count: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of unit vectors with an angle between them."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, count, d))
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b -= (a * b).sum(axis=1, keepdims=True) * a
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    return a.astype(np.float32), (np.cos(angle) * a + np.sin(angle) * b).astype(np.float32)


def shared(a: np.ndarray, b: np.ndarray, tables: int, bits: int, seed: int, *, signs: bool = True) -> float:
    """How often pairs share a key in some table."""
    across = hashing.directions(seed, tables, bits, a.shape[1])
    offsets = 0 if signs else hashing.uniform(seed ^ 1, tables * bits)
    found = [hashing.keys(x @ across.T + offsets, bits, signs=signs) for x in (a, b)]
    return float((found[0] == found[1]).any(axis=1).mean())


@pytest.mark.parametrize(("degrees", "bits", "tables"), [(10, 8, 4), (30, 8, 4), (45, 10, 20), (60, 6, 10), (90, 4, 8)])
def test_signs_are_shared_as_often_as_promised(degrees: float, bits: int, tables: int) -> None:
    angle = degrees * pi / 180
    rates = [shared(*at_angle(angle, 2000, 24, s), tables, bits, s) for s in range(10)]
    promised = hashing.sign_probability(angle, bits, tables)
    assert np.mean(rates) == pytest.approx(promised, abs=0.025)


@pytest.mark.parametrize(("distance", "bits", "tables"), [(0.1, 8, 4), (0.5, 6, 6), (1.0, 4, 10), (2.0, 2, 5)])
def test_slots_are_shared_as_often_as_promised(distance: float, bits: int, tables: int) -> None:
    rates = []
    for seed in range(10):
        a, b = at_angle(pi / 2, 2000, 24, seed)
        rates.append(shared(5 * a, 5 * a + distance * b, tables, bits, seed, signs=False))
    assert np.mean(rates) == pytest.approx(hashing.slot_probability(distance, bits, tables), abs=0.03)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_rows_of_the_querys_own_buckets_are_all_found(metric: Any) -> None:
    rng = np.random.default_rng(0)
    x, q = rng.normal(size=(3000, 16)).astype(np.float32), rng.normal(size=(40, 16)).astype(np.float32)
    packed = nf.Plan("raw() | lsh(tables=6, bits=6)").fit(x, metric=metric)
    index = packed.index
    signs = index.width <= 0
    ready = q / np.linalg.norm(q, axis=1, keepdims=True) if metric == "cosine" else q
    keys = hashing.keys(ready @ index._directions().T + index._offsets(index.seed, signs), 6, signs=signs)
    for i in range(len(q)):
        own = [index.order[t][index.keys[t] == keys[i, t]] for t in range(6)]
        own_rows = np.unique(np.concatenate(own))
        if 0 < own_rows.size < 2900:
            hits = packed.search(q[i : i + 1], k=own_rows.size, budget=own_rows.size)
            assert np.isin(hits.rows[0], own_rows).mean() > 0.99


def test_probing_finds_more_than_more_rows_at_random() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 12)).astype(np.float32)
    q = x[:100] + 0.3 * rng.normal(size=(100, 12)).astype(np.float32)
    packed = nf.Plan("raw() | lsh(tables=2, bits=14)").fit(x)
    truth = nf.Plan("raw()").fit(x).search(q, k=1).rows
    hits = packed.search(q, k=1, budget=400)
    assert (hits.rows == truth).mean() > 0.8  # 400 rows drawn at random hold a tenth
    assert hits.scored.mean() <= 400


def test_directions_are_normal_and_drawn_again_alike() -> None:
    made = hashing.directions(7, 8, 16, 50)
    np.testing.assert_array_equal(made, hashing.directions(7, 8, 16, 50))
    assert abs(made.mean()) < 0.05
    assert made.std() == pytest.approx(1, abs=0.03)
    np.testing.assert_allclose(made[0, :3], GOLDEN, rtol=1e-5)


GOLDEN = [-0.6145182847976685, 1.4353961944580078, 0.39025628566741943]
