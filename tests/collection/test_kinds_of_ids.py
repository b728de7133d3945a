"""Ids are of one kind, numbers or text; a collection without rows takes either."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from collection.kit import Make
from nearfield.collection import upkeep, writing
from nearfield.core.errors import BadInput

KINDS: dict[str, Callable[[int], list[Any]]] = {
    "numbers": lambda n: list(range(n)),
    "text": lambda n: [f"s{i}" for i in range(n)],
}
X = np.random.default_rng(5).normal(size=(300, 4)).astype(np.float32)


@pytest.mark.parametrize("plan", [None, "int8()"])
@pytest.mark.parametrize("n", [3, 40, 300])
@pytest.mark.parametrize("first", list(KINDS))
def test_after_the_last_row_is_deleted(
    fresh: Make, first: str, n: int, plan: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "SEAL_ROWS", 30)
    monkeypatch.setattr(writing, "DIRECT_ROWS", 100)
    second = next(name for name in KINDS if name != first)
    c = fresh(dim=4)
    c.upsert(KINDS[first](n), X[:n])
    if plan:
        c.recode(plan)
    with pytest.raises(BadInput, match=r"ids: expected (int|str), as those that are there"):
        c.upsert(KINDS[second](3), X[:3])
    reader = nf.open(c.path, mode="r")
    assert (c.delete(where="true"), len(reader)) == (n, 0)
    for count in (3, 300):
        c.upsert(KINDS[second](count), X[:count])
        assert (len(c), len(reader), reader.ids()) == (count, count, KINDS[second](count))
        assert reader.search(X[1], k=1).ids == KINDS[second](2)[1:]
    c.compact()
    with nf.open(c.path) as again:
        assert (again.check(), again.ids()) == ([], KINDS[second](300))
    reader.close()


def test_rows_without_ids_after_named_ones(fresh: Make) -> None:
    c = fresh(dim=4)
    c.upsert(KINDS["text"](300), X)
    c.delete(where="true")
    assert c.upsert(None, X[:2]) == c.ids()
    assert (len(c), c.check()) == (2, [])


def test_rows_that_go_while_segments_are_merged(fresh: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "DIRECT_ROWS", 100)
    c = fresh(dim=4)
    c.upsert(KINDS["text"](150), X[:150])
    c.upsert([f"t{i}" for i in range(150)], X[150:])
    merged, other = upkeep._merged, nf.open(c.path)

    def meanwhile(*given: Any) -> Any:
        made = merged(*given)
        monkeypatch.setattr(upkeep, "_merged", merged)
        other.delete(where="true")
        other.upsert([1, 2], X[:2])
        return made

    monkeypatch.setattr(upkeep, "_merged", meanwhile)
    c.compact()
    assert (c.ids(), c.check()) == ([1, 2], [])
    other.close()
