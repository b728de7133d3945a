"""Every measure, found by itself, must keep these rules."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from conformance import kit
from nearfield.core import rooms
from nearfield.core.errors import BadInput
from nearfield.core.report import Report


@pytest.fixture(params=list(rooms.catalog("measures")))
def measure(request: pytest.FixtureRequest) -> Any:
    return rooms.load("measures", request.param)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_a_report_with_its_interval(measure: Any, metric: Any) -> None:
    found = measure(kit.rows(400, 12), metric=metric)
    assert isinstance(found, Report)
    assert found.name == measure.__name__
    assert found.low <= found.value <= found.high
    assert found.reading
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_same_for_the_same_seed_and_any_form(measure: Any) -> None:
    x = kit.rows(600, 12)
    want = measure(x, sample=200).to_dict()
    assert measure(x, sample=200).to_dict() == want
    assert measure(np.asfortranarray(x.astype(np.float64)), sample=200).to_dict() == want


def test_repeated_rows_count_once(measure: Any) -> None:
    x = kit.rows(300, 12)
    assert measure(np.concatenate([x, x[:50]])).value == measure(x).value


def test_other_lengths_do_not_count_under_cosine(measure: Any) -> None:
    x = kit.rows(300, 12)
    scale = np.exp2(np.arange(300) % 3).astype(np.float32)[:, None]
    assert measure(x * scale).value == pytest.approx(measure(x).value, rel=1e-5)


def test_odd_rows_are_refused_or_measured(measure: Any) -> None:
    bad = kit.rows(300, 12)
    bad[7, 3] = np.nan
    with pytest.raises(BadInput, match="7"):
        measure(bad)
    with pytest.raises(BadInput, match="at least"):
        measure(np.ones((50, 4), np.float32))
    with pytest.raises(BadInput, match="metric"):
        measure(kit.rows(100, 8), metric="hamming")
    grid = np.stack(np.meshgrid(np.arange(12.0), np.arange(12.0)), axis=-1).reshape(-1, 2)
    assert np.isfinite(measure(grid, metric="l2").value)  # neighbours as far as each other
    assert np.isfinite(measure(np.arange(1, 80.0)[:, None], metric="l2").value)
