"""k-means against scikit-learn, and on rows that are few, equal or far apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nearfield.numerics import kmeans


def blobs(n: int = 2000, d: int = 8, k: int = 20, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = 3 * rng.normal(size=(k, d))
    return (centres[rng.integers(k, size=n)] + rng.normal(size=(n, d))).astype(np.float32)


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("d", "k"), [(2, 16), (8, 20), (32, 64)])
def test_as_good_as_scikit_learn(d: int, k: int) -> None:
    cluster = pytest.importorskip("sklearn.cluster", reason="scikit-learn is not installed")
    x = blobs(d=d)
    starts = [cluster.kmeans_plusplus(x, k, n_local_trials=1, random_state=s)[0] for s in range(15)]
    theirs = [cluster.KMeans(k, init=start, n_init=1, max_iter=20).fit(x).inertia_ for start in starts]
    ours = [kmeans.inertia(x, kmeans.kmeans(x, k, rng=rng(s))) for s in range(15)]
    assert np.median(ours) < 1.04 * np.median(theirs)


def test_the_best_partition_of_clear_clusters() -> None:
    x = np.repeat(np.array([[0, 0], [10, 0], [0, 10]], np.float32), 50, axis=0)
    x += 0.1 * rng().normal(size=x.shape).astype(np.float32)
    found = kmeans.kmeans(x, 3, rng=rng())
    np.testing.assert_allclose(np.sort(found.sum(axis=1)), [0, 10, 10], atol=0.1)
    assert len(np.unique(kmeans.nearest(x, found)[[0, 50, 100]])) == 3


def test_rounds_never_make_it_worse() -> None:
    x = blobs()
    start = x[:30].copy()
    values = [kmeans.inertia(x, kmeans.lloyd(x, start, rounds=r)) for r in range(6)]
    assert all(b <= a * (1 + 1e-6) for a, b in itertools.pairwise(values))


@pytest.mark.parametrize("init", ["k-means++", "rows"])
def test_same_rng_same_centroids(init: kmeans.Init) -> None:
    x = blobs()
    a = kmeans.kmeans(x, 12, rng=rng(), init=init)
    np.testing.assert_array_equal(a, kmeans.kmeans(x, 12, rng=rng(), init=init))
    assert not np.array_equal(a, kmeans.kmeans(x, 12, rng=rng(2), init=init))


@pytest.mark.parametrize("init", ["k-means++", "rows"])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_fewer_rows_than_centroids(init: kmeans.Init, n: int) -> None:
    x = blobs(n)
    found = kmeans.kmeans(x, 16, rng=rng(), init=init)
    assert found.shape == (16, x.shape[1])
    assert kmeans.inertia(x, found) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("init", ["k-means++", "rows"])
def test_equal_rows_and_constant_columns(init: kmeans.Init) -> None:
    x = np.full((40, 3), 0.5, np.float32)
    np.testing.assert_array_equal(kmeans.kmeans(x, 4, rng=rng(), init=init), np.full((4, 3), 0.5))
    x[:20, 0] = 1.5
    assert kmeans.inertia(x, kmeans.kmeans(x, 4, rng=rng(), init=init)) == 0


@pytest.mark.parametrize("d", [3, 40])
def test_an_empty_cluster_takes_over_a_far_row(d: int) -> None:
    x = np.zeros((10, d), np.float32)
    x[7] = 5
    centroids = np.zeros((3, d), np.float32)
    centroids[1:] = 100
    moved = kmeans.update(x, np.zeros(10, np.int32), centroids)
    np.testing.assert_allclose(moved[0], x.mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(moved[1], x[7])
    np.testing.assert_array_equal(moved[2], x[0])
    still = kmeans.lloyd(x, centroids, rounds=5)
    assert kmeans.inertia(x, still) == 0


def test_sums_by_column_and_by_row_agree() -> None:
    x = blobs(d=15)
    labels = kmeans.nearest(x, x[:9])
    narrow = kmeans.update(x, labels, x[:9])
    wide = kmeans.update(np.hstack([x, x]), labels, np.hstack([x[:9], x[:9]]))
    np.testing.assert_allclose(wide[:, :15], narrow, rtol=1e-6)
