"""Searches of one file in a process of its own, so that what it holds in memory is its own.

Takes a JSON object on stdin, prints one on stdout. ``cold`` drops the file's pages from the system's cache before each
query; those of columns that stay mapped are in use, and are kept.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import nearfield as nf


def main() -> None:
    """Open the file, search query by query."""
    task = json.load(sys.stdin)
    queries = np.load(task["queries"])[: task["count"]]
    load = nf.load
    opened = []
    for _ in range(2):  # in a new process, and when the modules are there
        start = time.perf_counter()
        packed = load(task["file"], memory=task["memory"])
        opened.append(1000 * (time.perf_counter() - start))
    start = time.perf_counter()
    packed.search(queries[0], k=task["k"], budget=task["budget"])
    first = 1000 * (time.perf_counter() - start)
    if not task["cold"]:
        _search(packed, queries, task)
    before = packed.tier_stats()
    found, taken = _search(packed, queries, task)
    told = {
        "open_ms": opened, "first_ms": first, "rows": found, "milliseconds": taken,
        "memory": {name: _memory(name) for name in ("VmRSS", "RssAnon", "RssFile")},
        "stats": {c: {k: v - before[c][k] for k, v in s.items()} for c, s in packed.tier_stats().items()},
    }  # fmt: skip
    json.dump(told, sys.stdout)


def _search(packed: nf.Packed, queries: Any, task: dict[str, Any]) -> tuple[list[list[int]], list[float]]:
    file = os.open(task["file"], os.O_RDONLY)
    found, taken = [], []
    for q in queries:
        if task["cold"]:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        start = time.perf_counter()
        hits = packed.search(q, k=task["k"], budget=task["budget"])
        taken.append(1000 * (time.perf_counter() - start))
        found.append(hits.rows[0].tolist())
    os.close(file)
    return found, taken


def _memory(name: str) -> int:
    """A line of /proc/self/status in bytes; VmRSS counts mapped pages of files too."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) << 10
    raise OSError(f"no {name} in /proc/self/status")


if __name__ == "__main__":
    main()
