"""Product quantization: cut rows into parts and name the nearest centroid of each part.

The classic for a few dozen bytes a row: 4-bit indices are scanned fastest, 8-bit indices keep more of a row
in the same bytes and take longer to fit and to scan. Where directions differ much in spread, try ``opq``.

paper: Jégou, Douze, Schmid, 2011, doi:10.1109/TPAMI.2010.57
needs: numpy
status: proven
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np

from nearfield.core.codecs import Codec
from nearfield.core.params import OneOf, Range
from nearfield.core.protocols import F32, U8, Folded, RowFormat
from nearfield.numerics import gains, productcodes
from nearfield.numerics.gains import GainRange
from nearfield.numerics.productcodes import Indices


@dataclass
class PQ(Codec):
    """``parts`` indices of ``code_bits`` bits a row, and one byte of gain that restores the row's length.

    The width is filled up with zeros to a multiple of ``parts``. ``gain=False`` saves the byte and keeps
    the published decoding.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(500, 32)).astype(np.float32)
    >>> codec = PQ(parts=16, code_bits=4).fit(x, rng=np.random.default_rng(1))
    >>> codec.bytes_per_row, codec.encode(x).shape
    (9, (500, 9))
    """

    parts: Annotated[int, Range(1)] = 16
    code_bits: Annotated[int, OneOf(4, 8)] = 8
    gain: bool = True

    @classmethod
    def examples(cls) -> list[Self]:
        """8-bit and 4-bit indices, an odd number of parts, and no gain."""
        return [cls(parts=4), cls(parts=5, code_bits=4), cls(parts=4, code_bits=4, gain=False)]

    @property
    def _indices(self) -> Indices:
        return Indices(self.parts, self.code_bits)

    @property
    def _range(self) -> GainRange:
        return GainRange(self.gain_low_, self.gain_step_)

    @property
    def bytes_per_row(self) -> int:
        """The indices, and the gain."""
        self.need_fit()
        return self._indices.columns + self.gain

    def rows_wanted(self) -> int:
        """As many as its codebooks are trained on."""
        return productcodes.rows_wanted(1 << self.code_bits)

    def fit(self, x: F32, queries: F32 | None = None, *, rng: np.random.Generator) -> Self:
        """Run k-means in each part, on a sample of rows ``[n, d]``."""
        self.dim_ = int(x.shape[1])
        size = 1 << self.code_bits
        kept = productcodes.sample(x, size, rng)
        self.codebooks_ = productcodes.fit_codebooks(productcodes.split(kept, self.parts), size, rng)
        chosen = gains.learn(kept, lambda block: self._decoded(self._assign(block)))
        self.gain_low_, self.gain_step_ = chosen.low, chosen.step
        return self

    def encode(self, x: F32) -> U8:
        """Name the nearest centroid of each part; ties go to the first."""
        self.need_fit()
        self.check_rows(x, self.dim_)
        x = np.ascontiguousarray(x)
        indices = self._assign(x)
        codes = self._indices.pack(indices)
        if not self.gain:
            return codes
        own = self._range.encode(gains.ratios(x, self._decoded(indices)))
        return np.concatenate([codes, own[:, None]], axis=1)

    def decode(self, codes: U8) -> F32:
        """The centroids side by side, scaled by the gain."""
        self.need_fit()
        self.check_codes(codes)
        decoded = self._decoded(self._indices.unpack(codes[:, : self._indices.columns]))
        return decoded * self._range.decode(codes[:, -1])[:, None] if self.gain else decoded

    def row_format(self) -> RowFormat:
        """Indices through tables, then the gain."""
        scale = self._range.constant(self._indices.columns) if self.gain else None
        return self._indices.row_format(self.dim_, scale)

    def fold(self, q: F32) -> Folded:
        """Dot products of each part of the query with its centroids."""
        return self._indices.folded(productcodes.tables(q, self.codebooks_))

    def _assign(self, x: F32) -> U8:
        return productcodes.assign(productcodes.split(x, self.parts), self.codebooks_)

    def _decoded(self, indices: U8) -> F32:
        return productcodes.join(productcodes.centroids_of(indices, self.codebooks_), self.dim_)
