"""Broken and hostile files of rows: one line each that names the file and the line, in little memory."""

import gzip
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearfield.core.errors import BadInput, BadParameter, Corrupt, NearfieldError
from nearfield.store import io_base
from nearfield.store.exchange import RowBatch, read_rows, write_rows
from store.test_io_fuzz import damage

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
X = np.random.default_rng(0).normal(size=(6, 3)).astype("f4")
ROWS = RowBatch(list("abcdef"), list("uvwxyz"), [{"n": i, "t": [1.5, None]} for i in range(6)], {"vector": X})


def refused(tmp_path, name, content, match, kind=NearfieldError, **options):
    path = tmp_path / name
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(kind, match=match) as caught:
            list(read_rows(path, **options))
        assert tracemalloc.get_traced_memory()[1] < 48 << 20
    finally:
        tracemalloc.stop()
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


JSONL = [
    (b"\n\n", "blank lines only"),
    (b"{}\n[1]\n", "line 2: expected a JSON object"),
    (b'{"a": 1}\n{"a": \n', "line 2: expected a JSON object"),
    (b'{"a": NaN}\n', "line 1: expected a JSON object .*NaN is no value"),
    (b"[" * 100_000, "line 1: "),
    (b'{"a": ' * 50_000, "line 1: "),
    (b'{"a": ' + b"1" * 100_000 + b"}", "line 1: "),
    (b'{"id": "a"}\n{"text": "b"}\n', "an id in every row or in none, row 1 has none"),
    (b'{"id": 1.5}\n', "line 1: expected an id that is a string or an integer, got 1.5"),
    (b'{"id": true}\n', "line 1: expected an id"),
    (b'{"id": "a", "text": 7}\n', "line 1: expected text, got 7"),
    (b'{"vector": [1, "a"]}\n', "line 1: 'vector': expected numbers"),
    (b'{"vector": [1, null]}\n', "line 1: 'vector': expected numbers"),
    (b'{"vector": [true, false]}\n', "line 1: 'vector': expected numbers"),
    (b'{"vector": [[1, 2], [3]]}\n', "line 1: 'vector': expected numbers"),
    (b'{"vector": [[[1]]]}\n', "line 1: 'vector': expected numbers"),
    (b'{"vector": [[]]}\n', "line 1: 'vector': expected numbers"),
    (b'{"vector": [1' + b"0" * 400 + b"]}\n", "line 1: 'vector': expected numbers"),
    (b'{"vector": {"a": 1}}\n', "line 1: 'vector': expected indices and values"),
    (b'{"vector": {"indices": [1], "values": [1, 2]}}\n', "line 1: 'vector': expected indices and values"),
    (b'{"vector": {"indices": ["a"], "values": [1]}}\n', "line 1: 'vector': expected numbers"),
    (b'{"vectors": {"a": "b"}}\n', "line 1: 'a': expected a list of numbers, got the text 'b'"),
    (
        b'{"vector": [1, 2]}\n{"vector": [1, 2, 3]}\n',
        r"'vector': expected vectors of width 2 .* got shape \(3,\) in row 1",
    ),
    (b'{"vector": [1, 2]}\n{"vector": [[1, 2]]}\n', "in row 1"),
    (b'{"meta": {"a": 1}, "a": 2}\n', "line 1: expected 'a' once in the metadata"),
    (b'{"a": {"$time": "yesterday"}}\n', "line 1: expected a JSON object"),
    (b'{"a": "\xff"}\n', "line 1: expected UTF-8"),
    (b'{"a": "\0"}\n', "line 1 holds NUL"),
]


@pytest.mark.parametrize("case", range(len(JSONL)))
def test_jsonl(tmp_path, case):
    content, match = JSONL[case]
    refused(tmp_path, "x.jsonl", content, match)


CSV = [
    (b"a,a\n1,2\n", "a header of up to"),
    (b"a,\n1,2\n", "a header of up to"),
    (b"," * 20_000 + b"\n", "a header of up to|expected rows"),
    (b"a,b\n", "expected rows under the header"),
    (b"a,b\n1\n", "line 2: expected 2 cells as in the header, got 1"),
    (b"a,b\n1,2\n1,2,3\n", "line 3: expected 2 cells as in the header, got 3"),
    (b"id,v\na,1\n,2\n", "an id in every row or in none, row 1"),
    (b"id,vector\na,x\n", "line 2: 'vector': expected a list of numbers, got the text 'x'"),
    (b"id,vector\na,5\n", "line 2: 'vector': expected a list of numbers"),
    (b'id,vector\na,"[1,2]"\nb,"[1]"\n', "'vector': expected vectors of width 2"),
    (b"id,vector\na," + b"[" * 100_000 + b"\n", "line 2: 'vector': expected a list of numbers"),
    (b'a,b\n1,"' + b"2" * 200_000 + b'"\n', "larger than field limit"),
    (b'id,text\na,"5 inch\n' + b"r,t\n" * 1000, 'line 2: expected an end of the quote that opens there, .*as "" in'),
    (b'id,text\na,b\nc,"d', "line 3: expected an end of the quote that opens there"),
    (b'id,text,k\n\na,"x\n\ny","z\n\nb,c,d\n', "line 5: expected an end of the quote that opens there"),
    (b'id,text\na,"' + b"r,text\n" * 50_000, "field limit .131072. in the row that begins in line 2; quote or shorten"),
]


@pytest.mark.parametrize("case", range(len(CSV)))
def test_csv(tmp_path, case):
    content, match = CSV[case]
    refused(tmp_path, "x.csv", content, match)
    refused(tmp_path, "x.csv.gz", gzip.compress(content), match)


def test_bombs(tmp_path, monkeypatch):
    monkeypatch.setattr(io_base, "FREE_BYTES", 1 << 20)
    refused(tmp_path, "x.jsonl.gz", gzip.compress((b'{"a": "' + b"x" * 2000 + b'"}\n') * 1000), "bomb.*max_ratio")
    refused(tmp_path, "x.csv.gz", gzip.compress(b"a,b\n" + (b"1," + b"2" * 2000 + b"\n") * 1000), "bomb.*max_ratio")


def test_paths_and_options(tmp_path):
    (tmp_path / "empty").mkdir()
    for name, match in (
        ("empty", r"expected corpus\.jsonl"),
        ("none.jsonl", "no such file"),
        ("empty/x.csv", "no such"),
    ):
        with pytest.raises(BadInput, match=match):
            read_rows(tmp_path / name)
    for wrong in (None, 3, "", "a\0b"):
        with pytest.raises(BadInput, match="the path of a file"):
            read_rows(wrong)
    (tmp_path / "x.jsonl").write_text("{}\n")
    for rows in (0, -1, 1.5, True):
        with pytest.raises(BadParameter, match="rows"):
            read_rows(tmp_path / "x.jsonl", rows=rows)
    with pytest.raises(BadParameter, match="limit"):
        read_rows(tmp_path / "x.jsonl", limit=0)
    (tmp_path / "x.pkl").write_bytes(b"x")
    with pytest.raises(BadInput, match="never loaded"):
        read_rows(tmp_path / "x.pkl")


def test_arrow_columns(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")

    def check(table, match, **options):
        pq.write_table(table, tmp_path / "t.parquet")
        refused(tmp_path, "x.parquet", (tmp_path / "t.parquet").read_bytes(), match, **options)
        with pa.ipc.new_file(str(tmp_path / "t.arrow"), table.schema) as out:
            out.write_table(table)
        refused(tmp_path, "x.arrow", (tmp_path / "t.arrow").read_bytes(), match, **options)

    floats, sparse = (
        pa.list_(pa.float32()),
        pa.struct([("indices", pa.list_(pa.int64())), ("values", pa.list_(pa.int64()))]),
    )
    check(pa.table({"id": ["a", None]}), "an id in every row, got null in row 1")
    check(pa.table({"id": [1.5]}), "ids that are int or str")
    check(pa.table({"id": [True]}), "ids that are int or str")
    check(pa.table({"text": [5]}), "expected text in 'text'")
    check(pa.table({"v": pa.array([[1.0], [1.0, 2.0]], floats)}), "lists of 1 numbers as in row 0, got 2 in row 1")
    check(pa.table({"v": pa.array([[1.0, None]], floats)}), "null inside the vector of row 0")
    check(pa.table({"v": pa.array([[], []], floats)}), "at least one value")
    check(pa.table({"v": ["a"]}), "row 0: expected a list of numbers, got the text 'a'", vector="v")
    check(pa.table({"v": [["a"]]}), "expected lists of numbers", vector="v")
    check(pa.table({"v": ["a"]}), "vector='w' names nothing there", vector="w")
    check(pa.table({"v": pa.array([{"indices": [1], "values": [1, 2]}], sparse)}), "as many values as indices")
    check(pa.table({"v": pa.array([{"indices": None, "values": [1]}], sparse)}), "indices and values")
    check(pa.table({"v": pa.array([{"indices": [None], "values": [1]}], sparse)}), "expected numbers")
    check(pa.table({"t": pa.array([1], pa.timestamp("ns"))}), "whole microseconds")
    check(pa.table({"a": pa.array([], pa.int64())}), "at least one row")
    check(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), "each column once")


def test_marks_that_lie(tmp_path):
    """What a file says of its columns is no more trusted than the columns."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    cases = [
        (b'{"role": "vector", "key": "v", "kind": "dense"}', pa.array(["a"]), "expected a list of numbers"),
        (b'{"role": "id"}', pa.array([[1.5]]), "ids that are int or str"),
        (b'{"role": "text"}', pa.array([1]), "expected text"),
        (b'{"role": "meta", "json": true, "key": "a"}', pa.array(["{"]), "damaged"),
        (b'{"role": "meta", "json": true, "key": "a"}', pa.array([5]), "damaged"),
        (b"[" * 100_000, pa.array([5]), None),
        (b"\xff", pa.array([5]), None),
        (b"7", pa.array([5]), None),
        (b'{"role": ["id"], "key": {"a": 1}, "none": 7}', pa.array([5]), None),
    ]
    for mark, column, match in cases:
        schema = pa.schema([pa.field("c", column.type, metadata={b"nearfield": mark})])
        pq.write_table(pa.Table.from_arrays([column], schema=schema), tmp_path / "x.parquet")
        if match is None:
            (found,) = read_rows(tmp_path / "x.parquet")
            assert list(found.meta[0].values()) == [5]
        else:
            refused(tmp_path, "x.parquet", (tmp_path / "x.parquet").read_bytes(), match)


def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    out = {}
    for suffix in (".jsonl", ".csv"):
        write_rows(folder / f"x{suffix}", [ROWS])
        out[f"x{suffix}"] = (folder / f"x{suffix}").read_bytes()
    return out


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return good(tmp_path_factory)


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv"])
@FUZZ
@given(data=st.data())
def test_damaged_text(tmp_path, files, name, data):
    """Cut, flipped, overwritten: rows, or one line that names the file."""
    path = tmp_path / name
    path.write_bytes(data.draw(damage(files[name])))
    try:
        for batch in read_rows(path, rows=2):
            assert len(batch) <= 2
    except NearfieldError as error:
        assert name in str(error)
        assert "\n" not in str(error)


HELPER = """
from pathlib import Path
from nearfield.store.exchange import read_rows
good, rng = Path(PATH).read_bytes(), np.random.default_rng(1)
path = Path(PATH).with_name("damaged" + Path(PATH).suffix)
read = refused = 0
for trial in range(120):
    data = bytearray(good)
    if trial % 3 == 0:
        del data[rng.integers(len(data)):]
    else:
        for _ in range(rng.integers(1, 6)):
            data[rng.integers(len(data))] = rng.choice([0, 1, 255, 127, rng.integers(256)])
    path.write_bytes(data)
    try:
        for batch in read_rows(path, rows=2):
            len(batch)
        read += 1
    except NearfieldError as error:
        assert "\\n" not in str(error), str(error)
        refused += 1
print(read, refused, peak() - before if before else 0)
"""


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_damaged_arrow(tmp_path, run_limited, suffix):
    pytest.importorskip("pyarrow")
    path = tmp_path / f"x{suffix}"
    write_rows(path, [ROWS, ROWS])
    read, refused_, growth = map(int, run_limited(HELPER.replace("PATH", repr(str(path)))).split())
    assert read + refused_ == 120
    assert refused_ >= 39
    assert growth < 256


def test_control_characters_stay_quoted(tmp_path):
    refused(
        tmp_path, "x.jsonl", json.dumps({"vector": "\x1b[2J\n", "vectors": {"\x1b[2J\n": 5}}).encode(), "list", BadInput
    )
    refused(tmp_path, "y.parquet", b"\x1b[2J\n" * 9, "PAR1", Corrupt)
