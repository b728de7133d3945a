"""Reader of word2vec binary (.bin): a line ``rows width``, then each word, a space, and its float32 values.

word2vec ends a row with a line end, gensim does not; neither says where a word ends but by the space behind it, and
gensim writes words with spaces as they are. Of the spaces that may end a word the first is taken behind which there is
what a row must have: numbers of a size that vectors have, then the end of the row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.store import io_base as base
from nearfield.store import io_words

MAX_WORD = 64 << 10
FASTTEXT = (793_712_314).to_bytes(4, "little")  # the first bytes of a fastText model
_BUFFER = 1 << 20
_LOOKED = 4096  # bytes of a vector that are looked at
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
# By the last byte of a float32: from 524,288 on, NaN, or below 4e-16 and not 0. Letters and blanks taken for a number
# make such, and so do numbers that are shifted by some bytes; vectors as good as never have any.
_ODD = bytes((b & 0x7F) >= 0x49 or 0 < (b & 0x7F) < 0x26 for b in range(256))


def read_word_bin(path: str, limit: int | None) -> base.Source:
    """Open word2vec binary; words may hold spaces, and what is no UTF-8 in them is replaced, which is told."""
    with base.positioned(path) as file:
        head, size = file.bytes_at(0, 64), file.size
    if head.startswith(FASTTEXT):
        raise base.bad(path, "expected word2vec binary, got a fastText model; export its vectors as .vec text")
    first, line_end, _ = head.partition(b"\n")
    parts = first.split()
    if not line_end or len(parts) != 2 or not all(p.isdigit() for p in parts):
        raise base.corrupt(path, f"expected a first line 'rows width' (word2vec binary), got {base.shown(head[:24])}")
    rows, width = int(parts[0]), int(parts[1])
    base.check_form(path, rows, width, "the first line")
    if rows * (4 * width + 1) > size - len(first) - 1:
        raise base.corrupt(
            path,
            f"the first line says {rows} rows of width {width}, at least {rows * (4 * width + 1)} bytes, "
            f"got {size}; the file is cut short or its first line is wrong",
        )
    count = rows if limit is None else min(rows, limit)
    words, offsets = _scanned(path, len(first) + 1, count, width, whole=count == rows)
    return WordFile(path, width, words, offsets, base.file_opener(path, size))


def _scanned(path: str, at: int, rows: int, width: int, whole: bool) -> tuple[list[str], NDArray[np.int64]]:
    """One pass for the words and where each vector starts."""
    words: list[str] = []
    replaced = 0
    offsets = np.empty(rows, dtype=np.int64)  # no more than the file has bytes: checked by the caller
    with base.positioned(path) as file:
        scan = _Scan(file, 4 * width, rows if whole else None)
        for row in range(rows):
            word, offset = scan.row(at, row)
            offsets[row] = offset
            at = offset + 4 * width
            if at > file.size:
                raise base.corrupt(path, f"ends inside row {row} of {rows}; it is cut short, fetch it again")
            try:
                words.append(word.decode("utf-8"))
            except UnicodeDecodeError:
                words.append(word.decode("utf-8", "replace"))
                replaced += 1
        rest = file.bytes_at(at, 64) if whole else b""
    if rest.strip(b"\n"):
        raise base.corrupt(path, f"expected the end after {rows} rows, got more at byte {at}; the first line is wrong")
    io_words.note_replaced(path, replaced)
    return words, offsets


class _Scan:
    """Finds the words of rows of ``need`` bytes, one after another; ``rows`` where the file ends behind them."""

    def __init__(self, file: base.Positioned, need: int, rows: int | None) -> None:
        self.file, self.need, self.rows = file, need, rows
        self.looked = min(need, _LOOKED)
        self.held, self.start = b"", 0
        self.lines: bool | None = None  # whether rows end in a line end: the first one tells

    def row(self, at: int, row: int) -> tuple[bytes, int]:
        """The word at an offset, and where its vector starts."""
        self._hold(at)
        here = at - self.start
        while self.held.startswith(b"\n", here):
            here += 1
        first = found = self.held.find(b" ", here, here + MAX_WORD)
        if first < 0:
            raise base.corrupt(
                self.file.path, f"expected a word and a space at byte {at} (row {row}), got none; fetch it again"
            )
        last = self.rows is not None and row == self.rows - 1
        if not self._fits(first, last):
            found = next((s for s in self._spaces(here, first) if self._fits(s, last)), first)
        if self.lines is None:
            self.lines = self._bytes(found + 1 + self.need, 1) == b"\n"
        return self.held[here:found], self.start + found + 1

    def _spaces(self, here: int, first: int) -> Iterator[int]:
        """Further spaces that may end a word: what stands before them holds no control characters."""
        seen = first
        while (space := self.held.find(b" ", seen + 1, here + MAX_WORD)) >= 0:
            if _CONTROL.search(self.held, seen, space):
                return
            yield space
            seen = space

    def _fits(self, space: int, last: bool) -> bool:
        """Whether a row may be cut at this space, which is a place in what is held."""
        if self._bytes(space + 1, self.looked)[3::4].translate(_ODD).find(1) >= 0:
            return False
        end = space + 1 + self.need
        if last:
            end += self.start
            return end == self.file.size or self.file.bytes_at(end, 64).strip(b"\n") == b""
        if self.lines is not False:
            line = self._bytes(end, 1) == b"\n"
            if line or self.lines:
                return line
        return self._begins(end)

    def _begins(self, at: int) -> bool:
        """Whether a word may begin here."""
        word = self._bytes(at, 64)
        word = word[: word.find(b" ")] if b" " in word else word
        return bool(word) and _CONTROL.search(word) is None and io_words.cut_off(word) is not None

    def _hold(self, at: int) -> None:
        """Have in memory what is looked at for one row, of a vector no more than its beginning."""
        if at + MAX_WORD + self.looked > self.start + len(self.held) < self.file.size:
            self.held, self.start = self.file.bytes_at(at, 2 * (MAX_WORD + _BUFFER)), at

    def _bytes(self, place: int, count: int) -> bytes:
        """Bytes by their place in what is held, behind which the file is read."""
        if place + count <= len(self.held):
            return self.held[place : place + count]
        return self.file.bytes_at(self.start + place, count)


class WordFile(base.Source):
    """Rows at known offsets with words of any length between them."""

    def __init__(
        self, path: str, width: int, words: list[str], offsets: NDArray[np.int64], opener: base.Opener
    ) -> None:
        super().__init__(path, len(words), width, np.dtype(np.float32), None)
        self.words, self.offsets, self.opener = words, offsets, opener

    @property
    def ids(self) -> list[str] | None:
        return self.words

    def _open(self) -> AbstractContextManager[base.Positioned]:
        return self.opener()

    def _read(self, handle: base.Positioned, start: int, stop: int) -> NDArray[Any]:
        size = 4 * self._shape[1]
        out = np.empty((stop - start, size), dtype=np.uint8)
        for a, b in base.runs(self.offsets[start:stop], 2 * size, base.BLOCK_BYTES):
            low = int(self.offsets[start + a])
            raw = np.empty(int(self.offsets[start + b - 1]) + size - low, dtype=np.uint8)
            handle.read_at(low, raw)
            for row in range(a, b):
                at = int(self.offsets[start + row]) - low
                out[row] = raw[at : at + size]
        return base.to_native(out.view("<f4"))
