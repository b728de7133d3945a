"""Keeps measured rows, one JSON object a line, and reads the verdict off them."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
Row = dict[str, Any]
_PEERS = (
    "faiss-cpu",
    "turboquant-pro",
    "numkong",
    "hnswlib",
    "usearch",
    "scalable-vs",
    "scann",
    "rabitqlib",
    "bm25s",
    "PyStemmer",
    "wordllama",
)


def load() -> float:
    """How many processes wanted to run in the last minute; timings on a busy machine are void."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


@lru_cache(maxsize=1)
def machine() -> dict[str, Any]:
    """The processor and what nearfield uses of it; no name of the machine."""
    from nearfield.numerics import kernels

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": _processor(), "cores": cores, "isa": kernels.info()["isa"], "system": platform.system()}


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    except OSError:
        pass
    return platform.processor() or platform.machine()


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Versions of nearfield, Python, NumPy and the peers that are installed."""
    import nearfield

    found = {"nearfield": nearfield.__version__, "python": platform.python_version(), "numpy": np.__version__}
    for name in _PEERS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@lru_cache(maxsize=1)
def commit() -> str | None:
    """The commit of the checkout, ``-dirty`` where files differ from it; None outside git."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


class Keeper:
    """Writes the rows of one suite; they replace those of an earlier run when the run ends well."""

    def __init__(self, folder: Path, suite: str, threads: int) -> None:
        self.suite = suite
        self.path = folder / f"{suite}.jsonl"
        self._part = folder / f"{suite}.jsonl.part"
        self._load = load()
        self.common = {
            "suite": suite,
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "commit": commit(),
            "threads": threads,
            "load": round(self._load, 2),
            "machine": machine(),
            "versions": versions(),
        }

    def __enter__(self) -> Self:
        self._part.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._part.open("w", encoding="utf-8")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        if kind is None:
            os.replace(self._part, self.path)
            print(f"kept in {self.path.name}", flush=True)

    def keep(self, row: Row, said: str) -> None:
        """Write one row at once, and say it in a line."""
        self._file.write(json.dumps(row | self.common, default=_plain) + "\n")
        self._file.flush()
        print(f"  {said}", flush=True)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"not a JSON value: {value!r}")


def skipped(what: str, error: BaseException) -> None:
    """Say that a row was left out, and why."""
    reason = " ".join(str(error).split()) or type(error).__name__
    print(f"  left out: {what}: {type(error).__name__}: {reason[:200]}", flush=True)


def read(folder: Path, suite: str) -> list[Row]:
    """The kept rows of one suite; none where it was never run."""
    path = folder / f"{suite}.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def verdicts(rows: list[Row], queries: str = "held-out") -> list[dict[str, Any]]:
    """For each budget of bytes: nearfield's best plan, and the best peer of no more bytes (None where none fits)."""
    plain = [r for r in rows if r["part"] == "recall" and not r.get("rescored")]
    out = []
    for budget in next((r["budgets"] for r in rows if r["part"] == "settings"), []):
        fitting = [r for r in plain if r["bytes"] <= budget]
        ours, peers = [[r for r in fitting if (r["engine"] == "nearfield") == own] for own in (True, False)]
        best = [max(s, key=lambda r: r["recall"][queries], default=None) for s in (ours, peers)]
        out.append({"bytes": budget, "nearfield": best[0], "peer": best[1]})
    return out
