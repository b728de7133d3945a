"""The chosen plan on every row: exact truth and the plan's answers, both streamed in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.adviser.memory import give_back
from nearfield.adviser.quality import Estimate, mean_interval, ndcg_values, others, recall_values, vote_values
from nearfield.adviser.sweep import learns_from_queries
from nearfield.adviser.task import Fold, Task
from nearfield.adviser.timing import FLAT
from nearfield.core import arrays
from nearfield.core.codecs import Codec, row_terms, score_floats
from nearfield.core.protocols import F32, I64, U8, Batch, Metric, Prepared, Rows
from nearfield.numerics import kernels
from nearfield.search.fit import Fitted, first_scorer, fit_steps, interleaved
from nearfield.search.plan import Plan

Said = Callable[[int, int], None]
QUERY_BLOCK = 64
BLOCK_BYTES = 4 << 20  # of float32 rows in a block
CHUNK_BYTES = (4 << 20, 24 << 20)  # least and most bytes of codes scanned together, between them a tenth of all
FIT_BYTES = (9 << 20, 24 << 20)  # least and most bytes of float32 rows that a plan is fitted on here ...
FIT_SHARE = 10  # ... between them, this part of all rows: a fit may need a dozen times its rows
FIT_ROWS = 6000  # ... but not fewer rows than these


@dataclass
class Part:
    """Some rows of a batch, seen as a batch: what a plan is fitted on where all rows would take too much memory."""

    batch: Batch
    rows: I64

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), *self.batch.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.batch.dtype

    def blocks(self, rows: int = 0) -> Iterator[NDArray[Any]]:
        step = rows or arrays.block_rows(self.shape[1], BLOCK_BYTES)
        for start in range(0, len(self.rows), step):
            yield self.take(np.arange(start, min(start + step, len(self.rows))))

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        return self.batch.take(self.rows[rows])


@dataclass
class Best:
    """The best rows so far for each query, with a second score that follows them."""

    rows: I64
    scores: F32
    second: F32

    @classmethod
    def none(cls, m: int) -> Best:
        return cls(np.full((m, 0), -1, np.int64), np.zeros((m, 0), np.float32), np.zeros((m, 0), np.float32))

    @classmethod
    def joined(cls, blocks: list[Best]) -> Best:
        """The lists of blocks of queries, one below the other."""
        return cls(*(np.concatenate([getattr(b, name) for b in blocks]) for name in ("rows", "scores", "second")))

    def add(self, rows: I64, scores: F32, second: F32, keep: int) -> None:
        """Take up more rows and keep the best; ties go to the smaller row number."""
        if not len(self.rows):
            self.rows, self.scores, self.second = rows[:, :0], scores[:, :0], second[:, :0]
        rows = np.concatenate([self.rows, rows], axis=1)
        scores = np.concatenate([self.scores, scores], axis=1)
        second = np.concatenate([self.second, second], axis=1)
        order = np.lexsort((rows, -scores), axis=1)[:, :keep]
        self.rows = np.take_along_axis(rows, order, axis=1)
        self.scores = np.take_along_axis(scores, order, axis=1)
        self.second = np.take_along_axis(second, order, axis=1)


def exact_truth(task: Task, depth: int, said: Said | None = None) -> I64:
    """The exact best ``depth`` rows among all, for every query of the task; a held-out row never finds itself."""
    inner: Metric = "l2" if task.metric in ("l2", "hamming") else "dot"
    best = Best.none(len(task.q))
    start = 0
    for block in task.batch.blocks(arrays.block_rows(task.d, BLOCK_BYTES)):
        x = arrays.ready(block, task.metric, start, "vectors", task.on_zero)
        terms = row_terms(x, "l2") if inner == "l2" else None
        rows, scores = kernels.scan_floats(task.q, x, inner, min(depth + 1, len(x)), terms=terms)
        best.add(rows + start, scores, np.zeros(rows.shape, np.float32), depth + 1)
        start += len(x)
        if said:
            said(start, task.n)
    return without_own(best.rows, task.own, depth)


def without_own(rows: I64, own: I64, depth: int) -> I64:
    """Drop each query's own row and keep the best ``depth`` of the others."""
    other = (rows != own[:, None]) & (rows >= 0)
    order = np.argsort(~other, axis=1, kind="stable")[:, :depth]
    kept = np.take_along_axis(rows, order, axis=1)
    return np.where(np.take_along_axis(other, order, axis=1), kept, -1)


def answers(task: Task, plan: Plan, depth: int, said: Said | None = None) -> I64:
    """What the plan finds among all rows, fitted and scanned as ``Plan.fit`` and a flat index do: ``[m, depth]``.

    Where there are many rows it is fitted on a sample of them, smaller than the one that ``Plan.fit`` may take.
    Codes live for a chunk only, so that memory does not grow with the rows.
    """
    queries = fold_of(task, plan).fit
    rows = arrays.sample_rows(task.n, _fit_size(task, plan), np.random.default_rng([task.seed, 6]))
    part: Batch = task.batch if len(rows) == task.n else Part(task.batch, rows)
    fitted = fit_steps(plan, part, metric=task.metric, queries=queries, rng=task.seed, on_zero=task.on_zero)
    fitted.n = task.n
    give_back()
    mapped = task.q
    for map_ in fitted.maps:
        mapped = map_.transform_queries(mapped)
    wanted = max([depth, *(step.depth * task.k for step in plan.rescores)]) + 1
    best = [[Best.none(0) for _ in range(max(1, len(plan.rescores)))] for _ in _query_blocks(task)]
    start = 0
    for chunk in _chunks(task, fitted):
        for at, into in zip(_query_blocks(task), best):
            _take_up(fitted, chunk, task.q[at], mapped[at], into, min(wanted, chunk.rows.n), start, wanted)
        start += chunk.rows.n
        if said:
            said(start, task.n)
    joined = [Best.joined([block[i] for block in best]) for i in range(len(best[0]))]
    return without_own(_finish(plan, joined, task.k, task.own), task.own, depth)


def _fit_size(task: Task, plan: Plan) -> int:
    """How many rows to fit on: more for a codec that takes profit from them."""
    wide = 4 * task.d
    wanted = max(c.rows_wanted() for c in (plan.codec_for(task.metric), *(s.make_codec() for s in plan.rescores)))
    size = max(FIT_BYTES[0], task.n * wide // FIT_SHARE, wanted * wide)
    return max(FIT_ROWS, min(size, FIT_BYTES[1]) // wide)


def _query_blocks(task: Task) -> list[slice]:
    """Queries folded together: their tables can be large."""
    return [slice(i, min(i + QUERY_BLOCK, len(task.q))) for i in range(0, len(task.q), QUERY_BLOCK)]


def _take_up(
    fitted: Fitted, chunk: Chunk, q: F32, mapped: F32, best: list[Best], count: int, start: int, keep: int
) -> None:
    """Scan one chunk for one block of queries, score what is found with each finer codec, keep the best."""
    index = FLAT.fresh().attach(chunk.rows, {})
    hits = index.search(_prepared(fitted, fitted.codec, mapped, first=True), count)
    if not fitted.rescore_codecs:
        best[0].add(hits.rows + start, hits.scores, hits.scores, keep)
    for i, (step, codec) in enumerate(zip(fitted.plan.rescores, fitted.rescore_codecs)):
        prepared = _prepared(fitted, codec, q if step.of == "input" else mapped, first=False)
        second = _second(codec, prepared, chunk.finer[i], hits.rows)
        best[i].add(hits.rows + start, hits.scores, second, keep)


def _finish(plan: Plan, best: list[Best], k: int, own: I64) -> I64:
    """Apply the re-scoring steps, one after another, to the short lists."""
    if not plan.rescores:
        return best[0].rows
    rows = best[0].rows
    spare = 1 if (own >= 0).any() else 0
    alive = np.ones(rows.shape, dtype=np.bool_)
    ranking = np.broadcast_to(np.arange(rows.shape[1]), rows.shape)
    for step, scored in zip(plan.rescores, best):
        place = np.argsort(ranking, axis=1, kind="stable").argsort(axis=1)
        alive &= place < step.depth * k + spare
        order = np.lexsort((rows, -np.where(alive, scored.second, -np.inf)), axis=1)
        ranking = np.argsort(order, axis=1)
    order = np.argsort(ranking, axis=1)
    return np.where(np.take_along_axis(alive, order, axis=1), np.take_along_axis(rows, order, axis=1), -1)


def _prepared(fitted: Fitted, codec: Codec, q: F32, *, first: bool) -> Prepared:
    metric = fitted.scoring(codec, first=first)
    return (first_scorer(codec, metric, FLAT) if first else codec.scorer(metric)).prepare(q)


@dataclass
class Chunk:
    """Codes of some rows, as an index takes them, and those of the re-scoring codecs."""

    rows: Rows
    finer: list[U8]


def _chunks(task: Task, fitted: Fitted) -> Iterator[Chunk]:
    """The codes of all rows, a bounded number of bytes at a time."""
    codec, codecs = fitted.codec, fitted.rescore_codecs
    width = codec.bytes_per_row + sum(c.bytes_per_row for c in codecs)
    size = min(max(CHUNK_BYTES[0], task.n * width // 10), CHUNK_BYTES[1])
    step = max(BLOCK_BYTES // (4 * task.d), size // max(1, width))
    held: list[list[U8]] = []
    count, start = 0, 0
    for block in task.batch.blocks(arrays.block_rows(task.d, BLOCK_BYTES)):
        x = arrays.ready(block, task.metric, start, "vectors", task.on_zero)
        start += len(x)
        z = x
        for map_ in fitted.maps:
            z = map_.transform(z)
        finer = [c.encode(x if s.of == "input" else z) for s, c in zip(fitted.plan.rescores, codecs)]
        held.append([codec.encode(block if fitted.as_given else z), *finer])
        count += len(x)
        if count >= step:
            yield _chunk(fitted, held)
            held, count = [], 0
    if held:
        yield _chunk(fitted, held)


def _chunk(fitted: Fitted, held: list[list[U8]]) -> Chunk:
    codec = fitted.codec
    scorer = first_scorer(codec, fitted.scoring(codec, first=True), FLAT)
    parts = [scorer.terms(block[0]) for block in held]
    terms = None if parts[0] is None else np.concatenate([p for p in parts if p is not None])
    codes, *finer = (np.concatenate(column) for column in zip(*held))
    packed = interleaved(codec, FLAT)
    stored = kernels.pack(codes, codes.shape[1]) if packed else codes
    return Chunk(Rows(stored, scorer, codec.decode, len(codes), terms, packed), finer)


def _second(codec: Codec, q: Prepared, codes: U8, rows: I64) -> F32:
    """The finer scores of the rows found in this chunk, from their decoded values."""
    out = np.empty(rows.shape, dtype=np.float32)
    for i in range(len(rows)):
        decoded = codec.decode(np.ascontiguousarray(codes[rows[i]]))
        out[i] = score_floats(q.queries[i : i + 1], decoded, q.metric)[0]
    return out


def verify(task: Task, plan: Plan, truth: I64, said: Said | None = None) -> dict[str, Estimate]:
    """Every measure of the plan on all rows but Spearman's, which needs none of them."""
    found = answers(task, plan, truth.shape[1], said)
    return for_others(figures(task, found, truth, fold_of(task, plan).at))


def for_others(found: dict[str, Estimate]) -> dict[str, Estimate]:
    """The figures with the intervals of as many other queries; Spearman's is of the pairs."""
    return {name: e if name == "Spearman" else others(e) for name, e in found.items()}


def fold_of(task: Task, plan: Plan) -> Fold:
    """The first of the folds where the plan learns from queries: the others would need a fit each."""
    return task.folds_for(learns_from_queries(plan))[0]


def figures(task: Task, found: I64, truth: I64, at: slice) -> dict[str, Estimate]:
    """The measures of ``found`` rows against the exact ones, over some of the queries."""
    out: dict[str, Estimate] = {}
    if task.judged is not None:
        where, grades = task.judged.within(at)
        if grades:
            out["nDCG@10"] = mean_interval(ndcg_values(found[where], grades))
    if task.labels is not None:
        near = found[task.labels.start :, : task.k]
        out["kNN accuracy"] = mean_interval(vote_values(near, task.labels.rows, task.labels.wanted))
    out[task.recall_name] = mean_interval(recall_values(found[at, : task.k], truth[at, : task.k]))
    return out
