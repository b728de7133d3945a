"""Leading directions by the shortest way, against a singular value decomposition of the whole."""

from __future__ import annotations

import numpy as np
import pytest

from nearfield.numerics import spectra

SHAPES = {
    "few rows": (30, 80),
    "half as many rows": (40, 80),
    "as many rows": (80, 80),
    "more rows": (300, 80),
    "one row": (1, 80),
    "two rows": (2, 80),
    "one dimension": (30, 1),
}


def svd(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All variances of rows, zeros behind, and the directions of those above rounding, as columns."""
    _, s, vt = np.linalg.svd(x.astype(np.float64) - x.mean(axis=0, dtype=np.float64))
    values = np.zeros(x.shape[1])
    values[: s.size] = s**2 / len(x)
    return values, vt[: int((values > 1e-10 * values[0]).sum())].T


def agrees(x: np.ndarray, dim: int) -> None:
    values, vectors = spectra.principal(x, x.mean(axis=0, dtype=np.float64), dim)
    want, directions = svd(x)
    np.testing.assert_allclose(values, want[:dim], atol=1e-12 * max(want[0], 1e-30))
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(dim), atol=1e-12)
    known = min(dim, directions.shape[1])
    np.testing.assert_allclose(vectors[:, :known], spectra.fix_signs(directions[:, :known]), atol=1e-6)


def falling(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return (rng.normal(size=(n, d)) * 0.9 ** np.arange(d) + 0.5).astype(np.float32)


def watched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all eigenproblems from here on."""
    sizes: list[int] = []
    eigh = np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda a: sizes.append(len(a)) or eigh(a))
    return sizes


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_principal_directions_are_those_of_the_svd(shape: tuple[int, int], rng: np.random.Generator) -> None:
    x = falling(rng, *shape)
    for dim in {1, max(1, min(shape) // 2), shape[1]}:
        agrees(x, dim)


def test_rows_that_vary_less_than_they_could(rng: np.random.Generator) -> None:
    x = falling(rng, 20, 80)
    agrees(np.repeat(x[:5], 6, axis=0), 80)  # duplicates
    agrees(np.repeat(x[:1], 30, axis=0), 80)  # one row, many times
    agrees((x[:, :3] @ falling(rng, 3, 80)).astype(np.float32), 40)
    agrees(np.where(np.arange(80) % 2, x, 0).astype(np.float32), 80)
    agrees(np.eye(20, 80, dtype=np.float32)[:1] * np.arange(20, dtype=np.float32)[:, None], 80)  # along an axis


def test_few_rows_never_need_the_whole_covariance(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """50 rows of 4,096 dimensions took 16 s by way of the covariance."""
    sizes = watched(monkeypatch)
    x = falling(rng, 50, 4096)
    values, vectors = spectra.principal(x, x.mean(axis=0, dtype=np.float64), 60)
    assert sizes == [50]
    assert (values[:49] > 0).all()
    assert (values[50:] == 0).all()
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(60), atol=1e-12)


def test_what_rows_lack_is_completed_the_same_for_rounded_rows(rng: np.random.Generator) -> None:
    """Directions without variance are arbitrary, but must not hang on the rounding of sums."""
    x = falling(rng, 20, 80)
    mean = x.mean(axis=0, dtype=np.float64)
    nudged = x * (1 + 1e-14 * rng.normal(size=x.shape))
    np.testing.assert_allclose(
        spectra.principal(nudged, mean, 80)[1], spectra.principal(x.astype(np.float64), mean, 80)[1], atol=1e-5
    )


def symmetric(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    basis = np.linalg.qr(rng.normal(size=(values.size, values.size)))[0]
    return (basis * values) @ basis.T


@pytest.mark.parametrize("shape", ["falling", "flat", "negative", "low rank"])
def test_the_leading_few_of_many_are_those_of_all(
    shape: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spectra, "LARGE", 256)
    steps = np.arange(320)
    values = {
        "falling": 0.9**steps,
        "flat": 2 - steps / 320,  # too long for a search: all are found
        "negative": 0.5**steps - 0.25,
        "low rank": np.where(steps < 4, 4.0 - steps, 0),
    }[shape]
    matrix = symmetric(values, rng)
    sizes = watched(monkeypatch)
    found = spectra.leading(matrix, 8)
    assert (max(sizes) < 160) == (shape != "flat")
    np.testing.assert_allclose(found[0], values[:8], atol=1e-10)
    np.testing.assert_allclose(matrix @ found[1], found[1] * found[0], atol=1e-10)
    np.testing.assert_allclose(found[1].T @ found[1], np.eye(8), atol=1e-12)


def test_a_matrix_without_directions_still_has_a_basis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectra, "LARGE", 256)
    for matrix in (np.zeros((320, 320)), np.eye(320)):
        values, vectors = spectra.leading(matrix, 10)
        np.testing.assert_allclose(values, np.diag(matrix)[:10], atol=1e-12)
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(10), atol=1e-12)
