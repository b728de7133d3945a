"""Judgements, scored pairs and blank or bad rows: what makes no sense is told in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.adviser.inputs import judgements, pair_rows, sound_judgements
from nearfield.core.errors import BadInput, BadRows, DataWarning

RNG = np.random.default_rng(4)
X = RNG.normal(size=(400, 12)).astype(np.float32)
PLANS = ["raw()", "int8()"]


def advise(x: Any = X, **given: Any) -> Any:
    return nf.advise(x, **({"plans": PLANS, "verify": False, "sample": 200} | given))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected judgements"),
        ("query-id\tcorpus-id\tscore\n", "expected judgements"),
        ("0\t1\tnan\n", "line 1: expected a finite number"),
        ("0\t1\t1\n0\t2\tinf\n", "line 2: expected a finite number"),
        ("0\t1\t1e9\n", "at most 100"),
        ("0\t1\tmany\n", "got 'many'"),
        ("0\t1\t0\n1\t1\t0\n", "above 0"),
        ("0\t1\t-1\n", "above 0"),
        ("q7\td8\t1\n", "such as query 'q7' with document 'd8'; check the ids"),
    ],
)
def test_judgements_that_cannot_be_used_are_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "qrels.tsv").write_text(text)
    with pytest.raises(BadInput, match=r"qrels\.tsv: ") as caught:
        judgements(tmp_path / "qrels.tsv")
    assert words in str(caught.value)


def test_judgements_of_what_is_not_there_are_left_out_with_a_word(tmp_path: Path) -> None:
    (tmp_path / "qrels.tsv").write_text("a\tx\t1\na\tz\t1\nb\tx\t0\n")
    with pytest.warns(DataWarning, match="1 of 3 judgements name .* such as query 'a' with document 'z'"):
        found = judgements(tmp_path / "qrels.tsv", ["a", "b"], ["x", "y"])
    assert found == {0: {0: 1.0}, 1: {0: 0.0}}


@pytest.mark.parametrize(
    ("qrels", "words"),
    [
        ({}, "expected {query row"),
        ({0: [1]}, "expected {query row"),
        ({0: {1: float("nan")}}, "finite number"),
        ({0: {1: float("-inf")}}, "finite number"),
        ({0: {1: "2"}}, "got '2'"),
        ({0: {1: None}}, "got None"),
        ({0: {1: 10**400}}, "at most 100"),
        ({0: {1: 0, 2: 0}}, "above 0"),
        ({0: {}}, "above 0"),
        ({"q1": {1: 1}}, "row number of a query, got 'q1'"),
        ({0: {"d1": 1}}, "row number of a document, got 'd1'"),
        ({0: {1.5: 1}}, "row number of a document"),
        ({7: {1: 1}}, "got 7"),
        ({0: {400: 1}}, "got 400"),
    ],
)
def test_odd_judgements_in_python_are_refused(qrels: Any, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        advise(queries=X[:5] + 0.1, qrels=qrels)
    assert words in str(caught.value)


def test_a_grade_below_zero_is_not_relevant() -> None:
    assert sound_judgements({np.int64(3): {1: -2, 2: np.float32(1), 4: True}}) == {3: {1: 0.0, 2: 1.0, 4: 1.0}}
    near = {i: {i: 1, (i + 9) % 400: 0} for i in range(40)}
    bad = {i: {i: 1, (i + 9) % 400: -3} for i in range(40)}
    a, b = (advise(queries=X[:40] + 0.05, qrels=q) for q in (near, bad))
    assert [r.quality["nDCG@10"] for r in a.plans] == [r.quality["nDCG@10"] for r in b.plans]


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([], "(row, row, score)"),
        ([[0, 1, 1], [2, 3]], "different lengths"),
        ([["0", "1", "2"]], "expected numbers"),
        ([["a", "b", "c"]], "expected numbers"),
        ([[0, 1, None]], "expected numbers"),
        ([[0, 1, float("nan")], [1, 2, 3], [1, 3, 4], [2, 3, 5]], "infinity in pair 0"),
        ([[0, float("inf"), 2]], "infinity in pair 0"),
        ([[0, 1, 1], [1, 2, 3], [1, 400, 4], [2, 3, 5]], "got 1 and 400 in pair 2"),
        ([[0, 1, 1], [1, -2, 3], [1, 3, 4], [2, 3, 5]], "got 1 and -2 in pair 1"),
        ([[0, 1, 1], [1, 2.5, 3], [1, 3, 4], [2, 3, 5]], "got 1 and 2.5 in pair 1"),
        ([[0, 1, 1], [1, 2, 1], [2, 3, 1], [3, 4, 1]], "scores that differ"),
        ([[0, 1, 1], [1, 2, 2]], "at least 4"),
        ((X[:4], X[4:8], [1, 2, 3, np.nan]), "infinity in pair 3"),
        ((X[:4], X[4:8], ["a"] * 4), "expected numbers"),
        ((X[:4], X[4:8], [1.0] * 4), "scores that differ"),
    ],
)
def test_odd_pairs_are_refused(pairs: Any, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        advise(pairs=pairs)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("p.tsv", "", "expected scored pairs"),
        ("p.tsv", "i\tj\tscore\n", "expected scored pairs"),
        ("p.tsv", "0\t1\t2\n0\t2\tnan\n", "line 2"),
        ("p.jsonl", '{"i": 0, "j": 1}\n', "line 1"),
    ],
)
def test_odd_files_of_pairs_are_refused(name: str, text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput) as caught:
        pair_rows(tmp_path / name)
    assert f"{name}: " in str(caught.value)
    assert words in str(caught.value)


def test_an_array_of_words_is_no_table_of_pairs(tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", np.array([["a", "b", "c"]]))
    with pytest.raises(BadInput, match=r"p\.npy: expected numbers"):
        pair_rows(tmp_path / "p.npy")


@pytest.mark.parametrize("given", [{}, {"sample": 20}, {"pairs": [[0, 398, 1], [1, 399, 2], [2, 3, 3], [3, 4, 4]]}])
def test_all_zero_rows_are_named_by_their_own_numbers(given: dict[str, Any]) -> None:
    x = X.copy()
    x[[37, 160, 399]] = 0
    with pytest.raises(BadRows, match="zero vectors in row 37, 160, 399;"):
        advise(x, **given)
    with pytest.raises(BadRows, match="zero vectors in row 37, 160, 399;"):
        nf.Plan("int8()").fit(x)
    x[200:210, 3] = np.nan
    with pytest.raises(BadRows, match="infinity in row 200, 201, 202, 203, 204 and 5 more;"):
        advise(x, **given)


def test_zero_rows_are_named_wherever_the_sample_falls() -> None:
    for row in range(0, 400, 57):
        x = X.copy()
        x[row] = 0
        with pytest.raises(BadRows, match=f"row {row};"):
            advise(x, sample=20, queries=X[:30])


def test_bad_queries_are_not_taken_for_bad_rows() -> None:
    with pytest.raises(BadRows, match="queries: cosine needs a direction, got zero vectors in row 2;"):
        advise(queries=np.concatenate([X[:2], np.zeros((1, 12), np.float32), X[:3]]))
