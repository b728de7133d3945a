"""A fitted Plan and the codes of rows in files of their own, so that many sets of rows share one Plan."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core import arrays
from nearfield.core.errors import BadInput, Corrupt
from nearfield.core.indexes import Step
from nearfield.core.protocols import I64, Batch, Metric, Progress
from nearfield.numerics import kernels
from nearfield.search.decoded import Decoded
from nearfield.search.extending import extended
from nearfield.search.file import add_state, restore_state
from nearfield.search.fit import (
    Fitted,
    build_index,
    coded_columns,
    column_shapes,
    encode_columns,
    fit_steps,
    interleaved,
    read_by_rows,
)
from nearfield.search.ordered import gather_ordered
from nearfield.search.packed import Packed
from nearfield.search.plan import Plan
from nearfield.search.queries import as_queries
from nearfield.search.sound import check_columns, check_zeros, rehearse
from nearfield.store.blame import blaming
from nearfield.store.folder import Folder
from nearfield.store.segments import Segment, SegmentWriter

PLAN, CODES = "plan", "codes"


def fit_apart(plan: Plan, x: Batch, *, metric: Metric, queries: Any, rng: int, on_zero: str) -> Fitted:
    """Fit a Plan on a sample of rows, encoding none."""
    origin = arrays.far_origin(x, metric)
    if origin is not None:
        x = arrays.Moved(x, origin)
        queries = None if queries is None else as_queries(queries, metric, x.shape[1]) - origin
    fitted = fit_steps(plan, x, metric=metric, queries=queries, rng=rng, on_zero=on_zero)
    fitted.origin = origin
    return fitted


def save_plan(path: str | os.PathLike[str], fitted: Fitted, folder: Folder | None = None) -> None:
    """Write what a Plan learned."""
    with SegmentWriter(path, PLAN, folder) as out:
        out.finish(add_state(out, fitted.of_rows(fitted.n)))


def load_plan(path: str | os.PathLike[str]) -> Fitted:
    """Read what a Plan learned; ``Corrupt`` where it cannot be used."""
    segment = Segment(path, PLAN, follow=False)
    with blaming(segment.path):
        fitted = restore_state(segment)
        rehearse(fitted)
        return fitted


def encode_apart(
    path: str | os.PathLike[str], fitted: Fitted, x: Batch, *, on_zero: str, step: Step | None = None,
    folder: Folder | None = None,
) -> None:  # fmt: skip
    """Write the codes of some rows."""
    mine = fitted.of_rows(int(x.shape[0]))
    batch = x if fitted.origin is None else arrays.Moved(x, fitted.origin)
    with SegmentWriter(path, CODES, folder) as out:
        encode_columns(mine, batch, out, on_zero=on_zero, progress=_told(step))
        _finish(out, mine)


def _finish(out: SegmentWriter, fitted: Fitted) -> None:
    if fitted.zero_rows.size:
        out.add("zeros", fitted.zero_rows)
    out.finish({"plan": str(fitted.plan), "n": fitted.n})


def open_codes(path: str | os.PathLike[str], fitted: Fitted, n: int) -> Packed:
    """Rows that were encoded, ready to be searched."""
    segment = Segment(path, CODES, follow=False)
    with blaming(segment.path):
        if segment.meta.get("n") != n or segment.meta.get("plan") != str(fitted.plan):
            raise Corrupt(f"expected the codes of {n} rows under {fitted.plan}")
        mine = fitted.of_rows(n)
        if "zeros" in segment:
            check_zeros(segment.column("zeros"), n)
            mine.zero_rows = segment.column("zeros")
        columns = {name: segment.column(name, verify=False) for name in segment.names() if name != "zeros"}
        check_columns(mine, columns)
        return Packed(mine, columns, segment)


def _told(step: Step | None) -> Progress | None:
    return None if step is None else lambda _, done, total: step(done, total)


def gather_codes(
    path: str | os.PathLike[str], sources: Sequence[tuple[Packed, I64]], step: Step | None = None,
    folder: Folder | None = None,
) -> None:  # fmt: skip
    """Write the codes of chosen rows of several sets under one Plan; nothing is encoded again."""
    n = sum(len(at) for _, at in sources)
    if not n:
        raise BadInput("codes: expected rows to gather, got none")
    fitted = replace(sources[0][0].fitted, n=n, zero_rows=_zeros(sources))
    shapes = column_shapes(fitted)
    if fitted.index.orders:
        with SegmentWriter(path, CODES, folder) as out:
            gather_ordered(fitted, sources, out)
            _finish(out, fitted)
        return
    with SegmentWriter(path, CODES, folder) as out:
        for name, codec, first in coded_columns(fitted):
            dtype, shape = shapes[name]
            blocks = first and interleaved(fitted.codec, fitted.index)
            out.begin(name, dtype, shape, paged=read_by_rows(name, fitted.index))
            for rows in _joined(_rows_of(sources, name), 32 if blocks else 1):
                out.append(name, kernels.pack(rows, codec.bytes_per_row) if blocks else rows)
            terms = f"{name}.terms"
            if terms in shapes:
                out.add(terms, np.concatenate([packed.columns[terms][at] for packed, at in sources]))
        made = extended(fitted, sources, step)
        build_index(fitted, Decoded(sources), out, made=made, progress=_told(step))
        _finish(out, fitted)


def _zeros(sources: Sequence[tuple[Packed, I64]]) -> I64:
    found, start = [np.zeros(0, np.int64)], 0
    for packed, at in sources:
        found.append(np.flatnonzero(np.isin(at, packed.fitted.zero_rows)) + start)
        start += len(at)
    return np.concatenate(found)


def _rows_of(sources: Sequence[tuple[Packed, I64]], name: str) -> Iterator[NDArray[np.uint8]]:
    for packed, at in sources:
        packed.verify_column(name)
        for start in range(0, len(at), 1 << 16):
            some = at[start : start + (1 << 16)]
            yield packed.codes(some) if name == "codes" else np.ascontiguousarray(packed.columns[name][some])


def _joined(parts: Iterator[NDArray[np.uint8]], multiple: int) -> Iterator[NDArray[np.uint8]]:
    """Pieces whose rows are a multiple of so many, but for the last."""
    held: NDArray[np.uint8] | None = None
    for part in parts:
        held = part if held is None else np.concatenate([held, part])
        whole = len(held) // multiple * multiple
        if whole:
            yield held[:whole]
        held = held[whole:]
    if held is not None and len(held):
        yield held
