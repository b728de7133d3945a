"""Under dot, the longest rows are near to many queries at once: a sample takes all of them, and counts the others more.

A uniform sample would miss most of the rows that queries look for, and which it happens to hold would decide on its
recall. With the longest in it, each sampled row stands for a number of rows, its weight, and the rank that a row has
among all is estimated by the weights of those that are nearer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nearfield.core import arrays
from nearfield.core.protocols import I64, Batch, Metric

SHARE = 4  # one in so many rows of the sample is among the longest of all
SPREAD = 0.1  # standard deviation of lengths over their mean from which lengths matter
REPEATED = 8  # times the sample's rows that plans are fitted on at most
BLOCK_BYTES = 4 << 20


def longest(batch: Batch, metric: Metric, size: int) -> I64:
    """The longest rows, longest first, where a sample of ``size`` should hold them all; none where it need not."""
    n = batch.shape[0]
    if metric != "dot" or size >= n:
        return np.zeros(0, np.int64)
    lengths = np.concatenate(
        [_lengths(block) for block in batch.blocks(arrays.block_rows(batch.shape[1], BLOCK_BYTES))]
    )
    mean = float(lengths.mean())
    if not np.isfinite(mean) or lengths.std() <= SPREAD * mean:
        return np.zeros(0, np.int64)
    return np.argsort(-lengths, kind="stable")[: size // SHARE].astype(np.int64)


def _lengths(block: NDArray[np.generic]) -> NDArray[np.float64]:
    x = np.asarray(block, dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # rows that are not finite are refused elsewhere, by number
        return np.asarray(np.sqrt(np.einsum("ij,ij->i", x, x, dtype=np.float64)))


def joined(uniform: I64, head: I64, kept: I64, draw: np.random.Generator) -> I64:
    """As many rows as the uniform sample has, the longest among them in place of others; ``kept`` stay."""
    loose = np.setdiff1d(uniform, np.union1d(head, kept))
    over = len(np.union1d(uniform, head)) - len(uniform)
    out = draw.choice(loose, size=min(over, len(loose)), replace=False)
    return np.setdiff1d(np.union1d(uniform, head), out).astype(np.int64)


def weights(rows: I64, head: I64, n: int) -> NDArray[np.float64]:
    """How many rows of all each sampled row stands for."""
    long = np.isin(rows, head)
    others = max(1, int((~long).sum()))
    return np.where(long, 1.0, max(1.0, (n - int(long.sum())) / others))


def representative(rows: I64, head: I64, n: int) -> I64:
    """Places of sampled rows, some several times, that are distributed as all rows are: what plans are fitted on.

    The others are repeated by their weight, or where that makes too many, fewer of the longest are taken, but the very
    longest: it sets the range of codes.
    """
    ordered = np.searchsorted(rows, head[np.isin(head, rows)])  # longest first
    weight = float(weights(rows, head, n).max())
    every = max(1, round(n / (REPEATED * len(rows))))
    others = np.flatnonzero(~np.isin(rows, head)).repeat(max(1, round(weight / every)))
    return np.sort(np.concatenate([others, ordered[::every]])).astype(np.int64)
