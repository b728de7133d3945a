"""Whether the adviser's intervals hold the recall that other queries find: on many kinds of vectors, in many runs.

A run draws rows, queries and other queries of one kind, predicts some plans from a sample and verifies them on all
rows; then the plans, fitted on all rows, answer the other queries. Both intervals promise the figure of as many other
queries as were measured with; of ten times as many the same is asked, whose own chance is less.
"""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

import nearfield as nf
from bench import kinds
from bench.results import Keeper, Row
from nearfield.adviser.bench import Bench
from nearfield.adviser.quality import mean_interval, others, recall_values
from nearfield.adviser.task import make_task
from nearfield.numerics.blas import one_thread

K = 10
PLANS = {
    "wide": [
        "int4()", "binary()", "lvq(bits=4)", "rabitq(bits=1)", "transform(bytes=24)", "transform(bytes=64)",
        "pca(dim=48) | int8()", "transform(bytes=24) | rescore()",
    ],
    "middle": [
        "int8()", "int4()", "binary()", "rabitq(bits=2)", "transform(bytes=8)", "transform(bytes=20)",
        "pca(dim=12) | int8()", "transform(bytes=8) | rescore()",
    ],
    "narrow": [
        "int8()", "int4()", "lvq(bits=4)", "rabitq(bits=2)", "transform(bytes=3)", "transform(bytes=5)",
        "pca(dim=6) | int8()", "pq(parts=4, code_bits=4)",
    ],
}  # fmt: skip


def run(settings: dict[str, Any], shared: Path, keeper: Keeper, *, quick: bool) -> None:
    """Every kind, ``runs`` times; a row a run, one a kind and one for all."""
    found: dict[str, list[Row]] = defaultdict(list)
    for kind in settings.get("kinds") or kinds.KINDS:
        for seed in range(1 if quick else settings["runs"]):
            start = time.process_time()
            plans = _one(kind, seed, settings, shared)
            found[kind] += plans
            row = {"part": "intervals", "set": kind, "seed": seed, "plans": plans}
            cpu = round(time.process_time() - start, 2)
            held = sum(p["held"] for p in plans)
            keeper.keep(row | {"cpu_s": cpu}, f"{kind}, run {seed}: {held} of {len(plans)} intervals hold")
        keeper.keep(*_summary(kind, found[kind], settings))
    keeper.keep(*_summary("all", [row for rows in found.values() for row in rows], settings))


def _one(kind: str, seed: int, settings: dict[str, Any], shared: Path) -> list[Row]:
    m = settings["queries"]
    drawn = kinds.draw(kind, seed, settings["rows"], m + settings["others"], shared)
    q, other = drawn.queries[:m], drawn.queries[m:]
    with one_thread():
        task = make_task(drawn.rows, q, metric=drawn.metric, k=K, sample=settings["sample"], rng=seed, on_zero="raise")  # type: ignore[arg-type]
        names = PLANS["wide" if task.d > 100 else "middle" if task.d > 16 else "narrow"]
        rows = Bench(task).run([nf.Plan(name) for name in names], strict=True)
        exact = nf.Plan("raw()").fit(drawn.rows, metric=drawn.metric)
        truth, true = (exact.search(each, k=K).rows for each in (task.q, other))
        out = []
        for row in rows:
            packed = nf.Plan(row.plan).fit(drawn.rows, metric=drawn.metric, rng=seed)
            own, fresh = (
                recall_values(packed.search(each, k=K).rows, t) for each, t in ((task.q, truth), (other, true))
            )
            said, sure = row.quality[task.recall_name], others(mean_interval(own))
            few, many = float(fresh[:m].mean()), float(fresh.mean())
            out.append(
                {"plan": row.plan, "predicted": round(said.value, 5), "low": round(said.low, 5),
                 "high": round(said.high, 5), "measured": round(many, 5), "held": said.low <= many <= said.high,
                 "held_by_as_many": said.low <= few <= said.high, "verified": round(sure.value, 5),
                 "verified_held": sure.low <= many <= sure.high,
                 "verified_held_by_as_many": sure.low <= few <= sure.high}
            )  # fmt: skip
    return out


def _summary(kind: str, plans: list[Row], settings: dict[str, Any]) -> tuple[Row, str]:
    names = ("held", "held_by_as_many", "verified_held", "verified_held_by_as_many")
    shares = {name: round(float(np.mean([p[name] for p in plans])), 4) for name in names}
    half = round(float(np.median([(p["high"] - p["low"]) / 2 for p in plans])), 5)
    bias = round(float(np.mean([p["predicted"] - p["measured"] for p in plans])), 5)
    row = {"part": "coverage", "set": kind, "intervals": len(plans), "half_width": half, "bias": bias}
    asked = {"pooled": settings["pooled"], "a_kind": settings["a_kind"]}
    words = ", ".join(f"{name.replace('_', ' ')} {share:.3f}" for name, share in shares.items())
    return row | shares | {"asked": asked}, f"{kind}: {len(plans)} intervals, half-width {half:.4f} at median; {words}"
