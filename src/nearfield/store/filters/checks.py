"""What a filter says about a collection that cannot be meant: types that never compare, keys that are not there."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping

from nearfield.core.errors import BadFilter, did_you_mean
from nearfield.store.filters import tree, wanted
from nearfield.store.filters.tree import SPECIAL, Compare, Filter, Match
from nearfield.store.metadata.check import told

_MOST_NAMED = 20
_MOST_SEARCHED = 2_000
_MOST_COMPARED = 200
_NEAR = 0.75  # of difflib: two letters that are swapped or one that is left out, in words of four


def check(filter: Filter, paths: Mapping[str, Collection[str]]) -> None:
    """Raise ``BadFilter`` where an ordering or a match can never hold, whatever the row, for its literal's type.

    ``paths`` are the types of each path over the whole collection (``Metadata.paths``). A path that is not there is
    no error, since rows may still come; neither is ``=`` or ``in``, which may well be about nothing.
    """
    for leaf in tree.leaves(filter):
        if not isinstance(leaf, Compare | Match) or leaf.value is None:
            continue
        if isinstance(leaf, Compare) and leaf.op in ("=", "!="):
            continue
        types = {"str"} if leaf.path in SPECIAL else set(paths.get(leaf.path, ()))
        if types and not any(_comparable(leaf, kind) for kind in types):
            raise BadFilter(
                f"filter: {leaf.path!r} {leaf.op} {told(leaf.value)}: expected a value to compare with "
                f"{' or '.join(sorted(types))}, got {_type(leaf.value)}; write the value as the key's own type"
            )


def _comparable(leaf: Compare | Match, kind: str) -> bool:
    value, single = leaf.value, kind.removesuffix("[]")
    if isinstance(leaf, Match) and leaf.op != "contains":
        return single == "str"
    if isinstance(leaf, Match) and single == kind:
        return single == "str" and isinstance(value, str)
    if isinstance(value, bool):
        return single == "bool"
    if single == "time":
        return wanted.moment(value) is not None
    return single in (("int", "float") if wanted.is_number(value) else ("str",) if isinstance(value, str) else ())


def _type(value: tree.Value) -> str:
    return {int: "int", float: "float", str: "text", bool: "bool"}.get(type(value), "a time")


def unknown_paths(filter: Filter, paths: Mapping[str, Collection[str]]) -> dict[str, str]:
    """The paths of a filter that no row has, each with a hint: the nearest ones that some row has.

    >>> from nearfield.store.filters import parse_where
    >>> unknown_paths(parse_where("yaer > 2020"), {"year": {"int"}})
    {'yaer': "did you mean 'year'? known: year"}
    """
    out = {}
    for leaf in tree.leaves(filter):
        path = leaf.path
        if path not in paths and path not in SPECIAL and not any(known.startswith(path + ".") for known in paths):
            out[path] = _hint(path, paths)
    return out


def misspelt(filter: Filter, paths: Mapping[str, Collection[str]]) -> dict[str, str]:
    """The paths of a filter that no row has and that are nearly the path of one, each with that.

    >>> from nearfield.store.filters import parse_where
    >>> misspelt(parse_where("yaer > 2020 or author = 'x'"), {"year": {"int"}})
    {'yaer': 'year'}
    """
    out = {}
    for path in unknown_paths(filter, paths):
        near = difflib.get_close_matches(path[:200], sorted(paths)[:_MOST_COMPARED], n=1, cutoff=_NEAR)
        if near:
            out[path] = near[0]
    return out


def _hint(path: str, paths: Collection[str]) -> str:
    known = sorted(paths)[:_MOST_SEARCHED]
    hint = did_you_mean(path[:200], known) if known else "no row has any key"
    if len(known) > _MOST_NAMED:
        hint = hint.partition("known: ")[0] + f"known: {len(paths)} keys"
    return hint
