"""What the verbs of a Collection do with odd arguments: one line each, and nothing is written or made."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.collection import updating
from nearfield.collection.collection import Collection
from nearfield.core.errors import BadFilter, BadInput, NearfieldError, Unknown, UnknownKey, Unsupported

Make = Callable[..., Collection]
X = np.random.default_rng(3).normal(size=(40, 4)).astype(np.float32)


@pytest.fixture
def rows(fresh: Make) -> Collection:
    made = fresh(dim=4)
    made.upsert(["a", "b", "c"], X[:3], texts=["x y", "z", None], meta=[{"year": 1}, {"year": 2, "lang": "de"}, {}])
    return made


# ---- numbers ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("value", [np.int64(8), np.uint8(8), np.array(8)], ids=repr)
def test_numpy_numbers_wherever_a_number_is_taken(fresh: Make, value: Any) -> None:
    fresh("a", dim=value, keep_queries=value, timeout=np.float32(3)).add_field("w", nf.ragged(value))
    for name, field in (("b", nf.dense(value)), ("c", nf.sparse(value)), ("d", nf.ragged(value))):
        assert type(fresh(name, fields={"v": field}).fields["v"].dim) is int
    made = fresh("e", dim=4)
    made.upsert(np.arange(40), X)
    assert len(made.search(X[0], value)) == 8
    assert made.search(X[0], value, budget=value, depth=value, offset=value).ids == made.search(X[0], 16).ids[8:]
    assert len(made.search(X[0], min_score=np.float32(-2), diversity=np.float16(0.5), timeout=np.float64(9))) == 10
    assert [len(block) for block in made.scroll(batch=value)] == [8] * 5
    assert len(made.get(limit=value, offset=value)) == 8
    assert made.get(value)[0].id == 8
    assert made.set_canaries(k=value) == 40
    assert made.recall(value, rng=value).value == 1.0


@pytest.mark.parametrize(
    "options",
    [
        {"dim": True},
        {"dim": 8.0},
        {"dim": "8"},
        {"dim": np.timedelta64(8, "ns")},
        {"fields": {"v": 8}},
        {"fields": ["v"]},
        {"fields": {"v": nf.dense(5)}, "metric": "hamming"},
        {"dim": 5, "metric": "hamming"},
        {"dim": 8, "keep_queries": 2.5},
        {"dim": 8, "timeout": float("nan")},
        {"dim": 8, "timeout": 10**400},
    ],
    ids=repr,
)
def test_nothing_is_made_of_arguments_that_make_no_sense(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(NearfieldError):
        nf.open(tmp_path / "rows", **options)
    assert not list(tmp_path.iterdir())


def test_numbers_of_any_size(rows: Collection) -> None:
    for value in (1 << 40, 1 << 70, 10**5000):
        assert len(rows.search(X[0], value)) == 3
        assert len(rows.search(X[0], budget=value, depth=value)) == 3
        assert len(rows.search(X[0], offset=value)) == 0


# ---- fusing ----------------------------------------------------------------------------------------
def test_weights_choose_a_fuser_that_takes_them(rows: Collection) -> None:
    first, second = (rows.search(X[1], text="x", weights=w).ids[0] for w in ([1, 0], np.array([0, 1])))
    assert (first, second) == ("b", "a")
    assert (
        rows.search(X[1], text="x", weights=[0.7, 0.3]).ids
        == rows.search(X[1], text="x", fuse="weighted", weights=(0.7, 0.3)).ids
    )
    for fuse in ("rrf", "combsum", "dbsf", "borda"):
        with pytest.raises(BadInput, match=rf"^weights: expected a fuser that takes them \(weighted\), got '{fuse}'"):
            rows.search(X[1], text="x", fuse=fuse, weights=[0.7, 0.3])


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (["a", "b"], "got 'a'"),
        ("ab", "a list of numbers"),
        ([0.5], "expected 2, one a ranking, got 1"),
        ([1, 1, 1], "expected 2, one a ranking, got 3"),
        ([-1, 1], "got -1"),
        ([np.nan, 1], "got nan"),
        ([True, 1], "got True"),
        ([0, 0], "above 0"),
        (0.5, "a list of numbers"),
        ({"x": 1}, "a list of numbers"),
    ],
)
def test_weights_that_are_none(rows: Collection, weights: Any, said: str) -> None:
    with pytest.raises(BadInput, match=f"^weights: .*{said}"):
        rows.search(X[1], text="x", weights=weights)


def test_a_fuser_is_looked_at_where_there_is_one_ranking(rows: Collection) -> None:
    with pytest.raises(Unknown, match="no fuser 'rff'; did you mean 'rrf'"):
        rows.search(X[1], fuse="rff")
    with pytest.raises(BadInput, match="expected 1, one a ranking, got 2"):
        rows.search(X[1], weights=[1, 2])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda c: c.search(X[0], cancel=1), r"^cancel: expected an event such as threading\.Event\(\), got 1"),
        (lambda c: c.search(X[0], field=["vector"]), "^field: expected the name of a field, one of vector, got list"),
        (lambda c: c.search(X[0], group_by=["year"]), "^group_by: expected a metadata key"),
        (lambda c: c.vectors(["a"]), r"^field: .*got list; rows come with their vectors from get\(ids\)"),
        (lambda c: c.drop_field(["vector"]), "^field: expected the name"),
        (lambda c: c.add_field("v2", 64), r"^fields: expected dense\(dim\), .* for 'v2', got 64"),
        (lambda c: c.facets(["year"]), "^key: expected the name of a metadata key"),
        (lambda c: c.unique(None), "^key: expected the name of a metadata key"),
        (lambda c: c.backup(5), "^backup: expected the path"),
        (lambda c: c.update(["a"], meta=5), "^meta: expected a list"),
        (lambda c: c.upsert({"a", "b"}, X[:2]), "^ids: expected a list, as a set has no order"),
        (lambda c: c.upsert(["a", "b"], X[:2], texts={"x", "y"}), "^texts: expected a list of str, got set"),
        (lambda c: c.upsert(["a", "b"], [[1, 2, 3, 4], []]), "^vector: expected a vector, got an empty one in row 1"),
        (lambda c: c.upsert(["a"], [[]]), "^vector: expected a vector, got an empty one in row 0"),
        (lambda c: c.upsert(["a", "b"], [[1, 2], [1]]), "^vector: .*got 2 numbers in row 0 and 1 numbers in row 1"),
        (lambda c: c.upsert(["a", "b"], [[1, 2], "x"]), "^vector: .*got 2 numbers in row 0 and str in row 1"),
        (lambda c: c.upsert(["a"], [[1, 2, 3, "x"]]), r"^vector: expected real numbers, got 'x' \(str\) in row 0"),
        (lambda c: c.upsert(["a"], [[1, 2, 3, None]]), r"^vector: expected real numbers, got None .* in row 0"),
    ],
)
def test_odd_arguments_are_told_in_one_line(rows: Collection, call: Callable[[Collection], Any], said: str) -> None:
    before = rows.info()["version"]
    with pytest.raises(BadInput, match=said) as raised:
        call(rows)
    assert "\n" not in str(raised.value)
    assert rows.info()["version"] == before


def test_an_event_stops_a_search(rows: Collection) -> None:
    assert len(rows.search(X[0], cancel=threading.Event())) == 3


@pytest.mark.parametrize("cell", ["x", "[1, 2]", {1, 2}, 3.0, b"ab", [1, "a"], [1, None], [[1], [1, 2]]], ids=repr)
def test_cells_of_frames_that_are_no_vectors(rows: Collection, cell: Any) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame({"id": ["p", "q"], "vector": [[1.0, 2.0, 3.0, 4.0], cell]})
    with pytest.raises(BadInput, match=r"^rows: 'vector': .*expected .*\brow 1\b|^rows: 'vector': row 1: expected "):
        rows.load(frame)
    assert len(rows) == 3


# ---- filters ---------------------------------------------------------------------------------------
def test_a_filter_without_a_condition_changes_nothing(rows: Collection) -> None:
    for where in ({}, {"$and": [{}]}):
        with pytest.raises(BadFilter, match=r"^where: expected a condition.*where='true'"):
            rows.delete(where=where)
        with pytest.raises(BadFilter, match=r"^where: expected a condition.*where='true'"):
            rows.update(where=where, meta={"seen": True})
        assert rows.count(where) == 3
    assert rows.update(where="true", meta={"seen": True}) == 3
    assert rows.delete(where="true") == 3


@pytest.mark.parametrize(
    "verb",
    [
        lambda c, w: c.count(w),
        lambda c, w: c.ids(w),
        lambda c, w: c.get(where=w),
        lambda c, w: list(c.scroll(where=w)),
        lambda c, w: c.search(X[0], where=w),
        lambda c, w: c.delete(where=w),
        lambda c, w: c.update(where=w, meta={"seen": 1}),
        lambda c, w: c.facets("lang", where=w),
    ],
)
def test_a_misspelt_key_is_warned_of_by_every_verb(rows: Collection, verb: Callable[[Collection, str], Any]) -> None:
    with pytest.warns(UnknownKey, match="^where: no row has the key 'yaer'; did you mean 'year'") as told:
        assert not verb(rows, "yaer > 0")
    assert told[0].filename == __file__
    assert not verb(rows, "expired = true")  # a key that is not there yet is none that is misspelt
    rows.delete(where="true")
    rows.compact()
    assert not verb(rows, "yaer > 0")


def test_words_are_not_looked_for_where_there_are_no_texts(fresh: Make) -> None:
    made = fresh(dim=4)
    assert made.search(text="x").ids == []  # nor are there rows
    made.upsert(["a"], X[:1])
    for call in (lambda: made.search("x"), lambda: made.search(text="x")):
        with pytest.raises(BadInput, match=r"^text: expected rows with texts"):
            call()
    assert made.search(X[0], text="x").ids == ["a"]
    made.upsert(["b"], X[1:2], texts=["y"])
    assert made.search("x").ids == []


# ---- texts that change -----------------------------------------------------------------------------
class Lengths:
    """An encoder that tells what it was asked for."""

    dim = 4
    space = {"model": "lengths"}

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: list[str], **_: Any) -> np.ndarray:
        self.asked += texts
        return np.array([[len(t), 1, 0, 0] for t in texts], dtype=np.float32)

    encode_queries = encode


def test_a_text_that_changes_takes_its_vector_with_it(fresh: Make) -> None:
    encoder = Lengths()
    made = fresh(encoder=encoder)
    made.upsert(["a", "b", "c"], texts=["one", "three", None], meta=[{"n": 1}] * 3)
    encoder.asked.clear()
    assert made.update(["a", "zz", "b", "c"], texts=["seven", "other", "three", "seven"]) == 3
    assert encoder.asked == ["seven"]  # once, and neither what stays nor what is not there
    assert [row.vector[0] for row in made.get(["a", "b", "c"])] == [5, 5, 5]
    assert made.update(["a", "b"], texts=[None, "  "]) == 2
    assert [row.vector for row in made.get(["a", "b"])] == [None, None]
    assert made.update(["c"], meta={"n": 2}) == made.update(["c"], texts=["seven"]) == 1
    assert encoder.asked == ["seven"]
    assert made.update(["c"], texts=["given"], x=X[:1]) == 1
    np.testing.assert_array_equal(made.get("c")[0].vector, X[0])
    assert encoder.asked == ["seven"]
    assert made.search("given", k=1).ids == ["c"] == made.search(text="given", k=1).ids


def test_a_text_that_changes_meanwhile(fresh: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another writer comes between the making of vectors and the writing: no row keeps the vector of another text."""
    encoder = Lengths()
    made = fresh(encoder=encoder)
    made.upsert(["a"], texts=["same"])
    ready, between = updating.Update.ready, []

    def late(self: updating.Update, snapshot: Any) -> None:
        ready(self, snapshot)
        if not between:
            between.append(True)
            made.upsert(["a"], texts=["otherwise"])

    monkeypatch.setattr(updating.Update, "ready", late)
    assert made.update(["a"], texts=["same"]) == 1
    (row,) = made.get("a")
    assert (row.text, row.vector[0]) == ("same", 4)


def test_without_an_encoder_vectors_of_new_texts_are_asked_for(rows: Collection, fresh: Make) -> None:
    with pytest.raises(BadInput, match=r"^update: expected x=, .*got texts alone for 'a'$"):
        rows.update(["a", "b"], texts=["new", "z"])
    assert rows.get("a")[0].text == "x y"
    assert rows.update(["a", "b"], texts=["x y", "z"]) == 2  # nothing changes
    assert rows.update(["a"], texts=["new"], x=X[5:6]) == 1
    assert rows.update(where="year = 2", meta={"seen": True}) == 1
    only = fresh("only", fields={})
    only.upsert(["a"], texts=["one"])
    assert only.update(["a"], texts=["two"]) == 1
    assert only.search("two").ids == ["a"]


def test_an_encoder_that_no_name_loads_is_asked_for(tmp_path: Path) -> None:
    with nf.open(tmp_path / "rows", encoder=Lengths()) as made:
        made.upsert(["a"], texts=["one"])
    with nf.open(tmp_path / "rows") as made:
        with pytest.raises(BadInput, match="open with encoder=, or pass vectors"):
            made.update(["a"], texts=["two"])
        assert made.update(["a"], texts=["one"], meta={"n": 1}) == 1


# ---- copies ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, pickle.dumps])
def test_what_holds_files_says_why_it_is_not_pickled(rows: Collection, way: Callable[[Any], Any]) -> None:
    with rows.snapshot() as kept:
        for held in (rows, kept):
            if way is not pickle.dumps:
                assert way(held) is held  # frameworks copy what holds a collection: they share it
                continue
            with pytest.raises(Unsupported, match="pass its path"):
                way(held)
    with pytest.raises(Unsupported, match="neither copied nor pickled"):
        way(rows.vectors())
    if way is pickle.dumps:
        with pytest.raises(Unsupported, match="to_dict"):
            way(rows.search(X[0]))
    else:
        assert way(rows.search(X[0])).ids == rows.search(X[0]).ids


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
def test_a_packed_is_copied_and_each_goes_its_own_way(way: Callable[[Any], Any]) -> None:
    first = nf.Plan("float16() | vamana(degree=8)").fit(X[:30], ids=[str(i) for i in range(30)])
    first.add(X[30:32], ids=["30", "31"])
    second = way(first)
    first.add(X[32:36], ids=["a", "b", "c", "d"])
    second.add(X[36:40], ids=["e", "f", "g", "h"])
    assert first.search(X[32:36], k=1).ids[:, 0].tolist() == ["a", "b", "c", "d"]
    assert second.search(X[36:40], k=1).ids[:, 0].tolist() == ["e", "f", "g", "h"]


# ---- folders ---------------------------------------------------------------------------------------
def test_a_folder_is_opened_from_within(rows: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    for inside, name in ((".", "."), (".", "./"), ("segments", ".."), ("segments", "../")):
        (rows.path / "segments").mkdir(exist_ok=True)
        monkeypatch.chdir(rows.path / inside)
        with nf.open(name, mode="r") as made:
            assert len(made) == 3
            monkeypatch.chdir("/")
            assert made.get("a")[0].text == "x y"  # wherever one goes then


@pytest.mark.parametrize("name", ["/", "-", "no/.."])
def test_names_that_are_no_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput):
        nf.open(name, dim=4)
    assert not list(tmp_path.iterdir())
