"""LlamaIndex: every query mode and operator, against its own simple store and filter function."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llama_index.core", reason="the extra llamaindex is not installed")

from llama_index.core.indices.query.embedding_utils import get_top_k_embeddings_learner
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.simple import SimpleVectorStore
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

import nearfield as nf
from nearfield.core.errors import BadFilter, BadInput
from nearfield.integrations.llamaindex import NearfieldVectorStore

META: list[dict[str, Any]] = [
    {"author": "Stephen King", "theme": "Friendship", "year": 1994, "tags": ["a", "b"], "score": 0.5},
    {"director": "Francis Ford Coppola", "theme": "Mafia", "year": 1972, "tags": ["b"], "note": ""},
    {"director": "Christopher Nolan", "theme": "Fiction", "year": 2010, "tags": []},
    {"theme": "fiction and more", "year": 1999, "pages": 7},
    {"year": 1972, "theme": "Mafia", "pages": None, "tags": ["a", "c"]},
]
TEXTS = ["lorem ipsum of friends", "the godfather of them all", "dreams in dreams", "a lonely robot", "mafia lorem"]


def nodes() -> list[TextNode]:
    rng = np.random.default_rng(7)
    out = []
    for i, (text, meta) in enumerate(zip(TEXTS, META)):
        to = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"doc-{i // 2}")}
        vector = rng.normal(size=3).tolist()
        out.append(TextNode(id_=f"n{i}", text=text, metadata=meta, relationships=to, embedding=vector))
    return out


@pytest.fixture
def store(tmp_path: Path) -> Iterator[NearfieldVectorStore]:
    made = NearfieldVectorStore(tmp_path / "c")
    assert made.add(nodes()) == [f"n{i}" for i in range(5)]
    yield made
    made.client.close()


@pytest.fixture
def simple() -> SimpleVectorStore:
    made = SimpleVectorStore()
    made.add(nodes())
    return made


QUERY = (np.array(nodes()[2].embedding) + 0.2 * np.array(nodes()[0].embedding)).tolist()


def asked(**how: Any) -> VectorStoreQuery:
    how.setdefault("query_embedding", QUERY)
    how.setdefault("similarity_top_k", 3)
    return VectorStoreQuery(**how)


# ---- filters ---------------------------------------------------------------------------------------
CASES: list[tuple[str, str, Any]] = [
    ("year", "==", 1972), ("theme", "==", "Mafia"), ("year", "!=", 1972), ("author", "!=", "Stephen King"),
    ("year", ">", 1994), ("year", ">=", 1994), ("year", "<", 1994), ("year", "<=", 1994), ("score", ">", 0.1),
    ("theme", "in", ["Mafia", "Fiction"]), ("year", "in", [1972, 1999]), ("theme", "nin", ["Mafia"]),
    ("author", "nin", ["Stephen King"]), ("tags", "any", ["c", "b"]), ("tags", "all", ["a", "b"]),
    ("tags", "contains", "b"), ("theme", "contains", "iction"), ("theme", "text_match", "iction"),
    ("theme", "text_match_insensitive", "FICTION"), ("tags", "is_empty", None), ("pages", "is_empty", None),
    ("note", "is_empty", None), ("nothing", "is_empty", None), ("nothing", "==", 1),
]  # fmt: skip


def test_every_operator_is_there() -> None:
    assert {operator for _, operator, _ in CASES} == {o.value for o in FilterOperator}


def expected(filters: MetadataFilters) -> list[str]:
    passes = build_metadata_filter_fn(lambda name: META[int(name[1:])], filters)
    return [f"n{i}" for i in range(5) if passes(f"n{i}")]


@pytest.mark.parametrize("condition", list(FilterCondition))
@pytest.mark.parametrize(("path", "operator", "value"), CASES)
def test_operators(
    store: NearfieldVectorStore, path: str, operator: str, value: Any, condition: FilterCondition
) -> None:
    one = MetadataFilter(key=path, operator=FilterOperator(operator), value=value)
    other = MetadataFilter(key="year", operator=FilterOperator.LT, value=1995)
    for filters in (
        MetadataFilters(filters=[one], condition=condition),
        MetadataFilters(filters=[one, other], condition=condition),
    ):
        want = expected(filters)
        assert [n.node_id for n in store.get_nodes(filters=filters)] == want
        found = store.query(asked(similarity_top_k=10, filters=filters))
        assert sorted(found.ids) == want


def test_nested(store: NearfieldVectorStore) -> None:
    year = MetadataFilter(key="year", operator=FilterOperator.EQ, value=1972)
    old = MetadataFilters(filters=[year, MetadataFilter(key="tags", operator=FilterOperator.ANY, value=["a"])])
    king = MetadataFilter(key="author", value="Stephen King")
    either = MetadataFilters(filters=[old, king], condition=FilterCondition.OR)
    assert [n.node_id for n in store.get_nodes(filters=either)] == ["n0", "n4"]
    neither = MetadataFilters(filters=[either], condition=FilterCondition.NOT)
    assert [n.node_id for n in store.get_nodes(filters=neither)] == ["n1", "n2", "n3"]
    assert len(store.get_nodes(filters=MetadataFilters(filters=[]))) == 5
    bad = MetadataFilter(key="theme", operator=FilterOperator.TEXT_MATCH, value=7)
    with pytest.raises(BadFilter, match="expected text"):
        store.get_nodes(filters=MetadataFilters(filters=[bad]))


# ---- modes -----------------------------------------------------------------------------------------
def test_default_is_that_of_the_simple_store(store: NearfieldVectorStore, simple: SimpleVectorStore) -> None:
    ours, theirs = store.query(asked()), simple.query(asked())
    assert ours.ids == theirs.ids
    assert [n.text for n in ours.nodes] == [TEXTS[int(name[1:])] for name in ours.ids]
    np.testing.assert_allclose(ours.similarities, theirs.similarities, atol=1e-4)


@pytest.mark.allow_global_rng  # LlamaIndex's classifier draws from it
@pytest.mark.parametrize("mode", ["svm", "logistic_regression"])
def test_learners_are_those_of_llamaindex(store: NearfieldVectorStore, mode: str) -> None:
    """Of its function: the simple store forgets to hand the mode on."""
    pytest.importorskip("sklearn")
    kind = VectorStoreQueryMode(mode)
    scores, ids = get_top_k_embeddings_learner(
        QUERY, [n.embedding for n in nodes()], 3, [n.node_id for n in nodes()], query_mode=kind
    )
    found = store.query(asked(mode=kind))
    assert found.ids == ids
    np.testing.assert_allclose(found.similarities, scores, atol=1e-4)


def test_linear_regression(store: NearfieldVectorStore) -> None:
    """LlamaIndex's own function asks scikit-learn for what its newer versions do not have."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    found = store.query(asked(mode=VectorStoreQueryMode.LINEAR_REGRESSION, similarity_top_k=5))
    x = np.array([QUERY, *(n.embedding for n in nodes())])
    scores = linear_model.LinearRegression().fit(x, [1, 0, 0, 0, 0, 0]).predict(x[1:])
    assert found.ids == [f"n{i}" for i in np.argsort(-scores)]


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
def test_mmr(store: NearfieldVectorStore, threshold: float) -> None:
    """Carbonell and Goldstein's: against all chosen nodes. (The simple store compares with the last chosen one.)"""
    x = np.array([n.embedding for n in nodes()])
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    near, like, chosen = x @ QUERY / np.linalg.norm(QUERY), x @ x.T, [2]
    assert np.argmax(near) == 2
    while len(chosen) < 4:
        rest = [i for i in range(5) if i not in chosen]
        chosen.append(max(rest, key=lambda i: threshold * near[i] - (1 - threshold) * like[i, chosen].max()))
    question = asked(mode=VectorStoreQueryMode.MMR, similarity_top_k=4, mmr_threshold=threshold)
    assert store.query(question).ids == [f"n{i}" for i in chosen]
    question.mmr_threshold = None
    assert store.query(question, mmr_threshold=threshold).ids == [f"n{i}" for i in chosen]


@pytest.mark.parametrize("mode", ["sparse", "text_search"])
def test_words(store: NearfieldVectorStore, mode: str) -> None:
    found = store.query(asked(mode=VectorStoreQueryMode(mode), query_embedding=None, query_str="lorem mafia"))
    assert found.ids == ["n4", "n0"]
    assert found.similarities[0] > found.similarities[1] > 0
    with pytest.raises(BadInput, match="expects query_str"):
        store.query(asked(mode=VectorStoreQueryMode(mode)))


@pytest.mark.parametrize("mode", ["hybrid", "semantic_hybrid"])
def test_hybrid(store: NearfieldVectorStore, mode: str) -> None:
    question = {"mode": VectorStoreQueryMode(mode), "query_str": "mafia"}
    assert set(store.query(asked(**question, similarity_top_k=2)).ids) == {"n2", "n4"}
    dense = store.query(asked(similarity_top_k=5)).ids
    assert store.query(asked(**question, alpha=1.0, similarity_top_k=3)).ids == dense[:3]
    assert store.query(asked(**question, alpha=0.0, hybrid_top_k=1)).ids == ["n4"]


def test_every_mode_is_tested() -> None:
    tested = {"default", "svm", "logistic_regression", "linear_regression", "mmr", "sparse", "text_search", "hybrid"}
    assert {m.value for m in VectorStoreQueryMode} == tested | {"semantic_hybrid"}


def test_choices_of_ids_and_documents(store: NearfieldVectorStore) -> None:
    assert set(store.query(asked(node_ids=["n0", "n4", "x"])).ids) == {"n0", "n4"}
    assert set(store.query(asked(doc_ids=["doc-0"], similarity_top_k=9)).ids) == {"n0", "n1"}
    assert [n.node_id for n in store.get_nodes(["n3", "n1"])] == ["n1", "n3"]


# ---- writing ---------------------------------------------------------------------------------------
def test_nodes_come_back_whole(store: NearfieldVectorStore) -> None:
    for made, found in zip(nodes(), store.get_nodes(), strict=True):
        assert found.text == made.text
        assert found.metadata == made.metadata
        assert found.ref_doc_id == made.ref_doc_id
        assert found.node_id == made.node_id


def test_deleting(store: NearfieldVectorStore) -> None:
    store.delete("doc-1")
    assert [n.node_id for n in store.get_nodes()] == ["n0", "n1", "n4"]
    old = MetadataFilters(filters=[MetadataFilter(key="year", operator=FilterOperator.LT, value=1980)])
    store.delete_nodes(["n0", "n1"], old)
    assert [n.node_id for n in store.get_nodes()] == ["n0", "n4"]
    store.clear()
    assert store.get_nodes() == []


def test_it_is_there_again(store: NearfieldVectorStore, tmp_path: Path) -> None:
    store.persist("nowhere")
    kept = store.to_dict()
    store.client.close()
    again = NearfieldVectorStore.from_dict(kept)
    assert len(again.get_nodes()) == 5
    again.client.close()
    with nf.open(tmp_path / "c") as collection:
        assert NearfieldVectorStore(collection).query(asked()).ids[0] == "n2"


def test_nothing_yet(tmp_path: Path) -> None:
    made = NearfieldVectorStore(path=str(tmp_path / "new"), metric="dot")
    assert made.query(asked()).ids == []
    assert made.get_nodes() == []
    made.clear()
    assert made.add([]) == []
    made.add(nodes())
    assert made.client.metric == "dot"
    made.client.close()
    with pytest.raises(BadInput, match="expected a collection"):
        NearfieldVectorStore()


def test_async(store: NearfieldVectorStore) -> None:
    async def run() -> None:
        assert (await store.aquery(asked())).ids[0] == "n2"
        await store.adelete_nodes(["n2"])
        await store.adelete("doc-0")
        assert [n.node_id for n in await store.aget_nodes()] == ["n3", "n4"]
        await store.async_add(nodes())
        await store.aclear()
        assert await store.aget_nodes() == []

    asyncio.run(run())
