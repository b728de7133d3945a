"""Sound folders and files, of which a stranger makes others."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np

import nearfield as nf
from nearfield.collection import writing
from nearfield.search.words_convert import convert

RNG = np.random.default_rng(5)
X = RNG.normal(size=(60, 8)).astype(np.float32)
PLANS = [
    ("raw()", "cosine"), ("int8() | rescore(codec='float16')", "l2"), ("pca(dim=4) | lvq(bits=4)", "dot"),
    ("rabitq(bits=2)", "l2"), ("pq(parts=4, code_bits=4)", "cosine"), ("binary()", "dot"), ("float4()", "cosine"),
    ("transform(bytes=4)", "cosine"), ("opq(parts=4, code_bits=4)", "dot"), ("recurrent_binary(bits=2)", "cosine"),
    ("int8() | vamana(degree=6)", "cosine"), ("float16() | hnsw(degree=4)", "l2"),
    ("float16() | kd_forest(trees=2)", "l2"),
    ("binary() | ivf(lists=4) | rescore(codec='lvq(bits=4)', of='residual')", "l2"),
    ("int8() | lsh(tables=2)", "cosine"),
    ("float16() | packed_graph(degree=6)", "cosine"), ("lvq(bits=4) | diskgraph(degree=6)", "l2"),
    ("int8() | nndescent(degree=6)", "dot"), ("bits()", "hamming"),
]  # fmt: skip


def collection(
    place: Path, *, named: bool = True, plan: str | None = "int8 | rescore(codec='float16', depth=4)"
) -> Path:
    """Segments, a tail, dead rows in both, inverted lists, codes under a plan; four kinds of fields."""
    before, writing.DIRECT_ROWS = (os.urandom, writing.DIRECT_ROWS), 20
    drawn = itertools.count(1)
    os.urandom = lambda n: next(drawn).to_bytes(n, "big")  # the same names of files each time
    try:
        fields = {"a": nf.dense(8), "b": nf.dense(4, dtype="float16", metric="l2"), "s": nf.sparse(), "r": nf.ragged(3)}
        c = nf.open(place, fields=fields)
        ids = [f"d{i}" if named else 3 * i for i in range(60)]
        for start, stop in ((0, 25), (25, 46), (46, 60)):
            some = slice(start, stop)
            vectors = {
                "a": X[some], "b": X[some, :4],
                "s": [{i % 7: 1.0, 10 + i: 0.5} for i in range(start, stop)],
                "r": [X[i, :6].reshape(2, 3) if i % 2 else None for i in range(start, stop)],
            }  # fmt: skip
            texts = [f"word{i % 3} text{i}" if i % 5 else None for i in range(start, stop)]
            meta = [{"n": i, "t": "ab"[i % 2], "l": [i, i + 1]} if i % 4 else {"n": i / 2} for i in range(start, stop)]
            c.upsert(ids[some], vectors, texts=texts, meta=meta)
            if plan and not start:
                c.recode(plan, field="a")
        c.delete([ids[3], ids[50]])
        c.search(text="word1", k=3)
        c.set_canaries(k=3, field="a", queries=X[:3])
        c.close()
    finally:
        os.urandom, writing.DIRECT_ROWS = before
    return place


def packed(place: Path, number: int) -> Path:
    """A file of rows under one of the plans, with ids and texts."""
    plan, metric = PLANS[number % len(PLANS)]
    rows = np.packbits(RNG.normal(size=(60, 64)) > 0, axis=1) if metric == "hamming" else X
    names = [f"id {i}" for i in range(len(rows))] if number % 2 else list(range(len(rows)))
    made = nf.Plan(plan).fit(rows, metric=metric, ids=names, texts=[f"text {i}" for i in range(len(rows))])
    if number % 3 == 0:
        made.delete(rows=[2, 5])
    made.save(place)
    return place


def words(place: Path) -> Path:
    """A table of word vectors."""
    convert(([f"word{i}" for i in range(40)], RNG.normal(size=(40, 8))), place)
    return place
