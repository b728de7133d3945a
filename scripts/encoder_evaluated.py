"""What the evaluation sets hold, so that none of it is among the texts that the encoder learns from."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from encoder_reading import Pair

_RUN = 10  # words in a row that may not be shared with an evaluation set
_WHOLE = 4  # words of the shortest text that may not be one there, word for word


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _runs(text: str) -> Iterator[int]:
    words = _words(text)
    for i in range(len(words) - _RUN + 1):
        yield hash(tuple(words[i : i + _RUN]))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


class Evaluated:
    """What no training text may hold: runs of words, titles and whole texts of the evaluation sets."""

    def __init__(self, data: Path) -> None:
        runs: list[int] = []
        self._whole: set[str] = set()
        files = [*data.glob("retrieval/*/*.jsonl.gz"), *data.glob("sts/*_en.jsonl.gz"), *data.glob("text/*.jsonl.gz")]
        for file in sorted([*files, *data.glob("crosslingual/*.jsonl.gz")]):
            with gzip.open(file, "rt", encoding="utf-8") as lines:
                for line in lines:
                    row = json.loads(line)
                    if isinstance(row, dict) and row.get("title"):
                        self._whole.add(" ".join(_words(str(row["title"]))))
                    for text in _strings(row):
                        runs += _runs(text)
                        if len(words := _words(text)) >= _WHOLE:
                            self._whole.add(" ".join(words))
        self._runs = np.unique(np.array(runs, dtype=np.int64))

    def holds(self, pair: Pair) -> bool:
        """Whether a text of the pair or a sentence in it is an evaluated one, or shares ten words in a row with one."""
        texts = [part for text in pair if text for part in (text, *re.split(r"(?<=[.?!]) +", text))]
        if any(" ".join(_words(text)) in self._whole for text in texts):
            return True
        runs = np.fromiter((run for text in pair for run in _runs(text)), dtype=np.int64)
        places = np.minimum(np.searchsorted(self._runs, runs), max(len(self._runs) - 1, 0))
        return bool((self._runs[places] == runs).any())
