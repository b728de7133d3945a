"""Tables of word vectors made of others: several side by side, or some dimensions of one. Nothing is copied."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from nearfield.core.checks import plain
from nearfield.core.errors import BadInput
from nearfield.core.protocols import F32, I64
from nearfield.search.words_table import OnUnknown, WordTable

_BLOCK = 1 << 14


def concat(*tables: WordTable) -> Concatenated:
    """Several tables as one space: the vector of a word is its vectors in all tables, one behind the other.

    Use it to join what different models know of a word. A word that one table lacks takes that table's vector
    for unknown words, so ``query`` never fails; the words of the joined table, those ``most_similar`` finds,
    are those that all tables have, in the order of the first. Scale the tables alike before (``normalize=``).
    """
    if len(tables) < 2 or not all(isinstance(table, WordTable) for table in tables):
        kinds = ", ".join(type(table).__name__ for table in tables) or "none"
        raise BadInput(f"concat: expected two tables of words or more, got {kinds}")
    return Concatenated(tables)


class Concatenated(WordTable):
    """Several tables side by side; see ``concat``."""

    def __init__(self, tables: Sequence[WordTable]) -> None:
        super().__init__()
        self.tables = tuple(tables)
        self.dim = sum(table.dim for table in tables)
        self._cuts = np.cumsum([table.dim for table in tables])[:-1]

    def __len__(self) -> int:
        return int(self._shared.shape[1])

    def __contains__(self, word: object) -> bool:
        return all(word in table for table in self.tables)

    def _word(self, row: int) -> str:
        return self.tables[0]._word(int(self._shared[0, row]))

    def _words(self, start: int, stop: int) -> list[str]:
        return [self._word(row) for row in range(start, stop)]

    def _find(self, words: Sequence[str]) -> I64:
        rows = self.tables[0]._find(words)
        return np.where(rows >= 0, self._places[rows], -1)

    def _rows(self, rows: I64) -> F32:
        return np.concatenate([table._rows(own[rows]) for table, own in zip(self.tables, self._shared)], axis=1)

    def _looked_up(self, words: list[str], unknown: OnUnknown) -> F32:
        return np.concatenate([table._looked_up(words, unknown) for table in self.tables], axis=1)

    def _make_unknown(self, word: str) -> F32:
        return np.asarray(self._looked_up([word], "similar")[0])

    def _products(self, q: F32) -> F32:
        out = np.zeros((len(q), len(self)), dtype=np.float32)
        for table, part, rows in zip(self.tables, np.split(q, self._cuts, axis=1), self._shared):
            out += table._products(np.ascontiguousarray(part))[:, rows]
        return out

    @cached_property
    def _terms(self) -> F32:
        squares = np.zeros(len(self))
        for table, rows in zip(self.tables, self._shared):
            terms = table._terms[rows].astype(np.float64)
            squares += np.divide(1, terms, out=np.zeros_like(terms), where=terms > 0) ** 2
        return _inverse(np.sqrt(squares))

    @cached_property
    def _shared(self) -> I64:
        """The rows, in each table, of the words that all have, ``[tables, words]``."""
        first = self.tables[0]
        blocks = []
        for start in range(0, len(first), _BLOCK):
            words = first._words(start, min(start + _BLOCK, len(first)))
            rows = np.stack([np.arange(start, start + len(words)), *(table._find(words) for table in self.tables[1:])])
            blocks.append(rows[:, (rows >= 0).all(axis=0)])
        return np.concatenate(blocks, axis=1)

    @cached_property
    def _places(self) -> I64:
        """For each row of the first table its row here, -1 where another table lacks the word."""
        out = np.full(len(self.tables[0]), -1, dtype=np.int64)
        out[self._shared[0]] = np.arange(len(self))
        return out


class Dimensions(WordTable):
    """Some dimensions of a table; see ``WordTable.take``."""

    def __init__(self, table: WordTable, dims: int | Iterable[int]) -> None:
        super().__init__()
        self.table = table
        self.dims = _checked(dims, table.dim)
        self.dim = int(self.dims.size)

    def __len__(self) -> int:
        return len(self.table)

    def __contains__(self, word: object) -> bool:
        return word in self.table

    def _word(self, row: int) -> str:
        return self.table._word(row)

    def _words(self, start: int, stop: int) -> list[str]:
        return self.table._words(start, stop)

    def _find(self, words: Sequence[str]) -> I64:
        return self.table._find(words)

    def _rows(self, rows: I64) -> F32:
        return np.ascontiguousarray(self.table._rows(rows)[:, self.dims])

    def _make_unknown(self, word: str) -> F32:
        return np.ascontiguousarray(self.table._unknown_vector(word)[self.dims])

    def _products(self, q: F32) -> F32:
        whole = np.zeros((len(q), self.table.dim), dtype=np.float32)
        whole[:, self.dims] = q  # zero elsewhere: the other dimensions add nothing
        return self.table._products(whole)

    @cached_property
    def _terms(self) -> F32:
        out = np.empty(len(self), dtype=np.float32)
        for start in range(0, len(self), _BLOCK):
            rows = self._rows(np.arange(start, min(start + _BLOCK, len(self))))
            out[start : start + _BLOCK] = _inverse(np.linalg.norm(rows, axis=1))
        return out


def _inverse(lengths: Any) -> F32:
    return np.asarray(np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0), dtype=np.float32)


def _checked(dims: int | Iterable[int], most: int) -> I64:
    """The numbers of dimensions, int64, each once and there."""
    try:
        given: Any = plain(dims)
        wanted = np.arange(given) if isinstance(given, int) else np.array(list(given))
    except TypeError:
        wanted = np.zeros(0)
    whole = wanted.ndim == 1 and wanted.size > 0 and wanted.dtype.kind in "iu"
    if not whole or wanted.min() < 0 or wanted.max() >= most or np.unique(wanted).size != wanted.size:
        raise BadInput(f"dims: expected different numbers from 0 to {most - 1}, or how many, got {dims!r}")
    return wanted.astype(np.int64)
