"""The build of a graph that was interrupted goes on where it stood, to the same graph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.numerics import linking, taken_up, trees
from nearfield.numerics.pieces import Pace

PLANS = [
    "lvq(bits=4) | vamana(degree=8, width=24)",
    "float16() | vamana(degree=8, width=24, order='lid')",
    "lvq(bits=8) | packed_graph(degree=8, width=24)",
    "lvq(bits=4) | diskgraph(degree=8, width=24)",
    "float16() | hnsw(degree=4, width=24)",
    "float16() | hnsw(degree=4, width=24, order='lid')",
]


class Stop(Exception):
    """Ends a build."""


class Watch:
    """Notes how far the links go, and ends the build behind so many rows."""

    def __init__(self, most: int, error: type[BaseException] = Stop) -> None:
        self.most, self.error, self.seen = most, error, list[int]()

    def __call__(self, what: str, done: int, total: int) -> None:
        if what == "link":
            self.seen.append(done)
            if done >= self.most:
                raise self.error


@pytest.fixture
def x(rng: np.random.Generator) -> Any:
    return rng.normal(size=(3000, 24)).astype(np.float32)


def columns(packed: nf.Packed) -> dict[str, bytes]:
    return {name: np.asarray(values).tobytes() for name, values in packed.columns.items()}


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
@pytest.mark.parametrize("plan", PLANS)
def test_it_goes_on_to_the_same_graph(plan: str, error: type[BaseException], x: Any, tmp_path: Path) -> None:
    whole = nf.Plan(plan).fit(x)
    out = tmp_path / "rows.nf"
    for most in (400, 1700):
        with pytest.raises(error):
            nf.Plan(plan).fit(x, out=out, progress=Watch(most, error))
        assert not out.exists()
        assert [p.name for p in tmp_path.iterdir()] == ["rows.nf.building"]
    last = Watch(10_000)
    packed = nf.Plan(plan).fit(x, out=out, progress=last)
    assert min(last.seen) > 1700
    assert columns(packed) == columns(whole)
    assert [p.name for p in tmp_path.iterdir()] == ["rows.nf"]


@pytest.mark.parametrize("change", ["rows", "rng", "settings", "damage", "another file"])
def test_what_is_kept_of_another_build_is_left_alone(change: str, x: Any, tmp_path: Path) -> None:
    out, plan, rng = tmp_path / "rows.nf", PLANS[0], 0
    with pytest.raises(Stop):
        nf.Plan(plan).fit(x, out=out, progress=Watch(1000))
    kept = tmp_path / "rows.nf.building"
    if change == "rows":
        x = x.copy()
        x[5] += 1
    elif change == "rng":
        rng = 1
    elif change == "settings":
        plan = plan.replace("width=24", "width=25")
    elif change == "damage":
        data = bytearray(kept.read_bytes())
        data[len(data) // 2] ^= 1
        kept.write_bytes(bytes(data))
    else:
        nf.Plan(plan).fit(x[:100], out=kept)  # a file of rows under that name
    watch = Watch(10_000)
    packed = nf.Plan(plan).fit(x, out=out, rng=rng, progress=watch)
    assert watch.seen[0] < 400
    assert columns(packed) == columns(nf.Plan(plan).fit(x, rng=rng))
    assert not kept.exists()


def test_it_is_kept_from_time_to_time(x: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taken_up, "EVERY", 0.0)
    out, sizes = tmp_path / "rows.nf", []

    def watch(what: str, done: int, total: int) -> None:
        if what == "link":
            sizes.append((tmp_path / "rows.nf.building").stat().st_size)

    nf.Plan(PLANS[0]).fit(x, out=out, progress=watch)
    assert min(sizes) > 3000 * 8 * 4
    assert not (tmp_path / "rows.nf.building").exists()


@pytest.mark.parametrize("plan", PLANS)
def test_rows_that_are_linked_again_go_on_to_the_same_graph(plan: str, x: Any, tmp_path: Path) -> None:
    x *= np.exp(np.random.default_rng(5).normal(size=(len(x), 1))).astype(np.float32)
    whole, out = columns(nf.Plan(plan).fit(x, metric="dot")), tmp_path / "rows.nf"
    for most in (1700, len(x), len(x) + 32):
        with pytest.raises(Stop):
            nf.Plan(plan).fit(x, metric="dot", out=out, progress=Watch(most))
    last = Watch(len(x) * 2)
    assert columns(nf.Plan(plan).fit(x, metric="dot", out=out, progress=last)) == whole
    assert all(done > len(x) for done in last.seen)


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
def test_near_rows_go_on_to_the_same_graph(error: type[BaseException], x: Any, tmp_path: Path) -> None:
    plan, out = "float16() | nndescent(degree=8, near=12, trees=3, rounds=6)", tmp_path / "rows.nf"
    seen: list[int] = []

    def stop(what: str, done: int, total: int) -> None:
        if what == "compare":
            seen.append(done)
            if done in (2, 4):
                raise error

    whole = columns(nf.Plan(plan).fit(x, progress=lambda *_: None))
    for _ in range(2):
        with pytest.raises(error):
            nf.Plan(plan).fit(x, out=out, progress=stop)
        assert (tmp_path / "rows.nf.building").exists()
    assert columns(nf.Plan(plan).fit(x, out=out, progress=stop)) == whole
    assert seen == list(range(1, len(seen) + 1))  # every round once
    assert len(seen) > 4


class Cut:
    """Cuts native work into small pieces, and ends it before one of them as Ctrl-C does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made, self.last = 0, 10**9
        monkeypatch.setattr(linking, "_EDGES", 500)
        monkeypatch.setattr(trees, "_AT_ONCE", 100)
        whole = Pace.pieces

        def pieces(pace: Pace, m: int, at: int = 0) -> Iterator[slice]:
            pace._some = 40
            for piece in whole(pace, m, at):
                pace._some = 40
                self.made += 1
                if self.made > self.last:
                    self.last = 10**9
                    raise KeyboardInterrupt
                yield piece

        monkeypatch.setattr(Pace, "pieces", pieces)


@pytest.mark.parametrize("plan", [PLANS[0], PLANS[4], "float16() | nndescent(degree=8, near=12, trees=2)"])
def test_an_interrupt_may_come_between_any_two_pieces(
    plan: str, x: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, out = x[:1200], tmp_path / "rows.nf"
    whole = columns(nf.Plan(plan).fit(x))
    cut = Cut(monkeypatch)
    assert columns(nf.Plan(plan).fit(x)) == whole
    pieces, kept = cut.made, 0
    for last in np.random.default_rng(4).permutation(pieces)[:12].tolist():
        cut.made, cut.last = 0, last
        with pytest.raises(KeyboardInterrupt):
            nf.Plan(plan).fit(x, out=out)
        kept += (tmp_path / "rows.nf.building").exists()
        assert columns(nf.Plan(plan).fit(x, out=out)) == whole
    assert kept > 6


class Refuses:
    """Keeps nothing."""

    def take(self, key: str) -> None:
        return None

    def put(self, key: str, arrays: dict[str, Any]) -> None:
        raise AssertionError("half a step was kept")


def test_a_step_that_failed_is_not_kept() -> None:
    """What native code left half done is worth nothing."""
    made = taken_up.Taken(Refuses(), "", {"links": np.zeros((4, 3), np.uint32)})

    def fail() -> None:
        made.arrays["links"][1] = 2  # and then
        raise MemoryError

    def build() -> None:
        with made.kept():
            made.change(lambda: None, 1)
            made.change(fail, 2)

    with pytest.raises(MemoryError):
        build()
