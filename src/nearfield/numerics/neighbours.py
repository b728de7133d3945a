"""Near rows of each row (NN-descent): lists begun by the leaves of trees, then neighbours of neighbours are compared.

Dong, Moses, Li (2011); begun from trees, with a bounded number of entries joined in a round, as PyNNDescent does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import Unsupported
from nearfield.core.protocols import F32, Aside
from nearfield.numerics import kernels, trees
from nearfield.numerics.byterows import ByteRows
from nearfield.numerics.linking import NO_LINK, U32
from nearfield.numerics.pieces import Pace
from nearfield.numerics.taken_up import Taken

_LEAF = 32
_LEAVES, _DRAWS, _JOINS = 8, 1024, 64  # leaves or rows of a first piece
_SOME = 60  # fresh entries of a row that are joined in a round, at most
_ENOUGH = 0.001  # rounds end where no more than this share of the entries is fresh


class Near(NamedTuple):
    """Rows ``[n, k]``, nearest first, their squared distances ``[n, k]``, and how many pairs of rows were compared."""

    ids: U32
    gaps: F32
    compared: int


def near_rows(
    rows: ByteRows,
    k: int,
    *,
    rng: np.random.Generator,
    grown: int = 8,
    rounds: int = 12,
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
    aside: Aside | None = None,
) -> Near:
    """The ``k`` rows nearest to each row, nearly.

    ``NO_LINK`` and infinity where fewer were found. Under dot, distances are those of rows lifted to equal length.
    Any number of threads finds the same. ``progress`` is called with rounds done and rounds at most. How far it came
    is kept ``aside``, and the same search goes on from there; pairs that were compared before do not count then.
    """
    if kernels.native() is None:
        raise Unsupported("near rows are found by native code, which is not installed here")
    how = (k, grown, rounds, str(rng.bit_generator.state))
    lists = _Lists(rows, k, kernels.thread_count(threads))
    taken = Taken.up(aside, rows, lists.arrays if aside is None else lists.copies(), how, (), lists.sound)
    lists.put_back(taken.arrays)
    with taken.kept():
        leaf = max(_LEAF, k)
        if taken.done < grown:
            made = trees.grow(rows, grown, leaf, rng=rng, threads=threads)
            sizes = np.diff(trees.leaf_begins(lists.n, made.levels))
            lists.compared = made.compared + grown * int((sizes * (sizes - 1)).sum()) // 2  # in nodes, and in leaves
            for done in range(taken.done, grown):
                lists.join_leaves(made, done)
                _keep(taken, lists, done + 1)
        else:
            rng.integers(1 << 63)  # what trees were grown from
        for done in range(rounds):
            if done and grown + done >= taken.done and lists.news <= _ENOUGH * lists.fresh.size:
                break
            seed = int(rng.integers(1 << 63))
            if grown + done < taken.done:
                continue
            lists.join_near(seed)
            _keep(taken, lists, grown + done + 1)
            if progress:
                progress(done + 1, rounds)
    taken.put()
    return Near(lists.ids, lists.gaps, lists.compared)


def _keep(taken: Taken, lists: _Lists, done: int) -> None:
    """What is kept aside is of whole steps: half a round leaves lists that none would make."""
    taken.change(lambda: lists.put_into(taken.arrays), done)
    taken.look()


class _Lists:
    """Lists of near rows that are brought on, in pieces between which Python sees an interrupt."""

    def __init__(self, rows: ByteRows, k: int, workers: int) -> None:
        self.n, self.compared = len(rows.values), 0
        self.ids = np.full((self.n, k), NO_LINK, np.uint32)
        self.gaps = np.full((self.n, k), np.inf, np.float32)
        self.fresh = np.zeros((self.n, k), np.uint8)
        self._make: Callable[[], Any] = lambda: kernels.native().NearLists(
            kernels.which_isa(), rows.values, rows.sides, self.ids, self.gaps, self.fresh, min(k, _SOME), workers
        )
        self._leaves, self._joins = Pace(_LEAVES), Pace(_JOINS)
        self._draws, self._ages = Pace(_DRAWS), Pace(_DRAWS)

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is kept of them."""
        return {"ids": self.ids, "gaps": self.gaps, "fresh": self.fresh}

    def copies(self) -> dict[str, NDArray[Any]]:
        """What is kept of them, in a place of its own."""
        return {name: array.copy() for name, array in self.arrays.items()}

    def sound(self, found: dict[str, NDArray[Any]], done: int) -> bool:
        """Whether such arrays could be lists."""
        ids = found["ids"]
        return bool(((ids < self.n) | (ids == NO_LINK)).all())

    def put_into(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Copy the lists, unless those are their own arrays."""
        for name, array in self.arrays.items():
            if arrays[name] is not array:
                arrays[name][...] = array

    def put_back(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Begin with what was kept."""
        for name, array in self.arrays.items():
            if arrays[name] is not array:
                array[...] = arrays[name]
        self._native = self._make()

    @property
    def news(self) -> int:
        """How many entries were not compared with the others yet."""
        return int(np.count_nonzero(self.fresh))

    def join_leaves(self, made: trees.Trees, tree: int) -> None:
        """Compare the rows of each leaf of a tree with each other."""
        begins = trees.leaf_begins(self.n, made.levels)
        for piece in self._leaves.pieces(len(begins) - 1):
            self._native.leaves(made.rows[tree], begins[piece.start : piece.stop + 1])

    def join_near(self, seed: int) -> None:
        """A round: entries are drawn for each row, and compared with each other."""
        for piece in self._draws.pieces(self.n):
            self._native.draw(seed, piece.start, piece.stop)
        for piece in self._ages.pieces(self.n):
            self._native.age(piece.start, piece.stop)
        for piece in self._joins.pieces(self.n):
            self.compared += self._native.join(piece.start, piece.stop)
