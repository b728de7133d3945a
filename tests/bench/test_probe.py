"""A peer that ends its process is left out with its reason, and the run goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
FAKE = """
import os, sys, time
from dataclasses import dataclass
from bench.engines import Engine

@dataclass
class Fake(Engine):
    engine = "fake"
    does: str = "well"

    def build(self, x):
        if self.does == "exits":
            print("not on this processor", file=sys.stderr, flush=True)
            os._exit(0)
        if self.does == "aborts":
            os.abort()
        if self.does == "raises":
            raise ValueError("not so")

    def save(self, at):
        if self.does == "exits when saved":
            os._exit(3)
"""
TRY = """
import sys, numpy as np
from bench import probe
from fake_peer import Fake
try:
    probe.engine(Fake(does=sys.argv[1]), np.ones((5, 3), np.float32))
except probe.Died as error:
    print(error)
else:
    print("alive")
"""
SUITE = """
kind = "dense"
targets = [0.5]
[rows]
rows = 300
queries = 20
k = 5
rounds = 1
[classes]
fast = 1_000_000
[[nearfield]]
efforts = [300]
plans = ["int8(gain=False)"]
[[peer]]
engine = "scalable-vs"
data = "LVQ8x0"
efforts = [10]
"""


def run(folder: Path, *command: str) -> str:
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT), *filter(None, sys.path)])}
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("well", "alive"),
        ("raises", "alive"),  # the run itself meets it, and says so
        ("exits", "it ended its process (code 0) on 5 rows: not on this processor"),
        ("exits when saved", "it ended its process (code 3) on 5 rows and said nothing"),
        pytest.param("aborts", "(SIGABRT)", marks=pytest.mark.skipif(os.name == "nt", reason="no signals there")),
    ],
)
def test_what_dies_is_told_with_its_reason(does: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "fake_peer.py").write_text(FAKE, encoding="utf-8")
    assert told in run(tmp_path, "-c", TRY, does)


def test_a_run_outlives_a_peer_that_exits(tmp_path: Path, rng: np.random.Generator) -> None:
    (tmp_path / "svs.py").write_text("import os\nos._exit(0)\n", encoding="utf-8")
    (tmp_path / "dense.toml").write_text(SUITE, encoding="utf-8")
    arxiv = tmp_path / "data/retrieval/arxiv60k"
    arxiv.mkdir(parents=True)
    x = rng.normal(size=(400, 32)).astype(np.float16)
    for name in ("doc_title", "heldout_title", "query"):
        np.save(arxiv / f"{name}_minilm_f16.npy", x[:300] if name == "doc_title" else x[300:])
    told = run(
        tmp_path, str(ROOT / "bench/run.py"), str(tmp_path / "dense.toml"),
        "--data", str(tmp_path), "--out", str(tmp_path / "kept"),
    )  # fmt: skip
    assert "left out: scalable-vs: data LVQ8x0, degree 64, window 200: Died: it ended its process (code 0)" in told
    assert "nearfield: int8(gain=False)" in told
    assert (tmp_path / "kept/dense.jsonl").is_file()
