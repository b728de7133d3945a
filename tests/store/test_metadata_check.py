"""What may stand in a row's metadata, and its text: lossless, or refused in one line that names the path."""

from __future__ import annotations

import enum
import math
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from nearfield.core.errors import BadInput, Corrupt
from nearfield.store.metadata import Metadata, check_metadata, decode_metadata, encode_metadata


class Color(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Plain(enum.Enum):
    A = 1


class Name(str):
    pass


CYCLE: dict = {}
CYCLE["a"] = CYCLE
DEEP: dict = {}
inner = DEEP
for _ in range(100_000):
    inner["a"] = inner = {}

KEPT = [
    ({"a": np.int16(3), "b": np.float32(0.5)}, {"a": 3, "b": 0.5}),
    ({"a": np.float32(0.1), "b": np.longdouble(2)}, {"a": 0.10000000149011612, "b": 2.0}),
    ({"c": np.bool_(True), "d": np.str_("x")}, {"c": True, "d": "x"}),
    ({"a": Color.RED, "b": Level.LOW, Name("c"): Name("x")}, {"a": "red", "b": 1, "c": "x"}),
    ({"a": (1, 2), "b": ((1,), ())}, {"a": [1, 2], "b": [[1], []]}),
    ({"a": {}, "b": [], "c": None, "d": {"e": {}}}, {"a": {}, "b": [], "c": None, "d": {"e": {}}}),
    ({"a": -(2**63), "b": 2**63 - 1, "c": -0.0}, {"a": -(2**63), "b": 2**63 - 1, "c": -0.0}),
    ({"a": np.datetime64("2020-01-02")}, {"a": date(2020, 1, 2)}),
    ({"a": np.datetime64("2020-01-02T03:04:05.678901")}, {"a": datetime(2020, 1, 2, 3, 4, 5, 678901)}),
    ({"a": np.datetime64("2020-01-02T03:04:05.000001000", "ns")}, {"a": datetime(2020, 1, 2, 3, 4, 5, 1)}),
    ({"a": [{"b": 1}, "x", [date(2020, 1, 1)], None]}, {"a": [{"b": 1}, "x", [date(2020, 1, 1)], None]}),
    ({"a\n": "\0", "": "é\U0001f600"}, {"a\n": "\0", "": "é\U0001f600"}),
    (None, {}),
]  # fmt: skip
REFUSED = [
    ({"a": {"b": math.nan}}, "'a.b'.*finite number, got nan.*use None for a missing value"),
    ({"a": math.inf}, "'a'.*finite"),
    ({"a": [1.0, math.nan]}, "'a'.*finite"),
    ({"a": np.float64("nan")}, "'a'.*finite"),
    ({"a": 2**63}, "'a'.*64 bits, got 9223372036854775808"),
    ({"a": -(2**63) - 1}, "'a'.*64 bits"),
    ({"a": [{"b": 2**63}]}, "64 bits"),
    ({"a": np.uint64(2**63)}, "64 bits"),
    ({"a": 10**5000}, "64 bits, got an int of"),
    ({"a": b"x"}, "'a'.*got bytes"),
    ({"a": {1}}, "'a'.*got set"),
    ({"a": object()}, "'a'.*got object"),
    ({"a": Plain.A}, "'a'.*got Plain"),
    ({"a": 1j}, "'a'.*got complex"),
    ({"a": np.arange(3)}, "ndarray.*tolist"),
    ({"a": timedelta(1)}, "timedelta"),
    ({"a": np.timedelta64(1, "s")}, "duration"),
    ({"a": np.datetime64("NaT")}, "NaT"),
    ({"a": np.datetime64("2020-01-01T00:00:00.000000001", "ns")}, "microseconds"),
    ({"a": np.datetime64(10**15, "s")}, "microseconds"),
    ({"a": np.longdouble(1) / 3}, "float of 64 bits"),
    ({"a": "\ud800"}, "'a'.*lone surrogate"),
    ({"a": ["x", "\udfff"]}, "lone surrogate"),
    ({"\ud800": 1}, "lone surrogate"),
    ({1: 2}, "keys of type str, got int 1"),
    ({"a": {None: 2}}, "'a'.*NoneType"),
    ({"$a": 1}, "begins with '\\$'"),
    ({"a": [{"$time": "x"}]}, "begins with '\\$'"),
    ({"a.b": 1, "a": {"b": 2}}, "'a.b'.*one value a path"),
    ({"a.b": None, "a": {"b": {}}}, "'a.b'.*one value a path"),
    ({"a": {"b.c": 1}, "a.b": {"c": 1}}, "'a.b.c'.*one value a path"),
    (CYCLE, "32 levels"),
    (DEEP, "32 levels"),
    ({str(i): i for i in range(10_001)}, "at most 10000 values"),
    ({"a": "x" * (16 << 20)}, "at most 16 MiB"),
    ({"a": [0] * ((16 << 20) // 8)}, "at most 16 MiB"),
    ([1], "expected a dict, got list"),
    ("x", "expected a dict, got str"),
]


@pytest.mark.parametrize(("given", "kept"), KEPT)
def test_what_is_kept_is_kept_as_plain_values(given, kept):
    for out in (check_metadata(given, "row 0"), Metadata.build([given]).row(0), decode_metadata(encode_metadata(kept))):
        assert repr(out) == repr(kept)
        assert out is not given


@pytest.mark.parametrize(("given", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_would_not_come_back_is_refused_by_its_path(given, message):
    """Case 23 of bad input: NaN, 2**63, dates with zones, mixed types, deep nesting, bytes."""
    with pytest.raises(BadInput, match=message) as caught:
        check_metadata(given, "row 7")
    assert str(caught.value).startswith("row 7: metadata")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    with pytest.raises(BadInput, match=message) as caught:
        Metadata.build([{"z": 1}, given])
    assert str(caught.value).startswith("row 1: metadata")


@pytest.mark.parametrize("column", [[2**63], [1.0, math.nan], ["\ud800"], [["a"], ["\ud800"]], [[1], [2**70]]])
def test_a_bad_value_among_rows_like_the_others_is_named_by_its_row(column):
    rows = [{"a": value} for value in column]
    good = {int: 1, float: 1.0, str: "x"}[type(column[-1][0] if isinstance(column[-1], list) else column[-1])]
    rows = [{"a": [good] if isinstance(column[-1], list) else good}] * 5 + rows
    with pytest.raises(BadInput, match=f"^row {len(rows) - 1}: metadata 'a'"):
        Metadata.build(rows)


def test_str_subclasses_become_str_even_where_the_key_was_seen_before():
    for row in ({"a": 1}, {Name("a"): 1}):
        assert [type(k) for k in check_metadata(row, "x")] == [str]
    assert [type(k) for k in Metadata.build([{"a": 1}, {Name("a"): 1}]).row(1)] == [str]


@pytest.mark.parametrize(
    "zone", [ZoneInfo("Europe/Berlin"), UTC, timezone(-timedelta(hours=5, minutes=30, microseconds=7))]
)
@pytest.mark.parametrize("day", [(1, 1, 2), (2026, 7, 1), (9999, 12, 30)])
def test_a_time_with_a_zone_keeps_instant_and_offset(zone, day):
    given = datetime(*day, 12, 30, 15, 999_999, tzinfo=zone)
    for out in (check_metadata({"a": given}, "row 0")["a"], Metadata.build([{"a": given}]).row(0)["a"]):
        assert out == given
        assert out.utcoffset() == given.utcoffset()
        assert isinstance(out.tzinfo, timezone)
        assert decode_metadata(encode_metadata({"a": out})) == {"a": out}


def test_the_limits_are_reached_before_they_are_passed():
    check_metadata({str(i): i for i in range(10_000)}, "row 0")
    check_metadata({"a": "x" * ((16 << 20) - 1)}, "row 0")
    deep: dict = {"a": 1}
    for _ in range(31):
        deep = {"a": deep}
    assert Metadata.build([deep]).row(0) == deep == decode_metadata(encode_metadata(deep))


@pytest.mark.parametrize(
    "text",
    [
        "", "[1]", "null", "{", "{]", "1", '"a"',
        '{"a":NaN}', '{"a":-Infinity}', '{"a":1e999}', '{"a":9223372036854775808}',
        '{"$x":1}', '{"a":{"$time":1}}', '{"a":{"$time":"x"}}', '{"a":{"$date":"2020-13-01"}}', '{"a":{"$date":[]}}',
        '{"a":{"$time":"2020-01-01T00:00:00","b":1}}', '{"a":"\\ud800"}', '{"a.b":1,"a":{"b":1}}', "[" * 100_000,
        '{"a":' * 100_000, '{"a":' + "9" * 5000 + "}", b"\xff\xfe{", b'{"a":"\xff"}', '{"$time":"2020-01-01"}',
    ],
)  # fmt: skip
def test_text_that_nobody_wrote_is_corrupt(text):
    with pytest.raises(Corrupt) as caught:
        decode_metadata(text)
    assert "\n" not in str(caught.value)
