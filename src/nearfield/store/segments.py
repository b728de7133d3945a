"""Immutable, checksummed files of named columns: the ``.nf`` format.

Layout of a file (all integers little-endian)::

    0   magic  b"NEARFLD\\0"
    8   u32    format version
    12  u32    0
    16  u64    offset of the footer
    24  u64    length of the footer
    32  u32    CRC-32 of the footer
    36  u32    CRC-32 of bytes 0..36
    64  columns, each at a multiple of 64
    ..  footer: JSON {"kind", "meta", "columns": {name: {dtype, shape, offset, crc}}}

``crc`` lists one CRC-32 for each MiB of a column; they are checked when that part is first touched.
A column of which single rows are read lies at a multiple of 4096, and a column ``<name>.pages`` beside it has one
CRC-32 for each 4 KiB of it: then a row is checked without reading the MiB around it.
A file is written beside its final name, synced and renamed: there is never half a file.
"""

from __future__ import annotations

import errno
import json
import math
import mmap
import os
import struct
import weakref
import zlib
from array import array
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import BadInput, Corrupt
from nearfield.store.atomic import AtomicFile
from nearfield.store.folder import Folder, open_regular

MAGIC = b"NEARFLD\0"
VERSION = 1
WITHOUT_SOME = 2  # the version of files of which some rows were deleted
CHUNK = 1 << 20
PAGE = 4096
PAGES = ".pages"  # behind the name of a column: the checksums of its pages
_PREAMBLE = struct.Struct("<8sIIQQI")
_START = 64
_LONGEST_FOOTER = 1 << 30
_MOST_AXES = 8
_LARGEST = 1 << 59  # values of a column, of which none has more than 8 bytes
_DTYPES = {"|u1", "|i1", "<f4", "<f2", "<i8", "<i4", "<u8", "<f8", "|b1", "<u4", "<u2", "<i2"}


class _Column:
    """One column while it is written: where it lies, and its checksums so far."""

    def __init__(self, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int, *, paged: bool) -> None:
        self.dtype = dtype
        self.shape = shape
        self.offset = offset
        self.nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        self.written = 0
        self.crc: list[int] = []
        self.pages: array[int] | None = array("I") if paged else None

    def digest(self, data: memoryview) -> None:
        if self.pages is not None:
            _digest(self.pages, data, self.written, PAGE)
        _digest(self.crc, data, self.written, CHUNK)
        self.written += data.nbytes


def _digest(sums: list[int] | array[int], data: memoryview, written: int, size: int) -> None:
    """Carry on the checksums of pieces of so many bytes, of which so many have been written."""
    while data.nbytes:
        room = size - written % size
        if room == size:
            sums.append(0)
        part, data = data[:room], data[room:]
        sums[-1] = zlib.crc32(part, sums[-1])
        written += part.nbytes


class SegmentWriter:
    """Writes columns, in pieces and side by side, and publishes the file only when all are whole."""

    def __init__(self, path: str | os.PathLike[str], kind: str, folder: Folder | None = None) -> None:
        self.path = Path(path)
        self.kind = kind
        self.version = VERSION
        self.nbytes = 0  # of the file, once it is finished
        self._columns: dict[str, _Column] = {}
        self._end = _START
        self._whole = AtomicFile(path, folder)

    def begin(self, name: str, dtype: Any, shape: tuple[int, ...], *, paged: bool = False) -> None:
        """Reserve room for a column; ``paged``: with checksums for each 4 KiB, so that single rows are read."""
        unit = PAGE if paged else 64
        offset = -(-self._end // unit) * unit
        column = _Column(np.dtype(dtype).newbyteorder("<"), shape, offset, paged=paged)
        if column.dtype.str not in _DTYPES:
            raise BadInput(f"{self.path}: a column of dtype {column.dtype} cannot be stored")
        self._columns[name] = column
        self._end = offset + column.nbytes

    def append(self, name: str, rows: NDArray[Any]) -> None:
        """Write the next rows of a column."""
        column = self._columns[name]
        data = _bytes_of(np.ascontiguousarray(rows, dtype=column.dtype))
        if column.written + data.nbytes > column.nbytes:
            raise BadInput(f"{self.path}: more rows than announced for column {name!r}")
        self._write(column.offset + column.written, data)
        column.digest(data)

    def add(self, name: str, values: NDArray[Any], *, paged: bool = False) -> None:
        """Write a whole column."""
        self.begin(name, values.dtype, values.shape, paged=paged)
        self.append(name, values)

    def finish(self, meta: Mapping[str, Any]) -> None:
        """Write the checksums of pages and the footer, sync, and give the file its name."""
        for name, sums in [(name, c.pages) for name, c in self._columns.items() if c.pages is not None]:
            self.add(name + PAGES, np.array(sums, dtype="<u4"))
        for name, column in self._columns.items():
            if column.written != column.nbytes:
                raise BadInput(f"{self.path}: column {name!r} has {column.written} of {column.nbytes} bytes")
        footer = json.dumps({"kind": self.kind, "meta": meta, "columns": self._described()}).encode()
        self._write(self._end, footer)
        head = _PREAMBLE.pack(MAGIC, self.version, 0, self._end, len(footer), zlib.crc32(footer))
        self._write(0, head + struct.pack("<I", zlib.crc32(head)))
        self.nbytes = self._end + len(footer)
        self._whole.publish()

    def _write(self, offset: int, data: bytes | memoryview) -> None:
        with self._whole.writing():
            self._whole.file.seek(offset)
            self._whole.file.write(data)

    def _described(self) -> dict[str, Any]:
        return {
            name: {"dtype": c.dtype.str, "shape": list(c.shape), "offset": c.offset, "crc": c.crc}
            for name, c in self._columns.items()
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._whole.__exit__(kind, error, tb)


def _bytes_of(array: NDArray[Any]) -> memoryview:
    # An empty array cannot be cast.
    return array.data.cast("B") if array.size else memoryview(b"")


class Segment:
    """A file opened for reading: columns are mapped, and verified a MiB at a time at first touch.

    A link is followed where ``follow``; a pipe, device or folder is refused, and never waited for.
    """

    def __init__(self, path: str | os.PathLike[str], kind: str | None, *, follow: bool = True) -> None:
        self.path = Path(path)
        self._descriptor: int | None = None
        self._follow = follow
        try:
            with open(self.path, "rb", opener=self._open) as file:
                self.nbytes = os.fstat(file.fileno()).st_size
                footer = self._read_footer(file)
                # The map keeps its own handle on the file.
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                self._file_id = _file_id(file.fileno())
        except FileNotFoundError:
            raise BadInput(f"{self.path}: no such file") from None
        except IsADirectoryError:
            raise BadInput(f"{self.path}: expected a .nf file, got a folder") from None
        except OSError as error:
            if isinstance(error, (Corrupt, PermissionError)) or error.errno != errno.EIO:
                raise
            raise Corrupt(
                f"{self.path}: cannot be read ({error.strerror}); check the disk, or restore a backup"
            ) from None
        self.kind = str(footer.get("kind"))
        if kind is not None and self.kind != kind:
            raise BadInput(f"{self.path}: expected a file of kind {kind!r}, got {footer.get('kind')!r}")
        self.meta: dict[str, Any] = footer["meta"]
        self._columns: dict[str, Any] = footer["columns"]
        self._verified: dict[str, NDArray[np.bool_]] = {}
        self._seen_pages: dict[str, NDArray[np.bool_]] = {}
        self._places: dict[str, tuple[np.dtype[Any], tuple[int, ...], int, int]] = {}
        self._sums: dict[str, tuple[int, NDArray[np.uint32]]] = {}

    def _open(self, path: str, flags: int) -> int:
        return open_regular(path, flags, follow=self._follow)

    def _read_footer(self, file: BinaryIO) -> dict[str, Any]:
        head = file.read(_START)
        if len(head) < _PREAMBLE.size + 4 or head[:8] != MAGIC:
            what = "an empty file" if not head else f"{head[:8]!r}"
            raise Corrupt(f"{self.path}: not a nearfield file: expected {MAGIC!r} at offset 0, got {what}")
        _, version, _, offset, length, crc = _PREAMBLE.unpack_from(head)
        if zlib.crc32(head[: _PREAMBLE.size]) != struct.unpack_from("<I", head, _PREAMBLE.size)[0]:
            raise Corrupt(f"{self.path}: damaged at offset 0: the preamble does not match its checksum")
        if version not in (VERSION, WITHOUT_SOME):
            raise Corrupt(
                f"{self.path}: format version {version}; this nearfield reads versions {VERSION} and "
                f"{WITHOUT_SOME}: upgrade it"
            )
        if offset + length != self.nbytes or length > _LONGEST_FOOTER:
            raise Corrupt(f"{self.path}: damaged: expected {offset + length} bytes, the file has {self.nbytes}")
        file.seek(offset)
        footer = file.read(length)
        if zlib.crc32(footer) != crc:
            raise Corrupt(f"{self.path}: damaged at offset {offset}: the footer does not match its checksum")
        try:
            out = json.loads(footer)
        except (ValueError, RecursionError):
            raise Corrupt(f"{self.path}: damaged at offset {offset}: the footer is not JSON") from None
        if (
            not isinstance(out, dict)
            or not isinstance(out.get("columns"), dict)
            or not isinstance(out.get("meta"), dict)
        ):
            raise Corrupt(f"{self.path}: damaged at offset {offset}: the footer lacks columns or meta")
        self._end = offset
        return out

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def names(self) -> list[str]:
        """The names of all columns, but for checksums of pages."""
        return [name for name in self._columns if not (name.endswith(PAGES) and self.paged(name[: -len(PAGES)]))]

    def paged(self, name: str) -> bool:
        """Whether rows of a column can be checked without the MiB around them."""
        return name in self._columns and name + PAGES in self._columns

    def place(self, name: str) -> tuple[int, int]:
        """Where a column begins in the file, and its bytes."""
        _, _, offset, nbytes = self._place(name)
        return offset, nbytes

    def descriptor(self) -> int:
        """The file, open for reading as long as this is held: for columns that are read, not mapped."""
        if self._descriptor is None:
            descriptor = self._open(os.fspath(self.path), os.O_RDONLY)
            weakref.finalize(self, os.close, descriptor)
            if _file_id(descriptor) != self._file_id:
                raise Corrupt(f"{self.path}: the file was replaced while it was opened; open it again")
            self._descriptor = descriptor
        return self._descriptor

    def checksums(self, name: str) -> tuple[int, NDArray[np.uint32]]:
        """The CRC-32 of every piece of a column, and how many bytes a piece has: of its pages, or else of each MiB."""
        if name not in self._sums:
            self._sums[name] = self._checksums(name)  # asked for with every text and every row that is touched
        return self._sums[name]

    def _checksums(self, name: str) -> tuple[int, NDArray[np.uint32]]:
        nbytes = self._place(name)[3]
        if not self.paged(name):
            return CHUNK, np.array(self._columns[name]["crc"], dtype=np.uint32)
        sums = self.column(name + PAGES)
        if sums.dtype.str != "<u4" or sums.shape != (-(-nbytes // PAGE),):
            raise Corrupt(f"{self.path}: column {name + PAGES!r}: expected one <u4 for each {PAGE} bytes of {name!r}")
        return PAGE, sums

    def column(self, name: str, *, verify: bool = True) -> NDArray[Any]:
        """A column as a read-only array over the mapped file; ``verify=False`` leaves checks to ``touch``."""
        if name not in self._columns:
            raise Corrupt(f"{self.path}: the column {name!r} is missing")
        dtype, shape, offset, nbytes = self._places[name] = self._place(name)
        out = np.frombuffer(self._map, dtype=dtype, count=math.prod(shape), offset=offset).reshape(shape)
        self._verified.setdefault(name, np.zeros(-(-nbytes // CHUNK), dtype=np.bool_))
        if verify:
            self.touch(name, 0, nbytes)
        return out

    def _place(self, name: str) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
        """Type, shape, offset and bytes of a column, after checking its description: anything may stand in a file."""
        entry = self._columns[name]
        if not isinstance(entry, dict) or entry.get("dtype") not in tuple(_DTYPES):
            raise Corrupt(f"{self.path}: column {name!r}: expected one of the format's dtypes, got {_told(entry)}")
        shape: Any
        offset: Any
        shape, offset, crc = (entry.get(key) for key in ("shape", "offset", "crc"))
        if not (_are_sizes(shape) and _are_sizes([offset]) and isinstance(crc, list)):
            raise Corrupt(f"{self.path}: column {name!r}: expected shape, offset and crc, got {_told(entry)}")
        dtype = np.dtype(str(entry["dtype"]))
        nbytes = math.prod(shape) * dtype.itemsize
        if offset < _START or offset % 64 or offset + nbytes > self._end or len(crc) != -(-nbytes // CHUNK):
            raise Corrupt(f"{self.path}: column {name!r} does not lie within the file")
        return dtype, tuple(shape), offset, nbytes

    def touch(self, name: str, start: int, stop: int) -> None:
        """Verify the bytes ``start..stop`` of a column, each MiB once; raises ``Corrupt`` naming the place."""
        done = self._verified[name]
        _, _, offset, nbytes = self._places[name]  # checked when the column was taken: searches touch it each time
        first, last = start // CHUNK, -(-min(stop, nbytes) // CHUNK)
        if done[first:last].all():
            return
        for chunk in range(first, last):
            if not done[chunk]:
                at = offset + chunk * CHUNK
                end = min(at + CHUNK, offset + nbytes)
                if zlib.crc32(memoryview(self._map)[at:end]) != self._columns[name]["crc"][chunk]:
                    raise Corrupt(f"{self.path}: damaged at offset {at} (column {name!r}): checksum mismatch")
                done[chunk] = True

    def touch_rows(self, name: str, rows: NDArray[np.int64], width: int) -> None:
        """Verify each page, or MiB where pages have no checksums, in which some rows of ``width`` bytes lie."""
        done = self._verified[name]
        if done.all():
            return
        if self.paged(name):
            self._touch_pages(name, _pieces(rows, width, PAGE))
            return
        for chunk in _pieces(rows, width, CHUNK).tolist():
            self.touch(name, chunk * CHUNK, (chunk + 1) * CHUNK)

    def touch_part(self, name: str, start: int, stop: int) -> None:
        """Verify the pages, or where they have no checksums the MiB, in which the bytes ``start..stop`` lie."""
        seen = self._seen_pages.get(name)
        if seen is not None and seen[start // PAGE : -(-stop // PAGE)].all():
            return
        if self.paged(name) and not self._verified[name].all():
            self._touch_pages(name, np.arange(start // PAGE, -(-stop // PAGE)))
        else:
            self.touch(name, start, stop)

    def _touch_pages(self, name: str, pages: NDArray[np.int64]) -> None:
        size, sums = self.checksums(name)
        done = self._seen_pages.setdefault(name, np.zeros(len(sums), dtype=np.bool_))
        _, _, offset, nbytes = self._places[name]
        for page in pages[~done[pages]].tolist():
            at = offset + page * size
            if zlib.crc32(memoryview(self._map)[at : min(at + size, offset + nbytes)]) != sums[page]:
                raise Corrupt(f"{self.path}: damaged at offset {at} (column {name!r}): checksum mismatch")
            done[page] = True

    def verify(self) -> None:
        """Check every byte: those of columns by their checksums, those in between by being zero."""
        for name in self._columns:
            self.column(name)
        end = _PREAMBLE.size + 4
        for start, stop in sorted((at, at + size) for _, _, at, size in map(self._place, self._columns)):
            self._zeros(end, max(start, _START))
            end = max(end, stop)
        self._zeros(end, self._end)

    def _zeros(self, start: int, stop: int) -> None:
        gap = np.frombuffer(self._map, np.uint8, max(0, stop - start), start)
        if gap.any():
            at = start + int(np.flatnonzero(gap)[0])
            raise Corrupt(f"{self.path}: damaged at offset {at}: expected zeros between columns, got {gap[at - start]}")


def _pieces(rows: NDArray[np.int64], width: int, size: int) -> NDArray[np.int64]:
    """The pieces of ``size`` bytes in which some rows lie."""
    first, last = rows * width // size, ((rows + 1) * width - 1) // size
    longest = int((last - first).max(initial=0))
    return np.unique(np.minimum(first[:, None] + np.arange(longest + 1), last[:, None]))


def _file_id(descriptor: int) -> tuple[int, int]:
    told = os.fstat(descriptor)
    return told.st_dev, told.st_ino


def kind_of(path: str | os.PathLike[str]) -> str:
    """The kind of a file, such as ``packed`` or ``words``; blank where it is none of ours."""
    try:
        return Segment(path, None).kind
    except (BadInput, Corrupt):
        return ""


def _are_sizes(values: Any) -> bool:
    """Whether these are whole numbers that an array may have as its shape."""
    return (
        isinstance(values, list)
        and all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in values)
        and len(values) <= _MOST_AXES
        and math.prod(max(1, v) for v in values) <= _LARGEST
    )


def _told(value: Any, most: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= most else text[: most - 1] + "…"
