"""Rows as one line of memory each: principal axes in digits of two bits, as many for an axis as pay.

A line of 64 bytes holds 240 digits; where rows vary most, an axis has up to four. A row is rounded in its direction
only: its length, and what rounding took of it, stand in a scale at the end of the line.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import Corrupt
from nearfield.core.protocols import F32, U8, Metric
from nearfield.numerics import spectra
from nearfield.numerics.machine import compiled

END = 4  # bytes of a line that are no digits: two float16
SAMPLE = 16_384
# The best steps for 0 to 4 digits of a normal variable, and the squared errors that are left with them.
_STEPS = np.array([0.0, 0.9957, 0.3352, 0.1041, 0.0308], np.float32)
_ERRORS = np.array([1.0, 0.1188, 0.01154, 0.00104, 0.0001])
_LARGEST = 60_000.0
_ALIKE = 0.05  # of the largest square: rows of one length differ by less when they are rounded to bytes


@dataclass
class Axes:
    """How rows become lines: centre ``[d]``, axes ``[k, d]``, and of each its step and digits."""

    centre: F32
    axes: NDArray[np.int8]  # what they are divided by stands in scales [k]
    scales: F32
    steps: F32
    digits: U8
    size: float  # of rows about the centre, in the quadratic mean

    @classmethod
    def of(cls, x: F32, width: int) -> Axes:
        """Learn from rows ``[n, d]``."""
        centre = x.mean(axis=0, dtype=np.float64)
        slots = 4 * (width - END)
        values, vectors = spectra.principal(x, centre, min(x.shape[1], slots))
        digits = _allot(np.maximum(values, 0), slots)
        kept = digits > 0
        scales = (np.abs(vectors[:, kept]).max(axis=0) / 127).astype(np.float32)
        bytes_ = np.ascontiguousarray(np.rint(vectors[:, kept].T / scales[:, None]).astype(np.int8))
        axes = bytes_ * scales[:, None]
        rest = x - centre.astype(np.float32)
        lengths = np.linalg.norm(rest, axis=1)
        size = float(np.sqrt(np.mean(lengths.astype(np.float64) ** 2))) or 1.0
        spread = (rest @ axes.T * _inverse(lengths, size)[:, None]).std(axis=0)
        steps = np.maximum(spread, 1e-6 * size).astype(np.float32) * _STEPS[digits[kept]]
        return cls(centre.astype(np.float32), bytes_, scales, steps, digits[kept], size)

    def check(self, d: int, width: int) -> None:
        """Raise ``Corrupt`` unless the parts fit together; they may come from a file."""
        k = len(self.digits)
        types: tuple[tuple[NDArray[Any], str, tuple[int, ...]], ...] = (
            (self.centre, "<f4", (d,)), (self.axes, "|i1", (k, d)), (self.scales, "<f4", (k,)),
            (self.steps, "<f4", (k,)), (self.digits, "|u1", (k,)),
        )  # fmt: skip
        for values, dtype, shape in types:
            if values.dtype.str != dtype or values.shape != shape or not np.isfinite(values).all():
                raise Corrupt(
                    f"axes of lines: expected finite {dtype} of {shape}, got {values.dtype.str} of {values.shape}"
                )
        if k < 1 or self.digits.max() > 4 or int(self.digits.sum()) > 4 * (width - END):
            raise Corrupt(f"axes of lines: expected 1 to {4 * (width - END)} digits, at most 4 an axis")
        if not np.isfinite(self.size) or self.size <= 0:
            raise Corrupt(f"axes of lines: expected a positive size, got {self.size!r}")

    def lines(self, x: F32, width: int, metric: Metric) -> U8:
        """Rows ``[n, d]`` as lines ``[n, width]``."""
        out = np.zeros((len(x), width), np.uint8)
        rest = x - self.centre
        lengths = np.linalg.norm(rest, axis=1)
        levels = np.float32(4.0) ** self.digits
        values = rest @ self._rows.T * _inverse(lengths, self.size)[:, None] / self.steps
        values = np.clip(np.floor(values + levels / 2), 0, levels - 1)
        sizes = np.linalg.norm((values - (levels - 1) / 2) * self.steps, axis=1)
        codes, bytes_ = values.astype(np.uint8), width - END
        of, place = np.repeat(np.arange(len(self.digits)), self.digits), _places(self.digits)
        for slot in range(0, len(of), bytes_):  # a quarter of the bits of each byte
            some = slice(slot, min(slot + bytes_, len(of)))
            held = codes[:, of[some]] >> 2 * place[some] & 3
            out[:, : held.shape[1]] |= held << np.uint8(2 * (slot // bytes_))
        ends = np.zeros((len(x), 2), np.float32)
        ends[:, 0] = np.minimum(lengths / np.maximum(sizes, 1e-30), _LARGEST)
        if metric == "l2":
            ends[:, 1] = np.minimum((lengths / self.size) ** 2 / 2, _LARGEST)
        out[:, bytes_:] = ends.astype("<f2").view(np.uint8)
        return out

    @property
    def _rows(self) -> F32:
        return self.axes * self.scales[:, None]

    def native(self, metric: Metric) -> tuple[Any, ...]:
        """What native code needs to weigh a query: under l2 it is taken from the centre, under dot from the origin."""
        l2 = metric == "l2"
        offsets = self._rows @ self.centre if l2 else np.zeros(len(self.digits), np.float32)
        return self.axes, self.scales, offsets.astype(np.float32), self.steps, self.digits, self.size**2 if l2 else 0.0


@dataclass
class Lined:
    """Rows as lines ``[n, width]``, seen by walks while a graph of them is built."""

    lines: U8
    axes: Axes
    metric: Metric

    def native(self, lifts: F32, squares: F32) -> Any:
        """For native code; ``lifts`` of rows to one length count where rows differ in length, under dot."""
        lifted = self.metric == "dot" and bool(lifts.max() ** 2 > _ALIKE * squares.max())
        return compiled.LineRows(self.lines, self.axes.native(self.metric), lifted)

    def digest(self) -> str:
        """What tells them from others."""
        return hashlib.sha256(self.lines.data).hexdigest()


def _places(digits: U8) -> U8:
    """Which digit of its axis each is, the lowest first."""
    firsts = np.cumsum(digits, dtype=np.int64) - digits
    return np.asarray(np.arange(int(digits.sum())) - np.repeat(firsts, digits), np.uint8)


def _inverse(lengths: F32, size: float) -> F32:
    """What brings rows to one size; nothing for rows that have none."""
    return np.asarray(np.where(lengths > 0, size / np.maximum(lengths, 1e-30), 0), np.float32)


def _allot(values: NDArray[np.float64], slots: int) -> U8:
    """Digits for each axis: every one goes where it lowers the squared error most."""
    gains = values[:, None] * (_ERRORS[:-1] - _ERRORS[1:])
    best = np.argsort(-gains, axis=None, kind="stable")[:slots]
    digits = np.bincount(best // 4, weights=gains.ravel()[best] > 0, minlength=len(values)).astype(np.uint8)
    digits[0] = max(digits[0], 1)
    return digits
