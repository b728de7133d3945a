"""A disk that is full, broken or slow at any one call: a named error or success, and nothing damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from crash.conftest import THOROUGH
from crash.faults import FOREVER, Breaker, Case
from crash.host import Host
from crash.shim import Fault
from crash.targets import collection_missing

MOST = 40 * THOROUGH


@pytest.mark.parametrize("target", ["sqlite-wal-full", "plain"])
def test_sound_stores_stand_it(host: Host, scratch: Path, target: str) -> None:
    breaker = Breaker(host, target, 1, scratch)
    report = breaker.go(breaker.cases(MOST))
    assert not report.problems, str(report)
    assert report.struck > 0.7 * report.cases
    assert report.raised > 0.3 * report.cases


def test_a_file_of_segments_stands_it(host: Host, scratch: Path) -> None:
    breaker = Breaker(host, "segment", 1, scratch)
    gone = [case for case in breaker.cases() if case.kind is Fault.BROKEN and case.times > 1]
    cases = [case for case in breaker.cases(MOST) if case not in gone]
    report = breaker.go(cases)
    assert not report.problems, str(report)


def test_a_file_of_segments_stands_a_disk_that_is_gone(host: Host, scratch: Path) -> None:
    breaker = Breaker(host, "segment", 1, scratch)
    report = breaker.go([Case(Fault.BROKEN, call, FOREVER) for call in (4, 6, 8)])
    assert not report.problems, str(report)


def test_planted_faults_are_found(host: Host, scratch: Path) -> None:
    breaker = Breaker(host, "plain-in-place", 1, scratch)
    cases = [case for case in breaker.cases() if case.kind is Fault.FULL and case.times > 1][:12]
    report = breaker.go(cases)
    assert any("another process then finds" in problem for problem in report.problems), str(report)


def test_every_call_is_tried(host: Host, scratch: Path) -> None:
    breaker = Breaker(host, "plain", 1, scratch)
    cases = breaker.cases()
    full = [case.call for case in cases if case.kind is Fault.FULL and case.times == 1]
    assert full == list(range(1, len(full) + 1))
    assert len(full) > 15
    last = breaker.go([Case(Fault.BROKEN, full[-1], 1), Case(Fault.BROKEN, full[-1] + 1, 1)])
    assert last.struck == 1  # the last call is the last one


@pytest.mark.skipif(collection_missing() is not None, reason=str(collection_missing()))
def test_the_collection_stands_it(host: Host, scratch: Path) -> None:
    breaker = Breaker(host, "collection", 1, scratch)
    report = breaker.go(breaker.cases(None if THOROUGH > 10 else MOST))
    assert not report.problems, str(report)
