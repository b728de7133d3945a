"""What the adapters share: a field that is there, hits that vary, options that a call takes, ways of methods."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from nearfield.core.arrays import to_f32, unit_rows
from nearfield.core.errors import BadInput, Unsupported, did_you_mean
from nearfield.numerics.mmr import mmr
from nearfield.store.fields import dense

OPENING = threading.RLock()  # stores that threads share open their folder once; no attribute of theirs: they are copied


def need_field(collection: Any, name: str, dim: int) -> None:
    """Have a dense field of this name and width, whoever adds it first. Raises ``Unsupported`` for another width."""
    if name not in collection.fields:
        try:
            collection.add_field(name, dense(dim))
        except BadInput:
            if name not in collection.fields:  # else another process or thread was quicker
                raise
    there = collection.fields[name].dim
    if there != dim:
        raise Unsupported(f"{collection.path}: expected embeddings of width {there}, got {dim}")


def varied(query: Any, hits: Iterable[Any], k: int, balance: float) -> list[Any]:
    """``k`` hits that are near a query ``[dim]`` and not all alike, by maximal marginal relevance.

    Nearness and likeness are both cosines, as in the frameworks' own functions, so that ``balance`` (1: nearness alone)
    means the same under every metric and for fused rankings. Hits without a vector are left out. Raises ``BadInput``
    where none of them has one, as where a Plan cannot give vectors back.
    """
    found = list(hits)
    having = [(hit, vector) for hit in found if (vector := hit.vector) is not None]
    if not having:
        if found:
            raise BadInput("mmr: expected rows with vectors, got none; search without it")
        return []
    rows = np.stack([vector for _, vector in having])
    unit, near = (unit_rows(to_f32(x), on_zero="keep") for x in (rows, np.asarray(query)[None]))
    return [having[int(i)][0] for i in mmr(unit @ near[0], rows, k, balance)]


def check_options(what: str, options: Iterable[str], call: Callable[..., Any], but: Iterable[str] = ()) -> None:
    """Refuse options that a call does not take, by name; ``but`` are those that the caller gives itself."""
    known = set(inspect.signature(call).parameters) - {"self", *but}
    for name in options:
        if name not in known:
            raise BadInput(f"{what}: expected options that it takes, got {name!r}; {did_you_mean(name, known)}")


def twin(method: Callable[..., Any]) -> Callable[..., Any]:
    """The async twin of a method, which runs it on a thread."""

    @functools.wraps(method)
    async def run(*args: Any, **options: Any) -> Any:
        return await asyncio.to_thread(method, *args, **options)

    run.__name__, run.__qualname__ = f"{method.__name__}_async", f"{method.__qualname__}_async"
    run.__doc__ = f"``{method.__name__}`` on a thread."
    return run


def before_any(answer: Callable[[], Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What a method of a store answers where there is no collection yet (``is_there``): reading makes none."""

    def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def run(self: Any, *args: Any, **options: Any) -> Any:
            return method(self, *args, **options) if self.is_there() else answer()

        return run

    return wrap
