"""transform in detail: codes of three steps, bytes, gains and memory."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest

from nearfield.codecs.transform import Transform
from nearfield.numerics import allocation


def rows(n: int = 3000, d: int = 16, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return ((rng.normal(size=(n, d)) * 0.8 ** np.arange(d)) @ turn + 0.1).astype(np.float32)


def fitted(x: np.ndarray, size: int, **more: bool) -> Transform:
    return Transform(bytes=size, **more).fit(x, rng=np.random.default_rng(1))


def error(codec: Transform, x: np.ndarray) -> float:
    return float(((codec.decode(codec.encode(x)) - x) ** 2).sum() / ((x - x.mean(axis=0)) ** 2).sum())


def test_strong_directions_take_twelve_bits_in_three_steps() -> None:
    codec = fitted(rows(), 17)
    assert np.bincount(codec.direction_, codec.bits_).max() == allocation.MOST
    assert np.bincount(codec.direction_).max() == 3
    for j in np.unique(codec.direction_):
        assert (np.diff(codec.bits_[codec.direction_ == j].astype(int)) <= 0).all()


def test_more_bytes_keep_more_until_there_are_no_more_bits() -> None:
    x = rows()
    errors = [error(fitted(x, size), x) for size in (5, 9, 13, 17, 21, 25)]
    assert all(b < 0.6 * a for a, b in itertools.pairwise(errors))
    assert errors[-1] < 1e-5
    assert [fitted(x, size).bytes_per_row for size in (24, 25, 26, 500)] == [24, 25, 25, 25]
    assert [fitted(x[:, :3], size, gain=False).bytes_per_row for size in (4, 5, 6)] == [4, 5, 5]


@pytest.mark.parametrize("size", [4, 11, 20])
def test_each_coordinate_gets_the_nearest_sum(size: int) -> None:
    x = rows(400)
    codec = fitted(x, size, gain=False)
    z = (x.astype(np.float64) - codec.mean_) @ codec.directions_.astype(np.float64)
    decoded = (codec.decode(codec.encode(x)).astype(np.float64) - codec.mean_) @ codec.directions_.astype(np.float64)
    levels = np.split(codec.levels_, np.cumsum(1 << codec.bits_.astype(int))[:-1])
    for j in range(codec.directions_.shape[1]):
        sums = allocation.sums_of([levels[i] for i in np.flatnonzero(codec.direction_ == j)])
        least = np.abs(z[:, j, None] - sums).min(axis=1)
        np.testing.assert_allclose(np.abs(z[:, j] - decoded[:, j]), least, atol=2e-6)


def test_the_gain_is_that_of_the_decoded_row() -> None:
    """It is computed in coordinates; here from the rows themselves."""
    x = rows() + 0.5
    codec, plain = fitted(x, 6), fitted(x, 5, gain=False)
    y = plain.decode(plain.encode(x)).astype(np.float64)
    lengths = np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1)
    cosine = np.einsum("ij,ij->i", x, y) / (lengths[0] * lengths[1])
    stored = codec.gain_low_ + codec.gain_step_ * codec.encode(x)[:, -1].astype(float)
    np.testing.assert_allclose(stored, lengths[0] / lengths[1] * np.sqrt(cosine), atol=0.51 * codec.gain_step_)


def test_blocks_do_not_show_in_codes() -> None:
    x = rows(5000)
    codec = fitted(x, 18)
    whole = codec.encode(x)
    np.testing.assert_array_equal(np.concatenate([codec.encode(x[i : i + 333]) for i in range(0, len(x), 333)]), whole)
    np.testing.assert_array_equal(codec.encode(x[4999:]), whole[4999:])


def test_fitting_and_encoding_take_little_memory() -> None:
    x = np.random.default_rng(0).normal(size=(60_000, 128)).astype(np.float32)
    codec = Transform(bytes=100)
    tracemalloc.start()
    codec.fit(x, rng=np.random.default_rng(1))
    fit = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    codec.encode(x)
    encode = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert fit < 2 * x.nbytes
    assert encode < x.nbytes
