"""Text search: terms said twice, stems and stop words, over parts, changes, filters and other rankings."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.collection.collection import Collection
from nearfield.core.errors import BadInput, MissingExtra, Unsupported
from nearfield.numerics.porter2 import stem
from nearfield.store import tokenizers
from nearfield.store.stopwords import ENGLISH

Make = Callable[..., Collection]
WORDS = [
    *(f"walk{end}" for end in ("", "s", "ing", "ed")),
    "river",
    "rivers",
    "the",
    "of",
    "being",
    "ran",
    "runs",
    "stone",
]


def bm25(texts: dict[Any, str], query: str, stops: frozenset[str] = ENGLISH) -> dict[Any, float]:
    """The scores by the formula; each term as often as the query says it, stop words no part of query or length."""
    cut = {key: re.findall(r"[a-z0-9]+", text.lower()) for key, text in texts.items()}
    terms = {key: Counter(map(stem, words)) for key, words in cut.items()}
    lengths = {key: sum(word not in stops for word in words) for key, words in cut.items()}
    documents = sum(length > 0 for length in lengths.values())
    mean = sum(lengths.values()) / max(1, documents)
    asked = re.findall(r"[a-z0-9]+", query.lower())
    asked = [word for word in asked if word not in stops] or asked
    out: dict[Any, float] = {}
    for term, said in Counter(map(stem, asked)).items():
        frequency = sum(found[term] > 0 for found in terms.values())
        idf = math.log1p((max(documents, frequency) - frequency + 0.5) / (frequency + 0.5))
        for key, found in terms.items():
            if found[term]:
                norm = 1.2 * (0.25 + 0.75 * lengths[key] / mean)
                out[key] = out.get(key, 0) + said * idf * found[term] * 2.2 / (found[term] + norm)
    return out


def same(c: Collection, texts: dict[Any, str], query: str, **how: Any) -> None:
    want, found = bm25(texts, query), c.search(text=query, k=None, min_score=0.0, **how)
    if how:
        want = {key: want[key] for key in want if key in set(c.ids(how["where"]))}
    assert set(found.ids) == set(want), query
    assert np.allclose(found.scores, [want[key] for key in found.ids], rtol=1e-4)
    assert list(found.scores) == sorted(found.scores, reverse=True)


@pytest.mark.usefixtures("small_steps")
def test_scores_are_those_of_the_formula_while_rows_change(fresh: Make, rng: np.random.Generator) -> None:
    def text() -> str:
        return " ".join(rng.choice(WORDS, size=int(rng.integers(1, 12))))

    c = fresh(fields={})
    texts: dict[Any, str] = {f"r{i}": text() for i in range(150)} | {"only stops": "of the being"}
    keys = list(texts)
    for start in range(0, len(keys), 30):
        part = keys[start : start + 30]
        c.upsert(part, texts=[texts[key] for key in part], meta=[{"even": i % 2 == 0} for i in range(len(part))])
    assert c.info()["segments"] >= 1
    assert c.info()["tail_rows"] > 0
    queries = [
        "walk",
        "walking walks river",
        "the river of the stone",
        "of the",
        "run run run stone",
        "being",
        "nothing",
    ]
    for query in queries:
        same(c, texts, query)
        same(c, texts, query, where="even = true")
    c.delete(keys[:40])
    changed = {key: text() for key in keys[40:60]}
    c.upsert(list(changed), texts=list(changed.values()))
    texts = {key: value for key, value in texts.items() if key not in keys[:40]} | changed
    for query in queries:
        same(c, texts, query)
    c.compact()
    for query in queries:
        same(c, texts, query)


def test_a_term_said_twice_weighs_twice(fresh: Make) -> None:
    c = fresh(fields={})
    c.upsert(["a", "b"], texts=["warm socks", "dry boots"])
    assert c.search(text="warm boots dry", k=2).ids == ["b", "a"]
    once, twice = c.search(text="warm", k=1)[0].score, c.search(text="warm warms", k=1)[0].score
    assert np.isclose(twice, 2 * once)


def test_texts_join_other_rankings(fresh: Make) -> None:
    c = fresh(dim=2)
    c.upsert(["a", "b", "c"], np.eye(3, 2, dtype=np.float32) + 0.1, texts=["the river", "a stone", "walking stones"])
    told = c.search(np.array([1, 0.0]), text="stones of the river river", k=3, explain=True)
    assert set(told.ids) == {"a", "b", "c"}
    assert told.explain["searched"]["text"] == {"tokenizer": "snowball", "rows that hold a word": 3}
    ids = c.search(text="the stones", k=3).ids
    assert set(ids) == {"b", "c"}


def test_what_was_decided_is_kept_and_another_is_refused(fresh: Make, tmp_path: Path) -> None:
    own = "unicode61(stop_words=['stone'])"
    c = fresh("own", fields={}, tokenizer=nf.Tokenizer("unicode61", stop_words=["Stone"]))
    c.upsert(["a", "b"], texts=["stone river", "stones"])
    c.compact()
    assert c.search(text="stone river").ids == ["a"]
    assert c.search(text="stone").ids == ["a"]
    c.close()
    names = [p.name.partition(".")[2] for p in (tmp_path / "own/segments").iterdir()]
    assert any(re.fullmatch(r"unicode61-[0-9a-f]{8}\.nf", name) for name in names)
    with nf.open(tmp_path / "own", tokenizer=own) as again:
        assert again.search(text="river stone").ids == ["a"]
        assert again.check() == []
    for other in ("snowball", "unicode61", "unicode61(stop_words=['river'])"):
        with pytest.raises(Unsupported, match="has tokenizer"):
            nf.open(tmp_path / "own", tokenizer=other)


@pytest.mark.parametrize("name", ["porter", "unicode61", "ascii", "trigram", "snowball", "snowball(stop_words=None)"])
def test_every_tokenizer_finds_after_it_was_opened_again(name: str, tmp_path: Path) -> None:
    with nf.open(tmp_path / "c", fields={}, tokenizer=name) as c:
        c.upsert(list(range(30)), texts=[f"word{i} runs" for i in range(30)])
        c.compact()
        c.upsert([30], texts=["a word30 that runs"])
        before = c.search(text="word7 runs", k=40)
    with nf.open(tmp_path / "c", mode="r") as c:
        after = c.search(text="word7 runs", k=40)
    assert before.ids == after.ids
    assert before.ids[0] == 7
    assert len(before) == 31


def test_nothing_is_made_where_a_tokenizer_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "snowballstemmer", None)
    tokenizers._snowball.cache_clear()
    for given, error in (("snowball(language='german')", MissingExtra), ("klingon", BadInput), (3, BadInput)):
        with pytest.raises(error):
            nf.open(tmp_path / "c", fields={}, tokenizer=given)
        assert not (tmp_path / "c").exists()
