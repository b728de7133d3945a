"""Makes one call of a workload fail, for each call and each fault, and looks at what the store does about it.

Each operation either succeeds or raises one of the target's own errors, in one line. After an error the same process
still reads the state before or after the operation; so does another process, from a copy of the folder as it is at
that moment; the same operation, made again once the fault is gone, succeeds; and nothing is left behind in the end::

    python tests/crash/faults.py --target sqlite-wal-full --seed 1
    python tests/crash/faults.py --target sqlite-wal-full --seed 1 --fault FULL --call 17 --times 1
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a program
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from crash import model, shim
from crash.host import Host, Stuck, Told, state_of
from crash.model import Op, State
from crash.replay import STORE, UNIVERSE, workload
from crash.shim import Fault
from crash.targets import TARGETS

COUNT = 8
KINDS = (Fault.FULL, Fault.BROKEN, Fault.SHORT, Fault.INTERRUPTED, Fault.UNREADABLE)
FOREVER = 10**9  # a disk that stays full, until the first error is told
LASTING = (Fault.FULL, Fault.BROKEN)


@dataclass(frozen=True, order=True)
class Case:
    """A fault at one call, for so many calls."""

    kind: Fault
    call: int
    times: int


@dataclass
class Report:
    """What the faults did."""

    cases: int = 0
    struck: int = 0  # cases in which a call failed
    raised: int = 0  # cases in which an operation raised
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        head = f"{self.cases} faults, {self.struck} struck, {self.raised} raised, {self.seconds:.1f} s"
        return "\n".join([head, f"problems: {len(self.problems)}", *self.problems[:8]])


class Breaker:
    """Runs one workload on a target with one fault after another."""

    def __init__(self, host: Host, target: str, seed: int, folder: Path) -> None:
        self.host, self.target, self.seed, self.folder = host, target, seed, folder
        self.ops: list[Op] = workload(seed, COUNT)
        self.states: list[State] = model.states({}, self.ops)

    def cases(self, most: int | None = None) -> list[Case]:
        """All faults at all calls that the workload makes, or so many of them drawn at random."""
        calls = {kind: self._calls(kind) for kind in (Fault.NONE, Fault.UNREADABLE)}
        out = [Case(kind, n, 1) for kind in KINDS for n in range(1, calls.get(kind, calls[Fault.NONE]) + 1)]
        out += [Case(kind, n, FOREVER) for kind in LASTING for n in range(1, calls[Fault.NONE] + 1)]
        if most is not None and most < len(out):
            out = sorted(random.Random(f"faults {self.seed}").sample(out, most))
        return out

    def _calls(self, kind: Fault) -> int:
        root = self.folder / f"count-{kind.name}"
        told = self._run(Case(kind, 0, 0), root)
        shutil.rmtree(root)
        if told.exit or "error" in told.lines[-1]:
            raise RuntimeError(f"the workload fails without a fault: {told.lines[-1:]}")
        line = told.lines[-1]
        return int(line["reads"] if kind is Fault.UNREADABLE else line["changes"])

    def _run(self, case: Case, root: Path) -> Told:
        root.mkdir(parents=True)
        fault = int(case.kind), case.call, case.times
        return self.host.run(
            "fail", target=self.target, folder=root / STORE, ops=self.ops, universe=UNIVERSE, fault=fault
        )

    def go(self, cases: list[Case]) -> Report:
        """Try each case."""
        began = time.monotonic()
        report = Report()
        for case in cases:
            report.cases += 1
            report.problems += [f"{said}\n    {self.again(case)}" for said in self._try(case, report)]
        report.seconds = time.monotonic() - began
        return report

    def again(self, case: Case) -> str:
        """The command that repeats a case."""
        return (
            f"python tests/crash/faults.py --target {self.target} --seed {self.seed} --fault {case.kind.name} "
            f"--call {case.call} --times {case.times}"
        )

    def _try(self, case: Case, report: Report) -> Iterator[str]:
        root = self.folder / f"{case.kind.name}-{case.call}-{case.times}"
        try:
            told = self._run(case, root)
            if told.exit or not told.lines or "raised" in told.lines[-1]:
                yield f"the process ended with {told.exit}: {told.lines[-1:]}"
                return
            failed = [line for line in told.lines if "failed" in line]
            report.raised += bool(failed)
            report.struck += told.lines[-1]["struck"] > 0 or bool(failed)
            for line in failed:
                yield from self._after_error(line)
            yield from _unlike("in the end", told.lines[-1], [self.states[-1]])
        except Stuck as error:
            yield str(error)
        finally:
            shutil.rmtree(root, ignore_errors=True)

    def _after_error(self, line: dict[str, Any]) -> Iterator[str]:
        where = f"{line['kind']} in {line['failed']} ({line['said'][:200]!r})"
        if not line["expected"]:
            yield f"{where}: not an error that a user should see"
        if "\n" in line["said"] or not line["said"]:
            yield f"{where}: an error is told in one line"
        number = {"open": -1, "close": len(self.ops)}.get(line["failed"])
        number = int(line["failed"]) if number is None else number
        legal = self.states[max(0, number) : max(0, number) + 2]
        if "rows" in line and self.ops[number].do != "reopen":
            here = {"rows": line["rows"]} if isinstance(line["rows"], list) else {"step": "read", "error": line["rows"]}
            yield from _unlike(f"{where}: the same process then reads", here, legal)
        if Path(line["copy"]).exists() or number >= 0:
            found = self.host.run("inspect", target=self.target, folder=line["copy"], universe=UNIVERSE)
            lines = found.lines or [{"step": "open", "error": f"ended with {found.exit}"}]
            yield from _unlike(f"{where}: another process then finds", lines[-1], legal)


def _unlike(where: str, found: dict[str, Any], legal: list[State]) -> Iterator[str]:
    if "error" in found:
        yield f"{where}: {found['step']}: {found['error']}"
    elif state_of(found["rows"]) not in legal:
        yield f"{where}: {model.difference(state_of(found['rows']), legal[-1])}"


def main() -> int:
    """Try all faults, or one; the exit status tells whether there were problems."""
    parser = argparse.ArgumentParser(description="Make each call of a workload fail in turn.")
    parser.add_argument("--target", default="collection", choices=sorted(TARGETS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most", type=int, help="try so many faults only")
    parser.add_argument("--fault", choices=[kind.name for kind in KINDS])
    parser.add_argument("--call", type=int, default=1)
    parser.add_argument("--times", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as made, Host(shim.build(Path(made))) as host:
        breaker = Breaker(host, args.target, args.seed, Path(made))
        one = [Case(Fault[args.fault], args.call, args.times)] if args.fault else None
        report = breaker.go(one or breaker.cases(args.most))
    sys.stdout.write(f"{args.target}, seed {args.seed}: {report}\n")
    return bool(report.problems)


if __name__ == "__main__":
    sys.exit(main())
