"""The fuser that a person names."""

from __future__ import annotations

from typing import Any

from nearfield.core import rooms
from nearfield.core.errors import BadInput, Unknown, did_you_mean
from nearfield.core.fusers import Fuser
from nearfield.core.method import Method
from nearfield.core.plan import read


def make_fuser(fuse: Any, weights: Any = None) -> Fuser:
    """A fuser from its name, from text such as ``rrf(offset=20)``, or the fuser itself."""
    if isinstance(fuse, Fuser):
        return fuse
    if not isinstance(fuse, str):
        raise BadInput(f"fuse: expected the name of a fuser, got {type(fuse).__name__}")
    steps = read(fuse if "(" in fuse else f"{fuse}()")
    known = rooms.catalog("fusers")
    if len(steps) != 1 or steps[0].name not in known:
        raise Unknown(f"fuse: no fuser {fuse!r}; {did_you_mean(fuse, known)}")
    params = dict(steps[0].params)
    if weights is not None:
        params["weights"] = tuple(float(w) for w in weights)
    made: Method = rooms.load("fusers", steps[0].name)(**params)
    if not isinstance(made, Fuser):
        raise Unknown(f"fuse: {steps[0].name} is not a fuser")
    return made
