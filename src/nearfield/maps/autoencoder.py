"""Autoencoder: a small network that compresses rows so that another can rebuild them.

For data whose structure curves: tables, images. On sentence embeddings PCA does as well in a
thousandth of the time. The contractive penalty makes codes insensitive to small changes of the input.

paper: S151 (Bertrand et al. 2024, arXiv:2402.18164; contractive: Rifai et al. 2011; denoising: Vincent et al. 2008)
needs: torch, in fit only
status: proven
slow: trains a network, 19 s of CPU for 20,000 rows of 384 dimensions
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np

from nearfield.core import arrays
from nearfield.core.maps import Map
from nearfield.core.params import OneOf, Range
from nearfield.core.protocols import F32, I64, Metric
from nearfield.numerics import networks
from nearfield.numerics.linear import refuse_wider

Tensors = list[tuple[Any, Any]]


@dataclass
class Autoencoder(Map):
    """Codes of ``dim`` numbers through ``layers`` hidden layers of ``hidden`` units (tanh; codes are linear).

    ``contractive`` weighs the squared Frobenius norm of the encoder's Jacobian, averaged over rows:
    ``jacobian="full"`` takes that of the whole encoder (exactly up to one hidden layer, beyond by an unbiased
    estimate), ``"layers"`` adds up each layer's own, ``"stacked"`` trains the layers one after another, each with
    its own penalty. ``noise`` is the standard deviation, in those of the data, of noise added to the input in
    training (denoising). ``rows`` bounds the sample.
    """

    dim: Annotated[int, Range(1)]
    hidden: Annotated[int, Range(1)] = 256
    layers: Annotated[int, Range(0, 4)] = 1
    contractive: Annotated[float, Range(0)] = 0.0
    jacobian: Annotated[str, OneOf("full", "layers", "stacked")] = "full"
    noise: Annotated[float, Range(0)] = 0.0
    epochs: Annotated[int, Range(1)] = 40
    batch: Annotated[int, Range(1)] = 256
    rate: Annotated[float, Range(0)] = 0.002
    rows: Annotated[int, Range(1)] = 20_000

    @classmethod
    def examples(cls) -> list[Self]:
        small: dict[str, Any] = {"dim": 8, "hidden": 24, "epochs": 60, "batch": 32, "rate": 0.01}
        return [
            cls(**small),
            cls(**small, contractive=0.001),
            cls(**small, contractive=0.001, jacobian="layers", layers=2),
            cls(**small, contractive=0.001, jacobian="stacked", noise=0.01),
            cls(**small | {"layers": 0}),
        ]

    def fit(self, x: F32, target: F32 | None = None, *, metric: Metric = "dot", rng: np.random.Generator) -> Self:
        """Train encoder and decoder on rows ``[n, d]``, centred and brought to a mean variance of one."""
        d = x.shape[1]
        refuse_wider("autoencoder", self.dim, d)
        x = x[arrays.sample_rows(len(x), self.rows, rng)]
        mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        spread = float(np.sqrt(((x - mean) ** 2).mean(dtype=np.float64)))
        scale = spread if spread > 1e-12 else 1.0
        ready = np.ascontiguousarray((x - mean) / np.float32(scale), dtype=np.float32)
        widths = [d, *[self.hidden] * self.layers, self.dim]
        encoder, decoder = networks.draw(widths, rng), networks.draw(widths[::-1], rng)
        if self.jacobian == "stacked":
            encoder, decoder = self._stack(ready, encoder, decoder, rng)
        else:
            encoder, decoder = self._train(ready, encoder, decoder, rng)
        self.mean_, self.scale_ = mean, scale
        vars(self).update(networks.pack(encoder, "encoder") | networks.pack(decoder, "decoder"))
        return self

    def _stack(
        self, x: F32, encoder: networks.Layers, decoder: networks.Layers, rng: np.random.Generator
    ) -> tuple[networks.Layers, networks.Layers]:
        learned: networks.Layers = []
        mirrored: networks.Layers = []
        for i, (layer, back) in enumerate(zip(encoder, decoder[::-1])):
            inner = i + 1 < len(encoder)
            down, up = self._train(x, [layer], [back], rng, squash=inner)
            learned += down
            mirrored = up + mirrored
            x = networks.apply(down, x, "tanh")
            x = np.tanh(x) if inner else x
        return learned, mirrored

    def _train(
        self,
        x: F32,
        encoder: networks.Layers,
        decoder: networks.Layers,
        rng: np.random.Generator,
        *,
        squash: bool = False,
    ) -> tuple[networks.Layers, networks.Layers]:
        """Train both; with ``squash`` the code, too, goes through tanh (a layer of a stack)."""
        torch = networks.torch()
        data = torch.from_numpy(x)
        down, up = networks.tensors(encoder), networks.tensors(decoder)

        def loss(which: I64) -> Any:
            clean = data[torch.from_numpy(which)]
            given = clean
            if self.noise:
                given = clean + torch.from_numpy((self.noise * rng.normal(size=clean.shape)).astype(np.float32))
            code, slopes = _encode(given, down, torch, squash)
            error = ((_decode(code, up, torch) - clean) ** 2).sum(dim=1).mean()
            return error + self.contractive * _penalty(down, slopes, self.jacobian, rng) if self.contractive else error

        learned = [t for layer in down + up for t in layer]
        networks.descend(learned, loss, len(x), epochs=self.epochs, batch=self.batch, rate=self.rate, rng=rng)
        return networks.arrays(down), networks.arrays(up)

    def transform(self, x: F32) -> F32:
        """Encode rows ``[n, d] -> [n, dim]``; queries likewise."""
        self.need_fit()
        self.check_width(x, self.mean_.size)
        return networks.apply(
            networks.unpack(vars(self), "encoder"), (x - self.mean_) / np.float32(self.scale_), "tanh"
        )

    def inverse(self, z: F32) -> F32:
        """Decode ``[n, dim] -> [n, d]``."""
        self.need_fit()
        rebuilt = networks.apply(networks.unpack(vars(self), "decoder"), z, "tanh")
        return np.asarray(rebuilt * np.float32(self.scale_) + self.mean_, dtype=np.float32)


def _encode(x: Any, layers: Tensors, torch: Any, squash: bool) -> tuple[Any, list[Any]]:
    """The code and the slopes of each layer's activation, ``[batch, units]`` (None: linear)."""
    slopes: list[Any] = []
    for i, (weight, bias) in enumerate(layers):
        x = x @ weight.T + bias
        if i + 1 < len(layers) or squash:
            x = torch.tanh(x)
            slopes.append(1 - x * x)
        else:
            slopes.append(None)
    return x, slopes


def _decode(z: Any, layers: Tensors, torch: Any) -> Any:
    for i, (weight, bias) in enumerate(layers):
        z = z @ weight.T + bias
        if i + 1 < len(layers):
            z = torch.tanh(z)
    return z


def _penalty(layers: Tensors, slopes: list[Any], kind: str, rng: np.random.Generator) -> Any:
    """The mean squared Frobenius norm of the encoder's Jacobian, or the sum of the layers' own."""
    if kind != "full" or len(layers) == 1:
        return sum(_own(weight, slope) for (weight, _), slope in zip(layers, slopes))
    return _whole(layers, slopes[0]) if len(layers) == 2 else _estimated(layers, slopes, rng)


def _own(weight: Any, slope: Any) -> Any:
    squares = weight.pow(2).sum(dim=1)
    return squares.sum() if slope is None else (slope.pow(2) @ squares).mean()


def _whole(layers: Tensors, slope: Any) -> Any:
    """One hidden layer, exactly: ``|B diag(s) A|^2 = s' (A A' * B' B) s``, so that no Jacobian is written out."""
    (inner, _), (outer, _) = layers
    return ((slope @ ((inner @ inner.T) * (outer.T @ outer))) * slope).sum(dim=1).mean()


def _estimated(layers: Tensors, slopes: list[Any], rng: np.random.Generator) -> Any:
    """More hidden layers, by Hutchinson: ``E |v' J|^2 = |J|^2`` for random signs ``v``, drawn anew for each row."""
    torch = networks.torch()
    back = torch.from_numpy(rng.choice(np.array([-1, 1], np.float32), size=(len(slopes[0]), len(layers[-1][0]))))
    for (weight, _), slope in zip(reversed(layers), reversed(slopes)):
        back = (back if slope is None else back * slope) @ weight
    return back.pow(2).sum(dim=1).mean()
