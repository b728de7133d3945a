"""Recall at equal work: every engine swept over its effort, by how many rows it scores a query. Times play no part.

A plan counts the rows that its first stage scores and those that are scored again. faiss counts the distances that it
computes. hnswlib does not; its graph is that of faiss, so those that faiss computes at the same ef stand for its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench import builds, data, dense, results
from bench.data import F32, I64
from bench.dense import Space
from bench.engines import Engine, Faiss, Hnswlib, Nearfield
from bench.results import Keeper, Row

QUICK = {"rows": 5_000, "queries": 100}


def run(suite: dict[str, Any], shared: Path, keeper: Keeper, *, quick: bool) -> None:
    """On each set of rows, the recall of every engine at each number of rows scored, and who finds most."""
    sizes, counts = suite["rows"] | (QUICK if quick else {}), sorted(suite["scored"])
    for source in suite["sources"]:
        space = dense.space_of(sizes | {"source": source, "rounds": 1}, shared, [], suite["builds"])
        shape = {"rows": len(space.rows), "dim": space.rows.shape[1], "queries": len(space.queries), "k": space.k}
        keeper.keep({"part": "settings", "of": source, "scored": counts} | shape, f"{space.name}, k {space.k}")
        ready: list[Row] = []
        for engine, efforts in dense.wanted(suite):
            try:
                builds.ready(engine, space.rows, space.name, suite["builds"])
                row = _row(engine, efforts, space, counts, ready)
            except Exception as error:
                results.skipped(engine.label, error)
                continue
            ready.append(row | {"of": source})
            keeper.keep(ready[-1], _line(row))
        for row in verdicts(ready, counts):
            keeper.keep(row | {"of": source}, _said(row))


def _row(engine: Engine, efforts: list[Any], space: Space, counts: list[int], ready: list[Row]) -> Row:
    points = []
    for effort in efforts:
        engine.tune(effort)
        found, scored = _counted(engine, space.queries, space.k)
        if scored is None:
            scored = _stand_in(engine, effort, ready)
        recall = data.recall(found.astype(np.int64), space.truth)
        points.append({"effort": effort, "recall": round(recall, 5), "scored": round(scored, 1)})
    at = {str(count): recall_at(points, count) for count in counts}
    return {"part": "scored", "engine": engine.engine, "name": engine.name, "points": points, "at": at}


def _counted(engine: Engine, q: F32, k: int) -> tuple[I64, float | None]:
    """Rows that are found, and how many a query scores, where the engine tells."""
    if isinstance(engine, Nearfield):
        hits = engine.hits(q, k)
        again = 0.0 if hits.rescored is None else float(hits.rescored.mean())
        return hits.rows, float(hits.scored.mean()) + again
    if isinstance(engine, Faiss):
        import faiss

        faiss.cvar.hnsw_stats.reset()
        found = engine.many(q, k)
        return found, faiss.cvar.hnsw_stats.ndis / len(q)
    return engine.many(q, k), None


def _stand_in(engine: Engine, effort: Any, ready: list[Row]) -> float:
    """What faiss computes at the same effort, over a graph of the same parameters."""
    if isinstance(engine, Hnswlib):
        name = f"HNSW{engine.M},Flat, efConstruction {engine.ef_construction}"
        for row in ready:
            same = [p["scored"] for p in row["points"] if p["effort"] == effort]
            if (row["engine"], row["name"]) == ("faiss", name) and same:
                return float(same[0])
    raise NotImplementedError(f"{engine.engine} does not tell how many rows it scores, nor does a like engine here")


def recall_at(points: list[Row], count: float) -> float | None:
    """Recall where so many rows are scored, linear between two efforts; None where no effort scores so few or many."""
    pairs = sorted((p["scored"], p["recall"]) for p in points)
    scored, recall = (np.array(column) for column in zip(*pairs))
    if not scored[0] <= count <= scored[-1]:
        return None
    return round(float(np.interp(count, scored, np.maximum.accumulate(recall))), 5)


def verdicts(rows: list[Row], counts: list[int]) -> list[Row]:
    """At each number of rows scored the best of nearfield and the best peer; None where nobody scores so few."""
    out = []
    for count in counts:
        row: Row = {"part": "verdict", "scored": count}
        for who in ("nearfield", "peer"):
            own = [r for r in rows if (r["engine"] == "nearfield") == (who == "nearfield")]
            reached = [(r["at"][str(count)], f"{r['engine']}: {r['name']}") for r in own if r["at"][str(count)]]
            row[who] = {"label": max(reached)[1], "recall": max(reached)[0]} if reached else None
        both = row["nearfield"] and row["peer"]
        row["ahead"] = round(row["nearfield"]["recall"] - row["peer"]["recall"], 5) if both else None
        out.append(row)
    return out


def _line(row: Row) -> str:
    told = ", ".join(f"{count} {found:.4f}" for count, found in row["at"].items() if found is not None)
    least = min(p["scored"] for p in row["points"])
    return f"{row['engine']}: {row['name']}: from {least:.0f} rows on; {told or 'none'}"


def _said(row: Row) -> str:
    names = [f"{row[w]['label']} {row[w]['recall']:.4f}" if row[w] else "nobody" for w in ("nearfield", "peer")]
    return f"{row['scored']} rows scored: {names[0]} | {names[1]}"
