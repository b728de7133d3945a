"""What every reader shares: opening a file safely, reading at an offset, and the rows of a file.

Nothing here maps a file: mapped pages count as resident memory, and a file cut short under a mapping
kills the process. Blocks are read at an offset into fresh buffers, so memory is one block. Every size
that a file claims is compared with the bytes that are there before anything is allocated.
"""

from __future__ import annotations

import difflib
import os
import stat
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nearfield.core.checks import shown as shown
from nearfield.core.checks import whole
from nearfield.core.errors import BadInput, BadParameter, Corrupt, NearfieldError

PathLike: TypeAlias = str | os.PathLike[str]
BLOCK_BYTES = 16 << 20  # one block, where the caller asks for no number of rows
MAX_WIDTH = 1 << 24  # values of a row; with 8 bytes each 128 MiB
GAP_BYTES = 64 << 10  # wanted rows nearer than this are read together: that costs less than another call
MAX_RATIO = 200.0  # a compressed file may unpack to this many times its bytes ...
FREE_BYTES = 256 << 20  # ... or to this much, whichever is more
DTYPES = frozenset(
    ["float16", "float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
)


# ---- words ----------------------------------------------------------------------------------------
def named(path: PathLike) -> str:
    """The path as it stands in an error: quoted, on one line."""
    return repr(os.fspath(path))


def bad(path: PathLike, text: str) -> BadInput:
    """The error for a sound file that is not what was asked for."""
    return BadInput(f"{named(path)}: {text}")


def corrupt(path: PathLike, text: str) -> Corrupt:
    """The error for a damaged file."""
    return Corrupt(f"{named(path)}: {text}")


def plural(n: int, noun: str) -> str:
    """A count with its noun: ``3 rows``."""
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


# ---- opening --------------------------------------------------------------------------------------
def check_path(path: object) -> str:
    """Return the path of a regular file, or say what is there instead.

    A directory, a pipe or a device is refused before it is opened: opening a pipe would wait forever.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise BadInput(f"expected the path of a file, got {type(path).__name__}")
    name = os.fspath(path)
    if not isinstance(name, str) or not name or "\0" in name:
        raise BadInput(f"expected the path of a file, got {shown(name)}")
    with reading(name):
        try:
            mode = os.stat(name).st_mode
        except (FileNotFoundError, NotADirectoryError):
            if os.path.islink(name):
                raise bad(name, f"is a link to {shown(os.readlink(name), 200)}, which is not there") from None
            raise bad(name, f"no such file; {_neighbours(name)}") from None
        if stat.S_ISDIR(mode):
            raise bad(name, f"expected a file, got a folder; name a file in it: {_listing(name)}")
        if not stat.S_ISREG(mode):
            raise bad(name, "expected a regular file, got a pipe or a device; save it to a file first")
        if os.path.getsize(name) == 0:
            raise corrupt(name, "expected data, got an empty file; write or fetch it again")
    return name


def _names(folder: str, most: int = 10_000) -> list[str]:
    try:
        with os.scandir(folder or ".") as entries:
            return sorted(e.name for e, _ in zip(entries, range(most)) if not e.name.startswith("."))
    except OSError:
        return []


def _listing(folder: str, most: int = 6) -> str:
    names = _names(folder)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(shown(n) for n in names[:most]) or "nothing") + more


def _neighbours(name: str) -> str:
    folder, last = os.path.split(name)
    if folder and not os.path.isdir(folder):
        return f"there is no folder {shown(folder, 200)} either"
    close = difflib.get_close_matches(last, _names(folder), n=2, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(shown(os.path.join(folder, c), 200) for c in close) + "?"
    return f"the folder holds: {_listing(folder)}" if _names(folder) else "the folder is empty"


@contextmanager
def reading(path: PathLike) -> Iterator[None]:
    """Turn what the operating system, zlib and the allocator raise into one line that names the file."""
    try:
        yield
    except NearfieldError:
        raise
    except PermissionError:
        raise bad(path, "expected a file that may be read, got 'permission denied'; change its mode") from None
    except MemoryError:
        raise corrupt(
            path, "reading it needs more memory than there is; the file is damaged, or its rows are too wide"
        ) from None
    except OSError as error:
        raise corrupt(path, f"cannot be read ({error.strerror or error}); check the disk or fetch it again") from None
    except EOFError:
        raise corrupt(path, "ends in the middle of compressed data; fetch it again") from None


class Positioned:
    """Reads at an offset into a buffer. Safe between threads and after a fork: no shared position is used."""

    def __init__(self, file: Any, path: str, size: int) -> None:
        self.file, self.path, self.size = file, path, size
        self._lock = threading.Lock()

    def read_at(self, offset: int, buffer: NDArray[Any]) -> None:
        """Fill the whole of a C-ordered array, or raise ``Corrupt`` where the file ends before."""
        view = buffer.reshape(-1).view(np.uint8).data
        done = 0
        with reading(self.path):
            while done < len(view):
                got = self._some(view[done:], offset + done)
                if got == 0:
                    raise corrupt(self.path, f"ends at byte {offset + done:,} while it was read; it has changed")
                done += got

    def _some(self, view: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self.file.fileno(), [view], offset)
        with self._lock:
            self.file.seek(offset)
            return int(self.file.readinto(view) or 0)

    def bytes_at(self, offset: int, count: int) -> bytes:
        """At most ``count`` bytes from ``offset`` on; fewer only at the end of the file."""
        out = np.empty(max(0, min(count, self.size - offset)), dtype=np.uint8)
        self.read_at(offset, out)
        return out.tobytes()


@contextmanager
def positioned(path: str, size: int | None = None) -> Iterator[Positioned]:
    """Open a file for reads at an offset; ``size`` refuses a file that has changed since."""
    with reading(path):
        file = open(path, "rb", buffering=0)  # noqa: SIM115
    with file:
        now = os.fstat(file.fileno()).st_size
        if size is not None and now != size:
            raise corrupt(path, f"expected {size:,} bytes, got {now:,}; it changed after it was opened, read it again")
        yield Positioned(file, path, now)


# ---- claims ---------------------------------------------------------------------------------------
def check_form(path: PathLike, rows: int, width: int, what: str = "the header") -> None:
    """Refuse no rows, no width, negative sizes, and rows so wide that one alone would fill the memory."""
    if width < 1 or rows < 0:
        raise corrupt(path, f"{what} says {rows} rows of width {width}, expected positive sizes; write it again")
    if width > MAX_WIDTH:
        raise corrupt(path, f"{what} says rows of width {width}, expected up to {MAX_WIDTH}; write it again")
    if rows == 0:
        raise bad(path, f"expected at least one row, got none (width {width}); write vectors to it first")


def check_dtype(path: PathLike, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the native form of a number type that vectors may have."""
    native = dtype.newbyteorder("=")
    if native.name in DTYPES:
        return native
    if dtype.kind == "O":
        raise bad(path, "expected numbers, got pickled Python objects, which are never loaded; save a plain array")
    if dtype.names is not None:
        raise bad(path, f"expected plain numbers, got the fields {shown(dtype.names)}; save one field as a 2-D array")
    hint = (
        "save numpy.packbits(x, axis=1, bitorder='little') or x.astype('uint8')"
        if dtype.kind == "b"
        else "convert it first"
    )
    raise bad(path, f"expected floats of 2 to 8 bytes or integers, got {shown(str(dtype))}; {hint}")


def check_bytes(path: PathLike, rows: int, width: int, item: int, there: int) -> None:
    """Compare the bytes that a header claims with those that are there. Python integers: no overflow."""
    need = rows * width * item
    if need > there:
        raise corrupt(
            path,
            f"the header says {rows} x {width} values of {plural(item, 'byte')} = {need} bytes, "
            f"got {there}; the file is cut short or its header is wrong, fetch it again",
        )
    if need < there:
        raise corrupt(
            path,
            f"the header says {rows} x {width} values of {plural(item, 'byte')} = {need} bytes, "
            f"got {there - need} bytes more; the header is wrong, or several arrays are in one file: "
            "write one each",
        )


def check_ratio(path: PathLike, unpacked: int, packed: int, max_ratio: float) -> None:
    """Refuse what would unpack to far more than the file could honestly hold (a bomb)."""
    if unpacked > max(FREE_BYTES, max_ratio * max(packed, 1)):
        raise bad(
            path,
            f"says that {packed} bytes unpack to {unpacked}, more than {max_ratio:g} to 1; "
            "refused as a bomb; if you trust the file, pass a larger max_ratio",
        )


def check_limit(limit: int | None) -> int | None:
    """A limit as it is, where it is None or a whole number of at least 1."""
    return None if limit is None else whole("limit", limit, 1, what="None, or a number of rows", error=BadParameter)


# ---- rows -----------------------------------------------------------------------------------------
def runs(rows: NDArray[np.int64], gap: int, span: int) -> Iterator[tuple[int, int]]:
    """Cut ascending row numbers into runs to be read in one go: no hole over ``gap``, none longer than ``span``.

    >>> list(runs(np.array([1, 2, 9, 10]), gap=3, span=100))
    [(0, 2), (2, 4)]
    """
    cuts = np.flatnonzero(np.diff(rows) > gap) + 1
    for start, stop in zip([0, *cuts.tolist()], [*cuts.tolist(), rows.size]):
        while start < stop:
            end = min(stop, int(np.searchsorted(rows, rows[start] + span)))
            yield start, end
            start = end


class Source:
    """The vectors of one file, read a block at a time: a ``Batch`` that need not fit in memory.

    Use it wherever nearfield takes vectors. ``shape`` is (rows, width), ``dtype`` the native form of the
    type in the file, ``ids`` the names of the rows where the file has some. ``blocks`` may be called
    again and again; each call opens the file anew, and errors in the data are raised when it is reached.
    """

    gap = 1
    span = 1

    def __init__(self, path: str, rows: int, width: int, dtype: np.dtype[Any], limit: int | None) -> None:
        self.path = path
        self.file_rows = rows
        self._shape = (rows if limit is None else min(rows, limit), width)
        self._dtype = dtype
        row_bytes = width * dtype.itemsize
        self.gap = max(1, GAP_BYTES // row_bytes)
        self.span = max(1, BLOCK_BYTES // row_bytes)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._dtype

    @property
    def ids(self) -> list[str] | None:
        return None

    def __len__(self) -> int:
        return self._shape[0]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path!r}: {self._shape[0]} x {self._shape[1]} {self._dtype}>"

    def _open(self) -> AbstractContextManager[Any]:
        """What ``_read`` reads from; opened once for a walk over the blocks."""
        raise NotImplementedError

    def _read(self, handle: Any, start: int, stop: int) -> NDArray[Any]:
        """The rows from ``start`` to ``stop`` in a fresh, native, C-ordered array."""
        raise NotImplementedError

    def blocks(self, rows: int = 0) -> Iterator[NDArray[Any]]:
        """Yield the rows in order, ``rows`` at a time (0: as many as fill 16 MiB)."""
        step = self._step(rows)
        with self._open() as handle:
            for start in range(0, len(self), step):
                with reading(self.path):
                    block = self._read(handle, start, min(start + step, len(self)))
                yield block

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the rows of these numbers, in this order; each number from 0 to ``len - 1``."""
        rows = self._check_rows(rows)
        out = np.empty((rows.size, self._shape[1]), dtype=self._dtype)
        order = np.argsort(rows, kind="stable")
        wanted = rows[order]
        with self._open() as handle:
            for a, b in runs(wanted, self.gap, self.span):
                low = int(wanted[a])
                with reading(self.path):
                    block = self._read(handle, low, int(wanted[b - 1]) + 1)
                out[order[a:b]] = block[wanted[a:b] - low]
        return out

    def array(self) -> NDArray[Any]:
        """Return all rows as one array; for files that are known to fit in memory."""
        out = np.empty(self._shape, dtype=self._dtype)
        at = 0
        for block in self.blocks():
            out[at : at + len(block)] = block
            at += len(block)
        return out

    def _step(self, rows: int) -> int:
        if rows < 0:
            raise BadParameter(f"rows: expected a number of rows from 1 on, or 0 for the default, got {rows}")
        return int(rows) or self.span

    def _check_rows(self, rows: Any) -> NDArray[np.int64]:
        numbers = np.asarray(rows)
        if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
            raise BadInput(f"rows: expected a 1-D array of row numbers, got {numbers.dtype} of shape {numbers.shape}")
        numbers = numbers.astype(np.int64)
        if numbers.size and not (int(numbers.min()) >= 0 and int(numbers.max()) < len(self)):
            raise bad(
                self.path,
                f"expected row numbers from 0 to {len(self) - 1}, got {int(numbers.min())} to {int(numbers.max())}",
            )
        return numbers


class Streamed(Source):
    """Rows that can only be read from the start on (compressed data). ``take`` walks to the last row "
    "wanted."""

    def _stream(self, step: int) -> Iterator[NDArray[Any]]:
        raise NotImplementedError

    def blocks(self, rows: int = 0) -> Iterator[NDArray[Any]]:
        """Yield the rows in order, ``rows`` at a time (0: as many as fill 16 MiB)."""
        return self._stream(self._step(rows))

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the rows of these numbers, in this order; each number from 0 to ``len - 1``."""
        rows = self._check_rows(rows)
        out = np.empty((rows.size, self._shape[1]), dtype=self._dtype)
        order = np.argsort(rows, kind="stable")
        wanted = rows[order]
        at = done = 0
        blocks = self._stream(self.span) if rows.size else iter(())
        for block in blocks:
            end = int(np.searchsorted(wanted, at + len(block)))
            out[order[done:end]] = block[wanted[done:end] - at]
            at, done = at + len(block), end
            if done == rows.size:
                break
        return out


Opener: TypeAlias = Callable[[], AbstractContextManager[Positioned]]


class RowFile(Source):
    """Rows of one fixed width on disk, one after another: npy, the bin files, arrays stored in npz."""

    def __init__(
        self, path: str, rows: int, width: int, dtype: np.dtype[Any], limit: int | None, *, offset: int, opener: Opener
    ) -> None:
        super().__init__(path, rows, width, check_dtype(path, dtype), limit)
        self.stored, self.offset, self.opener = dtype, offset, opener

    def _open(self) -> AbstractContextManager[Positioned]:
        return self.opener()

    def _read(self, handle: Positioned, start: int, stop: int) -> NDArray[Any]:
        out = np.empty((stop - start, self._shape[1]), dtype=self.stored)
        handle.read_at(self.offset + start * out.shape[1] * out.itemsize, out)
        return to_native(out)


class ColumnFile(RowFile):
    """Rows stored column by column (Fortran order): one read a column and block, so memory stays one "
    "block."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.gap = max(1, GAP_BYTES // self.stored.itemsize)  # a column is read for a whole run at once

    def _read(self, handle: Positioned, start: int, stop: int) -> NDArray[Any]:
        out = np.empty((self._shape[1], stop - start), dtype=self.stored)
        for j, column in enumerate(out):
            handle.read_at(self.offset + (j * self.file_rows + start) * out.itemsize, column)
        return np.ascontiguousarray(to_native(out).T)


def to_native(block: NDArray[Any]) -> NDArray[Any]:
    """Swap the bytes of a fresh block in place where the file has the other order."""
    if block.dtype.isnative:
        return block
    return block.byteswap(inplace=True).view(block.dtype.newbyteorder("="))


def file_opener(path: str, size: int) -> Opener:
    """Read from the file itself, opened anew each time."""
    return lambda: positioned(path, size)


def spool_opener(file: BinaryIO, path: str) -> Opener:
    """Read from a temporary file that has no name; it is gone with the last source that uses it."""
    size = os.fstat(file.fileno()).st_size
    spooled = Positioned(file, path, size)
    weakref.finalize(spooled, file.close)

    @contextmanager
    def opener() -> Iterator[Positioned]:
        yield spooled

    return opener
