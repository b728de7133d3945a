"""float16: half the bytes, nearly nothing lost.

The safe first step down from float32, and the usual codec to re-score a short list with: it does not
cap recall where 8 bits do.

paper: IEEE 754-2008 binary16; S001
needs: numpy
status: proven
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from nearfield.core.codecs import Codec
from nearfield.core.errors import BadInput
from nearfield.core.protocols import F32, U8, Folded, Layout, RowFormat


@dataclass
class Float16(Codec):
    """Rounds each value to half precision; values beyond 65,504 are refused."""

    @property
    def bytes_per_row(self) -> int:
        """Two bytes a dimension."""
        self.need_fit()
        return 2 * self.dim_

    def fit(self, x: F32, queries: F32 | None = None, *, rng: np.random.Generator) -> Self:
        """Note the width; there is nothing to learn."""
        self.dim_ = int(x.shape[1])
        return self

    def encode(self, x: F32) -> U8:
        """Round to nearest, ties to even."""
        self.need_fit()
        self.check_rows(x, self.dim_)
        with np.errstate(over="ignore"):
            half = np.ascontiguousarray(x, dtype="<f2")
        if not np.isfinite(half).all():
            worst = float(np.abs(x).max())  # rows are known by number to the caller alone: this is a block of them
            raise BadInput(
                f"float16: expected values within +-65504, got one of {worst:g}; scale all rows, or use raw()"
            )
        return half.view(np.uint8).reshape(len(half), 2 * self.dim_)

    def decode(self, codes: U8) -> F32:
        """Widen to float32, exactly."""
        self.need_fit()
        self.check_codes(codes)
        return np.ascontiguousarray(codes).view("<f2").reshape(len(codes), self.dim_).astype(np.float32)

    def row_format(self) -> RowFormat:
        """Sixteen-bit floats."""
        return RowFormat(Layout.F16, self.bytes_per_row, self.dim_, "f16")

    def fold(self, q: F32) -> Folded:
        """The query itself."""
        return Folded(weights=q)
