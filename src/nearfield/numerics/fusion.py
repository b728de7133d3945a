"""What fusers share: scores of several lists on one scale, and sums that do not depend on their order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nearfield.core.fusers import F64, Table

# How scores are put on one scale, for parameters named norm: OneOf(*NORMS).
NORMS = ("minmax", "sum", "zscore", "sigma3", "rank", "reciprocal", "none")
RANK_OFFSET = 60  # of reciprocal ranks, as in Cormack 2009


def normalised(table: Table, norm: str) -> F64:
    """The scores of a table on one scale, float64 ``[r, u]``, NaN where a list lacks the row.

    ``minmax``: the best of a list is 1, its last 0 (all 1 where they are equal); ``sum``: shifted to a least
    of 0, then adding up to 1; ``zscore``: mean 0, deviation 1; ``sigma3``: three standard deviations below
    the mean are 0, three above 1 (all 0.5 where they are equal); ``rank``: 1 for the first, evenly down to
    ``1/n`` for the last; ``reciprocal``: ``1 / (60 + rank)``; ``none``: as they are.

    Source: Montague and Aslam 2001 (minmax, sum, zscore), Renda and Straccia 2003 (rank), Mazzeschi 2023 (sigma3).

    >>> from nearfield.core.fusers import tabulate
    >>> table = tabulate([(np.array([4, 1, 3]), np.array([9.0, 8.0, 5.0]))])
    >>> normalised(table, "minmax").tolist()
    [[0.75, 0.0, 1.0]]
    """
    if norm == "none":
        return table.scores
    if norm == "rank":
        return np.where(table.held, 1 - (table.ranks - 1) / np.maximum(table.sizes, 1)[:, None], np.nan)
    if norm == "reciprocal":
        return reciprocal_ranks(table, RANK_OFFSET)
    out = np.full_like(table.scores, np.nan)
    for line, held in enumerate(table.held):
        if held.any():
            out[line, held] = _SCALES[norm](table.scores[line, held])
    return out


def reciprocal_ranks(table: Table, offset: float) -> F64:
    """``1 / (offset + rank)``, float64 ``[r, u]``, NaN where a list lacks the row."""
    return np.where(table.held, 1 / (offset + np.where(table.held, table.ranks, 1)), np.nan)


def total(values: F64) -> F64:
    """The sum down each column without NaN ``[r, u] -> [u]``, the same bits in whatever order the lines come."""
    return np.asarray(np.nansum(np.sort(values, axis=0), axis=0))


def holders(table: Table) -> F64:
    """How many lists hold each row, float64 ``[u]``."""
    return np.asarray(table.held.sum(axis=0), dtype=np.float64)


def _min_max(scores: F64) -> F64:
    low, high = scores.min(), scores.max()
    return np.asarray((scores - low) / (high - low)) if high > low else np.ones_like(scores)


def _sum_to_one(scores: F64) -> F64:
    above = _min_max(scores)
    return np.asarray(above / above.sum())


def _z_score(scores: F64) -> F64:
    # From 0 to 1 first: the squares of very small differences would vanish.
    shares = _min_max(scores)
    return np.asarray((shares - shares.mean()) / shares.std()) if shares.min() < 1 else np.zeros_like(scores)


def _three_sigma(scores: F64) -> F64:
    shares = _min_max(scores)
    if shares.min() == 1:
        return np.full_like(scores, 0.5)
    return np.asarray((shares - shares.mean()) / (6 * shares.std(ddof=1)) + 0.5)


_SCALES: dict[str, Callable[[F64], F64]] = {
    "minmax": _min_max,
    "sum": _sum_to_one,
    "zscore": _z_score,
    "sigma3": _three_sigma,
}
