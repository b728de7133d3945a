"""A Packed is searched while other threads change it, and takes deleted rows out beside what goes on."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.core.errors import BadInput, UpkeepWarning
from nearfield.numerics.linking import Entering
from nearfield.search import changing

D, LEAST, ALL = 12, 200, 10**6
PLANS = [
    "int8()",
    "pq(parts=4, code_bits=4) | rescore(codec='float16', depth=200)",
    "float16() | vamana(degree=8, width=32)",
    "lvq(bits=4) | vamana(degree=8, width=32) | rescore(codec='lvq(bits=8)', depth=200, of='residual')",
    "float16() | packed_graph(degree=16, width=32)",
    "float16() | ivf(lists=8)",
]
GRAPH = "float16() | vamana(degree=8, width=32)"


@pytest.fixture(autouse=True)
def _switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(before)


def rows(n: int, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(rng.normal(size=(n, D)) / np.sqrt(1 + np.arange(D)) + 0.1, np.float32)


class Writer:
    """Changes a Packed, and tells what had to be there when: what was asked for, and what was acknowledged."""

    def __init__(self, plan: str, rng: np.random.Generator) -> None:
        self.rng = rng
        x = rows(2 * LEAST, rng)
        self.versions: dict[int, list[np.ndarray]] = {i: [v] for i, v in enumerate(x)}
        self.there = set(self.versions)  # acknowledged, and not asked to go
        self.gone: set[int] = set()  # whose going was acknowledged
        self.packed = nf.Plan(plan).fit(x, ids=list(self.versions))

    def add(self) -> None:
        ids = [len(self.versions) + i for i in range(int(self.rng.integers(1, 80)))]
        x = rows(len(ids), self.rng)
        for i, v in zip(ids, x):
            self.versions[i] = [v]
        self.packed.add(x, ids=ids)
        self.there |= set(ids)

    def some(self) -> list[int]:
        there = sorted(self.there)
        return [there[i] for i in self.rng.permutation(len(there))[: max(0, min(60, len(there) - LEAST))]]

    def upsert(self) -> None:
        ids = self.some()
        x = rows(len(ids), self.rng)
        for i, v in zip(ids, x):
            self.versions[i] = [*self.versions[i], v]
        self.packed.upsert(x, ids=ids)

    def delete(self) -> None:
        ids = set(self.some())
        self.there = self.there - ids
        assert self.packed.delete(sorted(ids)) == len(ids)
        self.gone = self.gone | ids

    def consolidate(self) -> None:
        self.packed.consolidate(wait=bool(self.rng.integers(2)))

    def compact(self) -> None:
        self.packed.compact()

    def fits(self, name: int, score: float, q: np.ndarray) -> bool:
        near = [float(v @ q / np.linalg.norm(v) / np.linalg.norm(q)) for v in self.versions[name]]
        return min(abs(score - n) for n in near) < (0.1 if str(self.packed.plan) == "int8()" else 0.01)


def read(writer: Writer, seed: int, done: threading.Event) -> int:
    rng, count = np.random.default_rng([7, seed]), 0
    while not done.is_set():
        count += 1
        q = rows(1, rng)
        gone, there = writer.gone, set(writer.there)
        everything = count % 2 == 0
        allow = np.ones(writer.packed.span, np.bool_) if count % 3 == 0 else None
        try:
            hits = writer.packed.search(q, k=5000 if everything else 10, budget=ALL if everything else 60, allow=allow)
        except BadInput as error:  # rows came or went since
            assert allow is not None
            assert "allow" in str(error)
            continue
        row = hits[0]
        names = [h.id for h in row]
        assert len(set(names)) == len(names)
        assert set(names) <= set(writer.versions)
        assert not gone & set(names)
        assert [h.score for h in row] == sorted((h.score for h in row), reverse=True)
        assert all(writer.fits(h.id, h.score, q[0]) for h in row[:20])
        if everything:
            assert there & writer.there <= set(names)  # those that were there before and after
        else:
            assert len(names) == 10
    return count


def in_threads(jobs: list[Callable[[], Any]]) -> None:
    errors: list[BaseException] = []

    def run(job: Callable[[], Any]) -> None:
        try:
            job()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("plan", PLANS)
def test_searches_go_on_while_rows_come_and_go(plan: str, rng: np.random.Generator, monkeypatch: Any) -> None:
    monkeypatch.setattr(changing, "_TAIL", 100)
    writer, done = Writer(plan, rng), threading.Event()

    def write() -> None:
        try:
            for step in rng.choice(
                ["add", "upsert", "delete", "consolidate", "compact"], 60, p=[0.3, 0.25, 0.25, 0.1, 0.1]
            ):
                getattr(writer, step)()
        finally:
            done.set()

    counts: list[int] = []
    in_threads([write, *(lambda i=i: counts.append(read(writer, i, done)) for i in range(3))])
    assert sum(counts) > 10
    names = {h.id for h in writer.packed.search(rows(1, rng), k=5000, budget=ALL)[0]}
    assert names == writer.there


@pytest.mark.parametrize("plan", [PLANS[0], GRAPH])
def test_several_writers_wait_for_each_other(plan: str, rng: np.random.Generator) -> None:
    packed = nf.Plan(plan).fit(rows(300, rng), ids=list(range(300)))

    def write(first: int) -> None:
        own = np.random.default_rng(first)
        for start in range(first, first + 500, 50):
            packed.add(rows(50, own), ids=list(range(start, start + 50)))
            packed.delete(list(range(start, start + 20)))

    in_threads([lambda i=i: write(1000 * i) for i in (1, 2, 3)])
    want = set(range(300)) | {1000 * i + j for i in (1, 2, 3) for j in range(500) if j % 50 >= 20}
    assert {h.id for h in packed.search(rows(1, rng), k=5000, budget=ALL)[0]} == want
    assert len(packed) == len(want)


def test_a_search_does_not_wait_for_a_change(rng: np.random.Generator) -> None:
    packed = nf.Plan(GRAPH).fit(rows(300, rng))
    late = threading.Thread(target=packed.add, args=(rows(5, rng),))
    with packed.changing:
        late.start()
        assert packed.search(rows(1, rng), k=3).rows.shape == (1, 3)
        late.join(0.2)
        assert late.is_alive()
        assert packed.span == 300
    late.join()
    assert packed.span == 305


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Mending in the background begins by telling so, and goes on when it may."""
    begun, go_on, native = threading.Event(), threading.Event(), Entering.choose_beyond

    def slow(self: Entering) -> None:
        if threading.current_thread() is not threading.main_thread():
            begun.set()
            assert go_on.wait(60)
        native(self)

    monkeypatch.setattr(Entering, "choose_beyond", slow)
    return begun, go_on


def test_rows_come_and_go_while_others_are_taken_out(
    held: tuple[threading.Event, threading.Event], rng: np.random.Generator
) -> None:
    begun, go_on = held
    x, late, q = rows(2000, rng), rows(500, rng), rows(200, rng)
    packed = nf.Plan("float16() | vamana(degree=12, width=40, budget=150)").fit(x)
    packed.delete(rows=np.arange(0, 300))
    assert begun.wait(60)
    packed.add(late[:250])
    packed.delete(rows=np.arange(300, 400))
    packed.add(late[250:])
    assert not packed.fitted.mended
    go_on.set()
    packed.consolidate()
    assert packed.fitted.mended
    dead = np.zeros(packed.span, np.bool_)
    dead[packed.fitted.gone] = True
    links = packed.columns["index.links"]
    assert (links[dead] == 0xFFFFFFFF).all()
    met = links[~dead]
    assert not dead[met[met < packed.span]].any()
    assert np.isin(np.flatnonzero(~dead), met).all()
    left = np.concatenate([x[400:], late])
    truth = nf.Plan("raw()").fit(left).search(q, k=10).rows
    fresh = nf.Plan("float16() | vamana(degree=12, width=40, budget=150)").fit(left)
    wanted, found = fresh.search(q, k=10).rows, packed.search(q, k=10).rows - 400
    shares = [np.mean([np.isin(f, t).mean() for f, t in zip(some, truth)]) for some in (found, wanted)]
    assert shares[0] > shares[1] - 0.01


def test_what_goes_on_does_not_take_over_once_a_change_was_cut_off(
    held: tuple[threading.Event, threading.Event], rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = held
    x, late = rows(2000, rng), rows(20, rng)
    packed = nf.Plan("float16() | vamana(degree=12, width=40, budget=400)").fit(x)
    packed.delete(rows=np.arange(0, 300))
    assert begun.wait(60)
    job = packed._changes().job
    with monkeypatch.context() as cut:
        cut.setattr(changing.Held, "_append", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            packed.add(late[:10])
    packed.background = False  # consolidation that is due anew is done at once
    assert packed.add(late).tolist() == list(range(2000, 2020))
    now = packed.now
    go_on.set()
    assert job is not None
    job.wait()
    assert packed.now is now
    assert packed.span == 2020
    np.testing.assert_array_equal(packed.search(late, k=1).rows[:, 0], np.arange(2000, 2020))


def test_changes_that_outrun_the_background_wait_for_it(
    held: tuple[threading.Event, threading.Event], rng: np.random.Generator
) -> None:
    begun, go_on = held
    packed = nf.Plan(GRAPH).fit(rows(1000, rng))
    packed.delete(rows=np.arange(150))
    assert begun.wait(60)
    more = threading.Thread(target=packed.delete, kwargs={"rows": np.arange(150, 300)})
    more.start()
    more.join(0.2)
    assert more.is_alive()
    assert len(packed) == 700
    go_on.set()
    more.join()
    packed.consolidate()
    assert packed.fitted.mended


def test_with_nothing_between_the_background_makes_what_a_call_makes(rng: np.random.Generator) -> None:
    x, made = rows(1500, rng), []
    for background in (True, False):
        packed = nf.Plan(GRAPH).fit(x)
        packed.background = background
        packed.delete(rows=np.arange(0, 1500, 4))
        assert background or packed.fitted.mended
        packed.consolidate()
        made.append(packed.columns["index.links"])
    np.testing.assert_array_equal(*made)


def test_an_index_is_built_anew_beside_what_goes_on(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changing, "_TAIL", 50)
    monkeypatch.setattr(changing, "_TAIL_SHARE", 0.05)
    x = rows(900, rng)
    packed = nf.Plan("float16() | packed_graph(degree=16, width=32)").fit(x[:600])
    for start in range(600, 900, 20):
        packed.add(x[start : start + 20])
        packed.delete(rows=[start - 600])
    deadline = time.monotonic() + 60
    while packed._changes().job is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert packed._changes().indexed > 600
    left = np.setdiff1d(np.arange(900), packed.fitted.gone)
    assert np.mean(packed.search(x[left], k=1, budget=200).rows[:, 0] == left) > 0.97


class Fault(Exception):
    """What goes wrong."""


@pytest.mark.parametrize("plan", [GRAPH, "float16() | hnsw(degree=8, width=32)"])
def test_what_fails_in_the_background_is_told_once(
    plan: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changing, "_TAIL", 50)
    monkeypatch.setattr(changing, "_TAIL_SHARE", 0.05)
    x = rows(1000, rng)
    packed = nf.Plan(plan).fit(x)
    for what in ("_mend_aside", "_build_aside"):
        monkeypatch.setattr(changing.Held, what, lambda *_: (_ for _ in ()).throw(Fault("no more room")))
    if plan == GRAPH:
        packed.delete(rows=np.arange(200))
    else:
        packed.add(x[:100] + 9)
    wait_for_the_background(packed)
    found = packed.search(x, k=1, budget=ALL).rows[:, 0]
    assert found[200:].tolist() == list(range(200, 1000))
    with pytest.warns(UpkeepWarning, match=r"failed in the background \(Fault: no more room\); .*consolidate\(\)"):
        assert packed.delete(rows=[210]) == 1
    wait_for_the_background(packed)
    with pytest.warns(UpkeepWarning):
        packed.consolidate()
    assert packed.fitted.mended == (plan == GRAPH)
    packed.delete(rows=[211])  # and nothing is told any more
    packed.search(x, k=1)


def wait_for_the_background(packed: nf.Packed) -> None:
    deadline = time.monotonic() + 60
    while packed._held is not None and packed._held.job is not None and time.monotonic() < deadline:
        time.sleep(0.01)


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def in_child(job: Callable[[], None]) -> None:
    """Run it in a forked child, which must come to an end."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            job()
            code = 0
        finally:
            os._exit(code)
    deadline = time.monotonic() + 60
    while (done := os.waitpid(pid, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    if not done[0]:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert done == (pid, 0)


@forks
@pytest.mark.parametrize("plan", [PLANS[0], GRAPH, PLANS[4], "float16() | hnsw(degree=8, width=32)"])
def test_a_forked_child_changes_what_another_thread_was_changing(
    plan: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, begun, go_on = rows(700, rng), threading.Event(), threading.Event()
    packed = nf.Plan(plan).fit(x[:400], ids=list(range(400)))
    packed.add(x[400:600], ids=list(range(400, 600)))
    packed.delete([3])
    refresh = changing.Held._refresh

    def slow(self: changing.Held, *args: Any, **more: Any) -> None:
        begun.set()
        assert go_on.wait(60)
        refresh(self, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(changing.Held, "_refresh", slow)
        late = threading.Thread(target=packed.add, args=(x[600:],), kwargs={"ids": list(range(600, 700))})
        late.start()
        assert begun.wait(60)

    def child() -> None:
        assert packed.search(x[:2], k=1).rows[:, 0].tolist() == [0, 1]
        assert packed.delete([0, 3, 650]) == 1
        packed.add(x[650:], ids=list(range(650, 700)))
        packed.consolidate()
        found = packed.search(x, k=1, budget=ALL).ids[:, 0]
        there = [i for i in range(700) if i not in (0, 3) and not 600 <= i < 650]
        assert [found[i] for i in there] == there
        packed.compact()
        assert len(packed) == 648

    in_child(child)
    go_on.set()
    late.join()
    assert len(packed) == 699
    in_child(lambda: packed.consolidate())


@forks
def test_a_forked_child_does_without_the_background_of_its_parent(
    held: tuple[threading.Event, threading.Event], rng: np.random.Generator
) -> None:
    begun, go_on = held
    x = rows(1000, rng)
    packed = nf.Plan(GRAPH).fit(x)
    packed.delete(rows=np.arange(150))
    assert begun.wait(60)

    def child() -> None:
        go_on.set()  # for what the child begins itself
        packed.delete(rows=np.arange(150, 160))
        packed.background = False
        packed.consolidate()
        assert packed.fitted.mended
        assert packed.search(x[160:], k=1, budget=300).rows[:, 0].mean() > 500

    in_child(child)
    go_on.set()
    packed.consolidate()


EXIT = """
import signal, sys, numpy as np, nearfield as nf
signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs of a shell begin without
packed = nf.Plan("float16() | vamana(degree=24)").fit(np.random.default_rng(0).normal(size=(6000, 32)).astype("f4"))
packed.delete(rows=np.arange(900))
job = packed._changes().job
print("alive", job is not None and job.alive, flush=True)
if sys.argv[1] == "wait":
    while True:
        packed.search(np.ones(32, "f4"))
"""


@pytest.mark.parametrize("how", ["exit", "wait"])
def test_the_interpreter_ends_while_the_background_works(how: str) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", EXIT, how], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline().startswith("alive")
    if how == "wait":
        child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert child.returncode in ((0,) if how == "exit" else (1, 130, -signal.SIGINT)), errors
    assert "Fatal" not in errors
    assert "terminate" not in errors


@pytest.mark.parametrize("plan", [GRAPH, "float16() | packed_graph(degree=16, width=32)"])
def test_a_copy_in_another_process_goes_its_own_way(plan: str, rng: np.random.Generator) -> None:
    x = rows(500, rng)
    packed = nf.Plan(plan).fit(x[:400], ids=list(range(400)))
    packed.add(x[400:], ids=list(range(400, 500)))
    packed.delete(list(range(100)))
    packed.search(x[:2], k=1)
    copied = pickle.loads(pickle.dumps(packed))
    assert copied.search(x, k=1, budget=200).ids.tolist() == packed.search(x, k=1, budget=200).ids.tolist()
    copied.delete([200])
    assert len(copied) == len(packed) - 1 == 399
