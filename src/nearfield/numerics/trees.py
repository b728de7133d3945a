"""Trees over rows: each node parts its rows in halves by where they lie between two means of some of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import Unsupported
from nearfield.core.protocols import F32, I64
from nearfield.numerics import kernels
from nearfield.numerics.byterows import ByteRows
from nearfield.numerics.linking import U32

_AT_ONCE = 1 << 14  # rows of a part whose trees are grown to their leaves in one call


@dataclass
class Trees:
    """``rows`` ``[trees, n]``: of each leaf together; of each node a direction and the threshold of products with it.

    Directions ``normals`` ``[trees, nodes, stride]`` are bytes, as rows are, beside ``sides`` ``[trees, nodes, 4]``;
    ``thresholds`` ``[trees, nodes]``. All trees have ``2 ** levels`` leaves. ``compared`` is how many distances and
    products growing them took.
    """

    rows: U32
    normals: NDArray[np.int8]
    sides: F32
    thresholds: F32
    levels: int
    compared: int = 0


def levels_of(n: int, leaf: int) -> int:
    """How often halves are made until no leaf holds more than ``leaf`` rows."""
    levels = 0
    while -(-n >> levels) > leaf and (n >> (levels + 1)) >= 1:
        levels += 1
    return levels


def node_count(levels: int) -> int:
    """Nodes of a tree; room for one where it is a leaf alone."""
    return max(1, (1 << levels) - 1)


def grow(rows: ByteRows, trees: int, leaf: int, *, rng: np.random.Generator, threads: int | None = None) -> Trees:
    """Part the rows in so many trees; any number of threads makes the same ones."""
    native = kernels.native()
    if native is None:
        raise Unsupported("trees are grown by native code, which is not installed here; use the index flat()")
    n, workers = len(rows.values), kernels.thread_count(threads)
    levels = levels_of(n, leaf)
    nodes = node_count(levels)
    made = Trees(
        np.tile(np.arange(n, dtype=np.uint32), (trees, 1)),
        np.zeros((trees, nodes, rows.values.shape[1]), np.int8),
        np.zeros((trees, nodes, 4), np.float32),
        np.zeros((trees, nodes), np.float32),
        levels,
    )
    seed = int(rng.integers(1 << 63))
    for first in range(0, trees, workers):
        some = slice(first, first + workers)
        filled = (made.rows[some], made.normals[some], made.sides[some], made.thresholds[some])
        for part, down in _parts(n, levels):
            made.compared += native.grow_trees(
                kernels.which_isa(), rows.values, rows.sides, *filled, levels, seed, first, part, down, workers
            )
    return made


def _parts(n: int, levels: int) -> Iterator[tuple[tuple[int, int, int, int], int]]:
    """Parts of trees (node, rows from and to, levels below), each behind the ones above it, and how far down each goes.

    Between two of them Python sees an interrupt.
    """
    waiting = [(0, 0, n, levels)]
    while waiting:
        node, begin, end, left = waiting.pop()
        if end - begin <= _AT_ONCE or not left:
            yield (node, begin, end, left), left
            continue
        yield (node, begin, end, left), 1
        middle = begin + (end - begin) // 2
        waiting += [(2 * node + 2, middle, end, left - 1), (2 * node + 1, begin, middle, left - 1)]


def leaf_begins(n: int, levels: int) -> I64:
    """Where each leaf begins in the rows of a tree, and the end ``[2 ** levels + 1]``."""
    begins: NDArray[np.int64] = np.array([0, n], np.int64)
    for _ in range(levels):
        middle = begins[:-1] + np.diff(begins) // 2
        begins = np.append(np.stack([begins[:-1], middle], axis=1).ravel(), n)
    return begins
