"""Importing costs nothing, and the installed core stays small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nearfield

LOADED = """
import json, sys, numpy
before = set(sys.modules)
import nearfield
print(json.dumps(sorted({m.split('.')[0] for m in set(sys.modules) - before})))
"""


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_import_loads_numpy_and_the_standard_library_only() -> None:
    loaded = set(json.loads(run(LOADED)))
    assert loaded - set(sys.stdlib_module_names) <= {"nearfield", "numpy"}


def test_searching_needs_nothing_beyond_the_core() -> None:
    code = """
import sys
for name in ("torch", "sklearn", "scipy", "pandas", "matplotlib", "umap", "pyarrow", "h5py"):
    sys.modules[name] = None
import numpy as np, nearfield as nf
x = np.random.default_rng(0).normal(size=(50, 8)).astype("f4")
print(nf.Plan("pca(dim=4) | int8()").fit(x).search(x[:1], k=1).rows[0, 0])
"""
    assert run(code).strip() == "0"


def test_the_package_itself_is_small() -> None:
    folder = Path(nearfield.__file__).parent
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    # numpy takes 73 of the 130 MB that the core may take, click and rich 9.
    assert size <= 45e6


def test_version_is_one() -> None:
    from importlib.metadata import version

    assert version("nearfield") == nearfield.__version__
