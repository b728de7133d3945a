"""Texts to vectors with one small table: no model to run, nothing to install or download.

Each word piece has a row in a table that was distilled from all-MiniLM-L6-v2 (Apache-2.0, see
``data/LICENSE-all-MiniLM-L6-v2``) by ``scripts/distill_static.py``; a text is the sum of its rows,
normalised. Use it to try nearfield on texts at once, or where thousands of documents a second count
more than the last points of quality; it is meant for English. Word order is lost.

paper: Tulkens and van Dongen, 2024, model2vec; Arora, Liang, Ma, 2017 (smooth inverse frequency)
needs: numpy
status: proven
"""

from __future__ import annotations

import io
import itertools
import json
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import BadInput, BadParameter, Corrupt
from nearfield.core.protocols import F32, Progress
from nearfield.numerics.wordpiece import CharacterTable, WordPiece

_FOLDER = Path(__file__).with_name("data")
_FILES = {"1": "static.npz", "2": "static-2.npz"}  # a table each, oldest first: vectors of all of them stay searchable
_BLOCK = 256  # texts looked up together
_NEW = 2048  # new words worked out at once
_GATHERED = 1024  # word vectors gathered at once: 1 MiB stays in the cache
_CACHED = 1 << 16  # words whose vectors are kept: 64 MiB
# The two values of a byte of codes: 4-bit codes c, low half first, stand for (c - 7.5) * the row's scale.
_LEVELS = np.stack([np.arange(256) & 15, np.arange(256) >> 4], axis=1).astype(np.float32) - np.float32(7.5)


class Static:
    """Encodes texts as the normalised sum of distilled token vectors.

    ``encode`` takes any iterable of strings and returns float32 ``[n, dim]`` with rows of length 1,
    the same bytes for the same text in every call and every process on a machine. Punctuation is ignored. A text
    without any known word piece (empty, or in a script outside the vocabulary) becomes the vector of
    ``[UNK]``, so that no row is zero. Queries and documents are encoded alike. Word vectors are kept
    between calls (at most 64 MiB), and calls from several threads wait for each other.

    ``revision`` names the table: the newest where None, an older one for vectors that it made; vectors of two
    revisions cannot be compared. A name in place of the object (``encoder="static"``) takes the revision that a file
    or a collection records by itself; ``encoder="static-1"`` names one for vectors that nothing is recorded of.

    Raises ``BadParameter`` for a revision that there is not, and ``BadInput`` for anything that is not a string,
    naming its place.

    Source: the method of model2vec, then fitted to the vectors of all-MiniLM-L6-v2.

    >>> encoder = Static()
    >>> vectors = encoder.encode(["warm socks", "a cosy pair of woollen stockings", "tax law"])
    >>> vectors.shape
    (3, 256)
    >>> bool(vectors[0] @ vectors[1] > vectors[0] @ vectors[2])
    True
    """

    name = "static"
    revisions = tuple(_FILES)

    def __init__(self, revision: str | None = None) -> None:
        if revision is not None and revision not in _FILES:
            raise BadParameter(f"static(revision=) expects one of {', '.join(_FILES)}, got {revision!r}")
        table = _read(_FOLDER / _FILES[revision or self.revisions[-1]])
        self._codes: NDArray[np.uint8] = table["codes"]
        self._scales: NDArray[np.float16] = table["scales"]
        self._about: dict[str, Any] = json.loads(table["about"].tobytes())
        vocabulary = _list(table["vocabulary"])
        self._pieces = WordPiece(vocabulary)
        # whole words with a row of their own, after those of the pieces
        self._words = {word: (row,) for row, word in enumerate(_list(table["words"]), len(vocabulary))}
        self._characters = CharacterTable(keep_punctuation=False)
        self.dim = 2 * int(self._codes.shape[1])
        self.revision = str(self._about["revision"])
        self._fallback: F32 = _unit(self._decode(np.array([self._pieces.unknown])))[0]
        self._lock = threading.Lock()
        self._forget()

    @property
    def space(self) -> dict[str, Any]:
        """What the vectors are: model, revision, dim, metric and whether they are normalised."""
        return {
            "model": self._about["model"],
            "revision": self.revision,
            "dim": self.dim,
            "metric": "cosine",
            "normalised": True,
        }

    def encode(self, texts: Iterable[str], *, progress: Progress | None = None) -> F32:
        """Return one unit vector a text, float32 ``[n, dim]``; ``progress`` hears (what, done, total)."""
        if isinstance(texts, str):
            raise BadInput("encode: expected a list of texts, got one string; put it in a list")
        total = len(texts) if isinstance(texts, Sequence) else 0
        blocks: list[F32] = []
        done = 0
        for block in _blocks(texts):
            _check(block, done)
            blocks.append(self._encode_block(block))
            done += len(block)
            if progress is not None:
                progress("encode", done, total or done)
        return np.concatenate(blocks) if blocks else np.zeros((0, self.dim), dtype=np.float32)

    def encode_queries(self, texts: Iterable[str], *, progress: Progress | None = None) -> F32:
        """The same as ``encode``: this encoder treats queries and documents alike."""
        return self.encode(texts, progress=progress)

    def _forget(self) -> None:
        self._rows = _WordRows()
        # address space only: pages are taken as words come
        self._vectors: F32 = np.empty((_CACHED, self.dim), dtype=np.float32)
        self._known = 0

    def _encode_block(self, texts: list[str]) -> F32:
        with self._lock:
            characters, row_of = self._characters, self._rows.__getitem__
            rows = [list(map(row_of, text.translate(characters).split())) for text in texts]
            self._learn_new_words()
            sums = self._sums(rows)
            if len(self._rows) > _CACHED:
                self._forget()
        return self._normalise(sums)

    def _sums(self, rows: list[list[int]]) -> F32:
        """Add up the word vectors of each text; a text without words stays zero."""
        counts = list(map(len, rows))
        words = np.fromiter(itertools.chain.from_iterable(rows), dtype=np.intp, count=sum(counts))
        out = np.zeros((len(rows), self.dim), dtype=np.float32)
        buffer = np.empty((_GATHERED, self.dim), dtype=np.float32)
        start = 0
        for i, count in enumerate(counts):
            for first in range(start, start + count, _GATHERED):
                taken = words[first : min(first + _GATHERED, start + count)]
                vectors = buffer[: len(taken)]
                # mode="clip" lets NumPy write straight into the buffer; no row is out of range
                np.take(self._vectors, taken, axis=0, out=vectors, mode="clip")
                out[i] += np.add.reduce(vectors, axis=0)
            start += count
        return out

    def _learn_new_words(self) -> None:
        """Work out the vectors of the words that were met for the first time."""
        new = self._rows.new
        if not new:
            return
        used = len(self._rows)
        if used > len(self._vectors):
            grown = np.empty((max(used, 2 * len(self._vectors)), self.dim), dtype=np.float32)
            grown[: self._known] = self._vectors[: self._known]
            self._vectors = grown
        for start in range(0, len(new), _NEW):
            pieces = [self._words.get(word) or self._pieces.pieces(word) for word in new[start : start + _NEW]]
            self._vectors[self._known : self._known + len(pieces)] = self._add_pieces(pieces)
            self._known += len(pieces)
        new.clear()

    def _add_pieces(self, pieces: list[tuple[int, ...]]) -> F32:
        """The vector of each word: its pieces' rows, first to last; an unknown word's is zero."""
        counts = np.fromiter(map(len, pieces), dtype=np.int64, count=len(pieces))
        ids = np.fromiter(itertools.chain.from_iterable(pieces), dtype=np.int64, count=int(counts.sum()))
        starts = np.cumsum(counts) - counts
        out = self._decode(ids[starts])
        out[ids[starts] == self._pieces.unknown] = 0
        for place in range(1, int(counts.max())):  # many short runs: reduceat would be slower
            longer = np.flatnonzero(counts > place)
            out[longer] += self._decode(ids[starts[longer] + place])
        return out

    def _decode(self, ids: NDArray[np.int64]) -> F32:
        """Return rows of the table, float32 ``[len(ids), dim]``."""
        values = np.take(_LEVELS, self._codes[ids], axis=0).reshape(len(ids), self.dim)
        values *= self._scales[ids].astype(np.float32)[:, None]
        return values

    def _normalise(self, sums: F32) -> F32:
        lengths = np.linalg.norm(sums, axis=1)
        sums[lengths == 0] = self._fallback
        return _unit(sums)


class _WordRows(dict[str, int]):
    """Numbers words from 0 in the order they are first met, and lists the new ones."""

    def __init__(self) -> None:
        super().__init__()
        self.new: list[str] = []

    def __missing__(self, word: str) -> int:
        row = self[word] = len(self)
        self.new.append(word)
        return row


def _read(file: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as arrays:
            table = {name: arrays[name] for name in ("codes", "scales", "vocabulary", "about")}
            # the first table has no words of its own
            return table | {"words": arrays["words"] if "words" in arrays else np.zeros(0, dtype=np.uint8)}
    except FileNotFoundError as error:
        raise Corrupt(f"expected the encoder's table at {file}, found none; reinstall nearfield") from error
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise Corrupt(f"{file}: the encoder's table is damaged ({error}); reinstall nearfield") from error


def _list(packed: NDArray[Any]) -> list[str]:
    return zlib.decompress(packed.tobytes()).decode().split("\n") if packed.size else []


def _unit(x: F32) -> F32:
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), dtype=np.float32)


def _blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    source = iter(texts)
    while block := list(itertools.islice(source, _BLOCK)):
        yield block


def _check(block: list[str], first: int) -> None:
    for place, text in enumerate(block, first):
        if not isinstance(text, str):
            raise BadInput(f"encode: expected strings, got {type(text).__name__} as text {place}")
