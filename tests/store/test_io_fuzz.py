"""Damage at random to every format: the result is data or a NearfieldError, nothing else.

HDF5 and Parquet are parsed by other people's C and C++ code, so those two run in a process of their own.
"""

import gzip
import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearfield.core.errors import NearfieldError
from nearfield.store.io import read_labels, read_pairs, read_qrels, read_texts, read_vectors

X = np.random.default_rng(0).integers(-40, 40, size=(12, 5)).astype("<f4")
PEAK = 64 << 20
# What is read with a note is not refused.
pytestmark = pytest.mark.filterwarnings("ignore::nearfield.core.errors.DataWarning")
FUZZ = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def saved(x):
    file = io.BytesIO()
    np.save(file, x)
    return file.getvalue()


def zipped(save):
    file = io.BytesIO()
    save(file, a=X, b=X[:3], c=np.array(["x"]))
    return file.getvalue()


WORDS = "12 5\n" + "".join(f"w{i} {' '.join(map(str, row))}\n" for i, row in enumerate(X))
GOOD = {
    "c.npy": saved(X),
    "f.npy": saved(np.asfortranarray(X)),
    "s.npz": zipped(np.savez),
    "z.npz": zipped(np.savez_compressed),
    "x.fvecs": b"".join(struct.pack("<i", 5) + row.tobytes() for row in X),
    "x.bvecs": b"".join(struct.pack("<i", 5) + row.tobytes() for row in X.astype("u1")),
    "x.ivecs": b"".join(struct.pack("<i", 5) + row.tobytes() for row in X.astype("<i4")),
    "x.fbin": struct.pack("<II", 12, 5) + X.tobytes(),
    "x.u8bin": struct.pack("<II", 12, 5) + X.astype("u1").tobytes(),
    "x.vec": WORDS.encode(),
    "x.vec.gz": gzip.compress(WORDS.encode()),
    "x.txt": WORDS.partition("\n")[2].encode(),
    "x.bin": b"12 5\n" + b"".join(b"w%d " % i + row.tobytes() + b"\n" for i, row in enumerate(X)),
}
TEXTS = {
    "x.jsonl": b'{"_id": "a", "title": "t", "text": "one"}\n{"_id": "b", "title": "", "text": "two \xc3\xa9"}\n',
    "x.jsonl.gz": gzip.compress(b'{"id": 1, "text": "one"}\n{"id": 2, "text": "two"}\n'),
    "x.txt": "one\n\ntwo é\n".encode(),
    "x.tsv": b"query-id\tcorpus-id\tscore\n1\ta\t1\n2\tb\t0\n",
    "x.csv": b'sentence1,sentence2,score\n"a ""x""",b,1.5\nc,"d,e",2\n',
    "l.npy": saved(np.array([3, 1, 2])),
    "u.npy": saved(np.array(["a", "bc"])),
}
READERS = {"texts": read_texts, "qrels": read_qrels, "pairs": read_pairs, "labels": read_labels}


@st.composite
def damage(draw, good):
    """Cut, flip bytes, put in or take out a few, or write a huge or negative integer somewhere."""
    data = bytearray(good)
    if draw(st.booleans()):
        del data[draw(st.integers(0, len(data) - 1)) :]
    for _ in range(draw(st.integers(0, 3))):
        if data:
            at = draw(st.integers(0, len(data) - 1))
            data[at] = draw(st.integers(0, 255))
    if data and draw(st.booleans()):
        at = draw(st.integers(0, len(data) - 1))
        size = draw(st.sampled_from([0, 0, 4, 8]))
        data[at : at + size] = draw(
            st.sampled_from(
                [b"", b"\0", b"\n", b" ", b"9" * 12, b"\xff" * 4, b"\xff" * 8, b"\xff\xff\xff\x7f", b"\0" * 8]
            )
        )
    return bytes(data)


def check_line(error, name):
    assert "\n" not in str(error)
    assert name in str(error)


def read_all(path, **options):
    """Data or a NearfieldError; anything else is a failure. Returns whether it was data."""
    tracemalloc.start()
    try:
        source = read_vectors(path, **options)
        rows, width = source.shape
        seen = 0
        for block in source.blocks(rows=5):
            assert block.shape[1] == width
            assert block.dtype == source.dtype
            seen += len(block)
        assert seen == rows
        assert source.take(np.array([rows - 1, 0])).shape == (2, width)
        assert source.ids is None or len(source.ids) == rows
    except NearfieldError as error:
        check_line(error, path.name)
        return False
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < PEAK
    return True


def options_of(name):
    return {"key": "a"} if name.endswith(".npz") else {}


@pytest.mark.parametrize("name", GOOD)
def test_every_truncation(tmp_path, name):
    """Cut at every length: data only where the format cannot tell (a whole number of rows or lines)."""
    good, path = GOOD[name], tmp_path / name
    path.write_bytes(good)
    assert read_all(path, **options_of(name))
    read = []
    for size in range(len(good)):
        path.write_bytes(good[:size])
        if read_all(path, **options_of(name)):
            read.append(size)
    if name.endswith("vecs"):
        assert read == list(range(len(good) // 12, len(good), len(good) // 12))
    elif name == "x.txt":
        # no row but the first with a number missing
        assert all(size <= good.index(b"\n") or good[:size].count(b" ") % 5 == 0 for size in read)
    else:
        # an end of line that is missing, and the last digit or the line's last ".0", cannot be told
        assert set(read) <= set(range(len(good) - 5, len(good)))


@pytest.mark.parametrize("name", GOOD)
@FUZZ
@given(data=st.data())
def test_damaged_vectors(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data.draw(damage(GOOD[name])))
    read_all(path, **options_of(name))


@pytest.mark.parametrize("reader", READERS)
@FUZZ
@given(data=st.data())
def test_damaged_texts(tmp_path, reader, data):
    name = data.draw(st.sampled_from(sorted(TEXTS)))
    path = tmp_path / name
    path.write_bytes(data.draw(damage(TEXTS[name])))
    try:
        assert len(READERS[reader](path)) > 0
    except NearfieldError as error:
        check_line(error, name)


@FUZZ
@given(data=st.data())
def test_damaged_members(tmp_path, data):
    """Damage to the .npy inside an intact archive, which the archive's own checks cannot see."""
    kind = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    name = data.draw(st.sampled_from(["c.npy", "f.npy"]))
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("x.npy", data.draw(damage(GOOD[name])))
    read_all(path)


@given(content=st.binary(max_size=300), name=st.sampled_from(sorted(GOOD)))
@FUZZ
def test_bytes_of_nothing(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    read_all(path)


HELPER = """
from pathlib import Path
good, rng = Path(PATH).read_bytes(), np.random.default_rng(SEED)
path = Path(PATH).with_name("damaged" + Path(PATH).suffix)
read = refused = 0
for trial in range(TRIALS):
    data = bytearray(good)
    if trial % 3 == 0:
        del data[rng.integers(len(data)):]
    else:
        for _ in range(rng.integers(1, 6)):
            data[rng.integers(len(data))] = rng.choice([0, 1, 255, 127, rng.integers(256)])
    path.write_bytes(data)
    try:
        source = read_vectors(path)
        assert sum(len(b) for b in source.blocks(rows=5)) == len(source)
        source.take(np.array([0, len(source) - 1]))
        source.ids
        read += 1
    except NearfieldError as error:
        assert "\\n" not in str(error), str(error)
        refused += 1
print(read, refused, peak() - before if before else 0)
"""


def fuzz_other_process(run_limited, path, trials, seed=0):
    code = HELPER.replace("PATH", repr(str(path))).replace("SEED", str(seed)).replace("TRIALS", str(trials))
    read, refused, growth = map(int, run_limited(code).split())
    assert growth < 256  # MiB, most of it the imports
    assert read + refused == trials
    assert refused >= trials // 3 - 1  # every truncation, at the least


@pytest.mark.parametrize("kind", ["fixed", "list"])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_damaged_parquet(tmp_path, run_limited, kind, compression):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    column = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 5)
    column = column if kind == "fixed" else column.cast(pa.list_(pa.float32()))
    path = tmp_path / "x.parquet"
    pq.write_table(
        pa.table({"id": [str(i) for i in range(12)], "v": column}), path, row_group_size=5, compression=compression,
        write_page_checksum=compression == "zstd",
    )  # fmt: skip
    fuzz_other_process(run_limited, path, 150)


@pytest.mark.parametrize("options", [{}, {"chunks": (4, 5)}, {"chunks": (4, 5), "compression": "gzip"}])
def test_damaged_hdf5(tmp_path, run_limited, options):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "x.hdf5"
    with h5py.File(path, "w") as file:
        file.create_dataset("train", data=X, **options)
        file["test"] = X[:3]
    fuzz_other_process(run_limited, path, 150)
