"""Filters as text, in the manner of SQL: a tokeniser, a small parser, and the way back.

    expression = and { "or" and }          and = not { "and" not }          not = { "not" } primary
    primary    = "(" expression ")" | "true" | "false" | path condition
    condition  = ( = == != <> < <= > >= ) value | "is" ["not"] ( "null" | "empty" )
               | ["not"] ( "in" "(" [ value { "," value } ] ")" | "between" value "and" value
                         | ( contains icontains startswith endswith like ilike ) value )
    value      = 'text' | number | "true" | "false" | "null" | "date" 'text' | "timestamp" 'text'
    path       = name { "." name } | "quoted name"

Words are known in any case, ``''`` is a quote within text, ``\"\"`` one within a name. Where a value stands, ``"text"``
is text as well.
"""

from __future__ import annotations

import math
import re
from datetime import date, datetime
from typing import Any

from nearfield.core.errors import BadFilter
from nearfield.store.filters import tree
from nearfield.store.filters.tree import And, Compare, Empty, Filter, In, Match, Not, Null, Or

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>'[^']*(?:''[^']*)*')
    | (?P<quoted>"[^"]*(?:""[^"]*)*")
    | (?P<number>[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?!\w))
    | (?P<name>(?:[^\W\d]|\$)\w*(?:\.\w+)*)
    | (?P<sign><=|>=|<>|!=|==|[=<>(),.])
    | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_SPACE = re.compile(r"\s*")
_NAME = re.compile(r"(?:[^\W\d]\w*(?:\.\w+)*|\$id|\$text)\Z")
# long lists are read at once; what these do not match is read value by value
_NUMBERS = re.compile(r"(?P<all>\s*[+-]?[0-9]{1,18}(?:\s*,\s*[+-]?[0-9]{1,18})*)\s*\)")
_STRINGS = re.compile(r"(?P<all>\s*'[^']*'(?:\s*,\s*'[^']*')*)\s*\)")
_STRING = re.compile(r"'([^']*)'")
_RESERVED = {"and", "or", "not", "in", "is", "null", "like", "between", "true", "false"}
_SIGNS = {"=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_CONSTANTS = {"true": True, "false": False, "null": None}


def parse_text(text: str) -> Filter:
    """Read a filter; ``BadFilter`` names the character and what was expected there.

    >>> parse_text("year > 2020 and lang in ('de', 'fr')")
    And(parts=(Compare(path='year', op='>', value=2020), In(path='lang', values=('de', 'fr'))))
    """
    if len(text) > tree.MAX_TEXT:
        raise BadFilter(f"filter: expected at most {tree.MAX_TEXT >> 20} MiB of text, got {len(text)} characters")
    return _Parser(text).whole()


def to_text(filter: Filter) -> str:
    """Write a filter so that ``parse_text`` reads the same one again.

    >>> to_text(parse_text("NOT a IN (1) AND (b == 'it''s' OR c IS NULL)"))
    "a not in (1) and (b = 'it''s' or c is null)"
    """
    if isinstance(filter, And | Or):
        if not filter.parts:
            return "true" if isinstance(filter, And) else "false"
        word = " and " if isinstance(filter, And) else " or "
        return word.join(_within(part, Or if isinstance(filter, And) else None) for part in filter.parts)
    if isinstance(filter, Not):
        part = filter.part
        if isinstance(part, In | Match | Null | Empty):
            return _leaf(part, "not ")
        return "not " + _within(part, And | Or)
    return _leaf(filter, "")


def _within(part: Filter, wrapped: Any) -> str:
    text = to_text(part)
    nested = wrapped is not None and isinstance(part, wrapped) and part.parts
    return f"({text})" if nested else text


def _leaf(leaf: Filter, negation: str) -> str:
    if isinstance(leaf, Null | Empty):
        return f"{_path(leaf.path)} is {negation}{'null' if isinstance(leaf, Null) else 'empty'}"
    if isinstance(leaf, In):
        return f"{_path(leaf.path)} {negation}in ({', '.join(map(_value, leaf.values))})"
    if isinstance(leaf, Compare | Match):
        return f"{_path(leaf.path)} {negation}{leaf.op} {_value(leaf.value)}"
    raise BadFilter(f"filter: expected a condition, got {type(leaf).__name__}")


def _path(path: str) -> str:
    if _NAME.match(path) and path.lower() not in _RESERVED:
        return path
    return '"' + path.replace('"', '""') + '"'


def _value(value: tree.Value) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return f"{'timestamp' if isinstance(value, datetime) else 'date'} '{value.isoformat()}'"


class _Parser:
    """A text, and the token that comes next: its kind, its text, where it begins."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.stop = 0
        self.conditions = 0
        self.next()

    def next(self) -> None:
        found = _TOKEN.match(self.text, self.stop)
        if found is None or found.lastgroup is None:
            self.start = _SPACE.match(self.text, self.stop).end()  # type: ignore[union-attr]
            self.kind, self.token, self.word = "other", self.text[self.start : self.start + 1], ""
            return
        self.kind = found.lastgroup
        self.token = found[self.kind]
        self.start, self.stop = found.start(self.kind), found.end()
        self.word = self.token.lower() if self.kind == "name" else self.token if self.kind == "sign" else ""

    def whole(self) -> Filter:
        out = self.expression(1)
        if self.kind != "end":
            raise self.expected("'and', 'or' or the end")
        return out

    def expression(self, depth: int) -> Filter:
        parts = [self.conjunction(depth)]
        while self.take("or"):
            parts.append(self.conjunction(depth))
        return tree.some(parts)

    def conjunction(self, depth: int) -> Filter:
        parts = [self.negation(depth)]
        while self.take("and"):
            parts.append(self.negation(depth))
        return tree.every(parts)

    def negation(self, depth: int) -> Filter:
        count = 0
        while self.take("not"):
            count += 1
            if count > tree.MAX_DEPTH:
                raise self.expected(f"at most {tree.MAX_DEPTH} times 'not'")
        out = self.primary(depth)
        for _ in range(count):
            out = Not(out)
        return out

    def primary(self, depth: int) -> Filter:
        if self.take("("):
            if depth > tree.MAX_DEPTH:
                raise self.expected(f"at most {tree.MAX_DEPTH} levels of parentheses")
            out = self.expression(depth + 1)
            self.need(")")
            return out
        if self.word in ("true", "false"):
            return And(()) if self.take("true") else self.take("false") and Or(())  # type: ignore[return-value]
        return self.condition(self.path())

    def path(self) -> str:
        parts = []
        while True:
            if self.kind == "quoted":
                parts.append(self.token[1:-1].replace('""', '"'))
            elif self.kind == "name" and self.word not in _RESERVED:
                parts.append(self.token)
            else:
                raise self.expected("the name of a key")
            self.next()
            if not self.take("."):
                return ".".join(parts)

    def condition(self, path: str) -> Filter:
        self.conditions = tree.checked_size(self.conditions + 1)
        if self.word in _SIGNS:
            op = _SIGNS[self.word]
            self.next()
            return Compare(path, op, self.value())
        if self.take("is"):
            negated = self.take("not")
            if self.word not in ("null", "empty"):
                raise self.expected("'null' or 'empty'")
            out: Filter = Null(path) if self.take("null") else self.take("empty") and Empty(path)  # type: ignore[assignment]
        else:
            negated = self.take("not")
            out = self.operator(path)
        return Not(out) if negated else out

    def operator(self, path: str) -> Filter:
        word = self.word
        if self.take("in"):
            return In(path, self.values())
        if self.take("between"):
            low = self.value()
            self.need("and")
            return And((Compare(path, ">=", low), Compare(path, "<=", self.value())))
        if word in tree.MATCHES and self.take(word):
            return Match(path, word, self.value())
        hint = "; names with other signs go into double quotes" if self.kind in ("other", "number") else ""
        raise self.expected("an operator such as = < in is like contains", hint)

    def values(self) -> tuple[Any, ...]:
        if self.word != "(":
            raise self.expected("'(' and a list of values")
        for pattern in (_NUMBERS, _STRINGS):
            found = pattern.match(self.text, self.stop)
            if found is not None:
                listed = found["all"]
                if pattern is _STRINGS and "''" in listed:
                    break
                self.stop = found.end()
                self.next()
                return tuple(map(int, listed.split(","))) if pattern is _NUMBERS else tuple(_STRING.findall(listed))
        self.next()
        out: list[Any] = []
        if self.take(")"):
            return ()
        while True:
            out.append(self.value())
            if self.take(")"):
                return tuple(out)
            if not self.take(","):
                raise self.expected("',' or ')'")

    def value(self) -> Any:
        kind, token, word = self.kind, self.token, self.word
        if kind in ("string", "quoted"):
            self.next()
            return token[1:-1].replace(token[0] * 2, token[0])
        if kind == "number":
            return self.number()
        if word in _CONSTANTS:
            self.next()
            return _CONSTANTS[word]
        if word in ("date", "timestamp"):
            self.next()
            return self.moment(word)
        hint = f"; text goes into quotes: '{token[:40]}'" if kind == "name" else ""
        raise self.expected("a value: 'text', a number, true, false, null", hint)

    def number(self) -> int | float:
        token = self.token
        if token.lstrip("+-").isdigit():
            if len(token) > tree.MAX_BITS // 4:
                raise self.expected("a shorter number")
            self.next()
            return int(token)
        value = float(token)
        if not math.isfinite(value):
            raise self.expected("a smaller number")
        self.next()
        return value

    def moment(self, word: str) -> date:
        if self.kind == "string":
            try:
                text = self.token[1:-1]
                out = date.fromisoformat(text) if word == "date" else datetime.fromisoformat(text)
                self.next()
                return out
            except ValueError:
                pass
        raise self.expected("'2026-11-01'" if word == "date" else "'2026-11-01T10:00:00+00:00'")

    def take(self, word: str) -> bool:
        if self.word != word:
            return False
        self.next()
        return True

    def need(self, word: str) -> None:
        if not self.take(word):
            raise self.expected(repr(word))

    def expected(self, what: str, hint: str = "") -> BadFilter:
        got = "the end" if self.kind == "end" else repr(self.token[:40])
        return BadFilter(f"filter: expected {what} at character {self.start + 1}, got {got}{hint}")
