"""The parts of the adviser: intervals, prediction, frontier, files."""

from __future__ import annotations

import numpy as np
import pytest

import nearfield as nf
from nearfield.adviser.frontier import Wish, knee, mark_frontier
from nearfield.adviser.inputs import judgements, label_rows, pair_rows
from nearfield.adviser.lists import FAR, Curve, places, reorder
from nearfield.adviser.predict import Grown, predict
from nearfield.adviser.quality import Estimate, mean_interval, ndcg_values, others, spearman, vote_values
from nearfield.adviser.rows import Row
from nearfield.core.errors import BadInput, DataWarning, NearfieldError


def test_intervals_cover_the_truth():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        estimate = mean_interval(rng.binomial(10, 0.9, size=100) / 10)
        held += estimate.low <= 0.9 <= estimate.high
    assert 0.92 <= held / 400 <= 0.99


@pytest.mark.parametrize(("m", "mean"), [(5, 0.8), (12, 0.9), (40, 0.97), (200, 0.9), (400, 0.995)])
def test_intervals_hold_what_as_many_other_queries_find(m: int, mean: float) -> None:
    """Those of the mean hold it in 83 of 100; few queries, and means near 1, are held as well."""
    rng = np.random.default_rng(m)
    level = mean * 6, (1 - mean) * 6
    held = []
    for _ in range(400):
        values, theirs = (rng.binomial(10, rng.beta(*level, size=m)) / 10 for _ in range(2))
        estimate = others(mean_interval(values))
        held.append(estimate.low <= theirs.mean() <= estimate.high)
    assert np.mean(held) >= 0.93


def test_where_surfaces_differ_the_interval_is_wide() -> None:
    """Recall that bends where it is read: the points near there and all points promise different things."""
    k, rows = (v.ravel() for v in np.meshgrid([1.0, 2, 3, 5, 7, 10, 14, 20], [1000.0, 500, 250, 125]))
    rank = k * 8000 / rows

    def law(rank: np.ndarray, bend: float) -> np.ndarray:
        u = np.log(rank / 80)
        return 1 / (1 + np.exp(-(0.4 + 0.5 * u - bend * np.maximum(-u - 1, 0))))

    wide = []
    for bend in (0.0, 2.0):
        measured = Estimate(*(float(law(np.array(80.0), bend)) + e for e in (0, -0.01, 0.01)))
        made = predict(Curve(k, rank, law(rank, bend)), measured, 10, Grown(80.0, 8.0), 10_000)
        assert made.low <= law(np.array(10.0), bend) <= made.high
        wide.append(made.high - made.low)
    assert wide[1] > 1.5 * wide[0]


def test_spearman_against_known_values():
    assert spearman(np.array([1.0, 2, 3, 4]), np.array([10.0, 20, 30, 40])).value == pytest.approx(1)
    assert spearman(np.array([1.0, 2, 3, 4]), np.array([4.0, 3, 2, 1])).value == pytest.approx(-1)
    assert spearman(np.array([1.0, 2, 2, 3]), np.array([1.0, 2, 3, 4])).value == pytest.approx(0.9486833)


def test_ndcg_and_votes():
    assert ndcg_values(np.array([[5, 7, -1]]), [{5: 2.0, 7: 1.0}]) == pytest.approx([1.0])
    assert ndcg_values(np.array([[9, 5]]), [{5: 1.0}]) == pytest.approx([1 / np.log2(3)])
    labels = np.array([0, 1, 1, 0])
    assert vote_values(np.array([[0, 1, 2]]), labels, np.array([1])).tolist() == [1.0]
    assert vote_values(np.array([[0, 1]]), labels, np.array([0])).tolist() == [1.0]  # a tie goes to the nearest


def test_places_and_reorder():
    found = np.array([[4, 2, 0]])
    assert places(found, np.array([[0, 4, 3]]), 5).tolist() == [[2, 0, FAR]]
    assert reorder(found, np.array([[0, 1, 4, 2]]), 2, 5).tolist() == [[4, 2, -1, -1]]


def test_the_surface_is_read_where_it_was_made():
    """Recall that follows the law exactly is predicted exactly, far beyond the sample."""
    k, rows = (v.ravel() for v in np.meshgrid([1.0, 2, 3, 5, 7, 10, 14, 20], [1000.0, 500, 250, 125]))

    def law(k, n):
        return 1 / (1 + np.exp(-(0.4 + 0.5 * np.log(k / n * 100) - 0.3 / k)))

    measured = Estimate(law(10, 1000), law(10, 1000) - 0.01, law(10, 1000) + 0.01)
    for full in (1000, 4000, 9000, 90_000):
        curve = Curve(k, k * full / rows, law(k, rows))
        made = predict(curve, measured, 10, Grown(10 * full / 1000, full / 1000), 10_000)
        assert made.value == pytest.approx(law(10, full), abs=0.003)
        assert made.low < made.value < made.high


def row(plan: str, size: float, quality: float) -> Row:
    return Row(plan, size, 0, 1.0, {"recall@10": Estimate(quality, quality, quality)}, 1.0, 0.0, 0.0)


def test_frontier_and_knee():
    rows = [row("a", 10, 0.5), row("b", 20, 0.9), row("c", 25, 0.85), row("d", 100, 0.95), row("e", 100, 0.94)]
    mark_frontier(rows, "recall@10")
    assert [r.plan for r in rows if r.frontier] == ["a", "b", "d"]
    assert knee(rows, "recall@10").plan == "b"
    straight = [row("poor", 1, 0.16), row("good", 2, 1.0)]
    mark_frontier(straight, "recall@10")
    assert knee(straight, "recall@10").plan == "good"
    assert Wish(smaller=8, bytes=100).most_bytes(400) == 50


def test_files_beside_the_vectors(tmp_path):
    qrels = tmp_path / "qrels.tsv"
    qrels.write_text("query-id\tcorpus-id\tscore\nq1\td2\t1\nq2\td1\t2\nq9\td1\t1\n")
    with pytest.warns(DataWarning, match="1 of 3"):
        assert judgements(qrels, ["q1", "q2"], ["d1", "d2"]) == {0: {1: 1.0}, 1: {0: 2.0}}
    (tmp_path / "trec.txt").write_text("0 0 3 1\n")
    assert judgements(tmp_path / "trec.txt") == {0: {3: 1.0}}
    (tmp_path / "beir" / "qrels").mkdir(parents=True)
    (tmp_path / "beir" / "qrels" / "test.tsv").write_text("0\t1\t1\n")
    assert judgements(tmp_path / "beir") == {0: {1: 1.0}}
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    assert label_rows(tmp_path / "labels.txt").tolist() == [0, 1]
    (tmp_path / "labels.jsonl").write_text('{"label": 3}\n{"label": 4}\n')
    assert label_rows(tmp_path / "labels.jsonl").tolist() == [0, 1]
    (tmp_path / "pairs.tsv").write_text("i\tj\tscore\n0\t1\t4.5\n2\t3\t1\n")
    assert pair_rows(tmp_path / "pairs.tsv").tolist() == [[0, 1, 4.5], [2, 3, 1]]
    np.save(tmp_path / "pairs.npy", np.ones((4, 3)))
    assert pair_rows(tmp_path / "pairs.npy").shape == (4, 3)


@pytest.mark.parametrize("text", ["", "a\tb\n", "0\t0\t1\n0\t1\tmany\n"])
def test_bad_files_are_refused(tmp_path, text):
    file = tmp_path / "bad.tsv"
    file.write_text(text)
    with pytest.raises(NearfieldError, match=r"bad\.tsv"):
        judgements(file)
    with pytest.raises(BadInput):
        pair_rows(tmp_path / "missing.tsv")


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_picture(tmp_path, suffix):
    pytest.importorskip("matplotlib")
    x = np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32)
    advice = nf.advise(x, bytes=12, sample=300, verify=False)
    advice.plot(tmp_path / f"picture.{suffix}")
    start = (tmp_path / f"picture.{suffix}").read_bytes()[:200]
    assert start.startswith(b"\x89PNG") if suffix == "png" else b"<?xml" in start
    with pytest.raises(BadInput, match=r"\.png or \.svg"):
        advice.plot(tmp_path / "picture.jpg")
