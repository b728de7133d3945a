"""The vectors of one field in the rows of a segment or batch: dense, sparse or ragged, some rows perhaps without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nearfield.core.arrays import BLOCK_BYTES, block_rows
from nearfield.core.codecs import row_terms
from nearfield.core.errors import Corrupt
from nearfield.core.protocols import F32, I64, Kind, Metric
from nearfield.numerics.runs import gathered, smallest_uint, starts_of
from nearfield.store.fields import Field, exactly

_UNIT = 1e-6  # a squared length this near to 1 is one: float32 rows scaled to unit length are


class Store(Protocol):
    """Takes columns in pieces, several side by side: the writer of a segment."""

    def begin(self, name: str, dtype: Any, shape: tuple[int, ...]) -> None: ...
    def append(self, name: str, rows: NDArray[Any]) -> None: ...
    def add(self, name: str, array: NDArray[Any]) -> None: ...


class Read(Protocol):
    """Gives columns back: a segment that was opened."""

    def __contains__(self, name: str) -> bool: ...
    def column(self, name: str, *, verify: bool = ...) -> NDArray[Any]: ...


class Vectors:
    """The vectors of ``n`` rows; ``present`` are the positions of those that have one, None where all do.

    ``values`` dense ``[r, width]``, ragged ``[t, width]`` with ``lengths``, sparse weights with ``indices`` and
    ``lengths``. ``terms`` is what cosine and l2 need beside the dot product, one a dense row, None where it is 1.
    """

    def __init__(
        self,
        kind: Kind,
        n: int,
        values: NDArray[Any],
        *,
        present: I64 | None = None,
        lengths: NDArray[Any] | None = None,
        indices: NDArray[Any] | None = None,
        terms: F32 | None = None,
    ) -> None:
        self.kind = kind
        self.n = n
        self.values = values
        self.present = present
        self.lengths = lengths
        self.indices = indices
        self.terms = terms
        self._starts: I64 | None = None

    @property
    def count(self) -> int:
        """How many rows have a vector."""
        return self.n if self.present is None else len(self.present)

    @property
    def starts(self) -> I64:
        """Where the values of each row start, checked against the values there."""
        if self._starts is None:
            lengths = np.zeros(0, np.int64) if self.lengths is None else self.lengths.astype(np.int64)
            starts = starts_of(lengths)
            if int(starts[-1]) != len(self.values) or (starts[1:] < starts[:-1]).any():
                raise Corrupt(f"the rows should have {int(starts[-1])} values, there are {len(self.values)}")
            self._starts = starts
        return self._starts

    def among(self, positions: I64) -> tuple[NDArray[np.bool_], I64]:
        """Which of these rows have a vector, and where theirs lie among the vectors."""
        if self.present is None:
            return np.ones(len(positions), np.bool_), positions
        at = np.searchsorted(self.present, positions)
        inside = np.minimum(at, max(len(self.present) - 1, 0))
        has = (self.present[inside] == positions) if len(self.present) else np.zeros(len(positions), np.bool_)
        return has, inside[has].astype(np.int64)

    def row(self, at: int) -> Any:
        """One vector, as a person gives it: an array, for sparse ones ``{term: weight}``."""
        if self.kind == "dense":
            return np.array(self.values[at])
        a, b = int(self.starts[at]), int(self.starts[at + 1])
        if self.kind == "ragged" or self.indices is None:
            return np.array(self.values[a:b])
        return dict(zip(self.indices[a:b].tolist(), self.values[a:b].tolist()))

    def rows(self, positions: I64) -> list[Any]:
        """The vectors of some rows, None for a row without."""
        has, at = self.among(positions)
        found = iter([self.row(int(p)) for p in at])
        return [next(found) if h else None for h in has]

    def blocks(self, at: I64) -> Iterator[NDArray[Any]]:
        """Dense vectors at some places, a block at a time; long stretches are not copied."""
        step = block_rows(self.values.shape[1], BLOCK_BYTES)
        for i in range(0, len(at), step):
            wanted = at[i : i + step]
            straight = len(wanted) and int(wanted[-1]) - int(wanted[0]) == len(wanted) - 1
            yield self.values[int(wanted[0]) : int(wanted[-1]) + 1] if straight else self.values[wanted]


def read_vectors(segment: Read, name: str, field: Field, n: int) -> Vectors | None:
    """The vectors of a field in a segment, None where it holds none."""
    if f"{name}.values" not in segment:
        return None
    values = segment.column(f"{name}.values", verify=False)

    def maybe(part: str) -> Any:
        return segment.column(f"{name}.{part}") if f"{name}.{part}" in segment else None

    present = maybe("present")
    out = Vectors(
        field.kind, n, values,
        present=None if present is None else present.astype(np.int64),
        lengths=maybe("lengths"), indices=maybe("indices"), terms=maybe("terms"),
    )  # fmt: skip
    _check(out, field)
    return out


def _check(found: Vectors, field: Field) -> None:
    """Refuse columns that do not belong together: searches rely on it."""
    r, values = found.count, found.values
    shapes = {
        "dense": values.shape == (r, field.width) and values.dtype == field.values,
        "ragged": values.ndim == 2 and values.shape[1] == field.dim and values.dtype == field.values,
        "sparse": values.ndim == 1 and values.dtype == np.float32,
    }
    present, terms = found.present, found.terms
    if not shapes[field.kind]:
        raise Corrupt(f"expected {r} vectors ({field}), got {values.dtype} of shape {values.shape}")
    if present is not None and present.ndim != 1:
        raise Corrupt("expected the rows that have a vector, one after another")
    if present is not None and not ascending(present, found.n):
        raise Corrupt("the rows that have a vector are not ascending, or not among the rows")
    if field.kind == "dense" and terms is not None and (terms.shape != (r,) or terms.dtype != np.float32):
        raise Corrupt(f"expected a float32 for each of {r} vectors, got {terms.dtype} of shape {terms.shape}")
    if field.kind == "dense" and terms is None and field.nearness == "l2" and r:
        raise Corrupt(f"expected the squared length of each of {r} vectors")
    if field.kind != "dense" and (
        found.lengths is None or found.lengths.shape != (r,) or found.lengths.dtype.kind != "u"
    ):
        raise Corrupt(f"expected how many values each of {r} vectors has")
    if field.kind == "sparse" and (found.indices is None or found.indices.shape != values.shape):
        raise Corrupt("expected a term number for each weight")
    if field.kind != "dense":
        _ = found.starts


def ascending(at: I64, n: int) -> bool:
    """Whether these are positions among ``n`` rows, each once and in order."""
    return not len(at) or bool(at[0] >= 0 and at[-1] < n and (at[1:] > at[:-1]).all())


def write_vectors(out: Store, name: str, field: Field, sources: Sequence[tuple[Vectors | None, I64]]) -> None:
    """Write the vectors of some rows of several sources, one after another, in bounded memory."""
    among = [(v, *v.among(p)) if v is not None else (None, np.zeros(len(p), np.bool_), p[:0]) for v, p in sources]
    has = np.concatenate([h for _, h, _ in among]) if among else np.zeros(0, np.bool_)
    if not has.any():
        return
    if not has.all():
        out.add(f"{name}.present", np.flatnonzero(has).astype(np.uint32))
    picked = [(v, at) for v, _, at in among if v is not None and len(at)]
    if field.kind == "dense":
        _write_dense(out, name, field, picked)
    else:
        _write_runs(out, name, field, picked)


def _write_dense(out: Store, name: str, field: Field, picked: list[tuple[Vectors, I64]]) -> None:
    out.begin(f"{name}.values", field.values, (sum(len(at) for _, at in picked), field.width))
    terms: list[F32] = []
    for vectors, at in picked:
        for block in vectors.blocks(at):
            rows = block if block.dtype == field.values else exactly(block, field.values, 0, "vectors")
            out.append(f"{name}.values", rows)
            if field.nearness in ("cosine", "l2"):
                terms.append(dense_terms(block, field.nearness))
    if terms and not all(is_unit(t, field.nearness) for t in terms):
        out.add(f"{name}.terms", np.concatenate(terms))


def dense_terms(block: NDArray[Any], metric: Metric) -> F32:
    """What scoring needs beside the dot product, one a row."""
    return row_terms(np.asarray(block, dtype=np.float32), metric)


def is_unit(terms: F32, metric: Metric) -> bool:
    """Whether cosine needs no terms: every row is of unit length, as far as float32 can tell."""
    return metric == "cosine" and bool((np.abs(terms - 1) < _UNIT).all())


def _write_runs(out: Store, name: str, field: Field, picked: list[tuple[Vectors, I64]]) -> None:
    lengths = np.concatenate([np.diff(v.starts)[at] for v, at in picked])
    total, largest = int(lengths.sum()), int(lengths.max(initial=0))
    out.add(f"{name}.lengths", lengths.astype(smallest_uint(largest)))
    out.begin(f"{name}.values", field.values, (total, field.dim) if field.kind == "ragged" else (total,))
    if field.kind == "sparse":
        out.begin(f"{name}.indices", np.int64, (total,))
    width = field.dim if field.kind == "ragged" else 1
    for vectors, at in picked:
        starts, sizes = vectors.starts[at], np.diff(vectors.starts)[at]
        for piece in gathered(vectors.values, starts, sizes, max(1, (1 << 20) // width)):
            out.append(f"{name}.values", piece)
        if vectors.indices is not None:
            for piece in gathered(vectors.indices, starts, sizes):
                out.append(f"{name}.indices", piece)
