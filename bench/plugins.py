"""Runs the plug-ins for ann-benchmarks and big-ann-benchmarks on local files, without containers or downloads:

    python bench/plugins.py ann FILE.hdf5
    python bench/plugins.py ood ROWS.fbin QUERIES.fbin --metric ip
    python bench/plugins.py filter ROWS.fbin QUERIES.fbin --tags ROWS.spmat --query-tags QUERIES.spmat
    python bench/plugins.py streaming ROWS.fbin QUERIES.fbin --runbook RUNBOOK.yaml

The plug-ins derive from those projects' own base classes. ANN_BENCHMARKS and BIG_ANN_BENCHMARKS name checkouts where
they are loaded from; without a checkout, classes with the same methods stand in for them.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
TRACKS = {"ood": "NearfieldOOD", "filter": "NearfieldFilter", "streaming": "NearfieldStreaming"}
PLAN = "lvq(bits=4) | vamana() | rescore(codec='lvq(bits=8)', depth=2)"
_TYPES = {"fbin": "float32", "u8bin": "uint8", "i8bin": "int8", "ibin": "int32"}


# -- files -----------------------------------------------------------------------------------------


def read_bin(path: Path) -> np.ndarray:
    """The array of a ``.fbin``, ``.u8bin``, ``.i8bin`` or ``.ibin`` file: two counts, then rows."""
    kind = path.suffix.removeprefix(".")
    if kind not in _TYPES:
        raise ValueError(f"{path.name}: expected one of {', '.join(_TYPES)}")
    n, d = (int(v) for v in np.fromfile(path, "<u4", 2))
    return np.fromfile(path, _TYPES[kind], n * d, offset=8).reshape(n, d)


def write_bin(path: Path, x: np.ndarray) -> None:
    """The other way."""
    path.write_bytes(np.array(x.shape, "<u4").tobytes() + x.astype(_TYPES[path.suffix.removeprefix(".")]).tobytes())


def read_sparse(path: Path) -> Any:
    """The matrix of a ``.spmat`` file: three counts, ends of rows, columns, values."""
    from scipy.sparse import csr_matrix

    with path.open("rb") as file:
        n, columns, count = (int(v) for v in np.fromfile(file, np.int64, 3))
        ends = np.fromfile(file, np.int64, n + 1)
        indices = np.fromfile(file, np.int32, count)
        return csr_matrix((np.fromfile(file, np.float32, count), indices, ends), shape=(n, columns))


def write_sparse(path: Path, matrix: Any) -> None:
    """The other way."""
    with path.open("wb") as file:
        np.array([*matrix.shape, matrix.nnz], np.int64).tofile(file)
        matrix.indptr.astype(np.int64).tofile(file)
        matrix.indices.astype(np.int32).tofile(file)
        matrix.data.astype(np.float32).tofile(file)


# -- base classes ----------------------------------------------------------------------------------


class StandIn:
    """The methods of both projects' base classes that their runners call."""

    name = "stand-in"

    def done(self) -> None:
        """Nothing to tidy up."""

    def get_results(self) -> Any:
        """What ``query`` found (big-ann-benchmarks)."""
        return self.res  # type: ignore[attr-defined]

    def get_batch_results(self) -> Any:
        """What ``batch_query`` found (ann-benchmarks)."""
        return self.res  # type: ignore[attr-defined]

    def get_additional(self) -> dict[str, Any]:
        """Nothing more to store."""
        return {}

    def __str__(self) -> str:
        return self.name


_BASES = {
    "ann": {"ann_benchmarks.algorithms.base.module": "BaseANN"},
    "ood": {"neurips23.ood.base": "BaseOODANN"},
    "filter": {"neurips23.filter.base": "BaseFilterANN"},
    "streaming": {"neurips23.streaming.base": "BaseStreamingANN"},
}


def plugin(track: str, checkout: Path | None, sets: dict[str, Any] | None = None) -> type[Any]:
    """The plug-in's class over the base classes of a checkout (stand-ins where it is None).

    ``sets`` are datasets by name, as functions without parameters, which the plug-ins of big-ann-benchmarks look up.
    """
    before = dict(sys.modules)
    try:
        _bases(track, checkout)
        if track == "ann":
            name, at = "ann_benchmarks.algorithms.nearfield.module", HERE / "ann_benchmarks/nearfield/module.py"
            constructor = "Nearfield"
        else:
            name, at = f"neurips23.{track}.nearfield_{track}", HERE / f"big_ann/{track}/nearfield/nearfield_{track}.py"
            constructor = TRACKS[track]
            _module("benchmark.datasets", DATASETS=dict(sets or {}))
        spec = importlib.util.spec_from_file_location(name, at)
        if spec is None or spec.loader is None:
            raise ImportError(f"cannot load {at}")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        made: type[Any] = getattr(module, constructor)
        return made
    finally:  # two checkouts, or a checkout and stand-ins, may be used in one process
        for name in set(sys.modules) - set(before):
            if name.split(".")[0] in ("ann_benchmarks", "benchmark", "neurips23"):
                del sys.modules[name]


def _bases(track: str, checkout: Path | None) -> None:
    for name, base in _BASES[track].items():
        if checkout is None:
            _module(name, **{base: type(base, (StandIn,), {})})
        else:
            file = checkout.joinpath(*name.split(".")).with_suffix(".py")
            if track != "ann":
                _read("benchmark.algorithms.base", checkout / "benchmark/algorithms/base.py")
            _read(name, file)


def _read(name: str, file: Path) -> None:
    """Load one file of a checkout alone: packages around it import downloaders and containers."""
    module = _module(name)
    exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), module.__dict__)


def _module(name: str, **values: Any) -> types.ModuleType:
    parts = name.split(".")
    for i in range(1, len(parts)):
        package = sys.modules.setdefault(".".join(parts[:i]), types.ModuleType(".".join(parts[:i])))
        package.__path__ = []
    module = types.ModuleType(name)
    module.__dict__.update(values)
    sys.modules[name] = module
    return module


# -- runs ------------------------------------------------------------------------------------------


class Local:
    """Rows, queries and tags from local files, with the methods that big-ann-benchmarks asks of a dataset."""

    def __init__(self, rows: Path, queries: Path, tags: Path | None = None, query_tags: Path | None = None) -> None:
        self.rows, self.queries = read_bin(rows), read_bin(queries)
        self.nb, self.d = self.rows.shape
        self.nq, self.dtype, self._name = len(self.queries), str(self.rows.dtype), rows.stem
        self._tags = None if tags is None else read_sparse(tags)
        self._query_tags = None if query_tags is None else read_sparse(query_tags)

    def short_name(self) -> str:
        """Name and size."""
        return f"{self._name}-{self.nb}"

    def search_type(self) -> str:
        """With or without filters."""
        return "knn" if self._tags is None else "knn_filtered"

    def get_dataset(self) -> np.ndarray:
        """All rows."""
        return self.rows

    def get_data_in_range(self, start: int, end: int) -> np.ndarray:
        """Some rows."""
        return self.rows[start:end]

    def get_queries(self) -> np.ndarray:
        """All queries."""
        return self.queries

    def get_dataset_metadata(self) -> Any:
        """Tags of the rows."""
        return self._tags

    def get_queries_metadata(self) -> Any:
        """Tags that a query asks for."""
        return self._query_tags


def nearest(rows: np.ndarray, queries: np.ndarray, metric: str, k: int, allow: np.ndarray | None = None) -> np.ndarray:
    """Exact neighbours, -1 where fewer match; ``allow`` is a bool a row, or a query and row."""
    x, q = rows.astype(np.float32), queries.astype(np.float32)
    if metric == "angular":
        x, q = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-30) for v in (x, q))
    scores = q @ x.T
    if metric == "euclidean":
        scores = 2 * scores - (x * x).sum(axis=1)
    if allow is not None:
        scores = np.where(allow, scores, -np.inf)
    found = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.where(np.isfinite(np.take_along_axis(scores, found, axis=1)), found, -1)


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    """The share of the true neighbours that were found."""
    hits = sum(len(np.intersect1d(f, t[t >= 0])) for f, t in zip(found, truth))
    return hits / max(int((truth >= 0).sum()), 1)


def run_ann(file: Path, checkout: Path | None, plan: str, budgets: list[int], k: int) -> list[dict[str, Any]]:
    """As ann-benchmarks runs one algorithm: fit, then one query after another at each budget."""
    import h5py

    with h5py.File(file) as stored:
        train, test = np.array(stored["train"]), np.array(stored["test"])
        metric, truth = str(stored.attrs["distance"]), np.array(stored["neighbors"])[:, :k]
    algo = plugin("ann", checkout)(metric, plan)
    algo.fit(train)
    out = []
    for budget in budgets:
        algo.set_query_arguments(budget)
        start = time.perf_counter()
        found = [algo.query(q, k) for q in test]
        seconds = time.perf_counter() - start
        algo.batch_query(test, k)
        row = {
            "name": str(algo),
            "budget": budget,
            "qps": len(test) / seconds,
            "recall": recall(np.array(found), truth),
        }
        out.append(row | {"batch recall": recall(algo.get_batch_results(), truth)} | algo.get_additional())
    algo.done()
    return out


def run_big(
    track: str, ds: Local, metric: str, checkout: Path | None, plan: str, budgets: list[int], k: int, folder: Path
) -> list[dict[str, Any]]:
    """As big-ann-benchmarks runs the OOD and filter tracks: build, load what was built, then all queries at once."""
    make = plugin(track, checkout, {"local": lambda: ds})
    params = {"plan": plan, "folder": str(folder)}
    if not make(metric, params).load_index("local"):
        make(metric, params).fit("local")
    algo = make(metric, params)
    if not algo.load_index("local"):
        raise RuntimeError("the plug-in did not find the index that it built")
    allow = None
    if ds.search_type() == "knn_filtered":
        asked = ds.get_queries_metadata()
        allow = (asked @ ds.get_dataset_metadata().T).toarray() == np.diff(asked.indptr)[:, None]
    truth = nearest(ds.rows, ds.queries, metric, k, allow)
    out = []
    for budget in budgets:
        algo.set_query_arguments({"budget": budget})
        start = time.perf_counter()
        if allow is None:
            algo.query(ds.get_queries(), k)
        else:
            algo.filtered_query(ds.get_queries(), ds.get_queries_metadata(), k)
        seconds = time.perf_counter() - start
        row = {"name": str(algo), "budget": budget, "qps": ds.nq / seconds}
        out.append(row | {"recall": recall(algo.get_results(), truth)})
    algo.done()
    return out


def run_streaming(
    ds: Local, runbook: list[dict[str, Any]], metric: str, checkout: Path | None, plan: str, budget: int, k: int
) -> list[dict[str, Any]]:
    """As big-ann-benchmarks runs a runbook: inserts, deletions, replacements and searches, step by step."""
    algo = plugin("streaming", checkout, {"local": lambda: ds})(metric, {"plan": plan})
    algo.setup(ds.dtype, ds.nb, ds.d)
    algo.set_query_arguments({"budget": budget})
    now: dict[int, int] = {}  # tag -> row of the file
    out = []
    for step, entry in enumerate(runbook, 1):
        start = time.perf_counter()
        match entry["operation"]:
            case "insert":
                span = range(entry["start"], entry["end"])
                algo.insert(ds.get_data_in_range(span.start, span.stop), np.array(span, dtype=np.uint32))
                now |= {i: i for i in span}
            case "delete":
                algo.delete(np.arange(entry["start"], entry["end"], dtype=np.uint32))
                for i in range(entry["start"], entry["end"]):
                    now.pop(i, None)
            case "replace":
                tags = np.arange(entry["tags_start"], entry["tags_end"], dtype=np.uint32)
                algo.replace(ds.get_data_in_range(entry["ids_start"], entry["ids_end"]), tags)
                now |= dict(zip(tags.tolist(), range(entry["ids_start"], entry["ids_end"])))
            case "search":
                algo.query(ds.get_queries(), k)
                seconds = time.perf_counter() - start
                tags = np.array(sorted(now))
                best = nearest(ds.rows[[now[t] for t in tags.tolist()]], ds.queries, metric, k)
                truth = np.where(best >= 0, tags[np.maximum(best, 0)], -1)
                row = {"step": step, "rows": len(now), "recall": recall(algo.get_results(), truth)}
                out.append(row | {"qps": ds.nq / seconds})
            case other:
                raise ValueError(f"step {step}: no operation {other!r}")
    return out


def read_runbook(path: Path) -> list[dict[str, Any]]:
    """The numbered steps of the first set in a runbook."""
    import yaml

    steps = next(iter(yaml.safe_load(path.read_text(encoding="utf-8")).values()))
    return [steps[i] for i in range(1, len(steps) + 1) if i in steps]


def main() -> int:
    """Run one plug-in and print a line a budget or search."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("track", choices=["ann", *TRACKS])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--tags", type=Path)
    parser.add_argument("--query-tags", type=Path)
    parser.add_argument("--runbook", type=Path)
    parser.add_argument("--metric", choices=["euclidean", "ip", "angular"], default="euclidean")
    parser.add_argument("--plan", default=PLAN)
    parser.add_argument("--budget", type=int, nargs="+", default=[300, 1000, 3000])
    parser.add_argument("--k", type=int, default=10)
    given = parser.parse_args()
    named = os.environ.get("ANN_BENCHMARKS" if given.track == "ann" else "BIG_ANN_BENCHMARKS")
    checkout = Path(named) if named else None
    if given.track == "ann":
        rows = run_ann(given.files[0], checkout, given.plan, given.budget, given.k)
    else:
        ds = Local(*given.files[:2], given.tags, given.query_tags)
        if given.track == "streaming":
            steps = read_runbook(given.runbook)
            rows = run_streaming(ds, steps, given.metric, checkout, given.plan, given.budget[-1], given.k)
        else:
            with tempfile.TemporaryDirectory() as folder:
                how = (given.metric, checkout, given.plan, given.budget, given.k, Path(folder))
                rows = run_big(given.track, ds, *how)
    for row in rows:
        print(
            ", ".join(
                f"{key} {value:.4f}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()
            )
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
