"""The packed graph: recall on clustered rows, damage, threads, instruction sets, and lines against plain arithmetic."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.core.errors import Corrupt
from nearfield.core.protocols import Metric
from nearfield.numerics import graphs, kernels
from nearfield.numerics.byterows import ByteRows
from nearfield.numerics.lines import END, Axes, Lined

PLANS = [
    "float16() | packed_graph(degree=16, width=48)",
    "lvq(bits=8) | packed_graph(degree=16, width=48, line=128)",
    "lvq(bits=4) | packed_graph(degree=16, width=48) | rescore(codec='float16', depth=3)",
    "pca(dim=20) | float16() | packed_graph(degree=16, width=48)",
]
METRICS: list[Metric] = ["cosine", "dot", "l2"]


def _rows(n: int = 3000, d: int = 40, m: int = 30) -> tuple[Any, Any]:
    rng = np.random.default_rng(7)
    centres = rng.normal(size=(40, d)) * np.linspace(1.5, 0.2, d)
    x = centres[rng.integers(40, size=n + m)] + rng.normal(size=(n + m, d)) * np.linspace(1, 0.1, d) + 0.2
    return x[:n].astype(np.float32), x[n:].astype(np.float32)


def _tight(n: int = 4000, d: int = 300, m: int = 100) -> tuple[Any, Any]:
    """Clusters of very unequal sizes: a few axes tell them apart, and say nothing of what lies within."""
    rng = np.random.default_rng(8)
    share = 1 / np.arange(1, 31)
    of = rng.choice(30, n + m, p=share / share.sum())
    x = 3 * rng.normal(size=(30, d))[of] + rng.normal(size=(n + m, d))
    return x[:n].astype(np.float32), x[n:].astype(np.float32)


@pytest.fixture(scope="module")
def data() -> tuple[Any, Any]:
    return _rows()


def _recall(found: Any, exact: Any) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), exact.tolist())]))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("plan", PLANS[:2])
def test_finds_what_a_scan_finds(plan: str, metric: Metric, data: Any) -> None:
    x, q = data
    exact = nf.Plan("raw()").fit(x, metric=metric).search(q, k=10).rows
    hits = nf.Plan(plan).fit(x, metric=metric).search(q, k=10, budget=1000)
    assert _recall(hits.rows, exact) > 0.95
    assert hits.scored.mean() < 1500


@pytest.mark.parametrize("metric", METRICS)
def test_lines_tell_rows_of_one_cluster_apart(metric: Metric) -> None:
    x, q = _tight()
    exact = nf.Plan("raw()").fit(x, metric=metric).search(q, k=10).rows
    hits = nf.Plan("float16() | packed_graph()").fit(x, metric=metric).search(q, k=10, budget=600)
    assert _recall(hits.rows, exact) > 0.85


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("plan", PLANS)
def test_one_native_call_answers_as_step_by_step(
    plan: str, metric: Metric, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, q = data
    packed = nf.Plan(plan).fit(x, metric=metric)
    assert packed.now.search_compiled(q, 5, 400, None) is not None
    quick = packed.search(q, k=5, budget=400)
    monkeypatch.setattr(packed.now, "pipeline", None)
    slow = packed.search(q, k=5, budget=400)
    assert np.mean(quick.rows == slow.rows) > 0.95
    same = quick.rows == slow.rows
    np.testing.assert_allclose(quick.scores[same], slow.scores[same], rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("share", [0.5, 0.05])
def test_a_filter_is_kept_and_finds_enough(share: float, data: Any) -> None:
    x, q = data
    packed = nf.Plan(PLANS[0]).fit(x)
    allow = np.random.default_rng(1).random(len(x)) < share
    hits = packed.search(q, k=10, budget=200, allow=allow)
    assert allow[hits.rows].all()
    exact = nf.Plan("raw()").fit(x).search(q, k=10, allow=allow).rows
    assert _recall(hits.rows, exact) > 0.85


def test_threads_change_nothing(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, q = data
    found = []
    for threads in ("1", "3"):
        monkeypatch.setenv("NEARFIELD_THREADS", threads)
        packed = nf.Plan(PLANS[0]).fit(x)
        found.append((packed.columns["index.lines"], packed.columns["index.links"], packed.search(q, budget=300).rows))
    for a, b in zip(*found):
        np.testing.assert_array_equal(a, b)


SCRIPT = """
import sys, numpy as np, nearfield as nf
packed = nf.load(sys.argv[1])
hits = packed.search(np.load(sys.argv[2]), k=10, budget=300)
np.save(sys.argv[3], hits.rows)
"""


@pytest.mark.parametrize("drawn", [_rows, _tight])
def test_instruction_sets_agree(drawn: Any, tmp_path: Any) -> None:
    x, q = drawn()
    nf.Plan("lvq(bits=8) | packed_graph(degree=16, width=48, line=128)").fit(x).save(tmp_path / "p.nf")
    np.save(tmp_path / "q.npy", q)
    info = kernels.info()
    runs = [isa for isa in info["compiled"] if isa not in info["not run"]]
    found = []
    for isa in runs:
        out = tmp_path / f"{isa}.npy"
        names = [str(tmp_path / "p.nf"), str(tmp_path / "q.npy"), str(out)]
        subprocess.run([sys.executable, "-c", SCRIPT, *names], check=True, env=os.environ | {"NEARFIELD_ISA": isa})
        found.append(np.load(out))
    for rows in found[1:]:
        assert np.mean(rows == found[0]) > 0.995  # the order of float sums in the query's length differs


@pytest.mark.parametrize("d", [1, 3, 40, 300])
@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_lines_stand_for_rows(d: int, metric: Metric) -> None:
    rng = np.random.default_rng(d)
    x = (rng.normal(size=(500, d)) * np.linspace(2, 0.05, d) + 0.5).astype(np.float32)
    axes = Axes.of(x, 64)
    axes.check(d, 64)
    assert axes.digits.sum() <= 4 * (64 - END)
    lines = axes.lines(x, 64, metric)
    digits = np.stack([lines[:, : 64 - END] >> 2 * p & 3 for p in range(4)], axis=1).reshape(len(x), -1)
    values, at = np.zeros((len(x), len(axes.digits))), 0
    for j, count in enumerate(axes.digits):
        values[:, j] = digits[:, at : at + count] @ 4.0 ** np.arange(count) - (4.0**count - 1) / 2
        at += count
    ends = np.ascontiguousarray(lines[:, 64 - END :]).view(np.float16).astype(np.float64)
    back = ends[:, :1] * ((values * axes.steps) @ (axes.axes * axes.scales[:, None]))
    rest = x - axes.centre
    assert np.mean((back - rest) ** 2) < 0.1 * np.mean(rest**2)
    lengths = (rest.astype(np.float64) ** 2).sum(axis=1) / axes.size**2 / 2 if metric == "l2" else np.zeros(len(x))
    np.testing.assert_allclose(ends[:, 1], lengths, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("metric", METRICS)
def test_walks_that_see_lines_link_near_rows_as_well(metric: Metric, data: Any) -> None:
    x = data[0]
    if metric == "cosine":  # rows of one length, whose nearness is a dot product
        x, metric = x / np.linalg.norm(x, axis=1, keepdims=True), "dot"
    rows = ByteRows.of(iter([x]), len(x), metric)
    axes = Axes.of(x, 64)
    lined = Lined(axes.lines(x, 64, metric), axes, metric)
    near = nf.Plan("raw()").fit(x, metric="l2").search(x, k=9).rows[:, 1:]
    if metric == "dot":  # near means a large product there, for which rows are lifted to one length
        lift = np.sqrt(np.maximum((x**2).sum(axis=1).max() - (x**2).sum(axis=1), 0))
        lifted = np.concatenate([x, lift[:, None]], axis=1).astype(np.float32)
        near = nf.Plan("raw()").fit(lifted, metric="l2").search(lifted, k=9).rows[:, 1:]
    shares = []
    for seen in (None, lined):
        made = graphs.build(rows, degree=16, width=48, alpha=1.2, rng=np.random.default_rng(0), lined=seen)
        shares.append(np.mean([np.isin(a, b).mean() for a, b in zip(near, made.links)]))
    assert shares[0] > 0.3
    assert shares[1] > shares[0] - 0.02


def test_lines_of_other_rows_are_refused(data: Any) -> None:
    x = data[0][:200]
    rows = ByteRows.of(iter([x]), len(x), "l2")
    axes = Axes.of(x, 64)
    for other in (x[:-1], np.repeat(x, 3, axis=1)):
        made = Axes.of(other, 64)
        lined = Lined(made.lines(other, 64, "l2"), made, "l2")
        with pytest.raises(ValueError, match="a line for each row"):
            graphs.build(rows, degree=8, width=16, alpha=1.2, rng=np.random.default_rng(0), lined=lined)
    with pytest.raises(ValueError, match="lines"):
        Lined(axes.lines(x, 64, "l2")[:, :40].copy(), axes, "l2").native(rows.lift, rows.square)


@pytest.mark.parametrize("column", ["links", "entries", "lines"])
def test_damaged_columns_never_crash(column: str, data: Any) -> None:
    x, q = data
    packed = nf.Plan(PLANS[0]).fit(x)
    packed.columns[f"index.{column}"].view(np.uint8)[:] = 0xFF
    hits = packed.search(q, k=5, budget=300)
    assert ((hits.rows >= 0) & (hits.rows < len(x))).all()


@pytest.mark.parametrize("name", ["axes_", "scales_", "steps_", "digits_", "centre_", "size_", "metric_"])
def test_a_wrong_state_is_told(name: str, data: Any) -> None:
    packed = nf.Plan(PLANS[0]).fit(data[0])
    index = packed.fitted.index.fresh().restore(packed.fitted.index.state())
    good = getattr(index, name)
    setattr(index, name, good[:-1] if isinstance(good, np.ndarray) else None)
    with pytest.raises(Corrupt):
        index.attach(
            packed.index.rows, {n.removeprefix("index."): c for n, c in packed.columns.items() if "index." in n}
        )


def test_saved_and_loaded_it_is_the_same(data: Any, tmp_path: Any) -> None:
    x, q = data
    packed = nf.Plan(PLANS[2]).fit(x)
    packed.save(tmp_path / "p.nf")
    again = nf.load(tmp_path / "p.nf")
    np.testing.assert_array_equal(packed.search(q, budget=300).rows, again.search(q, budget=300).rows)
    assert again.bytes_per_row == packed.bytes_per_row


def test_far_and_even_rows_are_found() -> None:
    x = np.zeros((600, 8), np.float32)
    x[300:] = 1e4
    packed = nf.Plan(PLANS[0]).fit(x, metric="l2")
    assert packed.search(x[:1], k=3, budget=50).scores[0, 0] == 0
    assert len(nf.Plan(PLANS[0]).fit(x[300:301], metric="l2").search(x[:1], k=1).rows) == 1
