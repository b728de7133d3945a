"""A folder that is moved, deleted, made anew or reached by another name while it is open."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import nearfield as nf
from collection.kit import Make, X, filled, sealed
from nearfield.collection import health, writing
from nearfield.core.errors import BadInput, Corrupt, NearfieldError, NotWritten, Replaced, Unsupported
from nearfield.store.folder import LOOK

MANY = np.random.default_rng(3).normal(size=(200, 4)).astype(np.float32)


@pytest.fixture(autouse=True)
def back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(writing, "DIRECT_ROWS", 100)  # larger batches go straight into a segment
    before = os.getcwd()
    yield
    os.chdir(before)


def test_another_working_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    os.chdir(tmp_path / "b")
    with nf.open("notes", dim=4) as other:
        other.upsert([1, 2, 3], X[:3])
    os.chdir(tmp_path / "a")
    with nf.open("notes", dim=4) as c:
        c.upsert(list(range(10)), X[:10])
        os.chdir(tmp_path / "b")
        c.upsert(list(range(100, 300)), MANY)
        c.recode("int8()", originals="drop")
        c.compact()
        assert len(c.search(X[0], k=300)) == 210
    with nf.open("notes") as other:
        other.upsert(list(range(100, 300)), MANY)  # its writer deletes what it takes for rubbish
        assert (len(other), other.check()) == (203, [])
    with nf.open(tmp_path / "a" / "notes") as c:
        assert (len(c), c.check(), c.path) == (210, [], tmp_path / "a" / "notes")


def test_a_link_on_the_way_is_turned(tmp_path: Path) -> None:
    for name in ("v1", "v2"):
        (tmp_path / name).mkdir()
        with nf.open(tmp_path / name / "notes", dim=4) as made:
            made.upsert([name], X[:1])
    way = tmp_path / "current"
    way.symlink_to("v1")
    with nf.open(way / "notes") as c:
        way.unlink()
        way.symlink_to("v2")
        c.upsert([f"n{i}" for i in range(200)], MANY)
        c.compact()
        assert len(c) == 201
    for name, rows in (("v1", 201), ("v2", 1)):
        with nf.open(tmp_path / name / "notes") as c:
            assert (len(c), c.check(), c.get([name])[0].id) == (rows, [], name)


def _nothing(path: Path, away: Path) -> None:
    os.rename(path, away)


def _another(path: Path, away: Path) -> None:
    os.rename(path, away)
    with nf.open(path, dim=4) as c:
        c.upsert([7], X[:1])


def _a_copy(path: Path, away: Path) -> None:
    os.rename(path, away)
    shutil.copytree(away, path)


def _hard_links(path: Path, away: Path) -> None:
    os.rename(path, away)
    shutil.copytree(away, path, copy_function=os.link)


def _another_catalogue(path: Path, away: Path) -> None:
    """A backup is restored into the folder itself."""
    shutil.copytree(path, away)
    shutil.copy(path / "catalog.db", path / "new")
    os.replace(path / "new", path / "catalog.db")


@pytest.mark.parametrize("change", [_nothing, _another, _a_copy, _hard_links, _another_catalogue])
def test_what_has_its_name_now_is_not_touched(
    fresh: Make, tmp_path: Path, change: Callable[[Path, Path], None]
) -> None:
    c = fresh(dim=4)
    sealed(c)
    reader = nf.open(c.path, mode="r")
    away = tmp_path / "away"
    change(c.path, away)
    before = sorted((p.relative_to(tmp_path), p.stat().st_size) for p in tmp_path.rglob("*.nf"))
    for write in (
        lambda: c.upsert([1000], X[:1]),
        lambda: c.add(list(range(1000, 1200)), MANY),
        lambda: c.delete([1]),
        lambda: c.update([1], meta={"a": 1}),
        lambda: c.compact(purge=True),
        lambda: c.recode("int8()"),
        lambda: c.add_field("more", nf.dense(3)),
    ):
        with pytest.raises(Replaced, match="nothing was written: close it, and open it by the name it has now"):
            write()
    time.sleep(LOOK)
    for open_ in (c, reader):
        with pytest.raises(Replaced, match="replaced, moved or deleted"):
            open_.search(X[0], k=1)
    c.close()
    assert sorted((p.relative_to(tmp_path), p.stat().st_size) for p in tmp_path.rglob("*.nf")) == before
    with nf.open(away, mode="r") as moved:
        assert (len(moved), moved.check()) == (60, [])


def test_a_log_that_is_deleted_while_it_is_written(fresh: Make) -> None:
    """As by a copy of a quiet folder that is restored over it: what comes later goes into another log."""
    c = filled(fresh(dim=4))
    path, reader = Path(c.path), nf.open(c.path, mode="r")
    for name in ("catalog.db-wal", "catalog.db-shm"):
        (path / name).unlink()
    add = "import sys, nearfield as nf; c = nf.open(sys.argv[1], dim=4); c.upsert([int(sys.argv[2])], [[1, 2, 3, 4]])"
    subprocess.run([sys.executable, "-c", add, str(path), "2000"], check=True)
    for write in (lambda: c.upsert([1000], X[:1]), lambda: c.delete([1]), lambda: c.compact(purge=True)):
        with pytest.raises(Replaced, match=r"this file was replaced, moved or deleted .*nothing was written"):
            write()
    time.sleep(LOOK)
    with pytest.raises(Replaced, match=r"catalog\.db-wal"):
        reader.ids()
    c.close()
    reader.close()
    subprocess.run([sys.executable, "-c", add, str(path), "2001"], check=True)
    with nf.open(path) as again:
        assert [row.id for row in again.get([2000, 2001])] == [2000, 2001]
        assert again.check() == []


def test_a_copy_of_hard_links_is_not_written_through(fresh: Make, tmp_path: Path) -> None:
    filled(fresh(dim=4)).close()
    live = next(tmp_path.rglob("catalog.db")).parent
    backup = tmp_path / "backup"
    shutil.copytree(live, backup, copy_function=os.link)
    for path in (live, backup):
        for open_ in (nf.open, partial(nf.open, dim=4), partial(health.repair, dry_run=False)):
            with pytest.raises(Unsupported, match="is a hard link of another copy's"):
                open_(path)
        with nf.open(path, mode="r") as c:
            assert len(c) == 60
    shutil.copy(live / "catalog.db", live / "x")
    os.replace(live / "x", live / "catalog.db")
    with nf.open(live) as c:
        c.delete(where="true")
    with nf.open(backup) as c:
        assert (len(c), c.check()) == (60, [])


def test_a_folder_that_comes_back_goes_on(fresh: Make, tmp_path: Path) -> None:
    c = filled(fresh(dim=4))
    os.rename(c.path, tmp_path / "away")
    with pytest.raises(NotWritten):
        c.delete([1])
    os.rename(tmp_path / "away", c.path)
    assert c.delete([1]) == 1
    assert len(c) == 59


def test_a_folder_that_is_deleted_while_it_is_written(fresh: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the segments and before the commit: nothing is acknowledged."""
    c = filled(fresh(dim=4))
    write = writing.write_part

    def deleted(*args: object) -> object:
        made = write(*args)  # type: ignore[arg-type]
        shutil.rmtree(c.path)
        return made

    monkeypatch.setattr(writing, "write_part", deleted)
    with pytest.raises(Replaced, match="replaced, moved or deleted"):
        c.upsert(list(range(1000, 1200)), MANY)


def test_a_folder_that_is_away_for_a_moment(fresh: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a segment is written its folder is elsewhere; the segment is in it all the same."""
    c = filled(fresh(dim=4))
    write = writing.write_part

    def moved(*args: object) -> object:
        os.rename(c.path, tmp_path / "away")
        shutil.copytree(tmp_path / "away", c.path)
        made = write(*args)  # type: ignore[arg-type]
        assert not list(c.path.glob("segments/*"))
        shutil.rmtree(c.path)
        os.rename(tmp_path / "away", c.path)
        return made

    monkeypatch.setattr(writing, "write_part", moved)
    c.upsert(list(range(1000, 1200)), MANY)
    c.close()
    with nf.open(c.path) as again:
        assert (len(again), again.check()) == (260, [])


def test_a_lock_that_is_deleted_keeps_one_writer(fresh: Make) -> None:
    c = filled(fresh(dim=4))
    (c.path / "lock").unlink()
    with nf.open(c.path, timeout=0) as other:
        with c._state.lock.held(1), pytest.raises(nf.core.errors.Locked):
            other.delete([1])
        assert other.delete([1]) == 1


RACE = """
    import sys, time, numpy as np, nearfield as nf
    x = np.random.default_rng(int(sys.argv[2])).normal(size=(5, 4))
    while time.time() < float(sys.argv[3]):
        pass
    c = nf.open(sys.argv[1], dim=4, timeout=60)
    c.add([f"{sys.argv[2]}-{i}" for i in range(5)], x)
    c.close()
"""


@pytest.mark.parametrize("turn", range(4))
def test_many_open_a_new_folder_at_once(tmp_path: Path, turn: int) -> None:
    import time

    start = time.time() + 1.5
    told = [sys.executable, "-c", textwrap.dedent(RACE), str(tmp_path / "notes")]
    many = [subprocess.Popen([*told, str(i), str(start)], stderr=subprocess.PIPE, text=True) for i in range(8)]
    said = [process.communicate()[1] for process in many]
    assert [process.returncode for process in many] == [0] * 8, said
    with nf.open(tmp_path / "notes", mode="r") as c:
        assert (len(c), c.check()) == (40, [])


def test_only_one_makes_it(tmp_path: Path) -> None:
    nf.open(tmp_path / "notes", dim=4, mode="x").close()
    with pytest.raises(BadInput, match="expected no collection there"):
        nf.open(tmp_path / "notes", dim=4, mode="x")


@pytest.mark.skipif(os.name == "nt", reason="no umask there")
def test_a_group_may_write(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        with nf.open(tmp_path / "notes", dim=4) as c:
            sealed(c)
            c.recode("int8()")
            filled(c)
            modes = {p.name: p.stat().st_mode & 0o777 for p in c.path.rglob("*") if p.is_file()}
            c.backup(tmp_path / "copy")
    finally:
        os.umask(before)
    modes |= {f"copy/{p.name}": p.stat().st_mode & 0o777 for p in (tmp_path / "copy").rglob("*") if p.is_file()}
    assert set(modes.values()) == {0o664}, modes


FILES = ["catalog.db", "catalog.db-wal", "lock", "work", "leases/{lease}", "segments/{segment}", "plans/{plan}",
         "segments/{codes}", "segments/{words}"]  # fmt: skip


def _pipe(path: Path, outside: Path) -> None:
    os.mkfifo(path)


def _link(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def _folder(path: Path, outside: Path) -> None:
    path.mkdir()


def _device(path: Path, outside: Path) -> None:
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # one that can be read for ever


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes there")
@pytest.mark.parametrize("make", [_pipe, _link, _folder, _device])
def test_what_is_no_file_is_refused(fresh: Make, tmp_path: Path, make: Callable[[Path, Path], None]) -> None:
    """And no verb waits for a pipe, or follows a link out of the folder."""
    c = fresh(dim=4)
    segment = sealed(c)
    c.recode("int8()")
    c.search(text="word1")
    lease, plan = c._state.snapshot().head.generation, next((c.path / "plans").iterdir()).name
    c.close()
    codes = next(p.name for p in (c.path / "segments").iterdir() if p.name.count(".") == 3)
    words = next(p.name for p in (c.path / "segments").iterdir() if p.name.count(".") == 2)
    copies, outside = [], {}
    for i, name in enumerate(FILES):
        copies.append(shutil.copytree(c.path, tmp_path / f"copy{i}"))
        target = copies[-1] / name.format(lease=lease, segment=segment.name, plan=plan, codes=codes, words=words)
        aim = tmp_path / f"outside{i}"
        outside[aim] = target.read_bytes() if target.exists() else b""
        aim.write_bytes(outside[aim])
        target.unlink(missing_ok=True)
        try:
            make(target, aim)
        except PermissionError:
            pytest.skip("devices cannot be made here")
    told = [sys.executable, "-c", textwrap.dedent(VERBS), *map(str, copies)]
    done = subprocess.run(told, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in outside} == outside


VERBS = """
    import sys, numpy as np, nearfield as nf
    from nearfield.collection.health import repair
    from pathlib import Path
    def attempt(call):
        try:
            call()
        except nf.NearfieldError as error:
            assert len(str(error).splitlines()) == 1
    def look():
        with nf.open(path, mode="r") as c:
            for call in (c.info, c.check, lambda: c.search(np.ones(4)), lambda: c.search(text="word1"), c.get):
                attempt(call)
    def write():
        with nf.open(path) as c:
            attempt(lambda: c.delete([1]))
            attempt(c.compact)
    for path in map(Path, sys.argv[1:]):
        for call in (look, lambda: repair(path), write, lambda: repair(path, dry_run=False)):
            attempt(call)
"""


@pytest.mark.parametrize("name", ["damaged", "catalog.db.before-repair", "segments", "catalog.db", "lock"])
def test_repair_stays_in_its_folder(fresh: Make, tmp_path: Path, name: str) -> None:
    """Links in the place of what repair writes lead to another collection, which stays as it is."""
    from nearfield.collection.health import repair

    with nf.open(tmp_path / "other", dim=4) as other:
        sealed(other)
        other.upsert([1000], X[:1])
    c = fresh(dim=4)
    segment = sealed(c)
    c.close()
    segment.write_bytes(segment.read_bytes()[:-10])
    aim = {"damaged": "segments", "catalog.db.before-repair": "catalog.db"}.get(name, name)
    place = c.path / name
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.symlink_to(tmp_path / "other" / aim)
    before = {p: p.read_bytes() for p in (tmp_path / "other").rglob("*") if p.is_file()}
    try:
        told = repair(c.path, dry_run=False)
        assert name == "catalog.db.before-repair"
        assert any("are lost" in line for line in told)
        assert (c.path / "catalog.db.before-repair-2").is_file()
    except (BadInput, Corrupt) as error:
        assert "link" in str(error)
    assert {p: p.read_bytes() for p in (tmp_path / "other").rglob("*") if p.is_file()} == before
    with nf.open(tmp_path / "other") as other:
        assert (len(other), other.check()) == (61, [])


def test_repair_waits_for_no_writer(fresh: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from nearfield.collection import health

    monkeypatch.setattr(health, "_WAIT", 0.0)
    c = filled(fresh(dim=4))
    with c._state.lock.held(1), pytest.raises(NearfieldError, match="being written by process"):
        health.repair(c.path, dry_run=False)
