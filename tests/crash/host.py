"""The parent's side: starts a worker, gives it jobs, reads what they tell, and kills one where that is the test."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from crash import shim
from crash.model import State

TESTS = Path(__file__).resolve().parents[1]


class Stuck(Exception):
    """A job took far longer than any should."""


@dataclass
class Told:
    """What a job has told, line by line, and how it ended (negative: the signal)."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    exit: int | None = None
    killed_after: float | None = None

    def all(self, key: str) -> list[Any]:
        """The values that lines give for a key."""
        return [line[key] for line in self.lines if key in line]

    def acknowledged(self) -> int:
        """How many operations were acknowledged."""
        return sum(isinstance(what, int) for what in self.all("ack"))

    def begun(self) -> int:
        """How many operations were begun."""
        return sum(isinstance(what, int) for what in self.all("begin"))


def state_of(rows: list[list[int]]) -> State:
    """A state from its form in JSON."""
    return {n: (v, m) for n, v, m in rows}


class Host:
    """A worker process and the pipes to it. Use it as a context; ``library`` is the built shim."""

    def __init__(self, library: Path | None = None, patience: float = 60.0) -> None:
        self.library, self.patience = library, patience
        self._start()

    def _start(self) -> None:
        env = shim.environment(self.library) | {"PYTHONPATH": str(TESTS)}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([sys.executable, "-m", "crash.worker"], stdin=pipe, stdout=pipe, env=env)
        self._buffer = b""
        self._pid: int | None = None
        ready = self._line(time.monotonic() + self.patience)
        if ready is None or ready["ready"] != (self.library is not None):
            raise RuntimeError("the worker did not start with the shim as asked")

    def run(self, job: str, *, kill_after: float | None = None, **arguments: Any) -> Told:
        """Do a job to its end, or kill it so many seconds after it began."""
        self.start(job, **arguments)
        return self.finish(kill_after)

    def start(self, job: str, **arguments: Any) -> None:
        """Begin a job; ``finish`` is to follow."""
        self._pid = None
        ops = arguments.pop("ops", None)
        line = {"job": job} | arguments | ({"ops": [op.json() for op in ops]} if ops is not None else {})
        self.send(json.dumps(line, default=str))

    def send(self, line: str) -> None:
        """A line to the worker or, while a job runs, to that job."""
        pipe = self._process.stdin
        data = line.encode() + b"\n"
        while pipe and data:
            data = data[os.write(pipe.fileno(), data) :]

    def next(self, timeout: float | None = None) -> dict[str, Any] | None:
        """The next line that the job tells; None where none comes in time."""
        return self._line(time.monotonic() + (self.patience if timeout is None else timeout))

    def finish(self, kill_after: float | None = None) -> Told:
        """Read until the job has ended."""
        told = Told()
        stuck = time.monotonic() + self.patience
        kill_at = None if kill_after is None else time.monotonic() + kill_after
        while True:
            line = self._line(stuck if kill_at is None else min(kill_at, stuck))
            if line is None and kill_at is not None and time.monotonic() >= kill_at:
                self.kill()
                told.killed_after, kill_at = kill_after, None
            elif line is None:
                self.close()
                self._start()
                raise Stuck(f"a job took more than {self.patience:g} s; it told {told.lines[-3:]}")
            elif "pid" in line and len(line) == 1:
                self._pid = line["pid"]
            elif "exit" in line and len(line) == 1:
                told.exit, self._pid = line["exit"], None
                return told
            else:
                told.lines.append(line)

    def kill(self) -> None:
        """SIGKILL for the job that runs."""
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)

    def _line(self, deadline: float) -> dict[str, Any] | None:
        pipe = self._process.stdout
        if pipe is None:
            return None
        while b"\n" not in self._buffer:
            if not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return None
            more = os.read(pipe.fileno(), 1 << 20)
            if not more:
                raise RuntimeError(f"the worker ended with {self._process.wait()}")
            self._buffer += more
        line, self._buffer = self._buffer.split(b"\n", 1)
        try:
            out: dict[str, Any] = json.loads(line)
        except ValueError:  # a killed job may leave half a line before the worker's next
            _, _, rest = line.rpartition(b"{")
            out = json.loads(b"{" + rest)
        return out

    def close(self) -> None:
        """End the worker, and the job that it has."""
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
