"""Plans with an index: built of a sample and of all rows, each with the budget that reaches what was asked.

Recall and times of a graph or of lists are those of all rows: a sample cannot foretell them. So few are built. Which
ones, the sample says: plans whose codes keep the quality there, those with the smallest codes first, each once under
every index, and of each index the quickest is then built of all rows.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nearfield.adviser.bench import Bench
from nearfield.adviser.frontier import value
from nearfield.adviser.quality import Estimate
from nearfield.adviser.rows import Row
from nearfield.adviser.sweep import learns_from_queries, proven
from nearfield.adviser.task import Task
from nearfield.adviser.verify import Part, figures, fold_of, without_own
from nearfield.core import rooms
from nearfield.core.errors import NearfieldError
from nearfield.core.indexes import Index
from nearfield.core.method import Method
from nearfield.core.protocols import F32, I64, Batch
from nearfield.search.packed import Packed
from nearfield.search.plan import Plan
from nearfield.search.rescore import Rescore

SECONDS = 75.0  # of building, all together: what would go beyond is left out, and named
CODES = 3  # plans of the sweep that are tried under each index
TIMED = 50  # queries that are timed, one call each; the quickest of a few rounds counts
ROUNDS = 3
REACH = 0.95  # the share of the exact answers that is looked for where nothing was asked
START, STEPS = 64, 5  # the least budget, and how often the step from too little to enough is halved


@dataclass
class Measured:
    """One plan over some rows: the least budget that reached the goal, and what it gives and takes there."""

    plan: Plan
    packed: Packed
    budget: int
    reached: bool
    quality: dict[str, Estimate]
    us: float
    fit_s: float
    encode_s: float
    build_s: float

    @property
    def seconds(self) -> float:
        return self.fit_s + self.encode_s + self.build_s


@dataclass
class Sweep:
    """What came of building indexes."""

    rows: list[Row]
    notes: list[str]


class Indexes:
    """Builds plans with an index for one task and measures them; ``goal`` is the quality to reach."""

    def __init__(self, task: Task, bench: Bench, goal: float, most_bytes: float) -> None:
        self.task = task
        self.bench = bench  # which knows what scans cost
        self.goal = goal
        self.most_bytes = most_bytes
        self.spent = 0.0
        self.notes: list[str] = []

    def run(
        self, plans: Sequence[Plan], truth: I64, said: Callable[[int, int], None] | None = None, *, every: bool = False
    ) -> Sweep:
        """Rows for the quickest plan under each index; for all of them where ``every`` is asked for.

        ``truth`` ``[m, j]`` are the exact rows among all.
        """
        small = self.bench.exact.astype(np.int64)  # among the sample, by their place in it
        part = Part(self.task.batch, self.task.rows)
        whole = self.task.n <= 2 * len(self.task.rows)  # too few rows to see how costs grow
        tried: list[Measured] = []
        for i, plan in enumerate(plans):
            found = self._try(plan, part, small, own=False)
            if found is not None:
                tried.append(found)
            if said:
                said(i + 1, len(plans) + 1)
        rows = []
        for first in tried if every else self._best(tried):
            if not self._affordable(first):
                continue
            full = self._try(first.plan, self.task.batch, truth, own=True)
            if full is not None:
                row = self._row(full)
                rows.append(row)
                self._tell(first, full, row, grown=not whole)
        return Sweep(rows, self.notes)

    def _best(self, tried: list[Measured]) -> list[Measured]:
        """Of each index the quickest that reaches the goal within the bytes, or the best where none does."""
        out: dict[str, Measured] = {}
        for one in sorted(tried, key=lambda t: (not t.reached, t.us, str(t.plan))):
            if one.packed.bytes_per_row <= self.most_bytes:
                out.setdefault(one.plan.index.name(), one)
        for name in sorted({one.plan.index.name() for one in tried} - set(out)):
            self.notes.append(f"no plan with {name} fits in {self.most_bytes:g} bytes a row")
        return list(out.values())

    def _affordable(self, first: Measured) -> bool:
        """Whether building it of all rows fits into what is left of the time; links grow a little faster than rows."""
        needed = first.seconds * (self.task.n / len(self.task.rows)) ** 1.1
        if self.spent + needed <= SECONDS:
            return True
        self.notes.append(
            f"{first.plan} was not built of all rows: that would take about {needed:.0f} s, and {SECONDS:.0f} s are "
            "spent on indexes at most; name it in plans= to have it fitted by itself"
        )
        return False

    def _try(self, plan: Plan, batch: Batch, truth: I64, *, own: bool) -> Measured | None:
        try:
            packed, times = self._fit(plan, batch)
            found = self._measure(plan, packed, truth, times, own=own)
        except NearfieldError as error:
            self.notes.append(f"{plan} could not be built here: {error}")
            return None
        self.spent += found.seconds
        return found

    def _fit(self, plan: Plan, batch: Batch) -> tuple[Packed, tuple[float, float, float]]:
        """Fit, and the seconds of fitting, encoding and linking."""
        marks = [time.perf_counter()] * 3

        def note(what: str, done: int, total: int) -> None:
            if what == "encode":
                marks[2] = time.perf_counter()
                marks[1] = marks[2] if marks[1] == marks[0] else marks[1]

        task = self.task
        queries = fold_of(task, plan).fit
        packed = plan.fit(
            batch, metric=task.metric, queries=queries, rng=task.seed, on_zero=task.on_zero, progress=note
        )
        return packed, (marks[1] - marks[0], marks[2] - marks[1], time.perf_counter() - marks[2])

    def _measure(
        self, plan: Plan, packed: Packed, truth: I64, times: tuple[float, float, float], *, own: bool
    ) -> Measured:
        task = self.task
        at = fold_of(task, plan).at
        depth = min(max(10, task.k), truth.shape[1])
        asker = _Asker(task, packed, truth, at, depth, own=own)
        ceiling = asker.quality(len(packed))[asker.measure].value  # of a scan of the same codes
        asked = self.goal if asker.measure == task.primary else 0.0
        able = 0 < asked <= ceiling
        budget, reached, quality = asker.least(asked if able else REACH * ceiling, plan)
        reached = reached and (able or asked <= 0)
        return Measured(plan, packed, budget, reached, quality, asker.microseconds(budget), *times)

    def _row(self, found: Measured) -> Row:
        packed, task = found.packed, self.task
        plan = with_parameter(found.plan, "budget", found.budget)
        return Row(
            plan=str(plan),
            bytes_per_row=packed.bytes_per_row,
            shared_bytes=packed.shared_bytes,
            smaller=task.full_bytes / packed.bytes_per_row,
            quality=found.quality,
            us_per_query=found.us,
            fit_s=found.fit_s,
            encode_s=found.encode_s,
            proven=proven(plan),
            build_s=found.build_s,
        )

    def _tell(self, small: Measured, full: Measured, row: Row, *, grown: bool) -> None:
        """At how many rows the index begins to pay, from the scan of the same codes and how the walk grows."""
        name = full.plan.index.name()
        base = scanned(full.plan)
        found = self.bench.run([base])
        if not found:
            return
        scan = found[0].us_per_query
        sizes = (len(small.packed), len(full.packed))
        growth = float(np.log(full.us / small.us) / np.log(sizes[1] / sizes[0])) if grown else 0.4
        row.pays_from = crossing(len(full.packed), full.us, scan, growth)
        where = f"no index needed below about {rounded(row.pays_from)} rows"
        if row.pays_from >= len(full.packed):
            where = f"no index needed here, nor below about {rounded(row.pays_from)} rows"
        self.notes.append(
            f"{where}: an exact scan of {base} takes {scan:.0f} us a query over {len(full.packed):,} rows, {name} "
            f"{full.us:.0f} us with a budget of {full.budget:,}"
        )


def crossing(n: int, walk: float, scan: float, growth: float) -> int:
    """The number of rows at which a walk that grows like a power of the rows costs what a scan of them costs.

    >>> crossing(60_000, 200.0, 2000.0, 0.5)
    600
    """
    power = min(max(growth, 0.05), 0.9)
    return max(1, round(n * float((walk / scan) ** (1 / (1 - power)))))


def rounded(count: int) -> str:
    """One digit, as befits an estimate."""
    scale = 10 ** (len(str(count)) - 1)
    return f"{max(1, round(count / scale)) * scale:,}"


class _Asker:
    """Asks one Packed the task's queries and compares with the exact rows."""

    def __init__(self, task: Task, packed: Packed, truth: I64, at: slice, depth: int, *, own: bool) -> None:
        self.task, self.packed, self.truth, self.at, self.depth = task, packed, truth, at, depth
        self.own = own and bool((task.own >= 0).any())
        self.measure = task.primary if own and task.primary != "Spearman" else task.recall_name

    def quality(self, budget: int) -> dict[str, Estimate]:
        """The measures at a budget; among sampled rows, whose numbers differ, recall alone."""
        task, extra = self.task, int(self.own)
        k = min(self.depth + extra, len(self.packed))
        found = self._search(task.q, k, budget)
        if self.own:
            found = without_own(found, task.own, self.depth)
        if self.measure == task.recall_name and len(self.packed) != task.n:
            only = dataclasses.replace(task, judged=None, labels=None, pairs=None)
            return figures(only, found, self.truth, self.at)
        return figures(task, found, self.truth, self.at)

    def _search(self, q: F32, k: int, budget: int) -> I64:
        return self.packed.search(q, k=k, budget=max(1, budget), on_zero=self.task.on_zero).rows

    def least(self, goal: float, plan: Plan) -> tuple[int, bool, dict[str, Estimate]]:
        """The least budget that reaches the goal, to some percent; that of the plan where it names one."""
        n = len(self.packed)
        named = getattr(plan.index, "budget", None)
        if named is not None and named != getattr(plan.index.__class__(), "budget", None):
            quality = self.quality(named)
            return named, quality[self.measure].value >= goal, quality
        low, high = 0, min(START, n)
        quality = self.quality(high)
        while quality[self.measure].value < goal and high < n:
            low, high = high, min(2 * high, n)
            quality = self.quality(high)
        if quality[self.measure].value < goal or not low:
            return high, quality[self.measure].value >= goal, quality
        for _ in range(STEPS):
            middle = round((low * high) ** 0.5)
            if middle in (low, high) or high >= n:
                break
            tried = self.quality(middle)
            if tried[self.measure].value >= goal:
                high, quality = middle, tried
            else:
                low = middle
        return high, True, quality

    def microseconds(self, budget: int) -> float:
        """Of a query, one call each: the mean over some queries, in the quickest of a few rounds."""
        q = [self.task.q[i : i + 1] for i in range(min(TIMED, self.task.m))]
        self._search(q[0], self.task.k, budget)
        best = float("inf")
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for one in q:
                self._search(one, self.task.k, budget)
            best = min(best, time.perf_counter() - start)
        return 1e6 * best / len(q)


def with_parameter(plan: Plan, name: str, value: Any) -> Plan:
    """The plan with a parameter of its index set, where the index has it."""
    fresh: Any = plan.index.fresh()
    if not any(f.name == name for f in dataclasses.fields(fresh)):
        return plan
    made = dataclasses.replace(fresh, **{name: value})
    return Plan([made if isinstance(step, Index) else step for step in plan.named])


def scanned(plan: Plan) -> Plan:
    """A scan of the same codes; what residuals cost, the same codec of whole rows costs too."""
    rest: list[Method] = [step for step in plan.named if not isinstance(step, (Index, Rescore))]
    finer = [Rescore(s.codec, s.depth, "mapped" if s.of == "residual" else s.of) for s in plan.rescores]
    return Plan([*(rest or Plan("raw()").named), *finer])


def candidates(task: Task, rows: Sequence[Row], goal: float, most_bytes: float, *, shifted: bool) -> list[Plan]:
    """Plans to try: under every index what it asks for itself, and the smallest codes of the sweep that keep enough.

    ``shifted``: queries lie elsewhere than rows, so that LeanVec's projection is learned from both.
    """
    out: dict[str, Plan] = {}
    for name, info in rooms.catalog("indexes").items():
        if name == "flat" or info.slow or info.status != "proven":
            continue
        index: Any = rooms.load("indexes", name)
        own = [Plan(text) for text in index.sweep(task.n, task.d)]
        for plan in [*own, *_spliced(task, index, rows, goal, most_bytes, shifted=shifted)]:
            if proven(plan):
                out.setdefault(str(plan), plan)
    return list(out.values())


def _spliced(
    task: Task, index: Any, rows: Sequence[Row], goal: float, most_bytes: float, *, shifted: bool
) -> Iterator[Plan]:
    """The index behind codes of the sweep: each first stage once, the smallest first."""
    step = index()
    able = [r for r in rows if r.proven and r.layout in index.layouts and r.bytes_per_row <= most_bytes]
    good = [r for r in able if value(r, task.primary) >= goal] or able
    seen: set[str] = set()
    for row in sorted(good, key=lambda r: (r.walked_bytes, r.bytes_per_row, r.plan)):
        plan = Plan(row.plan)
        first = str(Plan([s for s in plan.named if s not in plan.rescores]))
        if first in seen or (learns_from_queries(plan) and not shifted):
            continue
        seen.add(first)
        yield indexed(plan, step)
        if len(seen) == CODES:
            break
    if shifted and any(task.folds):
        dim = max(1, round(0.42 * task.d))
        text = f"leanvec(dim={dim}, kind='ood') | lvq(bits=4) | rescore(codec='lvq(bits=8)', depth=5)"
        yield indexed(Plan(text), step)


def indexed(plan: Plan, index: Index) -> Plan:
    """The plan with an index between its codes and its re-scoring steps."""
    first = [step for step in plan.named if step not in plan.rescores]
    return Plan([*first, index, *plan.rescores])
