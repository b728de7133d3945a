"""What the adviser warns of."""

from __future__ import annotations

import numpy as np

import nearfield as nf
from nearfield.adviser.cautions import energy_test

PLANS = ["raw()", "int8()"]


def rows(n: int = 1200, d: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def words(x: np.ndarray, *rest, **kwargs) -> str:
    return "\n".join(nf.advise(x, *rest, plans=kwargs.pop("plans", PLANS), verify=False, **kwargs).warnings)


def test_shifted_queries_are_noticed_and_like_ones_are_not():
    assert "leanvec" in words(rows(), rows(200, seed=1) + 0.8)
    assert "leanvec" not in words(rows(), rows(200, seed=1))


def test_the_energy_test_holds_its_level():
    rng = np.random.default_rng(0)
    chances = []
    for _ in range(100):
        both = rng.normal(size=(120, 6)).astype(np.float32)
        chances.append(energy_test(both[:60], both[60:], rng, 99)[1])
    assert np.mean(np.array(chances) <= 0.05) <= 0.12
    assert energy_test(rows(60), rows(60, seed=2) + 1, rng)[1] < 0.01


def test_norms_that_matter_are_noticed_under_cosine_only():
    x = rows() * np.exp(np.random.default_rng(1).normal(size=(1200, 1))).astype(np.float32)
    assert "metric='dot'" in words(x)
    assert "metric='dot'" not in words(x, metric="dot")


def test_duplicates_are_counted():
    x = rows()
    x[100:150] = x[:50]
    assert "50 of 1200 rows repeat" in words(x)
    assert "repeat" not in words(rows())
    near = rows()
    near[600:] = near[:600] * np.float32(1.0) + 0.001 * rows(600, seed=4)
    assert "near-duplicate" in words(near)


def test_small_collections_and_few_rows_are_told():
    assert "nothing here needs compressing" in words(rows())
    assert "too few rows to fit pq" in words(rows(300), plans=["pq(parts=4)"])
    assert "too few rows to fit pca" in words(rows(60, 16), plans=["pca(dim=4) | int8()"])


def test_a_row_far_longer_than_the_rest_is_named():
    x = rows(600)
    x[37] *= 1e4
    told = " ".join(nf.advise(x, metric="dot", plans=["raw"]).warnings)
    assert "row 37 is" in told
    assert "times as long" in told
    assert "times as long" not in " ".join(nf.advise(rows(600), metric="dot", plans=["raw"]).warnings)
