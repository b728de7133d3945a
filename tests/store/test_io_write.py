"""Writers of vectors: what is written is read back the same, by our readers and by other people's."""

import csv
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from nearfield.core.errors import BadInput, NearfieldError, NotWritten
from nearfield.store import io_base
from nearfield.store.exchange import read_rows
from nearfield.store.io import read_vectors, write_npy
from nearfield.store.io_write import HOLDS, write_vectors

NUMBERS = ["f2", "f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]
ANY = [".npy", ".npz", ".safetensors", ".hdf5", ".parquet", ".arrow"]  # hold every number type
ONE = {".fvecs": "f4", ".bvecs": "u1", ".ivecs": "i4", ".fbin": "f4", ".f16bin": "f2", ".fp16bin": "f2",
       ".u8bin": "u1", ".i8bin": "i1", ".ibin": "i4"}  # fmt: skip
WORDS = [".vec", ".txt", ".bin"]
ALL = [*((s, "f4") for s in ANY), *ONE.items(), *((s, "f4") for s in WORDS), (".csv", "f4")]
NAMES = ["a", "naïve", "日本", "x\u00a0y", "🙂", "New_York", "1.5", '"q"', "a,b", "</s>"]


def needs(suffix):
    for name, suffixes in (("pyarrow", (".parquet", ".arrow")), ("h5py", (".hdf5", ".h5"))):
        if suffix in suffixes:
            pytest.importorskip(name)


def numbers(shape, dtype, seed=0):
    """Values all over the range of the type, its ends among them."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        x = rng.normal(size=shape) * 10.0 ** rng.integers(-3, 4, size=shape)
        ends = [np.finfo(dtype).max, np.finfo(dtype).tiny, -0.0, 1 / 3]
    else:
        info = np.iinfo(dtype)
        x = rng.integers(info.min, info.max, size=shape, dtype=dtype.newbyteorder("="), endpoint=True)
        ends = [info.min, info.max]
    out = x.astype(dtype)
    flat = out.reshape(-1)
    flat[: min(len(ends), flat.size)] = np.array(ends[: flat.size], dtype=dtype)
    return out


def words(n):
    return [f"{NAMES[i % len(NAMES)]}_{i}" for i in range(n)]


def written(tmp_path, suffix, x, **options):
    needs(suffix)
    path = tmp_path / f"x{suffix}"
    if suffix in WORDS:
        options.setdefault("ids", words(len(x)))
    assert write_vectors(path, x, **options) == len(x)
    assert os.listdir(tmp_path) == [path.name]  # nothing is left beside it
    return path


def same(source, x):
    native = x.dtype.newbyteorder("=")
    got = source.array()
    if source.dtype == np.float64:  # text: values come back once they have their type again
        got = got.astype(native)
    assert got.dtype == native
    assert got.shape == x.shape
    assert got.tobytes() == np.ascontiguousarray(x, dtype=native).tobytes()  # the sign of zero too
    last = source.take(np.array([len(x) - 1, 0])).astype(native)
    np.testing.assert_array_equal(last, x[[-1, 0]])


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("suffix", ANY)
def test_every_number_type(tmp_path, suffix, dtype):
    x = numbers((13, 5), dtype)
    same(read_vectors(written(tmp_path, suffix, x)), x)


@pytest.mark.parametrize(("suffix", "dtype"), ALL)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (3, 1025)])
def test_odd_shapes(tmp_path, suffix, dtype, shape):
    x = numbers(shape, dtype)
    same(read_vectors(written(tmp_path, suffix, x)), x)


@pytest.mark.parametrize("how", ["big", "fortran", "strided", "reversed", "readonly", "mapped", "source", "offset"])
@pytest.mark.parametrize(("suffix", "dtype"), ALL)
def test_however_it_lies_in_memory(tmp_path, suffix, dtype, how):
    x = numbers((12, 6), dtype)
    folder = tmp_path / "given"
    folder.mkdir()
    np.save(folder / "x.npy", x)
    given = {
        "big": lambda: x.astype(x.dtype.newbyteorder(">")),
        "fortran": lambda: np.asfortranarray(x),
        "strided": lambda: np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3],
        "reversed": lambda: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
        "readonly": lambda: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
        "mapped": lambda: np.load(folder / "x.npy", mmap_mode="r"),
        "source": lambda: read_vectors(folder / "x.npy"),
        "offset": lambda: np.concatenate([x[:1], x])[1:],
    }[how]()
    out = tmp_path / "out"
    out.mkdir()
    same(read_vectors(written(out, suffix, given)), x)


@pytest.mark.parametrize(("suffix", "dtype"), ALL)
def test_many_blocks(tmp_path, suffix, dtype, monkeypatch):
    """Blocks smaller than the file: headers, ids and row numbers go on where the last one ended."""
    monkeypatch.setattr(io_base, "BLOCK_BYTES", 256)
    x = numbers((101, 7), dtype)
    names = words(101) if suffix in (*WORDS, ".csv", ".parquet", ".arrow") else None
    source = read_vectors(written(tmp_path, suffix, x, ids=names))
    same(source, x)
    assert source.ids == names


def test_values_that_text_must_keep_apart(tmp_path):
    """Neighbouring floats, subnormals, the largest: decimal text tells all of them apart."""
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 1 << 32, size=(400, 16), dtype=np.uint32)
    x = bits.view(np.float32)
    x = np.where(np.isfinite(x), x, np.float32(0))
    for suffix in (".vec", ".csv"):
        (tmp_path / suffix[1:]).mkdir()
        same(read_vectors(written(tmp_path / suffix[1:], suffix, x)), x)
    half = np.arange(31744, dtype=np.uint16).view(np.float16).reshape(-1, 31)  # all that are finite and positive
    (tmp_path / "half").mkdir()
    same(read_vectors(written(tmp_path / "half", ".csv", half)), half)
    double = rng.integers(0, 0x7FF0 << 48, size=(50, 8), dtype=np.int64).view(np.float64)
    (tmp_path / "double").mkdir()
    same(read_vectors(written(tmp_path / "double", ".csv", double)), double)


def test_nan_and_infinity_are_kept_where_a_format_has_them(tmp_path):
    x = np.array([[np.nan, np.inf], [-np.inf, 1]], dtype=np.float32)
    for suffix in (".npy", ".safetensors", ".fvecs", ".fbin", ".bin", ".vec", ".csv"):
        folder = tmp_path / suffix[1:]
        folder.mkdir()
        np.testing.assert_array_equal(read_vectors(written(folder, suffix, x)).array(), x)
    with pytest.raises(BadInput, match="expected finite values, got NaN or infinity in row 0"):
        write_vectors(tmp_path / "x.jsonl", x)


# ---- other people's readers -----------------------------------------------------------------------
def test_numpy_reads_it(tmp_path):
    x = numbers((9, 4), ">f4")
    for suffix in (".npy", ".npz"):
        write_vectors(tmp_path / f"x{suffix}", x)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), x)
    with np.load(tmp_path / "x.npz") as found:
        np.testing.assert_array_equal(found["vectors"], x)
    write_vectors(tmp_path / "y.npz", x, key="train")
    with np.load(tmp_path / "y.npz") as found:
        assert list(found) == ["train"]
    write_npy(tmp_path / "z.npy", x)
    np.testing.assert_array_equal(read_vectors(tmp_path / "z.npy").array(), x)
    first = (tmp_path / "x.npz").read_bytes()
    write_vectors(tmp_path / "x.npz", x)
    assert (tmp_path / "x.npz").read_bytes() == first


@pytest.mark.parametrize("dtype", NUMBERS)
def test_safetensors_reads_it(tmp_path, dtype):
    theirs = pytest.importorskip("safetensors.numpy")
    x = numbers((9, 5), dtype)
    write_vectors(tmp_path / "x.safetensors", x, key="naïve")
    np.testing.assert_array_equal(theirs.load_file(tmp_path / "x.safetensors")["naïve"], x)


def test_h5py_reads_it(tmp_path):
    h5py = pytest.importorskip("h5py")
    x = numbers((9, 5), "f4")
    write_vectors(tmp_path / "x.h5", x)
    write_vectors(tmp_path / "y.hdf5", x, key="test")
    with h5py.File(tmp_path / "x.h5") as a, h5py.File(tmp_path / "y.hdf5") as b:
        np.testing.assert_array_equal(a["train"][:], x)
        np.testing.assert_array_equal(b["test"][:], x)


def test_pyarrow_reads_it(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    x, meta = numbers((6, 3), "f4"), [{"n": i} for i in range(6)]
    for suffix in (".parquet", ".arrow"):
        write_vectors(tmp_path / f"x{suffix}", x, ids=range(6), texts=list("abcdef"), meta=meta, column="emb")
    with pa.OSFile(str(tmp_path / "x.arrow")) as file:
        tables = [pq.read_table(tmp_path / "x.parquet"), pa.ipc.open_file(file).read_all()]
    for table in tables:
        assert table.column_names == ["id", "text", "emb", "n"]
        assert table.schema.field("emb").type == pa.list_(pa.float32(), 3)
        np.testing.assert_array_equal(np.array(table["emb"].to_pylist(), dtype="f4"), x)
        assert table["n"].to_pylist() == list(range(6))


def test_the_benchmark_formats_to_the_byte(tmp_path):
    x = numbers((4, 3), "f4")
    write_vectors(tmp_path / "x.fvecs", x)
    assert (tmp_path / "x.fvecs").read_bytes() == b"".join(struct.pack("<i3f", 3, *row) for row in x)
    write_vectors(tmp_path / "x.fbin", x)
    assert (tmp_path / "x.fbin").read_bytes() == struct.pack("<II", 4, 3) + x.tobytes()


def test_word2vec_to_the_byte(tmp_path):
    x = np.array([[1, 0.5], [-2, 0.1]], dtype=np.float32)
    for name in ("x.vec", "x.bin"):
        write_vectors(tmp_path / name, x, ids=["the", "naïve"])
    assert (tmp_path / "x.vec").read_text("utf-8") == "2 2\nthe 1 0.5\nnaïve -2 0.100000001\n"
    rows = [w.encode() + b" " + row.tobytes() + b"\n" for w, row in zip(["the", "naïve"], x)]
    assert (tmp_path / "x.bin").read_bytes() == b"2 2\n" + b"".join(rows)


def test_gensim_reads_it(tmp_path):
    models = pytest.importorskip("gensim.models")
    x = numbers((10, 7), "f4")
    for suffix, binary in ((".vec", False), (".bin", True)):
        write_vectors(tmp_path / f"x{suffix}", x, ids=NAMES)
        found = models.KeyedVectors.load_word2vec_format(str(tmp_path / f"x{suffix}"), binary=binary)
        assert list(found.index_to_key) == NAMES
        np.testing.assert_array_equal(found.vectors, x)


def test_csv_under_other_readers(tmp_path):
    x = numbers((5, 3), "f4")
    write_vectors(tmp_path / "x.csv", x, ids=['a,"b', "c", "d", "e", "f"])
    with open(tmp_path / "x.csv", newline="", encoding="utf-8") as file:
        table = list(csv.reader(file))
    assert table[0] == ["id", "v0", "v1", "v2"]
    assert table[1][0] == 'a,"b'
    np.testing.assert_array_equal(np.array([r[1:] for r in table[1:]], dtype=np.float32), x)


# ---- ids, texts, metadata -------------------------------------------------------------------------
def test_words_go_with_the_vectors(tmp_path):
    """A table of words stays one when it is converted; where there is no place for the words, that is said."""
    pytest.importorskip("pyarrow")
    x = numbers((10, 4), "f4")
    write_vectors(tmp_path / "x.vec", x, ids=NAMES)
    source = read_vectors(tmp_path / "x.vec")
    for name in ("y.parquet", "y.arrow", "y.bin", "y.csv"):
        write_vectors(tmp_path / name, source)
        assert read_vectors(tmp_path / name).ids == NAMES
    with pytest.raises(BadInput, match=r"\.npy holds no ids; .*ids=False"):
        write_vectors(tmp_path / "y.npy", source)
    write_vectors(tmp_path / "y.npy", source, ids=False)
    write_vectors(tmp_path / "z.parquet", source, ids=False)
    assert read_vectors(tmp_path / "z.parquet").ids is None


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".parquet", ".arrow", ".feather", ".pq"])
def test_rows_go_with_the_vectors(tmp_path, suffix):
    if suffix not in (".jsonl", ".ndjson"):
        pytest.importorskip("pyarrow")
    x, path = numbers((5, 3), "f4"), tmp_path / f"x{suffix}"
    meta = [{"year": 2020 + i, "tags": ["a"] * i} for i in range(5)]
    texts = ["a", None, "", "d\n", "é"]
    assert write_vectors(path, x, ids=[5, 4, 3, 2, 1], texts=texts, meta=meta, column="body") == 5
    (row,) = read_rows(path)
    assert (row.ids, row.texts, row.meta) == ([5, 4, 3, 2, 1], texts, meta)
    np.testing.assert_array_equal(row.vectors["body"].astype("f4"), x)


# ---- refusals -------------------------------------------------------------------------------------
def refused(path, x, match, **options):
    with pytest.raises(NearfieldError, match=match) as caught:
        write_vectors(path, x, **options)
    assert "\n" not in str(caught.value)
    assert not os.path.exists(path)
    assert not [n for n in os.listdir(Path(path).parent) if n.endswith(".tmp")]


@pytest.mark.parametrize("suffix", HOLDS)
def test_types_are_refused_by_name(tmp_path, suffix):
    for dtype in NUMBERS:
        name = np.dtype(dtype).name
        if name not in HOLDS[suffix]:
            refused(tmp_path / f"x{suffix}", np.ones((2, 2), dtype), rf"{suffix[1:]}.* got {name}", ids=None)


def test_what_is_no_table_of_numbers(tmp_path):
    for x, match in (
        (np.zeros((2, 0), "f4"), "one dimension"),
        (np.zeros((0, 2), "f4"), "at least one row"),
        (np.zeros(3, "f4"), "1-D"),
        (np.zeros((2, 2), complex), "complex"),
        (np.zeros((2, 2), bool), "bool"),
        (np.array([["a", "b"]]), "'a'"),
        (np.array([[{}]], dtype=object), r"\(dict\) in row 0"),
        (None, "NoneType"),
    ):
        refused(tmp_path / "x.npy", x, match)
    x = np.ones((2, 2), "f4")
    refused(tmp_path / "x.foo", x, r"expected one of \.arrow .*'\.foo'")
    refused(tmp_path / "x", x, "'no suffix'")
    refused(tmp_path / "x.npy.gz", x, "choose another name")
    refused(tmp_path / "x.pkl", x, r"'\.pkl'")
    refused(tmp_path / "x.npy", x, "leave it out", column="a")
    refused(tmp_path / "x.fbin", x, "leave it out", key="a")
    refused(tmp_path / "x.fbin", x, "holds no texts", texts=["a", "b"])
    refused(tmp_path / "x.csv", x, "holds no meta", meta=[{}, {}])
    refused(tmp_path / "x.vec", x, "expected one of ids for each of 2 rows, got 1", ids=["a"])
    with pytest.raises(BadInput, match="does not exist"):
        write_vectors(tmp_path / "nowhere" / "x.npy", x)
    with pytest.raises(BadInput, match="got a folder"):  # noqa: PT012
        (tmp_path / "dir.npy").mkdir()
        write_vectors(tmp_path / "dir.npy", x)


@pytest.mark.parametrize("word", ["", "a\nb", "a\0b", "\ud800", 7, b"a", "x" * 70_000])
def test_words_that_cannot_be_kept(tmp_path, word):
    for suffix in (".vec", ".bin"):
        refused(tmp_path / f"x{suffix}", np.ones((2, 2), "f4"), "word", ids=["a", word])
    if isinstance(word, str) and word not in ("", "a\nb", "x" * 70_000):
        refused(tmp_path / "x.csv", np.ones((2, 2), "f4"), "ids", ids=["a", word])


def test_words_that_one_of_them_cannot_keep(tmp_path):
    x = np.ones((1, 2), "f4")
    refused(tmp_path / "x.bin", x, "without spaces", ids=["a b"])
    refused(tmp_path / "x.vec", x, "without tabs", ids=["a\tb"])
    refused(tmp_path / "x.vec", x, "no number", ids=["route 66"])
    refused(tmp_path / "x.vec", x, "needs a word for each row")
    for word in ("a b", " a", "b ", ". .", "\ufeffx", "12 5 x", "a\rb", "\x85"):
        write_vectors(tmp_path / "x.vec", x, ids=[word])
        assert read_vectors(tmp_path / "x.vec").ids == [word]


class Liar:
    """A source that gives other rows than it promised."""

    def __init__(self, blocks, shape=(4, 3), dtype="f4"):
        self.given, self.shape, self.dtype = blocks, shape, np.dtype(dtype)

    def blocks(self, rows=0):
        yield from self.given

    def take(self, rows):
        raise NotImplementedError


@pytest.mark.parametrize(("suffix", "dtype"), [(s, d) for s, d in ALL if d == "f4"])
def test_a_source_that_lies_leaves_no_file(tmp_path, suffix, dtype):
    needs(suffix)
    names = words(4) if suffix in (*WORDS, ".csv") else None
    good = np.ones((2, 3), dtype)
    for blocks, match in (
        ([good], "the 4 rows of 3 float32 values"),
        ([good, good, good], "the 4 rows of 3 float32 values"),
        ([good, np.ones((2, 4), dtype)], "the 4 rows of 3 float32 values"),
        ([good, np.ones((2, 3), "f8")], "a block of float64"),
        ([], "the 4 rows of 3 float32 values"),
    ):
        refused(tmp_path / f"x{suffix}", Liar(blocks), match, ids=names)


def test_an_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "x.fbin"
    write_vectors(path, np.ones((2, 3), "f4"))
    before = path.read_bytes()
    with pytest.raises(BadInput):
        write_vectors(path, Liar([np.ones((2, 3), "f4")]))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.fbin"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a disk that is full")
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".fvecs", ".csv", ".jsonl", ".parquet", ".arrow"])
def test_a_full_disk_is_one_line(tmp_path, suffix, monkeypatch):
    needs(suffix)
    from nearfield.store import atomic

    real = open

    def full(path, mode="r", *args, **options):
        return real("/dev/full", "wb") if str(path).endswith(".tmp") else real(path, mode, *args, **options)

    monkeypatch.setattr(atomic, "open", full, raising=False)
    with pytest.raises(NotWritten, match="disk is full") as caught:
        write_vectors(tmp_path / f"x{suffix}", np.ones((9000, 64), "f4"))
    assert re.search(r"x\.", str(caught.value))
    assert "\n" not in str(caught.value)
