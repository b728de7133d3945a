"""Every index that finds rows natively: threads change nothing it builds, and damaged columns crash nothing."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.core import rooms
from nearfield.core.errors import Corrupt
from nearfield.core.protocols import Rows
from nearfield.numerics import kernels
from nearfield.numerics.finding import Finding

pytestmark = pytest.mark.skipif(kernels.native() is None, reason="these indexes need native code")
FINDING = [rooms.load("indexes", name) for name in rooms.catalog("indexes")]
FINDING = [kind for kind in FINDING if issubclass(kind, Finding)]


@pytest.fixture(params=FINDING, ids=lambda kind: kind.name())
def index(request: pytest.FixtureRequest) -> Any:
    return request.param.examples()[0]


def rows(n: int = 2000, d: int = 20, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def own_columns(packed: Any) -> dict[str, np.ndarray]:
    return {name.removeprefix("index."): c for name, c in packed.columns.items() if name.startswith("index.")}


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_any_number_of_threads_builds_the_same(index: Any, metric: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for threads in ("1", "3"):
        monkeypatch.setenv("NEARFIELD_THREADS", threads)
        made.append(own_columns(nf.Plan(f"int8() | {index}").fit(rows(), metric=metric)))
    assert made[0]
    for name, column in made[0].items():
        np.testing.assert_array_equal(column, made[1][name], err_msg=name)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_near_rows_are_found(index: Any, metric: Any) -> None:
    x = rows() * np.random.default_rng(2).uniform(0.5, 2, size=(2000, 1)).astype(np.float32)
    q = rows(50, seed=1) * (3 if metric == "dot" else 1)  # how long a query is changes nothing under products
    packed = nf.Plan(f"lvq(bits=8) | {type(index)()}").fit(x, metric=metric)
    truth = nf.Plan("lvq(bits=8)").fit(x, metric=metric).search(q, k=10).rows
    found = packed.search(q, k=10, budget=600)
    least = {"lsh": 0.5, "kd_forest": 0.7}.get(index.name(), 0.8)  # 600 rows drawn hold a third of the nearest
    assert np.mean([np.isin(a, b).mean() for a, b in zip(found.rows, truth)]) > least
    assert found.scored.mean() < 1600


@pytest.mark.parametrize("damage", ["zeros", "ones", "noise", "turned"])
def test_damaged_columns_are_refused_or_harmless(index: Any, damage: str) -> None:
    x, q = rows(700), rows(20, seed=1)
    packed = nf.Plan(f"float16() | {index}").fit(x, metric="l2")
    attached, columns = packed.index, own_columns(packed)
    rng = np.random.default_rng(5)
    allow = rng.random(700) < 0.7
    for name, column in columns.items():
        raw = {
            "zeros": np.zeros(column.nbytes, np.uint8),
            "ones": np.full(column.nbytes, 255, np.uint8),
            "noise": rng.integers(0, 256, column.nbytes, dtype=np.uint8),
            "turned": np.ascontiguousarray(column.reshape(-1)[::-1]).view(np.uint8),
        }[damage]
        broken = dict(columns) | {name: raw.view(column.dtype).reshape(column.shape)}
        source = attached.rows
        try:
            again = copy.copy(packed.fitted.index).attach(
                Rows(source.codes, source.scorer, source.decode, 700, source.terms), broken
            )
        except Corrupt:
            continue
        for admitted in (None, allow):
            hits = again.search(packed.now.scorer.prepare(q), 10, budget=50, allow=admitted)
            for found in hits.rows:
                assert len(set(found)) == 10
                assert found.min() >= 0
                assert found.max() < 700
                assert admitted is None or admitted[found].all()


def test_progress_is_told(index: Any) -> None:
    told = []
    nf.Plan(f"float16() | {index}").fit(rows(1500), progress=lambda what, done, total: told.append((what, done, total)))
    last = [t for t in told if t[0] != "encode"][-1]
    assert 0 < last[1] <= last[2]
