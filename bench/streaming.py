"""Runbooks of big-ann-benchmarks: rows are inserted, deleted and replaced, and recall is measured as they come and go.

A runbook is a YAML file: for each data set its steps, numbered from 1. ``insert`` and ``delete`` name rows ``start`` to
``end``; ``replace`` puts rows ``ids_start`` to ``ids_end`` in the place of those known as ``tags_start`` to
``tags_end``; ``search`` asks all queries.

Alone: python -m bench.streaming RUNBOOK ROWS QUERIES [--plan PLAN], files npy or fbin.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import nearfield as nf
from bench import data
from bench.data import F32, I64
from bench.results import ROOT, Keeper, Row

RUNBOOKS = ROOT / "bench" / "runbooks"
QUICK = {"queries": 20}
COMPACT = 0.5  # share of the numbers that belong to deleted rows, from which space is given back
_CENTRES, _ROUNDS = 16, 5
_RANGES = {
    "insert": ("start", "end"), "delete": ("start", "end"), "search": (),
    "replace": ("tags_start", "tags_end", "ids_start", "ids_end"),
}  # fmt: skip


def read_runbook(path: Path, dataset: str | None = None, *, rows: int) -> list[dict[str, Any]]:
    """The steps of a runbook for one data set (the first where none is named), checked."""
    try:
        import yaml
    except ImportError:
        raise ValueError(f"{path}: reading a runbook needs pyyaml: pip install pyyaml") from None
    books = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(books, dict) or not books or (dataset is not None and dataset not in books):
        raise ValueError(f"{path}: expected steps for {dataset or 'a data set'}, got none")
    book = books[dataset or next(iter(books))]
    steps: list[dict[str, Any]] = []
    while len(steps) + 1 in book:
        steps.append(book[len(steps) + 1])
        _check(path, len(steps), steps[-1], rows)
    if not steps or steps[0]["operation"] != "insert":
        raise ValueError(f"{path}: expected an insertion as the first step")
    return steps


def _check(path: Path, number: int, step: dict[str, Any], rows: int) -> None:
    what = step.get("operation")
    if what not in _RANGES:
        raise ValueError(f"{path}: step {number}: expected one of {', '.join(_RANGES)}, got {what!r}")
    for key in _RANGES[what]:
        if not isinstance(step.get(key), int) or not 0 <= step[key] <= rows:
            raise ValueError(f"{path}: step {number}: {key}: expected 0 to {rows}, got {step.get(key)!r}")


def read_rows(path: Path) -> F32:
    """Rows of an npy file, or of an fbin one: two 32-bit numbers, rows and width, then float32."""
    if path.suffix == ".npy":
        return np.asarray(np.load(path), np.float32)
    n, d = np.fromfile(path, np.uint32, 2).tolist()
    return np.fromfile(path, np.float32, n * d, offset=8).reshape(n, d)


@dataclass
class Stream:
    """Rows under a plan that come and go by tag; a tag's vector is the row that was last put there."""

    plan: str
    rows: F32
    metric: Any = "cosine"
    held: dict[int, int] = field(default_factory=dict)  # tag: row
    packed: Any = None

    def do(self, step: dict[str, Any]) -> int:
        """One step that changes rows; returns how many it touched."""
        if step["operation"] == "insert":
            tags = range(step["start"], step["end"])
            self._put(tags, list(tags), new=True)
        elif step["operation"] == "replace":
            tags = range(step["tags_start"], step["tags_end"])
            self._put(tags, list(range(step["ids_start"], step["ids_end"])), new=False)
        else:
            tags = range(step["start"], step["end"])
            self.packed.delete(list(tags))
            for tag in tags:
                self.held.pop(tag, None)
        if len(self.packed) and self.packed.span - len(self.packed) > COMPACT * self.packed.span:
            self.packed.compact()
        return len(tags)

    def _put(self, tags: range, rows: list[int], *, new: bool) -> None:
        x = self.rows[rows]
        if self.packed is None:
            self.packed = nf.Plan(self.plan).fit(x, metric=self.metric, ids=list(tags))
            self.packed.background = False  # so that a run repeats, and its seconds hold all work
        elif new:
            self.packed.add(x, ids=list(tags))
        else:
            self.packed.upsert(x, ids=list(tags))
        self.held |= dict(zip(tags, rows))

    def vectors(self) -> tuple[I64, F32]:
        """The tags that are there and their vectors."""
        return np.array(list(self.held), np.int64), self.rows[list(self.held.values())]

    def recall(self, queries: F32, k: int, budget: int) -> float:
        """Of the exact nearest rows that are there, the share that is found."""
        tags, x = self.vectors()
        scores = (lambda q: -((q[:, None, :] - x) ** 2).sum(axis=2)) if self.metric == "l2" else (lambda q: q @ x.T)
        truth = tags[data.best(scores, queries, k)]
        found = self.packed.search(queries, k=k, budget=budget).ids.astype(np.int64)
        return data.recall(found, truth)


def run(suite: dict[str, Any], shared: Path, keeper: Keeper, *, quick: bool) -> None:
    """Run every book of a suite."""
    sizes = suite | (QUICK if quick else {})
    found = data.neighbours(shared, rows=sizes["rows"], queries=sizes["queries"], k=1)
    for book in suite["book"]:
        rows = ordered(found.rows, book["order"])
        path = RUNBOOKS / book["file"] if not Path(book["file"]).is_absolute() else Path(book["file"])
        name = {"book": path.stem, "order": book["order"], "plan": suite["plan"]}
        stream = Stream(suite["plan"], rows)
        for row in measured(stream, read_runbook(path, rows=len(rows)), found.queries["held-out"], sizes):
            keeper.keep(name | row, f"{path.stem}, {book['order']}: {_said(row)}")


def ordered(x: F32, order: str) -> F32:
    """Rows as they are, drawn, or cluster after cluster."""
    rng = np.random.default_rng(0)
    if order == "random":
        return x[rng.permutation(len(x))]
    if order != "clustered":
        return x
    centres = x[rng.choice(len(x), size=min(_CENTRES, len(x)), replace=False)]
    for _ in range(_ROUNDS):
        nearest = np.argmax(x @ centres.T, axis=1)
        centres = data.unit(np.stack([x[nearest == c].sum(axis=0) for c in range(len(centres))]))
    return x[np.argsort(nearest, kind="stable")]


def measured(stream: Stream, steps: list[dict[str, Any]], queries: F32, sizes: dict[str, Any]) -> Any:
    """What each step gives, and in the end what a fresh build of the rows that are left would."""
    for number, step in enumerate(steps, 1):
        row: Row = {"part": "step", "step": number, "operation": step["operation"]}
        if step["operation"] != "search":
            before = time.perf_counter()
            row["rows"] = stream.do(step)
            row["seconds"] = round(time.perf_counter() - before, 3)
        else:
            row["recall"] = {str(b): round(stream.recall(queries, sizes["k"], b), 4) for b in sizes["budgets"]}
            row["there"], row["bytes"] = len(stream.packed), stream.packed.nbytes
        yield row
    before = time.perf_counter()
    stream.packed.consolidate()
    row = {"part": "consolidated", "seconds": round(time.perf_counter() - before, 3)}
    row["recall"] = {str(b): round(stream.recall(queries, sizes["k"], b), 4) for b in sizes["budgets"]}
    yield row
    tags, x = stream.vectors()
    before = time.perf_counter()
    packed = nf.Plan(stream.plan).fit(x, metric=stream.metric, ids=tags)
    seconds = time.perf_counter() - before
    fresh = Stream(stream.plan, stream.rows, stream.metric, stream.held, packed)
    row = {"part": "fresh", "seconds": round(seconds, 3), "bytes": packed.nbytes}
    row["recall"] = {str(b): round(fresh.recall(queries, sizes["k"], b), 4) for b in sizes["budgets"]}
    yield row


def _said(row: Row) -> str:
    what = f"{row.get('step', '')} {row.get('operation', row['part'])}".strip()
    if "rows" in row:
        return f"{what} {row['rows']} rows, {row['rows'] / max(row['seconds'], 1e-9):,.0f} a second"
    recalls = ", ".join(f"{share:.4f} at {budget}" for budget, share in row["recall"].items())
    return f"{what}: recall {recalls}" + (f", {row['bytes'] / 1e6:.0f} MB" if "bytes" in row else "")


def main() -> None:
    """Run one runbook over the rows of a file."""
    parser = argparse.ArgumentParser(prog="streaming", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runbook", type=Path)
    parser.add_argument("rows", type=Path, help="npy or fbin")
    parser.add_argument("queries", type=Path, help="npy or fbin")
    parser.add_argument("--dataset", help="whose steps of the runbook; the first where none is named")
    parser.add_argument("--plan", default="lvq(bits=4) | vamana() | rescore(codec='lvq(bits=8)', depth=4)")
    parser.add_argument("--metric", choices=("cosine", "dot", "l2"), default="cosine")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--budgets", type=int, nargs="+", default=[500, 1000])
    given = parser.parse_args()
    rows, queries = read_rows(given.rows), read_rows(given.queries)
    if given.metric == "cosine":
        rows, queries = data.unit(rows), data.unit(queries)
    stream = Stream(given.plan, rows, given.metric)
    steps = read_runbook(given.runbook, given.dataset, rows=len(rows))
    for row in measured(stream, steps, queries, {"k": given.k, "budgets": given.budgets}):
        print(_said(row), flush=True)


if __name__ == "__main__":
    main()
