"""Everything that a person may ask of a folder or file, and whether the answers agree with the rows that are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import nearfield as nf
from nearfield.search.words import open_words

Q = np.random.default_rng(4).normal(size=(3, 8)).astype(np.float32)
TOLERANCE = 2e-2


def at_collection(folder: Path) -> list[str]:
    """Open, read, search and check a folder: what ``check`` finds; where that is nothing, every answer must be right.

    Answers are compared with the rows themselves: a row is found under its id, by its vector, its text and metadata.
    """
    with nf.open(folder, mode="r") as c:
        plan = c.info()["fields"].get("a", {}).get("plan")
        fine = plan is None or "float16" in plan  # scores of other codes are of what the codes give back
        rows = list(c)
        fields, names = c.fields, [r.id for r in rows]
        vectors = {name: [r.vectors.get(name) for r in rows] for name in fields}
        texts, meta = [r.text for r in rows], [r.meta for r in rows]
        asked = [
            c.search(q, k=5, field=name, exact=True) for name in ("a", "b") if name in fields for q in _of(c, name)
        ]
        near = [c.search(q, k=5, field="a") for q in Q if "a" in fields]
        word, below = c.search(text="word1", k=40), c.ids("n > 20")
        c.facets("t")
        found = c.check()
        if found:
            return found
        wrong: list[str] = []
        if len(set(names)) < len(names) or len(c) != len(rows):
            wrong.append("ids are there twice")
        if any(c.get([name])[0].text != text for name, text in zip(names, texts)):
            wrong.append("a row is found under another's id")
        if sorted(map(str, below)) != sorted(str(i) for i, m in zip(names, meta) if _above(m.get("n"))):
            wrong.append("a filter lets others through")
        if {h.id for h in word} != {i for i, t in zip(names, texts) if t and "word1" in t.split()}:
            wrong.append("a text is not found by its words")
        at = 0
        for name in ("a", "b"):
            for q in _of(c, name) if name in fields else ():
                wrong += _compared(asked[at], q, fields[name], names, vectors[name])
                at += 1
        for q, hits in zip(Q, near if fine else []):
            wrong += _plausible(hits, q, fields["a"], names, vectors["a"])
        if wrong:
            raise AssertionError(f"check finds nothing, but {wrong[0]}")
    return []


def _of(c: Any, name: str) -> list[Any]:
    field = c.fields[name]
    if field.kind != "dense":
        return []
    return [q[: field.dim] for q in Q] if field.dim <= Q.shape[1] else []


def _above(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 20


def _scores(q: Any, field: Any, vectors: list[Any]) -> dict[int, float]:
    rows = {i: np.asarray(v, np.float64) for i, v in enumerate(vectors) if v is not None}
    out = {}
    for i, x in rows.items():
        if field.nearness == "l2":
            out[i] = -float(((x - q) ** 2).sum())
        else:
            length = np.linalg.norm(x) * np.linalg.norm(q) if field.nearness == "cosine" else 1.0
            out[i] = float(x @ q / length) if length else 0.0
    return out


def _compared(hits: Any, q: Any, field: Any, names: list[Any], vectors: list[Any]) -> list[str]:
    scores = _scores(q, field, vectors)
    best = sorted(scores.values(), reverse=True)[: len(hits)]
    got = [h.score for h in hits]
    if len(got) != min(5, len(scores)) or not np.allclose(got, best, rtol=TOLERANCE, atol=TOLERANCE):
        return [f"exact search of {field} gives {got}, the rows {best}"]
    return _plausible(hits, q, field, names, vectors)


def _plausible(hits: Any, q: Any, field: Any, names: list[Any], vectors: list[Any]) -> list[str]:
    scores = {names[i]: score for i, score in _scores(q, field, vectors).items()}
    largest = max(map(abs, scores.values()), default=1.0)
    for hit in hits:
        if abs(scores.get(hit.id, np.inf) - hit.score) > 0.1 * largest:
            return [f"{hit.id!r} is found with the score {hit.score:g} of {field}, its own is {scores.get(hit.id)}"]
    return []


def at_packed(path: Path) -> list[str]:
    """The same of a ``.nf`` file of rows."""
    packed = nf.load(path)
    hamming = packed.metric == "hamming"
    q = np.packbits(np.tile(Q, 8) > 0, axis=1) if hamming else np.tile(Q, -(-packed.dim // Q.shape[1]))[:, : packed.dim]
    found = [packed.search(q, k=5), packed.search(q, k=packed.span), packed.search(q, k=4, budget=40)]
    found.append(packed.search(q, k=3, allow=np.arange(packed.span) % 3 == 0))
    for hits in found:
        hits.to_dicts()
    _ = repr(packed), packed.nbytes, packed.bytes_per_row
    packed.verify()
    everything = found[1].rows
    if packed.index.name() == "flat" and any(len(set(r.tolist())) < len(packed) for r in everything):
        raise AssertionError("verify finds nothing, but rows are never found")
    exact = packed.fitted.codec.name() != "rabitq" and packed.index.name() != "diskgraph"  # the others estimate scores
    if exact and not packed.plan.rescores and not hamming and not packed.fitted.maps and packed.fitted.origin is None:
        y = packed.decode().astype(np.float64)
        for query, rows, scores in zip(q.astype(np.float64), everything, found[1].scores):
            rows, scores = rows[rows >= 0], scores[rows >= 0]
            wanted = _right(packed.metric, query, y[rows])
            if np.abs(wanted - scores).max(initial=0) > 0.05 * max(1.0, np.abs(wanted).max(initial=0)):
                raise AssertionError("verify finds nothing, but scores are not those of the rows")
    return []


def _right(metric: str, q: Any, y: Any) -> Any:
    if metric == "l2":
        return -((y - q) ** 2).sum(axis=1)
    return y @ (q / np.linalg.norm(q) if metric == "cosine" else q)


def at_words(path: Path) -> list[str]:
    """The same of a table of word vectors."""
    table = open_words(path)
    words = list(table)
    rows = table.query(words)
    _ = table["wrod7"], table.most_similar("word3", k=3), repr(table)
    table.verify()
    if not all(word in table for word in words):
        raise AssertionError("verify finds nothing, but a word is not found")
    items = np.stack([vector for _, vector in table.items()])
    units = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
    best = dict(table.most_similar(words[0], k=5))
    right = {word: float(u @ units[0]) for word, u in zip(words, units)}
    if not np.array_equal(items, rows) or any(abs(right[w] - s) > 1e-2 for w, s in best.items()):
        raise AssertionError("verify finds nothing, but a word has another's vector")
    return []
