"""Arrow IPC files and streams: written by pyarrow and datasets, read back; damage ends in one line."""

import numpy as np
import pytest

from nearfield.core.errors import BadInput, Corrupt
from nearfield.store.io import read_vectors
from store.test_io_fuzz import fuzz_other_process

pa = pytest.importorskip("pyarrow")
ipc = pytest.importorskip("pyarrow.ipc")
X = np.random.default_rng(0).integers(-40, 40, size=(50, 7))


def table(dtype="f4", kind="fixed"):
    flat = pa.array(X.astype(dtype).ravel())
    lists = {"fixed": pa.list_(flat.type, 7), "list": pa.list_(flat.type), "large": pa.large_list(flat.type)}[kind]
    column = pa.FixedSizeListArray.from_arrays(flat, 7).cast(lists)
    return pa.table({"id": [f"é{i}" for i in range(50)], "emb": column, "n": list(range(50))})


def write(path, made, stream=False, **options):
    with (ipc.new_stream if stream else ipc.new_file)(path, made.schema, options=ipc.IpcWriteOptions(**options)) as out:
        out.write_table(made, max_chunksize=13)
    return path


@pytest.mark.parametrize("kind", ["fixed", "list", "large"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u8"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_round_trip(tmp_path, dtype, kind, stream, compression):
    x = X.astype(dtype)
    source = read_vectors(write(str(tmp_path / "x.arrow"), table(dtype, kind), stream, compression=compression))
    assert source.dtype == x.dtype
    for rows in (0, 1, 5, 100):
        np.testing.assert_array_equal(np.concatenate(list(source.blocks(rows))), x)
    np.testing.assert_array_equal(source.take(np.array([49, 0, 0, 20])), x[[49, 0, 0, 20]])
    assert source.ids == [f"é{i}" for i in range(50)]
    few = read_vectors(tmp_path / "x.arrow", limit=20, column="emb")
    assert (few.shape, few.ids) == ((20, 7), [f"é{i}" for i in range(20)])
    np.testing.assert_array_equal(few.array(), x[:20])


def test_feather(tmp_path):
    feather = pytest.importorskip("pyarrow.feather")
    feather.write_feather(table(), str(tmp_path / "x.feather"))
    np.testing.assert_array_equal(read_vectors(tmp_path / "x.feather").array(), X)


def test_refusals(tmp_path):
    path = str(tmp_path / "x.arrow")

    def refused(made, match, kind=BadInput, **options):
        write(path, made)
        with pytest.raises(kind, match=match):
            read_vectors(path, **options).array()

    pairs = pa.list_(pa.float32())
    refused(table(), "'x', the file has: 'id'", column="x")
    refused(table(), "the column 'n' is int64", column="n")
    refused(pa.table({"v": pa.array([[1, 2], [3]], pairs)}), "got 1 in row 1")
    refused(pa.table({"v": pa.array([[1, 2], None], pairs)}), "null in row 1")
    refused(pa.table({"v": pa.array([None, [1, 2]], pairs)}), "null in row 0")
    refused(pa.table({"v": pa.array([[1, None]], pairs)}), "null inside the list of row 0")
    refused(pa.table({"v": pa.array([], pairs)}), "at least one row")
    refused(pa.table({"v": pa.array([[], []], pairs)}), r"got \[\] in row 0")
    refused(pa.table({"v": [["a"]]}), "lists of 'string'")
    refused(pa.table({"v": [1]}), "got 0 among")
    good = table()
    refused(good.append_column("w", good["emb"]), "got 2 among")


def test_not_arrow(tmp_path):
    path = tmp_path / "x.arrow"
    for content in (b"PAR1" * 9, b"ARROW1\0\0", b"ARROW1" + bytes(50), b"\xff\xff\xff\xff" + bytes(3), b"x"):
        path.write_bytes(content)
        with pytest.raises(Corrupt, match="Arrow"):
            read_vectors(path)
    good = write(str(path), table()) and path.read_bytes()
    path.write_bytes(good[:-10] + b"\xff\xff\xff\x7f" + good[-6:])
    with pytest.raises(Corrupt, match="up to its footer"):
        read_vectors(path)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["fixed", "list"])
def test_damage(tmp_path, run_limited, kind, stream):
    """Cut, flipped and overwritten in a process of its own: data or one line, in bounded memory."""
    path = tmp_path / "x.arrow"
    write(str(path), table(kind=kind).slice(0, 12), stream)
    fuzz_other_process(run_limited, path, 150, seed=int(stream))
