"""The base of the Index room: finds the best rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nearfield.core.bitmaps import Bitmap
from nearfield.core.checks import whole
from nearfield.core.errors import BadInput
from nearfield.core.hits import Hits
from nearfield.core.method import Method
from nearfield.core.protocols import F32, I64, Kind, Layout, Metric, Prepared, Progress, Rows, Vectors

Columns: TypeAlias = dict[str, NDArray[Any]]
Step: TypeAlias = Callable[[int, int], None]
Shapes: TypeAlias = dict[str, tuple[str, tuple[int, ...]]]  # name -> type, shape


class Updater(Protocol):
    """An index whose rows come and go, without being built anew; what it needs for that it holds in memory.

    ``dead`` is a bool a row that is there: those are not to be found any more, but keep their numbers. ``step`` is
    called now and then with rows done and rows in all, and ends the work by what it raises.
    """

    @property
    def nbytes(self) -> int: ...
    def add(self, x: Vectors, dead: NDArray[np.bool_], rng: np.random.Generator, *, step: Step | None = None) -> None:
        """Take in rows, numbered on from those that are there; all of them or none."""

    def consolidate(self, dead: NDArray[np.bool_], rng: np.random.Generator, *, step: Step | None = None) -> None:
        """Take dead rows out, so that searches do not pass over them any more."""

    def fork(self) -> Self:
        """The same as it is now, to be consolidated in another thread while this one changes."""
        ...

    def join(self, fork: Self, dead: NDArray[np.bool_], rng: np.random.Generator) -> None:
        """Take over what a fork that was rid of these rows has become, and mend what changed meanwhile."""

    def keep(self, rows: I64) -> None:
        """Only these rows, in this order; those left out are dead and were taken out."""

    def walked(self) -> Columns:
        """What ``attach`` takes up to search the rows as they are now."""
        ...

    def columns(self, dead: NDArray[np.bool_], rng: np.random.Generator) -> Columns:
        """The columns as ``build`` would give them."""
        ...


@dataclass
class Index(Method):
    """Finds the best rows for a query; ``budget`` is its only effort knob.

    ``build`` learns from vectors and returns columns, which are kept beside the codes; ``attach`` takes up codes and
    columns, freshly made or mapped from a file, and makes the index ready to search. An index that ``orders`` rows
    keeps them in an order of its own: its column ``order`` says which row lies at each place. One that gives
    ``origins`` has rows encoded by what is left of them when their origin is taken away.
    """

    takes: ClassVar[Kind] = "dense"
    layouts: ClassVar[frozenset[Layout]] = frozenset(Layout)
    interleaves: ClassVar[bool] = False  # whether table layouts lie in blocks of 32 rows, for scans
    learns: ClassVar[bool] = False  # whether it learns something in ``fit``
    orders: ClassVar[bool] = False  # whether it keeps rows in an order of its own
    decodes: ClassVar[bool] = False  # whether it searches codes without a layout
    from_disk: ClassVar[frozenset[str]] = frozenset()  # columns that are read from a file a few rows at a time
    swept: ClassVar[bool] = True  # whether the adviser tries it where no plan names it

    def fit(self, x: F32, n: int, *, metric: Metric, as_given: bool, rng: np.random.Generator) -> Self:
        """Learn from a sample what all sets of about ``n`` rows share; ``as_given``: codes are the rows themselves."""
        return self

    @classmethod
    def sweep(cls, n: int, d: int) -> list[str]:
        """Plans for ``n`` rows of width ``d`` that show it at its best, as text: what the adviser tries of it.

        It also tries the index, as it is by default, over the smallest codes that keep enough.
        """
        return []

    def sized(self, d: int) -> Self:
        """The same for rows of ``d`` dimensions, where its columns are shaped by that."""
        return self

    def build(self, x: Vectors, *, rng: np.random.Generator, progress: Progress | None = None) -> Columns:
        """Learn from the vectors; the columns that ``attach`` needs, each named and shaped as ``shapes`` says."""
        return {}

    def shapes(self, n: int) -> Shapes:
        """The columns that ``build`` gives for ``n`` rows: type and shape of each."""
        return {}

    def blank(self, n: int) -> Columns:
        """Columns that might be those of ``n`` rows, for a rehearsal."""
        return {name: np.zeros(shape, dtype) for name, (dtype, shape) in self.shapes(n).items()}

    def places(self, rows: I64) -> I64:
        """Where rows lie, once attached."""
        return rows

    def origins(self, x: F32) -> F32 | None:
        """What is taken from rows before they are encoded, ``[n, d]`` or nothing."""
        return None

    def origins_at(self, columns: Columns, places: I64) -> F32 | None:
        """The same of the rows that lie at these places."""
        return None

    def vectors(self, rows: I64, coded: Callable[[I64], F32]) -> F32:
        """Some rows as they were given to ``build`` where an attached index keeps them, or else what codes tell."""
        return coded(rows)

    def kept_with(self, rows: I64) -> NDArray[Any]:
        """What an index that orders rows needs to know of them so that they keep their origins among others."""
        raise TypeError(f"{type(self).__name__} must define kept_with")

    def merged(self, kept: list[NDArray[Any]]) -> Columns:
        """The columns of rows of several sets, from what ``kept_with`` told of each."""
        raise TypeError(f"{type(self).__name__} must define merged")

    def attach(self, rows: Rows, columns: Columns) -> Self:
        """Take up codes and the columns of ``build``."""
        raise TypeError(f"{type(self).__name__} must define attach")

    def check(self, n: int, columns: Columns, gone: NDArray[np.bool_]) -> None:
        """Raise ``Corrupt`` unless the columns name rows that are there; a check of a whole file asks it.

        Searches need not: they pass over what is no row. ``gone`` bool ``[n]`` marks rows that nothing may lead to.
        """

    def search(
        self, q: Prepared, k: int, *, budget: int = 0, allow: NDArray[np.bool_] | None = None, depth: int = 1
    ) -> Hits:
        """The ``k`` best rows for each query among those that ``allow`` admits; always ``min(k, matches)``.

        With a ``depth``, so many times ``k`` rows for others to choose from, at the effort of a search for ``k``.
        """
        raise TypeError(f"{type(self).__name__} must define search")

    def finder(self) -> Any:
        """What finds rows natively, one call for a whole search; None where there is none."""
        return None

    def effort(self, k: int, budget: int, matches: int) -> int | None:
        """What its finder spends for ``budget`` where so many rows match; None where it searches in another way."""
        return None

    def updater(self, columns: Columns, x: Vectors) -> Updater | None:
        """What takes rows in and out of an index over ``x``; None where it is built anew instead."""
        return None

    @property
    def bytes_per_row(self) -> float:
        """Bytes that the index keeps for a row beside its codes (links, norms)."""
        return 0.0


def check_search(k: int, n: int, allow: NDArray[np.bool_] | Bitmap | None) -> int:
    """Check ``k`` and ``allow``; return ``min(k, n)``."""
    k = whole("k", k, 1)
    if isinstance(allow, Bitmap):
        if allow.n != n:
            raise BadInput(f"allow: expected a bitmap of {n} rows, got one of {allow.n}")
        return min(k, n)
    if allow is not None and not isinstance(allow, np.ndarray):
        raise BadInput(f"allow: expected a numpy array of bool, got {type(allow).__name__}")
    if allow is not None and (allow.dtype != np.bool_ or allow.ndim not in (1, 2) or allow.shape[-1] != n):
        raise BadInput(f"allow: expected bool of shape ({n},) or (m, {n}), got {allow.dtype} of shape {allow.shape}")
    return min(k, n)
