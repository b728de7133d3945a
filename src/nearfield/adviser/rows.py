"""One measured plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nearfield.adviser.quality import Estimate, pooled
from nearfield.core.protocols import Layout


@dataclass
class Row:
    """What was measured of one plan.

    ``quality`` holds an ``Estimate`` for each measure; ``recall@k`` is the figure predicted for all rows and
    ``recall@k in the sample`` the one it was predicted from. ``us_per_query`` is for one query at a time on one
    thread, scaled to all rows; ``fit_s`` was taken on the sample, ``encode_s`` is scaled to all rows.
    """

    plan: str
    bytes_per_row: float
    shared_bytes: int
    smaller: float
    quality: dict[str, Estimate]
    us_per_query: float
    fit_s: float
    encode_s: float
    frontier: bool = False
    build_s: float | None = (
        None  # of the index, which only plans that have one were given; they were measured on all rows
    )
    pays_from: int | None = None  # about so many rows make the index cost what a scan of the same codes does
    layout: Layout | None = None  # of the codes that are searched first, and their bytes
    walked_bytes: int = 0
    proven: bool = True  # every method of the plan is; experimental ones are listed but never advised

    def to_dict(self) -> dict[str, Any]:
        """As ``advise --json`` prints it."""
        told = {
            "plan": self.plan,
            "bytes_per_row": self.bytes_per_row,
            "shared_bytes": self.shared_bytes,
            "smaller": round(self.smaller, 4),
            "quality": {name: estimate.to_dict() for name, estimate in self.quality.items()},
            "us_per_query": round(self.us_per_query, 3),
            "fit_s": round(self.fit_s, 5),
            "encode_s": round(self.encode_s, 5),
            "frontier": self.frontier,
        }
        return told if self.build_s is None else told | {"build_s": round(self.build_s, 5), "pays_from": self.pays_from}


def joined(rows: list[Row]) -> Row:
    """One plan measured on several folds of the queries: means, but sizes, which are the same in all."""
    if len(rows) == 1:
        return rows[0]
    measures = {name: None for row in rows for name in row.quality}  # judged queries may all lie in one fold
    return replace(
        rows[0],
        quality={name: pooled([r.quality[name] for r in rows if name in r.quality]) for name in measures},
        us_per_query=float(np.mean([r.us_per_query for r in rows])),
        fit_s=float(np.mean([r.fit_s for r in rows])),
        encode_s=float(np.mean([r.encode_s for r in rows])),
    )
