"""Small dense networks: drawn and applied with NumPy, trained with torch where that is installed.

A network is a list of layers ``(weight [out, in], bias [out])`` with an activation between them (none
after the last). Weights are drawn from a NumPy generator, so that no global random state is touched and
a seed says everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np

from nearfield.core.optional import require
from nearfield.core.protocols import F32, I64
from nearfield.numerics import kernels

Layers = list[tuple[F32, F32]]


def draw(widths: list[int], rng: np.random.Generator) -> Layers:
    """Random layers of the given widths, uniform within ``1 / sqrt(in)`` as is usual for dense layers."""
    out = []
    for before, after in pairwise(widths):
        edge = before**-0.5
        weight = rng.uniform(-edge, edge, size=(after, before)).astype(np.float32)
        out.append((weight, rng.uniform(-edge, edge, size=after).astype(np.float32)))
    return out


def apply(layers: Layers, x: F32, activation: str) -> F32:
    """Run rows ``[n, d]`` through the layers."""
    for i, (weight, bias) in enumerate(layers):
        x = kernels.dots(x, weight) + bias
        if i + 1 < len(layers):
            x = np.tanh(x) if activation == "tanh" else np.maximum(x, 0)
    return np.asarray(x, dtype=np.float32)


def pack(layers: Layers, prefix: str) -> dict[str, F32]:
    """Layers as named arrays that a Method can keep: ``<prefix>0_weight_`` and so on."""
    out = {}
    for i, (weight, bias) in enumerate(layers):
        out[f"{prefix}{i}_weight_"], out[f"{prefix}{i}_bias_"] = weight, bias
    return out


def unpack(values: dict[str, Any], prefix: str) -> Layers:
    """The inverse of ``pack``."""
    out: Layers = []
    while f"{prefix}{len(out)}_weight_" in values:
        i = len(out)
        out.append((values[f"{prefix}{i}_weight_"], values[f"{prefix}{i}_bias_"]))
    return out


def torch() -> Any:
    """The torch module, or ``MissingExtra``."""
    return require("torch", extra="torch")


def tensors(layers: Layers) -> list[tuple[Any, Any]]:
    """Layers as torch tensors that learn."""
    t = torch()
    return [(t.tensor(w, requires_grad=True), t.tensor(b, requires_grad=True)) for w, b in layers]


def arrays(layers: list[tuple[Any, Any]]) -> Layers:
    """Learned tensors as NumPy layers."""
    return [(w.detach().numpy().copy(), b.detach().numpy().copy()) for w, b in layers]


def batches(n: int, size: int, rng: np.random.Generator) -> Iterator[I64]:
    """One pass over ``n`` rows in random order, in batches of ``size``; a short rest joins no batch unless alone."""
    order = rng.permutation(n)
    size = min(size, n)
    for start in range(0, n - size + 1, size):
        yield order[start : start + size]


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch().get_num_threads()
    torch().set_num_threads(1)
    try:
        yield
    finally:
        torch().set_num_threads(threads)


@_one_thread()
def descend(
    parameters: list[Any],
    loss: Callable[[I64], Any],
    n: int,
    *,
    epochs: int,
    batch: int,
    rate: float,
    decay: float = 0.0,
    rng: np.random.Generator,
) -> float:
    """Lower ``loss(row numbers)`` by Adam, the rate rising for a tenth of the steps, then falling by a cosine.

    Runs on one thread: sums then keep one order, so that a seed gives one result, and small layers lose
    nothing. Returns the last epoch's mean loss.
    """
    optimiser = torch().optim.AdamW(parameters, lr=rate, weight_decay=decay)
    each = max(1, n // min(batch, n))
    total = epochs * each
    warm = max(1, total // 10)
    done, last = 0, 0.0
    for _ in range(epochs):
        last = 0.0
        for rows in batches(n, batch, rng):
            now = rate * min((done + 1) / warm, 0.5 * (1 + np.cos(np.pi * max(0, done - warm) / max(1, total - warm))))
            for group in optimiser.param_groups:
                group["lr"] = now
            optimiser.zero_grad()
            value = loss(rows)
            value.backward()
            optimiser.step()
            last += float(value.detach()) / each
            done += 1
    return last
