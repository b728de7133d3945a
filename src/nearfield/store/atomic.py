"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from nearfield.core.errors import BadInput, NearfieldError, NotWritten, StorageFull
from nearfield.store.folder import Folder


class AtomicFile:
    """A file written beside its final name, then synced and renamed; what was there before stays until then.

    Use it as a context, write to ``file`` within ``writing()`` and call ``publish``; without that, nothing is left of
    it. A link is followed, and a file that is replaced hands on its mode. Raises ``BadInput`` where the folder is not
    there, or where the name is that of a folder, a device or a pipe; ``NotWritten`` where the disk refuses. With
    ``folder`` the file is made in that folder (or one in it), whatever the path leads to meanwhile.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, AtomicFile(folder + "/a") as made:
    ...     with made.writing():
    ...         _ = made.file.write(b"whole")
    ...     made.publish()
    """

    def __init__(self, path: str | os.PathLike[str], folder: Folder | None = None) -> None:
        self.path = target(path) if folder is None else Path(path)
        self._temporary = f"{self.path.name}.{os.urandom(4).hex()}.tmp"
        self._published = False
        self._within = contextlib.ExitStack()  # holds the handle of the folder
        self._handle: int | None = None
        with self.writing():
            if folder is not None:
                part = "." if self.path.parent == folder.path else self.path.parent.name
                self._handle = self._within.enter_context(folder.within(part))
            self.file: BinaryIO = open(self._name(self._temporary), "xb", opener=self._open)  # noqa: SIM115

    def _name(self, name: str) -> str | Path:
        return self.path.with_name(name) if self._handle is None else name

    def _open(self, name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0), 0o666, dir_fd=self._handle)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Within it an error of the disk is told as one of this file, with what to do about it."""
        try:
            yield
        except OSError as error:
            if isinstance(error, NearfieldError):
                raise
            kind = StorageFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else NotWritten
            raise kind(f"{self.path}: {_reason(error)}; nothing of it is left behind") from error

    def publish(self) -> None:
        """Give the file its name, once all of it is on the disk."""
        with self.writing():
            self._publish()

    def _publish(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        temporary, final = self._name(self._temporary), self._name(self.path.name)
        if self._handle is not None:
            os.replace(temporary, final, src_dir_fd=self._handle, dst_dir_fd=self._handle)
            self._published = True
            os.fsync(self._handle)
            self._within.close()
            return
        if self.path.exists():
            os.chmod(temporary, self.path.stat().st_mode & 0o777)
        os.replace(temporary, final)
        self._published = True
        sync_folder(self.path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if not self._published:
            # Closing writes what is left in the buffer: on a full disk that fails once more.
            with contextlib.suppress(OSError):
                self.file.close()
            with contextlib.suppress(OSError):  # a disk that is gone keeps it: the next writer removes it
                os.unlink(self._name(self._temporary), dir_fd=self._handle)
        self._within.close()


_REASONS = {
    errno.ENOSPC: "the disk is full: free some room, or write to another disk",
    errno.EDQUOT: "the quota of the disk is used up: free some room, or write to another disk",
    errno.EFBIG: "files may not grow this large here: write to another disk, or raise the limit (ulimit -f)",
    errno.EACCES: "the folder may not be written to: choose another, or change its permissions",
    errno.EROFS: "the disk is read-only: write to another one",
}


def _reason(error: OSError) -> str:
    said = error.strerror or str(error)
    return _REASONS.get(error.errno or 0, f"cannot be written ({said}): see that the disk has room and is there")


def target(path: str | os.PathLike[str]) -> Path:
    """The file that would be written, links followed; ``BadInput`` where there can be none."""
    out = Path(os.path.realpath(path))
    if not out.parent.is_dir():
        raise BadInput(f"{out}: the folder {str(out.parent)!r} does not exist; create it first")
    if out.exists() and not out.is_file():
        kind = "a folder" if out.is_dir() else "a device, pipe or socket"
        raise BadInput(f"{out}: expected a file name, got {kind}")
    return out


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    if os.name == "nt":  # folders cannot be synced there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
