"""Distinct values with their counts, and bounds, of the values of one path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nearfield.core.errors import BadInput
from nearfield.store.metadata.columns import Bools, Column, Floats, Integers, Lists, Texts, Times
from nearfield.store.metadata.ints import I64, Mask

if TYPE_CHECKING:
    from nearfield.store.metadata.table import Leaf

_NUMBERS = {"int", "float"}


def facets(leaves: Sequence[Leaf], mask: Mask | None) -> list[tuple[Any, int]]:
    """The distinct values and their counts, the most frequent first, equals as they sort by their text."""
    found: dict[tuple[bool, Any], tuple[Any, int]] = {}
    for kind, column, at in _chosen(leaves, mask):
        for value, count in zip(*_counted(column, at)):
            key = (kind == "bool", value)
            first, before = found.get(key, (value, 0))
            found[key] = (first, before + count)
    return sorted(found.values(), key=lambda pair: (-pair[1], str(pair[0])))


def bounds(path: str, leaves: Sequence[Leaf], mask: Mask | None) -> tuple[Any, Any] | None:
    """The smallest and the largest value."""
    found: dict[str, list[tuple[Any, Any]]] = {}
    for kind, column, at in _chosen(leaves, mask):
        group = "number" if kind in _NUMBERS else "time" if isinstance(column, Times) else kind
        both = _bounds(column, at)
        if both is not None:
            found.setdefault(group, []).extend(both)
    if len(found) > 1:
        raise BadInput(f"metadata {path!r}: expected values that compare, got {' and '.join(sorted(found))}")
    for pairs in found.values():
        return min(pairs, key=lambda pair: pair[0])[1], max(pairs, key=lambda pair: pair[0])[1]
    return None


def _chosen(leaves: Sequence[Leaf], mask: Mask | None) -> Iterator[tuple[str, Column, I64 | Mask | None]]:
    """Each column of single values, and the positions in it that belong to chosen rows."""
    for leaf in leaves:
        column, kind = leaf.values, leaf.kind
        at = None if mask is None else mask if leaf.rows is None else mask[leaf.rows]
        if isinstance(column, Lists):
            at = None if at is None else np.repeat(at, np.diff(column.starts))
            column, kind = column.inner, kind[:-2]
        if kind != "json":
            yield kind, column, at


def _counted(column: Column, at: Any) -> tuple[list[Any], list[int]]:
    if isinstance(column, Bools):
        values, counts = column.bits.counted(at)
        return [bool(v) for v in values], counts
    if isinstance(column, Integers):
        return column.ints.counted(at)
    if isinstance(column, Floats):
        return column.counted(at)
    if isinstance(column, Texts):
        return column.strings.counted(at)
    if isinstance(column, Times):
        return _times(column, at)
    return [], []


def _times(column: Times, at: Any) -> tuple[list[Any], list[int]]:
    moments, counts = column.at.counted(at)
    if column.offsets is None:
        return [column.value(m) for m in moments], counts
    # one instant is one value, told at the first offset that it comes with
    all_moments, firsts = np.unique(column.at.all(), return_index=True)
    first = firsts[np.searchsorted(all_moments, np.array(moments, np.int64))]
    return [column.item(i) for i in first.tolist()], counts


def _bounds(column: Column, at: Any) -> list[tuple[Any, Any]] | None:
    """Pairs of what compares and the value itself, of the smallest and the largest."""
    if isinstance(column, Times):
        found = column.at.bounds(at)
        if found is None:
            return None
        where = np.arange(column.n) if at is None else np.arange(column.n)[at]
        moments = column.at.take(where)
        return [(m, column.item(int(where[np.argmax(moments == m)]))) for m in found]
    if isinstance(column, Floats):
        values = column.values if at is None else column.values[at]
        return [(v, v) for v in (float(values.min()), float(values.max()))] if len(values) else None
    both: tuple[Any, Any] | None = None
    if isinstance(column, Bools):
        both = column.bits.bounds(at)
        both = None if both is None else (bool(both[0]), bool(both[1]))
    elif isinstance(column, Integers):
        both = column.ints.bounds(at)
    elif isinstance(column, Texts):
        both = column.strings.bounds(at)
    return None if both is None else [(v, v) for v in both]
