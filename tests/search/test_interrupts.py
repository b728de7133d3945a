"""Ctrl-C ends a build soon, and rows that come in: Python sees the signal between two pieces of native work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

# Each holds native code for seconds where it does not look up: wide walks, long lists, many trees.
PLANS = {
    "vamana": "float16() | vamana(degree=64, width=6000)",
    "hnsw": "float16() | hnsw(degree=48, width=6000)",
    "nndescent": "float16() | nndescent(near=200, trees=2)",
    "packed_graph": "float16() | packed_graph(degree=64, width=6000)",
    "kd_forest": "float16() | kd_forest(trees=256)",
}
BUILD = """
import signal, sys, time, numpy as np, nearfield as nf
signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs of a shell begin without
what, plan, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
x = np.random.default_rng(0).normal(size=(n, 64)).astype("f4")
told, forest = False, "forest" in plan  # which tells nothing while it is built

def watch(what, done, total):
    global told
    if not told and (what == "compare" or (what == "link" and done >= 1800) or forest == done / total):
        told = True
        print("at it", flush=True)

try:
    if what == "build":
        nf.Plan(plan).fit(x, progress=watch)
    else:
        packed = nf.Plan(plan).fit(x[:1200])
        print("at it", flush=True)
        packed.add(x[1200:])
except KeyboardInterrupt:
    print(time.monotonic(), flush=True)
else:
    print("done too early", flush=True)
"""


def _ends_soon(what: str, plan: str, n: int, after: float = 0.2) -> None:
    command, env = [sys.executable, "-c", BUILD, what, plan, str(n)], os.environ | {"NEARFIELD_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "at it\n"
        time.sleep(after)
        sent = time.monotonic()
        child.send_signal(signal.SIGINT)
        assert float(child.stdout.readline()) - sent < 1.0


pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are sent otherwise there")


@pytest.mark.parametrize("index", PLANS)
def test_a_build_ends_soon(index: str) -> None:
    _ends_soon("build", PLANS[index], 60_000 if index == "kd_forest" else 6000)


def test_rows_that_come_in_end_soon() -> None:
    _ends_soon("add", PLANS["vamana"], 30_000, after=3.0)  # by then they come in by the thousand
