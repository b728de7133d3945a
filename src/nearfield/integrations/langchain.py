"""A Collection as a vector store of LangChain; needs the extra ``langchain``."""

from __future__ import annotations

import copy
import math
import os
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nearfield.collection.collection import Collection
from nearfield.core.errors import BadInput
from nearfield.core.optional import require
from nearfield.integrations.common import check_options, varied
from nearfield.integrations.langchain_checks import check_model, recorded_name, where_of
from nearfield.opening import open
from nearfield.store.filters import EVERYTHING, key

if TYPE_CHECKING:
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.runnables.config import run_in_executor
    from langchain_core.vectorstores import VectorStore
else:
    Document = require("langchain_core.documents", extra="langchain").Document
    Embeddings = require("langchain_core.embeddings", extra="langchain").Embeddings
    run_in_executor = require("langchain_core.runnables.config", extra="langchain").run_in_executor
    VectorStore = require("langchain_core.vectorstores", extra="langchain").VectorStore

__all__ = ["NearfieldVectorStore"]

_GIVEN = ("ids", "x", "q", "k", "texts", "meta", "vector", "id", "where", "encoder", "repeats")  # by the store


class NearfieldVectorStore(VectorStore):  # type: ignore[misc]
    """Documents with their vectors in one folder, durable when ``add_documents`` returns.

    Parameters
    ----------
    embedding: LangChain's ``Embeddings``. A model that names itself is recorded, and another one refused by writes and
        searches; of one without a name, three texts that are there are embedded again before the first.
    collection: an open Collection, or the path of its folder, which is made where it is not there.
    options: what ``nearfield.open`` takes, such as ``metric=`` or ``durability=``.

    ``filter=`` takes whatever ``where=`` of a Collection does: LangChain's dictionaries (``{"year": {"$gt": 2020}}``),
    text (``"year > 2020 and lang in ('de', 'fr')"``) or ``nearfield.key("year") > 2020``; a key may be written
    ``metadata.year``, and of one that no document has a ``DataWarning`` tells. Other options of a search go to
    ``Collection.search``; ``hybrid=True`` ranks by the words of the query as well. ``fetch_k`` is taken by every
    search, and changes that of ``mmr`` alone: filters are exact. Scores are similarities: larger is nearer. The async
    methods are those of LangChain's base class, which run on its executor. Copies, deep ones too, share the
    collection.
    """

    def __init__(self, embedding: Embeddings, collection: Collection | str | os.PathLike[str], **options: Any) -> None:
        self._embedding = embedding
        self._checked: set[str | None] = set()  # fields whose vectors this model made, as far as can be told
        if isinstance(collection, Collection):
            if options:
                raise BadInput(f"options: expected none beside an open collection, got {', '.join(options)}")
            self.collection = collection
            return
        if not os.path.isdir(collection):
            options.setdefault("dim", len(embedding.embed_query("width")))
        self.collection = open(collection, **options)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copy.copy(self)  # retrievers are copied with their stores: embeddings may hold what cannot be

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
        batch_size: int | None = None,
        **options: Any,
    ) -> list[str]:
        """Embed and write texts, in place of those of the same ids; returns the ids, made up where there are none.

        ``batch_size`` texts are embedded at a time, all of them by default; they are written as one commit.
        """
        texts = list(texts)
        check_options("add_texts", options, self.collection.upsert, _GIVEN)
        for name, given in (("metadatas", metadatas), ("ids", ids)):
            if given is not None and len(given) != len(texts):
                raise BadInput(f"{name}: expected one for each of {len(texts)} texts, got {len(given)}")
        if batch_size is not None and (isinstance(batch_size, bool) or batch_size < 1):
            raise BadInput(f"batch_size: expected a whole number of at least 1, got {batch_size!r}")
        if not texts:
            return []
        self._check_model(options.get("field"))
        names = [name or str(uuid.uuid4()) for name in ids or [None] * len(texts)]
        step = batch_size or len(texts)
        vectors = [v for i in range(0, len(texts), step) for v in self._embedding.embed_documents(texts[i : i + step])]
        encoder = recorded_name(self.collection, options.get("field"), self._embedding)
        self.collection.upsert(
            names, np.asarray(vectors, dtype=np.float32), texts=texts, meta=metadatas,
            encoder=encoder, repeats="last", **options,
        )  # fmt: skip
        return names

    def _check_model(self, field: str | None) -> None:
        """Refuse to go on with another model than that of the vectors; looked at once."""
        if field not in self._checked:
            check_model(self.collection, field, self._embedding)
            self._checked.add(field)

    def delete(self, ids: list[str] | None = None, *, filter: Any = None, **_: Any) -> bool:
        """Delete documents by id or by filter; all of them where neither is given."""
        if ids is None:
            self.collection.delete(where=EVERYTHING if filter is None else where_of(self.collection, filter))
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
        hits = self._search(self._embedded(query, options), k, query if hybrid else None, **options)
        return [(_document(hit), float(hit.score)) for hit in hits]

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **options: Any) -> list[Document]:
        """The ``k`` documents nearest to a vector."""
        return [_document(hit) for hit in self._search(embedding, k, **options)]

    def _embedded(self, query: str, options: dict[str, Any]) -> list[float]:
        self._check_model(options.get("field"))
        return self._embedding.embed_query(query)  # type: ignore[no-any-return]

    def _search(
        self, vector: Any, k: int, words: str | None = None, *, filter: Any = None, fetch_k: Any = None, **options: Any
    ) -> Any:
        """Hits by a vector, and by the words of a text where there is one."""
        check_options("search", options, self.collection.search, _GIVEN)
        where = where_of(self.collection, filter)
        if words is not None:
            options["text"] = words
        return self.collection.search(np.asarray(vector, np.float32), k, where=where, **options)

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, *, hybrid: bool = False, **options: Any
    ) -> list[tuple[Document, float]]:
        """Documents with their relevance from 0 to 1: under ``hybrid=True`` too that of their vectors.

        Fused scores have no scale to put a threshold on. What words alone have found, without a vector, gets 0.
        """
        vector = self._embedded(query, options)
        hits = self._search(vector, k, query if hybrid else None, **options)
        relevance = self._select_relevance_score_fn()
        if not hybrid:
            return [(_document(hit), relevance(hit.score)) for hit in hits]
        found = key("$id").isin([hit.id for hit in hits])
        fused = ("text", "fuse", "weights", "depth", "diversity", "group_by", "offset", "filter")
        options = {name: value for name, value in options.items() if name not in fused}
        near = self._search(vector, max(1, len(hits)), filter=found, **options)
        scores = {hit.id: relevance(hit.score) for hit in near}
        return [(_document(hit), scores.get(hit.id, 0.0)) for hit in hits]

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **options: Any
    ) -> list[tuple[Document, float]]:
        """The same on the executor."""
        return await run_in_executor(None, self._similarity_search_with_relevance_scores, query, k, **options)  # type: ignore[no-any-return]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        hybrid: bool = False,
        **options: Any,
    ) -> list[Document]:
        """``k`` of the ``fetch_k`` best documents that are not all alike (Carbonell and Goldstein, 1998).

        The best are the nearest, under ``hybrid=True`` those of the fused rankings; how near and how alike they are is
        always the cosine of their vectors.
        """
        vector = self._embedded(query, options)
        return self._varied(vector, k, fetch_k, lambda_mult, query if hybrid else None, options)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **options: Any,
    ) -> list[Document]:
        """The same for a vector; ``lambda_mult=1`` looks at nearness alone, 0 at variety."""
        return self._varied(embedding, k, fetch_k, lambda_mult, None, options)

    def _varied(
        self, vector: Any, k: int, fetch_k: int, balance: float, words: str | None, options: dict[str, Any]
    ) -> list[Document]:
        hits = self._search(vector, max(k, fetch_k), words, **options)
        return [_document(hit) for hit in varied(vector, hits, k, balance)]

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
