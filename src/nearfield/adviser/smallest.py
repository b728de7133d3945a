"""The smallest plan that keeps what was asked, found by verifying plans on all rows.

What the sweep promises chooses the first plan. Measured on all rows it reaches or misses the goal, and tells by how
much predictions are off here. Then sizes between what misses and what reaches it are looked for, each verified: plans
of the sweep as well as ``transform`` with any number of bytes, until the two are hardly apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from nearfield.adviser import sweep
from nearfield.adviser.frontier import value
from nearfield.adviser.rows import Row

TRIES = 9  # plans verified at most ...
RISING = 5  # ... of them so many before one reaches the goal
APART = 1.04  # times what misses: a plan of so many bytes is small enough
STEP = 1.03  # the least that a size is moved by

_SIZED = re.compile(re.escape(sweep.budget_plan(1)).replace("1", r"(\d+)"))


@dataclass
class Search:
    """Which plan to verify next; ``goal`` is the figure of ``measure`` that is to be reached.

    ``pool`` are plans that may be advised, ``size`` makes and measures (in the sample) the plan of so many bytes, None
    where it may not be advised or where the user named the plans.
    """

    measure: str
    goal: float
    pool: list[Row]
    size: Callable[[int], Row | None] | None = None
    got: dict[str, float] = field(default_factory=dict)
    tried: list[Row] = field(default_factory=list)

    def add(self, row: Row, got: float) -> None:
        """Take up what a plan reaches on all rows."""
        self.tried.append(row)
        self.got[row.plan] = got

    @property
    def hit(self) -> Row | None:
        """The smallest plan that was verified to reach the goal."""
        good = [r for r in self.tried if self.got[r.plan] >= self.goal]
        return min(good, key=lambda r: r.bytes_per_row, default=None)

    def next(self, queue: Sequence[Row]) -> Row | None:
        """The next plan to verify; ``queue`` are those promised to reach the goal and not yet ruled out."""
        if len(self.tried) >= TRIES:
            return None
        return self._upwards(queue) if self.hit is None else self._downwards(self.hit)

    def left(self, queue: Sequence[Row]) -> list[Row]:
        """Of plans that promise the goal those still worth a try after the last fell short.

        What it lost against its prediction, others lose too. Where the sample cannot tell plans apart, as with few
        queries, the next one is twice as large; the largest is last.
        """
        row = self.tried[-1]
        told = value(row, self.measure)
        larger = [r for r in queue if value(r, self.measure) >= told and r.bytes_per_row > row.bytes_per_row]
        able = [r for r in larger if value(r, self.measure) > told and self._promise(r) >= odds(self.goal)]
        twice = [r for r in larger if r.bytes_per_row >= 2 * row.bytes_per_row]
        return larger[-1:] if len(self.tried) >= RISING - 1 else able or twice or larger[-1:]

    # -- steps ------------------------------------------------------------------------------------

    def _upwards(self, queue: Sequence[Row]) -> Row | None:
        """After a miss: the size at which the curve of sizes, moved by what was lost, meets the goal."""
        if not queue or len(self.tried) >= RISING:
            return None
        missed, wanted = self.tried[-1].bytes_per_row, self._wanted()
        between = wanted is not None and STEP * missed <= wanted < queue[0].bytes_per_row / STEP
        made = self._made(wanted) if between and wanted is not None else None
        return made or queue[0]

    def _downwards(self, hit: Row) -> Row | None:
        """After a hit: a smaller plan that may do as well."""
        low = self._missed(hit)
        if hit.bytes_per_row <= max(low * APART, low + 1):
            return self._other(hit, low)
        wanted = self._wanted() or 0.0
        most, least = hit.bytes_per_row / STEP, low * STEP
        if low and not least <= wanted <= most:
            wanted = float(np.sqrt(low * hit.bytes_per_row))
        made = self._made(max(min(wanted, most), least))
        return made or self._other(hit, 0.0)

    def _missed(self, hit: Row) -> float:
        """The largest plan of a number of bytes that missed, below a hit; 0 where there is none."""
        sizes = [r.bytes_per_row for r in self.tried if sized(r) is not None and self.got[r.plan] < self.goal]
        return max((s for s in sizes if s < hit.bytes_per_row), default=0.0)

    def _other(self, hit: Row, low: float) -> Row | None:
        """The smaller plan of the sweep that promises most, if promises are kept as well as they were at best."""
        lost = min(odds(value(r, self.measure)) - odds(self.got[r.plan]) for r in self.tried)
        fresh = [r for r in self.pool if r.plan not in self.got and r.build_s is None]
        fresh = [r for r in fresh if low / 2 < r.bytes_per_row < hit.bytes_per_row / STEP]
        able = [r for r in fresh if odds(value(r, self.measure)) - lost >= odds(self.goal)]
        return max(able, key=lambda r: (value(r, self.measure), -r.bytes_per_row, r.plan), default=None)

    def _made(self, size: float | None) -> Row | None:
        """The plan of about so many bytes a row, all that stands beside its codes included, if it was not tried yet."""
        beside = next((r.bytes_per_row - (sized(r) or 0) for r in [*self.tried, *self.pool] if sized(r)), 0.0)
        asked = 0 if size is None else round(size - beside)
        if self.size is None or asked < 1 or sweep.budget_plan(asked) in self.got:
            return None
        return self.size(asked)

    def _wanted(self) -> float | None:
        """Bytes at which sized plans reach the goal: by what was verified, else by corrected promises."""
        known = {r.bytes_per_row: odds(self.got.get(r.plan, -1.0)) if r.plan in self.got else self._promise(r)
                 for r in [*self.pool, *self.tried] if sized(r) is not None}  # fmt: skip
        if len(known) < 2:
            return None
        sizes = np.array(sorted(known))
        heights = np.maximum.accumulate([known[s] for s in sizes])
        at = int(np.searchsorted(heights, odds(self.goal)))
        if at == len(sizes):
            return None
        if at == 0:
            return float(sizes[0]) / 2
        low, high = heights[at - 1], heights[at]
        part = (odds(self.goal) - low) / (high - low)
        return float(np.exp(np.log(sizes[at - 1]) + part * np.log(sizes[at] / sizes[at - 1])))

    def _promise(self, row: Row) -> float:
        """The log odds that a plan is expected to reach: its prediction less what the nearest one tried has lost."""
        alike = [r for r in self.tried if (sized(r) is None) == (sized(row) is None)] or self.tried
        near = min(alike, key=lambda r: abs(np.log(r.bytes_per_row / row.bytes_per_row)))
        return odds(value(row, self.measure)) - (odds(value(near, self.measure)) - odds(self.got[near.plan]))


def sized(row: Row) -> int | None:
    """The bytes that the plan was asked to fill, and does; None of any other plan."""
    found = _SIZED.fullmatch(row.plan)
    return int(found[1]) if found and int(found[1]) <= row.bytes_per_row else None


def odds(share: float) -> float:
    """The log odds of a share, within what can be told from some thousand trials."""
    clipped = min(max(share, 1e-4), 1 - 1e-4)
    return float(np.log(clipped / (1 - clipped)))
