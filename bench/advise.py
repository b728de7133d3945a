"""The adviser: its time and memory, how far its predictions lie from what its plans do on every row, whether its
intervals hold on other queries, and whether it chooses the smallest plan."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import nearfield as nf
from bench import coverage, data, results, smallest
from bench.data import F32, I64
from bench.results import Keeper, Row

QUICK_ROWS = 5000
_ONCE = Path(__file__).with_name("advise_once.py")


def run(suite: dict[str, Any], shared: Path, keeper: Keeper, *, quick: bool) -> None:
    """Advise on each set in a process of its own, then measure every plan on all rows."""
    try:
        nf.advise  # noqa: B018 - the attribute is imported when asked for
    except (AttributeError, ImportError) as error:
        results.skipped("advise", error)
        return
    for settings in suite.get("set", []):
        try:
            _set(settings, suite, shared, keeper, quick=quick)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            results.skipped(settings["name"], error)
    for name, part in (("intervals", coverage.run), ("smallest", smallest.run)):
        if name in suite:
            part(suite[name], shared, keeper, quick=quick)


def _set(settings: dict[str, Any], suite: dict[str, Any], shared: Path, keeper: Keeper, *, quick: bool) -> None:
    rows, queries, spare = _vectors(settings, shared, suite["queries"], quick)
    keywords = {"keep": suite["keep"], "rng": 0} | settings.get("keywords", {})
    if quick:
        keywords["sample"] = min(keywords.get("sample", 15_000), 2000)
    told = _once(rows, queries, keywords, suite["threads"])
    name = f"recall@{suite['k']}"
    row = {
        "part": "advise",
        "set": settings["name"],
        "rows": len(rows),
        "dim": rows.shape[1],
        "plans": len(told["plans"]),
    }
    row |= {"seconds": round(told["seconds"], 2), "cpu_s": round(told["cpu_s"], 2), "threads_used": suite["threads"]}
    row |= {"peak_mb": round(told["peak"] / 1e6, 1), "peak_over_rows": round(told["peak"] / (rows.size * 4), 3)}
    row |= {
        "best": told["best"],
        "predicted": told["predicted"],
        "verified": told["verified"],
        "limits": suite["limits"],
    }
    said = f"{row['plans']} plans in {row['seconds']} s, peak {row['peak_over_rows']} x the rows as float32"
    keeper.keep(row, f"{settings['name']}: {said}")
    truth = data.exact(rows, queries, suite["k"])
    errors = [_check(rows, queries, spare, truth, plan, name, settings["name"], keeper) for plan in told["plans"]]
    _summary([e for e in errors if e is not None], settings["name"], suite["limits"], keeper)


def _vectors(settings: dict[str, Any], shared: Path, queries: int, quick: bool) -> tuple[F32, F32, F32]:
    """Rows, queries, and queries that the adviser never sees."""
    x = data.unit(np.load(shared / settings["rows"]))
    if "queries" in settings:
        q = data.unit(np.load(shared / settings["queries"]))
    else:
        order = np.random.default_rng(0).permutation(len(x))
        held = settings["hold_out"]
        q, x = x[order[:held]], x[np.sort(order[held:])]
    count = min(queries, len(q) // 2)
    # The adviser lets methods that learn from queries see half of its own; the check lets them see as many others.
    return x[: QUICK_ROWS if quick else None], q[:count], q[count : count + count // 2]


def _once(rows: F32, queries: F32, keywords: dict[str, Any], threads: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        files = {name: str(Path(folder) / f"{name}.npy") for name in ("rows", "queries")}
        np.save(files["rows"], rows)
        np.save(files["queries"], queries)
        env = os.environ | {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        env |= {"NEARFIELD_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        task = json.dumps(files | {"keywords": keywords})
        done = subprocess.run([sys.executable, str(_ONCE)], input=task, capture_output=True, text=True, env=env)
    if done.returncode:
        raise ValueError((done.stderr.strip().splitlines() or ["the adviser failed"])[-1])
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _check(
    rows: F32, queries: F32, spare: F32, truth: I64, plan: Row, name: str, where: str, keeper: Keeper
) -> tuple[float, str] | None:
    """Fit the plan on every row and search; returns predicted minus measured, and the plan."""
    if name not in plan["quality"]:
        return None
    start = time.perf_counter()
    packed = nf.Plan(plan["plan"]).fit(rows, metric="cosine", queries=spare if len(spare) else None, rng=0)
    measured = data.recall(packed.search(queries, k=truth.shape[1]).rows, truth)
    said = plan["quality"][name]
    error = said["value"] - measured
    row = {"part": "prediction", "set": where, "name": plan["plan"], "bytes": plan["bytes_per_row"]}
    row |= {"predicted": said["value"], "low": said["low"], "high": said["high"], "measured": round(measured, 5)}
    row |= {"error": round(error, 5), "check_s": round(time.perf_counter() - start, 2)}
    keeper.keep(row, f"{error:+.4f}  predicted {said['value']:.4f}, measured {measured:.4f}  {plan['plan']}")
    return error, plan["plan"]


def _summary(errors: list[tuple[float, str]], where: str, limits: dict[str, float], keeper: Keeper) -> None:
    if not errors:
        return
    sizes = [abs(e) for e, _ in errors]
    worst, plan = max(errors, key=lambda e: abs(e[0]))
    row = {"part": "error", "set": where, "plans": len(errors), "median": round(float(np.median(sizes)), 5)}
    row |= {"worst": round(abs(worst), 5), "worst_plan": plan, "bias": round(float(np.mean([e for e, _ in errors])), 5)}
    keeper.keep(
        row | {"limits": limits}, f"{where}: error {row['median']} at the median, {row['worst']} at worst ({plan})"
    )
