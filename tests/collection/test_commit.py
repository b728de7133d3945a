"""What a commit that fails, or is interrupted, leaves of the files it would have named."""

import numpy as np
import pytest

import nearfield as nf
from nearfield.collection.state import State
from nearfield.core.errors import NotWritten
from nearfield.store.catalog import Catalog

ROWS = 5000  # enough for a segment of its own


def files(folder):
    return {p.name for p in (folder / "segments").iterdir()}


@pytest.fixture
def collection(tmp_path):
    with nf.open(tmp_path / "c", dim=2) as made:
        made.upsert(range(ROWS), np.ones((ROWS, 2)))
        yield made


@pytest.mark.parametrize("at_its_end", [True, False])
def test_a_commit_that_fails(collection, tmp_path, monkeypatch, at_its_end):
    """One that failed at its end may be found after a crash, and names its files: they stay until the next commit."""

    def fail(self, change):
        self.uncertain = at_its_end
        raise NotWritten("the disk fails")

    before = files(tmp_path / "c")
    with monkeypatch.context() as patched:
        patched.setattr(Catalog, "commit", fail)
        with pytest.raises(NotWritten):
            collection.upsert(range(ROWS, 2 * ROWS), np.ones((ROWS, 2)))
    assert len(files(tmp_path / "c") - before) == at_its_end
    assert len(collection) == ROWS
    collection.upsert([-1], np.ones((1, 2)))
    assert not files(tmp_path / "c") - before


def test_an_interrupt_behind_the_commit(collection, tmp_path, monkeypatch):
    """What was committed keeps its files, whatever happens next."""

    def interrupt(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(State, "tidy", interrupt)
        collection._state._tidied = False
        with pytest.raises(KeyboardInterrupt):
            collection.upsert(range(ROWS, 2 * ROWS), np.ones((ROWS, 2)))
    assert len(collection) == 2 * ROWS
    with nf.open(tmp_path / "c", mode="r") as again:
        assert again.check() == []
        assert len(again.get([0, ROWS, 2 * ROWS - 1])) == 3
