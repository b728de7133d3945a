"""Filters: which rows are meant, in words, dicts or Python, and what they choose.

Three doors lead to one tree (``parse_where``): text in the manner of SQL, ``"year > 2020 and lang in ('de', 'fr')"``;
dicts in the manner of MongoDB, ``{"year": {"$gt": 2020}}``; Python, ``key("year") > 2020``. Values never become code.

What a condition means, with two truth values only:

- A key that is missing and one whose value is None are the same: *null*. ``= null`` and ``is null`` choose it, ``!= x``
  and ``not in`` choose it too, since ``!=``, ``not in`` and ``not`` are the exact complements of what they negate; an
  ordering (``< <= > >=``) with null on either side chooses nothing. An ``in`` with null among its values chooses null.
- Numbers compare as numbers, int with float, exactly, at any size. A bool is no number: ``= true`` chooses True,
  ``= 1`` does not.
- Text compares by code point, which is the order of its UTF-8 bytes; ``icontains`` and ``ilike`` compare ``lower()``.
- Times compare as instants; a naive one is taken as UTC, a date as its midnight. Text that begins like an ISO date
  (``'2026-11-01'``, ``'2026-11-01T10:00:00+01:00'``) compares with times as a time, and with text as text.
- A list fulfils a condition where one of its elements does: ``tags = 'a'``, ``year > 2020``, ``tags in ('a', 'b')``
  (any of them). ``contains`` is part of a text, but an element of a list. ``$all`` wants each of its values there.
- Values of another type than the literal's do not fulfil it. Where no row's value could, an ordering or a match is an
  error (``check``).
- ``is empty`` is null, an empty text, list or dict. Values of type ``json`` are only null or not.
"""

from __future__ import annotations

from typing import Any

from nearfield.core.errors import BadFilter
from nearfield.store.filters.checks import check, misspelt, unknown_paths
from nearfield.store.filters.dicts import parse_dict
from nearfield.store.filters.keys import Key, key
from nearfield.store.filters.masks import mask, text_mask
from nearfield.store.filters.text import parse_text, to_text
from nearfield.store.filters.tree import (
    EVERYTHING,
    And,
    Compare,
    Empty,
    Filter,
    In,
    Leaf,
    Match,
    Not,
    Null,
    Or,
)

__all__ = [
    "EVERYTHING", "And", "Compare", "Empty", "Filter", "In", "Key", "Leaf", "Match", "Not", "Null", "Or",
    "check", "key", "mask", "misspelt", "parse_where", "text_mask", "to_text", "unknown_paths",
]  # fmt: skip


def parse_where(where: Any) -> Filter:
    """Take a filter as it is, read it from text or from a dict; None is every row.

    Raises ``BadFilter`` naming the place, for what cannot be read or is too large: 100 levels, 10,000 conditions,
    1,000,000 values in one ``in``, 16 MiB of text.

    >>> parse_where({"year": {"$gt": 2020}}) == parse_where("year > 2020") == (key("year") > 2020)
    True
    """
    if isinstance(where, Filter):
        return where
    if isinstance(where, str):
        return parse_text(where)
    if isinstance(where, dict):
        return parse_dict(where)
    if where is None:
        return EVERYTHING
    if isinstance(where, Key):
        raise BadFilter(f"filter: expected a condition, got {where!r} alone; compare it with something")
    raise BadFilter(f"filter: expected text, a dict or a condition, got {type(where).__name__}")
