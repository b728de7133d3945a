"""One version of nearfield in its own process, for the suite ``versions``: JSON lines in, JSON lines out.

Run by the Python of the environment that has the version; it needs nothing but numpy and nearfield.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import nearfield as nf


class Session:
    """The rows, the queries and one plan."""

    def __init__(self, files: Path) -> None:
        self.rows, self.queries, self.truth = (np.load(files / f"{name}.npy") for name in ("rows", "queries", "truth"))

    def build(self, plan: str) -> dict[str, Any]:
        """Fit the plan: processor seconds, and the bytes of its file."""
        begun = time.process_time()
        self.index = nf.Plan(plan).fit(self.rows, metric="cosine", rng=0)
        cpu = time.process_time() - begun
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index.nf"
            self.index.save(path)
            return {"cpu": cpu, "bytes": path.stat().st_size}

    def ask(self, budget: int, k: int, mode: str) -> dict[str, Any]:
        """All queries, one call each (``single``) or in one call: processor seconds, and recall."""
        parts = [self.queries] if mode == "batch" else [q[None, :] for q in self.queries]
        begun = time.process_time()
        found = [self.index.search(q, k=k, budget=budget).rows for q in parts]
        cpu = time.process_time() - begun
        rows = np.concatenate(found)
        hits = [len(set(a) & set(b)) for a, b in zip(rows.tolist(), self.truth.tolist())]
        return {"cpu": cpu, "recall": round(sum(hits) / self.truth.size, 5)}


def main() -> None:
    """Answer until stdin ends."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    session = Session(Path(sys.argv[1]))
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(session, command.pop("do"))(**command)
        except Exception as error:  # told to the runner
            answer = {"error": f"{type(error).__name__}: {error}"}
        out.write(json.dumps(answer) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
