"""What a search returns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nearfield.core.protocols import F32, I64, Metric

# What a graph does under a filter, as native/graph.h numbers it: "scan" scores all rows that match; "hop" walks from
# match to match through the links of others; "post" walks as without a filter, but wider, and keeps what matches;
# "gave up" is a walk that met too few, and then a scan.
WAYS = ("walk", "scan", "hop", "post", "gave up")


@dataclass
class Hit:
    """One row of a result: its id, score (larger is nearer), text where there is one, and row number."""

    id: Any
    score: float
    text: str | None = None
    row: int = -1


def distances(scores: F32, metric: Metric) -> F32 | None:
    """Scores as distances, smaller is nearer, where the metric has one.

    >>> distances(np.array([-4.0], dtype=np.float32), "l2").tolist()
    [2.0]
    """
    if metric == "l2":
        return np.asarray(np.sqrt(np.maximum(-scores, 0)), dtype=np.float32)
    if metric == "cosine":
        return np.asarray(1 - scores, dtype=np.float32)
    return np.asarray(-scores, dtype=np.float32) if metric == "hamming" else None


class HitList(list[Any]):
    """The hits of one query, best first: a list of them, with ``ids`` and ``scores`` of all at once.

    ``explain`` tells how they were found, where that was asked for.
    """

    def __init__(self, hits: Iterable[Any] = (), *, explain: dict[str, Any] | None = None) -> None:
        super().__init__(hits)
        self.explain = explain

    @property
    def ids(self) -> list[Any]:
        """The id of each hit."""
        return [hit.id for hit in self]

    @property
    def scores(self) -> F32:
        """The score of each hit, float32 ``[j]``; larger is nearer."""
        return np.array([hit.score for hit in self], dtype=np.float32)

    @property
    def distances(self) -> F32 | None:
        """The distance of each hit, float32 ``[j]``, smaller is nearer; None where the scores are no distances."""
        found = [hit.distance for hit in self]
        return None if any(d is None for d in found) else np.array(found, dtype=np.float32)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Plain dictionaries, ready for JSON but for timestamps."""
        return [hit.to_dict() for hit in self]

    def to_pandas(self) -> Any:
        """A pandas frame: id, score, text and a column for each key of the metadata."""
        from nearfield.core.optional import require

        pandas = require("pandas", extra="pandas")
        return pandas.DataFrame([{**d.pop("meta", {}), **d} for d in self.to_dicts()])


class HitLists(list[HitList]):
    """The hits of several queries: a list for each."""

    @property
    def ids(self) -> Any:
        """The ids ``[m, k]`` as an object array, None where fewer than ``k`` rows match."""
        out = np.full((len(self), max(map(len, self), default=0)), None, dtype=object)
        for i, hits in enumerate(self):
            out[i, : len(hits)] = hits.ids
        return out

    @property
    def scores(self) -> F32:
        """The scores, float32 ``[m, k]``, -inf where fewer than ``k`` rows match."""
        out = np.full((len(self), max(map(len, self), default=0)), -np.inf, dtype=np.float32)
        for i, hits in enumerate(self):
            out[i, : len(hits)] = hits.scores
        return out


@dataclass
class Hits:
    """The best rows for each of ``m`` queries, best first.

    ``rows`` int64 ``[m, k]`` are row numbers, -1 where fewer than ``k`` rows match; ``scores`` float32
    ``[m, k]``, larger is nearer, -inf there; ``scored`` int64 ``[m]`` tells how many rows were scored.
    ``ids`` are the rows' own ids where they have any, else the row numbers. ``strategy`` tells how a filter was met.

    >>> h = Hits(np.array([[2, -1]]), np.array([[0.5, -np.inf]], dtype=np.float32), np.array([3]))
    >>> h[0]
    [Hit(id=2, score=0.5, text=None, row=2)]
    """

    rows: I64
    scores: F32
    scored: I64
    metric: Metric = "dot"
    names: Sequence[Any] | None = None
    texts: Sequence[str] | None = None
    rescored: I64 | None = None
    ways: I64 | None = None

    @property
    def strategy(self) -> list[str] | None:
        """How each query was answered under a filter, where an index has several ways: a word of ``WAYS``."""
        return None if self.ways is None else [WAYS[way] for way in self.ways.tolist()]

    @property
    def ids(self) -> Any:
        """The ids ``[m, k]``: row numbers (int64), or an object array where rows have ids of their own."""
        if self.names is None:
            return self.rows
        out = np.empty(self.rows.shape, dtype=object)
        for at in np.ndindex(self.rows.shape):
            row = int(self.rows[at])
            out[at] = self.names[row] if row >= 0 else None
        return out

    @property
    def distance(self) -> F32 | None:
        """The distance, smaller is nearer, where the metric has one: l2, cosine (1 - score), Hamming."""
        return distances(self.scores, self.metric)

    def __len__(self) -> int:
        return int(self.rows.shape[0])

    def __getitem__(self, query: int) -> list[Hit]:
        out = []
        for row, score in zip(self.rows[query], self.scores[query]):
            if row >= 0:
                r = int(row)
                name = self.names[r] if self.names is not None else r
                out.append(Hit(name, float(score), self.texts[r] if self.texts is not None else None, r))
        return out

    def __iter__(self) -> Iterator[list[Hit]]:
        return (self[i] for i in range(len(self)))

    def to_dicts(self) -> list[list[dict[str, Any]]]:
        """Plain lists and dictionaries, ready for JSON."""
        return [
            [{"id": h.id, "score": round(h.score, 6)} | ({"text": h.text} if h.text is not None else {}) for h in hits]
            for hits in self
        ]
