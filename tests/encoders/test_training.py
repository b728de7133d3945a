"""What the built-in encoder learns from: no evaluated text, each caption once; and how its table is stored."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="module", autouse=True)
def scripts() -> Iterator[None]:
    sys.path.insert(0, str(SCRIPTS))
    yield
    sys.path.remove(str(SCRIPTS))


@pytest.fixture
def evaluated(tmp_path: Path) -> Any:
    from encoder_evaluated import Evaluated

    (tmp_path / "retrieval" / "one").mkdir(parents=True)
    (tmp_path / "sts").mkdir()
    numbers = "one two three four five six seven eight nine ten eleven twelve"
    rows = {
        "retrieval/one/corpus.jsonl.gz": [{"id": "1", "title": "Boundary layers", "text": numbers}],
        "sts/stsb_en.jsonl.gz": [
            {"split": "test", "sentence1": "A man plays.", "sentence2": "A man is playing a flute."}
        ],
    }
    for name, lines in rows.items():
        with gzip.open(tmp_path / name, "wt", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))
    return Evaluated(tmp_path)


@pytest.mark.parametrize(
    "pair",
    [
        ("boundary layers", "A text about them"),  # a title, however short
        ("a man is playing a flute", ""),  # a short sentence, word for word
        ("Music", "It is warm. A man is playing a FLUTE! He is good."),  # as a sentence of a longer text
        ("Numbers", "zero one two three four five six seven eight nine ten and more"),  # ten words in a row
    ],
)
def test_evaluated_texts_are_left_out(evaluated: Any, pair: tuple[str, str]) -> None:
    assert evaluated.holds(pair)


@pytest.mark.parametrize(
    "pair",
    [("A man plays.", ""), ("A man is playing a flute outside", "one two three"), ("", "Boundary layers of air")],
)
def test_other_texts_are_kept(evaluated: Any, pair: tuple[str, str]) -> None:
    assert not evaluated.holds(pair)


def test_texts_that_say_the_same_come_two_by_two() -> None:
    import encoder_sentences as sentences

    assert list(sentences._two_by_two(["a", "b", "c"])) == [("a", "b"), ("c", "")]
    captions = {"annotations": [{"image_id": i, "caption": c} for i, c in ((1, "a"), (2, "b"), (1, "c"))]}
    assert list(sentences._by_picture("x.json", json.dumps(captions))) == [["a", "c"], ["b"]]
    assert list(sentences._by_picture("x.txt", "a\nb\nc\nd\ne\nf\n")) == [["a", "b", "c", "d", "e"], ["f"]]
    assert (
        sentences._untagged("He_PRP did_VBD n't_RB go_VB ,_, she_PRP 's_VBZ here_RB ._.") == "He didn't go, she's here."
    )


def test_the_table_is_stored_within_half_a_step(tmp_path: Path) -> None:
    from encoder_training import quantise

    rng = np.random.default_rng(0)
    table = rng.normal(size=(20, 8)).astype(np.float32) * rng.uniform(0.1, 3, size=(20, 1)).astype(np.float32)
    packed, scales = quantise(table)
    codes = np.stack([packed & 15, packed >> 4], axis=2).reshape(20, 8)
    found = (codes - 7.5) * scales.astype(np.float32)[:, None]
    assert np.linalg.norm(found - table) <= 0.15 * np.linalg.norm(table)


def test_vectors_of_the_teacher_are_kept_by_what_was_embedded(tmp_path: Path) -> None:
    from distill_static import Teacher

    teacher, asked = Teacher.__new__(Teacher), []

    def embed(rows: list[list[int]], batch: int = 64) -> np.ndarray:
        asked.extend(rows)
        return np.array([[sum(row)] * 3 for row in rows], dtype=np.float16)

    teacher.embed = embed  # type: ignore[method-assign]
    teacher.embed_kept([[1], [2, 3]], tmp_path, block=1)
    found = teacher.embed_kept([[4], [2, 3], [4], [1]], tmp_path, block=2)
    np.testing.assert_array_equal(found[:, 0], [4, 5, 4, 1])
    assert asked == [[1], [2, 3], [4]]
