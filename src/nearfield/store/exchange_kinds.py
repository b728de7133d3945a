"""What kind of values the metadata has under each key: whether an Arrow type can hold them all without loss.

A kind is a tuple: ``("int",)``, ``("time", "+01:00")``, ``("list", kind)``, ``("dict", ((key, kind), ...))``. Values of
several kinds, and those that no type holds, make ``JSON``: they are kept as JSON text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, TypeAlias

from nearfield.core.optional import require

Kind: TypeAlias = tuple[Any, ...]
NONE: Kind = ("none",)
JSON: Kind = ("json",)
_PLAIN: dict[type, Kind] = {bool: ("bool",), int: ("int",), float: ("float",), str: ("str",), type(None): NONE}


def kind_of(value: Any) -> Kind:
    """The kind of one checked value of metadata.

    >>> kind_of([1, None]), kind_of({"a": 1.5}), kind_of([1, "a"])
    (('list', ('int',)), ('dict', (('a', ('float',)),)), ('json',))
    """
    plain = _PLAIN.get(type(value))
    if plain is not None:
        return plain
    if isinstance(value, datetime):
        return _time(value)
    if isinstance(value, date):
        return ("date",)
    if isinstance(value, list):
        inner = NONE
        for item in value:
            inner = merged(inner, kind_of(item))
        return JSON if inner == JSON else ("list", inner)
    fields = tuple((k, kind_of(v)) for k, v in value.items())
    return JSON if not fields or any(kind == JSON for _, kind in fields) else ("dict", fields)


def _time(value: datetime) -> Kind:
    offset = value.utcoffset()
    if offset is None:
        return ("time", "")
    minutes, rest = divmod(abs(offset), timedelta(minutes=1))
    return JSON if rest else ("time", f"{'-' if offset < timedelta(0) else '+'}{minutes // 60:02}:{minutes % 60:02}")


def merged(a: Kind, b: Kind) -> Kind:
    """The kind that holds the values of both; None fits everywhere."""
    if a == b or b == NONE:
        return a
    if a == NONE:
        return b
    if a[0] == b[0] == "list":
        inner = merged(a[1], b[1])
        return JSON if inner == JSON else ("list", inner)
    if a[0] == b[0] == "dict":
        there = dict(b[1])
        if len(there) == len(a[1]) and all(key in there for key, _ in a[1]):
            fields = tuple((key, merged(kind, there[key])) for key, kind in a[1])
            return JSON if any(kind == JSON for _, kind in fields) else ("dict", fields)
    return JSON


@dataclass
class KeyForm:
    """One key over all rows: the kind of its values, and how many rows have one, or None."""

    kind: Kind = NONE
    values: int = 0
    nones: int = 0

    def see(self, value: Any) -> None:
        """Take the value of one more row."""
        if value is None:
            self.nones += 1
            return
        self.values += 1
        if self.kind != JSON:
            self.kind = merged(self.kind, kind_of(value))

    def settle(self, rows: int) -> Kind:
        """The kind to be written: JSON also where some rows have None and others nothing, which null cannot tell."""
        return JSON if self.nones and self.nones + self.values < rows else self.kind


def survey(forms: dict[str, KeyForm], rows: Iterable[dict[str, Any]]) -> None:
    """Take the metadata of more rows."""
    for meta in rows:
        for key, value in meta.items():
            form = forms.get(key)
            if form is None:
                form = forms[key] = KeyForm()
            form.see(value)


def arrow_type(kind: Kind) -> Any:
    """The Arrow type that holds a kind without loss."""
    pa = require("pyarrow", extra="arrow")
    if kind[0] == "list":
        return pa.list_(arrow_type(kind[1]))
    if kind[0] == "dict":
        return pa.struct([pa.field(key, arrow_type(inner)) for key, inner in kind[1]])
    if kind[0] == "time":
        return pa.timestamp("us", tz=kind[1] or None)
    plain = {"bool": "bool_", "int": "int64", "float": "float64", "str": "string", "json": "string", "date": "date32"}
    return pa.null() if kind == NONE else getattr(pa, plain[kind[0]])()
