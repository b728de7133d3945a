"""Collections under a Plan with a graph: merged segments extend the largest one's graph, searches go on meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.collection import coded, tending, upkeep, writing
from nearfield.collection.collection import Collection
from nearfield.core.errors import UpkeepWarning
from nearfield.indexes.vamana import Vamana
from nearfield.numerics.graph_updates import GraphUpdater

Make = Callable[..., Collection]
N, D = 3000, 16
PLAN = "float16() | vamana(degree=16, width=60)"


@pytest.fixture
def many(fresh: Make, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> tuple[Collection, np.ndarray]:
    """Five segments under a graph, a third of the rows of each gone."""
    monkeypatch.setattr(writing, "DIRECT_ROWS", 200)
    monkeypatch.setattr(upkeep, "_due", lambda _: None)
    x = rng.normal(size=(N, D)).astype(np.float32)
    c = fresh(dim=D)
    for start, stop in ((0, 1200), (1200, 1700), (1700, 2200), (2200, 2600), (2600, N)):
        c.upsert(list(range(start, stop)), x[start:stop])
    c.recode(PLAN)
    c.delete(list(range(0, N, 3)))
    return c, x


def share(c: Collection, x: np.ndarray, q: np.ndarray) -> float:
    """Of the exact neighbours, how many are found with a small budget."""
    left = np.flatnonzero(np.arange(N) % 3)
    unit = x[left] / np.linalg.norm(x[left], axis=1, keepdims=True)
    truth = left[np.argsort(-(q @ unit.T), axis=1)[:, :10]]
    found = c.search(q, k=10, budget=250).ids
    return float(np.mean([np.isin(np.array(f, np.int64), t).mean() for f, t in zip(found, truth)]))


def test_a_merge_extends_a_graph(
    many: tuple[Collection, np.ndarray], rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    c, x = many
    q = rng.normal(size=(60, D)).astype(np.float32)

    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("a graph was built anew")

    with monkeypatch.context() as patch:
        patch.setattr(Vamana, "build", refuse)
        c.compact()
    assert c.info()["segments"] == 1
    extended = share(c, x, q)
    part = c._state.snapshot().segments[0].part
    packed: Any = next(iter(part.__dict__["_packed"].values()))
    assert len(packed) == 2000
    rebuilt = nf.Plan(PLAN).fit(x[np.arange(N) % 3 > 0])
    assert extended > share_of(rebuilt, x, q) - 0.02
    assert not c.check()


def share_of(packed: Any, x: np.ndarray, q: np.ndarray) -> float:
    truth = nf.Plan("raw()").fit(x[np.arange(N) % 3 > 0]).search(q, k=10).rows
    found = packed.search(q, k=10, budget=250).rows
    return float(np.mean([np.isin(f, t).mean() for f, t in zip(found, truth)]))


def test_searches_and_writes_go_on_while_graphs_merge(
    many: tuple[Collection, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    c, x = many
    begun, go_on = threading.Event(), threading.Event()
    gather = coded.gather_codes

    def slow(*args: Any) -> None:
        begun.set()
        assert go_on.wait(60)
        gather(*args)

    monkeypatch.setattr(coded, "gather_codes", slow)
    merging = threading.Thread(target=c.compact)
    merging.start()
    assert begun.wait(60)
    c.upsert([N, N + 1], x[:2] * 2)
    c.delete([1, 2])
    before = c.search(x[0], k=20, budget=N).ids
    go_on.set()
    merging.join()
    assert c.search(x[0], k=20, budget=N).ids == before
    assert {N, N + 1} <= set(c.search(x[0], k=1, budget=N).ids + c.search(x[1], k=1, budget=N).ids)
    assert not {1, 2} & set(before)
    assert c.count() == 2000 - 2 + 2
    assert not c.check()


@pytest.fixture
def aside(many: tuple[Collection, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> Collection:
    """Half of the rows of a segment are gone after the next write, which is mended beside however few they are."""
    monkeypatch.undo()
    monkeypatch.setattr(tending, "ASIDE", 1)
    return many[0]


def test_a_delete_does_not_wait_for_the_graph(
    aside: Collection, many: tuple[Collection, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    (c, x), gather = many, coded.gather_codes
    begun, go_on = threading.Event(), threading.Event()

    def slow(*args: Any) -> None:
        begun.set()
        assert go_on.wait(60)
        gather(*args)

    monkeypatch.setattr(coded, "gather_codes", slow)
    c.delete(list(range(1, 900, 3)))
    assert begun.wait(60)
    assert len(c) == 1700
    c.delete([2])
    c.upsert([N], x[:1] * 3)
    before = c.search(x[0], k=20, budget=N).ids
    assert not {1, 2} & set(before)
    go_on.set()
    c.close()
    again = nf.open(c.path)
    assert len(again) == 1700
    assert again.search(x[0], k=20, budget=N).ids == before
    assert all(v.count > 0.7 * v.part.n for v in again._state.snapshot().segments)
    assert not again.check()


@pytest.mark.parametrize("end", ["compact", "error", "stop"])
def test_what_goes_on_aside_is_ended_without_a_trace(
    end: str, aside: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    c, begun = aside, threading.Event()
    mend = GraphUpdater.consolidate

    def slow(self: GraphUpdater, *args: Any, **more: Any) -> None:
        begun.set()
        while more.get("step") is not None and threading.current_thread() is not threading.main_thread():
            if end == "error":
                raise OSError("no space")
            more["step"](0, 1)
            time.sleep(0.001)
        mend(self, *args, **more)

    monkeypatch.setattr(GraphUpdater, "consolidate", slow)
    c.delete(list(range(1, 900, 3)))
    assert begun.wait(60)
    if end == "compact":
        c.compact()
        assert c.info()["segments"] == 1
    elif end == "stop":
        c._tending.stop()
    else:
        c._tending.wait()
        c.delete([2])  # does it in its own call
        assert all(v.count > 0.7 * v.part.n for v in c._state.snapshot().segments)
    named = {view.part.path.name.partition(".")[0] for view in c._state.snapshot().segments}
    there = {path.name.partition(".")[0] for path in (c.path / "segments").iterdir()}
    assert there == named
    assert c.count() == 1700 - (end == "error")
    assert not c.check()


@pytest.mark.parametrize("error", [OSError("no space"), ZeroDivisionError("a fault of ours")])
def test_what_failed_aside_is_told_when_nobody_did_it_again(
    error: Exception, aside: Collection, many: tuple[Collection, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise error

    c, x = many
    with monkeypatch.context() as patch:
        patch.setattr(coded, "gather_codes", fail)
        c.delete(list(range(1, 900, 3)))
        c._tending.wait()
        before = c.search(x[0], k=20, budget=N).ids
        with pytest.warns(UpkeepWarning, match=f"upkeep in the background failed .*{error}.*nothing is lost"):
            c.close()
    again = nf.open(c.path)
    assert again.search(x[0], k=20, budget=N).ids == before
    again.delete([2])
    again.close()
    assert all(v.count > 0.7 * v.part.n for v in nf.open(c.path)._state.snapshot().segments)
