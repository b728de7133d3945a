"""Kinds of vectors that an adviser meets, drawn anew for each seed: rows, and queries of the same distribution.

Real ones are random parts of a collection; the others are drawn. What makes each of them hard stands in its function.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from bench import data
from bench.data import F32

_CLUSTER = 40  # rows of a cluster of histograms: fewer than a sampling ratio of some ten leaves to the ten nearest


@dataclass
class Drawn:
    """Rows and queries of one seed, and the metric that they are searched under."""

    rows: F32
    queries: F32
    metric: str = "cosine"


def text(rng: np.random.Generator, n: int, m: int, shared: Path) -> Drawn:
    """Titles of papers through MiniLM: what prediction was made for."""
    return _part(_titles(shared), rng, n, m)


def captions(rng: np.random.Generator, n: int, m: int, shared: Path) -> Drawn:
    """Captions of pictures through the static encoder: short texts, many nearly the same."""
    return _part(_captions(shared), rng, n, m)


def near_duplicates(rng: np.random.Generator, n: int, m: int, shared: Path) -> Drawn:
    """Each row stands there about three times, a little moved: no tenth neighbour is like the first."""
    base = _spread(rng, (n + m) // 3 + 1, 48)
    x = base.repeat(3, axis=0) + 0.05 * rng.normal(size=(3 * len(base), 48))
    return _part(x, rng, n, m)


def counts(rng: np.random.Generator, n: int, m: int, shared: Path) -> Drawn:
    """Small whole numbers, most of them 0, under l2: ties, and few levels."""
    rates = rng.gamma(0.3, 3.0, size=64)
    x = rng.poisson(rates * rng.gamma(2.0, 0.5, size=(n + m, 1)) * rng.gamma(1.0, 1.0, size=(n + m, 64)))
    return _part(x + 0.01 * rng.normal(size=x.shape), rng, n, m, "l2")


def mixture(rng: np.random.Generator, n: int, m: int, shared: Path) -> Drawn:
    """Fifty clouds of unequal sizes and widths."""
    share = rng.dirichlet(np.ones(50))
    of = rng.choice(50, n + m, p=share)
    centres, width = rng.normal(size=(50, 48)), rng.gamma(4.0, 0.15, size=50)
    return _part(centres[of] + width[of, None] * rng.normal(size=(n + m, 48)), rng, n, m)


def eight(rng: np.random.Generator, n: int, m: int, shared: Path) -> Drawn:
    """Eight dimensions, under l2: neighbours come near fast as rows grow."""
    return _part(rng.normal(size=(n + m, 8)) * np.linspace(1.5, 0.5, 8), rng, n, m, "l2")


def lognormal(rng: np.random.Generator, n: int, m: int, shared: Path) -> Drawn:
    """Directions with log-normal lengths under dot: the longest rows are near to every query."""
    return _lengths(rng, rng.lognormal(0, 0.7, n), n, m)


def pareto(rng: np.random.Generator, n: int, m: int, shared: Path) -> Drawn:
    """Directions with lengths of a heavy tail under dot: some few rows are near to every query."""
    return _lengths(rng, 1 + rng.pareto(2.5, n), n, m)


def histograms(rng: np.random.Generator, n: int, m: int, shared: Path) -> Drawn:
    """Histograms in clusters of 40: a sample holds fewer rows of a cluster than are looked for."""
    count = max(1, (n + m) // _CLUSTER)
    centres = rng.dirichlet(np.full(64, 0.3), size=count)
    x = np.stack([rng.dirichlet(300 * centre + 0.05, size=_CLUSTER + 1) for centre in centres]).reshape(-1, 64)
    return _part(x, rng, n, m)


KINDS: dict[str, Callable[[np.random.Generator, int, int, Path], Drawn]] = {
    "text": text, "captions": captions, "near-duplicates": near_duplicates, "counts": counts, "mixture": mixture,
    "8-d": eight, "lognormal dot": lognormal, "Pareto dot": pareto, "histograms": histograms,
}  # fmt: skip


def draw(kind: str, seed: int, n: int, m: int, shared: Path) -> Drawn:
    """``n`` rows and ``m`` queries of a kind."""
    return KINDS[kind](np.random.default_rng([sorted(KINDS).index(kind), seed]), n, m, shared)


def _part(x: np.ndarray, rng: np.random.Generator, n: int, m: int, metric: str = "cosine") -> Drawn:
    order = rng.permutation(len(x))
    rows, queries = np.sort(order[: min(n, len(x) - m)]), order[len(x) - m :]
    return Drawn(np.ascontiguousarray(x[rows], np.float32), np.ascontiguousarray(x[queries], np.float32), metric)


def _spread(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return rng.normal(size=(n, d)) / np.sqrt(1 + np.arange(d) / 4)


def _lengths(rng: np.random.Generator, lengths: np.ndarray, n: int, m: int) -> Drawn:
    x = data.unit(_spread(rng, n, 32)) * lengths[:, None]
    return Drawn(np.ascontiguousarray(x, np.float32), data.unit(_spread(rng, m, 32)), "dot")


@lru_cache(maxsize=1)
def _titles(shared: Path) -> F32:
    return data.unit(np.load(shared / "retrieval" / "arxiv60k" / "doc_title_minilm_f16.npy"))


@lru_cache(maxsize=1)
def _captions(shared: Path) -> F32:
    from nearfield.search.encoding import as_encoder, encode_texts

    with gzip.open(shared / "crosslingual" / "multi30k_en_de_fr.jsonl.gz", "rt", encoding="utf-8") as file:
        texts = sorted({json.loads(line)["en"] for line in file})
    return data.unit(encode_texts(as_encoder("static"), texts))
