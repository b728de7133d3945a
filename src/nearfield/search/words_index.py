"""Finding words in a mapped table: by their bytes, and by the pairs of characters they share with another.

Both indexes are plain columns of numbers beside the words, so that nothing is read before the first look-up::

    words.bytes  u8 [b]   the words in UTF-8, end to end      words.ends  i64 [n]  where each ends
    hash.keys    u32 [n]  CRC-32 of each word, ascending      hash.rows   u32 [n]  the row of each
    pairs.keys   u64 [p]  pairs of characters, ascending      pairs.ends  i64 [p]  where the rows of each end
    pairs.rows   u32 [z]  the rows of each pair, ascending    pairs.counts u16 [n] different pairs of each row

A pair is ``first << 32 | second`` in code points of the lower-cased word; 2 stands before a word, 3 behind it.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import Corrupt
from nearfield.core.protocols import I64, U8
from nearfield.search.columns import text_columns

U16 = NDArray[np.uint16]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]

_START, _END = "\x02", "\x03"
_LONGEST_RUN = 4096  # words of one CRC-32: an honest table of a hundred million has under ten
_MOST_PAIRS = 1 << 24  # worked on at once when an index is built: 400 MB


def pairs_of(word: str) -> U64:
    """The different pairs of neighbouring characters of a lower-cased word, its start and end included, ascending.

    >>> len(pairs_of("noon")), len(pairs_of("aaaa"))
    (5, 3)
    """
    points = _points(_START + word + _END)
    return np.unique(points[:-1] << np.uint64(32) | points[1:])


def _points(text: str) -> U64:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)


# ---- building -------------------------------------------------------------------------------------
def index_columns(words: list[str]) -> dict[str, NDArray[Any]]:
    """All columns of the two indexes for different, non-empty words."""
    columns = text_columns("words", words)
    keys = np.fromiter((zlib.crc32(word.encode()) for word in words), dtype=np.uint32, count=len(words))
    order = np.argsort(keys, kind="stable")
    return columns | {"hash.keys": keys[order], "hash.rows": order.astype(np.uint32)} | _pair_columns(words)


def _pair_columns(words: list[str]) -> dict[str, NDArray[Any]]:
    """Which rows hold each pair, worked out for some of the words at a time and merged by sorting."""
    found = [_pairs_with_rows(words[start:stop], start) for start, stop in _parts(words)]
    keys, rows = (np.concatenate(part) for part in zip(*found))
    order = np.argsort(keys, kind="stable")  # the rows of a pair stay ascending
    keys = keys[order]
    last = np.flatnonzero(np.append(keys[1:] != keys[:-1], True))
    return {
        "pairs.keys": keys[last],
        "pairs.ends": last.astype(np.int64) + 1,
        "pairs.rows": rows[order],
        "pairs.counts": np.minimum(np.bincount(rows, minlength=len(words)), 0xFFFF).astype(np.uint16),
    }


def _parts(words: list[str]) -> list[tuple[int, int]]:
    sizes = np.cumsum([len(word) + 1 for word in words])
    cuts = np.searchsorted(sizes, np.arange(_MOST_PAIRS, int(sizes[-1]), _MOST_PAIRS)) + 1
    edges = np.unique(np.concatenate([[0], cuts, [len(words)]])).tolist()
    return list(itertools.pairwise(edges))


def _pairs_with_rows(words: list[str], first: int) -> tuple[U64, U32]:
    """Each different pair of each word, and the word's row; rows ascending."""
    marked = [_START + word.lower() + _END for word in words]
    points = _points("".join(marked))
    rows = np.repeat(np.arange(len(marked), dtype=np.uint64), [len(word) for word in marked])
    within = rows[1:] == rows[:-1]
    pairs = (points[:-1] << np.uint64(32) | points[1:])[within]
    rows = rows[1:][within]
    order = np.lexsort((pairs, rows))
    pairs, rows = pairs[order], rows[order]
    new = np.append(True, (pairs[1:] != pairs[:-1]) | (rows[1:] != rows[:-1]))
    return pairs[new], (rows[new] + np.uint64(first)).astype(np.uint32)


# ---- looking up -----------------------------------------------------------------------------------
class WordIndex:
    """Rows of words, by their bytes; raises ``Corrupt`` where the columns contradict one another."""

    def __init__(self, columns: Mapping[str, NDArray[Any]]) -> None:
        self.data: U8 = columns["words.bytes"]
        self.keys: U32 = columns["hash.keys"]
        self.rows: U32 = columns["hash.rows"]
        ends: I64 = columns["words.ends"]
        if not ascending(ends) or ends[0] < 0 or not 0 < ends[-1] <= self.data.size:
            raise Corrupt("the column 'words.ends' should hold ascending places within 'words.bytes'")
        if not ascending(self.keys) or int(self.rows.max()) >= ends.size:
            raise Corrupt(f"the columns 'hash' should hold ascending keys and rows below {ends.size}")
        self.starts: I64 = np.append(0, ends)

    def __len__(self) -> int:
        return int(self.keys.size)

    def word(self, row: int) -> str:
        """The word of a row."""
        return self.data[int(self.starts[row]) : int(self.starts[row + 1])].tobytes().decode("utf-8", "replace")

    def words(self, start: int, stop: int) -> list[str]:
        """The words of the rows from ``start`` to ``stop``."""
        low = int(self.starts[start])
        data = self.data[low : int(self.starts[stop])].tobytes()
        ends = (self.starts[start : stop + 1] - low).tolist()
        return [data[a:b].decode("utf-8", "replace") for a, b in itertools.pairwise(ends)]

    def find_one(self, word: str) -> int:
        """The row of a word, -1 where there is none."""
        data = word.encode("utf-8", "surrogatepass")
        key = np.uint32(zlib.crc32(data))
        at = int(np.searchsorted(self.keys, key))
        for place in range(at, min(at + _LONGEST_RUN, len(self))):
            if self.keys[place] != key:
                return -1
            row = int(self.rows[place])
            if self.data[int(self.starts[row]) : int(self.starts[row + 1])].tobytes() == data:
                return row
        return -1

    def find(self, words: Sequence[str]) -> I64:
        """The rows of many words, int64 ``[m]``, -1 for those that are not there."""
        encoded = _encoded(words)
        keys = np.fromiter(map(zlib.crc32, encoded), dtype=np.uint32, count=len(encoded))
        found = np.full(len(encoded), -1, dtype=np.int64)
        at = np.searchsorted(self.keys, keys)
        asked = np.arange(len(encoded))
        for _ in range(_LONGEST_RUN):
            same = (at < len(self)) & (self.keys[np.minimum(at, len(self) - 1)] == keys[asked])
            asked, at = asked[same], at[same]
            if not asked.size:
                break
            rows = self.rows[at].astype(np.int64)
            equal = self._equal(rows, encoded if asked.size == len(encoded) else [encoded[i] for i in asked.tolist()])
            found[asked[equal]] = rows[equal]
            asked, at = asked[~equal], at[~equal] + 1  # two words of one CRC-32 stand side by side
        return found

    def _equal(self, rows: I64, encoded: list[bytes]) -> NDArray[np.bool_]:
        """Whether the words of these rows are these bytes, compared all in one go."""
        starts = self.starts[rows]
        sizes = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
        equal = np.asarray(self.starts[rows + 1] - starts == sizes)
        given = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        owner = np.repeat(np.arange(len(encoded)), sizes)
        within = np.arange(given.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        places = np.minimum(starts[owner] + within, self.data.size - 1)  # a longer word may reach past the end
        equal[owner[self.data[places] != given]] = False
        return equal


class PairIndex:
    """Rows whose words share many pairs of characters with a given word."""

    def __init__(self, columns: Mapping[str, NDArray[Any]]) -> None:
        self.keys: U64 = columns["pairs.keys"]
        self.rows: U32 = columns["pairs.rows"]
        self.counts: U16 = columns["pairs.counts"]
        ends: I64 = columns["pairs.ends"]
        self.starts: I64 = np.append(0, ends)
        if not ascending(self.starts) or self.starts[-1] != self.rows.size or not ascending(self.keys):
            raise Corrupt("the columns 'pairs' should hold ascending keys and places")
        if self.rows.size and int(self.rows.max()) >= self.counts.size:
            raise Corrupt(f"the column 'pairs.rows' should hold rows below {self.counts.size}")

    def nearest(self, word: str, most: int) -> I64:
        """The rows that share most with a lower-cased word, by Dice's coefficient of their pairs, best first.

        Equal ones go to the smaller row, which in tables of word vectors is the more frequent word. Source:
        Dice 1945, doi:10.2307/1932409; one count for each row of the table and each place of an asked pair.
        """
        asked = pairs_of(word)
        at = np.searchsorted(self.keys, asked)
        at = at[(at < self.keys.size) & (self.keys[np.minimum(at, self.keys.size - 1)] == asked)]
        lists = [self.rows[int(self.starts[i]) : int(self.starts[i + 1])] for i in at.tolist()]
        if not lists:
            return np.zeros(0, dtype=np.int64)
        shared = np.bincount(np.concatenate(lists), minlength=self.counts.size)
        rows = np.flatnonzero(2 * shared >= shared.max())  # those that share fewer are not like it
        likeness = 2 * shared[rows] / (asked.size + self.counts[rows].astype(np.int64))
        if rows.size > most:
            kept = likeness >= np.partition(likeness, -most)[-most]
            rows, likeness = rows[kept], likeness[kept]
        return rows[np.argsort(-likeness, kind="stable")[:most]].astype(np.int64)


def _encoded(words: Sequence[str]) -> list[bytes]:
    try:
        return list(map(str.encode, words))
    except UnicodeEncodeError:  # half a surrogate pair is in no table, and may be asked for
        return [word.encode("utf-8", "surrogatepass") for word in words]


def ascending(values: NDArray[Any]) -> bool:
    """Whether no value is smaller than the one before it."""
    return bool((values[1:] >= values[:-1]).all())
