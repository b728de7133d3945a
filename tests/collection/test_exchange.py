"""Rows from files, frames and data sets, and out again as they were."""

from datetime import UTC, datetime

import numpy as np
import pytest

import nearfield as nf
from nearfield.core.errors import BadInput
from nearfield.store.rows import RowBatch

META = [
    {"n": 1, "x": 0.5, "tags": ["a", "b"], "when": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)},
    {"n": 2, "x": None, "ok": True},
    {"n": 3, "name": "größe"},
]


@pytest.fixture
def collection(tmp_path, rng):
    with nf.open(tmp_path / "c", dim=4) as made:
        x = rng.normal(size=(3, 4)).astype(np.float32)
        made.add(["a", "b", "c"], x, texts=["one", None, "three ünï"], meta=META)
        yield made


def same(one, other):
    for a, b in zip(one, other, strict=True):
        assert (a.id, a.text) == (b.id, b.text)
        kept = {k: v for k, v in a.meta.items() if v is not None}  # a column cannot tell null from missing
        assert {k: v for k, v in b.meta.items() if v is not None} == kept
        np.testing.assert_array_equal(a.vector, b.vector)


@pytest.mark.parametrize("target", ["rows.jsonl", "rows.parquet", "rows.arrow", "arrow", "pandas", "polars", "dataset"])
def test_round_trip(collection, tmp_path, target):
    if target not in ("rows.jsonl", "pandas"):
        pytest.importorskip("pyarrow")
    pytest.importorskip({"pandas": "pandas", "polars": "polars", "dataset": "datasets"}.get(target, "numpy"))
    out = str(tmp_path / target) if "." in target else target
    given = collection.export(out)
    if "." in target:
        assert given == 3
        given = out
    with nf.open(tmp_path / "again", dim=4) as again:
        seen = []
        assert again.load(given, rows=2, progress=lambda *what: seen.append(what)) == 3
        assert seen[-1] == ("rows", 3, 0)
        same(collection, again)
        with pytest.raises(BadInput, match="there"):
            again.load(given, new_only=True)


def test_parts(collection, tmp_path):
    pytest.importorskip("pandas")
    frame = collection.export("pandas", where="n > 1", vectors=False)
    assert list(frame["id"]) == ["b", "c"]
    assert "vector" not in frame
    frame["embedding"] = list(np.eye(4)[:2])
    frame["sku"] = ["x", "y"]
    with nf.open(tmp_path / "other", dim=4) as other:
        assert other.load(frame, id="sku", vector="embedding", text="name", meta=["n"]) == 2
        assert [(r.id, r.meta) for r in other] == [("x", {"n": 2}), ("y", {"n": 3})]


def test_texts_are_encoded(tmp_path):
    with nf.open(tmp_path / "c", encoder="static") as made:
        assert made.load([RowBatch(["a", "b"], ["warm socks", "tax law"])]) == 2
        assert made.search("stockings", k=1).ids == ["a"]


def test_tensors_of_other_libraries(tmp_path):
    torch = pytest.importorskip("torch")
    x = torch.eye(4)
    with nf.open(tmp_path / "c", dim=4) as made:
        made.add(range(4), x)
        assert made.search(x[2], k=1).ids == [2]
        with pytest.raises(BadInput, match=r"x\.detach\(\)"):
            made.add([9], torch.ones(1, 4, requires_grad=True))
        with pytest.raises(BadInput, match="bfloat16"):
            made.add([9], torch.ones(1, 4, dtype=torch.bfloat16))


def test_errors(collection, tmp_path):
    with pytest.raises(BadInput, match=r"rows\.jsonl, or .*pandas"):
        collection.export("pandsa")
    with pytest.raises(BadInput, match="list of int"):
        collection.load([1, 2])
    with pytest.raises(BadInput, match="none"):
        collection.load(tmp_path / "none.jsonl")
    with pytest.raises(BadInput, match="expected the fields vector, got a, b"):
        collection.load(RowBatch(["x"], vectors={"a": np.eye(4)[:1], "b": np.eye(4)[:1]}))
    with pytest.raises(BadInput, match="expected a file, a frame, a table or batches of rows, got int"):
        collection.load(7)
