"""ITQ: the rotation of the principal directions under which signs lose least.

Codes of fewer bits than dimensions, or somewhat better ones than plain signs at a bit a dimension. On sentence
embeddings a random rotation of the principal directions (``rounds=0``) does as well.

paper: Gong, Lazebnik 2011, Iterative quantization, doi:10.1109/CVPR.2011.5995432
needs: numpy
status: proven
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import BadInput
from nearfield.core.params import Range
from nearfield.core.protocols import F32
from nearfield.numerics import spectra
from nearfield.numerics.signcodes import SignCodes

_BLOCK_ROWS = 1024
FIT_ROWS = 8192  # the rotation has d^2 / 2 free values: more rows change next to nothing


@dataclass
class ITQ(SignCodes):
    """Signs of the ``dim`` leading principal components, after a learned rotation (None: all of them).

    ``rounds`` alternates signs and rotation (orthogonal Procrustes). ``gain`` restores each row's length,
    with a byte. Queries are rotated, not cut to signs.

    >>> x = np.random.default_rng(0).normal(size=(50, 20)).astype(np.float32)
    >>> ITQ(dim=16).fit(x, rng=np.random.default_rng(0)).bytes_per_row
    3
    """

    gain: bool = True
    dim: Annotated[int | None, Range(1)] = None
    rounds: Annotated[int, Range(0)] = 50

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(gain=False, rounds=5)]

    def rows_wanted(self) -> int:
        """As many as the rotation is trained on."""
        return FIT_ROWS

    def fit(self, x: F32, queries: F32 | None = None, *, rng: np.random.Generator) -> Self:
        """Find directions and rotation for rows ``[n, d]``."""
        d = x.shape[1]
        dim = d if self.dim is None else self.dim
        if dim > d:
            raise BadInput(f"itq: dim={dim} is more than the {d} dimensions of the rows; give at most {d}")
        mean = x.mean(axis=0, dtype=np.float64)
        _, vectors = spectra.principal(x, mean, dim)
        rows = np.sort(rng.choice(len(x), min(len(x), FIT_ROWS), replace=False))
        blocks = np.array_split(rows, -(-len(rows) // _BLOCK_ROWS))
        projected = np.concatenate([(x[b] - mean.astype(np.float32)) @ vectors.astype(np.float32) for b in blocks])
        rotation = self._rotate(projected, spectra.random_rotation(dim, rng).astype(np.float64))
        self.keep(x, mean, (vectors @ rotation).T)
        return self

    def _rotate(self, v: F32, rotation: NDArray[Any]) -> NDArray[Any]:
        """Alternate the nearest signs and the rotation that fits them best."""
        for _ in range(self.rounds):
            signed = v @ rotation.astype(np.float32)
            np.multiply(signed > 0, 2, out=signed)
            signed -= 1
            left, _, right = np.linalg.svd((v.T @ signed).astype(np.float64))
            rotation = left @ right
        return rotation
