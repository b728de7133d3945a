"""Plans with an index: built of a sample and of all rows, each with the budget that reaches what was asked.

Recall and times of a graph or of lists are those of all rows: a sample cannot foretell them. So few are built. Which
ones, a race over the sample says: what each index asks for itself, as far as it fits into the bytes, then small codes
of the sweep under those that lead. For each class of memory the quickest is built of all rows, and where memory is
freest the quickest of another index too.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nearfield.adviser.bench import Bench
from nearfield.adviser.quality import Estimate
from nearfield.adviser.rows import Row
from nearfield.adviser.suggested import Suggestions, scanned, with_parameter
from nearfield.adviser.sweep import proven
from nearfield.adviser.task import Task
from nearfield.adviser.verify import Part, figures, fold_of, for_others, without_own
from nearfield.core.errors import NearfieldError
from nearfield.core.protocols import F32, I64, Batch
from nearfield.search.packed import Packed
from nearfield.search.plan import Plan

SECONDS = 60.0  # of building and measuring, all together: what would go beyond is left out, and named
TRIALS = 0.4  # the share of it after which no more plans are tried on the sample
FEW = 5000  # rows whose scan takes hardly longer than a call
SIZED = 1000  # rows that a plan is built of to know its bytes
CLOSE = 1.5  # a plan that takes so many times as long on the sample may be the quickest over all rows
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
    sure: bool  # whether the low end of the interval reached it, so that other queries reach it too
    quality: dict[str, Estimate]
    us: float
    fit_s: float
    encode_s: float
    build_s: float


@dataclass
class Sweep:
    """What came of building indexes."""

    rows: list[Row]
    notes: list[str]


class Indexes:
    """Builds plans with an index for one task and measures them; ``goal`` is the quality to reach."""

    def __init__(self, task: Task, bench: Bench, goal: float, most_bytes: float, known: Sequence[Row] = ()) -> None:
        self.task = task
        self.bench = bench  # which knows what scans cost
        self.goal = goal
        self.most_bytes = most_bytes
        self.known = {row.plan: row for row in known}
        self.notes: list[str] = []
        self.part = Part(task.batch, task.rows)
        self.small = bench.exact.astype(np.int64)  # the exact rows among the sample, by their place in it
        self._began = time.perf_counter()

    def named(self, plans: Sequence[Plan], truth: I64, said: Callable[[int, int], None] | None = None) -> Sweep:
        """A row for each plan; ``truth`` ``[m, j]`` are the exact rows among all."""
        return self._built(self._tried(plans, said), truth, named=True)

    def race(self, plans: Suggestions, truth: I64, said: Callable[[int, int], None] | None = None) -> Sweep:
        """Rows for the quickest plan in each class of memory, and for a rival of the first.

        Codes of the sweep are tried where memory is freest, and where nothing reaches the goal for sure.
        """
        own = [plan for plan in plans.own() if self._fits(plan)]
        tried = self._tried(own, said, limit=TRIALS * SECONDS)
        limits = plans.limits()
        further: dict[str, Plan] = {}
        for limit in limits:
            lead = self._quickest(tried, limit)[:1]
            if lead and lead[0].sure and limit < limits[0]:
                continue
            names = [one.plan.index.name() for one in lead]
            if not names:  # nothing that indexes ask for fits: smaller codes may
                names = list({plan.index.name(): None for plan in plans.own()})
            for name in names:
                few = [*plans.coded(name, limit, 1), *plans.moved(name)]
                further |= {str(plan): plan for plan in few if proven(plan) and str(plan) not in map(str, own)}
        tried += self._tried([p for p in further.values() if self._fits(p)], said, limit=TRIALS * SECONDS)
        if not tried and np.isfinite(self.most_bytes):
            self.notes.append(f"no plan with an index fits in {self.most_bytes:g} bytes a row")
        return self._built(self._chosen(tried, limits), truth)

    def _spent(self) -> float:
        return time.perf_counter() - self._began

    def _fits(self, plan: Plan) -> bool:
        """Whether its rows are within the bytes, by a build of few."""
        if not np.isfinite(self.most_bytes):
            return True
        try:
            few = Part(self.task.batch, self.task.rows[:SIZED])
            return self._fit(plan, few)[0].bytes_per_row <= self.most_bytes
        except NearfieldError as error:
            self.notes.append(f"{plan} could not be built here: {error}")
            return False

    def _tried(
        self, plans: Sequence[Plan], said: Callable[[int, int], None] | None, limit: float = float("inf")
    ) -> list[Measured]:
        """Plans over the sample, as many as there is time for."""
        tried: list[Measured] = []
        for i, plan in enumerate(plans):
            if tried and self._spent() > limit:
                self.notes.append(f"{plan} was not tried: the time for that was spent; name it in plans= to measure it")
                continue
            found = self._try(plan, self.part, self.small, own=False)
            if found is not None:
                tried.append(found)
            if said:
                said(i + 1, len(plans) + 1)
        return tried

    def _quickest(self, tried: Sequence[Measured], limit: float) -> list[Measured]:
        """Of each index the quickest plan within the bytes that reaches the goal, for sure if any does."""
        out: dict[str, Measured] = {}
        for one in sorted(tried, key=lambda t: (not t.sure, t.us, str(t.plan))):
            if one.reached and one.packed.bytes_per_row <= limit:
                out.setdefault(one.plan.index.name(), one)
        return list(out.values())

    def _chosen(self, tried: Sequence[Measured], limits: Sequence[float]) -> list[Measured]:
        """What is built of all rows: the quickest, a rival that is close, and one for each class that has none."""
        chosen = self._quickest(tried, limits[0])
        chosen = chosen[:1] + [one for one in chosen[1:2] if one.us <= CLOSE * chosen[0].us]
        for limit in limits[1:]:
            if not any(one.packed.bytes_per_row <= limit for one in chosen):
                chosen += self._quickest(tried, limit)[:1]
        if not chosen and tried:  # none reaches the goal: the one that comes nearest tells how far it got
            name = self.task.recall_name
            chosen = [max(tried, key=lambda t: t.quality[name].value if name in t.quality else 0.0)]
        return chosen

    def _built(self, chosen: Sequence[Measured], truth: I64, *, named: bool = False) -> Sweep:
        """Rows for plans built of all rows, as far as the time goes; the first in any case, if it alone fits."""
        rows: list[Row] = []
        for first in chosen:
            if not self._affordable(first, 0.0 if not rows else self._spent()):
                continue
            full = self._try(first.plan, self.task.batch, truth, own=True)
            if full is not None and full.budget >= self.task.n and not named:
                self.notes.append(f"no index needed here: {first.plan} would score every row to keep what was asked")
            elif full is not None:
                rows.append(self._row(full))
                self._tell(first, full, rows[-1])
        return Sweep(rows, self.notes)

    def _affordable(self, first: Measured, spent: float) -> bool:
        """Whether building it of all rows fits into what is left of the time; links grow a little faster than rows."""
        grown = self.task.n / len(self.task.rows)
        needed = first.fit_s + (first.encode_s + first.build_s) * grown**1.1
        if spent + needed <= SECONDS:
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
        ceiling = asker.quality(len(packed))[asker.measure]  # of a scan of the same codes
        asked = self.goal if asker.measure == task.primary else 0.0
        able = 0 < asked <= ceiling.value
        asker.sure = asked <= ceiling.low
        budget, reached, quality = asker.least(asked if able else REACH * ceiling.value, plan)
        reached = reached and (able or asked <= 0)
        return Measured(
            plan, packed, budget, reached, reached and asker.sure, quality, asker.microseconds(budget), *times
        )

    def _row(self, found: Measured) -> Row:
        packed, task = found.packed, self.task
        plan = with_parameter(found.plan, "budget", found.budget)
        return Row(
            plan=str(plan),
            bytes_per_row=packed.bytes_per_row,
            shared_bytes=packed.shared_bytes,
            smaller=task.full_bytes / packed.bytes_per_row,
            quality=for_others(found.quality),
            us_per_query=found.us,
            fit_s=found.fit_s,
            encode_s=found.encode_s,
            proven=proven(plan),
            build_s=found.build_s,
        )

    def _scan_us(self, base: Plan) -> float:
        packed, _ = self._fit(base, self.task.batch)
        k = min(self.task.k, self.task.n)
        asker = _Asker(self.task, packed, np.zeros((self.task.m, k), np.int64), slice(0, self.task.m), k, own=False)
        return asker.microseconds(self.task.n)

    def _tell(self, small: Measured, full: Measured, row: Row) -> None:
        """At how many rows the index begins to pay, from the scan of the same codes and how the walk grows."""
        grown = self.task.n > 2 * len(self.task.rows)  # else too few rows to see how costs grow
        name = full.plan.index.name()
        base = scanned(full.plan)
        if str(base) not in self.known:
            self.known |= {r.plan: r for r in self.bench.run([base])}
        if str(base) not in self.known:
            return
        scan = self.known[str(base)].us_per_query
        if self.task.n <= FEW:  # what a call costs counts: both are timed in the same way
            scan = min(scan, self._scan_us(base))
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
        self.sure = False  # whether the low end of the interval is to reach the goal

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

    def _reaches(self, quality: dict[str, Estimate], goal: float) -> bool:
        found = quality[self.measure]
        return (found.low if self.sure else found.value) >= goal

    def least(self, goal: float, plan: Plan) -> tuple[int, bool, dict[str, Estimate]]:
        """The least budget that reaches the goal, to some percent; that of the plan where it names one."""
        n = len(self.packed)
        named = getattr(plan.index, "budget", None)
        if named is not None and named != getattr(plan.index.__class__(), "budget", None):
            quality = self.quality(named)
            return named, quality[self.measure].value >= goal, quality
        low, high = 0, min(START, n)
        quality = self.quality(high)
        while not self._reaches(quality, goal) and high < n:
            low, high = high, min(2 * high, n)
            quality = self.quality(high)
        if not self._reaches(quality, goal) or not low:
            return high, quality[self.measure].value >= goal, quality
        for _ in range(STEPS):
            middle = round((low * high) ** 0.5)
            if middle in (low, high) or high >= n:
                break
            tried = self.quality(middle)
            if self._reaches(tried, goal):
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
