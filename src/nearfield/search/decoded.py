"""Rows as their codes give them back, in the space that an index is built in: for when the vectors are gone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nearfield.core.arrays import block_rows
from nearfield.core.protocols import F32, I64, Aside, Metric
from nearfield.search.fit import INDEX

if TYPE_CHECKING:
    from nearfield.search.packed import Packed
    from nearfield.search.state import State


def mapped_rows(packed: Packed | State, at: I64) -> F32:
    """Some rows as the Maps gave them, from what the index keeps of them or the finest codes that there are."""
    kept = (INDEX + name for name in packed.fitted.index.from_disk)
    packed.verify_column(*(name for name in kept if name not in packed.on_disk))
    return packed.index.vectors(at, partial(_by_codes, packed))


def _by_codes(packed: Packed | State, at: I64) -> F32:
    f = packed.fitted
    codes = [f.codec, *f.rescore_codecs]
    ofs = ["mapped", *(step.of for step in f.plan.rescores)]
    both = [codes[0].bytes_per_row if of == "residual" else 0 for of in ofs]
    finest = max(range(len(codes)), key=lambda i: codes[i].bytes_per_row + both[i])
    of = ofs[finest]
    if finest == 0 or of == "residual":
        x = packed.decoded(at)
    if finest > 0:
        name = f"rescore{finest - 1}"
        packed.verify_column(name)
        finer = codes[finest].decode(np.ascontiguousarray(packed.columns[name][packed.index.places(at)]))
        x = x + finer if of == "residual" else finer
    if f.metric == "cosine" and (of == "input" or not f.maps):
        x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30)
    mapped: Any = x
    for step in f.maps if of == "input" else ():
        mapped = step.transform(mapped)
    return np.ascontiguousarray(mapped, dtype=np.float32)


@dataclass
class Decoded:
    """Chosen rows of several Packed under one Plan, one after another."""

    sources: Sequence[tuple[Packed | State, I64]]
    aside: Aside | None = None

    @property
    def n(self) -> int:
        """How many rows."""
        return sum(len(at) for _, at in self.sources)

    @property
    def metric(self) -> Metric:
        """How near they are: by dot product, or l2."""
        return self.sources[0][0].fitted.nearness

    def blocks(self) -> Iterator[F32]:
        """Blocks of rows in their order."""
        for packed, at in self.sources:
            step = block_rows(packed.fitted.d)
            for start in range(0, len(at), step):
                yield mapped_rows(packed, at[start : start + step])
