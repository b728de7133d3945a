"""Weighted fusion: a weighted sum of scores, put on one scale first.

Use it where some lists are better than others, and how much better was measured: with two lists and
``weights="0.7 0.3"`` it is the ``alpha`` of many hybrid searches. ``norm="reciprocal"`` makes it weighted
reciprocal rank fusion.

paper: Vogt and Cottrell, 1999, doi:10.1023/A:1009980820262 (linear combination)
needs: numpy
status: experimental
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

import numpy as np

from nearfield.core.errors import BadInput, BadParameter
from nearfield.core.fusers import F64, Fuser, Table
from nearfield.core.params import OneOf
from nearfield.numerics import fusion


@dataclass
class Weighted(Fuser):
    """Sums of scores after ``norm``, each list with its own weight.

    ``weights`` are numbers of at least 0, one a list, separated by spaces (a sequence is taken too); blank:
    all alike. Raises ``BadInput`` where there are more or fewer lists.

    >>> import numpy as np
    >>> runs = [(np.array([4, 1, 3]), np.array([9.0, 8.0, 5.0])), (np.array([1, 2]), np.array([0.9, 0.1]))]
    >>> rows, scores = Weighted(weights="3 1").fuse(runs, k=2)
    >>> rows.tolist(), scores.tolist()
    ([1, 4], [3.25, 3.0])
    """

    symmetric: ClassVar[bool] = False

    weights: str = ""
    norm: Annotated[str, OneOf(*fusion.NORMS)] = "minmax"

    def __post_init__(self) -> None:
        given: object = self.weights
        if isinstance(given, (Sequence, np.ndarray)) and not isinstance(given, (str, bytes)):
            self.weights = " ".join(str(weight) for weight in np.asarray(given, dtype=object).tolist())
        super().__post_init__()
        self._numbers = _read(self.weights)

    @classmethod
    def examples(cls) -> list[Self]:
        """All lists alike, and under every scale; three lists of different weight."""
        return [cls(), cls(weights="1.5 1 0.5"), *(cls(norm=norm) for norm in fusion.NORMS[1:])]

    @property
    def affine(self) -> bool:
        """Unless scores are taken as they are."""
        return self.norm != "none"

    def combine(self, table: Table) -> F64:
        """The weighted sum over the lists that hold a row."""
        weights = self._numbers if self._numbers.size else np.ones(len(table.sizes))
        if weights.size != len(table.sizes):
            raise BadInput(f"weighted: expected {weights.size} lists, one a weight, got {len(table.sizes)}")
        return fusion.total(weights[:, None] * fusion.normalised(table, self.norm))


def _read(text: str) -> F64:
    """The numbers of a text, or a word on which is none."""
    try:
        numbers = np.array([float(word) for word in text.replace(",", " ").split()])
    except ValueError:
        numbers = np.array([np.nan])
    if not ((numbers >= 0) & (numbers <= 1e6)).all() or (numbers.size and not numbers.any()):
        raise BadParameter(f"weighted(weights=) expects numbers from 0 to 1e6, not all 0, got {text!r}")
    return numbers
