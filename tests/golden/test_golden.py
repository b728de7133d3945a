"""Files of every release stay readable, and give the same results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import nearfield as nf

HERE = Path(__file__).parent
CASES = [
    (folder.name, name)
    for folder in sorted(HERE.glob("v*"))
    for name in json.loads((folder / "expected.json").read_text())
]


@pytest.mark.parametrize(("release", "name"), CASES)
def test_a_file_of_a_release_gives_the_same_results(release: str, name: str) -> None:
    folder = HERE / release
    want = json.loads((folder / "expected.json").read_text())[name]
    packed = nf.load(folder / f"{name}.nf")
    packed.verify()
    hits = packed.search(np.load(folder / "queries.npy"), k=5)
    assert str(packed.plan) == str(nf.Plan(want["plan"]))
    # Tables of blocks are rounded to 15 bits, of levels that were scored by products once: another digit.
    digits = 2e-4 if packed.index.rows.interleaved else 2e-5
    np.testing.assert_allclose(hits.scores, want["scores"], atol=digits * (1 + np.abs(want["scores"]).max()))
    # Rows may change places only where their scores are equal to the last digit kept.
    for found, scores, rows in zip(hits.rows, hits.scores, want["rows"]):
        assert set(found.tolist()) == set(rows) or np.diff(scores).max() > -digits / 2
    assert hits.ids[0, 0] == f"r{hits.rows[0, 0]}"


def test_there_are_golden_files() -> None:
    assert len(CASES) >= 20
