"""Arrays that grow: rows are appended at the cost of one copy for each doubling."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Grown:
    """An array with room behind its last row; what was handed out before stays as it was when it moves."""

    def __init__(self, values: NDArray[Any]) -> None:
        self._whole = values
        self._own = False  # what was given may be read elsewhere, to its last place
        self.n = len(values)

    @property
    def values(self) -> NDArray[Any]:
        """The rows that are there; to be written to only after ``reserve``."""
        return self._whole[: self.n]

    @property
    def whole(self) -> NDArray[Any]:
        """The rows and the room behind them."""
        return self._whole

    @property
    def nbytes(self) -> int:
        """Bytes, those of the room included."""
        return int(self._whole.nbytes)

    def reserve(self, rows: int) -> None:
        """Make room for so many rows in all."""
        if rows > len(self._whole) or not self._own:
            room = max(rows, len(self._whole) + len(self._whole) // 2)
            moved = np.empty((room, *self._whole.shape[1:]), self._whole.dtype)
            moved[: self.n] = self.values
            self._whole, self._own = moved, True

    def append(self, rows: NDArray[Any]) -> None:
        """Further rows."""
        self.reserve(self.n + len(rows))
        self._whole[self.n : self.n + len(rows)] = rows
        self.n += len(rows)
