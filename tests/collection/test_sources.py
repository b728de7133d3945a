"""Sources of rows as people have them: rows with and without vectors, ids in some, titles, and what the verb says."""

import json
import re
import warnings

import numpy as np
import pytest
from click.testing import CliRunner

import nearfield as nf
from nearfield.cli import cli
from nearfield.core.errors import BadInput, DataWarning
from nearfield.store.exchange import read_rows
from nearfield.store.rows import RowBatch

V = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


def run(*args):
    made = CliRunner().invoke(cli, list(map(str, args)))
    return bool(made.exit_code), made.output.strip()


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def there(c):
    return [(r.id, None if (v := r.vectors.get("vector")) is None else v.tolist()) for r in c]


MIXED = [
    {"id": "a", "text": "one", "vector": V[0]},
    {"id": "b", "text": "two", "vector": V[1]},
    {"id": "c", "text": "three", "vector": None},
    {"id": "d", "text": "four"},
    {"id": "e", "text": "five"},
]
WANT = [("a", V[0]), ("b", V[1]), ("c", None), ("d", None), ("e", None)]


@pytest.mark.parametrize("encoder", [None, "static"])
@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]])
def test_rows_without_vectors_do_not_hang_on_batches(tmp_path, encoder, order):
    """Neither encoded, where there is an encoder, nor refused, where there is none; whatever rows= is."""
    path = lines(tmp_path / "x.jsonl", [MIXED[i] for i in order])
    for rows in (1, 2, 5):
        how = {"dim": 3} if encoder is None else {"fields": {"vector": nf.dense(3), "other": nf.dense(256)}}
        with nf.open(tmp_path / f"c{rows}", encoder=encoder, **how) as c:
            assert c.load(path, rows=rows) == 5
            assert there(c) == [WANT[i] for i in order]


@pytest.mark.parametrize("chunks", [[5], [2, 3], [1, 1, 1, 1, 1], [2, 0, 1, 2]])
def test_tables_do_not_hang_on_chunks(tmp_path, chunks):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    kind = pa.list_(pa.float32(), 3)
    vectors = pa.array([r.get("vector") for r in MIXED], kind)
    ends = np.cumsum(chunks)
    parts = [vectors.slice(b - a, a) for a, b in zip(chunks, ends)]
    table = pa.table({"id": [r["id"] for r in MIXED], "vector": pa.chunked_array(parts, kind)})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=2)
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches())
    for number, (source, rows) in enumerate([(table, 2), (table, 100), (tmp_path / "x.parquet", 2), (reader, 3)]):
        with nf.open(tmp_path / f"c{number}", dim=3) as c:
            assert c.load(source, rows=rows) == 5
            assert there(c) == WANT


def test_batches_of_the_users_own(tmp_path):
    with nf.open(tmp_path / "c", encoder="static") as c:
        x = np.ones((1, 256), "f4")
        c.load([RowBatch(["a"], ["one"], vectors={"vector": x}), RowBatch(["b"], ["two"])])
        assert [r.vector is None for r in c] == [False, True]
        c.load([RowBatch(["d"], ["four"])])
        assert c.get(["d"])[0].vector is not None
        with pytest.raises(BadInput, match=r"one in every row or in none, row 1 differs; .*; the 1 rows before"):
            c.load([RowBatch(["e"], ["five"]), RowBatch(None, ["six"])])
        with pytest.raises(BadInput, match="expected vectors or texts, found neither"):
            c.load([RowBatch(["f"], meta=[{"n": 1}])])


def test_an_error_says_what_is_written(tmp_path):
    rows = [{"id": i, "vector": [1, i + 1]} for i in range(4)] + [{"id": 9, "vector": 7}]
    with nf.open(tmp_path / "c", dim=2) as c:
        with pytest.raises(BadInput, match=r"line 5: 'vector': .* got 7; .*; the 4 rows before this batch are written"):
            c.load(lines(tmp_path / "x.jsonl", rows), rows=2)
        assert c.ids() == [0, 1, 2, 3]


def test_unusable_vectors_are_not_replaced_by_ours(tmp_path):
    for number, value in enumerate([7, "abc", "AACAPwAAAEA=", True, [], ["1", "2"], {"a": 1}, "[1, ..., 3]", 1.5, ""]):
        path = lines(tmp_path / "x.jsonl", [{"id": "a", "text": "warm socks", "embedding": value}])
        for how in ([], ["--vector", "embedding"]):
            code, said = run("add", tmp_path / f"c{number}", path, *how)
            assert code, said
            assert "embedding" in said or "a vector in some row" in said
        assert not (tmp_path / f"c{number}").exists()


def test_vectors_as_text(tmp_path):
    path = lines(tmp_path / "x.jsonl", [{"id": "a", "text": "warm socks", "embedding": "[1,2,3]"}])
    for number, how in enumerate([[], ["--vector", "embedding"]]):
        assert run("add", tmp_path / f"c{number}", path, *how)[0] is False
        with nf.open(tmp_path / f"c{number}", mode="r") as c:
            assert (c.get(["a"])[0].vector.tolist(), c.get(["a"])[0].meta) == ([1, 2, 3], {})
    code, said = run("add", tmp_path / "d", path, "--vector", "vektor")
    assert (code, "vector 'vektor'" in said or "--vector vektor names nothing" in said) == (True, True), said


def test_a_chosen_array_or_none(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.eye(2), b=np.eye(3))
    with nf.open(tmp_path / "c", dim=3) as c:
        assert c.load(tmp_path / "x.npz", vector="b") == 3
        np.save(tmp_path / "y.npy", np.eye(3))
        for what in ("id", "text", "vector"):
            with pytest.raises(BadInput, match=f"{what}='b' names a column, got a file of numbers alone"):
                c.load(tmp_path / "y.npy", **{what: "b"})


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_ids_and_texts_beside_vectors(tmp_path, save):
    path, x = tmp_path / "x.npz", np.arange(20.0).reshape(10, 2) + 1
    names, said = np.array([f"n{i}" for i in range(10)]), np.array([f"text {i}" for i in range(9)] + [""])
    for kinds, how in (
        ({"ids": names, "texts": said}, {}),
        ({"id": np.arange(10) * 3, "text": said}, {}),
        ({"doc_id": names}, {}),
        ({"key": names, "body": said, "texts": said[::-1]}, {"id": "key", "text": "texts", "vector": "x"}),
        ({"ids": names, "texts": said}, {"id": "", "text": ""}),
    ):
        save(path, x=x, **kinds)
        with warnings.catch_warnings():
            if how.get("id") == "":
                warnings.simplefilter("ignore")
            found = [row for batch in read_rows(path, rows=4, **how) for row in unbatched(batch)]
        ids = next((v for k, v in kinds.items() if k in ("ids", "id", "doc_id", "key")), None)
        texts = next((v for k, v in kinds.items() if k in ("texts", "text")), None)
        if how.get("id") == "":
            ids = texts = None
        assert [i for i, _, _ in found] == ([None] * 10 if ids is None else ids.tolist())
        assert [t for _, t, _ in found] == ([None] * 10 if texts is None else texts.tolist())
        assert [v for _, _, v in found] == x.tolist()


def unbatched(batch):
    n = len(batch)
    return zip(batch.ids or [None] * n, batch.texts or [None] * n, batch.vectors["vector"].tolist())


def test_arrays_beside_vectors_that_do_not_fit(tmp_path):
    path, x = tmp_path / "x.npz", np.eye(3)
    for other, match in (
        ({"ids": np.arange(2)}, r"a value in the array 'ids' for each of 3 rows, got shape \(2,\)"),
        ({"ids": np.array(5)}, r"each of 3 rows, got shape \(\)"),
        ({"ids": np.arange(3.0)}, "integers or text in the array 'ids', got 'float64'"),
        ({"texts": np.arange(3)}, "expected text in the array 'texts', got 'int64'"),
        ({"ids": np.array(["a", 1, None], object)}, "in the array 'ids', got 'object'"),
    ):
        np.savez(path, vectors=x, **other)
        with pytest.raises(BadInput, match=match):
            list(read_rows(path))
    np.savez(path, vectors=x, labels=np.arange(3))
    with pytest.warns(
        DataWarning, match="read are the vectors in 'vectors' and arrays named ids and texts, not 'labels'"
    ):
        assert [batch.ids for batch in read_rows(path)] == [None]
    with pytest.raises(BadInput, match="id='label' names no array beside the vectors, there is: 'labels'"):
        list(read_rows(path, id="label"))
    assert [batch.ids for batch in read_rows(path, id="labels")] == [[0, 1, 2]]
    np.savez(path, vectors=x, ids=np.arange(3))
    lines(tmp_path / "x.jsonl", [{"id": "a"}] * 3)
    with pytest.raises(BadInput, match=r"ids and texts in one place, got them here and in .*x\.jsonl'"):
        list(read_rows(path))


def test_rows_that_were_numbered_are_not_replaced_in_the_same_call(tmp_path):
    bare = lines(tmp_path / "bare.jsonl", [{"text": f"bare {i}", "vector": [1, i]} for i in range(5)])
    named = lines(tmp_path / "named.jsonl", [{"id": i, "text": f"named {i}", "vector": [2, i]} for i in (9, 4, 2)])
    again = lines(tmp_path / "again.jsonl", [{"id": 9, "text": "again", "vector": [3, 1]}])
    more = lines(tmp_path / "more.jsonl", [{"id": 70 + i, "text": "more", "vector": [4, 1]} for i in range(2)])
    code, said = run("add", tmp_path / "c", bare, named, "--batch", 2)
    assert code, said
    assert "expected others than rows without ids were given before, got 4; put files with ids before" in said
    with nf.open(tmp_path / "c", mode="r") as c:
        assert [row.text for row in c.get([0, 1, 2, 3, 4])] == [f"bare {i}" for i in range(5)]
    for number, files in enumerate(([named, bare], [named, bare, again], [bare, more], [named, again])):
        assert not run("add", tmp_path / f"c{number}", *files)[0]
    with nf.open(tmp_path / "c1", mode="r") as c:
        assert (len(c), c.get([9])[0].text) == (8, "again")
    code, said = run(
        "add", tmp_path / "c4", named, bare, bare, lines(tmp_path / "x.jsonl", [{"id": 12, "vector": [1, 1]}])
    )
    assert "were given before, got 12;" in said


def test_titles(tmp_path):
    pa = pytest.importorskip("pyarrow")
    rows = [
        {"id": "a", "title": "oil prices rise", "text": ""},
        {"id": "b", "title": "corn", "text": "harvest of corn"},
        {"id": "c", "title": "corn", "text": "corn is cut"},
        {"id": "d", "text": " "},
    ]
    path = lines(tmp_path / "c.jsonl", rows)
    pa_rows = pa.Table.from_pylist([{"title": None, **r} for r in rows])
    with nf.open(tmp_path / "t", encoder="static") as made:
        plain = made.vectors_of_texts(["oil prices rise", "corn harvest of corn", "corn is cut"])["vector"]
    for number, source in enumerate([path, pa_rows]):
        with nf.open(tmp_path / f"c{number}", encoder="static") as c:
            c.load(source)
            found = c.get()
            np.testing.assert_allclose([r.vector for r in found[:3]], plain, rtol=1e-6)
            assert found[3].vector is None
            assert [r.text for r in found] == [r["text"] for r in rows]  # the text is kept as it came
            assert c.search("oil prices rise", k=1).ids == ["a"]
    code, said = run("add", tmp_path / "v", path)
    assert (code, said) == (False, f"{tmp_path / 'v'}: 4 rows written, 4 there; 1 rows without a vector")
    assert json.loads(run("add", tmp_path / "v", path, "--json")[1])["without_vector"] == 1


def test_the_first_vector_makes_the_collection(tmp_path):
    first = lines(tmp_path / "a.jsonl", [{"id": "a", "vector": None}, *({"id": str(i)} for i in range(5))])
    second = lines(tmp_path / "b.jsonl", [{"id": "z", "vector": [1, 2, 3]}])
    code, said = run("add", tmp_path / "c", first, second, "--batch", 2)
    assert (code, said.partition(": ")[2]) == (False, "7 rows written, 7 there; 6 rows without a vector")
    assert nf.open(tmp_path / "c", mode="r").fields["vector"].dim == 3
    code, said = run("add", tmp_path / "d", first)
    assert (code, "a vector in some row, got none in any" in said) == (True, True)


def test_two_files_on_the_command_line(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(5, 8))
    np.save(tmp_path / "b.npy", np.eye(7, 8))
    assert run("add", tmp_path / "c", tmp_path / "a.npy", tmp_path / "b.npy")[1].endswith("12 rows written, 12 there")
    code, said = run("add", tmp_path / "d", tmp_path / "a.npy", tmp_path / "none.npy")
    assert (code, "no such file" in said, (tmp_path / "d").exists()) == (True, True, False)


def test_a_file_beside_is_told(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(2, 3))
    lines(tmp_path / "x.jsonl", [{"id": "q9", "text": "a log line"}, {"id": "q3", "text": "another"}])
    code, said = run("add", tmp_path / "c", tmp_path / "x.npy")
    assert (code, "x.jsonl', a line a row; rename it" in said) == (False, True)
    lines(tmp_path / "x.jsonl", [{"text": "a log line"}, {"text": "another"}])
    with warnings.catch_warnings(), nf.open(tmp_path / "d", dim=3) as c:
        warnings.simplefilter("ignore")
        c.load(tmp_path / "x.npy")
        c.load(tmp_path / "x.npy")
        assert [r.text for r in c] == ["a log line", "another"] * 2
        lines(tmp_path / "x.jsonl", [{"id": "q9"}])
        with pytest.raises(BadInput, match=r"a line for each of 2 vectors in .*, got 1; repair it, or rename it"):
            c.load(tmp_path / "x.npy", rows=1)
        assert len(c) == 4  # seen before anything was written


def test_vectors_in_json_lines_go_before_texts(tmp_path):
    """compress and search take the vectors of a file that has some, and encode texts only where there are none."""
    x = np.eye(4) + 0.25
    rows = [{"id": i, "text": f"text {i}", "embedding": v.tolist()} for i, v in enumerate(x)]
    path = lines(tmp_path / "x.jsonl", rows)
    for how in ([], ["--key", "embedding", "--force"]):
        failed, said = run("compress", path, tmp_path / "x.nf", "--plan", "float16()", *how)
        assert (failed, "4 rows x 4," in said) == (False, True), said
    packed = nf.load(tmp_path / "x.nf")
    assert (list(packed.ids), packed.search(x[2:3], k=1).ids.tolist()) == (["0", "1", "2", "3"], [["2"]])
    assert run("search", tmp_path / "x.nf", "--queries", path, "-k", 1)[1].splitlines()[3].startswith("3\t3\t")
    text = [{k: v for k, v in row.items() if k != "embedding"} for row in rows]
    assert "x 256" in run("compress", lines(tmp_path / "t.jsonl", text), tmp_path / "t.nf", "--plan", "float16()")[1]
    (tmp_path / "w.jsonl").write_text('"vector"\n"embedding"\n')  # bare words
    assert "2 rows x 256" in run("compress", tmp_path / "w.jsonl", tmp_path / "w.nf", "--plan", "float16()")[1]
    for bad, match in (
        ([*rows, {"id": 9, "text": "none"}], "a vector in every row, got none in row 4"),
        ([*rows, {"id": 9, "embedding": "x"}], "got the text 'x'"),
        ([{**r, "vector": [1]} for r in rows], "one vector a row, got \\['vector', 'embedding'\\]|choose with --key"),
    ):
        failed, said = run("compress", lines(tmp_path / "x.jsonl", bad), tmp_path / "y.nf", "--plan", "float16()")
        assert failed
        assert re.search(match, said), said


def test_a_key_of_null_alone_is_no_field(tmp_path):
    rows = [{"id": "a", "embedding": None, "vector": V[0]}, {"id": "b", "vector": V[1], "embedding": None}]
    assert run("add", tmp_path / "c", lines(tmp_path / "x.jsonl", rows))[0] is False
    with nf.open(tmp_path / "c", mode="r") as c:
        assert there(c) == [("a", V[0]), ("b", V[1])]


def test_an_id_that_comes_twice_does_not_hang_on_batches(tmp_path):
    path = lines(
        tmp_path / "x.jsonl", [{"id": name, "vector": [1, 2, 3], "text": str(i)} for i, name in enumerate("abcbd")]
    )
    for rows, why in ((2, "got 'b' again, written since this load began"), (10, "got it again in row 3")):
        with nf.open(tmp_path / f"c{rows}", dim=3) as c:
            c.upsert(["b", "z"], [V[0], V[1]], texts=["before", "z"])
            with pytest.raises(BadInput, match=f"ids: expected each id once, {why}"):
                c.load(path, rows=rows)
            assert c.get(["b"])[0].text == {2: "1", 10: "before"}[rows]
            assert c.load(lines(tmp_path / "y.jsonl", [{"id": "b", "vector": V[1]}])) == 1  # another source replaces
            assert c.get(["b"])[0].text is None
