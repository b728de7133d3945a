"""Files are there whole or not at all, and nothing but a file is replaced."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import nearfield as nf
from nearfield.core.errors import BadInput, NotWritten
from nearfield.store import io
from nearfield.store.atomic import AtomicFile

posix = pytest.mark.skipif(sys.platform == "win32", reason="links, modes and pipes are those of POSIX")


def write(path: Path, content: bytes) -> None:
    with AtomicFile(path) as made:
        made.file.write(content)
        made.publish()


def test_what_is_not_published_leaves_what_was_there(tmp_path: Path) -> None:
    write(tmp_path / "a", b"old")
    with contextlib.suppress(RuntimeError), AtomicFile(tmp_path / "a") as made:
        made.file.write(b"new")
        raise RuntimeError
    with AtomicFile(tmp_path / "b"):
        pass
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


@posix
def test_links_are_followed_and_modes_kept(tmp_path: Path) -> None:
    write(tmp_path / "a", b"old")
    (tmp_path / "a").chmod(0o600)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    write(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a").read_bytes() == b"new"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


@posix
def test_new_files_have_the_mode_of_the_umask(tmp_path: Path) -> None:
    io.write_npy(tmp_path / "a.npy", np.zeros((2, 3), np.float32))
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "a.npy").stat().st_mode & 0o777 == 0o666 & ~umask


@posix
def test_pipes_folders_and_missing_folders_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, words in (("pipe", "got a device, pipe"), (".", "got a folder"), ("no/a", "does not exist")):
        with pytest.raises(BadInput, match=words):
            AtomicFile(tmp_path / path)
    assert os.listdir(tmp_path) == ["pipe"]


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 64 KiB: the system itself refuses to write on."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


X = np.random.default_rng(0).normal(size=(4000, 16)).astype(np.float32)


@posix
@pytest.mark.parametrize("how", ["save", "stream", "npy", "pieces"])
def test_a_disk_that_refuses_is_told_with_the_file_and_leaves_nothing(how: str, tmp_path: Path) -> None:
    packed = nf.Plan("raw()").fit(X)
    path = tmp_path / "out.bin"
    write(path, b"old")
    written = {
        "save": lambda: packed.save(path),
        "stream": lambda: nf.Plan("raw()").fit(X, out=path),
        "npy": lambda: io.write_npy(path, X),
        "pieces": lambda: _pieces(path),
    }
    with full_disk(), pytest.raises(NotWritten) as caught:
        written[how]()
    assert "out.bin: " in str(caught.value)
    assert "disk" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["out.bin"]
    assert path.read_bytes() == b"old"


def _pieces(path: Path) -> None:
    """Small pieces stay in the buffer until publishing, or until they no longer fit."""
    with AtomicFile(path) as made:
        for _ in range(70_000):
            with made.writing():
                made.file.write(b"x")
        made.publish()


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "the disk is full: free some room"), (errno.EROFS, "read-only"), (errno.EIO, "cannot be written")],
)
def test_the_reason_and_what_to_do_are_said(
    number: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(NotWritten, match=words):
        write(tmp_path / "a", b"new")
    assert os.listdir(tmp_path) == []


def test_an_error_of_reading_is_not_one_of_writing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="other") as caught, AtomicFile(tmp_path / "a"):
        raise OSError(errno.EIO, "other")
    assert not isinstance(caught.value, NotWritten)
    assert os.listdir(tmp_path) == []
