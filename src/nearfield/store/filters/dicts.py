"""Filters as dictionaries, in the manner of MongoDB, which Chroma and LangChain follow.

Keys that do not begin with ``$`` are paths, all of which must hold: ``{"year": 2024, "lang": "de"}``. Their value is a
value to be equal to, operators (``{"$gt": 2020, "$lte": 2024}``), or a dict of keys below (``{"author": {"name":
"X"}}`` is ``author.name``). ``$and``, ``$or`` and ``$nor`` take lists of filters, ``$not`` one; ``$id`` and ``$text``
are the row's own. A list alone is refused, since some mean any of it and some the same list: say ``$in`` or ``$all``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nearfield.core.errors import BadFilter, did_you_mean
from nearfield.store.filters import tree
from nearfield.store.filters.tree import Compare, Empty, Filter, In, Leaf, Match, Not, Null
from nearfield.store.metadata.check import told

_COMPARE = {"$eq": "=", "$ne": "!=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_LOGIC = ("$and", "$or", "$nor", "$not")


def _between(path: str, value: Any) -> Filter:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise BadFilter(f"filter: {path!r} $between: expected [low, high], got {told(value)}")
    return tree.every([Compare(path, ">=", value[0]), Compare(path, "<=", value[1])])


def _all(path: str, value: Any) -> Filter:
    return tree.every([Compare(path, "=", v) for v in In(path, value).values])


def _flag(name: str, leaf: Callable[[str], Leaf], *, positive: bool) -> Callable[[str, Any], Filter]:
    def made(path: str, value: Any) -> Filter:
        if not isinstance(value, bool):
            raise BadFilter(f"filter: {path!r} {name}: expected true or false, got {told(value)}")
        return leaf(path) if value is positive else Not(leaf(path))

    return made


_OPERATORS: dict[str, Callable[[str, Any], Filter]] = {
    "$in": In,
    "$any": In,
    "$nin": lambda path, value: Not(In(path, value)),
    "$all": _all,
    "$between": _between,
    "$exists": _flag("$exists", Null, positive=False),
    "$isnull": _flag("$isnull", Null, positive=True),
    "$isempty": _flag("$isempty", Empty, positive=True),
    "$not_contains": lambda path, value: Not(Match(path, "contains", value)),
    **{f"${op}": lambda path, value, op=op: Match(path, op, value) for op in tree.MATCHES},  # type: ignore[misc]
    **{name: lambda path, value, op=op: Compare(path, op, value) for name, op in _COMPARE.items()},  # type: ignore[misc]
}


def parse_dict(where: dict[str, Any]) -> Filter:
    """Read a filter given as a dict; ``{}`` chooses every row.

    >>> parse_dict({"user": 7, "year": {"$gt": 2020}})
    And(parts=(Compare(path='user', op='=', value=7), Compare(path='year', op='>', value=2020)))
    """
    return _filter(where, "", 1)


def _filter(where: Any, above: str, depth: int) -> Filter:
    """A dict of paths, and at the top of logic, as one filter."""
    if not isinstance(where, dict):
        raise BadFilter(f"filter: expected a dict, got {told(where)}")
    _check_depth(depth)
    parts = []
    for key, value in where.items():
        if not isinstance(key, str):
            raise BadFilter(f"filter: expected the name of a key, got {told(key)}")
        if key in _LOGIC:
            if above:
                raise BadFilter(f"filter: {above[:-1]!r}: expected {key} at the top, or only operators here")
            parts.append(_logic(key, value, depth + 1))
        else:
            parts.append(_field(above + key, value, depth + 1))
    return tree.every(parts)


def _logic(key: str, value: Any, depth: int) -> Filter:
    if key == "$not":
        return Not(_filter(value, "", depth))
    if not isinstance(value, (list, tuple)) or not value:
        raise BadFilter(f"filter: {key}: expected a list of at least one filter, got {told(value)}")
    _check_depth(depth)
    tree.checked_size(len(value))
    parts = [_filter(part, "", depth + 1) for part in value]
    if key == "$and":
        return tree.every(parts)
    return tree.some(parts) if key == "$or" else Not(tree.some(parts))


def _field(path: str, value: Any, depth: int) -> Filter:
    if isinstance(value, (list, tuple, set)):
        raise BadFilter(f"filter: {path!r}: expected a value, got a list; write {{'$in': [...]}} or {{'$all': [...]}}")
    if not isinstance(value, dict):
        return Compare(path, "=", value)
    operators = [isinstance(key, str) and key.startswith("$") for key in value]
    if not value or any(operators) != all(operators):
        raise BadFilter(f"filter: {path!r}: expected operators such as $gt, or keys, got {'both' if value else '{}'}")
    if not any(operators):
        return _filter(value, path + ".", depth)
    _check_depth(depth)
    return tree.every([_operator(path, name, operand, depth + 1) for name, operand in value.items()])


def _operator(path: str, name: str, operand: Any, depth: int) -> Filter:
    if name == "$not":
        if not isinstance(operand, dict):
            raise BadFilter(f"filter: {path!r} $not: expected operators, got {told(operand)}; for a value use $ne")
        return Not(_field(path, operand, depth))
    if name not in _OPERATORS:
        raise BadFilter(
            f"filter: {path!r}: expected an operator, got {name[:40]!r}; {did_you_mean(name[:40], _OPERATORS)}"
        )
    return _OPERATORS[name](path, operand)


def _check_depth(depth: int) -> None:
    if depth > 2 * tree.MAX_DEPTH:
        raise BadFilter(f"filter: expected at most {tree.MAX_DEPTH} levels, got more; use $in for many values")
