"""A graph in layers (HNSW): each holds a share of the rows below, and leads to where the walk of the lowest begins.

Rows enter in batches, as in :mod:`nearfield.numerics.graphs`: each is linked to what was there before its batch.

Inverted rows have the lowest layer alone. Where its walk is to begin is known, at the longest rows, and a descent would
score as many as the walk that follows it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import Unsupported
from nearfield.core.protocols import F32, I64, U8, Aside, Metric, RowFormat
from nearfield.numerics import finders, graphs, kernels
from nearfield.numerics.byterows import ByteRows
from nearfield.numerics.graphs import ORDERED, Graph, batches, effort_of, entry_count
from nearfield.numerics.linking import NO_LINK, U32, Entering, Links
from nearfield.numerics.pieces import Pace
from nearfield.numerics.taken_up import Taken

_DESCENTS = 256  # rows of a first piece that descend through a layer


@dataclass
class Layered(Graph):
    """``links`` of the lowest layer; ``entries`` are the members of the upper ones, those of the highest first.

    ``upper`` ``[members of all upper layers, lowest first; degree]``: links by the places of members in ``entries``.
    Where members have no link in it, walks begin in the lowest layer, at the first of them.
    """

    upper: U32

    def finder(self, fmt: RowFormat, codes: U8, metric: Metric, terms: F32 | None) -> Any:
        """What descends through the layers and walks the lowest, natively; its effort is the width of the frontier."""
        native = kernels.native()
        if native is None:
            raise Unsupported("graphs are walked by native code, which is not installed here; use the index flat()")
        n, rows = len(self.links), finders.native_rows(fmt, codes, metric, terms)
        if len(self.entries) > 1 and (self.upper == NO_LINK).all():
            return native.graph_finder(rows, self.links, self.entries[: entry_count(n)], self.effort)
        counts = layer_counts(n, self.upper.shape[1])
        return native.layered_finder(rows, self.links, self.entries, self.upper, counts, self.effort)


def layer_counts(n: int, degree: int) -> list[int]:
    """How many rows each upper layer holds, lowest first: ``n / degree``, of those ``1 / degree``, and so on.

    The numbers that the exponential law of the paper gives on the average; which rows they are is drawn.
    """
    counts = [max(1, n // degree)]
    while counts[-1] // degree >= 1:
        counts.append(counts[-1] // degree)
    return counts


def build(
    rows: ByteRows,
    order: U32,
    *,
    degree: int,
    width: int,
    rng: np.random.Generator,
    drawn: bool = True,
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
    aside: Aside | None = None,
) -> Layered:
    """Link rows in their order: to ``degree`` others in each of their layers, of which they keep as many, and twice
    as many in the lowest. ``width`` is the frontier's while building, ``drawn`` whether the order is of no account.
    How far it came is kept ``aside``, and the same build goes on from there to the same graph.
    """
    if kernels.native() is None:
        raise Unsupported("graphs are built by native code, which is not installed here; use the index flat()")
    if rows.inverted:
        lowest = graphs.build(
            rows, degree=2 * degree, chosen=degree, width=width, alpha=1.0, order=None if drawn else order, rng=rng,
            progress=progress, threads=threads, aside=aside,
        )  # fmt: skip
        return _without_descent(lowest, degree)
    n = len(rows.values)
    growing = _Growing(rows, order, degree, width, threads, rng.permutation(n))
    taken = Taken.up(aside, rows, growing.arrays, (degree, width), (order, growing.members), growing.sound)
    with taken.kept():
        for at, some in batches(n, None if drawn else ORDERED):
            if at < taken.done:
                continue
            taken.change(growing.enter(at, some), at + some)
            taken.look()
            if progress:
                progress(at + some, n)
        for layer in growing.all:
            layer.settle()
    above = np.concatenate([layer.settled() for layer in growing.upper])
    made = Layered(growing.lowest.settled(), growing.members, np.zeros((2, 4), np.float32), above)
    made.effort = effort_of(made, rows, None, rng)
    return made


class _Layer(Links):
    """A layer while it grows; rows are known by their places in it."""

    def __init__(self, rows: ByteRows, degree: int, chosen: int, width: int, threads: int | None) -> None:
        super().__init__(rows, degree=degree, chosen=chosen, width=width, alpha=1.0, threads=threads)
        self._rows, self._workers, self._descending = rows, kernels.thread_count(threads), Pace(_DESCENTS)

    def entering(self, rows: U32, starts: U32) -> Entering:
        """Rows that come in, linked to what walks from their starts meet."""
        made = Entering(self, rows)
        made.choose(starts, own=True)
        return made

    def descend(self, rows: ByteRows, batch: U32, starts: U32) -> U32:
        """Where greedy walks to other rows end."""
        ends = np.empty(len(batch), np.uint32)
        for piece in self._descending.pieces(len(batch)):
            ends[piece] = kernels.native().descend(
                kernels.which_isa(), self._rows.values, self._rows.sides, self.links, self.counts,
                rows.values, rows.sides, batch[piece], starts[piece], self._workers,
            )  # fmt: skip
        return ends


class _Growing:
    """All layers while they grow."""

    def __init__(self, rows: ByteRows, order: U32, degree: int, width: int, threads: int | None, high: I64) -> None:
        n = len(order)
        self.rows, self.order = rows, order
        rank = np.empty(n, np.int64)
        rank[order] = np.arange(n)
        self.counts = layer_counts(n, degree)
        self.members = _members(rank, self.counts, high)
        self.entered = rank[self.members]  # when each member comes
        self.place = np.full(n, n, np.int64)  # of each row among the members
        self.place[self.members] = np.arange(len(self.members))
        above = [self.members[:count] for count in self.counts]
        self.upper = [
            _Layer(ByteRows(rows.values[some], rows.sides[some], rows.dim), degree, degree, width, threads)
            for some in above
        ]
        self.lowest = _Layer(rows, 2 * degree, degree, width, threads)
        self.all = [self.lowest, *self.upper]

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a build keeps."""
        return {f"{name}{at}": array for at, layer in enumerate(self.all) for name, array in layer.arrays.items()}

    def sound(self, found: dict[str, NDArray[Any]], linked: int) -> bool:
        """Whether such arrays could be those of so many rows linked."""
        each = ({name: found[f"{name}{at}"] for name in layer.arrays} for at, layer in enumerate(self.all))
        within = all(layer.sound(some) for layer, some in zip(self.all, each))
        return within and linked <= len(self.order)

    def enter(self, at: int, some: int) -> Callable[[], None]:
        """Choose links for a batch in each layer that has rows of it, from the highest down; returns what sets them."""
        batch = self.order[at : at + some]
        places = self.place[batch]
        starts: U32 | None = None
        coming: list[Entering] = []
        for layer, count in reversed(list(zip(self.upper, self.counts))):
            inside = places < count
            own = places[inside].astype(np.uint32)
            first = int(np.argmin(self.entered[:count]))
            if starts is None and self.entered[first] >= max(at, 1):  # the layer is empty yet: it begins in this batch
                if len(own) > 1:
                    coming.append(layer.entering(own[1:], np.full(len(own) - 1, first, np.uint32)))
                continue
            if starts is None:
                starts = np.full(some, first, np.uint32)
            ends = layer.descend(self.rows, batch, starts)
            if len(own):
                coming.append(layer.entering(own, starts[inside]))
            starts = ends
        begin = np.full(some, self.order[0], np.uint32) if starts is None else self.members[starts]
        coming.append(self.lowest.entering(batch, begin))

        def link() -> None:
            for each in coming:
                each.link()

        return link


def _without_descent(lowest: Graph, degree: int) -> Layered:
    """A graph of inverted rows as the lowest layer; the members are where walks begin, again and again."""
    counts = layer_counts(len(lowest.links), degree)
    upper = np.full((sum(counts), degree), NO_LINK, np.uint32)
    return Layered(lowest.links, np.resize(lowest.entries, counts[0]), lowest.effort, upper)


def _members(rank: NDArray[np.int64], counts: list[int], high: I64) -> U32:
    """The rows of the upper layers: those of the highest first, and in each layer in the order of entering."""
    parts = []
    for above, count in zip([*counts[1:], 0], counts):
        part = high[above:count]
        parts.append(part[np.argsort(rank[part])])
    return np.concatenate(parts[::-1]).astype(np.uint32)
