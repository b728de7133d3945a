"""Graphs whose rows come and go (FreshDiskANN): rows are linked in, dead ones walked over until they are mended away.

A row comes in as when the graph was built: a walk to it, links that point in different directions, links back. A dead
row keeps its links, so that walks still lead through it; consolidation links whoever led to dead rows to what lies
beyond them. The result depends on what was asked in which order, and not on threads.

Others may walk the graph meanwhile. Rows are linked in where they walk: of a row that is being linked anew they find
old links and new ones, and those that lead behind the last row that they know they do not follow. Dead rows are taken
out of a copy.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import Corrupt
from nearfield.core.indexes import Columns, Step
from nearfield.core.protocols import F32, I64, Metric, Vectors
from nearfield.numerics.byterows import ByteRows, Laid
from nearfield.numerics.graphs import Graph, batches, effort_of, entries_among, entry_count
from nearfield.numerics.growing import Grown
from nearfield.numerics.linking import NO_LINK, U32, Entering, Links, room_for, within_rows

Dead = NDArray[np.bool_]
_BATCH = 1024  # rows that are linked in together at the most
_MENDED = 1 << 12  # rows that are mended together
_LOOKED = 1 << 15  # rows whose links are read at once
_STALE = 0.1  # share of rows that came or went, from which where walks begin and what they cost are found anew


@dataclass(frozen=True)
class Linking:
    """How rows are linked: links kept, width of the frontier, and how much nearer another link must lead."""

    degree: int
    width: int
    alpha: float


class GraphUpdater:
    """A graph over bytes of its rows, with room to grow; ``dead`` marks rows that are not to be found any more."""

    def __init__(self, columns: Columns, x: Vectors, how: Linking) -> None:
        self.how = how
        self.metric: Metric = x.metric
        links, entries = columns["links"], np.array(columns["entries"], np.uint32)
        n = len(links)
        if ((links >= n) & (links != NO_LINK)).any() or not len(entries) or entries.max() >= n:
            raise Corrupt("graph: the columns 'links' and 'entries' should hold row numbers")
        # Behind the last link of a row there is no other.
        counts = np.where(links == NO_LINK, np.arange(links.shape[1], dtype=np.int32), links.shape[1]).min(axis=1)
        wide = np.full((n, room_for(how.degree)), NO_LINK, np.uint32)
        wide[:, : links.shape[1]] = np.where(np.arange(links.shape[1]) < counts[:, None], links, NO_LINK)
        self._links, self._counts = Grown(wide), Grown(counts.astype(np.int32))
        self.entries: U32 = entries
        self.effort: F32 = np.array(columns["effort"], np.float32)
        rows = self._bytes_of(x, 0)
        self.dim, self._laid = rows.dim, Laid(0, False)
        self._bytes, self._sides, self._squares = Grown(rows.values), Grown(rows.sides), Grown(rows.square.copy())
        self._changed = 0
        self._settled = not (counts > how.degree).any()  # links that were walked meanwhile may be more
        self._lent = False  # whether a fork needs the links as they are
        self._threads: int | None = None
        self._began = (wide[:0], entries, 0)  # links, entries and changes of what this is a fork of
        self._lay(0)

    def _bytes_of(self, x: Vectors, at: int) -> ByteRows:
        """Rows that are numbered on from ``at``, where they are."""
        made = ByteRows.of(x.blocks(), x.n, "l2")
        if self.metric == "dot":
            made.strew_zeros(at)
        return made

    @property
    def n(self) -> int:
        """How many rows, dead ones among them."""
        return self._links.n

    @property
    def nbytes(self) -> int:
        """Bytes kept for changes alone."""
        return sum(g.nbytes for g in (self._counts, self._bytes, self._sides, self._squares))

    @property
    def rows(self) -> ByteRows:
        """The rows as bytes."""
        return ByteRows(self._bytes.values, self._sides.values, self.dim, self._laid.inverted)

    def _lay(self, at: int) -> None:
        """Under dot, bring rows from ``at`` on to where they are linked; all where that depends on new ones."""
        if self.metric == "dot":
            laid = Laid.of(self._squares.values)
            some = slice(at if laid == self._laid else 0, None)
            rows = ByteRows(self._bytes.values[some], self._sides.values[some], self.dim)
            rows.lay(self._squares.values[some], laid)
            self._laid = laid

    # -- changes -----------------------------------------------------------------------------------

    def add(self, x: Vectors, dead: Dead, rng: np.random.Generator, *, step: Step | None = None) -> None:
        """Link rows in; they are numbered on from those that are there. ``dead`` is of those. All or none come in."""
        n, total = self.n, self.n + x.n
        made = self._bytes_of(x, n)
        self._own()
        grown = (self._links, self._counts, self._bytes, self._sides, self._squares)
        for column in grown:
            column.reserve(total)
        steps = list(batches(x.n, _BATCH)) if x.n == 1 else [(0, 1), *batches(x.n, _BATCH)]
        before = (self._links.values.copy(), self._counts.values.copy()) if len(steps) > 1 else None
        try:
            self._links.append(np.full((x.n, self._links.whole.shape[1]), NO_LINK, np.uint32))
            self._counts.append(np.zeros(x.n, np.int32))
            self._bytes.append(made.values)
            self._sides.append(made.sides)
            self._squares.append(made.square)
            self._lay(n)
            order = n + rng.permutation(x.n).astype(np.uint32)
            marks = np.concatenate([dead, np.zeros(x.n, np.bool_)])
            growing = self._growing(marks)
            for at, some in steps:
                self._link_in(growing, order[at : at + some])
                if step:
                    step(at + some, x.n)
        except BaseException:
            for column in grown:
                column.n = n
            if before is None:  # one row, to which some may lead back already
                links = within_rows(self._links.values, n)
                before = links, np.count_nonzero(links != NO_LINK, axis=1)
            self._links.values[:], self._counts.values[:] = before
            self._lay(n)
            raise
        self._changed += x.n
        self._settled = False

    def consolidate(self, dead: Dead, rng: np.random.Generator, *, step: Step | None = None) -> None:
        """Take dead rows out of the graph: no link leads to them, and they lead nowhere."""
        gone = np.flatnonzero(dead)
        if len(gone) == self.n or not (self._met()[gone].any() or dead[self.entries].any()):
            return
        self._lent = True  # whoever walks the graph goes on with the links that were
        self._own()
        self._mend(dead, rng, step)

    def _mend(self, dead: Dead, rng: np.random.Generator, step: Step | None = None) -> None:
        gone, growing = np.flatnonzero(dead), self._growing(dead)
        marks = np.append(dead, False)
        for at in range(0, self.n, _MENDED):
            stop = min(at + _MENDED, self.n)
            astray = marks[np.minimum(self._links.values[at:stop], self.n)].any(axis=1) & ~dead[at:stop]
            coming = Entering(growing, at + np.flatnonzero(astray).astype(np.uint32))
            coming.choose_beyond()
            coming.link()
            if step:
                step(stop, self.n)
        self._changed += int(np.count_nonzero(self._counts.values[gone]))
        if dead[self.entries].any():  # before the dead lead nowhere: walks begin at living rows from then on
            self._begin_anew(dead, rng)
        self._counts.values[gone] = 0
        self._links.values[gone] = NO_LINK
        self._reach(dead)
        self._settled = False

    # -- aside -------------------------------------------------------------------------------------

    def fork(self) -> Self:
        """The same, to be consolidated aside, by one thread, while this one goes on; see ``join``."""
        made = copy.copy(self)
        made._links, made._counts = Grown(self._links.values), Grown(self._counts.values)
        made._bytes, made._sides = Grown(self._bytes.values), Grown(self._sides.values.copy())
        made._squares = Grown(self._squares.values)
        made._began = (self._links.values, self.entries, self._changed)
        self._lent = made._lent = True
        made._threads = 1
        return made

    def join(self, fork: Self, dead: Dead, rng: np.random.Generator) -> None:
        """Take over what a fork mended, and mend what changed meanwhile; ``dead`` are the rows that it was rid of.

        The links of a row are the fork's where they are still those that it began with, and else this one's.
        """
        if self._lent:  # nothing was linked meanwhile
            self._links, self._counts, self.entries = fork._links, fork._counts, fork.entries
            self._lent = fork._lent
        else:
            marks = np.concatenate([dead, np.zeros(self.n - len(dead), np.bool_)])
            self._overlay(fork, marks)
            self._mend(marks, rng)
        self.effort = fork.effort
        self._changed += fork._changed - fork._began[2]
        self._settled = False

    def _overlay(self, fork: Self, dead: Dead) -> None:
        """Take the links of living rows that a fork changed, where these are as they were when it was made."""
        before, entries, _ = fork._began
        n = len(before)
        if self.entries is entries:
            self.entries = fork.entries
        same = np.flatnonzero((self._links.values[:n] == before).all(axis=1) & ~dead[:n])
        self._lent = True
        self._own()
        self._links.values[same], self._counts.values[same] = fork._links.values[same], fork._counts.values[same]

    def _own(self) -> None:
        """Before links are written: leave those that were lent as they are."""
        if self._lent:
            self._links, self._counts = Grown(self._links.values.copy()), Grown(self._counts.values.copy())
            self._lent = False

    def _reach(self, dead: Dead) -> None:
        """Link rows in again that no other row leads to any more, or that lead nowhere."""
        met = self._met() & (self._counts.values > 0)
        met[self.entries] = True
        lost = np.flatnonzero(~met & ~dead).astype(np.uint32)
        growing = self._growing(dead)
        for at in range(0, len(lost), _BATCH):
            self._link_in(growing, lost[at : at + _BATCH])

    def _met(self) -> Dead:
        """The rows that some row links to."""
        met = np.zeros(self.n + 1, np.bool_)
        for at in range(0, self.n, _LOOKED):  # other threads have their turns between
            met[np.minimum(self._links.values[at : at + _LOOKED], self.n)] = True
        return met[: self.n]

    def keep(self, rows: I64) -> None:
        """Only these rows, in this order; none may be left out but dead ones, after consolidation."""
        places = np.full(self.n + 1, NO_LINK, np.uint32)
        places[rows] = np.arange(len(rows), dtype=np.uint32)
        links = places[np.minimum(self._links.values[rows], self.n)]
        there = links != NO_LINK
        order = np.argsort(~there, axis=1, kind="stable")
        self.entries = places[self.entries]
        self.entries = self.entries[self.entries != NO_LINK]
        if not len(self.entries):
            self.entries = np.zeros(1, np.uint32)
        self._links = Grown(np.ascontiguousarray(np.take_along_axis(links, order, axis=1)))
        self._counts = Grown(there.sum(axis=1, dtype=np.int32))
        self._bytes, self._sides, self._squares = (
            Grown(g.values[rows]) for g in (self._bytes, self._sides, self._squares)
        )
        self._lent = False
        self._settled = False

    def _growing(self, dead: Dead | None = None) -> Links:
        """What changes the links as they lie now."""
        how, held = self.how, (self._links.values, self._counts.values)
        return Links(
            self.rows, degree=how.degree, width=how.width, alpha=how.alpha, threads=self._threads, held=held, dead=dead
        )

    def _link_in(self, growing: Links, rows: U32) -> None:
        coming = Entering(growing, rows)
        coming.choose(self.entries)
        coming.link()

    # -- what it is now ----------------------------------------------------------------------------

    def walked(self) -> Columns:
        """What walks read until the graph is settled: rows may hold more links than they will keep."""
        return {"links": self._links.values, "entries": self.entries, "effort": self.effort}

    def columns(self, dead: Dead, rng: np.random.Generator) -> Columns:
        """The graph as if it had been built so: links within their number, entries and effort up to date."""
        if not self._settled:
            self._own()
            self._growing().settle()
        if len(self.entries) != entry_count(self.n) or self._changed > _STALE * self.n:
            self._begin_anew(dead, rng)
        links = np.ascontiguousarray(self._links.values[:, : self.how.degree])
        if self._changed > _STALE * self.n:
            graph = Graph(links, self.entries, self.effort)
            self.effort = effort_of(graph, self.rows, self._living(dead), rng)
            self._changed = 0
        self._settled = True
        return {"links": links, "entries": self.entries, "effort": self.effort}

    def _begin_anew(self, dead: Dead, rng: np.random.Generator) -> None:
        self.entries = entries_among(self.rows, self._living(dead), entry_count(self.n), rng)

    def _living(self, dead: Dead) -> I64:
        living = np.flatnonzero(~dead)
        return living if len(living) else np.arange(self.n)
