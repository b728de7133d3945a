"""Rows without ids: numbered behind what is there, by whoever writes, and never in the place of a row."""

import numpy as np
import pytest

import nearfield as nf
from collection.kit import line, process
from nearfield.core.errors import BadInput
from nearfield.store.rows import RowBatch

X = np.random.default_rng(0).normal(size=(12, 3)).astype("f4")


@pytest.fixture
def c(tmp_path):
    with nf.open(tmp_path / "c", dim=3) as made:
        yield made


def files(folder):
    """Files without ids, two of each kind."""
    for n in "ab":
        np.save(folder / f"{n}.npy", X[:4])
        np.savetxt(folder / f"{n}.csv", X[:4], delimiter=",")
        rows = [f'{{"text": "{n} {i}", "vector": {X[i].tolist()}}}\n' for i in range(4)]
        (folder / f"{n}.jsonl").write_text("".join(rows))
        (folder / f"{n}.tsv").write_text("n\tvector\n" + "".join(f"{i}\t{X[i].tolist()}\n" for i in range(4)))
    return folder


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".jsonl", ".tsv"])
@pytest.mark.parametrize("rows", [3, 1000])
def test_a_second_file_appends(tmp_path, suffix, rows):
    (tmp_path / "files").mkdir()
    (tmp_path / "other").mkdir()
    folder = files(tmp_path / "files")
    if suffix == ".npy":  # alone: rows of another file beside it are its own
        for n in "ab":
            (folder / f"{n}.jsonl").unlink()
    with nf.open(tmp_path / "c", dim=3) as c:
        for name in "aba":
            c.load(folder / f"{name}{suffix}", rows=rows)
        assert c.ids() == list(range(12))
        np.testing.assert_allclose(c.get([9])[0].vector, X[1], rtol=1e-6)


def test_frames_and_arrays_append(c):
    pandas = pytest.importorskip("pandas")
    pa = pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"vector": X[:2].tolist()})
    assert c.upsert(None, X[:2]) == [0, 1]
    c.load(frame)
    c.load(frame)
    c.load(pa.table({"vector": X[:2].tolist()}))
    c.load([RowBatch(vectors={"vector": X[:2]})])
    assert c.add(None, X[0]) == [10]  # one vector
    assert c.upsert(None, X[:1], texts="one", meta={"n": 1}) == [11]
    assert c.ids() == list(range(12))


def test_rows_of_the_users_own_stay(c):
    c.upsert([2, 700, -5], X[:3], texts=["keep me", "and me", "me too"])
    assert c.upsert(None, X[:2]) == [701, 702]
    c.compact()
    assert c.upsert(None, X[:1]) == [703]
    assert [r.text for r in c.get([2, 700, -5])] == ["keep me", "and me", "me too"]


def test_a_number_is_not_given_again(c):
    assert c.upsert(None, X[:3]) == [0, 1, 2]
    c.delete([2])
    c.compact(purge=True)
    assert c.upsert(None, X[:1]) == [3]


def test_segments_and_the_tail_are_both_looked_at(tmp_path):
    x = np.random.default_rng(1).normal(size=(5000, 3)).astype("f4")
    with nf.open(tmp_path / "c", dim=3) as c:
        c.upsert(np.random.default_rng(2).permutation(5000) * 10, x)  # straight into a segment, in no order
        assert c.upsert(None, X[:1]) == [49_991]
        c.upsert([60_000], X[:1])
        assert c.upsert(None, x)[0] == 60_001
    with nf.open(tmp_path / "c") as again:
        assert again.upsert(None, X[:1]) == [65_001]


def test_beside_names_they_get_names(c):
    c.upsert(["a"], X[:1])
    made = c.upsert(None, X[:2])
    assert len(made[0]) == 32
    assert c.ids() == ["a", *made]
    c.delete(["a", *made])
    assert c.upsert(None, X[:1]) == [3]  # with nothing there, numbers


def test_no_room(c):
    c.upsert([(1 << 63) - 2], X[:1])
    assert c.upsert(None, X[:1]) == [(1 << 63) - 1]
    with pytest.raises(BadInput, match="expected room for 1 numbers behind 9223372036854775807"):
        c.upsert(None, X[:1])


def test_a_fieldless_collection_counts_by_metadata(tmp_path):
    with nf.open(tmp_path / "c", fields={}) as c:
        assert c.upsert(None, meta=[{"n": 1}, {"n": 2}]) == [0, 1]
        assert c.upsert(None, texts=["a"]) == [2]
        assert c.upsert(None) == []


def test_writers_of_two_processes_share_the_numbers(tmp_path):
    nf.open(tmp_path / "c", dim=3).close()
    code = """
    import sys, numpy as np, nearfield as nf
    c = nf.open(sys.argv[1], timeout=60)
    print("open", flush=True)
    sys.stdin.readline()
    made = [c.upsert(None, np.eye(3)[:2]) for _ in range(15)]
    print(sorted(i for pair in made for i in pair), flush=True)
    """
    with process(code, tmp_path / "c") as one, process(code, tmp_path / "c") as two:
        assert [line(one), line(two)] == ["open", "open"]
        for p in (one, two):
            p.stdin.write("\n")
            p.stdin.flush()
        found = [i for p in (one, two) for i in map(int, line(p).strip("[]").split(","))]
    assert sorted(found) == list(range(60))
    with nf.open(tmp_path / "c", mode="r") as c:
        assert sorted(c.ids()) == list(range(60))
