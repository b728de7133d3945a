"""S060 and S138: documents searched by several encoders and by words at once; and copies made while others write."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.encoders.static import Static

Record = Callable[..., None]
LEFT = "chunks, a cache, and tuning to a recall"
SETS = ("cranfield", "cisi")


def lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9), np.float32)


@pytest.fixture(scope="module")
def figures(
    data: Path, retrieval: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, float]]:
    """nDCG@10 of each way to search, by collection."""
    vectorizer = pytest.importorskip("sklearn.feature_extraction.text").TfidfVectorizer
    svd = pytest.importorskip("sklearn.decomposition").TruncatedSVD(128, random_state=0)
    out = {}
    for name in SETS:
        judged = retrieval(name)
        texts = [
            f"{d.get('title') or ''} {d['text']}".strip() for d in lines(data / "retrieval" / name / "corpus.jsonl.gz")
        ]
        queries = [q["text"] for q in lines(data / "retrieval" / name / "queries.jsonl.gz")]
        words = vectorizer(sublinear_tf=True, min_df=2, max_df=0.3, stop_words="english").fit(texts)
        svd.fit(words.transform(texts))
        spaces = {
            "lsa": (unit(svd.transform(words.transform(texts))), unit(svd.transform(words.transform(queries)))),
            "static": (Static().encode(texts), Static().encode(queries)),
            "minilm": (judged.docs, judged.queries),
        }
        fields = {space: nf.dense(docs.shape[1]) for space, (docs, _) in spaces.items()}
        with nf.open(tmp_path_factory.mktemp(name) / "c", fields=fields, on_zero="keep") as c:
            c.add(range(len(texts)), {space: docs for space, (docs, _) in spaces.items()}, texts=texts)
            out[name] = measured(c, judged, queries, {space: q for space, (_, q) in spaces.items()})
    return out


def measured(c: Any, judged: Any, queries: list[str], spaces: dict[str, np.ndarray]) -> dict[str, float]:
    ways: dict[str, Callable[[int], Any]] = {
        space: lambda i, space=space: c.search({space: spaces[space][i]}, k=10, on_zero="keep") for space in spaces
    }
    ways["words"] = lambda i: c.search(text=queries[i], k=10)
    ways["all"] = lambda i: c.search(
        {s: spaces[s][i] for s in ("static", "minilm")}, text=queries[i], k=10, fuse="dbsf", depth=100
    )
    found = {}
    for way, search in ways.items():
        ranking = np.full((len(queries), 10), -1)
        for i in judged.qrels:
            ids = search(i).ids
            ranking[i, : len(ids)] = ids
        found[way] = judged.ndcg10(ranking)
    return found


def test_several_encoders_beat_lsa(figures: dict[str, dict[str, float]], record_claim: Record) -> None:
    held = all(f["all"] > f["lsa"] for f in figures.values())
    told = "; ".join(
        f"{name}: " + ", ".join(f"{way} {value:.3f}" for way, value in f.items()) for name, f in figures.items()
    )
    record_claim("S060", "several encoders searched together beat LSA", held, f"nDCG@10, {told}", without=LEFT)
    assert held


def test_together_they_beat_each(figures: dict[str, dict[str, float]], record_claim: Record) -> None:
    gains = {n: f["all"] - max(f[w] for w in ("static", "minilm", "words")) for n, f in figures.items()}
    held = all(gain > 0 for gain in gains.values())
    told = ", ".join(f"{name} {gain:+.3f}" for name, gain in gains.items())
    record_claim(
        "S060", "the ensemble beats the best of its parts", held, f"nDCG@10 beyond the best part: {told}", without=LEFT
    )
    assert all(gain > -0.02 for gain in gains.values())


def test_a_copy_made_meanwhile_is_one_state(tmp_path: Path, record_claim: Record) -> None:
    """Every commit writes ten rows of one number; a copy that held a part of one would show."""
    stop, errors, copies, rows = threading.Event(), [], 0, 0
    c = nf.open(tmp_path / "c", dim=4)

    def write() -> None:
        try:
            number = 0
            while not stop.is_set():
                x = np.full((10, 4), number + 1, np.float32)
                c.upsert(range(number % 50 * 10, number % 50 * 10 + 10), x, meta=[{"n": number}] * 10)
                number += 1
        except BaseException as error:
            errors.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for copy in range(12):
            c.backup(tmp_path / f"copy{copy}")
            with nf.open(tmp_path / f"copy{copy}", mode="r") as found:
                assert found.check() == []
                assert all(count == 10 for _, count in found.facets("n"))
                rows, copies = rows + len(found), copies + 1
    finally:
        stop.set()
        writer.join()
        c.close()
    assert not errors
    record_claim(
        "S138", "replication: a copy made while rows are written is one state of it", True,
        f"{copies} copies with {rows:,} rows in all, none with a part of a commit",
    )  # fmt: skip
    assert rows > 0
