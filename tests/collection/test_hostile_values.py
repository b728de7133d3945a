"""Values of kinds that a call cannot take: one line each that says what was expected, and what it takes is taken."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

import nearfield as nf
from nearfield.core.errors import BadInput

X = np.eye(3, dtype="f4")


@pytest.fixture
def c(tmp_path):
    with nf.open(tmp_path / "c", fields={"v": nf.dense(3), "s": nf.sparse()}) as made:
        made.upsert(["a", "b"], {"v": X[:2], "s": [{1: 1.0}, {2: 0.5}]}, meta=[{"n": 1}, {}])
        yield made


def test_tensors_alone_and_in_lists(c):
    torch = pytest.importorskip("torch")
    for tensor, match in (
        (torch.ones(3, requires_grad=True), r"x\.detach\(\)"),
        (torch.ones(3, dtype=torch.bfloat16), r"convert: x\.float\(\)"),
        (torch.ones(3, device="meta"), r"x\.cpu\(\)"),
    ):
        for given in (tensor, [tensor], tensor[None]):
            with pytest.raises(BadInput, match=match):
                c.upsert(["t"], {"v": given})
            with pytest.raises(BadInput, match=match):
                c.search({"v": given})
    c.upsert(["t"], {"v": [torch.tensor([1.0, 2.0, 3.0])]})
    assert c.get(["t"])[0].vectors["v"].tolist() == [1, 2, 3]


def test_values_that_are_none_of_what_is_expected(c):
    with pytest.raises(BadInput, match="expected a vector of a field, or text=, got None for 'v'"):
        c.search({"v": None})
    for target in (None, 1.5, b"x"):
        with pytest.raises(BadInput, match="export: expected the name of a file or one of arrow"):
            c.export(target)
    for what in ("meta", "texts"):
        with pytest.raises(BadInput, match=f"{what}: expected a list"):
            c.upsert(["a"], {"v": X[:1]}, **{what: np.array(5)})


def test_update_takes_sparse_vectors_in_every_form(c):
    sparse = pytest.importorskip("scipy.sparse")
    matrix = sparse.csr_matrix(np.array([[0, 0, 3.0], [4.0, 0, 0], [0, 5.0, 0]]))
    for given in (matrix, (matrix.indptr, matrix.indices, matrix.data), [{2: 3.0}, {0: 4.0}, {1: 5.0}]):
        c.upsert(["a", "b"], {"s": [{7: 7.0}] * 2})
        assert c.update(["b", "not there", "a"], x={"s": given}) == 2
        assert [r.vectors["s"] for r in c.get(["a", "b"])] == [{1: 5.0}, {2: 3.0}]


def test_times_in_other_libraries(c, tmp_path):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"id": ["z"], "v": [[1.0, 2, 3]], "at": pa.array([10**15], pa.timestamp("ms"))})
    with pytest.raises(BadInput, match="'at': expected times of the years 1 to 9999"):
        c.load(table, vector="v")
    pytest.importorskip("polars")
    time = datetime(2020, 1, 1, 5, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    c.update(["a"], meta={"at": time, "all": [time]})
    frame = c.export("polars")
    assert frame["at"].drop_nulls()[0] == time == datetime(2020, 1, 1, tzinfo=UTC)
    assert frame["all"].drop_nulls()[0][0] == time


def test_a_frame_with_sparse_vectors_loads_again(c, tmp_path):
    pytest.importorskip("pandas")
    c.upsert(["none"], {"v": X[2:]})
    with nf.open(tmp_path / "again", fields=c.fields) as again:
        assert again.load(c.export("pandas")) == 3
        assert [r.vectors.get("s") for r in again.get(["a", "b", "none"])] == [{1: 1.0}, {2: 0.5}, None]
        assert again.get(["a"])[0].vectors["v"].tolist() == [1, 0, 0]


def test_a_frame_with_token_vectors_loads_again(tmp_path):
    pytest.importorskip("pandas")
    with nf.open(tmp_path / "c", fields={"vector": nf.dense(3), "r": nf.ragged(2)}) as made:
        made.upsert(["a", "b"], {"vector": X[:2], "r": [np.eye(2), None]})
        with nf.open(tmp_path / "again", fields=made.fields) as again:
            again.load(made.export("pandas"))
            (row,) = again.get(["a"])
            assert (row.vectors["r"].tolist(), row.meta) == ([[1, 0], [0, 1]], {})


def test_progress_that_cannot_be_called(c, tmp_path):
    for call in (
        lambda: c.compact(progress=1),
        lambda: c.check(progress=1),
        lambda: c.backup(tmp_path / "b", progress=1),
        lambda: c.export(tmp_path / "x.jsonl", progress=1),
        lambda: c.load(tmp_path / "x.jsonl", progress=1),
        lambda: c.upsert(["q"], {"v": X[:1]}, progress=1),
        lambda: c.recode("int8()", field="v", progress=1),
    ):
        with pytest.raises(BadInput, match="progress: expected a function"):
            call()
    assert (len(c), list(tmp_path.iterdir())) == (2, [tmp_path / "c"])
