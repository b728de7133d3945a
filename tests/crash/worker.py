"""The process under test: started with the shim, it forks a child for each job that a line on stdin asks for.

A fork takes milliseconds where a start takes a third of a second, and a child that is killed takes nothing else down.
Jobs and what they report are lines of JSON; a job's own lines come between that with its ``pid`` and that with its
``exit``. Run by ``host.py`` as ``python -m crash.worker``.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import select
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from crash.model import Op, State
from crash.shim import Fault, Watched
from crash.targets import PROBE, TARGETS, Target

shim = Watched()


def tell(**facts: Any) -> None:
    """A line to the host; shorter than a pipe's buffer takes at once, unless it holds a state."""
    data = json.dumps(facts).encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]


def told(error: BaseException) -> str:
    """An error in a line."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:400]


def target_of(job: dict[str, Any]) -> Target:
    """The target that a job names."""
    return TARGETS[job["target"]](Path(job["folder"]), job.get("universe", 200))


def arm(job: dict[str, Any]) -> None:
    """Arm the fault that a job asks for: its kind, the number of the call, how many calls."""
    kind, at, times = job.get("fault", (0, 0, 0))
    shim.arm(Fault(kind), at, times)


# ---- jobs


def run(job: dict[str, Any]) -> None:
    """Open, do the operations one by one and close; each is announced, and told again when it is acknowledged."""
    target = target_of(job)
    shim.watch(target.folder.parent, job.get("log"))
    arm(job)
    _announce("open")
    target.open()
    _acknowledge("open")
    for number, op in enumerate(job["ops"]):
        _announce(number)
        target.apply(Op(**op))
        _acknowledge(number)
    _announce("close")
    target.close()
    _acknowledge("close")
    tell(changes=shim.changes())


def _announce(what: int | str) -> None:
    shim.mark(f"begin {what}")
    tell(begin=what)


def _acknowledge(what: int | str) -> None:
    shim.mark(f"ack {what}")
    tell(ack=what)


def inspect(job: dict[str, Any]) -> None:
    """Open what a crash has left, read it, check it, write to it and read again."""
    tell(**inspected(target_of(job), probe=job.get("probe", True)))


def inspected(target: Target, *, probe: bool) -> dict[str, Any]:
    """What is found: ``rows``, or an ``error`` and in which ``step`` it came."""
    step = "open"
    try:
        target.open()
        try:
            step = "read"
            state = target.read()
            step = "check"
            target.check()
            if probe:
                step = "write"
                _probe(target, state)
                step = "left"
                left = target.leftovers()
                if left:
                    raise RuntimeError(f"left behind: {', '.join(left)}")
        finally:
            target.close()
    except Exception as error:
        return {"step": step, "error": told(error)}
    return {"rows": [[n, v, m] for n, (v, m) in state.items()]}


def _probe(target: Target, state: State) -> None:
    """The next write works, and takes nothing else along; then it is taken back."""
    numbers = [PROBE, PROBE + 1]
    target.apply(Op("upsert", numbers, 7))
    target.close()
    target.open()
    found = target.read()
    if found != state | dict.fromkeys(numbers, (7, 7)):
        raise RuntimeError(f"after the next write {len(found)} rows are there, not {len(state) + 2}")
    target.apply(Op("delete", numbers))


def fail(job: dict[str, Any]) -> None:
    """The operations with a fault at one call: tells of each error, then repeats the operation without the fault.

    After an error the folder is copied, as a crash at that moment would leave it. ``legal`` is the state that the
    target itself reads then, in the same process.
    """
    target = target_of(job)
    shim.watch(target.folder.parent)
    arm(job)
    steps: list[tuple[str, Callable[[], None]]] = [("open", target.open)]
    steps += [(str(i), _applying(target, Op(**op))) for i, op in enumerate(job["ops"])]
    for name, step in [*steps, ("close", target.close)]:
        with _disarmed_on(target.errors, name, job, target) as failed:
            step()
        if failed and name == "close":
            with contextlib.suppress(*target.errors):  # what could not be closed may say so once more
                target.close()
        elif failed:
            step()
    counted = {"changes": shim.changes(), "reads": shim.reads(), "struck": shim.struck()}
    shim.arm(Fault.NONE)  # what ignored the fault until here shall not meet it below
    tell(**inspected(target_of(job), probe=True), **counted)


def _applying(target: Target, op: Op) -> Callable[[], None]:
    return lambda: target.apply(op)


@contextlib.contextmanager
def _disarmed_on(
    errors: tuple[type[Exception], ...], name: str, job: dict[str, Any], target: Target
) -> Iterator[list[str]]:
    failed: list[str] = []
    try:
        yield failed
    except Exception as error:
        shim.arm(Fault.NONE)
        failed.append(told(error))
        copy = f"{job['folder']}-after-{name}"
        if target.folder.exists():
            shutil.copytree(target.folder, copy)
        facts: dict[str, Any] = {"failed": name, "said": str(error), "kind": type(error).__name__, "copy": copy}
        facts["expected"] = isinstance(error, errors)
        if name not in ("open", "close"):
            facts["rows"] = _read_here(target)
        tell(**facts)


def _read_here(target: Target) -> Any:
    """The state that the process that met the fault now reads; or what it says."""
    try:
        return [[n, v, m] for n, (v, m) in target.read().items()]
    except Exception as error:
        return told(error)


def watch(job: dict[str, Any]) -> None:
    """Read beside a writer, again and again, until a line comes on stdin."""
    target = target_of(job)
    target.open_to_read()
    while not select.select([0], [], [], 0)[0]:
        try:
            tell(rows=[[n, v, m] for n, (v, m) in target.read().items()])
        except Exception as error:
            tell(error=told(error))
            break
    os.read(0, 1000)
    target.close()


JOBS: dict[str, Callable[[dict[str, Any]], None]] = {"run": run, "inspect": inspect, "fail": fail, "watch": watch}


# ---- the loop


def main() -> None:
    """Read jobs until stdin ends."""
    warnings.simplefilter("error")
    _import_all()
    tell(ready=shim.there)
    buffer = b""
    while True:
        while b"\n" not in buffer:
            more = os.read(0, 1 << 20)
            if not more:
                return
            buffer += more
        line, buffer = buffer.split(b"\n", 1)
        _child(json.loads(line))


def _import_all() -> None:
    """What targets import when they are first used is imported once, and not by each child."""
    for layer in ("store", "search", "collection"):
        with contextlib.suppress(ModuleNotFoundError):
            package = importlib.import_module(f"nearfield.{layer}")
            for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
                importlib.import_module(module.name)


def _child(job: dict[str, Any]) -> None:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            tell(pid=os.getpid())
            JOBS[job["job"]](job)
            status = 0
        except BaseException as error:
            tell(raised=told(error))
        finally:
            os._exit(status)
    tell(exit=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    main()
    sys.exit(0)
