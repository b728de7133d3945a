"""Kills a writer again and again, at a random moment or at a random call, and looks at what is left.

A child opens the store and does random operations (batches of 1 to 5,000 rows, updates, deletes, compaction,
reopening); the parent notes what was acknowledged. After the kill a fresh process opens the folder, reads all, checks
it and writes to it: the state has to be that after all acknowledged operations, with or without the one that was under
way. Most rounds go on with the same folder, every fifth begins a new one::

    python tests/crash/kill.py --kills 1000 --seed 1

prints a summary as JSON; a problem is told on stderr with its seed and round, and its folder is kept.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

if __package__ in (None, ""):  # run as a program
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from crash import model, shim
from crash.host import Host, Told, state_of
from crash.model import Op, State
from crash.targets import TARGETS

COUNT, LARGEST, UNIVERSE = 30, 5000, 6000


@dataclass
class Summary:
    """What so many kills have done."""

    target: str
    seed: int
    kills: int = 0
    kills_by_time: int = 0
    kills_by_call: int = 0
    kills_while_opening: int = 0
    operations_acknowledged: int = 0
    rows_acknowledged: int = 0
    rows_in_the_end: int = 0
    lost: int = 0  # kills after which an acknowledged operation was missing
    torn: int = 0  # kills after which an operation was there by half
    repairs: int = 0  # kills after which the store did not open, read, check or write by itself
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


@dataclass
class Place:
    """A folder that is killed in, the state that it is in, and the next version to write."""

    folder: Path
    state: State = field(default_factory=dict)
    version: int = 1


class Killer:
    """Rounds of work and kill on one target."""

    def __init__(self, host: Host, target: str, seed: int, folder: Path) -> None:
        self.host, self.folder = host, folder
        self.summary = Summary(target, seed)
        self.seconds, self.calls = 0.5, 400.0  # what a run takes that is not killed: kills are spread over it
        self.rounds = 0
        self.old = self._new()

    def _new(self) -> Place:
        self.rounds += 1
        return Place(self.folder / f"folder-{self.rounds}")

    def go(self, kills: int, seconds: float | None = None) -> Summary:
        """Work and kill until so many are killed, or the time is over."""
        began = time.monotonic()
        while self.summary.kills < kills and (seconds is None or time.monotonic() - began < seconds):
            self.rounds += 1
            fresh = self.rounds % 5 == 0
            place = self._new() if fresh else self.old
            good = self._round(place)
            if fresh and good:
                shutil.rmtree(place.folder, ignore_errors=True)
            elif not good:
                self.old = self._new() if place is self.old else self.old
        self.summary.rows_in_the_end = len(self.old.state)
        self.summary.seconds = round(time.monotonic() - began, 1)
        return self.summary

    def _round(self, place: Place) -> bool:
        chance = random.Random(f"kill {self.summary.seed} {self.rounds}")
        ops = self._ops(place)
        place.version += COUNT
        told = self._work(place, ops, chance)
        if told.exit not in (0, -9):
            return self._problem(place, "repairs", f"the writer ended with {told.exit}: {told.lines[-1:]}")
        self._count(told, ops)
        return self._judge(place, told, ops)

    def _ops(self, place: Place) -> list[Op]:
        name = f"{self.summary.seed} {self.rounds}"
        return model.workload(name, COUNT, place.state, largest=LARGEST, universe=UNIVERSE, first=place.version)

    def first_ops(self) -> list[Op]:
        """The operations of a first round."""
        return self._ops(self.old)

    def _work(self, place: Place, ops: list[Op], chance: random.Random) -> Told:
        fault, kill_after = (0, 0, 0), None
        if chance.random() < 0.5:
            kill_after = chance.uniform(0, self.seconds)
        else:
            kind = chance.choice([shim.Fault.KILL, shim.Fault.KILL_HALF])
            last = 25 if chance.random() < 0.25 else round(self.calls)  # opening has few calls: not to be missed
            fault = int(kind), chance.randint(1, max(1, last)), 1
        began = time.monotonic()
        told = self.host.run(
            "run",
            target=self.summary.target,
            folder=place.folder,
            universe=UNIVERSE,
            ops=ops,
            fault=fault,
            kill_after=kill_after,
        )
        if told.exit == 0:  # it was through before: the moments are drawn from what a run really takes
            self.seconds = 0.5 * self.seconds + 0.5 * (time.monotonic() - began)
            self.calls = 0.5 * self.calls + 0.5 * told.all("changes")[-1]
        elif told.exit == -9:
            self.summary.kills_by_time += kill_after is not None
            self.summary.kills_by_call += kill_after is None
        return told

    def _count(self, told: Told, ops: list[Op]) -> None:
        self.summary.kills += told.exit == -9
        self.summary.kills_while_opening += told.exit == -9 and "open" not in told.all("ack")
        done = ops[: told.acknowledged()]
        self.summary.operations_acknowledged += len(done)
        self.summary.rows_acknowledged += sum(len(op.numbers) for op in done if op.do in ("upsert", "update"))

    def _judge(self, place: Place, told: Told, ops: list[Op]) -> bool:
        # A large folder is written to by the next round anyway, and is dear to read twice.
        probe = len(place.state) < 1000 or self.rounds % 10 == 1
        found = self.host.run(
            "inspect", target=self.summary.target, folder=place.folder, universe=UNIVERSE, probe=probe
        )
        if found.exit or "error" in found.lines[-1]:
            return self._problem(place, "repairs", f"{found.exit}: {found.lines[-1:]}")
        state = state_of(found.lines[-1]["rows"])
        states = model.states(place.state, ops)
        low, high = told.acknowledged(), told.begun()
        if state in states[low : high + 1]:
            place.state = state
            return True
        kind = "lost" if state in states[:low] else "torn"
        how = model.difference(state, states[high])
        return self._problem(place, kind, f"{low} operations acknowledged, {high} begun; against the latter: {how}")

    def _problem(self, place: Place, kind: str, text: str) -> bool:
        summary = self.summary
        setattr(summary, kind, getattr(summary, kind) + 1)
        where = f"{summary.target}, seed {summary.seed}, round {self.rounds}, {place.folder}"
        summary.problems.append(f"{kind}: {where}: {text}")
        return False


def main() -> int:
    """Kill, and print the summary; the exit status tells whether there were problems."""
    parser = argparse.ArgumentParser(description="Kill a writer many times and look at what is left.")
    parser.add_argument("--target", default="collection", choices=sorted(TARGETS))
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="stop after this time")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="crash-kill-"))
    with Host(shim.build(folder)) as host:
        summary = Killer(host, args.target, args.seed, folder).go(args.kills, args.seconds)
    sys.stderr.write("".join(f"{problem}\n" for problem in summary.problems))
    sys.stdout.write(json.dumps({k: v for k, v in asdict(summary).items() if k != "problems"}) + "\n")
    if not summary.problems:
        shutil.rmtree(folder)
    return bool(summary.problems)


if __name__ == "__main__":
    sys.exit(main())
