"""Words that a table lacks: deterministic vectors, near those of the words most like them."""

from __future__ import annotations

import difflib
import itertools
from pathlib import Path

import numpy as np
import pytest

from nearfield.search import words_index
from nearfield.search.words import Words
from nearfield.search.words_convert import convert
from nearfield.search.words_index import PairIndex, pairs_of
from nearfield.search.words_unknown import LONGEST, blend, edit_distances, random_part, shrunk, similar_rows, stem

TEXT = (
    "the of king queen kingdom volcano river banana letter running runner house houses misspelling dispelling "
    "government governor believe receive friend friendly NASA Paris berlin good goods god straße 日本語 naïve"
)
WORDS = TEXT.split()


@pytest.fixture
def table(tmp_path: Path, rng: np.random.Generator) -> Words:
    return convert((WORDS, rng.normal(size=(len(WORDS), 64))), tmp_path / "w.nf")


def similar(table: Words, word: str) -> list[str]:
    rows = similar_rows(word, table._row_of, table._pairs.nearest, table._word)
    return [table._word(int(row)) for row in rows]


def plain_distance(a: str, b: str) -> int:
    """Optimal string alignment, cell by cell."""
    cell = {(i, 0): i for i in range(len(a) + 1)} | {(0, j): j for j in range(len(b) + 1)}
    for i, j in itertools.product(range(1, len(a) + 1), range(1, len(b) + 1)):
        cell[i, j] = min(cell[i - 1, j] + 1, cell[i, j - 1] + 1, cell[i - 1, j - 1] + (a[i - 1] != b[j - 1]))
        if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
            cell[i, j] = min(cell[i, j], cell[i - 2, j - 2] + 1)
    return cell[len(a), len(b)]


def test_edits_are_those_of_the_plain_table() -> None:
    rng = np.random.default_rng()
    words = ["".join(rng.choice(list("abcé日"), size=rng.integers(0, 9))) for _ in range(60)]
    for word in [*words[:15], ""]:
        assert edit_distances(word, words).tolist() == [plain_distance(word, other) for other in words]
    assert edit_distances("abc", []).tolist() == []
    assert edit_distances("abc", [""]).tolist() == [3]


def test_pairs_rank_as_dice_of_sets_does(rng: np.random.Generator) -> None:
    words = list(dict.fromkeys("".join(rng.choice(list("abcdeéB"), size=rng.integers(1, 9))) for _ in range(400)))
    index = PairIndex(words_index.index_columns(words))
    sets = [set(itertools.pairwise("\x02" + word.lower() + "\x03")) for word in words]
    for word in ("abc", "bead", "éa", "ccccc", "a", "zzz"):
        asked = set(itertools.pairwise("\x02" + word + "\x03"))
        dice = [2 * len(asked & own) / (len(asked) + len(own)) for own in sets]
        got = index.nearest(word, 10).tolist()
        want = sorted(range(len(words)), key=lambda row: (-dice[row], row))
        most = max(len(asked & own) for own in sets)
        want = [row for row in want if most and 2 * len(asked & sets[row]) >= most]
        assert got == want[:10]
    assert len(pairs_of("")) == 1


def test_an_index_built_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    words = list(dict.fromkeys("".join(rng.choice(list("abcde"), size=rng.integers(1, 9))) for _ in range(300)))
    whole = words_index.index_columns(words)
    for most in (1, 7, 100):
        monkeypatch.setattr(words_index, "_MOST_PAIRS", most)
        for name, column in words_index.index_columns(words).items():
            np.testing.assert_array_equal(column, whole[name], err_msg=name)


@pytest.mark.parametrize(
    ("unknown", "first"),
    [
        ("KING", "king"), ("nasa", "NASA"), ("paris", "Paris"), ("Berlin", "berlin"), ("rivver", "river"),
        ("gooooood", "good"), ("bannana", "banana"), ("mispelling", "misspelling"), ("recieve", "receive"),
        ("beleive", "believe"), ("goverment", "government"), ("runing", "running"), ("volcanos", "volcano"),
        ("strasse", "straße"), ("naive", "naïve"), ("日本", "日本語"),
    ],
)  # fmt: skip
def test_the_word_that_was_meant_comes_first(table: Words, unknown: str, first: str) -> None:
    assert unknown not in table
    assert similar(table, unknown)[0] == first
    assert table.most_similar(unknown, k=1)[0][0] in similar(table, unknown)


def test_at_most_three_and_none_where_nothing_is_shared(table: Words) -> None:
    assert len(similar(table, "kong")) <= 3
    assert similar(table, "ⓧⓨⓩ" * 9) == []
    assert similar(table, "a" * (LONGEST + 1)) == []
    for word in ("", " ", "\0", "ⓧⓨⓩ", "x" * 5000, "\ud800", "İ", "ŉ" * 40, "ß"):
        made = table[word]
        assert made.shape == (64,)
        assert np.isfinite(made).all()
        assert np.linalg.norm(made) > 0


def test_letters_make_the_random_part() -> None:
    words = ["misspelling", "mispelling", "misspellings", "volcano", "king", "kings", "", "k"]
    made = np.stack([random_part(word, 400) for word in words])
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, rtol=1e-5)
    near = made @ made.T
    assert near[0, 1] > 0.6
    assert near[0, 2] > 0.6
    assert near[4, 5] > 0.4
    assert abs(near[0, 3]) < 0.35
    np.testing.assert_array_equal(made[3], random_part("volcano", 400))
    # pinned: stored results and other machines rely on these numbers
    np.testing.assert_allclose(random_part("king", 4), PINNED, rtol=1e-6)
    assert not np.array_equal(random_part("x" * 2000, 9), random_part("x" * 2001, 9))


PINNED = [0.2095424, -0.6319090, 0.6649868, 0.3384900]


def test_the_random_part_is_centred_and_even() -> None:
    from nearfield.search.words_unknown import _seeds, _uniform

    values = _uniform(_seeds([f"gram {i}" for i in range(300)]), 300)
    assert values.min() >= -1
    assert values.max() < 1
    assert abs(values.mean()) < 0.01
    assert abs(values.var() - 1 / 3) < 0.01
    assert abs(np.corrcoef(values)[np.triu_indices(300, 1)]).max() < 0.35


def test_three_tenths_are_random_and_seven_from_similar_words() -> None:
    similar_vectors = np.array([[3.0, 0, 0, 0, 0, 0, 0, 0], [0, 5.0, 0, 0, 0, 0, 0, 0]], dtype=np.float32)
    made = blend("word", similar_vectors)
    mean = np.array([1, 1, 0, 0, 0, 0, 0, 0]) / np.sqrt(2)
    want = 0.3 * random_part("word", 8) + 0.7 * mean
    np.testing.assert_allclose(made, 4 * want / np.linalg.norm(want), rtol=1e-5)
    np.testing.assert_allclose(blend("word", similar_vectors[:0]), random_part("word", 8), rtol=1e-5)
    np.testing.assert_allclose(blend("word", np.zeros((2, 8), np.float32)), random_part("word", 8), rtol=1e-5)
    opposite = np.stack([similar_vectors[0], -similar_vectors[0]])
    assert np.linalg.norm(blend("word", opposite)) == pytest.approx(3, rel=1e-5)


def test_normal_forms() -> None:
    assert shrunk("aaaabbbc", 2) == "aabbc"
    assert shrunk("aaaabbbc", 1) == "abc"
    assert stem("replaying") == "play"
    assert stem("king") == "king"
    assert stem("") == ""


def test_misspellings_lie_nearer_to_their_word_than_to_others(table: Words) -> None:
    rng = np.random.default_rng()
    for word in ("government", "misspelling", "believe", "kingdom"):
        at = int(rng.integers(1, len(word) - 1))
        wrong = word[:at] + "xq"[int(rng.integers(2))] + word[at:]
        assert table.similarity(wrong, word) > 0.8
        assert difflib.SequenceMatcher(None, wrong, word).ratio() > 0.9
        assert table.similarity(wrong, "river") < 0.7
