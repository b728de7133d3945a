"""Linear Maps against their textbook meaning and against scikit-learn and SciPy."""

from __future__ import annotations

import numpy as np
import pytest

from nearfield.core.errors import BadInput, BadParameter
from nearfield.maps.center import Center
from nearfield.maps.dct import DCT
from nearfield.maps.fft import FFT
from nearfield.maps.leanvec import LeanVec
from nearfield.maps.normalize import Normalize
from nearfield.maps.pca import PCA
from nearfield.maps.random_projection import RandomProjection
from nearfield.maps.truncate import Truncate
from nearfield.maps.whiten import Whiten
from nearfield.numerics import query_aware, spectra, transforms


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    mixing = rng.normal(size=(12, 12)) / np.sqrt(1 + np.arange(12))
    return (rng.normal(size=(400, 12)) @ mixing + 0.5).astype(np.float32)


@pytest.mark.parametrize("solver", ["full", "randomized", "incremental"])
def test_pca_agrees_with_scikit_learn(x: np.ndarray, rng: np.random.Generator, solver: str) -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    want = decomposition.PCA(5).fit(x.astype(np.float64))
    got = PCA(dim=5, solver=solver).fit(x, rng=rng)
    aligned = np.einsum("ij,ij->i", got.components_, want.components_)
    np.testing.assert_allclose(np.abs(aligned), 1, atol=1e-4)
    np.testing.assert_allclose(got.variances_, want.explained_variance_ * 399 / 400, rtol=1e-4)
    rebuilt = want.inverse_transform(want.transform(x.astype(np.float64)))
    np.testing.assert_allclose(got.inverse(got.transform(x)), rebuilt, atol=1e-3)


@pytest.mark.parametrize("map_", [PCA(dim=8), LeanVec(dim=8), Whiten(dim=8, shrinkage=0.1), Whiten(dim=8)])
def test_few_wide_rows_cost_what_few_rows_cost(map_, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    eigh = np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda a: sizes.append(len(a)) or eigh(a))
    map_.fresh().fit(rng.normal(size=(20, 300)).astype(np.float32), rng=rng)
    assert sizes == [20]


def test_pca_of_blocks_is_pca_of_the_whole(x: np.ndarray, rng: np.random.Generator) -> None:
    whole = PCA(dim=4).fit(x, rng=rng)
    parts = PCA(dim=4, solver="incremental")
    parts.fit_blocks(lambda: iter([x[:7], x[7:7], x[7:250], x[250:]]), rng=rng)
    np.testing.assert_allclose(parts.components_, whole.components_, atol=1e-5)
    np.testing.assert_allclose(parts.mean_, whole.mean_, atol=1e-6)


@pytest.mark.parametrize("map_", [PCA(dim=12), Center(), FFT(dim=12), DCT(dim=12), Truncate(dim=12), LeanVec(dim=12)])
@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_scores_survive_where_nothing_is_dropped(x: np.ndarray, rng: np.random.Generator, map_, metric: str) -> None:
    q = x[:20] * 1.5 - 0.2
    made = map_.fresh().fit(x, metric=metric, rng=rng)
    z, zq, bias = made.transform(x), made.transform_queries(q), made.query_bias(q)
    if metric == "dot":
        shift = 0 if bias is None else bias[:, None]
        np.testing.assert_allclose(zq @ z.T + shift, q @ x.T, atol=2e-3)
    else:
        assert bias is None
        far = ((q[:, None] - x) ** 2).sum(axis=2)
        np.testing.assert_allclose(((zq[:, None] - z) ** 2).sum(axis=2), far, rtol=1e-3, atol=1e-3)


def test_normalize_keeps_zero_rows(rng: np.random.Generator) -> None:
    made = Normalize().fit(np.ones((2, 3), np.float32), rng=rng)
    got = made.transform(np.array([[3, 0, 4], [0, 0, 0]], np.float32))
    np.testing.assert_allclose(got, [[0.6, 0, 0.8], [0, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("kind", ["pca", "zca", "cholesky"])
def test_whitened_rows_are_white(x: np.ndarray, rng: np.random.Generator, kind: str) -> None:
    made = Whiten(kind=kind, shrinkage=0.0).fit(x, rng=rng)
    z = made.transform(x).astype(np.float64)
    np.testing.assert_allclose(z.T @ z / len(z), np.eye(12), atol=2e-3)
    np.testing.assert_allclose(made.inverse(made.transform(x)), x, atol=2e-3)
    if kind == "zca":
        np.testing.assert_allclose(made.components_, made.components_.T, atol=1e-4)
    if kind == "cholesky":
        assert np.abs(np.tril(made.components_, -1)).max() < 1e-6


def test_shrinkage_is_that_of_ledoit_and_wolf(x: np.ndarray, rng: np.random.Generator) -> None:
    covariance = pytest.importorskip("sklearn.covariance")
    few = x[:20]
    want = covariance.ledoit_wolf(few.astype(np.float64))[1]
    assert Whiten().fit(few, rng=rng).shrinkage_ == pytest.approx(want, rel=1e-5)


def test_whitening_too_few_rows_is_refused_or_shrunk(rng: np.random.Generator) -> None:
    few = rng.normal(size=(5, 12)).astype(np.float32)
    with pytest.raises(BadInput, match="5 samples varying in 4"):
        Whiten(shrinkage=0.0).fit(few, rng=rng)
    assert np.isfinite(Whiten().fit(few, rng=rng).transform(few)).all()
    assert Whiten(shrinkage=0.0, dim=4).fit(few, rng=rng).transform(few).shape == (5, 4)
    with pytest.raises(BadInput, match="1 sample "):
        Whiten().fit(few[:1], rng=rng)
    with pytest.raises(BadParameter, match="dim"):
        Whiten(kind="zca", dim=3)


@pytest.mark.parametrize("kind", ["gaussian", "sparse", "hadamard"])
def test_random_projections_keep_dot_products_on_average(rng: np.random.Generator, kind: str) -> None:
    x = rng.normal(size=(2, 50)).astype(np.float32)
    x[1] = x[0] + 0.5 * x[1]
    got = []
    for seed in range(400):
        z = RandomProjection(dim=16, kind=kind).fit(x, rng=np.random.default_rng(seed)).transform(x)
        got.append(z[0] @ z[1])
    want = float(x[0] @ x[1])
    assert np.mean(got) == pytest.approx(want, rel=0.06)
    assert np.std(got) < 1.2 * want * np.sqrt(2 / 16)


def test_sparse_projection_has_the_density_of_scikit_learns(rng: np.random.Generator) -> None:
    projection = pytest.importorskip("sklearn.random_projection")
    x = rng.normal(size=(3, 400)).astype(np.float32)
    ours = RandomProjection(dim=100, kind="sparse").fit(x, rng=rng)
    theirs = projection.SparseRandomProjection(100, random_state=0).fit(x)
    assert np.mean(ours.components_ != 0) == pytest.approx(theirs.density_, rel=0.1)
    z = ours.transform(x)
    entry = np.abs(theirs.components_.data[0])
    scale = np.unique(np.round(np.abs(ours.transform(np.eye(400, dtype=np.float32))), 5))
    assert scale.max() == pytest.approx(entry, rel=1e-3)
    assert z.shape == (3, 100)


def test_a_full_hadamard_projection_is_a_rotation(rng: np.random.Generator) -> None:
    x = rng.normal(size=(5, 16)).astype(np.float32)
    z = RandomProjection(dim=16, kind="hadamard").fit(x, rng=rng).transform(x)
    np.testing.assert_allclose(z @ z.T, x @ x.T, atol=1e-4)


@pytest.mark.parametrize("d", [1, 2, 3, 7, 8, 33])
def test_transforms_agree_with_scipy_and_go_back(rng: np.random.Generator, d: int) -> None:
    fft = pytest.importorskip("scipy.fft")
    x = rng.normal(size=(6, d)).astype(np.float32)
    np.testing.assert_allclose(transforms.cosine(x), fft.dct(x, norm="ortho", axis=1), atol=1e-5)
    packed = transforms.real_fourier(x)
    want = fft.rfft(x, norm="ortho", axis=1)
    np.testing.assert_allclose(packed[:, 0], want[:, 0].real, atol=1e-5)
    if d > 2:
        np.testing.assert_allclose(packed[:, 1] + 1j * packed[:, 2], want[:, 1] * np.sqrt(2), atol=1e-5)
    np.testing.assert_allclose(packed @ packed.T, x @ x.T, atol=1e-4)
    np.testing.assert_allclose(transforms.inverse_real_fourier(packed), x, atol=1e-5)
    np.testing.assert_allclose(transforms.inverse_cosine(transforms.cosine(x)), x, atol=1e-5)


@pytest.mark.parametrize("cls", [FFT, DCT])
def test_energy_keeps_at_least_what_low_keeps(x: np.ndarray, rng: np.random.Generator, cls: type) -> None:
    low = cls(dim=4).fit(x, rng=rng).transform(x)
    energy = cls(dim=4, keep="energy").fit(x, rng=rng).transform(x)
    assert (energy**2).sum() >= (low**2).sum()


@pytest.mark.parametrize(
    "make",
    [
        lambda: PCA(dim=3), lambda: PCA(dim=3, solver="incremental"), lambda: Truncate(dim=3), lambda: FFT(dim=3),
        lambda: DCT(dim=3), lambda: RandomProjection(dim=3), lambda: LeanVec(dim=3), lambda: Whiten(dim=3),
    ],
)  # fmt: skip
def test_more_dimensions_than_there_are(rng: np.random.Generator, make) -> None:
    with pytest.raises(BadInput, match=r"dim=3 is more than the 2 dimensions"):
        make().fit(np.ones((9, 2), np.float32), rng=rng)


def test_leanvec_needs_queries_and_uses_them(rng: np.random.Generator) -> None:
    x = rng.normal(size=(500, 8)).astype(np.float32)
    with pytest.raises(BadInput, match="sample queries"):
        LeanVec(dim=2, kind="ood").fit(x, rng=rng)
    q = np.zeros((50, 8), np.float32)  # queries ask about two directions that vary little among the rows
    q[:, 6:] = rng.normal(size=(50, 2))
    x[:, 6:] *= 0.5
    want = q @ x.T
    loss = {}
    for kind, solver in (("id", "eigen"), ("ood", "eigen"), ("ood", "frank_wolfe"), ("ood", "both")):
        made = LeanVec(dim=2, kind=kind, solver=solver).fit(x, q, rng=rng)
        loss[kind, solver] = float(((made.transform_queries(q) @ made.transform(x).T - want) ** 2).mean())
    assert loss["ood", "eigen"] < 0.01 * loss["id", "eigen"]
    assert loss["ood", "frank_wolfe"] < 0.2 * loss["id", "eigen"]
    assert loss["ood", "both"] <= loss["ood", "eigen"] + 1e-9


def test_frank_wolfe_stays_in_the_spectral_ball_and_lowers_the_loss(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(2, 200, 10))
    queries, rows = (m.T @ m / 200 for m in (a * np.linspace(1, 3, 10), b * np.linspace(3, 1, 10)))
    start = spectra.leading(rows, 4)[1]
    left, right = query_aware.frank_wolfe(queries, rows, 4, start)
    assert query_aware.loss(queries, rows, left, right) < query_aware.loss(queries, rows, start, start)
    assert max(np.linalg.norm(left, 2), np.linalg.norm(right, 2)) <= 1 + 1e-9
    gap = a @ (left @ right.T - np.eye(10)) @ rng.normal(size=(10, 3))
    assert np.isfinite(gap).all()


def test_fits_agree_over_blas_threads(rng: np.random.Generator) -> None:
    pools = pytest.importorskip("threadpoolctl")
    x = (rng.normal(size=(3000, 96)) / np.sqrt(1 + np.arange(96))).astype(np.float32)
    for map_ in (PCA(dim=48), PCA(dim=48, solver="randomized"), Whiten(kind="zca"), LeanVec(dim=48)):
        got = []
        for threads in (1, 2):
            with pools.threadpool_limits(threads):
                got.append(map_.fresh().fit(x, rng=np.random.default_rng(0)).components_)
        np.testing.assert_allclose(got[0], got[1], atol=1e-5)
