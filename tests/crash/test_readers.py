"""Readers beside a writer that is killed: each sees a state that was, never an older one than before."""

from __future__ import annotations

from pathlib import Path

import pytest

from crash import model
from crash.conftest import THOROUGH
from crash.host import Host, state_of
from crash.model import Op, State
from crash.shim import Fault
from crash.targets import collection_missing

UNIVERSE = 400
TARGETS = [
    "sqlite-wal-full",
    pytest.param(
        "collection",
        marks=pytest.mark.skipif(collection_missing() is not None, reason=str(collection_missing())),
    ),
]


def operations(seed: int) -> tuple[list[Op], list[Op]]:
    """Some rows to begin with; then changes, each followed by a compaction."""
    first = [Op("upsert", list(range(UNIVERSE // 2)), 1)]
    changes = model.workload(seed, 12, model.states({}, first)[-1], largest=100, universe=UNIVERSE, first=2)
    return first, [op for change in changes if change.do not in ("compact", "reopen") for op in (change, Op("compact"))]


def in_order(seen: list[State], states: list[State]) -> bool:
    """Whether each state is one of the history, and none is older than the one before."""
    at = 0
    for state in seen:
        while at < len(states) and states[at] != state:
            at += 1
        if at == len(states):
            return False
    return True


@pytest.mark.parametrize("seed", range(1, 1 + 3 * min(THOROUGH, 20)))
@pytest.mark.parametrize("target", TARGETS)
def test_readers_see_what_was(host: Host, reader: Host, scratch: Path, target: str, seed: int) -> None:
    first, changes = operations(seed)
    common = {"target": target, "folder": scratch / "store", "universe": UNIVERSE}
    assert host.run("run", ops=first, **common).exit == 0
    states = model.states({}, first + changes)
    reader.start("watch", **common)
    try:
        seen = _read(reader, 2)
        told = host.run("run", ops=changes, fault=(int(Fault.KILL), 30 + 60 * seed, 1), **common)
        assert told.exit == -9, "the writer came to its end: choose an earlier call"
        seen += _read(reader, 3)
        last = host.run("inspect", probe=False, **common).lines[-1]
        assert "rows" in last, last
    finally:
        reader.send("stop")
        rest = reader.finish()
    assert not rest.all("error"), rest.all("error")
    seen += [state_of(rows) for rows in rest.all("rows")]
    done = states[1 + told.acknowledged() : 2 + told.begun()]
    assert state_of(last["rows"]) in done
    assert in_order(seen, states[1:]), f"seed {seed}: {[model.difference(s, states[-1]) for s in seen[-2:]]}"
    assert seen[0] == states[1]


def _read(reader: Host, count: int) -> list[State]:
    out: list[State] = []
    while len(out) < count:
        line = reader.next()
        assert line is not None, "the reader stands still"
        assert "error" not in line, line
        if "rows" in line:
            out.append(state_of(line["rows"]))
    return out
