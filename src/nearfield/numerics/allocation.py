"""Shares a budget of bits among dimensions, and packs them into nibbles without waste."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Squared error of a unit Gaussian at b bits: the least there is up to 4 (Max 1960), what level_steps reaches above.
# Real coordinates are near enough for sharing.
GAUSSIAN = np.array(
    [1, 0.3634, 0.1175, 0.03454, 0.009497, 0.0031, 0.00092, 0.000275, 8e-5, 2.4e-5, 6.8e-6, 1.9e-6, 5.3e-7]
)
MOST = 12


def greedy_bits(values: NDArray[np.float64], budget: int) -> NDArray[np.int64]:
    """Bits for each dimension: each next one goes where it lowers the weighted error most, up to ``MOST``."""
    d = len(values)
    bits = np.zeros(d, dtype=np.int64)
    gains = (GAUSSIAN[:-1] - GAUSSIAN[1:])[None, :] * values[:, None]
    heap = [(-gains[j, 0], j) for j in range(d)]
    heapq.heapify(heap)
    while budget > 0 and heap:
        _, j = heapq.heappop(heap)
        bits[j] += 1
        budget -= 1
        if bits[j] < MOST:
            heapq.heappush(heap, (-gains[j, bits[j]], j))
    return bits


@dataclass(frozen=True)
class Piece:
    """Part of a dimension's code: ``bits`` of them at ``shift`` of nibble ``nibble``."""

    dimension: int
    bits: int
    nibble: int
    shift: int


def parts_of(bits: int) -> tuple[int, ...]:
    """A dimension of more than four bits is coded in steps, each finer: as many fours as fit, then the rest."""
    return (4,) * (bits // 4) + ((bits % 4,) if bits % 4 else ())


def _counts(bits: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many parts there are of each size from 0 to 4 bits."""
    sizes = np.zeros(5, dtype=np.int64)
    for total, count in enumerate(np.bincount(bits, minlength=MOST + 1)):
        for part in parts_of(total):
            sizes[part] += count
    return sizes


def _missing_ones(bits: NDArray[np.int64]) -> int:
    """How many parts of one bit are missing beside the parts of three."""
    sizes = _counts(bits)
    return int(sizes[3] - sizes[1])


def _packable(bits: NDArray[np.int64]) -> bool:
    # An odd two needs two ones beside it.
    return _missing_ones(bits) <= (-2 if _counts(bits)[2] % 2 else 0)


def make_packable(bits: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Move single bits between dimensions until the codes fill nibbles exactly, at the least cost.

    Nibbles hold 4, 3+1, 2+2, 2+1+1 or 1+1+1+1 bits; all that can be missing are ones beside the threes.
    ``values`` are weighted variances; the sum of ``bits`` is kept and must be a multiple of four.
    """
    bits = bits.copy()
    while not _packable(bits):
        move = _cheapest_move(bits, values)
        if move is None:
            break
        bits[move[0]] += 1
        bits[move[1]] -= 1
    return bits


def _cheapest_move(bits: NDArray[np.int64], values: NDArray[np.float64]) -> tuple[int, int] | None:
    """The dimensions that take and give the bit whose move costs least, of those after which fewer ones are missing."""
    change = np.diff([parts_of(b).count(3) - parts_of(b).count(1) for b in range(MOST + 1)])
    steps = GAUSSIAN[:-1] - GAUSSIAN[1:]
    takers = [_two_best(bits, b, -steps[b] * values) for b in range(MOST)]
    givers = [_two_best(bits, b, steps[b - 1] * values) for b in range(1, MOST + 1)]
    moves = [
        (steps[low] * values[down] - steps[high] * values[up], up, down)
        for high in range(MOST)
        for low in range(MOST)
        if change[high] < change[low]
        for up in takers[high]
        for down in givers[low]
        if up != down
    ]
    return min(moves)[1:] if moves else None


def _two_best(bits: NDArray[np.int64], count: int, costs: NDArray[np.float64]) -> list[int]:
    """Of the dimensions with ``count`` bits the two that cost least: one may be taken already."""
    there = np.flatnonzero(bits == count)
    return [int(j) for j in there[np.argsort(costs[there], kind="stable")[:2]]]


def pack(bits: NDArray[np.int64]) -> list[Piece]:
    """Place every dimension's code in nibbles; full ones where ``make_packable`` went before."""
    pools: dict[int, list[int]] = {size: [] for size in (1, 2, 3, 4)}
    for j, total in enumerate(bits.tolist()):
        for part in parts_of(total):
            pools[part].append(j)
    pieces: list[Piece] = []
    nibble = 0
    for size in (4, 3, 2, 1):
        while pools[size]:
            at = 0
            while at < 4:
                fits = next((s for s in range(min(size, 4 - at), 0, -1) if pools[s]), 0)
                if not fits:
                    break
                pieces.append(Piece(pools[fits].pop(0), fits, nibble, at))
                at += fits
            nibble += 1
    return pieces


def level_steps(values: NDArray[np.float32], bits: int, rounds: int = 30) -> list[NDArray[np.float32]]:
    """The levels of each part of a code, whose sums quantize values well.

    Sums of even steps do better than levels fitted to the residuals of coarser ones, whose cells differ in
    width. From there each part's levels move in turn to the best for the others, until it hardly helps.
    """
    if bits <= 4:
        return [lloyd_max(values, 1 << bits)]
    x = np.sort(values.astype(np.float64))
    totals = np.concatenate([[0.0], np.cumsum(x)])
    steps, before = _even_steps(x, bits), np.inf
    codes = np.arange(1 << bits)
    digits = [(codes >> 4 * i) & 15 for i in range(len(steps))]
    for _ in range(rounds):
        sums = sums_of(steps)
        order = np.argsort(sums, kind="stable")
        ends = np.concatenate([[0], np.searchsorted(x, middles(sums[order])), [len(x)]])
        counts, inside = np.empty(sums.size), np.empty(sums.size)
        counts[order], inside[order] = np.diff(ends), np.diff(totals[ends])
        error = float((counts * sums - 2 * inside) @ sums + x @ x)
        if error >= 0.999 * before:
            break
        before = error
        for i, digit in enumerate(digits):
            held = np.bincount(digit, counts)
            shift = np.bincount(digit, inside - counts * sums) / np.maximum(held, 1)
            steps[i] = steps[i] + shift
            sums += shift[digit]
    return [np.asarray(levels, dtype=np.float32) for levels in steps]


def _even_steps(x: NDArray[np.float64], bits: int) -> list[NDArray[np.float64]]:
    """Steps to evenly spaced sums, over as many standard deviations as suit a Gaussian, but not beyond sorted ``x``."""
    reach, margin = (bits + 4) / 3 * float(x.std()), 0.02 * (x[-1] - x[0])
    low, high = max(x.mean() - reach, x[0] - margin), min(x.mean() + reach, x[-1] + margin)
    step = (high - low) / (1 << bits)
    steps, left = [], bits
    for part in parts_of(bits):
        left -= part
        steps.append(step * (1 << left) * np.arange(1 << part))
    steps[0] += low + step / 2
    return steps


def sums_of(steps: list[NDArray[Any]]) -> NDArray[Any]:
    """The sum of levels that each code names; a code's lowest four bits belong to the first step."""
    sums = steps[0]
    for levels in steps[1:]:
        sums = (levels[:, None] + sums).ravel()
    return sums


def nearest(values: NDArray[np.float32], levels: NDArray[np.float32]) -> NDArray[np.int64]:
    """The number of the nearest level, of ascending ``levels``; in the middle the lower one."""
    edges = middles(levels)
    if levels.size > 40:
        return np.searchsorted(edges, values)
    # Counting the middles below is several times quicker than a search while they are few.
    count = np.zeros(values.shape, dtype=np.uint8)
    for edge in edges:
        count += values > edge
    return count.astype(np.int64)


def middles(levels: NDArray[Any]) -> NDArray[Any]:
    """Where the nearest of ascending levels changes."""
    return np.asarray((levels[1:] + levels[:-1]) / 2)


def lloyd_max(values: NDArray[np.float32], levels: int, rounds: int = 40) -> NDArray[np.float32]:
    """The levels that quantize sorted-able values with least squared error (Lloyd 1957, Max 1960), ascending."""
    x = np.sort(values.astype(np.float64))
    sums = np.concatenate([[0.0], np.cumsum(x)])
    spread = float(x.std())
    # Panter and Dite: the best levels lie as quantiles of the density to the power 1/3, which for a Gaussian
    # is a Gaussian again, wider by the root of three. A good start matters: 256 levels move slowly.
    normal = NormalDist()
    quantiles = np.array([normal.inv_cdf((i + 0.5) / levels) for i in range(levels)])
    found = np.sort(np.clip(float(x.mean()) + 0.95 * np.sqrt(3) * spread * quantiles, x[0], x[-1]))
    for _ in range(rounds):
        edges = np.searchsorted(x, (found[1:] + found[:-1]) / 2)
        edges = np.concatenate([[0], edges, [len(x)]])
        counts = np.diff(edges)
        means = np.diff(sums[edges]) / np.maximum(counts, 1)
        new = np.sort(np.where(counts > 0, means, found))
        if np.abs(new - found).max() <= 1e-5 * spread:
            break
        found = new
    return np.asarray(found, dtype=np.float32)
