"""LangChain's own suite for vector stores, and what it leaves out: filters, scores, variety, reopening."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

core = pytest.importorskip("langchain_core", reason="the extra langchain is not installed")
suite = pytest.importorskip("langchain_tests.integration_tests", reason="langchain-tests is not installed")

from langchain_core.documents import Document  # noqa: E402
from langchain_core.embeddings import Embeddings  # noqa: E402

import nearfield as nf  # noqa: E402
from nearfield.core.errors import BadFilter, BadInput, Unsupported  # noqa: E402
from nearfield.integrations.langchain import NearfieldVectorStore  # noqa: E402


class Letters(Embeddings):
    """Counts letters: like words have like vectors."""

    model = "letters"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[1 + t.lower().count(chr(97 + i)) for i in range(26)] for t in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


class TestPublished(suite.VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[NearfieldVectorStore]:
        store = NearfieldVectorStore(self.get_embeddings(), tmp_path / "c")
        yield store
        store.collection.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[NearfieldVectorStore]:
    texts = ["apple pie", "apple cake", "zebra crossing", "quick brown fox"]
    meta = [{"n": i, "kind": "food" if i < 2 else "other", "tags": ["a", "b"][: i % 2 + 1]} for i in range(4)]
    made = NearfieldVectorStore.from_texts(texts, Letters(), meta, ids=list("abcd"), collection=tmp_path / "c")
    yield made
    made.collection.close()


def found(documents: list[Document]) -> list[str | None]:
    return [d.id for d in documents]


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ({"kind": "food"}, "ab"),
        ({"n": {"$gte": 2}}, "cd"),
        ({"$or": [{"n": 0}, {"kind": {"$ne": "food"}}]}, "acd"),
        ({"$not": {"n": {"$in": [0, 1]}}}, "cd"),
        ({"n": {"$between": [1, 2]}}, "bc"),
        ("n > 0 and tags = 'b'", "bd"),
        (nf.key("kind") == "other", "cd"),
        (None, "abcd"),
    ],
)
def test_filters(store: NearfieldVectorStore, where: object, ids: str) -> None:
    assert sorted(found(store.similarity_search("apple", k=10, filter=where))) == list(ids)
    assert sorted(found(store.as_retriever(search_kwargs={"filter": where, "k": 9}).invoke("apple"))) == list(ids)


def test_scores_are_cosines(store: NearfieldVectorStore) -> None:
    pairs = store.similarity_search_with_score("apple pie", k=4)
    q = np.array(Letters().embed_query("apple pie"))
    for document, score in pairs:
        x = np.array(Letters().embed_query(document.page_content))
        assert score == pytest.approx(q @ x / np.linalg.norm(q) / np.linalg.norm(x), abs=1e-5)
    assert pairs[0][0].page_content == "apple pie"
    assert pairs[0][0].metadata == {"n": 0, "kind": "food", "tags": ["a"]}
    relevant = store.similarity_search_with_relevance_scores("apple pie", k=4, score_threshold=0.99)
    assert [d.id for d, _ in relevant][:1] == ["a"]
    assert all(0.99 <= score <= 1 for _, score in relevant)


@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_relevance_of_other_metrics_keeps_the_order(tmp_path: Path, metric: str) -> None:
    made = NearfieldVectorStore(Letters(), tmp_path / "c", metric=metric)
    made.add_texts(["aaaa", "aaab", "zzzz"])
    pairs = made.similarity_search_with_relevance_scores("aaaa", k=3)
    assert [d.page_content for d, _ in pairs] == ["aaaa", "aaab", "zzzz"]
    scores = [score for _, score in pairs]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= s <= 1 for s in scores)
    made.collection.close()


def test_variety_and_words(store: NearfieldVectorStore) -> None:
    assert found(store.max_marginal_relevance_search("apple", k=2, lambda_mult=1.0)) == found(
        store.similarity_search("apple", k=2)
    )
    assert set(found(store.max_marginal_relevance_search("apple", k=2, lambda_mult=0.0))) != {"a", "b"}
    assert store.max_marginal_relevance_search("apple", filter={"n": 99}) == []
    assert found(store.similarity_search("crossing apple", k=2, hybrid=True))[0] in "ac"
    assert "c" in found(store.similarity_search("crossing", k=2, hybrid=True))


def test_it_is_there_again(store: NearfieldVectorStore, tmp_path: Path) -> None:
    store.collection.close()
    again = NearfieldVectorStore(Letters(), tmp_path / "c")
    assert found(again.get_by_ids(["c", "none", "a"])) == ["c", "a"]
    assert again.delete(filter={"kind": "food"}) is True
    assert found(again.similarity_search("x", k=9))
    assert len(again.collection) == 2
    assert again.delete() is True
    assert again.similarity_search("x") == []
    again.collection.close()


def test_async(store: NearfieldVectorStore) -> None:
    async def run() -> None:
        await store.aadd_texts(["new"], [{"n": 9}], ids=["e"])
        assert found(await store.asimilarity_search("new", k=1)) == ["e"]
        assert found(await store.amax_marginal_relevance_search("new", k=1)) == ["e"]
        await store.adelete(["e"])

    asyncio.run(run())
    assert len(store.collection) == 4


def test_errors(store: NearfieldVectorStore, tmp_path: Path) -> None:
    with pytest.raises(BadFilter, match=r"\$beyond"):
        store.similarity_search("x", filter={"n": {"$beyond": 1}})
    with pytest.raises(BadInput, match="metadatas: expected one for each of 2"):
        store.add_texts(["a", "b"], [{}])
    with pytest.raises(BadInput, match="collection="):
        NearfieldVectorStore.from_texts(["a"], Letters())
    other = Letters()
    other.model = "others"  # type: ignore[misc]
    with pytest.raises(Unsupported, match="letters"):
        NearfieldVectorStore(other, store.collection).add_texts(["a"])
    with pytest.raises(BadInput, match="options"):
        NearfieldVectorStore(other, store.collection, metric="l2")
