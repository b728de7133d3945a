"""Who may write, and which files are still read: locks that die with their process.

One process at a time writes (``lock``), one at a time rewrites segments beside it (``work``). A reader holds a shared
lock on a file named after the generation of segment files that it uses (its *lease*): only files that no lease
and no catalogue names are deleted.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from nearfield.core.errors import Locked, NearfieldError, ReadOnly
from nearfield.store.folder import Folder

if sys.platform == "win32":  # one byte far behind the end of the file is locked
    import msvcrt

    def _lock(handle: int, shared: bool) -> None:
        os.lseek(handle, 1 << 30, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

    def _drop(handle: int) -> None:
        os.lseek(handle, 1 << 30, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(handle: int, shared: bool) -> None:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)

    def _drop(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)


LEASES = "leases"
_PAUSE = 0.005
_BUSY = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)


def _take(handle: int, *, shared: bool = False) -> bool:
    """Lock an open file if that is possible now."""
    try:
        _lock(handle, shared)
        return True
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise


class Forkable(Protocol):
    """What a process that was forked cannot share with its parent."""

    def forked(self) -> None:
        """Begin anew, in the child."""


_FORKABLE: weakref.WeakSet[Forkable] = weakref.WeakSet()
_CALM: weakref.WeakSet[threading.RLock] = weakref.WeakSet()  # held while a process forks ...
_CALMED: list[threading.RLock] = []  # ... by the thread that forks
_FORKING = threading.Lock()


def on_fork(thing: Forkable) -> None:
    """Have ``thing.forked()`` called in every child that is forked from now on, before anything else runs there."""
    _FORKABLE.add(thing)


def calm_at_fork(guard: threading.RLock) -> None:
    """Fork only while no other thread holds this guard: what it guards (SQLite) has locks that a child would inherit.

    Whoever holds such a guard must never wait for another one.
    """
    _CALM.add(guard)


def _before_fork() -> None:
    _FORKING.acquire()
    for guard in sorted(_CALM, key=id):
        guard.acquire()
        _CALMED.append(guard)


def _after_fork() -> None:
    while _CALMED:
        _CALMED.pop().release()
    _FORKING.release()


def _forked() -> None:
    _after_fork()
    for thing in list(_FORKABLE):
        thing.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_forked)


class Lock:
    """An exclusive lock on a file, between processes and between threads; within a thread it may be taken again.

    The file names its holder; the lock is the operating system's, so that it dies with the process.
    """

    def __init__(self, folder: Folder, name: str, what: str) -> None:
        self.folder = folder
        self.path = folder.path / name
        self.what = what
        self._handle = -1
        self._depth = 0
        self._threads = threading.RLock()
        on_fork(self)

    @contextlib.contextmanager
    def held(self, timeout: float) -> Iterator[None]:
        """Hold the lock; ``Locked`` names the holder where it is not free within ``timeout`` seconds."""
        self.acquire(timeout)
        try:
            yield
        finally:
            self.release()

    def acquire(self, timeout: float) -> None:
        """Take the lock; see ``held``."""
        end = time.monotonic() + timeout
        if not self._threads.acquire(timeout=max(0.0, min(timeout, threading.TIMEOUT_MAX))):
            raise self._locked(timeout)
        try:
            if self._depth == 0:
                self._wait(end, timeout)
            self._depth += 1
        except BaseException:
            self._threads.release()
            raise

    def _wait(self, end: float, timeout: float) -> None:
        while not self._mine():
            if time.monotonic() >= end:
                raise self._locked(timeout)
            time.sleep(_PAUSE)
        import socket  # readers never come here

        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat()}
        text = json.dumps(holder).encode()
        with contextlib.suppress(OSError):  # on a full disk the lock still holds, it only does not say whose it is
            os.pwrite(self._handle, text, 0) if hasattr(os, "pwrite") else os.write(self._handle, text)
            os.ftruncate(self._handle, len(text))

    def _mine(self) -> bool:
        """Take the lock if that is possible now, on the file that has the name now: another may have deleted it."""
        if self._handle < 0:
            try:
                self._handle = self.folder.open(".", self.path.name, os.O_RDWR | os.O_CREAT)
            except OSError as error:
                if isinstance(error, NearfieldError):
                    raise
                raise ReadOnly(f"{self.path}: cannot be locked ({error.strerror}); open with mode='r'") from None
        if not _take(self._handle):
            return False
        if self.folder.holds(".", self.path.name, self._handle):
            return True
        self.close()
        return False

    def release(self) -> None:
        """Give the lock back."""
        self._depth -= 1
        if self._depth == 0:
            _drop(self._handle)
        self._threads.release()

    def close(self) -> None:
        """Let go of the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def forked(self) -> None:
        """The open file, and with it the lock, is the parent's: letting go of this copy of it drops nothing."""
        self.close()
        self._depth, self._threads = 0, threading.RLock()

    def _locked(self, timeout: float) -> Locked:
        try:
            os.lseek(self._handle, 0, os.SEEK_SET)
            holder = json.loads(os.read(self._handle, 1024))
            pid, host, since = int(holder["pid"]), ascii(holder["host"])[1:-1], ascii(holder["since"])[1:-1]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            pid, host, since = 0, "?", "?"
        told = f"process {pid} on {host} since {since}"
        return Locked(
            f"{self.path.parent}: {self.what} by {told}; waited {timeout:g} s, try again later", pid, host, since
        )


@contextlib.contextmanager
def _where_possible() -> Iterator[None]:
    """Go on where the system refuses, but not where the folder holds what nearfield never made."""
    try:
        yield
    except OSError as error:
        if isinstance(error, NearfieldError):
            raise


class Lease:
    """A shared lock on the file of one generation: its segment files stay while this lives."""

    def __init__(self, folder: Folder, generation: int) -> None:
        self.generation = generation
        self._handle = -1
        name = str(generation)
        with _where_possible():
            self._handle = folder.open(LEASES, name, os.O_RDONLY)
        if self._handle < 0:
            with _where_possible():  # a folder that cannot be written: nobody deletes from it either
                folder.make(LEASES)
                self._handle = folder.open(LEASES, name, os.O_RDWR | os.O_CREAT)
        if self._handle >= 0:
            with _where_possible():
                _take(self._handle, shared=True)
        self._close = weakref.finalize(self, os.close, self._handle) if self._handle >= 0 else None
        if self._close is not None:
            self._close.atexit = False  # the system gives it back then
        on_fork(self)

    def close(self) -> None:
        """Give it back."""
        if self._close is not None:
            self._close()

    def forked(self) -> None:
        """It is the parent's, who must be able to give it back alone."""
        self.close()


def oldest_lease(folder: Folder, generation: int) -> int:
    """The oldest generation that somebody reads, ``generation`` where nobody reads an older one; clears dead leases."""
    oldest = generation
    for name in folder.names(LEASES):
        if not (name.isascii() and name.isdecimal()) or int(name) >= generation:
            continue
        try:
            handle = folder.open(LEASES, name, os.O_RDWR)
        except OSError:  # gone meanwhile, or no lease at all
            continue
        try:
            if _take(handle):
                folder.delete(LEASES, name)
            else:
                oldest = min(oldest, int(name))
        finally:
            os.close(handle)
    return oldest


def network_kind(path: Path) -> str | None:
    """The name of the network file system that a folder lies on, None for a local disk or where it cannot be told."""
    known = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "afs", "ncpfs", "fuse.glusterfs", "ceph")
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    best, kind = "", None
    real = os.path.realpath(path)
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, rest = left.split(), right.split()
        if len(fields) < 5 or not rest:
            continue
        mount: Any = fields[4].encode().decode("unicode_escape")
        if (real == mount or real.startswith(mount.rstrip("/") + "/")) and len(mount) >= len(best):
            best, kind = mount, rest[0]
    return kind if kind in known else None
