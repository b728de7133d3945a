"""A layout is Euclidean: its codes are scored by l2 whatever the metric of the rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nearfield as nf
from nearfield.core.protocols import Metric


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_neighbours_of_a_layout_are_found_by_distance(metric: Metric, tmp_path: Path) -> None:
    pytest.importorskip("umap", reason="umap-learn is not installed")
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((12, 24))
    labels = rng.integers(12, size=600)
    x = (centres[labels] + 0.1 * rng.standard_normal((600, 24))).astype(np.float32)
    packed = nf.Plan("umap(dim=2, epochs=100) | raw()").fit(x[:500], metric=metric)
    assert packed.bytes_per_row == 2 * 4 + 4
    packed.save(tmp_path / "u.nf")
    rows = nf.load(tmp_path / "u.nf").search(x[500:], k=5).rows
    assert (labels[rows] == labels[500:, None]).mean() > 0.95
