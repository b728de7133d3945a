"""Filters by name: what each door reads, and where the limits are."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest

from nearfield.core.errors import BadFilter, BadInput
from nearfield.store.filters import (
    EVERYTHING,
    And,
    Empty,
    Match,
    Not,
    Null,
    Or,
    key,
    mask,
    parse_where,
    to_text,
)
from nearfield.store.metadata import Metadata

TEXTS = [
    ("year > 2020", key("year") > 2020),
    ("a.b_c.1d = 1", key("a")["b_c"]["1d"] == 1),
    ('"odd key" = 1', key("odd key") == 1),
    ('"a""b" = 1', key('a"b') == 1),
    ('author."first name" = 1', key("author.first name") == 1),
    ('"" = 1', key("") == 1),
    ("größe = 1", key("größe") == 1),
    ("x == 1.5", key("x") == 1.5),
    ("x <> -1", key("x") != -1),
    ("x != +1e3", key("x") != 1000.0),
    ("x <= 2 AND y >= 3", (key("x") <= 2) & (key("y") >= 3)),
    ("a = 1 or b = 1 and c = 1", (key("a") == 1) | ((key("b") == 1) & (key("c") == 1))),
    ("(a = 1 or b = 1) and c = 1", ((key("a") == 1) | (key("b") == 1)) & (key("c") == 1)),
    ("not a = 1 and b = 1", ~(key("a") == 1) & (key("b") == 1)),
    ("not not a = 1", ~~(key("a") == 1)),
    ("lang IN ('de', 'fr')", key("lang").isin(["de", "fr"])),
    ("lang not in ('it''s', \"a\"\"b\")", ~key("lang").isin(["it's", 'a"b'])),
    ("n in (1, -2 , 3)", key("n").isin([1, -2, 3])),
    ("n in (1, 'a', null, true, 2.5)", key("n").isin([1, "a", None, True, 2.5])),
    ("n in ()", key("n").isin([])),
    ("n between 1 and 2 and m = 3", (key("n") >= 1) & (key("n") <= 2) & (key("m") == 3)),
    ("n not between 1 and 2", ~key("n").between(1, 2)),
    ("a is null", key("a").isnull()),
    ("a Is Not Null", ~key("a").isnull()),
    ("a is not empty", ~key("a").isempty()),
    ("a = null", key("a") == None),  # noqa: E711
    ("a = TRUE", key("a") == True),  # noqa: E712
    ("a like 'x%'", key("a").like("x%")),
    ("a not ilike '_'", ~key("a").ilike("_")),
    ("a contains 'x' or a startswith \"y\"", key("a").contains("x") | key("a").startswith("y")),
    ("a not endswith 'x'", ~key("a").endswith("x")),
    ("a icontains ''", key("a").icontains("")),
    ("contains contains 'date'", key("contains").contains("date")),
    ("date >= date '2026-11-01'", key("date") >= date(2026, 11, 1)),
    ("t < timestamp '2026-11-01T10:00:00+02:00'", key("t") < datetime(2026, 11, 1, 8, tzinfo=UTC)),
    ("$id in ('a') and $text contains 'b'", key("$id").isin(["a"]) & key("$text").contains("b")),
    ("true", EVERYTHING),
    ("not (false or true)", ~Or((Or(()), EVERYTHING)) if False else Not(Or((Or(()), And(()))))),
    ("a='\n\0'", key("a") == "\n\0"),
    ("a = '; drop table x; --'", key("a") == "; drop table x; --"),
    (f"a = {10**100}", key("a") == 10**100),
]


@pytest.mark.parametrize(("text", "filter"), TEXTS, ids=[text for text, _ in TEXTS])
def test_text_reads_as_the_python_expression(text, filter):
    assert parse_where(text) == filter
    assert parse_where(to_text(filter)) == filter
    assert hash(parse_where(text)) == hash(filter)


MALFORMED = [
    ("", "name of a key at character 1, got the end"),
    ("year", "operator .* at character 5, got the end"),
    ("year >", "a value.* at character 7, got the end"),
    ("year > and", "a value.* at character 8, got 'and'"),
    ("lang = de", "a value.* at character 8, got 'de'; text goes into quotes: 'de'"),
    ("a = 'open", 'a value.* at character 5, got "\'"'),
    ("a = 1 b = 2", "'and', 'or' or the end at character 7, got 'b'"),
    ("(a = 1", "'\\)' at character 7, got the end"),
    ("a = 1)", "at character 6, got '\\)'"),
    ("a in 1", "'\\(' and a list of values at character 6"),
    ("a in (1", "',' or '\\)' at character 8"),
    ("a in (1,)", "a value.* at character 9"),
    ("a is 1", "'null' or 'empty' at character 6"),
    ("a not = 1", "operator .* at character 7"),
    ("a-b = 1", "operator .* at character 2, got '-'; names with other signs go into double quotes"),
    ("a between 1 or 2", "'and' at character 13, got 'or'"),
    ("and = 1", "name of a key at character 1, got 'and'"),
    ("a = 1x", "a value.* at character 5"),
    ("a = 1e999", "smaller number at character 5"),
    ("a = " + "9" * 5000, "shorter number"),
    ("t > date '2026-13-01'", "'2026-11-01' at character 10"),
    ("a = 1; drop table x", "or the end at character 6, got ';'"),
    ("$secret = 1", "a key, \\$id or \\$text"),
    ("a > true", "expected a number, text or time, got a bool"),
    ("a like 5", "expected text, got 5"),
    ("a contains null", "expected text, got None"),
    ("é = ", "a value.* at character 5"),
]


@pytest.mark.parametrize(("text", "message"), MALFORMED, ids=[text[:30] for text, _ in MALFORMED])
def test_malformed_text_is_refused_in_one_line_that_names_the_place(text, message):
    with pytest.raises(BadFilter, match=message) as caught:
        parse_where(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


DICTS = [
    ({}, EVERYTHING),
    (None, EVERYTHING),
    ({"user": 7}, key("user") == 7),
    ({"user": 7, "lang": "de"}, (key("user") == 7) & (key("lang") == "de")),
    ({"year": {"$gt": 2020, "$lte": 2024}}, (key("year") > 2020) & (key("year") <= 2024)),
    ({"author": {"name": {"first": "X"}}}, key("author.name.first") == "X"),
    ({"a": None}, key("a") == None),  # noqa: E711
    ({"a": {"$ne": None}}, key("a") != None),  # noqa: E711
    ({"$and": [{"a": 1}, {"b": 2}]}, (key("a") == 1) & (key("b") == 2)),
    ({"$or": [{"a": 1}, {"$and": [{"b": 2}]}]}, (key("a") == 1) | (key("b") == 2)),
    ({"$nor": [{"a": 1}, {"b": 2}]}, ~((key("a") == 1) | (key("b") == 2))),
    ({"$not": {"a": 1}}, ~(key("a") == 1)),
    ({"a": {"$not": {"$gt": 1}}}, ~(key("a") > 1)),
    ({"a": {"$in": [1, 2]}}, key("a").isin([1, 2])),
    ({"a": {"$nin": (1, 2)}}, ~key("a").isin([1, 2])),
    ({"a": {"$any": ["x"]}}, key("a").isin(["x"])),
    ({"a": {"$all": ["x", "y"]}}, key("a").all(["x", "y"])),
    ({"a": {"$between": [1, 2]}}, key("a").between(1, 2)),
    ({"a": {"$exists": True}}, ~key("a").isnull()),
    ({"a": {"$exists": False}}, key("a").isnull()),
    ({"a": {"$isnull": False}}, ~key("a").isnull()),
    ({"a": {"$isempty": True}}, key("a").isempty()),
    ({"a": {"$contains": 1, "$not_contains": 2}}, key("a").contains(1) & ~key("a").contains(2)),
    ({"a": {"$like": "x%", "$ilike": "_"}}, key("a").like("x%") & key("a").ilike("_")),
    ({"a": {"$startswith": "x", "$endswith": "y"}}, key("a").startswith("x") & key("a").endswith("y")),
    ({"$id": {"$in": ["x"]}, "$text": {"$icontains": "y"}}, key("$id").isin(["x"]) & key("$text").icontains("y")),
    ({"a": np.int64(3), "b": np.str_("x")}, (key("a") == 3) & (key("b") == "x")),
    ({"a": {"$in": np.array([1, 2])}}, key("a").isin([1, 2])),
]


@pytest.mark.parametrize(("where", "filter"), DICTS, ids=[str(where)[:40] for where, _ in DICTS])
def test_dicts_read_as_the_python_expression(where, filter):
    assert parse_where(where) == filter
    assert parse_where(filter) is filter


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"a": [1, 2]}, "'a': expected a value, got a list; write {'\\$in': .*or {'\\$all'"),
        ({"a": {}}, "'a': expected operators"),
        ({"a": {"$gt": 1, "b": 2}}, "'a': expected operators such as \\$gt, or keys, got both"),
        ({"a": {"$gte ": 1}}, "'a': expected an operator, got '\\$gte '; did you mean '\\$gte'"),
        ({"$where": "1"}, "expected a key, \\$id or \\$text"),
        ({"$and": []}, "\\$and: expected a list of at least one filter"),
        ({"$or": {"a": 1}}, "\\$or: expected a list"),
        ({"a": {"b": {"$gt": 1}, "$or": []}}, "both"),
        ({"a": {"$in": 9}}, "'a' in: expected a list of values, got 9"),
        ({"a": {"$in": "abc"}}, "expected a list of values"),
        ({"a": {"$in": [[1]]}}, "'a' in: expected a single value, got a list"),
        ({"a": {"$gt": [1]}}, "'a' >: expected a single value, got a list; use in"),
        ({"a": {"$gt": float("nan")}}, "finite number"),
        ({"a": {"$eq": b"x"}}, "got bytes"),
        ({"a": {"$exists": 1}}, "expected true or false"),
        ({"a": {"$between": [1]}}, "expected \\[low, high\\]"),
        ({"a": "\ud800"}, "lone surrogate"),
        ({1: 2}, "the name of a key, got 1"),
        ({"a": {"$not": 5}}, "expected operators, got 5; for a value use \\$ne"),
        ([], "expected text, a dict or a condition, got list"),
        (5, "expected text, a dict or a condition, got int"),
        (key("a"), "compare it with something"),
    ],
)
def test_malformed_dicts_are_refused_in_one_line(where, message):
    with pytest.raises(BadFilter, match=message) as caught:
        parse_where(where)
    assert isinstance(caught.value, BadInput)
    assert "\n" not in str(caught.value)


def nested(depth: int, how: str) -> Any:
    where: Any = {"a": 1}
    for _ in range(depth):
        where = {"a": where} if how == "path" else {"$not": where} if how == "$not" else {how: [where]}
    return where


@pytest.mark.parametrize(
    "where",
    [
        "(" * 100_000 + "a = 1" + ")" * 100_000,
        "not " * 100_000 + "a = 1",
        "(not " * 100_000 + "a = 1" + ")" * 100_000,
        nested(100_000, "path"),
        nested(100_000, "$not"),
        nested(100_000, "$and"),
        nested(100_000, "$or"),
        {"a": {"$gt": nested(100_000, "$and")}},
        {"a": {"$in": [nested(100_000, "$and")]}},
        "a = 1 or " * 3_000_000,
        "a = 1 or " * 1_000_000 + "a = 1",
        {"$or": [{"a": 1}] * 1_000_000},
        {"a": {"$in": list(range(1_000_001))}},
        "a in (" + "1," * 1_000_000 + "1)",
        {"a": {"$like": "%" * 10_001}},
    ],
    ids=range(15),
)
def test_what_is_too_deep_or_too_long_is_refused(where):
    """Case 22 of bad input: depth, size; never a RecursionError."""
    with pytest.raises(BadFilter) as caught:
        parse_where(where)
    assert len(str(caught.value)) < 300


def test_the_deepest_filter_can_be_used():
    filter = key("a") == 1
    for _ in range(99):
        filter = ~filter
    assert parse_where(to_text(filter)) == filter
    assert hash(filter) == hash(parse_where(nested(99, "$not")))
    assert mask(filter, Metadata.build([{"a": 1}, {"a": 2}])).tolist() == [False, True]
    with pytest.raises(BadFilter, match="100 levels"):
        _ = ~filter
    assert len(parse_where(" or ".join(["a = 1"] * 5000)).parts) == 5000
    assert parse_where("(" * 99 + "a = 1" + ")" * 99) == (key("a") == 1)


def test_python_and_is_caught():
    with pytest.raises(BadFilter, match=r"& \| ~"):
        (key("a") == 1) and (key("b") == 2)
    with pytest.raises(BadFilter, match="compare it"):
        bool(key("a"))
    with pytest.raises(BadFilter, match="expected a condition"):
        (key("a") == 1) & 5
    with pytest.raises(BadFilter, match="two parts or more"):
        And((key("a") == 1,))


def test_trees_are_flat_and_frozen():
    f = (key("a") == 1) & (key("b") == 2) & (key("c") == 3)
    assert isinstance(f, And)
    assert len(f.parts) == 3
    with pytest.raises(AttributeError):
        f.parts = ()
    assert {f: 1}[parse_where("a = 1 and b = 2 and c = 3")] == 1
    assert [type(x) for x in (Null("a"), Empty("a"), Match("a", "like", "x"))] == [Null, Empty, Match]
