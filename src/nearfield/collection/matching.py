"""The best rows of fields that are not dense: BM25 over texts, sparse vectors, MaxSim over ragged ones. All exact."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.protocols import F32, I64
from nearfield.numerics import kernels
from nearfield.store.fields import Field
from nearfield.store.parts import Part, SegmentPart
from nearfield.store.postings import Postings
from nearfield.store.snapshot import Snapshot
from nearfield.store.tail import TailPart
from nearfield.store.textindex import TextIndex, query_terms
from nearfield.store.tokenizers import Tokenizer

K1, B = 1.2, 0.75  # of BM25, as in Lucene and SQLite
EMPTY = np.zeros(0, np.int64)
_PAIRS = 1 << 22  # of query and document tokens scored at a time


def picked(rows: I64, scores: F32, k: int) -> tuple[I64, F32]:
    """The best ``k`` of some rows, ties to the smaller number: ``[k]`` each."""
    at, best = kernels.topk(scores[None, :], max(1, min(k, len(rows)))) if len(rows) else (None, None)
    if at is None or best is None:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    return rows[at[0]], best[0]


# ---- texts -----------------------------------------------------------------------------------------
def text_indexes(part: Part, tokenizer: Tokenizer, *, keep: bool) -> list[TextIndex]:
    """The inverted lists of a part, one or several one behind another; those of a segment are kept beside it."""
    if isinstance(part, TailPart):
        return part.tail.indexes(part.n, tokenizer)
    known: dict[Tokenizer, TextIndex] = part.__dict__.setdefault("_texts", {})
    if tokenizer not in known and isinstance(part, SegmentPart):
        path = lists_file(part, tokenizer)
        found = TextIndex.load(path, tokenizer, part.n)
        if found is None:
            found = indexed(part, tokenizer)
            if keep:
                with contextlib.suppress(OSError):  # derived: it is made again where it cannot be kept
                    found.save(path, tokenizer)
        known[tokenizer] = found
    return [known[tokenizer] if tokenizer in known else indexed(part, tokenizer)]


def lists_file(part: SegmentPart, tokenizer: Tokenizer) -> Path:
    """Where the inverted lists of a segment are kept."""
    return part.path.parent / f"{part.path.stem}.{tokenizer.label}.nf"


def indexed(part: Part, tokenizer: Tokenizer) -> TextIndex:
    """The inverted lists of a part, made of its texts."""
    return TextIndex.build([None] * part.n if part.texts is None else part.texts.all(), tokenizer)


@dataclass
class _Stretch:
    """Consecutive rows with inverted lists of their own."""

    rows: I64
    index: TextIndex
    live: NDArray[np.bool_] | None
    mask: NDArray[np.bool_] | None

    def count(self, rows: NDArray[np.uint32]) -> int:
        """How many of these rows are there."""
        return len(rows) if self.live is None else int(np.count_nonzero(self.live[rows]))

    def lengths(self) -> NDArray[Any]:
        """Terms of the rows that are there, 0 for others."""
        return self.index.lengths if self.live is None else np.where(self.live, self.index.lengths, 0)


def _stretches(
    snapshot: Snapshot, masks: list[NDArray[np.bool_] | None], tokenizer: Tokenizer, keep: bool
) -> Iterator[_Stretch]:
    for view, mask in zip(snapshot.views, masks):
        start = 0
        for index in text_indexes(view.part, tokenizer, keep=keep) if view.count else []:
            stop = min(start + index.n, view.part.n)
            if stop - start < index.n:  # the tail has grown since this snapshot
                index = index.first(stop - start)
            at = slice(start, stop)
            live, chosen = (None if m is None else m[at] for m in (view.live, mask))
            yield _Stretch(view.part.rows[at], index, live, chosen)
            start = stop


def bm25(
    snapshot: Snapshot, text: str, k: int, masks: list[NDArray[np.bool_] | None], *, tokenizer: Tokenizer, keep: bool
) -> tuple[I64, F32, int]:
    """The best rows that hold a word of a text, and how many hold one; statistics are of all rows there are.

    A term that the text says twice counts twice, as in Lucene and bm25s.

    Source: Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009; idf as in Lucene, never negative.
    """
    stretches = list(_stretches(snapshot, masks, tokenizer, keep))
    lengths = [s.lengths() for s in stretches]
    documents = sum(int(np.count_nonzero(held)) for held in lengths)
    average = sum(float(held.sum(dtype=np.float64)) for held in lengths) / max(1, documents)
    scores = [np.zeros(s.index.n, np.float32) for s in stretches]
    for term, said in query_terms(text, tokenizer):
        lists = [s.index.find(term) for s in stretches]
        frequency = sum(s.count(rows) for s, (rows, _) in zip(stretches, lists))
        # Rows that hold nothing but stop words have no length, and may be more than those that have one.
        idf = math.log1p((max(documents, frequency) - frequency + 0.5) / (frequency + 0.5))
        for out, s, (rows, counts) in zip(scores, stretches, lists):
            norm = K1 * (1 - B + B * s.index.lengths[rows] / max(average, 1e-9))
            out[rows] += (said * idf * counts * (K1 + 1) / (counts + norm)).astype(np.float32)
    found: list[tuple[I64, F32]] = []
    matches = 0
    for s, out in zip(stretches, scores):
        at: I64 = np.flatnonzero((out > 0) if s.mask is None else (out > 0) & s.mask)
        matches += len(at)
        found.append(picked(s.rows[at], out[at], k))
    every = np.concatenate([EMPTY, *(r for r, _ in found)])
    return *picked(every, np.concatenate([np.zeros(0, np.float32), *(s for _, s in found)]), k), matches


# ---- sparse ----------------------------------------------------------------------------------------
def postings(part: Part, number: int) -> Postings | None:
    """The inverted lists of a sparse field of a part, made at the first search."""
    known: dict[int, Postings] = part.__dict__.setdefault("_postings", {})
    found = part.vectors(number)
    if found is None or found.indices is None:
        return None
    if number not in known:
        if isinstance(part, SegmentPart):
            part.verify_vectors(number)
        known[number] = Postings.build(found.count, found.indices, found.values, np.diff(found.starts))
    return known[number]


def sparse_scores(part: Part, number: int, field: Field, terms: I64, weights: F32) -> F32 | None:
    """The score of every sparse vector of a part, by its place among them."""
    lists = postings(part, number)
    if lists is None:
        return None
    scores = lists.dot(terms, weights)
    if field.nearness == "cosine":
        norms = lists.norms()
        own = float(np.sqrt(np.square(weights, dtype=np.float64).sum())) or 1.0
        scores = np.asarray(scores / np.where(norms > 0, norms, 1) / own, dtype=np.float32)
    return scores


# ---- ragged ----------------------------------------------------------------------------------------
def maxsim(part: Part, number: int, field: Field, query: F32, at: I64) -> F32:
    """MaxSim of one query ``[t, d]`` with some ragged rows: for each query token the best document token, added up.

    Source: Khattab and Zaharia, ColBERT, 2020, doi:10.1145/3397271.3401075 (S036).
    """
    found = part.vectors(number)
    if found is None:
        return np.zeros(0, np.float32)
    if isinstance(part, SegmentPart):
        part.verify_vectors(number)
    query = _unit(query) if field.nearness == "cosine" else query
    lengths = np.diff(found.starts)[at]
    out = np.empty(len(at), np.float32)
    ends = np.cumsum(lengths)
    start = 0
    while start < len(at):
        done = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _PAIRS // max(1, len(query)), side="right")))
        tokens = np.concatenate([found.values[found.starts[p] : found.starts[p + 1]] for p in at[start:stop].tolist()])
        tokens = np.asarray(tokens, dtype=np.float32)
        tokens = _unit(tokens) if field.nearness == "cosine" else tokens
        inner = np.cumsum(lengths[start:stop]) - lengths[start:stop]
        out[start:stop] = np.maximum.reduceat(tokens @ query.T, inner, axis=0).sum(axis=1)
        start = stop
    return out


def _unit(x: F32) -> F32:
    norms = np.sqrt(np.einsum("ij,ij->i", x, x))
    return np.asarray(x / np.where(norms > 0, norms, 1)[:, None], dtype=np.float32)
