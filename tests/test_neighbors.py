"""The graph of nearest neighbours, compared with scikit-learn's own."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest

from nearfield.core.errors import BadInput, BadParameter
from nearfield.sklearn import neighbors

pytest.importorskip("sklearn")
METRIC = {"l2": "euclidean", "cosine": "cosine"}


def oracle(k: int, metric: str, mode: str = "distance"):
    from sklearn.neighbors import KNeighborsTransformer

    return KNeighborsTransformer(n_neighbors=k, metric=METRIC[metric], mode=mode, algorithm="brute")


@pytest.mark.allow_global_rng
@pytest.mark.parametrize(
    "made",
    [neighbors(), neighbors(3, mode="connectivity", metric="cosine"), neighbors(2, plan="int8()")],
    ids=["exact", "connectivity", "codes"],
)
def test_passes_scikit_learns_own_check(made) -> None:
    from sklearn.utils.estimator_checks import check_estimator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of checks that it skips
        check_estimator(made)


@pytest.mark.parametrize("mode", ["distance", "connectivity"])
@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_agrees_with_scikit_learns_transformer(rng: np.random.Generator, metric: str, mode: str) -> None:
    x, q = rng.normal(size=(150, 12)) + 4, rng.normal(size=(20, 12)) + 4
    made, want = neighbors(6, mode=mode, metric=metric).fit(x), oracle(6, metric, mode).fit(x)
    for rows in (x, q):
        got, expected = made.transform(rows), want.transform(rows)
        assert got.format == "csr"
        assert got.shape == expected.shape
        np.testing.assert_array_equal(got.indptr, expected.indptr)
        if mode == "distance":  # the neighbours of a row come nearest first, too
            np.testing.assert_array_equal(got.indices, expected.indices)
        np.testing.assert_allclose(got.toarray(), expected.toarray(), atol=1e-6)
    assert (made.transform(x).diagonal() == (mode == "connectivity")).all()


@pytest.mark.parametrize("given", [True, False])
def test_kneighbors_agrees_with_scikit_learns(rng: np.random.Generator, given: bool) -> None:
    x = rng.normal(size=(90, 7))
    x[40] = x[41] = x[42]
    made, want = neighbors(4).fit(x), oracle(4, "l2").fit(x)
    q = rng.normal(size=(9, 7)) if given else None
    distances, rows = made.kneighbors(q)
    expected, _ = want.kneighbors(q)
    np.testing.assert_allclose(distances, expected, atol=1e-7)
    assert given or (rows != np.arange(90)[:, None]).all()
    np.testing.assert_array_equal(made.kneighbors(q, 2, return_distance=False), rows[:, :2])


def test_a_row_with_many_equals_need_not_find_itself(rng: np.random.Generator) -> None:
    x = rng.normal(size=(20, 4))
    x[:9] = x[0]
    distances, rows = neighbors(3).fit(x).kneighbors()
    assert distances.shape == rows.shape == (20, 3)
    assert (distances[:9] == 0).all()
    assert (rows[:9] < 9).all()
    assert (rows != np.arange(20)[:, None]).all()


def test_a_zero_row_is_one_away_from_all_under_cosine(rng: np.random.Generator) -> None:
    x = rng.normal(size=(30, 5))
    x[7] = 0
    distances, _ = neighbors(29, metric="cosine").fit(x).kneighbors(x[7:8], 30)
    np.testing.assert_array_equal(distances, np.ones((1, 30)))


def test_codes_find_most_of_it_and_tell_exact_distances(rng: np.random.Generator) -> None:
    x = rng.normal(size=(400, 32))
    got, want = neighbors(10, plan="int8()").fit_transform(x), oracle(10, "l2").fit_transform(x)
    rows, columns = got.nonzero()
    exact = np.linalg.norm(x[rows] - x[columns], axis=1)
    np.testing.assert_allclose(np.asarray(got[rows, columns]).ravel(), exact, atol=1e-9)
    same = sum(len(set(got[i].indices) & set(want[i].indices)) for i in range(400))
    assert same / (400 * 11) > 0.95


def test_dbscan_tsne_and_a_classifier_take_the_graph(rng: np.random.Generator) -> None:
    from sklearn.cluster import DBSCAN
    from sklearn.manifold import TSNE
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline

    y = np.repeat(np.arange(3), 40)
    x = rng.normal(size=(120, 8)) * 0.1 + 4 * np.eye(3, 8)[y]
    labels = make_pipeline(neighbors(39), DBSCAN(eps=0.6, metric="precomputed")).fit_predict(x)
    np.testing.assert_array_equal(labels, y)
    classifier = make_pipeline(neighbors(15), KNeighborsClassifier(5, metric="precomputed")).fit(x, y)
    assert (classifier.predict(x + 0.01) == y).all()
    tsne = TSNE(init="random", metric="precomputed", perplexity=5, random_state=0, max_iter=250)
    flat = make_pipeline(neighbors(30), tsne).fit_transform(x)
    centres = np.array([flat[y == i].mean(axis=0) for i in range(3)])
    nearest = np.linalg.norm(flat[:, None] - centres, axis=2).argmin(axis=1)
    assert (nearest == y).mean() > 0.95


def test_survives_pickle(rng: np.random.Generator) -> None:
    x = rng.normal(size=(60, 6)).astype(np.float32)
    made = neighbors(3, plan="pca(dim=4) | int8()").fit(x)
    back = pickle.loads(pickle.dumps(made))
    assert (back.transform(x) != made.transform(x)).nnz == 0
    assert made.transform(x).dtype == np.float32


def test_says_what_is_wrong(rng: np.random.Generator) -> None:
    x = rng.normal(size=(5, 4))
    for given, name in (
        ({"mode": "graph"}, "mode"),
        ({"metric": "dot"}, "metric"),
        ({"n_neighbors": 0}, "n_neighbors"),
    ):
        with pytest.raises(BadParameter, match=name):
            neighbors(**given).fit(x)
    with pytest.raises(BadInput, match="at most the 5 fitted rows, needed 6"):
        neighbors(5).fit_transform(x)


@pytest.mark.slow  # numba compiles for a minute
@pytest.mark.allow_global_rng
def test_umap_takes_neighbours_and_no_graph(rng: np.random.Generator) -> None:
    """As the docstring says: the graph is not symmetrical, which UMAP refuses; the neighbours give its own graph."""
    umap = pytest.importorskip("umap", reason="umap-learn is not installed")
    x = rng.normal(size=(120, 6)).astype(np.float32)
    made = neighbors(10).fit(x)
    distances, rows = made.kneighbors(x)
    assert (rows[:, 0] == np.arange(120)).all()  # each row itself comes first, as UMAP expects
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = umap.UMAP(10, precomputed_knn=(rows, distances), random_state=0, n_epochs=5).fit(x)
        own = umap.UMAP(10, random_state=0, n_epochs=5).fit(x)
        with pytest.raises(ValueError, match="symmetrical"):
            umap.UMAP(10, metric="precomputed", random_state=0).fit(made.transform(x))
    assert given.embedding_.shape == (120, 2)
    assert abs(given.graph_ - own.graph_).max() < 1e-4
