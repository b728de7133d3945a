"""No test asserts a speed, or a ratio of times: they come out otherwise on another machine, or a busy one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
FILES = sorted(TESTS.rglob("*.py"))
CLOCKS = {"perf_counter", "perf_counter_ns", "process_time", "process_time_ns", "monotonic", "monotonic_ns", "timeit"}
HANGING = 1.0  # a constant of so many seconds or more is a limit against hanging, and may stay


def reads_a_clock(node: ast.AST, known: set[str]) -> bool:
    """Whether an expression calls a clock, or names what came from one."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and (part.id in known or part.id in CLOCKS):
            return True
        if isinstance(part, ast.Attribute) and part.attr in CLOCKS:
            return True
    return False


def names(target: ast.AST) -> Iterator[str]:
    """The names that an assignment binds or changes, ``x`` of ``x[i] = ...`` among them."""
    return (part.id for part in ast.walk(target) if isinstance(part, ast.Name))


def timed(scope: ast.AST, known: set[str]) -> set[str]:
    """Names of a scope that come from a clock, directly or by way of others."""
    found = set(known)
    while True:
        before = len(found)
        for node in ast.walk(scope):
            if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign) and node.value is not None:
                if reads_a_clock(node.value, found):
                    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                    found.update(name for target in targets for name in names(target))
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "append"
                and any(reads_a_clock(given, found) for given in node.args)
            ):
                found.update(names(node.func.value))
        if len(found) == before:
            return found


def functions(tree: ast.AST) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def clocked_functions(tree: ast.AST) -> set[str]:
    """Functions that give what a clock says."""
    found: set[str] = set()
    while True:
        before = len(found)
        for made in functions(tree):
            known = timed(made, found)
            returned = [node.value for node in ast.walk(made) if isinstance(node, ast.Return) and node.value]
            if any(reads_a_clock(value, known) for value in returned):
                found.add(made.name)
        if len(found) == before:
            return found


def limit(compared: ast.Compare, known: set[str]) -> bool:
    """Whether times are compared with constants alone that are limits against hanging."""
    sides = [compared.left, *compared.comparators]
    plain = [side for side in sides if not reads_a_clock(side, known)]
    if len(sides) - len(plain) != 1 or not all(isinstance(side, ast.Constant) for side in plain):
        return False
    if not all(isinstance(op, ast.Lt | ast.LtE) for op in compared.ops):
        return False
    last = sides[-1]
    return isinstance(last, ast.Constant) and isinstance(last.value, int | float) and last.value >= HANGING


def has_ratio(function: ast.AST, known: set[str]) -> bool:
    """Whether one time is divided by another."""
    divided = (n for n in ast.walk(function) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Div))
    return any(reads_a_clock(n.left, known) and reads_a_clock(n.right, known) for n in divided)


def asserted(tree: ast.AST) -> list[int]:
    """The lines of assertions about times."""
    made, found = clocked_functions(tree), set()
    for function in functions(tree):
        known = timed(function, made)
        for node in ast.walk(function):
            if isinstance(node, ast.Assert) and reads_a_clock(node.test, known):
                compared = [c for c in ast.walk(node.test) if isinstance(c, ast.Compare) and reads_a_clock(c, known)]
                ratio = has_ratio(function, known)
                if not compared or ratio or not all(limit(c, known) for c in compared):
                    found.add(node.lineno)
    return sorted(found)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(TESTS).as_posix())
def test_no_test_asserts_a_time(path: Path) -> None:
    lines = asserted(ast.parse(path.read_text(encoding="utf-8")))
    assert not lines, f"{path.name}, lines {lines}: a time is asserted; record it by record_timing, or set a limit"


@pytest.mark.parametrize(
    "body",
    [
        "a = perf_counter() - t\n assert a < 0.05",
        "a = time.process_time() - t\n held = a < b\n assert held",
        "a = [time.monotonic()]\n b = a[0] / a[1]\n assert b > 1.3",
        "a = quick()\n b = a / quick()\n assert b < 2",
        "took.append(time.perf_counter() - t)\n assert min(took) < 0.1",
        "d['x'] = time.perf_counter() - t\n assert d['x'] <= 3 * d['y']",
        "assert quick() <= quick()",
        "assert time.process_time() - t < other",
    ],
)
def test_what_asserts_a_time_is_found(body: str) -> None:
    helper = "def quick():\n s = time.perf_counter()\n return time.perf_counter() - s\n"
    assert asserted(ast.parse(f"{helper}def test():\n {body}\n"))


@pytest.mark.parametrize(
    "body",
    [
        "t = time.monotonic()\n assert time.monotonic() - t < 30",
        "t = time.monotonic()\n assert 0.2 <= time.monotonic() - t < 2",
        "t = time.monotonic()\n assert rows == 3",
    ],
)
def test_limits_against_hanging_may_stay(body: str) -> None:
    assert not asserted(ast.parse(f"def test():\n {body}\n"))
