"""TREC runs and judgements: other people's readers read ours the same, and ours theirs."""

import gzip
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearfield.core.errors import BadInput, NearfieldError
from nearfield.store.io import read_qrels
from nearfield.store.io_runs import read_run, write_qrels, write_run
from store.test_io_fuzz import damage

FUZZ = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def made(queries=20, documents=50, seed=0):
    rng = np.random.default_rng(seed)
    docs = [f"d-é{i}" for i in range(documents)]
    run = {
        f"q{q}": dict(zip(rng.permutation(docs)[:30].tolist(), rng.normal(size=30).tolist())) for q in range(queries)
    }
    qrels = {f"q{q}": {d: int(rng.integers(-1, 4)) for d in rng.permutation(docs)[:9].tolist()} for q in range(queries)}
    return run, qrels


def test_round_trip(tmp_path):
    run, qrels = made()
    run["odd"] = {"a": 1e-300, "b": 0.1 + 0.2, "c": -0.0, "d": float(np.float32(0.1)), "e": np.float32(2.5), "f": 3}
    write_run(tmp_path / "x.run", run, "tag-1")
    got = read_run(tmp_path / "x.run")
    assert got == run
    assert all(list(found.values()) == sorted(found.values(), reverse=True) for found in got.values())
    for name in ("x.tsv", "x.qrels"):
        write_qrels(tmp_path / name, qrels)
        assert read_qrels(tmp_path / name) == qrels
    (tmp_path / "y.run.gz").write_bytes(gzip.compress((tmp_path / "x.run").read_bytes()))
    assert read_run(tmp_path / "y.run.gz") == run
    fields = (tmp_path / "x.run").read_text("utf-8").splitlines()[0].split(" ")
    assert (fields[0], fields[1], fields[3], fields[5]) == ("q0", "Q0", "1", "tag-1")


def test_ir_measures_reads_them(tmp_path):
    measures = pytest.importorskip("ir_measures")
    run, qrels = made()
    write_run(tmp_path / "x.run", run)
    write_qrels(tmp_path / "x.qrels", qrels)
    theirs: dict = {}
    for row in measures.read_trec_run(str(tmp_path / "x.run")):
        theirs.setdefault(row.query_id, {})[row.doc_id] = row.score
    assert theirs == run
    judged: dict = {}
    for row in measures.read_trec_qrels(str(tmp_path / "x.qrels")):
        judged.setdefault(row.query_id, {})[row.doc_id] = row.relevance
    assert judged == qrels


def test_trec_eval_scores_them_the_same(tmp_path):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    run, qrels = made()
    write_run(tmp_path / "x.run", run)
    write_qrels(tmp_path / "x.qrels", qrels)
    with open(tmp_path / "x.run", encoding="utf-8") as a, open(tmp_path / "x.qrels", encoding="utf-8") as b:
        theirs, judged = pytrec_eval.parse_run(a), pytrec_eval.parse_qrel(b)
    assert (theirs, judged) == (run, qrels)
    evaluator = pytrec_eval.RelevanceEvaluator(judged, {"ndcg", "map"})
    assert evaluator.evaluate(read_run(tmp_path / "x.run")) == evaluator.evaluate(run)


def test_ties_keep_the_order_given(tmp_path):
    write_run(tmp_path / "x.run", {"q": {"b": 1.0, "a": 1.0, "c": 2.0}})
    assert [line.split()[2] for line in (tmp_path / "x.run").read_text().splitlines()] == ["c", "b", "a"]
    assert list(read_run(tmp_path / "x.run")["q"]) == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("run", "match"),
    [
        ({"q 1": {"d": 1.0}}, "query: expected a name without white space"),
        ({"q": {"d\n": 1.0}}, "document: expected a name without white space"),
        ({"q": {"": 1.0}}, "document"),
        ({"q": {"\ud800": 1.0}}, "UTF-8"),
        ({"q": {"d": float("nan")}}, "finite scores, got nan for the query 'q'"),
        ({"q": {"d": float("inf")}}, "finite scores"),
        ({"q": {"d": None}}, "finite scores, got None"),
    ],
)
def test_what_a_run_cannot_hold(tmp_path, run, match):
    with pytest.raises(BadInput, match=match) as caught:
        write_run(tmp_path / "x.run", {"good": {"d": 1.0}} | run)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []
    with pytest.raises(BadInput, match="tag: expected a name"):
        write_run(tmp_path / "x.run", {}, "a b")


@pytest.mark.parametrize("grade", [1.5, True, "x", None, 1 << 40, float("nan"), float("inf")])
def test_what_judgements_cannot_hold(tmp_path, grade):
    with pytest.raises(BadInput, match="integer grades"):
        write_qrels(tmp_path / "x.tsv", {"q": {"d": grade}})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("q Q0 d 1 2.0\n", "line 1: expected 6 columns .* got 5"),
        ("q Q0 d 1 2.0 t\nq Q0 d e 1 2.0 t\n", "line 2: expected 6 columns .* got 7"),
        ("q Q0 d 1 x t\n", "line 1: expected a finite score, got 'x'"),
        ("q Q0 d 1 nan t\n", "line 1: expected a finite score"),
        ("q Q0 d 1 2 t\nq Q0 d 2 1 t\n", "line 2: the document 'd' came before"),
        ("\n\n", "blank lines only"),
    ],
)
def test_what_is_no_run(tmp_path, text, match):
    (tmp_path / "x.run").write_text(text)
    with pytest.raises(BadInput, match=match) as caught:
        read_run(tmp_path / "x.run")
    assert "x.run" in str(caught.value)


@FUZZ
@given(data=st.data())
def test_damage(tmp_path, data):
    good = "".join(f"q{i % 3} Q0 d{i} {i} {i / 7!r} tag\n" for i in range(12)).encode()
    (tmp_path / "x.run").write_bytes(data.draw(damage(good)))
    try:
        assert read_run(tmp_path / "x.run")
    except NearfieldError as error:
        assert "\n" not in str(error)
