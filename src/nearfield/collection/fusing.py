"""The fuser that a person names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from nearfield.core import rooms
from nearfield.core.checks import real, shown
from nearfield.core.errors import BadInput, Unknown, did_you_mean
from nearfield.core.fusers import Fuser
from nearfield.core.method import Method
from nearfield.core.params import check
from nearfield.core.plan import read


def make_fuser(fuse: Any, weights: Any, rankings: int) -> Fuser:
    """A fuser from its name, from text such as ``rrf(offset=20)``, or the fuser itself.

    Where none is named, it is ``rrf``; with ``weights`` (one for each of so many rankings) it is ``weighted``.
    """
    if fuse is None:
        fuse = "rrf" if weights is None else "weighted"
    if isinstance(fuse, Fuser):
        if weights is not None:
            raise BadInput("weights: expected none beside a fuser that is made already; give them to it")
        return fuse
    if not isinstance(fuse, str):
        raise BadInput(f"fuse: expected the name of a fuser, got {type(fuse).__name__}")
    steps = read(fuse if "(" in fuse else f"{fuse}()")
    known = rooms.catalog("fusers")
    if len(steps) != 1 or steps[0].name not in known:
        raise Unknown(f"fuse: no fuser {fuse!r}; {did_you_mean(fuse, known)}")
    name, params = steps[0].name, dict(steps[0].params)
    cls = rooms.load("fusers", name)
    if weights is not None:
        if not _takes_weights(cls):
            able = ", ".join(other for other in known if _takes_weights(rooms.load("fusers", other)))
            raise BadInput(f"weights: expected a fuser that takes them ({able}), got {name!r}; or leave weights= out")
        if "weights" in params:
            raise BadInput(f"weights: expected them once, got {fuse!r} and weights= beside it")
        params["weights"] = " ".join(map(str, _sound_weights(weights, rankings)))
    made: Method = cls(**check(cls, params, name))
    if not isinstance(made, Fuser):
        raise Unknown(f"fuse: {steps[0].name} is not a fuser")
    return made


def _sound_weights(weights: Any, rankings: int) -> list[float]:
    """One number of at least 0 for each ranking, not all of them 0."""
    if isinstance(weights, (str, bytes, Mapping)) or not hasattr(weights, "__len__") or np.ndim(weights) != 1:
        raise BadInput(f"weights: expected a list of numbers, one a ranking, got {shown(weights)}")
    numbers = [real("weights", w, "numbers from 0 to 1e6", least=0, most=1e6) for w in weights]
    if len(numbers) != rankings:
        raise BadInput(f"weights: expected {rankings}, one a ranking, got {len(numbers)}")
    if not any(numbers):
        raise BadInput("weights: expected some number above 0, got nothing but 0")
    return numbers


def _takes_weights(cls: Any) -> bool:
    return any(field.name == "weights" for field in dataclasses.fields(cls))
