"""nDCG@10 at every size, and of texts, on collections whose relevance people judged."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

import nearfield as nf
from bench import data, results, texts
from bench.compression import plans
from bench.results import Keeper, Row
from nearfield.core.protocols import Metric


def run(suite: dict[str, Any], shared: Path, keeper: Keeper, *, quick: bool) -> None:
    """Measure every plan on every collection."""
    sets = [data.judged(shared, name) for name in suite["sets"][: 1 if quick else None]]
    for plan in plans(suite, quick):
        try:
            row = judged_row(sets, plan, "l2" if plan in suite.get("by_l2", []) else "cosine")
        except Exception as error:  # a method whose extra is missing must not end the run
            results.skipped(plan, error)
            continue
        mean = np.mean([m["ndcg10"] for m in row["sets"].values()])
        size = np.mean([m["bytes"] for m in row["sets"].values()])
        keeper.keep(row, f"{size:6g} B  nDCG@10 {mean:.4f}  {plan}")
    if "texts" in suite:
        texts.run(suite["texts"], sets, shared, keeper)


def judged_row(sets: list[data.Judged], plan: str, metric: Metric = "cosine") -> Row:
    """One plan on every judged collection."""
    measured = {}
    for each in sets:
        start = time.perf_counter()
        packed = nf.Plan(plan).fit(each.docs, metric=metric)
        fit_s = time.perf_counter() - start
        ranking = packed.search(each.queries, k=10).rows
        measured[each.name] = {
            "ndcg10": round(each.ndcg10(ranking), 5),
            "bytes": packed.bytes_per_row,
            "shared_bytes": packed.shared_bytes,
            "fit_s": round(fit_s, 3),
        }
    return {"part": "ndcg", "engine": "nearfield", "name": str(nf.Plan(plan)), "metric": metric, "sets": measured}
