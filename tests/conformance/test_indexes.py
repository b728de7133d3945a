"""Every index, found by itself, must keep these rules."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from conformance import kit
from nearfield.core.codecs import score_floats
from nearfield.core.errors import BadInput
from nearfield.core.protocols import Layout
from nearfield.search.plan import Plan

INDEXES = kit.examples("indexes")
CODECS = ("raw()", "float16()", "int8()")
TABLES = ("binary()", "lvq(bits=4)", "pq(parts=5, code_bits=4)", "transform(bytes=12)")


@pytest.fixture(params=INDEXES)
def index(request: pytest.FixtureRequest) -> Any:
    return request.param


def plan(index: Any, codec: str = "raw()") -> Plan:
    return Plan(f"{codec} | {index}")


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("codec", CODECS + TABLES)
def test_exact_when_the_budget_is_all_rows(index: Any, metric: Any, codec: str) -> None:
    x, q = kit.rows(300, 20), kit.rows(9, 20, rng=1)
    if codec in TABLES and Layout.LUT4 not in index.layouts:
        pytest.skip("searches no table layouts")
    packed = plan(index, codec).fit(x, metric=metric)
    hits = packed.search(q, k=10, budget=300)
    scoring = packed.fitted.scoring(packed.fitted.codec, first=True)
    ready = q / np.linalg.norm(q, axis=1, keepdims=True) if metric == "cosine" else q
    scores = score_floats(ready, packed.decode(), scoring)
    want = np.sort(scores, axis=1)[:, ::-1][:, :10]
    room = 1e-3 if codec in TABLES else 1e-4  # entries of tables have 15 bits
    np.testing.assert_allclose(hits.scores, want, atol=room * (1 + np.abs(want).max()))


def test_hits_are_in_order_valid_and_once(index: Any) -> None:
    x = kit.rows(300, 20)
    packed = plan(index).fit(x)
    hits = packed.search(x[:20], k=15)
    assert hits.rows.dtype == np.int64
    assert hits.scores.dtype == np.float32
    assert (np.diff(hits.scores, axis=1) <= 0).all()
    for found in hits.rows:
        assert len(set(found)) == 15
        assert found.min() >= 0
        assert found.max() < 300
    assert (hits.scored > 0).all()


@pytest.mark.parametrize("share", [0.0, 0.004, 0.01, 0.1, 0.5, 1.0])
def test_a_filter_is_never_violated_and_fills_k(index: Any, share: float, rng: np.random.Generator) -> None:
    x = kit.rows(250, 12)
    packed = plan(index).fit(x)
    allowed = np.zeros(250, dtype=np.bool_)
    allowed[rng.permutation(250)[: round(share * 250)]] = True
    hits = packed.search(x[:10], k=20, allow=allowed)
    for found, scores in zip(hits.rows, hits.scores):
        real = found[found >= 0]
        assert allowed[real].all()
        assert real.size == min(20, allowed.sum()) == np.isfinite(scores).sum()
        assert len(set(real)) == real.size


def test_more_than_there_are(index: Any) -> None:
    x = kit.rows(5, 12)
    hits = plan(index).fit(x).search(x, k=50)
    assert hits.rows.shape == (5, 5)
    assert sorted(hits.rows[0]) == [0, 1, 2, 3, 4]


def test_ties_go_to_the_smaller_row(index: Any) -> None:
    x = np.repeat(kit.rows(1, 12), 40, axis=0)
    hits = plan(index).fit(x).search(x[:1], k=7, budget=40)
    assert hits.rows[0].tolist() == list(range(7))


def test_one_row_and_one_dimension(index: Any) -> None:
    hits = plan(index).fit(np.array([[2.0]], dtype=np.float32)).search(np.array([[1.0]]), k=1)
    assert hits.rows.tolist() == [[0]]


def test_recall_grows_with_budget(index: Any) -> None:
    x, q = kit.rows(1000, 20), kit.rows(30, 20, rng=1)
    packed = plan(index).fit(x)
    truth = packed.search(q, k=10, budget=1000).rows
    shares = []
    for budget in (20, 100, 400, 1000):
        found = packed.search(q, k=10, budget=budget).rows
        shares.append(np.mean([np.isin(f, t).mean() for f, t in zip(found, truth)]))
    assert all(b >= a - 0.02 for a, b in itertools.pairwise(shares))
    assert shares[-1] == 1.0


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "10"])
def test_bad_k_is_refused(index: Any, k: Any) -> None:
    packed = plan(index).fit(kit.rows(30, 12))
    with pytest.raises(BadInput, match="k:"):
        packed.search(kit.rows(1, 12), k=k)


def test_bad_allow_is_refused(index: Any) -> None:
    packed = plan(index).fit(kit.rows(30, 12))
    with pytest.raises(BadInput, match="allow"):
        packed.search(kit.rows(1, 12), k=1, allow=np.ones(29, dtype=np.bool_))


def test_saved_and_loaded_finds_the_same(index: Any, tmp_path: Any) -> None:
    import nearfield as nf

    x = kit.rows(200, 16)
    packed = plan(index, "int8()").fit(x, ids=[f"row {i}" for i in range(200)], texts=["text"] * 200)
    packed.save(tmp_path / "a.nf")
    back = nf.load(tmp_path / "a.nf")
    a, b = packed.search(x[:9], k=5), back.search(x[:9], k=5)
    np.testing.assert_array_equal(a.rows, b.rows)
    np.testing.assert_array_equal(a.scores, b.scores)
    assert b.ids[0, 0] == "row 0"
    assert b[0][0].text == "text"


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_added_and_deleted_rows_match_a_rebuild(index: Any, metric: Any) -> None:
    x, q = kit.rows(1500, 20), kit.rows(30, 20, rng=1)
    packed = plan(index, "float16()").fit(x[:1000], metric=metric)
    assert packed.add(x[1000:1300]).tolist() == list(range(1000, 1300))
    assert packed.delete(rows=np.arange(0, 500)) == 500
    packed.add(x[1300:])
    rebuilt = plan(index, "float16()").fit(x[500:], metric=metric)
    truth = rebuilt.search(q, k=10, budget=2000)
    for step in (None, packed.consolidate, packed.compact):
        if step is not None:
            step()
        first = packed.span - 1000
        exact, some = packed.search(q, k=10, budget=2000), packed.search(q, k=10, budget=300)
        fine = 1e-5 if packed.fitted.learned is None else 5e-3  # codes are of what other centroids leave
        np.testing.assert_allclose(exact.scores, truth.scores, atol=fine)
        assert np.isin(exact.rows - first, truth.rows).mean() > 0.99
        shares = [
            np.mean([np.isin(f, t).mean() for f, t in zip(rows, truth.rows)])
            for rows in (some.rows - first, rebuilt.search(q, k=10, budget=300).rows)
        ]
        assert shares[0] > shares[1] - (0.05 if packed.fitted.learned is None else 0.1)  # other links, or other lists
    assert len(packed) == 1000
