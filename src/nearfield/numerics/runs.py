"""Values of varying number a row, kept end to end: strings, sparse rows, token vectors, lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.protocols import I64

PIECE = 1 << 20  # values gathered at once: their positions take eight times as many bytes


def starts_of(lengths: NDArray[Any]) -> I64:
    """Where each run starts, and after the last one where all end: ``[n]`` to ``[n + 1]``.

    >>> starts_of(np.array([2, 0, 3])).tolist()
    [0, 2, 2, 5]
    """
    out = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=out[1:])
    return out


def within(starts: I64, lengths: I64) -> I64:
    """The positions that lie in runs, one run after another.

    >>> within(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    total = int(lengths.sum())
    shift = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    return np.asarray(shift + np.arange(total, dtype=np.int64))


def gathered(values: NDArray[Any], starts: I64, lengths: I64, piece: int = PIECE) -> Iterator[NDArray[Any]]:
    """Yield the values of some runs, in the order asked, in pieces of bounded size; neighbours are copied as they lie.

    ``starts`` and ``lengths`` are int64 ``[r]``; ``values`` may have further axes.
    """
    if not len(starts):
        return
    ends = starts + lengths
    breaks = np.flatnonzero(starts[1:] != ends[:-1]) + 1
    if len(breaks) * 8 < len(starts):  # long stretches: slices cost nothing
        for a, b in zip([0, *breaks.tolist()], [*breaks.tolist(), len(starts)]):
            for at in range(int(starts[a]), int(ends[b - 1]), piece):
                yield values[at : min(at + piece, int(ends[b - 1]))]
        return
    filled = np.cumsum(lengths)
    at = 0
    while at < len(starts):
        done = int(filled[at - 1]) if at else 0
        stop = max(at + 1, int(np.searchsorted(filled, done + piece, side="right")))
        yield values[within(starts[at:stop], lengths[at:stop])]
        at = stop


def smallest_uint(largest: int) -> np.dtype[Any]:
    """The smallest unsigned type that holds a number.

    >>> smallest_uint(256)
    dtype('uint16')
    """
    return np.dtype(np.uint8 if largest < 1 << 8 else np.uint16 if largest < 1 << 16 else
                    np.uint32 if largest < 1 << 32 else np.uint64)  # fmt: skip
