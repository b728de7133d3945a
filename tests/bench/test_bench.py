"""The runner works from end to end on a few rows; no time and no quality is asserted here."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]

COMPRESSION = """
kind = "compression"
budgets = [8, 32]
[rows]
rows = 300
queries = 20
k = 5
[targets]
8 = 0.01
[nearfield]
plans = ["transform(bytes=8)", "int8(gain=False)", "transform(bytes=8) | rescore(depth=4)", "nothing()"]
[faiss]
decoded = ["SQ8", "PQ8x4"]
native = ["RaBitQ"]
[turboquant]
pca = [[16, 2]]
"""
JUDGED = """
kind = "judged"
sets = ["scifact"]
plans = ["raw()", "float8()"]
[texts]
tokenizers = ["snowball", "unicode61(stop_words='english')"]
"""
SCAN = """
kind = "scan"
[rows]
rows = 300
batch = 4
single = 2
k = 5
repeats = 2
[[group]]
name = "int8"
nearfield = ["int8(gain=False)"]
peers = ["numpy float32", "faiss SQ8", "numkong int8"]
limit = 1.0
[[group]]
name = "Hamming"
nearfield = ["bits()"]
peers = ["faiss-binary"]
"""
DENSE = """
kind = "dense"
targets = [0.5, 0.9]
[rows]
rows = 300
queries = 20
k = 5
rounds = 2
[classes]
tiny = 60
fast = 1_000_000
[[nearfield]]
efforts = [60, 300]
plans = ["int8(gain=False)", "nothing()"]
[[peer]]
engine = "faiss"
factory = "HNSW8,Flat"
efforts = [5, 40]
[[peer]]
engine = "faiss"
factory = "IVF4,PQ16x4fs,RFlat"
efforts = [[1, 2], [4, 8]]
"""
FILTERED = """
kind = "filtered"
shares = [0.02, 0.5]
peer_shares = [0.1]
targets = [0.5, 0.9]
[rows]
rows = 300
queries = 40
k = 5
rounds = 1
[classes]
fast = 1_000_000
[[crossing]]
budget = 200
ways = ["scan", "post"]
plans = ["float16() | vamana(degree=8, width=20)"]
[[nearfield]]
efforts = [300]
plans = ["int8(gain=False)"]
[[peer]]
engine = "faiss"
factory = "Flat"
efforts = [0]
[[peer]]
engine = "faiss"
factory = "PQ16x4fs"
efforts = [0]
"""
GROWTH = """
kind = "growth"
targets = [0.5]
[rows]
source = "drawn"
fit = 200
sizes = [100, 200, 400]
queries = 20
k = 5
rounds = 1
[classes]
fast = 1_000_000
[[nearfield]]
efforts = [500]
plans = ["int8(gain=False)"]
"""
SCORED = """
kind = "scored"
sources = ["real"]
scored = [1, 150, 200]
[rows]
rows = 400
queries = 20
k = 5
[[nearfield]]
efforts = [60, 120, 250]
plans = ["float16() | vamana(degree=8, width=20)"]
[[peer]]
engine = "faiss"
factory = "HNSW8,Flat"
efforts = [10, 40, 200]
[[peer]]
engine = "hnswlib"
M = 8
efforts = [10, 40, 200]
[[peer]]
engine = "hnswlib"
M = 9
efforts = [10]
"""
NORMS = """
kind = "scored"
metric = "dot"
sources = ["lognormal", "pareto", "factors"]
scored = [150]
[rows]
rows = 400
queries = 20
k = 5
[[nearfield]]
efforts = [60, 200]
plans = ["float16() | vamana(degree=8, width=20)"]
"""
ADVISE = """
kind = "advise"
threads = 1
keep = 0.9
k = 5
queries = 20
[limits]
seconds = 60
[[set]]
name = "few"
rows = "retrieval/arxiv60k/doc_title_minilm_f16.npy"
queries = "retrieval/arxiv60k/heldout_title_minilm_f16.npy"
keywords = { k = 5, sample = 200, plans = ["int8()", "transform(bytes=8)"], verify = false }
"""

ENCODERS = """
kind = "encoders"
sets = ["scifact"]
encoders = ["static", "static 1", "nothing"]
"""

TIERS = """
kind = "tiers"
[rows]
rows = 500
queries = 10
cold = 3
k = 5
[[way]]
plan = "int8() | rescore(codec='float16', depth=4)"
budget = 500
memory = "20kB"
"""


@pytest.fixture
def tiny(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A folder like the shared one, with 300 rows of 32 dimensions."""
    arxiv = tmp_path / "data/retrieval/arxiv60k"
    scifact = tmp_path / "data/retrieval/scifact"
    for folder in (arxiv, scifact):
        folder.mkdir(parents=True)
    x = (rng.normal(size=(400, 32)) * np.linspace(2, 0.3, 32)).astype(np.float16)
    np.save(arxiv / "doc_title_minilm_f16.npy", x[:300])
    np.save(arxiv / "heldout_title_minilm_f16.npy", x[300:360])
    np.save(arxiv / "query_minilm_f16.npy", x[340:400])
    for name, count in (("papers", 300), ("heldout_papers", 60)):
        with gzip.open(arxiv / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            papers = ({"primary": f"f{i % 3}", "created": f"20{i % 20:02}-01-01"} for i in range(count))
            file.writelines(json.dumps(p) + "\n" for p in papers)
    np.save(scifact / "doc_minilm_f16.npy", x[:60])
    np.save(scifact / "query_minilm_f16.npy", x[:4])
    for name, count in (("corpus", 60), ("queries", 4)):
        with gzip.open(scifact / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps({"id": i, "text": f"word{i} of rows"}) + "\n" for i in range(count))
    lines = ["query_id\tdoc_id\trelevance", *(f"{q}\t{q}\t1" for q in range(4))]
    (scifact / "qrels.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def bench(tiny: Path, *flags: str, **suites: str) -> subprocess.CompletedProcess[str]:
    """Run suites in a process of their own: the runner sizes thread pools before NumPy is loaded."""
    for name, text in suites.items():
        (tiny / f"{name}.toml").write_text(text, encoding="utf-8")
    files = [str(tiny / f"{name}.toml") for name in suites]
    command = [
        sys.executable,
        str(ROOT / "bench/run.py"),
        *files,
        *flags,
        "--data",
        str(tiny),
        "--out",
        str(tiny / "kept"),
    ]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *filter(None, sys.path)])}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)


def kept(tiny: Path, suite: str) -> list[dict]:
    return [json.loads(line) for line in (tiny / "kept" / f"{suite}.jsonl").read_text(encoding="utf-8").splitlines()]


def test_compression_judged_scan_and_tables(tiny: Path) -> None:
    done = bench(tiny, compression=COMPRESSION, judged=JUDGED, scan=SCAN)
    assert done.returncode == 0, done.stderr
    assert "left out: nothing()" in done.stdout
    rows = kept(tiny, "compression")
    names = {r["name"]: r for r in rows if r["part"] == "recall" and r["engine"] == "nearfield"}
    assert names["transform(bytes=8)"]["bytes"] == 8
    assert names["int8(gain=False)"]["bytes"] == 32
    assert all(0 <= v <= 1 for r in names.values() for v in r["recall"].values())
    judged = kept(tiny, "judged")
    assert {r["name"] for r in judged if r["part"] == "ndcg"} == {"raw()", "float8()"}
    texts = {(r["engine"], r["name"]): r["sets"]["scifact"] for r in judged if r["part"] == "text"}
    assert texts["nearfield", "snowball"]["ndcg10"] == 1  # each query is the text of its row
    assert texts["nearfield", "unicode61(stop_words='english')"]["low"] == 1
    for r in rows + judged:
        assert {"machine", "versions", "date", "commit", "suite", "threads"} <= set(r)
        assert str(tiny) not in json.dumps(r)
    timed = [r for r in kept(tiny, "scan") if r["part"] == "scan"]
    assert {r["mode"] for r in timed} == {"batch", "single"}
    ours = [r for r in timed if r["engine"] == "nearfield" and r["group"] == "int8"]
    assert ours
    assert all("numpy: float32 BLAS" in r["ratios"] for r in ours)
    _tables(tiny)


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the cache of a file is not dropped here")
def test_tiers(tiny: Path) -> None:
    done = bench(tiny, tiers=TIERS)
    assert done.returncode == 0, done.stderr
    rows = [r for r in kept(tiny, "tiers") if r["part"] == "search"]
    assert [(r["memory"], r["cold"]) for r in rows] == [(None, False), ("20kB", False), ("20kB", True)]
    assert all(r["recall"] > 0.9 and r["resident"]["VmRSS"] > 0 for r in rows)
    assert "disk" not in rows[0]
    assert rows[2]["disk"]["rows"] == 20
    assert str(tiny) not in json.dumps(rows)
    assert "| 20kB, cold |" in _page(tiny)


def test_dense(tiny: Path) -> None:
    pytest.importorskip("faiss")
    kept_builds = ["--builds", str(tiny / "builds")]
    done = bench(tiny, *kept_builds, dense=DENSE)
    assert done.returncode == 0, done.stderr
    assert "left out: nearfield: nothing()" in done.stdout
    rows = [r for r in kept(tiny, "dense") if r["part"] == "dense"]
    assert {r["mode"] for r in rows} == {"single", "batch"}
    assert {r["engine"] for r in rows} == {"nearfield", "faiss"}
    exact = next(r for r in rows if r["engine"] == "nearfield")
    assert exact["class"] == "tiny"
    assert exact["bytes"] >= 32
    assert exact["at"]["0.9"]["median"] > 0
    assert all(p["p50_ms"] <= p["p99_ms"] for r in rows if r["mode"] == "single" for p in r["points"])
    verdicts = [r for r in kept(tiny, "dense") if r["part"] == "verdict"]
    assert len(verdicts) == 2 * 2 * 2
    assert all(r["peer"] is None for r in verdicts if r["class"] == "tiny")
    assert "Queries a second: real rows" in _page(tiny)
    again = bench(tiny, *kept_builds, "--only", "HNSW8", dense=DENSE)
    assert "HNSW8,Flat, efConstruction 200: read back" in again.stdout, again.stdout
    assert {r["engine"] for r in kept(tiny, "dense") if r["part"] == "dense"} == {"faiss"}


def test_filtered(tiny: Path) -> None:
    pytest.importorskip("faiss")
    done = bench(tiny, filtered=FILTERED)
    assert done.returncode == 0, done.stderr
    assert "left out: faiss: PQ16x4fs" in done.stdout
    rows = kept(tiny, "filtered")
    crossed = [r for r in rows if r["part"] == "crossing"]
    assert {(r["filter"], r["share"]) for r in crossed} == {
        (f, s) for f in ("drawn", "date", "field, own", "field, other") for s in (0.02, 0.5)
    }
    assert all(r["ways"]["planner"]["us"]["median"] > 0 for r in crossed)
    assert all(r["ways"]["planner"]["recall"] == 1 for r in crossed if r["share"] == 0.02)
    flat = [r for r in rows if r["part"] == "filtered" and r["engine"] == "faiss"]
    assert len(flat) == 4
    assert all(r["points"][0]["recall"] == 1 for r in flat)
    assert {r["target"] for r in rows if r["part"] == "verdict"} == {0.5, 0.9}
    assert "## Filters" in _page(tiny)


def test_recall_at_equal_rows_scored(tiny: Path) -> None:
    pytest.importorskip("faiss")
    pytest.importorskip("hnswlib")
    done = bench(tiny, scored=SCORED)
    assert done.returncode == 0, done.stderr
    assert "left out: hnswlib: M 9" in done.stdout  # no graph of faiss is like it
    rows = kept(tiny, "scored")
    found = {r["engine"]: r for r in rows if r["part"] == "scored"}
    assert found.keys() == {"nearfield", "faiss", "hnswlib"}
    counts = [[p["scored"] for p in r["points"]] for r in found.values()]
    assert all(c == sorted(c) and c[0] > 0 and c[-1] <= 400 + 10 for c in counts)
    assert counts[1] == counts[2]
    assert all(r["at"]["1"] is None for r in found.values())
    last = [r for r in rows if r["part"] == "verdict"][-1]
    assert last["ahead"] == pytest.approx(last["nearfield"]["recall"] - last["peer"]["recall"], abs=1e-4)
    assert "## Recall at equal rows scored" in _page(tiny)


def test_recall_of_rows_that_differ_in_length(tiny: Path, rng: np.random.Generator) -> None:
    folder = tiny / "data/recsys/lastfm"
    folder.mkdir(parents=True)
    plays = (f"{u},{i},{c}" for u, i, c in rng.integers(1, 300, (4000, 3)))
    with gzip.open(folder / "train.csv.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(["user,item,count", *plays]))
    done = bench(tiny, norms=NORMS)
    assert done.returncode == 0, done.stderr
    rows = kept(tiny, "norms")
    assert [r["of"] for r in rows if r["part"] == "settings"] == ["lognormal", "pareto", "factors"]
    found = {r["of"]: r["points"][-1] for r in rows if r["part"] == "scored"}
    assert all(p["recall"] > 0.8 for p in found.values())
    assert "## Recall at equal rows scored, by products of unequal lengths" in _page(tiny)


def test_growth_over_drawn_rows(tiny: Path) -> None:
    done = bench(tiny, dense_growth=GROWTH)
    assert done.returncode == 0, done.stderr
    assert "## Growing rows" in _page(tiny)
    rows = kept(tiny, "dense_growth")
    assert [r["rows"] for r in rows if r["part"] == "growth"] == [100, 200, 400]
    exponents = next(r["exponents"] for r in rows if r["part"] == "exponents")
    assert 0.5 < exponents["bytes"] <= 1.01
    assert exponents["query at 0.5"] is not None


def test_encoders_are_compared_with_the_first(tiny: Path) -> None:
    done = bench(tiny, encoders=ENCODERS)
    assert done.returncode == 0, done.stderr
    assert "left out: nothing" in done.stdout
    first, second = kept(tiny, "encoders")
    assert (first["name"], second["name"]) == ("static", "static 1")
    told = second["sets"]["scifact"]
    assert told["n"] == 4
    assert told["interval"][0] <= told["value"] <= told["interval"][1]
    assert told["first_ahead"] == 0  # all texts are alike
    assert told["first_minus_this"] == [0, 0]
    assert "first_minus_this" not in first["sets"]["scifact"]
    page = _page(tiny)
    assert "## Encoders of texts" in page
    value, (low, high) = told["value"], told["interval"]
    assert f"| static 1 | {value:.4f} ({low:.3f} to {high:.3f}), +0.0000 (+0.000 to +0.000) |" in page


def test_spearman_shares_ranks() -> None:
    sys.path.insert(0, str(ROOT))
    try:
        from bench import encoders
    finally:
        sys.path.remove(str(ROOT))
    assert encoders.spearman(np.array([1.0, 2, 2, 3]), np.array([1.0, 2, 2, 9])) == pytest.approx(1)
    assert encoders.spearman(np.array([1.0, 2, 2, 4]), np.array([4.0, 2, 3, 1])) == pytest.approx(-0.9486833)


def test_drawn_rows_lie_as_the_rows_that_they_were_fitted_to(rng: np.random.Generator) -> None:
    sys.path.insert(0, str(ROOT))
    try:
        from bench import data, generator
    finally:
        sys.path.remove(str(ROOT))
    flat = rng.normal(size=(2100, 6)) @ rng.normal(size=(6, 24))  # six dimensions in 24
    rows = data.unit(flat + 0.01 * rng.normal(size=flat.shape))
    fitted = generator.Fitted.to(rows[:2000])
    drawn = fitted.draw(2000, 1)
    assert np.array_equal(drawn, fitted.draw(2000, 1))
    real, made = (generator.measure(r, q) for r, q in ((rows[:2000], rows[2000:]), (drawn, fitted.draw(100, 2))))
    assert made["MLE 20"] == pytest.approx(real["MLE 20"], rel=0.35)
    assert made["10-NN cosine"] == pytest.approx(real["10-NN cosine"], abs=0.05)
    tight, queries = fitted.clustered(2000, 50, 3)
    assert tight.shape == (2000, 24)
    assert generator.measure(tight, queries)["10-NN cosine"] > real["10-NN cosine"]


def test_speed_at_a_recall_lies_between_its_neighbours_and_is_never_extrapolated() -> None:
    sys.path.insert(0, str(ROOT))
    try:
        from bench import curves
    finally:
        sys.path.remove(str(ROOT))
    speeds = [(0.8, 900.0), (0.92, 400.0), (0.91, 300.0), (0.96, 100.0)]
    points = [curves.Point(i, r, 1 / s, {"single": curves.Times([s, 2 * s])}) for i, (r, s) in enumerate(speeds)]
    assert [p.effort for p in curves.front(points, "single")] == [0, 1, 3]
    assert curves.at(points, "single", 0.94) == pytest.approx([200.0, 400.0])
    assert curves.at(points, "single", 0.97) is None
    assert [p.effort for p in curves.worth(points, [0.85, 0.92])] == [0, 1]


def test_json_is_all_there_is_on_stdout(tiny: Path) -> None:
    done = bench(tiny, "--json", judged=JUDGED)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"suites": {"judged": kept(tiny, "judged")}}
    assert "== judged" in done.stderr


def _page(tiny: Path) -> str:
    """The page of results that is made of what was kept."""
    (tiny / "README.md").write_text("<!-- results -->\n<!-- /results -->\n", encoding="utf-8")
    script, folder = str(ROOT / "scripts/make_results.py"), ["--results", str(tiny / "kept"), "--root", str(tiny)]
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, script, *folder], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return (tiny / "docs/results.md").read_text(encoding="utf-8")


def _tables(tiny: Path) -> None:
    (tiny / "README.md").write_text("top\n<!-- results -->\nold\n<!-- /results -->\nend\n", encoding="utf-8")
    command = [
        sys.executable,
        str(ROOT / "scripts/make_results.py"),
        "--results",
        str(tiny / "kept"),
        "--root",
        str(tiny),
    ]
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    first = subprocess.run([*command, "--check"], capture_output=True, text=True, env=env)
    assert first.returncode == 1, first.stderr
    assert subprocess.run(command, capture_output=True, text=True, env=env).returncode == 0
    assert subprocess.run([*command, "--check"], capture_output=True, text=True, env=env).returncode == 0
    readme = (tiny / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("top\n<!-- results -->\n")
    assert readme.endswith("<!-- /results -->\nend\n")
    assert "old" not in readme
    assert "transform(bytes=8)" in readme
    page = (tiny / "docs/results.md").read_text(encoding="utf-8")
    assert "nDCG@10" in page
    assert "Nanoseconds" in page
    assert "## Texts by words" in page
    assert "1.0000 (1.000 to 1.000)" in page


def test_advise(tiny: Path) -> None:
    if importlib.util.find_spec("nearfield.adviser.advise") is None:
        pytest.skip("this version has no adviser")
    done = bench(tiny, advise=ADVISE)
    assert done.returncode == 0, done.stderr
    parts = [r["part"] for r in kept(tiny, "advise")]
    assert parts == ["advise", "prediction", "prediction", "error"], done.stdout


def test_a_failed_run_keeps_the_rows_of_the_last(tiny: Path) -> None:
    (tiny / "kept").mkdir()
    (tiny / "kept/broken.jsonl").write_text("{}\n", encoding="utf-8")
    assert bench(tiny, broken='kind = "scan"\n').returncode != 0
    assert (tiny / "kept/broken.jsonl").read_text(encoding="utf-8") == "{}\n"


def test_errors_are_one_line(tiny: Path) -> None:
    for arguments in (["no-such-suite"], ["scan", "--data", str(tiny / "nowhere")], ["scan", "--threads", "0"]):
        command = [sys.executable, str(ROOT / "bench/run.py"), *arguments]
        env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        done = subprocess.run(command, capture_output=True, text=True, env=env)
        assert done.returncode == 2
        assert done.stderr.startswith("bench: ")
        assert done.stderr.count("\n") == 1


def test_decoded_rankings_are_those_of_faiss(rng: np.random.Generator) -> None:
    faiss = pytest.importorskip("faiss")
    sys.path.insert(0, str(ROOT))
    try:
        from bench import data, peers
    finally:
        sys.path.remove(str(ROOT))
    x = data.unit(rng.normal(size=(1000, 32)))
    coded = peers.faiss_decoded(x, "SQ8")
    index = peers.faiss_index("SQ8", x)
    index.add(x)
    assert coded.decoded is not None
    assert (index.search(x[:20], 5)[1] == data.exact(coded.decoded, x[:20], 5)).all()
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT


STREAMING = """
kind = "streaming"
rows = 300
queries = 20
k = 5
budgets = [40, 300]
plan = "float16() | vamana(degree=8, width=32)"
[[book]]
file = "{0}"
order = "random"
[[book]]
file = "{0}"
order = "clustered"
"""
RUNBOOK = """
few:
  max_pts: 300
  1: {operation: insert, start: 0, end: 150}
  2: {operation: search}
  3: {operation: replace, tags_start: 0, tags_end: 50, ids_start: 150, ids_end: 200}
  4: {operation: delete, start: 40, end: 140}
  5: {operation: insert, start: 200, end: 300}
  6: {operation: search}
"""


def test_streaming(tiny: Path) -> None:
    pytest.importorskip("yaml")
    (tiny / "few.yaml").write_text(RUNBOOK, encoding="utf-8")
    done = bench(tiny, streaming=STREAMING.format(tiny / "few.yaml"))
    assert done.returncode == 0, done.stderr
    rows = kept(tiny, "streaming")
    assert [r["operation"] for r in rows if r["part"] == "step"] == [
        "insert", "search", "replace", "delete", "insert", "search"
    ] * 2  # fmt: skip
    recalls = [r["recall"]["300"] for r in rows if "recall" in r]
    assert len(recalls) == 8
    assert min(recalls) > 0.99  # every row is scored
    assert [r["there"] for r in rows if r.get("operation") == "search"] == [150, 150] * 2
    assert "## Rows that come and go" in _page(tiny)


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("{operation: search}", "first step"),
        ("{operation: insert, start: 0, end: 400}", "step 1: end: expected 0 to 300, got 400"),
        ("{operation: inject}", "step 1: expected one of insert"),
    ],
)
def test_runbooks_that_are_wrong(step: str, told: str, tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    sys.path.insert(0, str(ROOT))
    try:
        from bench import streaming
    finally:
        sys.path.remove(str(ROOT))
    (tmp_path / "book.yaml").write_text(f"few:\n  1: {step}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=told):
        streaming.read_runbook(tmp_path / "book.yaml", rows=300)
