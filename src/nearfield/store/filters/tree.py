"""The tree that every filter becomes: frozen, hashable, never deeper than 100.

Equality knows types: ``x = 1`` and ``x = 1.0`` are one filter, ``x = true`` is another. ``&``, ``|`` and ``~`` combine
filters; ``and`` and ``or`` of Python cannot, and say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from nearfield.core.errors import BadFilter, BadInput
from nearfield.store.metadata.check import check_metadata, told

MAX_DEPTH = 100
MAX_VALUES = 1_000_000
MAX_CONDITIONS = 10_000
MAX_TEXT = 16 << 20
MAX_PATTERN = 10_000
MAX_BITS = 4096  # of a whole number
COMPARISONS = ("=", "!=", "<", "<=", ">", ">=")
MATCHES = ("contains", "icontains", "startswith", "endswith", "like", "ilike")
SPECIAL = ("$id", "$text")

Value: TypeAlias = bool | int | float | str | date | None


class Filter:
    """A condition on a row; see ``parse_where`` for how to write one."""

    _key: Any = ()
    depth: int = 1
    size: int = 1  # conditions within

    def __and__(self, other: Filter) -> Filter:
        return And((self, _filter(other)))

    def __or__(self, other: Filter) -> Filter:
        return Or((self, _filter(other)))

    def __invert__(self) -> Filter:
        return Not(self)

    def __bool__(self) -> bool:
        raise BadFilter("filter: expected & | ~ between conditions, got Python's and, or, not; write (a) & (b)")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and bool(self._key == other._key)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((type(self).__name__, self._key))


@dataclass(frozen=True, eq=False)
class _Many(Filter):
    parts: tuple[Filter, ...]

    def __post_init__(self) -> None:
        parts: list[Filter] = []
        for part in self.parts:
            same = type(_filter(part)) is type(self) and isinstance(part, _Many) and part.parts
            parts += part.parts if same and isinstance(part, _Many) else [part]
        if len(parts) == 1:
            raise BadFilter(f"filter: {type(self).__name__} expected two parts or more, or none; got one")
        object.__setattr__(self, "parts", tuple(parts))
        object.__setattr__(self, "depth", _checked_depth(1 + max((p.depth for p in parts), default=0)))
        object.__setattr__(self, "size", checked_size(sum(p.size for p in parts)))

    @property
    def _key(self) -> Any:
        return self.parts


@dataclass(frozen=True, eq=False)
class And(_Many):
    """All of its parts; without parts, every row. An And within an And becomes part of it."""


@dataclass(frozen=True, eq=False)
class Or(_Many):
    """At least one of its parts; without parts, no row. An Or within an Or becomes part of it."""


@dataclass(frozen=True, eq=False)
class Not(Filter):
    """Every row that its part does not choose."""

    part: Filter

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", _checked_depth(1 + _filter(self.part).depth))
        object.__setattr__(self, "size", self.part.size)

    @property
    def _key(self) -> Any:
        return self.part


@dataclass(frozen=True, eq=False)
class Leaf(Filter):
    """A condition on one path: dotted keys, or ``$id`` or ``$text``."""

    path: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", _path(self.path))

    @property
    def _key(self) -> Any:
        return self.path


@dataclass(frozen=True, eq=False)
class Compare(Leaf):
    """``= != < <= > >=`` with a value; None is what missing values are equal to."""

    op: str
    value: Value

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.op not in COMPARISONS:
            raise BadFilter(f"filter: expected one of {' '.join(COMPARISONS)}, got {told(self.op)}")
        object.__setattr__(self, "value", literal(self.value, self.path, self.op))
        if isinstance(self.value, bool) and self.op not in ("=", "!="):
            raise BadFilter(f"filter: {self.path!r} {self.op}: expected a number, text or time, got a bool; use =")

    @property
    def _key(self) -> Any:
        return self.path, self.op, self.value, isinstance(self.value, bool)


@dataclass(frozen=True, eq=False)
class In(Leaf):
    """Equal to one of the values."""

    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "values", _literals(self.values, self.path))

    @property
    def _key(self) -> Any:
        return self.path, self.values, self._bools

    @cached_property
    def _bools(self) -> tuple[int, ...]:
        return tuple(i for i, v in enumerate(self.values) if v is True or v is False)


@dataclass(frozen=True, eq=False)
class Null(Leaf):
    """Missing or None."""


@dataclass(frozen=True, eq=False)
class Empty(Leaf):
    """Missing, None, an empty text, list or dict."""


@dataclass(frozen=True, eq=False)
class Match(Leaf):
    """A text that contains, starts or ends with a piece, or is like a pattern; ``contains`` is also for lists."""

    op: str
    value: Value

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.op not in MATCHES:
            raise BadFilter(f"filter: expected one of {' '.join(MATCHES)}, got {told(self.op)}")
        value = literal(self.value, self.path, self.op)
        if value is None or not (self.op == "contains" or isinstance(value, str)):
            raise BadFilter(f"filter: {self.path!r} {self.op}: expected text, got {told(value)}")
        if self.op in ("like", "ilike") and isinstance(value, str) and len(value) > MAX_PATTERN:
            raise BadFilter(f"filter: {self.path!r} {self.op}: expected at most {MAX_PATTERN} characters")
        object.__setattr__(self, "value", value)

    @property
    def _key(self) -> Any:
        return self.path, self.op, self.value, isinstance(self.value, bool)


def every(parts: Sequence[Filter]) -> Filter:
    """All of these: the one there is, or an ``And``."""
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def some(parts: Sequence[Filter]) -> Filter:
    """At least one of these: the one there is, or an ``Or``."""
    return parts[0] if len(parts) == 1 else Or(tuple(parts))


def leaves(filter: Filter) -> Iterator[Leaf]:
    """The conditions on paths within a filter, from left to right."""
    if isinstance(filter, Leaf):
        yield filter
    for part in filter.parts if isinstance(filter, _Many) else [filter.part] if isinstance(filter, Not) else []:
        yield from leaves(part)


def literal(value: Any, path: str, op: str) -> Value:
    """A value to compare with, as a plain Python object: numbers of any size, finite; text; a date or datetime."""
    if value is None or type(value) is bool:
        return value
    if isinstance(value, (int, np.integer)) and getattr(value, "dtype", np.dtype(int)).kind in "iu":
        whole = int.__int__(value) if isinstance(value, int) else int(value)
        if whole.bit_length() > MAX_BITS:
            raise BadFilter(f"filter: {path!r} {op}: expected a number of at most {MAX_BITS} bits, got {told(whole)}")
        return whole
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        advice = "use in (any of them), or $any and $all" if not isinstance(value, dict) else "name its keys by dots"
        raise BadFilter(f"filter: {path!r} {op}: expected a single value, got a {type(value).__name__}; {advice}")
    try:
        out: Value = check_metadata({"value": value}, f"filter: {path!r} {op}")["value"]
        offset = out.utcoffset() if isinstance(out, datetime) else None
        if isinstance(out, datetime) and offset is not None and offset.microseconds:
            return out.astimezone(UTC)  # the same instant, which text can say
        return out
    except (BadInput, OverflowError) as error:
        raise BadFilter(str(error)) from None


def _literals(values: Any, path: str) -> tuple[Value, ...]:
    if isinstance(values, (set, frozenset)):
        values = sorted(values, key=repr)
    if isinstance(values, np.ndarray) and values.ndim == 1:
        values = values.tolist()
    if not isinstance(values, (list, tuple)):
        raise BadFilter(f"filter: {path!r} in: expected a list of values, got {told(values)}")
    if len(values) > MAX_VALUES:
        raise BadFilter(f"filter: {path!r} in: expected at most {MAX_VALUES} values, got {len(values)}")
    kinds = set(map(type, values))
    if kinds == {str} and not "".join(values).isascii():
        kinds.add(object)
    if kinds in ({int}, {str}) and (kinds == {str} or max(map(int.bit_length, values)) <= MAX_BITS):
        return tuple(values)
    return tuple(literal(value, path, "in") for value in values)


def _filter(value: Any) -> Filter:
    if not isinstance(value, Filter):
        raise BadFilter(f"filter: expected a condition, got {told(value)}; compare a key with something")
    return value


def _path(path: Any) -> str:
    if not isinstance(path, str):
        raise BadFilter(f"filter: expected the name of a key, got {told(path)}")
    name: str = str.__str__(path)
    if name.startswith("$") and name not in SPECIAL:
        raise BadFilter(f"filter: expected a key, $id or $text, got {told(name)}")
    return name


def checked_size(size: int) -> int:
    """The number of conditions of a filter, if it is allowed."""
    if size > MAX_CONDITIONS:
        raise BadFilter(f"filter: expected at most {MAX_CONDITIONS} conditions, got more; use in for many values")
    return size


def _checked_depth(depth: int) -> int:
    if depth > MAX_DEPTH:
        raise BadFilter(f"filter: expected at most {MAX_DEPTH} levels, got more; use in for many values")
    return depth


EVERYTHING = And(())


EVERYTHING = And(())
