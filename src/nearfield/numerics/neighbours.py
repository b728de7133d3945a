"""Near rows of each row (NN-descent): lists begun by the leaves of trees, then neighbours of neighbours are compared.

Dong, Moses, Li (2011); begun from trees, with a bounded number of entries joined in a round, as PyNNDescent does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nearfield.core.errors import Unsupported
from nearfield.core.protocols import F32
from nearfield.numerics import kernels, trees
from nearfield.numerics.graphs import ByteRows
from nearfield.numerics.linking import NO_LINK, U32

_LEAF = 32
_SOME = 60  # fresh entries of a row that are joined in a round, at most
_ENOUGH = 0.001  # rounds end where no more than this share of the entries is fresh


def near_rows(
    rows: ByteRows,
    k: int,
    *,
    rng: np.random.Generator,
    grown: int = 8,
    rounds: int = 12,
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
) -> tuple[U32, F32]:
    """The ``k`` rows nearest to each row, nearest first, nearly: ids ``[n, k]`` and squared distances ``[n, k]``.

    ``NO_LINK`` and infinity where fewer were found. Under dot, distances are those of rows lifted to equal length.
    Any number of threads finds the same. ``progress`` is called with rounds done and rounds at most.
    """
    native = kernels.native()
    if native is None:
        raise Unsupported("near rows are found by native code, which is not installed here")
    n, isa, workers = len(rows.values), kernels.which_isa(), kernels.thread_count(threads)
    ids, gaps = np.full((n, k), NO_LINK, np.uint32), np.full((n, k), np.inf, np.float32)
    fresh = np.zeros((n, k), np.uint8)
    made = trees.grow(rows, grown, max(_LEAF, k), rng=rng, threads=threads)
    begins = trees.leaf_begins(n, made.levels)
    for order in made.rows:
        native.join_leaves(isa, rows.values, rows.sides, ids, gaps, fresh, order, begins, workers)
    for done in range(rounds):
        seed = int(rng.integers(1 << 63))
        news = native.join_near(isa, rows.values, rows.sides, ids, gaps, fresh, min(k, _SOME), seed, workers)
        if progress:
            progress(done + 1, rounds)
        if news <= _ENOUGH * n * k:
            break
    return ids, gaps
