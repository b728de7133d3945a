"""A program ends as it means to while daemon threads are within native code: they are waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nearfield.numerics import kernels

pytestmark = [
    pytest.mark.skipif(kernels.native() is None, reason="no native code here"),
    pytest.mark.skipif(os.name == "nt", reason="signals and forks are others there"),
]

# What a thread does over and over; each is within native code most of the time.
BUSY = {
    "search": """
packed = nf.Plan("int8()").fit(x)
def work():
    packed.search(x[:1], k=10)
""",
    "batches": """
packed = nf.Plan("float16()").fit(x)
def work():
    packed.search(x[:500], k=10)
""",
    "graph": """
packed = nf.Plan("float16() | hnsw(degree=8, width=20)").fit(x[:3000])
def work():
    packed.search(x[:200], k=10)
""",
    "fit": """
def work():
    nf.Plan("int8() | vamana(degree=16, width=60)").fit(x)
""",
    "codes": """
def work():
    nf.Plan("pq(parts=8)").fit(x)
""",
    "collection": """
c = nf.open(folder, dim=64)
c.upsert(list(range(len(x))), x)
c.recode("int8()")
def work():
    c.search(x[0], k=10)
    c.search(x[:50], k=10, exact=True)
""",
    "recode": """
c = nf.open(folder, dim=64)
c.upsert(list(range(len(x))), x)
def work():
    c.recode("int8()", background=True).wait()
""",
    "writes": """
c = nf.open(folder, dim=64)
def work():
    c.upsert(list(range(5000)), x[:5000])
""",
}

PROGRAM = """
import os, signal, sys, threading, time
import numpy as np
import nearfield as nf

signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs of a shell begin without
folder = sys.argv[1]
x = np.random.default_rng(0).normal(size=(20_000, 64)).astype("f4")
{busy}
def serve():
    while True:
        work()

threads = [threading.Thread(target=serve, daemon=True) for _ in range(3)]
for thread in threads:
    thread.start()
time.sleep(1)
{end}
"""

CHILD = """
child = os.fork()
if not child:
    packed = nf.Plan("int8()").fit(x)
    packed.search(x[:1], k=3)
    sys.exit(5)  # ends as a program does: what the interpreter calls at its end is called here too
end = time.monotonic() + 60
while (done := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < end:
    time.sleep(0.05)
if not done[0]:
    os.kill(child, signal.SIGKILL)
sys.exit(os.waitstatus_to_exitcode(done[1]) if done[0] else 99)
"""

ENDS = {
    "falls off": ("", 0),
    "exit": ("sys.exit(3)", 3),
    "error": ("raise RuntimeError('on purpose')", 1),
    "interrupt": ("print('at it', flush=True)\ntime.sleep(60)", None),
    "hooks": ("import atexit\natexit.register(lambda: nf.Plan('int8()').fit(x).search(x[:10], k=3))", 0),
    "child": (CHILD, 5),
}


def run(folder: Path, busy: str, end: str) -> tuple[int, str]:
    """How a program ended, and what it said."""
    program = PROGRAM.format(busy=BUSY[busy], end=ENDS[end][0])
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, str(folder / "c")], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        if end == "interrupt":
            assert child.stdout.readline() == "at it\n"
            child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=120)
    return child.returncode, said


def check(folder: Path, busy: str, end: str) -> None:
    code, said = run(folder, busy, end)
    assert "terminate" not in said
    assert "Fatal" not in said
    assert "leaked" not in said
    assert code == (-signal.SIGINT if ENDS[end][1] is None else ENDS[end][1]), said
    if end == "error":
        assert "on purpose" in said
    if end == "interrupt":
        assert "KeyboardInterrupt" in said


@pytest.mark.parametrize("busy", BUSY)
def test_a_program_ends(busy: str, tmp_path: Path) -> None:
    check(tmp_path, busy, "falls off")


@pytest.mark.parametrize("end", [e for e in ENDS if e != "falls off"])
def test_ways_to_end(end: str, tmp_path: Path) -> None:
    check(tmp_path, "search", end)


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(5))
@pytest.mark.parametrize("end", [e for e in ENDS if e != "child"])  # a fork while another thread imports hangs
@pytest.mark.parametrize("busy", BUSY)
def test_every_way_out_of_everything(busy: str, end: str, turn: int, tmp_path: Path) -> None:
    check(tmp_path, busy, end)
