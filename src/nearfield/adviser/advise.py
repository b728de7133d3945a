"""``nearfield.advise``: measure plans on the user's own vectors and choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nearfield.adviser import sweep
from nearfield.adviser.advice import Advice
from nearfield.adviser.bench import Bench
from nearfield.adviser.cautions import cautions, shift
from nearfield.adviser.frontier import Wish, allowed, fastest, mark_frontier, ordered, too_slow, value
from nearfield.adviser.indexed import Indexes, Sweep
from nearfield.adviser.inputs import sound_judgements, sound_pairs
from nearfield.adviser.quality import Estimate
from nearfield.adviser.rows import Row
from nearfield.adviser.smallest import Search, sized
from nearfield.adviser.suggested import Suggestions
from nearfield.adviser.survey import survey
from nearfield.adviser.task import Task, make_task
from nearfield.adviser.verify import exact_truth, figures, verify
from nearfield.collection.collection import Collection
from nearfield.core.arrays import as_batch, named_in_full
from nearfield.core.errors import BadInput
from nearfield.core.habits import answering
from nearfield.core.protocols import I64, Metric, Progress
from nearfield.numerics.blas import one_thread
from nearfield.search.plan import Plan

_LOGGED = 100  # queries of a log that are enough to measure with


@answering
def advise(
    x: Any,
    queries: Any = None,
    *,
    metric: Metric = "cosine",
    keep: float | None = None,
    bytes: float | None = None,
    smaller: float | None = None,
    latency_us: float | None = None,
    labels: Any = None,
    qrels: Any = None,
    pairs: Any = None,
    k: int = 10,
    plans: Any = None,
    all: bool = False,
    indexes: bool | None = None,
    sample: int = 15_000,
    rng: int | np.random.Generator = 0,
    on_zero: str = "raise",
    verify: bool = True,
    progress: Progress | None = None,
) -> Advice:
    """Measure plans on a sample, predict their quality for all rows, choose one and verify it on all rows.

    Use it before storing vectors: it answers how small they can be for the quality that is needed.

    Parameters
    ----------
    x: rows ``[n, d]``, an array or a source of blocks that need not fit in memory; or a Collection: its first dense
        field under its metric, with the queries that it has kept.
    queries: sample queries ``[m, d]``; None: a tenth of the sample, at most 1,000 rows, is held out as queries.
    metric: ``cosine``, ``dot``, ``l2`` or ``hamming``; truth is exact search on ``x`` under it.
    keep: the share of float32's quality to keep, such as 0.98: the smallest plan that does is chosen.
        Quality is nDCG@10 where ``qrels`` are given, else accuracy with ``labels``, else Spearman's correlation
        with ``pairs``, else recall@k.
    bytes: the most bytes a row; smaller: the least factor below float32; latency_us: the most microseconds a
        query, one thread, over all rows. They hold together with ``keep``; without it the best quality within
        them is chosen. Nothing asked: the knee of the frontier, the point farthest above the chord between its
        ends in (log bytes, quality).
    labels: one label a row: accuracy of the vote of the ten nearest (``k``), rows held out with their labels.
    qrels: ``{query row: {document row: grade}}``; a grade of 0 or below is not relevant, as in trec_eval.
    pairs: ``[p, 3]`` of row, row, score; or ``(vectors, vectors, scores)``.
    k: neighbours, for recall@k.
    plans: sweep these plans only (texts or Plans). all: add methods that are slow to fit.
    indexes: also build indexes, of all rows, in at most about a minute: for each class of memory within the bytes the
        quickest on the sample, with the budget that it needs, and from how many rows on it pays; the quickest plan of
        all that keeps enough is told beside the smallest. None: only where ``latency_us`` is asked and no scan of
        codes is quick enough.
    sample: the most rows that the sweep looks at.
    rng: a seed or Generator. on_zero: ``"keep"`` admits zero rows under cosine.
    verify: fit the chosen plan on all rows and measure it there; where ``keep`` is asked, larger and smaller plans
        are, until the smallest that keeps it is found.
    progress: called with (what, done, in all).

    Raises ``BadInput`` for data and ``BadParameter`` for wishes that make no sense. A wish that no plan meets
    is answered with the nearest plan, and ``warnings`` says so.

    Prediction: thinning law with a correction learned inside the sample (module ``adviser.predict``; the idea
    of elastic/elasticsearch#150253). Intervals are 95% (module ``adviser.quality``).

    >>> rows = np.random.default_rng(0).normal(size=(600, 16)).astype("float32")
    >>> advice = advise(rows, keep=0.9, plans=["float16()", "int8()", "pca(dim=2)"])
    >>> print(advice.best)
    int8()
    """
    wish = Wish(keep, bytes, smaller, latency_us)
    if isinstance(x, Collection):
        x, queries, metric, on_zero = _of_collection(x, queries)
    batch = as_batch(x)
    qrels, pairs = sound_judgements(qrels), sound_pairs(pairs, batch.shape[0])
    with one_thread(), named_in_full(batch, metric, on_zero):
        task = make_task(
            batch, queries, metric=metric, k=k, sample=sample, rng=rng, on_zero=on_zero, qrels=qrels, labels=labels,
            pairs=pairs,
        )  # fmt: skip
        return _advise(task, wish, plans, indexes, everything=all, check=verify, progress=progress)


def _of_collection(x: Collection, queries: Any) -> tuple[Any, Any, Metric, str]:
    """The rows of a Collection, its own queries where it has kept enough, and its metric."""
    field = next((f for f in x.fields.values() if f.kind == "dense"), None)
    asked = x.queries() if queries is None and field is not None and field.nearness != "hamming" else queries
    enough = asked is not None and (queries is not None or len(asked) >= _LOGGED)
    return x.vectors(), asked if enough else None, "cosine" if field is None else field.nearness, "keep"


def _advise(
    task: Task, wish: Wish, plans: Any, indexes: bool | None, *, everything: bool, check: bool,
    progress: Progress | None,
) -> Advice:  # fmt: skip
    seen = survey(task, _said(progress, "check"))
    chosen, named = _plans(task, wish, plans, everything=everything)
    bench = Bench(task)
    rows = bench.run(chosen, _swept(progress, len(chosen)), strict=plans is not None)
    full = _float32(task, bench, rows)
    target = full - (1 - wish.keep) * abs(full) if wish.keep else 0.0
    if wish.keep is not None and plans is None:
        rows += _between(task, bench, rows, target)
    notes = _notes(task, bench, default=plans is None, everything=everything)
    slow = too_slow(rows, wish, task.primary, task.full_bytes, target)
    if indexes or named or (slow and indexes is None):
        exact = _truth(task, progress)
        found = _built(task, bench, rows, named, target, wish, exact, progress)
        rows, notes = rows + found.rows, notes + found.notes
        bench.forget()
        truth: I64 | None = exact
    else:
        bench.forget()
        truth = _truth(task, progress) if check else None
    if not rows:
        raise BadInput(f"advise: no plan could be measured: {'; '.join(notes)}")
    mark_frontier(rows, task.primary)
    tries, words = ordered(rows, wish, task.primary, task.full_bytes, target)
    verified: dict[str, Estimate] | None = None
    row = tries[0]
    if check and truth is not None:
        pool = [r for r in rows if allowed(r, wish, task.full_bytes)]
        size = _sizes(task, bench, rows, wish) if plans is None else None
        row, verified, told = _verified(task, tries, pool, size, wish, truth, progress)
        words += told
        mark_frontier(rows, task.primary)
    best = Plan(row.plan)
    return Advice(
        plans=rows,
        best=best,
        fastest=fastest(rows, wish, task.primary, task.full_bytes, target, task.n),
        predicted=row.quality,
        verified=verified,
        warnings=[*words, *cautions(task, seen, best)],
        primary=task.primary,
        recall_name=task.recall_name,
        metric=task.metric,
        rows=task.n,
        dim=task.d,
        sample=len(task.rows) + int((task.own >= 0).sum()),
        queries=task.m,
        full_bytes=task.full_bytes,
        wish=_asked(wish, task),
        target=target or None,
        limits=_limits(wish, task),
        notes=notes,
    )


def _plans(task: Task, wish: Wish, plans: Any, *, everything: bool) -> tuple[list[Plan], list[Plan]]:
    """Plans that scan every row, and those with an index that the user named."""
    if plans is not None:
        return sweep.given_plans(plans)
    fits = task.user_queries and bool(task.folds)
    most = wish.most_bytes(task.full_bytes)
    found = sweep.default_plans(
        task.d,
        metric=task.metric,
        rows=len(task.x) + len(task.spare),
        queries=fits,
        everything=everything,
        most_bytes=most,
    )
    return found, []


def _truth(task: Task, progress: Progress | None) -> I64:
    return exact_truth(task, max(10, task.k), _said(progress, "exact truth"))


def _built(
    task: Task, bench: Bench, rows: list[Row], named: list[Plan], target: float, wish: Wish, truth: I64,
    progress: Progress | None,
) -> Sweep:  # fmt: skip
    """Plans with an index: those that the user named, or what the sweep suggests."""
    most = wish.most_bytes(task.full_bytes)
    built, said = Indexes(task, bench, target, most, rows), _said(progress, "indexes")
    if named:
        return built.named(named, truth, said)
    if task.metric == "hamming":
        return Sweep([], ["no index was built: packed bits have no codes that an index walks; scans of them are quick"])
    return built.race(Suggestions(task, rows, target, most, shift(task) > 0), truth, said)


def _said(progress: Progress | None, what: str) -> Any:
    return None if progress is None else lambda done, total: progress(what, done, total)


def _swept(progress: Progress | None, total: int) -> Any:
    return None if progress is None else lambda done: progress("sweep", done, total)


def _between(task: Task, bench: Bench, rows: list[Row], target: float) -> list[Row]:
    """Budgets between the largest that misses the target and the smallest plan that reaches it: two more tries."""
    good = [r.bytes_per_row for r in rows if r.proven and value(r, task.primary) >= target]
    by_size = {r.bytes_per_row: r for r in rows if sized(r) is not None}
    missed = [size for size, r in by_size.items() if value(r, task.primary) < target]
    out: list[Row] = []
    low, high = max(missed, default=0.0), min(good, default=0.0)
    for _ in range(2):
        middle = round((low + high) / 2)
        if low <= 0 or high - low < max(4, 0.05 * high) or middle >= sweep.MOST_BYTES * task.d:
            break
        found = bench.run([Plan(sweep.budget_plan(middle))])
        out += found
        if not found or value(found[0], task.primary) < target:
            low = middle
        else:
            high = middle
    return out


def _float32(task: Task, bench: Bench, rows: list[Row]) -> float:
    """float32's own figure of the primary measure, in the sample."""
    if task.primary == task.recall_name:
        return 1.0
    for row in rows:
        if row.plan in ("raw()", "bits()"):
            return value(row, task.primary)
    base = "bits()" if task.metric == "hamming" else "raw()"
    return value(bench.run([Plan(base)])[0], task.primary)


def _verified(
    task: Task, tries: list[Row], pool: list[Row], size: Callable[[int], Row | None] | None, wish: Wish, truth: I64,
    progress: Progress | None,
) -> tuple[Row, dict[str, Estimate], list[str]]:  # fmt: skip
    """Verify plans until the smallest that keeps what was asked is found; the best of those tried where none does."""
    full = figures(task, truth, truth, slice(0, task.m))
    goal = (wish.keep or 0.0) * (full[task.primary].value if task.primary in full else 1.0)
    search = Search(task.primary, goal, pool, size)
    found: dict[str, dict[str, Estimate]] = {}
    words: list[str] = []
    queue, row = tries, tries[0]
    while True:
        found[row.plan] = _measured(task, row, truth, progress)
        got = found[row.plan][task.primary].value if task.primary in found[row.plan] else 0.0
        search.add(row, got)
        if wish.keep is None or task.primary == "Spearman":
            break
        rising = search.hit is None
        queue = search.left(queue) if rising else queue
        next_ = search.next(queue)
        if rising:
            tail = "a larger plan was tried" if next_ else "no larger plan within the limits promises more"
            words.append(
                f"{row.plan} was predicted to reach {task.primary} {value(row, task.primary):.4f} and reaches "
                f"{got:.4f} on all rows, below the {goal:.4f} asked for: {tail}"
            )
        if next_ is None:
            break
        row = next_
    best = search.hit or max(search.tried, key=lambda r: search.got[r.plan])
    return best, found[best.plan], words


def _measured(task: Task, row: Row, truth: I64, progress: Progress | None) -> dict[str, Estimate]:
    """The figures of a plan on all rows; an index was built of them and measured on them already."""
    indexed = row.build_s is not None
    found = dict(row.quality) if indexed else verify(task, Plan(row.plan), truth, _said(progress, "verify"))
    if "Spearman" in row.quality:
        found["Spearman"] = row.quality["Spearman"]  # of the pairs alone: more rows change nothing
    return found


def _sizes(task: Task, bench: Bench, rows: list[Row], wish: Wish) -> Callable[[int], Row | None]:
    """Makes the plan of any number of bytes, measures it in the sample and lists it, where the wish admits it."""
    most = min(sweep.MOST_BYTES * task.d, wish.most_bytes(task.full_bytes))

    def size(count: int) -> Row | None:
        if count > most:
            return None
        found = bench.run([Plan(sweep.budget_plan(count))])
        rows.extend(found)
        return next((r for r in found if allowed(r, wish, task.full_bytes)), None)

    return size


def _asked(wish: Wish, task: Task) -> str:
    parts = []
    if wish.keep is not None:
        parts.append(f"keep {wish.keep:g} of float32's {task.primary}")
    if wish.bytes is not None:
        parts.append(f"at most {wish.bytes:g} bytes a row")
    if wish.smaller is not None:
        parts.append(f"at least {wish.smaller:g} times smaller")
    if wish.latency_us is not None:
        parts.append(f"at most {wish.latency_us:g} us a query")
    return ", ".join(parts) or "nothing, so the knee of the frontier"


def _limits(wish: Wish, task: Task) -> dict[str, float]:
    most = wish.most_bytes(task.full_bytes)
    return {"bytes": most} if np.isfinite(most) else {}


def _notes(task: Task, bench: Bench, *, default: bool, everything: bool) -> list[str]:
    out = list(task.notes)
    if task.searched > len(task.x):
        out.append(
            f"{task.recall_name} is predicted for all {task.n:,} rows from the sample; times of a query are for one "
            "thread and one query at a time, measured on the sample and scaled to all rows; encode s is scaled likewise"
        )
    left = sweep.left_out(task.d)
    if default and not everything and left:
        out.append(f"left out because they are slow to fit: {', '.join(left)}; all=True adds them")
    if bench.failed:
        named = "; ".join(f"{plan}: {why}" for plan, why in list(bench.failed.items())[:3])
        more = f" and {len(bench.failed) - 3} more" if len(bench.failed) > 3 else ""
        out.append(f"{len(bench.failed)} plans could not run here ({named}{more})")
    return out
