"""Warnings in words: what the papers say goes wrong, tested on these vectors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nearfield.adviser.survey import Survey
from nearfield.adviser.task import Task
from nearfield.core.codecs import score_floats
from nearfield.core.protocols import F32
from nearfield.numerics import kernels
from nearfield.search.plan import Plan

TINY_BYTES = 16 << 20
SHIFTED = 0.005  # the energy coefficient from which a shift is worth a word
NEAR = 0.999
LONG = 100  # times the middle length: one step for all values leaves the others few levels
ROWS_PER_CENTROID = 39  # the rule of thumb of faiss


def cautions(task: Task, survey: Survey, best: Plan | None) -> list[str]:
    """Everything the user should know before believing a table."""
    found = [*_size(task), *_shift(task), *_norms(task, survey), *_same(task, survey), *_type(task)]
    return [*found, *(_few(task, best) if best is not None else [])]


def _size(task: Task) -> Iterator[str]:
    total = task.n * task.full_bytes
    if total < TINY_BYTES:
        yield (
            f"{task.n} rows take {total / 1e6:.1f} MB as float32: nothing here needs compressing, and an exact scan "
            "is quick"
        )
    if task.m < 100:
        yield f"only {task.m} queries to measure with: intervals are wide; give more, or more rows"


def shift(task: Task) -> float:
    """The energy coefficient between queries and rows where they are told apart for sure and by far, else 0."""
    if not task.user_queries or task.m < 20:
        return 0.0
    draw = np.random.default_rng([task.seed, 3])
    count = min(400, task.m, len(task.x))
    rows = task.x[draw.choice(len(task.x), count, replace=False)]
    coefficient, chance = energy_test(task.q[: task.m][:count], rows, draw)
    return coefficient if chance < 0.01 and coefficient > SHIFTED else 0.0


def _shift(task: Task) -> Iterator[str]:
    coefficient = shift(task)
    if coefficient:
        yield (
            f"the queries are distributed otherwise than the rows (energy coefficient {coefficient:.3f}, p < 0.01): "
            "reducers fitted on rows alone lose what queries ask about; look at leanvec(dim=..., kind='ood')"
        )


def energy_test(a: F32, b: F32, rng: np.random.Generator, rounds: int = 199) -> tuple[float, float]:
    """Energy distance of two samples over its largest possible value, and the permutation p-value.

    (Székely and Rizzo 2013.) 0 where both come from one distribution; the p-value is exact at its level.
    """
    both = np.concatenate([a, b])
    distance = np.sqrt(np.maximum(-score_floats(both, both, "l2"), 0)).astype(np.float64)
    np.fill_diagonal(distance, 0)
    total = len(both)
    member = np.zeros((rounds + 1, total))
    member[0, : len(a)] = 1
    for i in range(1, rounds + 1):
        member[i, rng.permutation(total)[: len(a)]] = 1
    statistic, between = _energy(distance, member, len(a), len(b))
    chance = float((statistic >= statistic[0]).mean())
    unbiased = statistic[0] - float(statistic[1:].mean())  # within-sample means count zeros on the diagonal
    return max(0.0, unbiased / (2 * float(between[0]))) if between[0] > 0 else 0.0, chance


def _energy(
    distance: NDArray[np.float64], member: NDArray[np.float64], m: int, n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    other = 1 - member
    reach = member @ distance
    inside = (reach * member).sum(axis=1) / (m * m)
    between = (reach * other).sum(axis=1) / (m * n)
    outside = ((other @ distance) * other).sum(axis=1) / (n * n)
    return 2 * between - inside - outside, between


def _norms(task: Task, survey: Survey) -> Iterator[str]:
    """Cosine drops the rows' lengths: a share of what is near under dot is lost where they vary. Others keep them."""
    if task.metric in ("dot", "l2") and survey.longest > LONG:
        yield (
            f"row {survey.longest_row} is {survey.longest:.0f} times as long as the middle row: codes whose steps "
            "all rows share (int8, pq, rvq) lose the others to it; check it, or scale rows one by one (normalize, "
            "lvq, int8(scale='row'))"
        )
    if task.metric != "cosine" or survey.norm_spread < 0.1:
        return
    given = np.asarray(task.batch.take(task.rows), dtype=np.float32)
    norms = np.sqrt(np.einsum("ij,ij->i", given, given))
    del given
    q = task.q[: min(200, task.m)]
    cosines = score_floats(q, task.x, "dot")
    by_cosine = kernels.topk(cosines, task.k)[0]
    by_dot = kernels.topk(cosines * norms[None, :], task.k)[0]
    overlap = float((by_cosine[:, :, None] == by_dot[:, None, :]).any(axis=2).mean())
    if overlap < 0.95:
        yield (
            f"lengths of rows vary by {survey.norm_spread:.0%} and cosine ignores them: the {task.k} nearest by dot "
            f"product are {1 - overlap:.0%} others; if length carries meaning (popularity, confidence), use "
            "metric='dot'"
        )


def _same(task: Task, survey: Survey) -> Iterator[str]:
    if survey.duplicates:
        yield (
            f"{survey.duplicates} of {task.n} rows repeat an earlier one exactly: ties among them make recall look "
            "worse than answers are; remove them, or keep one and count"
        )
    if task.metric == "hamming":
        return
    draw = np.random.default_rng([task.seed, 4])
    few = draw.choice(len(task.x), min(300, len(task.x)), replace=False)
    lengths = np.sqrt(np.einsum("ij,ij->i", task.x, task.x))
    unit = task.x[few] / np.where(lengths[few] > 0, lengths[few], 1)[:, None]
    cosines = unit @ task.x.T / np.where(lengths > 0, lengths, 1)[None, :]
    cosines[np.arange(len(few)), few] = -1
    # rows that only repeat another exactly were counted above
    near = float(((cosines > NEAR) & (cosines < 1 - 1e-6)).any(axis=1).mean())
    if near > 0.02:
        yield f"{near:.0%} of the rows looked at have a near-duplicate (cosine above {NEAR}): consider removing copies"


def _type(task: Task) -> Iterator[str]:
    if task.batch.dtype.kind in "iu" and task.metric != "hamming":
        size = task.batch.dtype.itemsize
        yield (
            f"rows came as {task.batch.dtype} ({size} byte{'s' * (size > 1)} a dimension): 'smaller' compares with "
            "float32, which they would become elsewhere; raw() keeps int8 and uint8 as they are"
        )


def _few(task: Task, plan: Plan) -> Iterator[str]:
    codec = plan.codec_for(task.metric)
    code_bits = getattr(codec, "code_bits", None)
    if isinstance(code_bits, int) and task.n < ROWS_PER_CENTROID << code_bits:
        yield (
            f"too few rows to fit {codec}: {task.n} for {1 << code_bits} centroids a part, "
            f"{ROWS_PER_CENTROID << code_bits} or more are wanted; its quality here is partly learned by heart"
        )
    learned = [str(m) for m in plan.maps if m.name() in ("pca", "whiten", "leanvec")]
    learned += [str(codec)] if codec.name() in ("itq", "opq", "transform") else []
    if learned and task.n < 5 * task.d:
        yield (
            f"too few rows to fit {learned[0]} well: {task.n} for {task.d} dimensions; rows to come may lose more "
            "than is measured here"
        )
