"""The base of the Codec room: vectors to bytes, and the default scorer over them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from nearfield.core.errors import BadInput, Unsupported
from nearfield.core.method import Method
from nearfield.core.protocols import F32, U8, Folded, Layout, Metric, Prepared, RowFormat


@dataclass
class Codec(Method):
    """Vectors to bytes. Row ``i`` of the codes depends on row ``i`` of the vectors only.

    A codec that can say what its bytes mean (``row_format``) and turn a query into coefficients over
    them (``fold``) is scanned by native kernels; any other is decoded in blocks. Per-row constants lie
    inside the row's bytes and count in ``bytes_per_row``; everything shared counts in ``shared_bytes``.
    """

    metrics: ClassVar[frozenset[Metric]] = frozenset({"dot", "cosine", "l2"})

    @property
    def bytes_per_row(self) -> int:
        """Bytes of one encoded row, constants included; known after ``fit``."""
        raise TypeError(f"{type(self).__name__} must define bytes_per_row")

    @property
    def shared_bytes(self) -> int:
        """Bytes of matrices, codebooks and levels that all rows share."""
        return self.state_bytes()

    def rows_wanted(self) -> int:
        """How many rows its fit takes profit from; 0 where a few thousand serve as well as all, as for most codecs."""
        return 0

    def fit(self, x: F32, queries: F32 | None = None, *, rng: np.random.Generator) -> Self:
        """Learn from float32 rows ``[n, d]``."""
        raise TypeError(f"{type(self).__name__} must define fit")

    def encode(self, x: F32) -> U8:
        """Encode rows ``[n, d] -> uint8 [n, bytes_per_row]``."""
        raise TypeError(f"{type(self).__name__} must define encode")

    def decode(self, codes: U8) -> F32:
        """Decode ``uint8 [n, bytes_per_row] -> float32 [n, d]``."""
        raise TypeError(f"{type(self).__name__} must define decode")

    def row_format(self) -> RowFormat | None:
        """How native kernels read a row, or None where they cannot."""
        return None

    def fold(self, q: F32) -> Folded:
        """Queries ``[m, d]`` as coefficients over the codes; needed with a ``row_format``."""
        raise TypeError(f"{type(self).__name__} has a row_format and must define fold")

    def takes(self, dtype: np.dtype[Any]) -> bool:
        """Whether rows of this type are stored as they come, without becoming float32 first."""
        return False

    def keeps_input(self) -> bool:
        """Whether the fitted codec does so."""
        return False

    def scorer(self, metric: Metric) -> CodecScorer:
        """Score codes against queries under ``metric``."""
        self.need_fit()
        if metric not in self.metrics:
            known = ", ".join(sorted(self.metrics))
            raise Unsupported(f"{self.name()}: expected a metric among {known}, got {metric!r}")
        return CodecScorer(self, metric)

    def check_rows(self, x: Any, d: int) -> None:
        """Refuse rows of another width than those that were fitted."""
        if x.ndim != 2 or x.shape[1] != d:
            raise BadInput(f"{self.name()}: expected rows of width {d}, as fitted, got shape {x.shape}")

    def check_codes(self, codes: Any) -> None:
        """Refuse bytes that are not rows of this codec."""
        if codes.dtype != np.uint8 or codes.ndim != 2 or codes.shape[1] != self.bytes_per_row:
            raise BadInput(
                f"{self.name()}: expected uint8 codes of {self.bytes_per_row} bytes a row, "
                f"got {codes.dtype} of shape {codes.shape}"
            )


def in_blocks(fmt: RowFormat) -> RowFormat:
    """How the same bytes are read in blocks of 32 rows: nibbles of levels through tables, 32 rows at a look-up."""
    if fmt.layout != Layout.AFFINE4:
        return fmt
    return replace(fmt, layout=Layout.LUT4, element="f32", levels=None, nibble_columns=(fmt.dim + 1) // 2)


def _tables_of(weights: F32, levels: tuple[int, ...]) -> F32:
    """What each level of a nibble adds to the score: ``[m, dim]`` to ``[m, even dim, 16]``."""
    padded = np.zeros((len(weights), weights.shape[1] + weights.shape[1] % 2), np.float32)
    padded[:, : weights.shape[1]] = weights
    return padded[:, :, None] * np.array(levels, np.float32)


@dataclass
class CodecScorer:
    """A codec, as it is fitted, under one metric: prepares queries for kernels, and scores by decoding where asked.

    ``format`` is how native kernels read a row, or None where they cannot; ``blocks`` where rows lie in blocks of 32.
    """

    codec: Codec
    metric: Metric
    blocks: bool = False

    def __post_init__(self) -> None:
        self._row = self.codec.row_format()
        self.format = in_blocks(self._row) if self.blocks and self._row else self._row

    @property
    def layout(self) -> Layout | None:
        """The native layout of the codes, or None."""
        return self.format.layout if self.format else None

    def prepare(self, q: F32) -> Prepared:
        """Check and fold queries ``[m, d]``; under cosine they are scaled to unit length."""
        q = np.ascontiguousarray(q, dtype=np.float32)
        if self.metric == "cosine":
            norms = np.sqrt(np.einsum("ij,ij->i", q, q))
            q = np.asarray(q / np.where(norms > 0, norms, 1)[:, None], dtype=np.float32)
        folded = self.fold(q) if self.format is not None else None
        if folded is not None and self.metric == "l2":
            folded.squares = np.einsum("ij,ij->i", q, q).astype(np.float32)
        return Prepared(q, self.metric, folded)

    def fold(self, q: F32) -> Folded:
        """Queries as coefficients over the codes as they are kept."""
        folded = self.codec.fold(q)
        if folded.weights is not None and self._row is not None and self.layout == Layout.LUT4:
            folded.nibble_tables = _tables_of(folded.weights, self._row.levels or tuple(range(16)))
            folded.weights = None
        return folded

    def score(self, p: Prepared, codes: U8) -> F32:
        """Score every row of ``codes`` for every query: ``[m, n]``, larger is nearer; by decoding."""
        return score_floats(p.queries, self.codec.decode(codes), self.metric)

    def terms_about(self, codes: U8, origins: F32) -> F32 | None:
        """The same of rows whose codes are of what is left when their origins are taken away."""
        own = self.terms(codes)
        if own is None or self.metric != "l2":
            return own
        across = np.einsum("ij,ij->i", origins, self.codec.decode(codes))
        return np.asarray(own + 2 * across + row_terms(origins, "l2"), dtype=np.float32)

    def terms(self, codes: U8) -> F32 | None:
        """The per-row term that l2 and cosine need beside the dot product, ``[n]``; None under dot."""
        if self.metric not in ("l2", "cosine"):
            return None
        return row_terms(self.codec.decode(codes), self.metric)


def row_terms(x: F32, metric: Metric) -> F32:
    """``|x|^2`` under l2, ``1 / |x|`` under cosine (0 for a zero row)."""
    squares = np.einsum("ij,ij->i", x, x)
    if metric == "l2":
        return np.asarray(squares, dtype=np.float32)
    lengths = np.sqrt(np.where(squares > 0, squares, 1))
    return np.asarray(np.where(squares > 0, 1 / lengths, 0), dtype=np.float32)


def score_floats(q: F32, x: F32, metric: Metric) -> F32:
    """Score float rows exactly as the metric says: dot, cosine (``q`` of unit length), minus squared l2."""
    ip = q @ x.T
    if metric == "l2":
        squares = np.einsum("ij,ij->i", q, q)
        return np.asarray(2 * ip - row_terms(x, "l2")[None, :] - squares[:, None], dtype=np.float32)
    if metric == "cosine":
        ip = ip * row_terms(x, "cosine")[None, :]
    return np.asarray(ip, dtype=np.float32)
