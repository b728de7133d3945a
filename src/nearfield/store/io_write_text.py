"""Writers of word2vec, as text and as binary, and of numbers in CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any, BinaryIO

from numpy.typing import NDArray

from nearfield.core.errors import BadInput
from nearfield.store import io_csv, io_word_bin, io_words
from nearfield.store.io_write_raw import Job
from nearfield.store.rows import decimals


def write_word_text(file: BinaryIO, job: Job) -> None:
    """Write word2vec text: a line ``rows width``, then a word and its numbers on each."""
    file.write(f"{job.rows} {job.width}\n".encode())
    for names, block in _named(job):
        words = [_word(job, name) for name in names]
        for word in words:
            if b"\t" in word or (b" " in word and io_words.is_number(word.rsplit(b" ", 1)[1])):
                raise _refused(job, word, "words without tabs, and whose part behind a space is no number")
        rows = (word + b" " + decimals(row, " ").encode() + b"\n" for word, row in zip(words, block))
        file.write(b"".join(rows))


def write_word_bin(file: BinaryIO, job: Job) -> None:
    """Write word2vec binary: a line ``rows width``, then each word, a space, its float32 values and a line end."""
    file.write(f"{job.rows} {job.width}\n".encode())
    for names, block in _named(job):
        parts: list[bytes] = []
        for name, row in zip(names, block):
            word = _word(job, name)
            if b" " in word:
                raise _refused(job, word, "words without spaces")
            parts += [word, b" ", row.tobytes(), b"\n"]
        file.write(b"".join(parts))


def _named(job: Job) -> Iterator[tuple[Any, NDArray[Any]]]:
    if job.ids is None:
        raise BadInput(f"{job.path!r}: word2vec needs a word for each row; pass ids=[...], or write another format")
    at = 0
    for block in job.blocks():
        yield job.ids[at : at + len(block)], block
        at += len(block)


def _word(job: Job, name: Any) -> bytes:
    if not isinstance(name, str):
        raise BadInput(
            f"{job.path!r}: word2vec names rows by words, got the id {name!r}; pass ids=[str(i) for i in ids]"
        )
    try:
        word = name.encode()
    except UnicodeEncodeError:
        raise _refused(job, name, "words that UTF-8 can hold") from None
    if not word or b"\n" in word or b"\0" in word or len(word) >= io_word_bin.MAX_WORD:
        raise _refused(job, name, "words of up to 64 KiB without line ends and NUL")
    return word


def _refused(job: Job, word: Any, expected: str) -> BadInput:
    text = repr(word)
    shown = text if len(text) <= 60 else text[:57] + "..."
    return BadInput(f"{job.path!r}: {job.suffix} holds {expected}, got {shown}; rename it, or write .parquet or .jsonl")


def write_csv(file: BinaryIO, job: Job) -> None:
    """Write numbers in CSV under a header: ``id`` where the rows have ids, then the positions of the values."""
    head = ["id"] if job.ids is not None else []
    file.write((",".join(head + [f"v{j}" for j in range(job.width)]) + "\n").encode())
    at = 0
    for block in job.blocks():
        lines = [decimals(row, ",") for row in block]
        if job.ids is not None:
            names = job.ids[at : at + len(block)]
            lines = [f"{_cell(job, name)},{line}" for name, line in zip(names, lines)]
        file.write(("\n".join(lines) + "\n").encode())
        at += len(block)


def _cell(job: Job, name: Any) -> str:
    """An id as a cell, quoted where it must be."""
    text = str(name)
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow([text])
    if "\0" in text or "\r" in text or len(text) > io_csv.MAX_CELL:
        raise _refused(job, name, f"ids of up to {io_csv.MAX_CELL} characters without NUL and carriage returns")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _refused(job, name, "ids that UTF-8 can hold") from None
    return out.getvalue()
