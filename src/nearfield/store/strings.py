"""Strings of the rows of a segment: their bytes end to end, and how long each is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import BadInput, Corrupt
from nearfield.core.protocols import I64, U8
from nearfield.numerics.runs import gathered, smallest_uint, starts_of


def check_encodable(values: Sequence[str | None], what: str) -> None:
    """Raise ``BadInput`` naming the row of a string that UTF-8 cannot hold."""
    for i, value in enumerate(values):
        if value and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise BadInput(f"{what}: expected text that UTF-8 can hold, got a lone surrogate in row {i}") from None


class Strings:
    """``n`` strings or None, immutable; ``data`` are their UTF-8 bytes, ``sizes`` 0 for None, else bytes + 1.

    >>> Strings.build(["ab", None, ""]).at(np.array([2, 1, 0]))
    ['', None, 'ab']
    """

    def __init__(self, data: U8, sizes: NDArray[Any]) -> None:
        self.data = data
        self.sizes = sizes
        self._starts: I64 | None = None

    @classmethod
    def build(cls, values: Sequence[str | None], what: str = "texts") -> Strings:
        """Take strings; ``BadInput`` for what is none, or what UTF-8 cannot hold."""
        encoded: list[bytes | None] = []
        for i, value in enumerate(values):
            if value is not None and not isinstance(value, str):
                raise BadInput(f"{what}: expected str or None, got {type(value).__name__} in row {i}")
            try:
                encoded.append(None if value is None else value.encode())
            except UnicodeEncodeError:
                raise BadInput(f"{what}: expected text that UTF-8 can hold, got a lone surrogate in row {i}") from None
        sizes = np.array([0 if e is None else len(e) + 1 for e in encoded], dtype=np.int64)
        data = np.frombuffer(b"".join(e for e in encoded if e), dtype=np.uint8)
        return cls(data, sizes.astype(smallest_uint(int(sizes.max(initial=0)))))

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def starts(self) -> I64:
        """Where each string starts, and where all end; checked against the bytes there."""
        if self._starts is None:
            starts = starts_of(self.lengths(self.sizes))
            if int(starts[-1]) != self.data.size or (starts[1:] < starts[:-1]).any():
                raise Corrupt(f"the strings should take {int(starts[-1])} bytes, there are {self.data.size}")
            self._starts = starts
        return self._starts

    @staticmethod
    def lengths(sizes: NDArray[Any]) -> I64:
        """Bytes of each string, 0 for None."""
        return np.maximum(sizes.astype(np.int64) - 1, 0)

    def one(self, position: int) -> str | None:
        """One string."""
        if not self.sizes[position]:
            return None
        start, stop = self.starts[position], self.starts[position + 1]
        return self.data[start:stop].tobytes().decode("utf-8", errors="replace")

    def at(self, positions: I64) -> list[str | None]:
        """Some strings, in the order asked."""
        return [self.one(int(p)) for p in positions]

    def pieces(self, positions: I64) -> Iterator[U8]:
        """The bytes of some strings, end to end, a piece at a time."""
        yield from gathered(self.data, self.starts[positions], self.lengths(self.sizes[positions]))

    def all(self) -> list[str | None]:
        """Every string."""
        whole, starts = self.data.tobytes(), self.starts.tolist()
        return [
            whole[a:b].decode("utf-8", errors="replace") if size else None
            for a, b, size in zip(starts, starts[1:], self.sizes.tolist())
        ]
