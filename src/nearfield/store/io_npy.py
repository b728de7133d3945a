"""Readers of NumPy's own files: .npy and .npz. Never pickle; the header is matched, not evaluated."""

from __future__ import annotations

import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import NearfieldError
from nearfield.store import io_base as base

MAGIC = b"\x93NUMPY"
MAX_HEADER = 64 << 10
MAX_DIRECTORY = 16 << 20  # bytes of a zip's list of members: 100,000 arrays
_DESCR = re.compile(r"'descr'\s*:\s*'([^']*)'")
_FORTRAN = re.compile(r"'fortran_order'\s*:\s*(True|False)\b")
_SHAPE = re.compile(r"'shape'\s*:\s*\(([\s\d,L-]*)\)")
_PLAIN = re.compile(r"[<>|=]?[?bBhHiIlLqQefdg]|[<>|=]?[fiubcSUVmMO]\d{0,6}(\[[^\]]*\])?")


@dataclass(frozen=True)
class Header:
    """What an .npy header says, and at which byte the values start."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    offset: int


def parse_header(path: str, head: bytes) -> Header:
    """Read an .npy header from the first bytes of a file or member.

    Raises ``Corrupt`` for anything but a header, ``BadInput`` for types that are not plain.
    """
    if not head.startswith(MAGIC):
        raise base.corrupt(
            path, f"expected an .npy file, got one that starts with {base.shown(head[:8])}; {_rename(head)}"
        )
    if len(head) < 12 or head[6] not in (1, 2, 3):
        raise base.corrupt(
            path, f"expected .npy version 1, 2 or 3, got {base.shown(head[6:8])}; save it again with numpy"
        )
    start = 10 if head[6] == 1 else 12
    length = struct.unpack_from("<H" if head[6] == 1 else "<I", head, 8)[0]
    if length > MAX_HEADER:
        raise base.corrupt(
            path, f"expected a header of a few hundred bytes, got one of {length}; save it again with numpy"
        )
    if len(head) < start + length:
        raise base.corrupt(path, "ends inside its header; fetch it again")
    text = head[start : start + length].decode("latin-1")
    found = _DESCR.search(text), _FORTRAN.search(text), _SHAPE.search(text)
    if "'descr': [" in text:
        raise base.bad(path, "expected plain numbers, got a structured type; save one field as a 2-D array")
    if not all(found):
        raise base.corrupt(path, f"expected an .npy header with descr, fortran_order and shape, got {base.shown(text)}")
    descr, fortran, shape = (cast("re.Match[str]", m)[1] for m in found)
    return Header(_shape(path, shape), _dtype(path, descr), fortran == "True", start + length)


def _rename(head: bytes) -> str:
    known = {b"PK": ".npz", b"\x89HDF": ".hdf5", b"PAR1": ".parquet", b"\x1f\x8b": ".gz (unpack it first)"}
    for magic, suffix in known.items():
        if head.startswith(magic):
            return f"it looks like {suffix}: name it so"
    return "save it with numpy.save"


def _shape(path: str, text: str) -> tuple[int, ...]:
    parts = [p.strip().rstrip("L") for p in text.split(",")]
    parts = parts[:-1] if parts[-1] == "" else parts
    if len(parts) > 64 or not all(re.fullmatch(r"-?\d{1,30}", p) for p in parts):
        raise base.corrupt(path, f"expected a shape of integers, got ({base.shown(text)}); save it again with numpy")
    return tuple(int(p) for p in parts)


def _dtype(path: str, descr: str) -> np.dtype[Any]:
    try:
        if descr and _PLAIN.fullmatch(descr):
            return np.dtype(descr)
    except (TypeError, ValueError, OverflowError):
        pass
    raise base.corrupt(path, f"expected a number type such as '<f4', got {base.shown(descr)}; save it again with numpy")


def check_2d(path: str, header: Header, name: str = "") -> tuple[int, int]:
    """Return (rows, width) of a header, or say what the array is instead."""
    what = f"the array {name!r}" if name else "the array"
    base.check_dtype(path, header.dtype)
    if any(s < 0 for s in header.shape):
        raise base.corrupt(
            path, f"{what} says shape {base.shown(header.shape)}, expected positive sizes; save it again"
        )
    if len(header.shape) != 2:
        fix = (
            "x[None, :] is one row of it"
            if len(header.shape) == 1
            else "reshape it before saving: x.reshape(len(x), -1)"
        )
        raise base.bad(
            path,
            f"expected a 2-D array (rows, width), {what} is "
            f"{len(header.shape)}-D of shape {base.shown(header.shape)}; {fix}",
        )
    rows, width = header.shape
    base.check_form(path, rows, width, what)
    return rows, width


def read_npy(path: str, limit: int | None) -> base.Source:
    """Open an .npy file. C order is read in runs of rows, Fortran order column by column."""
    with base.positioned(path) as file:
        header = parse_header(path, file.bytes_at(0, MAX_HEADER + 12))
        size = file.size
    rows, width = check_2d(path, header)
    base.check_bytes(path, rows, width, header.dtype.itemsize, size - header.offset)
    kind = base.ColumnFile if header.fortran and rows > 1 and width > 1 else base.RowFile
    opener = base.file_opener(path, size)
    return kind(path, rows, width, header.dtype, limit, offset=header.offset, opener=opener)


# ---- npz ------------------------------------------------------------------------------------------
@contextmanager
def zip_reading(path: str) -> Iterator[None]:
    """Turn what zipfile raises on damaged archives into ``Corrupt``."""
    try:
        with base.reading(path):
            yield
    except (zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RuntimeError, OverflowError) as error:
        raise base.corrupt(
            path, f"expected an intact .npz archive, got: {base.shown(str(error))}; fetch it again"
        ) from None
    except (UnicodeDecodeError, KeyError, IndexError) as error:
        raise base.corrupt(
            path, f"the archive's list of members is damaged ({base.shown(str(error))}); fetch it again"
        ) from None


def _check_directory(path: str) -> None:
    """Refuse a huge list of members: zipfile reads it whole, before any of our checks."""
    with base.positioned(path) as file:
        tail = file.bytes_at(max(0, file.size - 65_557), 65_557)
        at = tail.rfind(b"PK\5\6")
        if at < 0 or len(tail) < at + 22:
            raise base.corrupt(
                path,
                "expected an .npz (zip) archive, got no end record; it is cut short or no archive, fetch it again",
            )
        count, size = struct.unpack_from("<HI", tail, at + 10)
        if at >= 20 and tail[at - 20 : at - 16] == b"PK\6\7":
            record = file.bytes_at(struct.unpack_from("<Q", tail, at - 12)[0], 56)
            if len(record) == 56:
                count, size = struct.unpack_from("<QQ", record, 32)
    if size > MAX_DIRECTORY:
        raise base.corrupt(
            path, f"claims {count} members listed in {size} bytes, expected a handful of arrays; save it again"
        )


@contextmanager
def _member(path: str, name: str) -> Iterator[IO[bytes]]:
    with zip_reading(path), zipfile.ZipFile(path) as archive, archive.open(name) as stream:
        yield stream


Arrays: TypeAlias = dict[str, tuple[zipfile.ZipInfo, Header]]


def members(path: str, key: str | None) -> Arrays:
    """Return the arrays of an .npz by key, each with what its header says, without unpacking any.

    An array that cannot be read is left out, unless it is the one asked for or there is no other.
    """
    _check_directory(path)
    out: Arrays = {}
    bad: dict[str, NearfieldError] = {}
    with zip_reading(path), zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.filename.endswith(".npy"):
                with archive.open(info) as stream:
                    head = stream.read(12)
                    if len(head) == 12 and head[6] in (1, 2, 3):
                        head += stream.read(
                            min(MAX_HEADER, int.from_bytes(head[8 : 10 if head[6] == 1 else 12], "little"))
                        )
                name = info.filename.removesuffix(".npy")
                try:
                    out[name] = info, parse_header(path, head)
                except NearfieldError as error:
                    bad[name] = error
    if bad and (key in bad or not out):
        raise bad.get(key or "", next(iter(bad.values())))
    if not out:
        raise base.bad(path, "expected an .npz archive of arrays, got one without any; save it with numpy.savez")
    return out


def read_npz(path: str, key: str | None, limit: int | None, max_ratio: float) -> base.Source:
    """Open one 2-D array of an .npz: the one named, or the only one there is."""
    arrays = members(path, key)
    name = key if key is not None else only(path, arrays)
    if name not in arrays:
        raise base.bad(path, f"expected a key among {_listed(arrays)}, got {base.shown(name)}; pass one of them")
    info, header = arrays[name]
    rows, width = check_2d(path, header, name)
    base.check_ratio(path, info.file_size, info.compress_size, max_ratio)
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise base.bad(
            path, f"expected the array {name!r} plain or deflated, got another packing; save it with numpy.savez"
        )
    base.check_bytes(path, rows, width, header.dtype.itemsize, info.file_size - header.offset)
    return ZipArray(path, info, header, limit)


def _listed(arrays: Arrays, most: int = 8) -> str:
    items = [f"{base.shown(k, 40)} {h.dtype} {base.shown(h.shape)}" for k, (_, h) in arrays.items()]
    return "; ".join(items[:most]) + (f"; and {len(items) - most} more" if len(items) > most else "")


def only(path: str, arrays: Arrays) -> str:
    """The name of the only array that may hold vectors."""
    if len(arrays) == 1:
        return next(iter(arrays))
    fit = [k for k, (_, h) in arrays.items() if len(h.shape) == 2 and h.dtype.name in base.DTYPES]
    if len(fit) == 1:
        return fit[0]
    advice = "choose one with key=..." if fit else "save the vectors as a 2-D array"
    if {"data", "indices", "indptr"} <= arrays.keys():
        advice = "it is a scipy sparse matrix: save x.toarray()"
    raise base.bad(path, f"expected one 2-D array of numbers, got {len(fit)} among {_listed(arrays)}; {advice}")


def column(path: str, arrays: Arrays, name: str, rows: int, kinds: str, max_ratio: float) -> list[Any]:
    """Read the values of one array, one for each row; ``kinds`` are NumPy's letters of the types that it may have."""
    info, header = arrays[name]
    dtype, what = header.dtype, f"the array {name!r}"
    wanted = "text" if kinds == "U" else "integers or text"
    if header.shape != (rows,):
        raise base.bad(
            path, f"expected a value in {what} for each of {rows} rows, got shape {base.shown(header.shape)}; save one"
        )
    if dtype.kind not in kinds or not dtype.itemsize:
        raise base.bad(path, f"expected {wanted} in {what}, got {base.shown(str(dtype))}; convert it before saving")
    base.check_ratio(path, info.file_size, info.compress_size, max_ratio)
    base.check_bytes(path, rows, 1, dtype.itemsize, info.file_size - header.offset)
    out = np.empty((rows, 1), dtype=dtype)
    with _member(path, info.filename) as stream:
        stream.read(header.offset)
        fill(stream, out, path)
        stream.read(1)  # at the end of the member zipfile compares the checksum
    try:
        values: list[Any] = out[:, 0].tolist()
    except (ValueError, SystemError):  # code points beyond Unicode
        raise base.corrupt(path, f"expected text in {what}, got code points that do not exist; save it again") from None
    return values


class ZipArray(base.Streamed):
    """One array of an .npz. ``blocks`` unpacks from the start and so verifies the archive's checksum;
    ``take`` reads at an offset where the member is stored plain. A deflated member in Fortran order is
    unpacked once into a temporary file, since no part of it alone holds whole rows."""

    def __init__(self, path: str, info: zipfile.ZipInfo, header: Header, limit: int | None) -> None:
        rows, width = header.shape
        super().__init__(path, rows, width, base.check_dtype(path, header.dtype), limit)
        self.info, self.header = info, header
        self._flat: base.RowFile | None = None
        columns = header.fortran and rows > 1 and width > 1
        if info.compress_type == zipfile.ZIP_STORED:
            self._flat = self._rows_at(
                _data_offset(path, info) + header.offset, base.file_opener(path, _size(path)), columns
            )
        elif columns:
            self._flat = self._rows_at(header.offset, base.spool_opener(self._unpack(), path), columns)
        self._columns = columns

    def _rows_at(self, offset: int, opener: base.Opener, columns: bool) -> base.RowFile:
        kind = base.ColumnFile if columns else base.RowFile
        rows, width = self.header.shape
        return kind(self.path, rows, width, self.header.dtype, len(self), offset=offset, opener=opener)

    def _unpack(self) -> BinaryIO:
        spool = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - it lives as long as the source
        try:
            with _member(self.path, self.info.filename) as stream:
                while chunk := stream.read(1 << 20):
                    spool.write(chunk)
            spool.flush()
        except BaseException:
            spool.close()
            raise
        return spool

    def blocks(self, rows: int = 0) -> Iterator[NDArray[Any]]:
        """Yield the rows in order, ``rows`` at a time (0: as many as fill 16 MiB)."""
        return self._flat.blocks(rows) if self._columns and self._flat else super().blocks(rows)

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the rows of these numbers, in this order; each number from 0 to ``len - 1``."""
        return self._flat.take(rows) if self._flat else super().take(rows)

    def _stream(self, step: int) -> Iterator[NDArray[Any]]:
        with _member(self.path, self.info.filename) as stream:
            stream.read(self.header.offset)
            for start in range(0, len(self), step):
                out = np.empty((min(step, len(self) - start), self._shape[1]), dtype=self.header.dtype)
                fill(stream, out, self.path)
                yield base.to_native(out)
            if len(self) == self.file_rows:
                stream.read(1)  # at the end of the member zipfile compares the checksum

    def _open(self) -> AbstractContextManager[Any]:
        raise NotImplementedError  # never asked for: blocks and take are both replaced


def fill(stream: IO[bytes], out: NDArray[Any], path: str) -> None:
    """Fill an array from a stream of unpacked bytes, a chunk at a time."""
    view = out.reshape(-1).view(np.uint8).data
    done = 0
    while done < len(view):
        chunk = stream.read(min(len(view) - done, 1 << 20))
        if not chunk:
            raise base.corrupt(path, f"the packed data ends {len(view) - done} bytes early; fetch it again")
        view[done : done + len(chunk)] = chunk
        done += len(chunk)


def _size(path: str) -> int:
    with base.positioned(path) as file:
        return file.size


def _data_offset(path: str, info: zipfile.ZipInfo) -> int:
    """Where the bytes of a stored member start: its local header repeats the name and adds fields."""
    with base.positioned(path) as file:
        head = file.bytes_at(info.header_offset, 30)
        if len(head) < 30 or head[:4] != b"PK\3\4" or info.compress_size != info.file_size:
            raise base.corrupt(
                path, f"the member {base.shown(info.filename)} has a damaged local header; fetch it again"
            )
        name_bytes, extra_bytes = struct.unpack_from("<HH", head, 26)
        offset = int(info.header_offset) + 30 + int(name_bytes) + int(extra_bytes)
        if offset + info.file_size > file.size:
            raise base.corrupt(path, f"the member {base.shown(info.filename)} ends behind the file; fetch it again")
    return offset
