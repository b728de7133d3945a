"""Intrinsic dimension from two neighbours: how much farther the second nearest row lies than the first.

It needs no scale and hardly minds how densely rows lie. Use it beside the local dimension: where it is far below the
width, a reducer can drop dimensions; where both agree, rows lie on one sheet.

paper: Facco, d'Errico, Rodriguez, Laio, 2017, doi:10.1038/s41598-017-11873-y; beside S080
needs: numpy
status: experimental
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nearfield.core.checks import real
from nearfield.core.errors import BadInput
from nearfield.core.protocols import Metric
from nearfield.core.report import Report
from nearfield.numerics import dimension

DRAWS = 200  # of the bootstrap


def twonn(
    x: Any, *, drop: float = 0.1, metric: Metric = "cosine", sample: int = 5000, rows: int = 100_000, rng: int = 0
) -> Report:
    """The dimension of rows ``[n, d]`` with its 95% interval, by a bootstrap over the rows asked.

    Parameters
    ----------
    drop: the share of the largest ratios that the line is not fitted to, as in the paper.
    metric: distances are between rows scaled to unit length under ``cosine``, else as they are.
    sample: how many rows are asked, drawn; rows: at most so many are looked among, drawn.

    ``-log(1 - F)`` of the ratios, with ``F`` the share of ratios below, is a line through the origin over their
    logarithm; its slope is the dimension. Repeated rows count once. Raises ``BadInput`` where fewer than ten differ.

    >>> x = np.random.default_rng(0).uniform(size=(2000, 3)).astype("float32")
    >>> 2.6 < twonn(x, metric="l2").value < 3.3
    True
    """
    drop = real("drop", drop, "a share from 0 to below 0.9", least=0, below=0.9)
    found = dimension.measured_rows(x, metric, rows, rng)
    if len(found) < 10:
        raise BadInput(f"twonn: expected at least 10 rows that differ, got {len(found)}")
    at = dimension.asked_rows(len(found), sample, rng)
    far = dimension.distances(found, at, 2)
    logs = np.log(far[:, 1] / np.maximum(far[:, 0], 1e-300))
    value = _slope(logs, drop)
    draw = np.random.default_rng([int(rng), 1])
    slopes = [_slope(draw.choice(logs, len(logs)), drop) for _ in range(DRAWS)]
    low, high = (float(v) for v in np.quantile(slopes, (0.025, 0.975)))
    return Report(
        "twonn", value, min(low, value), max(high, value),
        reading=f"rows lie on a sheet of about {value:.0f} dimensions in {found.shape[1]}",
        advice="" if value > found.shape[1] / 4 else f"a map to a few times {value:.0f} dimensions may lose little",
        details={"asked": len(at), "drop": float(drop)},
    )  # fmt: skip


def _slope(logs: dimension.F64, drop: float) -> float:
    """The slope of the line through the origin, over all ratios but the largest."""
    n = len(logs)
    kept = max(2, int(n * (1 - drop)))
    kept -= kept == n  # the largest ratio of all has nothing beyond it
    across = np.sort(logs)[:kept]
    up = -np.log1p(-np.arange(1, kept + 1) / n)
    total = float(across @ across)
    return min(float(across @ up) / total, dimension.HIGHEST) if total > 0 else dimension.HIGHEST
