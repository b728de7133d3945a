"""A snapshot: several reads of one state, whatever is written meanwhile and by whom."""

import numpy as np
import pytest

import nearfield as nf
from nearfield.collection import writing
from nearfield.core.errors import BadInput, ReadOnly


@pytest.fixture
def collection(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(writing, "SEAL_ROWS", 40)
    with nf.open(tmp_path / "c", dim=4) as made:
        for start in range(0, 100, 10):
            meta = [{"n": i} for i in range(start, start + 10)]
            made.upsert(
                range(start, start + 10), rng.normal(size=(10, 4)), texts=[f"row {m['n']}" for m in meta], meta=meta
            )
        yield made


def told(c):
    """All that can be asked."""
    q = np.ones(4)
    hits = c.search(q, k=200)
    return (
        c.ids(), c.count("n < 50"), hits.ids, list(hits.scores), c.search(text="row 7", k=5).ids, c.facets("n")[:3],
        [row.text for row in c], c.search(q, k=3, where="n >= 90").ids,
    )  # fmt: skip


def test_it_stays_as_it_was(collection, rng):
    before = told(collection)
    with collection.snapshot() as kept:
        collection.upsert([5, 1000], rng.normal(size=(2, 4)), texts=["new", "row 7"], meta=[{"n": -1}, {"n": 7}])
        collection.delete(where="n > 60")
        assert told(kept) == before
        assert told(collection) != before
        collection.compact(purge=True)
        assert told(kept) == before
        assert len(kept) == 100
    assert len(collection) == 62


def test_its_files_stay_until_it_is_closed(collection, tmp_path):
    """Nothing of the segments was read before another process' writer would delete them."""
    kept = collection.snapshot()
    files = set((tmp_path / "c" / "segments").iterdir())
    assert len(files) >= 2
    with nf.open(tmp_path / "c") as other:
        other.delete(where="n > 3")
        other.compact()
        other.compact()
        collection.upsert([2000], np.ones((1, 4)))  # the reader of the collection goes on to the new files
        assert len(collection) == 5
        assert files <= set((tmp_path / "c" / "segments").iterdir())
        assert [row.id for row in kept.get(list(range(99, -1, -33)))] == [99, 66, 33, 0]
        kept.close()
        other.compact()
        assert not files & set((tmp_path / "c" / "segments").iterdir())


def test_it_only_reads_and_ends(collection):
    kept = collection.snapshot()
    with pytest.raises(ReadOnly):
        kept.upsert([1], np.ones((1, 4)))
    with pytest.raises(ReadOnly):
        kept.compact()
    with kept.snapshot() as again:
        assert len(again) == 100
    kept.close()
    with pytest.raises(BadInput, match="was closed; take another"):
        kept.count()
    assert len(collection) == 100
    collection.upsert([1], np.ones((1, 4)))
    collection.close()
    with pytest.raises(BadInput, match="was closed"):
        collection.snapshot()
