"""S021, Magnitude: a table opens at once, batches are as fast as a loaded model's, misspelt words land near theirs.

The words are the 102,899 head words of PPDB-XL with the vectors of the static encoder, 256 wide. Text is read
by the package's own reader; where gensim is installed it is measured in the same run.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearfield.encoders.static import Static
from nearfield.search.words import Words
from nearfield.search.words_convert import convert
from nearfield.store import io

Record = Callable[[str, str, bool, str], None]
PART = 20_000  # words that are written as text: a fifth of those in the file it is compared with
OPEN = """
import sys, time, numpy
from nearfield.search.words import open_words
start = time.perf_counter()
table = open_words(sys.argv[1])
opened = time.perf_counter()
table[sys.argv[2]]
print(opened - start, time.perf_counter() - opened)
"""


@pytest.fixture(scope="module")
def words(data: Path) -> list[str]:
    with gzip.open(data / "words/ppdb-xl_lexicon.txt.gz", "rt", encoding="utf-8") as file:
        return list(dict.fromkeys(line.split()[0] for line in file))


@pytest.fixture(scope="module")
def vectors(words: list[str]) -> np.ndarray:
    return Static().encode(words)


@pytest.fixture(scope="module")
def table(words: list[str], vectors: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Words:
    return convert((words, vectors), tmp_path_factory.mktemp("words") / "words.nf")


@pytest.fixture(scope="module")
def text(words: list[str], vectors: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first words as word2vec text."""
    path = tmp_path_factory.mktemp("text") / "words.vec"
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{PART} {vectors.shape[1]}\n")
        for word, row in zip(words[:PART], vectors.tolist()):
            file.write(f"{word} {' '.join(map('%.6f'.__mod__, row))}\n")
    return path


def seconds(action: Callable[[], object], times: int = 7) -> float:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def test_opening_takes_no_time(table: Words, words: list[str], text: Path, record_timing: Record) -> None:
    found = []
    for _ in range(5):  # each in a new process, as a script would
        done = subprocess.run([sys.executable, "-c", OPEN, table.path, words[777]], capture_output=True, check=True)
        found.append([float(part) for part in done.stdout.split()])
    opened, first = np.median(found, axis=0)
    read = seconds(lambda: io.read_vectors(text), 1) * len(words) / PART
    record_timing(
        "S021",
        "a cold open is at least 60 times faster than reading the text",
        bool(read >= 60 * opened),
        f"{1000 * opened:.1f} ms (first word {1000 * first:.0f} ms) against {read:.1f} s for {len(words):,} words of "
        f"256 dimensions, {read / opened:,.0f} times",
    )


@pytest.fixture(scope="module")
def asked(words: list[str]) -> list[str]:
    return [words[i] for i in np.random.default_rng(1).integers(0, len(words), size=10_000)]


def test_batches_are_those_of_memory(table: Words, words: list[str], vectors: np.ndarray, asked: list[str]) -> None:
    rows = {word: row for row, word in enumerate(words)}
    np.testing.assert_array_equal(table.query(asked), np.vstack([vectors[rows[word]] for word in asked]))
    assert len(table.most_similar("river", k=5)) == 5


def test_batches_are_as_fast_as_from_memory(
    table: Words, words: list[str], vectors: np.ndarray, asked: list[str], record_timing: Record
) -> None:
    """Against what gensim does: a dictionary of rows, a vector at a time, stacked."""
    rows = {word: row for row, word in enumerate(words)}
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    ours = seconds(lambda: table.query(asked))
    theirs = seconds(lambda: np.vstack([vectors[rows[word]] for word in asked]))
    near = seconds(lambda: table.most_similar("river"))
    scan = seconds(lambda: np.argpartition(unit @ unit[rows["river"]], -10)[-10:])
    record_timing(
        "S021",
        "a batch look-up is not slower than from a model in memory",
        ours <= theirs * 1.2,
        f"10,000 words: {1000 * ours:.1f} ms against {1000 * theirs:.1f} ms; most_similar {1000 * near:.1f} ms against "
        f"{1000 * scan:.1f} ms of a NumPy scan",
    )


@pytest.fixture(scope="module")
def loaded(words: list[str], vectors: np.ndarray) -> Any:
    """gensim's model of the same words, in memory."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # gensim warns of itself
        models = pytest.importorskip("gensim.models")
    model = models.KeyedVectors(vectors.shape[1])
    model.add_vectors(words, vectors)
    return model


def test_gensim_is_not_faster(table: Words, loaded: Any, asked: list[str], record_timing: Record) -> None:
    ours, theirs = seconds(lambda: table.query(asked)), seconds(lambda: loaded[asked])
    figure = f"10,000 words: {1000 * ours:.1f} ms against {1000 * theirs:.1f} ms"
    record_timing("S021", "a batch look-up is not slower than gensim's", ours <= theirs, figure)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # gensim warns of itself
def test_answers_are_those_of_gensim(table: Words, loaded: Any, asked: list[str]) -> None:
    np.testing.assert_array_equal(table.query(asked), loaded[asked])
    for word in ("river", "tuesday", "unhappy"):
        got, want = table.most_similar(word, k=20), loaded.most_similar(word, topn=20)
        np.testing.assert_allclose([score for _, score in got], [score for _, score in want], atol=1e-5)
        got, want = (
            table.most_similar([word, "king"], ["man"], 20, method="3cosmul"),
            loaded.most_similar_cosmul(positive=[word, "king"], negative=["man"], topn=20),
        )
        np.testing.assert_allclose([score for _, score in got], [score for _, score in want], atol=1e-5)


def misspelt(word: str, rng: np.random.Generator) -> str:
    """One slip of the fingers: neighbours swapped, a letter lost, added, changed or doubled."""
    letters, at, kind = list(word), int(rng.integers(len(word))), int(rng.integers(5))
    other = "abcdefghijklmnopqrstuvwxyz"[int(rng.integers(26))]
    if kind == 0 and at + 1 < len(word):
        letters[at], letters[at + 1] = letters[at + 1], letters[at]
    elif kind == 1:
        del letters[at]
    elif kind == 2:
        letters[at] = other
    else:
        letters.insert(at, other if kind == 3 else letters[at])
    return "".join(letters)


def test_misspelt_words_land_near_theirs(table: Words, words: list[str], record_claim: Record) -> None:
    rng = np.random.default_rng(20261123)
    pool = [word for word in words if word.isalpha() and word.islower() and len(word) >= 5]
    pairs: list[tuple[str, str]] = []
    while len(pairs) < 300:
        word = pool[int(rng.integers(len(pool)))]
        wrong = misspelt(word, rng)
        if wrong not in table:
            pairs.append((wrong, word))
    made = table.query([wrong for wrong, _ in pairs])
    near = [[word for word, _ in table.most_similar(vector)] for vector in made]
    first = float(np.mean([found[0] == word for found, (_, word) in zip(near, pairs)]))
    found = float(np.mean([word in found for found, (_, word) in zip(near, pairs)]))
    chance = [[word for word, _ in table.most_similar(v)] for v in rng.normal(size=(20, table.dim))]
    random = float(np.mean([word in got for got, (_, word) in zip(chance, pairs)]))
    held = found > 0.9
    record_claim(
        "S021",
        "the neighbours of a misspelt word contain the right one more often than at random",
        held,
        f"{found:.1%} in the first ten, {first:.1%} first; random vectors {random:.1%}",
    )
    assert first > 0.75
    assert held
    assert random == 0
