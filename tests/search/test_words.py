"""Tables of word vectors: look-up, similarity, conversion, tables made of others."""

from __future__ import annotations

import gzip
import itertools
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearfield.core.errors import BadInput, BadParameter, Corrupt, DataWarning, NotWritten, Unknown
from nearfield.search import words_index, words_table
from nearfield.search.words import Words, open_words
from nearfield.search.words_convert import convert
from nearfield.search.words_views import concat
from nearfield.store.io import write_npy

LETTERS = list("abcdefghijklmnopqrstuvwxyzäßç日本😀-' ")


def vocabulary(n: int, rng: np.random.Generator) -> list[str]:
    words = {"".join(rng.choice(LETTERS, size=rng.integers(1, 12))) for _ in range(2 * n)}
    return sorted(words)[:n]


@pytest.fixture
def vectors(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(300, 24)).astype(np.float32)


@pytest.fixture
def names(rng: np.random.Generator) -> list[str]:
    return vocabulary(300, rng)


@pytest.fixture
def table(names: list[str], vectors: np.ndarray, tmp_path: Path) -> Words:
    return convert((names, vectors), tmp_path / "w.nf")


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_it_is_a_dictionary_of_vectors(table: Words, names: list[str], vectors: np.ndarray) -> None:
    assert len(table) == 300
    assert table.dim == 24
    assert list(table) == names
    assert [word for word, _ in table.items()] == names
    np.testing.assert_array_equal(np.stack([vector for _, vector in table.items()]), vectors)
    for word, vector in zip(names, vectors):
        assert word in table
        np.testing.assert_array_equal(table[word], vector)
    for other in ("no such word", "", names[0] + "\0", names[0].upper() + "Q", "\ud800", 7, None, ["a"]):
        assert other not in table
    table.verify()


def test_batches_in_any_order_and_with_repeats(table: Words, names: list[str], vectors: np.ndarray) -> None:
    at = np.random.default_rng(1).integers(0, 300, size=1000)
    asked = [names[i] for i in at]
    np.testing.assert_array_equal(table.query(asked), vectors[at])
    np.testing.assert_array_equal(table.query(iter(asked)), vectors[at])
    np.testing.assert_array_equal(table[asked], vectors[at])
    np.testing.assert_array_equal(np.concatenate(list(table.stream(iter(asked), rows=64))), vectors[at])
    assert [len(block) for block in table.stream(asked, rows=600)] == [600, 400]
    assert table.query([]).shape == (0, 24)


def test_large_batches_are_looked_up_in_blocks(table: Words, names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [*names, "unknown word", *names[::-1]]
    whole = table.query(asked)
    monkeypatch.setattr(words_table, "BLOCK", 7)
    np.testing.assert_array_equal(table.query(asked), whole)
    assert list(table) == names


def test_what_it_returns_may_be_written_to(table: Words, names: list[str], vectors: np.ndarray) -> None:
    for made in (table[names[0]], table.query(names[:1]), table["unknown word"], table.query(["unknown word"])):
        kept = made.copy()
        made[:] = 7
        assert not np.array_equal(kept, made)
    np.testing.assert_array_equal(table[names[0]], vectors[0])
    assert not (table["unknown word"] == 7).any()


def test_words_of_one_checksum_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Weak:
        """A checksum with five values."""

        crc32 = staticmethod(lambda data: zlib.crc32(data) % 5)

    monkeypatch.setattr(words_index, "zlib", Weak)
    words = [f"word{i}" for i in range(100)]
    made = convert((words, np.arange(200.0).reshape(100, 2)), tmp_path / "w.nf")
    np.testing.assert_array_equal(made.query(words)[:, 0], np.arange(0, 200, 2))
    assert all(word in made for word in words)
    assert "word100" not in made
    assert (made.query(["word100", "word7"], unknown="zero")[:, 1] == [0, 15]).all()


def test_unknown_words_as_wanted(table: Words, names: list[str]) -> None:
    got = table.query([names[3], "no such word"], unknown="zero")
    assert not got[1].any()
    assert got[0].any()
    with pytest.raises(Unknown, match="'no such word' is not in the table"):
        table.query([names[3], "no such word"], unknown="raise")
    with pytest.raises(BadParameter, match="unknown"):
        table.query(["a"], unknown="ignore")  # type: ignore[arg-type]


# ---- similarity -----------------------------------------------------------------------------------
def plain_most_similar(names: list[str], x: np.ndarray, plus: list[Any], minus: list[Any], method: str) -> list[str]:
    """The definitions, in float64, over all words."""
    rows = {word: unit(v.astype(np.float64)) for word, v in zip(names, x)}
    a = [rows[p] if isinstance(p, str) else unit(p) for p in plus]
    b = [rows[p] if isinstance(p, str) else unit(p) for p in minus]
    scores = {}
    for word, row in rows.items():
        if word in [p for p in (*plus, *minus) if isinstance(p, str)]:
            continue
        if method == "3cosadd":
            scores[word] = row @ unit(sum(a) - sum(b, np.zeros(x.shape[1])))
        else:
            scores[word] = np.prod([(1 + row @ v) / 2 for v in a]) / (np.prod([(1 + row @ v) / 2 for v in b]) + 1e-6)
    return sorted(scores, key=lambda word: -scores[word])


@pytest.mark.parametrize("method", ["3cosadd", "3cosmul"])
def test_most_similar_is_its_definition(table: Words, names: list[str], vectors: np.ndarray, method: Any) -> None:
    free = np.random.default_rng(2).normal(size=24)
    for plus, minus in (
        (names[5], []),
        ([names[5]], []),
        ([names[5], names[9]], [names[70]]),
        (free, names[2]),
        ([free, names[1]], [-free]),
    ):
        got = table.most_similar(plus, minus, k=12, method=method)
        as_list = plus if isinstance(plus, list) else [plus]
        want = plain_most_similar(names, vectors, as_list, minus if isinstance(minus, list) else [minus], method)
        assert [word for word, _ in got] == want[:12]
        assert all(a[1] >= b[1] for a, b in itertools.pairwise(got))


def test_most_similar_takes_plain_lists_of_numbers_and_gives_all(table: Words, names: list[str]) -> None:
    assert len(table.most_similar(names[0], k=10**6)) == 299
    assert len(table.most_similar(table[names[0]], k=10**6)) == 300
    assert table.most_similar(table[names[0]].tolist(), k=1)[0][0] == names[0]
    assert table.most_similar(negative=names[0], positive=[], k=1)


def test_the_other_questions(table: Words, names: list[str], vectors: np.ndarray) -> None:
    units = unit(vectors.astype(np.float64))
    assert table.similarity(names[0], names[1]) == pytest.approx(float(units[0] @ units[1]), abs=1e-6)
    assert table.distance(names[0], vectors[1]) == pytest.approx(1 - float(units[0] @ units[1]), abs=1e-6)
    assert table.similarity(names[0], np.zeros(24)) == 0
    some = [0, 3, 4, 8, 9]
    odd = names[some[int(np.argmin(units[some] @ units[some].mean(axis=0)))]]
    assert table.doesnt_match([names[i] for i in some]) == odd
    nearest = names[some[1 + int(np.argmax(units[some[1:]] @ units[0]))]]
    assert table.most_similar_to_given(names[0], [names[i] for i in some[1:]]) == nearest
    assert table.analogy(names[0], names[1], names[2]) == table.most_similar([names[1], names[2]], [names[0]], 1)
    order = [i for i in np.argsort(-(units @ units[7])) if i != 7]
    assert table.closer_than(names[7], names[order[6]]) == [names[i] for i in order[:6]]
    assert table.closer_than(names[7], names[7]) == []
    assert table.closer_than(names[7], vectors[order[6]] * 3)[:6] == [names[i] for i in order[:6]]


def test_a_table_of_halves_answers_alike(names: list[str], vectors: np.ndarray, tmp_path: Path) -> None:
    half = convert((names, vectors), tmp_path / "h.nf", dtype="float16")
    whole = convert((names, vectors.astype(np.float16)), tmp_path / "w.nf")
    assert half.nbytes < whole.nbytes
    np.testing.assert_array_equal(half.query(names), whole.query(names))
    assert half.query(names).dtype == half[names[0]].dtype == np.float32
    for (a, s), (b, t) in zip(half.most_similar(names[4]), whole.most_similar(names[4])):
        assert a == b
        assert s == pytest.approx(t, abs=1e-6)


def test_zero_vectors_are_similar_to_nothing(tmp_path: Path) -> None:
    made = convert((["nil", "one", "two"], np.array([[0, 0], [1, 0], [0, 2.0]])), tmp_path / "w.nf", normalize=True)
    np.testing.assert_array_equal(made.query(["nil", "two"]), [[0, 0], [0, 1]])
    assert made.most_similar("one", k=3) == [("nil", 0.0), ("two", 0.0)]
    assert made.similarity("nil", "one") == 0
    assert np.isfinite(made["nill"]).all()


BAD: dict[str, tuple[Any, str]] = {
    "one text": (lambda t: t.query("text"), "expected a list of words"),
    "bytes": (lambda t: t.query([b"text"]), "got bytes b'text' at place 0"),
    "number": (lambda t: t.query(["a", 3]), "got int 3 at place 1"),
    "nothing": (lambda t: t.query(None), "got NoneType None"),
    "stream of a text": (lambda t: list(t.stream("text")), "put it in a list"),
    "no words": (lambda t: t.doesnt_match([]), "at least one word"),
    "none given": (lambda t: t.most_similar_to_given("a", []), "at least one word"),
    "no positive": (lambda t: t.most_similar([]), "at least one word or vector"),
    "short vector": (lambda t: t.most_similar(np.ones(3)), "a vector of 24 numbers"),
    "ragged": (lambda t: t.similarity("a", [[1], [2, 3]]), "a vector of 24 numbers"),
    "NaN": (lambda t: t.most_similar(np.full(24, np.nan)), "NaN"),
    "k of zero": (lambda t: t.most_similar("a", k=0), "k: expected"),
    "k of a half": (lambda t: t.most_similar("a", k=2.5), "k: expected"),
    "positive of a number": (lambda t: t.most_similar(3), "positive: expected"),
    "no dims": (lambda t: t.take(0), "dims: expected"),
    "dims twice": (lambda t: t.take([1, 1]), "dims: expected"),
    "dims beyond": (lambda t: t.take(25), "dims: expected"),
    "dims of text": (lambda t: t.take("ab"), "dims: expected"),
    "dims of None": (lambda t: t.take(None), "dims: expected"),
    "one table": (lambda t: concat(t), "two tables"),
    "no table": (lambda t: concat(t, "w.nf"), "two tables"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_questions_are_refused_in_one_line(table: Words, case: str) -> None:
    ask, words = BAD[case]
    with pytest.raises(BadInput, match=words) as caught:
        ask(table)
    assert "\n" not in str(caught.value)


def test_wrong_options_are_refused(table: Words) -> None:
    with pytest.raises(BadParameter, match="method"):
        table.most_similar("a", method="cosine")  # type: ignore[arg-type]
    with pytest.raises(BadParameter, match="rows"):
        list(table.stream(["a"], rows=0))


# ---- tables made of others ------------------------------------------------------------------------
def test_several_tables_as_one(names: list[str], vectors: np.ndarray, tmp_path: Path) -> None:
    first = convert((names[:200], vectors[:200, :10]), tmp_path / "a.nf")
    second = convert((names[100:][::-1], vectors[100:, 10:][::-1]), tmp_path / "b.nf", dtype="float16")
    joined = concat(first, second)
    assert joined.dim == 24
    assert list(joined) == names[100:200]
    assert names[150] in joined
    assert names[50] not in joined
    shared = np.concatenate([vectors[100:200, :10], vectors[100:200, 10:].astype(np.float16)], axis=1)
    np.testing.assert_array_equal(joined.query(names[100:200]), shared)
    np.testing.assert_array_equal(joined[names[50]], np.concatenate([first[names[50]], second[names[50]]]))
    want = plain_most_similar(names[100:200], shared, [names[130]], [names[140]], "3cosadd")
    assert [word for word, _ in joined.most_similar(names[130], names[140], k=9)] == want[:9]
    assert not joined.query(["no such word"], unknown="zero").any()
    with pytest.raises(Unknown):
        joined.query([names[50]], unknown="raise")
    whole = convert((names[100:200], shared), tmp_path / "c.nf")
    assert joined.doesnt_match(names[110:120]) == whole.doesnt_match(names[110:120])
    assert joined.closer_than(names[110], names[120]) == whole.closer_than(names[110], names[120])


def test_tables_without_a_word_in_common(names: list[str], vectors: np.ndarray, tmp_path: Path) -> None:
    first = convert((names[:9], vectors[:9]), tmp_path / "a.nf")
    joined = concat(first, convert((names[9:], vectors[9:]), tmp_path / "b.nf"))
    assert len(joined) == 0
    assert list(joined) == []
    assert joined.query(names).shape == (300, 48)
    assert joined.most_similar(names[0]) == []
    assert joined.closer_than(names[0], names[1]) == []


def test_some_dimensions_as_a_table(table: Words, names: list[str], vectors: np.ndarray, tmp_path: Path) -> None:
    for dims in (7, [3, 1, 20], np.array([5]), range(24)):
        part = table.take(dims)
        chosen = list(range(dims)) if isinstance(dims, int) else list(dims)
        np.testing.assert_array_equal(part.query(names), vectors[:, chosen])
        np.testing.assert_array_equal(part["no such word"], table["no such word"][chosen])
        assert list(part) == names
        if len(chosen) > 1:
            want = plain_most_similar(names, vectors[:, chosen], [names[4]], [], "3cosadd")
            assert [word for word, _ in part.most_similar(names[4], k=8)] == want[:8]
    assert concat(table.take(5), table.take([7]))[names[0]].shape == (6,)
    assert table.take(9).take([2, 0])[names[0]].tolist() == vectors[0, [2, 0]].tolist()


# ---- conversion -----------------------------------------------------------------------------------
def write_text(path: Path, names: list[str], x: np.ndarray, head: bool) -> Path:
    lines = [f"{len(x)} {x.shape[1]}"] if head else []
    lines += [f"{word} {' '.join(repr(float(v)) for v in row)}" for word, row in zip(names, x)]
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_bin(path: Path, names: list[str], x: np.ndarray) -> Path:
    body = b"".join(word.encode() + b" " + row.astype("<f4").tobytes() + b"\n" for word, row in zip(names, x))
    path.write_bytes(f"{len(x)} {x.shape[1]}\n".encode() + body)
    return path


@pytest.mark.parametrize("kind", ["w.vec", "w.txt", "w.vec.gz", "w.bin", "w.npy", "list"])
def test_every_kind_of_source(kind: str, vectors: np.ndarray, rng: np.random.Generator, tmp_path: Path) -> None:
    names = [f"w{word.replace(' ', '_')}" for word in vocabulary(300, rng)]
    path = tmp_path / kind
    given: dict[str, Any] = {}
    if kind == "w.bin":
        write_bin(path, names, vectors)
    elif kind == "w.npy":
        write_npy(path, vectors)
        (tmp_path / "ids.txt").write_text("\n".join(names))
        given["ids"] = tmp_path / "ids.txt"
    elif kind != "list":
        write_text(path, names, vectors, head=kind != "w.txt")
    made = convert((names, vectors) if kind == "list" else path, tmp_path / "out.nf", **given)
    assert list(made) == names
    np.testing.assert_array_equal(made.query(names), vectors)
    few = convert((names, vectors) if kind == "list" else path, tmp_path / "few.nf", limit=7, **given)
    assert list(few) == names[:7]
    made.verify()


def test_an_encoder_makes_the_vectors(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("river\nbank\nmoney\n")
    told: list[tuple[str, int, int]] = []
    a = convert(tmp_path / "words.txt", tmp_path / "a.nf", encoder="static", progress=lambda *p: told.append(p))
    b = convert(["river", "bank", "money"], tmp_path / "b.nf", encoder="static", limit=2)
    np.testing.assert_array_equal(a.query(["river", "bank"]), b.query(["river", "bank"]))
    assert len(b) == 2
    assert told[-1] == ("convert", 3, 3)


def test_words_that_come_twice_keep_their_first_vector(tmp_path: Path) -> None:
    x = np.arange(12.0).reshape(6, 2)
    with pytest.warns(DataWarning, match="2 of 6 came before, in row 2, 5"):
        made = convert((["a", "b", "a", "c", "d", "d"], x), tmp_path / "w.nf")
    assert list(made) == list("abcd")
    np.testing.assert_array_equal(made.query(list("abcd")), x[[0, 1, 3, 4]])


WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "fewer words": ((["a"], np.ones((2, 2))), {}, "a word for each of 2 vectors, got 1"),
    "more words": ((["a", "b", "c"], np.ones((2, 2))), {}, "a word for each of 2 vectors, got 3"),
    "blank": ((["a", ""], np.ones((2, 2))), {}, "got 0 in row 1"),
    "number": ((["a", 3], np.ones((2, 2))), {}, "got int in row 1"),
    "surrogate": ((["ab", "c\ud800"], np.ones((2, 2))), {}, "half a surrogate pair in row 1"),
    "long": ((["a" * 70_000], np.ones((1, 2))), {}, "1 to 65536 characters"),
    "none": (([], np.ones((0, 2))), {}, "at least one word"),
    "NaN": ((["a", "b"], np.array([[1, 2], [np.nan, 1]])), {}, "row 1"),
    "too large for float16": ((["a", "b"], np.array([[1, 2], [1e5, 1]])), {"dtype": "float16"}, "larger in row 1"),
    "flat": ((["a"], np.ones(2)), {}, "2-D"),
    "no source": (7, {}, "source: expected"),
    "no file": ("no_such.vec", {}, "no such file"),
    "ids and words": ((["a"], np.ones((1, 2))), {"ids": ["a"]}, "leave ids out"),
    "ids and encoder": (["a"], {"ids": ["a"], "encoder": "static"}, "leave ids out"),
    "texts without encoder": (["a"], {}, "source: expected"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_converted_leaves_no_file(case: str, tmp_path: Path) -> None:
    source, options, words = WRONG[case]
    with pytest.raises(BadInput, match=words) as caught:
        convert(source, tmp_path / "w.nf", **options)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_wrong_targets_and_options(tmp_path: Path) -> None:
    pair = (["a"], np.ones((1, 2)))
    with pytest.raises(BadParameter, match="dtype"):
        convert(pair, tmp_path / "w.nf", dtype="int8")  # type: ignore[arg-type]
    with pytest.raises(BadParameter, match="limit"):
        convert(pair, tmp_path / "w.nf", limit=0)
    for out in (None, 3, "a\0b", tmp_path / "no" / "folder.nf", tmp_path):
        with pytest.raises((BadInput, NotWritten)):
            convert(pair, out)  # type: ignore[arg-type]
    write_npy(tmp_path / "x.npy", np.ones((3, 2)))
    with pytest.raises(BadInput, match="has vectors and no words"):
        convert(tmp_path / "x.npy", tmp_path / "w.nf")


def test_other_files_are_refused(tmp_path: Path) -> None:
    import nearfield as nf

    nf.Plan("raw()").fit(np.eye(4, dtype=np.float32)).save(tmp_path / "p.nf")
    with pytest.raises(BadInput, match="kind 'words', got 'packed'"):
        open_words(tmp_path / "p.nf")
    (tmp_path / "x.nf").write_text("no table")
    with pytest.raises(Corrupt):
        open_words(tmp_path / "x.nf")
    with pytest.raises(BadInput, match="no such file"):
        open_words(tmp_path / "y.nf")


def test_another_process_sees_the_same(table: Words, names: list[str]) -> None:
    code = (
        "import sys, hashlib\nfrom nearfield.search.words import open_words\n"
        "w = open_words(sys.argv[1])\nprint(hashlib.sha256(w.query([*w, 'unheard', 'of']).tobytes()).hexdigest())"
    )
    import hashlib

    told = subprocess.run([sys.executable, "-c", code, table.path], capture_output=True, text=True, check=True).stdout
    assert told.strip() == hashlib.sha256(table.query([*names, "unheard", "of"]).tobytes()).hexdigest()
