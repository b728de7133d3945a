"""Integers of 1 to 16 bits a coefficient as nibble planes, which table kernels can add up.

An integer is cut into pieces of 4, 2 and 1 bits, the upper ones first. Each piece is a plane of its own,
packed into nibbles: one coefficient of 4 bits, two of 2 bits or four of 1 bit. Since the integer is the sum
of its pieces, a weighted sum of integers is a sum of look-ups, one a nibble.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from nearfield.core.protocols import F32, U8
from nearfield.numerics.scalars import filled


@dataclass(frozen=True)
class Plane:
    """``bits`` bits of every coefficient, taken ``shift`` bits from the right, in ``columns`` bytes."""

    bits: int
    shift: int
    columns: int


@dataclass(frozen=True)
class Planes:
    """Rows of ``dim`` integers below ``2 ** bits``."""

    bits: int
    dim: int

    @property
    def planes(self) -> list[Plane]:
        """The pieces: as many fours as fit, then two and one."""
        out, left = [], self.bits
        for size in (4,) * (self.bits // 4) + (2, 1):
            if size <= left:
                left -= size
                out.append(Plane(size, left, -(-self.dim * size // 8)))
        return out

    @property
    def columns(self) -> int:
        """Bytes of a row."""
        return sum(p.columns for p in self.planes)

    def pack(self, integers: NDArray[np.uint8] | NDArray[np.uint16]) -> U8:
        """Integers ``[n, dim]`` as bytes ``[n, columns]``."""
        return np.concatenate([_pack(integers, p) for p in self.planes], axis=1)

    def unpack(self, codes: U8) -> NDArray[np.uint16]:
        """Bytes ``[n, columns]`` as integers ``[n, dim]``; further columns are left alone."""
        out = np.zeros((len(codes), self.dim), np.uint16)
        start = 0
        for p in self.planes:
            out |= _unpack(codes[:, start : start + p.columns], p, self.dim)
            start += p.columns
        return out

    def tables(self, weights: F32) -> F32:
        """Weights ``[m, dim]`` as look-up tables ``[m, 2 * columns, 16]`` whose sum is ``weights @ integers``."""
        tables = [_tables(weights, p) for p in self.planes]
        return tables[0] if len(tables) == 1 else np.concatenate(tables, axis=1)


def _pack(integers: NDArray[np.uint8] | NDArray[np.uint16], plane: Plane) -> U8:
    each = 8 // plane.bits
    pieces = np.zeros((len(integers), plane.columns * each), np.uint8)
    pieces[:, : integers.shape[1]] = (integers >> plane.shift) & ((1 << plane.bits) - 1)
    if plane.bits == 1:
        return np.packbits(pieces, axis=1, bitorder="little")
    out = pieces[:, ::each].copy()
    for i in range(1, each):
        out |= pieces[:, i::each] << (plane.bits * i)
    return out


def _unpack(codes: U8, plane: Plane, dim: int) -> NDArray[np.uint16]:
    each, mask = 8 // plane.bits, (1 << plane.bits) - 1
    out = np.empty((len(codes), plane.columns, each), np.uint16)
    for i in range(each):
        out[:, :, i] = (codes >> (plane.bits * i)) & mask
    return np.asarray(out.reshape(len(codes), -1)[:, :dim] << plane.shift, dtype=np.uint16)


def _tables(weights: F32, plane: Plane) -> F32:
    patterns = _patterns(plane.bits, plane.shift)
    each = len(patterns)
    return filled(weights, 2 * plane.columns * each).reshape(len(weights), -1, each) @ patterns


@cache
def _patterns(bits: int, shift: int) -> F32:
    """What each coefficient of a nibble contributes to each of its 16 values: ``[4 // bits, 16]``."""
    digits = np.arange(16) >> (bits * np.arange(4 // bits)[:, None])
    return ((digits & ((1 << bits) - 1)) << shift).astype(np.float32)
