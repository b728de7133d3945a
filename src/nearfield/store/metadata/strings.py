"""Columns of text: a sorted dictionary and codes where that is smaller, else the bytes and their lengths.

Comparisons are by code point, which is the order of UTF-8 bytes. In a dictionary they become a range of codes; bytes
are compared eight at a time, as one big-endian integer, and only where those are equal the next eight. Substrings in
bytes are looked for in all of them at once.
"""

from __future__ import annotations

import codecs
import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import Corrupt
from nearfield.numerics.runs import within
from nearfield.store.metadata.ints import I64, Fetch, Ints, Mask, bytes_for, check_array, starts_of

_SAMPLE = 1024
_DISTINCT = 0.9  # share of distinct values of a sample above which no dictionary is tried
_PIECE = 1 << 20


class Strings:
    """Immutable texts, read-only bytes behind them.

    >>> x = Strings.of(["de", "fr", "de", "de"])
    >>> x.item(1), x.codes.all().tolist()
    ('fr', [0, 1, 0, 0])
    >>> x.ordered("=", "de").tolist()
    [True, False, True, True]
    """

    def __init__(self, codes: Ints | None, lengths: Ints, blob: NDArray[np.uint8]) -> None:
        self.codes, self.lengths, self.blob = codes, lengths, blob
        self.n = lengths.n if codes is None else codes.n

    @classmethod
    def of(cls, values: Sequence[str], least_bits: int = 0) -> Self:
        """Encode texts; a lone surrogate raises ``UnicodeEncodeError``."""
        if _seems_distinct(len(values), lambda at: [values[i] for i in at]):
            return cls(None, *_joined(values, least_bits))
        distinct = sorted(set(values))
        number = {value: i for i, value in enumerate(distinct)}
        codes = np.fromiter(map(number.__getitem__, values), np.int64, len(values))
        return cls._smaller(codes, *_joined(distinct, 0), least_bits)

    @classmethod
    def _smaller(cls, codes: I64, lengths: Ints, blob: NDArray[np.uint8], least_bits: int) -> Self:
        """The dictionary as it is, or its texts row by row, whichever takes fewer bytes."""
        sizes = lengths.all()
        each = sizes[codes]
        low, high = (int(sizes.min()), int(sizes.max())) if sizes.size else (0, 0)
        direct = int(each.sum()) + bytes_for(codes.size, high - low)
        coded = blob.size + bytes_for(sizes.size, high - low) + bytes_for(codes.size, max(0, sizes.size - 1))
        if coded < direct:
            return cls(Ints.of(codes, least_bits), lengths, blob)
        return cls(None, Ints.of(each, least_bits), blob[within(starts_of(sizes)[:-1][codes], each)])

    @classmethod
    def join(cls, pieces: Sequence[tuple[Strings, I64]], least_bits: int = 0) -> Self:
        """The texts at these positions of several columns, one after the other, as ``of`` would encode them."""
        n = sum(len(at) for _, at in pieces)
        if all(column.codes is not None for column, _ in pieces):
            if not _seems_distinct(n, lambda at: _at(pieces, at)):
                return cls._smaller(*_united(pieces), least_bits)
        elif all(column.codes is None for column, _ in pieces) and _seems_distinct(n, lambda at: _at(pieces, at)):
            lengths = [column.lengths.take(at) for column, at in pieces]
            runs = [c.blob[within(c.starts[at], size)] for (c, at), size in zip(pieces, lengths)]
            return cls(None, Ints.of(np.concatenate(lengths), least_bits), np.concatenate(runs))
        return cls.of([text for column, at in pieces for text in column.pick(at)], least_bits)

    @classmethod
    def restore(cls, stored: Any, n: int, fetch: Fetch, name: str) -> Self:
        """Read what ``describe`` and ``arrays`` gave; lengths, codes and UTF-8 are checked."""
        if not isinstance(stored, dict) or not {"lengths"} <= stored.keys() <= {"lengths", "codes", "distinct"}:
            raise Corrupt(f"column {name!r}: expected lengths of texts")
        codes, count = None, n
        if "codes" in stored:
            codes, distinct = Ints.restore(stored["codes"], n, fetch, f"{name}.codes"), stored.get("distinct")
            if type(distinct) is not int or not 0 <= distinct <= n:
                raise Corrupt(f"column {name!r}: expected at most {n} distinct texts")
            count = distinct
            found = codes.bounds(None)
            if found is not None and not 0 <= found[0] <= found[1] < count:
                raise Corrupt(f"column {name!r}: expected codes below {count}, got {found[0]} to {found[1]}")
        lengths = Ints.restore(stored["lengths"], count, fetch, f"{name}.lengths")
        blob = fetch(f"{name}.text")
        blob = check_array(blob, np.uint8, blob.size, f"{name}.text")
        check_lengths(lengths, blob.size, name)
        out = cls(codes, lengths, blob)
        out._check_utf8(name)
        if codes is not None:
            _ = out.distinct  # ascending, or look-ups in it fail
        return out

    def _check_utf8(self, name: str) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            for start in range(0, self.blob.size, _PIECE):
                decoder.decode(self.blob[start : start + _PIECE].tobytes())
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            raise Corrupt(f"column {name!r}: expected UTF-8") from None
        firsts = self.starts[:-1]
        firsts = firsts[firsts < self.blob.size]
        if ((self.blob[firsts] & 0xC0) == 0x80).any():
            raise Corrupt(f"column {name!r}: a text begins within a character")

    def describe(self) -> dict[str, Any]:
        """What ``restore`` needs beside the arrays."""
        if self.codes is None:
            return {"lengths": self.lengths.describe()}
        return {"codes": self.codes.describe(), "distinct": self.lengths.n, "lengths": self.lengths.describe()}

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """The arrays to store, by name."""
        out = {f"{name}.text": self.blob} | self.lengths.arrays(f"{name}.lengths")
        return out if self.codes is None else out | self.codes.arrays(f"{name}.codes")

    @cached_property
    def starts(self) -> I64:
        """Where each stored text begins in the bytes, and where the last ends."""
        return starts_of(self.lengths.all())

    @cached_property
    def _view(self) -> memoryview:
        # slices of it cost a third of those of an array; an empty array has none
        return self.blob.data if self.blob.size else memoryview(b"")

    @cached_property
    def distinct(self) -> list[str]:
        """The stored texts: with a dictionary the distinct ones, ascending; else all."""
        data = self.blob.tobytes()
        at = self.starts.tolist()
        out = [data[a:b].decode() for a, b in itertools.pairwise(at)]
        if self.codes is not None and any(a >= b for a, b in itertools.pairwise(out)):
            raise Corrupt("column of texts: expected a dictionary in ascending order")
        return out

    def item(self, at: int) -> str:
        """One text."""
        if self.codes is not None:
            at = self.codes.item(at)
        starts = self.starts
        return str(self._view[starts.item(at) : starts.item(at + 1)], "utf-8")

    def pick(self, at: I64) -> list[str]:
        """The texts at these positions."""
        if self.codes is not None:
            at = self.codes.take(at)
            if "distinct" in self.__dict__ or len(at) > self.lengths.n:
                return list(map(self.distinct.__getitem__, at.tolist()))
        first, last, blob = self.starts[:-1][at].tolist(), self.starts[1:][at].tolist(), self.blob
        return [blob[a:b].tobytes().decode() for a, b in zip(first, last)]

    def part(self, start: int, n: int) -> Strings:
        """A run of them, without a copy of the bytes."""
        if start == 0 and n == self.n:
            return self
        if self.codes is not None:
            out = Strings(self.codes.part(start, n), self.lengths, self.blob)
            out.__dict__.update({k: v for k, v in self.__dict__.items() if k in ("starts", "distinct")})
            return out
        bounds = self.starts[start : start + n + 1]
        return Strings(None, self.lengths.part(start, n), self.blob[bounds[0] : bounds[-1]])

    def ordered(self, op: str, value: str) -> Mask:
        """Which texts stand in this order (``= < <= > >=``) to a value."""
        if self.codes is not None:
            first = bisect_left(self.distinct, value)
            there = first < len(self.distinct) and self.distinct[first] == value
            behind = first + there
            low, high = {
                "=": (first, behind - 1), "<": (None, first - 1), "<=": (None, behind - 1),
                ">": (behind, None), ">=": (first, None),
            }[op]  # fmt: skip
            return self.codes.between(low, high)
        less, more = self._against(value.encode())
        if op in ("<", ">"):
            return less if op == "<" else more
        return ~more if op == "<=" else ~less if op == ">=" else ~(less | more)

    def among(self, wanted: set[str]) -> Mask:
        """Which texts are in a set."""
        if self.codes is not None:
            if len(wanted) < len(self.distinct):
                places = ((bisect_left(self.distinct, w), w) for w in wanted)
                there = [i for i, w in places if i < len(self.distinct) and self.distinct[i] == w]
            else:
                there = [i for i, text in enumerate(self.distinct) if text in wanted]
            return self.codes.among(np.array(there, np.int64))
        if len(wanted) > self.n:
            return self.matching(wanted.__contains__)
        encoded = {w.encode() for w in wanted}
        heads = np.fromiter((int.from_bytes(w[:8].ljust(8, b"\0"), "big") for w in encoded), np.uint64, len(encoded))
        out = np.isin(self._heads, heads)
        some = np.flatnonzero(out)
        blob = self.blob
        bounds = zip(self.starts[:-1][some].tolist(), self.starts[1:][some].tolist())
        out[some] = np.fromiter((blob[a:b].tobytes() in encoded for a, b in bounds), np.bool_, some.size)
        return out

    def starting(self, piece: str) -> Mask:
        """Which texts begin with a piece."""
        if self.codes is not None:
            size = len(piece)
            first = bisect_left(self.distinct, piece)
            return self.codes.between(
                first, bisect_right(self.distinct, piece, first, key=lambda text: text[:size]) - 1
            )
        encoded = piece.encode()
        # no byte of UTF-8 is 0xff: what begins with the piece lies between it and the piece followed by that
        return ~self._against(encoded)[0] & self._against(encoded + b"\xff")[0]

    def matching(self, test: Callable[[str], bool]) -> Mask:
        """Which texts pass a test: about 0.3 microseconds a stored text, and what the test takes."""
        found = np.fromiter(map(test, self._iterate()), np.bool_, self.lengths.n)
        return found if self.codes is None else found[self.codes.all()]

    def containing(self, piece: str) -> Mask:
        """Which texts have this substring; bytes are searched as a whole."""
        if self.codes is not None or not piece:
            return self.matching(lambda text: piece in text)
        data, wanted = self.blob.tobytes(), piece.encode()
        out = np.zeros(self.n, np.bool_)
        ends = self.starts[1:].tolist()
        at, row = data.find(wanted), 0
        while at >= 0:
            row = bisect_right(ends, at, row)
            inside = at + len(wanted) <= ends[row]
            if inside:
                out[row] = True
            at = data.find(wanted, ends[row] if inside else at + 1)
        return out

    def counted(self, at: I64 | Mask | None) -> tuple[list[str], list[int]]:
        """The distinct texts, and how often each comes."""
        if self.codes is not None:
            codes, counts = self.codes.counted(at)
            return [self.distinct[c] for c in codes], counts
        chosen = np.arange(self.n) if at is None else np.arange(self.n)[at]
        found: dict[str, int] = {}
        for text in self.pick(chosen):
            found[text] = found.get(text, 0) + 1
        return list(found), list(found.values())

    def bounds(self, at: I64 | Mask | None) -> tuple[str, str] | None:
        """The first and the last text in order, None where there are none."""
        if self.codes is not None:
            found = self.codes.bounds(at)
            return None if found is None else (self.distinct[found[0]], self.distinct[found[1]])
        texts = self.counted(at)[0]
        return (min(texts), max(texts)) if texts else None

    def _iterate(self) -> Iterable[str]:
        if "distinct" in self.__dict__ or self.codes is not None:
            return self.distinct
        data = self.blob.tobytes()
        at = self.starts.tolist()
        return (data[a:b].decode() for a, b in itertools.pairwise(at))

    @cached_property
    def _heads(self) -> NDArray[np.uint64]:
        return self._eight(self.starts[:-1], self.starts[1:])

    def _eight(self, first: I64, last: I64) -> NDArray[np.uint64]:
        """The next eight bytes of each text as one big-endian integer, zeros behind its end."""
        blob = self.blob if self.blob.size >= 8 else np.concatenate([self.blob, np.zeros(8, np.uint8)])
        blob = np.ascontiguousarray(blob)
        view: NDArray[Any] = np.ndarray((blob.size - 7,), dtype=">u8", buffer=blob.data, strides=(1,))
        start = np.minimum(first, blob.size - 8)
        size = np.clip(last - first, 0, 8)
        out = view[start].astype(np.uint64)
        out <<= ((first - start).clip(0, 7) * 8).astype(np.uint64)
        drop = (8 - size).astype(np.uint64) * np.uint64(8)
        whole = drop == 64
        out &= ~np.uint64(0) << np.where(whole, 0, drop).astype(np.uint64)
        out[whole] = 0
        return out

    def _against(self, value: bytes) -> tuple[Mask, Mask]:
        """Which texts come before a value, and which behind it."""
        less, more = np.zeros(self.n, np.bool_), np.zeros(self.n, np.bool_)
        first, last = self.starts[:-1], self.starts[1:]
        tied: I64 | slice = slice(None)
        for place in range(0, max(1, len(value)), 8):
            head = np.uint64(int.from_bytes(value[place : place + 8].ljust(8, b"\0"), "big"))
            keys = self._heads if place == 0 else self._eight(first[tied] + place, last[tied])
            less[tied], more[tied] = keys < head, keys > head
            equal = np.flatnonzero(keys == head)
            tied = equal if isinstance(tied, slice) else tied[equal]
            if not tied.size:
                return less, more
        # what is equal as far as the value goes differs by zeros at the end at most, and so by length
        size = (last - first)[tied]
        less[tied], more[tied] = size < len(value), size > len(value)
        return less, more


def check_lengths(lengths: Ints, total: int, name: str) -> None:
    """Raise ``Corrupt`` unless these are lengths of runs that fill ``total`` places."""
    found = lengths.bounds(None) or (0, 0)
    if found[0] < 0 or found[1] > total or int(lengths.all().sum(dtype=np.float64)) != total:
        raise Corrupt(f"column {name!r}: expected lengths that add up to {total}")


def _joined(values: Sequence[str], least_bits: int) -> tuple[Ints, NDArray[np.uint8]]:
    text = "".join(values)
    data = text.encode()
    if len(data) == len(text):
        lengths = np.fromiter(map(len, values), np.int64, len(values))
    else:
        lengths = np.fromiter((len(v.encode()) for v in values), np.int64, len(values))
    return Ints.of(lengths, least_bits), np.frombuffer(data, np.uint8)


def _seems_distinct(n: int, look: Callable[[list[int]], list[str]]) -> bool:
    """Whether a sample tells that nearly all values differ, so that no dictionary needs to be tried."""
    if n < 4 * _SAMPLE:
        return False
    found = look(list(range(0, n, n // _SAMPLE)))
    return len(set(found)) > _DISTINCT * len(found)


def _at(pieces: Sequence[tuple[Strings, I64]], places: list[int]) -> list[str]:
    starts = starts_of(np.array([len(at) for _, at in pieces], np.int64))
    which = np.searchsorted(starts, places, side="right") - 1
    return [pieces[p][0].item(int(pieces[p][1][i - starts[p]])) for p, i in zip(which.tolist(), places)]


def _united(pieces: Sequence[tuple[Strings, I64]]) -> tuple[I64, Ints, NDArray[np.uint8]]:
    """One dictionary of several, without what no position uses: codes, lengths, bytes."""
    used: list[tuple[Strings, I64, I64]] = []
    for column, at in pieces:
        codes = column.codes.take(at) if column.codes is not None else at
        used.append((column, codes, np.unique(codes)))
    distinct = sorted({text for column, _, there in used for text in map(column.distinct.__getitem__, there.tolist())})
    number = {text: i for i, text in enumerate(distinct)}
    out = []
    for column, codes, there in used:
        table = np.zeros(column.lengths.n, np.int64)
        table[there] = [number[column.distinct[i]] for i in there.tolist()]
        out.append(table[codes])
    return np.concatenate(out) if out else np.zeros(0, np.int64), *_joined(distinct, 0)
