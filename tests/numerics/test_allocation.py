"""Bits shared, packed and turned into levels."""

from __future__ import annotations

import numpy as np
import pytest

from nearfield.numerics import allocation


def falling(d: int, seed: int) -> np.ndarray:
    """Weighted variances that fall as steeply as those of embeddings, or more."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.uniform(0.5, 2, size=d) * np.exp(-rng.uniform(0, 0.4) * np.arange(d)))[::-1].copy()


def test_a_part_holds_at_most_a_nibble() -> None:
    assert [allocation.parts_of(b) for b in (0, 3, 4, 5, 8, 9, 12)] == [
        (),
        (3,),
        (4,),
        (4, 1),
        (4, 4),
        (4, 4, 1),
        (4, 4, 4),
    ]
    assert all(sum(allocation.parts_of(b)) == b for b in range(allocation.MOST + 1))


def test_each_bit_is_worth_less_than_the_one_before() -> None:
    """Or the greedy choice would not be the best one."""
    assert len(allocation.GAUSSIAN) == allocation.MOST + 1
    assert (np.diff(allocation.GAUSSIAN[:-1] - allocation.GAUSSIAN[1:]) < 0).all()


def test_bits_go_to_the_strong_until_no_dimension_can_take_more() -> None:
    values = falling(16, 1)
    bits = allocation.greedy_bits(values, 64)
    assert bits.sum() == 64
    assert (np.diff(bits) <= 0).all()
    assert (allocation.greedy_bits(values, 10_000) == allocation.MOST).all()


@pytest.mark.parametrize("d", [1, 2, 3, 7, 24, 61])
@pytest.mark.parametrize("share", [0.3, 1.1, 4.0, 7.5, 9.3, 10.8, 12.0])
def test_codes_fill_nibbles_exactly(d: int, share: float) -> None:
    for seed in range(8):
        budget = 8 * max(1, int(d * share / 8))
        values = falling(d, seed)
        start = allocation.greedy_bits(values, budget)
        bits = allocation.make_packable(start, values)
        assert bits.sum() == start.sum()
        assert bits.min() >= 0
        assert bits.max() <= allocation.MOST
        pieces = allocation.pack(bits)
        taken = np.zeros((bits.sum() // 4, 4), int)
        for piece in pieces:
            taken[piece.nibble, piece.shift : piece.shift + piece.bits] += 1
        assert (taken == 1).all()
        for j in range(d):
            assert sorted((p.bits for p in pieces if p.dimension == j), reverse=True) == [
                *allocation.parts_of(int(bits[j]))
            ]


def test_packing_costs_little() -> None:
    prices = []
    for seed in range(12):
        values = falling(64, seed)
        start = allocation.greedy_bits(values, 8 * 20)
        bits = allocation.make_packable(start, values)
        prices.append((allocation.GAUSSIAN[bits] @ values) / (allocation.GAUSSIAN[start] @ values))
    assert 1 < np.mean(prices) < 1.1
    assert max(prices) < 1.5


@pytest.mark.parametrize("bits", range(1, allocation.MOST + 1))
def test_levels_are_as_good_as_the_sharing_counts_on(bits: int) -> None:
    values = np.random.default_rng(bits).normal(size=40_000).astype(np.float32)
    steps = allocation.level_steps(values[:30_000], bits)
    assert [s.size for s in steps] == [1 << part for part in allocation.parts_of(bits)]
    sums = np.sort(allocation.sums_of(steps))
    # Values near the middle: what lies beyond the levels counts by its few rows, not by bits.
    unseen = values[30_000:][np.abs(values[30_000:]) < 3.5]
    error = np.mean((unseen - sums[allocation.nearest(unseen, sums)]) ** 2.0)
    assert 0.6 * allocation.GAUSSIAN[bits] < error < 1.3 * allocation.GAUSSIAN[bits]


@pytest.mark.parametrize("bits", [2, 5, 10])
def test_levels_of_values_that_are_all_alike(bits: int) -> None:
    steps = allocation.level_steps(np.full(50, 0.25, np.float32), bits)
    np.testing.assert_allclose(allocation.sums_of(steps), 0.25, atol=1e-6)


@pytest.mark.parametrize("levels", [2, 16, 41, 4096])
def test_the_nearest_level(levels: int) -> None:
    rng = np.random.default_rng(levels)
    at, values = np.sort(rng.normal(size=levels).astype(np.float32)), rng.normal(size=500).astype(np.float32)
    found = allocation.nearest(values, at)
    np.testing.assert_allclose(np.abs(values - at[found]), np.abs(values[:, None] - at).min(axis=1), atol=1e-6)


def test_a_code_names_its_levels_from_its_lowest_bits_up() -> None:
    coarse, middle, fine = np.arange(16) * 100.0, np.arange(16) * 5.0, np.arange(4) * 1.0
    sums = allocation.sums_of([coarse, middle, fine])
    assert sums.size == 1024
    assert sums[3 + 16 * 7 + 256 * 2] == 300 + 35 + 2
