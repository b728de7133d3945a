"""Where encoded columns go: memory, or straight into a file where they would not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nearfield.core import arrays


class Sink(Protocol):
    """Takes columns in pieces, several side by side."""

    def begin(self, name: str, dtype: Any, shape: tuple[int, ...], *, paged: bool = False) -> None: ...
    def append(self, name: str, rows: NDArray[Any]) -> None: ...


class MemorySink:
    """Columns as arrays, each allocated once."""

    def __init__(self) -> None:
        self.columns: dict[str, NDArray[Any]] = {}
        self._at: dict[str, int] = {}

    def begin(self, name: str, dtype: Any, shape: tuple[int, ...], *, paged: bool = False) -> None:
        self.columns[name] = arrays.roomy(shape, dtype)
        self._at[name] = 0

    def append(self, name: str, rows: NDArray[Any]) -> None:
        at = self._at[name]
        self.columns[name][at : at + rows.shape[0]] = rows
        self._at[name] = at + rows.shape[0]


def text_columns(name: str, values: list[str]) -> dict[str, NDArray[Any]]:
    """Strings as two columns: their UTF-8 bytes, and where each ends."""
    encoded = [v.encode("utf-8", errors="strict") for v in values]
    ends = np.cumsum([len(e) for e in encoded], dtype=np.int64)
    data = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    return {f"{name}.bytes": data, f"{name}.ends": ends}


class Texts:
    """Strings kept as two columns and decoded one at a time.

    ``touch`` is told of the bytes that are looked at, before they are.
    """

    def __init__(
        self, data: NDArray[np.uint8], ends: NDArray[np.int64], touch: Callable[[int, int], None] | None = None
    ) -> None:
        self.data = data
        self.ends = ends
        self.touch = touch

    def __len__(self) -> int:
        return int(self.ends.size)

    def __getitem__(self, row: int) -> str:
        if not 0 <= row < self.ends.size:
            raise IndexError(row)
        start = int(self.ends[row - 1]) if row else 0
        if self.touch is not None:
            self.touch(start, int(self.ends[row]))
        return self.data[start : int(self.ends[row])].tobytes().decode("utf-8", errors="replace")

    def in_order(self) -> bool:
        """Whether every string ends where the next one begins, all within the bytes there are."""
        ends = self.ends
        return not ends.size or bool(ends[0] >= 0 and (ends[1:] >= ends[:-1]).all() and ends[-1] <= self.data.size)

    @property
    def nbytes(self) -> int:
        return int(self.data.nbytes + self.ends.nbytes)
