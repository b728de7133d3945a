"""What leaves: text that steers no terminal, cells that no spreadsheet runs, files that replace nothing unasked."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from tests.hostile.run import steers

import nearfield as nf
from nearfield.cli import cli
from nearfield.core.errors import BadInput, Corrupt
from nearfield.core.text import safe, safe_json
from nearfield.store.exchange import read_rows, write_rows
from nearfield.store.rows import RowBatch

STEERING = "a\x1b[2Jb\x7fc\x9bd\u2028e\u202ef\u2066g\u200eh\u061ci\ufeffj"
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "'=quoted", "''@x", "'plain", "plain", "-", "=", "'", ""]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    c = nf.open(tmp_path / "notes", dim=2)
    meta = [{"k" + STEERING: STEERING, "n": i} for i in range(3)]
    c.upsert([f"{STEERING}{i}" for i in range(3)], np.eye(3, 2) + 1, texts=[STEERING] * 3, meta=meta)
    c.close()
    return tmp_path / "notes"


def run(*arguments: Any) -> tuple[int, str]:
    done = CliRunner().invoke(cli, [str(a) for a in arguments])
    return done.exit_code, done.output


@pytest.mark.parametrize(
    "verb",
    [["info"], ["info", "--json"], ["get", "--limit", "3"], ["check"], ["search", "b", "--explain"], ["repair"],
     ["search", "b", "--json"], ["recall"], ["recall", "--json"], ["update", "--meta", "{}", "--where", "n = 9"]],
)  # fmt: skip
def test_nothing_that_is_stored_steers_a_terminal(folder: Path, verb: list[str]) -> None:
    code, said = run(verb[0], folder, *verb[1:])
    assert code == 0, said
    assert not steers(said)


def test_json_keeps_its_values(folder: Path) -> None:
    rows = [json.loads(line) for line in run("get", folder, "--limit", "3")[1].splitlines()]
    assert [row["text"] for row in rows] == [STEERING] * 3
    assert json.loads(safe_json(json.dumps([STEERING], ensure_ascii=False))) == [STEERING]
    assert safe("a\tb\n", keep="\n\t") == "a\tb\n"
    assert not steers(safe(STEERING))


def test_an_error_is_one_line_whatever_a_file_or_user_put_into_it() -> None:
    for kind in (BadInput, Corrupt):
        told = str(kind(f"{STEERING}\nnext"))
        assert "\n" not in told
        assert not steers(told)


# ---- CSV -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("guard", [True, False])
def test_csv_comes_back_as_it_went(tmp_path: Path, guard: bool) -> None:
    path = tmp_path / "x.csv"
    meta = [{"=key": cell or "x", "number": -i - 0.5, "whole": -20 - i} for i, cell in enumerate(FORMULAS)]
    ids = [f"{cell}{i}" for i, cell in enumerate(FORMULAS)]
    write_rows(path, [RowBatch(ids, [c or "x" for c in FORMULAS], meta)], guard=guard)
    (back,) = read_rows(path)
    assert (back.ids, back.texts, back.meta) == (ids, [c or "x" for c in FORMULAS], meta)
    with open(path, newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    run_as_formula = [c for c in cells if c[:1] in tuple("=+-@\t") and c and not _is_number(c)]
    assert bool(run_as_formula) is not guard


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return cell not in FORMULAS


def test_csv_without_formulas_is_as_it_was(tmp_path: Path) -> None:
    write_rows(tmp_path / "x.csv", [RowBatch(["a"], ["'quoted' text"], [{"n": -1}])])
    assert (tmp_path / "x.csv").read_text() == "id,text,n\na,'quoted' text,-1\n"
    assert next(read_rows(tmp_path / "x.csv")).texts == ["'quoted' text"]


def test_cells_of_other_programs_keep_their_apostrophes(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("id,text\na,'=x\n")
    assert next(read_rows(tmp_path / "x.csv")).texts == ["'=x"]


def test_export_guards_unless_told_otherwise(tmp_path: Path) -> None:
    with nf.open(tmp_path / "notes", dim=2) as c:
        c.upsert(["a"], np.eye(1, 2), texts=["=1+1"])
    assert run("export", tmp_path / "notes", tmp_path / "a.csv", "--no-vectors")[0] == 0
    assert "'=1+1" in (tmp_path / "a.csv").read_text()
    assert run("export", tmp_path / "notes", tmp_path / "b.csv", "--no-vectors", "--no-guard")[0] == 0
    assert "'" not in (tmp_path / "b.csv").read_text()
    assert run("export", tmp_path / "notes", tmp_path / "c.csv")[0] == 0
    with nf.open(tmp_path / "again", dim=2) as c:
        c.load(tmp_path / "c.csv")
        assert c.get(["a"])[0].text == "=1+1"


# ---- files that are there --------------------------------------------------------------------------
def test_export_replaces_nothing_unasked(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    out.write_text("precious")
    link = tmp_path / "link.jsonl"
    link.symlink_to(out)
    loose = tmp_path / "loose.jsonl"
    loose.symlink_to(tmp_path / "nowhere.jsonl")
    code, said = run("export", folder, out)
    assert (code, "--force" in said) == (1, True), said
    with nf.open(folder, mode="r") as c:
        for target in (out, link, loose, folder / "catalog.db", folder / "x.jsonl", folder / "segments" / "x.jsonl"):
            with pytest.raises(BadInput):
                c.export(target)
        for target in (link, folder / "x.jsonl", folder):
            with pytest.raises(BadInput):
                c.export(target, overwrite=True, vectors=False)
        assert out.read_text() == "precious"
        assert not (tmp_path / "nowhere.jsonl").exists()
        assert c.export(out, overwrite=True) == 3
        beir = tmp_path / "beir"
        assert c.export(beir, vectors=False) == 3
        with pytest.raises(BadInput, match=r"corpus\.jsonl"):
            c.export(beir, vectors=False)
    assert run("export", folder, out, "--force")[0] == 0
    assert not os.path.exists(folder / "x.jsonl")


def test_other_verbs_replace_nothing_unasked(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32))
    (tmp_path / "t.jsonl").write_text('{"id": "a", "text": "one"}\n')
    (tmp_path / "t").symlink_to(folder)
    for name, verb in (
        ("a.nf", ["compress", tmp_path / "x.npy", "{}", "--plan", "int8()"]),
        ("a.npy", ["encode", tmp_path / "t.jsonl", "{}"]),
    ):  # fmt: skip
        for place, more, fine in (
            (tmp_path / name, [], True), (tmp_path / name, [], False), (tmp_path / name, ["--force"], True),
            (folder / name, ["--force"], False), (tmp_path / "t" / name, [], False),
        ):  # fmt: skip
            code, said = run(*[place if a == "{}" else a for a in verb], *more)
            assert (code == 0) is fine, said
