"""Do two samples of vectors come from one model? Told by which coordinates vary, which texts change little."""

from __future__ import annotations

import math

import numpy as np

from nearfield.core.protocols import F32

LEAST = 16  # vectors without which nothing can be told
_TOLD = 0.5  # of the correlation that the same model would give


def spread(x: F32) -> F32:
    """The logarithm of the variance of each coordinate."""
    variance = np.asarray(x, dtype=np.float64).var(axis=0)
    floor = 1e-9 * max(float(variance.mean()), 1e-300)
    return np.asarray(np.log(np.maximum(variance, floor)), dtype=np.float32)


def look_alike(old: F32, new: F32) -> tuple[bool, float, float]:
    """Whether two samples ``[n, d]`` may be of one model; the correlation of their spreads, and what to expect of it.

    The coordinates of two models have nothing to do with each other, whatever is encoded; those of one model vary
    alike from one subject to the next. The logarithm of a variance of ``n`` rows has a variance of about ``2 / n``:
    where the true ones differ less than that nothing can be told, and the answer is yes.

    >>> rng = np.random.default_rng(0)
    >>> scale = np.exp(rng.normal(size=64)).astype(np.float32)
    >>> a, b = (rng.normal(size=(200, 64)).astype(np.float32) * s for s in (scale, scale[::-1]))
    >>> look_alike(a[:100], a[100:])[0], look_alike(a, b)[0]
    (True, False)
    """
    if len(old) < LEAST or len(new) < LEAST or old.shape[1] < LEAST:
        return True, 1.0, 0.0
    a, b = spread(old).astype(np.float64), spread(new).astype(np.float64)
    noise = 2 / len(old), 2 / len(new)
    true = max(float(a.var()) - noise[0], 0.0)
    expected = true / math.sqrt((true + noise[0]) * (true + noise[1])) if true else 0.0
    a, b = a - a.mean(), b - b.mean()
    size = math.sqrt(float(a @ a) * float(b @ b))
    found = float(a @ b) / size if size else 1.0
    return expected < _TOLD or found >= _TOLD * expected, found, expected
