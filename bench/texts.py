"""nDCG@10 of searching texts by words, on collections whose relevance people judged: every tokenizer, beside bm25s.

Each value has a 95% interval over its queries, and differences from bm25s with stems are paired query by query.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import nearfield as nf
from bench import data, results
from bench.results import Keeper, Row

Values = NDArray[np.float64]
Ranker = Callable[[list[str], list[str]], list[list[int]]]  # documents and queries to the ten best rows of each query
AGAINST = "stems, stop words"  # the setting of bm25s that others are compared with
DRAWS = 2_000


def run(suite: dict[str, Any], sets: list[data.Judged], shared: Path, keeper: Keeper) -> None:
    """Measure bm25s as it is published and with stems, then each tokenizer."""
    texts = {each.name: data.texts(shared, each.name) for each in sets}
    rankers: list[tuple[str, str, Ranker]] = [
        ("bm25s", name, lambda d, q, h=how: bm25s(d, q, **h)) for name, how in PEERS.items()
    ]
    rankers += [("nearfield", t, lambda d, q, t=t: nearfield(d, q, t)) for t in suite["tokenizers"]]
    against: dict[str, Values] = {}
    for engine, name, rank in rankers:
        try:
            found = {each.name: each.each(rank(*texts[each.name])) for each in sets}
        except Exception as error:  # a peer that is not installed must not end the run
            results.skipped(f"{engine}: {name}", error)
            continue
        if (engine, name) == ("bm25s", AGAINST):
            against = found
        row = _row(engine, name, found, against)
        keeper.keep(row, _line(row))


PEERS: dict[str, dict[str, Any]] = {
    "stems, stop words": {"language": "english", "stop_words": "en"},
    "stems": {"language": "english", "stop_words": []},
    "as published": {"language": None, "stop_words": "en"},
}


def bm25s(documents: list[str], queries: list[str], language: str | None, stop_words: Any) -> list[list[int]]:
    """The peer as its documentation uses it (Lucene's formula, k1 1.5, b 0.75)."""
    import bm25s as peer

    stemmer = None
    if language is not None:
        import Stemmer

        stemmer = Stemmer.Stemmer(language)
    how = {"stopwords": stop_words, "stemmer": stemmer, "show_progress": False}
    index = peer.BM25()
    index.index(peer.tokenize(documents, **how), show_progress=False)
    rows, scores = index.retrieve(peer.tokenize(queries, **how), k=10, show_progress=False)
    return [[int(r) for r, s in zip(each, values) if s > 0] for each, values in zip(rows, scores)]


def nearfield(documents: list[str], queries: list[str], tokenizer: str) -> list[list[int]]:
    """A Collection of the texts, asked by text."""
    with (
        tempfile.TemporaryDirectory() as folder,
        nf.open(Path(folder) / "texts", fields={}, tokenizer=tokenizer, durability="relaxed") as rows,
    ):
        rows.upsert(list(range(len(documents))), texts=documents)
        return [rows.search(text=query, k=10).ids if query else [] for query in queries]


def _row(engine: str, name: str, found: dict[str, Values], against: dict[str, Values]) -> Row:
    measured: dict[str, Any] = {}
    for of, values in found.items():
        low, high = _interval(values)
        measured[of] = {"ndcg10": round(float(values.mean()), 5), "low": low, "high": high, "queries": len(values)}
        if of in against:
            low, high = _interval(values - against[of])
            ahead = round(float((values - against[of]).mean()), 5)
            measured[of] |= {"ahead": ahead, "ahead_low": low, "ahead_high": high}
    return {"part": "text", "engine": engine, "name": name, "sets": measured}


def _interval(values: Values) -> tuple[float, float]:
    """Of the mean: 95% of the means of queries drawn anew, with replacement."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), size=(DRAWS, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return round(float(low), 5), round(float(high), 5)


def _line(row: Row) -> str:
    told = ", ".join(
        f"{of} {m['ndcg10']:.4f} ({m['low']:.3f}-{m['high']:.3f})"
        + (f" {m['ahead']:+.4f} ({m['ahead_low']:+.3f} to {m['ahead_high']:+.3f})" if "ahead" in m else "")
        for of, m in row["sets"].items()
    )
    return f"{row['engine']}: {row['name']}: {told}"
