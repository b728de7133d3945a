"""Links of a graph while it grows: rows are linked in batches, and a batch in pieces.

What the rows of a batch are to be linked to is chosen first, which takes most of the time and changes nothing. Then
they get their links, and the rows at the other ends take links back. All that may be stopped between two pieces, and
gone on with; how a batch is cut is of no account to the graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.arrays import roomy
from nearfield.numerics import kernels
from nearfield.numerics.pieces import Pace

if TYPE_CHECKING:
    from nearfield.numerics.byterows import ByteRows

U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
NO_LINK = np.uint32(0xFFFFFFFF)  # stands behind the last link of a row
_HALF = np.uint64(32)  # bits
_ROWS, _TAKERS = 64, 1024  # rows of a first piece: to be linked, and that take links back
_INVERTED = 1.3  # alpha at the least where rows are inverted: with fewer links walks pass by the longest
_NEAREST = 2  # candidates for each link of a row at which many walks end
_EDGES = 1 << 21  # links back that are put in order at once


class Links:
    """Links ``[n, room]`` of rows, and how many each has; ``chosen`` of them are given to a row that comes in.

    Walks see ``lines`` of rows, where there are any, and links are chosen of what they come near to, by bytes. Those
    ``held`` already are written in place; ``dead`` rows are walked over, and linked to only for want of others.
    """

    def __init__(
        self,
        rows: ByteRows,
        *,
        degree: int,
        width: int,
        alpha: float,
        chosen: int | None = None,
        threads: int | None = None,
        lines: Any = None,
        held: tuple[U32, NDArray[np.int32]] | None = None,
        dead: NDArray[np.bool_] | None = None,
    ) -> None:
        self.n, self.degree, self.chosen = len(rows.values), degree, chosen or degree
        self._width, self._threads = width, threads
        self._alpha = alpha = max(alpha, _INVERTED) if rows.inverted else alpha
        self.links, self.counts = unlinked(self.n, degree) if held is None else held
        self.native = kernels.native().Growth(
            kernels.which_isa(), rows.values, rows.sides, self.links, self.counts,
            degree, self.chosen, width, alpha, kernels.thread_count(threads), lines,
            None if dead is None else dead.view(np.uint8),
        )  # fmt: skip
        self.choosing, self.taking = Pace(_ROWS), Pace(_TAKERS)

    def of_fewer(self, rows: ByteRows) -> Links:
        """The same links, for rows at which many walks end: three quarters as many, chosen among the nearest alone.

        A walk scores all links of a row, and of many candidates those are kept that lead farther.
        """
        degree, width = self.degree - self.degree // 4, min(self._width, _NEAREST * self.degree)
        held = (self.links, self.counts)
        return Links(rows, degree=degree, width=width, alpha=self._alpha, threads=self._threads, held=held)

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a build keeps."""
        return {"links": self.links, "counts": self.counts}

    def sound(self, found: dict[str, NDArray[Any]]) -> bool:
        """Whether such arrays could be those of a build."""
        links, counts = found["links"], found["counts"]
        held = np.arange(links.shape[1]) < counts[:, None]
        return bool(counts.min() >= 0 and counts.max() <= links.shape[1] and (links[held] < self.n).all())

    def settle(self, rows: U32 | None = None) -> None:
        """Prune those of some rows, or of all, that hold more links than they keep."""
        rows = np.arange(self.n, dtype=np.uint32) if rows is None else rows
        for piece in Pace(_TAKERS).pieces(len(rows)):
            self.native.settle(rows[piece])

    def settled(self) -> U32:
        """The links that remain, ``NO_LINK`` behind the last."""
        self.links[np.arange(self.links.shape[1]) >= self.counts[:, None]] = NO_LINK
        return np.ascontiguousarray(self.links[:, : self.degree])


class Entering:
    """Rows that come into a graph together."""

    def __init__(self, of: Links, rows: U32) -> None:
        self._of, self._rows = of, np.ascontiguousarray(rows)
        self._chosen = np.empty((len(rows), of.chosen), np.uint32)
        self._led = np.zeros(1, np.int64)  # links back that were taken; native code counts them

    def choose(self, begin: U32, *, own: bool = False) -> None:
        """By walks from where all begin, or each its ``own``."""
        begin = np.ascontiguousarray(begin)
        for piece in self._of.choosing.pieces(len(self._rows)):
            some = begin[piece] if own else begin
            self._of.native.choose(self._rows[piece], some, own, self._chosen[piece])

    def choose_near(self, near: U32) -> None:
        """Of rows that are known to be near to each ``[n, k]``, where all rows come in together."""
        for piece in self._of.choosing.pieces(len(self._rows)):
            self._of.native.choose_near(piece.start, near[piece], self._chosen[piece])

    def choose_beyond(self) -> None:
        """Of those that rows which link to dead ones link to, and of what lies beyond the dead."""
        for piece in self._of.choosing.pieces(len(self._rows)):
            self._of.native.choose_beyond(self._rows[piece], self._chosen[piece])

    def link(self) -> None:
        """Give them what was chosen, and lead links back; where that was interrupted, go on with it."""
        if not self._led[0]:
            self._of.native.enter(self._rows, self._chosen)
        before = 0
        for edges in self._edges():
            if len(edges) <= _TAKERS:
                if self._led[0] == before:
                    self._of.native.lead_back(edges, self._led)
                before += len(edges)
                continue
            takers = np.flatnonzero(np.diff(edges >> _HALF, prepend=np.uint64(1 << 32)))
            ends = np.append(takers, len(edges))
            first = int(np.searchsorted(ends, self._led[0] - before)) if len(edges) else 0
            for piece in self._of.taking.pieces(len(takers), first):
                self._of.native.lead_back(edges[ends[piece.start] : ends[piece.stop]], self._led)
            before += len(edges)

    def _edges(self) -> Iterator[U64]:
        """The links from their other ends, in order: who takes one back in the upper half."""
        parts = -(-self._chosen.size // _EDGES)
        for part in range(parts):
            there = self._chosen != NO_LINK
            if parts > 1:  # those of some takers at a time
                begin, end = (self._of.n * p // parts for p in (part, part + 1))
                there &= (self._chosen >= begin) & (self._chosen < end)
            edges = self._chosen[there].astype(np.uint64) << _HALF
            edges |= np.broadcast_to(self._rows[:, None], there.shape)[there]
            edges.sort()
            yield edges


def room_for(degree: int) -> int:
    """How many links a row may hold while a graph grows: it is pruned once for many that come."""
    return degree + max(1, degree // 2)


def within_rows(links: U32, n: int) -> U32:
    """Links without those that lead to rows behind the ``n``-th, in their order."""
    there = links < n
    order = np.argsort(~there, axis=1, kind="stable")
    return np.take_along_axis(np.where(there, links, NO_LINK), order, axis=1)


def unlinked(n: int, degree: int) -> tuple[U32, NDArray[np.int32]]:
    """Room for links while a graph grows, and how many there are."""
    links = roomy((n, room_for(degree)), np.uint32)
    links[...] = NO_LINK
    return links, np.zeros(n, np.int32)
