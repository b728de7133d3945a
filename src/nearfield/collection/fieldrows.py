"""The vectors of a field over all segments, as a source of blocks: what fitting, advice and measurements take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.arrays import block_rows
from nearfield.core.errors import Unsupported
from nearfield.core.protocols import I64
from nearfield.store.parts import Part, SegmentPart
from nearfield.store.snapshot import Snapshot


class FieldRows:
    """The vectors of a dense field of all rows that are there, as a ``Batch``."""

    def __init__(self, snapshot: Snapshot, number: int) -> None:
        self._parts: list[tuple[Part, I64]] = []
        for view in snapshot.views:
            found = view.part.vectors(number)
            if found is not None:
                live = np.arange(found.count) if found.present is None else found.present
                at = np.arange(found.count) if view.live is None else np.flatnonzero(view.live[live])
                self._parts.append((view.part, at.astype(np.int64)))
        self._number = number
        self._field = snapshot.fields[number]
        self._ends = np.cumsum([len(at) for _, at in self._parts], dtype=np.int64)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise Unsupported("the vectors of a collection are read from its files and are neither copied nor pickled; "
                          "pass the collection's path, or an array of them: vectors.take(numpy.arange(n))")  # fmt: skip

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and width."""
        return (int(self._ends[-1]) if len(self._ends) else 0, self._field.width)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type in which they are kept."""
        return self._field.values

    def blocks(self, rows: int = 0) -> Iterator[NDArray[Any]]:
        """All rows, a block at a time."""
        step = rows or block_rows(self.shape[1])
        for start in range(0, self.shape[0], step):
            yield self.take(np.arange(start, min(self.shape[0], start + step)))

    def take(self, rows: I64) -> NDArray[Any]:
        """Some rows."""
        out = np.empty((len(rows), self.shape[1]), self.dtype)
        which = np.searchsorted(self._ends, rows, side="right")
        for i in np.unique(which).tolist():
            part, at = self._parts[i]
            here = which == i
            places = at[rows[here] - (int(self._ends[i - 1]) if i else 0)]
            found = part.vectors(self._number)
            if found is not None:
                if isinstance(part, SegmentPart):
                    part.verify_vectors(self._number, places)
                out[here] = found.values[places]
        return out
