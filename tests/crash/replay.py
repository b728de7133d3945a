"""Records what a workload does to its folder, and checks what each crash in it would leave.

For each point of the log: the process dies (all that it did is there), or the power goes (``disk.py`` says what may
be there then). Each state is laid out in a folder, opened, read, checked and written to. It has to be the state
after some number of the operations, of which none that was acknowledged is missing and none is done by half.

As a program it records and checks a workload anew, or repeats one crash of a log that was kept::

    python tests/crash/replay.py --target sqlite-wal-full --seed 1
    python tests/crash/replay.py --target sqlite-wal-full --seed 1 --log FILE --prefix 812 --variant power-3 --keep DIR
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a program
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from crash import model, shim
from crash.disk import Disk, Tree
from crash.host import Host, Stuck, state_of
from crash.model import Op, State
from crash.targets import TARGETS

STORE = "store"  # the target's folder, within the folder that is watched
FIXED = ("process", "power-nothing", "power-names", "power-data")
COUNT, LARGEST, UNIVERSE = 14, 20, 60  # operations of a workload, rows of its largest batch, different rows
RANDOM = 4  # power-0 … power-3: each survives or not, at random


@dataclass(frozen=True)
class Recording:
    """A workload, its log, and the states that it goes through."""

    target: str
    seed: int
    ops: Sequence[Op]
    log: Path
    events: Sequence[shim.Event]
    states: Sequence[State]


@dataclass(frozen=True)
class Crash:
    """What a crash leaves: after so many events, in one of the ways in which it may go."""

    prefix: int
    variant: str
    tree: Tree
    low: int  # operations that were acknowledged, and by this kind of crash must not be lost
    high: int  # operations that were begun


@dataclass(frozen=True)
class Problem:
    """A crash after which something is wrong, and how to see it again."""

    kind: str  # lost, torn, or the step that failed: open, read, check, write, left
    crash: Crash
    text: str
    again: str

    def __str__(self) -> str:
        return f"{self.kind} at prefix {self.crash.prefix}, {self.crash.variant}: {self.text}\n    {self.again}"


@dataclass
class Report:
    """What a replay found."""

    events: int = 0
    crashes: int = 0
    opened: int = 0  # different states among them
    problems: list[Problem] = field(default_factory=list)
    seconds: float = 0.0

    def kinds(self) -> dict[str, int]:
        """How many problems there are of each kind."""
        return dict(Counter(problem.kind for problem in self.problems))

    def __str__(self) -> str:
        head = f"{self.events} events, {self.crashes} crashes, {self.opened} states opened, {self.seconds:.1f} s"
        return "\n".join([head, f"problems: {self.kinds() or 'none'}", *map(str, self.problems[:5])])


def workload(seed: int, count: int = COUNT) -> list[Op]:
    """The operations of a seed: few rows, so that thousands of states can be opened."""
    return model.workload(seed, count, largest=LARGEST, universe=UNIVERSE)


def record(host: Host, target: str, seed: int, folder: Path, *, count: int = COUNT) -> Recording:
    """Run a workload in a new folder under the shim; the log must explain all that is in the folder afterwards."""
    ops = workload(seed, count)
    root, log = folder / "recorded", folder / "log"
    root.mkdir(parents=True)
    told = host.run("run", target=target, folder=root / STORE, ops=ops, universe=UNIVERSE, log=log)
    if told.exit or told.acknowledged() != len(ops):
        raise RuntimeError(f"the workload itself failed: {told.lines[-3:]}")
    recording = load(target, seed, log, ops)
    disk = Disk()
    for event in recording.events:
        disk.play(event)
    if disk.now() != tree_of(root):
        raise RuntimeError(f"the log does not explain the folder: {_unlike(disk.now(), tree_of(root))}")
    return recording


def load(target: str, seed: int, log: Path, ops: Sequence[Op]) -> Recording:
    """A recording from its log and the workload."""
    return Recording(target, seed, ops, log, shim.read_log(log), model.states({}, ops))


def tree_of(root: Path) -> Tree:
    """All that is below a folder, without what the shim leaves out."""
    found = (path for path in root.rglob("*") if not path.name.endswith(shim.IGNORED))
    return {str(path.relative_to(root)): None if path.is_dir() else path.read_bytes() for path in found}


def lay_out(tree: Tree, root: Path) -> None:
    """Create a folder with these files and folders."""
    root.mkdir(parents=True)
    for path, content in sorted(tree.items()):  # a folder sorts before what is in it
        if content is None:
            (root / path).mkdir()
        else:
            (root / path).write_bytes(content)


def _unlike(a: Tree, b: Tree) -> str:
    names = [path for path in sorted(a.keys() | b.keys()) if a.get(path, b"absent") != b.get(path, b"absent")]
    return ", ".join(names)


# ---- crashes


def crashes(recording: Recording, wanted: set[tuple[int, str]] | None = None) -> Iterator[Crash]:
    """All crashes of a recording, or the wanted ones; each depends on nothing but seed, prefix and variant."""
    disk, low, high, durable = Disk(), 0, 0, 0
    for prefix, event in enumerate(recording.events, 1):
        changed = disk.play(event)
        said = event.data.decode() if event.kind is shim.Kind.MARK else ""
        low += said.startswith("ack ") and said[4:].isdigit()
        high += said.startswith("begin ") and said[6:].isdigit()
        # A store that promises less keeps what it had when it was closed, or all of it if it is durable.
        durable = low if said == "ack close" or TARGETS[recording.target].durable else durable
        if not (changed or said.startswith("ack")):
            continue
        for variant in variants():
            if wanted is None or (prefix, variant) in wanted:
                tree = _after(disk, variant, random.Random(f"{recording.seed} {prefix} {variant}"))
                yield Crash(prefix, variant, tree, low if variant == "process" else durable, high)


def variants() -> list[str]:
    """The names of the ways in which a crash may go."""
    return [*FIXED, *(f"power-{i}" for i in range(RANDOM))]


def _after(disk: Disk, variant: str, chance: random.Random) -> Tree:
    if variant == "process":
        return disk.now()
    shares = {"power-nothing": (0.0, 0.0), "power-names": (1.0, 0.0), "power-data": (0.0, 1.0)}
    names, data = shares.get(variant, (None, None))
    return disk.after_power_loss(chance, names=names, data=data)


def sample(recording: Recording, most: int) -> set[tuple[int, str]]:
    """So many of the crashes, drawn at random by the recording's seed."""
    chance = random.Random(f"sample {recording.seed}")
    everywhere = [(i, v) for i in range(1, len(recording.events) + 1) for v in variants()]
    return set(chance.sample(everywhere, min(most, len(everywhere))))


# ---- checking


def check(host: Host, recording: Recording, folder: Path, *, most: int | None = None, stop_after: int = 20) -> Report:
    """Open what the crashes leave and judge it; ``most`` limits how many crashes are looked at."""
    began = time.monotonic()
    report = Report(events=len(recording.events))
    known: dict[bytes, dict[str, Any]] = {}
    for crash in crashes(recording, sample(recording, most) if most else None):
        report.crashes += 1
        key = digest(crash.tree)
        if key not in known:
            report.opened += 1
            known[key] = look(host, recording.target, crash.tree, folder / f"after-{report.opened}")
        problem = judge(recording, crash, known[key])
        if problem:
            report.problems.append(problem)
        if len(report.problems) >= stop_after:
            break
    report.seconds = time.monotonic() - began
    return report


def digest(tree: Tree) -> bytes:
    """What a state is known by, so that equal ones are opened once."""
    out = hashlib.blake2b()
    for path, content in sorted(tree.items()):
        out.update(repr((path, None if content is None else len(content))).encode() + (content or b""))
    return out.digest()


def look(host: Host, target: str, tree: Tree, root: Path, *, keep: bool = False) -> dict[str, Any]:
    """Lay a state out, and let a fresh process open, read, check and write it."""
    lay_out(tree, root)
    try:
        told = host.run("inspect", target=target, folder=root / STORE, universe=UNIVERSE)
    except Stuck as error:
        return {"step": "open", "error": f"stuck: {error}"}
    finally:
        if not keep:
            shutil.rmtree(root)
    if told.exit or not told.lines:
        return {"step": "open", "error": f"the process ended with {told.exit}: {told.lines}"}
    return told.lines[-1]


def judge(recording: Recording, crash: Crash, found: dict[str, Any]) -> Problem | None:
    """Whether what was found is a state that the crash may leave."""
    again = (
        f"python tests/crash/replay.py --target {recording.target} --seed {recording.seed} "
        f"--count {len(recording.ops)} "
        f"--log {recording.log} --prefix {crash.prefix} --variant {crash.variant}"
    )
    if "error" in found:
        return Problem(found["step"], crash, found["error"], again)
    state = state_of(found["rows"])
    same = [i for i, expected in enumerate(recording.states) if expected == state]
    if any(crash.low <= i <= crash.high for i in same):
        return None
    if same:
        text = f"the state after {same[-1]} operations, where {crash.low} were acknowledged and {crash.high} begun"
        return Problem("lost" if same[-1] < crash.low else "early", crash, text, again)
    nearest = recording.states[crash.high]
    op = recording.ops[crash.high - 1] if crash.high else "nothing"
    told = f"no state there ever was; against that after {op}: {model.difference(state, nearest)}"
    return Problem("torn", crash, told, again)


# ---- as a program


def main() -> bool:
    """Record and check, or repeat one crash; the exit status tells whether there were problems."""
    parser = argparse.ArgumentParser(description="Check what crashes leave of a workload.")
    parser.add_argument("--target", default="collection", choices=sorted(TARGETS))
    parser.add_argument("--seed", type=int, default=1, help="of the workload, and of what survives")
    parser.add_argument("--count", type=int, default=14, help="operations")
    parser.add_argument("--most", type=int, help="look at so many crashes only")
    parser.add_argument("--log", type=Path, help="a log that was kept, instead of a new recording")
    parser.add_argument("--prefix", type=int, help="one crash: after so many events of the log")
    parser.add_argument("--variant", default="process", choices=variants())
    parser.add_argument("--keep", type=Path, help="where to leave what that crash leaves")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="crash-"))
    problems = True
    try:
        problems = _checked(args, folder)
    finally:
        if not problems:  # else the log is wanted
            shutil.rmtree(folder)
    return problems


def _checked(args: argparse.Namespace, folder: Path) -> bool:
    with Host(shim.build(folder)) as host:
        ops = workload(args.seed, args.count)
        recording = (
            load(args.target, args.seed, args.log, ops)
            if args.log
            else record(host, args.target, args.seed, folder, count=args.count)
        )
        if args.prefix:
            return _repeat(host, recording, args, folder)
        report = check(host, recording, folder, most=args.most)
    sys.stdout.write(f"{args.target}, seed {args.seed}: {report}\n")
    return bool(report.problems)


def _repeat(host: Host, recording: Recording, args: argparse.Namespace, folder: Path) -> bool:
    for number, event in enumerate(recording.events[: args.prefix], 1):
        sys.stdout.write(f"{number:5} {event}\n")
    crash = next(crashes(recording, {(args.prefix, args.variant)}), None)
    if crash is None:
        sys.stdout.write("that event changes nothing: take the one before\n")
        return False
    if args.keep:
        lay_out(crash.tree, args.keep)
    found = look(host, recording.target, crash.tree, folder / "after")
    problem = judge(recording, crash, found)
    sys.stdout.write(f"{problem or 'no problem'}\n")
    return bool(problem)


if __name__ == "__main__":
    sys.exit(main())
