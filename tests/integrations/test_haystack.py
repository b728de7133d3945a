"""The document store against Haystack's own suites, and the retrievers."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("haystack")

from haystack import Document, Pipeline
from haystack.dataclasses import ByteStream, SparseEmbedding
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.document_stores.types import DuplicatePolicy
from haystack.errors import FilterError
from haystack.testing import document_store as suite
from haystack.testing import document_store_async as suite_async

import nearfield as nf
from nearfield.core.errors import BadInput, NearfieldError, Unsupported
from nearfield.integrations.haystack import (
    NearfieldBM25Retriever,
    NearfieldDocumentStore,
    NearfieldEmbeddingRetriever,
    NearfieldHybridRetriever,
)


@pytest.fixture
def document_store(tmp_path: Path):
    store = NearfieldDocumentStore(tmp_path / "documents")
    yield store
    store.close()


class _Float32:
    """Vectors are kept as float32: the one thing in which a document that comes back may differ."""

    @staticmethod
    def assert_documents_are_equal(received: list[Document], expected: list[Document]) -> None:
        def plain(documents: list[Document]) -> list[dict]:
            out = [d.to_dict(flatten=False) for d in documents]
            for d in out:
                d["embedding"] = None if d["embedding"] is None else np.float32(d["embedding"]).tolist()
            return out

        assert plain(received) == plain(expected)


class TestStore(
    _Float32,
    suite.DocumentStoreBaseExtendedTests,
    suite.CountDocumentsByFilterTest,
    suite.CountUniqueMetadataByFilterTest,
    suite.GetMetadataFieldsInfoTest,
    suite.GetMetadataFieldMinMaxTest,
    suite.GetMetadataFieldUniqueValuesTest,
):
    @pytest.fixture
    def document_store(self, document_store):
        return document_store

    def test_write_documents(self, document_store) -> None:
        document = Document(content="test doc")
        assert document_store.write_documents([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents([document])
        self.assert_documents_are_equal(document_store.filter_documents(), [document])


class TestStoreAsync(
    _Float32,
    suite_async.DeleteAllAsyncTest,
    suite_async.CountDocumentsAsyncTest,
    suite_async.CountDocumentsByFilterAsyncTest,
    suite_async.CountUniqueMetadataByFilterAsyncTest,
    suite_async.DeleteByFilterAsyncTest,
    suite_async.UpdateByFilterAsyncTest,
    suite_async.WriteDocumentsAsyncTest,
    suite_async.DeleteDocumentsAsyncTest,
    suite_async.GetMetadataFieldsInfoAsyncTest,
    suite_async.GetMetadataFieldMinMaxAsyncTest,
    suite_async.GetMetadataFieldUniqueValuesAsyncTest,
    suite_async.FilterDocumentsAsyncTest,
):
    @pytest.fixture
    def document_store(self, document_store):
        return document_store

    @pytest.mark.asyncio
    async def test_write_documents_async(self, document_store) -> None:
        document = Document(content="test doc")
        assert await document_store.write_documents_async([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            await document_store.write_documents_async([document])
        self.assert_documents_are_equal(await document_store.filter_documents_async(), [document])


def test_a_document_comes_back_whole(document_store) -> None:
    document = Document(
        id="a",
        content=None,
        blob=ByteStream(b"\x00\xffdata", meta={"name": "x.bin"}, mime_type="application/octet-stream"),
        meta={"author": {"name": "Ada", "tags": ["a", "b"]}, "year": 1843, "none": None, "ratio": 1.0, "yes": True},
        score=0.25,
        embedding=[0.5, -0.25],
        sparse_embedding=SparseEmbedding([3, 7], [0.5, 1.25]),
    )
    plain = Document(id="b", content="", meta={})
    document_store.write_documents([document, plain])
    back = document_store.filter_documents()
    assert back == [document, plain]
    assert [type(back[0].meta[k]) for k in ("year", "ratio", "yes")] == [int, float, bool]
    store = nf.open(document_store.path)
    assert store.get(where="author.name = 'Ada'")[0].meta["year"] == 1843
    store.close()


def test_policies_within_one_write(document_store) -> None:
    first, second = Document(id="1", content="first"), Document(id="1", content="second")
    with pytest.raises(DuplicateDocumentError):
        document_store.write_documents([first, second], policy=DuplicatePolicy.FAIL)
    assert document_store.count_documents() == 0
    assert document_store.write_documents([first, second], policy=DuplicatePolicy.SKIP) == 1
    assert document_store.filter_documents()[0].content == "first"
    document_store.write_documents([first, second], policy=DuplicatePolicy.OVERWRITE)
    assert document_store.filter_documents()[0].content == "second"
    with pytest.raises(BadInput, match="_document"):
        document_store.write_documents([Document(id="9", meta={"_document": 1})])


def random_filter(rng: np.random.Generator, depth: int = 0) -> dict:
    if depth < 3 and rng.random() < 0.5:
        parts = [random_filter(rng, depth + 1) for _ in range(rng.integers(0, 4))]
        return {"operator": str(rng.choice(["AND", "OR", "NOT"])), "conditions": parts}
    field, values = [
        ("meta.n", [1, 2.5, 3, None]),
        ("meta.word", ["tea", "socks", None]),
        ("meta.day", ["2024-05-01T00:00:00", "2025-01-01T10:00:00", datetime(2024, 5, 1), datetime(2025, 6, 1)]),
        ("meta.author.name", ["Ada", "Bob"]),
        ("content", ["text 1", "text 2", None]),
        ("id", ["1", "2", "30"]),
    ][rng.integers(6)]
    ordered = field in ("meta.n", "meta.day")
    names = ["==", "!=", "in", "not in"] + [">", ">=", "<", "<="] * ordered
    operator = str(rng.choice(names))
    value = [values[i] for i in rng.integers(0, len(values), size=2)]
    return {"field": field, "operator": operator, "value": value if "in" in operator else value[0]}


def test_filters_choose_what_the_store_in_memory_chooses(document_store, rng: np.random.Generator) -> None:
    documents = []
    for i in range(40):
        meta = {
            "n": [1, 2, 2.5, 3, None][rng.integers(5)],
            "word": ["tea", "socks", "", None][rng.integers(4)],
            "day": ["2024-05-01T00:00:00", "2025-01-01T10:00:00", datetime(2024, 5, 1), None][rng.integers(4)],
            "author": {"name": ["Ada", "Bob"][rng.integers(2)]},
        }
        kept = {k: v for k, v in meta.items() if rng.random() < 0.8}
        documents.append(Document(id=str(i), content=[None, f"text {i % 3}"][rng.integers(2)], meta=kept))
    memory = InMemoryDocumentStore()
    for store in (memory, document_store):
        store.write_documents(documents)
    some = 0
    for _ in range(300):
        made = random_filter(rng)
        want = [d.id for d in memory.filter_documents(made)] if "field" in made or made["conditions"] else None
        if want is not None:
            assert [d.id for d in document_store.filter_documents(made)] == want, made
            some += 0 < len(want) < 40
    assert some > 100


def test_our_own_filters_pass_through(document_store) -> None:
    document_store.write_documents([Document(id=str(i), meta={"n": i}) for i in range(5)])
    assert [d.id for d in document_store.filter_documents(nf.key("n") > 2)] == ["3", "4"]


@pytest.mark.parametrize(
    "filters",
    [
        {"field": "meta.n", "operator": "=~", "value": 1},
        {"field": "meta.n", "operator": "==", "value": [1, 2]},
        {"field": "embedding", "operator": "==", "value": 1},
        {"operator": "XOR", "conditions": []},
        {"operator": "AND", "conditions": "n"},
        [1],
    ],
)
def test_filters_that_cannot_be_used(document_store, filters) -> None:
    document_store.write_documents([Document(meta={"n": 1})])
    with pytest.raises(FilterError):
        document_store.filter_documents(filters)


def test_times_compare_with_times(document_store) -> None:
    noon = datetime(2024, 5, 1, 12, tzinfo=UTC)
    document_store.write_documents([Document(id="a", meta={"at": noon}), Document(id="b", meta={"at": "2024-05-02"})])
    later = document_store.filter_documents({"field": "meta.at", "operator": ">", "value": "2024-05-01T13:00:00"})
    assert [d.id for d in later] == ["b"]
    same = document_store.filter_documents({"field": "meta.at", "operator": "==", "value": "2024-05-01T14:00:00+02:00"})
    assert [d.id for d in same] == ["a"]


def test_metadata_of_deleted_documents_is_not_told(document_store) -> None:
    document_store.write_documents([Document(id="a", meta={"old": 1}), Document(id="b", meta={"new": 1.5})])
    document_store.delete_documents(["a"])
    assert document_store.get_metadata_fields_info() == {"new": {"type": "float"}}
    assert document_store.get_metadata_field_min_max("old") == {"min": None, "max": None}


# ---- retrieval -------------------------------------------------------------------------------------
@pytest.fixture
def filled(document_store, rng: np.random.Generator):
    x = rng.normal(size=(30, 8))
    words = ["tea", "socks", "river", "engine"]
    document_store.write_documents(
        [
            Document(
                id=str(i), content=f"{words[i % 4]} number {i}", meta={"even": i % 2 == 0}, embedding=x[i].tolist()
            )
            for i in range(30)
        ]
        + [Document(id="bare", content="tea without a vector", meta={"even": True})]
    )
    return document_store, x


def test_embedding_retrieval_ranks_as_cosine_does(filled, rng: np.random.Generator) -> None:
    store, x = filled
    q = rng.normal(size=8)
    cosine = x @ q / np.linalg.norm(x, axis=1) / np.linalg.norm(q)
    even = {"field": "meta.even", "operator": "==", "value": True}
    for filters, rows in ((None, np.arange(30)), (even, np.arange(0, 30, 2))):
        found = NearfieldEmbeddingRetriever(store, top_k=40, filters=filters).run(q.tolist())["documents"]
        order = rows[np.argsort(-cosine[rows])]
        assert [d.id for d in found] == [str(i) for i in order]
        np.testing.assert_allclose([d.score for d in found], cosine[order], atol=1e-5)
        assert all(d.embedding is None for d in found)
    first = NearfieldEmbeddingRetriever(store, top_k=1, return_embedding=True).run(q.tolist())["documents"][0]
    np.testing.assert_allclose(first.embedding, x[int(first.id)], rtol=1e-6)


def test_bm25_retrieval_finds_the_words(filled) -> None:
    store, _ = filled
    found = NearfieldBM25Retriever(store, top_k=40).run("teas")["documents"]
    assert {d.id for d in found} == {str(i) for i in range(0, 30, 4)} | {"bare"}
    assert all(a.score >= b.score > 0 for a, b in pairwise(found))
    odd = {"field": "meta.even", "operator": "==", "value": False}
    assert NearfieldBM25Retriever(store).run("tea", filters=odd)["documents"] == []


def test_hybrid_retrieval_is_the_fusion_of_both(filled, rng: np.random.Generator) -> None:
    store, _ = filled
    q = rng.normal(size=8).tolist()
    found = NearfieldHybridRetriever(store, top_k=31).run("tea", q)["documents"]
    by_vector = [d.id for d in store.embedding_retrieval(q, top_k=31)]
    by_words = [d.id for d in store.bm25_retrieval("tea", top_k=31)]
    want = {}
    for ranking in (by_vector, by_words):
        for rank, name in enumerate(ranking, 1):
            want[name] = want.get(name, 0) + 1 / (60 + rank)
    assert {d.id: pytest.approx(d.score, abs=1e-6) for d in found} == want
    assert "bare" in {d.id for d in found}


@pytest.mark.asyncio
async def test_async_retrievers_find_the_same(filled, rng: np.random.Generator) -> None:
    store, _ = filled
    q = rng.normal(size=8).tolist()
    pairs = [
        (NearfieldEmbeddingRetriever(store), {"query_embedding": q}),
        (NearfieldBM25Retriever(store), {"query": "tea"}),
        (NearfieldHybridRetriever(store), {"query": "tea", "query_embedding": q}),
    ]
    for retriever, inputs in pairs:
        assert await retriever.run_async(**inputs) == retriever.run(**inputs)


def test_filters_of_a_query_replace_or_join(filled) -> None:
    store, _ = filled
    even = {"field": "meta.even", "operator": "==", "value": True}
    four = {"field": "id", "operator": "in", "value": ["4", "5"]}
    replace = NearfieldBM25Retriever(store, filters=even, top_k=40)
    merge = NearfieldBM25Retriever(store, filters=even, top_k=40, filter_policy="merge")
    assert {d.id for d in replace.run("number", filters=four)["documents"]} == {"4", "5"}
    assert {d.id for d in merge.run("number", filters=four)["documents"]} == {"4"}


def test_a_pipeline_survives_its_file(filled, rng: np.random.Generator) -> None:
    store, _ = filled
    q = rng.normal(size=8).tolist()
    pipe = Pipeline()
    pipe.add_component("hybrid", NearfieldHybridRetriever(store, top_k=3, fuse="weighted", weights=[0.7, 0.3]))
    pipe.add_component("near", NearfieldEmbeddingRetriever(store, top_k=2, filter_policy="merge"))
    pipe.add_component("words", NearfieldBM25Retriever(store, filters={"field": "id", "operator": "==", "value": "4"}))
    inputs = {
        "hybrid": {"query": "tea", "query_embedding": q},
        "near": {"query_embedding": q},
        "words": {"query": "tea"},
    }
    back = Pipeline.loads(pipe.dumps(), allowed_modules=["nearfield.integrations.haystack"])
    assert back.to_dict() == pipe.to_dict()
    assert back.run(inputs) == pipe.run(inputs)
    for name in ("hybrid", "near", "words"):
        back.get_component(name).document_store.close()


def test_store_settings(tmp_path: Path, rng: np.random.Generator) -> None:
    store = NearfieldDocumentStore(tmp_path / "a", embedding_dim=4, metric="dot", tokenizer="ascii")
    assert store.embedding_retrieval([1, 0, 0, 0]) == []
    store.write_documents([Document(id="a", embedding=[2, 0, 0, 0], content="teas")])
    assert store.embedding_retrieval([1, 0, 0, 0])[0].score == 2
    assert store.bm25_retrieval("tea") == []
    assert store.embedding_retrieval([1, 0, 0, 0], top_k=0) == []
    with pytest.raises(Unsupported, match="width 4, got 3"):
        store.write_documents([Document(embedding=[1, 2, 3])])
    with pytest.raises(NearfieldError):
        store.embedding_retrieval([1, 0])
    store.close()
    back = NearfieldDocumentStore.from_dict(store.to_dict())
    assert back.count_documents() == 1
    back.close()


def test_a_store_without_embeddings_finds_by_words(document_store) -> None:
    document_store.write_documents([Document(id="a", content="warm socks")])
    assert document_store.embedding_retrieval([1.0, 2.0]) == []
    assert [d.id for d in document_store.hybrid_retrieval("sock", [1.0, 2.0])] == ["a"]


def test_retrievers_say_what_is_wrong(document_store) -> None:
    with pytest.raises(BadInput, match="NearfieldDocumentStore, got InMemory"):
        NearfieldBM25Retriever(InMemoryDocumentStore())
    with pytest.raises(BadInput, match="top_k"):
        NearfieldBM25Retriever(document_store, top_k=0)
    with pytest.raises(BadInput, match="top_k"):
        document_store.bm25_retrieval("tea", top_k=-1)
