"""A Collection in Haystack: the document store, and retrievers by vector, by words and by both.

Needs the extra ``haystack``. A document's meta is the row's metadata and its content the row's text, so that the same
folder serves ``nearfield.open`` as it stands. A pipeline's file that names these classes is loaded with
``Pipeline.load(..., allowed_modules=["nearfield.integrations.haystack"])``.

    from nearfield.integrations.haystack import NearfieldDocumentStore, NearfieldHybridRetriever

    store = NearfieldDocumentStore("articles", embedding_dim=384)
    pipeline.add_component("retriever", NearfieldHybridRetriever(store, top_k=20))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from nearfield.core.errors import BadInput
from nearfield.core.optional import require
from nearfield.integrations.haystack_store import NearfieldDocumentStore

if TYPE_CHECKING:
    from haystack import Document, component, default_from_dict, default_to_dict
    from haystack.document_stores.types import FilterPolicy, apply_filter_policy
else:
    haystack = require("haystack", extra="haystack")
    Document, component = haystack.Document, haystack.component
    default_from_dict, default_to_dict = haystack.default_from_dict, haystack.default_to_dict
    types = require("haystack.document_stores.types", extra="haystack")
    FilterPolicy, apply_filter_policy = types.FilterPolicy, types.apply_filter_policy

__all__ = [
    "NearfieldBM25Retriever",
    "NearfieldDocumentStore",
    "NearfieldEmbeddingRetriever",
    "NearfieldHybridRetriever",
]


_Run = TypeVar("_Run", bound=Callable[..., Any])


def _documents(run: _Run) -> _Run:
    """Declares what a retriever gives: documents."""
    return cast(_Run, component.output_types(documents=list[Document])(run))


class _Retriever:
    """What the three retrievers share: the store, the filters and how they are joined, how many documents."""

    def __init__(
        self,
        document_store: NearfieldDocumentStore,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        return_embedding: bool = False,
        filter_policy: str | FilterPolicy = FilterPolicy.REPLACE,
    ) -> None:
        if not isinstance(document_store, NearfieldDocumentStore):
            raise BadInput(f"document_store: expected a NearfieldDocumentStore, got {type(document_store).__name__}")
        if isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1:
            raise BadInput(f"top_k: expected a whole number, at least 1, got {top_k!r}")
        self.document_store, self.filters, self.top_k = document_store, filters, top_k
        self.return_embedding = return_embedding
        self.filter_policy = FilterPolicy.from_str(filter_policy) if isinstance(filter_policy, str) else filter_policy

    def to_dict(self) -> dict[str, Any]:
        """The settings and those of the store, for a pipeline's file."""
        how = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        how["filter_policy"] = self.filter_policy.value
        return cast("dict[str, Any]", default_to_dict(self, **how))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The retriever that ``to_dict`` described."""
        how = dict(data.get("init_parameters", {}))
        if isinstance(how.get("document_store"), dict):  # made here: nothing is imported by a name that a file gives
            how["document_store"] = NearfieldDocumentStore.from_dict(how["document_store"])
        return cast(Self, default_from_dict(cls, {**data, "init_parameters": how}))

    def _options(self, filters: Any, top_k: int | None) -> dict[str, Any]:
        return {
            "filters": apply_filter_policy(self.filter_policy, self.filters, filters),
            "top_k": self.top_k if top_k is None else top_k,
            "return_embedding": self.return_embedding,
        }


@component
class NearfieldEmbeddingRetriever(_Retriever):
    """Finds the documents whose embeddings are nearest to that of the query.

    Parameters
    ----------
    document_store: a ``NearfieldDocumentStore``.
    filters: Haystack's filters for every query; those of a query take their place, or join them under
        ``filter_policy`` ``merge``.
    top_k: how many documents. return_embedding: give their embeddings back, too.

    Raises ``BadInput`` for another store or a ``top_k`` below 1.
    """

    @_documents
    def run(
        self, query_embedding: list[float], filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """The documents nearest to a vector, best first."""
        return {"documents": self.document_store.embedding_retrieval(query_embedding, **self._options(filters, top_k))}

    @_documents
    async def run_async(
        self, query_embedding: list[float], filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """``run`` on a thread."""
        options = self._options(filters, top_k)
        return {"documents": await self.document_store.embedding_retrieval_async(query_embedding, **options)}


@component
class NearfieldBM25Retriever(_Retriever):
    """Finds the documents that fit the words of the query best, by BM25; parameters as of the embedding retriever."""

    @_documents
    def run(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """The documents that fit the words of a text best, best first."""
        return {"documents": self.document_store.bm25_retrieval(query, **self._options(filters, top_k))}

    @_documents
    async def run_async(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """``run`` on a thread."""
        return {"documents": await self.document_store.bm25_retrieval_async(query, **self._options(filters, top_k))}


@component
class NearfieldHybridRetriever(_Retriever):
    """Finds documents by vector and by words, and fuses the two rankings; further parameters as of the others.

    Parameters
    ----------
    fuse: the name of a fuser: ``rrf``, ``weighted``, ``combsum`` ...
    weights: of the vectors' and the words' ranking, where the fuser takes them.
    """

    def __init__(
        self,
        document_store: NearfieldDocumentStore,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        return_embedding: bool = False,
        filter_policy: str | FilterPolicy = FilterPolicy.REPLACE,
        fuse: str = "rrf",
        weights: list[float] | None = None,
    ) -> None:
        # component makes the class anew, which an argumentless super() would not find
        _Retriever.__init__(self, document_store, filters, top_k, return_embedding, filter_policy)
        self.fuse, self.weights = fuse, weights

    def _how(self, filters: Any, top_k: int | None) -> dict[str, Any]:
        return {**self._options(filters, top_k), "fuse": self.fuse, "weights": self.weights}

    @_documents
    def run(
        self,
        query: str,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """The best documents by a text and its vector, best first."""
        how = self._how(filters, top_k)
        return {"documents": self.document_store.hybrid_retrieval(query, query_embedding, **how)}

    @_documents
    async def run_async(
        self,
        query: str,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """``run`` on a thread."""
        how = self._how(filters, top_k)
        return {"documents": await self.document_store.hybrid_retrieval_async(query, query_embedding, **how)}
