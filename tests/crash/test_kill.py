"""SIGKILL at any moment and at any call: nothing that was acknowledged is lost, nothing is torn."""

from __future__ import annotations

from pathlib import Path

import pytest

from crash.conftest import THOROUGH
from crash.host import Host, Told
from crash.kill import Killer
from crash.targets import collection_missing


@pytest.mark.parametrize("target", ["sqlite-wal-full", "segment"])
def test_sound_stores_survive(host: Host, scratch: Path, target: str) -> None:
    summary = Killer(host, target, 1, scratch).go(5 * THOROUGH)
    assert not summary.problems, "\n".join(summary.problems)
    assert summary.kills == 5 * THOROUGH
    assert summary.rows_acknowledged > 0


@pytest.mark.parametrize(
    ("target", "kind"), [("sqlite-early-ack", "lost"), ("sqlite-row-by-row", "torn"), ("plain-in-place", "repairs")]
)
def test_planted_faults_are_found(host: Host, scratch: Path, target: str, kind: str) -> None:
    killer = Killer(host, target, 2, scratch)
    for _ in range(12):
        summary = killer.go(killer.summary.kills + 3)
        if summary.problems:
            break
    assert getattr(summary, kind) > 0, str(summary)


def test_a_kill_is_where_it_was_asked_for(host: Host, scratch: Path) -> None:
    """By the number of the call, the same workload dies at the same place each time."""

    def died(call: int, folder: str) -> Told:
        ops = Killer(host, "segment", 3, scratch).first_ops()
        (scratch / folder).mkdir()
        return host.run(
            "run", target="segment", folder=scratch / folder / "s", universe=6000, ops=ops, fault=(1, call, 1)
        )

    first, again, later = died(20, "a"), died(20, "b"), died(40, "c")
    assert first.exit == again.exit == later.exit == -9
    assert first.lines == again.lines
    assert later.acknowledged() > first.acknowledged()


@pytest.mark.skipif(collection_missing() is not None, reason=str(collection_missing()))
@pytest.mark.parametrize("target", ["collection", "collection-graph", "collection-moved"])
def test_the_collection_survives(host: Host, scratch: Path, target: str) -> None:
    kills = 20 * THOROUGH
    summary = Killer(host, target, 1, scratch).go(kills)
    assert not summary.problems, "\n".join(summary.problems)
    assert summary.kills == kills
