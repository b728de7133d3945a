"""Kernel, neighbour and network Maps against scikit-learn, by brute force, and by derivative."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from nearfield.core.errors import BadInput, MissingExtra
from nearfield.maps.autoencoder import Autoencoder
from nearfield.maps.kernel_pca import KernelPCA
from nearfield.maps.tldr import TLDR
from nearfield.maps.umap import UMAP
from nearfield.numerics import knn, networks


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    return (rng.normal(size=(150, 6)) / np.sqrt(1 + np.arange(6))).astype(np.float32)


@pytest.mark.parametrize("kernel", ["rbf", "poly", "cosine"])
def test_kernel_pca_with_all_landmarks_is_exact(x: np.ndarray, rng: np.random.Generator, kernel: str) -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    theirs = decomposition.KernelPCA(3, kernel=kernel, gamma=0.3, degree=2).fit(x.astype(np.float64))
    ours = KernelPCA(dim=3, kernel=kernel, gamma=0.3, degree=2).fit(x, rng=rng)
    new = rng.normal(size=(20, 6)).astype(np.float32)
    for rows in (x, new):
        np.testing.assert_allclose(
            np.abs(ours.transform(rows)), np.abs(theirs.transform(rows.astype(np.float64))), atol=2e-4
        )


def test_fewer_landmarks_approximate_the_kernel(x: np.ndarray, rng: np.random.Generator) -> None:
    def gram(m: KernelPCA) -> np.ndarray:
        z = m.fit(x, rng=rng).transform(x)
        return z @ z.T

    exact, near = gram(KernelPCA(dim=4, gamma=0.3)), gram(KernelPCA(dim=4, gamma=0.3, landmarks=60))
    assert np.linalg.norm(exact - near) < 0.2 * np.linalg.norm(exact)


def test_nearest_is_exact(x: np.ndarray) -> None:
    far = np.sqrt(((x[:, None] - x) ** 2).sum(axis=2))
    np.fill_diagonal(far, np.inf)
    ids, distances = knn.nearest(x, x, 7, others=True)
    np.testing.assert_allclose(distances, np.sort(far, axis=1)[:, :7], atol=1e-3)
    np.testing.assert_array_equal(ids[:, 0], far.argmin(axis=1))
    with pytest.raises(BadInput, match="149"):
        knn.nearest(x, x, 150, others=True)


def test_fuzzy_weights_sum_as_umap_asks(x: np.ndarray) -> None:
    distances = knn.nearest(x, x, 10)[1]
    weights = knn.fuzzy_weights(distances).astype(np.float64)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose((weights / weights[:, :1]).sum(axis=1), np.log2(10), rtol=1e-2)
    assert (np.diff(weights, axis=1) <= 1e-6).all()


def test_extras_are_named_where_they_are_missing(x: np.ndarray, rng, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("torch", "umap"):
        monkeypatch.setitem(sys.modules, module, None)
    for map_, extra in ((TLDR(dim=2), "torch"), (Autoencoder(dim=2), "torch"), (UMAP(), "umap")):
        with pytest.raises(MissingExtra, match=rf"nearfield\[{extra}\]"):
            map_.fit(x, rng=rng)


def _penalties(widths: list[int], rng: np.random.Generator, draws: int = 1) -> tuple[np.ndarray, float]:
    """What training takes for the full Jacobian's squared norm, drawn so often, and what autograd finds."""
    torch = pytest.importorskip("torch")
    from nearfield.maps import autoencoder

    tensors = networks.tensors(networks.draw(widths, rng))
    x = torch.from_numpy(rng.normal(size=(6, widths[0])).astype(np.float32))
    _, slopes = autoencoder._encode(x, tensors, torch, False)
    got = [float(autoencoder._penalty(tensors, slopes, "full", rng).detach()) for _ in range(draws)]
    jacobians = [
        torch.autograd.functional.jacobian(lambda row: autoencoder._encode(row[None], tensors, torch, False)[0][0], row)
        for row in x
    ]
    return np.array(got), float(torch.stack(jacobians).pow(2).sum(dim=(1, 2)).mean())


@pytest.mark.parametrize("widths", [[5, 3], [5, 7, 3], [9, 4, 8]])
def test_the_penalty_is_the_norm_of_the_full_jacobian(widths: list[int], rng: np.random.Generator) -> None:
    got, want = _penalties(widths, rng)
    assert got[0] == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("widths", [[5, 7, 6, 3], [5, 7, 6, 6, 4]])
def test_deeper_penalties_are_right_on_average(widths: list[int], rng: np.random.Generator) -> None:
    got, want = _penalties(widths, rng, draws=4000)
    assert got.std() > 0
    assert abs(got.mean() - want) < 5 * got.std() / np.sqrt(got.size)
    assert got.std() < want  # of six rows: a batch of hundreds is nearer


def test_no_jacobian_is_written_out(rng: np.random.Generator) -> None:
    """One of [batch, dim, d] made a contractive network a hundred times as dear as a plain one."""
    torch = pytest.importorskip("torch")
    from nearfield.maps import autoencoder

    for widths in ([40, 16, 30], [40, 16, 16, 30]):
        tensors = networks.tensors(networks.draw(widths, rng))
        _, slopes = autoencoder._encode(torch.zeros(50, 40), tensors, torch, False)
        sizes = []

        def keep(made: Any, sizes: list[int] = sizes) -> Any:
            sizes.append(made.numel())
            return made

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda made: made):
            autoencoder._penalty(tensors, slopes, "full", rng)
        assert 0 < max(sizes) <= 50 * 40


def test_one_layer_has_one_jacobian(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    from nearfield.maps import autoencoder

    tensors = networks.tensors(networks.draw([5, 3], rng))
    x = torch.from_numpy(rng.normal(size=(4, 5)).astype(np.float32))
    _, slopes = autoencoder._encode(x, tensors, torch, True)
    both = [float(autoencoder._penalty(tensors, slopes, kind, rng).detach()) for kind in ("full", "layers")]
    assert both[0] == pytest.approx(both[1], rel=1e-5)


def test_a_linear_autoencoder_finds_the_principal_subspace(rng: np.random.Generator) -> None:
    pytest.importorskip("torch")
    x = (rng.normal(size=(400, 8)) / (1 + np.arange(8))).astype(np.float32)
    made = Autoencoder(dim=3, layers=0, epochs=60, batch=40, rate=0.01).fit(x, rng=rng)
    from nearfield.maps.pca import PCA

    best = PCA(dim=3).fit(x, rng=rng)
    errors = [float(((m.inverse(m.transform(x)) - x) ** 2).sum()) for m in (made, best)]
    assert errors[0] <= 1.05 * errors[1]


def test_tldr_draws_neighbours_together(rng: np.random.Generator) -> None:
    """Six clusters told apart by small directions, under large ones that all rows share at random."""
    pytest.importorskip("torch")
    labels = rng.integers(6, size=600)
    centres = 4 * rng.normal(size=(6, 8))
    x = np.concatenate([centres[labels] + rng.normal(size=(600, 8)), 0.3 * rng.normal(size=(600, 8))], axis=1)
    x = x.astype(np.float32)
    made = TLDR(dim=3, projector=64, epochs=30, batch=128, redundancy=0.02).fit(x, rng=rng)
    z = made.transform(x)
    ids = knn.nearest(z, z, 5, others=True)[0]
    assert (labels[ids] == labels[:, None]).mean() > 0.85
    assert abs(z.mean(axis=0)).max() < 1e-3
    twin = TLDR(dim=3, encoder="mlp", hidden=32, projector=64, epochs=30, batch=128, redundancy=0.02).fit(x, rng=rng)
    ids = knn.nearest(twin.transform(x), twin.transform(x), 5, others=True)[0]
    assert (labels[ids] == labels[:, None]).mean() > 0.85
