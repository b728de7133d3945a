"""Any metadata comes back as it went in, through columns, text, merging and JSON, types and order included."""

from __future__ import annotations

import json
from datetime import UTC, timedelta, timezone
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearfield.core.errors import BadInput
from nearfield.store.metadata import Metadata, check_metadata, decode_metadata, encode_metadata

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(["de", "fr", "", "é", "\0"])
ZONES = st.integers(-86_399_999_999, 86_399_999_999).map(lambda us: timezone(timedelta(microseconds=us)))
ZONES = ZONES | st.sampled_from([UTC, timezone(timedelta(hours=2))])
INTS = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)
SCALARS = [
    st.booleans(), INTS, st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([0.5, -0.0, 1.0, 12.25]),
    TEXT, st.dates(), st.datetimes(), st.datetimes(timezones=ZONES),
]  # fmt: skip
LEAVES = st.one_of(st.none(), *SCALARS, *(st.lists(s, max_size=4) for s in SCALARS))
KEYS = st.sampled_from(["a", "b", "c", "a.b", "", "é", "}", "{", "int"]) | TEXT.filter(lambda k: not k.startswith("$"))
JSON = st.recursive(
    st.one_of(st.none(), *SCALARS), lambda s: st.lists(s, max_size=3) | st.dictionaries(KEYS, s, max_size=2)
)
ROWS = st.dictionaries(
    KEYS,
    st.recursive(LEAVES | st.lists(JSON, max_size=3), lambda s: st.dictionaries(KEYS, s, max_size=3), max_leaves=6),
)
SETTINGS = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def checkable(row: dict[str, Any]) -> bool:
    try:
        check_metadata(row, "row")
    except BadInput as error:
        assert "one value a path" in str(error) or "begins with" in str(error)
        return False
    return True


TABLES = st.lists(ROWS.filter(checkable), max_size=8).flatmap(
    # some rows often, so that templates and columns have several
    lambda rows: st.lists(st.sampled_from(rows), max_size=20) if rows else st.just([])
)


def told(rows: list[dict[str, Any]]) -> str:
    """Types, order of keys, signs of zeros and offsets, all of which ``==`` overlooks."""
    return repr(rows)


@SETTINGS
@given(ROWS.filter(checkable))
def test_text_returns_what_was_checked(row: dict[str, Any]) -> None:
    kept = check_metadata(row, "row")
    assert kept == row
    assert told([check_metadata(kept, "row")]) == told([kept])
    assert told([decode_metadata(encode_metadata(kept))]) == told([kept])


@SETTINGS
@given(TABLES, st.data())
def test_columns_return_rows(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    kept = [check_metadata(row, "row") for row in rows]
    m = Metadata.build(rows)
    again = Metadata.restore(m.n, json.loads(json.dumps(m.description())), m.columns().__getitem__)
    for it in (m, again):
        assert told([it.row(i) for i in range(len(rows))]) == told(kept)
        many = list(range(len(rows))) * 5  # the way of many rows
        assert told(it.rows(many)) == told([kept[i] for i in many])
    assert again.description() == m.description()
    cut = data.draw(st.integers(0, len(rows)))
    parts = [(Metadata.build(rows[:cut]), list(range(cut))), (again, list(range(len(rows)))[::2])]
    merged, built = Metadata.merge(parts), Metadata.build(rows[:cut] + rows[::2])
    assert told(merged.rows(range(merged.n))) == told(kept[:cut] + kept[::2])
    assert merged.description() == built.description()
    for name, array in built.columns().items():
        np.testing.assert_array_equal(merged.columns()[name], array)
