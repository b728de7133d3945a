"""Locally-adaptive vector quantization: each row about the mean, in even steps from its least to its greatest value.

The codec for traversing at 4 bits and for re-scoring at 8: nothing is trained but the mean, scans are as
fast as integers get, and a second level (``residual``) refines the first where more quality is wanted.

paper: Aguerrebere, Bhati, Hildebrand, Tepper, Willke, 2023, arXiv:2304.04759
needs: numpy
status: proven
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.core.codecs import Codec
from nearfield.core.errors import BadInput, BadParameter
from nearfield.core.params import OneOf
from nearfield.core.protocols import F32, U8, Constant, Folded, Layout, RowFormat
from nearfield.numerics import coding
from nearfield.numerics.planes import Planes

F64 = NDArray[np.float64]
_BLOCK = 1024  # rows held beside the given ones at a time


@dataclass
class LVQ(Codec):
    """``bits`` a dimension and, where ``residual`` is given, as many more for what the first level leaves.

    Each row stores its least value and its step as float16. Both carry the factor that gives the decoded
    row the length of the row it stands for, which costs no bytes. The second level cuts each step into
    ``2 ** residual`` equal cells and decodes to their middles, where the paper decodes to evenly spaced
    points from end to end: the largest error is smaller by one part in ``2 ** residual``, and both levels
    together count in one even step. The first level's nibbles lie in front and can be read alone.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(500, 32)).astype(np.float32)
    >>> codec = LVQ(bits=4, residual=4).fit(x, rng=np.random.default_rng(1))
    >>> codec.bytes_per_row, bool(np.abs(codec.decode(codec.encode(x)) - x).max() < 0.03)
    (36, True)
    """

    bits: Annotated[int, OneOf(4, 8)] = 8
    residual: Annotated[int | None, OneOf(4, 8)] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.residual is not None and self.bits != 4:
            raise BadParameter(f"lvq(residual=) expects bits=4 for the first level, got bits={self.bits}")

    @classmethod
    def examples(cls) -> list[Self]:
        """One level and two."""
        return [cls(bits=8), cls(bits=4), cls(bits=4, residual=4), cls(bits=4, residual=8)]

    @property
    def _all_bits(self) -> int:
        return self.bits + (self.residual or 0)

    @property
    def _planes(self) -> Planes:
        return Planes(self._all_bits, self.dim_)

    @property
    def _columns(self) -> int:
        return self.dim_ if self.bits == 8 else self._planes.columns

    @property
    def bytes_per_row(self) -> int:
        """The integers, and four bytes of constants."""
        self.need_fit()
        return self._columns + 4

    def fit(self, x: F32, queries: F32 | None = None, *, rng: np.random.Generator) -> Self:
        """Take the mean of rows ``[n, d]``."""
        self.dim_ = int(x.shape[1])
        self.mean_ = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        # Constants are stored in units of a typical step, so that float16 holds them for rows of any size.
        squares = np.concatenate([_squares(x[i : i + _BLOCK], self.mean_) for i in range(0, len(x), _BLOCK)])
        spread = float(np.sqrt(squares.mean(dtype=np.float64) / max(self.dim_, 1)))
        between = spread * 2.0 ** (1.5 - self._all_bits / 2)  # half way from a least value to a step
        self.unit_ = float(2.0 ** np.round(np.log2(between))) if spread > 1e-30 else 1.0
        return self

    def encode(self, x: F32) -> U8:
        """Round to the nearest step; constants are rounded first, so that integers suit what is stored."""
        self.need_fit()
        self.check_rows(x, self.dim_)
        least, greatest = coding.spans(x, self.mean_)
        low = _half(least, self.unit_)
        step = _half((greatest - low) / ((1 << self.bits) - 1), self.unit_)
        firsts, lasts = np.stack([low, step], axis=1), np.stack(self._last_level(low, step), axis=1)
        integers, sums = coding.even_steps(x, self.mean_, firsts, lasts, self.bits, self.residual or 0)
        constants = lasts[:, ::-1] * _length_factors(sums, self.mean_)[:, None] / self.unit_
        _check_range(constants)
        tail = np.ascontiguousarray(constants, dtype="<f2").view(np.uint8)
        head = np.asarray(integers, np.uint8) if self.bits == 8 else self._planes.pack(integers)
        return np.concatenate([head, tail], axis=1)

    def decode(self, codes: U8) -> F32:
        """The steps above the least value, and the mean."""
        self.need_fit()
        self.check_codes(codes)
        head = codes[:, : self._columns]
        integers = (head if self.bits == 8 else self._planes.unpack(head)).astype(np.float32)
        tail = np.ascontiguousarray(codes[:, self._columns :]).view("<f2").astype(np.float32) * np.float32(self.unit_)
        return np.asarray(integers * tail[:, :1] + tail[:, 1:] + self.mean_, dtype=np.float32)

    def row_format(self) -> RowFormat:
        """Bytes, nibbles, or for two levels nibble planes; then step and least value."""
        scale, shift = Constant(self._columns, "f16"), Constant(self._columns + 2, "f16")
        width, d = self.bytes_per_row, self.dim_
        if self.bits == 8:
            return RowFormat(Layout.AFFINE8, width, d, "u8", scale=scale, shift=shift)
        if self.residual is None:
            return RowFormat(Layout.AFFINE4, width, d, levels=tuple(range(16)), scale=scale, shift=shift)
        return RowFormat(Layout.BITS_PLUS, width, d, nibble_columns=self._columns, scale=scale, shift=shift)

    def fold(self, q: F32) -> Folded:
        """The query as weights of the integers, its sum as that of the least value."""
        weights = q * np.float32(self.unit_)
        slope, outside = weights.sum(axis=1), np.einsum("ij,j->i", q, self.mean_)
        if self.residual is None:
            return Folded(weights=weights, slope=slope, outside=outside)
        return Folded(nibble_tables=self._planes.tables(weights), slope=slope, outside=outside)

    def _last_level(self, low: F64, step: F64) -> tuple[F64, F64]:
        """Least value and step of the integers with their lower bits."""
        if self.residual is None:
            return low, step
        cell = step / (1 << self.residual)
        return low - step / 2 + cell / 2, cell


def _squares(x: F32, mean: F32) -> F32:
    rest = x - mean
    return np.asarray(np.einsum("ij,ij->i", rest, rest), np.float32)


def _half(values: F64, unit: float) -> F64:
    scaled = values / unit
    _check_range(scaled)
    return np.asarray(scaled.astype(np.float16).astype(np.float64) * unit)


def _check_range(values: F64) -> None:
    if np.abs(values).max(initial=0) > 65504:
        raise BadInput("lvq: expected rows within 300 times the spread of the fitted ones; fit on such rows")


def _length_factors(sums: F64, mean: F32) -> F64:
    """The factors ``g >= 0`` such that ``mean + g * level`` is as long as the row, as far as there is one.

    ``sums`` of each row are those of ``coding.even_steps``. Of the two lengths that fit, the one nearer to 1 is taken;
    a row for which none fits, or which would change by more than a tenth, keeps its level's own length.
    """
    wide = mean.astype(np.float64)
    square, across, own = sums.T
    inner = across**2 + square * (own - wide @ wide)
    root = (np.sqrt(np.maximum(inner, 0)) - across) / np.where(square > 0, square, 1)
    fits = (square > 0) & (inner >= 0) & (np.abs(root - 1) <= 0.1)
    return np.asarray(np.where(fits, root, 1.0))
