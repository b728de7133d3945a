"""BM25 over the texts of a part: SQLite's FTS5 cuts texts into terms and inverts them, the lists are kept as columns.

FTS5's own tables would lie in pages without checksums, and its ranking visits every document once a query: here the
lists are checked like all else, filters are masks, and the statistics are those of the whole Collection.
"""

from __future__ import annotations

import contextlib
import sqlite3
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

KIND = "texts"
_TOKENIZERS = {
    "porter": "porter unicode61", "unicode61": "unicode61", "ascii": "ascii", "trigram": "trigram",
}  # fmt: skip
_PIECE = 16_384  # texts inverted at a time


@dataclass
class TextIndex:
    """For each term, ascending by its bytes, the rows that hold it and how often; ``lengths`` terms a row holds."""

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
    def build(cls, texts: Sequence[str | None], tokenizer: str) -> TextIndex:
        """Cut and invert texts; None holds no term."""
        pieces = []
        for start in range(0, len(texts), _PIECE):
            pieces.append((start, _inverted(texts[start : start + _PIECE], tokenizer)))
        names = sorted({name for _, piece in pieces for name in piece[0]})
        number = {name: i for i, name in enumerate(names)}
        terms = np.concatenate([np.zeros(0, np.int64), *(_terms_of(piece, number) for _, piece in pieces)])
        rows = np.concatenate([np.zeros(0, np.int64), *(piece[2] + start for start, piece in pieces)])
        keys = terms * max(1, len(texts)) + rows
        unique, counts = np.unique(keys, return_counts=True)
        terms, rows = np.divmod(unique, max(1, len(texts)))
        lengths = np.bincount(rows, weights=counts, minlength=len(texts)).astype(np.int64)
        return cls(
            Strings.build([name.decode() for name in names]),
            starts_of(np.bincount(terms, minlength=len(names))),
            rows.astype(np.uint32),
            counts.astype(smallest_uint(int(counts.max(initial=0)))),
            lengths.astype(smallest_uint(int(lengths.max(initial=0)))),
        )

    # -- keeping -----------------------------------------------------------------------------------

    def save(self, path: Path, tokenizer: str) -> None:
        """Write the lists into a file beside the segment that they are derived from."""
        with SegmentWriter(path, KIND) as out:
            out.add("terms.sizes", self.terms.sizes)
            out.add("terms.bytes", self.terms.data)
            out.add("frequencies", np.diff(self.starts).astype(np.uint32))
            out.add("rows", self.rows)
            out.add("counts", self.counts)
            out.add("lengths", self.lengths)
            out.finish({"tokenizer": tokenizer})

    @classmethod
    def load(cls, path: Path, tokenizer: str, n: int) -> TextIndex | None:
        """The lists that were derived before; None where there are none, or they cannot be used: they are made anew."""
        try:
            if path.is_symlink() or not path.exists():
                return None
            segment = Segment(path, KIND)
            if segment.meta.get("tokenizer") != tokenizer:
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


def _starts_of(frequencies: NDArray[Any]) -> I64:
    if frequencies.ndim != 1 or frequencies.dtype != np.uint32:
        raise Corrupt("frequencies: expected one for each term")
    return starts_of(frequencies)


def _terms_of(piece: tuple[list[bytes], NDArray[np.int64], NDArray[np.int64]], number: dict[bytes, int]) -> I64:
    return np.repeat(np.array([number[name] for name in piece[0]], dtype=np.int64), piece[1])


@contextlib.contextmanager
def _table(tokenizer: str) -> Iterator[sqlite3.Connection]:
    """An FTS5 table in memory, and the vocabulary of it."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    try:
        how = _TOKENIZERS[tokenizer]
        db.execute(f"CREATE VIRTUAL TABLE t USING fts5(x, content='', columnsize=0, tokenize='{how}')")
        db.execute("CREATE VIRTUAL TABLE v USING fts5vocab(t, 'instance')")
        yield db
    except sqlite3.Error as error:
        raise Corrupt(f"texts: SQLite's FTS5 cannot cut them into terms ({error}); see: nearfield info") from error
    finally:
        db.close()


def _inverted(texts: Sequence[str | None], tokenizer: str) -> tuple[list[bytes], NDArray[np.int64], NDArray[np.int64]]:
    """Terms, how many instances each has, and the rows of the instances, term after term."""
    with _table(tokenizer) as db:
        db.execute("BEGIN")
        db.executemany("INSERT INTO t(rowid, x) VALUES(?, ?)", ((i + 1, t) for i, t in enumerate(texts) if t))
        found = db.execute("SELECT CAST(term AS BLOB), count(*), group_concat(doc) FROM v GROUP BY term").fetchall()
    names = [f[0] for f in found]
    counts = np.array([f[1] for f in found], dtype=np.int64)
    rows = np.array(",".join(f[2] for f in found).split(",") if found else [], dtype=np.int64)
    return names, counts, rows - 1


def query_terms(text: str, tokenizer: str) -> list[str]:
    """The distinct terms of a query, cut as the texts are.

    >>> query_terms("Warm socks, warm feet", "porter")
    ['feet', 'sock', 'warm']
    """
    return list(_terms(text.encode(errors="replace").decode(), tokenizer))  # no text holds a lone surrogate


@lru_cache(maxsize=1024)  # a table is made for each: as long as a search takes
def _terms(text: str, tokenizer: str) -> tuple[str, ...]:
    return tuple(name.decode("utf-8", errors="replace") for name in _inverted([text], tokenizer)[0])
