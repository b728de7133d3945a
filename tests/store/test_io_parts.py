"""A folder of Parquet or Arrow files as one table."""

import numpy as np
import pytest
from click.testing import CliRunner

import nearfield as nf
from nearfield.cli import cli
from nearfield.core.errors import BadInput
from nearfield.store.exchange import read_rows
from nearfield.store.io import read_vectors

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
X = np.random.default_rng(0).normal(size=(24, 4)).astype("f4")


def table(part, ids=False):
    n = np.arange(24)[part]
    made = {"vector": pa.FixedSizeListArray.from_arrays(pa.array(X[part].reshape(-1)), 4), "n": n}
    return pa.table({"id": [f"r{i}" for i in n], **made} if ids else made)


@pytest.fixture(params=["parquet", "arrow"])
def folder(tmp_path, request):
    place = tmp_path / "table"
    place.mkdir()
    for i in range(12):
        put(place / f"part-{i}.{request.param}", table(slice(2 * i, 2 * i + 2)))
    put(place / f"part-99.{request.param}", table(slice(0, 0)))
    (place / "_SUCCESS").touch()
    (place / f".part-0.{request.param}").write_text("a checksum")
    (place / "state.json").write_text("{}")
    return place


def put(path, rows):
    if path.suffix == ".parquet":
        pq.write_table(rows, path)
        return
    with pa.ipc.new_stream(str(path), rows.schema) as out:
        out.write_table(rows)


def test_vectors(folder):
    found = read_vectors(folder)
    assert (found.shape, found.dtype, found.ids) == ((24, 4), X.dtype, None)
    np.testing.assert_array_equal(found.array(), X)
    np.testing.assert_array_equal(found.take(np.array([23, 0, 7, 7])), X[[23, 0, 7, 7]])
    np.testing.assert_array_equal(np.concatenate(list(read_vectors(folder, limit=5).blocks(3))), X[:5])
    with pytest.raises(BadInput, match="row numbers from 0 to 23"):
        found.take(np.array([24]))


def test_rows(folder, tmp_path):
    assert [m["n"] for b in read_rows(folder) for m in b.meta] == list(range(24))
    assert [m["n"] for b in read_rows(folder, limit=5) for m in b.meta] == list(range(5))
    with nf.open(tmp_path / "c", dim=4) as c:
        assert (c.load(folder), c.load(folder), c.ids()) == (24, 24, list(range(48)))
        np.testing.assert_array_equal([r.vector for r in c.get(range(24))], X)


def test_verbs(folder, tmp_path):
    def run(*args):
        made = CliRunner().invoke(cli, list(map(str, args)))
        assert not made.exit_code, made.output
        return made.output

    assert "24 rows written, 24 there" in run("add", tmp_path / "c", folder)
    for how in ([], ["--key", "vector", "--force"]):
        assert "24 rows x 4" in run("compress", folder, tmp_path / "x.nf", "--plan", "float16()", *how)
    assert "24 rows x 4" in run("advise", folder, "--plan", "int8()", "--keep", 0.5, "-k", 2)


def test_key_names_a_column_of_one_file(tmp_path):
    pq.write_table(table(slice(0, 24)).append_column("other", [X.tolist()]), tmp_path / "x.parquet")
    for key in ("vector", "other"):
        args = ["compress", tmp_path / "x.parquet", tmp_path / "x.nf", "--plan", "float16()", "--force", "--key", key]
        assert not CliRunner().invoke(cli, list(map(str, args))).exit_code
    failed = CliRunner().invoke(cli, [*map(str, args[:-1]), "n"])
    assert "the column 'n' is int64; choose with --key" in failed.output
    with pytest.raises(BadInput, match="name its column with column="):
        read_vectors(tmp_path / "x.parquet", key="vector")


def test_ids(tmp_path):
    pq.write_table(table(slice(0, 3), ids=True), tmp_path / "a.parquet")
    pq.write_table(table(slice(3, 6), ids=True), tmp_path / "b.parquet")
    assert read_vectors(tmp_path).ids == [f"r{i}" for i in range(6)]
    assert [i for b in read_rows(tmp_path) for i in b.ids] == [f"r{i}" for i in range(6)]


def test_what_is_no_table(folder, tmp_path):
    def refused(match, place=folder):
        for read in (read_rows, read_vectors):
            with pytest.raises(BadInput, match=match) as caught:
                read(place)
            assert "\n" not in str(caught.value)

    suffix = next(folder.glob("part-0.*")).suffix
    other = folder / f"part-3{suffix}"
    put(other, table(slice(6, 8)).drop_columns(["n"]))
    refused(r"expected the same columns in all parts, .*part-3.* differs in \['n'\]")
    put(other, table(slice(6, 8)))
    (folder / "year=2020").mkdir()
    read_vectors(folder)  # nothing is missed
    put(folder / "year=2020" / f"a{suffix}", table(slice(0, 2)))
    refused("got a folder of parts, 'year=2020'")
    (folder / "year=2020" / f"a{suffix}").unlink()
    put(folder / f"x{'.arrow' if suffix == '.parquet' else '.parquet'}", table(slice(0, 2)))
    refused("expected parts of one format")
    empty = tmp_path / "empty"
    empty.mkdir()
    put(empty / f"a{suffix}", table(slice(0, 0)))
    refused("at least one row in its parts", empty)
