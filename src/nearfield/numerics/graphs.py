"""Graphs of near rows: built from bytes in batches, walked natively over the codes.

Rows enter in a drawn order, in batches that at most double the graph. Within a batch each row is linked to what
a walk of the graph before the batch met, so that the graph depends on the order alone, not on threads.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nearfield.core.errors import Unsupported
from nearfield.core.protocols import F32, I64, U8, Aside, Folded, Layout, Metric, RowFormat
from nearfield.numerics import finders, kernels
from nearfield.numerics.byterows import ByteRows
from nearfield.numerics.kmeans import kmeans
from nearfield.numerics.lines import Lined
from nearfield.numerics.linking import U32, Entering, Links
from nearfield.numerics.pieces import Pace
from nearfield.numerics.taken_up import Taken

LAYOUTS = frozenset({Layout.F32, Layout.F16, Layout.AFFINE8, Layout.AFFINE4})
ORDERED = 32  # rows of a batch where like rows may come together: those of one batch are not linked to each other
_BATCH_SHARE, _BATCH = 0.02, 1024  # a batch is at most this share of the rows, or so many where they are few
_WIDEST = 1 << 30  # searches are held to the number of rows
_PROBES, _PROBED = 256, 64  # rows that walks are measured with, and of a first piece
_ROWS_AN_ENTRY, _ENTRIES, _SAMPLE = 256, 64, 16_384
_LONGEST, _APART = 8, 8  # of inverted rows: where walks begin
_EARLY, _AGAIN = 64, 8  # of inverted rows, the shares of the longest that enter first, and that are linked again


@dataclass
class Graph:
    """Links ``[n, degree]``, ``NO_LINK`` behind the last; ``entries`` where walks begin.

    ``effort`` ``[2, e]``: widths of the frontier, and how many rows a walk of that width scores on the average.
    """

    links: U32
    entries: U32
    effort: F32

    def finder(self, fmt: RowFormat, codes: U8, metric: Metric, terms: F32 | None) -> Any:
        """What walks this graph over codes, natively; its effort is the width of the frontier."""
        native = kernels.native()
        if native is None:
            raise Unsupported("graphs are walked by native code, which is not installed here; use the index flat()")
        return native.graph_finder(
            finders.native_rows(fmt, codes, metric, terms), self.links, self.entries, self.effort
        )

    def spend(self, k: int, budget: int) -> int:
        """The width of the frontier for a search; under a filter the finder chooses how from there."""
        return self.width(budget)

    @cached_property
    def _effort(self) -> list[list[float]]:
        made: list[list[float]] = self.effort.tolist()
        return made

    def width(self, budget: int) -> int:
        """The width of the frontier with which walks score about so many rows."""
        widths, scored = self._effort
        at = min(max(bisect.bisect_left(scored, budget), 1), len(scored) - 1)
        slope = (widths[at] - widths[at - 1]) / max(scored[at] - scored[at - 1], 1.0)
        wanted = widths[at] + slope * (budget - scored[at])
        return int(min(max(wanted, 1), _WIDEST))


def build(
    rows: ByteRows,
    *,
    degree: int,
    width: int,
    alpha: float,
    rng: np.random.Generator,
    chosen: int | None = None,
    order: U32 | None = None,
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
    aside: Aside | None = None,
    lined: Lined | None = None,
) -> Graph:
    """Link every row to at most ``degree`` others, in the order given or a drawn one; a row that enters is given
    ``chosen`` of them.

    ``width`` is the frontier's while building, ``alpha`` how much nearer another link must lead for one to be
    dropped. ``progress`` is called with rows linked and rows in all; what it raises ends the building. How far it
    came is kept ``aside``, and the same build goes on from there to the same graph. Walks see the rows ``lined``,
    where they are, and links are chosen of what they come near to, by bytes.
    """
    if kernels.native() is None:
        raise Unsupported("graphs are built by native code, which is not installed here; use the index flat()")
    n = len(rows.values)
    entries = entries_among(rows, None, entry_count(n), rng)
    most = None if order is None else ORDERED
    order = rng.permutation(n).astype(np.uint32) if order is None else order
    order = insertion_order(rows, order, entries[np.sort(np.unique(entries, return_index=True)[1])])
    longest = linked_again(rows, entries)
    entering = np.concatenate([order, longest])
    seen = None if lined is None else lined.native(rows.lift, rows.square)
    how = (degree, width, alpha) if lined is None or aside is None else (degree, width, alpha, lined.digest())
    growing = Links(rows, degree=degree, chosen=chosen, width=width, alpha=alpha, threads=threads, lines=seen)
    again = growing.of_fewer(rows)
    taken = Taken.up(
        aside,
        rows,
        growing.arrays,
        how,
        (entering,),
        lambda found, done: done <= len(entering) and growing.sound(found),
    )
    with taken.kept():
        for at, some in batches(n, most, len(longest)):
            if at < taken.done:
                continue
            coming = Entering(growing if at < n else again, entering[at : at + some])
            coming.choose(entries)
            taken.change(coming.link, at + some)
            taken.look()
            if progress:
                progress(at + some, len(entering))
        again.settle(longest)
        growing.settle()
    graph = Graph(growing.settled(), entries, np.zeros((2, 4), np.float32))
    graph.effort = effort_of(graph, rows, None, rng)
    return graph


def link_near(
    rows: ByteRows, near: U32, *, degree: int, alpha: float, rng: np.random.Generator, threads: int | None = None
) -> Graph:
    """The graph of rows whose near rows ``[n, k]`` are known: pruned like that of :func:`build`, with links back."""
    entries = entries_among(rows, None, entry_count(len(rows.values)), rng)
    growing = Links(rows, degree=degree, width=1, alpha=alpha, threads=threads)
    entering = Entering(growing, np.arange(growing.n, dtype=np.uint32))
    entering.choose_near(near)
    entering.link()
    growing.of_fewer(rows).settle(linked_again(rows, entries))
    growing.settle()
    graph = Graph(growing.settled(), entries, np.zeros((2, 4), np.float32))
    graph.effort = effort_of(graph, rows, None, rng)
    return graph


def batches(n: int, most: int | None = None, behind: int = 0) -> Iterator[tuple[int, int]]:
    """Where batches begin and how long they are: each at most half as long as all before it, and those of rows
    ``behind`` the ``n``-th apart from the others.
    """
    at, most = 1, most or max(_BATCH, int(_BATCH_SHARE * n))
    if n == 1:
        yield 0, 1
    while at < n + behind:
        some = min(max(1, at // 2), most, (n if at < n else n + behind) - at)
        yield at, some
        at += some


def entry_count(n: int) -> int:
    """How many rows walks begin at: the nearest of some that stand for all saves the first steps."""
    return min(max(1, n // _ROWS_AN_ENTRY), _ENTRIES)


def _drawn(n: int, among: I64 | None, most: int, rng: np.random.Generator) -> I64:
    """Some rows of all, or among some."""
    size = n if among is None else len(among)
    at = np.sort(rng.choice(size, size=min(size, most), replace=False))
    return at if among is None else among[at]


def entries_among(rows: ByteRows, among: I64 | None, wanted: int, rng: np.random.Generator) -> U32:
    """Rows where walks begin, of all or among some: the nearest to the centroids of a sample, each once as far as there
    are enough; of inverted ones the longest.
    """
    if rows.inverted:
        some = beginnings(rows, among, rng)[:wanted]  # again and again: a walk meets each of them once
        return np.resize(some, wanted).astype(np.uint32)
    sample = _drawn(len(rows.values), among, _SAMPLE, rng)
    if len(sample) < wanted:
        return np.resize(sample, wanted).astype(np.uint32)
    x = rows.values[sample, : rows.dim] * rows.scale[sample, None]
    centroids = kmeans(x, wanted, rng=rng, rounds=8)
    nearest, gaps = kernels.assign(x, centroids)
    order = np.lexsort((gaps, nearest))
    first = order[np.flatnonzero(np.diff(nearest[order], prepend=-1))]
    spare = np.setdiff1d(np.arange(len(sample)), first)[: wanted - len(first)]
    return np.asarray(sample[np.concatenate([first, spare])], np.uint32)


def beginnings(rows: ByteRows, among: I64 | None, rng: np.random.Generator) -> I64:
    """Where walks over inverted rows begin, of all or among some, the most telling first.

    At the longest; at the shortest, which no query is against; at the longest in each of some directions that are far
    from each other, as a query may be against all the others; and at further long ones.
    """
    order = np.argsort(rows.square if among is None else rows.square[among], kind="stable")
    order = order if among is None else among[order]
    apart = _longest_apart(rows, _drawn(len(rows.values), among, _SAMPLE, rng))
    some = np.concatenate([order[:1], order[-1:], apart, order[:_LONGEST]])
    return some[np.sort(np.unique(some, return_index=True)[1])]


def _longest_apart(rows: ByteRows, sample: I64) -> I64:
    """Of a sample, the longest rows about some that lie farthest from each other, by their directions."""
    x = rows.own(sample)
    lengths = np.linalg.norm(x, axis=1)
    x /= np.where(lengths > 0, lengths, 1)[:, None]
    near, cell, centre = np.full(len(x), -2, np.float32), np.zeros(len(x), np.int64), int(lengths.argmax())
    for at in range(_APART):
        cosines = x @ x[centre]
        closer = cosines > near
        near[closer], cell[closer] = cosines[closer], at
        centre = int(np.where(lengths > 0, near, 2).argmin())
    order = np.lexsort((-lengths, cell))
    return sample[order[np.flatnonzero(np.diff(cell[order], prepend=-1))]]


def insertion_order(rows: ByteRows, order: U32, first: U32) -> U32:
    """The order in which rows enter a graph: some first; of inverted rows a share of the longest before all others.

    Those lie in the middle, and are what most walks end at: they are linked to each other before short ones come.
    """
    if rows.inverted:
        longest = np.argsort(rows.square, kind="stable")[: len(order) // _EARLY].astype(np.uint32)
        first = np.concatenate([first, longest[~np.isin(longest, first)]])
    return np.concatenate([first, order[~np.isin(order, first)]])


def linked_again(rows: ByteRows, entries: U32) -> U32:
    """Of inverted rows a share of the longest, the longest first: they are linked again once all rows are there.

    Nearly every walk ends among them. Rows of one batch are not linked to each other, and those that came early knew
    few of the others; elsewhere that costs little. Entries for queries that are against the longest keep links that
    lead far.
    """
    if not rows.inverted:
        return np.zeros(0, np.uint32)
    longest = np.argsort(rows.square, kind="stable")[: len(rows.values) // _AGAIN].astype(np.uint32)
    return longest[(np.arange(len(longest)) < _LONGEST) | ~np.isin(longest, entries)]


def effort_of(graph: Graph, rows: ByteRows, among: I64 | None, rng: np.random.Generator, *, finder: Any = None) -> F32:
    """Walk to some rows, of all or among some, at several widths, and count what is scored.

    ``finder`` walks the graph where it is not walked over the bytes; it is shown the queries themselves.
    """
    n = len(rows.values)
    probes = _drawn(n, among, _PROBES, rng)
    q = rows.own(probes)
    looks = finder is not None
    if finder is None:
        finder = graph.finder(rows.format, rows.values.view(np.uint8), "cosine", np.ascontiguousarray(rows.own_scale))
    found = []
    for width in (1, 8, 64, 512):
        scored = []
        for some in (q[piece] for piece in Pace(_PROBED).pieces(len(q))):
            seen = some if looks else None
            scored.append(finders.find(finder, rows.format, Folded(weights=some), 1, width, None, n, None, seen)[2])
        found.append((width, float(np.concatenate(scored).mean())))
    table = np.array(found, np.float32).T
    table[1] = np.maximum.accumulate(table[1] + np.arange(len(found), dtype=np.float32))  # ascending, for interpolation
    return table
