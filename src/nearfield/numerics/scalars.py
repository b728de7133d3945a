"""Codes of single values: uniform grids with well chosen ranges, nibbles, bits and their tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nearfield.core.protocols import F32, U8

RANGE_ROWS = 2048  # rows that ranges are searched on: the error is a mean over many values
SHRINKS = tuple(np.linspace(1.0, 0.3, 15).tolist())  # how far a range is cut before its error is measured

# The signs [4, 16] of the four bits of each nibble, the lowest first.
_NIBBLE_SIGNS = ((np.arange(16) >> np.arange(4)[:, None] & 1) * 2 - 1).astype(np.float32)


def nibbles_packed(codes: U8) -> U8:
    """Two codes a byte, the low nibble first: ``[n, d] -> [n, ceil(d / 2)]``.

    >>> nibbles_packed(np.array([[1, 2, 3]], dtype=np.uint8)).tolist()
    [[33, 3]]
    """
    n, d = codes.shape
    padded = np.zeros((n, d + d % 2), dtype=np.uint8)
    padded[:, :d] = codes
    return np.asarray(padded[:, ::2] | (padded[:, 1::2] << np.uint8(4)), dtype=np.uint8)


def nibbles_unpacked(packed: U8, d: int) -> U8:
    """The inverse of ``nibbles_packed``: ``[n, ceil(d / 2)] -> [n, d]``."""
    out = np.empty((len(packed), 2 * packed.shape[1]), dtype=np.uint8)
    out[:, ::2] = packed & np.uint8(15)
    out[:, 1::2] = packed >> np.uint8(4)
    return out[:, :d]


def bits_packed(bits: NDArray[np.bool_]) -> U8:
    """Eight bits a byte, the lowest first: ``[n, d] -> [n, ceil(d / 8)]``."""
    return np.packbits(bits, axis=1, bitorder="little")


def signs(packed: U8, d: int) -> F32:
    """Bits as +1 and -1: ``[n, ceil(d / 8)] -> [n, d]``."""
    bits = np.unpackbits(packed, axis=1, count=d, bitorder="little")
    return bits.astype(np.float32) * np.float32(2) - np.float32(1)


def sign_tables(weights: F32) -> F32:
    """Look-up tables of nibbles of signs: ``[m, d] -> [m, 2 * ceil(d / 8), 16]``.

    Entry ``c`` of a table is the sum of its four weights, each with the sign that its bit of ``c`` gives.
    """
    m, d = weights.shape
    return filled(weights, -(-d // 8) * 8).reshape(m, -1, 4) @ _NIBBLE_SIGNS


def filled(x: F32, width: int) -> F32:
    """Rows filled up with zeros to ``width``."""
    if x.shape[1] == width:
        return x
    out = np.zeros((len(x), width), dtype=np.float32)
    out[:, : x.shape[1]] = x
    return out


def fit_steps(centred: F32, largest: float, quantise: Callable[[F32], F32], *, each: bool) -> F32:
    """The step that loses least of values about zero: ``[d]`` where ``each`` dimension has its own, else ``[1]``.

    ``quantise`` rounds values that were divided by the step, up to ``largest``. The range of the rows
    ``[n, d]`` is cut as long as that lowers the squared error: few values far out are not worth a wider
    step for all the others.
    """
    reach = np.abs(centred).max(axis=0, initial=0)
    if not each:
        reach = reach.max(keepdims=True)
    sample = centred[:: max(1, len(centred) // RANGE_ROWS)]
    best = np.asarray(reach / largest, dtype=np.float32)
    best = np.where(best > 0, best, np.float32(1e-12))
    widest, least = best, np.full(reach.shape, np.inf)
    for shrink in SHRINKS:
        step = widest * np.float32(shrink)
        lost = sample - quantise(sample / step) * step
        error = np.einsum("ij,ij->j", lost, lost)
        error = error if each else error.sum(keepdims=True)
        best = np.where(error < least, step, best)
        least = np.minimum(error, least)
    return best.astype(np.float32)


def row_steps(x: F32, largest: float, shrinks: tuple[float, ...], quantise: Callable[[F32], F32]) -> F32:
    """The step of each row: that which loses least among its peak over ``largest`` and shorter ones, ``[n]``.

    ``quantise`` rounds values that were divided by the step. A zero row has step 0.
    """
    peak = np.abs(x).max(axis=1, initial=0).astype(np.float32) / np.float32(largest)
    if len(shrinks) == 1:
        return np.asarray(peak * np.float32(shrinks[0]), dtype=np.float32)
    best, least = peak, np.full(len(x), np.inf)
    for shrink in shrinks:
        step = (peak * np.float32(shrink)).astype(np.float32)
        lost = x - quantise(x / safe(step)[:, None]) * step[:, None]
        error = np.einsum("ij,ij->i", lost, lost, dtype=np.float64)
        best = np.where(error < least, step, best)
        least = np.minimum(error, least)
    return np.asarray(best, dtype=np.float32)


def safe(divisor: F32) -> F32:
    """Zeros replaced by one, to divide by."""
    return np.where(divisor > 0, divisor, np.float32(1)).astype(np.float32)


def halves(values: F32) -> U8:
    """float16 bytes of ``[n]``: ``[n, 2]``; beyond its range, the largest."""
    return np.minimum(values, np.float32(65504)).astype("<f2").view(np.uint8).reshape(len(values), 2)


def from_halves(packed: U8) -> F32:
    """The inverse of ``halves``: ``[n, 2] -> [n]``."""
    return np.ascontiguousarray(packed).view("<f2")[:, 0].astype(np.float32)
