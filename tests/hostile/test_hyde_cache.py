"""A cache of documents that lies: they are those that were kept for a prompt and a generator, or it is told."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from nearfield.core.errors import BadInput, Corrupt
from nearfield.search.hyde import HyDE, _digest


class Model:
    def __init__(self, model: str) -> None:
        self.model = model

    def __call__(self, prompt: str) -> str:
        return f"{self.model} on {prompt}"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    path = tmp_path / "documents.db"
    for prompt in ("x", "y"):
        HyDE(Model("one"), n=2, cache=path).documents(prompt)
    return path


def test_documents_are_those_of_the_model_and_prompt(cache: Path) -> None:
    assert HyDE(Model("two"), n=2, cache=cache).documents("x")[0].startswith("two")
    assert HyDE(Model("one"), n=2, cache=cache).documents("x")[0].startswith("one")


def rewrite(cache: Path, documents: object, *, sealed: bool = True) -> None:
    db = sqlite3.connect(cache)
    for (key,) in db.execute("SELECT key FROM hyde2").fetchall():
        text = documents if isinstance(documents, bytes) else json.dumps(documents)
        digest = _digest(key, text) if sealed and isinstance(text, str) else "no digest"
        db.execute("UPDATE hyde2 SET documents = ?, digest = ? WHERE key = ?", (text, digest, key))
    db.commit()
    db.close()


@pytest.mark.parametrize(
    "documents", [7, None, "text", [], [7], ["a", None], ["", "b"], {"a": 1}, ["a"] * 100, b"\xff"]
)
def test_what_are_no_documents_is_told(cache: Path, documents: object) -> None:
    rewrite(cache, documents)
    with pytest.raises(Corrupt, match=r"documents\.db: documents that are not"):
        HyDE(Model("one"), n=2, cache=cache).documents("x")


def test_documents_of_another_prompt_are_told(cache: Path) -> None:
    db = sqlite3.connect(cache)
    (first, digest), _ = db.execute("SELECT documents, digest FROM hyde2 ORDER BY key").fetchall()
    db.execute("UPDATE hyde2 SET documents = ?, digest = ?", (first, digest))
    db.commit()
    db.close()
    HyDE(Model("one"), n=2, cache=cache).documents("x")
    with pytest.raises(Corrupt, match="not those that were kept"):
        HyDE(Model("one"), n=2, cache=cache).documents("y")


@pytest.mark.parametrize(
    "made", ["CREATE TRIGGER t AFTER INSERT ON hyde2 BEGIN DELETE FROM hyde2; END", "CREATE VIEW v AS SELECT 1"]
)
def test_a_cache_that_would_run_code_is_refused(cache: Path, made: str) -> None:
    db = sqlite3.connect(cache)
    db.execute(made)
    db.close()
    with pytest.raises(Corrupt, match="holds what HyDE did not make"):
        HyDE(Model("one"), n=2, cache=cache).documents("z")


@pytest.mark.parametrize("vectors", [np.full((2, 256), np.nan), np.ones((2, 3)), np.ones(256)])
def test_vectors_of_the_nearest_rows_are_checked(vectors: np.ndarray) -> None:
    with pytest.raises(BadInput, match="expected finite vectors of 256 dimensions"):
        HyDE().vector("warm socks", "static", lambda vector, n: vectors.astype(np.float32))
