"""safetensors: files of the reference implementation are read, hostile headers refused before anything is allocated."""

import json
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearfield.core.errors import BadInput, Corrupt, NearfieldError
from nearfield.store.io import read_vectors

X = np.random.default_rng(0).normal(size=(12, 5)).astype("<f4")
FUZZ = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def file(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape=(12, 5), dtype="F32", start=0, stop=None):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, X.nbytes if stop is None else stop]}


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_files_of_the_reference(tmp_path, dtype):
    theirs = pytest.importorskip("safetensors.numpy")
    x, path = (X * 10 + 50).astype(dtype), tmp_path / "x.safetensors"
    theirs.save_file({"b": x, "a": x[:3], "bias": x[0]}, path, metadata={"format": "np"})
    for key, want in (("a", x[:3]), ("b", x)):
        source = read_vectors(path, key=key)
        assert source.dtype == x.dtype
        np.testing.assert_array_equal(source.array(), want)
        np.testing.assert_array_equal(source.take(np.array([2, 0])), want[[2, 0]])
    assert read_vectors(path, key="b", limit=4).shape == (4, 5)
    theirs.save_file({"b": x, "bias": x[0]}, path)
    np.testing.assert_array_equal(read_vectors(path).array(), x)


def test_bfloat16_is_widened(tmp_path):
    theirs = pytest.importorskip("safetensors.numpy")
    types = pytest.importorskip("ml_dtypes")
    bits = np.arange(1 << 16, dtype=np.uint16).reshape(-1, 64)  # every bfloat16 there is, NaNs too
    path = tmp_path / "x.safetensors"
    theirs.save_file({"x": bits.view(types.bfloat16)}, path)
    source = read_vectors(path)
    want = bits.view(types.bfloat16).astype(np.float32)
    assert source.dtype == np.float32
    np.testing.assert_array_equal(source.array(), want)
    np.testing.assert_array_equal(np.concatenate(list(source.blocks(7))), want)
    np.testing.assert_array_equal(source.take(np.array([1023, 0])), want[[1023, 0]])


ODD = [
    (b"", Corrupt, "empty file"),
    (b"\1\0\0", Corrupt, "header of up to 0 bytes"),
    (file({"x": entry()}, X.tobytes(), 1 << 60), Corrupt, "one of 1152921504606846976"),
    (file({"x": entry()}, X.tobytes(), 0), Corrupt, "got one of 0"),
    (file(b" " * (5 << 20)), Corrupt, "up to 4194304 bytes, got one of 5242880"),
    (file(b"[" * 60_000), Corrupt, "JSON header"),
    (file(b"\xff\xfe"), Corrupt, "JSON header"),
    (file([1]), Corrupt, "a JSON object"),
    (file(b'{"x": 1' + b"0" * 9000 + b"}"), Corrupt, "JSON header"),
    (file(b'{"x": {}, "x": {}}'), Corrupt, "a key comes twice"),
    (file(b'{"x": {"dtype": "F32", "dtype": "F64"}}'), Corrupt, "a key comes twice"),
    (file({}), BadInput, "got 0 among none"),
    (file({"__metadata__": {"a": "b"}}), BadInput, "got 0 among none"),
    (file({"x": 5}), Corrupt, "dtype, shape and data_offsets"),
    (file({"x": entry() | {"shape": "ab"}}, X.tobytes()), Corrupt, "dtype, shape and data_offsets"),
    (file({"x": entry((12.0, 5))}, X.tobytes()), Corrupt, "dtype, shape and data_offsets"),
    (file({"x": entry((True, 60))}, X.tobytes()), Corrupt, "dtype, shape and data_offsets"),
    (file({"x": entry((-12, -5))}, X.tobytes()), Corrupt, "dtype, shape and data_offsets"),
    (file({"x": entry((1 << 63, 0), stop=0)}), Corrupt, "dtype, shape and data_offsets"),
    (file({"x": entry((1 << 62, 1 << 62))}, X.tobytes()), Corrupt, "of shape .4611686018427387904"),
    (file({"x": entry((1,) * 65)}, X.tobytes()), Corrupt, "dtype, shape and data_offsets"),
    (file({"x": entry((13, 5))}, X.tobytes()), Corrupt, r"= 260 bytes, but the byte range \[0, 240\]"),
    (file({"x": entry(dtype="F64")}, X.tobytes()), Corrupt, "= 480 bytes"),
    (file({"x": entry(dtype="Q7")}, X.tobytes()), Corrupt, "known number type"),
    (file({"x": entry(stop=-4)}, X.tobytes()), Corrupt, "data_offsets"),
    (file({"x": entry(start=240, stop=0)}, X.tobytes()), Corrupt, "byte range"),
    (file({"x": entry()}, X.tobytes()[:-1]), Corrupt, "end at byte"),
    (file({"x": entry()}, X.tobytes() + b"x"), Corrupt, "end at byte"),
    (file({"x": entry(start=8, stop=248)}, bytes(8) + X.tobytes()), Corrupt, "leaves a hole"),
    (file({"x": entry(), "y": entry((6, 5), stop=120)}, X.tobytes()), Corrupt, "overlaps"),
    (file({"x": entry(), "y": entry(start=200, stop=440)}, bytes(440)), Corrupt, "overlaps"),
    (file({"x": entry((60,))}, X.tobytes()), BadInput, r"1-D of shape \(60,\)"),
    (file({"x": entry((3, 4, 5))}, X.tobytes()), BadInput, "3-D"),
    (file({"x": entry((0, 5), stop=0)}), BadInput, "at least one row"),
    (file({"x": entry((5, 0), stop=0)}), Corrupt, "width 0"),
    (file({"x": entry((12, 20), dtype="BOOL")}, X.tobytes()), BadInput, "got BOOL"),
    (file({"x": entry((12, 20), dtype="F8_E4M3")}, X.tobytes()), BadInput, "got F8_E4M3"),
    (file({"x": entry(), "y": entry(start=240, stop=480)}, bytes(480)), BadInput, r"got 2 among .*key=\.\.\."),
    (file({"x": entry((1, 1 << 25), dtype="U8", stop=1 << 25)}, bytes(1 << 25)), Corrupt, "rows of width 33554432"),
]


@pytest.mark.parametrize("case", range(len(ODD)))
def test_odd_files_are_refused(tmp_path, case):
    content, kind, match = ODD[case]
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(kind, match=match) as caught:
            read_vectors(path).array()
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert "x.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_keys(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(file({"x": entry()}, X.tobytes()))
    with pytest.raises(BadInput, match=r"a key among 'x' F32 \(12, 5\), got 'y'"):
        read_vectors(path, key="y")
    with pytest.raises(BadInput, match="leave it out"):
        read_vectors(path, column="x")


def test_every_truncation(tmp_path):
    good, path = file({"x": entry()}, X.tobytes()), tmp_path / "x.safetensors"
    for size in range(len(good)):
        path.write_bytes(good[:size])
        with pytest.raises(NearfieldError):
            read_vectors(path)


@FUZZ
@given(data=st.data())
def test_damage(tmp_path, data):
    """Flipped bytes and numbers written over: data or a NearfieldError, in little memory."""
    good = bytearray(file({"x": entry(), "y": entry((60,), start=240, stop=480)}, X.tobytes() * 2))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 160))
        piece = data.draw(st.sampled_from([b"9", b"-", b"]", b"0", b'"', b"{", b"99999999", b"\xff" * 8, b"e9"]))
        good[at : at + len(piece)] = piece
    path = tmp_path / "x.safetensors"
    path.write_bytes(bytes(good))
    tracemalloc.start()
    try:
        source = read_vectors(path)
        assert source.array().shape == source.shape
    except NearfieldError as error:
        assert "\n" not in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 16 << 20
