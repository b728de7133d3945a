"""Writing a table of word vectors: from word2vec, GloVe, fastText, arrays, or an encoder."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nearfield.core.arrays import as_batch, block_rows, some, to_f32, unit_rows
from nearfield.core.errors import BadInput, BadParameter, DataWarning, NearfieldError
from nearfield.core.protocols import F32, I64, Batch, Progress
from nearfield.search.encoding import as_encoder
from nearfield.search.words import KIND, Words, open_words
from nearfield.search.words_index import index_columns
from nearfield.store import io
from nearfield.store.io_base import check_limit, shown
from nearfield.store.segments import SegmentWriter

_LONGEST_WORD = 1 << 16  # bytes
_LARGEST_HALF = 65504.0


def convert(
    source: Any,
    out: str | os.PathLike[str],
    *,
    ids: Sequence[str] | str | os.PathLike[str] | None = None,
    encoder: Any = None,
    limit: int | None = None,
    dtype: Literal["float32", "float16"] = "float32",
    normalize: bool = False,
    progress: Progress | None = None,
) -> Words:
    """Write words and their vectors into one file and open it.

    ``source`` is a file with words (word2vec text or binary, GloVe, fastText ``.vec``, also ``.gz``), a file of
    vectors with ``ids``, a pair ``(words, vectors [n, dim])``, or, with ``encoder``, words alone (a list, or a
    text file with one a line). ``ids`` are the words, or a text file with one a line. ``limit`` takes the first
    words only, ``dtype="float16"`` halves the file, ``normalize`` scales every vector to length 1; rankings are
    by cosine either way. Of a word that comes twice the first vector is kept, with a ``DataWarning``. Vectors
    are streamed; words and their indexes are held in memory (about 100 bytes a word).

    Raises ``BadInput`` for blank words, NaN and vectors that do not fit ``dtype``, naming the row.

    >>> import tempfile
    >>> table = convert(["river", "bank", "money"], tempfile.mkdtemp() + "/w.nf", encoder="static")
    >>> len(table), table.dim
    (3, 256)
    """
    if dtype not in ("float32", "float16"):
        raise BadParameter(f"dtype: expected 'float32' or 'float16', got {dtype!r}")
    words, batch = _opened(source, ids, encoder, check_limit(limit), progress)
    kept = _kept(words)
    with _writer(out) as writer:
        _write_vectors(writer, batch, kept, dtype, normalize, progress)
        for name, column in index_columns([words[row] for row in kept.tolist()]).items():
            writer.add(name, column)
        writer.finish({"n": int(kept.size), "dim": int(batch.shape[1]), "normalized": bool(normalize)})
    return open_words(out)


def _writer(out: Any) -> SegmentWriter:
    try:
        return SegmentWriter(out, KIND)
    except NearfieldError:
        raise
    except (TypeError, ValueError, OSError) as error:  # no text, one with NUL, a name that is too long
        why = getattr(error, "strerror", None) or error
        raise BadInput(f"expected the path of a .nf file to write, got {shown(out)}: {why}") from None


def _opened(
    source: Any, ids: Any, encoder: Any, limit: int | None, progress: Progress | None
) -> tuple[list[str], Batch]:
    """Words and their vectors, as many of each."""
    if encoder is not None:
        if ids is not None:
            raise BadInput("ids: an encoder takes its words from the source; leave ids out")
        words = _word_list(source, "source", limit)
        return words, as_batch(as_encoder(encoder).encode(words, progress=progress), "the encoder's vectors")
    if isinstance(source, tuple) and len(source) == 2:
        if ids is not None:
            raise BadInput("ids: the source is (words, vectors) and has its words; leave ids out")
        words, batch = _word_list(source[0], "words", limit), as_batch(source[1])
    elif isinstance(source, (str, os.PathLike)):
        file = io.read_vectors(source, limit=limit)
        own = file.ids if ids is None else ids
        if own is None:
            raise BadInput(f"{os.fspath(source)!r}: this file has vectors and no words; name them with ids=")
        words, batch = _word_list(own, "ids", limit), file
    else:
        raise BadInput(f"source: expected the path of a file or (words, vectors), got {type(source).__name__}")
    rows = batch.shape[0] if limit is None else min(batch.shape[0], limit)
    if len(words) != rows:
        raise BadInput(f"expected a word for each of {rows} vectors, got {len(words)} words")
    return words, batch


def _word_list(words: Any, name: str, limit: int | None) -> list[str]:
    """Words from a list or a file, each checked."""
    if isinstance(words, (str, os.PathLike)):
        words = io.read_texts(words, limit=limit).texts
    if not isinstance(words, Iterable) or isinstance(words, bytes):
        raise BadInput(f"{name}: expected a list of words or the path of a text file, got {type(words).__name__}")
    given = [word for _, word in zip(range(limit), words)] if limit is not None else list(words)
    if not given:
        raise BadInput(f"{name}: expected at least one word, got none")
    for row, word in enumerate(given):
        if not isinstance(word, str):
            raise BadInput(f"{name}: expected words, got {type(word).__name__} in row {row}")
        if not word or len(word) > _LONGEST_WORD:
            raise BadInput(f"{name}: expected words of 1 to {_LONGEST_WORD} characters, got {len(word)} in row {row}")
    try:
        "".join(given).encode()
    except UnicodeEncodeError as error:
        sizes = np.cumsum([len(word) for word in given])
        row = int(np.searchsorted(sizes, error.start, side="right"))
        raise BadInput(f"{name}: expected text, got half a surrogate pair in row {row}; repair it") from None
    return given


def _kept(words: list[str]) -> I64:
    """The rows of the words that were not there before, ascending."""
    first: dict[str, int] = {}
    for row, word in enumerate(words):
        first.setdefault(word, row)
    if len(first) < len(words):
        again = np.setdiff1d(np.arange(len(words)), np.fromiter(first.values(), np.int64, len(first)))
        warnings.warn(
            f"words: {again.size} of {len(words)} came before, in row {some(again)}: the first vector of each is kept",
            DataWarning,
            stacklevel=3,
        )
    return np.fromiter(first.values(), dtype=np.int64, count=len(first))


def _write_vectors(
    writer: SegmentWriter, batch: Batch, kept: I64, dtype: str, normalize: bool, progress: Progress | None
) -> None:
    """Stream the kept rows into the file, and one over their lengths behind them."""
    n, dim = int(kept.size), int(batch.shape[1])
    writer.begin("vectors", np.dtype(dtype), (n, dim))
    terms = np.empty(n, dtype=np.float32)
    done = 0
    for start, block in _blocks(batch, int(kept[-1]) + 1):
        low, high = np.searchsorted(kept, [start, start + len(block)]).tolist()
        rows = _ready(block, start, dtype, normalize)[kept[low:high] - start].astype(dtype, copy=False)
        writer.append("vectors", rows)
        lengths = np.linalg.norm(rows.astype(np.float32), axis=1)  # of the rows as they are stored
        terms[low:high] = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        done = high
        if progress is not None:
            progress("convert", done, n)
    if done != n:
        raise BadInput(f"expected {n} vectors, got {done}; the source has fewer rows than it says")
    writer.add("terms", terms)


def _blocks(batch: Batch, stop: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Blocks of the rows before ``stop``, each with its first row."""
    start = 0
    for block in batch.blocks(block_rows(batch.shape[1])):
        if start >= stop:
            return
        yield start, block[: stop - start]
        start += len(block)


def _ready(block: NDArray[Any], start: int, dtype: str, normalize: bool) -> F32:
    x = to_f32(block, start)
    if normalize:
        x = unit_rows(x, start, on_zero="keep")
    if dtype == "float16" and x.size and float(np.abs(x).max()) > _LARGEST_HALF:
        rows = np.flatnonzero(np.abs(x).max(axis=1) > _LARGEST_HALF) + start
        raise BadInput(f"vectors: float16 holds values up to 65504, got larger in row {some(rows)}; use float32")
    return x
