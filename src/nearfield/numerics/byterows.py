"""Rows as signed bytes, a quarter of float32: what graphs and trees are built from, and where their rows lie then.

Under dot product no distance tells which rows lie near each other. Trees lift rows to the length of the longest, by
one more coordinate, which leaves the order of products as it is. Graphs would lead astray so: where lengths are very
unequal, all short rows lie together at the end of that coordinate, and are linked to each other alone. They link rows
at the places ``x / |x|**2`` instead, where the longest lie in the middle; walks go by products of the rows themselves.
Rows of one length lie where they are.

Source: Zhou, Tan, Xu, Li, NeurIPS 2019 (Möbius transformation).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.core.arrays import roomy
from nearfield.core.protocols import F32, Element, Layout, Metric, RowFormat

_PAD = 32
_ALIKE = 0.05  # of the largest square: rows of one length differ by less when they are rounded to bytes
_FARTHEST = 1e4  # times as far from the middle as the longest row: there lie rows that are shorter yet, and zeros


def padded(d: int) -> int:
    """The width of rows of bytes."""
    return -(-d // _PAD) * _PAD


class Laid(NamedTuple):
    """Where graphs link rows under dot: lifted to the squared length ``most`` of the longest, or inverted."""

    most: float
    inverted: bool

    @classmethod
    def of(cls, squares: F32) -> Self:
        """Rows of one length, but for zeros, are lifted: rounding leaves small differences. Others are inverted."""
        most = squares.max(initial=0)
        return cls(float(most), bool(most - squares[squares > 0].min(initial=most) > _ALIKE * most))


@dataclass
class ByteRows:
    """Rows as bytes, each with its scale; ``inverted`` ones lie at ``x / |x|**2``, times a constant."""

    values: NDArray[np.int8]  # [n, d padded to 32]
    sides: F32  # [n, 4]: scale, squared length, lift, and the scale of the row as it was given
    dim: int
    inverted: bool = False

    @classmethod
    def of(cls, blocks: Iterator[F32], n: int, metric: Metric) -> ByteRows:
        """Round float32 blocks; under dot, rows are lifted to the length of the longest."""
        made: ByteRows | None = None
        at = 0
        for block in blocks:
            if made is None:
                d = block.shape[1]
                values = roomy((n, padded(d)), np.int8)
                values[:, d:] = 0
                made = cls(values, np.zeros((n, 4), np.float32), d)
            made.take(at, block)
            at += len(block)
        if made is None or at != n:
            raise ValueError(f"blocks: announced {n} rows, gave {at}")
        if metric == "dot":
            made.lay(made.square.copy(), Laid(float(made.square.max()), False))
        return made

    @classmethod
    def to_link(cls, blocks: Iterator[F32], n: int, metric: Metric) -> ByteRows:
        """The same for graphs: under dot, rows of unequal lengths are inverted."""
        made = cls.of(blocks, n, "l2")
        if metric == "dot":
            made.strew_zeros(0)
            squares = made.square.copy()
            made.lay(squares, Laid.of(squares))
        return made

    @property
    def scale(self) -> F32:
        """What each row's bytes are multiplied by."""
        return self.sides[:, 0]

    @property
    def square(self) -> F32:
        """Squared lengths, the lift's included."""
        return self.sides[:, 1]

    @property
    def lift(self) -> F32:
        """One more coordinate, which brings rows to equal length under dot."""
        return self.sides[:, 2]

    @property
    def own_scale(self) -> F32:
        """What each row's bytes are multiplied by to give the row itself."""
        return self.sides[:, 3]

    def own(self, at: NDArray[np.int64]) -> F32:
        """Some rows themselves."""
        return np.asarray(self.values[at, : self.dim] * self.own_scale[at, None], np.float32)

    def take(self, at: int, block: F32) -> None:
        """Round some rows, each beside its scale and squared length."""
        rows = slice(at, at + len(block))
        largest = np.abs(block).max(axis=1, initial=0)
        scale = np.asarray(np.where(largest > 0, largest / 127, 1), np.float32)
        values = np.rint(block / scale[:, None])
        self.values[rows, : self.dim] = values
        self.scale[rows] = self.own_scale[rows] = scale
        self.square[rows] = scale.astype(np.float64) ** 2 * np.einsum("ij,ij->i", values, values, dtype=np.float64)

    def strew_zeros(self, seed: int) -> None:
        """Give rows of zeros directions, at no length.

        Any is the limit of a short row's. In one place they would be known to one row, and not to each other.
        """
        zeros = np.flatnonzero(self.square == 0)
        if len(zeros):
            drawn = np.random.default_rng(seed).integers(-127, 128, (len(zeros), self.dim), np.int8)
            drawn[:, 0] |= 1
            self.values[zeros, : self.dim] = drawn
            self.scale[zeros] = self.own_scale[zeros] = 0

    def lay(self, squares: F32, how: Laid) -> None:
        """Bring rows to where graphs link them under dot; ``squares`` are the rows' own squared lengths."""
        self.inverted = how.inverted
        if how.inverted:
            radius = np.sqrt(how.most / np.maximum(squares, how.most / _FARTHEST**2))
            self.scale[:], self.square[:], self.lift[:] = radius / self._byte_lengths(squares), radius**2, 0
        else:
            self.scale[:], self.square[:] = self.own_scale, how.most
            self.lift[:] = np.sqrt(np.maximum(how.most - squares, 0))

    def _byte_lengths(self, squares: F32) -> F32:
        """Of the rows without their scale."""
        zeros = np.flatnonzero(squares == 0)
        lengths = np.sqrt(squares) / np.where(self.own_scale > 0, self.own_scale, 1)
        lengths[zeros] = np.linalg.norm(self.values[zeros].astype(np.float32), axis=1)
        return np.asarray(lengths, np.float32)

    @property
    def format(self) -> RowFormat:
        """How kernels read them; the scale stands beside them, where cosine has its term."""
        element: Element = "i8"
        return RowFormat(Layout.AFFINE8, self.values.shape[1], self.dim, element)
