"""The stemmer gives what Snowball's English stemmer gives."""

from __future__ import annotations

import gzip
import random
import re
from pathlib import Path

import pytest

from nearfield.numerics.porter2 import stem

# Each branch of the algorithm, as Snowball 3.1 stems it.
KNOWN = {
    "a": "a", "is": "is", "consign": "consign", "consigned": "consign", "consisting": "consist", "knack": "knack",
    "caresses": "caress", "ponies": "poni", "ties": "tie", "cries": "cri", "gas": "gas", "gaps": "gap",
    "kiwis": "kiwi", "us": "us", "bus": "bus", "agreed": "agre", "agreedly": "agre", "feed": "feed",
    "proceed": "proceed", "exceeding": "exceed", "dying": "die", "lying": "lie", "inning": "inning", "outing": "outing",
    "luxuriated": "luxuri", "hopping": "hop", "hoping": "hope", "adding": "add", "egging": "egg", "failing": "fail",
    "troubled": "troubl", "sized": "size", "cry": "cri", "by": "by", "say": "say", "youth": "youth",
    "rational": "ration", "relational": "relat", "conditional": "condit", "vietnamization": "vietnam",
    "psychology": "psycholog", "geologist": "geolog", "possibly": "possibl", "hopefulness": "hope",
    "adoption": "adopt", "communion": "communion", "decision": "decis", "generously": "generous", "arsenal": "arsenal",
    "universal": "universal", "universities": "universiti", "formative": "format", "electrical": "electr",
    "replacement": "replac", "adjustment": "adjust", "controlling": "control", "roll": "roll", "probate": "probat",
    "rate": "rate", "cease": "ceas", "skies": "sky", "news": "news", "only": "onli", "early": "earli",
    "pasted": "paste",
    "paste": "paste", "interesting": "interest", "yellow": "yellow", "sayyid": "sayyid", "été": "été",
    "日本語": "日本語",
}  # fmt: skip


@pytest.mark.parametrize("word", KNOWN)
def test_words_are_stemmed_as_snowball_does(word: str) -> None:
    assert stem(word) == KNOWN[word]


def test_every_word_of_real_texts_is_stemmed_as_snowball_does(data: Path) -> None:
    """And made-up ones: beginnings of words with one or two endings."""
    theirs = pytest.importorskip("snowballstemmer.english_stemmer").EnglishStemmer()
    if tuple(map(int, pytest.importorskip("importlib.metadata").version("snowballstemmer").split(".")[:2])) < (3, 0):
        pytest.skip("the algorithm was changed in Snowball 3.0")
    words: set[str] = set()
    for name in ("cisi", "cranfield"):
        with gzip.open(data / "retrieval" / name / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
            words |= set(re.findall(r"[^\W_]+", file.read().lower()))
    chance, real = random.Random(0), sorted(words)
    ends = [
        "ing",
        "ed",
        "s",
        "ies",
        "ied",
        "ly",
        "edly",
        "eed",
        "ation",
        "ational",
        "izer",
        "fulness",
        "ative",
        "ical",
        "ance",
        "ement",
        "ion",
        "y",
        "e",
        "l",
        "ll",
        "li",
        "ogi",
        "us",
    ]
    for _ in range(10_000):
        words.add(chance.choice(real)[: chance.randint(1, 7)] + chance.choice(ends) + chance.choice(["", *ends]))
    assert [w for w in sorted(words) if stem(w) != theirs.stemWord(w)] == []
