"""A query is answered as by itself, whatever the others of its batch find or fail to find."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.core.errors import BadInput
from nearfield.search.packed import Packed

N, D, K = 1200, 24, 10
FINER = "rescore(codec='lvq(bits=8)', depth=4, of='residual')"
GRAPHS = [
    f"lvq(bits=4) | vamana(degree=8, width=32) | {FINER}",
    f"lvq(bits=4) | nndescent(degree=8) | {FINER}",
    f"lvq(bits=4) | hnsw(degree=6, width=32) | {FINER}",
    "float16() | packed_graph(degree=8, width=32)",
    "float16() | packed_graph(degree=8, width=32) | rescore(codec='raw', depth=3)",
]
OTHERS = [
    f"binary() | ivf(lists=40) | {FINER}",
    "int8() | ivf(lists=1100)",  # many of them without a row
    f"lvq(bits=4) | lsh(tables=2, bits=24) | {FINER}",
    f"lvq(bits=4) | kd_forest(trees=2, leaf=10) | {FINER}",
    "lvq(bits=4) | diskgraph(degree=8, width=32)",
    f"lvq(bits=4) | flat() | {FINER}",
]


def rows() -> Any:
    """Twelve clusters; of each some rows are equal, so that lists of few rows, or of none, come about."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=(12, 1, D)) * 3 + rng.normal(size=(12, N // 12, D))
    x[:, :20] = x[:, :1]
    return np.ascontiguousarray(x.reshape(N, D), np.float32)


X = rows()
Q = X[::50] + np.random.default_rng(12).normal(size=(24, D)).astype(np.float32) / 4


@cache
def fitted(plan: str) -> Packed:
    return nf.Plan(plan).fit(X)


def packed_of(plan: str) -> Packed:
    """Fresh, so that it may be changed."""
    packed = fitted(plan)
    packed = Packed(packed.fitted, dict(packed.columns))
    packed.background = False
    return packed


def alone(packed: Packed, q: Any, *, k: int = K, **options: Any) -> int:
    """The answers of a batch are those of its queries one by one, bit for bit; returns how many places stay empty."""
    whole = packed.search(q, k, **options)
    allow = options.pop("allow", None)
    for i, one in enumerate(q):
        got = packed.search(one, k, allow=allow if allow is None or allow.ndim == 1 else allow[i], **options)
        np.testing.assert_array_equal(got.rows[0], whole.rows[i])
        np.testing.assert_array_equal(got.scores[0], whole.scores[i])
        assert got.scored[0] == whole.scored[i]
        assert (got.rescored is None) == (whole.rescored is None)
        if got.rescored is not None and whole.rescored is not None:
            assert got.rescored[0] == whole.rescored[i]
    return int((whole.rows < 0).sum())


def cut_off(packed: Packed, rows: Any) -> Packed:
    """The same with rows that no link leads out of."""
    columns = {name: np.array(c) for name, c in packed.columns.items()}
    columns["index.links"][rows] = 0xFFFFFFFF
    return Packed(packed.fitted, columns)


@pytest.mark.parametrize("plan", GRAPHS + OTHERS)
@pytest.mark.parametrize("budget", [10, 150, N])
def test_with_and_without_filters(plan: str, budget: int) -> None:
    packed = packed_of(plan)
    rng = np.random.default_rng(1)
    assert alone(packed, Q, budget=budget) == 0
    for share in (0.5, 0.02, 0.002):
        allow = rng.random(N) < share
        assert alone(packed, Q, budget=budget, allow=allow) == len(Q) * max(0, K - int(allow.sum()))
    each = rng.random((len(Q), N)) < np.geomspace(0.002, 0.9, len(Q))[:, None]
    each[-1] = True
    assert alone(packed, Q, budget=budget, allow=each) == np.maximum(0, K - each.sum(axis=1)).sum()


@pytest.mark.parametrize("plan", GRAPHS)
def test_where_links_lead_nowhere(plan: str) -> None:
    whole = packed_of(plan)
    for some in (np.arange(N) % 3 > 0, np.arange(N) >= N // 12, np.ones(N, np.bool_)):
        packed = cut_off(whole, some)
        for k in (K, 40):
            assert alone(packed, Q, k=k, budget=60) == 0
            assert alone(packed, Q, k=k, budget=60, allow=np.arange(N) % 2 == 0) == 0


@pytest.mark.parametrize("plan", GRAPHS + OTHERS)
def test_where_rows_were_deleted(plan: str) -> None:
    packed = packed_of(plan)
    gone = np.concatenate([np.arange(150, 400), np.arange(700, N - 6)])
    packed.delete(rows=gone)
    packed.consolidate()
    assert alone(packed, Q, budget=60) == 0
    assert alone(packed, Q, k=300, budget=60) == 0
    assert not np.isin(packed.search(Q, 300, budget=60).rows, gone).any()


def test_deleted_rows_are_not_found_where_links_lead_nowhere() -> None:
    packed = packed_of(GRAPHS[0])
    gone = np.arange(150, 700)
    packed.delete(rows=gone)
    packed.consolidate()
    assert packed.fitted.mended
    lost = cut_off(packed, np.arange(N) % 40 > 0)
    assert alone(lost, Q, k=40, budget=60) == 0
    assert not np.isin(lost.search(Q, 40, budget=60).rows, gone).any()


@pytest.mark.parametrize("plan", GRAPHS + OTHERS)
def test_queries_that_need_more_care(plan: str) -> None:
    packed = packed_of(plan)
    some = np.array(Q)
    some[3] *= 1e18
    assert alone(packed, some, budget=100) == 0
    some[5] = 0
    assert alone(packed, some, budget=100, on_zero="keep") == 0
    mixed, plain = packed.search(some, K, budget=100, on_zero="keep"), packed.search(Q, K, budget=100)
    np.testing.assert_array_equal(np.delete(mixed.rows, 5, axis=0), np.delete(plain.rows, 5, axis=0))
    with pytest.raises(BadInput, match="row 5"):
        packed.search(some, K, budget=100)
