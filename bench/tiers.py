"""Vectors on disk, codes in memory: time of single queries with a warm cache and with a cold one, and what is resident.

Each way to hold the rows is measured in a process of its own, which reads what the others read. Resident memory is that
of the whole process, interpreter and mapped pages of files included.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import nearfield as nf
from bench import data
from bench.data import F32, I64
from bench.results import ROOT, Keeper, Row

QUICK = {"rows": 5000, "queries": 10, "cold": 5}
NEIGHBOURS, SPREAD = 10, 0.3  # rows are drawn near real ones: moved by their differences from so many neighbours
BLOCK = 20_000


@dataclass
class Drawn:
    """Rows near real ones, made block by block and always the same."""

    rows: F32
    near: I64
    n: int

    @property
    def shape(self) -> tuple[int, int]:
        """How many rows, and their width."""
        return (self.n, self.rows.shape[1])

    def blocks(self) -> Iterator[F32]:
        """Unit rows."""
        rng = np.random.default_rng(0)
        for at in range(0, self.n, BLOCK):
            i = rng.integers(len(self.rows), size=min(BLOCK, self.n - at))
            x = self.rows[i]
            weights = rng.normal(0, SPREAD, size=(len(i), NEIGHBOURS)).astype(np.float32)
            moved = x + np.einsum("nj,njd->nd", weights, self.rows[self.near[i]] - x[:, None])
            yield data.unit(moved)


def run(suite: dict[str, Any], shared: Path, keeper: Keeper, *, quick: bool) -> None:
    """Build each plan's file once, then measure every way to hold it."""
    sizes = suite["rows"] | (QUICK if quick else {})
    folder = ROOT / "bench" / "out"
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(json.dumps([sizes, str(shared)]).encode()).hexdigest()[:12]
    rows, queries, truth = _rows(folder / f"tiers-{name}", shared, sizes)
    keeper.keep({"part": "settings", **sizes}, f"{sizes['rows']} rows")
    for way in suite["way"]:
        file = _built(folder, way["plan"], rows, name)
        plain = _measure(file, queries, truth, way, sizes, memory=None, cold=False)
        keeper.keep(plain, _said(plain))
        for cold in (False, True):
            row = _measure(file, queries, truth, way, sizes, memory=way["memory"], cold=cold)
            row["times_memory"] = row["p50_ms"] / plain["p50_ms"]
            keeper.keep(row, _said(row))


def _rows(stem: Path, shared: Path, sizes: dict[str, Any]) -> tuple[Path, Path, I64]:
    """Files of rows and of queries, and the true neighbours."""
    rows, queries, truth = (stem.with_suffix(f".{part}.npy") for part in ("rows", "queries", "truth"))
    if not truth.exists():
        real = data.neighbours(shared, rows=min(60_000, sizes["rows"]), queries=sizes["queries"], k=sizes["k"])
        near = data.exact(real.rows, real.rows, NEIGHBOURS + 1)[:, 1:]
        drawn = Drawn(real.rows, near, sizes["rows"])
        out = np.lib.format.open_memmap(rows, "w+", np.float16, drawn.shape)
        asked = real.queries["held-out"]
        scores, found = (
            np.full((len(asked), sizes["k"]), -np.inf, np.float32),
            np.zeros((len(asked), sizes["k"]), np.int64),
        )
        at = 0
        for block in drawn.blocks():
            out[at : at + len(block)] = block
            s = np.concatenate([scores, asked @ block.T], axis=1)
            ids = np.concatenate(
                [found, np.broadcast_to(np.arange(at, at + len(block)), (len(asked), len(block)))], axis=1
            )
            top = np.argsort(-s, axis=1, kind="stable")[:, : sizes["k"]]
            scores, found = np.take_along_axis(s, top, axis=1), np.take_along_axis(ids, top, axis=1)
            at += len(block)
        np.save(queries, asked)
        np.save(truth, found)
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
