"""Filters as Python expressions: ``(key("year") > 2020) & ~key("lang").isin(["de", "fr"])``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nearfield.core.errors import BadFilter
from nearfield.store.filters import tree
from nearfield.store.filters.tree import And, Compare, Empty, Filter, In, Match, Null


class Key:
    """A path to compare with something; each method gives a ``Filter``."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, path: str) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"key({self.path!r})"

    def __bool__(self) -> bool:
        raise BadFilter(f"filter: expected a condition on {self.path!r}, got the key alone; compare it with something")

    def __getitem__(self, name: str) -> Key:
        """The key below: ``key("author")["name"]`` is ``key("author.name")``."""
        return Key(f"{self.path}.{name}")

    def __eq__(self, value: object) -> Filter:  # type: ignore[override]
        return Compare(self.path, "=", value)  # type: ignore[arg-type]

    def __ne__(self, value: object) -> Filter:  # type: ignore[override]
        return Compare(self.path, "!=", value)  # type: ignore[arg-type]

    def __lt__(self, value: Any) -> Filter:
        return Compare(self.path, "<", value)

    def __le__(self, value: Any) -> Filter:
        return Compare(self.path, "<=", value)

    def __gt__(self, value: Any) -> Filter:
        return Compare(self.path, ">", value)

    def __ge__(self, value: Any) -> Filter:
        return Compare(self.path, ">=", value)

    def isin(self, values: Iterable[Any]) -> Filter:
        """Equal to one of these."""
        return In(self.path, values if isinstance(values, str) else tuple(values))  # type: ignore[arg-type]

    def between(self, low: Any, high: Any) -> Filter:
        """From low to high, both included."""
        return And((Compare(self.path, ">=", low), Compare(self.path, "<=", high)))

    def isnull(self) -> Filter:
        """Missing or None."""
        return Null(self.path)

    def isempty(self) -> Filter:
        """Missing, None, an empty text, list or dict."""
        return Empty(self.path)

    def contains(self, value: Any) -> Filter:
        """A text with this piece in it, or a list with this element."""
        return Match(self.path, "contains", value)

    def icontains(self, value: str) -> Filter:
        """As ``contains``, in any case of letters."""
        return Match(self.path, "icontains", value)

    def startswith(self, value: str) -> Filter:
        """A text that begins with this piece."""
        return Match(self.path, "startswith", value)

    def endswith(self, value: str) -> Filter:
        """A text that ends with this piece."""
        return Match(self.path, "endswith", value)

    def like(self, pattern: str) -> Filter:
        r"""A text like a pattern: ``%`` any run of characters, ``_`` any one, ``\`` before either means itself."""
        return Match(self.path, "like", pattern)

    def ilike(self, pattern: str) -> Filter:
        """As ``like``, in any case of letters."""
        return Match(self.path, "ilike", pattern)

    def all(self, values: Iterable[Any]) -> Filter:
        """A list with all of these elements."""
        return tree.every([Compare(self.path, "=", value) for value in values])


def key(path: str) -> Key:
    """The key of a row's metadata, by its dotted path.

    >>> (key("year") > 2020) & key("tags").contains("new")
    And(parts=(Compare(path='year', op='>', value=2020), Match(path='tags', op='contains', value='new')))
    """
    return Key(path)
