"""Collections against other stores of one process: writes, bytes, the first answer, and search under filters.

Every engine runs in an environment and a process of its own (``store_engines``), on the same core; timings are taken in
rounds, an engine after another. Recall stands beside latency: a fast wrong answer is no answer.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

import numpy as np

from bench import results
from bench.results import ROOT, Keeper, Row

ENVS = ROOT / "build" / "bench-envs"
QUICK = {"rows": 3_000, "queries": 20, "rounds": 1, "writes": {"1": 20, "100": 300, "10000": 3_000}}
LOWER = ("bytes_per_row", "open_cold_s", "open_warm_s", "p50_ms", "p99_ms")  # columns where less is better


class Process:
    """A process that answers commands: JSON lines in, JSON lines out; pinned as the run is."""

    def __init__(self, name: str, command: list[str], files: Path) -> None:
        self.name = name
        quiet = {"ANONYMIZED_TELEMETRY": "False", "PYTHONWARNINGS": "ignore", "TOKENIZERS_PARALLELISM": "false"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=files,
            env=os.environ | quiet, preexec_fn=_pin,
        )  # fmt: skip

    def do(self, what: str, **how: Any) -> dict[str, Any]:
        """Send one command; ``RuntimeError`` with what the engine said where it failed."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("no pipes")
        self._process.stdin.write(json.dumps({"do": what, **how}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "the process ended"}
        if "error" in answer:
            raise RuntimeError(f"{self.name}: {what}: {answer['error']}")
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()


class Engine(Process):
    """One engine by the Python of its environment."""

    def __init__(self, spec: dict[str, Any], files: Path) -> None:
        name = spec["name"]
        super().__init__(
            name, [str(interpreter(spec)), str(ROOT / "bench" / "store_engines.py"), name, str(files)], files
        )


def _pin() -> None:
    """Keep a process to as many cores as the run has threads: the last ones."""
    if hasattr(os, "sched_setaffinity"):
        count = int(os.environ.get("OMP_NUM_THREADS", "1"))
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-count:])


def interpreter(spec: dict[str, Any]) -> Path:
    """Python of an engine's environment, which is made at first use; nearfield's is made anew in each run."""
    if "python" in spec:
        return Path(str(spec["python"]))
    folder = Path(os.environ.get("NEARFIELD_BENCH_ENVS", ENVS)) / spec["env"]
    python = folder / "bin" / "python"
    if not (folder / ".done").exists():
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        wanted = [str(ROOT) if r == "." else r for r in spec["requirements"]]
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "numpy", *wanted], check=True)
        (folder / ".done").touch()
    return python


def run(suite: dict[str, Any], shared: Path, keeper: Keeper, *, quick: bool) -> None:
    """Measure every engine that can be installed."""
    suite = suite | QUICK if quick else suite
    ours = Path(os.environ.get("NEARFIELD_BENCH_ENVS", ENVS)) / "nearfield" / ".done"
    ours.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=os.environ.get("NEARFIELD_BENCH_TMP")) as scratch:
        files = Path(scratch)
        truth = prepare(suite, shared, files)
        rows: dict[str, Row] = {}
        for spec in suite["engine"]:
            try:
                rows[spec["name"]] = written(suite, spec, files)
            except Exception as error:  # an engine that cannot be installed must not end the run
                results.skipped(spec["name"], error)
        there = [spec for spec in suite["engine"] if spec["name"] in rows]
        for name, found in opened(suite, there, files).items():
            rows[name] |= found
        for name, found in searched(suite, there, files, truth).items():
            rows[name] |= found
        for row in rows.values():
            keeper.keep(row, said(row))
        for line in verdict(list(rows.values())):
            print(f"  {line}", flush=True)


# ---- data ------------------------------------------------------------------------------------------
def prepare(suite: dict[str, Any], shared: Path, files: Path) -> dict[str, np.ndarray]:
    """Write rows, queries and metadata for the engines; returns the true neighbours under each filter."""
    source = shared / "retrieval" / "arxiv60k"
    rows = np.load(source / "doc_title_minilm_f16.npy")[: suite["rows"]].astype(np.float32)
    queries = np.load(source / "heldout_title_minilm_f16.npy")[: suite["queries"]].astype(np.float32)
    rows, queries = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (rows, queries))
    meta = []
    with gzip.open(source / "papers.jsonl.gz", "rt", encoding="utf-8") as file:
        for line, _ in zip(file, rows):
            p = json.loads(line)
            year = int(p["created"][:4])
            meta.append({
                "year": year, "num_authors": int(p["num_authors"]), "has_doi": bool(p["has_doi"]), "field": p["primary"]
            })  # fmt: skip
    np.save(files / "rows.npy", rows)
    np.save(files / "queries.npy", queries)
    (files / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    truth = {}
    for name, where in filters(suite).items():
        passes = np.array([where is None or m[where[0]] == where[1] for m in meta])
        scores = np.where(passes, queries @ rows.T, -np.inf)
        truth[name] = np.argsort(-scores, axis=1, kind="stable")[:, : min(suite["k"], int(passes.sum()))]
    return truth


def filters(suite: dict[str, Any]) -> dict[str, Any]:
    """No filter, and those of the suite."""
    return {"all": None, **suite["filters"]}


# ---- measurements ----------------------------------------------------------------------------------
def home(files: Path, name: str) -> Path:
    """The folder of an engine."""
    return files / name.replace(" ", "-")


def written(suite: dict[str, Any], spec: dict[str, Any], files: Path) -> Row:
    """Rows a second at each size of a call, and the bytes of all rows at the end. The first call makes the table."""
    speeds = {}
    for batch, total in suite["writes"].items():
        folder = home(files, spec["name"])
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        step = min(int(batch), total)
        with Engine(spec, files) as engine:
            engine.do("open", folder=str(folder))
            taken = engine.do("insert", start=0, stop=step, batch=step)["seconds"]
            if total > step:
                taken = engine.do("insert", start=step, stop=total, batch=step)["seconds"]
            speeds[batch] = round((total - step or total) / taken, 1)
            engine.do("close")
    if total != suite["rows"]:
        raise ValueError("writes: the last one must write all rows")
    size = sum(p.stat().st_blocks * 512 for p in folder.rglob("*") if p.is_file())
    about = {"part": "store", "engine": spec["name"], "durability": spec["durability"], "rows": total}
    return about | {"requirements": spec["requirements"], "rows_per_s": speeds, "bytes_per_row": round(size / total, 1)}


def opened(suite: dict[str, Any], specs: list[dict[str, Any]], files: Path) -> dict[str, Row]:
    """Seconds from the start of Python's program to the first answer: with files out of the page cache, and in it."""
    taken: dict[str, dict[str, list[float]]] = {s["name"]: {"cold": [], "warm": [], "open": []} for s in specs}
    for _ in range(suite["rounds"]):
        for spec in specs:
            folder = home(files, spec["name"])
            for kind in ("cold", "warm"):
                if kind == "cold":
                    forget(folder)
                with Engine(spec, files) as engine:
                    found = engine.do("first", folder=str(folder), k=suite["k"])
                    taken[spec["name"]][kind].append(found["since_start"])
                    if kind == "warm":
                        taken[spec["name"]]["open"].append(found["seconds"])
    return {
        name: {f"open_{kind}_s": round(statistics.median(values), 4) for kind, values in kinds.items()}
        for name, kinds in taken.items()
    }


def forget(folder: Path) -> None:
    """Drop the files of a folder from the page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def searched(
    suite: dict[str, Any], specs: list[dict[str, Any]], files: Path, truth: dict[str, np.ndarray]
) -> dict[str, Row]:
    """Milliseconds a query, and recall, under each filter; the first queries of each round warm up."""
    out: dict[str, Row] = {}
    warm, count = min(10, suite["queries"] // 2), suite["queries"]
    engines = {s["name"]: Engine(s, files) for s in specs}
    seconds: dict[tuple[str, str], list[float]] = {}
    right: dict[tuple[str, str], float] = {}
    try:
        for name, engine in engines.items():
            engine.do("open", folder=str(home(files, name)))
        for _ in range(suite["rounds"]):
            for name, engine in engines.items():
                for kind, where in filters(suite).items():
                    found = engine.do("search", start=0, stop=count, k=suite["k"], where=where, limit=suite["limit_s"])
                    seconds.setdefault((name, kind), []).extend(found["seconds"][warm:])
                    right[name, kind] = recall(found["ids"], truth[kind])
    finally:
        for engine in engines.values():
            engine.__exit__()
    for name in engines:
        row: Row = {"p50_ms": {}, "p99_ms": {}, "recall": {}}
        for kind in filters(suite):
            milli = 1e3 * np.array(seconds[name, kind])
            row["p50_ms"][kind], row["p99_ms"][kind] = (round(float(np.percentile(milli, p)), 3) for p in (50, 99))
            row["recall"][kind] = round(right[name, kind], 4)
        out[name] = row
    return out


def recall(found: list[list[int]], truth: np.ndarray) -> float:
    """The mean share of true neighbours that were found."""
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, truth.tolist())]))


# ---- what it says ----------------------------------------------------------------------------------
def said(row: Row) -> str:
    """A row in a line."""
    speeds = " / ".join(f"{v:,.0f}" for v in row["rows_per_s"].values())
    times = " ".join(f"{k} {v:.2f}/{row['p99_ms'][k]:.2f} ({row['recall'][k]:.3f})" for k, v in row["p50_ms"].items())
    return (
        f"{row['engine']:18} {row['durability']:8} {speeds} rows/s, {row['bytes_per_row']:,.0f} B, first answer "
        f"{row['open_cold_s']:.2f} / {row['open_warm_s']:.2f} s, ms {times}"
    )


def columns(row: Row) -> dict[str, float]:
    """Every figure of a row, by a name of its own."""
    flat: dict[str, float] = {}
    for name in ("rows_per_s", *LOWER):
        value = row[name]
        flat |= {f"{name} {k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def verdict(rows: list[Row]) -> list[str]:
    """Nearfield's place in every column, among engines of equal durability where rows are written."""
    out = []
    for column in columns(rows[0]):
        written_ = column.startswith("rows_per_s")
        for durability in ("full", "relaxed") if written_ else (None,):
            among = [r for r in rows if durability in (None, r["durability"])]
            if durability is None:
                among = [r for r in among if r["engine"] != "nearfield relaxed"]
            order = sorted(among, key=lambda r: columns(r)[column], reverse=written_)
            own = next((i for i, r in enumerate(order) if r["engine"].startswith("nearfield")), None)
            if own is None or len(order) < 2:
                continue
            best = order[0] if own else order[1]
            mine, other = columns(order[own])[column], columns(best)[column]
            told = f"{column} ({durability})" if durability else column
            out.append(f"{told}: place {own + 1} of {len(order)}, {mine:g} against {other:g} ({best['engine']})")
    return out
