"""The real vectors that suites measure on, and the measures themselves; nothing of nearfield is used here."""

from __future__ import annotations

import csv
import gzip
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
ROOT = Path(__file__).resolve().parents[1]
_BLOCK = 100  # queries ranked together: 24 MB of scores over 60,000 rows


def folder(given: str | None = None) -> Path:
    """The folder of real data: ``given``, else NEARFIELD_DATA, else ``../shared`` beside the checkout."""
    root = Path(given or os.environ.get("NEARFIELD_DATA") or ROOT.parent / "shared")
    found = root / "data" if (root / "data").is_dir() else root
    if not (found / "retrieval").is_dir():
        raise ValueError(f"no real data in {root}: expected a folder that holds data/retrieval (--data)")
    return found


def unit(x: Any) -> F32:
    """Rows scaled to unit length, float32."""
    x = np.asarray(x, dtype=np.float32)
    return np.ascontiguousarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30))


@dataclass
class Neighbours:
    """Rows, sets of queries that are not among them, and the exact nearest rows of each query."""

    rows: F32
    queries: dict[str, F32]
    truth: dict[str, I64]
    spare: dict[str, F32]  # queries that nothing is measured with, for methods that learn from some


def neighbours(shared: Path, *, rows: int, queries: int, k: int) -> Neighbours:
    """arXiv titles; queries are held-out titles, and sentences of abstracts (``shifted``)."""
    at = shared / "retrieval" / "arxiv60k"
    x = unit(np.load(at / "doc_title_minilm_f16.npy")[:rows])
    files = {"held-out": "heldout_title_minilm_f16.npy", "shifted": "query_minilm_f16.npy"}
    every = {name: unit(np.load(at / file)) for name, file in files.items()}
    asked = {name: q[:queries] for name, q in every.items()}
    truth = {name: exact(x, q, k) for name, q in asked.items()}
    return Neighbours(x, asked, truth, {name: q[queries:] for name, q in every.items()})


def exact(rows: F32, queries: F32, k: int) -> I64:
    """The ``k`` best rows by dot product."""
    return best(lambda q: q @ rows.T, queries, k)


def best(scores: Any, queries: F32, k: int) -> I64:
    """The ``k`` best rows for each query by ``scores(queries) -> [m, n]``, larger is better, best first."""
    found = []
    for i in range(0, len(queries), _BLOCK):
        s = scores(queries[i : i + _BLOCK])
        top = np.argpartition(s, -k, axis=1)[:, -k:]
        order = np.argsort(-np.take_along_axis(s, top, axis=1), axis=1, kind="stable")
        found.append(np.take_along_axis(top, order, axis=1))
    return np.concatenate(found)


def recall(found: I64, truth: I64) -> float:
    """The share of the true neighbours that were found."""
    return sum(len(np.intersect1d(f, t)) for f, t in zip(found, truth)) / truth.size


@dataclass
class Judged:
    """A judged collection: documents, queries, and grades by row numbers."""

    name: str
    docs: F32
    queries: F32
    grades: dict[int, dict[int, int]]

    def ndcg10(self, ranking: I64) -> float:
        """Mean nDCG@10 (gain 2^grade - 1) of ``ranking [m, >= 10]`` over the judged queries."""
        return float(np.mean(self.each(ranking)))

    def each(self, ranking: Any) -> NDArray[np.float64]:
        """The same of each judged query, from a ranking of every query, which may be short."""
        discounts = 1 / np.log2(np.arange(2, 12))
        values = []
        for query, judged in self.grades.items():
            gains = np.array([2.0 ** judged.get(int(doc), 0) - 1 for doc in ranking[query][:10]])
            ideal = np.sort([2.0**grade - 1 for grade in judged.values()])[::-1][:10]
            values.append(float(gains @ discounts[: gains.size]) / float(ideal @ discounts[: ideal.size]))
        return np.array(values)


def judged(shared: Path, name: str) -> Judged:
    """One of scifact (its test split), npl, cranfield, cisi."""
    at = shared / "retrieval" / name
    doc_rows = _numbers(at / "corpus.jsonl.gz")
    query_rows = _numbers(at / "queries.jsonl.gz")
    wanted = None
    if (at / "splits.json").exists():
        wanted = {str(q) for q in json.loads((at / "splits.json").read_text(encoding="utf-8"))["test"]}
    grades: dict[int, dict[int, int]] = {}
    with open(at / "qrels.tsv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if (wanted is None or row["query_id"] in wanted) and row["doc_id"] in doc_rows:
                query, doc = query_rows[row["query_id"]], doc_rows[row["doc_id"]]
                grades.setdefault(query, {})[doc] = int(row["relevance"])
    docs, queries = (unit(np.load(at / f"{what}_minilm_f16.npy")) for what in ("doc", "query"))
    return Judged(name, docs, queries, {q: g for q, g in grades.items() if any(g.values())})


def texts(shared: Path, name: str) -> tuple[list[str], list[str]]:
    """The documents (title and text) and the queries of a judged collection."""
    at = shared / "retrieval" / name
    return _texts(at / "corpus.jsonl.gz"), _texts(at / "queries.jsonl.gz")


def _texts(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [" ".join(filter(None, (row.get("title"), row.get("text")))) for row in rows]


def _numbers(path: Path) -> dict[str, int]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return {str(json.loads(line)["id"]): i for i, line in enumerate(file)}
