"""What can be asked of word vectors, wherever they lie: a file, several files side by side, some dimensions of one."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np

from nearfield.core.arrays import some, to_f32
from nearfield.core.checks import whole
from nearfield.core.errors import BadInput, BadParameter, Unknown, did_you_mean
from nearfield.core.protocols import F32, I64
from nearfield.numerics import kernels

OnUnknown: TypeAlias = Literal["similar", "zero", "raise"]
Method: TypeAlias = Literal["3cosadd", "3cosmul"]

CACHED = 1 << 12  # vectors of unknown words that are kept
BLOCK = 1 << 16  # words of a batch looked up together
_EPSILON = 1e-6  # keeps 3CosMul from dividing by zero, as in the paper


class WordTable(ABC):
    """Word vectors and the questions one asks of them. Words are told apart by case and compared byte by byte.

    A word that the table lacks has a vector all the same, made of its letters and of the known words most like
    it (see ``search/words_unknown.py``), so that every question takes any word; ``in`` says which are known.
    Similarities are cosines, from -1 to 1.
    """

    dim: int

    def __init__(self) -> None:
        self._unknown_vector = lru_cache(CACHED)(self._make_unknown)

    # ---- what a table of any kind must give ---------------------------------------------------------
    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __contains__(self, word: object) -> bool: ...

    @abstractmethod
    def _word(self, row: int) -> str: ...

    @abstractmethod
    def _words(self, start: int, stop: int) -> list[str]: ...

    @abstractmethod
    def _find(self, words: Sequence[str]) -> I64: ...

    @abstractmethod
    def _rows(self, rows: I64) -> F32: ...

    @abstractmethod
    def _make_unknown(self, word: str) -> F32: ...

    @abstractmethod
    def _products(self, q: F32) -> F32: ...

    @property
    @abstractmethod
    def _terms(self) -> F32: ...

    # ---- words to vectors ---------------------------------------------------------------------------
    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), BLOCK):
            yield from self._words(start, min(start + BLOCK, len(self)))

    def items(self) -> Iterator[tuple[str, F32]]:
        """Every known word with its vector, in the order of the table."""
        for start in range(0, len(self), BLOCK // 16):
            stop = min(start + BLOCK // 16, len(self))
            yield from zip(self._words(start, stop), self._rows(np.arange(start, stop)))

    def __getitem__(self, words: str | Sequence[str]) -> F32:
        if not isinstance(words, str):
            return self.query(words)
        return np.asarray(self.query([words])[0])

    def query(self, words: Iterable[str], *, unknown: OnUnknown = "similar") -> F32:
        """The vectors of many words, float32 ``[m, dim]``, in their order.

        Words that the table lacks get the vector made from similar words, zeros with ``unknown="zero"``, or are
        refused with ``unknown="raise"``. For more words than fit in memory use ``stream``.

        Raises ``BadInput`` for what is no text, ``Unknown`` naming unknown words.
        """
        return self._looked_up(_texts(words), _checked_unknown(unknown))

    def stream(self, words: Iterable[str], *, rows: int = BLOCK, unknown: OnUnknown = "similar") -> Iterator[F32]:
        """The same for any number of words, ``rows`` at a time: yields float32 ``[<= rows, dim]``."""
        rows = whole("rows", rows, 1, error=BadParameter)
        if isinstance(words, (str, bytes)):
            raise BadInput("words: expected a list of words, got one text; put it in a list")
        _checked_unknown(unknown)
        source = iter(words)
        while block := list(itertools.islice(source, rows)):
            yield self._looked_up(_texts(block), unknown)

    def _looked_up(self, words: list[str], unknown: OnUnknown) -> F32:
        if len(words) <= BLOCK:
            return self._block(words, unknown)
        out = np.empty((len(words), self.dim), dtype=np.float32)
        for start in range(0, len(words), BLOCK):
            out[start : start + BLOCK] = self._block(words[start : start + BLOCK], unknown)
        return out

    def _block(self, words: list[str], unknown: OnUnknown) -> F32:
        rows = self._find(words)
        known = rows >= 0
        if known.all():
            return self._rows(rows)
        out = np.empty((len(words), self.dim), dtype=np.float32)
        out[known] = self._rows(rows[known])
        for place in np.flatnonzero(~known).tolist():
            out[place] = self._of_unknown(words[place], unknown)
        return out

    def _of_unknown(self, word: str, unknown: OnUnknown) -> F32 | float:
        if unknown == "raise":
            raise Unknown(
                f'words: {word!r} is not in the table; unknown="similar" gives it a vector from similar words'
            )
        return 0.0 if unknown == "zero" else self._unknown_vector(word)

    def take(self, dims: int | Iterable[int]) -> WordTable:
        """Some dimensions of the table as a table: the first ``dims``, or those listed; nothing is copied.

        Use it on vectors whose first dimensions count most (PCA, Matryoshka), or to look at some alone. Raises
        ``BadInput`` for dimensions that are not there or come twice.
        """
        from nearfield.search.words_views import Dimensions

        return Dimensions(self, dims)

    # ---- similarity ---------------------------------------------------------------------------------
    def similarity(self, one: Any, other: Any) -> float:
        """The cosine of two words or vectors ``[dim]``; 0 where one of them is zero."""
        a, b = self._units([one, other])
        return float(a @ b)

    def distance(self, one: Any, other: Any) -> float:
        """One minus the cosine of two words or vectors: 0 for the same direction, 2 for opposite ones."""
        return 1.0 - self.similarity(one, other)

    def most_similar(
        self, positive: Any, negative: Any = (), k: int = 10, *, method: Method = "3cosadd"
    ) -> list[tuple[str, float]]:
        """The ``k`` known words nearest to what is positive and farthest from what is negative, best first.

        ``positive`` and ``negative`` are words, vectors ``[dim]`` or lists of them; the words themselves are not
        among the results. ``3cosadd`` scores by the cosine with the mean of unit vectors (Mikolov, Yih, Zweig
        2013), ``3cosmul`` by the product of similarities over the product of dissimilarities, both moved to 0
        to 1, so that no single large one decides (Levy and Goldberg 2014, W14-1618).
        """
        plus, minus = _listed(positive, "positive"), _listed(negative, "negative")
        if not plus and not minus:
            raise BadInput("positive: expected at least one word or vector, got none")
        if method not in ("3cosadd", "3cosmul"):
            raise BadParameter(f"method: expected '3cosadd' or '3cosmul', got {method!r}")
        units = self._units([*plus, *minus])
        signs = np.repeat(np.array([1, -1], dtype=np.float32), [len(plus), len(minus)])
        scores = self._added(units, signs) if method == "3cosadd" else self._multiplied(units, signs > 0)
        given = self._find([item for item in (*plus, *minus) if isinstance(item, str)])
        scores[given[given >= 0]] = -np.inf
        return self._best(scores, k)

    def analogy(self, a: Any, b: Any, c: Any, k: int = 1, *, method: Method = "3cosadd") -> list[tuple[str, float]]:
        """What is to ``c`` as ``b`` is to ``a``: ``analogy("man", "king", "woman")``; the best ``k`` words."""
        return self.most_similar([b, c], [a], k, method=method)

    def doesnt_match(self, words: Sequence[str]) -> str:
        """The word farthest from the mean direction of all of them; of equally far ones the first."""
        given = _texts(words)
        if not given:
            raise BadInput("words: expected at least one word, got none")
        units = self._units(given)
        return given[int(np.argmin(units @ units.mean(axis=0)))]

    def most_similar_to_given(self, word: Any, words: Sequence[str]) -> str:
        """The one of ``words`` nearest to a word or vector; of equally near ones the first."""
        given = _texts(words)
        if not given:
            raise BadInput("words: expected at least one word, got none")
        units = self._units([word, *given])
        return given[int(np.argmax(units[1:] @ units[0]))]

    def closer_than(self, word: Any, other: Any) -> list[str]:
        """The known words nearer to ``word`` than ``other`` is, nearest first."""
        unit, limit = self._units([word, other])
        # one product for both: a score from elsewhere may differ in its last bit
        bound = float(kernels.dots(unit[None], limit[None])[0, 0])
        scores = self._cosines(unit[None])[0]
        rows = self._find([item for item in (word, other) if isinstance(item, str)])
        if isinstance(other, str) and rows[-1] >= 0:
            bound = float(scores[rows[-1]])
        scores[rows[rows >= 0]] = -np.inf
        nearer = np.flatnonzero(scores > bound)
        return [self._word(int(row)) for row in nearer[np.argsort(-scores[nearer], kind="stable")]]

    def _added(self, units: F32, signs: F32) -> F32:
        mean = (signs[:, None] * units).mean(axis=0)
        return np.asarray(self._cosines(_unit(mean[None]))[0])

    def _multiplied(self, units: F32, positive: Any) -> F32:
        shares = (1 + self._cosines(units)) / 2
        return np.asarray(shares[positive].prod(axis=0) / (shares[~positive].prod(axis=0) + np.float32(_EPSILON)))

    def _cosines(self, units: F32) -> F32:
        return self._products(units) * self._terms

    def _best(self, scores: F32, k: int) -> list[tuple[str, float]]:
        rows, values = kernels.topk(scores[None], min(whole("k", k, 1), max(1, len(self))))
        return [(self._word(row), score) for row, score in zip(rows[0].tolist(), values[0].tolist()) if score > -np.inf]

    def _units(self, items: Sequence[Any]) -> F32:
        """Unit vectors of words and vectors, float32 ``[m, dim]``."""
        out = np.empty((len(items), self.dim), dtype=np.float32)
        words = [i for i, item in enumerate(items) if isinstance(item, str)]
        out[words] = self.query([items[i] for i in words])
        for i in set(range(len(items))) - set(words):
            out[i] = self._vector(items[i])
        return _unit(out)

    def _vector(self, item: Any) -> F32:
        try:
            vector = np.asarray(item)
        except ValueError:
            vector = np.zeros(0)
        if vector.shape != (self.dim,) or vector.dtype.kind not in "fiu":
            raise BadInput(f"expected a word or a vector of {self.dim} numbers, got {_told(item)}")
        return np.asarray(to_f32(vector[None])[0])


def _texts(words: Any) -> list[str]:
    """A list of words, checked."""
    if isinstance(words, (str, bytes)) or not isinstance(words, Iterable):
        raise BadInput(f"words: expected a list of words, got {_told(words)}")
    given = list(words)
    if not all(map(str.__instancecheck__, given)):
        odd = [i for i, word in enumerate(given) if not isinstance(word, str)]
        raise BadInput(f"words: expected texts, got {_told(given[odd[0]])} at place {some(odd)}")
    return given


def _listed(items: Any, name: str) -> list[Any]:
    """Words and vectors as a list: one word or one vector may stand alone."""
    if isinstance(items, str) or (isinstance(items, np.ndarray) and items.ndim == 1):
        return [items]
    if isinstance(items, np.ndarray) or (isinstance(items, Sequence) and not isinstance(items, bytes)):
        given = list(items)
        numbers = bool(given) and all(isinstance(item, (int, float, np.number)) for item in given)
        return [np.asarray(given)] if numbers else given
    raise BadInput(f"{name}: expected a word, a vector or a list of them, got {_told(items)}")


def _checked_unknown(unknown: OnUnknown) -> OnUnknown:
    if unknown not in ("similar", "zero", "raise"):
        raise BadParameter(f"unknown: {did_you_mean(str(unknown), ('similar', 'zero', 'raise'))}")
    return unknown


def _unit(x: F32) -> F32:
    """Rows scaled to length 1; zero rows stay."""
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def _told(item: Any) -> str:
    if isinstance(item, np.ndarray):
        return f"an array of {item.dtype} and shape {item.shape}"
    text = repr(item)
    return f"{type(item).__name__} {text if len(text) <= 40 else text[:39] + '…'}"
