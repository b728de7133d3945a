"""From rows to columns: one pass over the rows finds their templates, one over each column encodes it.

Rows whose keys and types were seen before cost a tuple and a look-up; values are checked column by column, and only
where a column refuses them are the rows gone through one by one, to name the first that is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import numpy as np

from nearfield.store.metadata.check import MAX_BYTES, MAX_DEPTH, check_metadata
from nearfield.store.metadata.columns import KINDS, Column, Lists, Texts, encode
from nearfield.store.metadata.ints import Ints
from nearfield.store.metadata.schema import CONSTANTS, END, Schema, Signature, leaves_of
from nearfield.store.metadata.table import Metadata

_SIMPLE: dict[type, str] = {bool: "bool", int: "int", float: "float", str: "str", date: "date", type(None): "null"}


class _Odd(Exception):
    """A row that has to be converted before its template can be told."""


class _Group:
    """The rows of one template: their leaves in order, constants among them."""

    def __init__(self, number: int, signature: Signature) -> None:
        self.number, self.signature = number, signature
        self.rows: list[Sequence[Any]] = []


def build(rows: Sequence[dict[str, Any] | None]) -> Metadata:
    """Make the columns of rows given as dicts (see ``Metadata.build``)."""
    groups, numbers = _grouped(rows)
    schema = Schema([group.signature for group in groups], [len(group.rows) for group in groups])
    try:
        stores = {s: encode(schema.store_kinds[s], values) for s, values in enumerate(_by_store(groups, schema))}
    except (ValueError, OverflowError):
        for at, row in enumerate(rows):
            check_metadata(row, f"row {at}")
        raise
    _check_sizes(rows, numbers, schema, stores)
    return Metadata(len(numbers), Ints.of(numbers), schema, stores, None)


def _grouped(rows: Sequence[Any]) -> tuple[list[_Group], Any]:
    groups: list[_Group] = []
    by_signature: dict[Signature, _Group] = {}
    by_shape: dict[Any, _Group] = {}
    shapes = _Shapes()
    numbers = []
    for at, row in enumerate(rows):
        try:
            shape, values = shapes.of(row, 1) if type(row) is dict else (None, ())
            group = by_shape.get(shape)
        except (_Odd, TypeError):  # a key that has no hash cannot be in a dict, but a type may have none
            shape = group = None
        if group is None:
            signature, values = _signature(row, at)
            group = by_signature.get(signature)
            if group is None:
                group = by_signature[signature] = _Group(len(groups), signature)
                groups.append(group)
            if shape is not None:
                by_shape[shape] = group
        group.rows.append(values)
        numbers.append(group.number)
    return groups, np.array(numbers, np.int64)


class _Shapes:
    """Tells rows apart by keys and types, quickly; rows of one shape are of one template."""

    def __init__(self) -> None:
        self.plans: dict[tuple[Any, ...], list[int] | None] = {}

    def of(self, row: dict[Any, Any], depth: int) -> tuple[Any, Sequence[Any]]:
        """The shape of a dict, and its leaves in order; ``_Odd`` where a type has to be converted first."""
        shape = (*row, *map(type, row.values()))
        try:
            plan = self.plans[shape]
        except KeyError:
            plan = self.plans[shape] = self._plan(row)
        if plan is None or depth > MAX_DEPTH:
            raise _Odd
        if not plan:
            return shape, tuple(row.values())
        values = list(row.values())
        inner: list[Any] = [shape]
        for at in plan:  # from the last to the first, since the leaves of a dict take its place
            value = values[at]
            kind: Any = _kind(value, checked=False)
            if kind == "{":
                kind, values[at : at + 1] = self.of(value, depth + 1)
            inner.append(kind)
        return tuple(inner), values

    @staticmethod
    def _plan(row: dict[Any, Any]) -> list[int] | None:
        """Which values, from the last to the first, need a second look; None where a key or type is none of ours."""
        types = list(map(type, row.values()))
        if not all(t in _SIMPLE or t in (dict, list, datetime) for t in types):
            return None
        return [at for at in reversed(range(len(types))) if types[at] not in _SIMPLE]


def _signature(row: Any, at: int) -> tuple[Signature, list[Any]]:
    """A row's template and leaves, after all checks."""
    tokens: list[Any] = []
    values: list[Any] = []
    _walk(check_metadata(row, f"row {at}"), tokens, values)
    return tuple(tokens), values


def _walk(row: dict[str, Any], tokens: list[Any], values: list[Any]) -> None:
    for key, value in row.items():
        kind = _SIMPLE.get(type(value)) or _kind(value, checked=True)
        tokens += [key, kind]
        if kind == "{":
            _walk(value, tokens, values)
            tokens.append(END)
        else:
            values.append(value)


def _kind(value: Any, *, checked: bool) -> str:
    kind = type(value)
    if kind is dict:
        return "{" if value else "{}"
    if kind is list:
        return _kind_of_list(value, checked=checked)
    if kind is datetime:
        if value.tzinfo is None:
            return "time"
        if value.utcoffset() is not None:
            return "zoned"
    raise _Odd


def _kind_of_list(value: list[Any], *, checked: bool) -> str:
    if not value:
        return "[]"
    types = set(map(type, value))
    inner = types.pop()
    if not types and inner in _SIMPLE and inner is not type(None):
        return _SIMPLE[inner] + "[]"
    if not types and inner is datetime:
        kinds = {_kind(v, checked=checked) for v in value}
        if len(kinds) == 1:
            return kinds.pop() + "[]"
    if not checked:
        raise _Odd
    return "json"


def _by_store(groups: list[_Group], schema: Schema) -> list[list[Any]]:
    """All values of each array: column after column, within one template after template, within one in row order."""
    columns: list[list[Any]] = [[] for _ in schema.columns]
    for group, slots in zip(groups, schema.slots):
        kinds = [kind for _, kind in leaves_of(group.signature) if kind != "{"]
        places = [place for place, kind in enumerate(kinds) if kind in KINDS]
        for column, place in zip(slots, places):
            columns[column] += [row[place] for row in group.rows]
    out: list[list[Any]] = [[] for _ in schema.store_kinds]
    for column, store in enumerate(schema.stores):
        out[store] += columns[column]
        columns[column] = []
    return out


def _check_sizes(rows: Sequence[Any], numbers: Any, schema: Schema, stores: dict[int, Column]) -> None:
    """Refuse rows that are too large; only those of templates that allow it are measured."""
    most = {s: _largest(column) for s, column in stores.items()}
    for t, slots in enumerate(schema.slots):
        keys = sum(len(token.encode()) for token in schema.templates[t] if isinstance(token, str))
        if keys + sum(most[schema.stores[c]] for c in slots) + 8 * len(CONSTANTS) * keys > MAX_BYTES:
            for at in np.flatnonzero(numbers == t).tolist():
                check_metadata(rows[at], f"row {at}")


def _largest(column: Column) -> int:
    """A bound on the size of one value."""
    if isinstance(column, Texts):
        lengths = column.strings.lengths.bounds(None)
        # of JSON the size is that of its values, 8 for each number: at most four times its text
        return (lengths[1] if lengths else 0) * (1 if column.kind == "str" else 8)
    if isinstance(column, Lists):
        lengths = column.lengths.bounds(None)
        return (lengths[1] if lengths else 0) * _largest(column.inner)
    return 8
