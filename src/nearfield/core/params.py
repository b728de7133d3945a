"""Checks of parameters, drawn from their annotations.

``dim: Annotated[int, Range(1)] = 64`` is at once the signature, the documentation and the check.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass
from functools import cache
from typing import Any

from nearfield.core.checks import plain
from nearfield.core.errors import BadParameter
from nearfield.core.habits import hint


@dataclass(frozen=True)
class Range:
    """A number between ``low`` and ``high``, both allowed; None is no bound."""

    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.high is None:
            return f">= {self.low}"
        return f"<= {self.high}" if self.low is None else f"from {self.low} to {self.high}"

    def holds(self, value: Any) -> bool:
        return not ((self.low is not None and value < self.low) or (self.high is not None and value > self.high))


class OneOf:
    """One of the values given."""

    def __init__(self, *values: Any) -> None:
        self.values = values

    def __str__(self) -> str:
        return "one of " + ", ".join(repr(v) for v in self.values)

    def holds(self, value: Any) -> bool:
        return any(type(value) is type(v) and value == v for v in self.values)


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def check(cls: type, values: dict[str, Any], name: str) -> dict[str, Any]:
    """Return ``values`` in the annotated types, or raise ``BadParameter`` naming parameter, range, value."""
    hints = _hints(cls)
    fields = {f.name for f in dataclasses.fields(cls) if f.init}
    for key in values:
        if key not in fields:
            raise BadParameter(f"{name}() has no parameter {key!r}; {hint(key, fields)}")
    return {key: _one(hints[key], value, f"{name}({key}=)") for key, value in values.items()}


def clipped(cls: type, values: dict[str, Any]) -> dict[str, Any]:
    """``values`` with each whole number moved into the range that its parameter allows; others as they are.

    For sizes that are derived from the width of rows, which knows no bounds.
    """
    return {key: _moved(value, _rules(_hints(cls).get(key))) for key, value in values.items()}


def _moved(value: Any, rules: tuple[Any, ...]) -> Any:
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    for rule in rules:
        if isinstance(rule, Range):
            value = value if rule.low is None else max(value, int(rule.low))
            value = value if rule.high is None else min(value, int(rule.high))
    return value


def _rules(hint: Any) -> tuple[Any, ...]:
    return tuple(typing.get_args(hint)[1:]) if typing.get_origin(hint) is typing.Annotated else ()


def _one(hint: Any, value: Any, where: str) -> Any:
    rules = _rules(hint)
    hint = typing.get_args(hint)[0] if rules else hint
    value = _typed(hint, value, where, rules)
    if value is not None:
        for rule in rules:
            if hasattr(rule, "holds") and not rule.holds(value):
                raise BadParameter(f"{where} expects {rule}, got {value!r}")
    return value


def _typed(hint: Any, value: Any, where: str, rules: tuple[Any, ...]) -> Any:
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in kinds:
        return None
    value = plain(value)
    for kind in kinds:
        if kind is bool and isinstance(value, bool):
            return value
        if kind is int and isinstance(value, int) and not isinstance(value, bool):
            return value
        if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            if value != value or value in (float("inf"), float("-inf")):
                raise BadParameter(f"{where} expects a finite number, got {value!r}")
            return float(value)
        if kind is str and isinstance(value, str):
            return value
    names = " or ".join("None" if k is type(None) else getattr(k, "__name__", str(k)) for k in kinds)
    rule = f" {rules[0]}" if rules else ""
    raise BadParameter(f"{where} expects {names}{rule}, got {value!r} ({type(value).__name__})")
