"""What the tests of faults share: some rows, where they lie, and other processes."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearfield.collection.collection import Collection

Make = Callable[..., Collection]
X = np.random.default_rng(7).normal(size=(60, 4)).astype(np.float32)


@contextmanager
def process(code: str, *args: Any, prefix: Sequence[str] = (), **env: str) -> Iterator[subprocess.Popen[str]]:
    """Another Python that runs some code, behind ``prefix``; it is killed in the end."""
    told = [*prefix, sys.executable, "-c", textwrap.dedent(code), *map(str, args)]
    made = subprocess.Popen(
        told,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
    )
    try:
        yield made
    finally:
        made.kill()
        made.communicate()


def line(of: subprocess.Popen[str]) -> str:
    """Its next line."""
    assert of.stdout is not None
    assert of.stderr is not None
    said = of.stdout.readline().strip()
    if not said:
        of.kill()
        pytest.fail(f"it says nothing more: {of.stderr.read()}")
    return said


def filled(c: Collection, n: int = 60) -> Collection:
    """Rows in the tail."""
    c.upsert(list(range(n)), X[:n], texts=[f"word{i % 3}" for i in range(n)], meta=[{"n": i} for i in range(n)])
    return c


def sealed(c: Collection) -> Path:
    """The rows in one segment: its file."""
    filled(c).compact()
    return next(p for p in (c.path / "segments").iterdir() if p.name.count(".") == 1)
