"""Dimensions that are known, and the figures of scikit-dimension."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nearfield.core.errors import BadInput
from nearfield.measures.lid import lid
from nearfield.measures.twonn import twonn


def sphere(dim: int, n: int = 1500) -> Any:
    """Points of a sphere of so many dimensions, in more than it needs."""
    x = np.random.default_rng(dim).normal(size=(n, dim + 1))
    return np.hstack([x / np.linalg.norm(x, axis=1, keepdims=True), np.zeros((n, 3))]).astype(np.float32)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_spheres(dim: int) -> None:
    by_many, by_two = lid(sphere(dim), k=20, metric="l2"), twonn(sphere(dim), metric="l2")
    assert by_many.value == pytest.approx(dim, rel=0.1)
    assert by_two.value == pytest.approx(dim, rel=0.1)
    assert by_two.low - 0.05 * dim < dim < by_two.high + 0.05 * dim


@pytest.mark.parametrize("dim", [2, 5, 10])
def test_as_scikit_dimension(dim: int) -> None:
    skdim = pytest.importorskip("skdim")
    x = sphere(dim)
    assert lid(x, k=20, metric="l2").value == pytest.approx(skdim.id.MLE(K=20).fit(x).dimension_, rel=1e-4)
    assert twonn(x, metric="l2").value == pytest.approx(skdim.id.TwoNN().fit(x).dimension_, rel=1e-4)


def test_local_dimensions_tell_parts_apart() -> None:
    rng = np.random.default_rng(0)
    line, ball = np.zeros((500, 8), np.float32), rng.uniform(size=(500, 8)).astype(np.float32) + 5
    line[:, 0] = rng.uniform(size=500)
    found = lid(np.concatenate([line, ball]), k=20, metric="l2", sample=1000)
    each = np.array(found.details["local"])[np.argsort(found.details["rows"])]
    assert np.median(each[:500]) < 1.3
    assert np.median(each[500:]) > 4


def test_parameters_are_checked() -> None:
    for wrong in ({"k": 1}, {"sample": 1}, {"rows": 2}, {"rng": -1}):
        with pytest.raises(BadInput):
            lid(sphere(2, 100), **wrong)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="drop"):
        twonn(sphere(2, 100), drop=0.95)
