"""RaBitQ: 1 to 8 bits a dimension after a random rotation, with an unbiased estimate and an error bound.

The choice where a guarantee is wanted: nothing is trained but the mean, the estimate of every dot product is
unbiased over the random rotation, and its error bound, given by ``bounds``, holds with a known probability.

paper: Gao and Long, 2024, arXiv:2405.12497 (1 bit); Gao et al., 2024, arXiv:2409.09913 (more bits)
needs: numpy
status: proven
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np

from nearfield.core.codecs import Codec, CodecScorer
from nearfield.core.errors import BadInput, Unsupported
from nearfield.core.method import State
from nearfield.core.params import Range
from nearfield.core.protocols import F32, U8, Constant, Folded, Layout, Metric, Prepared, RowFormat
from nearfield.numerics import rotations, spectra
from nearfield.numerics.planes import Planes
from nearfield.numerics.spheregrid import nearest_direction

EPSILON = 1.9  # the published confidence: the bound fails for about one pair in twenty at most
_HALF_ERROR = 2.0**-11  # relative error of rounding to float16


@dataclass
class RaBitQ(Codec):
    """The grid vector nearest in direction to the turned row, and two float16 constants.

    A row is ``mean + r``. With ``y`` the grid vector of the turned ``r``, the constants are the factor
    ``|r|^2 / <y, r>`` that makes the estimate ``<q, mean> + factor * <y, q>`` unbiased, and the error
    ``|r| * sqrt(1 / cos^2 - 1)`` with ``cos`` the cosine between ``y`` and ``r``.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(500, 32)).astype(np.float32)
    >>> codec = RaBitQ(bits=4).fit(x, rng=np.random.default_rng(1))
    >>> codec.bytes_per_row
    20
    >>> low, high = codec.bounds(x[:2], codec.encode(x))
    >>> float(((low <= x[:2] @ x.T) & (x[:2] @ x.T <= high)).mean()) > 0.9
    True
    """

    bits: Annotated[int, Range(1, 8)] = 4

    @classmethod
    def examples(cls) -> list[Self]:
        """Every layout, and planes of 4, 2 and 1 bits."""
        return [cls(bits=1), cls(bits=2), cls(bits=3), cls(bits=4), cls(bits=7), cls(bits=8)]

    @property
    def _planes(self) -> Planes:
        return Planes(self.bits, self.dim_)

    @property
    def bytes_per_row(self) -> int:
        """The bits, and four bytes of constants."""
        self.need_fit()
        return self._planes.columns + 4

    def fit(self, x: F32, queries: F32 | None = None, *, rng: np.random.Generator) -> Self:
        """Take the mean of rows ``[n, d]`` and draw a rotation."""
        self.dim_ = int(x.shape[1])
        self.mean_ = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.rotation_ = np.asfortranarray(spectra.random_rotation(self.dim_, rng))
        # Constants are stored in units of a typical factor, so that float16 holds them for rows of any size.
        spread = float(np.sqrt(np.mean((x - self.mean_).astype(np.float64) ** 2)))
        typical = spread / 2.0 ** (self.bits - 1)
        self.unit_ = float(2.0 ** np.round(np.log2(typical))) if typical > 1e-30 else 1.0
        return self

    def restore(self, state: State) -> Self:
        """Take up a state, the rotation's columns together: each query is turned by it."""
        super().restore(state)
        self.rotation_ = np.asfortranarray(self.rotation_)
        return self

    def encode(self, x: F32) -> U8:
        """Turn the rows about the mean, round in direction, and add the constants."""
        self.need_fit()
        self.check_rows(x, self.dim_)
        x = np.ascontiguousarray(x)
        turned = rotations.turn(x - self.mean_, self.rotation_)
        integers = nearest_direction(turned, self.bits)
        level = integers.astype(np.float32) - self._middle
        constants = self._constants(turned, level)
        return np.concatenate([self._planes.pack(integers), constants.view(np.uint8)], axis=1)

    def decode(self, codes: U8) -> F32:
        """The mean and the grid vector turned back, times the factor: ``<q, decoded>`` is the estimate."""
        self.need_fit()
        self.check_codes(codes)
        factor, _ = self._read(codes)
        turned = rotations.turn(self._levels(codes) * factor[:, None], self.rotation_.T)
        return np.asarray(turned + self.mean_, dtype=np.float32)

    def row_format(self) -> RowFormat:
        """Bit planes through nibble tables, then the factor; the error is read by ``bounds`` only."""
        columns = self._planes.columns
        layout = Layout.BITS if self.bits == 1 else Layout.BITS_PLUS
        scale = Constant(columns, "f16")
        return RowFormat(layout, self.bytes_per_row, self.dim_, nibble_columns=columns, scale=scale)

    def fold(self, q: F32) -> Folded:
        """The turned query as weights of the integers."""
        weights = rotations.turn(q, self.rotation_) * np.float32(self.unit_)
        inside = -self._middle * weights.sum(axis=1)
        outside = np.einsum("ij,j->i", q, self.mean_)
        return Folded(nibble_tables=self._planes.tables(weights), inside=inside, outside=outside)

    def scorer(self, metric: Metric) -> RaBitQScorer:
        """Score by the published estimators."""
        super().scorer(metric)
        return RaBitQScorer(self, metric)

    def bounds(self, q: F32, codes: U8, epsilon: float = EPSILON) -> tuple[F32, F32]:
        """Lower and upper bounds ``[m, n]`` of the dot products of queries ``[m, d]`` with coded rows.

        The published interval: ``epsilon * |q| * error / sqrt(d - 1)`` on both sides of the estimate. The
        estimation error is close to normal with that scale, so that 1.9 holds for more than 90 of 100 pairs.
        """
        estimate = q @ self.decode(codes).T
        half = self.half_width(q, codes, epsilon)
        # The factor was rounded to float16, which the published bound knows nothing of.
        half += np.float32(_HALF_ERROR) * np.abs(estimate - (q @ self.mean_)[:, None])
        return estimate - half, estimate + half

    def half_width(self, q: F32, codes: U8, epsilon: float = EPSILON) -> F32:
        """Half the width ``[m, n]`` of the published interval of a row's dot product with ``q`` about the mean."""
        self.need_fit()
        self.check_codes(codes)
        _, error = self._read(codes)
        length = np.sqrt(np.einsum("ij,ij->i", q, q))
        wide = epsilon * (1 + _HALF_ERROR) / np.sqrt(max(self.dim_ - 1, 1))
        return np.asarray(length[:, None] * error * np.float32(wide), dtype=np.float32)

    def squares(self, codes: U8) -> F32:
        """Estimates ``[n]`` of the squared lengths of rows: exact about the mean, up to rounding."""
        self.need_fit()
        self.check_codes(codes)
        factor, error = self._read(codes)
        level = self._levels(codes)
        own = factor**2 * np.einsum("ij,ij->i", level, level)
        centre = rotations.turn(self.mean_[None], self.rotation_)[0]
        across = factor * np.einsum("ij,j->i", level, centre)
        about = np.maximum(own - error**2, 0)
        return np.asarray(np.maximum(about + 2 * across + self.mean_ @ self.mean_, 0), dtype=np.float32)

    @property
    def _middle(self) -> np.float32:
        return np.float32(((1 << self.bits) - 1) / 2)

    def _levels(self, codes: U8) -> F32:
        return self._planes.unpack(codes).astype(np.float32) - self._middle

    def _constants(self, turned: F32, level: F32) -> np.ndarray[tuple[int, ...], np.dtype[np.float16]]:
        """Factor and error in float16, in units of ``unit_``: ``[n, 2]``."""
        wide = turned.astype(np.float64)
        square = np.einsum("ij,ij->i", wide, wide)
        along = np.einsum("ij,ij->i", wide, level)
        safe = np.where(along > 0, along, 1)
        factor = np.where(along > 0, square / safe, 0)
        error = np.sqrt(np.maximum(factor**2 * np.einsum("ij,ij->i", level, level) - square, 0))
        both = np.stack([factor, error], axis=1) / self.unit_
        if both.max(initial=0) > 65504:
            raise BadInput("rabitq: expected rows within 10,000 times the spread of the fitted ones; fit on such rows")
        return np.ascontiguousarray(both, dtype="<f2")

    def _read(self, codes: U8) -> tuple[F32, F32]:
        tail = np.ascontiguousarray(codes[:, self._planes.columns :])
        both = tail.view("<f2").astype(np.float32) * np.float32(self.unit_)
        return both[:, 0], both[:, 1]


@dataclass
class RaBitQScorer(CodecScorer):
    """Scores by RaBitQ's estimators: distances take the row's own length, not the decoded row's."""

    codec: RaBitQ

    def score(self, p: Prepared, codes: U8) -> F32:
        """Score every row of ``codes`` for every query ``[m, n]``, larger is nearer."""
        dots = p.queries @ self.codec.decode(codes).T
        terms = self.terms(codes)
        if terms is None:
            return np.asarray(dots, dtype=np.float32)
        if self.metric == "cosine":
            return np.asarray(dots * terms, dtype=np.float32)
        squares = np.einsum("ij,ij->i", p.queries, p.queries)
        return np.asarray(2 * dots - terms - squares[:, None], dtype=np.float32)

    def terms(self, codes: U8) -> F32 | None:
        """The estimate of ``|x|^2`` under l2, of ``1 / |x|`` under cosine; None under dot."""
        if self.metric not in ("l2", "cosine"):
            return None
        squares = self.codec.squares(codes)
        if self.metric == "l2":
            return squares
        return np.asarray(np.where(squares > 0, 1 / np.sqrt(np.where(squares > 0, squares, 1)), 0), dtype=np.float32)

    def bounds(self, p: Prepared, codes: U8, epsilon: float = EPSILON) -> tuple[F32, F32]:
        """Lower and upper bounds ``[m, n]`` of the scores; under dot and l2."""
        if self.metric == "dot":
            return self.codec.bounds(p.queries, codes, epsilon)
        if self.metric != "l2":
            raise Unsupported("rabitq: bounds are known under dot and l2; scale rows to unit length and use dot")
        scores = self.score(p, codes)
        about = p.queries - self.codec.mean_
        half = 2 * self.codec.half_width(about, codes, epsilon)
        rest = self.codec.decode(codes) - self.codec.mean_
        # Rounding the factor moves dot product and square together.
        half += 2 * np.float32(_HALF_ERROR) * np.abs(about @ rest.T - np.einsum("ij,ij->i", rest, rest))
        return scores - half, scores + half
