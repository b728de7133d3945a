"""Round trips: files written by other people's code, read back block by block and row by row."""

import gzip
import json
import struct

import numpy as np
import pytest

from nearfield.core.arrays import as_batch
from nearfield.core.errors import BadInput, BadParameter, Corrupt
from nearfield.core.protocols import Batch
from nearfield.store.io import read_labels, read_pairs, read_qrels, read_texts, read_vectors

DTYPES = ["f2", "f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]


def numbers(rows=50, width=7, dtype="f4", seed=0):
    values = np.random.default_rng(seed).normal(size=(rows, width)) * 40 + 50
    return np.clip(values, 0, 100).astype(dtype)


def same(source, x):
    """The whole contract of a Source against the array that was written."""
    assert isinstance(source, Batch)
    assert as_batch(source) is source
    native = x.dtype.newbyteorder("=")
    assert source.shape == x.shape
    assert len(source) == len(x)
    assert source.dtype == native
    for rows in (0, 1, 3, len(x), len(x) + 5):
        for _ in range(2):  # blocks may be asked for again
            blocks = list(source.blocks(rows=rows))
            assert all(b.dtype == native and b.flags.c_contiguous and b.flags.writeable for b in blocks)
            if rows:
                assert all(0 < len(b) <= rows for b in blocks)
            np.testing.assert_array_equal(np.concatenate(blocks), x)
    np.testing.assert_array_equal(source.array(), x)
    for rows in ([len(x) - 1, 0, 0, len(x) // 2], [], np.arange(len(x))[::-1]):
        rows = np.asarray(rows, dtype=np.int64)
        got = source.take(rows)
        assert got.dtype == native
        np.testing.assert_array_equal(got, x[rows])
    for wrong in ([len(x)], [-1], [[0]], [0.5]):
        with pytest.raises(BadInput, match="row numbers"):
            source.take(np.asarray(wrong))
    with pytest.raises(BadParameter):
        list(source.blocks(rows=-1))


def limited(path, x, **options):
    for limit in (1, len(x) - 1, len(x), len(x) + 3):
        same(read_vectors(path, limit=limit, **options), x[:limit])
    for limit in (0, -1, 1.5, True):
        with pytest.raises(BadParameter, match="limit"):
            read_vectors(path, limit=limit, **options)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [*DTYPES, ">f2", ">f4", ">f8", ">i4"])
def test_npy(tmp_path, dtype, order):
    x = np.asarray(numbers(dtype=dtype), order=order)
    path = tmp_path / "x.npy"
    np.save(path, x)
    same(read_vectors(path), x)
    limited(str(path), x)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 1000), (3000, 3)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_shapes(tmp_path, shape, order):
    x = np.asarray(numbers(*shape), order=order)
    np.save(tmp_path / "x.npy", x)
    same(read_vectors(tmp_path / "x.npy"), x)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_npy_versions(tmp_path, version):
    x = numbers()
    with open(tmp_path / "x.npy", "wb") as file:
        np.lib.format.write_array(file, x, version=version)
    same(read_vectors(tmp_path / "x.npy"), x)


def test_npy_header_of_python_2(tmp_path):
    x = numbers(3, 2)
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3L, 2L), }".ljust(117) + b"\n"
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + x.tobytes())
    same(read_vectors(tmp_path / "x.npy"), x)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["f2", ">f4", "u1"])
def test_npz(tmp_path, save, order, dtype):
    x, path = np.asarray(numbers(dtype=dtype), order=order), tmp_path / "x.npz"
    save(path, x)
    same(read_vectors(path), x)
    save(path, a=x, b=x[:3], words=np.array(["a", "b"]))
    same(read_vectors(path, key="a"), x)
    same(read_vectors(path, key="b"), x[:3])
    limited(path, x, key="a")
    with pytest.raises(BadInput, match=r"got 2 among 'a' .*key=\.\.\."):
        read_vectors(path)
    with pytest.raises(BadInput, match=r"a key among 'a'.*got 'c'"):
        read_vectors(path, key="c")
    save(path, vectors=x, words=np.array(["a", "b"]), n=np.array(3))
    same(read_vectors(path), x)


def test_npz_beside_pickles(tmp_path):
    x = numbers()
    np.savez(tmp_path / "x.npz", x=x, names=np.array([{}, []], dtype=object), rows=np.zeros(3, dtype="i4,f4"))
    same(read_vectors(tmp_path / "x.npz"), x)
    for key in ("names", "rows"):
        with pytest.raises(BadInput):
            read_vectors(tmp_path / "x.npz", key=key)


@pytest.mark.parametrize(("suffix", "dtype"), [("fvecs", "<f4"), ("bvecs", "u1"), ("ivecs", "<i4")])
def test_vecs(tmp_path, suffix, dtype):
    x, path = numbers(dtype=dtype), tmp_path / f"x.{suffix}"
    path.write_bytes(b"".join(struct.pack("<i", x.shape[1]) + row.tobytes() for row in x))
    same(read_vectors(path), x)
    limited(path, x)


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [("fbin", "<f4"), ("f16bin", "<f2"), ("fp16bin", "<f2"), ("u8bin", "u1"), ("i8bin", "i1"), ("ibin", "<i4")],
)
def test_bin(tmp_path, suffix, dtype):
    x, path = numbers(dtype=dtype), tmp_path / f"x.{suffix}"
    path.write_bytes(struct.pack("<II", *x.shape) + x.tobytes())
    same(read_vectors(path), x)
    limited(path, x)


@pytest.mark.parametrize("dtype", ["f4", "f2", "u1", ">f4", "i4"])
@pytest.mark.parametrize("options", [{}, {"chunks": (8, 7)}, {"chunks": (16, 4), "compression": "gzip"}])
def test_hdf5(tmp_path, dtype, options):
    h5py = pytest.importorskip("h5py")
    x, path = numbers(dtype=dtype), tmp_path / "x.hdf5"
    with h5py.File(path, "w") as file:
        file.create_dataset("train", data=x, **options)
        file.create_dataset("test", data=x[:5], **options if not options else {})
        file.create_dataset("deep/er", data=x[:9])
        file["neighbors"] = np.arange(10).reshape(5, 2)
        file.attrs["distance"] = "euclidean"
    same(read_vectors(path), x)
    same(read_vectors(path, key="test"), x[:5])
    same(read_vectors(path, key="deep/er"), x[:9])
    assert read_vectors(path, key="neighbors").dtype == np.int64
    limited(path, x)


@pytest.mark.parametrize("value", ["float", "double", "halffloat", "int8", "uint8", "int32"])
@pytest.mark.parametrize("kind", ["fixed", "list", "large"])
def test_parquet(tmp_path, value, kind):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    values = pa.type_for_alias(value)
    x, path = numbers(dtype=values.to_pandas_dtype()), tmp_path / "x.parquet"
    lists = {"fixed": pa.list_(values, 7), "list": pa.list_(values), "large": pa.large_list(values)}[kind]
    column = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 7).cast(lists)
    table = pa.table({"id": [f"é{i}" for i in range(50)], "emb": column, "n": pa.array(range(50))})
    pq.write_table(table, path, row_group_size=13)
    same(read_vectors(path), x)
    same(read_vectors(path, column="emb"), x)
    limited(path, x)
    assert read_vectors(path, limit=3).ids == ["é0", "é1", "é2"]
    with pytest.raises(BadInput, match=r"column 'x', the file has: 'id' \('string'\)"):
        read_vectors(path, column="x")
    with pytest.raises(BadInput, match="the column 'n' is int64"):
        read_vectors(path, column="n")
    pq.write_table(table.append_column("other", column), path)
    with pytest.raises(BadInput, match="got 2 among"):
        read_vectors(path)


def word_lines(x, words, header, sep=" ", end=""):
    first = [f"{len(x)} {x.shape[1]}"] if header else []
    rows = [w + sep + sep.join(repr(float(v)) for v in row) + end for w, row in zip(words, x)]
    return "\n".join(first + rows) + "\n"


WORDS = ["the", ",", "naïve", "</s>", ". .", "日本", "1.5", "\xa0", "a\x85b", "New_York"]


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("suffix", ["vec", "txt", "vec.gz", "txt.gz"])
@pytest.mark.parametrize(("sep", "end"), [(" ", ""), (" ", " "), ("\t", ""), (" ", "\r")])
def test_word_text(tmp_path, header, suffix, sep, end):
    x, path = numbers(10, 7), tmp_path / f"x.{suffix}"
    text = word_lines(x, WORDS, header, sep, end).encode()
    path.write_bytes(gzip.compress(text) if suffix.endswith("gz") else text)
    source = read_vectors(path)
    same(source, x)
    assert source.ids == WORDS
    limited(path, x)
    assert read_vectors(path, limit=2).ids == WORDS[:2]


@pytest.mark.parametrize("gap", [b"", b"\n"])
def test_word_binary(tmp_path, gap):
    words = ["</s>", "naïve", "New_York", *(f"w{i}" for i in range(40)), "x" * 5000]
    x, path = numbers(len(words), 300), tmp_path / "x.bin"
    rows = [w.encode() + b" " + row.tobytes() + gap for w, row in zip(words, x)]
    path.write_bytes(f"{len(x)} 300\n".encode() + b"".join(rows))
    source = read_vectors(path)
    same(source, x)
    assert source.ids == words
    limited(path, x)


def test_word_binary_over_many_buffers(tmp_path):
    x, path = numbers(3000, 300), tmp_path / "x.bin"
    path.write_bytes(b"3000 300\n" + b"".join(b"%d %s" % (i, row.tobytes()) for i, row in enumerate(x)))
    source = read_vectors(path)
    np.testing.assert_array_equal(source.array(), x)
    assert source.ids == [str(i) for i in range(3000)]


def test_many_rows_at_random(tmp_path):
    x = np.random.default_rng(1).integers(0, 255, size=(20_000, 96), dtype=np.uint8)
    np.save(tmp_path / "c.npy", x)
    np.save(tmp_path / "f.npy", np.asfortranarray(x))
    np.savez(tmp_path / "s.npz", x)
    np.savez_compressed(tmp_path / "z.npz", x)
    rows = np.random.default_rng(2).integers(0, len(x), 3000)
    for name in ("c.npy", "f.npy", "s.npz", "z.npz"):
        np.testing.assert_array_equal(read_vectors(tmp_path / name).take(rows), x[rows])


def test_a_file_that_changes_is_named(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, numbers())
    source = read_vectors(path)
    np.save(path, numbers(30))
    with pytest.raises(Corrupt, match="changed"):
        source.take(np.array([0]))


def test_texts(tmp_path):
    def check(name, lines, texts, ids, **options):
        data = "\n".join(lines).encode()
        for path, content in ((tmp_path / name, data), (tmp_path / f"{name}.gz", gzip.compress(data))):
            path.write_bytes(content)
            got = read_texts(path, **options)
            assert (got.texts, got.ids) == (texts, ids)
            assert list(got) == texts
            assert len(got) == len(texts)

    beir = [{"_id": "a", "title": "T", "text": "one\ntwo"}, {"_id": 7, "title": "", "text": "日本"}]
    check("a.jsonl", [json.dumps(r) for r in beir], ["T one\ntwo", "日本"], ["a", "7"])
    check("b.jsonl", ['{"text": "x"}', "", '{"text": ""}', ""], ["x", ""], None)
    check("c.ndjson", ['"x"', '"\\u0000 y"'], ["x", "\0 y"], None)
    check("d.txt", ["\ufeffx", "", " y ", "a\u2028b"], ["x", "", " y ", "a\u2028b"], None)
    check("e.jsonl", ['{"id": "p", "title": "T", "abstract": "A"}'], ["A"], ["p"], field="abstract")
    check("f.jsonl", ['"x"', '"y"'], ["x"], None, limit=1)


def test_qrels(tmp_path):
    def read(text, name="q.tsv"):
        (tmp_path / name).write_text(text)
        return read_qrels(tmp_path / name)

    want = {"q1": {"d1": 1, "d2": 0}, "q2": {"d 1": 2}}
    assert read("query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\nq2\td 1\t2\n") == want
    want = {"1": {"d1": 1}, "2": {"d1": -1}}
    assert read("1 0 d1 1\n2 0 d1 -1\n", "q.txt") == want
    assert read("1\tQ0\td1\t1\n\n2\tQ0\td1\t-1.0", "q.qrels") == want
    assert read("query,doc,grade\n1,d1,1\n2,d1,-1", "q.csv") == want
    (tmp_path / "q.tsv.gz").write_bytes(gzip.compress(b"1 0 d1 1\n2 0 d1 -1\n"))
    assert read_qrels(tmp_path / "q.tsv.gz") == want
    for text, line in [
        ("1 d 1\n1 d\n", 2),
        ("1 d 1\n1 d x\n", 2),
        ("1 d 1\n1 d 2\n", 2),
        ("1 d nan\n", 1),
        ("1 d 1.5", 1),
    ]:
        with pytest.raises(BadInput, match=f"line {line}"):
            read(text)
    with pytest.raises(BadInput, match="got none"):
        read("query-id\tcorpus-id\tscore\n")


def test_pairs(tmp_path):
    def read(name, text):
        (tmp_path / name).write_text(text)
        return read_pairs(tmp_path / name)

    rows = [{"sentence1": 'a "b', "sentence2": "c", "score": 1.5}, {"sentence1": "d", "sentence2": "e\n", "score": 2}]
    got = read("p.jsonl", "\n".join(map(json.dumps, rows)))
    assert (got.left, got.right, got.scores.tolist(), got.i) == (['a "b', "d"], ["c", "e\n"], [1.5, 2.0], None)
    for name, text in [
        ("p.csv", "i,j,score\n0,1,.5\n2,3,1"),
        ("q.csv", "0,1,.5\n2,3,1"),
        ("p.tsv", "score\tj\ti\n.5\t1\t0\n1\t3\t2\n"),
        ("q.jsonl", '{"i": 0, "j": 1, "score": 0.5}\n{"i": 2, "j": 3, "score": 1}'),
    ]:
        got = read(name, text)
        assert (got.i.tolist(), got.j.tolist(), got.scores.tolist()) == ([0, 2], [1, 3], [0.5, 1.0])
        assert got.left is None
    got = read("w.tsv", 'word1\tword2\tscore\nlove\t"sex\t6.77\n')
    assert (got.left, got.right) == (["love"], ['"sex'])
    got = read("w.csv", 'tiger,"a, b",1\n')
    assert got.right == ["a, b"]
    for name, text, match in [
        ("a.csv", "i,j,score\n0,1,nan\n", "line 2: expected a finite score"),
        ("b.csv", "i,j,score\n0,-1,1\n", "line 2: expected a row number"),
        ("c.csv", "0,1,1\n0,1\n", "line 2: expected 3 columns"),
        ("d.csv", "a,b,c\n0,1,1\n", "line 1: expected sentence1"),
        ("e.csv", "i,j,score\n", "got none"),
        ("f.jsonl", "[1]", "line 1: expected an object"),
        ("g.jsonl", '{"i": 0, "j": 1e3, "score": 1}', "line 1: expected a row number"),
        ("h.txt", "x", "expected .jsonl, .csv or .tsv"),
    ]:
        with pytest.raises(BadInput, match=match):
            read(name, text)


def test_labels(tmp_path):
    def read(name, content, **options):
        path = tmp_path / name
        path.write_bytes(content.encode()) if isinstance(content, str) else np.save(path, content)
        return read_labels(path, **options)

    for name, content, options in [
        ("a.npy", np.array([10, 2, 10]), {}),
        ("b.npy", np.array([[10], [2], [10]], dtype=">u2"), {}),
        ("c.txt", "10\n2\n10\n", {}),
        ("d.csv", "label\n10\n2\n10", {}),
        ("e.csv", "10\n2\n10", {}),
        ("f.csv", "node,label\n0,10\n1,2\n2,10", {}),
        ("g.tsv", "node\tkind\n0\t10\n1\t2\n2\t10", {"key": "kind"}),
        ("h.jsonl", '{"kind": 10}\n{"kind": 2}\n{"kind": "10"}', {"key": "kind"}),
        ("i.jsonl", '{"label": 10}\n{"label": 2}\n{"label": 10}', {}),
        ("j.jsonl", "10\n2\n10", {}),
        ("k.txt", "10\n2\n10\n7\n", {"limit": 3}),
    ]:
        got = read(name, content, **options)
        assert (got.codes.tolist(), got.names, len(got)) == ([1, 0, 1], ["2", "10"], 3)
    got = read("s.npy", np.array(["b", "ä", "b"]))
    assert (got.codes.tolist(), got.names) == ([0, 1, 0], ["b", "ä"])
    for name, content, match in [
        ("a.npy", np.array([0.5, np.nan]), "finite labels"),
        ("b.npy", np.zeros((3, 2), dtype=int), "1-D"),
        ("c.npy", np.array([[1], "a"], dtype=object), "numbers or strings"),
        ("d.txt", "a\n\nb\n", "line 2: expected a label"),
        ("e.csv", "a,b\n1,2\n", r"choose with key"),
        ("f.jsonl", '{"x": 1}', "line 1: expected the key 'label', got the keys 'x'"),
        ("g.jsonl", '{"label": [1.5]}', "line 1: expected a label"),
        ("h.foo", "1", "got '.foo'"),
    ]:
        with pytest.raises(BadInput, match=match):
            read(name, content)
