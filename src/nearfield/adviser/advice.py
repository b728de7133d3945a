"""What ``advise`` returns: the measured plans, the chosen one, words."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any

from nearfield.adviser.quality import Estimate
from nearfield.adviser.rows import Row
from nearfield.search.plan import Plan


@dataclass
class Advice:
    """Measured plans and the one to take.

    ``print(advice)`` shows the table, ``advice.plot("tradeoff.png")`` draws it, ``advice.best`` is a ``Plan`` to
    fit. ``predicted`` are the chosen plan's figures for all rows as the sample foretells them, ``verified`` the
    same as measured on all rows (None with ``verify=False``).
    """

    plans: list[Row]
    best: Plan
    predicted: dict[str, Estimate]
    verified: dict[str, Estimate] | None
    warnings: list[str]
    primary: str
    recall_name: str
    metric: str
    rows: int
    dim: int
    sample: int
    queries: int
    full_bytes: int
    wish: str = ""
    target: float | None = None  # the quality that keep= asked for
    fastest: str | None = None  # the quickest plan that keeps what was asked within the bytes
    limits: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def chosen(self) -> Row:
        """The row of the chosen plan."""
        return next(row for row in self.plans if row.plan == str(self.best))

    @property
    def indexed(self) -> bool:
        """Whether plans with an index were measured."""
        return any(row.build_s is not None for row in self.plans)

    @property
    def frontier(self) -> list[Row]:
        """The rows that no other beats in bytes without losing quality, smallest first."""
        return sorted((r for r in self.plans if r.frontier), key=lambda r: r.bytes_per_row)

    def __str__(self) -> str:
        from nearfield.adviser.render import text

        return text(self)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the trade-off space into a ``.png`` or ``.svg`` file; needs the extra ``plot``."""
        from nearfield.adviser.plot import plot

        plot(self, path)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "plans": [row.to_dict() for row in self.plans],
            "best": str(self.best),
            "predicted": {name: e.to_dict() for name, e in self.predicted.items()},
            "verified": None if self.verified is None else {n: e.to_dict() for n, e in self.verified.items()},
            "warnings": list(self.warnings),
        } | ({"fastest": self.fastest} if self.indexed else {})

    def to_json(self) -> str:
        """One JSON object, as ``nearfield advise --json`` prints it."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)
