"""Trees and near rows: leaves hold every row once, planes part them, and near rows are those of an exact search."""

from __future__ import annotations

import numpy as np
import pytest

from nearfield.numerics import kernels, neighbours, trees
from nearfield.numerics.byterows import ByteRows
from nearfield.numerics.knn import nearest
from nearfield.numerics.linking import NO_LINK

pytestmark = pytest.mark.skipif(kernels.native() is None, reason="trees need native code")


def rows(n: int = 1000, d: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def as_bytes(x: np.ndarray) -> ByteRows:
    return ByteRows.of(iter([x]), len(x), "l2")


@pytest.mark.parametrize("n", [1, 2, 3, 63, 64, 65, 1000])
@pytest.mark.parametrize("leaf", [2, 7, 64])
def test_leaves_hold_every_row_once(n: int, leaf: int) -> None:
    made = trees.grow(as_bytes(rows(n)), 3, leaf, rng=np.random.default_rng(1))
    begins = trees.leaf_begins(n, made.levels)
    assert len(begins) == (1 << made.levels) + 1
    sizes = np.diff(begins)
    assert sizes.min() >= 1
    assert sizes.max() <= leaf
    for order in made.rows:
        assert sorted(order) == list(range(n))


def test_planes_part_the_rows() -> None:
    x = rows()
    made = trees.grow(as_bytes(x), 2, 100, rng=np.random.default_rng(1))
    for t in range(2):
        direction = made.normals[t, 0, :16] * made.sides[t, 0, 0]
        along = x @ direction
        lower, upper = (along[part] for part in np.split(made.rows[t], 2))
        assert (lower < made.thresholds[t, 0]).mean() > 0.98  # bytes are a little coarser than floats
        assert (upper >= made.thresholds[t, 0]).mean() > 0.98
        assert made.sides[t, 0, 1] == pytest.approx(direction @ direction, rel=0.001)


def test_planes_lie_between_two_clusters() -> None:
    x = rows(1000) + 20 * (np.arange(1000) % 2)[:, None].astype(np.float32)
    made = trees.grow(as_bytes(x), 4, 500, rng=np.random.default_rng(1))
    assert {len({row % 2 for row in half}) for order in made.rows for half in np.split(order, 2)} == {1}


def test_equal_rows_are_parted_by_number() -> None:
    made = trees.grow(as_bytes(np.ones((50, 4), np.float32)), 1, 5, rng=np.random.default_rng(1))
    assert made.rows[0].tolist() == list(range(50))
    assert not made.normals.any()


@pytest.mark.parametrize("threads", [1, 3])
def test_near_rows_are_those_of_an_exact_search(threads: int) -> None:
    x = rows(3000, 24)
    ids, gaps, compared = neighbours.near_rows(as_bytes(x), 15, rng=np.random.default_rng(1), threads=threads)
    exact, distances = nearest(x, x, 15, others=True)
    assert np.mean([np.isin(a, b).mean() for a, b in zip(ids, exact)]) > 0.93
    assert (np.diff(gaps, axis=1) >= 0).all()
    assert not (ids == np.arange(3000)[:, None]).any()
    assert all(len(set(found)) == 15 for found in ids)
    np.testing.assert_allclose(np.sqrt(gaps[:, 0]).mean(), distances[:, 0].mean(), rtol=0.02)
    again = neighbours.near_rows(as_bytes(x), 15, rng=np.random.default_rng(1), threads=2)
    np.testing.assert_array_equal(ids, again.ids)
    assert compared == again.compared < 3000 * 2999 / 2


def test_near_rows_of_few() -> None:
    ids, _, compared = neighbours.near_rows(as_bytes(rows(4)), 3, rng=np.random.default_rng(1))
    assert compared >= 6
    assert [sorted(found) for found in ids] == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    ids, gaps, _ = neighbours.near_rows(as_bytes(rows(1)), 2, rng=np.random.default_rng(1))
    assert (ids == NO_LINK).all()
    assert np.isinf(gaps).all()


def test_near_rows_of_real_ones(data: object) -> None:
    x = np.load(f"{data}/retrieval/arxiv60k/doc_title_minilm_f16.npy")[:10_000].astype(np.float32)
    made = ByteRows.of(iter([x / np.linalg.norm(x, axis=1, keepdims=True)]), len(x), "dot")
    ids = neighbours.near_rows(made, 15, rng=np.random.default_rng(1)).ids
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    exact, _ = nearest(x[:500], x, 16)
    assert np.mean([np.isin(a, b[1:]).mean() for a, b in zip(ids, exact)]) > 0.9


@pytest.mark.slow
def test_near_rows_are_as_many_as_pynndescent_finds(data: object) -> None:
    pynndescent = pytest.importorskip("pynndescent", reason="pynndescent is not installed")
    x = np.load(f"{data}/retrieval/arxiv60k/doc_title_minilm_f16.npy")[:5000].astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    theirs = pynndescent.NNDescent(x, metric="euclidean", n_neighbors=16, random_state=1, n_jobs=1).neighbor_graph[0]
    ids = neighbours.near_rows(ByteRows.of(iter([x]), len(x), "l2"), 15, rng=np.random.default_rng(1)).ids
    exact, _ = nearest(x, x, 15, others=True)
    shares = [np.mean([np.isin(a, b).mean() for a, b in zip(exact, found)]) for found in (theirs[:, 1:], ids)]
    assert shares[1] > shares[0] - 0.02
