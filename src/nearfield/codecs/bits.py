"""Packed bits as they came: for metric ``hamming``.

For binary embeddings and fingerprints packed with ``numpy.packbits``; which end comes first does not
matter to the distance.

paper: none; the identity on binary codes
needs: numpy
status: proven
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from nearfield.core.codecs import Codec, CodecScorer
from nearfield.core.errors import BadInput, Unsupported
from nearfield.core.protocols import F32, U8, Folded, Layout, Metric, Prepared, RowFormat
from nearfield.numerics import kernels, scalars


@dataclass
class Bits(Codec):
    """Stores packed bits ``uint8 [n, bytes]`` and scores minus the Hamming distance, exactly."""

    metrics: ClassVar[frozenset[Metric]] = frozenset({"hamming"})
    skips: ClassVar[dict[str, str]] = {"floats": "it takes packed bits, and is tested on them by its own test"}

    def takes(self, dtype: np.dtype[Any]) -> bool:
        """Packed bits only."""
        return dtype == np.uint8

    def keeps_input(self) -> bool:
        """Always."""
        return True

    @property
    def bytes_per_row(self) -> int:
        """One byte for eight bits."""
        self.need_fit()
        return self.bytes_

    def fit(self, x: Any, queries: F32 | None = None, *, rng: np.random.Generator) -> Self:
        """Note the width."""
        if x.dtype != np.uint8:
            raise BadInput(f"bits: expected packed bits as uint8 (numpy.packbits), got {x.dtype}")
        self.bytes_ = int(x.shape[1])
        return self

    def encode(self, x: Any) -> U8:
        """The bytes themselves."""
        self.need_fit()
        if x.dtype != np.uint8:
            raise BadInput(f"bits: expected packed bits as uint8 (numpy.packbits), got {x.dtype}")
        self.check_rows(x, self.bytes_)
        return np.ascontiguousarray(x)

    def decode(self, codes: U8) -> F32:
        """The bits as 0.0 and 1.0, the lowest bit of each byte first."""
        self.need_fit()
        self.check_codes(codes)
        return np.unpackbits(codes, axis=1, bitorder="little").astype(np.float32)

    def row_format(self) -> RowFormat:
        """Nibbles of four bits, each a look-up."""
        return RowFormat(Layout.BITS, self.bytes_per_row, 8 * self.bytes_, nibble_columns=self.bytes_)

    def fold(self, q: F32) -> Folded:
        """Minus the bits in which a nibble of the query, of 0.0 and 1.0, differs from each there may be."""
        signs = q - np.float32(0.5)  # equal bits add a half, others take one away
        return Folded(nibble_tables=scalars.sign_tables(signs), inside=np.full(len(q), -4.0 * self.bytes_, np.float32))

    def scorer(self, metric: Metric) -> CodecScorer:
        """Count the bits that differ."""
        self.need_fit()
        if metric != "hamming":
            raise Unsupported(f"bits: expected metric 'hamming', got {metric!r}")
        return _HammingScorer(self, metric)


class _HammingScorer(CodecScorer):
    """Minus the number of bits that differ: whole numbers, so that ties are ties."""

    def score(self, p: Prepared, codes: U8) -> F32:
        """Score every row for every query: ``[m, n]``; queries are 0.0 and 1.0."""
        q = np.packbits(p.queries > 0.5, axis=1, bitorder="little")
        return np.asarray(-kernels.hamming(q, np.ascontiguousarray(codes)), dtype=np.float32)
