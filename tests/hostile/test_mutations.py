"""Structured mutations with checksums that hold: each ends in a right answer, or in one line that names the file.

Whatever ``check`` finds nothing wrong with must answer as its rows say. ``NEARFIELD_FUZZ`` multiplies the cases; every
process has a limit of memory and every case one of time, and their counts are printed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.hostile.templates import PLANS

FUZZ = float(os.environ.get("NEARFIELD_FUZZ", "0.1"))
pytest.importorskip("resource", reason="limits of memory are those of POSIX")
if not sys.platform.startswith("linux"):
    pytest.skip("the memory of a process is read from /proc", allow_module_level=True)
KINDS = [
    *(("collection", seed, 400) for seed in range(4)),
    *(("packed", seed, 100) for seed in range(len(PLANS))),
    *(("words", seed, 300) for seed in range(2)),
]
# a slice has each kind once: what is left out of it depends on nothing but the list
SLICE = KINDS if FUZZ >= 1 else [KINDS[0], KINDS[1], *KINDS[4 :: len(PLANS) // 3], KINDS[-1]]


def told(kind: str, seed: int, count: int) -> list[dict[str, Any]]:
    """The outcomes of so many cases in a process of its own; ends with the case that took it down, if one did."""
    command = [sys.executable, "-m", "tests.hostile.run", kind, str(seed), str(count)]
    home = Path(__file__).resolve().parents[2]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(home), *sys.path]), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=home, env=env, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines or lines[-1].get("begins"):
        case = lines[-1] if lines else {}
        return [*lines, {**case, "ended": "wrong", "told": f"exit {done.returncode}: {done.stderr[-2000:]}"}]
    return lines


@pytest.mark.parametrize(("kind", "seed", "count"), SLICE)
def test_what_a_stranger_writes_is_answered_rightly_or_named(kind: str, seed: int, count: int) -> None:
    ended = [line for line in told(kind, seed, max(20, int(count * FUZZ))) if "ended" in line]
    counts = Counter(line["ended"] for line in ended)
    sys.stdout.write(f"{kind} {seed}: {len(ended)} cases, {dict(counts)}\n")
    assert [line for line in ended if line["ended"] == "wrong"] == []
    assert counts["named"] + counts["found"] > len(ended) // 5
