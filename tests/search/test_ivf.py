"""Lists about centroids: what they hold, what a budget scans, and that native and step by step agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.core.errors import Corrupt
from nearfield.core.protocols import TABLE_LAYOUTS
from nearfield.search.fit import INDEX

CODECS = [
    "raw()",
    "float16()",
    "int8()",
    "lvq(bits=4)",
    "binary()",
    "rabitq(bits=1)",
    "rabitq(bits=4)",
    "pq(parts=6)",
    "opq(parts=12, code_bits=4)",
    "transform(bytes=12)",
]
RESCORES = [
    "",
    " | rescore(codec='float16', depth=4)",
    " | rescore(codec='lvq(bits=4)', depth=4, of='residual')",
    " | rescore(codec='transform(bytes=12)', depth=4, of='residual') | rescore(codec='raw', depth=2)",
]


@pytest.fixture
def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    middles = rng.normal(size=(30, 24)) * 2
    x = middles[rng.integers(30, size=1501)] + rng.normal(size=(1501, 24))
    q = middles[rng.integers(30, size=20)] + rng.normal(size=(20, 24))
    return x.astype(np.float32), q.astype(np.float32)


@pytest.mark.parametrize("codec", CODECS)
def test_matches_found_by_place_are_those_found_by_row(codec: str, data: Any) -> None:
    x, q = data
    packed = nf.Plan(f"{codec} | ivf(lists=25)").fit(x)
    order = np.random.default_rng(5).permutation(len(x))
    for matches in (0, 1, 40, 700, 1300):
        allow = np.zeros(len(x), np.bool_)
        allow[order[:matches]] = True
        hits = packed.search(q, k=20, budget=len(x), allow=allow)
        assert (hits.scored == matches).all()
        every = packed.search(q, k=len(x), budget=len(x))
        for found, rows in zip(hits.rows, every.rows):
            np.testing.assert_array_equal(found[: min(20, matches)], rows[allow[rows]][:20])
            assert (found[matches:] == -1).all()


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("codec", CODECS)
def test_one_native_call_answers_as_step_by_step(
    codec: str, metric: Any, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, q = data
    for again in RESCORES:
        packed = nf.Plan(f"{codec} | ivf(lists=25){again}").fit(x, metric=metric)
        for budget in (100, 400, 1501):
            made = packed.now.search_compiled(q, 5, budget, None)
            assert made is not None
            quick, _ = made
            with monkeypatch.context() as patch:
                patch.setattr(packed.now, "pipeline", None)
                slow = packed.search(q, k=5, budget=budget)
            same = quick.rows == slow.rows
            assert same.mean() > 0.95
            np.testing.assert_allclose(quick.scores[same], slow.scores[same], rtol=1e-3, atol=1e-3)
            np.testing.assert_array_equal(quick.scored, slow.scored)


def test_all_rows_are_found_as_a_scan_finds_them(data: Any) -> None:
    x, q = data
    for codec in ("raw()", "float16()"):
        lists = nf.Plan(f"{codec} | ivf()").fit(x, metric="l2").search(q, k=50, budget=len(x))
        flat = nf.Plan(codec).fit(x, metric="l2").search(q, k=50)
        assert np.mean(lists.rows == flat.rows) > 0.97
        assert (lists.scored == len(x)).all()


def test_codes_of_what_centroids_leave_are_finer(data: Any) -> None:
    x, q = data
    truth = nf.Plan("raw()").fit(x, metric="l2").search(q, k=10).rows
    shares = []
    for residual in (True, False):
        packed = nf.Plan(f"binary() | ivf(lists=30, residual={residual})").fit(x, metric="l2")
        found = packed.search(q, k=10, budget=len(x)).rows
        shares.append(np.mean([np.isin(f, t).mean() for f, t in zip(found, truth)]))
    assert shares[0] > shares[1] + 0.05


def test_a_budget_is_overshot_by_a_list_at_most(data: Any) -> None:
    x, q = data
    packed = nf.Plan("int8() | ivf(lists=25)").fit(x)
    largest = int(np.diff(packed.columns[INDEX + "starts"].astype(np.int64)).max())
    for budget in (20, 100, 700, 1501):
        scored = packed.search(q, k=5, budget=budget).scored
        assert (scored >= budget).all()
        assert (scored < budget + largest).all()


@pytest.mark.parametrize("codec", ["float16()", "binary()"])
@pytest.mark.parametrize("share", [0.001, 0.02, 0.3, 0.9])
def test_a_filter_skips_lists_until_enough_match(codec: str, share: float, data: Any) -> None:
    x, q = data
    packed = nf.Plan(f"{codec} | ivf(lists=25) | rescore(depth=3)").fit(x)
    allow = np.random.default_rng(1).random(len(x)) < share
    allow[7] = True
    hits = packed.search(q, k=10, budget=200, allow=allow)
    for found in hits.rows:
        real = found[found >= 0]
        assert allow[real].all()
        assert len(set(real)) == len(real) == min(10, allow.sum())
    assert (hits.scored >= min(200, allow.sum())).all()
    exact = nf.Plan("raw()").fit(x).search(q, k=10, allow=allow)
    hits = packed.search(q, k=10, budget=len(x), allow=allow)
    if share < 0.1:
        np.testing.assert_array_equal(hits.rows, exact.rows)


def test_equal_scores_go_to_the_smaller_row() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, size=(400, 6)).astype(np.float32) + 1
    order = rng.permutation(400)
    for plan in ("raw() | ivf(lists=9, residual=False)", "raw() | ivf(lists=9) | rescore(codec='raw', depth=40)"):
        hits = nf.Plan(plan).fit(x[order], metric="l2").search(x[:5], k=30, budget=400)
        flat = nf.Plan("raw()").fit(x[order], metric="l2").search(x[:5], k=30)
        np.testing.assert_array_equal(hits.rows, flat.rows)


def test_threads_change_nothing(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, q = data
    made = []
    for threads in ("1", "3"):
        monkeypatch.setenv("NEARFIELD_THREADS", threads)
        packed = nf.Plan("binary() | ivf() | rescore(depth=3)").fit(x)
        hits = packed.search(q, k=5, budget=300)
        made.append((packed.columns, hits))
    for name, column in made[0][0].items():
        np.testing.assert_array_equal(column, made[1][0][name])
    np.testing.assert_array_equal(made[0][1].rows, made[1][1].rows)
    np.testing.assert_array_equal(made[0][1].scores, made[1][1].scores)


def test_rows_come_back_in_their_own_order(data: Any) -> None:
    x, _ = data
    packed = nf.Plan("lvq(bits=8) | ivf(lists=25)").fit(x, metric="l2")
    np.testing.assert_allclose(packed.decode(), x, atol=0.05)
    some = np.array([3, 1500, 4, 3])
    np.testing.assert_array_equal(packed.codes()[some], packed.codes(some))
    np.testing.assert_array_equal(packed.encode(x[some]), packed.codes(some))


def test_zero_rows_are_kept_apart(data: Any) -> None:
    x, q = data
    x = x.copy()
    x[[5, 900]] = 0
    packed = nf.Plan("float16() | ivf(lists=25)").fit(x, on_zero="keep")
    hits = packed.search(q, k=1501, budget=1501)
    want = nf.Plan("float16()").fit(x, on_zero="keep").search(q, k=1501)
    np.testing.assert_allclose(hits.scores, want.scores, atol=2e-3)
    assert (np.sort(hits.rows, axis=1) == np.arange(1501)).all()


def test_a_file_finds_the_same(data: Any, tmp_path: Path) -> None:
    x, q = data
    plan = nf.Plan("binary() | ivf(lists=25) | rescore(codec='lvq(bits=4)', depth=4, of='residual')")
    packed = plan.fit(x, metric="l2")
    packed.save(tmp_path / "a.nf")
    streamed = plan.fit(x, metric="l2", out=tmp_path / "b.nf")
    a = packed.search(q, k=5, budget=300)
    for other in (nf.load(tmp_path / "a.nf"), streamed):
        b = other.search(q, k=5, budget=300)
        np.testing.assert_array_equal(a.rows, b.rows)
        np.testing.assert_array_equal(a.scores, b.scores)


@pytest.mark.parametrize("name", ["twice", "beyond", "descends", "short"])
def test_damaged_columns_are_refused(name: str, data: Any, tmp_path: Path) -> None:
    x, _ = data
    packed = nf.Plan("binary() | ivf(lists=25)").fit(x)
    order, starts = packed.columns[INDEX + "order"], packed.columns[INDEX + "starts"]
    if name == "twice":
        order[3] = order[4]
    elif name == "beyond":
        order[3] = 4_000_000_000
    elif name == "descends":
        starts[3] = starts[5] + 1
    else:
        starts[-1] -= 1
    packed.now.segment = None
    from nearfield.search.file import save

    save(packed, tmp_path / "a.nf")
    with pytest.raises(Corrupt, match="ivf: the column"):
        nf.load(tmp_path / "a.nf")


def test_a_flat_scan_with_rescoring_is_one_call(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, q = data
    for codec in CODECS:
        packed = nf.Plan(f"{codec} | rescore(depth=4)").fit(x)
        allow = np.random.default_rng(1).random(len(x)) < 0.4
        for filtered in (None, allow):
            made = packed.now.search_compiled(q[0], 5, 0, filtered)
            assert (made is not None) == (packed.now.scorer.layout in TABLE_LAYOUTS)
            with monkeypatch.context() as patch:
                patch.setattr(packed.now, "pipeline", None)
                slow = packed.search(q[0], k=5, allow=filtered)
            if made is not None:
                np.testing.assert_array_equal(made[0].rows, slow.rows)
                np.testing.assert_array_equal(made[0].scored, slow.scored)
