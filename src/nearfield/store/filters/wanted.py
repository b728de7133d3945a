"""Literals made ready to compare with columns exactly: bounds of whole numbers, floats and times; patterns of text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nearfield.store.filters.tree import Value
from nearfield.store.metadata.check import INT64

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Bounds: TypeAlias = tuple[int | None, int | None]
NOTHING: Bounds = (1, 0)


def is_number(value: Value) -> bool:
    """Whether it is an int or a float; a bool is neither."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def whole_bounds(op: str, value: int | float) -> Bounds:
    """The whole numbers that stand in this order to a value, first and last; None is no bound.

    >>> whole_bounds("<", 2.5), whole_bounds(">", 2**53 + 1), whole_bounds("=", 0.5)
    ((None, 2), (9007199254740994, None), (1, 0))
    """
    if op == "=":
        return (int(value), int(value)) if value == math.floor(value) else NOTHING
    if op in ("<", "<="):
        return None, math.ceil(value) - 1 if op == "<" else math.floor(value)
    return math.floor(value) + 1 if op == ">" else math.ceil(value), None


def compare_floats(values: NDArray[Any], op: str, value: int | float) -> NDArray[np.bool_]:
    """Compare float32 or float64 with a number of any size, without rounding it to theirs.

    >>> compare_floats(np.array([2.0**53]), "<", 2**53 + 1)
    array([ True])
    """
    least, most = _neighbours(value, values.dtype.type)
    if op == "=":
        return np.asarray(values == least) if least == most else np.zeros(values.shape, np.bool_)
    if op in ("<", ">="):
        return np.asarray(values < least if op == "<" else values >= least)
    return np.asarray(values > most if op == ">" else values <= most)


def _neighbours(value: int | float, kind: Any) -> tuple[Any, Any]:
    """The smallest float not below a number, and the largest not above it; the same where it is one."""
    try:
        with np.errstate(over="ignore"):
            near = kind(float(value))
    except OverflowError:
        near = kind(math.inf if value > 0 else -math.inf)
    exact = float(near)  # Python compares ints and floats exactly
    least = near if exact >= value else np.nextafter(near, kind(math.inf))
    most = near if exact <= value else np.nextafter(near, kind(-math.inf))
    return least, most


def moment(value: Value) -> int | None:
    """Microseconds since 1970 in UTC of a time, or of text that begins as an ISO date does; None for anything else.

    >>> moment("1970-01-02"), moment("two")
    (86400000000, None)
    """
    if isinstance(value, str):
        found = _iso(value)
        return None if found is None else moment(found)
    if isinstance(value, datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return (aware - _EPOCH) // _MICROSECOND
    if isinstance(value, date):
        return (value.toordinal() - _EPOCH.toordinal()) * 86_400_000_000
    return None


def _iso(text: str) -> datetime | None:
    if not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt ]|\Z)", text) or len(text) > 64:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


class Choices:
    """The values of an ``in``, by the columns that can hold them; each form is made when it is first needed."""

    def __init__(self, values: Sequence[Value]) -> None:
        self._values = values
        self.bools = {v for v in values if isinstance(v, bool)}
        self.null = any(v is None for v in values)

    @cached_property
    def texts(self) -> set[str]:
        """The texts."""
        return {v for v in self._values if isinstance(v, str)}

    @cached_property
    def whole(self) -> NDArray[np.int64]:
        """The whole numbers of 64 bits, floats that are whole among them."""
        if set(map(type, self._values)) == {int}:
            try:
                return np.array(self._values, np.int64)
            except OverflowError:
                pass
        return np.array([int(v) for v in self._numbers if v == math.floor(v) and int(v) in INT64], np.int64)

    @cached_property
    def floats(self) -> NDArray[np.float64]:
        """The numbers that a float64 holds exactly."""
        return np.array([f for v in self._numbers if (f := _float(v)) == v], np.float64)

    @cached_property
    def moments(self) -> NDArray[np.int64]:
        """The times, in microseconds."""
        return np.array([m for v in self._values if (m := moment(v)) is not None], np.int64)

    @property
    def _numbers(self) -> list[Any]:
        return [v for v in self._values if is_number(v)]

    def among_floats(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Which floats are among the numbers."""
        with np.errstate(over="ignore"):
            near = self.floats.astype(values.dtype)
        return np.isin(values, near[near == self.floats])


def _float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def plain_pattern(pattern: str) -> tuple[str, str] | None:
    """The condition that a pattern of ``like`` amounts to, where that is a simpler one.

    >>> plain_pattern("a%"), plain_pattern("%a%"), plain_pattern("a"), plain_pattern("a_")
    (('startswith', 'a'), ('contains', 'a'), ('=', 'a'), None)
    """
    text = pattern.strip("%")
    if any(c in text for c in "%_\\"):
        return None
    ahead, behind = pattern.startswith("%"), pattern.endswith("%")
    if ahead:
        return ("contains" if behind else "endswith"), text
    return ("startswith" if behind else "="), text


def text_test(op: str, value: str) -> Callable[[str], bool]:
    """A test of one text; patterns take time in proportion to text and pattern, whatever they are."""
    if op == "contains":
        return lambda text: value in text
    if op == "startswith":
        return lambda text: text.startswith(value)
    if op == "endswith":
        return lambda text: text.endswith(value)
    if op == "like":
        return _Pattern(value).matches
    low = value.lower()
    if op == "icontains":
        return lambda text: low in text.lower()
    pattern = _Pattern(low)
    return lambda text: pattern.matches(text.lower())


class _Piece:
    """What stands between two ``%``: its length, and its runs of plain characters by their offsets."""

    def __init__(self, characters: list[str | None]) -> None:
        self.size = len(characters)
        self.runs: list[tuple[int, str]] = []
        for at, character in enumerate(characters):
            if character is None:
                continue
            if self.runs and at and characters[at - 1] is not None:
                self.runs[-1] = (self.runs[-1][0], self.runs[-1][1] + character)
            else:
                self.runs.append((at, character))

    def at(self, text: str, start: int) -> bool:
        return all(text.startswith(run, start + offset) for offset, run in self.runs)

    def find(self, text: str, start: int, stop: int) -> int:
        """Where it first lies within ``start..stop``, or -1."""
        if not self.runs:
            return start if start + self.size <= stop else -1
        offset, run = self.runs[0]
        place = text.find(run, start + offset, stop)
        while place >= 0 and place - offset + self.size <= stop:
            if self.at(text, place - offset):
                return place - offset
            place = text.find(run, place + 1, stop)
        return -1


class _Pattern:
    """A pattern of ``like``: pieces, the first and the last at the ends, the others wherever they come first."""

    def __init__(self, pattern: str) -> None:
        pieces: list[list[str | None]] = [[]]
        characters = iter(pattern)
        for character in characters:
            if character == "%":
                pieces.append([])
            elif character == "\\":
                pieces[-1].append(next(characters, "\\"))
            else:
                pieces[-1].append(None if character == "_" else character)
        self.first, *self.middle = (_Piece(piece) for piece in pieces)
        self.last = self.middle.pop() if self.middle else None

    def matches(self, text: str) -> bool:
        if self.last is None:
            return len(text) == self.first.size and self.first.at(text, 0)
        start, stop = self.first.size, len(text) - self.last.size
        if start > stop or not self.first.at(text, 0) or not self.last.at(text, stop):
            return False
        for piece in self.middle:
            found = piece.find(text, start, stop)
            if found < 0:
                return False
            start = found + piece.size
        return True
