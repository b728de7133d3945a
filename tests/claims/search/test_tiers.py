"""S044, ESPN: finer vectors stay on disk and are read ahead of their use, at a fraction of the memory and nearly its
time. S161, BiDR: small codes in memory search, dense vectors on disk verify, and nothing is lost.

The papers re-rank token vectors, and train both granularities together; here both are of one vector a row, 60,000 real
rows, and the small ones are LeanVec's. Cold means that the file's pages were dropped from the system's cache before
each query.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import nearfield as nf
from nearfield.search.packed import Packed

Record = Callable[..., None]
PLAN = "leanvec(dim=160) | lvq(bits=4) | vamana(degree=20) | rescore(codec='float16', depth=10)"
BUDGET, K, COLD = 1500, 10, 100
ONE = "token vectors: a row has one vector"

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the cache of a file is not dropped here")


@pytest.fixture(scope="module")
def file(minilm60k: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiers") / "rows.nf"
    nf.Plan(PLAN).fit(minilm60k, metric="dot", out=path)
    return path


@pytest.fixture(scope="module")
def memory(file: Path) -> Packed:
    return nf.load(file)


@pytest.fixture(scope="module")
def apart(file: Path) -> Path:
    """Another copy on disk: pages that are mapped are not dropped from the cache."""
    path = Path(shutil.copy(file, file.with_name("apart.nf")))
    with open(path, "rb+") as copied:
        os.fsync(copied.fileno())  # nor are those that are still to be written
    return path


@pytest.fixture(scope="module")
def disk(apart: Path, memory: Packed) -> Packed:
    return nf.load(apart, memory=memory.nbytes - memory.columns["rescore0"].nbytes)


def milliseconds(ask: Callable[[int], object], count: int, drop: Path | None = None) -> float:
    """The median of single queries; before each the pages of a file are dropped."""
    handle = os.open(drop, os.O_RDONLY) if drop else None
    taken = []
    for i in range(count):
        if handle is not None:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        start = time.perf_counter()
        ask(i)
        taken.append(time.perf_counter() - start)
    if handle is not None:
        os.close(handle)
    return 1000 * float(np.median(taken))


def test_memory_is_a_fifth(memory: Packed, disk: Packed, record_claim: Record) -> None:
    less = memory.nbytes / disk.nbytes
    record_claim(
        "S044", "rows on disk take at least 5 times less memory", less >= 5, f"{less:.1f} times less", without=ONE
    )
    assert less >= 5


def test_time_is_near(
    apart: Path, memory: Packed, disk: Packed, minilm_queries: np.ndarray, record_timing: Record
) -> None:
    def plain(i: int) -> None:  # the short list read a row after another, when it is known
        for row in short[i]:
            disk.on_disk["rescore0"].take(row[None])

    q = minilm_queries
    short = [memory.search(q[i], 10 * K, budget=BUDGET).rows[0] for i in range(COLD)]
    within = milliseconds(lambda i: memory.search(q[i], K, budget=BUDGET), 500)
    warm = milliseconds(lambda i: disk.search(q[i], K, budget=BUDGET), 500)
    cold = milliseconds(lambda i: disk.search(q[i], K, budget=BUDGET), COLD, apart)
    naive = within + milliseconds(plain, COLD, apart)
    record_timing(
        "S044",
        "rows on disk take up to 3 times the time; cold, less than half of what plain reads add",
        warm <= 3 * within and cold - within < 0.5 * (naive - within),
        f"{warm:.2f} ms warm and {cold:.2f} ms cold against {within:.2f} ms in memory and {naive:.2f} ms cold by "
        "plain reads",
        without=ONE,
    )


def test_most_rows_are_asked_for_early(disk: Packed, minilm_queries: np.ndarray, record_claim: Record) -> None:
    before = disk.tier_stats()["rescore0"]
    for q in minilm_queries[:500]:
        disk.search(q, K, budget=BUDGET)
    told = {key: value - before[key] for key, value in disk.tier_stats()["rescore0"].items()}
    early, unused = told["early"] / told["wanted"], told["unused"] / (told["early"] + told["unused"])
    record_claim(
        "S044",
        "more than 90% of the rows that are wanted were asked for while the search went on",
        early > 0.9,
        f"{early:.1%}; {unused:.1%} of what was asked for was not wanted; {told['reads'] / 500:.0f} reads a query",
        without=ONE,
    )
    assert early > 0.9


def test_dense_vectors_on_disk_verify(
    memory: Packed,
    disk: Packed,
    minilm60k: np.ndarray,
    minilm_queries: np.ndarray,
    truth10: np.ndarray,
    recall: Callable[[np.ndarray, np.ndarray], float],
    record_claim: Record,
) -> None:
    verified = recall(disk.search(minilm_queries, K, budget=BUDGET).rows, truth10)
    whole = recall(memory.search(minilm_queries, K, budget=BUDGET).rows, truth10)
    light = nf.Plan(PLAN.rsplit(" | ", 1)[0]).fit(minilm60k, metric="dot")
    small = recall(light.search(minilm_queries, K, budget=BUDGET).rows, truth10)
    times = minilm60k.nbytes / disk.nbytes
    held = verified == whole and verified >= small + 0.05 and verified >= 0.95
    record_claim(
        "S161",
        "small codes in memory with dense vectors on disk find what both find in memory, and far more than the codes",
        held,
        f"recall@10 {verified:.3f} against {whole:.3f} in memory and {small:.3f} by codes alone, at {times:.0f} times "
        "less memory than float32",
        without="progressive training and contrastive quantisation",
    )
    assert held
