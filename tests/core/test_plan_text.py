"""Plan text: round trip, and errors that help."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearfield.core import plan
from nearfield.core.errors import BadParameter, BadPlan, NearfieldError, Unknown
from nearfield.core.plan import Step
from nearfield.search.plan import Plan

NAMES = st.from_regex(r"[a-z][a-z_0-9]{0,12}", fullmatch=True).filter(lambda s: s not in ("and", "or", "if", "in", "is",
    "not", "for", "def", "try", "del", "as", "from", "pass", "elif", "else", "with", "while", "class", "break", "raise",
    "yield", "async", "await", "import", "global", "lambda", "return", "assert", "except", "finally", "continue",
    "nonlocal"))  # fmt: skip
VALUES = st.one_of(
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
    st.text(max_size=20).filter(lambda s: s.isprintable()),
)
STEPS = st.builds(
    lambda name, params: Step(name, tuple(params.items())), NAMES, st.dictionaries(NAMES, VALUES, max_size=4)
)


@given(st.lists(STEPS, min_size=1, max_size=5))
def test_what_is_written_reads_back(steps: list[Step]) -> None:
    assert plan.read(plan.write(steps)) == steps


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        plan.read(text)
    except BadPlan as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "empty plan"),
        ("pca(dim=8", "cannot read the plan"),
        ("pca(8)", "name each parameter"),
        ("pca(dim=8, dim=9)", "given twice"),
        ("pca(**x)", "not part of plan text"),
        ("pca(dim=open('x'))", "expected a number"),
        ("pca(dim=[1])", "expected a number"),
        ("nf.pca(dim=8)", "expected a step"),
        ("1 + 2", "expected a step"),
        ("int8() | pca(dim=8)", "does not stand where it may"),
        ("int8() | float16()", "does not stand where it may"),
        ("rescore() | int8()", "does not stand where it may"),
        ("pca()", "'dim' must be given"),
        ("x" * 20_000, "at most 10000 characters"),
        ("(" * 3000 + ")" * 3000, "cannot read the plan"),
        ("rescore(codec='pca(dim=3)')", "expected one codec"),
    ],
)
def test_bad_plans_say_what_is_wrong(text: str, part: str) -> None:
    with pytest.raises(BadPlan, match=part.replace("(", r"\(").replace("*", r"\*")):
        Plan(text)


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(Unknown, match="did you mean 'float16'"):
        Plan("flaot16()")
    with pytest.raises(BadParameter, match="here it is dim="):
        Plan("pca(dims=8)")


@pytest.mark.parametrize(
    "text", ["pca(dim=0)", "pca(dim=1.5)", "pca(dim=True)", "pca(dim='8')", "pca(dim=8, solver='x')"]
)
def test_bad_values_name_parameter_range_and_value(text: str) -> None:
    with pytest.raises(BadParameter, match=r"pca\((dim|solver)=\) expects"):
        Plan(text)


def test_a_plan_is_its_text() -> None:
    made = Plan("pca( dim = 8 )|int8|rescore(codec='float16')")
    assert str(made) == "pca(dim=8) | int8() | rescore()"
    assert Plan(str(made)) == made
    assert hash(Plan(str(made))) == hash(made)
    assert repr(made).startswith("Plan(")


def test_every_error_is_of_the_family() -> None:
    with pytest.raises(NearfieldError):
        Plan(3)  # type: ignore[arg-type]
