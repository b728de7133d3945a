"""What a Collection gives back: rows, and hits, which are rows with a score; each part is read when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from nearfield.collection.plans import Coded
from nearfield.core.errors import Unsupported
from nearfield.core.hits import HitList, distances
from nearfield.core.protocols import I64, Metric
from nearfield.store.ids import Id
from nearfield.store.parts import Part, SegmentPart
from nearfield.store.snapshot import Snapshot


class Row:
    """One row: ``id``, ``text``, ``meta`` and ``vector`` (where there are several fields, ``vectors`` by name)."""

    __slots__ = ("_at", "_of", "_part", "id")

    def __init__(self, of: Snapshot, part: Part, at: int, name: Id | None = None) -> None:
        self._of, self._part, self._at = of, part, at
        self.id = part.id(at) if name is None else name

    @property
    def row(self) -> int:
        """The row's permanent number."""
        return int(self._part.rows[self._at])

    @property
    def text(self) -> str | None:
        """The text, None where there is none."""
        return self._part.text(self._at)

    @property
    def meta(self) -> dict[str, Any]:
        """The metadata."""
        return self._part.meta(self._at)

    @property
    def vectors(self) -> dict[str, Any]:
        """The vectors by field; only those that the row has."""
        at = np.array([self._at], dtype=np.int64)
        out = {}
        for name, number in self._of.names.items():
            found = self._part.vectors(number)
            value = self._decoded(number) if found is None else found.rows(at)[0]
            if value is not None:
                out[name] = value
        return out

    @property
    def only_coded(self) -> list[str]:
        """The fields of which there is a code that cannot be turned back into a vector."""
        dropped = [(n, i) for n, i in self._of.names.items() if (c := Coded.of(self._of, i)) and c.keep is None]
        has = self.vectors if dropped else {}
        return [name for name, number in dropped if name not in has and self._among(self._part.having(number))]

    def _among(self, positions: I64) -> bool:
        at = int(np.searchsorted(positions, self._at))
        return at < len(positions) and int(positions[at]) == self._at

    def _decoded(self, number: int) -> Any:
        """The vector as its codes give it back, where the original was dropped."""
        if not isinstance(self._part, SegmentPart):
            return None
        plan = Coded.of(self._of, number)
        if plan is None:
            return None
        from nearfield.collection.coded import decoded

        return decoded(self._part, number, plan.file, self._at)

    @property
    def vector(self) -> Any:
        """The vector of the first field, None where the row has none."""
        names = list(self._of.names)
        return self.vectors.get(names[0]) if names else None

    def to_dict(self, *, vectors: bool = True) -> dict[str, Any]:
        """A plain dictionary."""
        out: dict[str, Any] = {"id": self.id, "text": self.text, "meta": self.meta}
        return out | {"vectors": self.vectors} if vectors else out

    def __copy__(self) -> Self:
        return self  # nothing changes it

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise Unsupported("a row reads its parts from its collection and is not pickled; pass on row.to_dict()")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and (self.id, self.text, self.meta) == (other.id, other.text, other.meta)

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"Row(id={self.id!r}, text={self.text!r}, meta={self.meta!r})"


class Hit(Row):
    """A row that was found: ``score``, larger is nearer; ``distance``, smaller is nearer, where the metric has one."""

    __slots__ = ("distance", "score")

    def __init__(self, of: Snapshot, part: Part, at: int, name: Id, score: float, distance: float | None) -> None:
        super().__init__(of, part, at, name)
        self.score, self.distance = score, distance

    def __repr__(self) -> str:
        return f"Hit(id={self.id!r}, score={self.score!r}, text={self.text!r}, meta={self.meta!r})"

    def to_dict(self, *, vectors: bool = False) -> dict[str, Any]:
        """A plain dictionary."""
        out: dict[str, Any] = {"id": self.id, "score": self.score}
        if self.distance is not None:
            out["distance"] = self.distance
        return out | super().to_dict(vectors=vectors)


def hit_list(of: Snapshot, rows: I64, scores: Any, metric: Metric | None, explain: dict[str, Any] | None) -> HitList:
    """The hits of one query, best first; ``metric`` is None where scores are not of one."""
    scores = np.asarray(scores, dtype=np.float32)[rows >= 0]
    rows = rows[rows >= 0]
    found = None if metric is None else distances(scores, metric)
    near, far = scores.tolist(), [None] * len(rows) if found is None else found.tolist()
    hits: list[Any] = [None] * len(rows)
    for part, which, at in of.places(rows):
        for i, position, name in zip(which.tolist(), at.tolist(), part.names(at)):
            hits[i] = Hit(of, part, position, name, near[i], far[i])
    return HitList(hits, explain=explain)


def walk(of: Snapshot) -> Iterator[Row]:
    """Every row, in the order in which they were written."""
    for view, at in of.walk():
        for position in at.tolist():
            yield Row(of, view.part, position)
