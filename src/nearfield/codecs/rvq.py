"""Residual vector quantization: each stage names a centroid for what the stages before it left.

More accurate than ``pq`` in few bytes, since every stage sees the whole row; its codebooks are as wide as
rows, and it encodes more slowly. A beam of partial codes is kept while encoding.

paper: Chen, Guan, Wang, 2010, doi:10.3390/s101211259; beam encoding as in Babenko and Lempitsky, 2014,
    doi:10.1109/CVPR.2014.124
needs: numpy
status: proven
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.core.codecs import Codec
from nearfield.core.params import OneOf, Range
from nearfield.core.protocols import F32, U8, Folded, RowFormat
from nearfield.numerics import gains, kernels, kmeans, productcodes
from nearfield.numerics.gains import GainRange
from nearfield.numerics.productcodes import Indices

_BLOCK_ROWS = 256
_SAMPLE_PER_CENTROID = 192  # late stages see nearly round clouds, which few rows describe badly


@dataclass
class RVQ(Codec):
    """``stages`` indices of ``code_bits`` bits a row, and one byte of gain that restores the row's length.

    ``beam`` partial codes are kept a row while encoding; 1 is greedy. The gain matters: the length of a sum
    of centroids cannot be read off tables.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32)
    >>> codec = RVQ(stages=4, code_bits=4).fit(x, rng=np.random.default_rng(1))
    >>> codec.bytes_per_row, codec.encode(x).shape
    (3, (500, 3))
    """

    stages: Annotated[int, Range(1, 64)] = 16
    code_bits: Annotated[int, OneOf(4, 8)] = 8
    beam: Annotated[int, Range(1, 64)] = 4
    gain: bool = True

    @classmethod
    def examples(cls) -> list[Self]:
        """8-bit and 4-bit indices, an odd number of stages, and no gain."""
        return [cls(stages=3), cls(stages=5, code_bits=4, beam=2), cls(stages=4, code_bits=4, beam=1, gain=False)]

    @property
    def _indices(self) -> Indices:
        return Indices(self.stages, self.code_bits)

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
        return max(productcodes.SAMPLE_ROWS, _SAMPLE_PER_CENTROID << self.code_bits)

    def fit(self, x: F32, queries: F32 | None = None, *, rng: np.random.Generator) -> Self:
        """Run k-means on rows ``[n, d]``, then on what each stage leaves of them."""
        self.dim_ = int(x.shape[1])
        size = 1 << self.code_bits
        most = self.rows_wanted()
        kept = x if len(x) <= most else x[np.sort(rng.choice(len(x), most, replace=False))]
        rest, books = np.array(kept, dtype=np.float32), []
        for _ in range(self.stages):
            # k-means++ prefers outliers, of which a round cloud of many dimensions has nothing but.
            book = kmeans.kmeans(rest, size, rng=rng, rounds=6, init="rows")
            _take_off(rest, book)
            books.append(book)
        self.codebooks_ = np.stack(books)
        chosen = gains.learn(kept, lambda block: self._decoded(self._assign(block)))
        self.gain_low_, self.gain_step_ = chosen.low, chosen.step
        return self

    def encode(self, x: F32) -> U8:
        """Search the best sums of centroids by beam; ties go to the first."""
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
        """The sum of the centroids, scaled by the gain."""
        self.need_fit()
        self.check_codes(codes)
        decoded = self._decoded(self._indices.unpack(codes[:, : self._indices.columns]))
        return decoded * self._range.decode(codes[:, -1])[:, None] if self.gain else decoded

    def row_format(self) -> RowFormat:
        """Indices through tables, one a stage, then the gain."""
        scale = self._range.constant(self._indices.columns) if self.gain else None
        return self._indices.row_format(self.dim_, scale)

    def fold(self, q: F32) -> Folded:
        """Dot products of the query with all centroids."""
        books = self.codebooks_.reshape(-1, self.dim_)
        return self._indices.folded(kernels.dots(q, books).reshape(len(q), self.stages, -1))

    def _assign(self, x: F32) -> U8:
        """The best index of each stage: ``[n, stages]``."""
        crossed = self._crossed()
        books = self.codebooks_.reshape(-1, self.dim_)
        half = np.float32(0.5) * np.einsum("ij,ij->i", books, books).reshape(self.stages, -1)
        out = np.empty((len(x), self.stages), np.uint8)
        for start in range(0, len(x), _BLOCK_ROWS):
            block = np.ascontiguousarray(x[start : start + _BLOCK_ROWS])
            gain = kernels.dots(books, block).T.reshape(len(block), self.stages, -1) - half
            out[start : start + len(block)] = self._search(gain, crossed)
        return out

    def _crossed(self) -> list[F32]:
        """Dot products of each stage's centroids with those of the stages before: ``[s, size, size]`` each."""
        size = self.codebooks_.shape[1]
        out = []
        for s in range(self.stages):
            earlier = self.codebooks_[:s].reshape(-1, self.dim_)
            products = kernels.dots(earlier, self.codebooks_[s]) if s else np.zeros((0, size), np.float32)
            out.append(products.reshape(s, size, size))
        return out

    def _search(self, gain: F32, crossed: list[F32]) -> U8:
        """Beam search where ``gain[i, s, c]`` is what centroid ``c`` takes off half the squared rest alone.

        Chosen together, two centroids take off less by their dot product: all that is needed are tables.
        """
        n, stages, size = gain.shape
        rows = np.arange(n)[:, None]
        total = np.zeros((n, 1), np.float32)
        chosen = np.zeros((n, 1, stages), np.uint8)
        for s in range(stages):
            scores = total[:, :, None] + gain[:, s][:, None]
            for before in range(s):
                scores -= crossed[s][before][chosen[:, :, before]]
            flat = scores.reshape(n, -1)
            best = _best(flat, min(self.beam, flat.shape[1]))
            total = flat[rows, best]
            chosen = chosen[rows, best // size]
            chosen[:, :, s] = best % size
        return np.asarray(chosen[:, 0])

    def _decoded(self, indices: U8) -> F32:
        out = np.zeros((len(indices), self.dim_), np.float32)
        for book, own in zip(self.codebooks_, indices.T):
            out += book[own]
        return out


def _take_off(rest: F32, book: F32) -> None:
    """Leave of each row what its nearest centroid misses; in place and in blocks, since the rows are many."""
    for start in range(0, len(rest), _BLOCK_ROWS):
        block = rest[start : start + _BLOCK_ROWS]
        block -= book[kmeans.nearest(block, book)]


def _best(scores: F32, count: int) -> NDArray[np.int64]:
    """Places of the largest scores of each row, the largest first; ties go to the first place."""
    return kernels.topk(scores, count)[0]
