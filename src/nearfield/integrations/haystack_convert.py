"""Haystack's documents as rows and back, and its filters as ours; no part of Haystack is imported.

A document's meta is the row's metadata and its content the row's text. What else a document may have lies in the
metadata under ``_document``: blob (base64), sparse embedding, score.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime
from typing import Any

from nearfield.core.errors import BadFilter, BadInput
from nearfield.store.filters import EVERYTHING, Compare, Filter, In, Not, Null, Or
from nearfield.store.filters.tree import every, some

REST = "_document"
_FIELDS = {"id": "$id", "content": "$text"}
_OTHER = ("blob", "score", "embedding", "sparse_embedding", "meta")
NOTHING = Or(())


def path_of(field: Any) -> str:
    """The path of a filter's field: ``meta.year`` and ``year`` are the key ``year``.

    >>> path_of("meta.author.name"), path_of("content")
    ('author.name', '$text')
    """
    if not isinstance(field, str) or not field:
        raise BadFilter(f"filter: expected the name of a field, got {field!r}")
    if field in _OTHER:
        raise BadFilter(f"filter: expected id, content or a key of meta, got {field!r}, which is no value to compare")
    return _FIELDS.get(field) or field.removeprefix("meta.")


def to_where(filters: Any) -> Filter:
    """One of Haystack's filters as a filter of a Collection; None and an empty one let every row through.

    Comparisons are ``== != > >= < <= in`` and ``not in``, joined by ``AND OR NOT`` at any depth; a filter of our own
    passes as it is. Of texts, only ISO dates have an order: with a stored time they compare as times, with a
    stored text as text, which is the same where both are written in one form. A missing value is equal to None alone,
    is different from every other value, and has no order.

    Raises ``BadFilter`` naming what is missing or not known.

    >>> to_where({"field": "meta.year", "operator": ">", "value": 2020})
    Compare(path='year', op='>', value=2020)
    """
    if isinstance(filters, Filter):
        return filters
    if filters is None or filters == {}:
        return EVERYTHING
    return _tree(filters, 0)


def _tree(condition: Any, depth: int) -> Filter:
    if depth > 100:
        raise BadFilter("filter: expected at most 100 levels, got more")
    if not isinstance(condition, dict):
        raise BadFilter(f"filter: expected a dict, got {type(condition).__name__}")
    wanted = ("operator", "value") if "field" in condition else ("operator", "conditions")
    for name in wanted:
        if name not in condition:
            raise BadFilter(f"filter: expected the keys {' and '.join(wanted)}, got {', '.join(map(str, condition))}")
    operator = condition["operator"]
    if "field" in condition:
        if not isinstance(operator, str) or operator not in _COMPARISONS:
            raise BadFilter(f"filter: expected one of {', '.join(_COMPARISONS)}, got {operator!r}")
        return _COMPARISONS[operator](path_of(condition["field"]), operator, condition["value"])
    if operator not in ("AND", "OR", "NOT") or not isinstance(condition["conditions"], list):
        raise BadFilter(f"filter: expected AND, OR or NOT of a list of conditions, got {operator!r}")
    parts = [_tree(part, depth + 1) for part in condition["conditions"]]
    if operator == "OR":
        return some(parts)
    return every(parts) if operator == "AND" else Not(every(parts))


def _equal(path: str, operator: str, value: Any) -> Filter:
    return Null(path) if value is None else Compare(path, "=", _value(value))


def _different(path: str, operator: str, value: Any) -> Filter:
    return Not(_equal(path, operator, value))


def _ordered(path: str, operator: str, value: Any) -> Filter:
    if value is None:
        return NOTHING
    if isinstance(value, str) and not _is_time(value):
        raise BadFilter(f"filter: {path!r} {operator}: expected a number, a time or an ISO date, got {value!r}")
    return Compare(path, operator, _value(value))


def _among(path: str, operator: str, value: Any) -> Filter:
    if not isinstance(value, list):
        raise BadFilter(f"filter: {path!r} {operator}: expected a list of values, got {type(value).__name__}")
    return In(path, tuple(map(_value, value)))


def _not_among(path: str, operator: str, value: Any) -> Filter:
    return Not(_among(path, operator, value))


def _value(value: Any) -> Any:
    """Times as ISO text, which compares with times as a time and with text as text."""
    return value.isoformat() if isinstance(value, datetime) else value


def _is_time(text: str) -> bool:
    try:
        return len(text) >= 10 and text[4] == text[7] == "-" and datetime.fromisoformat(text) is not None
    except ValueError:
        return False


_COMPARISONS: dict[str, Callable[[str, str, Any], Filter]] = {
    "==": _equal, "!=": _different, ">": _ordered, ">=": _ordered, "<": _ordered, "<=": _ordered, "in": _among,
    "not in": _not_among,
}  # fmt: skip


def meta_of(document: Any) -> dict[str, Any]:
    """The metadata of a document's row."""
    if REST in document.meta:
        raise BadInput(f"document {document.id!r}: expected a meta without the key {REST!r}, which is taken")
    rest: dict[str, Any] = {}
    if document.blob is not None:
        data = base64.b64encode(document.blob.data).decode("ascii")
        rest["blob"] = {"data": data, "meta": document.blob.meta, "mime_type": document.blob.mime_type}
    if document.sparse_embedding is not None:
        rest["sparse_embedding"] = document.sparse_embedding.to_dict()
    if document.score is not None:
        rest["score"] = document.score
    return {**document.meta, REST: rest} if rest else dict(document.meta)


def parts_of(row: Any, field: str, *, embedding: bool = True) -> dict[str, Any]:
    """The arguments that make a document of a row; ``blob`` and ``sparse_embedding`` as their own arguments."""
    meta = dict(row.meta)
    rest = meta.pop(REST, {})
    out = {"id": str(row.id), "content": row.text, "meta": meta, "score": rest.get("score")}
    if embedding and (vector := row.vectors.get(field)) is not None:
        out["embedding"] = vector.tolist()
    if "blob" in rest:
        blob = rest["blob"]
        out["blob"] = {**blob, "meta": blob.get("meta") or {}, "data": base64.b64decode(blob["data"])}
    if "sparse_embedding" in rest:
        out["sparse_embedding"] = rest["sparse_embedding"]
    return out
