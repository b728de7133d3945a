"""Vectors of words that a table lacks: misspelt, inflected, repeated for emphasis, or unheard of.

The method of Magnitude: three tenths of a pseudo-random vector made of the word's character n-grams, which
keeps different unknown words apart and like ones together, and seven tenths of the mean of the most similar
known words. Everything is a function of the word and the table alone: the same vector in every process.

Source: Patel, Sands, Callison-Burch, Apidianaki 2018 (S021), doi:10.18653/v1/D18-2021, and its code.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import numpy as np

from nearfield.core.protocols import F32, I64
from nearfield.search.words_index import U64

Find = Callable[[str], int]  # the row of a word, -1 where there is none
Nearest = Callable[[str, int], I64]  # the rows whose words share most with a word, at most so many, best first
WordOf = Callable[[int], str]  # the word of a row

RANDOM_SHARE = 0.3
SIMILAR = 3  # known words that are averaged
LONGEST = 1000  # characters: longer ones get a random vector and are compared with nothing
_NGRAMS = range(1, 7)
_COMPARED = 64  # words that share pairs with it, of which the nearest by edits are taken
_LETTERS_AN_EDIT = 5  # a word of fewer than twice as many letters is a misspelling by one edit, and so on
_SHORTEST_STEM = 4
_SMALL_TYPO = 4  # edits: beyond, an inflected word is looked for by its stem
_MARK = "\uf000"  # before and behind a word: in private use, so in no word

_REPEATED, _DOUBLED = re.compile(r"(.)\1{2,}", re.DOTALL), re.compile(r"(.)\1+", re.DOTALL)
_PREFIXES = (
    "anti auto bi by co com con counter cross de dis down en ex extra fore hyper il im in inter intra ir macro mega "
    "meta micro mid mini mis mono multi neo non off out over para poly post pre pro pseudo quasi re self semi sub "
    "super supra tele trans tri ultra un under up"
)
_SUFFIXES = (
    "able al ally ance ant ary ed en ence ent er ers ery ess est ful fully hood ible ic ical ied ier ies iest "
    "ification ify ily iness ing ings ise ised ish ism ist ists ity ive ize ized less like logist logy ly ment ments "
    "ness or ous s ship sion tion tions y"
)


def _longest_first(affixes: str) -> list[str]:
    return sorted(affixes.split(), key=len, reverse=True)


_ENDS = (_longest_first(_PREFIXES), _longest_first(_SUFFIXES))


# ---- the random part ------------------------------------------------------------------------------
def random_part(word: str, dim: int) -> F32:
    """A unit vector made of the word's character n-grams, float32 ``[dim]``.

    Words that share n-grams point the same way in part. Each n-gram of one to six characters, the marks of
    start and end included, stands for numbers spread evenly over -1 to 1, drawn from its hash by splitmix64.

    >>> a, b, c = (random_part(word, 300) for word in ("misspelling", "mispelling", "volcano"))
    >>> bool(a @ b > 0.6 > 0.2 > a @ c)
    True
    """
    if len(word) > LONGEST:
        grams = [word]
    else:
        marked = _MARK + word + _MARK
        grams = [marked[i : i + size] for size in _NGRAMS for i in range(len(marked) - size + 1)]
    mean = _uniform(_seeds(grams), dim).mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean), dtype=np.float32)


def _seeds(grams: list[str]) -> U64:
    hashes = (hashlib.blake2b(gram.encode("utf-8", "surrogatepass"), digest_size=8).digest() for gram in grams)
    return np.frombuffer(b"".join(hashes), dtype="<u8").astype(np.uint64)


def _uniform(seeds: U64, dim: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Numbers from -1 to 1, ``[seeds, dim]``: splitmix64 (Steele, Lea, Flood 2014) at places 1 to dim of each seed."""
    step = np.uint64(0x9E3779B97F4A7C15)
    z = seeds[:, None] + np.arange(1, dim + 1, dtype=np.uint64)[None, :] * step
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return np.asarray((z >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1)


# ---- similar words --------------------------------------------------------------------------------
def similar_rows(word: str, find: Find, nearest: Nearest, word_of: WordOf) -> I64:
    """Rows of the known words most like an unknown one, at most three, best first.

    In this order: variants that the table knows (another case, repeated letters taken out); what it may be a
    misspelling of, the words with the fewest edits of those that share its pairs of characters; its stem; the
    three words that share its pairs, or those of its stem, with the fewest edits, however many these are.
    """
    if len(word) > LONGEST:
        return np.zeros(0, dtype=np.int64)
    lower = word.lower()
    once, twice = shrunk(lower, 1), shrunk(lower, 2)
    known = _known([lower, twice, once], find)
    if known:
        return np.array(known, dtype=np.int64)
    rows, edits = _by_edits(lower, nearest, word_of)
    if rows.size and edits[0] <= max(1, len(lower) // _LETTERS_AN_EDIT):
        # the mean of all three would lie nearer to none of them than to what they have in common
        return np.asarray(rows[edits == edits[0]][:SIMILAR])
    known = _known([stem(twice), stem(once)], find)
    if known:
        return np.array(known, dtype=np.int64)
    root = stem(once)
    if root != lower and (not rows.size or edits[0] > _SMALL_TYPO):
        rows, _ = _by_edits(root, nearest, word_of)
    return rows[:SIMILAR]


def _known(forms: list[str], find: Find) -> list[int]:
    """The rows of the first form that is known, in lower case, capitalised or in capitals."""
    for form in forms:
        rows = [row for row in map(find, dict.fromkeys((form, form.capitalize(), form.upper()))) if row >= 0]
        if rows:
            return rows[:SIMILAR]
    return []


def shrunk(word: str, times: int) -> str:
    """The word with no character more than ``times`` (1 or 2) in a row.

    >>> shrunk("hellllooo", 2), shrunk("hellllooo", 1)
    ('helloo', 'helo')
    """
    return _DOUBLED.sub(r"\1", word) if times == 1 else _REPEATED.sub(r"\1\1", word)


def stem(word: str) -> str:
    """The word without common English prefixes and suffixes, the longer of both first, four letters at least.

    >>> stem("unfriendliness"), stem("sing")
    ('friendl', 'sing')
    """
    while True:
        before = next((len(a) for a in _ENDS[0] if word.startswith(a)), 0)
        behind = next((len(a) for a in _ENDS[1] if word.endswith(a)), 0)
        rest = word[before:] if before > behind else word[: len(word) - behind]
        if rest == word or len(rest) < _SHORTEST_STEM:
            return word
        word = rest


def _by_edits(word: str, nearest: Nearest, word_of: WordOf) -> tuple[I64, I64]:
    """Rows that share pairs with a word and how many edits lie between, fewest first."""
    rows = nearest(word, _COMPARED)
    edits = edit_distances(word, [word_of(row).lower() for row in rows.tolist()])
    order = np.argsort(edits, kind="stable")
    return rows[order], edits[order]


def edit_distances(word: str, others: list[str]) -> I64:
    """Insertions, deletions, changes and swaps of neighbours from a word to each other one, int64 ``[m]``.

    Optimal string alignment (Damerau 1964, Levenshtein 1966), worked out for all other words side by side.

    >>> edit_distances("teh", ["the", "teach", "then", ""]).tolist()
    [1, 2, 2, 3]
    """
    sizes = np.array([len(other) for other in others], dtype=np.int64)
    widest = int(sizes.max(initial=0))
    letters = np.full((widest, len(others)), -1, dtype=np.int64)
    for column, other in enumerate(others):
        letters[: len(other), column] = [ord(character) for character in other]
    one_back = np.repeat(np.arange(widest + 1)[:, None], len(others), axis=1)
    two_back = one_back
    for i, character in enumerate(map(ord, word), 1):
        line = np.empty_like(one_back)
        line[0] = i
        # each place from above and from the corner at once; from the left by a running minimum
        np.minimum(one_back[1:] + 1, one_back[:-1] + (letters != character), out=line[1:])
        if i > 1:
            swapped = (letters[:-1] == character) & (letters[1:] == ord(word[i - 2]))
            line[2:] = np.where(swapped, np.minimum(line[2:], two_back[:-2] + 1), line[2:])
        ramp = np.arange(widest + 1)[:, None]
        line = np.minimum.accumulate(line - ramp, axis=0) + ramp
        two_back, one_back = one_back, line
    return np.asarray(one_back[sizes, np.arange(len(others))], dtype=np.int64)


# ---- both -----------------------------------------------------------------------------------------
def blend(word: str, similar: F32) -> F32:
    """The vector of an unknown word from its similar words' vectors ``[s, dim]``, as long as these are on average.

    Of unit length where there are no similar words (or only zero vectors).
    """
    lengths = np.linalg.norm(similar, axis=1)
    there = lengths > 0
    made = RANDOM_SHARE * random_part(word.lower(), similar.shape[1])
    size = 1.0
    if there.any():
        mean = (similar[there] / lengths[there, None]).mean(axis=0)
        weight = float(np.linalg.norm(mean))
        made = made + (1 - RANDOM_SHARE) * mean / weight if weight > 0 else made
        size = float(lengths[there].mean())
    return np.asarray(made * (size / np.linalg.norm(made)), dtype=np.float32)
