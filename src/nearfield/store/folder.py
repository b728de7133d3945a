"""The folder of a Collection while it is open: the same folder, whatever its name leads to meanwhile.

A name is not a folder: a link on the way to it may be turned to another version, the folder may be moved, or deleted
and made anew. So the name is resolved once, files are made and deleted through a handle of the folder itself, and
before each write and each deletion the name must still lead to that folder.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import stat
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

from nearfield.core.errors import BadInput, Corrupt, Replaced

_BY_HANDLE = {os.open, os.unlink, os.rename, os.stat} <= os.supports_dir_fd and os.listdir in os.supports_fd
_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NOFOLLOW, _NONBLOCK = getattr(os, "O_NOFOLLOW", 0), getattr(os, "O_NONBLOCK", 0)
_DIRECTORY = os.O_RDONLY | _FLAGS | _NOFOLLOW | getattr(os, "O_DIRECTORY", 0)
LOOK = 0.05  # seconds for which a read trusts that the folder was there: asking the system each time is dear
Identity = tuple[int, int]  # device and inode: of a file that is open, no other file has them


def open_regular(path: str | os.PathLike[str], flags: int = os.O_RDONLY, *, follow: bool = False,
                 mode: int = 0o666, within: int | None = None) -> int:  # fmt: skip
    """Open a regular file; ``Corrupt`` for a link (unless ``follow``), folder, pipe or device, without waiting for one.

    What was opened is looked at, not what the name led to before: nothing can be put in its place in between.
    ``within`` is the handle of a folder that a relative ``path`` starts from. Raises ``OSError`` as ``os.open``.
    """
    try:
        handle = os.open(path, flags | _FLAGS | _NONBLOCK | (0 if follow else _NOFOLLOW), mode, dir_fd=within)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR) and not (follow and error.errno == errno.ELOOP):
            what = {errno.ELOOP: "a link", errno.EISDIR: "a folder"}.get(error.errno, "a pipe or device")
            raise _irregular(path, what) from None
        raise
    try:
        found = os.fstat(handle).st_mode
        if not stat.S_ISREG(found):
            raise _irregular(path, "a folder" if stat.S_ISDIR(found) else "a pipe or device")
        if not follow and not _NOFOLLOW and os.path.islink(path):
            raise _irregular(path, "a link")
    except BaseException:
        os.close(handle)
        raise
    return handle


def is_there(path: str | os.PathLike[str]) -> bool:
    """Whether something has this name; ``BadInput`` where the system does not tell, as for want of rights.

    What cannot be looked at is not missing: whoever took it for lost would give up rows that are there.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise BadInput(f"{os.fspath(path)}: cannot be looked at ({error.strerror}); see to the rights to it") from None
    return True


def _irregular(path: str | os.PathLike[str], what: str) -> Corrupt:
    return Corrupt(f"{os.fspath(path)}: expected a regular file, got {what}; refusing to follow or read it")


def identity(found: os.stat_result) -> Identity:
    """What tells a file from every other that is there at the same time."""
    return found.st_dev, found.st_ino


class Folder:
    """A folder that is open.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     folder = Folder(name)
    ...     there = folder.is_there()
    >>> there, folder.is_there()
    (True, False)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(os.path.realpath(path))
        self._handle: int | None = None
        if _BY_HANDLE:
            self._handle = os.open(self.path, _DIRECTORY)
            self._close = weakref.finalize(self, os.close, self._handle)
        self._seen = -math.inf  # when it was there
        # By whole names: each call of a Collection looks whether they are the same.
        self._known = {str(self.path): identity(os.stat(self.path if self._handle is None else self._handle))}

    def close(self) -> None:
        """Let go of the folder."""
        if self._handle is not None:
            self._close()
            self._handle = None

    # -- is it still the one that was opened -------------------------------------------------------

    def remember(self, name: str) -> None:
        """From now on the file of this name too must be the same one; ``Replaced`` where it is not."""
        path = str(self.path / name)
        try:
            found = identity(os.stat(path, follow_symlinks=False))
        except FileNotFoundError:
            self.check()
            raise BadInput(f"{path}: no such file; see that this is the folder of a collection") from None
        if self._known.setdefault(path, found) != found:
            self.check()

    def remember_anew(self, name: str) -> None:
        """The file of this name, if it is there, is the one that must be the same from now on."""
        path = str(self.path / name)
        self._known.pop(path, None)
        if is_there(path):
            self.remember(name)

    def is_there(self) -> bool:
        """Whether the name of the folder still leads to it, and the files that are remembered are the same."""
        return self._replaced() is None

    def _replaced(self) -> str | None:
        for path, known in self._known.items():
            try:
                if identity(os.stat(path, follow_symlinks=False)) != known:
                    return path
            except OSError:
                return path
        return None

    def check_now_and_then(self) -> None:
        """``check`` for reads, which lose nothing: no more often than every ``LOOK`` seconds."""
        if time.monotonic() - self._seen >= LOOK:
            self.check()

    def check(self) -> None:
        """Raise ``Replaced`` where the name of the folder no longer leads to it: what is written would not be found."""
        path = self._replaced()
        if path is not None:
            self._seen = -math.inf
            what = "the folder" if path == str(self.path) else "this file"
            raise Replaced(
                f"{path}: {what} was replaced, moved or deleted since it was opened; nothing was written: "
                "close it, and open it by the name it has now"
            )
        self._seen = time.monotonic()

    # -- files in it, one folder deep --------------------------------------------------------------

    @contextlib.contextmanager
    def within(self, part: str = ".") -> Iterator[int | None]:
        """A handle of the folder, or of one in it, to open, rename or delete files by; None where there are none."""
        if self._handle is None or part == ".":
            yield self._handle
            return
        handle = os.open(part, _DIRECTORY, dir_fd=self._handle)
        try:
            yield handle
        finally:
            os.close(handle)

    def where(self, part: str, name: str, handle: int | None) -> str | Path:
        """What to call a file with the handle of ``within``: its name alone, or all of it where there is no handle."""
        return self.path / part / name if handle is None else name

    def open(self, part: str, name: str, flags: int) -> int:
        """Open a regular file; no link is followed. Raises as ``open_regular``."""
        with self.within(part) as handle:
            return open_regular(self.where(part, name, handle), flags, within=handle)

    def holds(self, part: str, name: str, descriptor: int) -> bool:
        """Whether the file of this name is the one that is open."""
        try:
            with self.within(part) as handle:
                found = os.stat(self.where(part, name, handle), dir_fd=handle, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return identity(found) == identity(os.fstat(descriptor))

    def names(self, part: str = ".") -> list[str]:
        """The names of what is there; none where there is no such folder."""
        try:
            with self.within(part) as handle:
                return sorted(os.listdir(self.path / part if handle is None else handle))
        except FileNotFoundError:
            return []

    def make(self, part: str) -> bool:
        """Have a folder in it, and whether it was made just now. Raises ``Corrupt`` where a link has its name."""
        place = self.path / part
        try:
            with self.within() as handle:
                os.mkdir(self.where(".", part, handle), dir_fd=handle)
            return True
        except FileExistsError:
            if place.is_symlink():
                raise Corrupt(f"{place}: expected a folder, got a link; refusing to follow it") from None
            return False

    def delete(self, part: str, name: str) -> None:
        """Delete a file, if it is there. Raises ``Replaced`` where the folder is not the one that was opened."""
        self.check()
        with contextlib.suppress(FileNotFoundError), self.within(part) as handle:
            os.unlink(self.where(part, name, handle), dir_fd=handle)

    def move(self, part: str, target: str, name: str) -> None:
        """Move a file, if it is there, from one folder in it to another."""
        self.check()
        with contextlib.suppress(FileNotFoundError), self.within(part) as old, self.within(target) as new:
            os.replace(self.where(part, name, old), self.where(target, name, new), src_dir_fd=old, dst_dir_fd=new)

    def __repr__(self) -> str:
        return f"Folder({str(self.path)!r})"
