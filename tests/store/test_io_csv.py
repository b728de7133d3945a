"""Numbers in CSV and TSV: header or not, ids or not, and what is no table of numbers."""

import gzip

import numpy as np
import pytest

from nearfield.core.errors import BadInput, Corrupt
from nearfield.store import io_base
from nearfield.store.io import read_vectors

X = np.random.default_rng(0).normal(size=(50, 4))


def lines(x, sep=",", ids=None):
    rows = [sep.join(repr(float(v)) for v in row) for row in x]
    return [f"{i}{sep}{row}" for i, row in zip(ids, rows)] if ids else rows


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("sep", [",", "\t"])
@pytest.mark.parametrize("header", [None, "a,b,c,d", "1,2,3,d"])
@pytest.mark.parametrize("named", [False, True])
def test_forms(tmp_path, header, named, sep, packed):
    names = [f"né {i}" for i in range(50)] if named else None
    text = lines(X, sep, names)
    if header:
        text.insert(0, (f"name,{header}" if named else header).replace(",", sep))
    path = tmp_path / ("x.tsv" if sep == "\t" else "x.csv")
    data = "\r\n".join([*text, ""]).encode()
    if packed:
        path = path.with_suffix(path.suffix + ".gz")
        data = gzip.compress(data)
    path.write_bytes(data)
    source = read_vectors(path)
    np.testing.assert_array_equal(source.array(), X)
    np.testing.assert_array_equal(source.take(np.array([49, 0])), X[[49, 0]])
    assert source.ids == names
    assert read_vectors(path, limit=3).shape == (3, 4)


def test_numpy_writes_it(tmp_path):
    np.savetxt(tmp_path / "x.csv", X, delimiter=",")
    np.testing.assert_array_equal(
        read_vectors(tmp_path / "x.csv").array(), np.loadtxt(tmp_path / "x.csv", delimiter=",")
    )
    np.savetxt(tmp_path / "x.tsv", X, delimiter="\t", header="a\tb\tc\td", comments="")
    assert read_vectors(tmp_path / "x.tsv").shape == X.shape


def content(tmp_path, text, name="x.csv"):
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return read_vectors(path)


def test_columns_of_ids(tmp_path):
    for text, ids, row in (
        ("id,a,b\n1,2,3\n", ["1"], [2, 3]),
        ("a,doc_id,b\n2,x,3\n", ["x"], [2, 3]),
        ("x,2,3\ny,4,5\n", ["x", "y"], [2, 3]),
        ("2,3\n4,5\n", None, [2, 3]),
        ('_id,v\n"a,""b""",1\n', ['a,"b"'], [1]),
        ("7\n8\n", None, [7]),
        ("v\n8\n", None, [8]),
        ("a,b\n.5,-1e-3\n", None, [0.5, -0.001]),
        ("1,2\n", None, [1, 2]),
        ("nan,inf\n", None, [np.nan, np.inf]),
        ("\n\n1,2\n\n3,4\n", None, [1, 2]),
    ):
        source = content(tmp_path, text)
        assert source.ids == ids, text
        np.testing.assert_array_equal(source.array()[0], row)


@pytest.mark.parametrize(
    ("text", "kind", "match"),
    [
        ("a,b\n", BadInput, "expected rows|expected numbers"),
        ("a,b\n1,x\n", BadInput, "line 1: expected numbers, got 'b'"),
        ("a,b,c\n1,2,3\n1,x,3\n", BadInput, "line 3: expected numbers, got 'x'"),
        ("a,b\n1,2\n3\n", BadInput, "line 3: expected 2 cells as before, got 1"),
        ("a,b\n1,2\n3,4,5\n", BadInput, "line 3: expected 2 cells as before, got 3"),
        ("1,2\n1,\n", BadInput, "line 2: expected numbers, got ''"),
        ("id\na\n", Corrupt, "width 0"),
        ("x\ny\n", Corrupt, "width 0"),
        ("\n\n", BadInput, "expected rows"),
        ("1,2\n1,0x1f\n", BadInput, "0x1f"),
        ('1,2\n1,"' + "1" * 200_000 + '"\n', BadInput, "larger than field limit"),
        ('a,b\n1,"2\n3,4\n', BadInput, "line 2: expected an end of the quote that opens there, got the end"),
        ('a;b\n1;2\n3;"4', BadInput, "line 3: expected an end of the quote that opens there"),
        ("a\0,2\n1,2\n", Corrupt, "NUL"),
    ],
)
def test_what_is_no_table(tmp_path, text, kind, match):
    with pytest.raises(kind, match=match) as caught:
        content(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert "x.csv" in str(caught.value)


def test_bombs_and_options(tmp_path, monkeypatch):
    monkeypatch.setattr(io_base, "FREE_BYTES", 1 << 20)
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress((b"1," * 2000 + b"2\n") * 1000))
    with pytest.raises(BadInput, match=r"bomb.*max_ratio"):
        read_vectors(tmp_path / "x.csv.gz")
    (tmp_path / "x.csv").write_text("1,2\n")
    for options in ({"key": "a"}, {"column": "a"}):
        with pytest.raises(BadInput, match="leave it out"):
            read_vectors(tmp_path / "x.csv", **options)
