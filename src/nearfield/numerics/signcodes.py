"""What one-bit codecs share: signs of projections, their levels, a gain byte, and a float query.

A row is taken for ``gain * (mean + sum_j sign_j * level_j * direction_j)``. The query stays in floats, so a
score is a look-up for each nibble of signs: far better than counting the bits that differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.codecs import Codec
from nearfield.core.protocols import F32, U8, Folded, Layout, RowFormat
from nearfield.numerics import gains, kernels, rotations, scalars

GAIN_ROWS = 8192  # rows of the sample that levels and the range of gains are taken from


@dataclass
class SignCodes(Codec):
    """Signs of ``directions @ (x - mean)``; a codec of the room learns the directions (None: the axes)."""

    gain: bool = True

    def keep(self, x: F32, mean: NDArray[Any], directions: NDArray[Any] | None) -> None:
        """Take up ``mean [d]`` and orthonormal ``directions [bits, d]``, and learn levels and gains."""
        self.dim_ = int(x.shape[1])
        self.bits_ = self.dim_ if directions is None else len(directions)
        self.mean_ = mean.astype(np.float32)
        if directions is not None:
            self.directions_ = np.ascontiguousarray(directions, dtype=np.float32)
        sample = x[:: max(1, len(x) // GAIN_ROWS)]
        sizes = np.abs(self._projected(sample))
        # Rounding leaves noise about zero in directions without variance: its sign must not be looked at.
        self.noise_ = float(1e-9 * max(sizes.max(initial=0), float(np.abs(sample).max(initial=0))))
        self.levels_ = sizes.mean(axis=0).astype(np.float32)
        if self.gain:
            found = gains.learn(sample, lambda block: self._shape(self._packed(block)))
            self.gain_low_, self.gain_step_ = found.low, found.step

    @property
    def _rotation(self) -> F32 | None:
        return getattr(self, "directions_", None)

    @property
    def _gains(self) -> gains.GainRange:
        return gains.GainRange(self.gain_low_, self.gain_step_)

    @property
    def _code_bytes(self) -> int:
        return -(-self.bits_ // 8)

    @property
    def bytes_per_row(self) -> int:
        """A bit a direction, and the gain's byte."""
        self.need_fit()
        return self._code_bytes + int(self.gain)

    def _projected(self, x: F32) -> NDArray[np.float64]:
        # float64, so that signs do not hang on the order in which a block's products are summed.
        centred = (x - self.mean_).astype(np.float64)
        return centred if self._rotation is None else centred @ self._rotation.T.astype(np.float64)

    def _packed(self, x: F32) -> U8:
        return scalars.bits_packed(self._projected(x) > self.noise_)

    def _shape(self, packed: U8) -> F32:
        signed = scalars.signs(packed, self.bits_) * self.levels_
        turned = signed if self._rotation is None else rotations.turn(signed, self._rotation)
        return np.asarray(self.mean_ + turned, dtype=np.float32)

    def encode(self, x: F32) -> U8:
        """The sign of each projection, a bit each; the gain behind them."""
        self.need_fit()
        self.check_rows(x, self.dim_)
        packed = self._packed(x)
        if not self.gain:
            return packed
        gain = self._gains.encode(gains.ratios(x, self._shape(packed)))
        return np.concatenate([packed, gain[:, None]], axis=1)

    def decode(self, codes: U8) -> F32:
        """``gain * (mean + signs * levels)``, turned back."""
        self.need_fit()
        self.check_codes(codes)
        decoded = self._shape(np.ascontiguousarray(codes[:, : self._code_bytes]))
        if self.gain:
            decoded = decoded * self._gains.decode(codes[:, -1])[:, None]
        return np.asarray(decoded, dtype=np.float32)

    def row_format(self) -> RowFormat:
        """Nibbles of four signs, each a look-up."""
        constant = self._gains.constant(self._code_bytes) if self.gain else None
        return RowFormat(Layout.BITS, self.bytes_per_row, self.bits_, nibble_columns=self._code_bytes, scale=constant)

    def fold(self, q: F32) -> Folded:
        """Tables of the turned query's weights; the mean goes inside, since the gain scales it too."""
        turned = q if self._rotation is None else kernels.dots(q, self._rotation)
        inside = np.einsum("ij,j->i", q, self.mean_)
        return Folded(nibble_tables=scalars.sign_tables(turned * self.levels_), inside=inside)
