"""Arrow, pandas, polars and data sets: vectors on shared memory, rows there and back."""

from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from nearfield.core.errors import BadInput, BadParameter
from nearfield.store import frames
from nearfield.store.exchange import RowBatch

X = np.random.default_rng(0).normal(size=(6, 3)).astype("f4")
ZONE = timezone(timedelta(hours=2))
META = [
    {"n": i, "f": i / 3, "s": f"é{i}", "b": i % 2 == 0, "t": datetime(2026, 1, i + 1, 2, 3, 4, 567), "l": ["a"] * i}
    for i in range(6)
]
ROWS = RowBatch(list("abcdef"), ["one", None, "", "four", "five", "six"], META, {"vector": X})


def cut(at):
    parts = [slice(0, at), slice(at, 6)]
    return [RowBatch(ROWS.ids[p], ROWS.texts[p], ROWS.meta[p], {"vector": X[p]}) for p in parts]


def same(batches, want=ROWS, dtype=np.float32):
    found = list(batches)
    assert [i for b in found for i in b.ids] == want.ids
    assert [t for b in found for t in b.texts or [None] * len(b)] == want.texts
    assert [m for b in found for m in b.meta] == want.meta
    got = np.concatenate([b.vectors["vector"] for b in found])
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, want.vectors["vector"])


# ---- vectors --------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u1", "i4"])
def test_arrow_shares_memory_both_ways(dtype):
    pa = pytest.importorskip("pyarrow")
    x = (X * 10 + 50).astype(dtype)
    made = frames.to_arrow(x)
    assert made.type == pa.list_(pa.from_numpy_dtype(x.dtype), 3)
    assert made.to_pylist() == x.tolist()
    back = frames.from_arrow(made)
    assert back.dtype == x.dtype
    assert np.shares_memory(back, x)
    np.testing.assert_array_equal(back, x)
    table = pa.table({"id": list(range(6)), "emb": made})
    for given in (table, table.to_batches()[0], table["emb"], made):
        assert np.shares_memory(frames.from_arrow(given), x)
    assert np.shares_memory(frames.from_arrow(table.slice(2, 3)), x)
    np.testing.assert_array_equal(frames.from_arrow(table.slice(2, 3)), x[2:5])
    np.testing.assert_array_equal(frames.from_arrow(made.cast(pa.list_(made.type.value_type))), x)


def test_arrow_through_the_c_interface():
    pa = pytest.importorskip("pyarrow")

    class Array:
        def __init__(self, array):
            self.array = array

        def __arrow_c_array__(self, requested_schema=None):
            return self.array.__arrow_c_array__(requested_schema)

    class Stream:
        schema = None

        def __init__(self, table):
            self.table = table

        def __arrow_c_stream__(self, requested_schema=None):
            return self.table.__arrow_c_stream__(requested_schema)

    made = frames.to_arrow(X)
    assert np.shares_memory(frames.from_arrow(Array(made)), X)
    assert np.shares_memory(frames.from_arrow(Stream(pa.table({"v": made}))), X)
    chunks = pa.chunked_array([made, made])
    np.testing.assert_array_equal(frames.from_arrow(chunks), np.concatenate([X, X]))
    assert np.shares_memory(frames.from_arrow(pa.chunked_array([made, made[:0]])), X)
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(X)
    assert np.shares_memory(frames.from_arrow(tensor), X)


def test_arrow_that_has_to_be_copied_is():
    pytest.importorskip("pyarrow")
    for x in (np.asfortranarray(X), X[::2], X.astype(">f4"), X[:, ::-1]):
        np.testing.assert_array_equal(frames.from_arrow(frames.to_arrow(x)), x)


def test_arrow_refusals():
    pa = pytest.importorskip("pyarrow")
    floats = pa.list_(pa.float32())
    for given, options, match in (
        (pa.array([[1.0], None], floats), {}, "null in row 1"),
        (pa.array([[1.0], [1.0, 2.0]], floats), {}, "lists of 1 numbers"),
        (pa.array([[1.0, None]], floats), {}, "null inside"),
        (pa.array(["a"]), {}, "lists of numbers"),
        (pa.array([], floats), {}, "at least one row"),
        (pa.chunked_array([], floats), {}, "at least one row"),
        (pa.array([[1.0]], floats), {"column": "a"}, "leave it out"),
        (pa.table({"a": [1]}), {}, "got 0 among 'a'"),
        (pa.table({"a": [[1.0]], "b": [[1.0]]}), {}, "got 2 among 'a', 'b'"),
        (pa.table({"a": [[1.0]]}), {"column": "b"}, "one column of vectors"),
        (X, {}, "got ndarray"),
        (None, {}, "got NoneType"),
    ):
        with pytest.raises(BadInput, match=match) as caught:
            frames.from_arrow(given, **options)
        assert "\n" not in str(caught.value)
    for wrong in (X[0], X.astype(complex), X[:, :0], [[1.0]]):
        with pytest.raises(BadInput, match="2-D array"):
            frames.to_arrow(wrong)


# ---- rows -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("at", [0, 2, 6])
def test_tables(at):
    pytest.importorskip("pyarrow")
    table = frames.to_table(cut(at))
    assert table.column_names == ["id", "text", "vector", "n", "f", "s", "b", "t", "l"]
    same(frames.from_frame(table))
    same(frames.from_frame(table, rows=2))
    same(frames.from_frame(table.replace_schema_metadata(None)))
    assert next(iter(frames.from_frame(table, vector=""))).vectors == {}


def test_vectors_that_not_all_rows_have():
    pytest.importorskip("pyarrow")
    vectors = {"tokens": [X[:2], None, X[:0], X, X, X], "terms": [{1: 0.5}, {}, None, {2: 1.0}, None, None]}
    (found,) = frames.from_frame(frames.to_table([RowBatch(list(range(6)), vectors=vectors)]))
    assert found.vectors["terms"] == vectors["terms"]
    for a, b in zip(found.vectors["tokens"], vectors["tokens"]):
        assert (a is None) == (b is None)
        assert a is None or (a.dtype == b.dtype and np.array_equal(a, b))


def test_pandas():
    pandas = pytest.importorskip("pandas")
    frame = frames.to_frame(cut(2))
    assert list(frame.columns) == ["id", "text", "vector", "n", "f", "s", "b", "t", "l"]
    assert frame["n"].dtype == "int64"
    same(frames.from_frame(frame))
    same(frames.from_frame(frame, rows=4))
    holes = pandas.DataFrame(
        {"id": [1, 2], "a": [1.5, None], "b": pandas.array([1, None], dtype="Int64"), "c": [None, "x"],
         "d": pandas.to_datetime(["2026-01-02", None]), "embedding": [[1.0, 2.0], [3.0, 4.0]]}
    )  # fmt: skip
    (found,) = frames.from_frame(holes)
    assert found.ids == [1, 2]
    assert found.meta == [{"a": 1.5, "b": 1, "d": datetime(2026, 1, 2)}, {"c": "x"}]
    assert type(found.meta[0]["d"]) is datetime
    assert type(found.meta[0]["b"]) is int
    np.testing.assert_array_equal(found.vectors["embedding"], [[1, 2], [3, 4]])
    with pytest.raises(BadInput, match="each column once"):
        list(frames.from_frame(pandas.DataFrame([[1, 2]], columns=["a", "a"])))
    with pytest.raises(BadInput, match="did you mean 'embedding'"):
        list(frames.from_frame(holes, vector="embeding"))


def test_pandas_with_metadata_of_all_kinds():
    pytest.importorskip("pandas")
    meta = [{"a": 1, "z": datetime(2026, 1, 1, tzinfo=ZONE)}, {"a": "x", "n": {"m": [1]}}, {}, {"id": 5}]
    vectors = {"vector": [X[0], None, X[1], None]}
    frame = frames.to_frame([RowBatch([1, 2, 3, 4], meta=meta, vectors=vectors)])
    (found,) = frames.from_frame(frame)
    assert found.meta == [*meta[:3], {"id_": 5}]
    assert found.vectors["vector"][1] is None
    np.testing.assert_array_equal(found.vectors["vector"][2], X[1])


def test_polars():
    polars = pytest.importorskip("polars")
    pytest.importorskip("pyarrow")
    frame = frames.to_frame(cut(2), "polars")
    assert frame.schema["vector"] == polars.Array(polars.Float32, 3)
    same(frames.from_frame(frame))
    np.testing.assert_array_equal(frames.from_arrow(frame), X)
    np.testing.assert_array_equal(frames.from_arrow(frame["vector"]), X)


def test_datasets(tmp_path):
    datasets = pytest.importorskip("datasets")
    pytest.importorskip("pyarrow")
    made = frames.to_dataset(cut(2))
    assert made.column_names == ["id", "text", "vector", "n", "f", "s", "b", "t", "l"]
    same(frames.from_dataset(made, rows=4))
    made.save_to_disk(tmp_path / "d")
    same(frames.from_dataset(datasets.load_from_disk(tmp_path / "d")))
    same(frames.from_dataset(made.to_iterable_dataset(), rows=4))
    plain = datasets.Dataset.from_dict({"text": ["a", "b"], "emb": [[1.0, 2.0], [3.0, 4.0]], "label": [0, 1]})
    (found,) = frames.from_dataset(plain, vector="emb")
    assert (found.ids, found.texts, found.meta) == (None, ["a", "b"], [{"label": 0}, {"label": 1}])
    np.testing.assert_array_equal(found.vectors["emb"], [[1, 2], [3, 4]])
    shard = next((tmp_path / "d").glob("*.arrow"))
    from nearfield.store.io import read_vectors

    np.testing.assert_array_equal(read_vectors(shard).array(), X)


def test_what_is_no_frame():
    pytest.importorskip("pyarrow")
    for wrong in ({"train": 1}, [1], None):
        with pytest.raises(BadInput, match="expected a datasets"):
            frames.from_dataset(wrong)
    with pytest.raises(BadInput, match="got list"):
        list(frames.from_frame([1]))
    with pytest.raises(BadParameter, match="'pandas' or 'polars', got 'excel'"):
        frames.to_frame([ROWS], "excel")
