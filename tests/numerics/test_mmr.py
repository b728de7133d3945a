"""Maximal marginal relevance against its definition as a plain loop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from nearfield.core.errors import BadInput, BadParameter
from nearfield.numerics.mmr import mmr


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths else 0.0


def plainly(scores: np.ndarray, vectors: np.ndarray, k: int, balance: float) -> list[int]:
    """The definition that LangChain calls lambda_mult: the best first, then the best difference."""
    chosen = [max(range(len(scores)), key=lambda i: (scores[i], -i))]
    while len(chosen) < min(k, len(scores)):
        best, best_worth = -1, -math.inf
        for i in range(len(scores)):
            if i not in chosen:
                worth = balance * scores[i] - (1 - balance) * max(cosine(vectors[i], vectors[j]) for j in chosen)
                if worth > best_worth:
                    best, best_worth = i, worth
        chosen.append(best)
    return chosen


@pytest.mark.parametrize("balance", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_it_is_its_definition(balance: float) -> None:
    rng = np.random.default_rng()
    for _ in range(5):
        vectors = rng.normal(size=(40, 8)).astype(np.float32)
        query = rng.normal(size=8)
        scores = np.array([cosine(query, v) for v in vectors])
        k = int(rng.integers(1, 50))
        assert mmr(scores, vectors, k, balance).tolist() == plainly(scores, vectors.astype(np.float64), k, balance)


def test_the_extremes_are_relevance_and_variety() -> None:
    rng = np.random.default_rng(3)
    scores, vectors = rng.normal(size=20), rng.normal(size=(20, 4))
    assert mmr(scores, vectors, 20, 1.0).tolist() == np.argsort(-scores).tolist()
    clusters = np.repeat(np.eye(4), 5, axis=0)
    first = mmr(scores, clusters, 4, 0.0)
    assert sorted((first // 5).tolist()) == [0, 1, 2, 3]


def test_ties_lengths_and_zero_vectors() -> None:
    assert mmr(np.zeros(4), np.ones((4, 3)), 4).tolist() == [0, 1, 2, 3]
    rng = np.random.default_rng(4)
    scores, vectors = rng.normal(size=9), rng.normal(size=(9, 5))
    assert mmr(scores, vectors, 9).tolist() == mmr(scores, vectors * rng.uniform(0.1, 9, size=(9, 1)), 9).tolist()
    with_zero = np.vstack([np.zeros(5), vectors])
    assert sorted(mmr(np.append(0.5, scores), with_zero, 10).tolist()) == list(range(10))
    assert mmr(np.zeros(0), np.zeros((0, 3)), 2).tolist() == []


BAD: list[tuple[Any, Any, Any, Any, type[Exception]]] = [
    (np.zeros(3), np.zeros((2, 3)), 1, 0.5, BadInput),
    (np.zeros((3, 1)), np.zeros((3, 3)), 1, 0.5, BadInput),
    (np.zeros(3), np.zeros(3), 1, 0.5, BadInput),
    (np.array([1.0, np.nan]), np.ones((2, 2)), 1, 0.5, BadInput),
    (np.zeros(2), np.array([[1.0, np.inf], [1, 1]]), 1, 0.5, BadInput),
    (np.zeros(2), np.ones((2, 2)), 0, 0.5, BadInput),
    (np.zeros(2), np.ones((2, 2)), True, 0.5, BadInput),
    (np.zeros(2), np.ones((2, 2)), 1, 1.1, BadParameter),
    (np.zeros(2), np.ones((2, 2)), 1, -0.1, BadParameter),
    (np.zeros(2), np.ones((2, 2)), 1, float("nan"), BadParameter),
    (np.zeros(2), np.ones((2, 2)), 1, True, BadParameter),
]


@pytest.mark.parametrize("case", range(len(BAD)))
def test_what_does_not_fit_is_refused(case: int) -> None:
    scores, vectors, k, balance, error = BAD[case]
    with pytest.raises(error):
        mmr(scores, vectors, k, balance)
