"""Builds of graphs that are taken up again: links and how far they go are kept aside from time to time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.protocols import Aside

if TYPE_CHECKING:
    from nearfield.numerics.graphs import U32, ByteRows

EVERY = 30.0  # seconds after which what was linked is kept


@dataclass
class Taken:
    """A build: its links, and of how many rows of its order they are; what is kept ``aside`` bears its ``key``."""

    aside: Aside | None
    key: str
    links: U32
    counts: NDArray[np.int32]
    order: U32
    linked: int = 0
    going: int = 0  # of how many they are when the batch at hand is linked
    _kept: float = field(default_factory=time.monotonic)

    @classmethod
    def up(
        cls,
        aside: Aside | None,
        rows: ByteRows,
        links: U32,
        counts: NDArray[np.int32],
        order: U32,
        how: tuple[Any, ...],
    ) -> Taken:
        """A build that goes on from what is kept aside, where that is of the same rows, order and settings."""
        if aside is None:
            return cls(None, "", links, counts, order)
        digest = hashlib.sha256(repr((how, links.shape, rows.dim)).encode())
        for part in (rows.values, rows.sides, order):
            digest.update(np.ascontiguousarray(part).view(np.uint8).data)
        made = cls(aside, digest.hexdigest(), links, counts, order)
        found = aside.take(made.key)
        if found is not None and made._sound(found):
            links[...], counts[...] = found["links"], found["counts"]
            made.linked = int(found["linked"][0])
        return made

    def _sound(self, found: dict[str, NDArray[Any]]) -> bool:
        n, room = self.links.shape
        wanted = {"links": ("<u4", (n, room)), "counts": ("<i4", (n,)), "linked": ("<i8", (1,))}
        if any(name not in found or (found[name].dtype.str, found[name].shape) != how for name, how in wanted.items()):
            return False
        links, counts = found["links"], found["counts"]
        held = np.arange(room) < counts[:, None]
        return bool(
            counts.min() >= 0 and counts.max() <= room and (links[held] < n).all() and 0 < found["linked"][0] <= n
        )

    def look(self) -> None:
        """Keep what was linked where some time has gone since."""
        if self.aside is not None and time.monotonic() - self._kept > EVERY:
            self._put()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep what was linked also where the build is interrupted, or ended by who watches it."""
        before = self.linked
        try:
            yield
        except BaseException as error:
            begun = self.linked < len(self.order) and self.counts[self.order[self.linked]] > 0
            if begun and isinstance(error, KeyboardInterrupt):  # seen when native code has come to the batch's end
                self.linked, begun = self.going, False
            if not begun and self.linked > before:
                self._put()
            raise

    def _put(self) -> None:
        if self.aside is not None:
            state = {"links": self.links, "counts": self.counts, "linked": np.array([self.linked])}
            self.aside.put(self.key, state)
            self._kept = time.monotonic()
