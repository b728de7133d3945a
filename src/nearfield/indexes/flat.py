"""Flat index: score every row, exactly under the codec.

The baseline of every comparison, and the fastest choice up to some hundred thousand rows.

paper: exhaustive search
needs: numpy
status: proven
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.core.arrays import block_rows
from nearfield.core.hits import Hits
from nearfield.core.indexes import Columns, Index, check_search
from nearfield.core.protocols import F32, I64, TABLE_LAYOUTS, Prepared, Rows
from nearfield.numerics import finders, kernels

_ALONE = 1 << 22  # bytes of codes that one thread scans by itself


@dataclass
class Flat(Index):
    """Scores every row; ignores ``budget``. Results are exact for the codes it holds."""

    interleaves: ClassVar[bool] = True
    decodes: ClassVar[bool] = True

    def attach(self, rows: Rows, columns: Columns) -> Self:
        """Keep a reference to the codes; nothing is computed and nothing copied."""
        self.rows = rows
        self._finder: Any = None
        return self

    def finder(self) -> Any:
        """What scans all rows natively; None for codes without a layout."""
        native, fmt = kernels.native(), self.rows.scorer.format
        if self._finder is None and native is not None and fmt is not None:
            rows = self.rows
            held = finders.native_rows(fmt, rows.codes, rows.scorer.metric, rows.terms, rows.n)
            self._finder = native.flat_finder(held)
        return self._finder

    def effort(self, k: int, budget: int, matches: int) -> int | None:
        """All rows of tables, where one thread scans them about as soon as several; None where these share the work."""
        fmt = self.rows.scorer.format
        alone = self.rows.codes.nbytes <= _ALONE and fmt is not None and fmt.layout in TABLE_LAYOUTS
        return self.rows.n if alone else None

    def search(
        self, q: Prepared, k: int, *, budget: int = 0, allow: NDArray[np.bool_] | None = None, depth: int = 1
    ) -> Hits:
        """The exact best ``k`` under the codec; equal scores go to the smaller row number."""
        rows = self.rows
        k = min(depth * check_search(k, rows.n, allow), rows.n)
        fmt = rows.scorer.format
        if fmt is not None and q.folded is not None:
            found, scores = kernels.scan(
                fmt, rows.codes, q.folded, q.metric, k, n=rows.n, terms=rows.terms, allow=allow
            )
        else:
            found, scores = self._by_decoding(q, k, allow)
        matches = rows.n if allow is None else int(allow.sum())
        return Hits(found, scores, np.array([matches] * q.m, dtype=np.int64))

    def _by_decoding(self, q: Prepared, k: int, allow: NDArray[np.bool_] | None) -> tuple[I64, F32]:
        """Codecs without a native layout: decode block after block, score floats, keep the best of each."""
        rows = self.rows
        found, best = [], []
        step = block_rows(q.queries.shape[1])
        for start in range(0, rows.n, step):
            scores = rows.scorer.score(q, rows.codes[start : start + step])
            if allow is not None:
                scores = np.where(allow[None, start : start + step], scores, np.float32(-np.inf))
            ids, top = kernels.topk(scores, min(k, scores.shape[1]))
            found.append(np.where(top == -np.inf, -1, ids + start))
            best.append(top)
        if len(best) == 1:
            return found[0], best[0]
        # Blocks lie in the order of their rows, so that the first of equal scores has the smaller row number.
        at, top = kernels.topk(np.concatenate(best, axis=1), k)
        ids = np.take_along_axis(np.concatenate(found, axis=1), at, axis=1)
        return np.where(top == -np.inf, -1, ids), top
