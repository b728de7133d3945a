"""Columns of one type of leaf: encoding of Python values, exact decoding, joining, checking.

Types are ``bool int float str date time zoned json`` and, for lists of one of them, ``str[]`` and so on. ``date``,
``time`` (naive) and ``zoned`` (aware) are all microseconds since 1970 in UTC. Every class has ``of`` (from Python
values), ``join`` (from positions of other columns), ``restore``, ``describe``, ``arrays``, ``item``, ``pick`` and
``part``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import Corrupt
from nearfield.numerics.runs import within
from nearfield.store.metadata import check
from nearfield.store.metadata.ints import I64, Fetch, Ints, Mask, check_array, starts_of
from nearfield.store.metadata.strings import Strings, check_lengths

_EPOCH = datetime(1970, 1, 1)
_DAY = 86_400_000_000  # microseconds
_MICROSECOND = timedelta(microseconds=1)
_FIRST = (datetime.min - _EPOCH) // _MICROSECOND
_LAST = (datetime.max - _EPOCH) // _MICROSECOND
_SAMPLE = 1024
_FEW = 16
_MOST_DIGITS = 6
_EXACT = 2.0**53


class Bools:
    """True and False, a bit each; nothing where all are the same."""

    def __init__(self, bits: Ints) -> None:
        self.bits, self.n = bits, bits.n

    @classmethod
    def of(cls, values: Sequence[bool], least_bits: int = 0) -> Self:
        """Encode bools."""
        return cls(Ints.of(np.array(values, np.bool_).astype(np.int64), least_bits))

    @classmethod
    def join(cls, pieces: Sequence[tuple[Bools, I64]], least_bits: int = 0) -> Self:
        """The values at these positions of several columns, one after the other."""
        return cls(Ints.of(_concatenated([column.bits.take(at) for column, at in pieces]), least_bits))

    @classmethod
    def restore(cls, stored: Any, n: int, fetch: Fetch, name: str) -> Self:
        """Read and check what ``describe`` and ``arrays`` gave."""
        out = cls(Ints.restore(stored, n, fetch, name))
        if n and not {*(out.bits.bounds(None) or ())} <= {0, 1}:
            raise Corrupt(f"column {name!r}: expected 0 and 1")
        return out

    def describe(self) -> Any:
        """What ``restore`` needs beside the arrays."""
        return self.bits.describe()

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """The arrays to store, by name."""
        return self.bits.arrays(name)

    def item(self, at: int) -> bool:
        """One value."""
        return bool(self.bits.item(at))

    def pick(self, at: I64) -> list[bool]:
        """The values at these positions."""
        return list(self.bits.take(at).astype(np.bool_).tolist())

    def part(self, start: int, n: int) -> Bools:
        """A run of them."""
        return Bools(self.bits.part(start, n))


class Integers:
    """Whole numbers of 64 bits."""

    def __init__(self, ints: Ints) -> None:
        self.ints, self.n = ints, ints.n

    @classmethod
    def of(cls, values: Sequence[int], least_bits: int = 0) -> Self:
        """Encode ints; one outside 64 bits raises ``OverflowError``."""
        return cls(Ints.of(np.array(values, np.int64), least_bits))

    @classmethod
    def join(cls, pieces: Sequence[tuple[Integers, I64]], least_bits: int = 0) -> Self:
        """The values at these positions of several columns, one after the other."""
        return cls(Ints.of(_concatenated([column.ints.take(at) for column, at in pieces]), least_bits))

    @classmethod
    def restore(cls, stored: Any, n: int, fetch: Fetch, name: str) -> Self:
        """Read and check what ``describe`` and ``arrays`` gave."""
        return cls(Ints.restore(stored, n, fetch, name))

    def describe(self) -> Any:
        """What ``restore`` needs beside the arrays."""
        return self.ints.describe()

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """The arrays to store, by name."""
        return self.ints.arrays(name)

    def item(self, at: int) -> int:
        """One value."""
        return self.ints.item(at)

    def pick(self, at: I64) -> list[int]:
        """The values at these positions."""
        return list(self.ints.take(at).tolist())

    def part(self, start: int, n: int) -> Integers:
        """A run of them."""
        return Integers(self.ints.part(start, n))


class Floats:
    """Finite floats: as decimals of few digits where all are (``whole / 10**digits``), as float32 where that is exact.

    The decimals are the idea of ALP (Afroozeh, Kuffo, Boncz, 2023, doi:10.1145/3626717), for a whole column at once.
    """

    def __init__(self, raw: NDArray[Any] | None, whole: Ints | None = None, digits: int = 0) -> None:
        self._raw, self._whole, self._digits = raw, whole, digits
        self.n = whole.n if whole is not None else 0 if raw is None else len(raw)

    @classmethod
    def of(cls, values: Sequence[float] | NDArray[np.float64], least_bits: int = 0) -> Self:
        """Encode floats; one that is not finite raises ``ValueError``."""
        array = np.array(values, np.float64)
        if not np.isfinite(array).all():
            raise ValueError("a float is not finite")
        with np.errstate(over="ignore"):
            short = array.astype(np.float32)
        lossless = bool((short == array).all())
        decimals = _decimals(array, least_bits)
        if decimals is not None and decimals[0].bits < (32 if lossless else 64):
            return cls(None, *decimals)
        return cls(short if lossless else array)

    @classmethod
    def join(cls, pieces: Sequence[tuple[Floats, I64]], least_bits: int = 0) -> Self:
        """The values at these positions of several columns, one after the other."""
        found = [column.take(at) for column, at in pieces]
        return cls.of(np.concatenate(found) if found else np.zeros(0), least_bits)

    @classmethod
    def restore(cls, stored: Any, n: int, fetch: Fetch, name: str) -> Self:
        """Read and check what ``describe`` and ``arrays`` gave."""
        if stored in ("f4", "f8"):
            raw = check_array(fetch(name), np.dtype(f"<{stored}"), n, name)
            if not np.isfinite(raw).all():
                raise Corrupt(f"column {name!r}: expected finite floats")
            return cls(raw)
        if not (isinstance(stored, dict) and stored.keys() == {"digits", "whole"}):
            raise Corrupt(f"column {name!r}: expected f4, f8 or decimals")
        digits = stored["digits"]
        if type(digits) is not int or not 0 <= digits <= _MOST_DIGITS:
            raise Corrupt(f"column {name!r}: expected 0 to {_MOST_DIGITS} digits")
        return cls(None, Ints.restore(stored["whole"], n, fetch, name), digits)

    def describe(self) -> Any:
        """What ``restore`` needs beside the arrays."""
        if self._whole is not None:
            return {"digits": self._digits, "whole": self._whole.describe()}
        return self.values.dtype.str[1:]

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """The arrays to store, by name."""
        return {name: self.values} if self._whole is None else self._whole.arrays(name)

    @cached_property
    def values(self) -> NDArray[Any]:
        """All values, float32 or float64."""
        if self._raw is not None:
            return self._raw
        return self.take(None)

    def counted(self, at: I64 | Mask | None) -> tuple[list[float], list[int]]:
        """The distinct values, ascending, and how often each comes; ``at`` chooses positions."""
        if self._whole is not None:
            whole, counts = self._whole.counted(at)
            return [w / 10**self._digits for w in whole], counts
        found, many = np.unique(self.values if at is None else self.values[at], return_counts=True)
        return found.astype(np.float64).tolist(), many.tolist()

    def take(self, at: I64 | None) -> NDArray[np.float64]:
        """The values at these positions (None: all) as float64."""
        if self._whole is None:
            values = self.values if at is None else self.values[at]
            return values.astype(np.float64)
        return self._whole.take(at).astype(np.float64) / 10.0**self._digits

    def item(self, at: int) -> float:
        """One value."""
        if self._whole is not None:
            return float(self._whole.item(at) / 10**self._digits)
        return float(self.values.item(at))

    def pick(self, at: I64) -> list[float]:
        """The values at these positions."""
        return list(self.take(at).tolist())

    def part(self, start: int, n: int) -> Floats:
        """A run of them."""
        if start == 0 and n == self.n:
            return self
        if self._whole is not None:
            return Floats(None, self._whole.part(start, n), self._digits)
        return Floats(self.values[start : start + n])


class Times:
    """Dates and datetimes as microseconds in UTC; aware ones (``zoned``) with their offset, mostly a constant."""

    def __init__(self, kind: str, at: Ints, offsets: Ints | None = None) -> None:
        self.kind, self.at, self.offsets, self.n = kind, at, offsets, at.n

    @classmethod
    def of(cls, kind: str, values: Sequence[Any], least_bits: int = 0) -> Self:
        """Encode values of one kind."""
        if kind == "date":
            days = np.fromiter(map(date.toordinal, values), np.int64, len(values)) - _EPOCH.toordinal()
            return cls(kind, Ints.of(days * _DAY, least_bits))
        if kind == "time":
            return cls(kind, Ints.of(_microseconds(values), least_bits))
        ahead = np.fromiter((v.utcoffset() // _MICROSECOND for v in values), np.int64, len(values))
        local = _microseconds([v.replace(tzinfo=None) for v in values])
        return cls(kind, Ints.of(local - ahead, least_bits), Ints.of(ahead, least_bits))

    @classmethod
    def join(cls, kind: str, pieces: Sequence[tuple[Times, I64]], least_bits: int = 0) -> Self:
        """The values at these positions of several columns, one after the other."""
        at = Ints.of(_concatenated([column.at.take(p) for column, p in pieces]), least_bits)
        if kind != "zoned":
            return cls(kind, at)
        offsets = _concatenated([c.offsets.take(p) for c, p in pieces if c.offsets is not None])
        return cls(kind, at, Ints.of(offsets, least_bits))

    @classmethod
    def restore(cls, kind: str, stored: Any, n: int, fetch: Fetch, name: str) -> Self:
        """Read what ``describe`` and ``arrays`` gave; times outside the years 1 to 9999 raise ``Corrupt``."""
        if not (isinstance(stored, list) and len(stored) == 1 + (kind == "zoned")):
            raise Corrupt(f"column {name!r}: expected times")
        at = Ints.restore(stored[0], n, fetch, name)
        local, offsets = at.all(), None
        if kind == "zoned":
            offsets = Ints.restore(stored[1], n, fetch, f"{name}.offsets")
            ahead = offsets.bounds(None) or (0, 0)
            if not -_DAY < ahead[0] <= ahead[1] < _DAY:
                raise Corrupt(f"column {name!r}: expected offsets of less than a day")
            local = np.clip(local, _FIRST - _DAY - 1, _LAST + _DAY + 1) + offsets.all()
        if n and not _FIRST <= int(local.min()) <= int(local.max()) <= _LAST:
            raise Corrupt(f"column {name!r}: expected times of the years 1 to 9999")
        if kind == "date" and (local % _DAY).any():
            raise Corrupt(f"column {name!r}: expected whole days")
        return cls(kind, at, offsets)

    def describe(self) -> Any:
        """What ``restore`` needs beside the arrays."""
        return [self.at.describe()] + ([] if self.offsets is None else [self.offsets.describe()])

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """The arrays to store, by name."""
        return self.at.arrays(name) | ({} if self.offsets is None else self.offsets.arrays(f"{name}.offsets"))

    def item(self, at: int) -> date:
        """One value."""
        return self.value(self.at.item(at), self.offsets.item(at) if self.offsets is not None else 0)

    def value(self, microseconds: int, offset: int = 0) -> date:
        """The date or datetime of these microseconds."""
        plain = _EPOCH + timedelta(microseconds=microseconds + offset)
        if self.kind == "date":
            return plain.date()
        if self.kind == "time":
            return plain
        return plain.replace(tzinfo=timezone(timedelta(microseconds=offset)) if offset else UTC)

    def pick(self, at: I64) -> list[Any]:
        """The values at these positions."""
        moments = self.at.take(at).tolist()
        if self.offsets is None:
            return [self.value(m) for m in moments]
        return [self.value(m, ahead) for m, ahead in zip(moments, self.offsets.take(at).tolist())]

    def part(self, start: int, n: int) -> Times:
        """A run of them."""
        return Times(self.kind, self.at.part(start, n), None if self.offsets is None else self.offsets.part(start, n))


class Texts:
    """Strings (``str``), or any other JSON as text (``json``)."""

    def __init__(self, kind: str, strings: Strings) -> None:
        self.kind, self.strings, self.n = kind, strings, strings.n

    @classmethod
    def of(cls, kind: str, values: Sequence[Any], least_bits: int = 0) -> Self:
        """Encode texts, or values that ``check_metadata`` passed."""
        return cls(kind, Strings.of([check.dump(v) for v in values] if kind == "json" else values, least_bits))

    @classmethod
    def join(cls, kind: str, pieces: Sequence[tuple[Texts, I64]], least_bits: int = 0) -> Self:
        """The values at these positions of several columns, one after the other."""
        return cls(kind, Strings.join([(column.strings, at) for column, at in pieces], least_bits))

    @classmethod
    def restore(cls, kind: str, stored: Any, n: int, fetch: Fetch, name: str) -> Self:
        """Read and check what ``describe`` and ``arrays`` gave."""
        return cls(kind, Strings.restore(stored, n, fetch, name))

    def describe(self) -> Any:
        """What ``restore`` needs beside the arrays."""
        return self.strings.describe()

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """The arrays to store, by name."""
        return self.strings.arrays(name)

    def item(self, at: int) -> Any:
        """One value."""
        text = self.strings.item(at)
        return text if self.kind == "str" else self._parsed(text)

    def pick(self, at: I64) -> list[Any]:
        """The values at these positions."""
        texts = self.strings.pick(at)
        return texts if self.kind == "str" else [self._parsed(text) for text in texts]

    def part(self, start: int, n: int) -> Texts:
        """A run of them."""
        return Texts(self.kind, self.strings.part(start, n))

    @staticmethod
    def _parsed(text: str) -> Any:
        # the same limits as when it was given: a file may come from anyone
        return check.decode_metadata(f'{{"":{text}}}', "metadata of type json").get("")


class Lists:
    """Lists of one type: their lengths, and all their values one after the other."""

    def __init__(self, kind: str, lengths: Ints, inner: Column, starts: I64 | None = None) -> None:
        self.kind, self.lengths, self.inner, self.n = kind, lengths, inner, lengths.n
        self.starts = starts_of(lengths.all()) if starts is None else starts

    @classmethod
    def of(cls, kind: str, values: Sequence[list[Any]], least_bits: int = 0) -> Self:
        """Encode lists, none of them empty."""
        inner = [v for value in values for v in value]
        return cls(kind, Ints.of(np.fromiter(map(len, values), np.int64, len(values))), encode(kind[:-2], inner, 1))

    @classmethod
    def join(cls, kind: str, pieces: Sequence[tuple[Lists, I64]], least_bits: int = 0) -> Self:
        """The values at these positions of several columns, one after the other."""
        lengths = [column.lengths.take(at) for column, at in pieces]
        inner = [(c.inner, within(c.starts[:-1][at], size)) for (c, at), size in zip(pieces, lengths)]
        return cls(kind, Ints.of(_concatenated(lengths)), join(kind[:-2], inner, 1))

    @classmethod
    def restore(cls, kind: str, stored: Any, n: int, fetch: Fetch, name: str) -> Self:
        """Read what ``describe`` and ``arrays`` gave; lengths must add up to the values that are there."""
        if not (isinstance(stored, dict) and stored.keys() == {"lengths", "n", "values"}):
            raise Corrupt(f"column {name!r}: expected lengths, n and values")
        lengths, total = Ints.restore(stored["lengths"], n, fetch, f"{name}.of"), stored["n"]
        if type(total) is not int or not 0 <= total <= 1 << 53:
            raise Corrupt(f"column {name!r}: expected a number of values")
        check_lengths(lengths, total, name)
        if n and (lengths.bounds(None) or (1,))[0] < 1:
            raise Corrupt(f"column {name!r}: expected lists with values")
        return cls(kind, lengths, restore(kind[:-2], stored["values"], total, fetch, name, least_bits=1))

    def describe(self) -> Any:
        """What ``restore`` needs beside the arrays."""
        return {"lengths": self.lengths.describe(), "n": self.inner.n, "values": self.inner.describe()}

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """The arrays to store, by name."""
        return self.lengths.arrays(f"{name}.of") | self.inner.arrays(name)

    def item(self, at: int) -> list[Any]:
        """One list."""
        first, last = self.starts.item(at), self.starts.item(at + 1)
        if last - first <= _FEW:
            return [self.inner.item(i) for i in range(first, last)]
        return self.inner.pick(np.arange(first, last))

    def pick(self, at: I64) -> list[list[Any]]:
        """The lists at these positions."""
        lengths = self.lengths.take(at)
        flat = self.inner.pick(within(self.starts[:-1][at], lengths))
        ends = np.cumsum(lengths).tolist()
        return [flat[end - size : end] for end, size in zip(ends, lengths.tolist())]

    def part(self, start: int, n: int) -> Lists:
        """A run of them."""
        first, last = self.starts.item(start), self.starts.item(start + n)
        starts = self.starts[start : start + n + 1] - first
        return Lists(self.kind, self.lengths.part(start, n), self.inner.part(first, last - first), starts)


Column = Bools | Integers | Floats | Times | Texts | Lists
SCALARS = ("bool", "int", "float", "str", "date", "time", "zoned", "json")
KINDS = frozenset(SCALARS) | {f"{kind}[]" for kind in SCALARS if kind != "json"}
_PLAIN: dict[str, type[Bools] | type[Integers] | type[Floats]] = {"bool": Bools, "int": Integers, "float": Floats}


def encode(kind: str, values: Sequence[Any], least_bits: int = 0) -> Column:
    """The smallest column of these values, all of one type.

    >>> encode("int[]", [[1, 2], [3]]).pick(np.array([1, 0]))
    [[3], [1, 2]]
    """
    return _PLAIN[kind].of(values, least_bits) if kind in _PLAIN else _named(kind).of(kind, values, least_bits)


def join(kind: str, pieces: Sequence[tuple[Any, I64]], least_bits: int = 0) -> Column:
    """The column of the values at these positions of several columns of one type, as ``encode`` would write it."""
    return _PLAIN[kind].join(pieces, least_bits) if kind in _PLAIN else _named(kind).join(kind, pieces, least_bits)


def restore(kind: str, stored: Any, n: int, fetch: Fetch, name: str, least_bits: int = 0) -> Column:
    """A column of ``n`` values from its description and its arrays; raises ``Corrupt`` for what cannot be.

    With ``least_bits=1`` a column whose arrays do not tell its length is refused: in a list they bound what is read.
    """
    seen = False

    def counted(name: str) -> NDArray[Any]:
        nonlocal seen
        seen = True
        return fetch(name)

    if kind in _PLAIN:
        out: Column = _PLAIN[kind].restore(stored, n, counted, name)
    else:
        out = _named(kind).restore(kind, stored, n, counted, name)
    first = out.strings.codes or out.strings.lengths if isinstance(out, Texts) else None
    if least_bits and n and (not seen or (first is not None and first.codes is None)):
        raise Corrupt(f"column {name!r}: expected an array of {n} values, got a constant")
    return out


def _named(kind: str) -> type[Times] | type[Texts] | type[Lists]:
    return Lists if kind.endswith("[]") else Times if kind in ("date", "time", "zoned") else Texts


def _microseconds(values: Sequence[datetime]) -> I64:
    return np.fromiter(((v - _EPOCH) // _MICROSECOND for v in values), np.int64, len(values))


def _concatenated(found: Sequence[I64]) -> I64:
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _decimals(values: NDArray[np.float64], least_bits: int) -> tuple[Ints, int] | None:
    """These values as whole numbers over a power of ten, where all are exactly that."""
    if not values.size or np.abs(values).max() >= _EXACT / 10**_MOST_DIGITS:
        return None
    some = values[:: max(1, values.size // _SAMPLE)]
    for digits in range(_MOST_DIGITS + 1):
        if _is_decimal(some, digits):
            break
    else:
        return None
    for more in range(digits, _MOST_DIGITS + 1):
        if _is_decimal(values, more):
            if (np.signbit(values) & (values == 0)).any():
                return None
            return Ints.of(np.rint(values * 10.0**more).astype(np.int64), least_bits), more
    return None


def _is_decimal(values: NDArray[np.float64], digits: int) -> bool:
    return bool((np.rint(values * 10.0**digits) / 10.0**digits == values).all())
