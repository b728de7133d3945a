"""What this installation holds: methods, papers and their measured claims, kernels."""

from __future__ import annotations

import json
import platform
import sys
from functools import cache
from importlib import resources
from typing import Any

from nearfield.core import rooms


@cache
def _data(name: str) -> Any:
    return json.loads((resources.files("nearfield") / "data" / name).read_text(encoding="utf-8"))


def methods(room: str | None = None) -> list[rooms.Info]:
    """Every method of a room, or of all rooms, read from the files' headers without importing them.

    >>> "pca" in [m.name for m in methods("maps")]
    True
    """
    wanted = rooms.ROOMS if room is None else (room,)
    return [info for name in wanted for info in rooms.catalog(name).values()]


def papers() -> list[dict[str, Any]]:
    """All papers: ``{id, title, state, missing, methods, claims: [{test, claim, status, figure}]}``.

    ``state`` says how much of a paper is built and measured here: ``whole``, ``part`` (``missing`` says in words what
    is not) or ``none``. ``methods`` are those, and the parts of search and Collections, whose header names the paper;
    ``status`` is ``held``, ``other`` (measured, and it came out otherwise) or ``untested``. A claim that leaves out
    what its paper has says so in ``without``.

    >>> len(papers())
    184
    """
    serving: dict[str, list[str]] = {}
    for info in [*methods(), *rooms.headers("search"), *rooms.headers("collection")]:
        for paper in info.papers:
            serving.setdefault(paper, []).append(info.name)
    claims: dict[str, list[dict[str, str]]] = {}
    for row in _data("claims.json"):
        claims.setdefault(row["id"], []).append({k: v for k, v in row.items() if k != "id"})
    out = []
    for paper in _data("papers.json"):
        served = serving.get(paper["id"], [])
        known = claims.get(paper["id"], [])
        if served and not known:
            known = [{"test": "", "claim": "", "status": "untested", "figure": ""}]
        state = {"state": "none", "missing": ""} | _data("states.json").get(paper["id"], {})
        out.append({**paper, **state, "methods": served, "claims": known})
    return out


def info() -> dict[str, Any]:
    """Versions, the instruction set in use and those that cannot run here, threads, and the rooms.

    >>> sorted(info())
    ['extras', 'kernels', 'nearfield', 'numpy', 'platform', 'python', 'rooms']
    """
    import numpy as np

    import nearfield
    from nearfield.core.optional import available
    from nearfield.numerics import kernels

    extras = ("sklearn", "umap", "snowballstemmer", "torch", "pyarrow", "h5py", "matplotlib", "sentence_transformers")
    return {
        "nearfield": nearfield.__version__,
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "kernels": kernels.info(),
        "rooms": {room: list(rooms.catalog(room)) for room in rooms.ROOMS},
        "extras": {name: available(name) for name in extras},
    }
