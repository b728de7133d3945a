"""pandas frames as people have them: an index that means something, cells of all kinds, files of our own read back."""

import decimal
from datetime import UTC, datetime

import numpy as np
import pytest

import nearfield as nf
from nearfield.core.errors import BadInput
from nearfield.store import frames
from nearfield.store.exchange import read_rows

pd = pytest.importorskip("pandas")
V = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


def rows(frame, **names):
    (found,) = frames.from_frame(frame, **names)
    return found


def frame(index=None, **columns):
    return pd.DataFrame({"vector": V, **columns}, index=index)


def test_an_index_is_the_ids():
    for index, ids in (
        (None, None),
        (pd.RangeIndex(2), None),
        (pd.RangeIndex(5, 7), [5, 6]),  # the end of a frame
        (pd.RangeIndex(0, 4, 2), [0, 2]),  # every second row of a frame
        (pd.RangeIndex(1, -1, -1), [1, 0]),
        (pd.RangeIndex(2, name="line"), [0, 1]),
        (pd.RangeIndex(5, 7, name="line"), [5, 6]),
        (pd.Index([7, 3]), [7, 3]),
        (pd.Index(["x", "y"]), ["x", "y"]),
        (pd.Index(["x", "y"], name="url"), ["x", "y"]),
    ):
        assert rows(frame(index)).ids == ids
        assert rows(frame(index), id="").ids is None
    assert rows(frame(id=[7, 9]).set_index("id")).ids == [7, 9]
    assert rows(frame(id=[7, 9]).set_index("id", drop=False)).ids == [7, 9]
    found = rows(frame(pd.Index([5, 6], name="line"), id=["p", "q"]))
    assert (found.ids, found.meta) == (["p", "q"], [{"line": 5}, {"line": 6}])
    found = rows(frame(pd.Index([5, 6], name="line"), k=["p", "q"]), id="line")
    assert (found.ids, found.meta) == ([5, 6], [{"k": "p"}, {"k": "q"}])


def test_rows_that_were_chosen_keep_their_labels():
    whole = pd.DataFrame({"vector": [[float(i)] for i in range(6)], "odd": [False, True] * 3})
    numbers = pd.DataFrame([[float(i), 0.5] for i in range(6)])
    for made in (whole, numbers):
        for part in (made.iloc[1::2], made.tail(2), made.sort_index(ascending=False), made.loc[[4, 2, 0]]):
            found = rows(part)
            assert found.ids == [int(v[0]) for v in found.vectors["vector"]] == part.index.tolist()
        assert rows(made).ids is None
    assert rows(whole[whole.odd]).ids == [1, 3, 5]


def test_an_index_that_cannot_be():
    several = pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])
    for index, match in (
        (several, r"an index of one level as ids, got 2; reset_index\(\)"),
        (pd.date_range("2020", periods=2), r"an index of int or str, .* got .*2020.* in row 0; reset_index\(\)"),
        (pd.Index([1.5, 2.5]), "got 1.5 in row 0"),
        (pd.Index([True, False]), "got True in row 0"),
        (pd.Index(["a", None], dtype=object), "row 1"),
    ):
        with pytest.raises(BadInput, match=match):
            rows(frame(index))
    odd = frame(pd.Index(["x", "y"], name="id"), id=["p", "q"])
    with pytest.raises(BadInput, match="an index and a column of it"):
        rows(odd)


def test_an_index_through_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    for index, ids in (
        (None, None),
        (pd.Index(["x", "y"]), ["x", "y"]),
        (pd.Index(["x", "y"], name="url"), ["x", "y"]),
        (pd.Index([4, 2], name="n"), [4, 2]),
    ):
        frame(index).to_parquet(tmp_path / "x.parquet")
        (found,) = read_rows(tmp_path / "x.parquet")
        assert (found.ids, found.meta) == (ids, None)
    frame(pd.Index(["x", "y"], name="url"), id=["p", "q"]).to_parquet(tmp_path / "x.parquet")
    (found,) = read_rows(tmp_path / "x.parquet")
    assert (found.ids, found.meta[0]) == (["p", "q"], {"url": "x"})


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (["[1,2,3]", "abc"], "row 1: expected a list of numbers, got the text 'abc'"),
        ([{1, 2}, {3}], r"row 0: expected a list of numbers, got set \{1, 2\}"),
        ([b"12", b"34"], "row 0: expected a list of numbers, got bytes b'12'"),
        ([1.5, 2.5], "row 0: expected a list of numbers, got 1.5"),
        (pd.to_datetime(["2020", "2021"]), "row 0: expected a list of numbers, got datetime"),
        ([V[0], 7], "row 1: expected a list of numbers, got 7"),
        ([V[0], []], r"expected 3 numbers, got \[\] in row 1"),
        ([[], V[0]], r"expected 3 numbers, got \[\] in row 0"),
        ([["1", "2"], ["3", "4"]], "row 0: expected numbers of one width"),
        ([[1.0], [1.0, 2.0]], "width 1 as in row 0"),
        ([V[0], (1, None, 2)], "row 1: expected numbers of one width"),
    ],
)
def test_cells_that_are_no_vectors(values, match):
    with pytest.raises(BadInput, match=match) as caught:
        rows(pd.DataFrame({"text": ["a", "b"], "vector": values}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "value", [{1}, pd.Timedelta(1), pd.Period("2020"), decimal.Decimal("1.5"), b"a", 1j, object(), pd.Interval(0, 1)]
)
def test_cells_that_are_no_metadata(tmp_path, value):
    with nf.open(tmp_path / "c", dim=3) as c:
        with pytest.raises(BadInput, match=r"meta of row 0: metadata 'm': expected .* got .*; convert it") as caught:
            c.load(frame(m=[value, value]))
        assert "\n" not in str(caught.value)
        with pytest.raises(BadInput, match="row 1: expected text, got 5"):
            c.load(frame(text=["a", 5]))
        with pytest.raises(BadInput, match="all int or all str, got both"):
            c.load(frame(id=[1, "b"]))
        assert len(c) == 0


def test_cells_that_are(tmp_path):
    time = pd.Timestamp("2020-01-02", tz="UTC")
    cells = {
        "cat": pd.Categorical(["a", "b"]), "mixed": [1, "b"], "array": [np.array([1, 2]), np.array(["a"], object)],
        "masked": [np.ma.array([1, 2], mask=[0, 1])] * 2, "time": [time, pd.NaT], "deep": [{"a": np.arange(2)}, None],
        "scalar": pd.Series([np.int8(3), np.float32(1.5)], dtype=object), "lists": [[np.arange(2)], [{"a": pd.NA}]],
    }  # fmt: skip
    with nf.open(tmp_path / "c", dim=3) as c:
        c.load(frame(**cells))
        one, two = (r.meta for r in c)
    utc = datetime(2020, 1, 2, tzinfo=UTC)
    assert one == {"cat": "a", "mixed": 1, "array": [1, 2], "masked": [1, None], "time": utc,
                   "deep": {"a": [0, 1]}, "scalar": 3, "lists": [[0, 1]]}  # fmt: skip
    assert two == {"cat": "b", "mixed": "b", "array": ["a"], "masked": [1, None], "scalar": 1.5, "lists": [{"a": None}]}


def test_our_own_files_through_pandas(tmp_path):
    pytest.importorskip("pyarrow")
    fields = {"vector": nf.dense(3), "words": nf.sparse(), "tokens": nf.ragged(3)}
    with nf.open(tmp_path / "c", fields=fields) as c:
        x = {"vector": np.eye(2, 3), "words": [{3: 0.5, 7: 2.0}, None], "tokens": [None, np.eye(2, 3)]}
        c.add(["a", "b"], x, texts=["t", None], meta=[{"tags": ["x", "y"], "d": {"e": [1, 2]}}, {}])
        c.export(tmp_path / "x.parquet")
        with nf.open(tmp_path / "again", fields=fields) as again:
            given = pd.read_parquet(tmp_path / "x.parquet")
            assert again.load(given, vector=["vector", "words", "tokens"]) == 2
            for one, other in zip(c, again, strict=True):
                assert (one.id, one.text, one.meta) == (other.id, other.text, other.meta)
                assert one.vectors.keys() == other.vectors.keys()
                for name in one.vectors:
                    np.testing.assert_equal(one.vectors[name], other.vectors[name])


def test_vectors_are_found_by_type_where_no_name_says_so():
    for cells in (V, [np.array(v) for v in V]):
        found = rows(pd.DataFrame({"text": ["a", "b"], "ada_002": cells, "n": [[1, 2], [3]]}))
        np.testing.assert_array_equal(found.vectors["ada_002"], V)
        assert found.meta == [{"n": [1, 2]}, {"n": [3]}]
    found = rows(pd.DataFrame(V, index=["x", "y"]))  # numbers that pandas counted
    np.testing.assert_array_equal(found.vectors["vector"], V)
    assert found.ids == ["x", "y"]
    assert rows(pd.DataFrame({"a": [1, 2], "b": [3, 4]})).vectors == {}


def test_lazy_frames_and_readers(tmp_path):
    polars = pytest.importorskip("polars")
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"id": ["a", "b"], "vector": V, "tags": [["x"], []]})
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=1))
    for number, source in enumerate([reader, polars.from_arrow(table).lazy(), table.to_batches()[0]]):
        with nf.open(tmp_path / f"c{number}", dim=3) as c:
            assert c.load(source) == 2
            assert [(r.id, r.vector.tolist(), r.meta) for r in c] == [
                ("a", V[0], {"tags": ["x"]}), ("b", V[1], {"tags": []}),
            ]  # fmt: skip


def test_arrow_columns_that_are_no_vectors(tmp_path):
    pa = pytest.importorskip("pyarrow")
    for cells, match in (
        (pa.array([b"1", b"2"]), "row 0: expected a list of numbers, got bytes"),
        (pa.array([1, 2]), "row 0: expected a list of numbers, got 1"),
        (pa.array(["[1, 2]", "x"]), "row 1: expected a list of numbers, got the text 'x'"),
        (pa.array([["a"], ["b"]]), "expected lists of numbers, got 'list<"),
        (pa.array([None, [1.0], [1.0, 2.0]]), "lists of 1 numbers as in row 1, got 2 in row 2"),
        (pa.array([[], [1.0]]), "lists of 1 numbers as in row 1, got 0 in row 0"),
    ):
        with nf.open(tmp_path / "c", encoder="static") as c:
            with pytest.raises(BadInput, match=match):
                c.load(pa.table({"text": ["a", "b", "c"][: len(cells)], "embedding": cells}))
            assert len(c) == 0
    (found,) = frames.from_frame(pa.table({"embedding": ["[1, 2]", None]}))
    assert (found.vectors["embedding"][0].tolist(), found.vectors["embedding"][1]) == ([1, 2], None)
    (found,) = frames.from_frame(pa.table({"embedding": pa.nulls(2)}))
    assert found.vectors == {"embedding": [None, None]}
