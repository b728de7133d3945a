"""Quality measures per query, and their intervals.

Intervals are 95%. For the mean of values between 0 and 1 (recall, nDCG, accuracy): Wilson's score
interval, with the number of queries replaced by the effective number that the spread over queries
implies, as far as so many can tell it; it stays within [0, 1] and does not shrink to a point where every
query scored 1. What is told to users is where as many other queries would come out (``others``). For
Spearman's rank correlation: Fisher's z with the standard error of Bonett and Wright (2000).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963985
Judgements = dict[int, dict[int, float]]  # query row -> {document row -> grade}


@dataclass(frozen=True)
class Estimate:
    """A value and its 95% interval."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """As JSON wants it."""
        return {"value": _short(self.value), "low": _short(self.low), "high": _short(self.high)}


def _short(value: float) -> float:
    return round(float(value), 6)


def mean_interval(values: NDArray[Any]) -> Estimate:
    """Mean of per-query values in [0, 1] with Wilson's interval at the effective number of queries.

    >>> mean_interval(np.ones(100)).high, round(mean_interval(np.ones(100)).low, 3)
    (1.0, 0.962)
    """
    m = int(values.size)
    mean = float(values.mean())
    spread = float(values.var(ddof=1)) if m > 1 else 0.25
    spread = ((m - 1) * spread + (mean - 0.5) ** 2) / m  # one query more that found half: few have not met it yet
    binomial = mean * (1 - mean)
    # A mean of several hits a query varies less than one hit does: more effective queries than queries.
    effective = m * binomial / spread if spread > 0 and binomial > 0 else float(m)
    effective *= (Z95 / _student(m - 1)) ** 2  # of few queries the spread is hardly known
    return wilson(mean, max(effective, 1.0))


def _student(freedom: int) -> float:
    """The two-sided 95% point of Student's t, by the series of Fisher and Cornish; 12.7 for one degree of freedom.

    >>> [round(_student(f), 2) for f in (1, 2, 5, 10, 1000)]
    [12.71, 4.3, 2.57, 2.23, 1.96]
    """
    if freedom <= 2:
        return {0: 12.706, 1: 12.706, 2: 4.303}[max(0, freedom)]
    z, f = Z95, float(freedom)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / f + second / f**2 + third / f**3


def others(estimate: Estimate) -> Estimate:
    """The interval of the figure that as many other queries would give, from Wilson's of the mean.

    Those have their own chance beside that of the queries measured, so it is that of half as many. Wilson's bound at
    ``v`` tells the number of trials: ``m (mean - v) ** 2 = z ** 2 v (1 - v)``.

    >>> round(others(wilson(0.9, 100)).low, 6) == round(wilson(0.9, 50).low, 6)
    True
    """
    p = estimate.value
    v = estimate.low if p - estimate.low >= estimate.high - p else estimate.high
    if v == p or not 0 < v < 1:
        return estimate
    m = Z95 * Z95 * v * (1 - v) / (p - v) ** 2
    return wilson(p, m / 2)


def wilson(mean: float, m: float) -> Estimate:
    """Wilson's score interval of a share among ``m`` trials."""
    z2 = Z95 * Z95
    centre = (mean + z2 / (2 * m)) / (1 + z2 / m)
    half = Z95 / (1 + z2 / m) * float(np.sqrt(max(mean * (1 - mean), 0.0) / m + z2 / (4 * m * m)))
    return Estimate(mean, max(0.0, min(centre - half, mean)), min(1.0, max(centre + half, mean)))


def pooled(parts: list[Estimate]) -> Estimate:
    """The mean of estimates from parts of the queries; its interval is that of one part, so rather too wide.

    >>> pooled([Estimate(0.4, 0.25, 0.5), Estimate(0.6, 0.5, 0.75)])
    Estimate(value=0.5, low=0.375, high=0.625)
    """
    return Estimate(*(float(np.mean([getattr(p, name) for p in parts])) for name in ("value", "low", "high")))


def recall_values(found: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.float64]:
    """The share of each query's true neighbours ``[m, k]`` among the rows found ``[m, >=k]``."""
    k = truth.shape[1]
    return np.asarray((truth[:, :, None] == found[:, None, :k]).any(axis=2).mean(axis=1), dtype=np.float64)


def ndcg_values(found: NDArray[Any], judged: list[dict[int, float]], depth: int = 10) -> NDArray[np.float64]:
    """nDCG@10 of each query, gain 2^grade - 1; ``found`` holds row numbers, -1 for none."""
    discounts = 1 / np.log2(np.arange(2, depth + 2))
    out = np.zeros(len(judged))
    for i, grades in enumerate(judged):
        ideal = np.sort([2.0**g - 1 for g in grades.values()])[::-1][:depth]
        best = float((ideal * discounts[: ideal.size]).sum())
        gains = np.array([2.0 ** grades.get(int(row), 0.0) - 1 for row in found[i, :depth]])
        out[i] = float((gains * discounts[: gains.size]).sum()) / best if best > 0 else 0.0
    return out


def vote_values(found: NDArray[Any], labels: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.float64]:
    """Whether the majority label of the rows found is the wanted one; ties go to the nearest row's."""
    near = np.where(found >= 0, labels[np.maximum(found, 0)], -1)
    votes = (near[:, :, None] == near[:, None, :]).sum(axis=2) * (near >= 0)
    winner = np.take_along_axis(near, votes.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.asarray(winner == wanted, dtype=np.float64)


def spearman(a: NDArray[Any], b: NDArray[Any]) -> Estimate:
    """Spearman's rank correlation with its interval; mean ranks for ties.

    >>> round(spearman(np.arange(10.0), np.arange(10.0)).value, 3)
    1.0
    """
    m = a.size
    ra, rb = _ranks(a), _ranks(b)
    ra, rb = ra - ra.mean(), rb - rb.mean()
    length = float(np.sqrt((ra @ ra) * (rb @ rb)))
    value = float(ra @ rb) / length if length > 0 else 0.0
    value = min(1.0, max(-1.0, value))
    if m <= 3:
        return Estimate(value, -1.0, 1.0)
    z = np.arctanh(np.clip(value, -0.999999, 0.999999))
    half = Z95 * np.sqrt((1 + value * value / 2) / (m - 3))
    return Estimate(value, float(np.tanh(z - half)), float(max(np.tanh(z + half), value)))


def _ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse], dtype=np.float64)
