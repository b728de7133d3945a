"""Whether the adviser chooses the smallest plan: its choice against the least that would have been enough.

What is enough is measured as the adviser verifies: on all rows, with the same queries. Looked at are all plans of its
sweep that are smaller than its choice, and ``transform`` with any number of bytes, by bisection.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

import nearfield as nf
from bench import kinds
from bench.results import Keeper, Row
from nearfield.adviser.smallest import sized
from nearfield.adviser.sweep import budget_plan
from nearfield.adviser.task import Task, make_task
from nearfield.adviser.verify import exact_truth, verify
from nearfield.core.protocols import I64
from nearfield.search.plan import Plan

_HOPELESS = 0.1  # a plan that is predicted to miss by more is not looked at


def run(settings: dict[str, Any], shared: Path, keeper: Keeper, *, quick: bool) -> None:
    """One advice for each kind, seed and share to keep; then how many chose within ``within`` times the least."""
    ratios = []
    for kind in settings.get("kinds") or kinds.KINDS:
        for seed in range(1 if quick else settings["seeds"]):
            for keep in settings["keep"][: 1 if quick else None]:
                row = _one(kind, seed, keep, settings, shared)
                ratios.append(row["ratio"])
                keeper.keep(row, f"{row['ratio']:.3f}  {row['bytes']:g} against {row['least']:g} bytes, {kind}, {keep}")
    good = float(np.mean([r <= settings["within"] for r in ratios]))
    summary = {"part": "smallest", "runs": len(ratios), "within": settings["within"], "share": round(good, 4)}
    keeper.keep(
        summary | {"worst": max(ratios), "asked": settings["share"]},
        f"{good:.3f} of {len(ratios)} runs within {settings['within']}, {max(ratios)} at worst",
    )


def _one(kind: str, seed: int, keep: float, settings: dict[str, Any], shared: Path) -> Row:
    drawn = kinds.draw(kind, seed, settings["rows"], settings["queries"], shared)
    given: dict[str, Any] = {"metric": drawn.metric, "rng": seed, "sample": settings["sample"]}
    start = time.process_time()
    advice = nf.advise(drawn.rows, drawn.queries, keep=keep, **given)
    cpu = time.process_time() - start
    task = make_task(drawn.rows, drawn.queries, k=10, on_zero="raise", **given)
    truth = exact_truth(task, 10)
    least, plan = _least(task, truth, advice, keep)
    size = advice.chosen.bytes_per_row
    row = {"part": "choice", "set": kind, "seed": seed, "keep": keep, "best": str(advice.best), "bytes": size}
    reached = advice.verified["recall@10"].value if advice.verified else None
    return row | {
        "least": least,
        "least_plan": plan,
        "ratio": round(size / least, 4),
        "reached": reached,
        "cpu_s": round(cpu, 2),
    }


def _least(task: Task, truth: I64, advice: nf.adviser.advice.Advice, keep: float) -> tuple[float, str]:
    """The fewest bytes a row that are enough, and the plan."""

    def enough(plan: str) -> bool:
        return verify(task, Plan(plan), truth)["recall@10"].value >= keep

    least, plan = advice.chosen.bytes_per_row, str(advice.best)
    rows = [r for r in advice.plans if r.proven and r.quality["recall@10"].value >= keep - _HOPELESS]
    for row in sorted(rows, key=lambda r: r.bytes_per_row):
        if row.bytes_per_row < least and sized(row) is None and enough(row.plan):
            least, plan = row.bytes_per_row, row.plan
            break
    beside = next((r.bytes_per_row - (sized(r) or 0) for r in advice.plans if sized(r)), 0.0)
    low, high = 1, int(least - beside) + 1  # the last is no better than what there is
    while high - low > max(1, 0.01 * low):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(budget_plan(middle)) else (middle, high)
    return (least, plan) if least <= high + beside else (high + beside, budget_plan(high))
