"""Two versions of nearfield in turn on the same core: what was fast stays fast, bytes and recalls stay as they are.

Each version runs in processes of its own, by the Python of its environment. Every figure is taken in rounds, one
version after the other; what is kept is the ratio round by round, this version's speed over the other's.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench import curves, data, store
from bench.curves import Point, Times
from bench.results import ROOT, Keeper, Row
from bench.timing import spread

QUICK = store.QUICK | {"queries": 50, "rounds": 2}
VERSIONS = ("this", "other")
Pythons = dict[str, str]


class Worker(store.Process):
    """A process of one version (``bench/versions_once.py``)."""

    def __init__(self, python: str, files: Path) -> None:
        super().__init__(python, [python, str(ROOT / "bench" / "versions_once.py"), str(files)], files)


def run(suite: dict[str, Any], shared: Path, keeper: Keeper, *, quick: bool) -> None:
    """Compare the version of this process with the one that ``--against`` names."""
    if not suite.get("against"):
        raise ValueError("versions: expected --against COMMIT PYTHON, the version to compare with and its interpreter")
    commit, python = suite["against"]
    pythons = {"this": sys.executable, "other": python}
    parts = {"dense": dense, "store": stored}
    ratios: dict[str, float] = {}
    for name, part in parts.items():
        with tempfile.TemporaryDirectory(dir=os.environ.get("NEARFIELD_BENCH_TMP")) as scratch:
            settings = suite[name] | (QUICK if quick else {})
            for row in part(settings, pythons, shared, Path(scratch)):
                keeper.keep(row | {"against": commit}, said(row))
                ratios |= {f"{row['name']}, {what}": each["median"] for what, each in row["ratios"].items()}
    slower = {name: ratio for name, ratio in ratios.items() if ratio < suite["least"]}
    summary = {"part": "summary", "least": suite["least"], "figures": len(ratios), "slower": slower, "against": commit}
    keeper.keep(summary, f"{len(slower)} of {len(ratios)} figures are below {suite['least']}: {slower}")


# ---- plans -----------------------------------------------------------------------------------------
def dense(suite: dict[str, Any], pythons: Pythons, shared: Path, files: Path) -> list[Row]:
    """Builds, and queries a second, of every plan."""
    found = data.neighbours(shared, rows=suite["rows"], queries=suite["queries"], k=suite["k"])
    np.save(files / "rows.npy", found.rows)
    np.save(files / "queries.npy", found.queries["held-out"])
    np.save(files / "truth.npy", found.truth["held-out"])
    return [_plan(plan, efforts, suite, pythons, files) for plan, efforts in suite["plans"]]


def _plan(plan: str, efforts: list[int], suite: dict[str, Any], pythons: Pythons, files: Path) -> Row:
    """Speed at each recall, since another version may find more or fewer rows by one budget."""
    workers = {name: Worker(python, files) for name, python in pythons.items()}
    try:
        built = {name: worker.do("build", plan=plan) for name, worker in workers.items()}
        points = {name: [_point(worker, e, suite["k"]) for e in efforts] for name, worker in workers.items()}
        points = {name: curves.worth(found, suite["targets"]) for name, found in points.items()}
        for mode in ("single", "batch"):
            _race(workers, points, suite, mode)
    finally:
        for worker in workers.values():
            worker.__exit__()
    ratios = {"build": spread([built["other"]["cpu"] / built["this"]["cpu"]], 3)}
    for mode in ("single", "batch"):
        for target in suite["targets"]:
            ours, theirs = (curves.at(points[name], mode, target) for name in VERSIONS)
            if ours and theirs:
                ratios[f"{mode} at {target}"] = spread([a / b for a, b in zip(ours, theirs)], 3)
    same: dict[str, Any] = {"bytes": {name: b["bytes"] for name, b in built.items()}}
    for effort in efforts:
        found = {n: next((p.recall for p in points[n] if p.effort == effort), None) for n in VERSIONS}
        if None not in found.values():
            same[f"recall at budget {effort}"] = found
    return {"part": "dense", "name": plan, "ratios": ratios, "same": same}


def _point(worker: Worker, effort: int, k: int) -> Point:
    found = worker.do("ask", budget=effort, k=k, mode="batch")
    return Point(effort, found["recall"], found["cpu"])


def _race(workers: dict[str, Worker], points: dict[str, list[Point]], suite: dict[str, Any], mode: str) -> None:
    """Each round asks both versions at all of their efforts, in turn the one or the other first; one more warms up."""
    for turn in range(suite["rounds"] + 1):
        for name in VERSIONS if turn % 2 else VERSIONS[::-1]:
            for point in points[name]:
                cpu = workers[name].do("ask", budget=point.effort, k=suite["k"], mode=mode)["cpu"]
                if turn:
                    point.times.setdefault(mode, Times()).qps.append(suite["queries"] / cpu)


# ---- Collections -----------------------------------------------------------------------------------
def stored(suite: dict[str, Any], pythons: Pythons, shared: Path, files: Path) -> list[Row]:
    """Writes, bytes, the first answer, and search under filters, of both durabilities."""
    truth = store.prepare(suite, shared, files)
    return [_store(name, suite, pythons, files, truth) for name in ("nearfield", "nearfield relaxed")]


def _store(
    engine: str, suite: dict[str, Any], pythons: Pythons, files: Path, truth: dict[str, np.ndarray]
) -> Row:  # fmt: skip
    speeds: dict[str, list[float]] = {}
    same: dict[str, dict[str, float]] = {}
    rounds: list[dict[str, dict[str, float]]] = []
    for turn in range(suite["rounds"]):
        found = {}
        for version in VERSIONS if turn % 2 else VERSIONS[::-1]:
            folder = files / version
            folder.mkdir(exist_ok=True)
            for each in ("rows.npy", "queries.npy", "meta.json"):
                if not (folder / each).exists():
                    (folder / each).symlink_to(files / each)
            found[version] = _visit(engine, suite, pythons[version], folder, truth, same, version)
        rounds.append(found)
    for name in rounds[0]["this"]:
        speeds[name] = [r["other"][name] / r["this"][name] for r in rounds]
    ratios = {name: spread(values, 3) for name, values in speeds.items()}
    medians = {v: {n: round(statistics.median(r[v][n] for r in rounds), 6) for n in ratios} for v in VERSIONS}
    return {"part": "store", "name": engine, "ratios": ratios, "seconds": medians, "same": same}


def _visit(
    engine: str, suite: dict[str, Any], python: str, files: Path, truth: dict[str, np.ndarray],
    same: dict[str, dict[str, float]], version: str,
) -> dict[str, float]:  # fmt: skip
    """Seconds of each kind of call; what must be the same goes into ``same``."""
    spec = {"name": engine, "python": python, "durability": "", "requirements": []}
    found = store.written(suite, spec, files)
    taken = {f"add {batch}": 1 / speed for batch, speed in found["rows_per_s"].items()}  # seconds a row
    same.setdefault("bytes a row", {})[version] = found["bytes_per_row"]
    folder = store.home(files, engine)
    with store.Engine(spec, files) as process:
        taken["first answer"] = process.do("first", folder=str(folder), k=suite["k"])["seconds"]
        for kind, where in store.filters(suite).items():
            ask = {"start": 0, "stop": suite["queries"], "k": suite["k"], "where": where, "limit": suite["limit_s"]}
            answers = process.do("search", **ask)
            taken[f"search {kind}"] = statistics.median(answers["seconds"][suite["queries"] // 10 :])
            same.setdefault(f"recall {kind}", {})[version] = round(store.recall(answers["ids"], truth[kind]), 4)
    return taken


# ---- what it says ----------------------------------------------------------------------------------
def said(row: Row) -> str:
    """A row in a line: ratios, and what is not the same."""
    told = ", ".join(f"{name} {r['median']:.2f}" for name, r in row["ratios"].items())
    differs = {name: v for name, v in row["same"].items() if v["this"] != v["other"]}
    return f"{row['name']}: {told}" + (f"; not the same: {differs}" if differs else "")
