"""Draws any number of rows that lie as real rows do: python bench/generator.py [--rows N] [--data PATH] compares both.

``Fitted`` mixes one distribution around each real row. Of a row's neighbourhood (itself and its ``near`` nearest) it
takes the mean ``m`` and draws ``m + KEEP * (row - m) + r * noise``: noise has the covariance of the neighbourhood, so
it spreads as the rows do there and in no other direction; ``r`` is log-normal, so that near twins and loners are drawn
as well; and ``KEEP ** 2 + 1`` is little more than one, so spread is neither gained nor lost. The result is scaled to
unit length. The three constants were chosen so that at 20,000 and at 60,000 rows draws agree with MiniLM's titles in
intrinsic dimension (TwoNN, and maximum likelihood of 10 and 20 neighbours) and in the cosine of the first and the
tenth neighbour; ``main`` prints the comparison. Real queries are a little farther from drawn rows than from real ones,
as a density estimate blurs; queries are therefore drawn too.

``clustered`` is the stress set: tight clusters of very unequal sizes, each in a few directions of its own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench import data  # noqa: E402
from bench.data import F32, I64  # noqa: E402

NEAR, KEEP, SPREAD = 24, 0.4, 0.3
_BLOCK = 500
PER_CLUSTER, DIRECTIONS, RADIUS = 100, 12, 0.3


@dataclass
class Fitted:
    """Real rows and the nearest of each."""

    rows: F32
    near: I64

    @classmethod
    def to(cls, rows: F32, kept: Path | None = None) -> Fitted:
        """Find the neighbours of every row; ``kept`` is a file where they stay between runs."""
        if kept is not None and kept.exists():
            return cls(rows, np.load(kept))
        near = data.best(lambda q: q @ rows.T, rows, min(NEAR + 1, len(rows)))
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.save(kept, near)
        return cls(rows, near)

    def draw(self, n: int, seed: int) -> F32:
        """``n`` rows of unit length; another seed gives other rows of the same distribution."""
        rng = np.random.default_rng(seed)
        of = np.sort(rng.integers(0, len(self.rows), n))
        out = np.empty((n, self.rows.shape[1]), dtype=np.float32)
        for row, lo, hi in _runs(of):
            hood = self.rows[self.near[row]]
            mean = hood.mean(axis=0)
            r = np.exp(rng.normal(0, SPREAD, (hi - lo, 1))) / np.sqrt(len(hood))
            weights = (rng.standard_normal((hi - lo, len(hood))) * r).astype(np.float32)
            out[lo:hi] = mean + KEEP * (self.rows[row] - mean) + weights @ (hood - mean)
            out[lo:hi] /= np.linalg.norm(out[lo:hi], axis=1, keepdims=True)
        rng.shuffle(out)
        return out

    def clustered(self, n: int, queries: int, seed: int) -> tuple[F32, F32]:
        """Rows and queries of the same tight clusters, ``PER_CLUSTER`` rows each on average; sizes fall as 1 / rank."""
        count = max(2, n // PER_CLUSTER)
        centres = self.draw(count, seed)
        rng = np.random.default_rng(seed + 1)
        share = 1 / np.arange(1, count + 1)
        of = np.sort(rng.choice(count, n + queries, p=share / share.sum()))
        d = centres.shape[1]
        out = np.empty((n + queries, d), dtype=np.float32)
        for c, lo, hi in _runs(of):
            own = rng.standard_normal((DIRECTIONS, d)) * RADIUS / np.sqrt(DIRECTIONS * d)
            out[lo:hi] = centres[c] + (rng.standard_normal((hi - lo, DIRECTIONS)) @ own).astype(np.float32)
        rng.shuffle(out)
        out = data.unit(out)
        return out[:n], out[n:]


def fitted_to(shared: Path, rows: int, kept: Path | None = None) -> Fitted:
    """The generator of so many real rows; ``kept`` is a folder where their neighbours stay between runs."""
    real = data.neighbours(shared, rows=rows, queries=1, k=1).rows
    return Fitted.to(real, kept / f"near-{len(real)}x{real.shape[1]}.npy" if kept else None)


def _runs(ordered: I64) -> Iterator[tuple[int, int, int]]:
    """Each value of an ascending array with the span where it stands."""
    values, starts = np.unique(ordered, return_index=True)
    for value, lo, hi in zip(values, starts, [*starts[1:], len(ordered)]):
        yield int(value), int(lo), int(hi)


# -- what is compared ------------------------------------------------------------------------------


def measure(rows: F32, queries: F32) -> dict[str, float]:
    """Intrinsic dimension as queries see it, and how near their neighbours are."""
    found = [np.sort(q @ rows.T, axis=1)[:, :-21:-1] for q in np.array_split(queries, max(1, len(queries) // _BLOCK))]
    cosines = np.concatenate(found).astype(np.float64)
    d = np.sqrt(np.maximum(2 - 2 * cosines, 1e-12))
    d = d[d[:, 0] > 1e-3]  # twins tell nothing of dimension
    return {
        "TwoNN": 1 / np.log(d[:, 1] / d[:, 0]).mean(),
        "MLE 10": 1 / np.log(d[:, 9:10] / d[:, :9]).mean(),
        "MLE 20": 1 / np.log(d[:, 19:20] / d[:, :19]).mean(),
        "1-NN cosine": cosines[:, 0].mean(),
        "10-NN cosine": cosines[:, 9].mean(),
        "1-NN deviation": cosines[:, 0].std(),
    }


def recalls(rows: F32, queries: F32, efforts: tuple[int, ...] = (20, 60, 180)) -> dict[str, float]:
    """Recall@10 of hnswlib (M 16, ef_construction 200) at fixed efforts; nothing where it is not installed."""
    from bench.engines import Hnswlib

    engine = Hnswlib()
    try:
        engine.build(rows)
    except ImportError:
        return {}
    truth = data.exact(rows, queries, 10)
    found = {}
    for effort in efforts:
        engine.tune(effort)
        found[f"recall, ef {effort}"] = data.recall(engine.many(queries, 10).astype(np.int64), truth)
    return found


def main() -> int:
    """Print both sets of figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--near", type=Path, help="file where the neighbours of the real rows stay between runs")
    parser.add_argument("--data", help="folder that holds data/")
    given = parser.parse_args()
    shared = data.folder(given.data)
    real = data.neighbours(shared, rows=60_000, queries=given.queries, k=1)
    fitted = Fitted.to(real.rows, given.near)
    some = np.random.default_rng(0).permutation(len(real.rows))[: given.rows]
    sets = {
        "real rows, held-out queries": (real.rows[np.sort(some)], real.queries["held-out"]),
        "drawn rows and queries": (fitted.draw(given.rows, 1), fitted.draw(given.queries, 2)),
        "clustered rows and queries": fitted.clustered(given.rows, given.queries, 3),
    }
    for name, (rows, queries) in sets.items():
        figures = measure(rows, queries) | recalls(rows, queries)
        print(f"{name}, {len(rows):,}: " + ", ".join(f"{what} {value:.3f}" for what, value in figures.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
