"""Encoders of texts beside each other: nDCG@10 of judged collections, Spearman of scored sentences, texts a second.

Every encoder sees the same texts, a title before its text. Lower case is a choice of the peer that keeps capitals:
queries in capitals alone (npl) would be lost to it, so its better form is measured (``wordllama lower``).
"""

from __future__ import annotations

import csv
import gzip
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import data, results
from bench.results import Keeper, Row

F64 = NDArray[np.float64]
Encode = Callable[[list[str]], data.F32]
_DRAWS = 10_000  # bootstrap samples


@dataclass
class Texts:
    """A judged collection as texts, with grades by row numbers."""

    name: str
    docs: list[str]
    queries: list[str]
    grades: dict[int, dict[int, int]]

    def scores(self, encode: Encode) -> F64:
        """nDCG@10 (gain 2^grade - 1) of each judged query, in the order of its number."""
        docs, asked = data.unit(encode(self.docs)), sorted(self.grades)
        found = data.best(lambda q: q @ docs.T, data.unit(encode([self.queries[i] for i in asked])), 10)
        discounts = 1 / np.log2(np.arange(2, 12))
        out = []
        for query, top in zip(asked, found, strict=True):
            judged = self.grades[query]
            gains = np.array([2.0 ** judged.get(int(doc), 0) - 1 for doc in top])
            ideal = np.sort([2.0**grade - 1 for grade in judged.values()])[::-1][:10]
            out.append(float(gains @ discounts) / float(ideal @ discounts[: ideal.size]))
        return np.array(out)


@dataclass
class Scored:
    """Pairs of sentences whose likeness people scored."""

    name: str
    left: list[str]
    right: list[str]
    wanted: F64

    def scores(self, encode: Encode) -> F64:
        """The cosine of each pair."""
        a, b = data.unit(encode(self.left)), data.unit(encode(self.right))
        return np.einsum("ij,ij->i", a, b).astype(np.float64)


Set = Texts | Scored


def read(shared: Path, name: str) -> Set:
    """A set by its name: a folder of ``retrieval`` (scifact: its test split), or ``stsb`` (its test split)."""
    if name == "stsb":
        rows = [row for row in _lines(shared / "sts" / "stsb_en.jsonl.gz") if row["split"] == "test"]
        wanted = np.array([row["score"] for row in rows], dtype=np.float64)
        return Scored(name, [r["sentence1"] for r in rows], [r["sentence2"] for r in rows], wanted)
    at = shared / "retrieval" / name
    papers = at / "papers.jsonl.gz"
    rows = _lines(papers if papers.exists() else at / "corpus.jsonl.gz")
    docs = [f"{row.get('title', '')} {row.get('text', row.get('abstract', ''))}".strip() for row in rows]
    asked = _lines(at / "queries.jsonl.gz")
    doc_rows = {str(row["id"]): i for i, row in enumerate(rows)}
    query_rows = {str(row["id"]): i for i, row in enumerate(asked)}
    splits = at / "splits.json"
    wanted_ids = {str(q) for q in json.loads(splits.read_text(encoding="utf-8"))["test"]} if splits.exists() else None
    grades: dict[int, dict[int, int]] = {}
    with open(at / "qrels.tsv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if (wanted_ids is None or row["query_id"] in wanted_ids) and row["doc_id"] in doc_rows:
                grades.setdefault(query_rows[row["query_id"]], {})[doc_rows[row["doc_id"]]] = int(row["relevance"])
    return Texts(name, docs, [row["text"] for row in asked], {q: g for q, g in grades.items() if any(g.values())})


def _lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def spearman(a: F64, b: F64) -> float:
    """Spearman's correlation; equal values share their mean rank."""
    x, y = _ranks(a), _ranks(b)
    return float(np.corrcoef(x, y)[0, 1])


def _ranks(x: F64) -> F64:
    _, places, counts = np.unique(x, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return ((ends - (counts - 1) / 2)[places]).astype(np.float64)


def measure(each: Set, scores: F64) -> float:
    """The figure of a set: mean nDCG@10, or Spearman's correlation."""
    return float(scores.mean()) if isinstance(each, Texts) else spearman(scores, each.wanted)


def interval(each: Set, ours: F64, theirs: F64 | None = None, draws: int = _DRAWS) -> tuple[float, float]:
    """95% of a figure, or of the difference of two, over queries (pairs) drawn anew, the same for both."""
    rng, found = np.random.default_rng(0), []
    draws = draws if isinstance(each, Texts) else draws // 10  # ranks are slower to draw anew
    for _ in range(draws):
        rows = rng.integers(0, len(ours), len(ours))
        if isinstance(each, Texts):
            value = ours[rows].mean() - (0 if theirs is None else theirs[rows].mean())
        else:
            value = spearman(ours[rows], each.wanted[rows])
            value -= 0 if theirs is None else spearman(theirs[rows], each.wanted[rows])
        found.append(value)
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def made(name: str) -> Encode:
    """An encoder by its name: ``static``, ``static REVISION``, ``wordllama`` or ``wordllama lower``."""
    engine, _, form = name.partition(" ")
    if engine == "static":
        from nearfield.encoders.static import Static

        return Static(form or None).encode
    if engine != "wordllama":
        raise ValueError(f"encoders: expected static or wordllama, got {name!r}")
    import wordllama

    folder = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
    if form == "lower":
        return lambda texts: np.asarray(model.embed([text.lower() for text in texts]))
    return lambda texts: np.asarray(model.embed(list(texts)))


def run(suite: dict[str, Any], shared: Path, keeper: Keeper, *, quick: bool) -> None:
    """Measure every encoder on every set; the first is compared with the others, query by query."""
    sets = [read(shared, name) for name in suite["sets"][: 1 if quick else None]]
    first: dict[str, F64] = {}
    for name in suite["encoders"]:
        try:
            encode = made(name)
        except Exception as error:  # a peer that is missing must not end the run
            results.skipped(name, error)
            continue
        found = {each.name: each.scores(encode) for each in sets}
        first = first or found
        row: Row = {"part": "encoder", "engine": name.split()[0], "name": name, "sets": {}}
        for each in sets:
            row["sets"][each.name] = _compared(each, found[each.name], first[each.name])
        row["texts_per_s"] = round(_speed(encode, sets), 1)
        figures = "  ".join(f"{s} {m['value']:.4f}" for s, m in row["sets"].items())
        keeper.keep(row, f"{name:18}  {figures}  {row['texts_per_s']:g} texts/s")


def _compared(each: Set, scores: F64, first: F64) -> Row:
    out: Row = {"n": len(scores), "value": round(measure(each, scores), 5)}
    out["interval"] = [round(v, 5) for v in interval(each, scores)]
    if scores is not first:
        out["first_ahead"] = round(measure(each, first) - measure(each, scores), 5)
        out["first_minus_this"] = [round(v, 5) for v in interval(each, first, scores)]
    return out


def _speed(encode: Encode, sets: list[Set]) -> float:
    """Documents of the first judged collection a second of CPU time, best of three."""
    docs = next(each.docs for each in sets if isinstance(each, Texts))
    encode(docs[:100])
    took = []
    for _ in range(3):
        start = time.process_time()
        encode(docs)
        took.append(time.process_time() - start)
    return len(docs) / min(took)
