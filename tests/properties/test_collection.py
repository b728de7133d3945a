"""A Collection against a dictionary: whatever is done in whatever order, both say the same."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import nearfield as nf
from nearfield.collection import upkeep, writing
from nearfield.core.errors import BadInput, Replaced
from nearfield.store.folder import LOOK

D = 4
NAMES = [f"r{i}" for i in range(40)]
ids = st.lists(st.sampled_from(NAMES), min_size=1, max_size=25, unique=True)


def vector(stamp: int) -> np.ndarray:
    return np.random.default_rng(stamp).normal(size=D).astype(np.float32)


class Rows(RuleBasedStateMachine):
    """Rows by id: (stamp of the vector, text, metadata)."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(writing, "SEAL_ROWS", 12)
        self.patch.setattr(writing, "DIRECT_ROWS", 15)
        self.patch.setattr(upkeep, "FANOUT", 3)
        self.patch.setattr(upkeep, "MOST_ROWS", 60)
        self.base = Path(tempfile.mkdtemp())
        self.rows: dict[str, tuple[int, str, dict[str, Any]]] = {}
        self.stamp = 0
        self.plan = False

    @initialize()
    def make(self) -> None:
        self.c = nf.open(self.base / "notes", dim=D)
        self.reader = nf.open(self.base / "notes", mode="r")

    def _new(self, names: list[str]) -> dict[str, tuple[int, str, dict[str, Any]]]:
        out = {}
        for name in names:
            self.stamp += 1
            out[name] = (self.stamp, f"word{self.stamp % 5}", {"s": self.stamp, "g": self.stamp % 3})
        return out

    def _write(self, verb: Any, new: dict[str, tuple[int, str, dict[str, Any]]]) -> None:
        values = list(new.values())
        x = np.stack([vector(v[0]) for v in values])
        verb(list(new), x, texts=[v[1] for v in values], meta=[v[2] for v in values])
        self.rows |= new

    @rule(names=ids)
    def upsert(self, names: list[str]) -> None:
        self._write(self.c.upsert, self._new(names))

    @rule(names=ids)
    def add(self, names: list[str]) -> None:
        new = self._new(names)
        if any(name in self.rows for name in names):
            with pytest.raises(BadInput, match="which are there"):
                self._write(self.c.add, new)
        else:
            self._write(self.c.add, new)

    @rule(names=ids, value=st.sampled_from([None, 7, "x"]))
    def update(self, names: list[str], value: Any) -> None:
        there = [n for n in names if n in self.rows]
        assert self.c.update(names, meta={"extra": value}) == len(there)
        for name in there:
            stamp, text, meta = self.rows[name]
            meta = {k: v for k, v in meta.items() if k != "extra"} | ({} if value is None else {"extra": value})
            self.rows[name] = (stamp, text, meta)

    @rule(names=ids)
    def delete(self, names: list[str]) -> None:
        assert self.c.delete(names) == sum(n in self.rows for n in names)
        for name in names:
            self.rows.pop(name, None)

    @rule(g=st.integers(0, 3))
    def delete_where(self, g: int) -> None:
        gone = [n for n, row in self.rows.items() if row[2]["g"] == g]
        assert self.c.delete(where={"g": g}) == len(gone)
        for name in gone:
            del self.rows[name]

    @rule()
    def compact(self) -> None:
        self.c.compact()

    @precondition(lambda self: len(self.rows) > 5)
    @rule()
    def recode(self) -> None:
        self.c.recode("float16 | rescore(codec='raw', depth=4)")

    @rule()
    def reopen(self) -> None:
        self.c.close()
        self.c = nf.open(self.c.path)

    @rule()
    def crash(self) -> None:
        """What lies on the disk now is what a kill would leave: go on from a copy of it."""
        self.stamp += 1
        copy = self.base / f"copy{self.stamp}"
        shutil.copytree(self.c.path, copy)
        self.c.close()
        self.reader.close()
        self.c, self.reader = nf.open(copy), nf.open(copy, mode="r")

    @rule(names=ids, recreated=st.booleans())
    def another_takes_its_place(self, names: list[str], recreated: bool) -> None:
        """The folder is moved away, and another collection, or nothing, has its name: nothing is written to either."""
        path, away = self.c.path, self.base / "away"
        os.rename(path, away)
        if recreated:
            with nf.open(path, dim=D) as other:
                other.upsert([f"other{i}" for i in range(20)], np.stack([vector(i) for i in range(20)]))
        new = [np.stack([vector(self.stamp)] * n) for n in (len(names), 30)]
        for write in (
            lambda: self.c.upsert(names, new[0]),
            lambda: self.c.upsert([f"many{i}" for i in range(30)], new[1]),
            lambda: self.c.delete(names),
            lambda: self.c.update(names, meta={"extra": 1}),
            self.c.compact,
        ):
            with pytest.raises(Replaced, match="replaced, moved or deleted"):
                write()
        time.sleep(LOOK)
        for c in (self.c, self.reader):
            with pytest.raises(Replaced, match="replaced, moved or deleted"):
                c.search(vector(1), k=1)
        if recreated:
            with nf.open(path) as other:
                assert sorted(other.ids()) == sorted(f"other{i}" for i in range(20))
                assert other.check() == []
            shutil.rmtree(path)
        os.rename(away, path)

    @rule(names=ids)
    def elsewhere(self, names: list[str]) -> None:
        """Opened by a relative name through a link; then both lead elsewhere, and the rows go where they belong."""
        self.c.close()
        way, other = self.base / "way", self.base / "other"
        way.symlink_to(self.base)
        other.mkdir(exist_ok=True)
        before = os.getcwd()
        os.chdir(self.base)
        try:
            self.c = nf.open(Path("way") / self.reader.path.name)
            with nf.open(other / self.reader.path.name, dim=D) as decoy:
                there = decoy.ids()
            way.unlink()
            way.symlink_to(other)
            os.chdir(other)
            self._write(self.c.upsert, self._new(names))
            self.c.compact()
            self._write(self.c.upsert, self._new(NAMES[:20]))
            with nf.open(self.c.path.name) as decoy:
                assert (decoy.ids(), decoy.check()) == (there, [])
        finally:
            os.chdir(before)
            way.unlink()

    @invariant()
    def the_same(self) -> None:
        if not hasattr(self, "c"):
            return
        for c in (self.c, self.reader):
            assert len(c) == len(self.rows)
            got = {r.id: (r.text, r.meta, r.vector.tobytes()) for r in c}
            assert got == {n: (t, m, vector(s).tobytes()) for n, (s, t, m) in self.rows.items()}

    @invariant()
    def searches_are_right(self) -> None:
        if not getattr(self, "rows", None):
            return
        q = vector(self.stamp + 1_000_000)
        for where, keep in ((None, lambda m: True), ("g = 1", lambda m: m["g"] == 1)):
            names = [n for n, row in self.rows.items() if keep(row[2])]
            hits = self.c.search(q, k=5, where=where)
            assert len(hits) == min(5, len(names))
            x = np.array([vector(self.rows[n][0]) for n in names]).reshape(-1, D)
            best = np.sort(x @ q / np.linalg.norm(x, axis=1) / np.linalg.norm(q))[::-1][:5]
            assert np.allclose(hits.scores, best, atol=1e-3)
        words = self.c.search(text="word1", k=50).ids
        assert set(words) == {n for n, row in self.rows.items() if row[1] == "word1"}

    def teardown(self) -> None:
        if hasattr(self, "c"):
            assert self.c.check() == []
            self.c.close()
            self.reader.close()
        self.patch.undo()
        shutil.rmtree(self.base, ignore_errors=True)


TestRows = Rows.TestCase
TestRows.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
