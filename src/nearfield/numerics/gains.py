"""The gain of a row: one byte that restores the length which quantization took.

A decoded row is shorter than the row it stands for, and not by the same factor everywhere; a scan that
ignores this ranks long codes too high. ``gain = |x| / |decoded|`` in one byte costs little and gives one
to four points of recall.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nearfield.core.protocols import F32, U8, Constant

BLOCK_BYTES = 1 << 20  # of float32 rows approximated at a time


@dataclass(frozen=True)
class GainRange:
    """Byte ``b`` stands for the gain ``low + step * b``."""

    low: float
    step: float

    def encode(self, gains: F32) -> U8:
        """Nearest byte of each gain ``[n]``; beyond the range, the end of it."""
        steps = np.rint((gains - np.float32(self.low)) / np.float32(self.step))
        return np.asarray(np.clip(steps, 0, 255), dtype=np.uint8)

    def decode(self, codes: U8) -> F32:
        """The gains of bytes ``[n]``."""
        return (np.float32(self.low) + np.float32(self.step) * codes.astype(np.float32)).astype(np.float32)

    def constant(self, offset: int) -> Constant:
        """How kernels read it at this byte of a row."""
        return Constant(offset, "u8", self.low, self.step)


def ratios(x: F32, decoded: F32) -> F32:
    """``|x| / |decoded|`` for each row; 1 where the decoded row is zero."""
    own = np.sqrt(np.einsum("ij,ij->i", x, x))
    length = np.sqrt(np.einsum("ij,ij->i", decoded, decoded))
    return np.where(length > 0, own / np.where(length > 0, length, 1), 1).astype(np.float32)


def learn(x: F32, approximate: Callable[[F32], F32]) -> GainRange:
    """The range for rows ``[n, d]``, where ``approximate`` says what is left of some of them; blocks keep it small."""
    step = max(1, BLOCK_BYTES // (4 * max(1, x.shape[1])))
    blocks = (x[i : i + step] for i in range(0, len(x), step))
    return fit_range(np.concatenate([ratios(block, approximate(block)) for block in blocks]))


def fit_range(gains: F32) -> GainRange:
    """A range that holds the gains of the fitted rows with a margin for rows to come."""
    low, high = (float(np.float32(v)) for v in (gains.min(initial=1.0), gains.max(initial=1.0)))
    margin = 0.1 * (high - low) + 1e-3
    low = max(0.0, low - margin)
    return GainRange(float(np.float32(low)), float(np.float32((high + margin - low) / 255)))
