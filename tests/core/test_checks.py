"""Numbers are taken in one place: what NumPy holds counts as what it is, and a bool is no number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nearfield.core.checks import plain, real, shown, whole
from nearfield.core.errors import BadInput, BadParameter

WHOLE = (8, np.int8(8), np.uint64(8), np.array(8), np.array(8, dtype=np.int16))
NO_WHOLE = (True, np.True_, 8.0, np.float64(8), "8", None, [8], np.array([8]), np.timedelta64(8, "ns"), 10**5000, -1)
REAL = (0.5, np.float16(0.5), np.float32(0.5), np.longdouble(0.5), np.array(0.5))
NO_REAL = (True, np.False_, "0.5", None, [0.5], np.nan, np.inf, -np.inf, 10**400, 1j, np.datetime64("2020"), 2.0)


@pytest.mark.parametrize("value", WHOLE, ids=repr)
def test_whole_numbers_become_pythons_own(value: Any) -> None:
    assert type(whole("k", value)) is int
    assert whole("k", value, 8, 8) == 8


@pytest.mark.parametrize("value", NO_WHOLE, ids=lambda v: repr(v) if not isinstance(v, int) else type(v).__name__)
def test_what_is_no_whole_number_is_named_in_one_line(value: Any) -> None:
    with pytest.raises(BadInput, match=r"^k: expected a whole number from 0 to 100, got ") as raised:
        whole("k", value, 0, 100)
    assert len(str(raised.value)) < 150
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", REAL, ids=repr)
def test_real_numbers_become_pythons_own(value: Any) -> None:
    assert type(real("share", value)) is float
    assert real("share", value, least=0.5, most=0.5) == 0.5


@pytest.mark.parametrize("value", NO_REAL, ids=lambda v: type(v).__name__)
def test_what_is_no_real_number_is_named(value: Any) -> None:
    with pytest.raises(BadParameter, match=r"^share: expected a share, got "):
        real("share", value, "a share", least=0, most=1, error=BadParameter)


def test_bounds_that_are_not_allowed_themselves() -> None:
    for value in (0, 1):
        with pytest.raises(BadInput):
            real("alarm", value, above=0, below=1)


def test_times_do_not_become_numbers() -> None:
    moment = np.datetime64("2020-01-01", "ns")
    assert plain(moment) is moment


def test_long_values_are_cut() -> None:
    assert shown("x" * 500).endswith("...")
    assert shown(10**5000) == "a number of thousands of digits"
