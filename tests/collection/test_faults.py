"""What goes wrong around a Collection: processes, disks, folders, clocks; one test for each case, by its number.

Cases 13, 25, 29 and 30 are in ``test_surroundings``; 14 to 24, of what goes in, in ``test_inputs``; every kill, every
power cut and every failing call in ``tests/crash``; damage of any byte in ``test_corrupt``.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sqlite3
import struct
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from collection.kit import Make, X, filled, line, process, sealed
from nearfield.collection import health
from nearfield.core.errors import Corrupt, Locked, NearfieldError, StorageFull


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if "leases" not in p.parts}


# ---- ends of processes and of disks ----------------------------------------------------------------
def test_case_01_killed_while_writing(fresh: Make) -> None:
    path = fresh(dim=4).path
    code = """
        import sys, itertools, numpy as np, nearfield as nf
        from nearfield.collection import writing, upkeep
        writing.SEAL_ROWS, writing.DIRECT_ROWS, upkeep.MOST_ROWS = 8, 6, 40
        c = nf.open(sys.argv[1])
        for i in itertools.count():
            c.upsert([3 * i, 3 * i + 1, 3 * i + 2], np.full((3, 4), i + 1.0))
            if i % 5 == 4:
                c.delete([3 * i - 3])
            print(i, flush=True)
    """
    for _ in range(2):
        with process(code, path) as writer:
            while (acknowledged := int(line(writer))) < 23:
                pass
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        with nf.open(path) as c:
            last = max(c.ids()) // 3
            assert last >= acknowledged
            gone = {3 * i - 3 for i in range(last + 1) if i % 5 == 4 and (i < last or 3 * i - 3 not in c)}
            assert sorted(c.ids()) == sorted(set(range(3 * last + 3)) - gone)
            assert {float(r.vector[0]) for r in c.get([3 * acknowledged, 3 * acknowledged + 1])} == {acknowledged + 1.0}
            assert c.check() == []
            c.delete(where="$id in ('none')") if c.info()["ids"] == "str" else c.delete(c.ids())


def test_case_02_the_log_cut_at_any_length_is_an_earlier_state(fresh: Make, tmp_path: Path) -> None:
    c = fresh(dim=4)
    for i in range(6):
        c.upsert([i], X[i : i + 1])
    log = (c.path / "catalog.db-wal").read_bytes()
    seen = set()
    for length in [*range(0, len(log), 1531), len(log)]:
        copy = tmp_path / "copy"
        shutil.copytree(c.path, copy)
        (copy / "catalog.db-wal").write_bytes(log[:length])
        (copy / "catalog.db-shm").unlink(missing_ok=True)
        with nf.open(copy, dim=4) as cut:  # which makes it, where the log was cut before it was made
            assert cut.ids() == list(range(len(cut)))
            assert all((cut.get([i])[0].vector == X[i]).all() for i in cut.ids())
            seen.add(len(cut))
        shutil.rmtree(copy)
    assert seen == {0, 1, 2, 3, 4, 5, 6}


def test_case_02_synced_before_it_returns_unless_relaxed(fresh: Make) -> None:
    for name, durability, level in (("a", "full", 2), ("b", "relaxed", 1)):
        db = fresh(name, dim=4, durability=durability)._state.catalog._db
        assert db.execute("PRAGMA synchronous").fetchone() == (level,)


def test_case_03_disk_full(fresh: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    c = filled(fresh(dim=4))
    before, rows = files(c.path), c.ids()
    db = c._state.catalog._db
    db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
    with pytest.raises(StorageFull, match="disk is full"):
        c.upsert(list(range(1000, 3000)), np.ones((2000, 4)))
    db.execute("PRAGMA max_page_count = 1073741823")
    assert c.ids() == rows

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for change in (
        lambda: c.upsert(list(range(9000, 15_000)), np.ones((6000, 4))),
        c.compact,
        lambda: c.recode("int8"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(StorageFull, match="full"):
                change()
        assert c.ids() == rows
        with nf.open(c.path, mode="r") as reader:
            assert reader.ids() == rows
    c.upsert([77], X[:1])
    assert files(c.path) - {"work"} == before - {"work"}
    assert c.check() == []


def test_case_04_a_disk_that_cannot_be_read(fresh: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    c, other = fresh("a", dim=4), filled(fresh("b", dim=4))
    segment = sealed(c)
    c.close()

    def broken(path: Any, *rest: Any, **more: Any) -> Any:
        if Path(path) == segment:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return open(path, *rest, **more)

    monkeypatch.setattr("nearfield.store.segments.open", broken, raising=False)
    with pytest.raises(Corrupt, match=rf"{segment.name}.*cannot be read"):
        nf.open(c.path).get([1])
    assert len(other.search(X[0], k=5)) == 5
    sealed(other)
    assert len(nf.open(other.path, mode="r")) == 60


# ---- damage ----------------------------------------------------------------------------------------
def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    fresh = path.with_suffix(".new")
    fresh.write_bytes(data)
    os.replace(fresh, path)


def test_case_05_one_flipped_bit(fresh: Make) -> None:
    c = fresh(dim=4)
    segment = sealed(c)
    wanted = c.search(text="word1", k=60).ids
    index = next(p for p in segment.parent.iterdir() if p.name.count(".") == 2)
    c.close()
    flip(index, len(index.read_bytes()) // 2)
    with nf.open(c.path) as derived:
        assert derived.search(text="word1", k=60).ids == wanted  # made anew
        assert derived.check() == []
    flip(segment, segment.read_bytes().index(X[9].tobytes()) + 3)
    with nf.open(c.path) as data, pytest.raises(Corrupt, match=rf"{segment.name}.*damaged at offset \d+"):
        data.search(X[0])
    with nf.open(c.path) as data:
        assert segment.name in data.check()[0]
        assert data.count("n > 3") == 56  # what is sound is still there
    catalog = c.path / "catalog.db"
    flip(catalog, catalog.read_bytes().index(b'"next_row":60') + 12)
    with pytest.raises(Corrupt, match=r"catalog.db.*does not match its checksum"):
        nf.open(c.path)


def test_case_06_files_cut_to_any_length(fresh: Make) -> None:
    c = fresh(dim=4)
    segment = sealed(c)
    wanted = c.search(X[0], k=60).ids
    c.close()
    for path in (segment, c.path / "catalog.db"):
        whole = path.read_bytes()
        for length in (0, 1, 40, 99, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            try:
                with nf.open(c.path) as cut:
                    assert cut.search(X[0], k=60).ids == wanted
                assert length == len(whole) - 1  # nothing stood in the last byte
            except NearfieldError as error:
                assert path.name in str(error)
        path.write_bytes(whole)
    with nf.open(c.path) as sound:
        assert sound.check() == []


def test_case_07_a_missing_segment(fresh: Make) -> None:
    c = fresh(dim=4)
    segment = sealed(c)
    c.upsert([100], X[:1])
    c.close()
    segment.unlink()
    with pytest.raises(Corrupt, match=segment.name):
        nf.open(c.path)
    (told,) = health.repair(c.path, dry_run=True)
    assert "60 rows (numbers 0 to 59) are lost" in told
    health.repair(c.path, dry_run=False)
    with nf.open(c.path) as left:
        assert left.ids() == [100]


def test_case_08_a_newer_format(fresh: Make) -> None:
    c = fresh(dim=4)
    segment = sealed(c)
    c.close()
    db = sqlite3.connect(c.path / "catalog.db")
    db.execute("PRAGMA user_version = 3")
    db.close()
    with pytest.raises(Corrupt, match="format 3; this nearfield reads format 1: upgrade"):
        nf.open(c.path)
    db = sqlite3.connect(c.path / "catalog.db")
    db.execute("PRAGMA user_version = 1")
    db.close()
    data = bytearray(segment.read_bytes())
    data[8:12] = struct.pack("<I", 9)
    data[36:40] = struct.pack("<I", zlib.crc32(data[:36]))
    segment.write_bytes(bytes(data))
    with pytest.raises(Corrupt, match="version 9; this nearfield reads versions 1 and 2"):
        nf.open(c.path).get([1])


# ---- several processes -----------------------------------------------------------------------------
def test_case_09_two_writers(fresh: Make) -> None:
    c = filled(fresh(dim=4, timeout=0.2))
    code = """
        import sys, nearfield as nf
        c = nf.open(sys.argv[1])
        with c._state.writing():
            print("holds", flush=True)
            sys.stdin.read()
    """
    with process(code, c.path) as holder:
        assert line(holder) == "holds"
        began = time.monotonic()
        with pytest.raises(Locked, match=f"being written by process {holder.pid} on .* since 20") as told:
            c.delete([1])
        assert 0.2 <= time.monotonic() - began < 2
        assert told.value.pid == holder.pid
        assert told.value.host
        assert told.value.since
        assert len(c.search(X[0], k=3)) == 3
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert c.delete([1]) == 1
    assert c.check() == []


def test_case_10_a_reader_stays_where_it_is_while_files_go(fresh: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    c = fresh(dim=4)
    segment = sealed(c)
    reader = nf.open(c.path, mode="r")
    walk, rows = reader.scroll(batch=10), reader.get([50, 51])
    seen = [r.id for r in next(walk)]
    code = """
        import sys, nearfield as nf
        with nf.open(sys.argv[1]) as c:
            c.delete(list(range(0, 60, 2)))
            c.compact()
            c.upsert([1000], [[1, 2, 3, 4]])
            c.compact()
    """
    with process(code, c.path) as writer:
        assert writer.wait(60) == 0, writer.stderr
    assert segment.exists()  # somebody reads it
    seen += [r.id for batch in walk for r in batch]
    assert seen == list(range(60))
    assert (rows[0].vector == X[50]).all()
    assert reader.ids() == [*range(1, 60, 2), 1000]
    reader.close()
    del walk, rows
    c.compact()
    c.compact()
    assert not segment.exists()


def test_case_11_forked_after_opening(fresh: Make) -> None:
    c = filled(fresh(dim=4))
    assert len(c) == 60
    children = []
    for child in range(3):
        pid = os.fork()
        if pid == 0:
            try:
                good = len(c.search(X[0], k=5)) == 5
                for i in range(40):
                    c.upsert([1000 * (child + 1) + i], X[:1])
                c.close()
                os._exit(0 if good else 1)
            except BaseException as error:
                os.write(2, f"{type(error).__name__}: {error}\n".encode())
                os._exit(2)
        children.append(pid)
    for i in range(40):
        c.upsert([9000 + i], X[:1])
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
    assert sorted(c.ids()) == sorted([*range(60), *(1000 * k + i for k in (1, 2, 3, 9) for i in range(40))])
    assert c.check() == []


def test_case_11_forked_while_others_search_and_write(fresh: Make) -> None:
    c, stop = filled(fresh(dim=4)), threading.Event()

    def busy() -> None:
        while not stop.is_set():
            c.search(X[0], k=5)
            c.upsert([5], X[5:6])

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for i in range(12):
            pid = os.fork()
            if pid == 0:
                signal.alarm(10)  # a deadlock ends here
                try:
                    c.upsert([100 + i], X[:1])
                    os._exit(0 if len(c.search(X[0], k=5)) == 5 else 1)
                except BaseException as error:
                    os.write(2, f"{type(error).__name__}: {error}\n".encode())
                    os._exit(2)
            assert os.waitpid(pid, 0)[1] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert sorted(c.ids()) == [*range(60), *range(100, 112)]
    assert c.check() == []


@pytest.mark.parametrize("doing", ["search", "upsert", "compact", "recode"])
def test_case_12_interrupted(tmp_path: Path, doing: str) -> None:
    code = """
        import sys, time, threading, numpy as np, nearfield as nf
        x = np.random.default_rng(1).normal(size=(50_000, 64)).astype(np.float32)
        with nf.open(sys.argv[1], dim=64) as c:
            c.upsert(list(range(30_000)), x[:30_000], texts=["some words"] * 30_000)
            c.upsert(list(range(30_000, 50_000)), x[30_000:])
            print("ready", flush=True)
            sys.stdin.readline()
            do = {
                "search": lambda: c.search(x, k=10),
                "upsert": lambda: c.upsert(list(range(200_000, 250_000)), x, texts=["more words"] * 50_000),
                "compact": lambda: c.compact(),
                "recode": lambda: c.recode("pq(parts=16)"),
            }[sys.argv[2]]
            try:
                print("begins", flush=True)
                while True:
                    do()
                    if sys.argv[2] != "search":
                        print("done too early", flush=True)
            except KeyboardInterrupt:
                print(time.monotonic(), flush=True)
    """
    waited = []
    # Searching has its queries ready by then, and is among the rows.
    for delay in (0.4, 0.6, 0.5) if doing == "search" else (0.02, 0.08, 0.04, 0.01):
        folder = tmp_path / f"{delay}"
        with process(code, folder, doing) as worker:
            assert line(worker) == "ready"
            with nf.open(folder, mode="r") as c:
                before = len(c), c.plans, c.info()["segments"]
            assert worker.stdin is not None
            worker.stdin.write("\n")
            worker.stdin.flush()
            assert line(worker) == "begins"
            time.sleep(delay)
            sent = time.monotonic()
            worker.send_signal(signal.SIGINT)
            said = line(worker)
            if said == "done too early":
                continue
            waited.append(float(said) - sent)
            worker.wait()
        with nf.open(folder) as c:
            found = len(c), c.plans, c.info()["segments"]
            # What was committed just before the interrupt came stays: all rows, in one segment.
            assert found == before or (doing == "compact" and found == (*before[:2], 1))
            assert c.check() == []
        if waited[-1] < 0.2:
            return
    pytest.fail(f"it took {waited} s to end")
