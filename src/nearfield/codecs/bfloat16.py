"""bfloat16: half the bytes with float32's range, eight bits of mantissa fewer than it.

For values beyond float16's 65,504 or vectors that already come as bfloat16; on unit vectors float16 is
eight times finer at the same bytes.

paper: S001 (Huerga-Pérez et al. 2025, arXiv:2505.00105); bfloat16 (Intel 2018, whitepaper 338302)
needs: numpy
status: experimental
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from nearfield.core.codecs import Codec
from nearfield.core.errors import BadInput
from nearfield.core.protocols import F32, U8, Folded, Layout, RowFormat
from nearfield.numerics.floats8 import from_bfloat16, to_bfloat16


@dataclass
class BFloat16(Codec):
    """Keeps the upper half of each float32, rounded to nearest, ties to even.

    >>> x = np.array([[1.0, 3.14159, 1e30]], dtype=np.float32)
    >>> codec = BFloat16().fit(x, rng=np.random.default_rng(0))
    >>> codec.decode(codec.encode(x))[0, :2].tolist()
    [1.0, 3.140625]
    """

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
        halves = to_bfloat16(x)
        infinite = (halves & np.uint16(0x7F80)) == 0x7F80
        if infinite.any():
            worst = float(np.abs(x).max())
            raise BadInput(f"bfloat16: expected values within +-3.38e38, got one of {worst:g}; scale all rows")
        return halves.view(np.uint8).reshape(len(halves), 2 * self.dim_)

    def decode(self, codes: U8) -> F32:
        """Widen to float32, exactly."""
        self.need_fit()
        self.check_codes(codes)
        return from_bfloat16(np.ascontiguousarray(codes).view("<u2").reshape(len(codes), self.dim_))

    def row_format(self) -> RowFormat:
        """Sixteen-bit floats of the other kind."""
        return RowFormat(Layout.F16, self.bytes_per_row, self.dim_, "bf16")

    def fold(self, q: F32) -> Folded:
        """The query itself."""
        return Folded(weights=q)
