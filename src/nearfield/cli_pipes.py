"""``-`` on the command line: standard input in the place of a file to read, standard output for rows to write."""

from __future__ import annotations

import gzip
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from nearfield.core.errors import BadInput

DASH = "-"
_READ = ("corpus", "files", "texts", "queries", "qrels", "labels", "pairs")  # parameters that name data to read
_NAMED = ("folder", "target", "out", "file", "plot")  # those that name what is made, or is not read from end to end
_HEADS = (
    (b"\x93NUMPY", ".npy"), (b"PK\x03\x04", ".npz"), (b"PAR1", ".parquet"), (b"ARROW1", ".arrow"), (b"\x89HDF", ".h5"),
)  # fmt: skip
_LOOKED = 1 << 16  # bytes by which a format is told


def suffix_of(head: bytes) -> str:
    """What a file that begins so would be named by; text is JSON where a line begins so, else a table or plain.

    >>> suffix_of(b'{"id": 1}'), suffix_of(b"id,text\\n1,a"), suffix_of(b"warm socks")
    ('.jsonl', '.csv', '.txt')
    """
    for start, suffix in _HEADS:
        if head.startswith(start):
            return suffix
    if head[8:9] == b"{" and head[7:8] == b"\0":
        return ".safetensors"
    line = head.lstrip().partition(b"\n")[0]
    if line[:1] in (b"{", b"["):
        return ".jsonl" if line[:1] == b"{" else ".json"
    return ".tsv" if b"\t" in line else ".csv" if b"," in line else ".txt"


@contextmanager
def piped(params: dict[str, Any], *, writes: bool) -> Iterator[dict[str, Any]]:
    """The parameters of a verb with files in the place of ``-``; refused where there is nothing to pipe.

    With ``writes``, what goes into ``out`` is printed in the end.
    """
    named = [name for name in _NAMED if params.get(name) == DASH and not (writes and name == "out")]
    if named:
        raise BadInput(f"{named[0]}: expected a name, got '-': it is no stream of rows; for a file of that name: ./-")
    asked = [name for name in _READ if DASH in _listed(params.get(name))]
    if len(asked) > 1 or sum(_listed(params.get(name)).count(DASH) for name in asked) > 1:
        raise BadInput(f"expected '-' once, as standard input can be read once, got it for {' and '.join(asked)}")
    out = writes and params.get("out") == DASH
    if not asked and not out:
        yield params
        return
    with tempfile.TemporaryDirectory() as folder:
        done = dict(params)
        for name in asked:
            path, value = _spooled(folder), params[name]
            done[name] = path if value == DASH else tuple(path if v == DASH else v for v in value)
        if out:
            done["out"] = os.path.join(folder, "out.jsonl")
        yield done
        if out:
            with open(done["out"], "rb") as rows:
                shutil.copyfileobj(rows, sys.stdout.buffer)
                sys.stdout.buffer.flush()


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple) else [value]


def _spooled(folder: str) -> str:
    """Standard input as a file, named by what it holds: most formats are read in more than one pass."""
    source: BinaryIO = sys.stdin.buffer
    head = source.read(_LOOKED)
    if not head.strip():
        raise BadInput("expected data on standard input, got none")
    suffix = suffix_of(head)
    if head.startswith(b"\x1f\x8b"):
        spool = os.path.join(folder, "head")
        with open(spool, "wb") as file:
            file.write(head)
        try:
            with gzip.open(spool) as text:
                suffix = suffix_of(text.read(100)) + ".gz"
        except (OSError, EOFError):
            raise BadInput("standard input: expected data that gzip can unpack, got others") from None
    path = os.path.join(folder, f"stdin{suffix}")
    with open(path, "wb") as file:
        file.write(head)
        shutil.copyfileobj(source, file)
    return path
