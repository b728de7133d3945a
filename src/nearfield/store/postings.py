"""Inverted lists of sparse fields: for each term the rows that hold it, and with what weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.protocols import F32, I64
from nearfield.numerics.runs import starts_of


@dataclass
class Postings:
    """``terms`` ascending, int64 ``[t]``; the rows of term ``i`` are ``rows[starts[i]:starts[i+1]]``, ascending."""

    n: int
    terms: I64
    starts: I64
    rows: NDArray[np.uint32]
    weights: F32

    @classmethod
    def build(cls, n: int, indices: I64, weights: F32, lengths: I64) -> Postings:
        """From sparse rows: term numbers and weights end to end, and how many each row has."""
        order = np.argsort(indices, kind="stable")
        terms, counts = np.unique(indices, return_counts=True)
        rows = np.repeat(np.arange(len(lengths), dtype=np.uint32), lengths)[order]
        return cls(n, terms, starts_of(counts), rows, np.asarray(weights[order], dtype=np.float32))

    def find(self, wanted: I64) -> I64:
        """The place of each term, -1 for those that no row holds."""
        if not len(self.terms):
            return np.full(len(wanted), -1, np.int64)
        at = np.minimum(np.searchsorted(self.terms, wanted), len(self.terms) - 1)
        return np.where(self.terms[at] == wanted, at, -1).astype(np.int64)

    def dot(self, terms: I64, weights: Sequence[float] | NDArray[Any]) -> F32:
        """The dot product of every row with one sparse query: float32 ``[n]``."""
        out = np.zeros(self.n, np.float32)
        for at, weight in zip(self.find(terms).tolist(), np.asarray(weights, dtype=np.float32)):
            if at >= 0:
                a, b = self.starts[at], self.starts[at + 1]
                out[self.rows[a:b]] += weight * self.weights[a:b]  # a row holds a term once: no sum is lost
        return out

    def norms(self) -> F32:
        """The length of every row."""
        squares = np.bincount(self.rows, weights=np.square(self.weights, dtype=np.float64), minlength=self.n)
        return np.sqrt(squares).astype(np.float32)
