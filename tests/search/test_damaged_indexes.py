"""Columns of indexes with sound checksums and damaged contents: rows that are there, or an error with a name.

``NEARFIELD_FUZZ`` multiplies the number of damaged indexes.
"""

from __future__ import annotations

import os
import random
import warnings
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.core.errors import NearfieldError
from nearfield.search.packed import Packed

CASES = int(60 * float(os.environ.get("NEARFIELD_FUZZ", "1")))
N = 300
X = np.random.default_rng(3).normal(size=(N, 24)).astype(np.float32)
Q = np.random.default_rng(4).normal(size=(4, 24)).astype(np.float32)
PLANS = [
    "lvq(bits=4) | vamana(degree=8, width=32) | rescore(codec='lvq(bits=8)', depth=3, of='residual')",
    "float16() | hnsw(degree=4, width=32)",
    "int8() | nndescent(degree=8)",
    "float16() | kd_forest(trees=3) | rescore(codec='float16', depth=2)",
    "float16() | lsh(tables=4)",
    "float16() | packed_graph(degree=8, width=32)",
    "binary() | ivf(lists=12) | rescore(codec='lvq(bits=4)', depth=4, of='residual')",
    "int8() | ivf(lists=12)",
]
ODD = [0, 1, N - 1, N, N + 1, 1 << 31, (1 << 32) - 1, -1, float("nan"), float("inf"), -1e30]


def spoilt(column: Any, draw: random.Random) -> Any:
    """A copy in which some numbers are others."""
    made = np.array(column)
    flat = made.reshape(-1)
    kind = draw.choice(["odd", "odd", "bytes", "shuffled", "all"])
    if kind == "odd":
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            for _ in range(draw.choice([1, 5, 50])):
                value = np.float64(draw.choice(ODD))
                if made.dtype.kind != "f":
                    value = np.int64(value) if np.isfinite(value) else np.int64(7)
                flat[draw.randrange(flat.size)] = value.astype(made.dtype)
    elif kind == "bytes":
        raw = flat.view(np.uint8)
        for _ in range(20):
            raw[draw.randrange(raw.size)] = draw.randrange(256)
    elif kind == "shuffled":
        np.random.default_rng(draw.randrange(1 << 30)).shuffle(flat)
    else:
        flat.view(np.uint8)[:] = draw.choice([0, 255, 127])
    return made


def look(packed: Any) -> None:
    """Search in several ways; what is found is there, and once."""
    allow = np.arange(N) % 3 == 0
    for k, budget, given in ((10, 80, None), (10, 80, allow), (N, 80, None), (5, 10**6, allow)):
        hits = packed.search(Q, k=k, budget=budget, allow=given)
        for found in hits.rows:
            real = found[found >= 0]
            assert real.max(initial=0) < N
            assert len(set(real.tolist())) == len(real)
            assert given is None or allow[real].all()


@pytest.mark.parametrize("plan", PLANS)
def test_damaged_columns_lead_nowhere(plan: str) -> None:
    whole = nf.Plan(plan).fit(X)
    look(whole)
    draw = random.Random(plan)
    refused = 0
    for _ in range(CASES):
        name = draw.choice(sorted(whole.columns))
        columns = whole.columns | {name: spoilt(whole.columns[name], draw)}
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                look(Packed(whole.fitted, columns))
        except NearfieldError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused < CASES
