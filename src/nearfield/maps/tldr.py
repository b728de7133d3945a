"""TLDR: learns the reduction from nearest neighbours, by the redundancy-reduction loss of Barlow Twins.

For strong compression where whether rows are neighbours matters more than how large their variance is.
Measured on 5,183 text embeddings of 384 dimensions it is ahead of PCA at 8 dimensions, its equal at 16, and
loses at 64; it gains by more epochs, and the authors train on millions of rows, so measure it on your own. It
changes the geometry on purpose: follow it with ``normalize()``, as dot products of what it gives rank badly.

paper: S035 (Kalantidis, Lassance, Almazan, Larlus 2021, arXiv:2110.09455)
needs: torch, in fit only
status: proven
slow: trains a network, 46 s of CPU for 20,000 rows of 384 dimensions
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np

from nearfield.core import arrays
from nearfield.core.errors import BadInput
from nearfield.core.maps import Map
from nearfield.core.params import OneOf, Range
from nearfield.core.protocols import F32, I64, Metric
from nearfield.numerics import knn, networks
from nearfield.numerics.linear import refuse_wider


@dataclass
class TLDR(Map):
    """Maps neighbours to like outputs whose dimensions say different things.

    Pairs are a row and one of its ``k`` nearest; both pass the encoder (``"linear"``: one matrix, rows
    centred first; ``"mlp"``: one hidden layer of ``hidden`` units) and a projector of two hidden layers of
    ``projector`` units, which is thrown away after training. ``redundancy`` weighs the off-diagonal of the
    cross-correlation. ``rows`` bounds the sample that is trained on. The defaults are for one core and tens of
    thousands of rows; the authors train ``projector=2048, batch=1024, epochs=100, redundancy=0.0039`` (LARS
    in place of Adam) on millions.
    """

    dim: Annotated[int, Range(1)]
    k: Annotated[int, Range(1)] = 5
    encoder: Annotated[str, OneOf("linear", "mlp")] = "linear"
    hidden: Annotated[int, Range(1)] = 512
    projector: Annotated[int, Range(1)] = 256
    redundancy: Annotated[float, Range(0)] = 0.02
    epochs: Annotated[int, Range(1)] = 30
    batch: Annotated[int, Range(2)] = 512
    rate: Annotated[float, Range(0)] = 0.001
    rows: Annotated[int, Range(3)] = 20_000

    @classmethod
    def examples(cls) -> list[Self]:
        small: dict[str, Any] = {"dim": 6, "projector": 32, "epochs": 3, "batch": 64}
        return [cls(**small), cls(**small, encoder="mlp", hidden=32)]

    def fit(self, x: F32, target: F32 | None = None, *, metric: Metric = "dot", rng: np.random.Generator) -> Self:
        """Train the encoder on rows ``[n, d]`` and their neighbours."""
        d = x.shape[1]
        refuse_wider("tldr", self.dim, d)
        if len(x) < 3:
            raise BadInput(f"tldr: expected at least 3 rows to find neighbours among, got {len(x)}")
        x = x[arrays.sample_rows(len(x), self.rows, rng)]
        mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        neighbours = knn.nearest(x, x, min(self.k, len(x) - 1), others=True)[0]
        widths = [d, self.dim] if self.encoder == "linear" else [d, self.hidden, self.dim]
        layers = self._train(x - mean, neighbours, networks.draw(widths, rng), rng)
        self.width_ = int(d)
        self.mean_ = mean
        vars(self).update(networks.pack(layers, "layer"))
        return self

    def _train(self, x: F32, neighbours: I64, layers: networks.Layers, rng: np.random.Generator) -> networks.Layers:
        torch = networks.torch()
        encoder = networks.tensors(layers)
        projector = networks.tensors(networks.draw([self.dim, self.projector, self.projector, self.projector], rng))
        rows, width = torch.from_numpy(np.ascontiguousarray(x)), neighbours.shape[1]

        def twin(which: I64) -> Any:
            z = _forward(rows[torch.from_numpy(which)], encoder, torch)
            return _normal(_forward(z, projector, torch))

        def loss(which: I64) -> Any:
            other = neighbours[which, rng.integers(width, size=len(which))]
            cross = twin(which).T @ twin(other) / len(which)
            on = (torch.diagonal(cross) - 1).pow(2).sum()
            off = cross.pow(2).sum() - torch.diagonal(cross).pow(2).sum()
            return (on + self.redundancy * off) / 32

        learned = [t for layer in encoder + projector for t in layer]
        networks.descend(
            learned, loss, len(x), epochs=self.epochs, batch=self.batch, rate=self.rate, decay=1e-6, rng=rng
        )
        return _settle(networks.arrays(encoder), x)

    def transform(self, x: F32) -> F32:
        """Rows ``[n, d] -> [n, dim]``; queries likewise."""
        self.need_fit()
        self.check_width(x, self.width_)
        return networks.apply(networks.unpack(vars(self), "layer"), x - self.mean_, "relu")


def _settle(layers: networks.Layers, x: F32) -> networks.Layers:
    """Fold the normalisation of hidden units, over all rows, into their weights."""
    *hidden, (weight, _) = layers
    out: networks.Layers = []
    for inner, offset in hidden:
        values = x @ inner.T + offset
        width = np.sqrt(values.var(axis=0) + 1e-5)
        out.append((inner / width[:, None], (offset - values.mean(axis=0)) / width))
        x = np.maximum((values - values.mean(axis=0)) / width, 0)
    # The loss does not see the last bias: centred rows stay centred.
    return [*out, (weight, np.asarray(-(x @ weight.T).mean(axis=0), dtype=np.float32))]


def _normal(z: Any) -> Any:
    return (z - z.mean(dim=0)) / (z.var(dim=0, unbiased=False) + 1e-5).sqrt()


def _forward(z: Any, layers: list[tuple[Any, Any]], torch: Any) -> Any:
    for i, (weight, bias) in enumerate(layers):
        z = z @ weight.T + bias
        if i + 1 < len(layers):
            z = torch.relu(_normal(z))
    return z
