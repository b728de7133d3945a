"""Makes the golden files of a release: python scripts/make_golden.py [plans] [collection] [texts] [words]

Run it once for each release, never again for an old one: the point is that files of every release
stay readable and give the same results. ``tests/golden`` asks what is asked here.
"""

from __future__ import annotations

import json
import shutil
import sys
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np

import nearfield as nf
from nearfield.search.words_convert import convert

PLANS = {
    "raw": ("raw()", "cosine"),
    "raw-l2": ("raw()", "l2"),
    "float16-rescore": ("pca(dim=8) | float16() | rescore(codec='raw')", "cosine"),
    "bfloat16": ("bfloat16()", "dot"),
    "float8": ("float8()", "cosine"),
    "float4": ("float4()", "cosine"),
    "int8": ("int8()", "l2"),
    "int8-row": ("int8(scale='row')", "cosine"),
    "int4": ("int4()", "cosine"),
    "binary": ("binary()", "cosine"),
    "itq": ("itq()", "cosine"),
    "pq": ("pq(parts=4, code_bits=4)", "cosine"),
    "pq-8": ("pq(parts=4, code_bits=8)", "l2"),
    "opq": ("opq(parts=4, code_bits=4)", "cosine"),
    "rvq": ("rvq(stages=3, code_bits=4)", "cosine"),
    "lvq": ("lvq(bits=8)", "cosine"),
    "lvq-two": ("lvq(bits=4, residual=4)", "dot"),
    "rabitq": ("rabitq(bits=1)", "cosine"),
    "rabitq-4": ("rabitq(bits=4)", "l2"),
    "transform": ("transform(bytes=8)", "cosine"),
    "leanvec": ("leanvec(dim=8) | lvq(bits=4)", "cosine"),
}


def rows() -> tuple[np.ndarray, np.ndarray]:
    """The rows and queries of every golden file."""
    rng = np.random.default_rng(1)
    scales = 1 / np.sqrt(1 + np.arange(16))
    x = (rng.normal(size=(300, 16)) * scales + 0.1).astype(np.float32)
    return x, x[:6] + np.float32(0.05) * rng.normal(size=(6, 16)).astype(np.float32)


# ---- a Collection --------------------------------------------------------------------------------------
META: list[dict[str, Any]] = [
    {"flag": True, "count": 3, "size": 0.5, "name": "a", "none": None},
    {"flag": False, "count": -(1 << 63), "size": 1e300, "name": "", "tags": ["x", "y"]},
    {"when": datetime(2026, 3, 1, 12, 30, 0, 250000), "day": date(2024, 2, 29)},
    {"when": datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=45)))},
    {"deep": {"er": {"est": [1, 2, 3]}, "price": 2.5}, "count": (1 << 63) - 1},
    {"mixed": [1, "two", None, {"three": 3}], "floats": [0.1, -0.0], "flags": [True, False]},
    {"days": [date(2020, 1, 1), date(2021, 1, 1)], "empty": [], "name": "\u00fcber \U0001f9e6"},
    {},
]


def collection_rows() -> dict[str, Any]:
    """The rows of the golden Collection."""
    rng = np.random.default_rng(2)
    n = 23  # the last is written in place of another
    words = ["warm", "cold", "socks", "tea", "running", "runs", "\u00e9t\u00e9", "winter"]
    return {
        "ids": [f"r{i}" for i in range(n)],
        "x": {
            "body": rng.normal(size=(n, 8)).astype(np.float32),
            "half": rng.normal(size=(n, 4)).astype(np.float16),
            "bits": rng.integers(0, 256, size=(n, 2)).astype(np.uint8),
            "terms": [
                {int(t): float(np.float32(rng.random())) for t in rng.choice(9, 3, replace=False)} for _ in range(n)
            ],
            "tokens": [rng.normal(size=(int(rng.integers(1, 4)), 4)).astype(np.float32) for _ in range(n)],
        },
        "texts": [None if i % 7 == 6 else " ".join(rng.choice(words, size=4)) for i in range(n)],
        "meta": [META[i % len(META)] | ({"row": i} if i % 5 else {}) for i in range(n)],
    }


def part_of(rows: dict[str, Any], start: int, stop: int) -> dict[str, Any]:
    """Some of the rows, as ``upsert`` takes them."""
    out = {key: value[start:stop] for key, value in rows.items() if key != "x"}
    x: dict[str, Any] = {name: values[start:stop] for name, values in rows["x"].items()}
    if start:
        x["half"] = [None if i % 4 == 3 else v for i, v in enumerate(x["half"])]
    return out | {"x": x}


def make_collection(folder: Path) -> None:
    """A segment under a Plan, a tail, rows deleted in both, a row written again."""
    fields = {
        "body": nf.dense(8), "half": nf.dense(4, dtype="float16", metric="l2"), "bits": nf.dense(16, metric="hamming"),
        "terms": nf.sparse(), "tokens": nf.ragged(4, metric="dot"),
    }  # fmt: skip
    rows = collection_rows()
    with nf.open(folder, fields=fields, keep_queries=3) as c:
        c.upsert(**part_of(rows, 0, 14))
        c.compact()
        c.recode("int8 | rescore(codec='float16', depth=4)", field="body")
        c.upsert(**part_of(rows, 14, 22))
        c.upsert(
            ["r5"], {name: values[22:] for name, values in rows["x"].items()}, texts=["again"], meta=[{"again": 1}]
        )
        c.delete(["r3", "r17"])
        c.search(rows["x"]["body"][0], k=1)
        c.search(text="warm")  # its lists are derived and kept
    for name in ("lock", "work", "leases"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def collection_answers(c: Any) -> dict[str, Any]:
    """Everything that a person may ask of the golden Collections, of every release: add to it, take nothing away."""
    rows = collection_rows()["x"]
    logged = c.queries("body").tolist()  # before more are asked
    body, half, bits = rows["body"][0] + 0.1, rows["half"][0].astype(np.float32), rows["bits"][0]
    wheres = ["flag = true", "count > 0", "size >= 0.5", "name = '' or name = 'a'", "tags = 'x'", "row in (1, 2, 18)",
              "when >= '2026-03-01T00:00:00'", "day < '2025-01-01'", "deep.price = 2.5", "deep.er.est = 2",
              "mixed is not null",
              "none is null", "$id = 'r5'", "$text contains 'tea'", "not row >= 0", "name like '%ber%'"]  # fmt: skip
    searches: list[dict[str, Any]] = [
        {"q": body, "field": "body"}, {"q": body, "field": "body", "exact": True}, {"q": half, "field": "half"},
        {"q": bits, "field": "bits"}, {"q": {1: 1.0, 4: -0.5}, "field": "terms"},
        {"q": np.stack([half, -half]), "field": "tokens"}, {"text": "warm run"}, {"text": "\u00e9t\u00e9"},
        {"q": body, "field": "body", "text": "tea"}, {"id": "r1", "field": "body"}, {"q": body, "where": "row > 5"},
        {"q": body, "group_by": "name"}, {"q": {"body": body, "half": half}}, {"q": body, "k": None, "min_score": 0.2},
    ]  # fmt: skip
    found = [c.search(**{"k": 6} | how) for how in searches]
    return {
        "rows": [
            {"id": r.id, "text": r.text, "meta": repr(r.meta), "vectors": {k: _plain(v) for k, v in r.vectors.items()}}
            for r in c
        ],
        "wheres": {where: c.ids(where) for where in wheres},
        "searches": [{"ids": hits.ids, "scores": [round(float(s), 4) for s in hits.scores]} for hits in found],
        "facets": {key: [[repr(v), n] for v, n in c.facets(key)] for key in ("flag", "name", "tags", "row", "day")},
        "bounds": {key: repr(c.bounds(key)) for key in ("count", "size", "row", "name")},
        "keys": c.keys(), "plans": c.plans, "fields": {name: str(field) for name, field in c.fields.items()},
        "queries": logged, "count": len(c),
    }  # fmt: skip


def _plain(value: Any) -> Any:
    return {str(k): v for k, v in value.items()} if isinstance(value, dict) else np.asarray(value).tolist()


# ---- texts ---------------------------------------------------------------------------------------------
TOKENIZERS = {
    "snowball": "snowball", "own": "snowball(stop_words=['tea', \"don't\"])",
    "words": "unicode61(stop_words='english')", "trigram": "trigram",
}  # fmt: skip
TEXTS = [
    "Warm socks for running in the rain", "The runner's socks were warm, warmer than warm", "tea",
    "A bowl of tea and the tea",
    "to be or not to be", "the of and", "\u00c9t\u00e9 and na\u00efve cats, don't run", "\u65e5\u672c\u8a9e",
]  # fmt: skip
ASKED = [
    "warm socks",
    "running runs run warm",
    "the tea",
    "to be",
    "\u00e9t\u00e9 naive",
    "don't",
    "\u65e5\u672c\u8a9e",
    "and",
]


def make_texts(folder: Path, tokenizer: str) -> None:
    """A Collection of texts alone, with a segment, its lists, and fresh rows behind it."""
    with nf.open(folder, fields={}, tokenizer=tokenizer) as c:
        c.upsert(list(range(6)), texts=TEXTS[:6])
        c.compact()
        c.upsert([6, 7], texts=TEXTS[6:])
        c.delete([2])
        c.search(text="warm")  # its lists are derived and kept
    for name in ("lock", "work", "leases"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def texts_answers(c: Any) -> dict[str, Any]:
    """What is asked of the golden Collections of texts, of every release: add to it, take nothing away."""
    found = {asked: c.search(text=asked, k=10) for asked in ASKED}
    return {a: {"ids": f.ids, "scores": [round(float(s), 4) for s in f.scores]} for a, f in found.items()}


# ---- words ---------------------------------------------------------------------------------------------
WORDS = [
    "king",
    "queen",
    "man",
    "woman",
    "warm",
    "warmer",
    "\u00e9t\u00e9",
    "\u65e5\u672c",
    "\U0001f9e6",
    "New York",
    "it's",
    "x",
]


def make_words(path: Path, dtype: Any) -> None:
    """A small table."""
    vectors = np.random.default_rng(3).normal(size=(len(WORDS), 8)).astype(np.float16).astype(np.float32)
    convert((WORDS, vectors), path, dtype=dtype)


def words_answers(table: Any) -> dict[str, Any]:
    """Everything that a person may ask of the golden tables, of every release: add to it, take nothing away."""

    def rounded(found: Any) -> Any:
        return [[word, round(float(score), 4)] for word, score in found]

    return {
        "words": list(table), "dtype": table.dtype, "vectors": table.query(WORDS).tolist(),
        "unknown": {word: table.query([word])[0].tolist() for word in ("kings", "warmth", "zzz")},
        "similar": {word: rounded(table.most_similar(word, k=3)) for word in ("king", "\u00e9t\u00e9", "warmth")},
        "analogy": rounded(table.analogy("man", "king", "woman", k=2)),
        "odd": table.doesnt_match(["king", "queen", "warm"]), "similarity": round(table.similarity("king", "queen"), 4),
    }  # fmt: skip


def make_plans(folder: Path) -> None:
    """One small file for each plan, and what searching it gives."""
    x, q = rows()
    expected = {}
    for name, (plan, metric) in PLANS.items():
        packed = nf.Plan(plan).fit(x, metric=metric, ids=[f"r{i}" for i in range(len(x))])
        packed.save(folder / f"{name}.nf")
        hits = nf.load(folder / f"{name}.nf").search(q, k=5)
        expected[name] = {"plan": plan, "rows": hits.rows.tolist(), "scores": np.round(hits.scores, 5).tolist()}
    np.save(folder / "queries.npy", q)
    (folder / "expected.json").write_text(json.dumps(expected) + "\n")


def main() -> None:
    """Write what is named, or all."""
    folder = Path(__file__).resolve().parents[1] / "tests" / "golden" / f"v{nf.__version__}"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = sys.argv[1:] or ["plans", "collection", "texts", "words"]
    if "plans" in wanted:
        make_plans(folder)
    if "collection" in wanted:
        made = folder / "collection"
        made.mkdir(exist_ok=True)
        make_collection(made / "notes")
        with nf.open(shutil.copytree(made / "notes", made / "copy")) as c:
            (made / "expected.json").write_text(json.dumps(collection_answers(c)) + "\n")
        shutil.rmtree(made / "copy")
    if "texts" in wanted:
        for name, tokenizer in TOKENIZERS.items():
            made = folder / "texts" / name
            made.mkdir(parents=True, exist_ok=True)
            make_texts(made / "notes", tokenizer)
            with nf.open(shutil.copytree(made / "notes", made / "copy")) as c:
                (made / "expected.json").write_text(json.dumps(texts_answers(c)) + "\n")
            shutil.rmtree(made / "copy")
    if "words" in wanted:
        made = folder / "words"
        made.mkdir(exist_ok=True)
        for dtype in ("float32", "float16"):
            make_words(made / f"{dtype}.nf", dtype)
            answers = words_answers(nf.open(made / f"{dtype}.nf"))
            (made / f"{dtype}.json").write_text(json.dumps(answers) + "\n")
    print(f"{', '.join(wanted)} in {folder.name}")


if __name__ == "__main__":
    main()
