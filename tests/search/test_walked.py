"""Codecs without a layout under an index: it walks float16 of their decoded rows, and those bytes are counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.codecs.int8 import Int8
from nearfield.core.arrays import ArraySource
from nearfield.search.apart import encode_apart, fit_apart, gather_codes, open_codes

PLAN = "int8() | vamana(degree=8, width=32)"


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Int8, "row_format", lambda self: None)


def rows(n: int = 700, seed: int = 3) -> Any:
    return np.random.default_rng(seed).normal(size=(n, 24)).astype(np.float32)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_float16_of_the_decoded_rows_is_walked(plain: None, metric: Any, tmp_path: Path) -> None:
    x, q = rows(), rows(20, 4)
    packed = nf.Plan(PLAN).fit(x, metric=metric)
    own = packed.fitted.codec.bytes_per_row
    assert packed.bytes_per_row == own + 2 * 24 + 4 * (metric == "l2") + 4 * 8
    assert packed.nbytes >= 700 * packed.bytes_per_row
    exact = nf.Plan("int8()").fit(x, metric=metric).search(q, k=10)
    hits = packed.search(q, k=10, budget=700)
    np.testing.assert_allclose(hits.scores, exact.scores, rtol=2e-3, atol=2e-3 * np.abs(exact.scores).max())
    walked = packed.search(q, k=10, budget=250)
    assert (walked.scored < 600).all()
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(walked.rows, exact.rows)]) > 0.7
    packed.save(tmp_path / "a.nf")
    again = nf.load(tmp_path / "a.nf")
    np.testing.assert_array_equal(again.search(q, k=10, budget=250).rows, walked.rows)
    np.testing.assert_array_equal(again.decode(), packed.decode())
    streamed = nf.Plan(PLAN).fit(x, metric=metric, out=tmp_path / "b.nf")
    np.testing.assert_array_equal(streamed.search(q, k=10, budget=250).rows, walked.rows)


def test_residuals_add_to_what_was_walked(plain: None) -> None:
    x, q = rows(), rows(20, 4)
    plan = f"{PLAN} | rescore(codec='lvq(bits=8)', depth=5, of='residual')"
    exact = nf.Plan("raw()").fit(x).search(q, k=5)
    hits = nf.Plan(plan).fit(x).search(q, k=5, budget=700)
    assert np.mean(hits.rows == exact.rows) > 0.95


def test_codes_of_several_files_are_gathered(plain: None, tmp_path: Path) -> None:
    x = rows()
    fitted = fit_apart(nf.Plan(PLAN), ArraySource(x), metric="l2", queries=None, rng=0, on_zero="raise")
    encode_apart(tmp_path / "1.nf", fitted, ArraySource(x[:300]), on_zero="raise")
    encode_apart(tmp_path / "2.nf", fitted, ArraySource(x[300:]), on_zero="raise")
    parts = [open_codes(tmp_path / "1.nf", fitted, 300), open_codes(tmp_path / "2.nf", fitted, 400)]
    gather_codes(tmp_path / "3.nf", [(parts[0], np.arange(300)), (parts[1], np.arange(0, 400, 2))])
    found = open_codes(tmp_path / "3.nf", fitted, 500).search(x[300:340:2], k=1, budget=500)
    np.testing.assert_array_equal(found.rows[:, 0], np.arange(300, 320))
