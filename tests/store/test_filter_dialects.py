"""Filters of other libraries mean here what they mean there."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pytest

from nearfield.core.errors import BadFilter
from nearfield.store.filters import (
    check,
    mask,
    parse_where,
)
from nearfield.store.metadata import Metadata

# The cases of the filter tests that Haystack gives to document stores, through a translation as thin as its dialect.
HAYSTACK: list[dict[str, Any]] = []
for i in range(3):
    for page, chapter, number, day in (
        ("100", "intro", 2, "1969-07-21T20:17:40"),
        ("123", "abstract", -2, "1972-12-11T19:54:58"),
        ("90", "conclusion", -10, "1989-11-09T17:53:00"),
    ):
        HAYSTACK.append({"name": f"name_{i}", "page": page, "chapter": chapter, "number": number, "date": day})
    HAYSTACK += [{"name": f"name_{i}", "no_embedding": True, "chapter": "conclusion"}, {"name": "zeros_doc"}]
OPERATORS = {
    "==": "$eq",
    "!=": "$ne",
    ">": "$gt",
    ">=": "$gte",
    "<": "$lt",
    "<=": "$lte",
    "in": "$in",
    "not in": "$nin",
}


def haystack(where: dict[str, Any]) -> dict[str, Any]:
    if "field" in where:
        return {where["field"].removeprefix("meta."): {OPERATORS[where["operator"]]: where["value"]}}
    parts = [haystack(part) for part in where["conditions"]]
    return {"$not": {"$and": parts}} if where["operator"] == "NOT" else {f"${where['operator'].lower()}": parts}


def condition(field: str, operator: str, value: Any) -> dict[str, Any]:
    return {"field": f"meta.{field}", "operator": operator, "value": value}


def holds(row: dict[str, Any], name: str, test: Any) -> bool:
    return row.get(name) is not None and test(row[name])


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (condition("number", "==", 100), lambda d: d.get("number") == 100),
        (condition("number", "==", None), lambda d: d.get("number") is None),
        (condition("number", "!=", 100), lambda d: d.get("number") != 100),
        (condition("number", "!=", None), lambda d: d.get("number") is not None),
        (condition("number", ">", 0), lambda d: holds(d, "number", lambda v: v > 0)),
        (condition("number", ">=", -2), lambda d: holds(d, "number", lambda v: v >= -2)),
        (condition("number", "<", 0), lambda d: holds(d, "number", lambda v: v < 0)),
        (condition("number", "<=", -2), lambda d: holds(d, "number", lambda v: v <= -2)),
        *((condition("number", op, None), lambda d: False) for op in (">", ">=", "<", "<=")),
        (
            condition("date", ">", "1972-12-11T19:54:58"),
            lambda d: holds(d, "date", lambda v: v > "1972-12-11T19:54:58"),
        ),
        (condition("date", ">=", "1969-07-21T20:17:40"), lambda d: "date" in d),
        (condition("date", "<", "1969-07-21T20:17:40"), lambda d: False),
        (condition("date", "<=", "1969-07-21T20:17:40"), lambda d: d.get("date") == "1969-07-21T20:17:40"),
        (condition("number", "in", [2, -10]), lambda d: d.get("number") in (2, -10)),
        (condition("number", "not in", [2, -10]), lambda d: d.get("number") not in (2, -10)),
        (
            {"operator": "AND", "conditions": [condition("number", "==", 2), condition("name", "==", "name_0")]},
            lambda d: d.get("number") == 2 and d["name"] == "name_0",
        ),
        (
            {"operator": "OR", "conditions": [condition("number", "==", 2), condition("name", "==", "name_0")]},
            lambda d: d.get("number") == 2 or d["name"] == "name_0",
        ),
        (
            {"operator": "NOT", "conditions": [condition("number", "==", 2), condition("name", "==", "name_0")]},
            lambda d: not (d.get("number") == 2 and d["name"] == "name_0"),
        ),
    ],
)
def test_haystack_filters_mean_what_they_mean_there(where, expected):
    filter = parse_where(haystack(where))
    rows = Metadata.build(HAYSTACK)
    check(filter, rows.paths())
    assert mask(filter, rows).tolist() == [expected(d) for d in HAYSTACK]
    as_times = [d | ({"date": datetime.fromisoformat(d["date"])} if "date" in d else {}) for d in HAYSTACK]
    assert mask(filter, Metadata.build(as_times)).tolist() == [expected(d) for d in HAYSTACK]


@pytest.mark.parametrize("op", [">", ">=", "<", "<="])
@pytest.mark.parametrize("value", ["1", [1]])
def test_haystack_orderings_of_text_or_lists_with_numbers_are_refused(op, value):
    with pytest.raises(BadFilter):
        check(parse_where(haystack(condition("number", op, value))), Metadata.build(HAYSTACK).paths())


@pytest.mark.parametrize("op", ["in", "not in"])
def test_haystack_in_wants_a_list(op):
    with pytest.raises(BadFilter):
        parse_where(haystack(condition("number", op, 9)))


# LlamaIndex's operators as dicts, and what its own in-memory store answers.
@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"n": {"$eq": 1}}, [0]),
        ({"n": {"$ne": 1}}, [1, 2]),
        ({"n": {"$nin": [1]}}, [1, 2]),
        ({"tags": {"$any": ["a", "z"]}}, [0, 1]),
        ({"tags": {"$all": ["a", "b"]}}, [0]),
        ({"tags": {"$contains": "b"}}, [0]),
        ({"s": {"$contains": "World"}}, [0]),
        ({"s": {"$icontains": "world"}}, [0, 1]),
        ({"e": {"$isempty": True}}, [0, 1, 2]),
        ({"$and": [{"$or": [{"n": 1}, {"n": 2}]}, {"$not": {"tags": "b"}}]}, [1]),
    ],
)
def test_llama_index_operators(where, expected):
    rows = [
        {"n": 1, "tags": ["a", "b"], "s": "Hello World", "e": []},
        {"n": 2, "tags": ["a"], "s": "world", "e": ""},
        {"s": "x", "e": None},
    ]
    assert np.flatnonzero(mask(parse_where(where), Metadata.build(rows))).tolist() == expected
