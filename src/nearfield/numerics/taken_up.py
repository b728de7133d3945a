"""Builds of graphs that are taken up again: what was built, and how far that goes, is kept aside from time to time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nearfield.core.protocols import Aside

if TYPE_CHECKING:
    from nearfield.numerics.byterows import ByteRows

Arrays: TypeAlias = dict[str, NDArray[Any]]

EVERY = 30.0  # seconds after which what was built is kept
_HASHED = 1 << 24  # bytes that are hashed at once


@dataclass
class Taken:
    """A build: its arrays, and how many steps of it are done; what is kept ``aside`` bears its ``key``."""

    aside: Aside | None
    key: str
    arrays: Arrays
    done: int = 0
    _change: tuple[Callable[[], None], int] | None = None
    _kept: float = field(default_factory=time.monotonic)

    @classmethod
    def up(
        cls,
        aside: Aside | None,
        rows: ByteRows,
        arrays: Arrays,
        how: tuple[Any, ...],
        drawn: tuple[NDArray[Any], ...],
        sound: Callable[[Arrays, int], bool],
    ) -> Taken:
        """A build that goes on from what is kept aside, where that is of the same rows, settings and draws.

        ``arrays`` are filled with it, unless they are not ``sound``, given how many steps are done.
        """
        if aside is None:
            return cls(None, "", arrays)
        shapes = [(name, a.dtype.str, a.shape) for name, a in arrays.items()]
        digest = hashlib.sha256(repr((how, shapes, rows.dim)).encode())
        for part in (rows.values, rows.sides, *drawn):
            data = np.ascontiguousarray(part).reshape(-1).view(np.uint8).data
            for at in range(0, len(data), _HASHED):
                digest.update(data[at : at + _HASHED])
        made = cls(aside, digest.hexdigest(), arrays)
        found = aside.take(made.key)
        if found is not None and made._fits(found) and sound(found, int(found["done"][0])):
            for name, array in arrays.items():
                array[...] = found[name]
            made.done = int(found["done"][0])
        return made

    def _fits(self, found: Arrays) -> bool:
        wanted = {name: (a.dtype.str, a.shape) for name, a in self.arrays.items()} | {"done": ("<i8", (1,))}
        return wanted == {name: (a.dtype.str, a.shape) for name, a in found.items()} and found["done"][0] > 0

    def change(self, change: Callable[[], None], done: int) -> None:
        """Change the arrays, so that so many steps are done.

        An interrupt comes between two pieces of it, and calling it again goes on from there.
        """
        self._change = (change, done)
        change()
        self.done, self._change = done, None

    def look(self) -> None:
        """Keep what was built where some time has gone since."""
        if self.aside is not None and time.monotonic() - self._kept > EVERY:
            self.put()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep what was built also where the build is interrupted, or ended by who watches it."""
        before = self.done
        try:
            yield
        except BaseException as error:
            if self.aside is not None and self._whole(error) and self.done > before:
                self.put()
            raise

    def _whole(self, error: BaseException) -> bool:
        """Whether the arrays are those of a step that is done; an interrupted one is brought to its end."""
        if self._change is not None and not isinstance(error, Exception):
            self.change(*self._change)
        return self._change is None

    def put(self) -> None:
        """Keep what was built."""
        if self.aside is not None:
            self.aside.put(self.key, self.arrays | {"done": np.array([self.done])})
            self._kept = time.monotonic()
