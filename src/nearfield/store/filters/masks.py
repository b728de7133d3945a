"""From a filter and columns to the rows that it chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import BadFilter
from nearfield.store.filters import wanted
from nearfield.store.filters.tree import SPECIAL, And, Compare, Empty, Filter, In, Leaf, Match, Not, Null, Or
from nearfield.store.filters.wanted import Choices
from nearfield.store.metadata import Metadata
from nearfield.store.metadata.columns import Bools, Column, Floats, Integers, Lists, Texts, Times

Mask: TypeAlias = NDArray[np.bool_]
Special: TypeAlias = Mapping[str, Callable[[Leaf], Mask]]


def mask(filter: Filter, metadata: Metadata, special: Special | None = None) -> Mask:
    """The rows that a filter chooses, bool ``[n]``.

    ``special`` answers conditions on ``$id`` and ``$text``: a function of the condition (see ``text_mask``) for each.

    >>> from nearfield.store.filters import parse_where
    >>> rows = Metadata.build([{"year": 2024}, {"year": 2019}, {}])
    >>> mask(parse_where("year > 2020 or year is null"), rows).tolist()
    [True, False, True]
    """
    if isinstance(filter, And):
        out = np.ones(metadata.n, np.bool_)
        for part in filter.parts:
            out &= mask(part, metadata, special)
            if not out.any():
                break
        return out
    if isinstance(filter, Or):
        out = np.zeros(metadata.n, np.bool_)
        for part in filter.parts:
            out |= mask(part, metadata, special)
        return out
    if isinstance(filter, Not):
        return ~mask(filter.part, metadata, special)
    if isinstance(filter, Leaf):
        if filter.path in SPECIAL:
            return _special(filter, metadata.n, special or {})
        return _leaf(filter, metadata)
    raise BadFilter(f"filter: expected a condition, got {type(filter).__name__}")


def text_mask(leaf: Leaf, texts: Sequence[str | None]) -> Mask:
    """The rows that a condition on ``$id`` or ``$text`` chooses, from their ids or texts (None: missing)."""
    rows = Metadata.build([{"text": text} for text in texts])
    return _leaf(leaf, rows, "text")


def _special(leaf: Leaf, n: int, special: Special) -> Mask:
    if leaf.path not in special:
        raise BadFilter(f"filter: expected keys of the metadata, got {leaf.path}, which cannot be asked for here")
    out = np.asarray(special[leaf.path](leaf), np.bool_)
    if out.shape != (n,):
        raise BadFilter(f"filter: {leaf.path}: expected a mask of {n} rows, got shape {out.shape}")
    return out


def _leaf(leaf: Leaf, metadata: Metadata, path: str | None = None) -> Mask:
    path = leaf.path if path is None else path
    if isinstance(leaf, Null):
        return ~metadata.present(path)
    if isinstance(leaf, Empty):
        out = ~metadata.present(path) | metadata.blank(path)
        return out | _typed(Compare(leaf.path, "=", ""), metadata, path)
    if isinstance(leaf, Compare):
        if leaf.value is None:
            there = metadata.present(path)
            return ~there if leaf.op == "=" else there if leaf.op == "!=" else np.zeros(metadata.n, np.bool_)
        if leaf.op == "!=":
            return ~_typed(Compare(leaf.path, "=", leaf.value), metadata, path)
    out = _typed(leaf, metadata, path)
    if isinstance(leaf, In) and _choices(leaf).null:
        out |= ~metadata.present(path)
    return out


def _typed(leaf: Leaf, metadata: Metadata, path: str) -> Mask:
    """The rows of which a value, or an element of a list, fulfils a condition."""
    test = _test(leaf)
    out: Mask | None = None
    for found in metadata.leaves(path):
        column = found.values
        chosen = _any(leaf, test, column) if isinstance(column, Lists) else test(column)
        if chosen is None or not chosen.size:
            continue
        if found.rows is None:
            out = chosen if out is None else out | chosen
        else:
            out = np.zeros(metadata.n, np.bool_) if out is None else out
            if len(found.rows) == metadata.n:
                out[found.rows] = chosen
            else:
                out[found.rows[chosen]] = True
    return np.zeros(metadata.n, np.bool_) if out is None else out


def _any(leaf: Leaf, test: Callable[[Column], Mask | None], column: Lists) -> Mask | None:
    if isinstance(leaf, Match) and leaf.op == "contains":
        test = _test(Compare(leaf.path, "=", leaf.value))
    elif isinstance(leaf, Match) and leaf.op == "icontains":
        low = str(leaf.value).lower()
        inner = column.inner
        if not isinstance(inner, Texts):
            return None
        return np.logical_or.reduceat(inner.strings.matching(lambda text: text.lower() == low), column.starts[:-1])
    chosen = test(column.inner)
    return None if chosen is None else np.logical_or.reduceat(chosen, column.starts[:-1])


def _choices(leaf: In) -> Choices:
    """The values of an ``in``, kept with it: it is asked of each segment, and of each column."""
    found = leaf.__dict__.get("_choices")
    if not isinstance(found, Choices):
        found = leaf.__dict__["_choices"] = Choices(leaf.values)
    return found


def _test(leaf: Leaf) -> Callable[[Column], Mask | None]:
    """What a condition chooses of a column of single values; None where it cannot hold for its type."""
    if isinstance(leaf, In):
        choices = _choices(leaf)
        return lambda column: _among(choices, column)
    if isinstance(leaf, Match):
        return lambda column: _matching(leaf, column)
    if isinstance(leaf, Compare):
        return lambda column: _compared(leaf, column)
    raise BadFilter(f"filter: expected a condition, got {type(leaf).__name__}")


def _compared(leaf: Compare, column: Column) -> Mask | None:
    value, op = leaf.value, leaf.op
    if isinstance(column, Bools):
        return column.bits.between(int(value), int(value)) if isinstance(value, bool) else None
    if isinstance(column, Texts):
        return column.strings.ordered(op, value) if isinstance(value, str) and column.kind == "str" else None
    if isinstance(column, Times):
        moment = wanted.moment(value)
        return None if moment is None else column.at.between(*wanted.whole_bounds(op, moment))
    if isinstance(value, int | float) and not isinstance(value, bool):
        if isinstance(column, Integers):
            return column.ints.between(*wanted.whole_bounds(op, value))
        if isinstance(column, Floats):
            return wanted.compare_floats(column.values, op, value)
    return None


def _among(choices: Choices, column: Column) -> Mask | None:
    if isinstance(column, Bools):
        found = [column.bits.between(int(v), int(v)) for v in choices.bools]
        return np.logical_or.reduce(found) if found else None
    if isinstance(column, Texts):
        return column.strings.among(choices.texts) if choices.texts and column.kind == "str" else None
    if isinstance(column, Times):
        return column.at.among(choices.moments)
    if isinstance(column, Integers):
        return column.ints.among(choices.whole)
    return choices.among_floats(column.values) if isinstance(column, Floats) else None


def _matching(leaf: Match, column: Column) -> Mask | None:
    if not (isinstance(column, Texts) and column.kind == "str" and isinstance(leaf.value, str)):
        return None
    op, value = (wanted.plain_pattern(leaf.value) if leaf.op == "like" else None) or (leaf.op, leaf.value)
    if op == "contains":
        return column.strings.containing(value)
    if op == "=":
        return column.strings.ordered("=", value)
    if op == "startswith":
        return column.strings.starting(value)
    return column.strings.matching(wanted.text_test(op, value))
