"""Quality at equal bytes: recall@k of an exhaustive scan, against peers on the same rows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

import nearfield as nf
from bench import data, peers, probe, results
from bench.data import F32, I64, Neighbours
from bench.results import Keeper, Row

QUICK = {"rows": 10_000, "queries": 100}  # as many rows as 256 centroids want


def run(suite: dict[str, Any], shared: Path, keeper: Keeper, *, quick: bool) -> None:
    """Measure nearfield's plans and the peers on the same rows, and say who is above whom."""
    sizes = suite["rows"] | (QUICK if quick else {})
    space = data.neighbours(shared, rows=sizes["rows"], queries=sizes["queries"], k=sizes["k"])
    settings = {"part": "settings", "budgets": suite["budgets"], "k": sizes["k"], "rows": len(space.rows)}
    settings |= {"queries": len(space.queries["held-out"]), "targets": suite.get("targets", {})}
    keeper.keep(settings, f"{len(space.rows)} rows, {settings['queries']} queries of each kind")
    kept: list[Row] = [settings]
    for plan in plans(suite.get("nearfield", {}), quick):
        kept += _try(keeper, plan, lambda p=plan: [nearfield_row(space, p, sizes["k"])])
    asked = {kind: suite[kind] for kind in ("faiss", "turboquant") if kind in suite}
    for name, maker in peers.makers(suite, quick):

        def measure(n: str = name, m: peers.Maker = maker) -> list[Row]:
            probe.check("bench.peers:tried", space.rows, settings=asked, quick=quick, name=n)
            return peer_rows(space, m(space.rows), sizes["k"])

        kept += _try(keeper, name, measure)
    _say_verdicts(kept, suite.get("targets", {}))


def plans(settings: dict[str, Any], quick: bool) -> list[str]:
    """The plans of a suite, those that are slow to fit last and not in a quick run."""
    return settings.get("plans", []) + ([] if quick else settings.get("slow", []))


def _try(keeper: Keeper, name: str, measure: Any) -> list[Row]:
    try:
        found: list[Row] = measure()
    except Exception as error:  # a missing or failing peer must not end the run
        results.skipped(name, error)
        return []
    for row in found:
        keeper.keep(row, _line(row))
    return found


def _line(row: Row) -> str:
    recall = ", ".join(f"{value:.4f} {name}" for name, value in row["recall"].items())
    ranking = "" if row["engine"] == "nearfield" else f" ({row['ranking']})"
    return f"{row['bytes']:6g} B  {recall}  {row['engine']}: {row['name']}{ranking}"


def nearfield_row(space: Neighbours, plan: str, k: int) -> Row:
    """One plan: recall by its own search."""
    made = nf.Plan(plan)
    start = time.perf_counter()
    packed = made.fit(space.rows, metric="cosine", queries=_spare(space))
    fit_s = time.perf_counter() - start
    start = time.perf_counter()
    found = {name: packed.search(q, k=k).rows for name, q in space.queries.items()}
    return {
        "part": "recall",
        "engine": "nearfield",
        "name": str(made),
        "bytes": packed.bytes_per_row,
        "shared_bytes": packed.shared_bytes,
        "rescored": bool(made.rescores),
        "ranking": "own",
        "recall": _recalls(space, found),
        "fit_s": round(fit_s, 3),
        "search_s": round(time.perf_counter() - start, 3),
    }


def _spare(space: Neighbours) -> F32 | None:
    """Queries of both kinds that nothing is measured with; None where all are measured with."""
    rest = np.concatenate(list(space.spare.values()))
    return rest if len(rest) else None


def _recalls(space: Neighbours, found: dict[str, I64]) -> dict[str, float]:
    return {name: round(data.recall(rows, space.truth[name]), 5) for name, rows in found.items()}


def peer_rows(space: Neighbours, coded: peers.Coded, k: int) -> list[Row]:
    """A peer's best ranking of its own, and the one that divides by the decoded length where it has none."""
    measured = {how: _recalls(space, found) for how, found in _rankings(space, coded, k).items()}
    own = max((how for how in measured if how in coded.own), key=lambda how: measured[how]["held-out"])
    chosen = [own] + [how for how in measured if how not in coded.own]
    return [
        {
            "part": "recall",
            "engine": coded.engine,
            "name": coded.name,
            "bytes": coded.bytes,
            "shared_bytes": coded.shared_bytes,
            "rescored": False,
            "ranking": how if how in coded.own else "rows renormalised",
            "recall": measured[how],
            "fit_s": round(coded.fit_s, 3),
        }
        for how in chosen
    ]


def _rankings(space: Neighbours, coded: peers.Coded, k: int) -> dict[str, dict[str, I64]]:
    if coded.search is not None:
        return {how: {name: find(q, k) for name, q in space.queries.items()} for how, find in coded.search.items()}
    rows = coded.decoded
    if rows is None:
        raise ValueError(f"{coded.name}: neither decoded rows nor a search")
    squares = np.einsum("ij,ij->i", rows, rows)
    lengths = np.sqrt(np.maximum(squares, 1e-30))
    turns = {"dot": lambda s: s, "l2": lambda s: 2 * s - squares, "cosine": lambda s: s / lengths}
    wanted = dict.fromkeys((*coded.own, "cosine"))
    return {
        how: {name: data.best(lambda q, t=turns[how]: t(q @ rows.T), q, k) for name, q in space.queries.items()}
        for how in wanted
    }


def _say_verdicts(rows: list[Row], targets: dict[str, float]) -> None:
    for v in results.verdicts(rows):
        ours, peer = v["nearfield"], v["peer"]
        if ours is None:
            print(f"  {v['bytes']} bytes: no plan of nearfield fits")
            continue
        mine, theirs = ours["recall"]["held-out"], peer["recall"]["held-out"] if peer else 0.0
        words = "above every peer" if mine > theirs else "NOT above every peer"
        target = targets.get(str(v["bytes"]))
        aim = "" if target is None else f", target {target:g} {'met' if mine >= target else 'MISSED'}"
        name = f"{peer['engine']} {peer['name']}" if peer else "none"
        print(f"  {v['bytes']} bytes: {mine:.4f} {ours['name']} against {theirs:.4f} {name}: {words}{aim}", flush=True)
