"""The preloaded library of ``shim.c``: how it is built, what a watched process asks of it, how its log is read."""

from __future__ import annotations

import ctypes
import enum
import os
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
# SQLite's index of the log is shared memory with a name: rebuilt after a crash, never durable.
IGNORED = "-shm"


class Kind(enum.IntEnum):
    """What a record of the log tells."""

    MARK = 1
    CREATE = 2
    WRITE = 3
    RESIZE = 4
    SYNC = 5
    RENAME = 6
    UNLINK = 7
    LINK = 8
    MKDIR = 9
    RMDIR = 10
    SYNC_ALL = 11
    UNMODELLED = 12


class Fault(enum.IntEnum):
    """What can befall the n-th call: ``UNREADABLE`` counts reads, all others count changes."""

    NONE = 0
    KILL = 1  # the process dies in place of the call
    KILL_HALF = 2  # it dies when half of a write is done
    FULL = 3  # ENOSPC
    BROKEN = 4  # EIO
    SHORT = 5  # half of a write is done, and told so
    INTERRUPTED = 6  # EINTR
    UNREADABLE = 7  # EIO of a read


@dataclass(frozen=True)
class Event:
    """One record: paths are relative to the watched folder, ``inode`` says which file a path meant then."""

    kind: Kind
    pid: int
    error: int
    path: str
    other: str
    inode: int
    offset: int
    size: int
    data: bytes

    def __str__(self) -> str:
        if self.kind is Kind.MARK:
            return f"mark {self.data.decode()}"
        detail = {Kind.WRITE: f" {len(self.data)} bytes at {self.offset}", Kind.RESIZE: f" to {self.size}"}
        other = f" -> {self.other}" if self.other else ""
        failed = f" failed ({os.strerror(self.error)})" if self.error else ""
        return f"{self.kind.name.lower()} {self.path or '.'}{other}{detail.get(self.kind, '')}{failed}"


_RECORD = struct.Struct("<IIiIIIQQQ")


def read_log(path: str | os.PathLike[str]) -> list[Event]:
    """All records of a log; its last one may be cut where the process died."""
    raw = Path(path).read_bytes()
    out: list[Event] = []
    at = 0
    while at + _RECORD.size <= len(raw):
        kind, pid, error, first, second, _, inode, offset, size = _RECORD.unpack_from(raw, at)
        at += _RECORD.size
        held = size if kind in (Kind.MARK, Kind.WRITE) else 0
        if at + first + second + held > len(raw):
            break
        path_, other = raw[at : at + first].decode(), raw[at + first : at + first + second].decode()
        at += first + second
        data = raw[at : at + held]
        at += held
        out.append(Event(Kind(kind), pid, error, path_, other, inode, offset, size, data))
    return out


def missing() -> str | None:
    """Why the shim cannot be used here; None where it can."""
    if sys.platform != "linux" or sys.maxsize < 2**32:
        return "the shim is for 64-bit Linux"
    if sys.byteorder != "little":
        return "the shim's log is little-endian"
    if not compiler():
        return "no C compiler (cc) is there to build the shim"
    return None


def compiler() -> str | None:
    """The C compiler's name."""
    return os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def build(folder: Path) -> Path:
    """Compile the shim into a folder, once; two processes may do so at the same time."""
    out = folder / "crash-shim.so"
    if not out.exists() or out.stat().st_mtime < SOURCE.stat().st_mtime:
        made = folder / f"crash-shim.{os.getpid()}.so"
        warnings = ["-Wall", "-Wextra", "-Werror"]
        flags = ["-std=gnu11", "-O2", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=0", "-shared", "-fPIC"]
        command = [compiler() or "cc", *flags, *warnings, str(SOURCE), "-o", str(made), "-ldl", "-lpthread"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the shim does not compile:\n{done.stderr}")
        os.replace(made, out)
    return out


def environment(library: Path | None) -> dict[str, str]:
    """What to start a process with; one thread each for BLAS, so that a fork has nothing to lose."""
    out = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NEARFIELD_THREADS": "1"}
    if library is not None:
        out |= {"LD_PRELOAD": str(library), "CRASH_IGNORE": IGNORED}
    return out


class Watched:
    """The shim as seen from a process that was started with it; does nothing in one that was not."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self.there = hasattr(library, "crash_watch")
        if self.there:
            self._library = library
            library.crash_arm.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.c_long]
            library.crash_mark.argtypes = [ctypes.c_char_p, ctypes.c_ulong]
            library.crash_calls.restype = ctypes.c_long

    def watch(self, folder: Path | None, log: Path | None = None) -> None:
        """Watch what happens below a folder, from now on and in this process's children."""
        if self.there:
            root = os.path.realpath(folder) if folder else ""
            self._library.crash_watch(root.encode(), str(log or "").encode())

    def mark(self, text: str) -> None:
        """Put a note into the log, in order with the calls."""
        if self.there:
            self._library.crash_mark(text.encode(), len(text.encode()))

    def arm(self, fault: Fault, at: int = 0, times: int = 1) -> None:
        """Let calls ``at`` to ``at + times - 1``, counted from now, suffer a fault; counts begin anew."""
        if self.there:
            self._library.crash_arm(int(fault), at, times)

    def changes(self) -> int:
        """Calls that change files, since ``arm``."""
        return int(self._library.crash_calls(0)) if self.there else 0

    def reads(self) -> int:
        """Calls that read, since ``arm``; only counted under ``UNREADABLE``."""
        return int(self._library.crash_calls(1)) if self.there else 0

    def struck(self) -> int:
        """How often the fault befell a call since ``arm``."""
        return int(self._library.crash_calls(2)) if self.there else 0
