"""What every crash leaves is a state that may be; and planted faults are found, each for what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from crash import replay
from crash.conftest import THOROUGH
from crash.host import Host
from crash.targets import collection_missing

MOST = 120 * THOROUGH  # crashes a target and seed


@pytest.mark.parametrize("seed", range(1, 1 + min(THOROUGH, 20)))
@pytest.mark.parametrize("target", ["sqlite-wal-full", "sqlite-wal-normal", "sqlite-delete-extra", "segment", "plain"])
def test_sound_stores_pass(host: Host, tmp_path: Path, scratch: Path, target: str, seed: int) -> None:
    recording = replay.record(host, target, seed, tmp_path)
    report = replay.check(host, recording, scratch, most=MOST)
    assert not report.problems, str(report)
    assert report.opened > 10


@pytest.mark.parametrize(
    ("target", "kinds"),
    [
        # SQLite documents that these two may lose what was committed, and that they damage nothing.
        ("sqlite-wal-normal-called-durable", {"lost"}),
        ("sqlite-delete-full", {"lost"}),
        ("sqlite-delete-off", {"lost", "open", "read", "check", "torn"}),
        ("sqlite-row-by-row", {"torn", "early"}),
        ("sqlite-early-ack", {"lost"}),
        ("plain-no-sync", {"open", "lost"}),
        ("plain-no-folder-sync", {"lost"}),
        ("plain-in-place", {"open", "lost"}),
    ],
)
def test_planted_faults_are_found(host: Host, tmp_path: Path, scratch: Path, target: str, kinds: set[str]) -> None:
    recording = replay.record(host, target, 1, tmp_path)
    report = replay.check(host, recording, scratch, most=300, stop_after=8)
    assert report.problems, "the harness found nothing"
    assert set(report.kinds()) <= kinds, str(report)


def test_a_problem_can_be_repeated(host: Host, tmp_path: Path, scratch: Path) -> None:
    """From what its message says: log, seed, prefix and variant."""
    recording = replay.record(host, "sqlite-delete-full", 5, tmp_path)
    problem = replay.check(host, recording, scratch, most=200, stop_after=1).problems[0]
    assert f"--log {recording.log} --prefix {problem.crash.prefix} --variant {problem.crash.variant}" in problem.again
    again = replay.load("sqlite-delete-full", 5, recording.log, replay.workload(5))
    crash = next(replay.crashes(again, {(problem.crash.prefix, problem.crash.variant)}))
    assert crash == problem.crash
    found = replay.look(host, again.target, crash.tree, scratch / "again")
    assert replay.judge(again, crash, found) == problem


@pytest.mark.skipif(collection_missing() is not None, reason=str(collection_missing()))
@pytest.mark.parametrize("seed", range(1, 1 + min(THOROUGH, 20)))
@pytest.mark.parametrize("target", ["collection", "collection-relaxed", "collection-graph", "collection-moved"])
def test_the_collection(host: Host, tmp_path: Path, scratch: Path, target: str, seed: int) -> None:
    recording = replay.record(host, target, seed, tmp_path)
    report = replay.check(host, recording, scratch, most=None if THOROUGH > 10 else MOST)
    assert not report.problems, str(report)
