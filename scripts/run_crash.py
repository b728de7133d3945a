"""Runs the crash suites in full and keeps their counts: python scripts/run_crash.py [--kills 1000] [--seed 1]

Kills at random moments and calls; every call of a workload failing in turn, with no space, an error, a short write or
a lost sync; and every prefix of what was written, with what a power cut may leave of it. All of it with a folder that
stays where it is, and with one that is reached by a link, moved and followed while it is open. At last a model: random
sequences of what can be done with a folder and to it, beside a dictionary that must say the same.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bench.results import Keeper  # noqa: E402

from crash import faults, replay, shim  # noqa: E402
from crash.host import Host  # noqa: E402
from crash.kill import Killer  # noqa: E402

TARGETS = ("collection", "collection-moved")
Counts = tuple[dict[str, object], list[object]]


def main() -> int:
    """Run and keep; the exit status tells whether there were problems, which are told."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most", type=int, help="so many faults and states only")
    parser.add_argument("--sequences", type=int, default=300, help="of the model")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    given = parser.parse_args()
    problems: list[object] = []
    with tempfile.TemporaryDirectory() as made, Keeper(given.out, "crash", 1) as keeper:
        scratch = Path(made)
        with Host(shim.build(scratch)) as host:
            for name, run in (("kills", _kills), ("faults", _faults), ("replay", _replay)):
                for target in TARGETS:
                    row, found = run(host, target, given, scratch / f"{name}-{target}")
                    told = {"part": name, "target": target, "problems": len(found), **row}
                    keeper.keep(told, f"{name} of {target}: {len(found)} problems; {row}")
                    problems += found
        row, found = _model(given.sequences)
        keeper.keep({"part": "model", "problems": len(found), **row}, f"model: {len(found)} problems; {row}")
        problems += found
    for problem in problems[:20]:
        print(problem, file=sys.stderr)
    return bool(problems)


def _kills(host: Host, target: str, given: argparse.Namespace, folder: Path) -> Counts:
    folder.mkdir()
    summary = asdict(Killer(host, target, given.seed, folder).go(given.kills // len(TARGETS), None))
    found = summary.pop("problems")
    return summary, found


def _faults(host: Host, target: str, given: argparse.Namespace, folder: Path) -> Counts:
    folder.mkdir()
    breaker = faults.Breaker(host, target, given.seed, folder)
    report = breaker.go(breaker.cases(given.most))
    return {
        "cases": report.cases,
        "struck": report.struck,
        "raised": report.raised,
        "s": report.seconds,
    }, report.problems


def _replay(host: Host, target: str, given: argparse.Namespace, folder: Path) -> Counts:
    folder.mkdir()
    report = replay.check(host, replay.record(host, target, given.seed, folder), folder, most=given.most)
    counts = {"events": report.events, "crashes": report.crashes, "states": report.opened, "s": report.seconds}
    return counts, report.problems


def _model(sequences: int) -> Counts:
    """The rules of ``tests/properties/test_collection.py``, counted."""
    from hypothesis import seed, settings
    from hypothesis.stateful import invariant, run_state_machine_as_test

    from properties.test_collection import Rows, TestRows

    counted = {"sequences": 0, "steps": 0}

    class Counted(Rows):
        def __init__(self) -> None:
            super().__init__()
            counted["sequences"] += 1

        @invariant()
        def count(self) -> None:
            counted["steps"] += 1

    how = settings(TestRows.settings, max_examples=sequences, stateful_step_count=50, derandomize=False, database=None)
    start = time.perf_counter()
    try:
        run_state_machine_as_test(seed(1)(Counted), settings=how)
        found: list[object] = []
    except Exception as error:
        found = [f"model: {type(error).__name__}: {error}"]
    row = {**counted, "s": round(time.perf_counter() - start, 1)}
    machine = Counted()
    row["rules"] = len(machine.rules)
    machine.teardown()
    return row, found


if __name__ == "__main__":
    sys.exit(main())
