"""The plug-ins for public benchmarks run on small local files, over stand-ins and over the real base classes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

import nearfield

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
try:
    from bench import plugins
finally:
    sys.path.remove(str(ROOT))

PLAN = "lvq(bits=8) | vamana(degree=12, width=40) | rescore(codec='float16', depth=2)"


def named(variable: str | None) -> Path | None:
    """A checkout of the project that the variable names; None for stand-ins."""
    if variable is None:
        return None
    if variable not in os.environ:
        pytest.skip(f"{variable} names no checkout to take the base classes from")
    pytest.importorskip("psutil")
    return Path(os.environ[variable])


@pytest.fixture(params=[None, "ANN_BENCHMARKS"])
def ann(request: pytest.FixtureRequest) -> Path | None:
    """Where the base class of ann-benchmarks comes from."""
    return named(request.param)


@pytest.fixture(params=[None, "BIG_ANN_BENCHMARKS"])
def big(request: pytest.FixtureRequest) -> Path | None:
    """Where the base classes of big-ann-benchmarks come from."""
    return named(request.param)


@pytest.fixture
def files(tmp_path: Path, rng: np.random.Generator) -> tuple[Path, Path]:
    """Rows and queries as ``.fbin``."""
    for name, count in (("rows", 1200), ("queries", 30)):
        plugins.write_bin(tmp_path / f"{name}.fbin", rng.normal(size=(count, 16)).astype(np.float32))
    return tmp_path / "rows.fbin", tmp_path / "queries.fbin"


@pytest.mark.parametrize("metric", ["angular", "euclidean"])
def test_ann_benchmarks(tmp_path: Path, ann: Path | None, rng: np.random.Generator, metric: str) -> None:
    h5py = pytest.importorskip("h5py")
    x, q = (rng.normal(size=(n, 16)).astype(np.float32) for n in (1200, 30))
    with h5py.File(tmp_path / "set.hdf5", "w") as file:
        file["train"], file["test"] = x, q
        file["neighbors"] = plugins.nearest(x, q, metric, 10)
        file.attrs["distance"] = metric
    few, many = plugins.run_ann(tmp_path / "set.hdf5", ann, PLAN, [40, 1200], 10)
    assert few["recall"] <= many["recall"]
    assert many["recall"] > 0.99
    assert many["batch recall"] == many["recall"]
    assert many["bytes_per_row"] > 0
    with pytest.raises(NotImplementedError, match="hamming"):
        plugins.plugin("ann", ann)("hamming", PLAN)


@pytest.mark.parametrize("metric", ["ip", "euclidean"])
def test_out_of_distribution_track(tmp_path: Path, files: tuple[Path, Path], big: Path | None, metric: str) -> None:
    ds = plugins.Local(*files)
    found = plugins.run_big("ood", ds, metric, big, PLAN, [40, 1200], 10, tmp_path)
    assert found[0]["recall"] <= found[1]["recall"]
    assert found[1]["recall"] > 0.99
    if big:
        assert plugins.plugin("ood", big)("ip", {"plan": PLAN}).track() == "ood"


def test_filter_track(tmp_path: Path, files: tuple[Path, Path], big: Path | None, rng: np.random.Generator) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    tags = sparse.csr_matrix((rng.random((1200, 5)) < [0.5, 0.3, 0.1, 0.02, 0.004]).astype(np.float32))
    asked = np.zeros((30, 5), np.float32)
    asked[np.arange(30), np.arange(30) % 5] = 1
    asked[::3, 0] = 1  # two tags: both must be there
    plugins.write_sparse(tmp_path / "rows.spmat", tags)
    plugins.write_sparse(tmp_path / "queries.spmat", sparse.csr_matrix(asked))
    ds = plugins.Local(*files, tmp_path / "rows.spmat", tmp_path / "queries.spmat")
    (found,) = plugins.run_big("filter", ds, "euclidean", big, PLAN, [1200], 10, tmp_path)
    assert found["recall"] > 0.99


def test_streaming_track(files: tuple[Path, Path], big: Path | None) -> None:
    ds = plugins.Local(*files)
    runbook = [
        {"operation": "insert", "start": 0, "end": 600},
        {"operation": "search"},
        {"operation": "insert", "start": 600, "end": 1100},
        {"operation": "delete", "start": 100, "end": 400},
        {"operation": "search"},
        {"operation": "replace", "tags_start": 400, "tags_end": 450, "ids_start": 1100, "ids_end": 1150},
        {"operation": "search"},
    ]
    if not hasattr(nearfield.Packed, "add"):
        with pytest.raises(NotImplementedError, match=r"Packed\.add"):
            plugins.run_streaming(ds, runbook, "euclidean", big, PLAN, 1200, 10)
        return
    found = plugins.run_streaming(ds, runbook, "euclidean", big, PLAN, 1200, 10)
    assert [r["rows"] for r in found] == [600, 800, 800]
    assert min(r["recall"] for r in found) > 0.95
