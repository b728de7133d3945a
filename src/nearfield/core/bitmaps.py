"""Which rows a filter lets through, a bit a row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import BadInput


class Bitmap:
    """Which of ``n`` rows a filter lets through: made once from a bool a row, it serves many searches.

    ``words`` uint64 ``[1, ceil(n / 64)]``, the lowest bit of a word its first row; ``counts`` int64 ``[1]``, how many
    rows pass. From bool ``[m, n]`` it holds a filter for each of ``m`` queries.

    >>> some = Bitmap(np.array([True, False, True]))
    >>> some.matches, some.words.tolist()
    (2, [[5]])
    """

    __slots__ = ("_flags", "counts", "matches", "n", "words")

    def __init__(self, allow: NDArray[np.bool_]) -> None:
        flags: Any = allow
        if not isinstance(flags, np.ndarray) or flags.dtype != np.bool_ or flags.ndim not in (1, 2) or not flags.size:
            raise BadInput(f"allow: expected bool [n] or [m, n], got {getattr(flags, 'dtype', type(flags).__name__)}")
        rows = np.atleast_2d(flags)
        self.n = rows.shape[1]
        self._flags: NDArray[np.bool_] | None = None
        wide = -(-self.n // 64) * 8
        packed = np.zeros((len(rows), wide), np.uint8)
        bits = np.packbits(rows, axis=1, bitorder="little")
        packed[:, : bits.shape[1]] = bits
        self.words: NDArray[np.uint64] = packed.view("<u8").astype(np.uint64, copy=False)
        self.counts = np.count_nonzero(rows, axis=1).astype(np.int64)
        self.matches = int(self.counts[0])  # of the first

    @property
    def flags(self) -> NDArray[np.bool_]:
        """A bool a row: ``[n]``, or ``[m, n]`` where there are several filters."""
        if self._flags is None:
            bits = self.words.astype("<u8", copy=False).view(np.uint8)
            flags = np.unpackbits(bits, axis=1, count=self.n, bitorder="little").astype(np.bool_)
            self._flags = flags[0] if len(flags) == 1 else flags
        return self._flags
