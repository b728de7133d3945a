"""Word vectors in one ``.nf`` file: opened at once whatever its size, looked up from the mapped file.

Use ``convert`` once on a table of word2vec, GloVe or fastText (or any words with their vectors), then
``open_words`` wherever it is needed: nothing is read at opening, each look-up touches what it needs, and
processes share one copy in memory.

paper: Patel, Sands, Callison-Burch, Apidianaki, 2018, doi:10.18653/v1/D18-2021 (S021)
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.arrays import seems_finite
from nearfield.core.codecs import row_terms
from nearfield.core.errors import Corrupt
from nearfield.core.protocols import F32, I64, Folded, Layout, RowFormat
from nearfield.numerics import kernels
from nearfield.search import words_unknown
from nearfield.search.words_index import PairIndex, WordIndex, index_columns
from nearfield.search.words_table import WordTable
from nearfield.store.io_base import MAX_WIDTH, check_path
from nearfield.store.segments import CHUNK, Segment

KIND = "words"
_CACHED = 1 << 16  # words whose rows are kept
_CLOSE = 1e-3  # of a term
_LOOKED = 1 << 14  # rows that are looked at together
_DTYPES = {"<f4": "float32", "<f2": "float16"}
_ONE = ("words.ends", "hash.keys", "hash.rows", "pairs.counts", "terms")  # columns with one value a word
_COLUMNS = {
    "vectors": "", "terms": "<f4", "words.bytes": "|u1", "words.ends": "<i8", "hash.keys": "<u4", "hash.rows": "<u4",
    "pairs.keys": "<u8", "pairs.ends": "<i8", "pairs.rows": "<u4", "pairs.counts": "<u2",
}  # fmt: skip


def open_words(path: str | os.PathLike[str]) -> Words:
    """Open a table of word vectors that ``convert`` wrote; takes milliseconds and next to no memory.

    Raises ``BadInput`` for another kind of file, ``Corrupt`` naming the file and the place where it is damaged,
    now or when that part is first touched.
    """
    return Words(Segment(check_path(path), KIND))


class Words(WordTable):
    """A table of word vectors in a file; see ``WordTable`` for what can be asked of it.

    >>> import tempfile
    >>> from nearfield.search.words_convert import convert
    >>> vectors = np.eye(3, 8, dtype=np.float32) + 0.1
    >>> words = convert((["king", "queen", "cabbage"], vectors), tempfile.mkdtemp() + "/words.nf")
    >>> len(words), words.dim, "queen" in words, list(words)
    (3, 8, True, ['king', 'queen', 'cabbage'])
    >>> "kiing" in words, words.most_similar("kiing", k=1)[0][0]
    (False, 'king')
    """

    def __init__(self, segment: Segment) -> None:
        super().__init__()
        self._segment = segment
        with self._naming():
            self._n, self.dim, self.dtype = _described(segment)
        self._vectors = segment.column("vectors", verify=False)
        self._clean = np.zeros(-(-self._vectors.nbytes // CHUNK), dtype=np.bool_)
        width = self._vectors.itemsize * self.dim
        half = self.dtype == "float16"
        self._format = RowFormat(Layout.F16 if half else Layout.F32, width, self.dim, "f16" if half else "f32")
        self._row_of = lru_cache(_CACHED)(self._find_one)

    @property
    def path(self) -> str:
        """Where the file is."""
        return str(self._segment.path)

    @property
    def nbytes(self) -> int:
        """Bytes of the file."""
        return self._segment.nbytes

    def __repr__(self) -> str:
        return f"<Words {self.path!r}: {self._n} words x {self.dim} {self.dtype}>"

    def __len__(self) -> int:
        return self._n

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and self._row_of(word) >= 0

    def __getitem__(self, words: str | Sequence[str]) -> F32:
        row = self._row_of(words) if isinstance(words, str) else -1
        return self._row(row) if row >= 0 else super().__getitem__(words)

    def verify(self) -> None:
        """Check every byte of the file, and that words, hashes, pairs, vectors and terms belong together.

        Raises ``Corrupt`` naming the place of damage, or the column that is not of the others.
        """
        self._segment.verify()
        _ = self._index, self._pairs, self._terms
        with self._naming():
            check_words(self)

    def _find_one(self, word: str) -> int:
        return self._index.find_one(word)

    def _find(self, words: Sequence[str]) -> I64:
        return self._index.find(words)

    def _word(self, row: int) -> str:
        return self._index.word(row)

    def _words(self, start: int, stop: int) -> list[str]:
        return self._index.words(start, stop)

    def _rows(self, rows: I64) -> F32:
        self._touch(rows)
        # out of range is no row; "clip" spares take a copy
        out = np.take(self._vectors, rows, axis=0, mode="clip").astype(np.float32, copy=False)
        if not seems_finite(out) and not np.isfinite(out).all():
            raise Corrupt(f"{self.path}: the vectors hold NaN or infinity; write the file again")
        return out

    def _row(self, row: int) -> F32:
        """One row; quicker than many of one."""
        width = self._format.width
        if not self._clean[row * width // CHUNK] or not self._clean[((row + 1) * width - 1) // CHUNK]:
            self._touch(np.array([row]))
        out: F32 = self._vectors[row].astype(np.float32)
        return out if seems_finite(out) else np.asarray(self._rows(np.array([row]))[0])

    def _touch(self, rows: I64) -> None:
        """Verify the parts of the file in which these rows lie."""
        width = self._format.width
        first, last = rows * width // CHUNK, ((rows + 1) * width - 1) // CHUNK
        if self._clean[first].all() and self._clean[last].all():
            return
        for start, stop in np.unique(np.stack([first, last], axis=1), axis=0).tolist():
            self._segment.touch("vectors", start * CHUNK, (stop + 1) * CHUNK)
            self._clean[start : stop + 1] = True

    def _make_unknown(self, word: str) -> F32:
        rows = words_unknown.similar_rows(word, self._row_of, self._pairs.nearest, self._index.word)
        return words_unknown.blend(word, self._rows(rows))

    def _products(self, q: F32) -> F32:
        self._segment.touch("vectors", 0, self._vectors.nbytes)
        self._clean[:] = True
        codes = self._vectors.view(np.uint8)
        return kernels.score_rows(self._format, codes, Folded(weights=q), "dot")

    @cached_property
    def _terms(self) -> F32:
        terms = self._segment.column("terms")
        if not np.isfinite(terms).all() or (terms < 0).any():
            raise Corrupt(f"{self.path}: the column 'terms' should hold one over the length of each row")
        return terms

    @cached_property
    def _index(self) -> WordIndex:
        with self._naming():
            return WordIndex(self._columns("words.bytes", "words.ends", "hash.keys", "hash.rows"))

    @cached_property
    def _pairs(self) -> PairIndex:
        with self._naming():
            return PairIndex(self._columns("pairs.keys", "pairs.ends", "pairs.rows", "pairs.counts"))

    def _columns(self, *names: str) -> dict[str, NDArray[Any]]:
        """Columns verified whole: those of the indexes are small beside the vectors."""
        return {name: self._segment.column(name) for name in names}

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Contradictions within the file are told with its name."""
        try:
            yield
        except Corrupt as error:
            told = str(error)
            raise error if self.path in told else Corrupt(f"{self.path}: {told}; write the file again") from None


def check_words(table: Words) -> None:
    """Raise ``Corrupt`` unless what look-ups rely on is what is made of the words and vectors that are there."""
    segment, n = table._segment, len(table)
    columns = table._columns("words.bytes", "words.ends")
    whole, ends = columns["words.bytes"].tobytes(), columns["words.ends"].tolist()
    try:
        words = [whole[a:b].decode() for a, b in zip([0, *ends], ends)]
    except UnicodeDecodeError:
        raise Corrupt("the column 'words.bytes' should hold UTF-8") from None
    if ends[-1] != len(whole) or len(set(words)) < n or not all(words):
        raise Corrupt("the columns 'words' should hold each word once, and none that is empty")
    for name, made in index_columns(words).items():
        if not np.array_equal(segment.column(name), made):
            raise Corrupt(f"the column {name!r} is not of the words that are there")
    terms = segment.column("terms")
    for start in range(0, n, _LOOKED):
        rows = table._rows(np.arange(start, min(n, start + _LOOKED)))
        right = row_terms(rows, "cosine")
        if (np.abs(terms[start : start + len(rows)] - right) > _CLOSE * right).any():
            raise Corrupt("the column 'terms' should hold one over the length of each row")


def _described(segment: Segment) -> tuple[int, int, str]:
    """Words, width and number type, after comparing what the file says of itself; touches no column."""
    columns = {name: segment.column(name, verify=False) for name in _COLUMNS}
    vectors = columns["vectors"]
    if vectors.ndim != 2 or vectors.dtype.str not in _DTYPES or 0 in vectors.shape or vectors.shape[1] > MAX_WIDTH:
        raise Corrupt(f"the column 'vectors' should be f4 or f2 [words, dim], got {vectors.dtype} {vectors.shape}")
    n, dim = vectors.shape
    for name, dtype in _COLUMNS.items():
        got = columns[name]
        if dtype and (got.dtype.str != dtype or got.ndim != 1 or (name in _ONE and got.shape != (n,))):
            raise Corrupt(f"the column {name!r} should be {dtype} of {n} words, got {got.dtype.str} of {got.shape}")
    if columns["pairs.keys"].shape != columns["pairs.ends"].shape:
        raise Corrupt("the columns 'pairs.keys' and 'pairs.ends' should be of one length")
    if {"n": segment.meta.get("n"), "dim": segment.meta.get("dim")} != {"n": n, "dim": dim}:
        raise Corrupt(f"n and dim: expected {n} and {dim}, as the vectors have")
    return int(n), int(dim), _DTYPES[vectors.dtype.str]
