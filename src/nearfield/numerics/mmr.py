"""Maximal marginal relevance: results that are near the query and not all the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.arrays import to_f32, unit_rows
from nearfield.core.checks import real, whole
from nearfield.core.errors import BadInput, BadParameter
from nearfield.core.protocols import I64
from nearfield.numerics import kernels


def mmr(query_scores: NDArray[Any], vectors: NDArray[Any], k: int, balance: float = 0.5) -> I64:
    """Choose ``k`` of ``c`` candidates one by one: near the query, unlike what was chosen before.

    Use it on the first hundred hits where they repeat one another. The first is the candidate with the best
    score; each further one has the largest ``balance * score - (1 - balance) * s``, ``s`` being its largest
    cosine similarity to a chosen one. ``balance=1`` keeps the order of the scores, 0 looks at variety alone;
    it is called lambda in the paper and ``lambda_mult`` elsewhere. ``query_scores`` ``[c]`` should be cosine
    similarities too, or lie on a like scale; ``vectors`` are the candidates ``[c, d]``; a zero vector is
    similar to nothing. Returns places among the candidates, int64 ``[min(k, c)]``; ties go to the lower place.

    Raises ``BadInput`` for other shapes and for NaN, ``BadParameter`` for a balance outside 0 to 1.

    Source: Carbonell and Goldstein 1998, doi:10.1145/290941.291025.

    >>> twins_and_another = np.array([[1, 0], [1, 0.01], [0.6, 0.8]])
    >>> mmr(np.array([0.9, 0.89, 0.6]), twins_and_another, k=2).tolist()
    [0, 2]
    """
    scores, rows = _checked(query_scores, vectors, k, balance)
    unit = unit_rows(rows, on_zero="keep")
    open_ = np.ones(scores.size, dtype=np.bool_)
    likeness = np.full(scores.size, -np.inf)
    order = np.empty(min(int(k), scores.size), dtype=np.int64)
    worth = scores
    for place in range(order.size):
        chosen = int(np.argmax(np.where(open_, worth, -np.inf)))
        order[place] = chosen
        open_[chosen] = False
        # float64: a difference of two near numbers decides
        np.maximum(likeness, kernels.dots(unit[chosen : chosen + 1], unit)[0], out=likeness)
        worth = balance * scores - (1 - balance) * likeness
    return order


def _checked(query_scores: Any, vectors: Any, k: Any, balance: Any) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    scores, rows = np.asarray(query_scores, dtype=np.float64), np.asarray(vectors)
    if scores.ndim != 1 or rows.ndim != 2 or len(rows) != scores.size:
        raise BadInput(f"mmr: expected scores [c] and vectors [c, d], got shapes {scores.shape} and {rows.shape}")
    if not np.isfinite(scores).all():
        raise BadInput("mmr: expected finite scores, got NaN or infinity; leave such candidates out")
    whole("k", k, 1)
    real("balance", balance, "a number from 0 to 1", least=0, most=1, error=BadParameter)
    return scores, to_f32(rows)
