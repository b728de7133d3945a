"""Recurrent binary codes (BEBR): a few learned bits a dimension, by residual blocks.

Finer than one-shot binary codes of the same size, scanned by the same look-ups. A new version can be
trained so that its codes and those of an older model share one index.

paper: S125 (Gan et al. 2023, Binary embedding-based retrieval at Tencent, arXiv:2302.08714)
needs: torch (to fit; encoding and search need numpy only)
status: proven
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.core.codecs import Codec
from nearfield.core.errors import BadInput
from nearfield.core.optional import require
from nearfield.core.params import OneOf, Range
from nearfield.core.protocols import F32, U8, Folded, Layout, RowFormat
from nearfield.numerics import gains, kernels, recurrent
from nearfield.numerics.planes import Planes

FIT_ROWS = 20_000
LEAST_ROWS = 16  # below this there is nothing to normalise a batch with: the start is kept
ENCODE_ROWS = 4096


@dataclass
class RecurrentBinary(Codec):
    """Learns ``bits`` signs for each of ``dim`` outputs (None: as many as the rows have dimensions).

    ``steps`` of training with perceptrons ``hidden`` wide, on 20,000 rows; 0 keeps the closed-form start.
    A linear decoder takes codes back to rows. ``queries="float"`` scores float queries against it
    (asymmetric); ``"codes"`` cuts queries to codes first (the paper's symmetric distance calculation, with
    the decoder's inner product). ``gain`` restores each row's length, with a byte.

    >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    >>> RecurrentBinary(bits=2, steps=0).fit(x, rng=np.random.default_rng(0)).bytes_per_row
    3
    """

    bits: Annotated[int, Range(1, 8)] = 2
    dim: Annotated[int | None, Range(1)] = None
    hidden: Annotated[int, Range(1)] = 256
    steps: Annotated[int, Range(0)] = 200
    queries: Annotated[str, OneOf("float", "codes")] = "float"
    gain: bool = True

    skips: ClassVar[dict[str, str]] = {
        "repeatable": "torch does not promise the same sums on every machine and at every number of threads"
    }

    @classmethod
    def examples(cls) -> list[Self]:
        return [
            cls(hidden=16, steps=20),
            cls(bits=1, hidden=16, steps=10),
            cls(bits=4, hidden=16, steps=10, gain=False),
        ]

    @property
    def _planes(self) -> Planes:
        return Planes(self.bits, self.width_)

    @property
    def bytes_per_row(self) -> int:
        """The bits, and the gain's byte."""
        self.need_fit()
        return self._planes.columns + int(self.gain)

    def fit(self, x: F32, queries: F32 | None = None, *, rng: np.random.Generator) -> Self:
        """Train on rows ``[n, d]``."""
        torch = require("torch", extra="torch")
        d = x.shape[1]
        width = d if self.dim is None else self.dim
        if width > d:
            raise BadInput(f"recurrent_binary: dim={width} is more than the {d} dimensions of the rows")
        sample = self._sample(x, rng)
        network = recurrent.start(sample, self.bits, width, self.hidden, rng)
        if self.steps and len(sample) >= LEAST_ROWS:
            network = recurrent.train(torch, network, sample, self.steps, rng)
        self._keep(network, width, d)
        self._fit_decoder(self._integers(sample), sample)
        self._fit_gains(sample)
        return self

    def fit_compatible(self, x: F32, old: RecurrentBinary, x_old: F32, *, rng: np.random.Generator) -> Self:
        """Train a new version whose codes can be searched together with those of ``old``.

        ``x [n, d]`` are rows of the new space and ``x_old [n, d_old]`` the same rows in the old one. The new
        codec then scores new queries against codes of either version. Raises ``BadInput`` where bits, width
        or rows differ.
        """
        torch = require("torch", extra="torch")
        old.need_fit()
        if old.bits != self.bits or (self.dim or old.width_) != old.width_ or old.gain != self.gain:
            raise BadInput(
                f"recurrent_binary: expected bits, dim and gain of the old model ({old.bits}, {old.width_}, "
                f"{old.gain}), got {self.bits}, {self.dim}, {self.gain}"
            )
        if len(x) != len(x_old):
            raise BadInput(f"recurrent_binary: expected the same rows in both spaces, got {len(x)} and {len(x_old)}")
        chosen = np.sort(rng.choice(len(x), min(len(x), FIT_ROWS), replace=False))
        sample, before = np.ascontiguousarray(x[chosen], dtype=np.float32), old._integers(x_old[chosen])
        network = recurrent.start(sample, self.bits, old.width_, self.hidden, rng, before)
        keys = recurrent.values(before, self.bits)
        if self.steps and len(sample) >= LEAST_ROWS:
            network = recurrent.train(torch, network, sample, self.steps, rng, keys)
        self._keep(network, old.width_, x.shape[1])
        # One decoder for both versions' codes, so that one index can hold both.
        both = np.concatenate([self._integers(sample), before])
        self._fit_decoder(both, np.concatenate([sample, sample]))
        if self.gain:  # the bytes of old rows must mean the same
            self._keep_gains(old._gains)
        return self

    def _sample(self, x: F32, rng: np.random.Generator) -> F32:
        chosen = np.sort(rng.choice(len(x), min(len(x), FIT_ROWS), replace=False))
        return np.ascontiguousarray(x[chosen], dtype=np.float32)

    def _keep(self, network: recurrent.Network, width: int, d: int) -> None:
        self.width_, self.dim_ = width, d
        for block, weights in network.blocks().items():
            for part, values in weights.items():
                setattr(self, f"{block}_{part}_", np.ascontiguousarray(values, dtype=np.float32))

    def _network(self) -> recurrent.Network:
        def block(name: str) -> recurrent.Weights:
            parts = ("linear", "bias", "inner", "inner_bias", "outer")
            return {part: getattr(self, f"{name}_{part}_").astype(np.float64) for part in parts}

        loops = range(self.bits - 1)
        return recurrent.Network(block("base"), [block(f"back{t}") for t in loops], [block(f"rest{t}") for t in loops])

    def _fit_decoder(self, integers: NDArray[np.uint16], x: F32) -> None:
        codes = recurrent.values(integers, self.bits).astype(np.float64)
        decoder, shift = recurrent.ridge(codes, x.astype(np.float64))
        self.decoder_, self.shift_ = decoder.T.astype(np.float32).copy(), shift.astype(np.float32)

    def _fit_gains(self, x: F32) -> None:
        if self.gain:
            found = gains.learn(x, lambda block: self._shape(self._integers(block)))
            self._keep_gains(found)

    def _keep_gains(self, found: gains.GainRange) -> None:
        self.gain_low_, self.gain_step_ = found.low, found.step

    @property
    def _gains(self) -> gains.GainRange:
        return gains.GainRange(self.gain_low_, self.gain_step_)

    def _integers(self, x: F32) -> NDArray[np.uint16]:
        network = self._network()
        blocks = [network.integers(x[i : i + ENCODE_ROWS]) for i in range(0, len(x), ENCODE_ROWS)]
        return np.concatenate(blocks) if blocks else np.zeros((0, self.width_), np.uint16)

    def _shape(self, integers: NDArray[np.uint16]) -> F32:
        # float64, so that a gain's byte does not hang on the order of summation.
        codes = recurrent.values(integers, self.bits).astype(np.float64)
        return np.asarray(codes @ self.decoder_.astype(np.float64) + self.shift_, dtype=np.float32)

    def encode(self, x: F32) -> U8:
        """Run the blocks, and pack the signs; the gain behind them."""
        self.need_fit()
        self.check_rows(x, self.dim_)
        integers = self._integers(x)
        packed = self._planes.pack(integers)
        if not self.gain:
            return packed
        gain = self._gains.encode(gains.ratios(x, self._shape(integers)))
        return np.concatenate([packed, gain[:, None]], axis=1)

    def decode(self, codes: U8) -> F32:
        """Take codes back to rows by the linear decoder."""
        self.need_fit()
        self.check_codes(codes)
        decoded = self._shape(self._planes.unpack(codes))
        if self.gain:
            decoded = decoded * self._gains.decode(codes[:, -1])[:, None]
        return np.asarray(decoded, dtype=np.float32)

    def row_format(self) -> RowFormat:
        """Nibble planes: the decoder is linear in the bits."""
        columns = self._planes.columns
        constant = self._gains.constant(columns) if self.gain else None
        layout = Layout.BITS if self.bits == 1 else Layout.BITS_PLUS
        return RowFormat(layout, self.bytes_per_row, self.width_, nibble_columns=columns, scale=constant)

    def fold(self, q: F32) -> Folded:
        """Tables of the query in the codes' space; symmetric scoring cuts the query to a code first."""
        if self.queries == "codes":
            q = self._as_code(q)
        weights = kernels.dots(q, self.decoder_)
        step = np.float32(2.0 ** (2 - self.bits))
        offset = np.float32(2.0 ** (1 - self.bits) * (2**self.bits - 1))
        inside = np.einsum("ij,j->i", q, self.shift_, dtype=np.float64) - offset * weights.sum(axis=1, dtype=np.float64)
        return Folded(nibble_tables=self._planes.tables(weights * step), inside=inside.astype(np.float32))

    def _as_code(self, q: F32) -> F32:
        """The query as its own code says it, at its own length."""
        shape = self._shape(self._integers(q))
        return np.asarray(shape * gains.ratios(q, shape)[:, None], dtype=np.float32)
