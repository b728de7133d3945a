"""Recall at full size, predicted from a sample.

Recall falls as a collection grows: between the tenth and the eleventh neighbour the gap shrinks, by the
rank-distance law of the data, while the error of the codes stays. The law need not be fitted by itself. Were
rows drawn independently, the ``k`` nearest of ``n`` rows and the ``k * c`` nearest of ``n * c`` would lie at the
same distances, so that recall depends on ``u = log(k / n)`` only, but for the unrest of a small ``k``, which fades
like ``1 / k``. So one smooth surface::

    logit recall(k, n) = a + b u + c u^2 + e / k

is fitted by weighted least squares to recall@k, k = 1 to 20, of the sample and of its halves, quarters and
eighths (``lists.Thinning``; the same codes, the same search), and read off at the full number of rows. Half of
the gap between the surface and the measured value of the sample is carried over: it is partly the plan's own,
partly chance.

The idea of learning the fall inside the sample is that of Elasticsearch's calibration of DiskBBQ
(elastic/elasticsearch#150253); the surface and its bounds are measured in ``tests/claims/adviser``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearfield.adviser.lists import Curve
from nearfield.adviser.quality import Z95, Estimate

FALL_ERROR = 0.04  # standard error, on the logit scale, of predicting a fourfold larger collection
FIT_ERROR = 0.13  # the same of fits on a sample that holds the longest rows, in which the others are repeated
STEP_SHIFT, STEP_ERROR = 0.7, 0.5  # what growing steps of a grid cost, for each unit of their logarithm
APART = 1.75  # times the distance of the two surfaces that the interval reaches at least
NEAR = 1.0  # how fast points count less, in units of u, for the surface near the end that is read


@dataclass(frozen=True)
class Grown:
    """How the full collection differs from the sample.

    ``rank`` is about the one that the k-th row of the sample has among all rows, ``rows`` how many times as many there
    are, ``longest`` whether the sample holds the longest of all, and ``steps`` by how much the logarithm of the codec's
    steps grows with fourfold rows.
    """

    rank: float
    rows: float
    longest: bool = False
    steps: float = 0.0


def predict(curve: Curve, measured: Estimate, k: int, grown: Grown, trials: int) -> Estimate:
    """Recall@k among all rows, from the curve and the measured recall in the sample."""
    if grown.rows <= 1 or measured.value >= 1.0 - 1e-9:
        return measured
    edge = 0.25 / max(trials, 1)
    level = _level(measured.value, edge)
    far = max(0.0, float(np.log(grown.rank / k)))
    whole, near = _carried(curve, k, far, level, edge), _near(curve, k, far, level, edge)
    fourfold = float(np.log(grown.rows) / np.log(4))
    steps = 0.0 if grown.longest else max(0.0, grown.steps) * fourfold
    centre, shift = (whole + near) / 2, STEP_SHIFT * steps
    errors = [FALL_ERROR * far / np.log(4), FIT_ERROR * fourfold * grown.longest, STEP_ERROR * steps]
    beside = [Z95 * float(e) for e in errors] + [APART * abs(whole - near)]
    low, high = (
        float(np.sqrt(np.square([_level(v, edge) - level, *beside]).sum())) for v in (measured.low, measured.high)
    )
    # The figure itself is that of the one surface: the other, and what grows, say only how far it may be off.
    return Estimate(*(_expit(v) for v in (whole, centre - shift - low, centre + high)))


def _carried(curve: Curve, k: int, far: float, level: float, edge: float) -> float:
    """By the surface through all points; half of the gap between it and the sample's own figure is carried over."""
    fitted = _surface(curve, k, edge)
    if fitted is None:
        return level
    here, there = _read(fitted, far, k), _read(fitted, 0.0, k)
    return level + there - here - 0.5 * (level - here)


def _near(curve: Curve, k: int, far: float, level: float, edge: float) -> float:
    """By a surface that is held to the points nearest to where it is read: it may bend otherwise there."""
    fitted = _surface(curve, k, edge, near=True)
    return level if fitted is None else _read(fitted, 0.0, k)


def _surface(curve: Curve, k: int, edge: float, *, near: bool = False) -> NDArray[np.float64] | None:
    """Coefficients (a, b, c, e), with u counted from rank ``k`` among all rows; None where there is too little."""
    if curve.k.size < 6:
        return None
    r = np.clip(curve.recall, edge, 1 - edge)
    u = np.log(curve.rank / k)
    design = np.stack([np.ones_like(u), u, u * u, 1 / curve.k], axis=1)
    weights = np.sqrt(np.clip(r * (1 - r), 5e-4, None) * curve.k / np.sqrt(np.maximum(curve.rank, 1.0)))
    if near:
        weights = weights * np.exp(-np.abs(u) / NEAR)
    solved = np.linalg.lstsq(design * weights[:, None], _logit(r, edge) * weights, rcond=1e-8)[0]
    return np.append(solved, u.min())


def _read(fitted: NDArray[np.float64], u: float, k: int) -> float:
    """The surface at ``u``; beyond what was seen it goes on along its tangent, and never upwards."""
    a, b, c, e, lowest = (float(v) for v in fitted)
    near = max(u, lowest)
    slope = max(b + 2 * c * near, 0.0)
    return a + b * near + c * near * near + e / k + slope * (u - near)


def _level(value: float, edge: float) -> float:
    return float(_logit(np.array([value]), edge)[0])


def _logit(p: NDArray[np.float64], edge: float) -> NDArray[np.float64]:
    clipped = np.clip(p, edge, 1 - edge)
    return np.asarray(np.log(clipped / (1 - clipped)), dtype=np.float64)


def _expit(z: float) -> float:
    return float(1 / (1 + np.exp(-z)))
