"""Real rows, queries and true neighbours that the claims of indexes share."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="module")
def rows(minilm60k: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(minilm60k[::4])


@pytest.fixture(scope="module")
def queries(minilm_queries: np.ndarray) -> np.ndarray:
    return minilm_queries[:500]


@pytest.fixture(scope="module")
def truth(rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
    return np.argsort(-(queries @ rows.T), axis=1, kind="stable")[:, :10]
