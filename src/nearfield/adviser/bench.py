"""Runs plans on the sample: fits, encodes, ranks, times; what plans share is done once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.adviser import lists, strata, timing
from nearfield.adviser.lists import FRACTIONS, Lists, Masked, Thinning
from nearfield.adviser.memory import give_back
from nearfield.adviser.predict import Grown, predict
from nearfield.adviser.quality import Estimate, mean_interval, ndcg_values, others, recall_values, spearman, vote_values
from nearfield.adviser.rows import Row, joined
from nearfield.adviser.sweep import learns_from_queries, proven
from nearfield.adviser.task import Fold, Task
from nearfield.core.arrays import block_rows
from nearfield.core.codecs import Codec, score_floats
from nearfield.core.errors import NearfieldError
from nearfield.core.maps import Map
from nearfield.core.protocols import F32, U8, Metric
from nearfield.numerics.stepped import Stepped
from nearfield.search.fit import Fitted
from nearfield.search.plan import Plan

WORKERS = 1  # BLAS and the kernels have threads of their own; another plan beside would double the memory
BLOCK_BYTES = 4 << 20
FEWEST = 25  # rows of which a grid's steps tell anything


@dataclass
class Prefix:
    """Fitted Maps and what they make of the sample, the queries and the scored pairs."""

    maps: list[Map]
    z: F32
    q: F32
    fit_queries: F32 | None
    at: slice  # queries to measure with: the Maps have not seen them
    pairs: tuple[F32, F32, F32] | None  # both sides mapped, and the bias of the first
    fit_s: float
    map_s: float


@dataclass
class Coded:
    """A fitted codec over the sample and the lists that it gives."""

    codec: Codec
    metric: Metric
    found: Lists
    masked: Masked
    pair_scores: F32 | None
    fit_s: float
    encode_s: float
    scan_s: float
    prepare_s: float
    has_terms: bool
    steps: float  # by how much the logarithm of its steps grows with fourfold rows
    codes: U8 | None = None
    terms: F32 | None = None


class Bench:
    """Measures plans against the exact lists of one task."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.inner: Metric = "l2" if task.metric in ("l2", "hamming") else "dot"
        self.exact = lists.top_lists(task.q, task.x, self.inner, lists.SHORT)
        fractions = FRACTIONS if task.searched > len(task.x) else ()  # nothing to predict
        self.thinning = Thinning(
            self.exact, len(task.x), np.random.default_rng([task.seed, 2]), fractions=fractions, weights=_weights(task)
        )
        # Directions and codebooks suit the rows they were fitted on better than rows to come, to first order by as
        # much as they suit rows to come worse than the limit. So that the error over the whole sample is that of a
        # fit on all rows, they are fitted on this share of it: 1 where the sample is everything, towards a half
        # where it is little.
        share = 1 / (2 - len(task.x) / max(task.n, len(task.x)))
        # Where all of the longest rows are in the sample, fits see as few of them as a fit on all rows does.
        self.alike = strata.representative(task.rows, task.head, task.n) if task.head.size else None
        order = np.random.default_rng([task.seed, 5]).permutation(len(task.x) if self.alike is None else self.alike)
        self.fit_rows = np.sort(order[: max(1, round(share * len(order)))])
        self.label_rows = task.labels.rows[task.rows] if task.labels else None
        self._fine: dict[str, Coded] = {}
        self._lock = threading.Lock()
        self._fitting = threading.Lock()  # one fit at a time: two would need twice the memory
        self.failed: dict[str, str] = {}

    def run(
        self, plans: list[Plan], progress: Callable[[int], None] | None = None, *, strict: bool = False
    ) -> list[Row]:
        """A row for each plan that runs, in the order given; with ``strict`` the first failure is raised."""
        groups: dict[tuple[str, str], list[Plan]] = {}
        for plan in plans:
            maps = " | ".join(str(m) for m in plan.maps)
            groups.setdefault((maps, "" if maps else str(plan.codec_for(self.task.metric))), []).append(plan)
        done = 0
        rows: dict[str, Row] = {}

        def one(group: list[Plan]) -> dict[str, Row]:
            nonlocal done
            found = self._group(group, strict)
            with self._lock:
                done += len(group)
                if progress:
                    progress(done)
            return found

        with ThreadPoolExecutor(WORKERS) as pool:
            for found in pool.map(one, groups.values()):
                rows |= found
        return [rows[str(plan)] for plan in plans if str(plan) in rows]

    def _group(self, plans: list[Plan], strict: bool) -> dict[str, Row]:
        """Plans with the same Maps; where those learn from queries, once for each fold of them."""
        folds = self.task.folds_for(learns_from_queries(plans[0]))
        found = [self._fold(plans, fold, strict) for fold in folds]
        return {text: joined([each[text] for each in found]) for text in found[0] if all(text in f for f in found)}

    def _fold(self, plans: list[Plan], fold: Fold, strict: bool) -> dict[str, Row]:
        """Plans with the same Maps; those with the same codec share its lists too."""
        out: dict[str, Row] = {}
        by_codec: dict[str, list[Plan]] = {}
        for plan in plans:
            by_codec.setdefault(str(plan.codec_for(self.task.metric)), []).append(plan)
        prefix: Prefix | None = None
        for same in by_codec.values():
            try:
                prefix = prefix or self._prefix(same[0], fold)
                length = lists.LONG if any(plan.rescores for plan in same) else lists.SHORT
                coded = self._code(same[0], prefix, length)
                for plan in same:
                    out[str(plan)] = self._row(plan, prefix, coded)
                del coded
                give_back()
            except NearfieldError as error:
                if strict:
                    raise
                self.failed |= {str(plan): str(error) for plan in same if str(plan) not in out}
        return out

    def forget(self) -> None:
        """Free what only the sweep needed; single plans can still be run."""
        self._fine.clear()
        give_back()

    # -- fitting -----------------------------------------------------------------------------------

    def _streams(self, plan: Plan) -> list[np.random.Generator]:
        return np.random.default_rng(self.task.seed).spawn(3 + len(plan.maps) + len(plan.rescores))

    def _prefix(self, plan: Plan, fold: Fold) -> Prefix:
        task, streams = self.task, self._streams(plan)
        z, q, maps, fit_s, map_s = task.x, task.q, [], 0.0, 0.0
        seen, pairs = fold.fit, None
        if task.pairs is not None:
            pairs = (task.pairs.a, task.pairs.b, np.zeros(len(task.pairs.a), np.float32))
        for i, template in enumerate(plan.maps):
            map_ = template.fresh()
            with self._fitting:
                start = time.perf_counter()
                if map_.streams:
                    map_.fit_blocks(partial(_once, z[self.fit_rows]), metric=self.inner, rng=streams[3 + i])
                else:
                    map_.fit(z[self.fit_rows], seen, metric=self.inner, rng=streams[3 + i])
                fitted = time.perf_counter()
                mapped = _in_blocks(map_.transform, z)
            fit_s, map_s = fit_s + fitted - start, map_s + time.perf_counter() - fitted
            seen = map_.transform_queries(seen) if seen is not None else None
            if pairs is not None:
                bias = map_.query_bias(pairs[0])
                shift = pairs[2] if bias is None else pairs[2] + bias
                pairs = (map_.transform_queries(pairs[0]), map_.transform(pairs[1]), shift)
            z, q = mapped, map_.transform_queries(q)
            maps.append(map_)
        return Prefix(maps, z, q, seen, fold.at, pairs, fit_s, map_s)

    def _code(self, plan: Plan, prefix: Prefix, length: int) -> Coded:
        task = self.task
        codec = plan.codec_for(task.metric)
        as_given = not plan.maps and task.given is not None and codec.takes(task.batch.dtype)
        rows = task.given if as_given and task.given is not None else prefix.z
        fit_s = self._fit(codec, rows, prefix, prefix.fit_queries, self._streams(plan)[1])
        steps = step_growth(codec, rows, self._streams(plan)[1])
        fitted = Fitted(plan, task.metric, len(rows), task.d, prefix.maps, codec, [])
        if not fitted.as_given:
            rows = prefix.z
        return self._lists(codec, rows, prefix, fitted.scoring(codec, first=True), fit_s, steps, length)

    def _fit(self, codec: Codec, rows: Any, prefix: Prefix, queries: F32 | None, rng: np.random.Generator) -> float:
        with self._fitting:
            rows = self._fit_sample(codec, rows, prefix)
            start = time.perf_counter()
            codec.fit(rows, queries, rng=rng)
            seconds = time.perf_counter() - start
            del rows
        give_back()
        return seconds

    def _fit_sample(self, codec: Codec, rows: Any, prefix: Prefix) -> Any:
        """The sample; for a codec that learns much a share of it, and further rows as far as those help."""
        wanted = codec.rows_wanted()
        if not wanted or 32 * len(self.fit_rows) < wanted:  # so few would be known by heart, whichever they are
            return rows if self.alike is None else rows[self.alike]
        own = rows[self.fit_rows]
        further = self.task.further(max(0, wanted - len(own)))
        for map_ in prefix.maps:
            further = map_.transform(further)
        return np.concatenate([own, further]) if len(further) else own

    def _lists(
        self, codec: Codec, rows: Any, prefix: Prefix, metric: Metric, fit_s: float, steps: float, length: int
    ) -> Coded:
        task = self.task
        scorer = codec.scorer(metric)
        start = time.perf_counter()
        codes = _in_blocks(codec.encode, rows)
        encode_s = time.perf_counter() - start
        decoded = _in_blocks(codec.decode, codes)
        terms = _in_blocks(scorer.terms, codes) if metric in ("l2", "cosine") else None
        ranked: Metric = "l2" if metric == "hamming" else metric  # of bits as 0/1 floats: the same order
        found = lists.top_lists(prefix.q, decoded, ranked, length)
        del decoded
        return Coded(
            codec, metric, found, self.thinning.masked(found), self._pair_scores(codec, prefix, metric), fit_s,
            encode_s, timing.scan_seconds(codec, codes, prefix.q, metric, terms, task.k),
            timing.prepare_seconds(prefix.maps, codec, task.q, metric), terms is not None, steps, codes, terms,
        )  # fmt: skip

    def _pair_scores(self, codec: Codec, prefix: Prefix, metric: Metric) -> F32 | None:
        if prefix.pairs is None:
            return None
        a, b, bias = prefix.pairs
        if codec.keeps_input():
            return _paired(a, b, metric) + bias
        kept = codec.decode(_in_blocks(codec.encode, b))
        return _paired(a, kept, metric) + bias

    def _finer(self, plan: Plan, at: int, prefix: Prefix) -> Coded:
        """The lists of a re-scoring codec; those over the input are shared by all plans."""
        step = plan.rescores[at]
        if step.of == "mapped" and plan.maps:
            return self._fit_finer(plan, at, prefix)
        with self._lock:
            key = str(step.codec)
            if key not in self._fine:
                self._fine[key] = self._fit_finer(plan, at, self._input())
            return self._fine[key]

    def _input(self) -> Prefix:
        task = self.task
        pairs = None
        if task.pairs is not None:
            pairs = (task.pairs.a, task.pairs.b, np.zeros(len(task.pairs.a), np.float32))
        return Prefix([], task.x, task.q, None, slice(0, task.m), pairs, 0.0, 0.0)

    def _fit_finer(self, plan: Plan, at: int, prefix: Prefix) -> Coded:
        codec = plan.rescores[at].make_codec()
        fit_s = self._fit(codec, prefix.z, prefix, None, self._streams(plan)[3 + len(plan.maps) + at])
        metric: Metric = "l2" if self.task.metric == "hamming" else self.inner
        return self._lists(codec, prefix.z, prefix, metric, fit_s, 0.0, lists.LONG)

    # -- measuring ---------------------------------------------------------------------------------

    def _row(self, plan: Plan, prefix: Prefix, coded: Coded) -> Row:
        task = self.task
        n, s = task.n, len(task.x)
        finer = [self._finer(plan, i, prefix) for i in range(len(plan.rescores))]
        found, wanted = coded.found, task.k
        for step, fine in zip(plan.rescores, finer):
            found = lists.reorder(found, fine.found, min(step.depth * task.k, found.shape[1]), s)
            wanted = max(wanted, step.depth * task.k)
        state = [coded, *finer]
        fmt = coded.codec.row_format()
        bytes_per_row = float(sum(c.codec.bytes_per_row + 4 * c.has_terms for c in state)) + plan.index.bytes_per_row
        return Row(
            plan=str(plan),
            bytes_per_row=bytes_per_row,
            shared_bytes=sum(c.codec.shared_bytes for c in state) + sum(m.state_bytes() for m in prefix.maps),
            smaller=task.full_bytes / bytes_per_row if bytes_per_row else float("inf"),
            quality=self._quality(plan, found, coded, finer, prefix.at),
            us_per_query=1e6 * self._query_seconds(prefix, coded, finer, wanted),
            fit_s=prefix.fit_s + sum(c.fit_s for c in state),
            encode_s=(prefix.map_s + sum(c.encode_s for c in state)) * n / s,
            layout=None if fmt is None else fmt.layout,
            walked_bytes=coded.codec.bytes_per_row,
            proven=proven(plan),
        )

    def _query_seconds(self, prefix: Prefix, coded: Coded, finer: list[Coded], wanted: int) -> float:
        s = len(self.task.x)
        total = coded.prepare_s + coded.scan_s * self.task.n / s
        rows = np.sort(np.random.default_rng(0).choice(s, size=min(wanted, s), replace=False)).astype(np.int64)
        for fine in finer:
            if fine.codes is not None:
                total += timing.rescore_seconds(fine.codec, fine.codes, self.task.q, fine.metric, fine.terms, rows)
        return total

    def _quality(self, plan: Plan, found: Lists, coded: Coded, finer: list[Coded], at: slice) -> dict[str, Estimate]:
        task = self.task
        recall = others(mean_interval(recall_values(found[at], self.exact[at, : task.k])))
        out: dict[str, Estimate] = {}
        if task.judged is not None:
            where, grades = task.judged.within(at)
            numbers = np.where(found >= 0, task.rows[np.maximum(found, 0)], -1)[where]
            if grades:
                out["nDCG@10"] = others(mean_interval(ndcg_values(numbers, grades)))
        if task.labels is not None and self.label_rows is not None:
            near = found[task.labels.start :, : task.k]
            out["kNN accuracy"] = others(mean_interval(vote_values(near, self.label_rows, task.labels.wanted)))
        last = finer[-1] if finer else coded
        if task.pairs is not None and last.pair_scores is not None:
            out["Spearman"] = spearman(last.pair_scores, task.pairs.scores)
        out[task.recall_name] = self._predicted(plan, recall, coded, finer, at)
        if task.searched > len(task.x):
            out[f"{task.recall_name} in the sample"] = recall
        return out

    def _predicted(self, plan: Plan, recall: Estimate, coded: Coded, finer: list[Coded], at: slice) -> Estimate:
        task = self.task
        if not self.thinning.fractions:
            return recall
        depth = max([1, *(step.depth for step in plan.rescores)])
        fine = finer[-1].masked if finer else None
        curve = self.thinning.curve(coded.masked, coded.found.shape[1], at, depth, fine)
        grown = Grown(
            self.thinning.rank(task.k), task.searched / len(task.x), bool(task.head.size),
            max(c.steps for c in (coded, *finer)),
        )  # fmt: skip
        return predict(curve, recall, task.k, grown, (at.stop - at.start) * task.k)


def step_growth(codec: Codec, rows: Any, rng: np.random.Generator) -> float:
    """By how much the logarithm of a grid's steps grows with fourfold rows: extremes that rows to come widen it by."""
    if not isinstance(codec, Stepped) or codec.scale not in ("dimension", "global") or len(rows) < 8 * FEWEST:
        return 0.0
    few = codec.fresh()
    few.fit(np.ascontiguousarray(rows[np.sort(rng.permutation(len(rows))[: len(rows) // 4])]), None, rng=rng)
    both = [np.asarray(c.state()["step_"], dtype=np.float64) for c in (codec, few)]
    wide = (both[0] > 0) & (both[1] > 0)
    return float(np.log(both[0][wide] / both[1][wide]).mean()) if wide.any() else 0.0


def _weights(task: Task) -> NDArray[np.float64]:
    """How many rows of all each sampled row stands for."""
    if task.head.size:
        return strata.weights(task.rows, task.head, task.searched)
    return np.full(len(task.x), task.searched / len(task.x))


def _once(z: F32) -> Iterator[F32]:
    yield z


def _in_blocks(work: Callable[[Any], Any], rows: Any) -> Any:
    """Apply row-wise work to a few rows at a time: what it needs beside its result stays small."""
    step = block_rows(rows.shape[1], BLOCK_BYTES)
    if len(rows) <= step:
        return work(rows)
    first = work(rows[:step])
    out = np.empty((len(rows), *first.shape[1:]), dtype=first.dtype)
    out[:step] = first
    for i in range(step, len(rows), step):
        out[i : i + step] = work(rows[i : i + step])
    return out


def _paired(a: F32, b: F32, metric: Metric) -> F32:
    """The score of each pair."""
    step = 256
    parts = [np.diagonal(score_floats(a[i : i + step], b[i : i + step], metric)) for i in range(0, len(a), step)]
    return np.concatenate(parts)
