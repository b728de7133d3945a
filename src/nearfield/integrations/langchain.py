"""A Collection as a vector store of LangChain; needs the extra ``langchain``."""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nearfield.collection.collection import Collection
from nearfield.core.errors import BadInput
from nearfield.core.optional import require
from nearfield.numerics.mmr import mmr
from nearfield.opening import open
from nearfield.store.filters import EVERYTHING

if TYPE_CHECKING:
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.vectorstores import VectorStore
else:
    Document = require("langchain_core.documents", extra="langchain").Document
    Embeddings = require("langchain_core.embeddings", extra="langchain").Embeddings
    VectorStore = require("langchain_core.vectorstores", extra="langchain").VectorStore

__all__ = ["NearfieldVectorStore"]


class NearfieldVectorStore(VectorStore):  # type: ignore[misc]
    """Documents with their vectors in one folder, durable when ``add_documents`` returns.

    Parameters
    ----------
    embedding: LangChain's ``Embeddings``. A model that names itself is recorded, and another one refused later.
    collection: an open Collection, or the path of its folder, which is made where it is not there.
    options: what ``nearfield.open`` takes, such as ``metric=`` or ``durability=``.

    ``filter=`` takes whatever ``where=`` of a Collection does: LangChain's dictionaries (``{"year": {"$gt": 2020}}``),
    text (``"year > 2020 and lang in ('de', 'fr')"``) or ``nearfield.key("year") > 2020``. Other options of a search go
    to ``Collection.search``; ``hybrid=True`` ranks by the words of the query as well. Scores are similarities: larger
    is nearer. The async methods are those of LangChain's base class, which run on its executor.
    """

    def __init__(self, embedding: Embeddings, collection: Collection | str | os.PathLike[str], **options: Any) -> None:
        self._embedding = embedding
        if isinstance(collection, Collection):
            if options:
                raise BadInput(f"options: expected none beside an open collection, got {', '.join(options)}")
            self.collection = collection
            return
        if not os.path.isdir(collection):
            options.setdefault("dim", len(embedding.embed_query("width")))
        self.collection = open(collection, **options)

    @property
    def embeddings(self) -> Embeddings:
        """What makes vectors of texts."""
        return self._embedding

    # -- writing -----------------------------------------------------------------------------------

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **options: Any,
    ) -> list[str]:
        """Embed and write texts, in place of those of the same ids; returns the ids, made up where there are none."""
        texts = list(texts)
        for name, given in (("metadatas", metadatas), ("ids", ids)):
            if given is not None and len(given) != len(texts):
                raise BadInput(f"{name}: expected one for each of {len(texts)} texts, got {len(given)}")
        if not texts:
            return []
        names = [name or str(uuid.uuid4()) for name in ids or [None] * len(texts)]
        vectors = np.asarray(self._embedding.embed_documents(texts), dtype=np.float32)
        self.collection.upsert(
            names, vectors, texts=texts, meta=metadatas, encoder=self._model(), repeats="last", **options
        )
        return names

    def _model(self) -> str | None:
        """The name of the embedding model, where it has one."""
        named = (getattr(self._embedding, name, None) for name in ("model", "model_name"))
        return next((name for name in named if isinstance(name, str) and name), None)

    def delete(self, ids: list[str] | None = None, *, filter: Any = None, **_: Any) -> bool:
        """Delete documents by id or by filter; all of them where neither is given."""
        if ids is None:
            self.collection.delete(where=EVERYTHING if filter is None else filter)
        else:
            self.collection.delete(ids)
        return True

    # -- reading -----------------------------------------------------------------------------------

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Documents by id, in the order asked, without those that are not there."""
        return [_document(row) for row in self.collection.get(list(ids))]

    def similarity_search(self, query: str, k: int = 4, **options: Any) -> list[Document]:
        """The ``k`` documents nearest to a text; ``filter=`` chooses among them."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **options)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, *, hybrid: bool = False, **options: Any
    ) -> list[tuple[Document, float]]:
        """The same with their similarity (with ``hybrid=True`` the score of the fused rankings)."""
        if hybrid:
            options["text"] = query
        return self._search(self._embedding.embed_query(query), k, **options)

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **options: Any) -> list[Document]:
        """The ``k`` documents nearest to a vector."""
        return [document for document, _ in self._search(embedding, k, **options)]

    def _search(self, vector: Any, k: int, *, filter: Any = None, **options: Any) -> list[tuple[Document, float]]:
        hits: Any = self.collection.search(np.asarray(vector, np.float32), k, where=filter, **options)
        return [(_document(hit), float(hit.score)) for hit in hits]

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **options: Any
    ) -> list[Document]:
        """``k`` of the ``fetch_k`` nearest documents that are not all alike (Carbonell and Goldstein, 1998)."""
        vector = self._embedding.embed_query(query)
        return self.max_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, **options)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Any = None,
        **options: Any,
    ) -> list[Document]:
        """The same for a vector; ``lambda_mult=1`` looks at nearness alone, 0 at variety."""
        hits: Any = self.collection.search(np.asarray(embedding, np.float32), max(k, fetch_k), where=filter, **options)
        if not len(hits):
            return []
        order = mmr(np.array([h.score for h in hits]), np.stack([h.vector for h in hits]), k, lambda_mult)
        return [_document(hits[int(i)]) for i in order]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        """Scores as relevance from 0 to 1: half of one more than a cosine, else by a function that keeps the order."""
        if self.collection.metric == "cosine":
            return lambda score: min(1.0, max(0.0, (1 + score) / 2))
        if self.collection.metric == "dot":
            return lambda score: 0.5 * (1 + math.tanh(score / 2))
        return lambda score: 1 / (1 + max(0.0, -score))  # of l2 the score is the distance, negative

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        collection: Any = None,
        **options: Any,
    ) -> Self:
        """A store of some texts; ``collection=`` is the folder it lies in."""
        if collection is None:
            raise BadInput("from_texts: expected collection=, the folder to keep the documents in")
        store = cls(embedding, collection, **options)
        store.add_texts(texts, metadatas, ids=ids)
        return store


def _document(row: Any) -> Document:
    return Document(id=str(row.id), page_content=row.text or "", metadata=dict(row.meta))
