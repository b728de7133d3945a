"""What the codecs of scaled scalars share: values on a few levels, times a step, about a middle.

A value becomes ``middle + step * level``. The step is one for all (``global``), one a dimension, or one
a row; the three are different results. A row's own step is stored with it in two bytes and carries the
row's gain for nothing; the others store the gain in a byte if asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from nearfield.core.codecs import Codec
from nearfield.core.protocols import F32, U8, Constant, Folded, Layout, RowFormat
from nearfield.numerics import gains, scalars
from nearfield.numerics.floats8 import SmallFloat

GAIN_ROWS = 8192  # rows of the sample that the range of gains is taken from
ENCODE_ROWS = 2048  # rows encoded together: temporary arrays stay within the processor's cache


@dataclass(frozen=True)
class Levels:
    """The values that a code can stand for, in steps; kernels read them as ``unit * integer + offset``.

    ``row_shrinks`` are the shares of a row's peak that are tried as its range.
    """

    bits: int
    largest: float
    unit: float
    offset: float
    row_shrinks: tuple[float, ...] = (1.0,)
    small_float: SmallFloat | None = None

    def codes(self, scaled: F32) -> U8:
        """The nearest level of values in steps."""
        if self.small_float is not None:
            return self.small_float.encode(scaled)
        nearest = np.rint(np.clip(scaled, -self.largest, self.largest) - np.float32(self.offset))
        return np.asarray(nearest + np.float32(1 << (self.bits - 1)), dtype=np.uint8)

    def values(self, codes: U8) -> F32:
        """The levels of codes, in steps."""
        if self.small_float is not None:
            return self.small_float.decode(codes)
        return codes.astype(np.float32) + np.float32(self.offset - (1 << (self.bits - 1)))

    def rounded(self, scaled: F32) -> F32:
        """The value of the nearest level."""
        return self.values(self.codes(scaled))

    def integers(self) -> tuple[int, ...]:
        """What kernels read for each of 16 codes."""
        values = self.values(np.arange(16, dtype=np.uint8))
        return tuple(int(v) for v in np.rint((values - np.float32(self.offset)) / np.float32(self.unit)))


@cache
def uniform(bits: int, *, zero: bool) -> Levels:
    """Evenly spaced levels: with ``zero`` an odd number about zero, else all of them, half a step off zero."""
    half = 1 << (bits - 1)
    # Four bits are few enough that cutting a row's largest values pays.
    shrinks = tuple(np.linspace(1.0, 0.5, 11).tolist()) if bits < 8 else (1.0,)
    if zero:
        return Levels(bits, half - 1, 1.0, 0.0, shrinks)
    return Levels(bits, half - 0.5, 1.0, 0.5, shrinks)


@dataclass
class Stepped(Codec):
    """Levels times a step about a middle; a codec of the room gives the levels."""

    scale: str = "dimension"
    gain: bool = True

    centred: ClassVar[bool] = True  # whether shared grids are laid about the middle of the range

    def levels(self) -> Levels:
        """The levels under this codec's parameters."""
        raise TypeError(f"{type(self).__name__} must define levels")

    @property
    def _code_bytes(self) -> int:
        return -(-self.dim_ * self.levels().bits // 8)

    @property
    def bytes_per_row(self) -> int:
        """The codes, and two bytes for a row's own step or one for its gain."""
        self.need_fit()
        return self._code_bytes + (2 if self.scale == "row" else int(self.gain))

    def fit_width(self, x: F32) -> None:
        """Note the width of rows ``[n, d]``."""
        self.dim_ = int(x.shape[1])

    def fit_grid(self, x: F32) -> None:
        """Choose middle and step for rows ``[n, d]``."""
        levels, each = self.levels(), self.scale == "dimension"
        low, high = x.min(axis=0), x.max(axis=0)
        if not each:
            low, high = low.min(keepdims=True), high.max(keepdims=True)
        middle = (low + high) / np.float32(2) if self.centred else np.zeros_like(low)
        self.middle_ = middle.astype(np.float32)
        self.step_ = scalars.fit_steps(x - self.middle_, levels.largest, levels.rounded, each=each)

    def fit_rows(self, x: F32) -> None:
        """Choose the unit of the rows' own steps, so that float16 holds them whatever their size."""
        levels = self.levels()
        peak = float(np.abs(x).max(initial=0)) / levels.largest
        self.middle_, self.step_ = np.zeros(1, np.float32), np.array([peak if peak > 0 else 1.0], np.float32)

    def fit_gains(self, x: F32) -> None:
        """Take the range of gains from rows of the sample."""
        sample = x[:: max(1, len(x) // GAIN_ROWS)]
        found = gains.learn(sample, lambda block: self._shape(self._codes(block)))
        self.gain_low_, self.gain_step_ = found.low, found.step

    @property
    def _gains(self) -> gains.GainRange:
        return gains.GainRange(self.gain_low_, self.gain_step_)

    def _codes(self, x: F32) -> U8:
        return self.levels().codes((x - self.middle_) / self.step_)

    def _shape(self, codes: U8) -> F32:
        return np.asarray(self.middle_ + self.step_ * self.levels().values(codes), dtype=np.float32)

    def encode(self, x: F32) -> U8:
        """Each value to its nearest level."""
        self.need_fit()
        self.check_rows(x, self.dim_)
        out = np.empty((len(x), self.bytes_per_row), dtype=np.uint8)
        for start in range(0, len(x), ENCODE_ROWS):
            rows = np.ascontiguousarray(x[start : start + ENCODE_ROWS])
            block = out[start : start + ENCODE_ROWS]
            if self.scale == "row":
                self._encode_rows(rows, block)
                continue
            codes = self._codes(rows)
            self._put(codes, block)
            if self.gain:
                block[:, -1] = self._gains.encode(gains.ratios(rows, self._shape(codes)))
        return out

    def _encode_rows(self, x: F32, out: U8) -> None:
        levels = self.levels()
        steps = scalars.row_steps(x, levels.largest, levels.row_shrinks, levels.rounded)
        codes = levels.codes(x / scalars.safe(steps)[:, None])
        if self.gain:
            steps = steps * gains.ratios(x, levels.values(codes) * steps[:, None])
        self._put(codes, out)
        out[:, self._code_bytes :] = scalars.halves(steps / self.step_)

    def _put(self, codes: U8, out: U8) -> None:
        # Bytes are stored as signed integers, nibbles as codes that kernels read through the levels.
        bits = self.levels().bits
        out[:, : self._code_bytes] = codes ^ np.uint8(128) if bits == 8 else scalars.nibbles_packed(codes)

    def decode(self, codes: U8) -> F32:
        """The values that the codes stand for."""
        self.need_fit()
        self.check_codes(codes)
        packed = codes[:, : self._code_bytes]
        bits = self.levels().bits
        plain = packed ^ np.uint8(128) if bits == 8 else scalars.nibbles_unpacked(packed, self.dim_)
        decoded = self._shape(plain)
        if self.scale == "row":
            decoded = decoded * scalars.from_halves(codes[:, self._code_bytes :])[:, None]
        elif self.gain:
            decoded = decoded * self._gains.decode(codes[:, -1])[:, None]
        return np.asarray(decoded, dtype=np.float32)

    def row_format(self) -> RowFormat:
        """Signed bytes, or nibbles read through sixteen levels; the step or gain lies behind them."""
        levels = self.levels()
        constant = None
        if self.scale == "row":
            constant = Constant(self._code_bytes, "f16")
        elif self.gain:
            constant = self._gains.constant(self._code_bytes)
        width = self.bytes_per_row
        if levels.bits == 8:
            return RowFormat(Layout.AFFINE8, width, self.dim_, "i8", scale=constant)
        return RowFormat(Layout.AFFINE4, width, self.dim_, "u8", levels=levels.integers(), scale=constant)

    def fold(self, q: F32) -> Folded:
        """Weights ``q * step``; what the middle adds goes inside, since the gain scales it too."""
        levels = self.levels()
        scaled = np.asarray(q * self.step_, dtype=np.float32)
        middles = (q * self.middle_ + scaled * np.float32(levels.offset)).sum(axis=1, dtype=np.float64)
        return Folded(weights=scaled * np.float32(levels.unit), inside=middles.astype(np.float32))
