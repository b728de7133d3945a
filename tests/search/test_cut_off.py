"""Ctrl-C at any line of a change: it has happened or it has not, and changes, searches and files go on from there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.core.errors import BadInput

ROOMS = tuple(os.path.join("nearfield", room) + os.sep for room in ("search", "numerics", "core"))
D, N = 16, 600
NEW = np.random.default_rng(1).normal(size=(400, D)).astype(np.float32)
PLANS = ["float16() | vamana(degree=8, width=32)", "lvq(bits=4) | ivf(lists=8) | rescore(codec='float16')", "int8()"]
Change = Callable[[nf.Packed], Any]
CHANGES: dict[str, Change] = {
    "add one": lambda p: p.add(NEW[:1], ids=[1000]),
    "add many": lambda p: p.add(NEW[:300], ids=range(1000, 1300)),
    "upsert": lambda p: p.upsert(NEW[:30], ids=range(200, 230)),
    "delete": lambda p: p.delete(ids=range(200, 300)),
    "consolidate": lambda p: p.consolidate(),
    "compact": lambda p: p.compact(),
}


class Interrupt:
    """Raises as the ``at``-th line of the package begins; counts lines."""

    def __init__(self, at: int = -1) -> None:
        self.at, self.lines = at, 0

    def __enter__(self) -> Interrupt:
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, event: str, _: Any) -> Any:
        return self._line if any(room in frame.f_code.co_filename for room in ROOMS) else None

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            self.lines += 1
            if self.lines == self.at:
                sys.settrace(None)
                raise KeyboardInterrupt
        return self._line


def made(plan: str) -> nf.Packed:
    x = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
    packed = nf.Plan(plan).fit(x, ids=list(range(N)))
    packed.background = False
    packed.add(NEW[350:360], ids=range(2000, 2010))
    packed.delete(ids=range(40))
    return packed


def vectors(packed: nf.Packed) -> dict[int, np.ndarray]:
    """What lives, by id."""
    names = packed.ids
    assert names is not None
    living = np.setdiff1d(np.arange(packed.span), packed.fitted.gone)
    return {names[int(row)]: vector for row, vector in zip(living, packed.decode(living))}


def sound(packed: nf.Packed, want: dict[int, np.ndarray]) -> None:
    """Those that live, and no others, are found where they are looked for."""
    there = vectors(packed)
    assert there.keys() == want.keys()
    assert len(packed) == len(there)
    hits = packed.search(np.stack(list(there.values())), k=1, budget=400)
    assert not np.isin(hits.rows, packed.fitted.gone).any()
    found = [packed.ids[int(row)] for row in hits.rows[:, 0]]  # type: ignore[index]
    assert np.mean([a == b for a, b in zip(found, there)]) > 0.97


@pytest.mark.parametrize("name", [*CHANGES, "save"])
@pytest.mark.parametrize("plan", PLANS)
def test_a_change_that_is_cut_off_anywhere(plan: str, name: str, tmp_path: Path) -> None:
    change: Change = CHANGES.get(name, lambda packed: packed.save(tmp_path / "cut.nf"))
    packed = made(plan)
    before = vectors(packed)
    with Interrupt() as counting:
        change(packed)
    after = vectors(packed)
    rng = np.random.default_rng(2)
    for at in rng.integers(1, counting.lines, 8).tolist():
        packed = made(plan)
        with Interrupt(at), pytest.raises(KeyboardInterrupt):
            change(packed)
        now = vectors(packed)
        assert now.keys() in (before.keys(), after.keys())
        sound(packed, now)
        packed.save(tmp_path / "saved.nf")
        sound(nf.load(tmp_path / "saved.nf"), now)
        packed.add(NEW[360:380], ids=range(3000, 3020))
        packed.delete(ids=[40, *range(2000, 2005)])
        packed.consolidate()
        now |= dict.fromkeys(range(3000, 3020), NEW[0])
        sound(packed, {name: x for name, x in now.items() if name not in (40, *range(2000, 2005))})
        packed.compact()
        assert packed.span == len(packed)


def test_what_is_refused_costs_nothing() -> None:
    packed = made(PLANS[0])
    held = packed._held
    with pytest.raises(BadInput):
        packed.add(NEW[:1], ids=[100])
    assert packed._held is held
