"""The base of the Index room: finds the best rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import BadInput
from nearfield.core.hits import Hits
from nearfield.core.method import Method
from nearfield.core.protocols import Kind, Layout, Prepared, Progress, Rows, Vectors

Columns: TypeAlias = dict[str, NDArray[Any]]
Shapes: TypeAlias = dict[str, tuple[str, tuple[int, ...]]]  # name -> type, shape


@dataclass
class Index(Method):
    """Finds the best rows for a query; ``budget`` is its only effort knob.

    ``build`` learns from vectors and returns columns, which are kept beside the codes; ``attach`` takes up codes and
    columns, freshly made or mapped from a file, and makes the index ready to search.
    """

    takes: ClassVar[Kind] = "dense"
    layouts: ClassVar[frozenset[Layout]] = frozenset(Layout)
    interleaves: ClassVar[bool] = False  # whether table layouts lie in blocks of 32 rows, for scans

    from_disk: ClassVar[frozenset[str]] = frozenset()  # columns that are read from a file a few rows at a time

    def sized(self, d: int) -> Self:
        """The same for rows of ``d`` dimensions, where its columns are shaped by that."""
        return self

    def build(self, x: Vectors, *, rng: np.random.Generator, progress: Progress | None = None) -> Columns:
        """Learn from the vectors; the columns that ``attach`` needs, each named and shaped as ``shapes`` says."""
        return {}

    def shapes(self, n: int) -> Shapes:
        """The columns that ``build`` gives for ``n`` rows: type and shape of each."""
        return {}

    def attach(self, rows: Rows, columns: Columns) -> Self:
        """Take up codes and the columns of ``build``."""
        raise TypeError(f"{type(self).__name__} must define attach")

    def search(self, q: Prepared, k: int, *, budget: int = 0, allow: NDArray[np.bool_] | None = None) -> Hits:
        """The ``k`` best rows for each query among those that ``allow`` admits; always ``min(k, matches)``."""
        raise TypeError(f"{type(self).__name__} must define search")

    def finder(self) -> Any:
        """What finds rows natively, one call for a whole search; None where there is none."""
        return None

    def effort(self, k: int, budget: int, matches: int) -> int | None:
        """What its finder spends for ``budget`` where so many rows match; None where it searches in another way."""
        return None

    @property
    def bytes_per_row(self) -> float:
        """Bytes that the index keeps for a row beside its codes (links, norms)."""
        return 0.0


def check_search(k: int, n: int, allow: NDArray[np.bool_] | None) -> int:
    """Check ``k`` and ``allow``; return ``min(k, n)``."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise BadInput(f"k: expected a whole number of at least 1, got {k!r}")
    if allow is not None and not isinstance(allow, np.ndarray):
        raise BadInput(f"allow: expected a numpy array of bool, got {type(allow).__name__}")
    if allow is not None and (allow.dtype != np.bool_ or allow.shape != (n,)):
        raise BadInput(f"allow: expected bool of shape ({n},), got {allow.dtype} of shape {allow.shape}")
    return min(int(k), n)
