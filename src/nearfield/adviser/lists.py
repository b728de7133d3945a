"""Ranked lists on the sample, and how they look when the sample is thinned.

All that the adviser says about recall follows from two lists a query: the rows in their exact order
and in the plan's order. Keeping every eighth, fourth or second row of the sample tells what recall
would have been in a smaller collection, from the same codes and the same search.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearfield.core.codecs import score_floats
from nearfield.core.protocols import F32, Metric
from nearfield.numerics import kernels

SHORT = 256  # length of the exact lists and of the plans'; no place beyond 20 * 8 is looked at ...
LONG = 512  # ... but where the first rows of a list are scored again
BLOCK = 128  # queries scored together
FEW = 16  # queries whose places are looked up together: a row of places each stays in the cache
FRACTIONS = (1, 2, 4, 8)  # one row in so many is kept
PARTS = 8
GRID = (1, 2, 3, 4, 5, 7, 10, 14, 20)  # k at which recall is read off
FAR = 1 << 14  # a place beyond every list
Lists = NDArray[np.int32]
Masked = dict[tuple[int, int], NDArray[np.int16]]


def top_lists(q: F32, x: F32, metric: Metric, length: int) -> Lists:
    """The best rows for each query in order, ``int32 [m, min(length, n)]``."""
    length = min(length, len(x))
    out = np.empty((len(q), length), dtype=np.int32)

    def one(at: slice) -> None:
        out[at] = kernels.topk(score_floats(q[at], x, metric), length, threads=1)[0]

    with ThreadPoolExecutor(kernels.thread_count()) as pool:  # BLAS is held to one thread
        list(pool.map(one, _blocks(len(q))))
    return out


def _blocks(m: int) -> Iterator[slice]:
    """Queries, some at a time."""
    return (slice(i, min(i + BLOCK, m)) for i in range(0, m, BLOCK))


def places(lists: Lists, wanted: Lists, n: int) -> NDArray[np.int16]:
    """Where each wanted row stands in the list of its query, ``FAR`` where it does not: ``[m, w]``."""
    out = np.empty(wanted.shape, dtype=np.int16)
    order = np.arange(lists.shape[1], dtype=np.int16)
    for i in range(0, len(lists), FEW):
        where = np.full((len(lists[i : i + FEW]), n), FAR, dtype=np.int16)
        first = n * np.arange(len(where), dtype=np.int64)[:, None]
        where.put(first + lists[i : i + FEW], np.broadcast_to(order, lists[i : i + FEW].shape))
        out[i : i + FEW] = where.take(first + wanted[i : i + FEW])
    return out


def reorder(lists: Lists, fine: Lists, count: int, n: int) -> Lists:
    """Re-score the first ``count`` rows of each list: those rows in the order of the finer list, -1 behind."""
    at = places(lists[:, :count], fine, n)
    behind = np.argsort(at == FAR, axis=1, kind="stable")  # rows of the short list first, their order kept
    found = np.take_along_axis(np.where(at == FAR, -1, fine), behind, axis=1)
    return np.asarray(found, dtype=np.int32)


@dataclass
class Curve:
    """Recall at each ``k`` of the grid, in the sample and in thinned samples: one row a point."""

    k: NDArray[np.float64]
    rank: NDArray[np.float64]  # about which rank the k-th row has among all rows
    recall: NDArray[np.float64]


class Thinning:
    """Nested random thinnings of the sample: all of it, halves, quarters and eighths; or none."""

    def __init__(
        self, exact: Lists, n: int, rng: np.random.Generator, *, fractions: tuple[int, ...] = FRACTIONS,
        weights: NDArray[np.float64] | None = None,
    ) -> None:  # fmt: skip
        self.exact = exact
        self.n = n
        self.part = rng.permutation(np.arange(n) % PARTS).astype(np.int8)
        self._known: dict[int, NDArray[np.float64]] = {}
        self.fractions = [f for f in fractions if n // f >= 4 * GRID[-1]]
        self.weights = np.ones(n) if weights is None else weights  # how many rows each stands for
        self.first = {(f, i): _first_kept(self.part % f == i, exact) for f in self.fractions for i in range(f)}

    def rank(self, k: int) -> float:
        """About which rank the k-th row of the sample has among all rows: the geometric mean over queries."""
        return float(np.exp(np.log(self.weights[self.exact[:, :k]].sum(axis=1)).mean()))

    def _ranks(self, f: int) -> NDArray[np.float64]:
        """The same for each ``k`` of the grid, over the thinnings to one row in ``f``."""
        if f not in self._known:
            total, count = np.zeros(GRID[-1]), np.zeros(GRID[-1])
            for i in range(f):
                first = self.first[f, i]
                there = first >= 0  # a list may end before so many are kept
                rows = np.take_along_axis(self.exact, np.maximum(first, 0), axis=1)
                nearer = np.cumsum(self.weights[rows], axis=1)
                total += np.log(f * nearer, where=there, out=np.zeros(rows.shape)).sum(axis=0)
                count += there.sum(axis=0)
            self._known[f] = np.exp(total / np.maximum(count, 1))[np.array(GRID) - 1]
        return self._known[f]

    def masked(self, lists: Lists) -> Masked:
        """For each thinning, the places of the nearest rows that it keeps in other lists, thinned alike."""
        out = {mask: np.empty(first.shape, np.int16) for mask, first in self.first.items()}
        for at in _blocks(len(lists)):  # small steps in Python: threads would wait for each other
            for mask, seen in self._seen(lists[at], at).items():
                out[mask][at] = seen
        return out

    def _seen(self, lists: Lists, at: slice) -> Masked:
        place = places(lists, self.exact[at], self.n)
        flat = np.minimum(place, lists.shape[1] - 1) + lists.shape[1] * np.arange(len(lists), dtype=np.int32)[:, None]
        parts = self.part[lists]
        # how many rows of each part stand in the list up to the wanted row; a thinning is a union of parts
        upto = np.stack([np.take(np.cumsum(parts == j, axis=1, dtype=np.int16), flat) for j in range(PARTS)])
        out = {}
        for (f, i), first in self.first.items():
            columns = np.maximum(first[at], 0)
            seen = upto[i::f].sum(axis=0, dtype=np.int16) - np.int16(1) if f > 1 else place
            found = (first[at] >= 0) & (np.take_along_axis(place, columns, axis=1) < FAR)
            out[f, i] = np.where(found, np.take_along_axis(seen, columns, axis=1), np.int16(FAR))
        return out

    def curve(self, approx: Masked, length: int, at: slice, depth: int = 1, fine: Masked | None = None) -> Curve:
        """The recall curve of one plan, from the places of the exact rows in its lists of ``length``.

        A row of the true ``k`` comes back from a re-scored search when it stands among the first
        ``depth * k`` of the plan's list and among the first ``k`` of the finer codec's.
        """
        points: list[tuple[float, float, float]] = []
        for f in self.fractions:
            total = np.zeros(len(GRID))
            for i in range(f):
                need = np.maximum(approx[f, i][at] // depth, np.arange(GRID[-1], dtype=np.int16))
                if fine is not None:
                    need = np.maximum(need, fine[f, i][at])
                total += _hits(need)
            recall = total / (f * len(self.exact[at]))
            # lists must reach far enough that thinning does not run off their end
            for k, rank, r in zip(GRID, self._ranks(f), recall):
                if depth * k * f <= 0.8 * length and 2 * k * f <= self.n:
                    points.append((k, rank, float(r)))
        table = np.array(points, dtype=np.float64).reshape(-1, 3)
        return Curve(table[:, 0], table[:, 1], table[:, 2])


def _first_kept(mask: NDArray[np.bool_], exact: Lists) -> NDArray[np.int64]:
    """The columns of the first rows of each exact list that a thinning keeps, -1 where the list has no more."""
    kept = mask[exact]
    columns = np.argsort(~kept, axis=1, kind="stable")[:, : GRID[-1]]
    return np.where(np.take_along_axis(kept, columns, axis=1), columns, -1)


def _hits(need: NDArray[np.int16]) -> NDArray[np.float64]:
    counts = np.bincount(np.minimum(need, GRID[-1]).ravel(), minlength=GRID[-1] + 1)
    return np.asarray(np.cumsum(counts)[np.array(GRID) - 1] / np.array(GRID), dtype=np.float64)
