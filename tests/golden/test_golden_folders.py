"""Collections and tables of words of every release stay readable, and give the same answers."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.store.segments import kind_of

HERE = Path(__file__).parent
COLLECTIONS = sorted(HERE.glob("v*/collection/notes"))
TEXTS = sorted(HERE.glob("v*/texts/*/notes"))
TABLES = sorted(HERE.glob("v*/words/*.nf"))


@pytest.fixture(scope="module")
def asked() -> Any:
    """The script that made them knows what was asked of them."""
    spec = importlib.util.spec_from_file_location("make_golden", HERE.parents[1] / "scripts" / "make_golden.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def same(got: Any, want: Any, where: str = "answers", digits: float = 2e-4) -> None:
    """The same, numbers to the last digit kept; whatever is asked anew has no answer of old."""
    if isinstance(want, dict):
        for key, value in want.items():
            assert key in got, f"{where}: {key} is missing"
            same(got[key], value, f"{where}.{key}", digits)
    elif isinstance(want, float) and not isinstance(got, str):
        assert np.isclose(got, want, rtol=0, atol=digits), f"{where}: {got} is not {want}"
    elif isinstance(want, list) and isinstance(got, (list, tuple)):
        assert len(got) == len(want), f"{where}: {got} is not {want}"
        for i, (one, other) in enumerate(zip(got, want)):
            same(one, other, f"{where}[{i}]", digits)
    else:
        assert got == want, where


@pytest.mark.parametrize("mode", ["r", "a"])
@pytest.mark.parametrize("folder", COLLECTIONS, ids=[p.parents[1].name for p in COLLECTIONS])
def test_a_collection_of_a_release_gives_the_same_answers(asked: Any, folder: Path, mode: str, tmp_path: Path) -> None:
    want = json.loads((folder.parent / "expected.json").read_text())
    copy = shutil.copytree(folder, tmp_path / "notes")
    with nf.open(copy, mode=mode) as c:
        told = c.info()
        assert (told["segments"], told["tail_rows"], told["dead_rows"]) == (1, 8, 2)
        assert c.check() == []
        got = json.loads(json.dumps(asked.collection_answers(c)))
    vectors = [row.pop("vectors") for row in got["rows"]], [row.pop("vectors") for row in want["rows"]]
    assert vectors[0] == vectors[1]  # to the last bit
    same(got, want)


@pytest.mark.parametrize("folder", COLLECTIONS, ids=[p.parents[1].name for p in COLLECTIONS])
def test_a_collection_of_a_release_goes_on(asked: Any, folder: Path, tmp_path: Path) -> None:
    want = json.loads((folder.parent / "expected.json").read_text())
    with nf.open(shutil.copytree(folder, tmp_path / "notes")) as c:
        c.compact(purge=True)
        assert c.info()["dead_rows"] == 0
        got = json.loads(json.dumps(asked.collection_answers(c)))
        for key in ("rows", "wheres", "facets", "bounds", "keys", "count"):
            assert got[key] == want[key]
        c.upsert(["new"], {"body": np.ones((1, 8)), "half": np.ones((1, 4))}, texts=["warm"], meta=[{"row": 99}])
        assert c.search(np.ones(8), k=1, where="row = 99").ids == ["new"]
        c.recode("float16", field="body")
        assert c.check() == []


@pytest.mark.parametrize("mode", ["r", "a"])
@pytest.mark.parametrize("folder", TEXTS, ids=[f"{p.parents[2].name}-{p.parent.name}" for p in TEXTS])
def test_texts_of_a_release_are_found_as_they_were(asked: Any, folder: Path, mode: str, tmp_path: Path) -> None:
    want = json.loads((folder.parent / "expected.json").read_text())
    copy = shutil.copytree(folder, tmp_path / "notes")
    with nf.open(copy, mode=mode, tokenizer=asked.TOKENIZERS[folder.parent.name]) as c:
        assert c.check() == []
        same(asked.texts_answers(c), want)
    for path in (copy / "segments").glob("*.*.nf"):
        path.unlink()  # the lists are derived: made anew they are the same
    with nf.open(copy) as c:
        same(asked.texts_answers(c), want)
        c.upsert([9], texts=["another warm sock"])
        c.compact(purge=True)
        assert 9 in c.search(text="warm socks", k=9).ids


@pytest.mark.parametrize("path", TABLES, ids=[f"{p.parents[1].name}-{p.stem}" for p in TABLES])
def test_words_of_a_release_give_the_same_answers(asked: Any, path: Path) -> None:
    table = nf.open(path)
    table.verify()
    assert kind_of(path) == "words"
    same(asked.words_answers(table), json.loads(path.with_suffix(".json").read_text()))


def test_there_are_some_and_they_are_small() -> None:
    assert COLLECTIONS
    assert len(TABLES) >= 2
    assert len(TEXTS) >= 4
    for folder in [*COLLECTIONS, *TEXTS]:
        assert sum(p.stat().st_size for p in folder.parent.rglob("*") if p.is_file()) < 100_000
