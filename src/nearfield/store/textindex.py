"""BM25 over the texts of a part: SQLite's FTS5 cuts texts into terms and inverts them, the lists are kept as columns.

FTS5's own tables would lie in pages without checksums, and its ranking visits every document once a query: here the
lists are checked like all else, filters are masks, and the statistics are those of the whole Collection.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import Corrupt, NearfieldError
from nearfield.core.protocols import I64
from nearfield.numerics.runs import smallest_uint, starts_of
from nearfield.store.segments import Segment, SegmentWriter
from nearfield.store.strings import Strings
from nearfield.store.tokenizers import Tokenizer

KIND = "texts"
_PIECE = 16_384  # texts inverted at a time


@dataclass
class TextIndex:
    """For each term, ascending by its bytes, the rows that hold it and how often.

    ``lengths`` says how many terms a row holds, stop words left out; they have lists of their own like other words.
    """

    terms: Strings
    starts: I64
    rows: NDArray[np.uint32]
    counts: NDArray[Any]
    lengths: NDArray[Any]

    @property
    def n(self) -> int:
        """Rows, those without text among them."""
        return len(self.lengths)

    def find(self, term: str) -> tuple[NDArray[np.uint32], NDArray[Any]]:
        """The rows that hold a term, and how often each does."""
        wanted = term.encode()
        low, high = 0, len(self.terms)
        starts, data = self.terms.starts, self.terms.data
        while low < high:
            middle = (low + high) // 2
            if data[starts[middle] : starts[middle + 1]].tobytes() < wanted:
                low = middle + 1
            else:
                high = middle
        if low == len(self.terms) or data[starts[low] : starts[low + 1]].tobytes() != wanted:
            return self.rows[:0], self.counts[:0]
        a, b = self.starts[low], self.starts[low + 1]
        return self.rows[a:b], self.counts[a:b]

    def first(self, n: int) -> TextIndex:
        """The lists of the first ``n`` rows."""
        inside = self.rows < n
        terms = np.repeat(np.arange(len(self.terms)), np.diff(self.starts))[inside]
        starts = starts_of(np.bincount(terms, minlength=len(self.terms)))
        return TextIndex(self.terms, starts, self.rows[inside], self.counts[inside], self.lengths[:n])

    # -- building ----------------------------------------------------------------------------------

    @classmethod
    def build(cls, texts: Sequence[str | None], tokenizer: Tokenizer) -> TextIndex:
        """Cut and invert texts; None holds no term."""
        pieces = [_inverted(texts[start : start + _PIECE], tokenizer, start) for start in range(0, len(texts), _PIECE)]
        names = sorted({name for piece in pieces for name in piece.terms})
        number = {name: i for i, name in enumerate(names)}
        terms = np.concatenate([np.zeros(0, np.int64), *(piece.instances(number) for piece in pieces)])
        rows = np.concatenate([np.zeros(0, np.int64), *(piece.rows for piece in pieces)])
        counted = np.concatenate([np.zeros(0, np.bool_), *(piece.counted() for piece in pieces)])
        lengths = np.bincount(rows[counted], minlength=len(texts))
        keys = terms * max(1, len(texts)) + rows
        unique, counts = np.unique(keys, return_counts=True)
        terms, rows = np.divmod(unique, max(1, len(texts)))
        return cls(
            Strings.build([name.decode() for name in names]),
            starts_of(np.bincount(terms, minlength=len(names))),
            rows.astype(np.uint32),
            counts.astype(smallest_uint(int(counts.max(initial=0)))),
            lengths.astype(smallest_uint(int(lengths.max(initial=0)))),
        )

    # -- keeping -----------------------------------------------------------------------------------

    def save(self, path: Path, tokenizer: Tokenizer) -> None:
        """Write the lists into a file beside the segment that they are derived from."""
        with SegmentWriter(path, KIND) as out:
            out.add("terms.sizes", self.terms.sizes)
            out.add("terms.bytes", self.terms.data)
            out.add("frequencies", np.diff(self.starts).astype(np.uint32))
            out.add("rows", self.rows)
            out.add("counts", self.counts)
            out.add("lengths", self.lengths)
            out.finish(_meta(tokenizer))

    @classmethod
    def load(cls, path: Path, tokenizer: Tokenizer, n: int) -> TextIndex | None:
        """The lists that were derived before; None where there are none, or they cannot be used: they are made anew."""
        try:
            if path.is_symlink() or not path.exists():
                return None
            segment = Segment(path, KIND)
            if any(segment.meta.get(key, "") != value for key, value in _meta(tokenizer).items()):
                return None
            found = cls(
                Strings(segment.column("terms.bytes"), segment.column("terms.sizes")),
                _starts_of(segment.column("frequencies")),
                segment.column("rows"),
                segment.column("counts"),
                segment.column("lengths"),
            )
            return found if found._sound(n) else None
        except (NearfieldError, OSError, ValueError, TypeError):
            return None

    def _sound(self, n: int) -> bool:
        size = len(self.rows)
        whole = (self.terms.data, self.terms.sizes, self.counts, self.lengths)
        if self.rows.ndim != 1 or any(a.ndim != 1 or a.dtype.kind != "u" for a in whole):
            return False
        shapes = len(self.starts) == len(self.terms) + 1 and len(self.counts) == size and len(self.lengths) == n
        return bool(
            shapes and self.terms.starts is not None and self.starts[-1] == size
            and (not size or int(self.rows.max()) < n) and self.rows.dtype == np.uint32
        )  # fmt: skip


def _meta(tokenizer: Tokenizer) -> dict[str, str]:
    """What made the lists; lists that something else made are made anew."""
    return {"tokenizer": str(tokenizer), "stemmer": tokenizer.made_by}


@dataclass
class _Piece:
    """Words of some texts as terms, how many instances each has, the rows of the instances, word after word."""

    terms: list[bytes]
    counts: I64
    rows: I64
    stops: NDArray[np.bool_]  # words that are no part of a length

    def instances(self, number: dict[bytes, int]) -> I64:
        """The number of the term of each instance."""
        return np.repeat(np.array([number[name] for name in self.terms], dtype=np.int64), self.counts)

    def counted(self) -> NDArray[np.bool_]:
        """Which instances are part of their row's length."""
        return np.repeat(~self.stops, self.counts)


def _starts_of(frequencies: NDArray[Any]) -> I64:
    if frequencies.ndim != 1 or frequencies.dtype != np.uint32:
        raise Corrupt("frequencies: expected one for each term")
    return starts_of(frequencies)


@contextlib.contextmanager
def _table(how: str) -> Iterator[sqlite3.Connection]:
    """An FTS5 table in memory, and the vocabulary of it."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    try:
        db.execute(f"CREATE VIRTUAL TABLE t USING fts5(x, content='', columnsize=0, tokenize='{how}')")
        db.execute("CREATE VIRTUAL TABLE v USING fts5vocab(t, 'instance')")
        yield db
    except sqlite3.Error as error:
        raise Corrupt(f"texts: SQLite's FTS5 cannot cut them into terms ({error}); see: nearfield info") from error
    finally:
        db.close()


def _cut(texts: Sequence[str | None], how: str, start: int = 0) -> tuple[list[str], I64, I64]:
    """Words, how many instances each has, and the rows of the instances, word after word."""
    with _table(how) as db:
        db.execute("BEGIN")
        db.executemany("INSERT INTO t(rowid, x) VALUES(?, ?)", ((i + 1, t) for i, t in enumerate(texts) if t))
        found = db.execute("SELECT CAST(term AS BLOB), count(*), group_concat(doc) FROM v GROUP BY term").fetchall()
    words = [f[0].decode("utf-8", errors="replace") for f in found]
    rows = np.array(",".join(f[2] for f in found).split(",") if found else [], dtype=np.int64)
    return words, np.array([f[1] for f in found], dtype=np.int64), rows - 1 + start


def _inverted(texts: Sequence[str | None], tokenizer: Tokenizer, start: int) -> _Piece:
    """Texts as terms, their rows numbered from ``start`` on."""
    words, counts, rows = _cut(texts, tokenizer.cut, start)
    stops, stem = stop_terms(tokenizer), tokenizer.stem()
    terms = [(word if stem is None else stem(word) or word).encode() for word in words]
    return _Piece(terms, counts, rows, np.fromiter((word in stops for word in words), np.bool_, len(words)))


@lru_cache(maxsize=64)
def stop_terms(tokenizer: Tokenizer) -> frozenset[str]:
    """The stop words as texts are cut: in parts where they hold an apostrophe."""
    return frozenset(_cut([" ".join(sorted(tokenizer.stops))], tokenizer.cut)[0])


def query_terms(text: str, tokenizer: Tokenizer) -> list[tuple[str, int]]:
    """The terms of a query, cut as the texts are, and how often it says each; stop words only where it has no other.

    >>> from nearfield.store.tokenizers import read
    >>> query_terms("Warm socks for the warm feet", read("snowball"))
    [('feet', 1), ('sock', 1), ('warm', 2)]
    """
    return list(_terms(text.encode(errors="replace").decode(), tokenizer))  # no text holds a lone surrogate


@lru_cache(maxsize=1024)  # a table is made for each: as long as a search takes
def _terms(text: str, tokenizer: Tokenizer) -> tuple[tuple[str, int], ...]:
    found = _inverted([text], tokenizer, 0)
    wanted = ~found.stops if not found.stops.all() else found.stops
    said: Counter[str] = Counter()
    for term, count, chosen in zip(found.terms, found.counts.tolist(), wanted):
        if chosen:
            said[term.decode()] += count
    return tuple(sorted(said.items()))
