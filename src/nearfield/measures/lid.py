"""Local intrinsic dimension: how many dimensions rows fill around each of them, by maximum likelihood.

High values mean that many rows lie about equally near: graphs need more budget there, and codes lose more. Use it to
see how hard a collection is to search, and which of its rows are.

paper: Levina, Bickel, 2004; MacKay, Ghahramani, 2005; Amsaleg et al., 2015, doi:10.1145/2783258.2783405; as in S080
needs: numpy
status: experimental
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nearfield.core.checks import whole
from nearfield.core.errors import BadInput
from nearfield.core.protocols import Metric
from nearfield.core.report import Report
from nearfield.numerics import dimension

Z95 = 1.959963985
HARD = 30.0  # above about so many, the nearest rows of a row hardly differ in distance


def lid(
    x: Any, *, k: int = 100, metric: Metric = "cosine", sample: int = 2000, rows: int = 100_000, rng: int = 0
) -> Report:
    """The mean local dimension of rows ``[n, d]`` and its 95% interval; that of each row asked is in ``details``.

    Parameters
    ----------
    k: how many nearest rows tell the dimension; fewer where there are few rows.
    metric: distances are between rows scaled to unit length under ``cosine``, else as they are.
    sample: how many rows are asked, drawn; ``details["local"]`` holds theirs, ``details["rows"]`` their numbers.
    rows: at most so many rows are looked among, drawn.

    The whole is the harmonic mean; its interval is that of the mean of the inverses over the rows asked. Repeated
    rows count once. Raises ``BadInput`` where fewer than three rows differ.

    >>> x = np.random.default_rng(0).normal(size=(2000, 3)).astype("float32")
    >>> 2.6 < lid(x, metric="l2", k=20).value < 3.4
    True
    """
    k = whole("k", k, 2)
    found = dimension.measured_rows(x, metric, rows, rng)
    if len(found) < 3:
        raise BadInput(f"lid: expected at least 3 rows that differ, got {len(found)}")
    at = dimension.asked_rows(len(found), sample, rng)
    k = min(k, len(found) - 1)
    inverse = dimension.inverse_local(dimension.distances(found, at, k))
    mean = float(inverse.mean())
    half = Z95 * float(inverse.std(ddof=1)) / float(np.sqrt(len(inverse)))
    value, low, high = (1 / max(v, 1 / dimension.HIGHEST) for v in (mean, mean + half, mean - half))
    each = dimension.local(inverse)
    quartiles = [float(v) for v in np.quantile(each, (0.25, 0.5, 0.75))]
    return Report(
        "lid", value, low, high,
        reading=(
            f"around a row the others fill about {value:.0f} of {found.shape[1]} dimensions; a quarter of the rows "
            f"lies below {quartiles[0]:.0f}, a quarter above {quartiles[2]:.0f}"
        ),
        advice="" if value < HARD else "near rows hardly differ in distance: give searches more budget, and re-score",
        details={"k": k, "quartiles": quartiles, "rows": at.tolist(), "local": each.tolist()},
    )  # fmt: skip
