"""The words that all rooms share, and the one declarative description of a row of codes.

A codec does not write a kernel: it describes its rows with a ``RowFormat`` and turns a query into
coefficients with ``fold``. Native code knows nine layouts; ``RowFormat`` names one of them and says
where the per-row constants lie. With ``c`` the integers (or floats) of a row, every layout scores::

    ip    = scale * (sum_j weight_j * c_j + inside) + shift * slope + outside
    dot   = ip
    l2    = 2 * ip - |row|^2 - |query|^2          (minus the squared distance)
    cosine = ip / |row|                           (the query was normalised before folding)

where table layouts replace ``weight_j * c_j`` by a look-up ``table_j[c_j]``.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]
U8: TypeAlias = NDArray[np.uint8]
I64: TypeAlias = NDArray[np.int64]
Kind: TypeAlias = Literal["dense", "sparse", "ragged"]
Metric: TypeAlias = Literal["dot", "cosine", "l2", "hamming"]
Element: TypeAlias = Literal["f32", "f16", "bf16", "e4m3", "e5m2", "u8", "i8"]
Progress: TypeAlias = Callable[[str, int, int], None]  # (what, done, total)

METRICS: tuple[Metric, ...] = ("cosine", "dot", "l2", "hamming")


class Layout(enum.StrEnum):
    """How the bytes of a row are read by the scan kernels."""

    F32 = "f32"  # float32 values
    F16 = "f16"  # float16, bfloat16, float8 (e4m3, e5m2): widened by the kernel
    AFFINE8 = "affine8"  # one signed or unsigned byte a coefficient
    AFFINE4 = "affine4"  # one nibble a coefficient, read through 16 signed levels
    BITS = "bits"  # one bit a coefficient: nibbles of four coefficients
    BITS_PLUS = "bits+"  # 2 to 8 bits a coefficient in nibble planes
    LUT4 = "lut4"  # one nibble a part, read through a table made for the query
    LUT8 = "lut8"  # one byte a part, likewise
    MIXED = "mixed"  # nibble columns, then byte columns; each a table


TABLE_LAYOUTS = frozenset({Layout.BITS, Layout.BITS_PLUS, Layout.LUT4, Layout.LUT8, Layout.MIXED})
BLOCK = 32  # rows interleaved together in memory for table layouts


@dataclass(frozen=True)
class Constant:
    """A per-row constant inside the row's bytes; ``u8`` stands for ``low + step * byte``."""

    offset: int
    kind: Literal["u8", "f16", "f32"]
    low: float = 0.0
    step: float = 1.0


@dataclass(frozen=True)
class RowFormat:
    """What the bytes of one row mean.

    Float and affine layouts: ``dim`` values of ``element`` from byte 0 (two a byte for ``affine4``,
    the low nibble first), ``levels`` the 16 signed 8-bit values of a nibble. Table layouts: first
    ``nibble_columns`` bytes of two nibbles each (low nibble = table ``2p``, high = ``2p + 1``), then
    ``byte_columns`` bytes with a 256-entry table each. ``scale`` and ``shift`` lie behind the codes.
    """

    layout: Layout
    width: int
    dim: int
    element: Element = "f32"
    levels: tuple[int, ...] | None = None
    nibble_columns: int = 0
    byte_columns: int = 0
    scale: Constant | None = None
    shift: Constant | None = None


@dataclass
class Folded:
    """Queries turned into coefficients over the codes of one ``RowFormat``; all float32.

    ``weights`` [m, dim] for float and affine layouts; ``nibble_tables`` [m, 2 * nibble_columns, 16]
    and ``byte_tables`` [m, byte_columns, 256] for table layouts; ``inside``, ``slope``, ``outside``
    [m] as in the module's formula; ``squares`` [m] = |query|^2, used by l2 only.
    """

    weights: F32 | None = None
    nibble_tables: F32 | None = None
    byte_tables: F32 | None = None
    inside: F32 | None = None
    slope: F32 | None = None
    outside: F32 | None = None
    squares: F32 | None = None

    def only(self, which: I64 | slice) -> Folded:
        """Some of the queries."""
        return Folded(**{k: v[which] for k, v in vars(self).items() if v is not None})


@dataclass
class Prepared:
    """Queries ready for an index: as given (after the Maps), and folded where the codec has a layout."""

    queries: F32
    metric: Metric
    folded: Folded | None = None

    @property
    def m(self) -> int:
        return int(self.queries.shape[0])

    def only(self, which: I64) -> Prepared:
        """Some of the queries."""
        folded = None if self.folded is None else self.folded.only(which)
        return Prepared(self.queries[which], self.metric, folded)


@runtime_checkable
class Batch(Protocol):
    """Rows that need not fit in memory: an array, or a source with the same three verbs."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def blocks(self, rows: int = ...) -> Iterator[NDArray[Any]]: ...
    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]: ...


class Scorer(Protocol):
    """The hinge between a Codec and an Index."""

    @property
    def layout(self) -> Layout | None: ...
    @property
    def format(self) -> RowFormat | None: ...
    @property
    def metric(self) -> Metric: ...
    def prepare(self, q: F32) -> Prepared: ...
    def score(self, p: Prepared, codes: U8) -> F32: ...


class Aside(Protocol):
    """Where a long build keeps how far it has come, so that another one of the same ``key`` can go on from there."""

    def take(self, key: str) -> dict[str, NDArray[Any]] | None:
        """What was kept of a build of this key; None where there is nothing sound."""

    def put(self, key: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Keep these in the place of what was kept, whole or not at all."""


class Vectors(Protocol):
    """The rows that an index is built of, as the Maps gave them: float32 blocks, as often as they are asked for.

    ``metric`` is ``dot`` (rows of unit length under cosine) or ``l2``; ``aside`` is where a build may be taken up.
    """

    @property
    def n(self) -> int: ...
    @property
    def metric(self) -> Metric: ...
    @property
    def aside(self) -> Aside | None: ...
    def blocks(self) -> Iterator[F32]: ...


@dataclass
class Rows:
    """What an index searches: codes, their scorer, and how to decode them.

    ``codes`` are ``[n, width]``, or blocks ``[ceil(n / 32), width, 32]`` where ``interleaved``; ``terms``
    is the per-row term of l2 and cosine.
    """

    codes: U8
    scorer: Scorer
    decode: Callable[[U8], F32]
    n: int
    terms: F32 | None = None
    interleaved: bool = False
