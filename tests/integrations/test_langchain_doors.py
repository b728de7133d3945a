"""LangChain's own front doors over the store: its indexing, retrievers, chains; models and filters that do not fit."""

from __future__ import annotations

import asyncio
import copy
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

core = pytest.importorskip("langchain_core", reason="the extra langchain is not installed")

from langchain_core.documents import Document  # noqa: E402
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings, FakeEmbeddings  # noqa: E402
from langchain_core.indexing import InMemoryRecordManager, aindex, index  # noqa: E402
from langchain_core.runnables import RunnableLambda, RunnablePassthrough  # noqa: E402

from nearfield.core.errors import BadInput, DataWarning, UnknownKey, Unsupported  # noqa: E402
from nearfield.integrations.langchain import NearfieldVectorStore  # noqa: E402


class Letters(Embeddings):
    """Counts letters, each times its own weight: like words have like vectors, other weights are another model."""

    def __init__(self, seed: int = 0, model: str | None = None) -> None:
        self.weights = np.random.default_rng(seed).normal(size=(26, 26))
        self.asked: list[int] = []
        if model is not None:
            self.model = model

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.asked.append(len(texts))
        return [
            (self.weights @ [0.1 + t.lower().count(chr(97 + i)) for i in range(26)]).astype("f4").tolist()
            for t in texts
        ]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


TEXTS = ["apple pie", "apple cake", "zebra crossing", "quick brown fox", "invoice of may"]
META = [{"n": i, "lang": "de" if i % 2 else "en", "author": {"name": "Ada" if i < 2 else "Bob"}} for i in range(5)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[NearfieldVectorStore]:
    made = NearfieldVectorStore.from_texts(TEXTS, Letters(), META, ids=list("abcde"), collection=tmp_path / "c")
    yield made
    made.collection.close()


def ids(documents: list[Document]) -> list[str | None]:
    return [d.id for d in documents]


# ---- indexing --------------------------------------------------------------------------------------
def source(*texts: str, of: str = "x") -> list[Document]:
    return [Document(page_content=t, metadata={"source": of}) for t in texts]


class Desk:
    """A store with LangChain's records of what is in it; ``index`` by one door or the other."""

    def __init__(self, folder: Path, door: str) -> None:
        self.store = NearfieldVectorStore(Letters(), folder)
        self.records = InMemoryRecordManager("n")
        self.records.create_schema()
        self.door = door

    def index(self, documents: list[Document], cleanup: str | None, **options: object) -> tuple[int, int, int, int]:
        options = {"cleanup": cleanup, "source_id_key": "source", "key_encoder": "sha256", **options}
        if self.door == "index":
            told = index(documents, self.records, self.store, **options)
        else:
            told = asyncio.run(aindex(documents, self.records, self.store, **options))
        return tuple(told[f"num_{what}"] for what in ("added", "updated", "skipped", "deleted"))

    def texts(self) -> list[str | None]:
        return sorted(row.text for row in self.store.collection)


@pytest.fixture(params=["index", "aindex"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "c", request.param)
    yield made
    made.store.collection.close()


def test_indexing_without_cleanup(desk: Desk) -> None:
    assert desk.index(source("one", "two", "two"), None) == (2, 0, 1, 0)
    assert desk.index(source("two", "three"), None) == (1, 0, 1, 0)
    assert desk.texts() == ["one", "three", "two"]
    assert desk.index(source("two"), None, force_update=True) == (0, 1, 0, 0)


@pytest.mark.parametrize("cleanup", ["incremental", "scoped_full"])
def test_indexing_cleans_up_by_source(desk: Desk, cleanup: str) -> None:
    desk.index(source("one", "two", of="x") + source("other", of="y"), cleanup)
    assert desk.index(source("two", "three", of="x"), cleanup) == (1, 0, 1, 1)
    assert desk.texts() == ["other", "three", "two"]
    assert ids(desk.store.similarity_search("other", k=1)) == [r.id for r in desk.store.collection if r.text == "other"]


def test_indexing_cleans_up_in_full(desk: Desk) -> None:
    desk.index(source("one", "two", of="x") + source("other", of="y"), "full")
    assert desk.index(source("two"), "full") == (0, 0, 1, 2)
    assert desk.texts() == ["two"]
    assert desk.index([], "full") == (0, 0, 0, 1)
    assert desk.texts() == []


def test_indexing_in_batches_embeds_in_batches(desk: Desk) -> None:
    assert desk.index(source(*(f"text {i}" for i in range(7))), "full", batch_size=3) == (7, 0, 0, 0)
    assert len(desk.store.collection) == 7
    assert max(desk.store.embeddings.asked) <= 3


def test_texts_are_embedded_some_at_a_time(store: NearfieldVectorStore) -> None:
    store.embeddings.asked.clear()
    store.add_documents([Document(str(i)) for i in range(7)], ids=[str(i) for i in range(7)], batch_size=3)
    assert store.embeddings.asked == [3, 3, 1]
    with pytest.raises(BadInput, match="batch_size: expected a whole number of at least 1, got 0"):
        store.add_texts(["a"], batch_size=0)
    with pytest.raises(BadInput, match="add_texts: expected options that it takes, got 'namespace'"):
        store.add_texts(["a"], namespace="b")


# ---- retrievers and chains -------------------------------------------------------------------------
def test_a_chain(store: NearfieldVectorStore) -> None:
    retriever = store.as_retriever(search_kwargs={"k": 2})
    joined = RunnableLambda(lambda found: " & ".join(sorted(d.page_content for d in found)))
    chain = {"context": retriever | joined, "question": RunnablePassthrough()} | RunnableLambda(
        lambda parts: f"{parts['question']}: {parts['context']}"
    )
    assert chain.invoke("apple") == "apple: apple cake & apple pie"
    assert asyncio.run(chain.ainvoke("apple")) == "apple: apple cake & apple pie"
    assert chain.batch(["apple", "apple"]) == ["apple: apple cake & apple pie"] * 2


@pytest.mark.parametrize("kind", ["similarity", "mmr", "similarity_score_threshold"])
@pytest.mark.parametrize("hybrid", [False, True])
def test_every_kind_of_retriever(store: NearfieldVectorStore, kind: str, hybrid: bool) -> None:
    how = {"k": 3, "filter": {"n": {"$gte": 1}}, "fetch_k": 4, **({"hybrid": True} if hybrid else {})}
    how |= {"score_threshold": 0.1} if kind == "similarity_score_threshold" else {}
    retriever = store.as_retriever(search_type=kind, search_kwargs=how)
    found = retriever.invoke("apple cake")
    assert found[0].id == "b"
    assert "a" not in ids(found)
    assert ids(asyncio.run(retriever.ainvoke("apple cake"))) == ids(found)


def test_a_threshold_means_the_same_in_a_hybrid_search(store: NearfieldVectorStore) -> None:
    plain = _relevance(store, hybrid=False)
    mixed = _relevance(store, hybrid=True)
    assert mixed == pytest.approx(plain, abs=1e-6)
    low = min(plain.values())
    limit = (low + max(plain.values())) / 2
    how = {"k": 5, "score_threshold": limit, "hybrid": True}
    found = store.as_retriever(search_type="similarity_score_threshold", search_kwargs=how).invoke("apple pie")
    assert set(ids(found)) == {name for name, score in plain.items() if score >= limit} != set(plain)
    assert ids(found)[0] == "a"


def _relevance(store: NearfieldVectorStore, *, hybrid: bool) -> dict[str | None, float]:
    options = {"hybrid": True} if hybrid else {}
    return {d.id: s for d, s in store.similarity_search_with_relevance_scores("apple pie", k=5, **options)}


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_variety_is_that_of_cosines(tmp_path: Path, metric: str) -> None:
    from langchain_core.vectorstores.utils import maximal_marginal_relevance

    model = Letters()
    with_metric = NearfieldVectorStore.from_texts(
        TEXTS, model, ids=list("abcde"), collection=tmp_path / "c", metric=metric
    )
    x, q = np.array(model.embed_documents(TEXTS)), np.array(model.embed_query("apple zebra"))
    for balance in (0.0, 0.3, 0.7, 1.0):
        want = ["abcde"[i] for i in maximal_marginal_relevance(q, list(x), balance, k=4)]
        found = with_metric.max_marginal_relevance_search("apple zebra", k=4, fetch_k=5, lambda_mult=balance)
        assert ids(found) == want
        mixed = with_metric.max_marginal_relevance_search(
            "apple zebra", k=4, fetch_k=5, lambda_mult=balance, hybrid=True
        )
        assert ids(mixed) == want
    assert ids(with_metric.max_marginal_relevance_search_by_vector(q.tolist(), k=9, fetch_k=2)) != []
    with_metric.collection.close()


def test_options_of_others_are_refused_by_name(store: NearfieldVectorStore) -> None:
    assert ids(store.similarity_search("apple pie", k=1, fetch_k=50)) == ["a"]
    for call in (store.similarity_search, store.max_marginal_relevance_search, store.similarity_search_with_score):
        with pytest.raises(BadInput, match="search: expected options that it takes, got 'ef'"):
            call("apple", ef=3)


# ---- filters ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ({"metadata.lang": "de"}, "bd"),
        ({"$and": [{"metadata.lang": "de"}, {"metadata.author.name": {"$eq": "Ada"}}]}, "b"),
        ({"$not": {"metadata.n": {"$in": [0, 1]}}}, "cde"),
        ("metadata.n > 2 or metadata.lang = 'de'", "bde"),
    ],
)
def test_keys_as_other_stores_name_them(store: NearfieldVectorStore, where: object, wanted: str) -> None:
    assert sorted(ids(store.similarity_search("x", k=9, filter=where))) == list(wanted)


def test_keys_that_no_document_has_are_told(store: NearfieldVectorStore) -> None:
    for key, said in (("lnag", "no row has the key 'lnag'; did you mean 'lang'"), ("colour", "no row has 'colour'")):
        with pytest.warns(DataWarning) as told:
            assert store.similarity_search("x", filter={key: "de"}) == []
        assert [said in str(each.message) for each in told] == [True]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.similarity_search("x", filter={"lang": "fr"}) == []


def test_deleting_takes_the_same_filters(store: NearfieldVectorStore) -> None:
    assert store.delete(filter={"metadata.lang": "de"})
    assert sorted(row.id for row in store.collection) == ["a", "c", "e"]
    with pytest.warns(UnknownKey, match="no row has the key 'lnag'"):
        store.delete(filter={"lnag": "en"})
    assert len(store.collection) == 3


def test_metadata_with_a_key_metadata(tmp_path: Path) -> None:
    made = NearfieldVectorStore.from_texts(
        ["a", "b"], Letters(), [{"metadata": {"lang": "de"}}, {"lang": "de"}], ids=["a", "b"], collection=tmp_path / "c"
    )
    assert ids(made.similarity_search("a", filter={"metadata.lang": "de"})) == ["a"]
    made.collection.close()


# ---- models ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(("first", "second"), [("one", "two"), (None, None), ("one", None), (None, "two")])
def test_another_model_of_the_same_width_is_refused(tmp_path: Path, first: str | None, second: str | None) -> None:
    NearfieldVectorStore.from_texts(TEXTS, Letters(0, first), collection=tmp_path / "c").collection.close()
    other = NearfieldVectorStore(Letters(1, second), tmp_path / "c")
    for call in (
        other.similarity_search,
        other.similarity_search_with_relevance_scores,
        other.max_marginal_relevance_search,
        lambda q: other.similarity_search(q, hybrid=True),
        lambda q: other.as_retriever().invoke(q),
        lambda q: asyncio.run(other.asimilarity_search(q)),
        lambda q: other.add_texts([q]),
    ):
        with pytest.raises(Unsupported, match=r"use the same model( and revision)?, or another"):
            call("apple")
    assert len(other.collection) == len(TEXTS)
    other.collection.close()


@pytest.mark.parametrize("mode", ["a", "r"])
def test_the_same_model_is_welcome_again(tmp_path: Path, mode: str) -> None:
    NearfieldVectorStore.from_texts(TEXTS, Letters(0), collection=tmp_path / "c").collection.close()
    model = Letters(0)
    again = NearfieldVectorStore(model, tmp_path / "c", mode=mode)
    assert again.similarity_search("apple pie", k=1)[0].page_content == "apple pie"
    assert model.asked == [3, 1]
    again.similarity_search("apple pie", k=1)
    assert model.asked == [3, 1, 1]
    again.collection.close()


def test_the_same_model_is_welcome_over_codes(tmp_path: Path) -> None:
    made = NearfieldVectorStore.from_texts(TEXTS * 20, Letters(0), collection=tmp_path / "c")
    made.collection.recode("rabitq(bits=2)", originals="drop")
    made.collection.close()
    again = NearfieldVectorStore(Letters(0), tmp_path / "c")
    assert again.similarity_search("apple pie", k=1)[0].page_content == "apple pie"
    again.collection.close()
    with pytest.raises(Unsupported, match="another model"):
        NearfieldVectorStore(Letters(1), tmp_path / "c").similarity_search("apple")


def test_a_model_is_known_with_and_without_its_owner(tmp_path: Path) -> None:
    short, long = Letters(0, "MiniLM-L6"), Letters(0, "sentence-transformers/minilm-l6")
    NearfieldVectorStore.from_texts(TEXTS, short, collection=tmp_path / "c").collection.close()
    again = NearfieldVectorStore(long, tmp_path / "c")
    assert again.similarity_search("apple pie", k=1)[0].page_content == "apple pie"
    again.add_texts(["new"], ids=["new"])
    assert dict(again.collection.fields["vector"].space)["model"] == "MiniLM-L6"
    again.collection.close()


@pytest.mark.allow_global_rng
def test_models_by_chance_are_left_alone(tmp_path: Path) -> None:
    made = NearfieldVectorStore.from_texts(TEXTS, FakeEmbeddings(size=64), collection=tmp_path / "c")
    made.collection.close()
    again = NearfieldVectorStore(FakeEmbeddings(size=64), tmp_path / "c")
    assert len(again.similarity_search("apple", k=5)) == 5
    again.collection.close()


def test_a_model_is_known_behind_a_cache(tmp_path: Path) -> None:
    class Cached(Embeddings):
        def __init__(self, model: Embeddings) -> None:
            self.underlying_embeddings = model
            self.embed_documents, self.embed_query = model.embed_documents, model.embed_query

        def embed_documents(self, texts: list[str]) -> list[list[float]]: ...
        def embed_query(self, text: str) -> list[float]: ...

    NearfieldVectorStore.from_texts(TEXTS, Letters(0, "one"), collection=tmp_path / "c").collection.close()
    again = NearfieldVectorStore(Cached(Letters(0, "one")), tmp_path / "c")
    assert again.similarity_search("apple pie", k=1)[0].page_content == "apple pie"
    again.collection.close()


# ---- copies ----------------------------------------------------------------------------------------
def test_copies_share_the_collection(store: NearfieldVectorStore) -> None:
    retriever = store.as_retriever(search_kwargs={"k": 1})
    for twin in (copy.deepcopy(store), copy.copy(store)):
        assert twin.collection is store.collection
        assert ids(twin.similarity_search("apple pie", k=1)) == ["a"]
    for other in (copy.deepcopy(retriever), retriever.model_copy(deep=True)):
        assert other.vectorstore.collection is store.collection
        assert ids(other.invoke("apple pie")) == ["a"]
    assert copy.deepcopy({"c": store.collection})["c"] is store.collection


def test_documents_come_through_from_documents(tmp_path: Path) -> None:
    documents = [Document(t, id=str(i), metadata={"n": i}) for i, t in enumerate(TEXTS)]
    model = DeterministicFakeEmbedding(size=32)
    made = asyncio.run(NearfieldVectorStore.afrom_documents(documents, model, collection=tmp_path / "c"))
    assert made.similarity_search("invoice of may", k=1) == [documents[4]]
    assert asyncio.run(made.aget_by_ids(["3", "1"])) == [documents[3], documents[1]]
    made.collection.close()
