"""Queries, checked and made ready as rows are."""

from __future__ import annotations

from typing import Any

import numpy as np

from nearfield.core import arrays
from nearfield.core.errors import BadInput
from nearfield.core.protocols import F32, Metric


def as_queries(queries: Any, metric: Metric, d: int, on_zero: str = "raise") -> F32:
    """Check queries ``[m, d]`` and make them ready, as rows are."""
    batch = arrays.as_batch(queries, "queries")
    width = batch.shape[1] * (8 if metric == "hamming" else 1)
    if width != d:
        raise BadInput(f"queries: expected width {d}, as the rows, got {width}")
    if isinstance(batch, arrays.ArraySource):
        return arrays.ready(batch.array, metric, 0, "queries", on_zero)
    parts = [arrays.ready(b, metric, 0, "queries", on_zero) for b in batch.blocks(batch.shape[0] or 1)]
    return np.concatenate(parts) if parts else np.zeros((0, d), np.float32)
