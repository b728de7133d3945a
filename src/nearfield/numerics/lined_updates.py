"""Graphs over lines whose rows come and go: their links as in :mod:`nearfield.numerics.graph_updates`, lines beside."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Self, TypeAlias

import numpy as np

from nearfield.core.indexes import Columns, Step
from nearfield.core.protocols import F32, I64, U8, Vectors
from nearfield.numerics.byterows import ByteRows
from nearfield.numerics.graph_updates import Dead, GraphUpdater
from nearfield.numerics.graphs import Graph
from nearfield.numerics.growing import Grown

Measure: TypeAlias = Callable[[Graph, ByteRows, U8, np.random.Generator], F32]


class LinedUpdater:
    """A graph that grows, and a line of each of its rows.

    ``as_lines`` makes lines of rows ``[n, d]``; ``measure`` tells what walks over them cost.
    """

    def __init__(self, graph: GraphUpdater, lines: U8, as_lines: Callable[[F32], U8], measure: Measure) -> None:
        self._graph, self._lines, self._as_lines, self._measure = graph, Grown(lines), as_lines, measure

    @property
    def nbytes(self) -> int:
        """Bytes kept for changes alone."""
        return self._graph.nbytes + self._lines.nbytes - self._lines.values.nbytes

    def add(self, x: Vectors, dead: Dead, rng: np.random.Generator, *, step: Step | None = None) -> None:
        """Link rows in, all or none; they are numbered on from those that are there."""
        lines = np.concatenate([self._as_lines(block) for block in x.blocks()])
        n = self._lines.n
        self._lines.append(lines)
        try:
            self._graph.add(x, dead, rng, step=step)
        except BaseException:
            self._lines.n = n
            raise

    def consolidate(self, dead: Dead, rng: np.random.Generator, *, step: Step | None = None) -> None:
        """Take dead rows out of the graph."""
        self._graph.consolidate(dead, rng, step=step)

    def fork(self) -> Self:
        """The same, to be consolidated aside."""
        made = copy.copy(self)
        made._graph, made._lines = self._graph.fork(), Grown(self._lines.values)
        return made

    def join(self, fork: Self, dead: Dead, rng: np.random.Generator) -> None:
        """Take over what a fork mended."""
        self._graph.join(fork._graph, dead, rng)

    def keep(self, rows: I64) -> None:
        """Only these rows, in this order."""
        self._graph.keep(rows)
        self._lines = Grown(self._lines.values[rows])

    def walked(self) -> Columns:
        """What walks read until the graph is settled."""
        return self._graph.walked() | {"lines": self._lines.values}

    def columns(self, dead: Dead, rng: np.random.Generator) -> Columns:
        """The graph as if it had been built so."""
        before = self._graph.effort
        made = self._graph.columns(dead, rng)
        if self._graph.effort is not before:  # measured anew, by walks over bytes
            graph = Graph(made["links"], made["entries"], self._graph.effort)
            made["effort"] = self._graph.effort = self._measure(graph, self._graph.rows, self._lines.values, rng)
        return made | {"lines": self._lines.values}
