"""What goes into a Collection, and what must not: cases of faults by their numbers, after ``test_faults``."""

from __future__ import annotations

import math
import os
import tracemalloc
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.collection import writing
from nearfield.collection.collection import Collection
from nearfield.core.errors import BadFilter, BadInput, NearfieldError, Unsupported
from nearfield.store.io import read_vectors

Make = Callable[..., Collection]
X = np.random.default_rng(7).normal(size=(60, 4)).astype(np.float32)


def unchanged(c: Collection, rows: int = 60) -> None:
    """Nothing was written."""
    assert len(c) == rows
    assert c.check() == []
    with nf.open(c.path, mode="r") as reader:
        assert len(reader) == rows


@pytest.fixture
def c(fresh: Make) -> Collection:
    made = fresh(dim=4)
    made.upsert(list(range(60)), X, texts=[f"word{i % 3}" for i in range(60)], meta=[{"n": i} for i in range(60)])
    return made


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_case_14_not_finite(c: Collection, bad: float, direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if direct:
        monkeypatch.setattr(writing, "DIRECT_ROWS", 5)
    x = X[:10].copy()
    x[3, 2], x[7, 0] = bad, bad
    with pytest.raises(BadInput, match=r"NaN or infinity in row 3, 7"):
        c.upsert(list(range(100, 110)), x)
    with pytest.raises(BadInput, match="NaN or infinity"):
        c.search(x[3])
    with pytest.raises(BadInput, match="NaN or infinity"):
        c.update([1], x=x[3:4])
    with pytest.raises(BadInput, match="finite"):
        c.search(X[0], min_score=bad)
    unchanged(c)


def test_case_15_zero_vectors_under_cosine(c: Collection, fresh: Make) -> None:
    x = X[:6].copy()
    x[4] = 0
    with pytest.raises(BadInput, match=r"zero vectors in row 4.*on_zero"):
        c.upsert(list(range(100, 106)), x)
    with pytest.raises(BadInput, match="zero"):
        c.search(np.zeros(4))
    unchanged(c)
    kept = fresh("kept", dim=4, on_zero="keep")
    kept.upsert(list(range(6)), x)
    for _ in range(2):
        found = kept.search(X[0], k=6)
        assert len(found) == 6
        assert {h.id: h.score for h in found}[4] == 0
        assert (kept.search(np.zeros(4), k=6, on_zero="keep").scores == 0).all()
        kept.recode("int8")
    l2 = fresh("l2", dim=4, metric="l2")
    l2.upsert([1], np.zeros((1, 4)))
    assert l2.search(np.zeros(4), k=1).scores[0] == 0


def test_case_16_shapes_and_types(c: Collection, fresh: Make) -> None:
    for bad, said in (
        (np.ones((2, 3)), "expected 4 dimensions, as the field has, got 3"),
        (np.ones(8), "2-D|\\[n, d\\]|rows|vector for each"),
        (np.ones((2, 4, 1)), "2-D|\\[n, d\\]|dimensions"),
        (np.ones((3, 4)), "a vector for each of 2 ids, got 3"),
        (np.array([["a"] * 4] * 2), "numbers|dtype|number"),
        (np.array([[None] * 4] * 2, dtype=object), "numbers|dtype|number"),
        (np.ones((2, 4), complex), "complex|dtype|number"),
        ([[1, 2, 3, 4], [1, 2]], "same|width|length|rows|ragged"),
        (np.zeros((0, 4)), "for each of 2 ids, got 0"),
        (np.full((2, 4), 1e300), "float32|large|overflow"),
        ("text", "number|vector|str"),
    ):
        with pytest.raises(BadInput, match=said):
            c.upsert([100, 101], bad)
    half = fresh("half", fields={"v": nf.dense(4, dtype="float16", metric="l2")})
    with pytest.raises(BadInput, match=r"float16|65504|large"):
        half.upsert([1], [[1e5, 0, 0, 0]])
    small = fresh("small", fields={"v": nf.dense(4, dtype="int8", metric="l2")})
    for bad in (np.full((1, 4), 300), np.full((1, 4), 0.5)):
        with pytest.raises(BadInput, match="int8"):
            small.upsert([1], bad)
    unchanged(c)
    for i, same in enumerate(
        (
            X[:2].astype(">f4"),
            X[:2].astype(np.float64),
            np.asfortranarray(X[:2]),
            np.repeat(X, 2, axis=1)[:2, ::2],
            X[:2].tolist(),
        )
    ):
        c.upsert([200 + 2 * i, 201 + 2 * i], same)
        assert np.stack([r.vector for r in c.get([200 + 2 * i, 201 + 2 * i])]).tobytes() == X[:2].tobytes()
    for q in (np.ones(5), np.ones((2, 3)), np.ones((1, 1, 4)), np.array(["a"] * 4), np.array([None] * 4)):
        with pytest.raises(NearfieldError):
            c.search(q)
    assert c.upsert([], np.zeros((0, 4))) == []
    assert len(c.search(np.zeros((0, 4)), k=3)) == 0


def test_case_17_ids_that_repeat_in_a_batch(c: Collection) -> None:
    with pytest.raises(BadInput, match="each id once, got it again in row 2"):
        c.upsert([100, 101, 100], X[:3])
    with pytest.raises(BadInput, match="each id once"):
        c.update([1, 1], meta={"a": 1})
    unchanged(c)
    c.upsert([100, 101, 100], X[:3], meta=[{"a": 1}, {"a": 2}, {"a": 3}], repeats="last")
    assert c.get([100])[0].meta == {"a": 3}
    assert (c.get([100])[0].vector == X[2]).all()


ODD = [
    "a" * (1 << 20), "a\0b", "\0", "../../etc/passwd", "CON", "nul.txt", "C:\\x", "emoji \U0001f9e6", "\u00e9",
    "e\u0301", " ", "\n",
    "'; DROP TABLE tail; --", "%s{}", "\u202e", "\ufeff", "-1", "0", "None", "\ufffd", "x" * 255,
]  # fmt: skip


@pytest.mark.parametrize("direct", [False, True])
def test_case_18_odd_ids(fresh: Make, direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "DIRECT_ROWS", 5 if direct else 10_000)
    c = fresh(dim=4)
    before = {p.relative_to(c.path).as_posix() for p in c.path.rglob("*")}
    c.upsert(ODD, X[: len(ODD)], texts=ODD)
    c.upsert(["other"], X[:1], texts=["other"])
    for _ in range(2):
        assert c.ids()[:-1] == ODD
        for i, name in enumerate(ODD):
            (row,) = c.get([name])
            assert row.id == row.text == name
            assert (row.vector == X[i]).all()
            assert c.search(id=name, k=3).ids.count(name) == 0
        c.compact()
    names = {p.relative_to(c.path).as_posix() for p in c.path.rglob("*")} - before
    assert all(len(name) < 80 and name.isascii() and ".." not in name for name in names)
    assert c.delete(ODD) == len(ODD)
    bad: list[Any]
    for bad in (
        ["\ud800"],
        ["a\udfffb"],
        [""],
        ["b" * ((1 << 20) + 1)],
        ["\u00e9" * (1 << 20)],
        [None],
        [1.5],
        [b"a"],
        [True],
        ["a", 1],
    ):
        for verb in (lambda ids: c.upsert(ids, X[: len(ids)]), c.get, c.delete):
            with pytest.raises(BadInput):
                verb(bad)
    for texts in (["\ud800"], [7]):
        with pytest.raises(BadInput):
            c.upsert(["t"], X[:1], texts=texts)
    assert c.search(text="\ud800").ids == []
    whole = fresh("whole", dim=4)
    for bad in ([1 << 63], [-(1 << 63) - 1], [1.0], [math.nan], [np.bool_(True)]):
        with pytest.raises(BadInput):
            whole.upsert(bad, X[:1])
    ends = [(1 << 63) - 1, -(1 << 63), 0, -1]
    whole.upsert(ends, X[:4])
    whole.compact()
    assert whole.ids() == ends
    assert [whole.get([i])[0].id for i in ends] == ends


NAMES = [
    "..",
    "",
    "a/..",
    "x\0y",
    "CON",
    "con",
    "nul.txt",
    "COM1",
    "a.",
    "a ",
    " a",
    "a\\b",
    "C:x",
    "a\nb",
    "\ud800",
    "n" * 300,
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_case_19_names_of_collections(tmp_path: Path, name: str) -> None:
    before = sorted(tmp_path.iterdir())
    for make in (lambda: nf.open(f"{tmp_path}/{name}" if name else "", dim=4), lambda: nf.open(f"{tmp_path}/{name}/")):
        with pytest.raises(BadInput):
            make()
    assert sorted(tmp_path.iterdir()) == before


def test_case_19_links_files_and_other_folders(tmp_path: Path) -> None:
    nf.open(tmp_path / "real", dim=4).close()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").write_text("text")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("dear")
    for name, said in (
        ("link", "is a link"),
        ("file", "file"),
        ("full", "holds other files"),
        ("no/such", "does not exist"),
    ):
        with pytest.raises(NearfieldError, match=said):
            nf.open(tmp_path / name, dim=4)
    assert sorted(p.name for p in (tmp_path / "full").iterdir()) == ["thesis.txt"]


def test_what_is_no_file_is_not_written(c: Collection, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, said in (
        (tmp_path / "pipe", "expected a file to write, got a device or pipe"),
        (Path("/dev/null"), "expected a file to write, got a device or pipe"),
        (tmp_path / "folder", "names a BEIR folder, which holds no vectors"),
    ):
        for overwrite in (False, True):
            with pytest.raises(BadInput, match=said):
                c.export(name, overwrite=overwrite)
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix == ".jsonl") == []


@pytest.mark.parametrize("plan", [None, "int8"])
def test_case_20_how_many(c: Collection, plan: str | None) -> None:
    if plan:
        c.recode(plan)
    bad: Any
    for bad in (0, -1, 1.5, "3", True, np.nan, None, -(10**30)):
        with pytest.raises(BadInput, match="k: expected a whole number of at least 1"):
            c.search(X[0], k=bad)
    for name, bad in (("offset", -1), ("offset", 1.0), ("budget", 0), ("depth", 0), ("budget", "1"), ("diversity", 2)):
        with pytest.raises(BadInput, match=name):
            c.search(X[0], **{name: bad})
    tracemalloc.start()
    for k in (61, 10**9, 10**18, np.int64(100)):
        assert len(c.search(X[0], k=k)) == 60
        assert len(c.search(X[:3], k=k)[2]) == 60
        assert len(c.search(X[0], text="word1", k=k)) == 60
        assert len(c.search(X[0], k=k, where="n < 7", group_by="n")) == 7
    assert c.search(X[0], k=5, offset=10**9).ids == []
    assert len(c.search(X[0], k=10, budget=10**9)) == 10
    assert len(c.search(X[0], text="word1", k=10, depth=10**9)) == 10
    assert len(c.search(X[0], k=10**9, diversity=0.5)) == 60
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_case_21_very_many_queries(fresh: Make) -> None:
    c = fresh(dim=2)
    c.upsert([1, 2, 3], [[1, 0], [0, 1], [-1, -1]])
    q = np.random.default_rng(1).normal(size=(4_000, 2)).astype(np.float32)
    tracemalloc.start()
    found = c.search(q, k=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 4_000
    assert peak < 3000 * 4_000  # of the hits themselves
    best = np.argmax(q @ (np.array([[1, 0], [0, 1], [-1, -1]]).T / [1, 1, math.sqrt(2)]), axis=1) + 1
    assert [hits[0].id for hits in found] == best.tolist()


def test_case_22_hostile_filters(c: Collection) -> None:
    for where in (
        "(" * 100_000 + "n = 1" + ")" * 100_000,
        "not " * 100_000 + "n = 1",
        " and ".join(["n = 1"] * 200_000),
        "n = " + "9" * 100_000,
        "n = '" + "x" * (17 << 20) + "'",
        "n > 'x'", "n like 5", "n", "", "=", "n = ", "n == == 1", "n = 1; DROP TABLE tail", "n in ()  )",
        {"n": {"$foo": 1}}, {"$and": 3}, {"n": {"$in": 5}}, {"n": {"$gt": object()}}, 5, ["n"],
    ):  # fmt: skip
        with pytest.raises(BadInput):
            c.search(X[0], where=where)
        with pytest.raises(BadInput):
            c.delete(where=where)
    deep: Any = {"n": 1}
    for _ in range(100_000):
        deep = {"$not": deep}
    with pytest.raises(BadFilter):
        c.count(deep)
    while isinstance(deep, dict) and "$not" in deep:  # taken apart, as Python may not free so deep a value
        deep = deep.pop("$not")
    with pytest.raises(BadFilter):
        c.count({"n": {"$in": list(range(1_000_001))}})
    assert c.count({"n": {"$in": list(range(30, 1_000_000))}}) == 30
    assert c.count("unknown = 1") == 0
    assert len(c.search(X[0], where="unknown.deep > 5")) == 0
    c.upsert([100], X[:1], meta=[{"s": "a" * 5000}])
    assert c.count("s like '" + "%a" * 2000 + "b'") == 0  # no backtracking
    for text in ("' OR 1=1 --", '"; DROP TABLE tail; --', "__import__('os').system('x')", "{}", "%s", "\0"):
        assert c.count({"s": text}) == 0
        assert c.ids(nf.key("s") == text) == []
        assert c.search(text=text, k=3).ids == c.search(text=text, k=3).ids
    unchanged(c, 61)


def test_case_23_metadata(fresh: Make) -> None:
    c = fresh(fields={})
    zone = timezone(timedelta(hours=5, minutes=45))
    good: list[dict[str, Any]] = [
        {"v": (1 << 63) - 1}, {"v": -(1 << 63)}, {"v": 0.1}, {"v": -0.0}, {"v": 5e-324}, {"v": "text"}, {"v": True},
        {"v": datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=zone)}, {"v": datetime(2026, 3, 1)}, {"v": date(1, 1, 1)},
        {"v": [1, 2]}, {"v": ["a", ""]}, {"v": []}, {"v": {"deep": {"er": [1.5]}}}, {"v": [{"a": 1}, "mixed", None]},
        {"v": None}, {"v": {}}, {"": 1}, {"a.b": 1, "a": {"b": 2}},
        {"$odd": 1}, {"v": {"$time": "2026-01-01"}}, {"\u00e9\0": "\0"}, {},
    ]  # fmt: skip
    kept = []
    for i, meta in enumerate(good):
        try:
            c.upsert([i], meta=[meta])
            kept.append(i)
        except BadInput as error:
            assert "metadata" in str(error)
    assert len(kept) >= len(good) - 5
    for _ in range(2):
        for row in c:
            assert repr(row.meta) == repr(good[row.id]) or row.meta == good[row.id]
            assert [type(v) for v in row.meta.values()] == [type(v) for v in good[row.id].values()]
        c.compact()
    assert c.ids("v = 9223372036854775807") == [0]
    assert 7 in c.ids("v = '2026-03-01T06:15:00.000001Z'")
    deep: Any = 1
    for _ in range(200):
        deep = {"d": deep}
    bad: Any
    for bad in (math.nan, math.inf, 1 << 63, b"bytes", {1}, object(), 1 + 2j, "\ud800", deep, {1: "a"}, lambda: 1):
        with pytest.raises(BadInput, match="meta"):
            c.upsert([100], meta=[{"v": bad}])
    with pytest.raises(BadInput, match="row 1"):
        c.upsert([100, 101], meta=[{}, {"v": math.nan}])
    for bad in ([1], [{}, {}], "x", 5):
        with pytest.raises(BadInput, match="meta"):
            c.upsert([100], meta=bad)
    unchanged(c, len(kept))


def hostile(folder: Path) -> dict[str, bytes]:
    """Files that ask for code or memory; each kind in full in ``tests/store``."""
    import io
    import pickle
    import struct
    import zipfile

    pickled = io.BytesIO()
    np.save(pickled, np.array([{"a": os.getcwd}], dtype=object), allow_pickle=True)
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1152921504606846976, 4)}".ljust(117) + b"\n"
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("../../x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(1 << 20))
    return {
        "pickle.npy": pickled.getvalue(),
        "raw.pkl.npy": pickle.dumps(X),
        "huge.npy": b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64),
        "bomb.npz": bomb.getvalue(),
        "huge.safetensors": struct.pack("<Q", 1 << 60) + b"{}",
        "words.txt": b"1000000000000 4\na 1 2 3 4\n",
        "changing.fvecs": struct.pack("<i4f", 4, 1, 2, 3, 4) + struct.pack("<i3f", 3, 1, 2, 3),
        "huge.fvecs": struct.pack("<i", 1 << 30) + bytes(16),
        "broken.parquet": b"PAR1" + bytes(30) + struct.pack("<I", 0x7FFFFFFF) + b"PAR1",
    }


@pytest.mark.parametrize("name", sorted(hostile(Path())))
def test_case_24_hostile_files(c: Collection, tmp_path: Path, name: str) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    path.write_bytes(hostile(tmp_path)[name])
    tracemalloc.start()
    with pytest.raises(NearfieldError):
        c.upsert(list(range(100, 110)), read_vectors(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20
    assert not (tmp_path.parent / "x.npy").exists()
    unchanged(c)


def test_case_24_a_sound_file(c: Collection, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X[:10] + 1)
    c.upsert(list(range(10)), read_vectors(tmp_path / "x.npy"))
    assert (c.get([9])[0].vector == X[9] + 1).all()
    with pytest.raises(Unsupported):
        nf.open(c.path, metric="dot")
