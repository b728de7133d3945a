"""Haystack's own front doors over the store: pipelines, writers, policies among threads, files, copies."""

from __future__ import annotations

import asyncio
import copy
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("haystack")

from haystack import Document, Pipeline, component
from haystack.components.writers import DocumentWriter
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.errors import FilterError

import nearfield as nf
from nearfield.core.errors import BadInput, DataWarning, Unsupported
from nearfield.integrations.haystack import (
    NearfieldBM25Retriever,
    NearfieldDocumentStore,
    NearfieldEmbeddingRetriever,
    NearfieldHybridRetriever,
)

ALLOWED = ["nearfield.integrations.haystack"]


def letters(text: str) -> list[float]:
    return [0.1 + text.lower().count(chr(97 + i)) for i in range(26)]


@component
class Embedder:
    """Counts letters, of documents or of a query."""

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict:
        return {
            "documents": [
                Document(id=d.id, content=d.content, meta=d.meta, embedding=letters(d.content)) for d in documents
            ]
        }


@pytest.fixture
def store(tmp_path: Path) -> Iterator[NearfieldDocumentStore]:
    made = NearfieldDocumentStore(tmp_path / "documents")
    yield made
    made.close()


TEXTS = ["invoice of may", "a walk by the sea", "invoice of june", "zebra crossing"]


def documents() -> list[Document]:
    return [Document(id=str(i), content=t, meta={"n": i}) for i, t in enumerate(TEXTS)]


def indexing(store: NearfieldDocumentStore, policy: DuplicatePolicy = DuplicatePolicy.NONE) -> Pipeline:
    pipe = Pipeline()
    pipe.add_component("embedder", Embedder())
    pipe.add_component("writer", DocumentWriter(store, policy=policy))
    pipe.connect("embedder.documents", "writer.documents")
    return pipe


def test_a_pipeline_writes_and_another_finds(store: NearfieldDocumentStore) -> None:
    assert indexing(store).run({"embedder": {"documents": documents()}}) == {"writer": {"documents_written": 4}}
    pipe = Pipeline()
    pipe.add_component("near", NearfieldEmbeddingRetriever(store, top_k=2))
    pipe.add_component("words", NearfieldBM25Retriever(store, top_k=2))
    pipe.add_component("both", NearfieldHybridRetriever(store, top_k=2))
    vector = letters("invoice of may")
    told = pipe.run(
        {
            "near": {"query_embedding": vector},
            "words": {"query": "zebra"},
            "both": {
                "query": "zebra",
                "query_embedding": vector,
                "filters": {"field": "meta.n", "operator": ">", "value": 0},
            },
        }
    )
    assert [d.content for d in told["near"]["documents"]] == ["invoice of may", "invoice of june"]
    assert [d.content for d in told["words"]["documents"]] == ["zebra crossing"]
    assert {d.content for d in told["both"]["documents"]} == {"zebra crossing", "invoice of june"}


def test_an_async_pipeline(store: NearfieldDocumentStore) -> None:
    indexing(store).run({"embedder": {"documents": documents()}})
    pipe = Pipeline()
    pipe.add_component("near", NearfieldEmbeddingRetriever(store, top_k=1))
    found = asyncio.run(pipe.run_async({"near": {"query_embedding": letters("zebra")}}))
    assert [d.content for d in found["near"]["documents"]] == ["zebra crossing"]


# ---- policies --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("policy", "written", "content"),
    [
        (DuplicatePolicy.SKIP, 1, "old"),
        (DuplicatePolicy.OVERWRITE, 2, "new"),
        (DuplicatePolicy.FAIL, None, "old"),
        (DuplicatePolicy.NONE, None, "old"),
    ],
)
def test_every_policy(
    store: NearfieldDocumentStore, policy: DuplicatePolicy, written: int | None, content: str
) -> None:
    store.write_documents([Document(id="a", content="old", embedding=[1.0, 0.0])])
    batch = [Document(id="a", content="new"), Document(id="b", content="b")]
    writer = DocumentWriter(store, policy=policy)
    if written is None:
        with pytest.raises(DuplicateDocumentError, match="'a'"):
            writer.run(batch)
        assert store.count_documents() == 1
    else:
        assert writer.run(batch) == {"documents_written": written}
        assert store.count_documents() == 2
    kept = {d.id: d for d in store.filter_documents()}
    assert kept["a"].content == content
    assert (kept["a"].embedding is None) == (content == "new")


def test_documents_without_embeddings_come_before_and_after(store: NearfieldDocumentStore) -> None:
    assert store.write_documents([Document(id="a", content="tea")]) == 1
    assert store.write_documents([Document(id="b", content="tea", embedding=[1.0, 0.0])]) == 1
    assert store.write_documents([Document(id="c", content="tea"), Document(id="d", content="socks")]) == 2
    assert store.write_documents([Document(id="e", content="e"), Document(id="f", embedding=[0.0, 1.0])]) == 2
    assert [d.id for d in store.bm25_retrieval("tea")] == ["a", "b", "c"]
    assert [d.id for d in store.embedding_retrieval([1.0, 0.0])] == ["b", "f"]
    assert store.write_documents([]) == 0
    with pytest.raises(Unsupported, match="width 2, got 3"):
        store.write_documents([Document(id="g", embedding=[1.0, 0.0, 0.0])])


@pytest.mark.parametrize("shared", [True, False])
def test_of_many_threads_one_writes_an_id(tmp_path: Path, shared: bool) -> None:
    """With one store for all threads, and with a store each, as of several processes."""
    folder = tmp_path / "documents"
    first = NearfieldDocumentStore(folder)
    first.write_documents([Document(id="first", content="x")])
    stores = [first] * 16 if shared else [NearfieldDocumentStore(folder) for _ in range(16)]
    gate, won, refused = threading.Barrier(16), [], []

    def write(i: int, policy: DuplicatePolicy, batch: list[str]) -> None:
        gate.wait()
        try:
            made = [Document(id=name, content=f"of {i}", embedding=[1.0, float(i)]) for name in batch]
            won.append((i, stores[i].write_documents(made, policy=policy)))
        except DuplicateDocumentError as error:
            refused.append(str(error))

    def race(policy: DuplicatePolicy, batch: list[str]) -> list[Document]:
        won.clear()
        refused.clear()
        threads = [threading.Thread(target=write, args=(i, policy, batch)) for i in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        chosen = {"field": "id", "operator": "in", "value": batch}
        return first.filter_documents(chosen)

    for turn in range(3):
        kept = race(DuplicatePolicy.FAIL, [f"a{turn}", f"b{turn}"])
        assert len(won) == 1
        assert len(refused) == 15
        assert [d.content for d in kept] == [f"of {won[0][0]}"] * 2
        kept = race(DuplicatePolicy.SKIP, [f"s{turn}"])
        assert sum(n for _, n in won) == 1
        assert [d.content for d in kept] == [f"of {i}" for i, n in won if n]
    for made in {id(s): s for s in stores}.values():
        made.close()


# ---- files of pipelines ----------------------------------------------------------------------------
def round_trip(pipe: Pipeline) -> Pipeline:
    return Pipeline.loads(pipe.dumps(), allowed_modules=ALLOWED)


def test_a_file_of_a_writer_is_loaded(store: NearfieldDocumentStore) -> None:
    pipe = Pipeline()
    pipe.add_component("writer", DocumentWriter(store, policy=DuplicatePolicy.SKIP))
    back = round_trip(pipe)
    assert back.to_dict() == pipe.to_dict()
    assert back.run({"writer": {"documents": documents()}}) == {"writer": {"documents_written": 4}}
    assert store.count_documents() == 4
    back.get_component("writer").document_store.close()


def test_a_file_that_names_the_former_module_is_loaded(store: NearfieldDocumentStore) -> None:
    store.write_documents(documents())
    pipe = Pipeline()
    pipe.add_component("words", NearfieldBM25Retriever(store))
    pipe.add_component("writer", DocumentWriter(store))
    name = "nearfield.integrations.haystack.NearfieldDocumentStore"
    former = pipe.dumps().replace(name, "nearfield.integrations.haystack_store.NearfieldDocumentStore")
    assert former != pipe.dumps()
    back = Pipeline.loads(former, allowed_modules=["nearfield.integrations.*"])
    assert [
        d.id for d in back.run({"words": {"query": "zebra"}, "writer": {"documents": []}})["words"]["documents"]
    ] == ["3"]
    for part in ("words", "writer"):
        back.get_component(part).document_store.close()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A second working directory; the first is ``here`` beside it."""
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "elsewhere"


def test_a_relative_path_keeps_its_base(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = NearfieldDocumentStore("documents")
    pipe = Pipeline()
    pipe.add_component("words", NearfieldBM25Retriever(store))
    monkeypatch.chdir(elsewhere)
    store.write_documents(documents())
    assert nf.open(elsewhere.parent / "here" / "documents", mode="r").count() == 4
    back = round_trip(pipe)
    assert [d.id for d in back.run({"words": {"query": "zebra"}})["words"]["documents"]] == ["3"]
    assert back.to_dict() == pipe.to_dict()
    assert list(elsewhere.iterdir()) == []
    store.close()
    back.get_component("words").document_store.close()


def test_a_base_may_be_stated(elsewhere: Path) -> None:
    NearfieldDocumentStore("documents", base=elsewhere).write_documents(documents())
    assert (elsewhere / "documents" / "catalog.db").exists()
    assert NearfieldDocumentStore("documents", base="../elsewhere").count_documents() == 4
    assert NearfieldDocumentStore(elsewhere / "documents", base="/nowhere").count_documents() == 4
    assert NearfieldDocumentStore(elsewhere / "documents").to_dict()["init_parameters"]["base"] is None


def test_a_file_without_a_base_means_the_working_directory(elsewhere: Path) -> None:
    kept = NearfieldDocumentStore("documents").to_dict()
    del kept["init_parameters"]["base"]  # as files were written before
    assert NearfieldDocumentStore.from_dict(kept).folder == str(Path.cwd() / "documents")


def test_reading_makes_no_folder(elsewhere: Path) -> None:
    store = NearfieldDocumentStore("documents")
    year = {"field": "meta.year", "operator": "==", "value": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.count_documents() == 0
        assert store.filter_documents() == store.filter_documents(year) == []
        assert store.count_documents_by_filter(year) == store.delete_by_filter(year) == 0
        assert store.update_by_filter(year, {"a": 1}) == 0
        assert store.get_metadata_fields_info() == {}
        assert store.get_metadata_field_min_max("year") == {"min": None, "max": None}
        assert store.get_metadata_field_unique_values("year") == ([], 0)
        assert store.count_unique_metadata_by_filter(year, ["year"]) == {"year": 0}
        assert store.embedding_retrieval([1.0, 0.0]) == store.bm25_retrieval("x") == []
        store.delete_documents(["a"])
        store.delete_all_documents()
        assert asyncio.run(store.count_documents_async()) == 0
    described = NearfieldDocumentStore.from_dict(store.to_dict())
    with pytest.warns(DataWarning, match="documents: expected documents, nothing was written there yet"):
        assert described.bm25_retrieval("x") == []
    assert not Path("documents").exists()
    with pytest.raises(FilterError):
        store.bm25_retrieval("x", filters={"field": "meta.year", "operator": "~", "value": 1})


# ---- copies ----------------------------------------------------------------------------------------
def test_copies_share_the_collection(store: NearfieldDocumentStore) -> None:
    store.write_documents(documents())
    retriever = NearfieldBM25Retriever(store)
    for twin in (copy.deepcopy(store), copy.copy(store), copy.deepcopy(retriever).document_store):
        assert twin.collection is store.collection
        assert twin.count_documents() == 4
    pipe = Pipeline()
    pipe.add_component("words", retriever)
    found = copy.deepcopy(pipe).run({"words": {"query": "zebra"}})
    assert [d.id for d in found["words"]["documents"]] == ["3"]


def test_threads_that_come_first_share_one_collection(store: NearfieldDocumentStore) -> None:
    seen, gate = [], threading.Barrier(8)

    def look(i: int) -> None:
        gate.wait()
        store.write_documents([Document(id=str(i), content="x", embedding=np.eye(8)[i].tolist())])
        seen.append(store.collection)

    threads = [threading.Thread(target=look, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(c) for c in seen}) == 1
    assert store.count_documents() == 8


def test_what_is_no_document_is_refused(store: NearfieldDocumentStore) -> None:
    with pytest.raises(BadInput, match="expected a list of Documents"):
        store.write_documents(Document(content="a"))
    assert not Path(store.folder).exists()
