"""The verbs of Collections, as a user meets them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from cli.kit import run

ROWS = [
    {"id": "a", "text": "warm woollen socks", "year": 2020, "lang": "en"},
    {"id": "b", "text": "a cup of cold tea", "year": 2024, "lang": "en"},
    {"id": "c", "text": "thick stockings for winter", "year": 2022, "lang": "de"},
]


def told(*arguments: Any) -> Any:
    """What a verb says with --json."""
    code, out, err = run(*arguments, "--json")
    assert code == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    return lines[0] if len(lines) == 1 else lines


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    assert told("add", tmp_path / "notes", file) == {"folder": str(tmp_path / "notes"), "added": 3, "rows": 3}
    return tmp_path / "notes"


def test_rows_in_and_out(notes: Path, tmp_path: Path) -> None:
    assert told("get", notes, "c", "a")[0]["text"] == "thick stockings for winter"
    assert [r["id"] for r in told("get", notes, "--where", "year > 2021")] == ["b", "c"]
    assert told("update", notes, "a", "--meta", '{"seen": true, "lang": null}')["updated"] == 1
    assert told("get", notes, "a")["meta"] == {"year": 2020, "seen": True}
    assert told("rm", notes, "--where", "lang = 'de'") == {"folder": str(notes), "deleted": 1, "rows": 2}
    assert told("export", notes, tmp_path / "out.jsonl")["rows"] == 2
    assert told("add", tmp_path / "again", tmp_path / "out.jsonl")["rows"] == 2
    with nf.open(notes) as one, nf.open(tmp_path / "again") as other:
        for a, b in zip(one, other, strict=True):
            assert (a.id, a.text, a.meta) == (b.id, b.text, b.meta)
            np.testing.assert_array_equal(a.vector, b.vector)
    code, _, err = run("add", notes, tmp_path / "out.jsonl", "--new-only")
    assert (code, err.count("\n")) == (2, 1)


def test_searching(notes: Path) -> None:
    code, out, _ = run("search", notes, "warm socks", "-k", "1")
    assert (code, out.split("\t")[0]) == (0, "a")
    found = told("search", notes, "socks", "--where", "lang = 'de'", "-k", "5")
    assert found["id"] == "c"
    code, _, err = run("search", notes, "socks", "--where", "yaer > 2020", "--explain")
    assert code == 1
    assert "warning: --where: no row has the key 'yaer'; did you mean 'year'?" in err
    assert json.loads(err.splitlines()[-1])["keys that no row has"] == {
        "yaer": "did you mean 'year'? known: lang, year"
    }


def test_keeping_it_sound(notes: Path, tmp_path: Path) -> None:
    assert run("check", notes)[0] == 0
    assert told("recall", notes)["value"] == 1.0
    assert set(told("watch", notes)) == {"recall"}  # too few rows to compare new ones with old ones
    assert told("backup", notes, tmp_path / "copy")["rows"] == 3
    before, out = told("info", notes)["bytes"], told("recode", notes, "--plan", "int8()")
    assert out["bytes_before"] == before
    assert out["bytes"] == told("info", notes)["bytes"]
    assert " bytes before, " in run("recode", notes, "--plan", "int8()")[1]
    assert "int8" in run("info", notes)[1]
    assert told("compact", notes)["rows"] == 3
    assert told("info", notes)["rows"] == 3
    assert run("repair", notes, "--dry-run")[0] == 0
    path = max((notes / "segments").glob("*.nf"), key=lambda p: p.stat().st_size)  # the vectors, not their codes
    data = bytearray(path.read_bytes())
    data[4096] ^= 255
    path.write_bytes(data)
    code, out, err = run("check", notes)
    assert code == 1
    assert path.name in out + err
    code, out, err = run("repair", notes, "--dry-run")
    assert path.name in out + err
    (notes / "catalog.db").write_bytes(b"nothing" * 1000)
    code, out, _ = run("check", notes)
    assert code == 1
    assert "catalog.db" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "notes", "none.jsonl"], "no such file"),
        (["add", "notes", "empty.jsonl"], "empty file"),
        (["search", "nowhere", "x"], "no such file"),
        (["search", "notes", "x", "--where", "year >"], "expected a value"),
        (["search", "notes", "x", "--where", "year > 'x'"], "year"),
        (["get", "notes"], "expected ids, --where or --limit"),
        (["rm", "notes", "a", "--where", "year = 1"], "either ids or --where"),
        (["update", "notes", "a", "--meta", "{bad"], "expected a JSON object"),
        (["recode", "notes", "--plan", "int9()"], "did you mean 'int8'"),
        (["backup", "notes", "notes"], "expected a new or empty folder"),
        (["export", "notes", "out.xyz"], ".jsonl"),
        (["export", "notes", "out"], "holds no vectors"),
        (["info", "empty"], "empty"),
    ],
)
def test_one_line_of_what_is_wrong(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "empty").mkdir()
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.startswith("nearfield: ")
    assert err.count("\n") == 1


def test_no_arguments_show_the_verbs() -> None:
    code, _, err = run()
    assert code == 2
    assert "\n  add " in err


def test_ctrl_c_while_adding(tmp_path: Path) -> None:
    """Each batch is a commit: what was told is there, and the folder is sound."""
    file = tmp_path / "rows.jsonl"
    with open(file, "w", encoding="utf-8") as out:
        for i in range(60_000):
            out.write(json.dumps({"id": i, "text": f"row {i}", "vector": [i % 7, 1, 2, 3]}) + "\n")
    command = [sys.executable, "-m", "nearfield", "add", str(tmp_path / "c"), str(file), "--batch", "500"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (tmp_path / "c" / "catalog.db").exists():
            pass
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip().splitlines()[-1] == "nearfield: stopped"
    with nf.open(tmp_path / "c", dim=4) as there:
        assert there.check() == []
        assert len(there) % 500 == 0
        assert len(there) < 60_000
