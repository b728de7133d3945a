"""How long one query takes on one thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from nearfield.core import rooms
from nearfield.core.codecs import Codec
from nearfield.core.indexes import Index
from nearfield.core.maps import Map
from nearfield.core.protocols import F32, I64, U8, Metric
from nearfield.numerics import kernels
from nearfield.search.fit import first_scorer, interleaved

TRIES = 5  # single queries timed; the quickest counts, since the machine only ever adds to it

FLAT: Index = rooms.load("indexes", "flat")()  # what the adviser measures codes with


def quickest(call: Callable[[int], Any]) -> float:
    """Seconds of the quickest of a few calls, each with another query."""
    times = []
    for i in range(TRIES):
        start = time.perf_counter()
        call(i)
        times.append(time.perf_counter() - start)
    return min(times)


def scan_seconds(codec: Codec, codes: U8, q: F32, metric: Metric, terms: F32 | None, k: int) -> float:
    """Seconds to scan ``codes`` for one query, as a flat index does."""
    scorer = first_scorer(codec, metric, FLAT)
    prepared, fmt = scorer.prepare(q[:TRIES]), scorer.format
    m = len(prepared.queries)
    if fmt is None or prepared.folded is None:
        one = scorer.prepare(q[:1])
        return quickest(lambda i: kernels.topk(scorer.score(one, codes), k, threads=1))
    stored = kernels.pack(codes, codes.shape[1]) if interleaved(codec, FLAT) else codes
    folded = prepared.folded
    singles = [type(folded)(**{n: v[i : i + 1] for n, v in vars(folded).items() if v is not None}) for i in range(m)]
    n = len(codes)
    return quickest(lambda i: kernels.scan(fmt, stored, singles[i % m], metric, k, n=n, terms=terms, threads=1))


def prepare_seconds(maps: list[Map], codec: Codec, q: F32, metric: Metric) -> float:
    """Seconds to map and fold one query."""
    scorer = first_scorer(codec, metric, FLAT)

    def one(i: int) -> None:
        mapped = q[i % len(q)][None, :]
        for map_ in maps:
            mapped = map_.transform_queries(mapped)
        scorer.prepare(mapped)

    return quickest(one)


def rescore_seconds(codec: Codec, codes: U8, q: F32, metric: Metric, terms: F32 | None, rows: I64) -> float:
    """Seconds to score some rows once more for one query."""
    scorer = codec.scorer(metric)
    prepared = scorer.prepare(q[:1])
    fmt = codec.row_format()
    if fmt is None or prepared.folded is None:
        return quickest(lambda i: scorer.score(prepared, np.ascontiguousarray(codes[rows])))
    folded = prepared.folded
    return quickest(lambda i: kernels.score_rows(fmt, codes, folded, metric, rows, terms, threads=1))
