"""Rows out and in again: every part comes back as it was, through every format that says so."""

import gzip
import itertools
import json
import math
import os
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearfield.core.errors import BadInput, DataWarning
from nearfield.store import rows as rows_module
from nearfield.store.exchange import RowBatch, read_rows, write_beir, write_rows
from nearfield.store.io import read_qrels, read_texts
from nearfield.store.io_write import write_vectors

EXACT = [".jsonl", ".ndjson", ".parquet", ".arrow"]
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def path_of(tmp_path, suffix):
    if suffix in (".parquet", ".arrow"):
        pytest.importorskip("pyarrow")
    return tmp_path / f"x{suffix}"


def joined(batches):
    """All rows as plain values: id, text, metadata, and each vector as nested lists with its form."""
    out = []
    for batch in batches:
        n = len(batch)
        for i in range(n):
            vectors = {k: v[i] for k, v in batch.vectors.items() if v[i] is not None}
            out.append(
                (
                    batch.ids[i] if batch.ids is not None else None,
                    batch.texts[i] if batch.texts is not None else None,
                    batch.meta[i] if batch.meta is not None else {},
                    {k: plain(v) for k, v in vectors.items()},
                )
            )
    return out


def plain(vector):
    return vector if isinstance(vector, dict) else np.asarray(vector, dtype=np.float32).tolist()


def typed(value):
    """A value with the types all the way down: True is not 1, and 1 is not 1.0."""
    if isinstance(value, dict):
        return {k: typed(v) for k, v in value.items()}
    if isinstance(value, list):
        return [typed(v) for v in value]
    if isinstance(value, datetime):
        return (value.isoformat(), value.utcoffset())
    if isinstance(value, float):
        return ("float", value, math.copysign(1, value))
    return (type(value).__name__, value)


def vectors(n, d=5, dtype="f4", seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(dtype)


X = vectors(4)
TIME = datetime(2026, 11, 2, 3, 4, 5, 678901)
ZONE = timezone(timedelta(hours=-3, minutes=-30))
METADATA = {
    "typed": [{"a": 1, "b": 0.1, "c": True, "d": "é\n\0🙂", "e": TIME, "f": date(1, 1, 1)}] * 4,
    "missing": [{"a": 1}, {}, {"b": "x"}, {"a": 2, "b": ""}],
    "none": [{"a": None, "b": 1}, {"a": 2, "b": None}, {"a": 3, "b": 3}, {"a": None, "b": None}],
    "none or missing": [{"a": None}, {}, {"a": 1}, {"a": None}],
    "only none": [{"a": None}] * 4,
    "mixed": [{"a": 1}, {"a": "1"}, {"a": True}, {"a": 1.0}],
    "lists": [{"a": [1, 2]}, {"a": []}, {"a": [3]}, {"a": [None, 4]}],
    "lists of several": [{"a": [1, "x"]}, {"a": [[1], [2.5]]}, {"a": [{"b": []}]}, {"a": []}],
    "empty lists": [{"a": []}] * 4,
    "nested": [{"a": {"b": {"c": i, "d": [TIME]}, "e": None}} for i in range(4)],
    "nested otherwise": [{"a": {"b": 1}}, {"a": {"c": 1}}, {"a": {}}, {"a": {"b": {"c": 1}}}],
    "zones": [{"a": TIME.replace(tzinfo=ZONE)}] * 4,
    "several zones": [{"a": TIME.replace(tzinfo=z)} for z in (ZONE, UTC, None, timezone(timedelta(seconds=7)))],
    "times and dates": [{"a": TIME}, {"a": TIME.date()}, {"a": "2026-11-02"}, {"a": None}],
    "named as others": [{"id": 1, "text": "t", "vector": [1, 2], "meta": 5, "metadata": {"x": 1}, "_id": "q"}] * 4,
    "odd names": [{"a b": 1, "é": 2, "a.b": 3, "vectors": {"q": 1}, "0": 5, " ": 6}] * 4,
    "ends": [{"a": 2**63 - 1, "b": -(2**63), "c": 5e-324, "d": 1.7976931348623157e308, "e": -0.0}] * 4,
    "none at all": [{}] * 4,
}


@pytest.mark.parametrize("what", METADATA)
@pytest.mark.parametrize("suffix", EXACT)
def test_metadata_comes_back(tmp_path, suffix, what):
    path, meta = path_of(tmp_path, suffix), METADATA[what]
    assert write_rows(path, [RowBatch(list("abcd"), meta=meta)]) == 4
    (found,) = read_rows(path)
    assert found.ids == list("abcd")
    assert [typed(m) for m in found.meta or [{}] * 4] == [typed(m) for m in meta]
    assert found.vectors == {}
    halves = [RowBatch(["a", "b"], meta=meta[:2]), RowBatch(["c", "d"], meta=meta[2:])]
    write_rows(path, iter(halves))
    assert [typed(r[2]) for r in joined(read_rows(path))] == [typed(m) for m in meta]


VECTORS = {
    "dense": {"vector": X},
    "half": {"vector": X.astype("f2")},
    "bytes": {"vector": (X * 10).astype("i1")},
    "some without": {"vector": [X[0], None, None, X[3]]},
    "named": {"body": X, "tïtle": X[:, :1]},
    "ragged": {"tokens": [X[:3], X[:1], None, X[:0]]},
    "all ragged": {"tokens": [X, X, X[:2], X]},
    "sparse": {"terms": [{3: 0.5, 1 << 40: -2.25}, {}, None, {0: 1.0}]},
    "all": {"vector": X, "tokens": [X, None, X[:2], None], "terms": [None, {1: 0.5}, None, {2: 1.5}]},
}


@pytest.mark.parametrize("what", VECTORS)
@pytest.mark.parametrize("suffix", [*EXACT, ".csv"])
def test_vectors_come_back(tmp_path, suffix, what):
    path, given = path_of(tmp_path, suffix), VECTORS[what]
    options = {"vector": list(given)} if suffix == ".csv" else {}
    want = joined([RowBatch([1, 2, 3, 4], vectors=given)])
    for cuts in ([0, 4], [0, 1, 2, 3, 4], [0, 3, 4]):
        batches = [
            RowBatch([1, 2, 3, 4][a:b], vectors={k: v[a:b] for k, v in given.items()})
            for a, b in itertools.pairwise(cuts)
        ]
        assert write_rows(path, batches) == 4
        for step in (4, 3, 1):
            found = list(read_rows(path, rows=step, **options))
            assert max(map(len, found)) <= step
            assert joined(found) == want
    if suffix in (".parquet", ".arrow") and what in ("dense", "half", "bytes"):
        assert found[0].vectors["vector"].dtype == given["vector"].dtype


@pytest.mark.parametrize("suffix", [*EXACT, ".csv"])
@pytest.mark.parametrize("ids", [list("abcd"), [3, -1, 2**63 - 1, 0], ["é🙂", "../../etc/passwd", "CON", "a,\"b'"]])
def test_ids_and_texts_come_back(tmp_path, suffix, ids):
    path = path_of(tmp_path, suffix)
    texts = ["one\ntwo", None, "ü\u2028", 'q"uo,te'] if suffix == ".csv" else ["", None, "a\0b\r\n\u2028", "🙂" * 9]
    write_rows(path, [RowBatch(ids, texts)])
    (found,) = read_rows(path)
    assert (found.ids, found.texts, found.meta, found.vectors) == (ids, texts, None, {})
    assert [type(i) for i in found.ids] == [type(i) for i in ids]


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.dates() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text("ab.é", min_size=1, max_size=2), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".arrow"])
@FUZZ
@given(
    meta=st.lists(
        st.dictionaries(st.sampled_from(["a", "b", "id", "meta"]), values, max_size=3), min_size=1, max_size=5
    )
)
def test_any_metadata_comes_back_or_is_refused(tmp_path, suffix, meta):
    path = path_of(tmp_path, suffix)
    try:
        write_rows(path, [RowBatch(list(range(len(meta))), meta=meta)])
    except BadInput as error:
        assert "metadata" in str(error)
        return
    assert [typed(r[2]) for r in joined(read_rows(path, rows=2))] == [typed(m) for m in meta]


# ---- CSV ------------------------------------------------------------------------------------------
def csv_rows(tmp_path, text, name="x.csv", **options):
    (tmp_path / name).write_text(text, "utf-8", newline="")
    return joined(read_rows(tmp_path / name, **options))


def test_csv_tells_types_by_whole_columns(tmp_path):
    text = "id,text,year,price,zip,flag,odd,phone\n1,a,2020,1.5,01234,true,1,0123\n2,b,,2,04321,False,x,77\n"
    assert csv_rows(tmp_path, text) == [
        (1, "a", {"year": 2020, "price": 1.5, "zip": "01234", "flag": True, "odd": "1", "phone": "0123"}, {}),
        (2, "b", {"price": 2.0, "zip": "04321", "flag": False, "odd": "x", "phone": "77"}, {}),
    ]
    huge = "id,n,e\na,12345678901234567890,1e999\n"
    assert csv_rows(tmp_path, huge) == [("a", None, {"n": "12345678901234567890", "e": "1e999"}, {})]
    assert csv_rows(tmp_path, 'id\ttext\na\tsay "x\n', "x.tsv") == [("a", 'say "x', {}, {})]
    assert csv_rows(tmp_path, 'name,v\nq,"[1, 2]"\n', vector="v") == [(None, None, {"name": "q"}, {"v": [1.0, 2.0]})]


def test_csv_round_trip_and_what_it_loses(tmp_path):
    meta = [{"n": 1, "f": 0.5, "b": True, "s": "x", "t": TIME, "l": [1, 2], "none": None}, {"n": 2, "s": ""}]
    write_rows(tmp_path / "x.csv", [RowBatch(["a", "b"], ["one", ""], meta)])
    assert joined(read_rows(tmp_path / "x.csv")) == [
        ("a", "one", {"n": 1, "f": 0.5, "b": True, "s": "x", "t": TIME.isoformat(), "l": "[1,2]"}, {}),
        ("b", None, {"n": 2}, {}),
    ]


@pytest.mark.parametrize(
    ("batch", "match"),
    [
        (RowBatch(["a"], ["x\0y"]), "without NUL"),
        (RowBatch(["a"], ["x\r\ny"]), "carriage returns"),
        (RowBatch(["a"], ["x" * 131_073]), "131073 characters"),
        (RowBatch(["a"], meta=[{"id": 1}]), "names of columns that differ.*'id'"),
    ],
)
def test_csv_refuses_what_it_cannot_hold(tmp_path, batch, match):
    with pytest.raises(BadInput, match=match):
        write_rows(tmp_path / "x.csv", [batch])
    assert os.listdir(tmp_path) == []


# ---- other people's files -------------------------------------------------------------------------
def test_jsonl_of_others(tmp_path):
    lines = [
        {"_id": "a", "body": "T", "year": 2024, "embedding": [1, 2.5], "tags": ["x"], "metadata": {"lang": "de"}},
        {"_id": "b", "body": "U", "year": 2025, "embedding": [3, 4], "tags": []},
    ]
    data = "\n".join(json.dumps(r) for r in lines).encode() + b"\n\n"
    (tmp_path / "x.jsonl").write_bytes(data)
    (tmp_path / "y.ndjson.gz").write_bytes(gzip.compress(data))
    want = [
        ("a", "T", {"year": 2024, "tags": ["x"], "lang": "de"}, {"embedding": [1, 2.5]}),
        ("b", "U", {"year": 2025, "tags": []}, {"embedding": [3, 4]}),
    ]
    for name in ("x.jsonl", "y.ndjson.gz"):
        assert joined(read_rows(tmp_path / name)) == want
    path = tmp_path / "x.jsonl"
    (few,) = read_rows(path, limit=1, meta=["year"], vector="", text=["body", "_id"])
    assert (few.ids, few.texts, few.meta, few.vectors) == (["a"], ["T a"], [{"year": 2024}], {})
    (other,) = read_rows(path, id="year", text="", meta=())
    assert (other.ids, other.texts, other.meta) == ([2024, 2025], None, None)
    with pytest.raises(BadInput, match=r"line 1: id='yaer' names nothing there; did you mean 'year'"):
        list(read_rows(path, id="yaer"))
    (tmp_path / "z.jsonl").write_text('{"text": "no id"}\n{"text": "either"}\n')
    assert [r[:2] for r in joined(read_rows(tmp_path / "z.jsonl", rows=1))] == [(None, "no id"), (None, "either")]


def test_parquet_of_others(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    table = pa.table({
        "doc_id": pa.array([7, 8], pa.uint32()), "content": ["a", None],
        "embedding": pa.array([[1, 2], [3, 4]], pa.list_(pa.float64())),
        "image": pa.FixedSizeListArray.from_arrays(pa.array([1, 2, 3, 4], pa.int8()), 2),
        "tokens": pa.array([[[1, 2]], [[3, 4], [5, 6]]], pa.list_(pa.list_(pa.float32(), 2))),
        "terms": pa.array([{"indices": [4], "values": [0.5]}, None],
                          pa.struct([("indices", pa.list_(pa.int32())), ("values", pa.list_(pa.float32()))])),
        "tags": [[1, 2], [3]], "year": pa.array([2020, None], pa.int16()),
        "lang": pa.array(["de", "en"]).dictionary_encode(),
        "when": pa.array([TIME, TIME], pa.timestamp("ns")), "zoned": pa.array([TIME, None], pa.timestamp("us", "+02:00")),  # noqa: E501
    })  # fmt: skip
    for name in ("x.parquet", "x.arrow"):
        if name.endswith("t"):
            pq.write_table(table, tmp_path / name)
        else:
            with pa.ipc.new_stream(str(tmp_path / name), table.schema) as out:
                out.write_table(table)
        a, b = joined(read_rows(tmp_path / name))
        zoned = TIME.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=2)))
        assert a == (
            7, "a", {"tags": [1, 2], "year": 2020, "lang": "de", "when": TIME, "zoned": zoned},
            {"embedding": [1, 2], "image": [1, 2], "tokens": [[1, 2]], "terms": {4: 0.5}},
        )  # fmt: skip
        assert a[2]["zoned"].utcoffset() == timedelta(hours=2)
        assert b[2] == {"tags": [3], "year": None, "lang": "en", "when": TIME, "zoned": None}
        assert b[3] == {"embedding": [3, 4], "image": [3, 4], "tokens": [[3, 4], [5, 6]]}
        (few,) = read_rows(tmp_path / name, vector="embedding", meta=["tags"], limit=1)
        assert (list(few.vectors), few.meta) == (["embedding"], [{"tags": [1, 2]}])


def test_vectors_of_any_file_with_rows_beside(tmp_path):
    x = vectors(5)
    write_vectors(tmp_path / "a.npy", x)
    assert joined(read_rows(tmp_path / "a.npy", rows=2)) == joined([RowBatch(vectors={"vector": x})])
    write_rows(tmp_path / "a.jsonl", [RowBatch(list("vwxyz"), list("12345"), [{"n": i} for i in range(5)])])
    want = joined([RowBatch(list("vwxyz"), list("12345"), [{"n": i} for i in range(5)], {"vector": x})])
    with pytest.warns(DataWarning, match=r"a\.npy': ids, texts and metadata are read from '.*a\.jsonl', a line a row"):
        assert joined(read_rows(tmp_path / "a.npy", rows=2)) == want
    with pytest.warns(DataWarning, match="read from"):
        assert joined(read_rows(tmp_path / "a.npy", limit=3)) == want[:3]
    write_vectors(tmp_path / "a.npy", x[:4])
    with pytest.raises(BadInput, match=r"a line for each of 4 vectors in '.*a\.npy', got 5"):
        list(read_rows(tmp_path / "a.npy"))
    write_vectors(tmp_path / "a.npy", np.concatenate([x, x]))
    with pytest.raises(BadInput, match=r"a line for each of 10 vectors in .*, got 5; repair it, or rename it"):
        list(read_rows(tmp_path / "a.npy"))
    write_vectors(tmp_path / "b.vec", x, ids=list("abcde"))
    assert [r[0] for r in joined(read_rows(tmp_path / "b.vec"))] == list("abcde")


# ---- BEIR -----------------------------------------------------------------------------------------
def test_beir_folder(tmp_path):
    meta = [{"title": "Title", "year": 2020}, {"title": "Other"}, {"n": 1}, {"title": "Short"}]
    texts = ["Title body", "Another thing", None, "Short"]
    queries, qrels = {"q1": "what?", "q2": "é"}, {"q1": {"a": 1, "b": 0}, "q2": {"c d": 2}}
    folder = tmp_path / "set"
    with pytest.raises(BadInput, match="white space"):
        write_beir(folder, [RowBatch(["a"], ["x"])], qrels=qrels)
    qrels = {"q1": {"a": 1, "b": 0}, "q2": {"c": 2}}
    batches = [RowBatch(["a", "b"], texts[:2], meta[:2]), RowBatch(["c", "d"], texts[2:], meta[2:])]
    assert write_beir(folder, batches, queries=queries, qrels=qrels) == 4
    assert joined(read_rows(folder)) == [
        ("a", "Title body", {"title": "Title", "year": 2020}, {}), ("b", "Another thing", {"title": "Other"}, {}),
        ("c", "", {"n": 1}, {}), ("d", "Short", {"title": "Short"}, {}),
    ]  # fmt: skip
    assert read_texts(folder / "corpus.jsonl").ids == list("abcd")
    assert read_texts(folder / "corpus.jsonl").texts == ["Title body", "Another thing", "", "Short"]
    assert dict(zip(read_texts(folder / "queries.jsonl").ids, read_texts(folder / "queries.jsonl").texts)) == queries
    assert read_qrels(folder / "qrels/test.tsv") == qrels
    first = json.loads((folder / "corpus.jsonl").read_text("utf-8").splitlines()[0])
    assert first == {"_id": "a", "title": "Title", "text": "body", "metadata": {"year": 2020}}
    again = tmp_path / "again"
    write_rows(again, read_rows(folder))
    assert (again / "corpus.jsonl").read_bytes() == (folder / "corpus.jsonl").read_bytes()


def test_beir_folder_of_the_real_kind(tmp_path, data):
    source = data / "retrieval" / "scifact"
    if not any((source / n).is_file() for n in ("corpus.jsonl", "corpus.jsonl.gz")):
        pytest.skip("no BEIR corpus there")
    count = write_rows(tmp_path / "copy", read_rows(source, limit=500))
    assert count == 500
    assert joined(read_rows(tmp_path / "copy")) == joined(read_rows(source, limit=500))


# ---- what does not fit ----------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", [*EXACT, ".csv", ""])
def test_batches_that_do_not_fit(tmp_path, suffix):
    path, x = path_of(tmp_path, suffix), vectors(2)
    for batch, match in (
        (RowBatch(["a"], ["x", "y"]), "texts: expected one for each of 1 rows"),
        (RowBatch(["a", 1]), "all int or all str"),
        (RowBatch(["a"], [7]), "texts: expected str or None, got int in row 2"),
        (RowBatch(["a"], ["\ud800"]), "lone surrogate in row 2"),
        (RowBatch(["\ud800"]), "lone surrogate in row 2"),
        (RowBatch(["a"], meta=[{"x": float("nan")}]), "row 2: metadata 'x': expected a finite number"),
        (RowBatch(["a"], meta=[{"x": 2**63}]), "row 2: metadata"),
        (RowBatch(["a"], meta=[{"x": b"y"}]), "row 2: metadata"),
        (RowBatch(["a"], meta=[5]), "row 2: metadata: expected a dict"),
    ):
        with pytest.raises(BadInput, match=match) as caught:
            write_rows(path, [RowBatch(["p", "q"], ["x", "y"]), batch])
        assert "\n" not in str(caught.value)
        assert not path.is_file()
    if suffix in EXACT[2:] or suffix == ".csv":
        for fields, match in (
            ({"vector": x.astype("f8")}, "float32 of width 5 as before, got dense float64"),
            ({"vector": x[:, :4]}, "of width 5 as before, got dense float32 of width 4 from row 2"),
            ({"vector": [x, x]}, "expected dense float32"),
            ({"vector": [x[0], x[1, :3]]}, "width 3 in row 3"),
            ({"vector": [x[0], {1: 2.0}]}, "in row 3"),
            ({"vector": [{1: 2.0}, x[0]]}, "other vectors too"),
            ({"vector": [["a"], ["b"]]}, "of numbers"),
        ):
            with pytest.raises(BadInput, match=match):
                write_rows(path, [RowBatch([1, 2], vectors={"vector": x}), RowBatch([3, 4], vectors=fields)])
        with pytest.raises(BadInput, match="ids: expected all int as before, got str from row 2"):
            write_rows(path, [RowBatch([1, 2]), RowBatch(["a"])])
        with pytest.raises(BadInput, match="in all batches or in none"):
            write_rows(path, [RowBatch([1, 2], ["a", "b"]), RowBatch(None, ["a"])])
    with pytest.raises(BadInput, match="at least one row"):
        write_rows(path, [])


def test_names(tmp_path):
    batch = RowBatch(["a"], ["t"], [{"n": 1}], {"vector": X[:1], "other": X[:1]})
    for name in ("x.foo", "x.jsonl.gz", "x.npy"):
        with pytest.raises(BadInput, match=r"expected \.jsonl"):
            write_rows(tmp_path / name, [batch])
    with pytest.raises(BadInput, match="holds no vectors; leave them out"):
        write_rows(tmp_path / "beir", [batch])
    write_rows(tmp_path / "beir", [batch], leave_out=["vectors"])
    write_rows(tmp_path / "x.jsonl", batch, leave_out=["ids", "meta", "other"])
    (found,) = read_rows(tmp_path / "x.jsonl")
    assert (found.ids, found.texts, found.meta, list(found.vectors)) == (None, ["t"], None, ["vector"])


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_long_texts_make_small_batches(tmp_path, suffix, monkeypatch):
    path = path_of(tmp_path, suffix)
    texts = [os.urandom(5000).hex() for _ in range(60)]
    write_rows(path, [RowBatch(list(range(60)), texts)])
    for module in ("exchange_json", "exchange_csv", "exchange_arrow"):
        monkeypatch.setattr(f"nearfield.store.{module}.BATCH_BYTES", 1 << 16)
    found = list(read_rows(path))
    assert max(map(len, found)) <= 14
    assert [t for b in found for t in b.texts] == texts
    assert rows_module.ROWS == 4096
