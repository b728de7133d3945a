"""Recurrent binarization: residual blocks that turn a row into a few signs a dimension, and their training.

Block by block as published: ``v = sign(base(x))``; then for each further bit ``t`` the code is taken back
to the rows' space, and the sign of what it misses is added at half the weight of the last:
``v += 2^-t sign(rest(x - back(v)))``. Each block is a linear path plus a two-layer perceptron.

The linear paths start from principal directions and least squares and the perceptrons from zero, so that
training starts from a working code and a minute is enough. Encoding needs NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.protocols import F32
from nearfield.numerics import spectra

F64 = NDArray[np.float64]
Weights = dict[str, F64]  # "linear", "bias", "inner", "inner_bias", "outer"
RIDGE_ROWS = 8192
BATCH = 256
QUEUE = 4096
TEMPERATURE = 0.05
RATE = 5e-4
CONTRAST = 0.02  # its weight beside the decoder's error: more of it helps codes as queries, less float queries


def ridge(x: F64, y: F64) -> tuple[F64, F64]:
    """Least squares with intercept: ``y ~ x @ w.T + b``."""
    mx, my = x.mean(axis=0), y.mean(axis=0)
    centred = x - mx
    gram = centred.T @ centred
    gram[np.diag_indices_from(gram)] += 1e-3 * max(float(np.trace(gram)) / len(gram), 1e-12)
    w = np.linalg.solve(gram, centred.T @ (y - my))
    return w.T, my - mx @ w


def sign(z: F64) -> F64:
    """+1 or -1; noise about zero, as in a dimension without variance, is -1."""
    return np.where(z > 1e-9, 1.0, -1.0)


def unit(f: F64, lengths: F64) -> F64:
    """Rows scaled to ``lengths``."""
    own = np.sqrt(np.einsum("ij,ij->i", f, f))
    return np.asarray(f * (lengths / np.where(own > 0, own, 1))[:, None])


def apply(w: Weights, x: F64) -> F64:
    """One block: the linear path plus the perceptron."""
    return np.asarray(x @ w["linear"].T + w["bias"] + np.maximum(x @ w["inner"].T + w["inner_bias"], 0) @ w["outer"].T)


@dataclass
class Network:
    """The blocks: ``base``, then ``back`` and ``rest`` for each further bit."""

    base: Weights
    back: list[Weights] = field(default_factory=list)
    rest: list[Weights] = field(default_factory=list)

    def blocks(self) -> dict[str, Weights]:
        """Every block by name."""
        out = {"base": self.base}
        for i, (back, rest) in enumerate(zip(self.back, self.rest)):
            out |= {f"back{i}": back, f"rest{i}": rest}
        return out

    def integers(self, x: F32) -> NDArray[np.uint16]:
        """Codes of rows as integers, the base sign in the highest bit, ``[n, dim]``."""
        rows = x.astype(np.float64)  # so that no sign hangs on the order of summation
        lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        v = sign(apply(self.base, rows))
        integers: NDArray[np.uint16] = (v > 0).astype(np.uint16)
        for t, (back, rest) in enumerate(zip(self.back, self.rest)):
            b = sign(apply(rest, rows - unit(apply(back, v), lengths)))
            v = v + 0.5 ** (t + 1) * b
            integers = ((integers << np.uint16(1)) | (b > 0)).astype(np.uint16)
        return integers


def values(integers: NDArray[Any], bits: int) -> F32:
    """The sum of signs that an integer stands for: ``sum_t 2^-t sign_t``."""
    half = 2.0 ** (1 - bits)
    return (integers.astype(np.float32) * np.float32(2 * half) - np.float32(half * (2**bits - 1))).astype(np.float32)


def _block(linear: F64, bias: F64, hidden: int, rng: np.random.Generator) -> Weights:
    inputs = linear.shape[1]
    inner = rng.normal(size=(hidden, inputs)) * np.sqrt(2 / inputs)
    return {
        "linear": linear,
        "bias": bias,
        "inner": inner,
        "inner_bias": np.zeros(hidden),
        "outer": np.zeros((len(linear), hidden)),
    }


def _scaled(linear: F64, bias: F64, x: F64) -> tuple[F64, F64]:
    """Divide by each output's spread: the straight-through gradient flows between -1 and 1 only."""
    spread = 1.5 * (x @ linear.T).std(axis=0)
    spread = np.where(spread > 1e-12, spread, 1)
    return linear / spread[:, None], bias / spread


def start(
    x: F32, bits: int, dim: int, hidden: int, rng: np.random.Generator, old: NDArray[np.uint16] | None = None
) -> Network:
    """Blocks from principal directions; or, given ``old`` codes of the same rows, from regressions on them."""
    rows = x[:RIDGE_ROWS].astype(np.float64)
    mean = rows.mean(axis=0)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    if old is None:
        _, vectors = spectra.principal(x[:RIDGE_ROWS], mean, dim)
        turn = (vectors @ spectra.random_rotation(dim, rng).astype(np.float64)).T
        linear, bias = _scaled(turn, -(turn @ mean), rows)
    else:
        linear, bias = ridge(rows, _signs(old[:RIDGE_ROWS], bits, 0))
    network = Network(_block(linear, bias, hidden, rng))
    v = sign(apply(network.base, rows))
    for t in range(bits - 1):
        network.back.append(_block(*ridge(v, rows), hidden, rng))
        rest = rows - unit(apply(network.back[-1], v), lengths)
        if old is None:
            linear, bias = _scaled(turn, np.zeros(dim), rest)
        else:
            linear, bias = ridge(rest, _signs(old[:RIDGE_ROWS], bits, t + 1))
        network.rest.append(_block(linear, bias, hidden, rng))
        v = v + 0.5 ** (t + 1) * sign(apply(network.rest[-1], rest))
    return network


def _signs(integers: NDArray[np.uint16], bits: int, t: int) -> F64:
    return np.asarray(((integers >> (bits - 1 - t)) & 1) * 2.0 - 1.0)


def train(
    torch: Any, network: Network, x: F32, steps: int, rng: np.random.Generator, old: F32 | None = None
) -> Network:
    """Train the blocks on rows ``[n, d]``: queue InfoNCE whose targets are the rows' own similarities.

    The codes of the last few thousand rows are the keys. With ``old``, the codes that another version
    gave to the same rows, these are keys too (backward-compatible training).
    """
    trainer = _Trainer(torch, network, x, old)
    batch = min(BATCH, len(x))
    for step in range(steps):
        trainer.step(rng.integers(0, len(x), batch), RATE * min(1.0, 2 * (1 - step / steps), (step + 1) / 10))
    return trainer.result()


class _Trainer:
    """The network as torch tensors; made without torch's global random state."""

    def __init__(self, torch: Any, network: Network, x: F32, old: F32 | None) -> None:
        self.torch = torch
        self.functional = torch.nn.functional
        self.loops = len(network.back)
        self.x = torch.from_numpy(np.ascontiguousarray(x))
        self.old = None if old is None else torch.from_numpy(old)
        self.tensors = {
            f"{block}.{part}": torch.tensor(w, dtype=torch.float32).requires_grad_()
            for block, weights in network.blocks().items()
            for part, w in weights.items()
        }
        self.means: dict[str, Any] = {}
        self.spreads: dict[str, Any] = {}
        for block, weights in network.blocks().items():
            hidden = len(weights["inner"])
            self.tensors[f"{block}.gain"] = torch.ones(hidden).requires_grad_()
            self.means[block], self.spreads[block] = torch.zeros(hidden), torch.ones(hidden)
        codes = torch.from_numpy(values(network.integers(x[:RIDGE_ROWS]), self.loops + 1)).numpy()
        decoder, shift = ridge(codes.astype(np.float64), x[:RIDGE_ROWS].astype(np.float64))
        self.decoder = torch.tensor(decoder, dtype=torch.float32).requires_grad_()
        self.shift = torch.tensor(shift, dtype=torch.float32).requires_grad_()
        self.optimizer = torch.optim.Adam([*self.tensors.values(), self.decoder, self.shift], lr=RATE)
        self.keys: list[Any] = []  # of each step: rows, their codes, their old codes

    def _block(self, name: str, x: Any) -> Any:
        t, f = self.tensors, self.functional
        inner = f.linear(x, t[f"{name}.inner"])
        normed = f.batch_norm(
            inner,
            self.means[name],
            self.spreads[name],
            t[f"{name}.gain"],
            t[f"{name}.inner_bias"],
            training=True,
            momentum=0.1,
        )
        return f.linear(x, t[f"{name}.linear"], t[f"{name}.bias"]) + f.linear(f.relu(normed), t[f"{name}.outer"])

    def _sign(self, z: Any) -> Any:
        """The sign, with the gradient of the identity between -1 and 1 (straight through)."""
        passed = z.clamp(-1, 1)
        return passed + (self.torch.where(z > 0, 1.0, -1.0) - passed).detach()

    def codes(self, x: Any) -> Any:
        lengths = x.norm(dim=1, keepdim=True)
        v = self._sign(self._block("base", x))
        for t in range(self.loops):
            back = self.functional.normalize(self._block(f"back{t}", v), dim=1) * lengths
            v = v + 0.5 ** (t + 1) * self._sign(self._block(f"rest{t}", x - back))
        return v

    def step(self, rows: NDArray[Any], rate: float) -> None:
        index = self.torch.from_numpy(rows)
        x = self.x[index]
        v = self.codes(x)
        lost = v @ self.decoder.T + self.shift - x
        loss = (lost * lost).sum(dim=1).mean() / (x * x).sum(dim=1).mean().clamp_min(1e-30)
        unit = self.functional.normalize(v, dim=1)
        x = self.functional.normalize(x, dim=1)
        if self.keys:
            loss = loss + CONTRAST * self._contrast(x, unit)
        kept = None if self.old is None else self.functional.normalize(self.old[index], dim=1)
        self.keys = [(x, unit.detach(), kept), *self.keys][: max(1, QUEUE // len(rows))]
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def _contrast(self, x: Any, unit: Any) -> Any:
        """Cross entropy between the similarities of rows to the queue's rows and those of their codes."""
        torch, f = self.torch, self.functional
        wanted = f.softmax(x @ torch.cat([k[0] for k in self.keys]).T / TEMPERATURE, dim=1)
        total = 0.0
        for which in (1,) if self.old is None else (1, 2):
            logits = unit @ torch.cat([k[which] for k in self.keys]).T / TEMPERATURE
            total = total + f.kl_div(f.log_softmax(logits, dim=1), wanted, reduction="batchmean")
        return total

    def result(self) -> Network:
        """The trained weights, with the normalisation of each perceptron folded into its first layer."""
        blocks = {}
        for name in self.means:
            w = {
                part: self.tensors[f"{name}.{part}"].detach().numpy().astype(np.float64)
                for part in ("linear", "bias", "inner", "inner_bias", "outer", "gain")
            }
            factor = w.pop("gain") / np.sqrt(self.spreads[name].numpy().astype(np.float64) + 1e-5)
            w["inner"] = w["inner"] * factor[:, None]
            w["inner_bias"] = w["inner_bias"] - self.means[name].numpy() * factor
            blocks[name] = w
        back = [blocks[f"back{t}"] for t in range(self.loops)]
        return Network(blocks["base"], back, [blocks[f"rest{t}"] for t in range(self.loops)])
