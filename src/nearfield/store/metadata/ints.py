"""Columns of whole numbers in as few bits as hold them: ``base + step * code``.

Use it for anything that is whole: counts, lengths, codes of a dictionary, microseconds. A constant column takes no
bytes at all, dates take two, times at full seconds four; codes of 1, 2 and 4 bits are packed, the first lowest.
Comparisons are made on the codes: bounds of any size are moved into their range by Python's own integers, so that no
comparison is ever rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import Corrupt

Fetch = Callable[[str], NDArray[Any]]
I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]

_WIDTHS: dict[int, type[np.unsignedinteger[Any]]] = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}
_MOST = (1 << 63) - 1
_WRAP = (1 << 64) - 1
_SAMPLE = 1024
_TABLE = 1 << 22  # codes that a table of them is made for


class Ints:
    """Immutable whole numbers of 64 bits.

    >>> x = Ints.of(np.array([20, 10, 30]))
    >>> x.base, x.step, x.bits, x.codes.tolist()
    (10, 10, 2, [1, 0, 2])
    >>> x.between(15, None).tolist()
    [True, False, True]
    """

    __slots__ = ("base", "bits", "codes", "n", "step")

    def __init__(self, n: int, base: int, step: int, bits: int, codes: NDArray[Any] | None) -> None:
        self.n, self.base, self.step, self.bits, self.codes = n, base, step, bits, codes

    @classmethod
    def of(cls, values: NDArray[Any], least_bits: int = 0) -> Self:
        """Encode int64 values; ``least_bits=1`` gives even constants an array, whose length then tells theirs."""
        values = np.ascontiguousarray(values, dtype=np.int64)
        low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
        if low == high and not least_bits:
            return cls(values.size, low, 1, 0, None)
        codes = values.view(np.uint64) - np.uint64(low & _WRAP)
        bits, step = _bits(high - low), _common_step(codes, high - low)
        if step > 1:
            codes //= np.uint64(step)
            bits = _bits((high - low) // step)
        bits = max(bits, least_bits)
        return cls(values.size, low, step, bits, codes.astype(_dtype(bits)))

    @classmethod
    def restore(cls, stored: Any, n: int, fetch: Fetch, name: str) -> Self:
        """Read what ``describe`` and ``arrays`` gave; every number is checked, ``Corrupt`` names the column."""
        if not (isinstance(stored, list) and len(stored) == 3 and all(type(v) is int for v in stored)):
            raise Corrupt(f"column {name!r}: expected [base, step, bits]")
        base, step, bits = stored
        if not (-_MOST - 1 <= base <= _MOST and 1 <= step <= _WRAP and bits in (0, 1, 2, 4, *_WIDTHS)):
            raise Corrupt(f"column {name!r}: expected a base, a step and bits of whole numbers, got {stored}")
        if bits == 0:
            return cls(n, base, step, 0, None)
        packed = check_array(fetch(name), _dtype(bits), -(-n * bits // 8) if bits < 8 else n, name)
        codes = _unpack(packed, bits, n) if bits < 8 else packed
        if n and base + step * int(codes.max()) > _MOST:
            raise Corrupt(f"column {name!r}: a value does not fit 64 bits")
        return cls(n, base, step, bits, codes)

    def describe(self) -> list[int]:
        """What ``restore`` needs beside the array."""
        return [self.base, self.step, self.bits]

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """The array to store, by name; none for a constant."""
        if self.codes is None:
            return {}
        return {name: _pack(self.codes, self.bits) if self.bits < 8 else self.codes}

    def item(self, at: int) -> int:
        """One value."""
        return self.base if self.codes is None else self.base + self.step * int(self.codes.item(at))

    def all(self) -> I64:
        """All values."""
        return self.take(None)

    def take(self, at: I64 | None) -> I64:
        """The values at these positions (None: all)."""
        if self.codes is None:
            return np.full(self.n if at is None else len(at), self.base, np.int64)
        codes = self.codes if at is None else self.codes[at]
        out = codes.astype(np.uint64)
        if self.step != 1:
            out *= np.uint64(self.step)
        if self.base:
            out += np.uint64(self.base & _WRAP)
        return out.view(np.int64)

    def part(self, start: int, n: int) -> Ints:
        """A run of them, without a copy."""
        codes = None if self.codes is None else self.codes[start : start + n]
        return Ints(n, self.base, self.step, self.bits, codes)

    def between(self, low: int | None, high: int | None) -> Mask:
        """Which values lie in ``low..high``, both included; None is no bound, any Python int is one."""
        most = 0 if self.codes is None else (1 << max(self.bits, 1)) - 1
        first = 0 if low is None else max(0, -((self.base - low) // self.step))
        last = most if high is None else min(most, (high - self.base) // self.step)
        if first > last:
            return np.zeros(self.n, np.bool_)
        if self.codes is None or (first == 0 and last == most):
            return np.ones(self.n, np.bool_)
        if first == last:
            return np.asarray(self.codes == self.codes.dtype.type(first))
        if first == 0:
            return np.asarray(self.codes <= self.codes.dtype.type(last))
        if last == most:
            return np.asarray(self.codes >= self.codes.dtype.type(first))
        # one comparison instead of two: what lies below the first wraps round to the top
        kind = self.codes.dtype.type
        return np.asarray((self.codes - kind(first)) <= kind(last - first))

    def among(self, wanted: I64) -> Mask:
        """Which values are among these."""
        most = 0 if self.codes is None else (1 << max(self.bits, 1)) - 1
        last = min(_MOST, self.base + most * self.step)
        near = wanted[(wanted >= self.base) & (wanted <= last)].view(np.uint64) - np.uint64(self.base & _WRAP)
        if self.step > 1:
            near = near[near % np.uint64(self.step) == 0] // np.uint64(self.step)
        if self.codes is None or not near.size:
            return np.full(self.n, near.size > 0)
        chosen = near.astype(self.codes.dtype)
        if chosen.size == 1:
            return np.asarray(self.codes == chosen[0])
        most = most if self.bits <= 16 else int(self.codes.max(initial=0))
        if most > _TABLE:
            return np.isin(self.codes, chosen)
        table = np.zeros(most + 1, np.bool_)
        table[chosen[chosen <= most]] = True
        return np.asarray(table[self.codes])

    def counted(self, at: I64 | Mask | None) -> tuple[list[int], list[int]]:
        """The distinct values, ascending, and how often each comes; ``at`` chooses positions."""
        if self.codes is None:
            n = self.n if at is None else len(self._chosen(np.empty(self.n, np.bool_), at))
            return ([self.base], [n]) if n else ([], [])
        codes = self._chosen(self.codes, at)
        if self.bits <= 16 or int(codes.max(initial=0)) < min(_TABLE, 4 * codes.size):
            counts = np.bincount(codes, minlength=1)
            found = np.flatnonzero(counts)
            counts = counts[found]
        else:
            found, counts = np.unique(codes, return_counts=True)
        return [self.base + self.step * c for c in found.tolist()], counts.tolist()

    def bounds(self, at: I64 | Mask | None) -> tuple[int, int] | None:
        """The smallest and the largest value at these positions, None where there are none."""
        if self.codes is None:
            n = self.n if at is None else len(self._chosen(np.empty(self.n, np.bool_), at))
            return (self.base, self.base) if n else None
        codes = self._chosen(self.codes, at)
        if not codes.size:
            return None
        return self.base + self.step * int(codes.min()), self.base + self.step * int(codes.max())

    @staticmethod
    def _chosen(codes: NDArray[Any], at: I64 | Mask | None) -> NDArray[Any]:
        return codes if at is None else codes[at]


def check_array(array: NDArray[Any], dtype: Any, n: int, name: str) -> NDArray[Any]:
    """Take an array of a file if it is as long and of the type that it must be; else ``Corrupt``."""
    if array.dtype != np.dtype(dtype) or array.shape != (n,):
        got = f"{array.dtype.name} of shape {array.shape}"
        raise Corrupt(f"column {name!r}: expected {n} values of {np.dtype(dtype).name}, got {got}")
    return array


def starts_of(lengths: I64) -> I64:
    """Where runs of these lengths begin, and behind the last one where it ends: int64 ``[n + 1]``."""
    out = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=out[1:])
    return out


def _bits(most: int) -> int:
    """Bits that hold codes up to this one: 0, or one of the widths of the format."""
    need = most.bit_length()
    return next(width for width in (0, 1, 2, 4, *_WIDTHS) if width >= need)


def bytes_for(n: int, most: int) -> int:
    """Bytes that ``n`` values take whose codes go up to ``most``.

    >>> bytes_for(1000, 3)
    250
    """
    return -(-n * _bits(most) // 8)


def _dtype(bits: int) -> type[np.unsignedinteger[Any]]:
    return _WIDTHS[max(bits, 8)]


def _common_step(codes: NDArray[np.uint64], span: int) -> int:
    """The greatest common divisor of the codes where it saves bits, else 1."""
    some = int(np.gcd.reduce(codes[:: max(1, codes.size // _SAMPLE)]))
    if some == 1 or (some and _bits(span // some) == _bits(span)):
        return 1
    step = int(np.gcd.reduce(codes)) or 1
    return step if _bits(span // step) < _bits(span) else 1


def _pack(codes: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    per = 8 // bits
    out = np.zeros(-(-codes.size // per) * per, np.uint8)
    out[: codes.size] = codes
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    return np.asarray(np.bitwise_or.reduce(out.reshape(-1, per) << shifts, axis=1))


def _unpack(packed: NDArray[Any], bits: int, n: int) -> NDArray[np.uint8]:
    if bits == 1:
        return np.unpackbits(packed, count=n, bitorder="little")
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    return ((packed[:, None] >> shifts) & np.uint8((1 << bits) - 1)).ravel()[:n]
