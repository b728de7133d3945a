"""The mathematics of the embedded encoder's table: where it starts, how it is fitted, how it is stored.

Rows are fitted in two steps. First the normalised sum of a text's rows is turned towards the vector that the
teacher gives the text. Then pairs of texts about the same thing (a title and its abstract, a term and its
definition, a span of a text and what is left of it) are drawn together and the pairs of a batch apart, while the
first aim goes on beside: the second alone would forget what makes sentences alike.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


class Bags:
    """Lists of row numbers, one after another."""

    def __init__(self, lists: Iterable[list[int]]) -> None:
        kept = [np.array(rows, dtype=np.int32) for rows in lists]
        self.starts = np.cumsum([0, *map(len, kept)])
        self.ids = np.concatenate(kept) if kept else np.zeros(0, dtype=np.int32)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, i: int) -> np.ndarray:
        return self.ids[self.starts[i] : self.starts[i + 1]]

    def first(self, n: int) -> Bags:
        """The first lists alone."""
        out = Bags([])
        out.starts, out.ids = self.starts[: n + 1], self.ids[: self.starts[n]]
        return out

    def counts(self, rows: int) -> np.ndarray:
        """How often each row is used."""
        return np.bincount(self.ids, minlength=rows)


def normalised(x: np.ndarray) -> np.ndarray:
    """Rows of unit length."""
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9), dtype=np.float32)


def start_table(tokens: np.ndarray, counts: np.ndarray, axes: np.ndarray, a: float) -> np.ndarray:
    """The teacher's token vectors, centred, weighted by a / (a + frequency), on the principal axes."""
    frequency = (counts + 0.5) / counts.sum()
    mean = (tokens * (frequency / frequency.sum())[:, None]).sum(0)
    return np.asarray(((tokens - mean) * (a / (a + frequency))[:, None]) @ axes, dtype=np.float32)


def carry_over(table: np.ndarray, start: np.ndarray, counts: np.ndarray, kappa: float) -> np.ndarray:
    """Blend each row with its prediction from the start, by count / (count + kappa)."""
    frequent = counts >= 20
    weight = np.minimum(counts[frequent], 200).astype(np.float32)[:, None]
    x = normalised(start)
    gram = (x[frequent] * weight).T @ x[frequent] + np.eye(x.shape[1], dtype=np.float32)
    predicted = x @ np.linalg.solve(gram, (x[frequent] * weight).T @ table[frequent])
    known = (counts >= 5) & (counts <= 30)
    predicted *= np.linalg.norm(table[known], axis=1).mean() / np.linalg.norm(predicted[known], axis=1).mean()
    share = (counts / (counts + kappa)).astype(np.float32)[:, None]
    return np.asarray(share * table + (1 - share) * predicted, dtype=np.float32)


def _tensors(rows: list[np.ndarray]) -> tuple[Any, Any]:
    import torch

    lengths = np.array(list(map(len, rows)))
    flat = np.concatenate(rows).astype(np.int64)
    return torch.from_numpy(flat), torch.from_numpy(np.cumsum(lengths) - lengths)


@dataclass
class Fitting:
    """A table under Adam, with a rate that rises for a short while and then falls to nothing."""

    table: np.ndarray
    rate: float
    steps: int

    def __post_init__(self) -> None:
        import torch

        self.bag = torch.nn.EmbeddingBag(*self.table.shape, mode="sum")
        self.bag.weight.data = torch.from_numpy(self.table.copy())
        self._optimiser = torch.optim.Adam(self.bag.parameters(), lr=self.rate, fused=True)
        self.done = 0

    def unit(self, rows: list[np.ndarray]) -> Any:
        """Normalised sums of lists of rows."""
        import torch

        return torch.nn.functional.normalize(self.bag(*_tensors(rows)), dim=1)

    def step(self, loss: Any) -> float:
        """One step of Adam; the loss before it."""
        share = min(1.0, (self.done + 1) / 20) * max(0.02, 1 - self.done / self.steps)
        for group in self._optimiser.param_groups:
            group["lr"] = self.rate * share
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        self.done += 1
        return float(loss.item())

    def result(self) -> np.ndarray:
        """The table as it is now."""
        return np.array(self.bag.weight.detach().numpy())


Watch = Callable[[int, np.ndarray], None]


def fit_to_teacher(
    bags: Bags,
    target: np.ndarray,
    table: np.ndarray,
    *,
    epochs: int,
    rate: float,
    seed: int,
    batch: int = 1024,
) -> np.ndarray:
    """Turn the sum of each text's rows towards its target."""
    import torch

    rng, wanted = np.random.default_rng(seed), torch.from_numpy(target)
    used = np.flatnonzero(np.diff(bags.starts))
    fitting = Fitting(table, rate, epochs * (len(used) // batch))
    for epoch in range(epochs):
        order, total = rng.permutation(used), 0.0
        for first in range(0, len(order) - batch + 1, batch):
            rows = order[first : first + batch]
            found = fitting.unit([bags[i] for i in rows])
            total += fitting.step(1 - (found * wanted[rows]).sum(1).mean())
        print(f"epoch {epoch}: mean cosine {1 - total / (len(order) // batch):.4f}", flush=True)
    return fitting.result()


@dataclass
class PairBags:
    """The pairs of a source: short texts, longer ones, and how often a batch comes from here."""

    short: Bags
    long: Bags
    weight: float

    def draw(self, rng: np.random.Generator, size: int, width: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """A batch: a window of each longer text, or a span of it against what is left."""
        left, right = [], []
        for i in rng.choice(len(self.short), size=min(size, len(self.short)), replace=False):
            a, b = self.short[i], self.long[i]
            if len(b) > 30 and rng.random() < 0.5:
                length = int(rng.integers(8, 24))
                at = int(rng.integers(0, len(b) - length))
                a, b = b[at : at + length], np.concatenate([a, b[:at], b[at + length :]])[: 2 * width]
            elif len(b) > width:
                length = int(rng.integers(width // 3, 2 * width))
                at = int(rng.integers(0, max(1, len(b) - length)))
                b = b[at : at + length]
            left.append(a)
            right.append(b)
        return left, right


def contrast(a: Any, b: Any, same: np.ndarray, scale: float) -> Any:
    """Cross entropy of finding each text's partner among those of the batch, both ways; ``same`` are no strangers."""
    import torch

    scores = (scale * (a @ b.T)).masked_fill(torch.from_numpy(same), -1e4)
    own = torch.arange(len(a))
    entropy = torch.nn.functional.cross_entropy
    return (entropy(scores, own) + entropy(scores.T, own)) / 2


def _alike(rows: list[np.ndarray]) -> np.ndarray:
    """Which lists are equal to another one, themselves left out."""
    keys = np.array([hash(r.tobytes()) for r in rows])
    return (keys[:, None] == keys[None, :]) & ~np.eye(len(keys), dtype=bool)


def fit_to_pairs(
    table: np.ndarray,
    sources: list[PairBags],
    bags: Bags,
    target: np.ndarray,
    *,
    steps: int,
    rate: float,
    share: float,
    seed: int,
    scale: float = 20.0,
    batch: int = 1024,
    width: int = 64,
    watch: Watch | None = None,
) -> np.ndarray:
    """Draw pairs together, with ``share`` times the teacher's loss beside."""
    import torch

    rng, wanted = np.random.default_rng(seed), torch.from_numpy(target)
    used = np.flatnonzero(np.diff(bags.starts))
    weights = np.array([s.weight for s in sources])
    fitting = Fitting(table, rate, steps)
    for step in range(steps):
        left, right = sources[rng.choice(len(sources), p=weights / weights.sum())].draw(rng, batch, width)
        rows = rng.choice(used, size=batch // 2, replace=False)
        pairs = contrast(fitting.unit(left), fitting.unit(right), _alike(left), scale)
        taught = 1 - (fitting.unit([bags[i] for i in rows]) * wanted[rows]).sum(1).mean()
        fitting.step(pairs + share * taught)
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}: pairs {pairs.item():.3f}, teacher {1 - taught.item():.4f}", flush=True)
            if watch is not None:
                watch(step + 1, fitting.result())
    return fitting.result()


def quantise(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """16 levels (c - 7.5) * scale, the scale of each row that loses least; two values a byte."""
    best = np.full(len(table), np.inf, dtype=np.float32)
    scales = np.zeros(len(table), dtype=np.float16)
    codes = np.full(table.shape, 8, dtype=np.uint8)
    widest = np.abs(table).max(axis=1)
    for share in np.linspace(0.45, 1.0, 12):
        scale = np.maximum(widest * share / 7.5, 1e-6).astype(np.float16)
        step = scale.astype(np.float32)[:, None]
        trial = np.clip(np.rint(table / step + 7.5), 0, 15)
        loss = ((trial - 7.5) * step - table).astype(np.float32)
        error = np.einsum("ij,ij->i", loss, loss)
        better = error < best
        best[better], scales[better], codes[better] = error[better], scale[better], trial[better]
    return codes[:, 0::2] | (codes[:, 1::2] << 4), scales


def _packed(words: list[str]) -> np.ndarray:
    return np.frombuffer(zlib.compress("\n".join(words).encode(), 9), dtype=np.uint8)


def write(file: Path, table: np.ndarray, vocabulary: list[str], words: list[str], about: dict[str, Any]) -> None:
    """One .npz of plain arrays: codes, scales, pieces and whole words (compressed), and the description as JSON."""
    codes, scales = quantise(table)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        codes=codes,
        scales=scales,
        vocabulary=_packed(vocabulary),
        words=_packed(words),
        about=np.frombuffer(json.dumps(about, sort_keys=True).encode(), dtype=np.uint8),
    )
    file.write_bytes(buffer.getvalue())
    print(f"{file}: {file.stat().st_size:,} bytes")
