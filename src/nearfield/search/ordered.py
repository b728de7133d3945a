"""Rows gathered from several sets under an index that keeps rows in an order of its own.

A row stays in its list, whose origin its codes need; lists of all sets are joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.protocols import I64
from nearfield.numerics import kernels
from nearfield.search.columns import Sink
from nearfield.search.fit import Fitted, coded_columns, column_shapes, interleaved, put_index, read_by_rows

if TYPE_CHECKING:
    from nearfield.search.packed import Packed

_STEP = 1 << 16  # rows at a time; a multiple of a block


def gather_ordered(fitted: Fitted, sources: Sequence[tuple[Packed, I64]], out: Sink) -> None:
    """Give the columns of these rows, numbered from set to set, to the sink."""
    made = fitted.index.merged([packed.index.kept_with(at) for packed, at in sources])
    ends = np.cumsum([len(at) for _, at in sources])
    shapes = column_shapes(fitted)
    put_index(fitted, made, out)
    for name, codec, first in coded_columns(fitted):
        for column in (name, f"{name}.terms"):
            if column not in shapes:
                continue
            codes = first and column == name
            blocks = codes and interleaved(fitted.codec, fitted.index)
            out.begin(column, *shapes[column], paged=read_by_rows(column, fitted.index))
            for packed, _ in sources:
                packed.verify_column(name)
            for start in range(0, fitted.n, _STEP):
                rows = made["order"][start : start + _STEP].astype(np.int64)
                piece = _picked(sources, ends, rows, column, codes=codes)
                out.append(column, kernels.pack(piece, codec.bytes_per_row) if blocks else piece)


def _picked(sources: Sequence[tuple[Packed, I64]], ends: I64, rows: I64, column: str, *, codes: bool) -> NDArray[Any]:
    """What a column holds of some of the gathered rows."""
    owner = np.searchsorted(ends, rows, side="right")
    out: NDArray[Any] | None = None
    for i in np.unique(owner).tolist():
        packed, at = sources[i]
        mine = np.flatnonzero(owner == i)
        wanted = at[rows[mine] - (ends[i] - len(at))]
        got = packed.codes(wanted) if codes else packed.columns[column][packed.index.places(wanted)]
        if out is None:
            out = np.empty((len(rows), *got.shape[1:]), got.dtype)
        out[mine] = got
    return np.zeros(0, np.uint8) if out is None else out
