"""What becomes of speed, build and bytes as rows grow: the same engines at several sizes, and fitted exponents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench import dense
from bench.results import Keeper, Row
from bench.timing import pinned

QUICK = {"sizes": [1_000, 2_000, 4_000], "queries": 100, "rounds": 1}


def run(suite: dict[str, Any], shared: Path, keeper: Keeper, *, quick: bool) -> None:
    """Measure every engine at every size, then the exponent ``e`` of ``value ~ n ** e`` for each figure."""
    sizes = suite["rows"] | (QUICK if quick else {})
    mode, targets = suite.get("mode", "single"), sorted(suite["targets"])
    rows: list[Row] = []
    with pinned(keeper.common["threads"]) as alone:
        keeper.keep({"part": "settings", "sizes": sizes["sizes"], "targets": targets, "pinned": alone}, "growing rows")
        for n in sizes["sizes"]:
            space = dense.space_of(sizes | {"rows": n}, shared, targets, suite["builds"])
            ready = [c for e, how in dense.wanted(suite) if (c := dense.ready(e, how, space, suite["builds"]))]
            dense.race(ready, space, mode)
            for c in ready:
                row = dense.row(c, space, mode, suite["classes"]) | {"part": "growth", "rows": n}
                keeper.keep(row, dense.line(row))
                rows.append(row)
    for row in exponents(rows, targets):
        keeper.keep(row, _said(row))


def exponents(rows: list[Row], targets: list[float]) -> list[Row]:
    """One row an engine: exponents of the time of a query at each target, of the build and of bytes in all."""
    out = []
    for engine, name in dict.fromkeys((r["engine"], r["name"]) for r in rows):
        own = [r for r in rows if (r["engine"], r["name"]) == (engine, name)]
        figures = {"build": [(r["rows"], r["build_s"]) for r in own]}
        figures["bytes"] = [(r["rows"], r["bytes"] * r["rows"]) for r in own]
        for t in targets:
            figures[f"query at {t}"] = [(r["rows"], 1 / r["at"][str(t)]["median"]) for r in own if str(t) in r["at"]]
        found = {what: _slope(pairs) for what, pairs in figures.items()}
        out.append({"part": "exponents", "engine": engine, "name": name, "exponents": found})
    return out


def _slope(pairs: list[tuple[int, float]]) -> float | None:
    """The slope of the logarithms; None where fewer than two sizes have a figure."""
    pairs = [(n, value) for n, value in pairs if value > 0]
    if len(pairs) < 2:
        return None
    n, values = np.log(np.array(pairs, dtype=np.float64)).T
    return round(float(np.polyfit(n, values, 1)[0]), 3)


def _said(row: Row) -> str:
    found = ", ".join(f"{what} n^{e:.2f}" for what, e in row["exponents"].items() if e is not None)
    return f"{row['engine']}: {row['name']}: {found}"
