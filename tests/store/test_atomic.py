"""Files are there whole or not at all, and nothing but a file is replaced."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from nearfield.core.errors import BadInput
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
