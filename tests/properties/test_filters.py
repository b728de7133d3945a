"""Random filters on random rows against a few lines of plain Python that say what each means."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearfield.store.filters import And, Compare, Empty, Filter, In, Match, Not, Null, Or, mask, parse_where, to_text
from nearfield.store.metadata import Metadata

WHOLE = [0, 1, -1, 2, 3, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]
REAL = [0.0, -0.0, 1.0, 0.5, 1.5, 2.0**53, 2.0**63, 1e300, -1e300, 0.1, float(np.float32(0.1)), 1e-300, 12.25]
NUMBERS = st.sampled_from(WHOLE + REAL)
WIDE = NUMBERS | st.sampled_from([2**53 + 3, 2**63, -(2**63) - 1, 10**30, -(10**400), 10**400, 5e-324, 1.7e308])
WORDS = ["", "a", "b", "ab", "A", "é", "É", "a\0", "a\0b", "\U0001f600", "\uffff", "100%", "a_b", "it's", "a\\b"]
DAYS = ["2020-01-01", "2020-01-01T01:00:00+01:00", "2020-13-01"]
LONG = ["a long common start, one", "a long common start, two", "a long common"]
TEXTS = st.sampled_from([*WORDS, *DAYS, *LONG])
AHEAD = timezone(timedelta(hours=1)), timezone(timedelta(microseconds=7))
MOMENTS = [datetime(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, 0, 0, 0, 1), datetime.max]
ZONED = [datetime(2020, 1, 1, 1, tzinfo=AHEAD[0]), datetime(2020, 1, 1, 0, 0, 0, 7, tzinfo=AHEAD[1])]
TIMES = st.sampled_from([date(2020, 1, 1), date(1, 1, 1), date(2021, 5, 5), *MOMENTS, *ZONED])
SCALARS = NUMBERS, TEXTS, TIMES, st.booleans()
INT64 = range(-(2**63), 2**63)
STORED = [s.filter(lambda v: not (type(v) is int and v not in INT64)) for s in SCALARS]
LEAVES = st.one_of(st.none(), *STORED, *(st.lists(s, max_size=3) for s in STORED), st.just([1, "a", None]), st.just({}))
PATHS = ["a", "b", "a.b", "b.c", "odd key", "not"]
FLAT = st.dictionaries(st.sampled_from(["a", "b", "odd key", "not"]), LEAVES)
NESTED = st.fixed_dictionaries({"a": st.dictionaries(st.sampled_from(["b", "x"]), LEAVES, min_size=1), "b": LEAVES})
DOTTED = st.fixed_dictionaries({"a.b": LEAVES, "b": st.fixed_dictionaries({"c": LEAVES})})
ROWS = st.lists(FLAT | NESTED | DOTTED, max_size=8)
ROWS = ROWS.flatmap(lambda rows: st.lists(st.sampled_from(rows), max_size=12) if rows else st.just([]))

PATH = st.sampled_from(PATHS)
LITERALS = st.one_of(st.none(), st.booleans(), WIDE, TEXTS, TIMES)
ORDERED = st.one_of(st.none(), WIDE, TEXTS, TIMES)
PATTERNS = TEXTS | st.text("ab%_\\é", max_size=6)
CONDITIONS = st.one_of(
    st.builds(Compare, PATH, st.sampled_from(["=", "!="]), LITERALS),
    st.builds(Compare, PATH, st.sampled_from(["<", "<=", ">", ">="]), ORDERED),
    st.builds(In, PATH, st.lists(LITERALS, max_size=4).map(tuple)),
    st.builds(Null, PATH),
    st.builds(Empty, PATH),
    st.builds(Match, PATH, st.just("contains"), LITERALS.filter(lambda v: v is not None)),
    st.builds(Match, PATH, st.sampled_from(["icontains", "startswith", "endswith", "like", "ilike"]), PATTERNS),
)
FILTERS = st.recursive(
    CONDITIONS | st.sampled_from([And(()), Or(())]),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: And(tuple(parts))),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: Or(tuple(parts))),
    ),
    max_leaves=6,
)
SETTINGS = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


def at(row: dict[str, Any], path: str) -> list[Any]:
    """What a row has at a path, by whatever nesting."""
    found = []
    for key, value in row.items():
        if key == path:
            found.append(value)
        if isinstance(value, dict) and path.startswith(key + "."):
            found += at(value, path[len(key) + 1 :])
    return found


def kind(value: Any) -> str:
    if isinstance(value, datetime):
        return "zoned" if value.tzinfo else "time"
    return type(value).__name__


def instant(value: Any) -> datetime | None:
    if isinstance(value, str):
        if not re.match(r"\d{4}-\d\d-\d\d", value):
            return None
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return None


def compares(op: str, value: Any, wanted: Any) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return op == "=" and value is wanted
    if isinstance(value, date):
        value, wanted = instant(value), instant(wanted)
    if type(value) is not type(wanted) and not (isinstance(value, int | float) and isinstance(wanted, int | float)):
        return False
    if value is None:
        return False
    return bool(
        {"=": value == wanted, "<": value < wanted, "<=": value <= wanted, ">": value > wanted}.get(op, value >= wanted)
    )


def is_among(value: Any, wanted: tuple[Any, ...]) -> bool:
    return any(compares("=", value, w) for w in wanted)


@functools.cache
def as_regex(pattern: str) -> re.Pattern[str]:
    out, characters = "", iter(pattern)
    for c in characters:
        out += ".*" if c == "%" else "." if c == "_" else re.escape(next(characters, "\\") if c == "\\" else c)
    return re.compile(out, re.DOTALL)


def like(pattern: str, text: str) -> bool:
    return as_regex(pattern).fullmatch(text) is not None


MATCHES: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda text, piece: piece in text,
    "icontains": lambda text, piece: piece.lower() in text.lower(),
    "startswith": lambda text, piece: text.startswith(piece),
    "endswith": lambda text, piece: text.endswith(piece),
    "like": lambda text, pattern: like(pattern, text),
    "ilike": lambda text, pattern: like(pattern.lower(), text.lower()),
}


def chooses(f: Filter, row: dict[str, Any]) -> bool:
    if isinstance(f, And):
        return all(chooses(part, row) for part in f.parts)
    if isinstance(f, Or):
        return any(chooses(part, row) for part in f.parts)
    if isinstance(f, Not):
        return not chooses(f.part, row)
    values = at(row, f.path)
    null = all(v is None for v in values)
    if isinstance(f, Null):
        return null
    if isinstance(f, Empty):
        return null or any(v in ([], {}) for v in values) or any(holds(lambda v: v == "", v) for v in values)
    if isinstance(f, Compare):
        if f.value is None:
            return {"=": null, "!=": not null}.get(f.op, False)
        if f.op == "!=":
            return not chooses(Compare(f.path, "=", f.value), row)
        return any(holds(lambda v: compares(f.op, v, f.value), v) for v in values)
    if isinstance(f, In):
        return (null and None in f.values) or any(holds(lambda v: is_among(v, f.values), v) for v in values)
    return any(matches(f, v) for v in values)


def holds(test: Callable[[Any], bool], value: Any) -> bool:
    if isinstance(value, list):
        return len({kind(v) for v in value}) == 1 and not isinstance(value[0], (dict, list)) and any(map(test, value))
    return test(value)


def matches(f: Any, value: Any) -> bool:
    if isinstance(value, list) and f.op == "contains":
        return holds(lambda v: compares("=", v, f.value), value)
    if isinstance(value, list) and f.op == "icontains":
        return holds(lambda v: isinstance(v, str) and v.lower() == f.value.lower(), value)
    return holds(lambda v: isinstance(v, str) and isinstance(f.value, str) and MATCHES[f.op](v, f.value), value)


def to_dict(f: Filter) -> dict[str, Any]:
    """The filter as the dict that means the same tree."""
    if isinstance(f, And | Or):
        if not f.parts:
            return {} if isinstance(f, And) else {"$nor": [{}]}
        return {"$and" if isinstance(f, And) else "$or": [to_dict(part) for part in f.parts]}
    if isinstance(f, Not):
        return {"$not": to_dict(f.part)}
    if isinstance(f, In):
        return {f.path: {"$in": list(f.values)}}
    if isinstance(f, Null):
        return {f.path: {"$exists": False}}
    if isinstance(f, Empty):
        return {f.path: {"$isempty": True}}
    names = {"=": "$eq", "!=": "$ne", "<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}
    return {f.path: {names.get(f.op, f"${f.op}"): f.value}}


@SETTINGS
@given(ROWS, FILTERS)
def test_columns_choose_what_python_chooses(rows: list[dict[str, Any]], f: Filter) -> None:
    m = Metadata.build(rows)
    again = Metadata.restore(m.n, json.loads(json.dumps(m.description())), m.columns().__getitem__)
    wanted = [chooses(f, row) for row in rows]
    assert mask(f, m).tolist() == mask(f, again).tolist() == wanted
    assert mask(Not(f), m).tolist() == [not w for w in wanted]


@SETTINGS
@given(FILTERS)
def test_every_door_leads_to_the_same_tree(f: Filter) -> None:
    assert parse_where(to_text(f)) == f
    assert hash(parse_where(to_text(f))) == hash(f)
    if Or(()) not in (f, *getattr(f, "parts", ())) and "false" not in to_text(f):
        assert parse_where(to_dict(f)) == f


COLUMNS = {
    "long": lambda rng, i: f"https://example.org/{rng.integers(5000)}/{'x' * int(rng.integers(3))}",
    "short": lambda rng, i: chr(97 + int(rng.integers(26))) * int(rng.integers(1, 4)),
    "int": lambda rng, i: int(rng.integers(-500, 500)) * 7 + 3,
    "float": lambda rng, i: float(rng.normal()),
    "price": lambda rng, i: int(rng.integers(100_000)) / 100,
    "single": lambda rng, i: float(np.float32(rng.normal())),
    "time": lambda rng, i: datetime(2024, 1, 1) + timedelta(seconds=int(rng.integers(10**7))),
    "tags": lambda rng, i: [str(t) for t in rng.integers(0, 30, rng.integers(0, 4))],
}


def test_long_columns_choose_what_python_chooses(rng: np.random.Generator) -> None:
    """As above where columns have arrays, dictionaries and prefixes of their own; literals are taken from the rows."""
    rows = [{name: make(rng, i) for name, make in COLUMNS.items() if (i + len(name)) % 5} for i in range(4500)]
    m = Metadata.build(rows)
    for name in COLUMNS:
        held = [row[name] for row in rows if row.get(name)]
        held = [v[0] if isinstance(v, list) else v for v in held]
        some = [held[int(i)] for i in rng.integers(0, len(held), 2)]
        filters: list[Filter] = [Compare(name, op, v) for v in some[:1] for op in ("=", "!=", "<", "<=", ">", ">=")]
        filters += [In(name, tuple(some)), In(name, tuple(held[:15])), Null(name), Empty(name)]
        if isinstance(some[0], str):
            middle = some[0][len(some[0]) // 3 : -1] or "x"
            filters += [Match(name, op, middle) for op in ("contains", "icontains", "endswith")]
            filters += [
                Match(name, "startswith", some[1][:22]),
                Match(name, "like", f"%{middle}_%"),
                Match(name, "contains", "g/1/h"),
            ]
        for f in filters:
            assert mask(f, m).tolist() == [chooses(f, row) for row in rows], f
