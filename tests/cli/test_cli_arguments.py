"""What the verbs do with odd arguments: what is not there is told, and ``-`` is a pipe."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from cli.kit import run

ROWS = [
    {"id": "a", "text": "warm socks", "year": 2020, "vector": [1.0, 2.0]},
    {"id": "b", "year": 2021, "vector": [2.0, 1.0]},
]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with a collection and a file of vectors."""
    monkeypatch.chdir(tmp_path)
    assert run("add", "rows", "-", given=LINES)[0] == 0
    np.save("x.npy", np.random.default_rng(0).normal(size=(40, 4)))
    return tmp_path


def rows() -> list[Any]:
    with nf.open("rows", mode="r") as made:
        return [(row.id, row.text, row.meta, row.vector.tolist()) for row in made]


# ---- what is not there -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    "arguments",
    [
        ("rm", "rows", "--where", "yaer > 1"),
        ("get", "rows", "--where", "yaer > 1"),
        ("update", "rows", "--where", "yaer > 1", "--meta", '{"seen": true}'),
        ("search", "rows", "socks", "--where", "yaer > 1"),
    ],
)
def test_a_misspelt_key_is_code_1(here: Path, arguments: tuple[str, ...]) -> None:
    before = rows()
    code, _, err = run(*arguments)
    assert (code, err) == (1, "nearfield: warning: --where: no row has the key 'yaer'; did you mean 'year'?\n")
    assert rows() == before
    code, _, err = run(*[word.replace("yaer", "expired") for word in arguments])
    assert code == 0
    assert err.startswith("note: no row has the key 'expired'")


def test_ids_that_are_not_there_are_named(here: Path) -> None:
    code, out, err = run("get", "rows", "a", "zz", "yy")
    assert (code, json.loads(out)["id"], err) == (1, "a", "nearfield: no row has the id 'zz', 'yy'\n")
    assert run("rm", "rows", "zz") == (1, "rows: 0 rows deleted, 2 left\n", "nearfield: no row has the id 'zz'\n")
    assert run("update", "rows", "zz", "a", "--meta", "{}")[::2] == (1, "nearfield: no row has the id 'zz'\n")
    assert run("get", "rows", "a", "b")[::2] == (0, "")


def test_words_where_there_are_no_texts(here: Path) -> None:
    assert run("rm", "rows", "a")[0] == 0
    with nf.open("rows") as made:
        made.compact()
    code, out, err = run("search", "rows", "socks")
    assert (code, out) == (2, "")
    assert err.startswith("nearfield: text: expected rows with texts")


def test_an_empty_vector_is_named_by_its_row(here: Path) -> None:
    empty = '{"id": "c", "vector": []}\n'
    for given, said in (
        (LINES + empty, "got [] in row 2"),
        (empty + LINES, "got [] in row 0"),
        (empty, "got none in any"),
    ):
        code, _, err = run("add", "new", "-", given=given)
        assert (code, err.count("\n")) == (2, 1)
        assert said in err
        assert not os.path.exists("new")


# ---- pipes -----------------------------------------------------------------------------------------
def test_rows_through_pipes(here: Path) -> None:
    code, out, err = run("export", "rows", "-")
    assert (code, err) == (0, "-: 2 rows\n")
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["a", "b"]
    before = rows()
    assert (
        run("add", "again", "-", given=out)[0] == run("add", "zipped", "-", given=gzip.compress(out.encode()))[0] == 0
    )
    for name in ("again", "zipped"):
        os.rename("rows", f"{name}.before")
        os.rename(name, "rows")
        assert rows() == before
    assert run("add", "table", "-", "--encoder", "static", given="id,text\nq,warm socks\n")[1].startswith(
        "table: 1 rows"
    )


def test_vectors_through_pipes(here: Path) -> None:
    x = Path("x.npy").read_bytes()
    assert run("compress", "-", "x.nf", "--plan", "int8()", given=x)[0] == 0
    code, out, _ = run("search", "x.nf", "--queries", "-", "-k", "1", given=x)
    assert (code, [line.split("\t")[1] for line in out.splitlines()]) == (0, [str(i) for i in range(40)])
    assert run("encode", "-", "t.npy", given='{"text": "warm socks"}\n')[1].startswith("t.npy: 1 rows")


@pytest.mark.parametrize(
    "arguments",
    [
        ("compress", "x.npy", "-", "--plan", "int8()"),
        ("encode", "x.txt", "-"),
        ("search", "-", "socks"),
        ("info", "-"),
        ("add", "-", "x.jsonl"),
        ("backup", "rows", "-"),
        ("add", "rows", "-", "-"),
        ("add", "rows", "-"),
        ("advise", "x.npy", "--plot", "-"),
    ],
)
def test_what_cannot_be_piped_is_refused(here: Path, arguments: tuple[str, ...]) -> None:
    before = sorted(os.listdir())
    code, out, err = run(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert sorted(os.listdir()) == before


def test_a_dash_may_still_be_words(here: Path) -> None:
    assert run("search", "rows", "-")[::2] == (0, "")


def test_the_folder_that_one_stands_in(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here / "rows")
    for name in (".", "./", "../rows", "../rows/"):
        code, out, err = run("info", name, "--json")
        assert (code, err, json.loads(out)["rows"]) == (0, "", 2)


def test_more_rows_than_there_are(here: Path) -> None:
    assert run("compress", "x.npy", "x.nf", "--plan", "int8()")[0] == 0
    for name, count in (("x.nf", 40), ("rows", 1)):
        words = ["socks"] if name == "rows" else ["--queries", "x.npy"]
        code, out, _ = run("search", name, *words, "-k", "1000000")
        assert (code, len(out.splitlines())) == (0, count if name == "rows" else count * 40)


def test_a_link_that_leads_nowhere_is_named(here: Path) -> None:
    (here / "dangling").symlink_to("nowhere")
    code, _, err = run("info", "dangling")
    assert (code, err) == (2, "nearfield: 'dangling': is a link to 'nowhere', which is not there\n")
