"""What cannot be read is not lost: a repair without rights, or that fails on its way, changes nothing."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from collection.kit import Make
from nearfield.collection import health
from nearfield.collection.health import repair
from nearfield.core.errors import BadInput, NearfieldError
from nearfield.store import folder as folders
from nearfield.store import segments

X = np.random.default_rng(8).normal(size=(60, 4)).astype(np.float32)


@pytest.fixture
def kept(fresh: Make) -> Path:
    c = fresh(dim=4)
    for start in (0, 20, 40):
        c.upsert(list(range(start, start + 20)), X[start : start + 20])
        with c._state.writing() as snapshot:
            from nearfield.collection.writing import seal

            seal(c._state, snapshot)
    path = Path(c.path)
    c.close()
    return path


def _rows(path: Path) -> int:
    with nf.open(path) as c:
        assert c.check() == []
        return len(c)


@pytest.mark.parametrize("what", ["look", "read", "handles", "memory"])
def test_segments_that_cannot_be_read_now(kept: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lstat, regular = os.lstat, segments.open_regular

    def refused(path: Any, *given: Any, **more: Any) -> Any:
        if str(path).endswith(".nf"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return lstat(path, *given, **more)

    def failing(path: Any, *given: Any, **more: Any) -> int:
        if what == "memory":
            raise MemoryError
        number = errno.EACCES if what == "read" else errno.EMFILE
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        if what == "look":
            patched.setattr(folders.os, "lstat", refused)
        else:
            patched.setattr(segments, "open_regular", failing)
        for dry_run in (True, False):
            with pytest.raises((NearfieldError, MemoryError)) as told:
                repair(kept, dry_run=dry_run)
            assert "lost" not in str(told.value)
    assert regular is segments.open_regular
    assert _rows(kept) == 60


def test_a_repair_that_cannot_put_aside_changes_nothing(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = sorted((kept / "segments").glob("*.nf"))[:2]
    for path in damaged:
        whole = path.read_bytes()
        path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    before = sorted(p.name for p in (kept / "segments").iterdir())
    move, asked = health.Folder.move, []

    def second(self: Any, part: str, target: str, name: str) -> None:
        asked.append(name)
        if len(asked) == 2:
            raise PermissionError(errno.EACCES, "Permission denied")
        move(self, part, target, name)

    with monkeypatch.context() as patched:
        patched.setattr(health.Folder, "move", second)
        with pytest.raises((OSError, NearfieldError)):
            repair(kept, dry_run=False)
    assert sorted(p.name for p in (kept / "segments").iterdir()) == before
    assert len(repair(kept, dry_run=True)) == 2
    assert len(repair(kept, dry_run=False)) == 2
    assert sorted(p.name for p in (kept / "damaged").iterdir()) == sorted(p.name for p in damaged)
    assert _rows(kept) == 20


def test_a_folder_that_may_not_be_looked_into(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lstat = os.lstat

    def refused(path: Any, *given: Any, **more: Any) -> Any:
        if str(path).endswith("catalog.db"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return lstat(path, *given, **more)

    monkeypatch.setattr(folders.os, "lstat", refused)
    for verb in (lambda: repair(kept), lambda: nf.open(kept), lambda: nf.open(kept, mode="r", dim=4)):
        with pytest.raises(BadInput, match=r"cannot be looked at .*see to the rights"):
            verb()
