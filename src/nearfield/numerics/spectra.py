"""Covariances and their leading directions, with signs fixed so that fits repeat.

Sums run in float64: a gap between neighbouring eigenvalues magnifies rounding by its inverse, and
directions have to agree to 1e-5 whatever order the additions are made in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.protocols import F32
from nearfield.numerics.blas import one_thread

F64 = NDArray[np.float64]

BLOCK_BYTES = 8 << 20  # of float64 rows held at a time
NOISE = 1e-12  # of the largest variance: below it the rounding of the sums decides on the direction
LARGE, FEW = 1500, 32  # above so many dimensions, one in so many of them is found sooner than all
WIDE = 16  # directions that are sought together
MOST_OF = 3  # eighths of the dimensions; a larger search would take longer than finding them all
EXACT = 1e-12  # of the largest eigenvalue: what a direction found so may miss


class Moments:
    """Mean and covariance of a stream of rows, by pairwise updates that do not cancel."""

    def __init__(self) -> None:
        self.n = 0
        self.mean: F64 = np.zeros(0)
        self.scatter: F64 = np.zeros((0, 0))

    def add(self, block: NDArray[Any]) -> None:
        """Take up rows ``[b, d]``."""
        count = block.shape[0]
        if count == 0:
            return
        mean = block.mean(axis=0, dtype=np.float64)
        scatter = covariance(block, mean) * count
        if self.n == 0:
            self.n, self.mean, self.scatter = count, mean, scatter
            return
        delta = mean - self.mean
        total = self.n + count
        self.scatter += scatter + np.outer(delta, delta) * (self.n * count / total)
        self.mean += delta * (count / total)
        self.n = total

    def result(self, *, center: bool = True) -> tuple[F64, F64]:
        """``(mean, covariance)``; without centring, zeros and the second moment."""
        covariance = self.scatter / max(self.n, 1)
        if center:
            return self.mean, covariance
        return np.zeros_like(self.mean), covariance + np.outer(self.mean, self.mean)


def _centred(x: NDArray[Any], mean: F64) -> Iterator[F64]:
    step = max(1, BLOCK_BYTES // (8 * max(1, x.shape[1])))
    for start in range(0, len(x), step):
        yield x[start : start + step] - mean


def covariance(x: NDArray[Any], mean: F64) -> F64:
    """The covariance of rows about ``mean``."""
    total = np.zeros((x.shape[1], x.shape[1]))
    for block in _centred(x, mean):
        total += block.T @ block
    return total / max(len(x), 1)


def principal(x: NDArray[Any], mean: F64, dim: int) -> tuple[F64, F64]:
    """The ``dim`` largest variances of rows ``[n, d]`` about ``mean``, and their directions as columns ``[d, dim]``.

    Few rows cost a problem of ``n x n`` in place of ``d x d``, and the directions in which they do not vary have a
    variance of zero and complete the basis.
    """
    n, d = x.shape
    if not 0 < 2 * n <= d:
        return leading(covariance(x, mean), dim)
    rows = x - mean
    found, combined = leading(rows @ rows.T / n, min(dim, n))
    real = found > NOISE * max(float(found[0]), 1e-300)
    values = np.zeros(dim)
    values[: real.sum()] = found[real]
    return values, fix_signs(_basis(rows.T @ combined[:, real], dim))


def _basis(columns: F64, dim: int) -> F64:
    """An orthonormal basis ``[d, dim]`` of orthogonal columns ``[d, r]`` and, beyond them, of what they leave out.

    Householder's reflectors, gathered into one product (compact WY), know the whole basis: writing a part of
    it out costs far less than asking LAPACK for all.
    """
    reflectors, scales = np.linalg.qr(columns, mode="raw")
    v = np.tril(reflectors.T, -1)
    np.fill_diagonal(v, 1.0)
    v, scales = v[:, scales != 0], scales[scales != 0]  # a scale of zero is the identity
    inner = np.triu(v.T @ v, 1) + np.diag(1 / scales)
    out = np.linalg.solve(inner, v[:dim].T).T @ -v.T
    out[np.arange(dim), np.arange(dim)] += 1
    return np.asarray(out.T)


def leading(matrix: F64, dim: int) -> tuple[F64, F64]:
    """The ``dim`` largest eigenvalues of a symmetric matrix and their vectors, as columns."""
    found = _krylov(matrix, dim) if len(matrix) > LARGE and dim <= len(matrix) // FEW else None
    if found is None:
        values, vectors = _eigh(matrix)
        found = values[::-1][:dim].copy(), vectors[:, ::-1][:, :dim]
    return found[0], fix_signs(found[1])


@one_thread()  # two would mostly wait for each other, and Ctrl-C for both
def _eigh(matrix: F64) -> tuple[F64, F64]:
    """Eigenvalues of a symmetric matrix, rising, and their vectors as columns."""
    values, vectors = np.linalg.eigh(matrix)
    return values, vectors


def _krylov(matrix: F64, dim: int) -> tuple[F64, F64] | None:
    """The leading few by block Lanczos, each new block orthogonal to all before; None where that takes too long.

    Vectors are done when what the matrix makes of them is a multiple of them but for ``EXACT``. An eigenvalue
    repeated more often than a block is wide could be found too seldom: rounding, not arithmetic, brings further
    copies.
    """
    d = len(matrix)
    rng = np.random.default_rng(0)
    basis, image = np.empty((2, d, MOST_OF * d // 8 // WIDE * WIDE))
    size, check = 0, 2 * dim
    block = rng.normal(size=(d, WIDE))
    while size < basis.shape[1]:
        fresh = slice(size, size + WIDE)
        basis[:, fresh] = _orthogonal(block, basis[:, :size], rng)
        image[:, fresh] = block = matrix @ basis[:, fresh]
        size += WIDE
        if size < check:
            continue
        check = size + size // 8
        values, vectors = _eigh(basis[:, :size].T @ image[:, :size])
        values, vectors = values[::-1][:dim].copy(), vectors[:, ::-1][:, :dim]
        out = basis[:, :size] @ vectors
        missed = np.linalg.norm(image[:, :size] @ vectors - out * values, axis=0)
        if missed.max() <= EXACT * max(abs(float(values[0])), 1e-300):
            return values, out
    return None


def _orthogonal(block: F64, basis: F64, rng: np.random.Generator) -> F64:
    """The block's directions outside the basis; random ones where none are left."""
    outside = block - basis @ (basis.T @ block)
    spent = np.linalg.norm(outside, axis=0) <= EXACT * np.linalg.norm(block, axis=0)
    outside[:, spent] = rng.normal(size=(len(block), int(spent.sum())))
    outside = np.linalg.qr(outside)[0]
    return np.linalg.qr(outside - basis @ (basis.T @ outside))[0]  # what rounding left over


def fix_signs(vectors: NDArray[Any]) -> NDArray[Any]:
    """Make each column's largest entry positive: eigenvectors are known up to sign only."""
    largest = np.argmax(np.abs(vectors), axis=0)
    signs = np.sign(vectors[largest, np.arange(vectors.shape[1])])
    return vectors * np.where(signs == 0, 1, signs)


def randomized_eigh(
    x: F32, mean: F64, dim: int, rng: np.random.Generator, *, oversample: int = 16, rounds: int = 4
) -> tuple[F64, F64]:
    """Leading directions of the covariance by subspace iteration from a random start."""
    d = x.shape[1]
    basis = np.linalg.qr(rng.normal(size=(d, min(d, dim + oversample))))[0]
    for _ in range(rounds):
        product = np.zeros_like(basis)
        for block in _centred(x, mean):
            product += block.T @ (block @ basis)
        basis = np.linalg.qr(product)[0]
    small = np.zeros((basis.shape[1], basis.shape[1]))
    for block in _centred(x, mean):
        image = block @ basis
        small += image.T @ image
    values, vectors = leading(small / max(len(x), 1), dim)
    return values, fix_signs(basis @ vectors)


def shrinkage(x: NDArray[Any], mean: F64, variances: F64) -> float:
    """The share of a scaled identity that brings the covariance nearest to the true one (Ledoit, Wolf 2004).

    ``variances`` are all ``d`` eigenvalues of the covariance of rows ``x`` about ``mean``; the answer lies between
    0 and 1.
    """
    spread = float(((variances - variances.mean()) ** 2).sum())
    if spread <= 0:
        return 0.0
    fourth = sum(float((np.einsum("ij,ij->i", b, b) ** 2).sum()) for b in _centred(x, mean))
    noise = (fourth / len(x) - float((variances**2).sum())) / len(x)
    return float(min(max(noise, 0.0), spread) / spread)


def random_rotation(d: int, rng: np.random.Generator) -> F32:
    """A uniformly random rotation ``[d, d]``."""
    q, r = np.linalg.qr(rng.normal(size=(d, d)))
    return np.ascontiguousarray(q * np.sign(np.diag(r)), dtype=np.float32)
