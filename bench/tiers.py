"""Vectors on disk, codes in memory: time of single queries with a warm cache and with a cold one, and what is resident.

Each way to hold the rows is measured in a process of its own, which reads what the others read. Resident memory is that
of the whole process, interpreter and mapped pages of files included.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import nearfield as nf
from bench import data, generator
from bench.data import I64
from bench.results import ROOT, Keeper, Row

QUICK = {"rows": 5000, "queries": 10, "cold": 5}


def run(suite: dict[str, Any], shared: Path, keeper: Keeper, *, quick: bool) -> None:
    """Build each plan's file once, then measure every way to hold it."""
    sizes = suite["rows"] | (QUICK if quick else {})
    folder = ROOT / "bench" / "out"
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(json.dumps(["drawn", sizes, str(shared)]).encode()).hexdigest()[:12]
    rows, queries, truth = _rows(folder / f"tiers-{name}", shared, sizes, suite["builds"])
    keeper.keep({"part": "settings", **sizes}, f"{sizes['rows']} rows")
    for way in suite["way"]:
        file = _built(folder, way["plan"], rows, name)
        plain = _measure(file, queries, truth, way, sizes, memory=None, cold=False)
        keeper.keep(plain, _said(plain))
        for cold in (False, True):
            row = _measure(file, queries, truth, way, sizes, memory=way["memory"], cold=cold)
            row["times_memory"] = row["p50_ms"] / plain["p50_ms"]
            keeper.keep(row, _said(row))


def _rows(stem: Path, shared: Path, sizes: dict[str, Any], kept: Path | None) -> tuple[Path, Path, I64]:
    """Files of rows and of queries, drawn from the generator that is fitted to real ones, and the true neighbours."""
    rows, queries, truth = (stem.with_suffix(f".{part}.npy") for part in ("rows", "queries", "truth"))
    if not truth.exists():
        fitted = generator.fitted_to(shared, min(60_000, sizes["rows"]), kept)
        drawn = fitted.draw(sizes["rows"], 1).astype(np.float16)
        asked = fitted.draw(sizes["queries"], 2)
        np.save(rows, drawn)
        np.save(queries, asked)
        np.save(truth, data.exact(drawn.astype(np.float32), asked, sizes["k"]))
    return rows, queries, np.load(truth)


def _built(folder: Path, plan: str, rows: Path, name: str) -> Path:
    """The file of a plan, built where it is not there yet."""
    file = folder / f"tiers-{name}-{hashlib.sha256(plan.encode()).hexdigest()[:12]}.nf"
    if not file.exists():
        nf.Plan(plan).fit(np.load(rows, mmap_mode="r"), metric="dot", out=file)
    return file


def _measure(
    file: Path, queries: Path, truth: I64, way: dict[str, Any], sizes: dict[str, Any], *, memory: str | None, cold: bool
) -> Row:
    count = min(sizes["cold"] if cold else sizes["queries"], len(truth))
    task = {
        "file": str(file), "queries": str(queries), "count": count, "k": sizes["k"], "budget": way["budget"],
        "memory": memory, "cold": cold,
    }  # fmt: skip
    command = [sys.executable, "-m", "bench.tiers_once"]
    done = subprocess.run(command, input=json.dumps(task), capture_output=True, text=True, cwd=ROOT, check=True)
    told = json.loads(done.stdout)
    p50, p90, p99 = np.percentile(told["milliseconds"], (50, 90, 99))
    row: Row = {
        "part": "search", "plan": way["plan"], "budget": way["budget"], "memory": memory, "cold": cold,
        "recall": data.recall(np.array(told["rows"]), truth[:count]), "p50_ms": p50, "p90_ms": p90, "p99_ms": p99,
        "open_ms": told["open_ms"][1], "first_open_ms": told["open_ms"][0], "first_search_ms": told["first_ms"],
        "resident": told["memory"],
    }  # fmt: skip
    for column, counts in told["stats"].items():
        wanted = max(1, counts["wanted"])
        row["disk"] = {
            "column": column, "rows": counts["wanted"] / count, "reads": counts["reads"] / count,
            "bytes": counts["bytes"] / count, "early": counts["early"] / wanted, "ready": counts["ready"] / wanted,
            "unused": counts["unused"] / count, "waited_ms": counts["nanoseconds"] / 1e6 / count,
        }  # fmt: skip
    return row


def _said(row: Row) -> str:
    held = "all in memory" if row["memory"] is None else f"{row['memory']}, {'cold' if row['cold'] else 'warm'}"
    said = f"{row['plan']}: {held}: recall {row['recall']:.4f}, p50 {row['p50_ms']:.3f} ms, p99 {row['p99_ms']:.3f} ms"
    said += f", {row['resident']['VmRSS'] / 1e6:.0f} MB resident, opened in {row['open_ms']:.1f} ms"
    disk = row.get("disk")
    return said + (f", {disk['reads']:.0f} reads a query, {disk['ready']:.0%} ready" if disk else "")
