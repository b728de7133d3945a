"""LlamaIndex's own front doors over the store: an index, its retrievers and engines, persistence, deletion, copies."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llama_index.core", reason="the extra llamaindex is not installed")

from llama_index.core import Document, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import IndexNode, TextNode
from llama_index.core.vector_stores import FilterCondition, MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.types import VectorStoreQuery

import nearfield as nf
from nearfield.integrations.llamaindex import NearfieldVectorStore
from nearfield.numerics.mmr import mmr


class Letters(BaseEmbedding):
    """Counts letters."""

    def _get_text_embedding(self, text: str) -> list[float]:
        return [0.1 + text.lower().count(chr(97 + i)) for i in range(26)]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


TEXTS = {
    "may": "invoice of may", "sea": "a walk by the sea", "june": "invoice of june", "zebra": "zebra crossing"
}  # fmt: skip


def documents() -> list[Document]:
    return [
        Document(text=t, id_=name, metadata={"kind": "bill" if "invoice" in t else "tale", "paid": "invoice" in t})
        for name, t in TEXTS.items()
    ]


@pytest.fixture
def vectors(tmp_path: Path) -> Iterator[NearfieldVectorStore]:
    made = NearfieldVectorStore(str(tmp_path / "c"))
    yield made
    if made.client is not None:
        made.client.close()


@pytest.fixture
def index(vectors: NearfieldVectorStore) -> VectorStoreIndex:
    return VectorStoreIndex.from_documents(
        documents(), storage_context=StorageContext.from_defaults(vector_store=vectors), embed_model=Letters(),
        transformations=[SentenceSplitter()],
    )  # fmt: skip


def found(index: VectorStoreIndex, question: str = "invoice of may", **options: Any) -> list[str]:
    return [n.node.ref_doc_id for n in index.as_retriever(**{"similarity_top_k": 9, **options}).retrieve(question)]


def test_a_retriever_finds_what_was_indexed(index: VectorStoreIndex) -> None:
    assert found(index, similarity_top_k=2) == ["may", "june"]
    assert sorted(found(index)) == sorted(TEXTS)
    retriever = index.as_retriever(similarity_top_k=2)
    assert [n.node.ref_doc_id for n in asyncio.run(retriever.aretrieve("invoice of may"))] == ["may", "june"]
    first = retriever.retrieve("invoice of may")[0]
    assert first.node.text == "invoice of may"
    assert first.score == pytest.approx(1, abs=1e-5) or first.score > 0.7  # the metadata is embedded as well


def test_an_index_over_nodes_and_an_open_collection(tmp_path: Path) -> None:
    nodes = [TextNode(text=t, id_=name) for name, t in TEXTS.items()]
    with nf.open(tmp_path / "c", dim=26) as collection:
        context = StorageContext.from_defaults(vector_store=NearfieldVectorStore(collection))
        made = VectorStoreIndex(nodes, storage_context=context, embed_model=Letters())
        hits = made.as_retriever(similarity_top_k=2).retrieve("zebra")
        assert hits[0].node.node_id == "zebra"
        assert len(hits) == 2
        again = VectorStoreIndex.from_vector_store(NearfieldVectorStore(collection), embed_model=Letters())
        assert again.as_retriever(similarity_top_k=1).retrieve("zebra")[0].node.node_id == "zebra"


def test_an_index_that_keeps_the_nodes_too_restricts_itself_to_them(vectors: NearfieldVectorStore) -> None:
    nodes = [TextNode(text=t, id_=name) for name, t in TEXTS.items()]
    context = StorageContext.from_defaults(vector_store=vectors)
    made = VectorStoreIndex(nodes, storage_context=context, embed_model=Letters(), store_nodes_override=True)
    vectors.add([TextNode(text="invoice of another index", id_="other", embedding=[1.0] * 26)])
    assert {n.node.node_id for n in made.as_retriever(similarity_top_k=9).retrieve("invoice")} == set(TEXTS)


@pytest.mark.parametrize("empty", [{}, {"node_ids": []}, {"doc_ids": []}, {"node_ids": [], "doc_ids": []}])
def test_empty_lists_restrict_nothing(index: VectorStoreIndex, vectors: NearfieldVectorStore, empty: dict) -> None:
    query = VectorStoreQuery(query_embedding=[1.0] * 26, similarity_top_k=9, **empty)
    assert len(vectors.query(query).ids) == len(TEXTS)
    assert len(asyncio.run(vectors.aquery(query)).ids) == len(TEXTS)
    one = VectorStoreQuery(query_embedding=[1.0] * 26, similarity_top_k=9, **empty | {"doc_ids": ["sea"]})
    assert [n.ref_doc_id for n in vectors.query(one).nodes] == ["sea"]


def test_empty_lists_choose_nothing_to_delete_or_get(index: VectorStoreIndex, vectors: NearfieldVectorStore) -> None:
    vectors.delete_nodes([])
    assert len(vectors.get_nodes()) == len(TEXTS)
    assert vectors.get_nodes(node_ids=[]) == []


MODES = {
    "default": {}, "mmr": {"vector_store_kwargs": {"mmr_threshold": 0.9}}, "text_search": {}, "sparse": {},
    "hybrid": {"alpha": 0.5}, "semantic_hybrid": {},
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_query_modes(index: VectorStoreIndex, mode: str) -> None:
    names = found(index, vector_store_query_mode=mode, similarity_top_k=2, **MODES[mode])
    assert names[0] == "may"
    assert len(names) == 2
    asked = index.as_retriever(vector_store_query_mode=mode, similarity_top_k=2, **MODES[mode])
    assert [n.node.ref_doc_id for n in asyncio.run(asked.aretrieve("invoice of may"))] == names


@pytest.mark.parametrize("mode", ["svm", "logistic_regression", "linear_regression"])
def test_learner_modes(index: VectorStoreIndex, mode: str) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    assert found(index, vector_store_query_mode=mode, similarity_top_k=2)[0] == "may"


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_variety_is_that_of_cosines(tmp_path: Path, metric: str) -> None:
    made, model = NearfieldVectorStore(str(tmp_path / "c"), metric=metric), Letters()
    nodes = [TextNode(text=t, id_=name) for name, t in TEXTS.items()]
    over = VectorStoreIndex(nodes, storage_context=StorageContext.from_defaults(vector_store=made), embed_model=model)
    x, q = (
        np.array([model._get_text_embedding(t) for t in TEXTS.values()]),
        model._get_query_embedding("a bill by the sea"),
    )
    cosines = x @ q / np.linalg.norm(x, axis=1) / np.linalg.norm(q)
    for balance in (0.2, 0.5, 0.9):
        asked = over.as_retriever(
            vector_store_query_mode="mmr", similarity_top_k=3, vector_store_kwargs={"mmr_threshold": balance}
        )
        want = [list(TEXTS)[i] for i in mmr(cosines, x, 3, balance)]
        assert [n.node.node_id for n in asked.retrieve("a bill by the sea")] == want
    made.client.close()


def test_filters(index: VectorStoreIndex) -> None:
    bills = MetadataFilters(filters=[MetadataFilter(key="kind", value="bill")])
    assert sorted(found(index, filters=bills)) == ["june", "may"]
    neither = MetadataFilters(filters=[bills], condition=FilterCondition.NOT)
    assert sorted(found(index, filters=neither)) == ["sea", "zebra"]
    assert found(index, filters=bills, doc_ids=["may", "sea"]) == ["may"]


@pytest.mark.parametrize(("operator", "value"), [("==", 1), ("in", [1, 7]), ("any", [1]), ("!=", 0), ("nin", [0])])
def test_a_filter_says_true_as_one(index: VectorStoreIndex, operator: str, value: object) -> None:
    """LlamaIndex's filters hold no bool: 1 is how they ask for True, which it is equal to."""
    paid = MetadataFilters(filters=[MetadataFilter(key="paid", operator=operator, value=value)])
    assert sorted(found(index, filters=paid)) == ["june", "may"]


def test_deleting_and_refreshing_documents(index: VectorStoreIndex, vectors: NearfieldVectorStore) -> None:
    index.delete_ref_doc("may", delete_from_docstore=True)
    assert sorted(found(index)) == ["june", "sea", "zebra"]
    index.insert(Document(text="invoice of may, again", id_="may"))
    assert found(index)[0] == "may"
    index.update_ref_doc(Document(text="quick brown fox", id_="sea"))
    assert {n.text for n in vectors.get_nodes()} == {
        "invoice of may, again", "invoice of june", "zebra crossing", "quick brown fox"
    }  # fmt: skip
    index.delete_nodes([n.node_id for n in vectors.get_nodes() if n.ref_doc_id == "june"])
    assert sorted(found(index)) == ["may", "sea", "zebra"]
    asyncio.run(index.adelete_ref_doc("zebra"))
    assert sorted(found(index)) == ["may", "sea"]


def test_an_index_is_loaded_again(index: VectorStoreIndex, vectors: NearfieldVectorStore, tmp_path: Path) -> None:
    index.storage_context.persist(str(tmp_path / "kept"))
    vectors.client.close()
    again = NearfieldVectorStore(str(tmp_path / "c"))
    context = StorageContext.from_defaults(persist_dir=str(tmp_path / "kept"), vector_store=again)
    loaded = load_index_from_storage(context, embed_model=Letters())
    assert found(loaded, similarity_top_k=2) == ["may", "june"]
    again.client.close()


def test_an_engine_answers_from_what_was_found(index: VectorStoreIndex) -> None:
    answer = index.as_query_engine(llm=MockLLM(), similarity_top_k=1).query("invoice of may")
    assert [n.node.text for n in answer.source_nodes] == ["invoice of may"]
    assert "invoice of may" in str(answer)


def test_nodes_that_point_elsewhere_come_back_as_such(vectors: NearfieldVectorStore) -> None:
    nodes = [IndexNode(text=t, index_id=f"index of {name}", id_=name) for name, t in TEXTS.items()]
    context = StorageContext.from_defaults(vector_store=vectors)
    made = VectorStoreIndex(nodes, storage_context=context, embed_model=Letters())
    assert made.as_retriever(similarity_top_k=1).retrieve("zebra")[0].node.node_id == "zebra"
    assert {n.index_id for n in vectors.get_nodes()} == {f"index of {name}" for name in TEXTS}


def test_copies_share_the_collection(index: VectorStoreIndex, vectors: NearfieldVectorStore) -> None:
    for twin in (copy.deepcopy(vectors), copy.copy(vectors), vectors.model_copy(deep=True)):
        assert twin.client is vectors.client
    retriever = copy.deepcopy(index.as_retriever(similarity_top_k=1))
    assert [n.node.ref_doc_id for n in retriever.retrieve("invoice of may")] == ["may"]
    with nf.open(vectors.path) as there:  # one that was pickled opens the folder for itself
        back = pickle.loads(pickle.dumps(vectors))
        assert len(back.get_nodes()) == len(there)
        back.client.close()


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    made = NearfieldVectorStore("c")
    kept = made.to_dict()
    monkeypatch.chdir(tmp_path / "elsewhere")
    made.add([TextNode(text="a", id_="a", embedding=[1.0, 0.0])])
    made.client.close()
    again = NearfieldVectorStore.from_dict(kept)
    assert [n.node_id for n in again.get_nodes()] == ["a"]
    assert list((tmp_path / "elsewhere").iterdir()) == []
    again.client.close()


def test_threads_that_come_first_share_one_collection(tmp_path: Path) -> None:
    made = NearfieldVectorStore(str(tmp_path / "c"))
    clients, gate = [], threading.Barrier(8)

    def add(i: int) -> None:
        gate.wait()
        made.add([TextNode(text=str(i), id_=str(i), embedding=np.eye(8)[i].tolist())])
        clients.append(made.client)

    threads = [threading.Thread(target=add, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(c) for c in clients}) == 1
    assert len(made.get_nodes()) == 8
    made.client.close()
