"""Columns that stay on disk: the same answers, damage found where it is read, counters that are true."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import nearfield as nf
from nearfield.core.arrays import as_batch
from nearfield.core.errors import BadInput, Corrupt, Unsupported
from nearfield.core.protocols import Metric
from nearfield.numerics import kernels
from nearfield.search.apart import encode_apart, fit_apart, gather_codes, open_codes
from nearfield.search.decoded import mapped_rows
from nearfield.search.packed import Packed
from nearfield.search.tiers import DiskColumn, as_bytes, choose, sizes
from nearfield.store.segments import CHUNK, PAGE, Segment

N, D, K = 4000, 48, 10
PLANS = [
    "lvq(bits=4) | vamana(degree=12) | rescore(codec='float16', depth=5)",
    "pca(dim=24) | int8() | rescore(codec='raw', depth=4)",
    "lvq(bits=4) | vamana(degree=12) | rescore(codec='lvq(bits=8)', depth=8) | rescore(codec='float16', depth=3)",
    "lvq(bits=4) | vamana(degree=12) | rescore(codec='lvq(bits=8)', depth=5, of='residual')",
    "pq(parts=12) | rescore(codec='rabitq(bits=4)', depth=5)",
    "lvq(bits=4) | vamana(degree=12) | rescore(codec='pq(parts=24)', depth=5)",
    "pq(parts=12) | ivf(lists=20) | rescore(codec='float16', depth=5)",
    "int8() | hnsw(degree=12) | rescore(codec='float16', depth=3)",
]


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)


@pytest.fixture(scope="module")
def queries() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(40, D)).astype(np.float32)


@pytest.fixture(scope="module")
def saved(rows: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiers") / "a.nf"
    nf.Plan(PLANS[0]).fit(rows, ids=[f"r{i}" for i in range(N)]).save(path)
    return path


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(saved, tmp_path / "copy.nf"))


def smallest(path: Path) -> int:
    """Bytes with which only what every search goes through stays in memory."""
    return nf.load(path).least_memory


def tiered(path: Path) -> Packed:
    packed = nf.load(path, memory=smallest(path))
    assert packed.on_disk
    return packed


@pytest.mark.parametrize("metric", ["cosine", "l2", "dot"])
@pytest.mark.parametrize("plan", PLANS)
def test_answers_are_those_of_memory(
    plan: str, metric: str, rows: np.ndarray, queries: np.ndarray, tmp_path: Path
) -> None:
    packed = nf.Plan(plan).fit(rows, metric=metric)
    packed.save(tmp_path / "a.nf")
    other = tiered(tmp_path / "a.nf")
    allow = np.random.default_rng(2).random(N) < 0.3
    for filter_ in (None, allow):
        want, got = packed.search(queries, K, allow=filter_), other.search(queries, K, allow=filter_)
        np.testing.assert_array_equal(got.rows, want.rows)
        np.testing.assert_array_equal(got.scores, want.scores)
        one = other.search(queries[3], K, allow=filter_)
        np.testing.assert_array_equal(one.rows[0], want.rows[3])
    np.testing.assert_array_equal(other.search(queries, N).rows[:, :50], packed.search(queries, N).rows[:, :50])


def test_answers_without_native_code_are_the_same(
    saved: Path, queries: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rows = saved, np.array([0, 5, N - 1, 5, 777])
    native = DiskColumn(Segment(path, None), "rescore0", (N, 2 * D)).take(rows)
    monkeypatch.setattr(kernels, "native", lambda: None)
    plain = DiskColumn(Segment(path, None), "rescore0", (N, 2 * D))
    assert plain.native is None
    for _ in range(2):  # read by pages, and again when they are checked
        np.testing.assert_array_equal(plain.take(rows), native)
    assert plain.counts()["wanted"] == 2 * len(rows)
    np.testing.assert_array_equal(native, Segment(path, None).column("rescore0")[rows])


def test_counters_are_true(saved: Path, queries: np.ndarray) -> None:
    packed = tiered(saved)
    assert packed.tier_stats()["rescore0"]["searches"] == 0
    hits = packed.search(queries, K)
    told = packed.tier_stats()["rescore0"]
    assert told["searches"] == len(queries)
    assert told["wanted"] == hits.rescored.sum() == 5 * K * len(queries)
    assert told["rounds"] == len(queries)  # a short list is wanted at once
    assert told["ready"] <= told["wanted"]
    assert 0.8 * told["wanted"] < told["early"] <= told["wanted"]
    assert told["reads"] <= told["early"] + told["unused"] + told["wanted"]
    assert told["bytes"] >= told["reads"] * 2 * D
    assert told["rounds_a_search"] == 1
    assert told["hit_rate"] == told["ready"] / told["wanted"]
    before = told["bytes"]
    packed.search(queries, K)
    again = packed.tier_stats()["rescore0"]
    assert again["bytes"] - before == (again["reads"] - told["reads"]) * 2 * D  # checked pages are not read again


@pytest.mark.parametrize("way", ["hop", "post"])
def test_rows_are_asked_for_early_under_a_filter(way: str, saved: Path, queries: np.ndarray) -> None:
    packed = tiered(saved)
    packed.index.prefer(way)
    hits = packed.search(queries, K, allow=np.arange(N) % 2 > 0)
    told = packed.tier_stats()["rescore0"]
    assert told["wanted"] == hits.rescored.sum()
    assert 0.5 * told["wanted"] < told["early"] <= told["wanted"]
    assert told["unused"] < told["wanted"]


def test_rows_on_disk_do_not_change(saved: Path, rows: np.ndarray, queries: np.ndarray, tmp_path: Path) -> None:
    packed = tiered(saved)
    with pytest.raises(Unsupported, match=r"rescore0.*memory="):
        packed.add(rows[:2], ids=["new", "newer"])
    assert len(packed) == N
    packed.search(queries, K)
    whole = nf.load(saved)
    assert whole.delete(["r3", "r7"]) == 2
    whole.save(tmp_path / "b.nf")
    other = tiered(tmp_path / "b.nf")  # deleted rows are left out by a mask
    np.testing.assert_array_equal(other.search(queries, K).rows, whole.search(queries, K).rows)
    assert not np.isin(other.search(rows[[3, 7]], K).rows, (3, 7)).any()


def test_the_budget_decides_what_is_on_disk(saved: Path) -> None:
    whole = nf.load(saved)
    assert nf.load(saved, memory=whole.nbytes).on_disk == {}
    packed = nf.load(saved, memory=whole.nbytes - 200_000)
    assert set(packed.on_disk) == {"rescore0"}
    assert packed.nbytes == whole.nbytes - N * 2 * D
    assert packed.bytes_per_row == whole.bytes_per_row
    least = smallest(saved)
    names = sum(c.nbytes for name, c in whole.columns.items() if name.startswith("ids."))
    assert least == packed.nbytes - names
    with pytest.raises(BadInput, match=rf"takes {least} bytes, more than {least - 1}"):
        nf.load(saved, memory=least - 1)


def test_the_largest_leave_first(rows: np.ndarray) -> None:
    packed = nf.Plan(PLANS[2]).fit(rows)
    kept, movable = sizes(packed.fitted, packed.columns)
    assert kept == packed.least_memory
    assert movable == {"rescore0": N * (D + 4), "rescore1": N * 2 * D}
    choices = {kept + sum(movable.values()): [], kept + N * (D + 4): ["rescore1"], kept: ["rescore1", "rescore0"]}
    for memory, want in choices.items():
        assert choose(packed.fitted, packed.columns, memory, "a") == want
        if memory > kept:
            assert choose(packed.fitted, packed.columns, memory - 1, "a") != want


@pytest.mark.parametrize(("given", "want"), [(12, 12), ("12", 12), ("1.5 kB", 1500), ("2MiB", 2 << 20), ("1gb", 10**9)])
def test_sizes(given: object, want: int) -> None:
    assert as_bytes(given) == want  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [-1, "lots", "1 parsec", True, 1.5, None.__class__])
def test_sizes_that_are_none(given: object, saved: Path) -> None:
    with pytest.raises(BadInput, match="memory:"):
        nf.load(saved, memory=given)  # type: ignore[arg-type]


def damage(path: Path, column: str, at: int) -> None:
    segment = Segment(path, None)
    offset, _ = segment.place(column)
    with open(path, "r+b") as file:
        file.seek(offset + at)
        byte = file.read(1)
        file.seek(offset + at)
        file.write(bytes([byte[0] ^ 0xFF]))


def test_a_damaged_row_is_found_when_it_is_read(copy: Path, rows: np.ndarray) -> None:
    damage(copy, "rescore0", 3000 * 2 * D + 7)
    packed = tiered(copy)
    far = np.arange(N) < 2500
    assert (packed.search(rows[:20], K, allow=far).rows[:, 0] == np.arange(20)).all()
    for _ in range(2):  # and again: what is damaged is never taken for checked
        with pytest.raises(Corrupt, match=r"copy\.nf.*rescore0.*damaged at offset"):
            packed.search(rows[3000], K)
    with pytest.raises(Corrupt, match="rescore0"):
        packed.verify()


def test_damaged_checksums_are_found(copy: Path, rows: np.ndarray) -> None:
    damage(copy, "rescore0.pages", 1)
    with pytest.raises(Corrupt, match=r"rescore0\.pages"):
        tiered(copy)


def test_a_mapped_row_is_checked_without_its_mib(copy: Path, rows: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    segment = Segment(copy, None)
    segment.column("rescore0", verify=False)
    damage(copy, "rescore0", 2 * PAGE + 1)
    segment.touch_rows("rescore0", np.array([0, 1, 3000]), 2 * D)
    with pytest.raises(Corrupt, match="rescore0"):
        segment.touch_rows("rescore0", np.array([2 * PAGE // (2 * D)]), 2 * D)


def test_a_file_without_checksums_of_pages_is_read_too(
    rows: np.ndarray, queries: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = nf.Plan(PLANS[0]).fit(rows)
    with monkeypatch.context() as patch:
        patch.setattr("nearfield.search.file.read_by_rows", lambda name, index: False)
        packed.save(tmp_path / "old.nf")
    assert not Segment(tmp_path / "old.nf", None).paged("rescore0")
    other = tiered(tmp_path / "old.nf")
    np.testing.assert_array_equal(other.search(queries, K).rows, packed.search(queries, K).rows)
    assert other.tier_stats()["rescore0"]["bytes"] < 2 * CHUNK + 2 * len(queries) * 5 * K * 2 * D
    damage(tmp_path / "old.nf", "rescore0", 99)
    with pytest.raises(Corrupt, match=r"old\.nf"):
        tiered(tmp_path / "old.nf").search(queries, K)


@pytest.mark.skipif(os.name == "nt", reason="an open file keeps its name there")
def test_a_file_that_lost_its_name_is_still_searched(copy: Path, rows: np.ndarray) -> None:
    packed = tiered(copy)
    copy.unlink()
    assert packed.search(rows[:5], K).rows[:, 0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.skipif(os.name == "nt", reason="an open file keeps its length there")
def test_a_file_cut_short_while_open(copy: Path) -> None:
    column = DiskColumn(Segment(copy, None), "rescore0", (N, 2 * D))
    os.truncate(copy, column.segment.place("rescore0")[0] + 1000 * 2 * D)
    column.take(np.array([0, 500]))
    with pytest.raises(Corrupt, match=r"copy\.nf.*cut short"):
        column.take(np.array([3999]))


def test_rows_beyond_the_end_are_refused(saved: Path) -> None:
    column = DiskColumn(Segment(saved, None), "rescore0", (N, 2 * D))
    for row in (-1, N):
        with pytest.raises(ValueError, match="out of range"):
            column.take(np.array([row]))


def test_many_threads_find_the_same(saved: Path, rows: np.ndarray) -> None:
    packed, alone = tiered(saved), nf.load(saved)
    want = alone.search(rows[:200], K).rows
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda i: packed.search(rows[i], K).rows[0], range(200)))
    np.testing.assert_array_equal(np.array(got), want)
    assert packed.tier_stats()["rescore0"]["searches"] == 200


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_reads_on(saved: Path, rows: np.ndarray) -> None:
    packed = tiered(saved)
    want = packed.search(rows[:20], K).rows.tolist()
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe()
    child = context.Process(target=lambda: theirs.send(packed.search(rows[:20], K).rows.tolist()))
    child.start()
    assert mine.poll(60)
    assert mine.recv() == want
    child.join()


def test_saved_again_it_is_whole(saved: Path, tmp_path: Path, queries: np.ndarray) -> None:
    packed = tiered(saved)
    packed.save(tmp_path / "b.nf")
    assert (tmp_path / "b.nf").read_bytes() == saved.read_bytes()


DISKGRAPH = "lvq(bits=4) | diskgraph(degree=12, cached=50)"


@pytest.mark.parametrize("values", ["float16", "float32"])
@pytest.mark.parametrize("metric", ["cosine", "l2", "dot"])
def test_a_graph_on_disk_finds_what_it_finds_in_memory(
    metric: str, values: str, rows: np.ndarray, queries: np.ndarray, tmp_path: Path
) -> None:
    packed = nf.Plan(f"lvq(bits=4) | diskgraph(degree=12, cached=50, values='{values}')").fit(rows, metric=metric)
    packed.save(tmp_path / "a.nf")
    other = nf.load(tmp_path / "a.nf")
    assert set(other.on_disk) == {"index.nodes"}
    truth = nf.Plan("raw()").fit(rows, metric=metric).search(queries, N)
    for allow in (None, np.arange(N) % 3 > 0, np.arange(N) < 30):
        want = packed.search(queries, K, budget=2000, allow=allow)
        got = other.search(queries, K, budget=2000, allow=allow)
        np.testing.assert_array_equal(got.rows, want.rows)
        np.testing.assert_array_equal(got.scores, want.scores)
        one = other.search(queries[1], K, budget=2000, allow=allow)
        np.testing.assert_array_equal(one.rows[0], want.rows[1])
        if allow is None:  # scores are those of the vectors, not of the codes
            at = [dict(zip(r, s)) for r, s in zip(truth.rows, truth.scores)]
            exact = np.array([[by[row] for row in found] for by, found in zip(at, got.rows)])
            np.testing.assert_allclose(got.scores, exact, atol=2e-3 * np.abs(truth.scores).max())
            assert np.mean([np.isin(r, t[:K]).mean() for r, t in zip(got.rows, truth.rows)]) > 0.85
    told = other.tier_stats()["index.nodes"]
    assert 0 < told["reads_a_search"] < 400
    assert other.bytes_per_row > packed.fitted.codec.bytes_per_row + 2 * D


@pytest.mark.parametrize("d", [1, 3, 2000])
def test_nodes_of_any_size_lie_in_blocks(d: int, tmp_path: Path) -> None:
    x = np.random.default_rng(3).normal(size=(300, d)).astype(np.float32)
    packed = nf.Plan("int8() | diskgraph(degree=12, values='float32', cached=3)").fit(x, metric="l2")
    assert packed.columns["index.nodes"].shape[1] % PAGE == 0
    packed.save(tmp_path / "a.nf")
    other = nf.load(tmp_path / "a.nf")
    got = other.search(x[:50], 1, budget=250)
    assert (got.rows[:, 0] == np.arange(50)).mean() > 0.9
    np.testing.assert_array_equal(got.rows, packed.search(x[:50], 1, budget=250).rows)


def test_a_graph_on_disk_that_changes_keeps_the_vectors_it_had(rows: np.ndarray, tmp_path: Path) -> None:
    nf.Plan(DISKGRAPH).fit(rows[:500], metric="l2", out=tmp_path / "a.nf")
    packed = nf.load(tmp_path / "a.nf")
    assert packed.delete(rows=[3, 7]) == 2
    assert packed.on_disk == {}
    packed.add(rows[500:600])
    kept = rows[:500].astype(np.float16).astype(np.float32)
    for _ in range(2):  # late rows are scanned, then linked
        got = mapped_rows(packed, np.arange(600))
        np.testing.assert_array_equal(got[:500], kept)
        late = packed.fitted.codec.decode(packed.codes(np.arange(500, 600)))
        np.testing.assert_allclose(got[500:], late, rtol=1e-3, atol=1e-3)
        found = packed.search(rows[:600], 1, budget=500).rows[:, 0]
        assert (found == np.arange(600)).mean() > 0.9
        assert not np.isin(found, (3, 7)).any()
        packed.consolidate()
    packed.compact()
    packed.save(tmp_path / "b.nf")
    other = nf.load(tmp_path / "b.nf")
    assert set(other.on_disk) == {"index.nodes"}
    np.testing.assert_array_equal(mapped_rows(other, np.array([3, 5])), kept[[4, 6]])


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_a_graph_of_joined_sets_keeps_the_vectors_themselves(metric: Metric, rows: np.ndarray, tmp_path: Path) -> None:
    fitted = fit_apart(nf.Plan(DISKGRAPH), as_batch(rows[:900]), metric=metric, queries=None, rng=0, on_zero="raise")
    parts = []
    for i in range(2):
        encode_apart(tmp_path / f"{i}.nf", fitted, as_batch(rows[500 * i : 500 * i + 500]), on_zero="raise")
        parts.append(open_codes(tmp_path / f"{i}.nf", fitted, 500))
    gather_codes(tmp_path / "all.nf", [(parts[0], np.arange(0, 500, 2)), (parts[1], np.arange(500))])
    whole = open_codes(tmp_path / "all.nf", fitted, 750)
    want = np.concatenate([rows[0:500:2], rows[500:1000]])
    if metric == "cosine":
        want = want / np.linalg.norm(want, axis=1, keepdims=True)
    np.testing.assert_allclose(mapped_rows(whole, np.arange(750)), want, rtol=1e-3, atol=1e-6)
    assert (whole.search(want[:50], 1, budget=600).rows[:, 0] == np.arange(50)).mean() > 0.9


def test_a_damaged_node_is_found_when_it_is_read(rows: np.ndarray, queries: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "nodes.nf"
    nf.Plan(DISKGRAPH).fit(rows, out=path)
    size = Segment(path, None).place("index.nodes")[1]
    for block in range(0, size, PAGE):
        damage(path, "index.nodes", block + 5)
    packed = nf.load(path)
    with pytest.raises(Corrupt, match=r"nodes\.nf.*index\.nodes"):
        packed.search(queries, K)
    assert (packed.search(rows[:5], 1, budget=N).rows[:, 0] == np.arange(5)).all()  # of the codes alone


def test_links_that_lead_nowhere_are_not_followed(rows: np.ndarray, queries: np.ndarray) -> None:
    packed = nf.Plan(DISKGRAPH).fit(rows)
    packed.columns["index.nodes"][:] = 255
    hits = Packed(packed.fitted, packed.columns).search(queries, K)
    assert (hits.rows < N).all()


def test_texts_are_checked_one_by_one(rows: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "texts.nf"
    nf.Plan("int8()").fit(rows, texts=[f"text {i} " + "x" * 500 for i in range(N)], out=path)
    damage(path, "texts.bytes", 3000 * 500)
    packed = nf.load(path)
    hits = packed.search(rows[:3], 1)
    assert [hit[0].text.split()[1] for hit in hits] == ["0", "1", "2"]
    assert packed.texts is not None
    with pytest.raises(Corrupt, match=r"texts\.nf.*texts\.bytes"):
        [packed.texts[i] for i in range(2900, 3000)]


def test_values_beyond_float16_are_refused() -> None:
    x = 1e5 * np.random.default_rng(3).normal(size=(40, 8)).astype(np.float32)
    with pytest.raises(BadInput, match="diskgraph: float16"):
        nf.Plan("raw() | diskgraph()").fit(x, metric="l2")
    packed = nf.Plan("raw() | diskgraph(values='float32')").fit(x, metric="l2")
    assert np.isfinite(packed.search(x, k=3, budget=20).scores).all()
