"""The metadata of one row: what may stand in it, and its text.

A row's metadata is a dict of typed leaves: bool, int (64 bits), float (finite), str, timestamp (``datetime`` naive or
aware, ``date``), lists of one of these, None, and dicts of them. Whatever else JSON can say (lists of dicts, lists of
mixed types, lists of lists) is kept without loss as a leaf of type ``json``, which filters only see as there or not.
What would not come back as it went in is refused, in one line that names its path.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np

from nearfield.core.errors import BadInput, Corrupt

MAX_DEPTH = 32
MAX_LEAVES = 10_000
MAX_BYTES = 16 << 20
_FEW = 1000  # keys of a row of the common form ...
_SHORT = 10_000  # ... and characters of its texts: together within all limits
_HALF = 1 << 63
_MOST = 1.7976931348623157e308  # the largest finite float
_KNOWN_KEYS: set[str] = set()
_MOST_KEYS = 100_000
_MICROSECOND = timedelta(microseconds=1)
INT64 = range(-(1 << 63), 1 << 63)


def check_metadata(meta: Any, where: str) -> dict[str, Any]:
    """Return a plain copy of a row's metadata, or raise ``BadInput`` naming ``where`` and the path of what is wrong.

    Use it on what a user gives for one row; None means no metadata. NumPy scalars become Python's, subclasses of str,
    int and float their base, tuples lists. An aware datetime keeps its instant, with its offset fixed; ``fold`` of a
    naive one is dropped. A row has at most 10,000 leaves, 32 levels of dicts and lists, and 16 MiB (the UTF-8 bytes of
    its keys and strings, 8 for any other value).

    >>> check_metadata({"year": np.int16(2024), "tags": ("a", "b")}, "row 0")
    {'year': 2024, 'tags': ['a', 'b']}
    >>> check_metadata({"a": {"b": float("nan")}}, "x")
    Traceback (most recent call last):
        ...
    nearfield.core.errors.BadInput: x: metadata 'a.b': expected a finite number, got nan; use None for a missing value
    """
    if meta is None:
        return {}
    if type(meta) is dict and len(meta) <= _FEW and _plain_row(meta):
        return dict(meta)
    return _Walk(where).top(meta)


def _plain_row(meta: dict[Any, Any]) -> bool:
    """Whether a row is of the common form: short keys, plain values, nothing to convert."""
    for key, value in meta.items():
        kind = type(value)
        if type(key) is not str or (key not in _KNOWN_KEYS and not _known_key(key)):
            return False
        if kind is str:
            if not value.isascii() or len(value) > _SHORT:
                return False
        elif kind is int:
            if not -_HALF <= value < _HALF:
                return False
        elif kind is float:
            if not -_MOST <= value <= _MOST:  # false for NaN too
                return False
        elif value is not None and kind is not bool:
            return False
    return True


def _known_key(key: str) -> bool:
    """Whether a key needs no further look; remembered, since rows share their keys."""
    plain = key.isascii() and "." not in key and not key.startswith("$") and 0 < len(key) <= 100
    if plain and len(_KNOWN_KEYS) < _MOST_KEYS:
        _KNOWN_KEYS.add(key)
    return plain


def encode_metadata(meta: dict[str, Any]) -> str:
    """Write checked metadata as one line of JSON; timestamps become ``{"$time": ...}`` and ``{"$date": ...}``.

    >>> encode_metadata({"year": 2024, "day": date(2026, 11, 1)})
    '{"year":2024,"day":{"$date":"2026-11-01"}}'
    """
    return dump(meta)


def decode_metadata(text: str | bytes, where: str = "metadata") -> dict[str, Any]:
    """Read what ``encode_metadata`` wrote; raises ``Corrupt`` for anything else, whoever wrote it.

    >>> decode_metadata('{"day":{"$date":"2026-11-01"}}')
    {'day': datetime.date(2026, 11, 1)}
    """
    value = load(text, where)
    try:
        if value is None:
            raise BadInput(f"{where}: expected a dict, got null")
        return check_metadata(value, where)
    except BadInput as error:
        raise Corrupt(f"{error}; the text was not written by nearfield") from None


def dump(value: Any) -> str:
    """Any checked value as JSON text, timestamps tagged."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_tagged)


def load(text: str | bytes, where: str) -> Any:
    """The value of such a text, not checked further; raises ``Corrupt`` naming ``where``."""
    try:
        return json.loads(text, object_hook=_untagged, parse_constant=_refuse_constant)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Corrupt(f"{where}: damaged: expected JSON of metadata ({_line(error)})") from None


def _line(error: Exception) -> str:
    return str(error).splitlines()[0][:80] if str(error) else type(error).__name__


def _tagged(value: Any) -> dict[str, Any]:
    if isinstance(value, datetime):
        offset = value.utcoffset()
        if offset is not None and offset.microseconds:  # which not every Python reads back from ISO text
            return {"$time": value.replace(tzinfo=None).isoformat(), "$offset": offset // _MICROSECOND}
        return {"$time": value.isoformat()}
    if isinstance(value, date):
        return {"$date": value.isoformat()}
    raise BadInput(f"metadata: expected checked values, got {type(value).__name__}")


def _untagged(found: dict[str, Any]) -> Any:
    if len(found) == 1:
        if "$time" in found:
            return datetime.fromisoformat(found["$time"])
        if "$date" in found:
            return date.fromisoformat(found["$date"])
    if found.keys() == {"$time", "$offset"} and type(found["$offset"]) is int:
        ahead = timedelta(microseconds=found["$offset"])
        return datetime.fromisoformat(found["$time"]).replace(tzinfo=timezone(ahead))
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no value")


class _Walk:
    """One row on its way through the checks: what was counted so far."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.leaves: set[str] = set()
        self.size = 0

    def top(self, meta: Any) -> dict[str, Any]:
        if not isinstance(meta, dict):
            raise BadInput(f"{self.where}: metadata: expected a dict, got {type(meta).__name__}")
        return self.mapping(meta, "", 1, named=True)

    def mapping(self, value: dict[Any, Any], path: str, depth: int, *, named: bool) -> dict[str, Any]:
        """A dict; ``named`` where its leaves have paths of their own, which those within lists do not."""
        self._enter(depth, path)
        out: dict[str, Any] = {}
        for given, inner in value.items():
            key = self.key(given, path)
            below = f"{path}.{key}" if depth > 1 else key
            if key in out:
                raise self.refused(below, "one value a key", "two", "rename one of them")
            if named and not (isinstance(inner, dict) and inner):
                self._leaf(below)
            out[key] = self.value(inner, below, depth + 1, named=named)
        return out

    def value(self, value: Any, path: str, depth: int, *, named: bool) -> Any:
        if isinstance(value, dict):
            return self.mapping(value, path, depth, named=named)
        if isinstance(value, (list, tuple)):
            self._enter(depth, path)
            size = _plain_size(value)
            if size is not None:
                self._count(size, path)
                return list(value)
            return [self.value(inner, path, depth + 1, named=False) for inner in value]
        out = self.scalar(value, path)
        self._count(len(out.encode()) if isinstance(out, str) else 8, path)
        return out

    def key(self, given: Any, path: str) -> str:
        if not isinstance(given, str):
            raise self.refused(path, "keys of type str", f"{type(given).__name__} {told(given)}", "write it as text")
        key = self.text(given, path)
        if key.startswith("$"):
            raise self.refused(f"{path}.{key}" if path else key, "a key", "one that begins with '$'", "rename it")
        self._count(len(key.encode()), path)
        return key

    def scalar(self, value: Any, path: str) -> Any:
        kind = type(value)
        if value is None or kind is bool:
            return value
        for base, take in self._TAKERS:
            if isinstance(value, base):
                return take(self, value, path)
        hint = "use .tolist()" if isinstance(value, np.ndarray) else "convert it, or leave it out"
        expected = "bool, int, float, str, datetime, date, None, or a list or dict of these"
        raise self.refused(path, expected, kind.__name__, hint)

    def text(self, value: str, path: str) -> str:
        out = str.__str__(value)
        if not out.isascii():
            try:
                out.encode()
            except UnicodeEncodeError:
                raise self.refused(path, "text", "a lone surrogate", "repair its encoding") from None
        return out

    def integer(self, value: Any, path: str) -> int:
        out = int(int.__int__(value)) if isinstance(value, int) else int(value)
        if out not in INT64:
            raise self.refused(path, "an int of 64 bits", told(out), "store it as text, or as a float")
        return out

    def real(self, value: Any, path: str) -> float:
        out = float.__float__(value) if isinstance(value, float) else float(value)
        if not math.isfinite(out):
            raise self.refused(path, "a finite number", str(out), "use None for a missing value")
        if out != value:
            raise self.refused(path, "a float of 64 bits", f"{type(value).__name__} {told(value)}", "round it")
        return out

    def moment(self, value: datetime, path: str) -> datetime:
        try:
            offset = value.utcoffset()
            plain = datetime(  # of a subclass only what datetime can say
                value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond
            )
        except (ValueError, TypeError, AttributeError):
            raise self.refused(path, "a time", told(value), "use None for a missing value") from None
        if getattr(value, "nanosecond", 0):
            raise self.refused(path, "a time in whole microseconds", told(value), "round it")
        if offset is None:
            return plain
        return plain.replace(tzinfo=timezone(offset) if offset else UTC)

    def day(self, value: date, path: str) -> date:
        return date(value.year, value.month, value.day)

    def moment64(self, value: np.datetime64, path: str) -> Any:
        if np.isnat(value):
            raise self.refused(path, "a time", "NaT", "use None for a missing value")
        item = value.item()
        if not isinstance(item, date):  # finer than a microsecond, or outside the years that Python has
            exact = value.astype("datetime64[us]")
            item = exact.item() if exact == value else None
        if not isinstance(item, date):
            raise self.refused(path, "a time in whole microseconds of the years 1 to 9999", str(value), "round it")
        return item

    _TAKERS: tuple[tuple[Any, Callable[[Any, Any, str], Any]], ...] = (
        (str, text),
        (int, integer),
        (float, real),
        (datetime, moment),
        (date, day),
        (np.bool_, lambda self, value, path: bool(value)),
        (np.datetime64, moment64),
        (np.timedelta64, lambda self, value, path: self._no_duration(value, path)),
        (np.integer, integer),
        (np.floating, real),
    )

    def _no_duration(self, value: Any, path: str) -> Any:
        raise self.refused(path, "a number or a time", "a duration", "store its seconds")

    def _enter(self, depth: int, path: str) -> None:
        if depth > MAX_DEPTH:
            raise self.refused(path[:60], f"at most {MAX_DEPTH} levels", "more", "flatten it, or store it as text")

    def _leaf(self, path: str) -> None:
        if path in self.leaves:
            raise self.refused(path, "one value a path", "two", "rename one of them")
        self.leaves.add(path)
        if len(self.leaves) > MAX_LEAVES:
            raise self.refused(path, f"at most {MAX_LEAVES} values a row", "more", "store the rest as text")

    def _count(self, size: int, path: str) -> None:
        self.size += size
        if self.size > MAX_BYTES:
            raise self.refused(path, f"at most {MAX_BYTES >> 20} MiB a row", "more", "store it elsewhere")

    def refused(self, path: str, expected: str, got: str, advice: str) -> BadInput:
        shown = path if len(path) <= 80 else path[:79] + "…"
        return BadInput(f"{self.where}: metadata {shown!r}: expected {expected}, got {got}; {advice}")


def _plain_size(values: list[Any] | tuple[Any, ...]) -> int | None:
    """The size of a list of one plain type with nothing to refuse, found at once; None for any other list."""
    kinds = set(map(type, values))
    if kinds == {int}:
        return 8 * len(values) if min(values) in INT64 and max(values) in INT64 else None
    if kinds == {float}:
        return 8 * len(values) if all(map(math.isfinite, values)) else None
    if kinds == {str}:
        text = "".join(values)
        return len(text) if text.isascii() else None
    return None


def told(value: Any) -> str:
    """A value in few characters; containers by their type alone, since they may hold anything."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 200:
        return f"an int of {value.bit_length()} bits"
    text = repr(value) if isinstance(value, (str, int, float, bytes)) else type(value).__name__
    return text if len(text) <= 60 else text[:59] + "…"
