"""A Collection as a vector store of LlamaIndex; needs the extra ``llamaindex``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nearfield.core.errors import BadFilter, BadInput
from nearfield.core.optional import require
from nearfield.integrations.common import OPENING, varied
from nearfield.opening import open
from nearfield.store.filters import EVERYTHING, Compare, Empty, Filter, In, Match, Not, Null, Or
from nearfield.store.filters.tree import every, some

if TYPE_CHECKING:
    from llama_index.core.bridge.pydantic import Field, PrivateAttr
    from llama_index.core.schema import BaseNode
    from llama_index.core.vector_stores.types import (
        BasePydanticVectorStore,
        MetadataFilters,
        VectorStoreQuery,
        VectorStoreQueryResult,
    )
    from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict
else:
    _types = require("llama_index.core.vector_stores.types", extra="llamaindex")
    BasePydanticVectorStore, MetadataFilters = _types.BasePydanticVectorStore, _types.MetadataFilters
    VectorStoreQuery, VectorStoreQueryResult = _types.VectorStoreQuery, _types.VectorStoreQueryResult
    _pydantic = require("llama_index.core.bridge.pydantic", extra="llamaindex")
    Field, PrivateAttr = _pydantic.Field, _pydantic.PrivateAttr
    BaseNode = require("llama_index.core.schema", extra="llamaindex").BaseNode
    _utils = require("llama_index.core.vector_stores.utils", extra="llamaindex")
    metadata_dict_to_node, node_to_metadata_dict = _utils.metadata_dict_to_node, _utils.node_to_metadata_dict

__all__ = ["NearfieldVectorStore", "to_where"]

_LEARNERS = ("svm", "logistic_regression", "linear_regression")
_WORDS = ("sparse", "text_search")
_HYBRID = ("hybrid", "semantic_hybrid")


class NearfieldVectorStore(BasePydanticVectorStore):  # type: ignore[misc]
    """Nodes with their texts and vectors in one folder, durable when ``add`` returns.

    Parameters
    ----------
    collection: an open Collection, or the path of its folder, from the working directory of the moment where it is
        relative; one that is not there is made by the first ``add``.
    options: what ``nearfield.open`` takes, such as ``metric=`` or ``durability=``.

    All query modes are there: default, mmr, text_search and sparse (BM25 over the nodes' texts), hybrid and
    semantic_hybrid (both rankings, by reciprocal ranks, or weighted where ``alpha`` is given: 1 is vectors alone), and
    the learners (svm, logistic_regression, linear_regression, over every node that passes; they need scikit-learn).
    Filters nest, and know all operators; ``persist`` has nothing to do. Queries with empty ``node_ids`` or ``doc_ids``
    are not restricted, as an index over a store that keeps the texts means them. Copies share the collection.
    """

    stores_text: bool = True
    flat_metadata: bool = False
    path: str
    options: dict[str, Any] = Field(default_factory=dict)
    _collection: Any = PrivateAttr(default=None)

    def __init__(self, collection: Any = None, *, path: str | None = None, **options: Any) -> None:
        given = path if collection is None else collection
        if given is None:
            raise BadInput("NearfieldVectorStore: expected a collection, or the path of its folder")
        folder = given if isinstance(given, (str, os.PathLike)) else given.path
        options = options.pop("options", {}) | {k: v for k, v in options.items() if k not in type(self).model_fields}
        super().__init__(path=os.path.abspath(folder), options=options)
        self._collection = None if isinstance(given, (str, os.PathLike)) else given

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex keeps it."""
        return "NearfieldVectorStore"

    @property
    def client(self) -> Any:
        """The Collection, None before there is one."""
        with OPENING:
            if self._collection is None and os.path.isdir(self.path):
                self._collection = open(self.path, **self.options)
        return self._collection

    # -- writing -----------------------------------------------------------------------------------

    def add(self, nodes: Sequence[BaseNode], **_: Any) -> list[str]:
        """Write nodes that have embeddings, in place of those of the same ids; returns the ids."""
        if not nodes:
            return []
        vectors = np.asarray([node.get_embedding() for node in nodes], dtype=np.float32)
        with OPENING:
            if self.client is None:
                self._collection = open(self.path, **{"dim": vectors.shape[1], **self.options})
        meta = [node_to_metadata_dict(node, remove_text=True, flat_metadata=False) for node in nodes]
        texts = [node.get_content(metadata_mode="none") for node in nodes]
        ids: list[str] = self.client.upsert([n.node_id for n in nodes], vectors, texts=texts, meta=meta, repeats="last")
        return ids

    def delete(self, ref_doc_id: str, **_: Any) -> None:
        """Delete the nodes of a document."""
        self._delete(Compare("ref_doc_id", "=", ref_doc_id))

    def delete_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **_: Any) -> None:
        """Delete nodes that have one of these ids, where some are given, and pass the filters."""
        self._delete(every([_ids(node_ids), to_where(filters)]))

    def clear(self) -> None:
        """Delete every node."""
        self._delete(EVERYTHING)

    def _delete(self, where: Filter) -> None:
        if self.client is not None:
            self.client.delete(where=where)

    def persist(self, persist_path: str, fs: Any = None) -> None:
        """Nothing: every ``add`` is durable when it returns."""

    # -- reading -----------------------------------------------------------------------------------

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Nodes that have one of these ids, where some are given, and pass the filters."""
        if self.client is None:
            return []
        return [_node(row) for row in self.client.get(where=every([_ids(node_ids), to_where(filters)]))]

    def query(self, query: VectorStoreQuery, **options: Any) -> VectorStoreQueryResult:
        """The best nodes of a query, by its mode; further options go to ``Collection.search``."""
        if self.client is None:
            return VectorStoreQueryResult(nodes=[], similarities=[], ids=[])
        documents = In("ref_doc_id", tuple(query.doc_ids)) if query.doc_ids else EVERYTHING
        nodes = _ids(query.node_ids or None)  # an index whose store keeps the texts asks with empty lists
        where = every([to_where(query.filters), nodes, documents])
        mode = str(getattr(query.mode, "value", query.mode))
        threshold = options.pop("mmr_threshold", query.mmr_threshold)
        if mode in _LEARNERS:
            rows, scores = self._learned(query, where)
        elif mode == "mmr":
            rows, scores = self._varied(query, where, threshold, options)
        else:
            rows = list(self.client.search(where=where, **_asked(query, mode), **options))
            scores = [float(hit.score) for hit in rows]
        return VectorStoreQueryResult(nodes=[_node(r) for r in rows], similarities=scores, ids=[r.id for r in rows])

    def _varied(
        self, query: VectorStoreQuery, where: Filter, threshold: float | None, options: dict[str, Any]
    ) -> tuple[list[Any], list[float]]:
        """Maximal marginal relevance of four times as many nodes; a threshold of 1 looks at nearness alone."""
        k = query.similarity_top_k
        factor = options.pop("mmr_prefetch_factor", 4)
        reach = max(k, options.pop("mmr_prefetch_k", int(factor * k)))
        hits = self.client.search(_vector(query), reach, where=where, **options)
        chosen = varied(_vector(query), hits, k, 0.5 if threshold is None else threshold)
        return chosen, [float(hit.score) for hit in chosen]

    def _learned(self, query: VectorStoreQuery, where: Filter) -> tuple[list[Any], list[float]]:
        """A linear model that tells the query from every node that passes; the nodes nearest to its side come first."""
        rows = self.client.get(where=where)
        if not rows:
            return [], []
        x = np.stack([_vector(query), *(row.vector for row in rows)])
        model = _learner(str(getattr(query.mode, "value", query.mode)))
        model.fit(x, [1] + [0] * len(rows))
        side = model.decision_function if hasattr(model, "decision_function") else model.predict
        scores = side(x[1:])
        order = np.argsort(-scores, kind="stable")[: query.similarity_top_k]
        return [rows[i] for i in order.tolist()], scores[order].tolist()

    # -- on a thread -------------------------------------------------------------------------------

    async def async_add(self, nodes: Sequence[BaseNode], **options: Any) -> list[str]:
        """``add``."""
        return await asyncio.to_thread(self.add, nodes, **options)

    async def aquery(self, query: VectorStoreQuery, **options: Any) -> VectorStoreQueryResult:
        """``query``."""
        return await asyncio.to_thread(self.query, query, **options)

    async def adelete(self, ref_doc_id: str, **options: Any) -> None:
        """``delete``."""
        await asyncio.to_thread(self.delete, ref_doc_id, **options)

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **_: Any
    ) -> None:
        """``delete_nodes``."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """``get_nodes``."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    async def aclear(self) -> None:
        """``clear``."""
        await asyncio.to_thread(self.clear)


def _asked(query: VectorStoreQuery, mode: str) -> dict[str, Any]:
    """A query of the modes that a Collection has itself, as options of its search."""
    if (mode in _WORDS or mode in _HYBRID) and not query.query_str:
        raise BadInput(f"query: mode {mode} expects query_str, got none")
    if mode == "default":
        return {"q": _vector(query), "k": query.similarity_top_k}
    if mode in _WORDS:
        return {"text": query.query_str, "k": query.sparse_top_k or query.similarity_top_k, "q": None}
    if mode not in _HYBRID:
        raise BadInput(f"query: expected one of LlamaIndex's query modes, got {mode!r}")
    asked: dict[str, Any] = {"q": _vector(query), "text": query.query_str}
    asked["k"] = query.hybrid_top_k or query.similarity_top_k
    if query.sparse_top_k is not None:
        asked["depth"] = query.sparse_top_k
    if query.alpha is not None:
        asked |= {"fuse": "weighted", "weights": (query.alpha, 1 - query.alpha)}
    return asked


def _learner(mode: str) -> Any:
    """The models of LlamaIndex's learner modes, with its settings."""
    linear = require("sklearn.linear_model", extra="sklearn")
    if mode == "linear_regression":
        return linear.LinearRegression()
    if mode == "logistic_regression":
        return linear.LogisticRegression(class_weight="balanced")
    how = {"class_weight": "balanced", "max_iter": 10_000, "tol": 1e-6, "C": 0.1, "random_state": 0}
    return require("sklearn.svm", extra="sklearn").LinearSVC(**how)


def _vector(query: VectorStoreQuery) -> Any:
    if query.query_embedding is None:
        raise BadInput(f"query: mode {query.mode} expects query_embedding, got none")
    return np.asarray(query.query_embedding, dtype=np.float32)


def _node(row: Any) -> BaseNode:
    return metadata_dict_to_node(row.meta, text=row.text)


def _ids(names: list[str] | None) -> Filter:
    return EVERYTHING if names is None else In("$id", tuple(names))


# ---- filters ---------------------------------------------------------------------------------------
def to_where(filters: MetadataFilters | None) -> Filter:
    """LlamaIndex's filters as one filter of a Collection: nested at any depth, all operators.

    A missing value is different from every value, as in LlamaIndex; the list that a key holds is equal to what it
    contains. Raises ``BadFilter`` for values that an operator does not take.
    """
    if filters is None:
        return EVERYTHING
    parts = [to_where(f) if hasattr(f, "filters") else _leaf(f) for f in filters.filters]
    if not parts:
        return EVERYTHING
    condition = str(getattr(filters.condition, "value", filters.condition) or "and")
    if condition == "not":
        return Not(some(parts))
    return some(parts) if condition == "or" else every(parts)


def _contains(path: str, value: Any) -> Filter:
    """The item of a list, or the part of a text."""
    same = Compare(path, "=", value)
    return Or((same, Match(path, "contains", value))) if isinstance(value, str) else same


def _text(path: str, op: str, value: Any) -> Filter:
    if not isinstance(value, str):
        raise BadFilter(f"filter: {path!r} text_match: expected text, got {type(value).__name__}")
    return Match(path, op, value)


def _all(path: str, value: Any) -> Filter:
    return every([_equal(path, item) for item in In(path, value).values])


def _equal(path: str, value: Any) -> Filter:
    """Null for None; of 0 and 1 False and True too, which are equal to them: LlamaIndex's filters hold no bool."""
    if value is None:
        return Null(path)
    return _among(path, [value]) if type(value) is int and value in (0, 1) else Compare(path, "=", value)


def _among(path: str, values: Any) -> Filter:
    found = In(path, values)
    return In(path, (*found.values, *(bool(v) for v in found.values if type(v) is int and v in (0, 1))))


_OPERATORS: dict[str, Callable[[str, Any], Filter]] = {
    "==": _equal,
    "!=": lambda path, value: Not(_equal(path, value)),
    ">": lambda path, value: Compare(path, ">", value),
    ">=": lambda path, value: Compare(path, ">=", value),
    "<": lambda path, value: Compare(path, "<", value),
    "<=": lambda path, value: Compare(path, "<=", value),
    "in": _among,
    "nin": lambda path, value: Not(_among(path, value)),
    "any": _among,
    "all": _all,
    "contains": _contains,
    "text_match": lambda path, value: _text(path, "contains", value),
    "text_match_insensitive": lambda path, value: _text(path, "icontains", value),
    "is_empty": lambda path, value: Empty(path),
}


def _leaf(one: Any) -> Filter:
    operator = str(getattr(one.operator, "value", one.operator))
    if operator not in _OPERATORS:
        raise BadFilter(f"filter: expected one of {' '.join(_OPERATORS)}, got {operator!r}")
    return _OPERATORS[operator](one.key, one.value)
