"""What the sources of the encoder's texts share: pairs of texts, and the files of a commit."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

Pair = tuple[str, str]

_LARGEST = 4_000_000  # bytes of a file that is read


def plain(text: str) -> str:
    """One line, without runs of blanks."""
    return " ".join(text.split())


def git_files(repository: Path, commit: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Name and content of the wanted files of a commit, in the order of their names."""
    listing = subprocess.run(
        ["git", "-C", str(repository), "ls-tree", "-r", "-l", commit], capture_output=True, text=True, check=True
    ).stdout
    blobs = []
    for line in listing.splitlines():
        about, name = line.split("\t", 1)
        _, _, blob, size = about.split()
        if wanted(name) and size.isdigit() and int(size) <= _LARGEST:
            blobs.append((name, blob, int(size)))
    asked = ["git", "-C", str(repository), "cat-file", "--batch"]
    with subprocess.Popen(asked, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        to, back = cast("IO[bytes]", reader.stdin), cast("IO[bytes]", reader.stdout)
        for name, blob, size in sorted(blobs):
            to.write(f"{blob}\n".encode())
            to.flush()
            back.readline()  # what follows: its name, kind and size
            yield name, back.read(size + 1)[:size]
