"""Tries a peer on a few rows in a process of its own, so that one that ends its process does not end the run.

Some libraries leave the process, without a word, on a processor that they do not support. What raises here raises again
in the run, which says so; what dies here is left out with its reason. ``python -m bench.probe`` reads one job from
stdin: the function to call (``module:name``), its arguments, and the file of the rows.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.data import F32
from bench.engines import Engine
from bench.results import ROOT

ROWS, SECONDS = 2_000, 300
THROUGH = "the peer came through"
_known: dict[str, str | None] = {}


class Died(Exception):
    """The peer ended its process, or did not come to an end."""


def engine(made: Engine, x: F32) -> None:
    """Try an engine; ``Died`` where its process does not outlive it. Each is tried once in a run."""
    given = {f.name: getattr(made, f.name) for f in dataclasses.fields(made) if f.init}
    kind = type(made)
    check("bench.probe:build", x, module=kind.__module__, kind=kind.__qualname__, given=given)


def build(x: F32, module: str, kind: str, given: dict[str, Any]) -> None:
    """Build an engine and write it."""
    made = getattr(importlib.import_module(module), kind)(**given)
    made.build(x)
    with tempfile.TemporaryDirectory() as folder:
        made.save(Path(folder))


def check(call: str, x: F32, **given: Any) -> None:
    """Call ``call(rows, **given)`` in a process of its own; ``Died`` where that did not come through."""
    job = json.dumps({"call": call, "given": given}, sort_keys=True)
    if job not in _known:
        _known[job] = _reason(job, x[:ROWS])
    if reason := _known[job]:
        raise Died(reason)


def _reason(job: str, x: F32) -> str | None:
    """Why the process of a job died; None where it came through."""
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.npy"
        np.save(rows, x)
        task = json.dumps(json.loads(job) | {"rows": str(rows)})
        env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
        command = [sys.executable, "-m", "bench.probe"]
        try:
            done = subprocess.run(command, input=task, capture_output=True, text=True, env=env, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return f"{len(x)} rows took more than {SECONDS} s"
    if done.stdout.endswith(f"{THROUGH}\n"):
        return None
    how = f"code {done.returncode}" if done.returncode >= 0 else signal.Signals(-done.returncode).name
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return f"it ended its process ({how}) on {len(x)} rows" + (f": {said[-1].strip()}" if said else " and said nothing")


def main() -> None:
    """Do the job of stdin, and say when it is through; what raises is told by the run itself."""
    task = json.load(sys.stdin)
    module, _, name = task["call"].partition(":")
    try:
        getattr(importlib.import_module(module), name)(np.load(task["rows"]), **task["given"])
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
    print(THROUGH, flush=True)
    os._exit(0)  # what happens when a library is unloaded is not asked here


if __name__ == "__main__":
    main()
