"""Long work in pieces of about a twentieth of a second: between two of them Python sees an interrupt."""

from __future__ import annotations

import time
from collections.abc import Iterator

SOON = 0.05  # seconds that a piece may take
_MOST = 1 << 20


class Pace:
    """How many go into a piece: as many as the last ones let expect."""

    def __init__(self, some: int) -> None:
        self._some = some

    def pieces(self, m: int, at: int = 0) -> Iterator[slice]:
        """What is left of ``m`` from ``at`` on, piece by piece."""
        while at < m:
            begun, some = time.perf_counter(), min(self._some, m - at)
            yield slice(at, at + some)
            at += some
            took = time.perf_counter() - begun
            if took < SOON:
                self._some = min(max(self._some, 2 * some), _MOST)
            elif took > 2 * SOON:
                self._some = max(some // 2, 1)
