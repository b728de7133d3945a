"""Score the short list again with finer codes: the second half of every fast search.

paper: the shortlist-then-refine scheme common to S053, S161 and S044
needs: numpy
status: proven
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from nearfield.core import plan, rooms
from nearfield.core.codecs import Codec
from nearfield.core.errors import BadPlan
from nearfield.core.method import Method
from nearfield.core.params import OneOf, Range
from nearfield.core.protocols import F32, I64, Prepared, Scorer
from nearfield.numerics import kernels
from nearfield.search.tiers import DiskColumn


@dataclass
class Rescore(Method):
    """Encode the rows with a finer ``codec`` too, and re-score ``depth * k`` rows with it.

    ``of="input"`` re-scores the Plan's input vectors, ``of="mapped"`` what the Maps gave. ``of="residual"`` encodes
    only what the Plan's codec left of that, and adds its score to the first: as fine as both together, at the bytes
    of the second alone.
    """

    codec: str = "float16"
    depth: Annotated[int, Range(1, 100_000)] = 10
    of: Annotated[str, OneOf("input", "mapped", "residual")] = "input"

    def make_codec(self) -> Codec:
        """The codec that the step names, unfitted."""
        steps = plan.read(self.codec)
        if len(steps) != 1 or rooms.room_of(steps[0].name, ("codecs",)) is None:
            known = ", ".join(rooms.catalog("codecs"))
            raise BadPlan(f"rescore(codec=): expected one codec of {known}, got {self.codec!r}")
        made = rooms.load("codecs", steps[0].name)(**dict(steps[0].params))
        if not isinstance(made, Codec):
            raise BadPlan(f"rescore(codec=): {steps[0].name} is not a codec")
        return made


def rescore(
    q: Prepared,
    scorer: Scorer,
    codes: Any,
    terms: F32 | None,
    rows: I64,
    k: int,
    first: F32 | None = None,
    places: I64 | None = None,
) -> tuple[I64, F32]:
    """Re-score the rows of each query, ``[m, c]`` with -1 for none, and keep the best ``k``; ties by row.

    ``first`` ``[m, c]`` are scores to which those of residuals are added; ``places`` where rows lie, if not in order.
    """
    m, c = rows.shape
    scores = np.full((m, c), -np.inf, dtype=np.float32)
    for i in range(m):
        wanted = (rows if places is None else places)[i][rows[i] >= 0]
        if wanted.size:
            scores[i, : wanted.size] = _one(q, i, scorer, codes, terms, wanted)
            if first is not None:
                scores[i, : wanted.size] += first[i, : wanted.size]
    order = np.lexsort((rows, -scores), axis=1)[:, :k]
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)


def _one(q: Prepared, i: int, scorer: Scorer, codes: Any, terms: F32 | None, rows: I64) -> F32:
    if isinstance(codes, DiskColumn):
        codes, terms, rows = codes.take(rows), None if terms is None else terms[rows], np.arange(len(rows))
    if scorer.format is not None and q.folded is not None:
        return np.asarray(
            kernels.score_rows(scorer.format, codes, q.folded.only(slice(i, i + 1)), q.metric, rows, terms)[0]
        )
    single = Prepared(q.queries[i : i + 1], q.metric)
    return np.asarray(scorer.score(single, np.ascontiguousarray(codes[rows]))[0])
