"""Rows that differ in length, searched by products: drawn ones, and factors of items that users listened to."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np

from bench import data
from bench.data import F32

SOURCES = ("lognormal", "pareto", "factors")
DIM = 64


def rows_and_queries(source: str, n: int, m: int, shared: Path) -> tuple[F32, F32]:
    """At most so many rows and queries of a source."""
    if source == "factors":
        items, users = factors(shared / "recsys" / "lastfm" / "train.csv.gz")
        return items[:n], users[:m]
    rng = np.random.default_rng(7)
    lengths = np.exp(rng.normal(size=n)) if source == "lognormal" else 1 + rng.pareto(2, size=n)
    return np.asarray(directions(n, 1) * lengths[:, None], np.float32), directions(m, 2)


def directions(n: int, seed: int) -> F32:
    """Normal rows of unit length, whose i-th coordinate varies as ``1 / sqrt(i)``."""
    x = np.random.default_rng(seed).normal(size=(n, DIM)) / np.sqrt(np.arange(1, DIM + 1))
    return data.unit(x)


def factors(path: Path) -> tuple[F32, F32]:
    """Items and users of a table of plays: ``V S`` and ``U`` of a singular value decomposition of ``log(1 + plays)``.

    Users and items that nobody played do not count.
    """
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        told = [row for row in csv.reader(file) if row[0].isdigit()]
    users, items = (np.array([int(row[at]) for row in told]) for at in (0, 1))
    plays = np.zeros((users.max() + 1, items.max() + 1))
    plays[users, items] = np.log1p([float(row[2]) for row in told])
    plays = plays[np.unique(users)][:, np.unique(items)]
    values, left = np.linalg.eigh(plays @ plays.T)
    left = left[:, : -DIM - 1 : -1] if len(values) > DIM else left[:, ::-1]
    return np.ascontiguousarray(plays.T @ left, np.float32), np.ascontiguousarray(left, np.float32)
