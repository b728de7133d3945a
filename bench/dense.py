"""Queries a second at a recall: every engine swept over its effort on the same rows, one pinned thread, interleaved.

Each round visits every engine, and an engine's visit asks all queries at each of its efforts: one call a query
(``single``), or all queries in one call (``batch``). Queries a second are of the processor's time; wall time is kept
beside it. Bytes are those of the saved file, everything included, or what lies in memory where that is more.
"""

from __future__ import annotations

import re
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import builds, curves, data, generator, norms, results
from bench.curves import Point, Times
from bench.data import F32, I64
from bench.engines import PEERS, Engine, Nearfield
from bench.results import Keeper, Row
from bench.timing import DISTURBED, pinned, spread

QUICK = {"rows": 5_000, "queries": 100, "rounds": 1}
WARM = 100  # queries asked before an engine's times are taken: the one before had the caches


@dataclass
class Space:
    """Rows, queries, their true neighbours and how to measure."""

    name: str
    rows: F32
    queries: F32
    truth: I64
    k: int
    rounds: int
    targets: list[float]


@dataclass
class Contender:
    """A built engine, its cost, the recall of all efforts in words, and the points that are timed."""

    engine: Engine
    built: builds.Built
    bytes: float
    reach: str
    points: list[Point]


def run(suite: dict[str, Any], shared: Path, keeper: Keeper, *, quick: bool) -> None:
    """Build every engine that the suite names, race them in each mode, and say who is first in which class."""
    sizes = suite["rows"] | (QUICK if quick else {})
    space = space_of(sizes, shared, suite["targets"], suite["builds"])
    shape = {"rows": len(space.rows), "dim": space.rows.shape[1], "queries": len(space.queries), "k": space.k}
    with pinned(keeper.common["threads"]) as alone:
        settings = {"part": "settings", "of": space.name, "rounds": space.rounds, "pinned": alone}
        settings |= shape | {"targets": space.targets, "classes": suite["classes"]}
        keeper.keep(settings, f"{space.name}: {shape['rows']:,} rows, {shape['queries']:,} queries, k {space.k}")
        found = [c for e, efforts in wanted(suite) if (c := ready(e, efforts, space, suite["builds"]))]
        for mode in suite.get("modes", ["single", "batch"]):
            race(found, space, mode)
            for c in found:
                kept = row(c, space, mode, suite["classes"])
                keeper.keep(kept, line(kept))
            for verdict in verdicts(found, space, mode, suite["classes"]):
                keeper.keep(verdict, said(verdict))


def space_of(sizes: dict[str, Any], shared: Path, targets: list[float], kept: Path | None) -> Space:
    """Real rows, or rows drawn from a generator fitted to them (``drawn``), its stress set (``clustered``), or those
    of ``bench.norms``.
    """
    n, m, k = sizes["rows"], sizes["queries"], sizes["k"]
    source = sizes.get("source", "real")
    if source == "real":
        found = data.neighbours(shared, rows=n, queries=m, k=k)
        rows, queries, truth = found.rows, found.queries["held-out"], found.truth["held-out"]
    elif source in norms.SOURCES:
        rows, queries = norms.rows_and_queries(source, n, m, shared)
        name = f"{source}, rows of unequal lengths, {len(rows)} x {rows.shape[1]}"
        return Space(name, rows, queries, data.exact(rows, queries, k), k, sizes["rounds"], sorted(targets))
    else:
        fitted = generator.fitted_to(shared, sizes.get("fit", 60_000), kept)
        if source == "drawn":
            rows, queries = fitted.draw(n, 1), fitted.draw(m, 2)
        else:
            rows, queries = fitted.clustered(n, m, 3)
        truth = data.exact(rows, queries, k)
    name = f"{source} rows of arXiv titles, MiniLM, {len(rows)} x {rows.shape[1]}"
    return Space(name, rows, queries, truth, k, sizes["rounds"], sorted(targets))


def wanted(suite: dict[str, Any]) -> list[tuple[Engine, list[Any]]]:
    """The engines of a suite with their efforts, those alone whose label matches ``only`` where it is given."""
    found: list[tuple[Engine, list[Any]]] = []
    for group in suite.get("nearfield", []):
        found += [(Nearfield(plan, suite.get("metric", "cosine")), group["efforts"]) for plan in group["plans"]]
    for group in suite.get("peer", []):
        given = dict(group)
        engine, efforts = PEERS[given.pop("engine")], given.pop("efforts")
        found.append((engine(**given), efforts))
    only = re.compile(suite.get("only") or "", re.IGNORECASE)
    return [(engine, efforts) for engine, efforts in found if only.search(engine.label)]


def ready(engine: Engine, efforts: list[Any], space: Space, kept: Path | None) -> Contender | None:
    """Build, then find the recall of every effort; a missing or failing engine must not end the run."""
    try:
        built = builds.ready(engine, space.rows, space.name, kept)
        found = swept(engine, efforts, space, built)
    except Exception as error:
        results.skipped(engine.label, error)
        return None
    how = "read back, built before in" if built.reused else "built in"
    print(f"  {engine.label}: {how} {built.seconds:.1f} s, {found.bytes:.0f} B a row, {found.reach}", flush=True)
    return found


def swept(engine: Engine, efforts: list[Any], space: Space, built: builds.Built) -> Contender:
    """Find the recall of every effort, and keep those that are worth timing."""
    points = [_point(engine, effort, space) for effort in efforts]
    reach = f"recall {min(p.recall for p in points):.4f} to {max(p.recall for p in points):.4f}"
    each = round(built.bytes / len(space.rows), 1)
    return Contender(engine, built, each, reach, curves.worth(points, space.targets))


def _point(engine: Engine, effort: Any, space: Space) -> Point:
    engine.tune(effort)
    engine.many(space.queries[:WARM], space.k)
    start = time.process_time()
    found = engine.many(space.queries, space.k)
    rough = time.process_time() - start
    return Point(effort, round(data.recall(found.astype(np.int64), space.truth), 5), rough)


def race(ready: list[Contender], space: Space, mode: str) -> None:
    """Every round visits every engine, each round in another order."""
    for turn in range(space.rounds):
        for c in ready[turn % len(ready) :] + ready[: turn % len(ready)] if ready else []:
            _visit(c, space, mode)


def _visit(c: Contender, space: Space, mode: str) -> None:
    singles = [q if c.engine.flat else q[None, :] for q in space.queries]
    for p in c.points:
        c.engine.tune(p.effort)
        for q in singles[:WARM]:
            c.engine.one(q, space.k)
        times = p.times.setdefault(mode, Times())
        each = np.zeros(len(singles))
        cpu, wall = time.process_time(), time.perf_counter()
        if mode == "batch":
            c.engine.many(space.queries, space.k)
        else:
            for i, q in enumerate(singles):
                begun = time.perf_counter()
                c.engine.one(q, space.k)
                each[i] = time.perf_counter() - begun
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        times.qps.append(len(singles) / max(cpu, 1e-9))
        times.wall_qps.append(len(singles) / wall)
        times.p50.append(float(np.percentile(each, 50)) * 1e3)
        times.p99.append(float(np.percentile(each, 99)) * 1e3)


def row(c: Contender, space: Space, mode: str, classes: dict[str, float]) -> Row:
    """What is kept of one engine in one mode."""
    points = []
    for p in c.points:
        t = p.times[mode]
        point = {"effort": p.effort, "recall": p.recall, "qps": round(p.speed(mode), 1)}
        point["wall_qps"] = round(statistics.median(t.wall_qps), 1)
        point["disturbed"] = point["wall_qps"] * DISTURBED < point["qps"]
        if mode == "single":
            point |= {"p50_ms": round(statistics.median(t.p50), 4), "p99_ms": round(statistics.median(t.p99), 4)}
        points.append(point)
    reached = {t: curves.at(c.points, mode, t) for t in space.targets}
    return {
        "part": "dense", "mode": mode, "engine": c.engine.engine, "name": c.engine.name, "bytes": c.bytes,
        "class": _class(c.bytes, classes), "build_s": c.built.seconds, "points": points,
        "at": {str(t): spread(rounds, 1) for t, rounds in reached.items() if rounds},
    }  # fmt: skip


def _class(size: float, classes: dict[str, float]) -> str:
    """The smallest class that holds so many bytes."""
    return min((limit, name) for name, limit in classes.items() if size <= limit)[1]


def verdicts(ready: list[Contender], space: Space, mode: str, classes: dict[str, float]) -> list[Row]:
    """For each class and target: nearfield's fastest, the fastest peer of the class, and hnswlib, round by round."""
    rows = []
    for name, limit in classes.items():
        for target in space.targets:
            fitting = [c for c in ready if c.bytes <= limit]
            ours, peers = (_fastest(fitting, space, mode, target, own) for own in (True, False))
            yard = _fastest([c for c in ready if c.engine.engine == "hnswlib"], space, mode, target, own=False)
            row = {"part": "verdict", "mode": mode, "class": name, "most_bytes": limit, "target": target}
            for who, found in (("nearfield", ours), ("peer", peers)):
                row[who] = found and {"label": found[0].engine.label, "qps": round(statistics.median(found[1]), 1)}
            row["ratio"], row["over_hnswlib"] = _ratio(ours, peers), _ratio(ours, yard)
            rows.append(row)
    return rows


Speed = tuple[Contender, list[float]]


def _fastest(ready: list[Contender], space: Space, mode: str, target: float, own: bool) -> Speed | None:
    those = [c for c in ready if (c.engine.engine == "nearfield") == own]
    reached = [(c, rounds) for c in those if (rounds := curves.at(c.points, mode, target))]
    return max(reached, key=lambda found: statistics.median(found[1]), default=None)


def _ratio(ours: Speed | None, other: Speed | None) -> dict[str, float] | None:
    if ours is None or other is None:
        return None
    return spread([a / b for a, b in zip(ours[1], other[1])], 2)


def line(row: Row) -> str:
    """The same in a line."""
    speeds = ", ".join(f"{t} {found['median']:,.0f}" for t, found in row["at"].items()) or "no target reached"
    tails = [p["p99_ms"] for p in row["points"] if "p99_ms" in p]
    tail = f", p99 {min(tails):.2f} to {max(tails):.2f} ms" if tails else ""
    mark = " (disturbed)" if any(p["disturbed"] for p in row["points"]) else ""
    head = f"{row['mode']} {row['class']:7} {row['bytes']:7.0f} B {row['build_s']:6.1f} s"
    return f"{head}  {row['engine']}: {row['name']}: {speeds}{tail}{mark}"


def said(row: Row) -> str:
    """A verdict in a line."""
    names = [f"{row[w]['label']} {row[w]['qps']:,.0f}" if row[w] else "nobody" for w in ("nearfield", "peer")]
    ratios = [f"{row[w]['median']:.2f}x" if row[w] else "-" for w in ("ratio", "over_hnswlib")]
    head = f"{row['mode']}, {row['class']}, recall {row['target']:.2f}"
    return f"{head}: {names[0]} | {names[1]} | {ratios[0]} of the peer, {ratios[1]} of hnswlib"
