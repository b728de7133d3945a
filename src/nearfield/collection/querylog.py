"""The log of queries: what is really asked, for advice and recall on it."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.collection.state import State
from nearfield.core.errors import NearfieldError
from nearfield.core.protocols import F32
from nearfield.store.locks import on_fork

FLUSH = 100  # queries that are held in memory before they are written


class QueryLog:
    """Keeps the last ``most`` queries of each field; searching never waits for it and never fails by it."""

    def __init__(self, state: State, most: int) -> None:
        self._state = state
        self._most = most
        self._held: list[tuple[str, bytes]] = []
        self._guard = threading.Lock()
        on_fork(self)

    def forked(self) -> None:
        """What is held is the parent's to write."""
        self._guard, self._held = threading.Lock(), []

    def add(self, name: str, queries: NDArray[Any]) -> None:
        """Note queries ``[m, d]`` of a field."""
        if not self._most or self._state.mode == "r":
            return
        with self._guard:
            self._held += [(name, np.asarray(q, dtype="<f4").tobytes()) for q in queries[-self._most :]]
            due = len(self._held) >= FLUSH
        if due:
            self.flush()

    def flush(self) -> None:
        """Write what is held, unless somebody else writes just now."""
        with self._guard:
            held, self._held = self._held[-self._most :], []
        if not held:
            return
        try:
            with self._state.lock.held(0):
                self._state.catalog.log(held, self._most)
        except NearfieldError:
            with self._guard:
                self._held = (held + self._held)[-self._most :]

    def queries(self, name: str, dim: int) -> F32:
        """The logged queries of a field, oldest first: float32 ``[m, dim]``."""
        self.flush()
        rows = [q for q in self._state.catalog.logged(name) if len(q) == 4 * dim]
        found = np.frombuffer(b"".join(rows), "<f4").reshape(-1, dim).astype(np.float32)
        return np.asarray(found[np.isfinite(found).all(axis=1)])
