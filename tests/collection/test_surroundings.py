"""Folders that cannot be trusted or written, threads, clocks: cases by their numbers, after ``test_faults``."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from collection.kit import Make, X, filled, line, process, sealed
from nearfield.collection import dense, upkeep, writing
from nearfield.core.errors import BadInput, Corrupt, NearfieldError, ReadOnly, Unsupported
from nearfield.numerics import kernels
from nearfield.store import segments
from nearfield.store.catalog import Change
from nearfield.store.segments import CHUNK, Segment

# ---- folders ---------------------------------------------------------------------------------------
READS = """
    import sys, nearfield as nf
    with nf.open(sys.argv[1], mode="r") as c:
        print(len(c), c.search([1, 2, 3, 4], k=1).ids[0], c.search(text="word1", k=1).ids[0], flush=True)
    try:
        with nf.open(sys.argv[1]) as c:
            c.delete([1])
        print("deleted")
    except nf.NearfieldError as error:
        print(type(error).__name__, error)
"""


def test_case_13_a_folder_that_cannot_be_written(fresh: Make, tmp_path: Path) -> None:
    c = fresh(dim=4)
    sealed(c)
    wanted = f"60 {c.search([1, 2, 3, 4], k=1).ids[0]} {c.search(text='word1', k=1).ids[0]}"
    c.upsert([3], X[3:4])
    c.close()
    (tmp_path / "ro").mkdir()
    mount = f"mount --bind {c.path} {tmp_path}/ro && mount -o remount,bind,ro {tmp_path}/ro"
    told = ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh", sys.executable, "-c", textwrap.dedent(READS)]
    try:
        done = subprocess.run([*told, str(tmp_path / "ro")], capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        pytest.skip("no unshare here to mount a folder read-only with")
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"a folder cannot be mounted read-only here: {done.stderr.strip()}")
    first, second = done.stdout.splitlines()
    assert first == wanted
    assert second.startswith("ReadOnly")
    assert "mode='r'" in second


def test_case_13_a_folder_without_rights(fresh: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    c = filled(fresh(dim=4))
    c.close()
    monkeypatch.setattr(os, "access", lambda path, how: how != os.W_OK)
    with nf.open(c.path, mode="r") as reader:
        assert len(reader) == 60
        with pytest.raises(ReadOnly):
            reader.delete([1])


def test_case_13_a_network_drive(fresh: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    c = filled(fresh(dim=4))
    c.close()
    monkeypatch.setattr("nearfield.collection.state.network_kind", lambda path: "nfs4")
    with pytest.raises(Unsupported, match=r"network file system \(nfs4\), whose locks do not hold"):
        nf.open(c.path)
    with nf.open(c.path, mode="r") as reader:
        assert len(reader.search(X[0], k=5)) == 5


def test_case_25_a_folder_by_a_stranger(fresh: Make, tmp_path: Path) -> None:
    c = fresh(dim=4)
    sealed(c)
    c.recode("int8")
    c.close()
    outside = tmp_path / "outside"
    outside.mkdir()
    for sql, said in (
        ("CREATE TRIGGER t AFTER INSERT ON tail BEGIN DELETE FROM tail; END", "holds the trigger 't'"),
        ("CREATE VIEW v AS SELECT * FROM tail", "holds the view 'v'"),
        ("CREATE VIRTUAL TABLE f USING fts5(x)", "holds the table 'f"),
        ("CREATE INDEX i ON tail(id)", "holds the index 'i'"),
    ):
        copy = shutil.copytree(c.path, tmp_path / "copy")
        db = sqlite3.connect(copy / "catalog.db")
        db.execute(sql)
        db.commit()
        db.close()
        with pytest.raises(Corrupt, match=said):
            nf.open(copy)
        shutil.rmtree(copy)
    for folder in ("segments", "plans"):
        copy = shutil.copytree(c.path, tmp_path / "copy")
        for path in list((copy / folder).iterdir()):
            target = outside / path.name
            shutil.move(path, target)
            path.symlink_to(target)
        with pytest.raises(NearfieldError, match="link"), nf.open(copy) as opened:
            opened.search(X[0])
        shutil.rmtree(copy)
    for folder in ("segments", "plans", "leases"):
        copy = shutil.copytree(c.path, tmp_path / "copy")
        shutil.rmtree(outside)
        shutil.copytree(copy / folder, outside)
        (outside / "dear.nf").write_bytes(b"somebody else's")
        shutil.rmtree(copy / folder)
        (copy / folder).symlink_to(outside)
        with pytest.raises(Corrupt, match="link"):
            nf.open(copy).delete([1])
        assert (outside / "dear.nf").exists()
        shutil.rmtree(copy)
    copy = shutil.copytree(c.path, tmp_path / "copy")
    shutil.move(copy / "catalog.db", outside / "catalog.db")
    (copy / "catalog.db").symlink_to(outside / "catalog.db")
    with pytest.raises(BadInput, match="link"):
        nf.open(copy)


@pytest.mark.parametrize(
    ("key", "change", "said"),
    [
        ("segments", lambda v: v[0].update(file="../../outside.nf"), "name of a segment file"),
        ("segments", lambda v: v[0].update(n=1 << 60), "segments: expected row numbers|rows"),
        ("plans", lambda v: v["0"].update(file="../../../etc/pass"), "name of a file"),
        ("plans", lambda v: v["0"].update(file="0123456789abcdef"), "0123456789abcdef"),
        ("fields", lambda v: v["0"]["field"].update(dtype="object"), "dtype|field"),
        ("fields", lambda v: v["0"]["field"].update(dim=1 << 40), "dim|field|width"),
        ("settings", lambda v: v.update(metric="__import__('os')"), "'settings' is not one"),
        ("settings", lambda v: v.update(tokenizer="porter'); DROP TABLE tail; --"), "'settings' is not one"),
        ("fields", lambda v: v["0"]["field"].update(space=[["model", "os:system"]]), "what made the vectors"),
    ],
)
def test_case_25_a_catalogue_by_a_stranger(fresh: Make, key: str, change: Callable[[Any], Any], said: str) -> None:
    """Each record with the right checksums, as only somebody who knows the format would make it."""
    c = fresh(dim=4)
    sealed(c)
    c.recode("int8")
    value = c._state.catalog.get(key)
    change(value)
    c._state.catalog.commit(Change(manifest={key: value}, new_generation=True))
    c.close()
    hooked: list[str] = []
    sys.addaudithook(lambda event, args: hooked.append(event) if event in ("exec", "os.system") and watching else None)
    watching = True
    try:
        with nf.open(c.path) as opened:
            found = opened.search(X[0], k=3).ids
            assert not said, f"it found {found}"
    except NearfieldError as error:
        assert said, error
        assert re.search(said, str(error)), error
    finally:
        watching = False
    assert "os.system" not in hooked


# ---- threads and clocks ----------------------------------------------------------------------------
def test_case_29_threads_add_delete_and_search(fresh: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each writer moves its token from row to row in one commit: whoever looks sees one token for each."""
    monkeypatch.setattr(writing, "SEAL_ROWS", 30)
    monkeypatch.setattr(upkeep, "MOST_ROWS", 200)
    c = fresh(dim=4)
    writers, rounds = 3, 25
    c.upsert([100 * w for w in range(writers)], X[:writers], meta=[{"w": w, "round": 0} for w in range(writers)])
    problems: list[str] = []
    stop = threading.Event()

    def write(w: int) -> None:
        for i in range(1, rounds + 1):
            c.upsert([1000 + 100 * w + i], X[i : i + 1], meta=[{"extra": w}])
            if c.update([100 * w], meta={"round": i}) != 1:
                problems.append(f"writer {w}: its row is gone")
            seen = c.get([100 * w])[0].meta["round"]
            if seen != i:
                problems.append(f"writer {w} wrote {i} and read {seen}")
            if c.delete([1000 + 100 * w + i]) != 1:
                problems.append(f"writer {w}: its second row is gone")

    def look() -> None:
        last = [0] * writers
        while not stop.is_set():
            found = {hit.meta["w"]: hit.meta["round"] for hit in c.search(X[0], k=50, where="w >= 0")}
            if len(found) != writers:
                problems.append(f"a search found {found}")
            elif any(found[w] < last[w] for w in range(writers)):
                problems.append(f"{last} went back to {found}")
            else:
                last = [found[w] for w in range(writers)]

    def guarded(run: Callable[..., None], *args: int) -> threading.Thread:
        def body() -> None:
            try:
                run(*args)
            except BaseException as error:
                problems.append(f"{type(error).__name__}: {error}")

        thread = threading.Thread(target=body)
        thread.start()
        return thread

    lookers = [guarded(look) for _ in range(2)]
    threads = [guarded(write, w) for w in range(writers)]
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    stop.set()
    for thread in lookers:
        thread.join(10)
        assert not thread.is_alive()
    assert problems == []
    assert sorted(c.ids()) == [0, 100, 200]
    assert c.check() == []


def test_case_30_a_clock_that_jumps_back(fresh: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    c = fresh(dim=4)
    now = iter([2e9, 1e9, 5e8, 0.0, 1.0] * 1000)
    monkeypatch.setattr(time, "time", lambda: next(now))
    for i in range(20):
        c.upsert([i], X[i : i + 1])
        if i % 6 == 5:
            c.compact()
    assert c.ids() == list(range(20))
    assert [r.row for r in c.get(c.ids())] == sorted(r.row for r in c.get(c.ids()))
    with nf.open(c.path, mode="r") as reader:
        assert reader.ids() == list(range(20))


@pytest.mark.parametrize(
    "env", [{"LC_ALL": "tr_TR.UTF-8", "TZ": "Pacific/Kiritimati"}, {"LC_ALL": "C", "TZ": "UTC+12"}]
)
def test_case_30_other_places(fresh: Make, env: dict[str, str]) -> None:
    c = fresh(dim=4)
    when = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    c.upsert(["İI", "a"], X[:2], texts=["INFO Istanbul", "naïve Zoë"], meta=[{"t": when, "f": 1.5}, {"f": -0.0}])
    code = """
        import sys, locale, nearfield as nf
        try:
            locale.setlocale(locale.LC_ALL, "")
        except locale.Error:
            pass
        c = nf.open(sys.argv[1])
        told = c.ids("t = '2026-03-29T00:30:00Z'"), c.ids("f = 1.5"), c.search(text="info").ids, c.get(["a"])[0].text
        print(ascii(told))
        print(c.bounds("t")[0].timestamp())
        c.upsert(["new"], [[1, 2, 3, 4]], meta=[{"f": 2.25}])
    """
    with process(code, c.path, **env, PYTHONUTF8="0") as other:
        assert line(other) == ascii((["İI"], ["İI"], ["İI"], "naïve Zoë"))
        assert float(line(other)) == when.timestamp()
        assert other.wait(30) == 0
    assert c.get(["new"])[0].meta == {"f": 2.25}


def test_case_30_row_numbers_beyond_32_bits(fresh: Make) -> None:
    c = filled(fresh(dim=4))
    c.compact()
    for top in (1 << 31, 1 << 32, 1 << 53):
        c._state.commit(Change(next_row=top - 3))
        first = top >> 20
        c.upsert(list(range(first, first + 6)), X[:6], texts=["high"] * 6, meta=[{"high": top}] * 6)
        assert [r.row for r in c.get([first, first + 5])] == [top - 3, top + 2]
        assert c.search(X[4], k=2, where=f"high = {top}").ids[0] == first + 4
        c.upsert([first + 1], X[30:31])
        c.delete([first + 2])
    for _ in range(2):
        assert c.search(text="high", k=20).ids.count(2048) == 1
        assert len(c) == 60 + 3 * 5
        assert [r.id for batch in c.scroll(batch=7) for r in batch] == c.ids()
        assert c.check() == []
        c.compact()


def test_case_30_more_values_than_32_bits_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sparse file of more than 2^32 bytes: the rows behind that are found where they are."""
    dim, n = 1024, (1 << 22) + 5
    monkeypatch.setattr(segments._Column, "digest", lambda self, data: setattr(self, "written", self.nbytes))
    path = tmp_path / "large.nf"
    with segments.SegmentWriter(path, "rows") as out:
        out.begin("v", np.int8, (n, dim))
        column = out._columns["v"]
        out._write(column.offset + (n - 1) * dim, memoryview(np.full(dim, 3, np.int8)).cast("B"))
        column.written, column.crc = column.nbytes, [0] * -(-column.nbytes // CHUNK)
        out.finish({})
    if path.stat().st_blocks * 512 > 1 << 30:
        pytest.skip("this file system does not keep files sparse")
    held = Segment(path, "rows").column("v", verify=False)
    assert held.nbytes > 1 << 32
    at = np.array([0, n - 2, n - 1])
    assert held[at].sum(axis=1).tolist() == [0, 0, 3 * dim]
    field = nf.dense(dim, dtype="int8", metric="dot")
    query = dense.make_query(field, np.ones((1, dim), np.float32))
    kind = dense._scorer(field).format
    assert kind is not None
    assert query.prepared is not None
    assert query.prepared.folded is not None
    scores = kernels.score_rows(kind, held.view(np.uint8), query.prepared.folded, "dot", at)
    assert scores.tolist() == [[0.0, 0.0, 3.0 * dim]]
