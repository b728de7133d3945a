"""How texts are cut into terms: the line of text that names it, stems, stop words, and lists that fit it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from nearfield.core.errors import BadInput, MissingExtra
from nearfield.store import tokenizers
from nearfield.store.textindex import TextIndex, query_terms
from nearfield.store.tokenizers import Tokenizer, as_tokenizer, read

TEXTS = [
    "The socks are warm, and the warm socks are dry", "running in the rain", None, "to be or not to be", "",
    "Été à Naïve",
]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("snowball", "snowball"), ("porter", "porter"), ("trigram", "trigram"), (" ascii ", "ascii"),
        ("snowball()", "snowball"), ("snowball(language='english', stop_words='english')", "snowball"),
        ("snowball(stop_words=None)", "snowball(stop_words=None)"), ("unicode61(stop_words=None)", "unicode61"),
        ("snowball(stop_words=[])", "snowball(stop_words=None)"),
        ("unicode61(stop_words=['The', 'a', 'the'])", "unicode61(stop_words=['a', 'the'])"),
        ("snowball(language='german')", "snowball(language='german')"),
        (Tokenizer("ascii", stop_words={"x"}), "ascii(stop_words=['x'])"),
    ],
)  # fmt: skip
def test_one_line_says_it_all(given: str | Tokenizer, text: str) -> None:
    made = as_tokenizer(given)
    assert str(made) == text
    assert read(text) == made
    assert tokenizers.sound(text)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("english", "expected one of snowball, porter, unicode61, ascii, trigram, got 'english'"),
        ("snowball(", "or a call such as"), ("snowball('german')", "or a call such as"), ("", "or a call such as"),
        ("porter'); DROP TABLE tail; --", "or a call such as"), ("snowball(stop_words=open('x'))", "or a call such as"),
        ("snowball(words=['a'])", "takes language= and stop_words=, got words="),
        ("porter(stop_words=['a'])", "porter takes no stop_words="),
        ("trigram(language='german')", "takes no language="),
        ("snowball(stop_words='german')", "expected 'english', a list of words or None, got 'german'"),
        ("snowball(stop_words=[1])", "expected words, got 1"), ("snowball(stop_words=[' '])", "expected words"),
        ("snowball(stop_words=7)", "a list of words or None, got 7"), ("snowball(language='../x')", "expected a name"),
        (7, "expected a name such as 'snowball' or a Tokenizer, got int"),
    ],
)  # fmt: skip
def test_what_it_is_not_is_refused_in_a_line(given: object, told: str) -> None:
    with pytest.raises(BadInput) as error:
        as_tokenizer(given)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_term_said_twice_counts_twice() -> None:
    assert query_terms("Warm socks, warmer feet: WARM", read("snowball")) == [
        ("feet", 1),
        ("sock", 1),
        ("warm", 2),
        ("warmer", 1),
    ]
    assert query_terms("warm warms", read("porter")) == [("warm", 2)]
    assert query_terms("warm warms warm", read("unicode61")) == [("warm", 2), ("warms", 1)]
    assert dict(query_terms("aaaa", read("trigram"))) == {"aaa": 2}


def test_stop_words_are_left_out_unless_a_query_has_no_other() -> None:
    assert query_terms("what is the warmest of socks", read("snowball")) == [("sock", 1), ("warmest", 1)]
    assert query_terms("To be or not to be", read("snowball")) == [("be", 2), ("not", 1), ("or", 1), ("to", 2)]
    assert query_terms("is the", read("snowball(stop_words=None)")) == [("is", 1), ("the", 1)]
    own = Tokenizer("unicode61", stop_words=["Don't", "ÉTÉ"])
    assert query_terms("don't wear them in été", own) == [("in", 1), ("them", 1), ("wear", 1)]
    assert query_terms("", own) == []


def test_a_stop_word_is_known_before_it_is_stemmed() -> None:
    only = Tokenizer(stop_words=["owned"])
    assert query_terms("owned owning", only) == [("own", 1)]


@pytest.mark.parametrize("name", ["snowball", "porter", "unicode61", "ascii", "unicode61(stop_words=['the'])"])
def test_texts_and_queries_have_the_same_terms(name: str) -> None:
    how = read(name)
    index = TextIndex.build(TEXTS, how)
    for row, text in enumerate(TEXTS):
        for term, said in query_terms(text or "", how):
            rows, counts = index.find(term)
            assert dict(zip(rows.tolist(), counts.tolist())).get(row) == said


def test_stop_words_are_in_the_lists_and_not_in_lengths() -> None:
    index = TextIndex.build(TEXTS, read("snowball"))
    assert index.lengths.tolist() == [5, 2, 0, 0, 0, 2]
    assert index.find("be")[0].tolist() == [3]


def test_lists_of_another_tokenizer_or_stemmer_are_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how, path = read("snowball(stop_words=None)"), tmp_path / "lists.nf"
    TextIndex.build(TEXTS, how).save(path, how)
    assert TextIndex.load(path, how, len(TEXTS)) is not None
    assert TextIndex.load(path, read("snowball"), len(TEXTS)) is None
    monkeypatch.setattr(Tokenizer, "made_by", "snowballstemmer 9.9")
    assert TextIndex.load(path, how, len(TEXTS)) is None


def test_other_languages_are_stemmed() -> None:
    pytest.importorskip("snowballstemmer")
    german = read("snowball(language='german')")
    german.check()
    index = TextIndex.build(["Die Häuser der Stadt", "Ein Buch"], german)
    ((term, _),) = query_terms("Häusern", german)
    assert index.find(term)[0].tolist() == [0]
    assert german.made_by.startswith("snowballstemmer ")
    with pytest.raises(BadInput, match=r"language: expected one of .*german.*, got 'klingon'"):
        read("snowball(language='klingon')").check()


def test_stemmers_are_not_shared_between_threads() -> None:
    pytest.importorskip("snowballstemmer")
    how, wrong = read("snowball(language='french')"), []
    words = [f"continu{end}" for end in ("ait", "ation", "ellement", "er", "ité")] * 400
    want = list(map(how.stem(), words))

    def work() -> None:
        if list(map(how.stem(), words)) != want:
            wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_missing_stemmer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "snowballstemmer", None)
    tokenizers._snowball.cache_clear()
    read("snowball").check()  # English needs nothing
    with pytest.raises(MissingExtra, match=r"pip install 'nearfield\[snowball\]'"):
        read("snowball(language='italian')").check()
