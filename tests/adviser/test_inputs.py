"""Judgements, scored pairs and blank or bad rows: what makes no sense is told in one line."""

from __future__ import annotations

import csv
import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.adviser.inputs import judgements, label_rows, pair_rows, sound_judgements
from nearfield.core.errors import BadInput, BadRows, DataWarning, NearfieldError

RNG = np.random.default_rng(4)
X = RNG.normal(size=(400, 12)).astype(np.float32)
PLANS = ["raw()", "int8()"]


def advise(x: Any = X, **given: Any) -> Any:
    return nf.advise(x, **({"plans": PLANS, "verify": False, "sample": 200} | given))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty file"),
        ("query-id\tcorpus-id\tscore\n", "expected judgements"),
        ("0\t1\tnan\n", "line 1: expected an integer grade"),
        ("0\t1\t1\n0\t2\tinf\n", "line 2: expected an integer grade"),
        ("0\t1\t1e9\n", "at most 100"),
        ("0\t1\t1\n0\t2\tmany\n", "got 'many'"),
        ("0\t1\t0\n1\t1\t0\n", "above 0"),
        ("0\t1\t-1\n", "above 0"),
        ("q7\td8\t1\n", "such as query 'q7' with document 'd8'; check the ids"),
        ("0," + "1" * 200_000 + ",1\n", "check the ids"),
        ("9" * 5000 + "\t1\t1\n", "check the ids"),
    ],
)
def test_judgements_that_cannot_be_used_are_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "qrels.tsv").write_text(text)
    with pytest.raises(NearfieldError, match=r"qrels\.tsv'?: ") as caught:
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
        ({0: {1: 10**5000}}, "at most 100 as grade, got a number of thousands of digits"),
        ({10**5000: {1: 1}}, "row number of a query, got a number of thousands of digits"),
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
        ("p.tsv", "", "empty file"),
        ("p.tsv", "i\tj\tscore\n", "expected scored pairs"),
        ("p.tsv", "0\t1\t2\n0\t2\tnan\n", "line 2"),
        ("p.jsonl", '{"i": 0, "j": 1}\n', "line 1"),
        ("p.jsonl", '{"i": 0, "j": 1, "score": ' + "9" * 400 + "}\n", "line 1: expected a finite score"),
        ("p.jsonl", '{"i": 0, "j": 1, "score": ' + "9" * 5000 + "}\n", "line 1: expected a JSON value"),
        ("p.csv", "0,1,2\n0," + "1" * (csv.field_size_limit() + 9) + ",2\n", "line 2: expected a row of cells"),
    ],
)
def test_odd_files_of_pairs_are_refused(name: str, text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(NearfieldError, match=rf"{name}'?: ") as caught:
        pair_rows(tmp_path / name)
    assert words in str(caught.value)


HUGE = b"(1152921504606846976,)"


def huge(folder: Path) -> Path:
    """An .npy file whose header claims 2 ** 60 rows."""
    np.save(folder / "h.npy", np.arange(10**6))
    whole = (folder / "h.npy").read_bytes()[:400]
    (folder / "h.npy").write_bytes(whole.replace(b"(1000000,), }" + b" " * (len(HUGE) - 10), HUGE + b", }"))
    assert HUGE in (folder / "h.npy").read_bytes()
    return folder / "h.npy"


def test_an_array_is_held_against_the_bytes_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(NearfieldError, match=r"h\.npy': the header says 1152921504606846976 x 1 values"):
        label_rows(huge(tmp_path))
    np.save(tmp_path / "f.npy", np.asfortranarray([[0, 1, 0.5], [1, 2, 0.25]]))
    np.testing.assert_array_equal(pair_rows(tmp_path / "f.npy"), [[0, 1, 0.5], [1, 2, 0.25]])


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array([1.0, np.nan, np.inf]), "expected finite labels, got nan in row 1"),
        (np.array([1j]), "got 'complex128'"),
        (np.array(["2020-01-01"], dtype="M8[D]"), "got 'datetime64[D]'"),
        (np.array([b"a"]), "got '|S1'"),
        (np.zeros(2, dtype=[("a", int)]), "structured"),
        (np.zeros((2, 2)), "expected a 1-D array"),
        (np.zeros(0), "expected at least one row"),
        (np.array([1 << 30], np.uint32).view("<U1"), "code points that do not exist"),
    ],
)
def test_odd_arrays_of_labels_are_refused(labels: Any, words: str, tmp_path: Path) -> None:
    np.save(tmp_path / "l.npy", labels)
    with pytest.raises(NearfieldError, match=r"l\.npy'?: ") as caught:
        label_rows(tmp_path / "l.npy")
    assert words in str(caught.value)


@pytest.mark.parametrize("labels", [[1, 3, 1], [False, True, False], ["a", "b", "a"], [0.25, 0.5, 0.25]])
@pytest.mark.parametrize("order", ["<", ">"])
def test_labels_of_an_array_become_classes(labels: list[Any], order: str, tmp_path: Path) -> None:
    array = np.array(labels)
    np.save(tmp_path / "l.npy", array.astype(array.dtype.newbyteorder(order)))
    assert label_rows(tmp_path / "l.npy").tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"label": ' + "9" * 5000 + "}", "line 2: expected a JSON value"),
        ('{"label": null}', "got None"),
        ('{"label": [1]}', "got [1]"),
        ('{"label": NaN}', "got nan"),
        ('{"kind": 1}', "got the keys 'kind'"),
    ],
)
def test_odd_lines_of_labels_are_refused(line: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "l.jsonl").write_text('{"label": "a"}\n' + line + "\n")
    with pytest.raises(BadInput, match=r"l\.jsonl'?: line 2: ") as caught:
        label_rows(tmp_path / "l.jsonl")
    assert words in str(caught.value)


def test_one_long_label_takes_no_room_in_the_other_rows(tmp_path: Path) -> None:
    with open(tmp_path / "l.jsonl", "w") as file:
        file.write('{"label": "' + "a" * 1_000_000 + '"}\n')
        file.writelines('{"label": "b"}\n' for _ in range(100))
    tracemalloc.start()
    classes = label_rows(tmp_path / "l.jsonl")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert classes.tolist() == [0] + [1] * 100
    assert peak < 40e6  # as wide text they would take 400 MB


def test_a_damaged_gz_file_is_refused(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(b"\n".join(b"label %d" % (i * 7919) for i in range(5000))))
    whole[200:260] = b"\xff" * 60
    (tmp_path / "l.txt.gz").write_bytes(whole)
    with pytest.raises(NearfieldError, match=r"l\.txt\.gz"):
        label_rows(tmp_path / "l.txt.gz")


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    mark = "\ufeff"
    (tmp_path / "q.tsv").write_text(mark + "query-id\tcorpus-id\tscore\na\tx\t1\n", encoding="utf-8")
    assert judgements(tmp_path / "q.tsv", ["a"], ["x"]) == {0: {0: 1.0}}
    (tmp_path / "p.tsv").write_text(mark + "0\t1\t2\n0\t2\t3\n", encoding="utf-8")
    assert len(pair_rows(tmp_path / "p.tsv")) == 2
    (tmp_path / "l.txt").write_text(mark + "a\nb\na\n", encoding="utf-8")
    assert label_rows(tmp_path / "l.txt").tolist() == [0, 1, 0]


def test_masked_arrays_are_refused() -> None:
    masked = np.ma.masked_less(X, 0)
    with pytest.raises(BadInput, match="vectors: expected a value in every place, got a masked array"):
        nf.Plan("int8()").fit(masked)
    packed = nf.Plan("int8()").fit(X)
    for queries in (masked[:2], masked[0]):
        with pytest.raises(BadInput, match="queries: expected a value in every place"):
            packed.search(queries)


def test_an_array_of_words_is_no_table_of_pairs(tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", np.array([["a", "b", "c"]]))
    with pytest.raises(BadInput, match=r"p\.npy'?: expected floats"):
        pair_rows(tmp_path / "p.npy")


def test_pairs_of_texts_are_encoded(tmp_path: Path) -> None:
    lines = [f'{{"sentence1": "a cat {i}", "sentence2": "a dog", "score": {i}}}' for i in range(5)]
    (tmp_path / "sts.jsonl").write_text("\n".join(lines))
    a, b, scores = pair_rows(tmp_path / "sts.jsonl", "static")
    assert a.shape == b.shape == (5, a.shape[1])
    assert scores.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(BadInput, match="name their encoder"):
        pair_rows(tmp_path / "sts.jsonl")


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
