"""Writing and exchange stay at one block of memory, whatever the size: the peak of a process that does it."""

import struct
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")

CONVERT = """
from nearfield.store.io_write import write_vectors
warm = write_vectors(OUT + ".npy", np.ones((2, 2), "f4"))
start = peak()
rows = write_vectors(OUT, read_vectors(PATH))
print(rows, peak() - start)
"""
EXCHANGE = """
from nearfield.store.exchange import RowBatch, read_rows, write_rows
def batches():
    rng = np.random.default_rng(0)
    for b in range(COUNT):
        ids = list(range(b * 500, b * 500 + 500))
        x = rng.random((500, 64), dtype="f4")
        yield RowBatch(ids, ["text " * 20] * 500, [{"n": i, "s": str(i)} for i in ids], {"vector": x})
write_rows(PATH, [next(batches())])
warm = sum(len(b) for b in read_rows(PATH))
start = peak()
rows = write_rows(PATH, batches())
wrote = peak() - start
read = sum(len(b) for b in read_rows(PATH, rows=500))
print(rows, read, wrote, peak() - start)
"""


def hole(path, rows, width):
    with open(path, "wb") as file:
        file.write(struct.pack("<II", rows, width))
        file.truncate(8 + rows * width * 4)


@pytest.mark.parametrize(
    "suffix",
    [".npy", ".fvecs", pytest.param(".npz", marks=pytest.mark.slow), pytest.param(".hdf5", marks=pytest.mark.slow)],
)
def test_a_quarter_of_a_gigabyte(tmp_path, run_limited, suffix):
    if suffix == ".hdf5":
        pytest.importorskip("h5py")
    rows = (256 << 20) // (4 * 128)
    hole(tmp_path / "x.fbin", rows, 128)
    code = CONVERT.replace("OUT", repr(str(tmp_path / f"y{suffix}"))).replace("PATH", repr(str(tmp_path / "x.fbin")))
    got, grown = map(int, run_limited(code).split())
    assert got == rows
    assert grown < 100  # MiB: a few blocks of 16


@pytest.mark.parametrize(
    "suffix",
    [
        ".jsonl",
        ".arrow",
        pytest.param(".parquet", marks=pytest.mark.slow),
        pytest.param(".csv", marks=pytest.mark.slow),
    ],
)
def test_many_batches(tmp_path, run_limited, suffix):
    """24,000 rows of 64 numbers or more take no more than a few batches of 500 do; slow formats take fewer."""
    if suffix in (".arrow", ".parquet"):
        pytest.importorskip("pyarrow")
    count = {".arrow": 300, ".parquet": 300}.get(suffix, 24)
    code = EXCHANGE.replace("PATH", repr(str(tmp_path / f"x{suffix}"))).replace("COUNT", str(count))
    rows, read, wrote, both = map(int, run_limited(code).split())
    assert rows == read == 500 * count
    assert wrote < 40
    assert both < 60
