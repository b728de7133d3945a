"""Reads of one snapshot that rank nothing: rows by id or filter, counts, facets, walks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.collection.results import Row
from nearfield.core.checks import shown, whole
from nearfield.core.errors import BadFilter, BadInput, UnknownKey, warn
from nearfield.core.protocols import I64
from nearfield.store.filters import Filter, check, misspelt, parse_where
from nearfield.store.filters.tree import leaves
from nearfield.store.ids import check_ids
from nearfield.store.snapshot import Snapshot, View
from nearfield.store.tail import TailPart


def mask_of(view: View, where: Filter | None) -> NDArray[np.bool_] | None:
    """Which rows of a part are there and pass, None for all."""
    if where is None:
        return view.live
    passes = view.part.mask(where)
    return passes if view.live is None else passes & view.live


def matching(view: View, where: Filter | None) -> I64:
    """Where the rows that are there and pass lie."""
    mask = mask_of(view, where)
    return np.arange(view.part.n, dtype=np.int64) if mask is None else np.flatnonzero(mask)


def found_ids(snapshot: Snapshot, ids: Any) -> tuple[I64, I64]:
    """Views and positions of ids, those that are not there left out."""
    names, kind = check_ids(ids)
    where, at = snapshot.find(names, kind)
    return where[where >= 0], at[where >= 0]


def sound_filter(snapshot: Snapshot, where: Any, *, changes: bool = False) -> Filter:
    """A filter as it is kept.

    One that no row could pass, for the types of its values, is refused; a key that no row has and that is nearly
    another's name is warned of. Where rows are to be changed, a dictionary without any condition is refused.
    """
    parsed = parse_where(where)
    check(parsed, snapshot.paths)
    for path, near in misspelt(parsed, snapshot.paths).items():
        warn(f"where: no row has the key {path!r}; did you mean {near!r}?", UnknownKey)
    if changes and isinstance(where, dict) and not any(True for _ in leaves(parsed)):
        raise BadFilter(f"where: expected a condition, got {shown(where)}; to mean every row, write where='true'")
    return parsed


def get(snapshot: Snapshot, ids: Any, where: Filter | None, limit: int | None, offset: int) -> list[Row]:
    """Rows by id or by filter."""
    offset = whole("offset", offset)
    limit = None if limit is None else whole("limit", limit)
    stop = None if limit is None else offset + limit
    if ids is not None:
        if where is not None:
            raise BadInput("get: expected either ids or where=, and not both")
        views, at = found_ids(snapshot, ids)
        return [Row(snapshot, snapshot.view(int(v)).part, int(p)) for v, p in zip(views[offset:stop], at[offset:stop])]
    out: list[Row] = []
    seen = 0
    for view in snapshot.views:
        found = matching(view, where)
        low, high = max(0, offset - seen), None if stop is None else max(0, stop - seen)
        out += [Row(snapshot, view.part, p) for p in found[low:high].tolist()]
        seen += len(found)
    return out


def count(snapshot: Snapshot, where: Filter | None) -> int:
    """How many rows pass."""
    if where is None:
        return len(snapshot)
    return sum(len(matching(view, where)) for view in snapshot.views)


def ids(snapshot: Snapshot, where: Filter | None) -> list[Any]:
    """The ids of the rows that pass."""
    out: list[Any] = []
    for view in snapshot.views:
        at = matching(view, where)
        whole_part = len(at) == view.part.n and not isinstance(view.part, TailPart)
        out += view.part.ids.all() if whole_part else view.part.names(at)
    return out


def scroll(snapshot: Snapshot, where: Filter | None, batch: int, after: int | None) -> Iterator[list[Row]]:
    """Rows that pass, so many at a time."""
    after = None if after is None else whole("after", after, -1)
    return _scroll(snapshot, where, whole("batch", batch, 1), after)


def _scroll(snapshot: Snapshot, where: Filter | None, batch: int, after: int | None) -> Iterator[list[Row]]:
    held: list[Row] = []
    for view in snapshot.views:
        at = matching(view, where)
        if after is not None:
            at = at[view.part.rows[at] > after]
        for position in at.tolist():
            held.append(Row(snapshot, view.part, position))
            if len(held) == batch:
                yield held
                held = []
    if held:
        yield held


# ---- metadata --------------------------------------------------------------------------------------
def _tables(snapshot: Snapshot, where: Filter | None) -> Iterator[tuple[Any, NDArray[np.bool_] | None]]:
    """Metadata columns and which of their rows count."""
    for view in snapshot.views:
        mask = mask_of(view, where)
        if isinstance(view.part, TailPart):
            yield from _chunks(view.part, mask)
        else:
            yield view.part.metadata, mask


def _chunks(part: TailPart, mask: NDArray[np.bool_] | None) -> Iterator[tuple[Any, NDArray[np.bool_] | None]]:
    start = 0
    for chunk in part.tail.chunks(part.n):
        stop = start + len(chunk)
        inside = np.zeros(len(chunk), np.bool_)
        some = np.ones(part.n, np.bool_) if mask is None else mask
        inside[: max(0, min(stop, part.n) - start)] = some[start : min(stop, part.n)]
        yield chunk, inside
        start = stop


def _key(value: Any) -> tuple[str, Any]:
    """1 and True are different values, 1 and 1.0 the same."""
    return (
        "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__,
        value,
    )


def _check_key(key: Any) -> None:
    if not isinstance(key, str):
        raise BadInput(f"key: expected the name of a metadata key, such as 'year', got {shown(key)}")


def facets(snapshot: Snapshot, key: str, where: Filter | None, k: int | None) -> list[tuple[Any, int]]:
    """Values and how many rows have them."""
    _check_key(key)
    k = None if k is None else whole("k", k, 1)
    counts: Counter[tuple[str, Any]] = Counter()
    for table, mask in _tables(snapshot, where):
        for value, n in table.facets(key, mask):
            counts[_key(value)] += n
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0][0], item[0][1]))
    return [(value, n) for (_, value), n in ordered[:k]]


def unique(snapshot: Snapshot, key: str, where: Filter | None) -> list[Any]:
    """The different values, by type and then in their order."""
    return [value for _, value in sorted(_key(value) for value, _ in facets(snapshot, key, where, None))]


def bounds(snapshot: Snapshot, key: str, where: Filter | None) -> tuple[Any, Any] | None:
    """The smallest and the largest value."""
    _check_key(key)
    found = [b for table, mask in _tables(snapshot, where) if (b := table.bounds(key, mask)) is not None]
    if not found:
        return None
    try:
        return min(low for low, _ in found), max(high for _, high in found)
    except TypeError:
        raise BadInput(f"{key}: expected values of one type, got several: they have no order") from None


def keys(snapshot: Snapshot) -> dict[str, list[str]]:
    """Keys of all rows, dead ones that were not compacted among them, with their types."""
    out: dict[str, set[str]] = {}
    for table, _ in _tables(snapshot, None):
        for path, types in table.paths().items():
            out.setdefault(path, set()).update(types)
    return {path: sorted(types) for path, types in sorted(out.items())}
