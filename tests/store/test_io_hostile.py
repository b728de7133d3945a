"""Broken and hostile files: one clear line each, before anything large is allocated."""

import gzip
import io
import json
import os
import pickle
import struct
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

from nearfield.core.errors import BadInput, Corrupt, NearfieldError
from nearfield.store import io_base
from nearfield.store.io import read_labels, read_pairs, read_qrels, read_texts, read_vectors

SMALL = 48 << 20  # no refusal may allocate more; the largest buffer asked for on purpose is 16 MiB


def npy(header, data=b"", version=1, length=None):
    text = header.encode().ljust(117) + b"\n"
    size = len(text) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", size) + text + data


def shaped(shape, descr="'<f4'", fortran=False, data=b"\0" * 64):
    return npy(f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}", data)


def saved(x, **options):
    file = io.BytesIO()
    np.save(file, x, **options)
    return file.getvalue()


def zipped(data, name="x.npy", kind=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        archive.writestr(name, data)
    return file.getvalue()


@pytest.fixture
def small_cap(monkeypatch):
    """Bombs of a few megabytes will do."""
    monkeypatch.setattr(io_base, "FREE_BYTES", 1 << 20)


def walk(read, path, **options):
    source = read(path, **options)
    for _ in source.blocks() if hasattr(source, "blocks") else ():
        pass


def refused(tmp_path, name, content, kind=NearfieldError, match=None, read=read_vectors, **options):
    """The reader, or the first walk over its rows, refuses the file in one line that names it."""
    path = tmp_path / name
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(kind, match=match) as caught:
            walk(read, path, **options)
        assert tracemalloc.get_traced_memory()[1] < SMALL
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert name in message
    assert "\n" not in message
    assert len(message) < 700
    assert caught.value.__cause__ is None or isinstance(caught.value.__cause__, NearfieldError)


class Bomb:
    def __reduce__(self):
        return os.abort, ()


NPY = [
    (b"", Corrupt, "empty file"),
    (b"\x93NUM", Corrupt, "expected an .npy"),
    (pickle.dumps([1, 2]), Corrupt, "expected an .npy"),
    (zipped(saved(np.zeros((2, 2)))), Corrupt, "looks like .npz"),
    (saved(np.zeros(10)), BadInput, r"2-D array .*1-D of shape \(10,\)"),
    (saved(np.float32(1)), BadInput, r"0-D"),
    (saved(np.zeros((2, 3, 4))), BadInput, r"3-D of shape \(2, 3, 4\)"),
    (saved(np.zeros((0, 8))), BadInput, "at least one row"),
    (saved(np.zeros((8, 0))), Corrupt, "width 0"),
    (saved(np.zeros((2, 2), dtype="i4,f4")), BadInput, "structured"),
    (saved(np.array([[{}]], dtype=object), allow_pickle=True), BadInput, "never loaded"),
    (saved(np.zeros((2, 2), dtype=complex)), BadInput, "complex128"),
    (saved(np.zeros((2, 2), dtype=bool)), BadInput, "packbits"),
    (saved(np.array([["a", "b"]])), BadInput, "<U1"),
    (saved(np.zeros((2, 2), dtype="M8[s]")), BadInput, "datetime"),
    (saved(np.zeros((2, 2))) + b"x", Corrupt, "1 bytes more"),
    (shaped("(1152921504606846976, 384)"), Corrupt, "1152921504606846976 x 384"),
    (shaped("(4294967296, 4294967296)"), Corrupt, "4294967296"),
    (shaped("(-4, -4)"), Corrupt, "positive"),
    (shaped("(4, -4)"), Corrupt, "positive"),
    (shaped("(4, 0)"), Corrupt, "width 0"),
    (shaped("(" + "9" * 90 + ", 4)"), Corrupt, "shape"),
    (shaped("(" + "9" * 29 + ", 4)"), Corrupt, "cut short"),
    (shaped("(4, 4)", "'<f9999999'"), Corrupt, "number type"),
    (shaped("(4, 4)", "'|V2'"), BadInput, "got '.V2'"),
    (shaped("(4, 4)", "'import os'"), Corrupt, "number type"),
    (shaped("(4, 4)", "__import__('os').abort()"), Corrupt, "header"),
    (shaped("(4, 4)", "(" * 3000), Corrupt, "header"),
    (npy("{'shape': (4, 4)}"), Corrupt, "header"),
    (npy("\0" * 100), Corrupt, "header"),
    (npy("{}", version=9), Corrupt, "version"),
    (npy("{}", version=2, length=2**32 - 1), Corrupt, "4294967295"),
    (npy("{}", length=60_000), Corrupt, "inside its header"),
]


@pytest.mark.parametrize("case", range(len(NPY)))
def test_npy(tmp_path, case):
    content, kind, match = NPY[case]
    refused(tmp_path, "x.npy", content, kind, match)
    if content:
        packed = zipped(content)
        match = None if match and ("more" in match or "looks" in match) else match
        refused(tmp_path, "x.npz", packed, kind, match)


def test_pickles_are_never_run(tmp_path):
    bomb = np.empty((1, 1), dtype=object)
    bomb[0, 0] = Bomb()
    refused(tmp_path, "x.npy", saved(bomb, allow_pickle=True), BadInput, "never loaded")
    refused(tmp_path, "x.npz", zipped(saved(bomb, allow_pickle=True)), BadInput, "never loaded")
    refused(tmp_path, "x.npz", zipped(pickle.dumps(Bomb())), Corrupt, "npy")
    refused(tmp_path, "x.npy", saved(bomb, allow_pickle=True), BadInput, "numbers or strings", read=read_labels)
    for name in ("x.pkl", "x.pt"):
        refused(tmp_path, name, pickle.dumps(Bomb()), BadInput, "never loaded")


def test_npz(tmp_path):
    good = zipped(saved(np.ones((64, 64))))
    refused(tmp_path, "x.npz", b"PK\3\4 nothing", Corrupt, "no end record")
    refused(tmp_path, "x.npz", zipped(b"x", "x.txt"), BadInput, "without any")
    refused(tmp_path, "x.npz", zipped(saved(np.ones((64, 64))), kind=zipfile.ZIP_LZMA), BadInput, "another packing")
    end = good.rindex(b"PK\5\6")
    huge = good[: end + 10] + struct.pack("<HI", 65_535, 2**32 - 1) + good[end + 16 :]
    refused(tmp_path, "x.npz", huge, Corrupt, "claims 65535 members")
    central = good.index(b"PK\1\2")
    lies = good[: central + 24] + struct.pack("<I", 2**31) + good[central + 28 :]
    refused(tmp_path, "x.npz", lies, BadInput, None)
    flipped = bytearray(zipped(saved(np.ones((64, 64))), kind=zipfile.ZIP_STORED))
    flipped[2000] ^= 1
    refused(tmp_path, "x.npz", bytes(flipped), Corrupt, "CRC")


@pytest.mark.parametrize("order", ["C", "F"])
def test_npz_bomb(tmp_path, order, small_cap):
    """16 MiB of zeros in 16 kB: refused by default, read where the caller raises the cap."""
    path = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("x.npy", "w") as file,
    ):
        header = {"descr": "<f4", "fortran_order": order == "F", "shape": (1 << 15, 128)}
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(16):
            file.write(bytes(1 << 20))
    refused(tmp_path, "bomb.npz", path.read_bytes(), BadInput, r"bomb.*max_ratio")
    if order == "C":
        source = read_vectors(path, max_ratio=2000, limit=1000)
        assert not source.take(np.array([999])).any()


def test_vecs(tmp_path):
    def row(width, values=None):
        return struct.pack("<i", width) + bytes(4 * (values if values is not None else max(width, 0)))

    refused(tmp_path, "x.fvecs", b"\1\2", Corrupt, "cut short")
    for width in (0, -1, -(2**31), 2**31 - 1, 1000):
        refused(tmp_path, "x.fvecs", row(width, 8), Corrupt, f"width {width}")
    refused(tmp_path, "x.fvecs", row(4) + row(8), Corrupt, "got 4 in row 0 and 8 in row 1")
    refused(tmp_path, "x.fvecs", row(4) + row(4) + row(5, 4) + row(4), Corrupt, "width 4 in every row, got 5 in row 2")
    refused(tmp_path, "x.fvecs", row(4) * 5 + row(4)[:-1], Corrupt, "got 19 bytes behind row 4")
    refused(tmp_path, "x.bvecs", row(4) * 5, Corrupt, "width")


def test_bin(tmp_path):
    refused(tmp_path, "x.fbin", b"\1\0\0\0", Corrupt, "8 bytes of header")
    refused(tmp_path, "x.fbin", struct.pack("<II", 2**32 - 1, 2**32 - 1), Corrupt, "rows of width 4294967295")
    refused(tmp_path, "x.fbin", struct.pack("<II", 2**32 - 1, 2**24), Corrupt, "= 288230376084602880 bytes")
    refused(tmp_path, "x.fbin", struct.pack("<II", 0, 4), BadInput, "at least one row")
    refused(tmp_path, "x.fbin", struct.pack("<II", 4, 0), Corrupt, "width 0")
    refused(tmp_path, "x.u8bin", struct.pack("<II", 4, 4) + bytes(15), Corrupt, "cut short")
    refused(tmp_path, "x.u8bin", struct.pack("<II", 4, 4) + bytes(17), Corrupt, "1 bytes more")


def test_word_text(tmp_path):
    refused(tmp_path, "x.vec", b"1000000000000 300\nthe 1 2 3\n", Corrupt, "1000000000000 rows of width 300")
    refused(tmp_path, "x.vec", b"1 1000000000000\nthe 1 2 3\n", Corrupt, "width 1000000000000")
    refused(tmp_path, "x.vec.gz", gzip.compress(b"1000000000000 300\nthe 1 2 3\n"), Corrupt, "1000000000000 rows")
    refused(tmp_path, "x.vec", b"2 0\na\nb\n", Corrupt, "width 0")
    refused(tmp_path, "x.vec", b"0 2\n", BadInput, "at least one row")
    refused(tmp_path, "x.vec", b"3 2\na 1 2\nb 3 4\n", Corrupt, "says 3 rows, got 2")
    refused(tmp_path, "x.vec", b"1 2\na 1 2\nb 3 4\n", Corrupt, "says 1 rows, got 2")
    refused(tmp_path, "x.txt", b"a 1 2\nb 3\n", BadInput, "line 2: expected a word and 2 numbers, got 1")
    refused(tmp_path, "x.txt", b"a 1 2\nb 3 4 5\n", BadInput, "line 2: expected 2 numbers behind the word, got more")
    refused(tmp_path, "x.txt", b"a 1 2\nb 3 four\n", BadInput, "line 2: .*four")
    refused(tmp_path, "x.txt", b"a 1 2\n\xff 3 4\n", BadInput, "line 2: expected UTF-8 text, got byte 0xff")
    refused(tmp_path, "x.txt", b"a 1 2\nb\0 3 4\n", Corrupt, "line 2 holds NUL")
    refused(tmp_path, "x.txt", "a 1 2\n".encode("utf-16"), BadInput, "UTF-16")
    refused(tmp_path, "x.txt", b"words\nonly\n", BadInput, "a word and its numbers")
    refused(tmp_path, "x.txt", b"\n\n", BadInput, "no such line")
    refused(tmp_path, "x.txt", b"x" * (17 << 20), Corrupt, "longer than")
    refused(tmp_path, "x.vec.gz", b"a 1 2\n", Corrupt, "expected gzip")
    refused(tmp_path, "x.vec.gz", gzip.compress(b"a 1 2\nb 3 4\n")[:-9], Corrupt, "compressed data")
    refused(tmp_path, "x.vec.gz", gzip.compress(bytes(20 << 20)), Corrupt, "longer than|NUL")


def test_word_binary(tmp_path):
    row = b"word " + bytes(8)
    refused(tmp_path, "x.bin", b"1000000000000 300\n" + row, Corrupt, "1000000000000 rows of width 300")
    refused(tmp_path, "x.bin", b"1 1000000000000\n" + row, Corrupt, "width 1000000000000")
    refused(tmp_path, "x.bin", b"9" * 60 + b" 2\n" + row, Corrupt, "cut short|first line")
    refused(tmp_path, "x.bin", b"hello world\n" + row, Corrupt, "rows width")
    refused(tmp_path, "x.bin", b"\0" * 100, Corrupt, "rows width")
    refused(tmp_path, "x.bin", b"3 2\n" + row * 2, Corrupt, "cut short")
    refused(tmp_path, "x.bin", b"2 2\n" + row + b"longer " + bytes(3), Corrupt, "cut short")
    refused(tmp_path, "x.bin", b"1 2\n" + row * 2, Corrupt, "expected the end after 1 rows")
    refused(tmp_path, "x.bin", b"1 2\n" + bytes(200_000), Corrupt, "a word and a space")
    refused(tmp_path, "x.bin", (793_712_314).to_bytes(4, "little") + bytes(100), BadInput, "fastText")


def test_parquet(tmp_path, small_cap):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"

    def written(column, **options):
        pq.write_table(pa.table({"v": column}), path, **options)
        return path.read_bytes()

    pairs = pa.list_(pa.float32())
    refused(tmp_path, "x.parquet", written(pa.array([[1, 2], [3, 4], [5]], pairs)), BadInput, "got 1 in row 2")
    refused(tmp_path, "x.parquet", written(pa.array([[1, 2], None], pairs)), BadInput, "null in row 1")
    refused(tmp_path, "x.parquet", written(pa.array([None, [1, 2]], pairs)), BadInput, "null in row 0")
    refused(
        tmp_path, "x.parquet", written(pa.array([[1, 2], [3, None]], pairs)), BadInput, "null inside the list of row 1"
    )
    refused(tmp_path, "x.parquet", written(pa.array([[], []], pairs)), BadInput, r"got \[\] in row 0")
    refused(tmp_path, "x.parquet", written(pa.array([], pairs)), BadInput, "at least one row")
    refused(tmp_path, "x.parquet", written(pa.array([["a"]])), BadInput, "lists of 'string'")
    refused(tmp_path, "x.parquet", written(pa.array([1, 2])), BadInput, "got 0 among: 'v' ..int64")
    good = written(pa.array([[1, 2], [3, 4]], pairs))
    refused(tmp_path, "x.parquet", b"PAR1" + good[4:-1], Corrupt, "PAR1 at both ends")
    refused(tmp_path, "x.parquet", good[:-8] + struct.pack("<I", 2**31) + b"PAR1", Corrupt, "footer of 2147483648")
    refused(tmp_path, "x.parquet", good[:20] + good[40:], Corrupt, None)
    zeros = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(8 << 20, dtype=np.float32)), 1024)
    refused(tmp_path, "x.parquet", written(zeros), BadInput, "bomb")
    del zeros


def test_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py")
    path, secret = tmp_path / "t.hdf5", tmp_path / "secret.hdf5"
    with h5py.File(secret, "w") as file:
        file["train"] = np.ones((4, 4))

    def written(make):
        with h5py.File(path, "w") as file:
            make(file)
        return path.read_bytes()

    def link(file):
        file["train"] = h5py.ExternalLink(str(secret), "/train")

    def soft(file):
        file["other"] = h5py.ExternalLink(str(secret), "/")
        file["train"] = h5py.SoftLink("/other/train")

    def virtual(file):
        layout = h5py.VirtualLayout((4, 4), "f8")
        layout[:] = h5py.VirtualSource(str(secret), "train", (4, 4))
        file.create_virtual_dataset("train", layout)

    def external(file):
        file.create_dataset("train", (4, 4), "f8", external=[(str(secret), 0, 128)])

    def filled(file, **options):
        file["base"] = np.ones((4, 4))
        file["query"] = np.ones((4, 4))
        file.create_group("group")["x"] = np.ones((4, 4))

    refused(tmp_path, "x.hdf5", written(link), BadInput, "ExternalLink.*never followed")
    refused(tmp_path, "x.hdf5", written(soft), BadInput, "SoftLink.*never followed")
    refused(tmp_path, "x.hdf5", written(virtual), BadInput, "other files")
    refused(tmp_path, "x.hdf5", written(external), BadInput, "other files")
    refused(tmp_path, "x.hdf5", written(filled), BadInput, "'train', the file has: 'base', 'group', 'query'")
    refused(tmp_path, "x.hdf5", written(filled), BadInput, "is a group of: 'x'", key="group")
    refused(tmp_path, "x.hdf5", written(lambda f: f.create_dataset("train", data=np.ones(9))), BadInput, "2-D")
    refused(
        tmp_path, "x.hdf5", written(lambda f: f.create_dataset("train", data=[["a"]])), BadInput, "object|pickled|got"
    )
    huge = {"shape": (1 << 55, 128), "dtype": "f4"}
    refused(
        tmp_path,
        "x.hdf5",
        written(lambda f: f.create_dataset("train", chunks=(64, 128), **huge)),
        Corrupt,
        "chunks, got 0",
    )
    refused(
        tmp_path, "x.hdf5", written(lambda f: f.create_dataset("train", (1 << 40, 128), "f4")), Corrupt, "cut short"
    )
    none = {"shape": (0, 8), "dtype": "f4", "chunks": (8, 8), "maxshape": (None, 8)}
    refused(tmp_path, "x.hdf5", written(lambda f: f.create_dataset("train", **none)), BadInput, "at least one row")
    refused(tmp_path, "x.hdf5", b"PAR1" + bytes(100), Corrupt, "expected an HDF5")


def test_texts(tmp_path, small_cap):
    def jsonl(content, kind=BadInput, match=None):
        refused(tmp_path, "x.jsonl", content, kind, match, read=read_texts)

    jsonl(b'"a"\n{"text": \n', match="line 2: expected a JSON value")
    jsonl(b'"a"\n' + b"[" * 100_000, match="line 2: ")
    jsonl(b'"a"\n' + b"1" * 100_000, match="line 2: ")
    jsonl(b'"a"\n7\n', match="line 2: expected a string or an object")
    jsonl(b'{"text": "a"}\n{"txt": "b"}\n', match="line 2: expected the key 'text', got the keys 'txt'")
    jsonl(b'{"text": 5}\n', match="line 1: expected text in 'text', got 5")
    jsonl(b'{"id": "a", "text": "x"}\n{"id": "a", "text": "x"}\n', match="line 2: the id 'a' came before on line 1")
    jsonl(b'{"id": "a", "text": "x"}\n{"text": "x"}\n', match="line 2: expected an id on all")
    jsonl(b'{"text": "x"}\n{"id": "a", "text": "x"}\n', match="line 2: expected an id on all")
    jsonl(b'{"id": [], "text": "x"}\n', match="line 1: expected an id")
    jsonl(b'{"id": "\\ud800", "text": "x"}\n', match="line 1: expected Unicode in the id")
    jsonl(b'{"text": "\\udfff"}\n', match="line 1: expected Unicode")
    jsonl(b'"a"\n"\xe9"\n', match="line 2: expected UTF-8 text, got byte 0xe9")
    jsonl(b'"a"\n"\0"\n', Corrupt, "line 2 holds NUL")
    jsonl(b"\n\n", match="blank lines only")
    refused(tmp_path, "x.csv", b"a\n", BadInput, "expected .jsonl", read=read_texts)
    refused(tmp_path, "x.npy", b"a\n", BadInput, "expected .jsonl", read=read_texts)
    bomb = gzip.compress(b'"' + b"a" * 1000 + b'"\n') + gzip.compress((b'"' + b"a" * 1000 + b'"\n') * (8 << 10), 9)
    (tmp_path / "x.jsonl.gz").write_bytes(bomb)
    with pytest.raises(BadInput, match=r"bomb.*max_ratio"):
        read_texts(tmp_path / "x.jsonl.gz")


def test_paths(tmp_path, monkeypatch):
    np.save(tmp_path / "corpus.npy", np.ones((3, 3)))
    monkeypatch.chdir(tmp_path)
    for read in (read_vectors, read_texts, read_qrels, read_pairs, read_labels):
        with pytest.raises(BadInput, match=r"no such file; did you mean 'corpus\.npy'"):
            read("corpsu.npy")
        with pytest.raises(BadInput, match=r"got a folder; name a file in it: 'corpus\.npy'"):
            read(".")
        with pytest.raises(BadInput, match="there is no folder 'nowhere' either"):
            read("nowhere/corpus.npy")
        for wrong in (None, 3, "", "a\0b", b"corpus.npy"):
            with pytest.raises(BadInput, match="expected the path of a file"):
                read(wrong)
    with pytest.raises(BadInput, match=r"no such file"):
        read_vectors("corpus.npy/x.npy")
    if hasattr(os, "mkfifo"):
        os.mkfifo("pipe.npy")
        with pytest.raises(BadInput, match="regular file"):
            read_vectors("pipe.npy")
    for name, shown in [
        ("x.foo", "'.foo'"),
        ("x", "'no suffix'"),
        ("x.npy.gz", "'.npy.gz'"),
        ("x.jsonl", "read_texts"),
    ]:
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(BadInput, match=rf"expected one of \.npy .*{shown}"):
            read_vectors(name)
    for options in ({"key": "a"}, {"column": "a"}):
        with pytest.raises(BadInput, match="leave it out"):
            read_vectors("corpus.npy", **options)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file")
def test_permission(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.ones((3, 3)))
    path.chmod(0)
    with pytest.raises(BadInput, match="permission denied"):
        read_vectors(path)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is enforced on Linux only")
def test_sizes_under_a_memory_limit(tmp_path, run_limited):
    """Sparse files of many gigabytes, in a process that may have one: named, or read block by block."""

    def sparse(name, head, size):
        with open(tmp_path / name, "wb") as file:
            file.write(head)
            file.truncate(len(head) + size)
        return f"for block, _ in zip(read_vectors({str(tmp_path / name)!r}).blocks(), range(8)): pass"

    wide = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2147483648)}")
    assert "rows of width 2147483648, expected up to" in run_limited(sparse("a.npy", wide, 8 << 30), 1 << 30)
    tall = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (128, 8388608)}")
    assert run_limited(sparse("b.npy", tall, 4 << 30), 1 << 30) == ""
    text = f"read_texts({str(tmp_path / 'c.txt')!r})"
    sparse("c.txt", b"", 8 << 30)
    assert "longer than" in run_limited(text, 1 << 30)
    assert "expected an .npz" in run_limited(sparse("d.npz", b"PK", 8 << 30), 1 << 30)
    assert "row 0" in run_limited(sparse("e.bin", b"9000000 4\n", 8 << 30), 1 << 30)


def test_every_error_is_one_line_of_json(tmp_path):
    """Errors quote what came: newlines and control characters from a file never reach the terminal raw."""
    refused(tmp_path, "x.npy", npy("{'descr': '\x1b[31m\n', 'fortran_order': False, 'shape': (4, 4)}"), Corrupt)
    refused(tmp_path, "x.jsonl", json.dumps({"\x1b[2J\n": 1}).encode(), BadInput, read=read_texts)
    refused(tmp_path, "x.txt", b"a 1 2\nb \x1b[2J 1\n", BadInput)
