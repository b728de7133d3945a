"""How texts are cut into the terms of BM25: words, stems of a language, stop words; a line of text names it all."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from nearfield.core.errors import BadInput, MissingExtra
from nearfield.core.method import signature
from nearfield.core.optional import require

# What SQLite's FTS5 does for each. Snowball's stemmers of other languages are made for letters with their accents.
_CUTS = {
    "snowball": "unicode61", "porter": "porter unicode61", "unicode61": "unicode61", "ascii": "ascii",
    "trigram": "trigram",
}  # fmt: skip
_ACCENTED = "unicode61 remove_diacritics 0"
_WORDS = ("snowball", "unicode61", "ascii")  # those whose words are seen before they are stemmed
DEFAULT = "snowball"
_LONGEST = 100_000

Stem = Callable[[str], str]


@dataclass(frozen=True)
class Tokenizer:
    """How texts and queries are cut into terms.

    Use it for ``open(tokenizer=)`` where a name alone does not say enough: stop words of your own, another language.
    The same in a line of text: ``snowball(language='german', stop_words=['und', 'oder'])``.

    Parameters
    ----------
    name: ``snowball`` (words, stemmed), ``porter`` (FTS5's older English stems), ``unicode61`` (words as they are),
        ``ascii`` (likewise, other letters left alone), ``trigram`` (three letters each, for parts of words).
    language: of ``snowball``'s stemmer. English needs nothing; others need the extra ``snowball``.
    stop_words: words that are no part of a query, nor of a text's length: ``"english"`` (the default of English
        ``snowball``), a list of words, or None. A query of nothing else is searched as it is.

    Raises ``BadInput`` naming what was expected, ``MissingExtra`` where a language's stemmer is not installed.

    >>> str(Tokenizer("snowball")), str(Tokenizer("unicode61", stop_words=["the", "a"]))
    ('snowball', "unicode61(stop_words=['a', 'the'])")
    """

    name: str = DEFAULT
    language: str | None = None
    stop_words: Any = "default"

    def __post_init__(self) -> None:
        if self.name not in _CUTS:
            raise BadInput(f"tokenizer: expected one of {', '.join(_CUTS)}, got {_short(self.name)}")
        object.__setattr__(self, "language", self._language())
        object.__setattr__(self, "stop_words", self._stop_words())

    def _language(self) -> str | None:
        if self.name != "snowball":
            if self.language is not None:
                raise BadInput(f"tokenizer: {self.name} takes no language=; use snowball(language=...)")
            return None
        found = "english" if self.language is None else self.language
        if not isinstance(found, str) or not re.fullmatch(r"[a-z][a-z_]{0,30}", found):
            raise BadInput(f"tokenizer: language: expected a name such as 'german', got {_short(found)}")
        return found

    def _stop_words(self) -> tuple[str, ...] | str | None:
        given = self.stop_words
        if isinstance(given, str) and given == "default":
            given = "english" if self.language == "english" else None
        if given is None or (isinstance(given, (list, tuple, set, frozenset)) and not given):
            return None
        if self.name not in _WORDS:
            raise BadInput(f"tokenizer: {self.name} takes no stop_words=; use {', '.join(_WORDS)}")
        if isinstance(given, str):
            if given != "english":
                raise BadInput(
                    f"tokenizer: stop_words: expected 'english', a list of words or None, got {_short(given)}"
                )
            return given
        if not isinstance(given, Iterable) or isinstance(given, (bytes, dict)):
            raise BadInput(f"tokenizer: stop_words: expected 'english', a list of words or None, got {_short(given)}")
        words = list(given)
        wrong = next((w for w in words if not isinstance(w, str) or not w.strip()), None)
        if wrong is not None or any("\0" in w or not w.isprintable() for w in words):
            raise BadInput(f"tokenizer: stop_words: expected words, got {_short(wrong)}")
        return tuple(sorted({w.lower() for w in words}))

    def __str__(self) -> str:
        params: dict[str, Any] = {}
        if self.language not in (None, "english"):
            params["language"] = self.language
        usual = "english" if self.language == "english" else None
        if self.stop_words != usual:
            params["stop_words"] = list(self.stop_words) if isinstance(self.stop_words, tuple) else self.stop_words
        return signature(self.name, params) if params else self.name

    @property
    def label(self) -> str:
        """What lists made by it are called in a file's name."""
        text = str(self)
        if text in _CUTS:
            return text
        import hashlib  # here and below: what opens a collection need not load what few of them use

        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @property
    def cut(self) -> str:
        """FTS5's tokenizer that cuts the words."""
        return _CUTS[self.name] if self.language in (None, "english") else _ACCENTED

    @property
    def stops(self) -> frozenset[str]:
        """The stop words themselves, in lower case."""
        if isinstance(self.stop_words, str):
            from nearfield.store.stopwords import ENGLISH

            return ENGLISH
        return frozenset(self.stop_words or ())

    def stem(self) -> Stem | None:
        """What makes terms of words; None where they are terms."""
        if self.language is None:
            return None
        if self.language == "english":
            from nearfield.numerics import porter2

            return porter2.stem
        stem: Stem = _snowball(self.language)().stemWord  # it keeps the word at hand: each caller has one of its own
        return stem

    @property
    def made_by(self) -> str:
        """What stemmed, with its version, where that is not part of this package: lists of another are made anew."""
        if self.language in (None, "english"):
            return ""
        return f"snowballstemmer {_version()}"

    def check(self) -> None:
        """``MissingExtra`` or ``BadInput`` where its stemmer is not there."""
        self.stem()


@lru_cache(maxsize=256)
def read(text: str) -> Tokenizer:
    """A tokenizer from text such as ``porter`` or ``snowball(stop_words=None)``; ``BadInput`` if it is none."""
    refusal = BadInput(
        f"tokenizer: expected one of {', '.join(_CUTS)}, or a call such as snowball(stop_words=['the']), "
        f"got {_short(text)}"
    )
    if len(text) > _LONGEST:
        raise refusal
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if isinstance(node, ast.Name):
            return Tokenizer(node.id)
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.args:
            raise refusal
        params = {str(k.arg): ast.literal_eval(k.value) for k in node.keywords}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        if isinstance(error, BadInput):
            raise
        raise refusal from None
    unknown = sorted(set(params) - {"language", "stop_words"})
    if unknown:
        raise BadInput(f"tokenizer: {node.func.id} takes language= and stop_words=, got {unknown[0]}=")
    return Tokenizer(node.func.id, **params)


def sound(text: Any) -> bool:
    """Whether a record says how texts are cut."""
    try:
        return isinstance(text, str) and str(read(text)) == text
    except BadInput:
        return False


def as_tokenizer(given: Any) -> Tokenizer:
    """A tokenizer from what a user gives: a ``Tokenizer`` or its text."""
    if isinstance(given, Tokenizer):
        return given
    if not isinstance(given, str):
        raise BadInput(f"tokenizer: expected a name such as 'snowball' or a Tokenizer, got {type(given).__name__}")
    return read(given)


def _version() -> str:
    from importlib.metadata import version

    return version("snowballstemmer")


@lru_cache(maxsize=32)
def _snowball(language: str) -> Callable[[], Any]:
    """The class that stems a language, from the package's own Python: its version is that of the terms."""
    package = require("snowballstemmer", "snowball")
    name = "".join(part.capitalize() for part in language.split("_"))
    try:
        module = require(f"snowballstemmer.{language}_stemmer", "snowball")
        made: Callable[[], Any] = getattr(module, f"{name}Stemmer")
    except (MissingExtra, AttributeError):
        known = ", ".join(sorted(str(a) for a in package.algorithms()))
        raise BadInput(f"tokenizer: language: expected one of {known}, got {language!r}") from None
    return made


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
