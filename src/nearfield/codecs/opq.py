"""Optimized product quantization: turn rows so that their parts are cut where it costs least, then PQ.

The most recall for its bytes from 1/8 byte to half a byte a dimension, at a longer fit than ``transform``; with
8-bit codes its scan is slower too. The rotation begins with the principal directions, dealt out so that each
part gets the same product of variances (the parametric solution); ``rounds`` refine it in turn with the codebooks
(the non-parametric one), which lowers the error of the rows that it is fitted on, and little that of others.

paper: Ge, He, Ke, Sun, 2013, doi:10.1109/CVPR.2013.379 (parametric, and non-parametric from there)
needs: numpy
status: proven
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.core.codecs import Codec
from nearfield.core.method import State
from nearfield.core.params import OneOf, Range
from nearfield.core.protocols import F32, U8, Folded, RowFormat
from nearfield.numerics import gains, productcodes, rotations, spectra
from nearfield.numerics.gains import GainRange
from nearfield.numerics.productcodes import Indices

_FLOOR = 1e-3  # of the largest variance: weaker directions are not stretched less, or turning back would magnify


@dataclass
class OPQ(Codec):
    """``parts`` indices of ``code_bits`` bits a row after a learned rotation, and one byte of gain.

    ``rounds`` is how often rotation and codebooks are refined in turn. ``weight`` counts the error along a
    principal direction by its variance to that power: a neighbour's query resembles the row, so errors along
    strong directions cost more score. 0 is the published objective, the squared error itself.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(500, 32)).astype(np.float32)
    >>> codec = OPQ(parts=16, code_bits=4).fit(x, rng=np.random.default_rng(1))
    >>> codec.bytes_per_row, codec.encode(x).shape
    (9, (500, 9))
    """

    parts: Annotated[int, Range(1)] = 16
    code_bits: Annotated[int, OneOf(4, 8)] = 8
    rounds: Annotated[int, Range(0)] = 0
    gain: bool = True
    weight: Annotated[float, Range(0, 1)] = 0.5

    @classmethod
    def examples(cls) -> list[Self]:
        """8-bit and 4-bit indices, an odd number of parts, no gain, and the published objective."""
        return [
            cls(parts=4),
            cls(parts=5, code_bits=4, rounds=4),
            cls(parts=4, code_bits=4, gain=False),
            cls(parts=4, code_bits=4, gain=False, weight=0.0),
        ]

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
        """Alternate between codebooks and rotation on a sample of rows ``[n, d]``."""
        self.dim_ = int(x.shape[1])
        size = 1 << self.code_bits
        kept = productcodes.sample(x, size, rng)
        directions, variances = _principal(kept)
        stretch = np.maximum(variances / variances[0], _FLOOR) ** (self.weight / 2)
        weights = variances ** (1 + self.weight)
        down, up = (dealt((directions * by).astype(np.float32), weights, self.parts) for by in (stretch, 1 / stretch))
        turned = rotations.turn(kept, down)
        parts = productcodes.split(turned, self.parts)
        if self.rounds:
            codebooks = productcodes.fit_codebooks(parts, size, rng, rounds=6)
            rotation = np.eye(turned.shape[1], dtype=np.float32)
            for _ in range(self.rounds):
                rotation, codebooks = _refined(turned, rotation, codebooks)
            codebooks = productcodes.refine(productcodes.split(turned @ rotation, self.parts), codebooks, rounds=5)
            down, up = down @ rotation, up @ rotation
        else:
            del turned  # as large as the rows
            codebooks = productcodes.fit_codebooks(parts, size, rng)
        del parts
        self.codebooks_ = codebooks
        self.turn_, self.back_ = np.ascontiguousarray(down.T), np.ascontiguousarray(up.T)
        chosen = gains.learn(kept, lambda block: self._decoded(self._assign(block)))
        self.gain_low_, self.gain_step_ = chosen.low, chosen.step
        return self

    def restore(self, state: State) -> Self:
        """Take up a state; one of the first release has a plain rotation, which turns back by itself."""
        state = dict(state)
        if "rotation_" in state:
            state["turn_"] = state["back_"] = np.ascontiguousarray(state.pop("rotation_").T)
        return super().restore(state)

    def encode(self, x: F32) -> U8:
        """Turn the rows and name the nearest centroid of each part; ties go to the first."""
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
        """The centroids side by side, turned back and scaled by the gain."""
        self.need_fit()
        self.check_codes(codes)
        decoded = self._decoded(self._indices.unpack(codes[:, : self._indices.columns]))
        return decoded * self._range.decode(codes[:, -1])[:, None] if self.gain else decoded

    def row_format(self) -> RowFormat:
        """Indices through tables, then the gain."""
        scale = self._range.constant(self._indices.columns) if self.gain else None
        return self._indices.row_format(self.dim_, scale)

    def fold(self, q: F32) -> Folded:
        """Dot products of what turns back to each part with its centroids."""
        return self._indices.folded(productcodes.tables(rotations.turn(q, self.back_.T), self.codebooks_))

    def _assign(self, x: F32) -> U8:
        return productcodes.assign(productcodes.split(rotations.turn(x, self.turn_.T), self.parts), self.codebooks_)

    def _decoded(self, indices: U8) -> F32:
        return rotations.turn(_side_by_side(indices, self.codebooks_), self.back_)


def _principal(x: F32) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Principal directions as columns ``[d, d]``, and their variances, the largest first and none zero."""
    values, vectors = spectra.principal(x, x.mean(axis=0, dtype=np.float64), x.shape[1])
    return vectors, np.maximum(values, max(float(values[0]) * 1e-10, 1e-300))


def _side_by_side(indices: U8, codebooks: F32) -> F32:
    parts, _, width = codebooks.shape
    return productcodes.join(productcodes.centroids_of(indices, codebooks), parts * width)


def _refined(x: F32, rotation: F32, codebooks: F32) -> tuple[F32, F32]:
    """One round of Lloyd in each part, then the rotation that brings rows nearest to their centroids."""
    turned = productcodes.split(x @ rotation, len(codebooks))
    codebooks = productcodes.refine(turned, codebooks, rounds=1)
    target = _side_by_side(productcodes.assign(turned, codebooks), codebooks)
    left, _, right = np.linalg.svd(x.T.astype(np.float64) @ target.astype(np.float64), full_matrices=False)
    return (left @ right).astype(np.float32), codebooks


def dealt(columns: F32, values: NDArray[np.float64], parts: int) -> F32:
    """The columns ``[d, r]`` dealt to parts of equal product of values: ``[d, parts * width]``.

    Each column, that of the largest value first, goes to the part whose product is smallest so far and which
    is not full; places that no column is left for are zero.
    """
    width = productcodes.part_width(len(values), parts)
    out = np.zeros((parts * width, len(columns)), np.float32)
    out[_deal(values, parts, width)] = columns.T
    return out.T


def _deal(values: NDArray[np.float64], parts: int, width: int) -> NDArray[np.int64]:
    floor = max(float(values[0]) * 1e-10, 1e-300)
    # Variances are scaled so that each log is positive: a fuller part then never looks emptier.
    logs = np.log(np.maximum(values, floor) / floor) + 1e-9
    load = np.zeros(parts)
    filled = np.zeros(parts, np.int64)
    places = np.empty(len(values), np.int64)
    for i, log in enumerate(logs):
        part = int(np.argmin(np.where(filled < width, load, np.inf)))
        places[i] = part * width + filled[part]
        filled[part] += 1
        load[part] += log
    return places
