"""Which plans with an index are tried: what each index asks for itself, and small codes of the sweep under the best."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nearfield.adviser.frontier import value
from nearfield.adviser.rows import Row
from nearfield.adviser.sweep import fitting, learns_from_queries, proven
from nearfield.adviser.task import Task
from nearfield.core import rooms
from nearfield.core.indexes import Index
from nearfield.core.method import Method
from nearfield.search.plan import Plan
from nearfield.search.rescore import Rescore

CLASSES = (float("inf"), 0.49, 0.163)  # of float32's bytes: any, about half (graphs over small codes), a sixth (lists)


@dataclass(frozen=True)
class Suggestions:
    """What the sweep over scans tells of plans with an index; ``goal`` is the quality to reach.

    ``shifted``: queries lie elsewhere than rows, so that LeanVec's projection is learned from both.
    """

    task: Task
    rows: Sequence[Row]
    goal: float
    most_bytes: float
    shifted: bool = False

    def limits(self) -> list[float]:
        """The most bytes a row of each class of memory that the user's limit leaves, the largest first."""
        sizes = {min(self.most_bytes, share * self.task.full_bytes) for share in CLASSES}
        return sorted(sizes, reverse=True)

    def own(self) -> list[Plan]:
        """What each proven index asks for itself, or the smallest codes that keep enough where it asks for nothing."""
        asked = []
        for name in _indexes():
            index: Any = rooms.load("indexes", name)
            plans = [fitting(text) for text in index.sweep(self.task.n, self.task.d)]
            asked.append(plans or list(self.coded(name, self.most_bytes, 1)))
        # the first of every index before the second of any: time may be short
        turns = [plans[i] for i in range(max(map(len, asked), default=0)) for plans in asked if i < len(plans)]
        return list({str(plan): plan for plan in turns if proven(plan)}.values())

    def coded(self, name: str, most_bytes: float, count: int) -> Iterator[Plan]:
        """The index behind codes of the sweep that fit: each first stage once, the smallest that keep enough first."""
        index: Any = rooms.load("indexes", name)
        step = index()
        left = most_bytes - step.sized(self.task.d).bytes_per_row
        able = [r for r in self.rows if r.proven and r.layout in index.layouts and r.bytes_per_row <= left]
        good = [r for r in able if value(r, self.task.primary) >= self.goal] or able
        seen: set[str] = set()
        for row in sorted(good, key=lambda r: (r.walked_bytes, r.bytes_per_row, r.plan)):
            plan = Plan(row.plan)
            first = str(Plan([s for s in plan.named if s not in plan.rescores]))
            if first in seen or (learns_from_queries(plan) and not self.shifted):
                continue
            if len(seen) == count:
                return
            seen.add(first)
            yield indexed(plan, step)

    def moved(self, name: str) -> Iterator[Plan]:
        """The index behind a projection that is learned from rows and queries, where those lie apart."""
        if self.shifted and any(self.task.folds):
            dim = max(1, round(0.42 * self.task.d))
            text = f"leanvec(dim={dim}, kind='ood') | lvq(bits=4) | rescore(codec='lvq(bits=8)', depth=5)"
            yield indexed(Plan(text), rooms.load("indexes", name)())


def _indexes() -> list[str]:
    """Those that may be advised unasked."""
    known = rooms.catalog("indexes").items()
    names = [name for name, info in known if name != "flat" and not info.slow and info.status == "proven"]
    return [name for name in names if rooms.load("indexes", name).swept]


def indexed(plan: Plan, index: Index) -> Plan:
    """The plan with an index between its codes and its re-scoring steps."""
    first = [step for step in plan.named if step not in plan.rescores]
    return Plan([*first, index, *plan.rescores])


def scanned(plan: Plan) -> Plan:
    """A scan of the same codes; what residuals cost, the same codec of whole rows costs too."""
    rest: list[Method] = [step for step in plan.named if not isinstance(step, (Index, Rescore))]
    finer = [Rescore(s.codec, s.depth, "mapped" if s.of == "residual" else s.of) for s in plan.rescores]
    return Plan([*(rest or Plan("raw()").named), *finer])


def with_parameter(plan: Plan, name: str, value: Any) -> Plan:
    """The plan with a parameter of its index set, where the index has it."""
    fresh: Any = plan.index.fresh()
    if not any(f.name == name for f in dataclasses.fields(fresh)):
        return plan
    made = dataclasses.replace(fresh, **{name: value})
    return Plan([made if isinstance(step, Index) else step for step in plan.named])
