"""Transform coding: rotate to principal directions, give each the bits it is worth, quantize it best.

Variances of embeddings fall steeply, so most directions deserve no bit and some deserve six; codes of
one width for all cannot know. On text embeddings it keeps more recall than scalar or rotation codes of
the same bytes: two to twelve points from a quarter bit to five bits a dimension, and still a little at
eight, where ``int8`` encodes sooner. At a bit a dimension ``opq`` with byte codes keeps as much, for a
longer fit.

paper: transform coding (Huang and Schultheiss 1963, doi:10.1109/TCOM.1963.1088759) with greedy integer
  bits (Shoham and Gersho 1988) and Lloyd-Max levels
needs: numpy
status: proven
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.core.codecs import Codec
from nearfield.core.params import Range
from nearfield.core.protocols import F32, U8, Folded, Layout, RowFormat
from nearfield.numerics import allocation, coding, kernels, spectra
from nearfield.numerics.gains import GainRange, fit_range

_FIT_LEVELS = 32_768  # rows that levels are fitted on: enough, and quick
_BLOCK = 2048  # rows held in float64 at a time


@dataclass
class Transform(Codec):
    """``bytes`` a row in all: variable-bit codes, and with ``gain`` one byte that restores the length.

    ``weight`` shares bits by error times variance to that power: a neighbour's query resembles the row,
    so errors in strong directions cost more score. 0 minimises the squared error itself.
    """

    bytes: Annotated[int, Range(1, 65_536)]
    gain: bool = True
    weight: Annotated[float, Range(0, 1)] = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self._cached: tuple[F32, NDArray[np.int64], F32, list[int]] | None = None
        self._made: coding.Grids | None = None

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(bytes=8), cls(bytes=5, gain=False), cls(bytes=3, weight=0.0), cls(bytes=14), cls(bytes=23)]

    def fit(self, x: F32, queries: F32 | None = None, *, rng: np.random.Generator) -> Self:
        """Find directions, share the bits and fit each direction's levels."""
        d = min(x.shape)  # rows vary in no more directions than there are rows; others are not worth a bit
        self._cached = self._made = None
        mean = x.mean(axis=0, dtype=np.float64)
        variances, directions = spectra.principal(x, mean, d)
        variances = np.maximum(variances, max(float(variances[0]), 1e-30) * 1e-9)
        code_bytes = min(max(1, self.bytes - self.gain), -(-allocation.MOST * d // 8))
        values = variances ** (1 + self.weight)
        bits = allocation.make_packable(allocation.greedy_bits(values, 8 * code_bytes), values)
        self._place(allocation.pack(bits), code_bytes)
        self.mean_ = mean.astype(np.float32)
        self.directions_ = np.ascontiguousarray(directions[:, np.flatnonzero(bits)], dtype=np.float32)
        sample = np.sort(rng.permutation(len(x))[:_FIT_LEVELS])
        columns = np.concatenate([self._rotate(x[rows]) for rows in _blocks(sample)], axis=1)
        self.levels_ = self._fit_levels(columns)
        self.gain_low_, self.gain_step_ = 1.0, 1.0
        if self.gain:
            measures = coding.level_codes(columns, self._grids(), self.bytes_per_row)[1]
            parts = zip(_blocks(sample), _blocks(measures.T))
            found = fit_range(np.concatenate([self._gains(x[rows], part.T) for rows, part in parts]))
            self.gain_low_, self.gain_step_ = found.low, found.step
        return self

    def _place(self, pieces: list[allocation.Piece], code_bytes: int) -> None:
        """Keep where each piece of a code lies; directions are numbered among those that have any bits."""
        used = sorted({p.dimension for p in pieces})
        number = {j: i for i, j in enumerate(used)}
        ordered = sorted(pieces, key=lambda p: (p.dimension, -p.bits, p.nibble))
        self.code_bytes_ = code_bytes
        self.direction_ = np.array([number[p.dimension] for p in ordered], dtype=np.int32)
        self.bits_ = np.array([p.bits for p in ordered], dtype=np.uint8)
        self.nibble_ = np.array([p.nibble for p in ordered], dtype=np.int32)
        self.shift_ = np.array([p.shift for p in ordered], dtype=np.uint8)

    def _fit_levels(self, columns: F32) -> F32:
        bits = np.bincount(self.direction_, self.bits_).astype(int).tolist()
        steps = [allocation.level_steps(column, b) for column, b in zip(columns, bits)]
        return np.concatenate([levels for each in steps for levels in each])

    def _firsts(self) -> NDArray[np.int64]:
        """The first piece of each direction; finer ones follow it."""
        return np.searchsorted(self.direction_, np.arange(self.directions_.shape[1]))

    @property
    def bytes_per_row(self) -> int:
        """The bytes asked for, or fewer where the rows have no more than 12 bits a dimension to give."""
        self.need_fit()
        return int(self.code_bytes_ + self.gain)

    def _level_ends(self) -> NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(1 << self.bits_.astype(np.int64))])

    def _levels(self, i: int, ends: NDArray[np.int64]) -> F32:
        return np.asarray(self.levels_[ends[i] : ends[i + 1]], dtype=np.float32)

    def _rotate(self, x: F32) -> F32:
        """Coordinates ``[directions, n]``."""
        # In float64, so that a code never depends on how many rows are encoded together.
        z = self.directions_.T.astype(np.float64) @ (x - self.mean_.astype(np.float64)).T
        return np.asarray(z, dtype=np.float32)

    def _grids(self) -> coding.Grids:
        """What a direction's codes stand for: all sums of its pieces' levels, ascending; and where the pieces lie."""
        if self._made is None:
            levels = np.split(self.levels_, self._level_ends()[1:-1])
            groups = np.split(np.arange(self.bits_.size), self._firsts()[1:])
            sums = [allocation.sums_of([levels[i] for i in group]) for group in groups]
            orders = [np.argsort(each, kind="stable") for each in sums]
            self._made = coding.Grids(
                sums=np.concatenate([each[order] for each, order in zip(sums, orders)]).astype(np.float32),
                codes=np.concatenate(orders).astype(np.uint16),
                starts=np.concatenate([[0], np.cumsum([len(each) for each in sums])]),
                pieces=self._pieces(),
                inside=self.directions_.T.astype(np.float64) @ self.mean_.astype(np.float64),
            )
        return self._made

    def _pieces(self) -> NDArray[np.int32]:
        """Direction, byte, shift and bits of each piece, and the first of its levels: ``[pieces, 5]``."""
        parts = (self.direction_, self.nibble_ // 2, self._shifts(), self.bits_, self._level_ends()[:-1])
        return np.ascontiguousarray(np.stack(parts, axis=1), dtype=np.int32)

    def _gains(self, x: F32, measures: NDArray[np.float64]) -> F32:
        """``|x| / |decoded|``, times the root of their cosine: halfway to the length that projects best.

        ``measures`` are of coordinates, as directions are orthonormal: what they miss of the mean is the only other
        part of a decoded row.
        """
        inside = self._grids().inside
        outside = self.mean_.astype(np.float64) - self.directions_.astype(np.float64) @ inside
        own = np.einsum("ij,ij->i", x, x, dtype=np.float64)
        length = np.maximum(measures[0] + outside @ outside, 1e-300)
        inner = measures[1] + x @ outside
        cosine = np.clip(inner / np.sqrt(np.maximum(own * length, 1e-300)), 0.05, 1)
        ratio = np.minimum(own / length, 1e12)  # a row of rounding errors may be decoded to nothing
        return np.where(own > 0, np.sqrt(ratio * cosine), 0.0).astype(np.float32)

    def encode(self, x: F32) -> U8:
        """Rotate, quantize, and pack several directions to a byte."""
        self.need_fit()
        self.check_rows(x, self.mean_.size)
        blocks = [self._encode_block(block) for block in _blocks(x)]
        return np.concatenate(blocks) if blocks else np.zeros((0, self.bytes_per_row), dtype=np.uint8)

    def _encode_block(self, x: F32) -> U8:
        codes, measures = coding.level_codes(self._rotate(x), self._grids(), self.bytes_per_row)
        if self.gain:
            codes[:, -1] = self._range().encode(self._gains(x, measures))
        return codes

    def _shifts(self) -> U8:
        """Where each piece begins within its byte."""
        return (self.shift_ + 4 * (self.nibble_ % 2)).astype(np.uint8)

    def _range(self) -> GainRange:
        return GainRange(self.gain_low_, self.gain_step_)

    def decode(self, codes: U8) -> F32:
        """The rows in the input space, at the length that the gain restores."""
        self.need_fit()
        self.check_codes(codes)
        values = coding.level_values(codes, self._grids().pieces, self.levels_, self.directions_.shape[1])
        rows = coding.weighted_sums(values, self.directions_.T)
        rows += self.mean_
        if self.gain:
            rows *= self._range().decode(codes[:, -1])[:, None]
        return rows

    def row_format(self) -> RowFormat:
        """Nibbles that hold the codes of one to four directions, each a look-up."""
        width = self.bytes_per_row
        scale = self._range().constant(width - 1) if self.gain else None
        return RowFormat(Layout.MIXED, width, self.bits_.size, nibble_columns=self.code_bytes_, scale=scale)

    def fold(self, q: F32) -> Folded:
        """Each nibble's table: the sum over its pieces of query coordinate times level."""
        matrix, sources, values, firsts = self._basis()
        z = kernels.dots(q, matrix)
        parts = z[:, sources, None] * values
        start = count = 2 * self.code_bytes_
        tables = parts[:, :count]
        for first in firsts:
            end = start + count - first
            tables[:, first:] += parts[:, start:end]
            start = end
        return Folded(nibble_tables=tables, inside=z[:, -1])

    def _basis(self) -> tuple[F32, NDArray[np.int64], F32, list[int]]:
        """What is derived from the state once, so that a query's tables are one product and few sums.

        The directions and the mean as rows; then the direction of each nibble's first piece and its levels
        by code ``[16]``, behind them those of the second piece for the nibbles from ``firsts[0]`` on, and
        so forth. A piece that is not there has levels of zero.
        """
        if self._cached is None:
            count = 2 * self.code_bytes_
            sources = np.zeros((4, count), dtype=np.int64)
            values = np.zeros((4, count, 16), dtype=np.float32)
            taken = np.zeros(count, dtype=np.int64)
            ends, codes = self._level_ends(), np.arange(16)
            for i, (j, t) in enumerate(zip(self.direction_.tolist(), self.nibble_.tolist())):
                slot = taken[t]
                sources[slot, t] = j
                values[slot, t] = self._levels(i, ends)[
                    (codes >> int(self.shift_[i])) & ((1 << int(self.bits_[i])) - 1)
                ]
                taken[t] += 1
            firsts = [int(np.argmax(taken > slot)) for slot in range(1, int(taken.max()))]
            used = [(slot, slice(first, None)) for slot, first in enumerate([0, *firsts])]
            self._cached = (
                np.ascontiguousarray(np.concatenate([self.directions_.T, self.mean_[None]])),
                np.concatenate([sources[at] for at in used]),
                np.concatenate([values[at] for at in used]),
                firsts,
            )
        return self._cached


def _blocks(x: NDArray[Any]) -> Iterator[NDArray[Any]]:
    return (x[i : i + _BLOCK] for i in range(0, len(x), _BLOCK))
