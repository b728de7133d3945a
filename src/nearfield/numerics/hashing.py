"""Locality-sensitive hashing: directions that are drawn, the keys of rows, and how likely near rows share one.

Signs of projections: Charikar 2002, with the lift of Neyshabur and Srebro 2015 under products. Slots of projections
(p-stable): Datar, Immorlica, Indyk, Mirrokni 2004. Probing: Lv, Josephson, Wang, Charikar, Li 2007.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import erf, exp, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import Unsupported
from nearfield.core.protocols import F32
from nearfield.numerics import kernels

U32 = NDArray[np.uint32]
_GOLDEN = 0x9E3779B97F4A7C15


def directions(seed: int, tables: int, bits: int, d: int) -> F32:
    """Normal numbers ``[tables * bits, d]``, the same for a seed wherever and whenever they are drawn."""
    count = tables * bits * d
    first, second = uniform(seed, 2 * count).reshape(2, count)
    normal = np.sqrt(-2 * np.log(first)) * np.cos(2 * pi * second)  # Box and Muller
    return np.asarray(normal.reshape(-1, d), np.float32)


def uniform(seed: int, count: int) -> NDArray[np.float64]:
    """Numbers above 0 and below 1 (splitmix64)."""
    with np.errstate(over="ignore"):
        x = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return (np.asarray(x >> np.uint64(12), np.float64) + 0.5) / (1 << 52)


def keys(projections: F32, bits: int, *, signs: bool) -> U32:
    """The keys ``[n, tables]`` of projections ``[n, tables * bits]``, those of slots in units of their width."""
    native = kernels.native()
    if native is None:
        raise Unsupported("rows are hashed by native code, which is not installed here; use the index flat()")
    found: U32 = native.hash_keys(signs, bits, np.ascontiguousarray(projections, np.float32))
    return found


def table_of(blocks: Iterator[U32], n: int, tables: int) -> tuple[U32, U32]:
    """Keys in ascending order and their rows, each ``[tables, n]``, of blocks of keys ``[rows, tables]``."""
    all_keys, at = np.empty((tables, n), np.uint32), 0
    for block in blocks:
        all_keys[:, at : at + len(block)] = block.T
        at += len(block)
    rows = np.empty((tables, n), np.uint32)
    for own, order in zip(all_keys, rows):  # a table at a time: between two of them Python sees an interrupt
        order[:] = np.argsort(own, kind="stable")
        own[:] = own[order]
    return all_keys, rows


def sign_probability(angle: float, bits: int, tables: int) -> float:
    """How likely a row at an angle (in radians) shares a key with the query in one of the tables.

    >>> round(sign_probability(pi / 4, 8, 10), 3)
    0.652
    """
    return float(1 - (1 - (1 - angle / pi) ** bits) ** tables)


def slot_probability(distance: float, bits: int, tables: int) -> float:
    """Likewise of a row at a distance, in units of the slots' width."""
    if distance == 0:
        return 1.0
    ratio = 1 / distance
    below = 0.5 * (1 + erf(-ratio / sqrt(2)))
    one = 1 - 2 * below - 2 / (sqrt(2 * pi) * ratio) * (1 - exp(-(ratio**2) / 2))
    return float(1 - (1 - one**bits) ** tables)
