"""HyDE: search by the vectors of answers that a language model imagines, instead of by the question's own.

A question and its answer are often put in other words, so an encoder that never saw pairs of them lays them apart. An
answer that a language model makes up, right or wrong, is put in the words of the true one. Without a language model
the rows that are nearest to the question serve as its answers: pseudo-relevance feedback.

paper: Gao, Ma, Lin, Callan, 2023, doi:10.18653/v1/2023.acl-long.99 (S128);
    Li, Mourad, Zhuang, Koopman, Zuccon, 2023, doi:10.1145/3570724 (feedback by the mean of vectors)
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nearfield.core.checks import whole
from nearfield.core.errors import BadInput, Corrupt, DataWarning, Unknown, did_you_mean
from nearfield.core.habits import answering
from nearfield.core.protocols import F32
from nearfield.search.encoding import as_encoder, encode_texts

Writer = Callable[[str], "str | Sequence[str]"]
Nearest = Callable[[F32, int], F32]

# What a language model is asked for, by the kind of query: the kinds of the paper's experiments.
PROMPTS = {
    "question": "Write a short passage{language} that answers this question.\n\nQuestion: {query}\n\nPassage:",
    "claim": "Write a passage of a scientific paper{language} that supports or refutes this claim.\n\n"
    "Claim: {query}\n\nPassage:",
    "science": "Write a passage of a scientific paper{language} that answers this question.\n\n"
    "Question: {query}\n\nPassage:",
    "finance": "Write a passage of a financial article{language} that answers this question.\n\n"
    "Question: {query}\n\nPassage:",
    "news": "Write a passage of a news article{language} about this topic.\n\nTopic: {query}\n\nPassage:",
    "argument": "Write an argument{language} against this one.\n\nArgument: {query}\n\nCounter-argument:",
}
_TABLE = "CREATE TABLE hyde2 (key TEXT PRIMARY KEY, documents TEXT NOT NULL, digest TEXT NOT NULL) WITHOUT ROWID"
_BEFORE = (
    "CREATE TABLE hyde (prompt TEXT PRIMARY KEY, documents TEXT) WITHOUT ROWID"  # of earlier versions, left as it is
)
_SCHEMA = {("table", "hyde2", "hyde2", _TABLE), ("table", "hyde", "hyde", _BEFORE)}
_REMEMBERED = 10_000  # prompts whose documents stay in memory


@answering
class HyDE:
    """Makes the vector of a query from documents that could answer it; passed as ``expand=`` to ``search``.

    Use it where no encoder was trained on pairs of queries and documents of your kind; an encoder that was gains less,
    or nothing: measure it on judged queries.

    Parameters
    ----------
    generator: called with a prompt, gives one text or several. Without one, or (with a ``DataWarning``) where it
        fails, the ``feedback`` rows nearest to the query take the place of its documents.
    n: documents a query; a generator that gives one text is called so many times.
    include_query: whether the query's own vector is part of the mean.
    prompt: one of ``PROMPTS``, or a text with ``{query}`` (and ``{language}``) in it.
    language: in which language documents are to be written, such as ``"Korean"``.
    cache: a file that keeps documents from run to run; those of the last 10,000 prompts are remembered in memory
        without it. Documents are kept for a prompt, a number of them and a generator, by the generator's ``model``
        or name; what is not as it was kept is told, or made again.

    Raises ``BadInput`` for a generator that gives anything but texts.

    >>> def generator(prompt):
    ...     return "Woollen stockings keep feet warm."
    >>> HyDE(generator, n=1).documents("what helps against cold feet?")
    ['Woollen stockings keep feet warm.']
    >>> HyDE(generator).vector("what helps against cold feet?", "static").shape
    (256,)
    """

    def __init__(
        self,
        generator: Writer | None = None,
        *,
        n: int = 8,
        include_query: bool = True,
        prompt: str = "question",
        language: str | None = None,
        feedback: int = 3,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        if generator is not None and not callable(generator):
            raise BadInput(f"generator: expected a callable that takes a prompt, got {type(generator).__name__}")
        if "{query}" not in prompt and prompt not in PROMPTS:
            known = did_you_mean(prompt, PROMPTS)
            raise Unknown(f"prompt: no prompt {prompt!r}; {known}; or write one with {{query}} in it")
        self.generator = generator
        self.n = whole("n", n, 1)
        self.include_query = include_query
        self.language = language
        self.feedback = whole("feedback", feedback, 1)
        self._template = PROMPTS.get(prompt, prompt)
        self._cache = _Cache(cache)

    def __repr__(self) -> str:
        made = "feedback" if self.generator is None else f"n={self.n}"
        return f"HyDE({made}, include_query={self.include_query})"

    def prompt(self, text: str) -> str:
        """What the generator is asked for a query."""
        language = "" if self.language is None else f" in {self.language}"
        return self._template.replace("{language}", language).replace("{query}", text)

    def documents(self, text: str) -> list[str]:
        """The documents of a query: those of the cache, or new ones; none where there is no generator."""
        if self.generator is None:
            return []
        prompt = self.prompt(text)
        key = json.dumps([self.n, _name_of(self.generator), prompt])
        found = self._cache.get(key, self.n)
        if found is None:
            found = _generated(self.generator, prompt, self.n)
            if found:
                self._cache.put(key, found)
        return found

    def vector(self, text: str, encoder: Any, nearest: Nearest | None = None) -> F32:
        """The vector to search by: float32 ``[d]``, the mean of those of the documents (and of the query).

        ``encoder`` is that of the rows, by name or itself. ``nearest`` gives for a vector and a number the vectors
        ``[n, d]`` of the rows nearest to it; without it, and without a generator, there is nothing to go by, and
        ``BadInput`` says so.
        """
        encoder = as_encoder(encoder)
        own = encode_texts(encoder, [text], queries=True)
        documents = self._documents_or_none(text, nearest)
        if documents:
            others = encode_texts(encoder, documents)
        elif nearest is not None:
            others = nearest(own[0], self.feedback)
        else:
            raise BadInput("HyDE: expected a generator that gives texts, or rows to take the nearest of, got neither")
        if np.ndim(others) != 2 or others.shape[1] != own.shape[1] or not np.isfinite(others).all():
            raise BadInput(f"HyDE: expected finite vectors of {own.shape[1]} dimensions, as the query's, got others")
        every = np.concatenate([own, others]) if self.include_query or not len(others) else others
        return np.asarray(every.mean(axis=0, dtype=np.float64), dtype=np.float32)

    def _documents_or_none(self, text: str, nearest: Nearest | None) -> list[str]:
        if self.generator is None:
            return []
        try:
            found = self.documents(text)
            told = "gave nothing but blank texts"
        except (BadInput, Corrupt):
            raise
        except Exception as error:  # whatever a person's generator raises: the search goes on without it
            if nearest is None:
                raise
            found, told = [], f"failed ({type(error).__name__}: {error})".splitlines()[0]
        if not found and nearest is not None:
            warnings.warn(f"HyDE: the generator {told}; the nearest rows take its place", DataWarning, stacklevel=3)
        return found


def _generated(generator: Writer, prompt: str, n: int) -> list[str]:
    """``n`` texts of a generator that gives one or several a call; blank ones are left out."""
    texts: list[str] = []
    for _ in range(n):
        given = generator(prompt)
        found = [given] if isinstance(given, str) else given
        if not isinstance(found, (list, tuple)) or not all(isinstance(t, str) for t in found):
            raise BadInput(f"generator: expected a text, or a list of them, got {type(given).__name__}")
        texts += found
        if len(texts) >= n or not isinstance(given, str):
            break
    return [text for text in texts[:n] if text.strip()]


def _name_of(generator: Writer) -> str:
    """What tells generators apart from run to run: the model that one names, or its own name."""
    model = getattr(generator, "model", None)
    kind = type(generator)
    name = getattr(generator, "__qualname__", kind.__qualname__)
    return model if isinstance(model, str) else f"{getattr(generator, '__module__', kind.__module__)}.{name}"


def _digest(key: str, documents: str) -> str:
    return hashlib.sha256(json.dumps([key, documents]).encode(errors="surrogatepass")).hexdigest()


class _Cache:
    """Documents by prompt: the last ones in memory, all of them in a file where one is named."""

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._held: OrderedDict[str, list[str]] = OrderedDict()
        self._guard = threading.Lock()
        self._path = None if path is None else os.fspath(path)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _Cache, (self._path,)  # a copy remembers anew, and shares the file

    def get(self, key: str, most: int) -> list[str] | None:
        with self._guard:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        rows = self._run("SELECT documents, digest FROM hyde2 WHERE key = ?", key)
        if not rows:
            return None
        text, digest = rows[0]
        found = self._checked(key, text, digest, most)
        self._hold(key, found)
        return found

    def _checked(self, key: str, text: Any, digest: Any, most: int) -> list[str]:
        """The documents, as long as they are those that were kept for this key."""
        try:
            found = json.loads(text) if isinstance(text, str) and _digest(key, text) == digest else None
        except (ValueError, RecursionError):
            found = None
        texts = isinstance(found, list) and all(isinstance(t, str) and t.strip() for t in found)
        if not found or not texts or len(found) > most:
            raise Corrupt(f"{self._path}: documents that are not those that were kept; delete it: they are made again")
        return list(found)

    def put(self, key: str, documents: list[str]) -> None:
        self._hold(key, documents)
        text = json.dumps(documents, ensure_ascii=False)
        self._run("INSERT OR REPLACE INTO hyde2 VALUES (?, ?, ?)", key, text, _digest(key, text))

    def _hold(self, key: str, documents: list[str]) -> None:
        with self._guard:
            self._held[key] = documents
            while len(self._held) > _REMEMBERED:
                self._held.popitem(last=False)

    def _run(self, sql: str, *values: str) -> list[Any]:
        if self._path is None:
            return []
        import sqlite3
        from contextlib import closing

        try:
            with closing(sqlite3.connect(self._path, timeout=30)) as file, file:
                file.execute("PRAGMA trusted_schema = OFF")
                there = file.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
                if any(entry not in _SCHEMA for entry in there):
                    raise Corrupt(f"{self._path}: holds what HyDE did not make; name another file")
                file.execute(_TABLE.replace("TABLE", "TABLE IF NOT EXISTS", 1))
                return file.execute(sql, values).fetchall()
        except sqlite3.OperationalError as error:  # no such folder, no space, somebody else writes
            raise BadInput(f"{self._path}: {error}; expected a file that HyDE can keep documents in") from None
        except sqlite3.DatabaseError as error:
            raise Corrupt(f"{self._path}: {error}; delete it: documents are made again") from None
