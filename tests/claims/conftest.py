"""Real data for claims tests, and the record of what was measured."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest


def _unit(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@cache
def _load(path: Path) -> np.ndarray:
    return _unit(np.load(path))


@pytest.fixture(scope="session")
def minilm60k(data: Path) -> np.ndarray:
    """60,000 real MiniLM vectors of arXiv titles, float32 [60000, 384], unit length."""
    return _load(data / "retrieval/arxiv60k/doc_title_minilm_f16.npy")


@pytest.fixture(scope="session")
def minilm_queries(data: Path) -> np.ndarray:
    """1,000 held-out titles of the same kind, float32 [1000, 384]."""
    return _load(data / "retrieval/arxiv60k/heldout_title_minilm_f16.npy")[:1000]


@pytest.fixture(scope="session")
def shifted_queries(data: Path) -> np.ndarray:
    """1,000 sentences of abstracts: queries of another distribution, float32 [1000, 384]."""
    return _load(data / "retrieval/arxiv60k/query_minilm_f16.npy")[:1000]


def exact_top(rows: np.ndarray, queries: np.ndarray, k: int = 10) -> np.ndarray:
    """Exact nearest rows by dot product, int64 [m, k]; ties to the smaller row."""
    return np.argsort(-(queries @ rows.T), axis=1, kind="stable")[:, :k]


@pytest.fixture(scope="session")
def truth10(minilm60k: np.ndarray, minilm_queries: np.ndarray) -> np.ndarray:
    parts = [exact_top(minilm60k, minilm_queries[i : i + 100]) for i in range(0, 1000, 100)]
    return np.concatenate(parts)


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    """The share of true neighbours that were found."""
    hits = sum(len(np.intersect1d(f, t)) for f, t in zip(found, truth))
    return hits / truth.size


@pytest.fixture(scope="session", name="recall")
def recall_fixture() -> Callable[[np.ndarray, np.ndarray], float]:
    return recall


@dataclass
class Retrieval:
    """A judged collection: vectors of documents and queries, and graded judgements by row numbers."""

    docs: np.ndarray
    queries: np.ndarray
    qrels: dict[int, dict[int, int]]

    def ndcg10(self, ranking: np.ndarray) -> float:
        """Mean nDCG@10 (gain 2^rel - 1) of ``ranking`` [m, >=10] over the judged queries."""
        discounts = 1 / np.log2(np.arange(2, 12))
        values = []
        for query, judged in self.qrels.items():
            gains = np.array([2.0 ** judged.get(int(doc), 0) - 1 for doc in ranking[query][:10]])
            ideal = np.sort([2.0**grade - 1 for grade in judged.values()])[::-1][:10]
            best = float((ideal * discounts[: ideal.size]).sum())
            values.append(float((gains * discounts[: gains.size]).sum()) / best if best else 0.0)
        return float(np.mean(values))

    def ndcg10_of(self, docs: np.ndarray, queries: np.ndarray | None = None) -> float:
        """nDCG@10 of exact dot-product search over other representations of the same rows."""
        q = self.queries if queries is None else queries
        return self.ndcg10(exact_top(docs, q))


def _lines(path: Path) -> list[dict]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@cache
def _retrieval(folder: Path) -> Retrieval:
    doc_rows = {str(d["id"]): i for i, d in enumerate(_lines(folder / "corpus.jsonl.gz"))}
    query_rows = {str(q["id"]): i for i, q in enumerate(_lines(folder / "queries.jsonl.gz"))}
    wanted = None
    if (folder / "splits.json").exists():
        wanted = {str(q) for q in json.loads((folder / "splits.json").read_text())["test"]}
    qrels: dict[int, dict[int, int]] = {}
    with open(folder / "qrels.tsv", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if (wanted is None or row["query_id"] in wanted) and row["doc_id"] in doc_rows:
                grade = int(row["relevance"])
                qrels.setdefault(query_rows[row["query_id"]], {})[doc_rows[row["doc_id"]]] = grade
    docs = _load(folder / "doc_minilm_f16.npy")
    return Retrieval(docs, _load(folder / "query_minilm_f16.npy"), {q: j for q, j in qrels.items() if any(j.values())})


@pytest.fixture(scope="session")
def retrieval(data: Path) -> Callable[[str], Retrieval]:
    """``retrieval("scifact")``: documents, queries and judgements of a judged collection."""
    return lambda name: _retrieval(data / "retrieval" / name)


@pytest.fixture
def record_claim(request: pytest.FixtureRequest) -> Callable[[str, str, bool, str], None]:
    """Keep what a claims test measured: ``record_claim("S001", "float8 loses < 0.5%", held, "0.31%")``.

    With NEARFIELD_CLAIMS_OUT set (``make claims``) each call appends a line to that file; the package's
    list of papers is generated from it. ``without`` says what of the paper's claim is left out.
    """

    def record(paper: str, claim: str, held: bool, figure: str, without: str = "") -> None:
        test = request.node.nodeid.split("[")[0]
        row = {"id": paper, "test": test, "claim": claim, "status": "held" if held else "other", "figure": figure}
        if without:
            row["without"] = without
        path = os.environ.get("NEARFIELD_CLAIMS_OUT")
        if path:
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    return record


@pytest.fixture
def record_timing(record_claim: Callable[[str, str, bool, str], None]) -> Callable[[str, str, bool, str], None]:
    """Keep a claim about a time: as ``record_claim``, in tests that run under ``make claims`` alone.

    A time depends on the machine and on what else it does. Such a claim is recorded as it comes out and its test
    asserts nothing about it; what is no time of the same claim stands in a test of its own.
    """
    return record_claim


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of times are skipped before their fixtures are made, unless claims are being recorded."""
    if os.environ.get("NEARFIELD_CLAIMS_OUT"):
        return
    for item in items:
        if "record_timing" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason="times are measured and recorded by make claims alone"))
