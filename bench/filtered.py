"""Search under filters: what each of nearfield's ways costs at each selectivity, and how peers fare at 10% and 1%.

Filters let through a share of the arXiv papers: ``drawn`` ones at random, ``date`` the newest, ``field`` papers of one
field after another in order of date, so that what passes lies together. Queries of a ``field`` filter are held-out
papers of the field that it begins with (``own``) or of others (``other``). Queries are asked one a call, on one pinned
thread; ways and engines take turns.
"""

from __future__ import annotations

import gzip
import json
import re
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench import builds, data, dense, results, store
from bench.data import F32
from bench.engines import Nearfield
from bench.results import Keeper, Row
from bench.timing import pinned, spread

QUICK = {"rows": 4_000, "queries": 40, "rounds": 1}
CLOSE = 0.01  # a way whose recall is so much below the planner's is no way to the same answer
TRIED = 40  # queries by which a way is judged before it is asked them all
FAR = 5.0  # a way that takes so many times the planner's time is not asked again


@dataclass
class Filter:
    """Which rows pass, and which queries are asked under it."""

    name: str
    share: float
    flags: np.ndarray
    asked: np.ndarray


@dataclass
class Papers:
    """Rows and queries with the field of each, rows by field and date, and rows by date alone."""

    rows: F32
    queries: F32
    fields: np.ndarray
    query_fields: np.ndarray
    by_field: np.ndarray
    by_date: np.ndarray


def run(suite: dict[str, Any], shared: Path, keeper: Keeper, *, quick: bool) -> None:
    """Crossing curves first, then peers inside the process, then embedded stores."""
    sizes = suite["rows"] | (QUICK if quick else {})
    found = papers(shared, sizes["rows"], sizes["queries"])
    space = dense.Space(
        "papers", found.rows, found.queries, np.zeros((0, 0), np.int64), sizes["k"], sizes["rounds"], []
    )
    space.name = f"arXiv titles, MiniLM, {len(found.rows)} x {found.rows.shape[1]}"
    with pinned(keeper.common["threads"]) as alone:
        settings = {"part": "settings", "rows": len(found.rows), "queries": len(found.queries), "k": space.k}
        keeper.keep(settings | {"rounds": space.rounds, "pinned": alone}, f"{space.name}, filters")
        _crossing(suite, found, space, keeper)
        _peers(suite, found, space, keeper)
    if suite.get("stores") and not suite["only"]:
        _stores(suite["stores"], shared, sizes, keeper)


def papers(shared: Path, n: int, m: int) -> Papers:
    """Papers with their fields and dates."""
    at = shared / "retrieval" / "arxiv60k"
    real = data.neighbours(shared, rows=n, queries=m, k=1)
    told = [_told(at / name, count) for name, count in (("papers.jsonl.gz", n), ("heldout_papers.jsonl.gz", m))]
    fields, asked = (np.array([p["primary"] for p in each]) for each in told)
    dates = np.array([p["created"] for p in told[0]])
    by_field, by_date = np.lexsort((dates, fields)), np.argsort(dates, kind="stable")
    return Papers(real.rows, real.queries["held-out"], fields, asked, by_field, by_date)


def _told(path: Path, count: int) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line, _ in zip(file, range(count))]


def filters(found: Papers, shares: list[float], seed: int = 5) -> list[Filter]:
    """Drawn, date and field filters of every share."""
    rng = np.random.default_rng(seed)
    n, everyone = len(found.rows), np.arange(len(found.queries))
    names, counts = np.unique(found.fields, return_counts=True)
    start = names[np.argsort(-counts, kind="stable")[min(2, len(names) - 1)]]  # a large field, but not the largest
    own = found.query_fields == start
    first = int(np.searchsorted(found.fields[found.by_field], start))
    out = []
    for share in shares:
        many = max(1, round(share * n))
        flags = np.zeros(n, dtype=np.bool_)
        flags[rng.permutation(n)[:many]] = True
        out.append(Filter("drawn", share, flags, everyone))
        flags = np.zeros(n, dtype=np.bool_)
        flags[found.by_date[-many:]] = True
        out.append(Filter("date", share, flags, everyone))
        flags = np.zeros(n, dtype=np.bool_)
        flags[np.roll(found.by_field, -first)[:many]] = True
        out += [
            Filter(f"field, {what}", share, flags, everyone[those]) for what, those in (("own", own), ("other", ~own))
        ]
    return [f for f in out if f.asked.size]


def truth(found: Papers, f: Filter, k: int) -> np.ndarray:
    """The exact neighbours among rows that pass."""
    passing = np.flatnonzero(f.flags)
    return passing[data.exact(found.rows[passing], found.queries[f.asked], min(k, len(passing)))]


# -- crossing curves -------------------------------------------------------------------------------


def _crossing(suite: dict[str, Any], found: Papers, space: dense.Space, keeper: Keeper) -> None:
    """Every way at every filter, beside the planner's choice."""
    for group in suite.get("crossing", []):
        for engine in map(Nearfield, group["plans"]):
            if not re.search(suite["only"] or "", engine.label, re.IGNORECASE):
                continue
            try:
                builds.ready(engine, space.rows, space.name, suite["builds"])
            except Exception as error:
                results.skipped(engine.label, error)
                continue
            for f in filters(found, suite["shares"]):
                row = _ways(engine, group, found, f, space)
                keeper.keep(row, _crossed(row))


def _ways(engine: Nearfield, group: dict[str, Any], found: Papers, f: Filter, space: dense.Space) -> Row:
    """What each way costs; one that is far slower than the planner keeps the figure of its first queries."""
    queries, best = found.queries[f.asked], truth(found, f, space.k)
    engine.tune(group["budget"])
    engine.allow(f.flags)
    ways = [way for way in ("planner", *group["ways"]) if engine.prefer(way)]
    said = {way: _asked(engine, way, queries[:TRIED], best[:TRIED], space.k) for way in ways}
    tried = {way: row.pop("took") for way, row in said.items()}
    live = [way for way in ways if tried[way] <= FAR * tried["planner"]]
    times: dict[str, list[float]] = {way: [] if way in live else [tried[way]] for way in ways}
    for turn in range(space.rounds):
        for way in live[turn % len(live) :] + live[: turn % len(live)]:
            said[way] = _asked(engine, way, queries, best, space.k)
            times[way].append(said[way].pop("took"))
    engine.prefer("planner")
    row = {"part": "crossing", "name": engine.plan, "filter": f.name, "share": f.share, "budget": group["budget"]}
    row["ways"] = {way: said[way] | {"us": spread(times[way], 2), "dropped": way not in live} for way in ways}
    forced = [way for way in live if way != "planner" and said[way]["recall"] >= said["planner"]["recall"] - CLOSE]
    if forced:
        best_way = min(forced, key=lambda way: statistics.median(times[way]))
        row["best"] = best_way
        row["over_best"] = spread([a / b for a, b in zip(times["planner"], times[best_way])], 3)
        least = min(said[way]["scored"] for way in forced)
        row["scored_over_best"] = round(said["planner"]["scored"] / max(least, 1), 3)
    return row


def _asked(engine: Nearfield, way: str, queries: F32, best: np.ndarray, k: int) -> Row:
    """Recall, rows scored, microseconds a query, and which ways a planner took."""
    engine.prefer(way)
    start = time.process_time()
    hits = [engine.hits(q[None, :], k) for q in queries]
    taken = time.process_time() - start
    rows, scored = np.concatenate([h.rows for h in hits]), float(np.mean([h.scored[0] for h in hits]))
    row = {"recall": round(data.recall(rows, best), 4), "scored": round(scored, 1), "took": taken / len(queries) * 1e6}
    if way == "planner":
        chosen = [h.strategy[0] for h in hits if getattr(h, "strategy", None)]
        row["chose"] = max(set(chosen), key=chosen.count) if chosen else None
    return row


def _crossed(row: Row) -> str:
    ways = ", ".join(f"{way} {w['us']['median']:.0f} us ({w['recall']:.3f})" for way, w in row["ways"].items())
    if "best" in row:
        ways += f"; {row['over_best']['median']:.2f}x {row['best']}, {row['scored_over_best']:.2f}x the least scored"
    return f"{row['filter']:12} {row['share']:6.1%}: {ways}"


# -- peers -----------------------------------------------------------------------------------------


def _peers(suite: dict[str, Any], found: Papers, space: dense.Space, keeper: Keeper) -> None:
    """Queries a second at a recall under a filter, every engine swept as without one."""
    sizes, there = suite.get("peer_rows", suite["rows"]), []
    for engine, efforts in dense.wanted(suite):
        try:
            engine.check_filters()
            there.append((engine, efforts, builds.ready(engine, space.rows, space.name, suite["builds"])))
        except Exception as error:
            results.skipped(engine.label, error)
    targets = sorted(suite["targets"])
    for f in filters(found, suite["peer_shares"]) if there else []:
        f.asked = f.asked[: sizes["queries"]]
        best, rounds = truth(found, f, space.k), min(space.rounds, sizes["rounds"])
        under = replace(space, queries=found.queries[f.asked], truth=best, targets=targets, rounds=rounds)
        ready = []
        for engine, efforts, built in there:
            try:
                engine.allow(f.flags)
                ready.append(dense.swept(engine, efforts, under, built))
            except Exception as error:
                results.skipped(f"{engine.label}, {f.name} {f.share:.1%}", error)
        dense.race(ready, under, "single")
        about = {"filter": f.name, "share": f.share}
        for c in ready:
            row = dense.row(c, under, "single", suite["classes"]) | {"part": "filtered"} | about
            keeper.keep(row, f"{f.name} {f.share:.1%} {dense.line(row)}")
        for row in dense.verdicts(ready, under, "single", suite["classes"]):
            keeper.keep(row | about, f"{f.name} {f.share:.1%} {dense.said(row)}")


# -- embedded stores -------------------------------------------------------------------------------


def _stores(stores: dict[str, Any], shared: Path, sizes: dict[str, Any], keeper: Keeper) -> None:
    """Milliseconds a query, wall time, in processes of their own, as the ``store`` suite runs them."""
    suite = stores | {"rows": sizes["rows"], "queries": min(sizes["queries"], stores["queries"]), "k": sizes["k"]}
    suite["rounds"] = sizes["rounds"]
    with tempfile.TemporaryDirectory() as scratch:
        files = Path(scratch)
        best = store.prepare(suite, shared, files)
        there = []
        for spec in suite["engine"]:
            try:
                folder = store.home(files, spec["name"])
                folder.mkdir()
                with store.Engine(spec, files) as engine:
                    engine.do("open", folder=str(folder))
                    engine.do("insert", start=0, stop=suite["rows"], batch=min(10_000, suite["rows"]))
                    engine.do("close")
                there.append(spec)
            except Exception as error:
                results.skipped(spec["name"], error)
        for name, row in store.searched(suite, there, files, best).items():
            times = ", ".join(f"{k} {ms:.2f} ms ({row['recall'][k]:.3f})" for k, ms in row["p50_ms"].items())
            keeper.keep({"part": "store", "engine": name, "rows": suite["rows"]} | row, f"{name}: {times}")
