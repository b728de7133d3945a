"""Searches with a filter for each query, where a plan has to run step by step.

paper: S036 (which way pays under a filter depends on how many rows match: see native/filtered.h)
needs: numpy
status: proven
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import BadInput
from nearfield.core.hits import Hits


def several(allow: Any) -> TypeGuard[NDArray[np.bool_]]:
    """Whether there is a filter for each query."""
    return isinstance(allow, np.ndarray) and allow.ndim == 2


def each_filter(search: Callable[..., Hits], queries: Any, allow: NDArray[np.bool_]) -> Hits:
    """Search for each of the queries ``[m, d]`` under its row of ``allow`` ``[m, n]``."""
    if len(queries) != len(allow):
        raise BadInput(f"allow: expected a filter for each of {len(queries)} queries, got {len(allow)}")
    if not len(allow):
        return search(queries, allow=None)
    found = [search(queries[i : i + 1], allow=allow[i]) for i in range(len(allow))]
    first = found[0]
    ways = [np.zeros(1, np.int64) if h.ways is None else h.ways for h in found]
    rescored = [h.rescored for h in found if h.rescored is not None]
    return Hits(
        np.concatenate([h.rows for h in found]),
        np.concatenate([h.scores for h in found]),
        np.concatenate([h.scored for h in found]),
        first.metric,
        first.names,
        first.texts,
        np.concatenate(rescored) if rescored else None,
        np.concatenate(ways),
    )
