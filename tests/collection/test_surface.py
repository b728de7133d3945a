"""The surface of a Collection, each verb against what the rows themselves say."""

from __future__ import annotations

import asyncio
import math
import re
import threading
import warnings
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import nearfield as nf
from nearfield.collection.collection import Collection
from nearfield.core.errors import BadInput, Cancelled, DataWarning, Locked, ReadOnly, Unknown, Unsupported

Make = Callable[..., Collection]


def rows(rng: np.random.Generator, n: int, d: int = 16) -> np.ndarray:
    return rng.normal(size=(n, d)).astype(np.float32)


def exact(x: np.ndarray, q: np.ndarray, metric: str) -> np.ndarray:
    x, q = x.astype(np.float64), q.astype(np.float64)
    if metric == "cosine":
        return (x @ q) / np.linalg.norm(x, axis=1) / np.linalg.norm(q)
    return x @ q if metric == "dot" else -((x - q) ** 2).sum(axis=1)


def test_rows_come_back_as_they_were_given(fresh: Make, rng: np.random.Generator) -> None:
    c, x = fresh(dim=16), rows(rng, 5)
    meta = [
        {"n": 1, "when": datetime(2026, 11, 2, 3, tzinfo=UTC)},
        {},
        {"tags": ["a", "b"], "deep": {"er": None}},
        {"f": 0.5},
        {},
    ]
    assert c.upsert(["a", "b", "c", "d", "e"], x, texts=["one", None, "", "ü", "five"], meta=meta) == list("abcde")
    found = c.get(["e", "missing", "c", "a"])
    assert [r.id for r in found] == ["e", "c", "a"]
    assert [r.text for r in found] == ["five", "", "one"]
    assert [r.meta for r in found] == [{}, meta[2], meta[0]]
    assert (found[2].vector == x[0]).all()
    assert len(c) == 5
    assert "d" in c
    assert "z" not in c


@pytest.mark.parametrize("where", ["tail", "segment"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint8"])
@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_search_is_exact(
    fresh: Make, rng: np.random.Generator, metric: str, dtype: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "segment":
        monkeypatch.setattr("nearfield.collection.writing.DIRECT_ROWS", 10)
    x = (rng.integers(1, 100, size=(300, 12)) if "int" in dtype else rng.normal(size=(300, 12))).astype(dtype)
    c = fresh(fields={"v": nf.dense(12, dtype=dtype)}, metric=metric)
    c.upsert(list(range(300)), x)
    q = rng.normal(size=12).astype(np.float32) + 1
    found = c.search(q, k=10)
    scores = exact(x, q, metric)
    best = np.sort(scores)[::-1][:10]
    assert np.allclose(np.sort(found.scores)[::-1], best, rtol=2e-3, atol=2e-3)
    assert set(found.ids[:5]) <= set(np.argsort(-scores)[:12].tolist())
    if metric == "cosine":
        assert found.distances is not None
        assert np.allclose(found.distances, 1 - found.scores)


def test_hamming(fresh: Make, rng: np.random.Generator) -> None:
    bits = rng.integers(0, 256, size=(200, 8)).astype(np.uint8)
    c = fresh(dim=64, metric="hamming")
    c.upsert(list(range(200)), bits)
    q = bits[7] ^ np.array([1, 0, 0, 0, 0, 0, 0, 0], np.uint8)
    away = np.unpackbits(bits ^ q, axis=1).sum(axis=1)
    found = c.search(q, k=5)
    assert found[0].id == 7
    assert found[0].distance == 1
    assert sorted(-found.scores) == sorted(away)[:5]


def test_far_rows_under_l2_find_themselves(fresh: Make, rng: np.random.Generator) -> None:
    x = rows(rng, 500) + 1000
    c = fresh(dim=16, metric="l2")
    c.upsert(list(range(500)), x)
    assert [hits[0].id for hits in c.search(x[:50], k=1)] == list(range(50))


def bm25(texts: list[str], query: str) -> np.ndarray:
    cut = [re.findall(r"[a-z0-9]+", t.lower()) for t in texts]
    mean = sum(map(len, cut)) / len(cut)
    out = np.zeros(len(texts))
    for term, said in Counter(re.findall(r"[a-z0-9]+", query.lower())).items():
        df = sum(term in words for words in cut)
        idf = math.log1p((len(cut) - df + 0.5) / (df + 0.5))
        for i, words in enumerate(cut):
            tf = Counter(words)[term]
            out[i] += said * idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * len(words) / mean)) if tf else 0
    return out


@pytest.mark.usefixtures("small_steps")
def test_texts_are_ranked_by_bm25_over_all_parts(fresh: Make, rng: np.random.Generator) -> None:
    words = [f"w{i}" for i in range(40)]
    texts = [" ".join(rng.choice(words, size=int(rng.integers(1, 30)))) for _ in range(150)]
    c = fresh(fields={}, tokenizer="unicode61")
    for start in range(0, 150, 30):
        c.upsert([f"d{i}" for i in range(start, start + 30)], texts=texts[start : start + 30])
    assert c.info()["segments"] >= 1
    assert c.info()["tail_rows"] > 0
    for query in ("w1 w2 w3", "w7", "nothing here", "w1 w1 w2 w1 w3 w3", "w5 w5"):
        wanted = bm25(texts, query)
        found = c.search(text=query, k=20)
        assert np.allclose(found.scores, np.sort(wanted)[::-1][: len(found)], rtol=1e-4)
        assert len(found) == min(20, int((wanted > 0).sum()))
    gone = c.search(text="w1", k=1)[0].id
    c.delete([gone])
    left = [t for i, t in enumerate(texts) if f"d{i}" != gone]
    found = c.search(text="w1 w2", k=10)
    assert np.allclose(found.scores, np.sort(bm25(left, "w1 w2"))[::-1][:10], rtol=1e-4)


def test_stems_unless_told_otherwise(fresh: Make) -> None:
    stems, plain = fresh("a", fields={}), fresh("b", fields={}, tokenizer="unicode61")
    for c in (stems, plain):
        c.upsert(["x"], texts=["running shoes"])
    assert stems.search(text="run").ids == ["x"]
    assert plain.search(text="run").ids == []


def test_sparse_and_ragged_fields_are_exact(fresh: Make, rng: np.random.Generator) -> None:
    c = fresh(fields={"terms": nf.sparse(), "tokens": nf.ragged(8, metric="dot")})
    sparse = [{int(t): float(rng.random()) for t in rng.choice(50, size=6, replace=False)} for _ in range(80)]
    tokens = [rng.normal(size=(int(rng.integers(1, 6)), 8)).astype(np.float32) for _ in range(80)]
    c.upsert(list(range(80)), {"terms": sparse, "tokens": tokens})
    query = {3: 1.0, 7: 0.5, 11: -0.25}
    wanted = np.array([sum(w * row.get(t, 0) for t, w in query.items()) for row in sparse])
    found = c.search(query, field="terms", k=10)
    assert np.allclose(found.scores, np.sort(wanted)[::-1][:10], atol=1e-5)
    q = rng.normal(size=(3, 8)).astype(np.float32)
    wanted = np.array([(t @ q.T).max(axis=0).sum() for t in tokens])
    found = c.search(q, field="tokens", k=10)
    assert found.ids == np.argsort(-wanted)[:10].tolist()
    assert np.allclose(found.scores, np.sort(wanted)[::-1][:10], rtol=1e-4)
    assert c.get([5])[0].vectors["terms"] == pytest.approx(sparse[5])
    assert (c.get([5])[0].vectors["tokens"] == tokens[5]).all()


def test_hybrid_fuses_by_rank(fresh: Make, rng: np.random.Generator) -> None:
    c, x = fresh(dim=16), rows(rng, 60)
    c.upsert([f"d{i}" for i in range(60)], x, texts=["apple pie" if i % 7 == 0 else "plain bread" for i in range(60)])
    dense = c.search(x[14], k=60).ids
    words = c.search(text="apple", k=60).ids
    both = c.search(x[14], text="apple", k=5)
    wanted = {i: 1 / (60 + dense.index(i) + 1) + (1 / (60 + words.index(i) + 1) if i in words else 0) for i in dense}
    assert both[0].id == "d14"
    assert both.scores[0] == pytest.approx(max(wanted.values()), rel=1e-5)
    assert c.search(x[14], text="apple", k=5, fuse="weighted", weights=[1.0, 0.0]).ids == dense[:5]
    with pytest.raises(Unknown, match="no fuser 'rff'; did you mean 'rrf'"):
        c.search(x[14], text="apple", fuse="rff")


def test_range_group_vary_page_and_like_a_row(fresh: Make, rng: np.random.Generator) -> None:
    c, x = fresh(dim=16), rows(rng, 200)
    c.upsert(list(range(200)), x, meta=[{"g": i % 5} for i in range(200)])
    scores = exact(x, x[0], "cosine")
    near = c.search(x[0], k=None, min_score=0.3)
    assert set(near.ids) == set(np.flatnonzero(scores >= 0.3).tolist())
    groups = c.search(x[0], k=5, group_by="g")
    assert sorted(h.meta["g"] for h in groups) == [0, 1, 2, 3, 4]
    for hit in groups:
        assert hit.score == pytest.approx(scores[np.arange(200) % 5 == hit.meta["g"]].max(), rel=1e-4)
    order = c.search(x[0], k=30).ids
    assert c.search(x[0], k=10, offset=10).ids == order[10:20]
    assert c.search(id=0, k=10).ids == order[1:11]
    assert c.search(x[0], k=10, diversity=0.0).ids == order[:10]
    assert c.search(x[0], k=10, diversity=0.9).ids[0] == 0
    assert c.search(x[0], k=10, diversity=0.9).ids != order[:10]
    batch = c.search(x[:3], k=4)
    assert batch.ids.shape == (3, 4)
    assert [hits.ids for hits in batch] == [c.search(q, k=4).ids for q in x[:3]]


def test_filters_through_all_doors_and_pseudo_keys(fresh: Make, rng: np.random.Generator) -> None:
    c, x = fresh(dim=16), rows(rng, 40)
    c.upsert(
        [f"d{i}" for i in range(40)], x, texts=[f"number {i}" for i in range(40)], meta=[{"n": i} for i in range(40)]
    )
    assert c.ids("n >= 38") == c.ids({"n": {"$gte": 38}}) == c.ids(nf.key("n") >= 38) == ["d38", "d39"]
    assert c.ids("$id in ('d3', 'nope')") == ["d3"]
    assert c.ids("$text contains 'number 39'") == ["d39"]
    assert c.count("n < 10") == 10
    assert c.search(x[0], k=3, where="n in (5, 6)", explain=True).explain["matches"] == 2
    with pytest.raises(BadInput, match="'n' > 'x'"):
        c.search(x[0], where="n > 'x'")


def test_update_merges_removes_and_replaces(fresh: Make, rng: np.random.Generator) -> None:
    c, x = fresh(dim=16), rows(rng, 3)
    c.upsert([1, 2, 3], x, texts=["a", "b", "c"], meta=[{"k": 1, "old": True}] * 3)
    assert c.update([1, 99], meta={"old": None, "new": 2}) == 1
    assert c.get([1])[0].meta == {"k": 1, "new": 2}
    assert c.update(where="k = 1", meta={"k": 5}) == 3
    assert c.update([2], meta={"only": 1}, replace=True) == 1
    assert c.get([2])[0].meta == {"only": 1}
    assert c.update([3], texts=["z"], x=x[:1]) == 1
    row = c.get([3])[0]
    assert (row.text, row.meta) == ("z", {"k": 5, "old": True})
    assert (row.vector == x[0]).all()


def test_delete_facets_bounds_scroll(fresh: Make, rng: np.random.Generator) -> None:
    c, x = fresh(dim=16), rows(rng, 100)
    c.upsert(
        list(range(100)), x, meta=[{"color": "rgb"[i % 3], "n": i, "tags": ["x", "yz"[i % 2]]} for i in range(100)]
    )
    assert c.facets("color") == [("r", 34), ("b", 33), ("g", 33)]
    assert c.facets("tags", where="n < 10", k=1) == [("x", 10)]
    assert c.unique("color") == ["b", "g", "r"]
    assert c.bounds("n", where="color = 'g'") == (1, 97)
    assert c.delete(where="color = 'r'") == 34
    assert c.delete([1, 1000]) == 1
    assert c.bounds("n") == (2, 98)
    walked = c.scroll(batch=7)
    first = next(walked)
    c.upsert([500], x[:1])
    assert [r.id for r in first] + [r.id for batch in walked for r in batch] == [
        i for i in range(100) if i % 3 and i != 1
    ]
    later = list(c.scroll(after=first[-1].row))
    assert later[0][0].id == [i for i in range(100) if i % 3 and i != 1][7]
    assert c.keys() == {"color": ["str"], "n": ["int"], "tags": ["str[]"]}


def test_add_refuses_what_is_there_and_repeats(fresh: Make, rng: np.random.Generator) -> None:
    c, x = fresh(dim=16), rows(rng, 3)
    c.add(["a", "b"], x[:2])
    with pytest.raises(BadInput, match="expected new ones, got 'b'"):
        c.add(["c", "b"], x[:2])
    with pytest.raises(BadInput, match="each id once, got it again in row 2"):
        c.upsert(["c", "d", "c"], x)
    assert len(c) == 2
    c.upsert(["c", "d", "c"], x, repeats="last")
    assert (c.get(["c"])[0].vector == x[2]).all()
    with pytest.raises(BadInput, match="expected str, as those that are there"):
        c.upsert([1], x[:1])


def test_fields_come_and_go(fresh: Make, rng: np.random.Generator) -> None:
    c, x = fresh(dim=16), rows(rng, 20)
    c.upsert(list(range(20)), x)
    c.add_field("other", nf.dense(4, metric="dot"))
    c.update([3], x={"other": [np.ones(4)]})
    assert c.search(np.ones(4), field="other", k=5).ids == [3]
    assert c.search({"vector": x[3], "other": np.ones(4)}, k=1).ids == [3]
    c.drop_field("other")
    assert list(c.fields) == ["vector"]
    c.compact()
    assert c.search(x[3], k=1).ids == [3]


@pytest.mark.usefixtures("small_steps")
def test_recode_keeps_answers_and_survives_changes(fresh: Make, rng: np.random.Generator) -> None:
    c, x = fresh(dim=16), rows(rng, 500)
    for start in range(0, 500, 100):
        c.upsert(list(range(start, start + 100)), x[start : start + 100])
    before = [hits.ids for hits in c.search(x[:20], k=10)]
    c.recode("int8 | rescore(codec='float16', depth=10)")
    assert [hits.ids for hits in c.search(x[:20], k=10)] == before
    report = c.recall(10)
    assert report.value >= 0.99
    assert report.low <= report.value <= report.high
    c.upsert([7], x[8:9])
    c.delete([9])
    c.compact()
    assert c.search(x[8], k=2).ids == [7, 8] or c.search(x[8], k=2).ids == [8, 7]
    assert 9 not in [i for hits in c.search(x, k=5) for i in hits.ids]
    c.recode("int8", originals="drop")
    assert len(c.search(x[0], k=10)) == 10
    decoded = c.get([0])[0].vector
    assert np.corrcoef(decoded, x[0])[0, 1] > 0.99
    with pytest.raises(Unsupported, match="dropped"):
        c.recode("float16")
    assert c.check() == []


def test_recode_goes_on_where_it_was_stopped(fresh: Make, rng: np.random.Generator, small_steps: None) -> None:
    c, x = fresh(dim=16), rows(rng, 600)
    for start in range(0, 600, 60):
        c.upsert(list(range(start, start + 60)), x[start : start + 60])
    calls: list[int] = []
    from nearfield.collection import recoding

    recoding.recode(
        c._state,
        0,
        "rabitq(bits=4)",
        originals="keep",
        queries=None,
        rng=0,
        progress=None,
        stopped=lambda: bool(calls.append(1)) or len(calls) > 1,
    )
    assert c.plans == {}
    names = {p.name for p in (c.path / "segments").iterdir() if p.name.count(".") == 3}
    assert names
    job = c.recode("rabitq(bits=4)", background=True)
    assert job is not None
    assert job.wait(30)
    assert c.plans == {"vector": "rabitq()"} or c.plans == {"vector": "rabitq(bits=4)"}
    assert names <= {p.name for p in (c.path / "segments").iterdir()}


def test_backup_is_a_collection_of_the_same_rows(fresh: Make, rng: np.random.Generator, tmp_path: Path) -> None:
    c, x = fresh(dim=16), rows(rng, 5000)
    c.upsert(list(range(5000)), x, meta=[{"n": i} for i in range(5000)])
    c.upsert([1], x[:1])
    c.backup(tmp_path / "copy")
    c.delete(where="n >= 0")
    with nf.open(tmp_path / "copy", mode="r") as copy:
        assert len(copy) == 5000
        assert copy.check() == []
        assert (copy.get([1])[0].vector == x[0]).all()
    with pytest.raises(BadInput, match="new or empty folder"):
        c.backup(tmp_path / "copy")


def test_purge_leaves_no_trace(fresh: Make, rng: np.random.Generator) -> None:
    c, x = fresh(dim=16), rows(rng, 5000)
    secret = "sesame-open-9f3a"
    c.upsert(
        [f"{secret}-{i}" if i < 50 else f"d{i}" for i in range(5000)],
        x,
        texts=[secret if i < 50 else "t" for i in range(5000)],
    )
    c.upsert(["fresh"], x[:1], texts=[secret], meta=[{"k": secret}])
    c.search(text="sesame")
    c.delete(where=f"$text = '{secret}'")
    c.compact(purge=True)
    for path in c.path.rglob("*"):
        assert path.is_dir() or secret.encode() not in path.read_bytes(), path
    assert len(c) == 4950


def test_space_comes_back(fresh: Make, rng: np.random.Generator) -> None:
    c, x = fresh(dim=64), rows(rng, 30_000, 64)
    for start in range(0, 30_000, 5000):
        c.upsert(list(range(start, start + 5000)), x[start : start + 5000])
    c.delete(list(range(0, 30_000, 2)))
    c.compact()
    told = c.info()
    assert told["live_bytes"] >= 0.6 * told["bytes"]
    assert told["dead_rows"] == 0


def test_the_encoder_is_recorded_and_held_to(fresh: Make, tmp_path: Path) -> None:
    c = fresh(encoder="static")
    c.upsert(["a", "b"], texts=["warm socks for the winter", "a bowl of tomato soup"])
    assert c.search("wool stockings", k=1).ids == ["a"]
    assert c.search(text="tomato dinner", k=1).ids == ["b"]

    class Other:
        dim = 256
        space = {"model": "another-model", "dim": 256}

        def encode(self, texts: list[str]) -> np.ndarray:
            return np.zeros((len(texts), 256), np.float32)

    with pytest.raises(Unsupported, match=r"in the space of 'nearfield-static-minilm'.*'another-model'"):
        nf.open(c.path, encoder=Other())
    with pytest.raises(Unsupported, match="another-model"):
        c.upsert(["z"], np.ones((1, 256)), encoder="another-model")
    with pytest.raises(BadInput, match="expected 256 dimensions, as the field has, got 300"):
        c.upsert(["z"], np.ones((1, 300)))


def test_vectors_of_another_model_are_noticed(fresh: Make, data: Path) -> None:
    arxiv = np.load(data / "retrieval/arxiv60k/doc_title_minilm_f16.npy").astype(np.float32)
    c = fresh(dim=384)
    c.upsert(list(range(1000)), arxiv[:1000])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i, name in enumerate(("scifact", "cranfield", "cisi", "npl")):
            other = np.load(data / f"retrieval/{name}/doc_minilm_f16.npy").astype(np.float32)
            c.upsert(list(range(10_000 * i + 2000, 10_000 * i + 2064)), other[500:564])
    third = np.load(data / "vectors/arxiv10k_minilm_layer3mean_f16.npy").astype(np.float32)
    with pytest.warns(DataWarning, match="do not look like those that are there"):
        c.upsert(list(range(90_000, 90_064)), third[:64])


def test_watch_tells_drift_and_keeps_its_false_alarms(fresh: Make, rng: np.random.Generator) -> None:
    from nearfield.collection.measuring import energy_test

    p = [energy_test(rows(rng, 30, 8), rows(rng, 30, 8), rng, shuffles=99)[1] for _ in range(200)]
    assert np.mean(np.array(p) <= 0.05) <= 0.10
    c, x = fresh(dim=16), rows(rng, 1200)
    c.upsert(list(range(1200)), x)
    c.set_canaries(x[:10], k=5)
    calm = c.watch()
    assert not calm["drift"].details["alarm"]
    assert calm["canaries"].value == 1.0
    c.upsert(list(range(5000, 5400)), rows(rng, 400) + 1)
    c.delete(list(range(5)))
    moved = c.watch()
    assert moved["drift"].details["alarm"]
    assert moved["canaries"].value < 1.0


def test_opening_waits_for_no_writer(fresh: Make) -> None:
    c = fresh(dim=4)
    with c._state.lock.held(1):
        for how in ({}, {"dim": 4}, {"dim": 4, "mode": "r"}):
            with nf.open(c.path, timeout=0, **how) as other:  # type: ignore[arg-type]
                assert len(other) == len(c)


def test_modes_locks_and_stops(fresh: Make, rng: np.random.Generator) -> None:
    c, x = fresh(dim=16), rows(rng, 50)
    c.upsert(list(range(50)), x)
    reader = nf.open(c.path, mode="r")
    with pytest.raises(ReadOnly, match="mode='r'"):
        reader.delete([1])
    c.upsert([99], x[:1])
    assert len(reader) == 51
    other = nf.open(c.path, timeout=0.05)
    with c._state.lock.held(1), pytest.raises(Locked) as told:
        other.upsert([1], x[:1])
    assert told.value.pid > 0
    assert told.value.host
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled, match="cancelled"):
        c.search(x[0], cancel=stop)
    with pytest.raises(Cancelled, match="not done within"):
        c.search(x[0], timeout=0)
    assert asyncio.run(c.asearch(x[0], k=1)).ids[0] in (0, 99)
    reader.close()
    other.close()
    with pytest.raises(BadInput, match="no collection there"):
        nf.open(c.path.parent / "nothing")
    with pytest.raises(Unsupported, match="got dim=3"):
        nf.open(c.path, dim=3)
    with pytest.raises(Unsupported, match="has metric 'cosine'"):
        nf.open(c.path, metric="l2")


def test_rows_without_vectors_or_texts(fresh: Make, rng: np.random.Generator) -> None:
    c, x = fresh(dim=16), rows(rng, 2)
    c.upsert(["a", "b", "c"], [x[0], None, x[1]], texts=["one", "two", None])
    assert set(c.search(x[0], k=5).ids) == {"a", "c"}
    assert c.get(["b"])[0].vector is None
    assert c.search(text="two").ids == ["b"]
    with pytest.raises(BadInput, match="records no encoder"):
        c.upsert(["d"], texts=["three"])


def test_advice_on_a_collection_uses_its_metric_and_its_queries(fresh: Make, rng: np.random.Generator) -> None:
    c, x = fresh(dim=16, metric="dot", keep_queries=200), rows(rng, 600)
    c.upsert(list(range(600)), x)
    assert len(c.queries()) == 0
    for q in x[:250] + 0.1:
        c.search(q, k=1)
    kept = c.queries()
    assert kept.shape == (200, 16)
    assert np.allclose(kept[-1], x[249] + 0.1)
    advice = nf.advise(c, keep=0.9, plans=["float16", "int8", "pca(dim=2)"])
    assert str(advice.best) == "int8()"
    c.recode(advice.best)
    assert c.recall(10, queries=kept).value > 0.9


def test_a_range_search_finds_all_rows_above_the_score_in_every_kind_of_field(tmp_path: Path) -> None:
    fields = {"body": nf.dense(2), "terms": nf.sparse(), "tokens": nf.ragged(2)}
    n = 30
    with nf.open(tmp_path / "c", fields=fields) as c:
        x = {
            "body": np.ones((n, 2), np.float32),
            "terms": [{7: 0.5, i + 10: 1.0} for i in range(n)],
            "tokens": [np.ones((1 + i % 3, 2), np.float32) for i in range(n)],
        }
        texts = [("rare word" if i % 3 else "other") for i in range(n)]
        c.upsert(list(range(n)), x, texts=texts, meta=[{"g": i} for i in range(n)])
        assert len(c.search([1.0, 1.0], field="body", k=None, min_score=0.9)) == n
        assert len(c.search({7: 1.0}, field="terms", k=None, min_score=0.4)) == n
        assert len(c.search(np.ones((1, 2), np.float32), field="tokens", k=None, min_score=0.9)) == n
        assert len(c.search(text="rare", k=None, min_score=1e-6)) == 20
        assert len(c.search({7: 1.0}, field="terms", k=25, group_by="g")) == 25
        assert len(c.search(text="rare", k=20, group_by="g")) == 20
        with pytest.raises(BadInput, match="diversity: expected a search of a dense field, got field 'terms'"):
            c.search({7: 1.0}, field="terms", diversity=0.5)
