"""A graph in layers (HNSW): each holds a share of the rows below, and leads to where the walk of the lowest begins.

Rows enter in batches, as in :mod:`nearfield.numerics.graphs`: each is linked to what was there before its batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import Unsupported
from nearfield.core.protocols import F32, U8, Metric, RowFormat
from nearfield.numerics import finders, kernels
from nearfield.numerics.graphs import ORDERED, U32, ByteRows, Graph, batches, effort_of, settled, unlinked


@dataclass
class Layered(Graph):
    """``links`` of the lowest layer; ``entries`` are the members of the upper ones, those of the highest first.

    ``upper`` ``[members of all upper layers, lowest first; degree]``: links by the places of members in ``entries``.
    """

    upper: U32

    def finder(self, fmt: RowFormat, codes: U8, metric: Metric, terms: F32 | None) -> Any:
        """What descends through the layers and walks the lowest, natively; its effort is the width of the frontier."""
        native = kernels.native()
        if native is None:
            raise Unsupported("graphs are walked by native code, which is not installed here; use the index flat()")
        counts = layer_counts(len(self.links), self.upper.shape[1])
        rows = finders.native_rows(fmt, codes, metric, terms)
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
) -> Layered:
    """Link rows in their order: to ``degree`` others in each of their layers, of which they keep as many, and twice
    as many in the lowest. ``width`` is the frontier's while building, ``drawn`` whether the order is of no account.
    """
    if kernels.native() is None:
        raise Unsupported("graphs are built by native code, which is not installed here; use the index flat()")
    n = len(rows.values)
    growing = _Growing(rows, order, degree, width, kernels.thread_count(threads), rng)
    for at, some in batches(n, None if drawn else ORDERED):
        growing.enter(at, some)
        if progress:
            progress(at + some, n)
    above = np.concatenate([layer.settled() for layer in growing.upper])
    made = Layered(growing.lowest.settled(), growing.members, np.zeros((2, 4), np.float32), above)
    made.effort = effort_of(made, rows, None, rng)
    return made


class _Layer:
    """A layer while it grows; rows are known by their places in it."""

    def __init__(
        self, values: NDArray[np.int8], sides: F32, degree: int, chosen: int, width: int, workers: int
    ) -> None:
        self.values, self.sides = np.ascontiguousarray(values), np.ascontiguousarray(sides)
        self.degree, self.chosen, self.width, self.workers = degree, chosen, width, workers
        self.links, self.counts = unlinked(len(values), degree)

    def grow(self, rows: U32, starts: U32, last: bool) -> None:
        """Link rows to what walks from their starts meet."""
        kernels.native().grow(
            kernels.which_isa(), self.values, self.sides, self.links, self.counts, starts, rows,
            self.degree, self.width, 1.0, last, self.workers, self.chosen, True,
        )  # fmt: skip

    def descend(self, rows: ByteRows, batch: U32, starts: U32) -> U32:
        """Where greedy walks to other rows end."""
        ends: U32 = kernels.native().descend(
            kernels.which_isa(), self.values, self.sides, self.links, self.counts,
            rows.values, rows.sides, batch, starts, self.workers,
        )  # fmt: skip
        return ends

    def settled(self) -> U32:
        return settled(self.links, self.counts, self.degree)


class _Growing:
    """All layers while they grow."""

    def __init__(
        self, rows: ByteRows, order: U32, degree: int, width: int, workers: int, rng: np.random.Generator
    ) -> None:
        n = len(order)
        self.rows, self.order = rows, order
        rank = np.empty(n, np.int64)
        rank[order] = np.arange(n)
        self.counts = layer_counts(n, degree)
        self.members = _members(rank, self.counts, rng)
        self.entered = rank[self.members]  # when each member comes
        self.place = np.full(n, n, np.int64)  # of each row among the members
        self.place[self.members] = np.arange(len(self.members))
        self.upper = [
            _Layer(rows.values[self.members[:c]], rows.sides[self.members[:c]], degree, degree, width, workers)
            for c in self.counts
        ]
        self.lowest = _Layer(rows.values, rows.sides, 2 * degree, degree, width, workers)

    def enter(self, at: int, some: int) -> None:
        """Link the rows of a batch in each of their layers, from the highest down."""
        batch, last = self.order[at : at + some], at + some == len(self.order)
        places = self.place[batch]
        starts: U32 | None = None
        for layer, count in reversed(list(zip(self.upper, self.counts))):
            inside = places < count
            own = places[inside].astype(np.uint32)
            first = int(np.argmin(self.entered[:count]))
            if starts is None and self.entered[first] >= max(at, 1):  # the layer is empty yet: it begins in this batch
                layer.grow(own[1:], np.full(max(len(own) - 1, 0), first, np.uint32), last)
                continue
            if starts is None:
                starts = np.full(some, first, np.uint32)
            ends = layer.descend(self.rows, batch, starts)
            layer.grow(own, starts[inside], last)
            starts = ends
        begin = np.full(some, self.order[0], np.uint32) if starts is None else self.members[starts]
        self.lowest.grow(batch, begin, last)


def _members(rank: NDArray[np.int64], counts: list[int], rng: np.random.Generator) -> U32:
    """The drawn rows of the upper layers: those of the highest first, and in each layer in the order of entering."""
    drawn = rng.permutation(len(rank))[: counts[0]]
    parts = []
    for above, count in zip([*counts[1:], 0], counts):
        part = drawn[above:count]
        parts.append(part[np.argsort(rank[part])])
    return np.concatenate(parts[::-1]).astype(np.uint32)
