"""Rows of which there are codes alone, under a plan that cannot turn them back into vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nearfield as nf
from collection.kit import Make
from nearfield.collection import writing
from nearfield.core.errors import BadInput, DataWarning

X = np.random.default_rng(4).normal(size=(300, 16)).astype(np.float32)
ONE_WAY, BACK = "random_projection(dim=8) | int8()", "truncate(dim=8) | int8()"


def _coded(fresh: Make, plan: str, monkeypatch: pytest.MonkeyPatch) -> nf.Collection:
    monkeypatch.setattr(writing, "DIRECT_ROWS", 100)
    c = fresh(dim=16)
    c.upsert(list(range(299)), X[:299], texts=["t"] * 299, meta=[{"n": 0}] * 299)
    c.upsert([299], [None], texts=["without a vector"], meta=[{"n": 0}])
    c.recode(plan, originals="drop")
    return c


def test_an_update_refuses_to_lose_vectors(fresh: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    c = _coded(fresh, ONE_WAY, monkeypatch)
    for change in (
        lambda: c.update(where="true", meta={"n": 1}),
        lambda: c.update([5], meta={"n": 1}),
        lambda: c.update([299, 7], meta={"n": 1}),
    ):
        with pytest.raises(BadInput, match=r"expected x=, .* would be lost; got none for [057]"):
            change()
    assert (c.count("n = 0"), len(c.search(X[5], k=300))) == (300, 299)
    assert c.update([299], meta={"n": 2}) == 1  # which has none to lose
    assert c.update([5], x=X[6:7], meta={"n": 2}) == 1
    assert 5 in c.search(X[6], k=5).ids
    c.compact()
    assert (len(c.search(X[5], k=300)), c.check()) == (299, [])


def test_a_plan_that_goes_back_keeps_them(fresh: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    c = _coded(fresh, BACK, monkeypatch)
    assert c.update(where="true", meta={"n": 1}) == 300
    assert (c.count("n = 1"), len(c.search(X[5], k=300)), c.check()) == (300, 299, [])


def test_an_export_says_what_it_leaves_out(fresh: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    c = _coded(fresh, ONE_WAY, monkeypatch)
    with pytest.warns(DataWarning, match="the vectors of 'vector' are left out: their originals were dropped"):
        assert c.export(tmp_path / "rows.jsonl") == 300
    assert c.export(tmp_path / "texts.jsonl", vectors=False) == 300
