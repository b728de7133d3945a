"""The English stemmer of Snowball (Porter2): words of one meaning to one term, as ``runs`` to ``run``.

Source: Porter and Boulton, The English (Porter2) stemming algorithm, 2002-2025, snowballstem.org. It is written out
here for words of lower case without apostrophes, as a tokenizer gives them, so that the terms of stored texts depend
on no other package. ``tests/numerics/test_porter2.py`` compares it with the words that Snowball gives.
"""

from __future__ import annotations

VOWELS = frozenset("aeiouy")
_NOT_SHORT = VOWELS | frozenset("wxY")
_BEFORE_LI = frozenset("cdeghkmnrt")
_DOUBLES = frozenset(("bb", "dd", "ff", "gg", "mm", "nn", "pp", "rr", "tt"))
_SPECIAL = {
    "skis": "ski", "skies": "sky", "idly": "idl", "gently": "gentl", "ugly": "ugli", "early": "earli", "only": "onli",
    "singly": "singl", "sky": "sky", "news": "news", "howe": "howe", "atlas": "atlas", "cosmos": "cosmos",
    "bias": "bias", "andes": "andes",
}  # fmt: skip
_FIRST_REGION = ("arsen", "commun", "emerg", "gener", "inter", "later", "organ", "past", "univers")
_KEEP_EED = ("succ", "proc", "exc")
_KEEP_ING = ("even", "cann", "inn", "earr", "herr", "out")
_STEP2 = {
    "anci": "ance", "enci": "ence", "ogi": "og", "li": "", "bli": "ble", "abli": "able", "alli": "al", "fulli": "ful",
    "lessli": "less", "ousli": "ous", "entli": "ent", "aliti": "al", "biliti": "ble", "iviti": "ive", "tional": "tion",
    "ational": "ate", "alism": "al", "ation": "ate", "ization": "ize", "izer": "ize", "ator": "ate", "iveness": "ive",
    "fulness": "ful", "ousness": "ous", "ogist": "og",
}  # fmt: skip
_STEP3 = {
    "icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "tional": "tion", "ational": "ate",
    "ful": "", "ness": "",
}  # fmt: skip
_STEP4 = dict.fromkeys(
    ["ic", "ance", "ence", "able", "ible", "ate", "ive", "ize", "iti", "al", "ism", "ion", "er", "ous", "ant", "ent",
     "ment", "ement"], ""
)  # fmt: skip


def stem(word: str) -> str:
    """The stem of a word in lower case.

    >>> [stem(word) for word in ("running", "generously", "sky", "proceed")]
    ['run', 'generous', 'sky', 'proceed']
    """
    if len(word) < 3:
        return word
    if word in _SPECIAL:
        return _SPECIAL[word]
    word = _marked(word)
    first = _first_region(word)
    second = _after_syllable(word, first)
    word = _plural(word)
    word = _past(word, first)
    if len(word) > 2 and word[-1] in "yY" and word[-2] not in VOWELS:
        word = word[:-1] + "i"
    word = _suffix(word, _STEP2, first, second)
    word = _suffix(word, _STEP3, first, second)
    word = _suffix(word, _STEP4, second, second)
    return _final(word, first, second).replace("Y", "y")


def _marked(word: str) -> str:
    """``Y`` for each y that is a consonant: at the beginning, or behind a vowel."""
    if "y" not in word:
        return word
    out: list[str] = []
    for letter in word:
        consonant = letter == "y" and (not out or out[-1] in VOWELS)
        out.append("Y" if consonant else letter)
    return "".join(out)


def _first_region(word: str) -> int:
    for prefix in _FIRST_REGION:
        if word.startswith(prefix):
            return len(prefix)
    return _after_syllable(word, 0)


def _after_syllable(word: str, start: int) -> int:
    """The place behind the first consonant that follows a vowel, from ``start`` on."""
    for at in range(start + 1, len(word)):
        if word[at] not in VOWELS and word[at - 1] in VOWELS:
            return at + 1
    return len(word)


def _plural(word: str) -> str:
    if word.endswith("sses"):
        return word[:-2]
    if word.endswith(("ied", "ies")):
        return word[:-2] if len(word) > 4 else word[:-1]
    if word.endswith(("us", "ss")) or not word.endswith("s"):
        return word
    return word[:-1] if _has_vowel(word[:-2]) else word


def _past(word: str, first: int) -> str:
    for suffix in ("eedly", "eed"):
        if word.endswith(suffix):
            before = word[: -len(suffix)]
            return before + "ee" if len(before) >= first and before not in _KEEP_EED else word
    for suffix in ("ingly", "edly", "ing", "ed"):
        if word.endswith(suffix):
            return _without(word, word[: -len(suffix)], suffix, first)
    return word


def _without(word: str, before: str, suffix: str, first: int) -> str:
    """A word without ``ed`` or ``ing``, its end mended as ``hop`` and ``hope`` need it."""
    if suffix == "ing":
        if len(before) == 2 and before[1] == "y" and before[0] not in VOWELS:
            return before[0] + "ie"
        if before in _KEEP_ING:
            return word
    if not _has_vowel(before):
        return word
    if before.endswith(("at", "bl", "iz")):
        return before + "e"
    if before[-2:] in _DOUBLES:
        return before if len(before) == 3 and before[0] in "aeo" else before[:-1]
    return before + "e" if len(before) == first and _ends_short(before) else before


def _suffix(word: str, table: dict[str, str], region: int, second: int) -> str:
    """The longest suffix of a table replaced, where it lies in its region."""
    for length in range(min(7, len(word)), 1, -1):
        suffix = word[-length:]
        if suffix in table:
            before = word[:-length]
            inside = len(before) >= (second if suffix == "ative" else region)
            return before + table[suffix] if inside and _fits(before, suffix) else word
    return word


def _fits(before: str, suffix: str) -> bool:
    """What a few suffixes ask of the letter before them."""
    last = before[-1:]
    if suffix == "li":
        return last in _BEFORE_LI and bool(last)
    if suffix == "ogi":
        return last == "l"
    return suffix != "ion" or last in ("s", "t")


def _final(word: str, first: int, second: int) -> str:
    before = word[:-1]
    if word.endswith("e"):
        inside = len(before) >= second or (len(before) >= first and not _ends_short(before))
        return before if inside else word
    return before if word.endswith("ll") and len(before) >= second else word


def _has_vowel(text: str) -> bool:
    return not VOWELS.isdisjoint(text)


def _ends_short(text: str) -> bool:
    """Whether a text ends in a short syllable, as ``hop`` does and ``boat`` does not."""
    if len(text) == 2:
        return text[0] in VOWELS and text[1] not in VOWELS
    if text.endswith("past"):
        return True
    return len(text) > 2 and text[-1] not in _NOT_SHORT and text[-2] in VOWELS and text[-3] not in VOWELS
