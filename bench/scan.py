"""Nanoseconds a distance: nearfield's layouts against peers on the same rows, one pinned thread, interleaved.

Times are of the processor (``time.process_time``), which other work on the machine disturbs least; wall time is kept
beside it, and a row whose wall time is much longer is marked as disturbed.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import nearfield as nf
from bench import data, peers, probe, results
from bench.data import F32
from bench.results import Keeper, Row
from bench.timing import DISTURBED, pinned, spread
from nearfield.search.queries import as_queries

QUICK = {"rows": 10_000, "batch": 16, "single": 4, "repeats": 3}


@dataclass
class Contender:
    """One engine over the rows: ``ask`` answers the queries prepared for a mode."""

    engine: str
    name: str
    bytes: float
    does: str  # "top 10", or "distances" alone
    queries: np.ndarray
    ask: Callable[[np.ndarray], Any]
    modes: tuple[str, ...] = ("batch", "single")
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Engine and what of it."""
        return f"{self.engine}: {self.name}"


@dataclass
class Space:
    """Rows, queries and how often to measure."""

    rows: F32
    queries: F32
    k: int
    single: int
    repeats: int


def run(suite: dict[str, Any], shared: Path, keeper: Keeper, *, quick: bool) -> None:
    """Measure every group: its nearfield plans and its peers, in single queries and in one batch."""
    sizes = suite["rows"] | (QUICK if quick else {})
    found = data.neighbours(shared, rows=sizes["rows"], queries=sizes["batch"], k=sizes["k"])
    space = Space(found.rows, found.queries["held-out"], sizes["k"], sizes["single"], sizes["repeats"])
    with pinned(keeper.common["threads"]) as alone:
        settings = {"part": "settings", "rows": len(space.rows), "batch": len(space.queries), "pinned": alone}
        keeper.keep(settings | {"repeats": space.repeats}, f"{len(space.rows)} rows, batches of {len(space.queries)}")
        for group in suite["group"]:
            _group(group, space, keeper)


def _group(group: dict[str, Any], space: Space, keeper: Keeper) -> None:
    contenders = []
    for text in group["nearfield"]:
        contenders += _made(text, lambda t=text: nearfield(space, t))
    for text in group["peers"]:
        contenders += _made(text, lambda t=text: [_probed(space, t)])
    for mode in group.get("modes", ["batch", "single"]):
        racing = [c for c in contenders if mode in c.modes]
        _race(racing, space, mode)
        for row in _rows(racing, group, mode):
            keeper.keep(row, _line(row))


def _probed(space: Space, text: str) -> Contender:
    """A peer that did not end a process of its own."""
    probe.check("bench.scan:tried", space.rows, text=text, k=space.k)
    return peer(space, text)


def tried(x: F32, text: str, k: int) -> None:
    """Make a peer and ask it once, for ``bench.probe``."""
    made = peer(Space(x, x[:4], k, 1, 1), text)
    made.ask(made.queries)


def _made(name: str, make: Callable[[], list[Contender]]) -> list[Contender]:
    try:
        return make()
    except Exception as error:  # a missing or failing peer must not end the run
        results.skipped(name, error)
        return []


def _race(racing: list[Contender], space: Space, mode: str) -> None:
    """All take turns, each round in another order; the first round warms up and is thrown away."""
    for c in racing:
        c.cpu, c.wall = [], []
    for turn in range(space.repeats + 1):
        for c in racing[turn % len(racing) :] + racing[: turn % len(racing)] if racing else []:
            asked = len(c.queries) if mode == "batch" else space.single
            wall, cpu = time.perf_counter(), time.process_time()
            if mode == "batch":
                c.ask(c.queries)
            else:
                for i in range(asked):
                    c.ask(c.queries[i : i + 1])
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            if turn:
                distances = asked * len(space.rows)
                c.cpu.append(cpu / distances * 1e9)
                c.wall.append(wall / distances * 1e9)


def _rows(racing: list[Contender], group: dict[str, Any], mode: str) -> list[Row]:
    rows = []
    rivals = [c for c in racing if c.engine != "nearfield"]
    for c in racing:
        row = {"part": "scan", "group": group["name"], "mode": mode, "engine": c.engine, "name": c.name}
        row |= {"bytes": c.bytes, "does": c.does, "ns": spread(c.cpu), "wall_ns": spread(c.wall)}
        row["disturbed"] = statistics.median(c.wall) > DISTURBED * statistics.median(c.cpu)
        if c.engine == "nearfield":
            row["ratios"] = {p.label: spread([a / b for a, b in zip(c.cpu, p.cpu)]) for p in rivals}
            row["limit"] = group.get("limit")
        rows.append(row)
    return rows


def _line(row: Row) -> str:
    ns, mark = row["ns"], " (disturbed)" if row["disturbed"] else ""
    ratios = ", ".join(f"{r['median']:.2f}x {name}" for name, r in row.get("ratios", {}).items())
    what = f"{row['engine']}: {row['name']}, {row['does']}"
    head = f"{row['group']}, {row['mode']}: {ns['median']:7.2f} ns ({ns['min']:.2f} to {ns['max']:.2f}){mark}"
    return f"{head}  {row['bytes']:g} B  {what}" + (f"  [{ratios}]" if ratios else "")


# -- contenders ------------------------------------------------------------------------------------


def nearfield(space: Space, plan: str) -> list[Contender]:
    """A plan as a user searches it, and its scan alone over queries prepared before; ``bits()`` is Hamming search."""
    rows, queries, metric = space.rows, space.queries, "cosine"
    if plan == "bits()":
        rows, queries, metric = np.packbits(rows > 0, axis=1), np.packbits(queries > 0, axis=1), "hamming"
    packed = nf.Plan(plan).fit(rows, metric=metric)
    size, does = packed.bytes_per_row, f"top {space.k}"
    whole = Contender("nearfield", plan, size, does, queries, lambda q: packed.search(q, k=space.k))
    scorer = packed.index.rows.scorer
    asked = as_queries(queries, metric, packed.dim)
    prepared = {i: scorer.prepare(asked[i : i + 1]) for i in range(len(asked))}
    every = scorer.prepare(asked)

    def scan(numbers: np.ndarray) -> Any:
        return packed.index.search(every if len(numbers) > 1 else prepared[int(numbers[0])], space.k)

    return [whole, Contender("nearfield", plan, size, f"{does}, scan alone", np.arange(len(asked)), scan)]


def peer(space: Space, text: str) -> Contender:
    """A peer by name, such as ``faiss PQ96x4fs``, ``numkong int8`` or ``numpy float32``."""
    engine, _, what = text.partition(" ")
    return {
        "faiss": _faiss,
        "faiss-binary": _faiss_binary,
        "numkong": _numkong,
        "numkong-cdist": _numkong_cdist,
        "numpy": _numpy,
    }[engine](space, what)


def _faiss(space: Space, what: str) -> Contender:
    import faiss

    faiss.omp_set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    index = peers.faiss_index(what, space.rows)
    index.add(space.rows)
    size = index.sa_code_size() if what != "Flat" else 4 * space.rows.shape[1]
    does = f"top {space.k}"
    return Contender("faiss", what, size, does, space.queries, lambda q: index.search(q, space.k))


def _faiss_binary(space: Space, _: str) -> Contender:
    import faiss

    index = faiss.IndexBinaryFlat(space.rows.shape[1])
    index.add(np.packbits(space.rows > 0, axis=1))
    queries = np.packbits(space.queries > 0, axis=1)
    size = space.rows.shape[1] // 8
    return Contender("faiss", "BinaryFlat", size, f"top {space.k}", queries, lambda q: index.search(q, space.k))


def _typed(x: F32, what: str) -> np.ndarray:
    if what == "int8":
        return np.rint(x * 127 / np.abs(x).max()).astype(np.int8)
    if what == "uint1":
        return np.packbits(x > 0, axis=1)
    return x.astype(what)


def _numkong(space: Space, what: str) -> Contender:
    """Its fastest way for batches: rows packed for matrix products."""
    import numkong

    rows, queries = _typed(space.rows, what), _typed(space.queries, what)
    size = rows.nbytes // len(rows)
    if what == "uint1":
        bits = numkong.hammings_pack(rows)
        return Contender("numkong", what, size, "distances", queries, lambda q: numkong.hammings_packed(q, bits))
    packed = numkong.dots_pack(rows, dtype=what)
    return Contender("numkong", what, size, "distances", queries, lambda q: numkong.dots_packed(q, packed))


def _numkong_cdist(space: Space, what: str) -> Contender:
    """Its fastest way for single queries."""
    import numkong

    rows, queries = _typed(space.rows, what), _typed(space.queries, what)
    size, name = rows.nbytes // len(rows), f"{what} cdist"
    return Contender("numkong", name, size, "distances", queries, lambda q: numkong.cdist(q, rows, "dot"))


def _numpy(space: Space, what: str) -> Contender:
    rows = np.ascontiguousarray(space.rows.T)
    return Contender("numpy", f"{what} BLAS", 4 * len(rows), "distances", space.queries, lambda q: q @ rows)
