"""The index of rows that were gathered from several sets: that of the largest set, mended and extended.

Inserting the rows of the others costs as much as building did for as many, so it pays where one set is a good share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nearfield.core.indexes import Columns, Step
from nearfield.core.protocols import I64
from nearfield.search.decoded import Decoded
from nearfield.search.fit import INDEX, Fitted

if TYPE_CHECKING:
    from nearfield.search.packed import Packed

SHARE = 0.25  # of all rows, that the largest set has at least


def extended(fitted: Fitted, sources: Sequence[tuple[Packed, I64]], step: Step | None = None) -> Columns | None:
    """The columns of the index over these rows, one set after another; None where it is to be built anew."""
    sizes = np.array([len(at) for _, at in sources])
    total, largest = int(sizes.sum()), int(np.argmax(sizes))
    packed, at = sources[largest]
    own = [name for name in packed.columns if name.startswith(INDEX)]
    if sizes[largest] < SHARE * total or not own:
        return None
    for name in own:
        packed.verify_column(name)
    columns = {name.removeprefix(INDEX): packed.columns[name] for name in own}
    updater = fitted.index.updater(columns, Decoded([(packed, np.arange(packed.span))]))
    if updater is None:
        return None
    rng = np.random.default_rng([fitted.seed, total])
    dead = np.ones(packed.span, np.bool_)
    dead[at] = False
    updater.consolidate(dead, rng, step=step)
    updater.keep(at)
    alive = np.zeros(len(at), np.bool_)
    others = [source for i, source in enumerate(sources) if i != largest and len(source[1])]
    if others:
        updater.add(Decoded(others), alive, rng, step=step)
        updater.keep(_in_order(sizes, largest))
    return updater.columns(np.zeros(total, np.bool_), rng)


def _in_order(sizes: I64, largest: int) -> I64:
    """Where the rows of each set lie when those of the largest come first."""
    starts = np.cumsum(sizes) - sizes
    starts[:largest] += sizes[largest]
    starts[largest] = 0
    return np.concatenate([np.arange(start, start + size) for start, size in zip(starts, sizes)])
