"""Readers of word vectors in text: word2vec, GloVe and fastText (.vec, .txt)."""

from __future__ import annotations

import gzip
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import BadInput, DataWarning
from nearfield.store import io_base as base

MAX_LINE = 16 << 20  # bytes of a line of text; a row of 1,000,000 numbers fits
DEFLATE = 1032  # no byte of deflated data unpacks to more


class Words(base.RowFile):
    """Word vectors, the words being ``ids``."""

    words: list[str]

    @property
    def ids(self) -> list[str] | None:
        return self.words


# ---- lines ----------------------------------------------------------------------------------------
@contextmanager
def text_reading(path: str) -> Iterator[None]:
    """Turn what gzip raises on damaged files into ``Corrupt``."""
    try:
        with base.reading(path):
            yield
    except zlib.error as error:
        raise base.corrupt(path, f"the packed data is damaged ({error}); fetch it again") from None


def lines(path: str, max_ratio: float, max_line: int = MAX_LINE) -> Iterator[tuple[int, bytes]]:
    """Yield (number from 1 on, line without its end) of a plain or .gz file, never holding more than a line.

    Raises ``Corrupt`` where a line has no end in ``max_line`` bytes or holds NUL, ``BadInput`` for a bomb.
    """
    packed = path.lower().endswith(".gz")
    with base.positioned(path) as probe:
        size, head = probe.size, probe.bytes_at(0, 4)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise base.bad(path, "expected UTF-8 text, got UTF-16; convert it: iconv -f utf-16 -t utf-8")
    if packed and head[:2] != b"\x1f\x8b":
        raise base.corrupt(
            path, f"expected gzip data, got {base.shown(head)}; take .gz off its name if it is plain text"
        )
    done = 0
    with text_reading(path), gzip.open(path, "rb") if packed else open(path, "rb") as file:
        for number, line in _split(cast("IO[bytes]", file), path, max_line):
            done += len(line) + 1
            if packed:
                base.check_ratio(path, done, size, max_ratio)
            yield number, line


def _split(file: IO[bytes], path: str, max_line: int) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := file.readline(max_line + 1):
        number += 1
        if len(line) > max_line:
            raise base.corrupt(path, f"line {number} is longer than {max_line} bytes; expected text with a row a line")
        if b"\0" in line:
            raise base.corrupt(path, f"line {number} holds NUL bytes; expected text, got binary or UTF-16 data")
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        yield number, line.rstrip(b"\r\n")


def cut_off(data: bytes) -> str | None:
    """A word whose last character lacks bytes, with a mark in its place; None where more is wrong with it.

    word2vec keeps the first 100 bytes of a word, wherever a character may end.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        return data.decode("utf-8", "replace") if error.reason == "unexpected end of data" else None


def note_replaced(path: str, count: int) -> None:
    """Say how many words were changed so that they can be read."""
    if count:
        warnings.warn(
            f"{base.named(path)}: {base.plural(count, 'word')} not whole in UTF-8, as word2vec cuts long ones off: "
            "what cannot be read stands as U+FFFD",
            DataWarning,
            stacklevel=2,
        )


def decoded(path: str, number: int, data: bytes) -> str:
    """Decode UTF-8, or name the line and the byte."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise base.bad(
            path,
            f"line {number}: expected UTF-8 text, got byte 0x{data[error.start]:02x} at {error.start}; "
            "convert it: iconv -f latin1 -t utf-8",
        ) from None


# ---- text -----------------------------------------------------------------------------------------
def read_word_text(path: str, limit: int | None, max_ratio: float) -> base.Source:
    """Open word vectors in text, with (word2vec, fastText) or without (GloVe) a first line ``rows width``.

    Text has no fixed row size and is slow to parse, so it is parsed once, line by line, into an unnamed
    temporary file of float32 (in TMPDIR); only the words stay in memory.
    """
    parser = _TextParser(path, limit, max_ratio)
    spool = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - it lives as long as the source
    try:
        for block in parser.blocks():
            with base.reading(tempfile.gettempdir()):
                spool.write(block.data)
        with base.reading(tempfile.gettempdir()):
            spool.flush()
    except BaseException:
        spool.close()
        raise
    opener = base.spool_opener(spool, path)
    source = Words(path, len(parser.words), parser.width, np.dtype(np.float32), None, offset=0, opener=opener)
    source.words = parser.words
    return source


class _TextParser:
    """One pass over the lines: words are collected, values leave as blocks of float32."""

    def __init__(self, path: str, limit: int | None, max_ratio: float) -> None:
        self.path, self.limit, self.max_ratio = path, limit, max_ratio
        self.words: list[str] = []
        self.width = self.replaced = 0
        self.claimed: int | None = None

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        held: list[NDArray[np.float32]] = []
        step = 1
        for number, line in lines(self.path, self.max_ratio):
            line = line.replace(b"\t", b" ").rstrip(b" ")
            if number == 1 and self._header(line):
                continue
            if not line:
                continue
            if not self.width:
                self._set_width(line)
            step = max(1, (1 << 20) // (4 * self.width))
            held.append(self._row(number, line))
            if len(held) >= step:
                yield np.stack(held)
                held = []
            if self.limit is not None and len(self.words) >= self.limit:
                break
        if held:
            yield np.stack(held)
        self._check_end()

    def _header(self, line: bytes) -> bool:
        parts = line.split()
        if len(parts) != 2 or not all(p.isdigit() and len(p) < 20 for p in parts):
            return False
        rows, width = int(parts[0]), int(parts[1])
        base.check_form(self.path, rows, width, "the first line")
        with base.positioned(self.path) as file:
            there = file.size * (DEFLATE if self.path.lower().endswith(".gz") else 1)
        if rows * 2 * width > there:
            raise base.corrupt(
                self.path,
                f"the first line says {rows} rows of width {width}, at least {rows * 2 * width} bytes, "
                f"got {there} at most; the file is cut short or its first line is wrong",
            )
        self.claimed, self.width = rows, width
        return True

    def _set_width(self, line: bytes) -> None:
        self.width = line.count(b" ")
        if self.width < 1:
            raise base.bad(self.path, f"line 1: expected a word and its numbers, got {base.shown(line)}")

    def _row(self, number: int, line: bytes) -> NDArray[np.float32]:
        parts = line.rsplit(b" ", self.width)
        if len(parts) != self.width + 1:
            raise base.bad(
                self.path,
                f"line {number}: expected a word and {self.width} numbers, got {len(parts) - 1}; "
                "the file is cut short or has rows of several widths",
            )
        word = parts[0]
        try:
            # A word may hold spaces (GloVe has some), but one that ends in a number is a row too wide.
            if b" " in word and is_number(word.rsplit(b" ", 1)[1]):
                raise base.bad(self.path, f"line {number}: expected {self.width} numbers behind the word, got more")
            with np.errstate(over="ignore"):
                row = np.array(list(map(float, parts[1:])), dtype=np.float32)
        except ValueError as error:
            if isinstance(error, BadInput):
                raise
            bad = next(p for p in parts[1:] if not is_number(p))
            raise base.bad(
                self.path, f"line {number}: expected {self.width} numbers behind the word, got {base.shown(bad)}"
            ) from None
        whole = cut_off(word)
        self.replaced += whole is not None and "\ufffd" in whole and b"\xef\xbf\xbd" not in word
        self.words.append(decoded(self.path, number, word) if whole is None else whole)
        return row

    def _check_end(self) -> None:
        note_replaced(self.path, self.replaced)
        if not self.words:
            raise base.bad(self.path, "expected a word and its numbers on a line, got no such line")
        whole = self.limit is None or len(self.words) < self.limit
        if self.claimed is not None and whole and len(self.words) != self.claimed:
            raise base.corrupt(
                self.path,
                f"the first line says {self.claimed} rows, got {len(self.words)}; "
                "the file is cut short or its first line is wrong",
            )


def is_number(part: bytes) -> bool:
    """Say whether the bytes of a part read as a number."""
    try:
        float(part)
    except ValueError:
        return False
    return True
