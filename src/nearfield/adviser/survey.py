"""One pass over all rows before anything is measured: are they sound, and are some the same?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.adviser.task import Task
from nearfield.core import arrays
from nearfield.core.protocols import F32

_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass
class Survey:
    """What all rows say about themselves."""

    duplicates: int  # rows that are bit for bit the same as an earlier one
    norm_spread: float  # standard deviation of the rows' lengths, over their mean
    longest: float  # the longest row's length over the middle one's
    longest_row: int


def survey(task: Task, said: Callable[[int, int], None] | None = None) -> Survey:
    """Read every row once; raises ``BadInput`` naming rows that are not finite, or zero under cosine."""
    weights = np.random.default_rng(0).integers(1, 1 << 63, size=task.batch.shape[1], dtype=np.uint64)
    hashes, start, lengths = np.empty(task.n, np.uint64), 0, []
    for block in task.batch.blocks(arrays.block_rows(task.batch.shape[1], 4 << 20)):
        count = block.shape[0]
        hashes[start : start + count] = row_hashes(block, weights)
        lengths.append(_checked(task, block, start))
        start += count
        if said:
            said(start, task.n)
    norms = np.concatenate(lengths)
    mean = float(norms.mean())
    spread = float(norms.std()) / mean if mean > 0 else 0.0
    row, middle = int(norms.argmax()), float(np.median(norms))
    longest = float(norms[row]) / middle if middle > 0 else 1.0
    return Survey(task.n - int(np.unique(hashes[:start]).size), spread, longest, row)


def _checked(task: Task, block: NDArray[Any], start: int) -> F32:
    """The lengths of a block's rows; the checks are those that fitting makes."""
    if task.metric == "hamming":
        return np.ones(len(block), dtype=np.float32)
    x = arrays.to_f32(block, start, "vectors")
    norms = np.sqrt(np.einsum("ij,ij->i", x, x))
    if task.metric == "cosine" and not (norms > 0).all():
        low = np.flatnonzero(~(norms > 0))
        arrays.unit_rows(x[low[:1]], start + int(low[0]), "vectors", task.on_zero)
    return np.asarray(norms, dtype=np.float32)


def row_hashes(block: NDArray[Any], weights: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A 64-bit hash of the bytes of each row; equal rows have equal hashes."""
    raw = np.ascontiguousarray(block).view(np.uint8).reshape(len(block), -1)
    width = -(-raw.shape[1] // 8)
    if raw.shape[1] % 8:
        padded = np.zeros((len(raw), 8 * width), dtype=np.uint8)
        padded[:, : raw.shape[1]] = raw
        raw = padded
    words = raw.view(np.uint64)
    mixed = (words ^ (words >> np.uint64(29))) * (weights[:width] | np.uint64(1))
    mixed ^= mixed >> np.uint64(32)
    mixed *= _ODD
    return np.asarray(mixed.sum(axis=1, dtype=np.uint64), dtype=np.uint64)
