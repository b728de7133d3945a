"""A Collection as a document store of Haystack; ``nearfield.integrations.haystack`` has it with its retrievers."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from nearfield.collection.state import looks_like_one
from nearfield.core.errors import BadFilter, BadInput, DataWarning, Exists
from nearfield.core.optional import require
from nearfield.integrations.common import OPENING, before_any, need_field, twin
from nearfield.integrations.haystack_convert import REST, meta_of, parts_of, path_of, to_where
from nearfield.opening import open
from nearfield.store.filters import EVERYTHING, Filter, key

if TYPE_CHECKING:
    from haystack import Document, default_from_dict, default_to_dict
    from haystack.dataclasses import ByteStream, SparseEmbedding
    from haystack.document_stores.errors import DuplicateDocumentError
    from haystack.document_stores.types import DuplicatePolicy
    from haystack.errors import FilterError
else:
    haystack = require("haystack", extra="haystack")
    Document = haystack.Document
    default_from_dict, default_to_dict = haystack.default_from_dict, haystack.default_to_dict
    ByteStream = require("haystack.dataclasses", extra="haystack").ByteStream
    SparseEmbedding = require("haystack.dataclasses", extra="haystack").SparseEmbedding
    DuplicateDocumentError = require("haystack.document_stores.errors", extra="haystack").DuplicateDocumentError
    DuplicatePolicy = require("haystack.document_stores.types", extra="haystack").DuplicatePolicy
    FilterError = require("haystack.errors", extra="haystack").FilterError

__all__ = ["NearfieldDocumentStore"]

FIELD = "vector"
_FORMER = "nearfield.integrations.haystack_store.NearfieldDocumentStore"  # in files that are already written
_TYPES = {"bool": "boolean", "int": "int", "float": "float"}


@contextmanager
def _filter_errors() -> Iterator[None]:
    """Haystack's own error for a filter that cannot be used."""
    try:
        yield
    except BadFilter as error:
        raise FilterError(str(error)) from error


def _where(filters: dict[str, Any] | None) -> Filter:
    with _filter_errors():
        return to_where(filters)


def _document(row: Any, *, score: float | None = None, embedding: bool = True) -> Document:
    parts = parts_of(row, FIELD, embedding=embedding)
    if score is not None:
        parts["score"] = score
    if "blob" in parts:
        parts["blob"] = ByteStream(**parts["blob"])
    if "sparse_embedding" in parts:
        parts["sparse_embedding"] = SparseEmbedding(**parts["sparse_embedding"])
    return Document(**parts)


def _refuse_repeats(documents: list[Document]) -> None:
    seen: set[str] = set()
    for document in documents:
        if document.id in seen:
            raise DuplicateDocumentError(f"ids: expected each once, got {document.id!r} again; use another policy")
        seen.add(document.id)


class NearfieldDocumentStore:
    """Documents in a Collection's folder: durable, filtered, searched by vector, by BM25 and by both.

    Use it wherever Haystack takes a document store; several processes may read and write the same folder. Vectors are
    kept as float32. A metadata value of the wrong type for a comparison fulfils no condition; True and 1 differ.

    Parameters
    ----------
    path: the folder; created by the first write where it is not there.
    embedding_dim: width of the embeddings; None takes it from the first document that has one.
    metric: ``cosine``, ``dot`` or ``l2``; None: what is there, else ``cosine``.
    tokenizer: how texts are cut into words for BM25, as in ``nearfield.open``.
    base: the folder that a relative ``path`` starts from; None: the working directory when the store is made. It stands
        in a pipeline's file, so that the file may be loaded from anywhere.

    Copies, deep ones too, share the folder's collection. Raises ``nearfield.NearfieldError`` kinds for what cannot be
    stored, Haystack's ``FilterError`` for filters and ``DuplicateDocumentError`` for ids that are there, under the
    policies ``NONE`` and ``FAIL``.
    """

    __module__ = "nearfield.integrations.haystack"  # which pipelines' files name, and their readers allow
    _described = False  # by a file, whose writer may have meant another folder

    def __init__(
        self,
        path: str | os.PathLike[str],
        embedding_dim: int | None = None,
        metric: str | None = None,
        tokenizer: str | None = None,
        base: str | os.PathLike[str] | None = None,
    ) -> None:
        self.path, self.embedding_dim, self.metric, self.tokenizer = os.fspath(path), embedding_dim, metric, tokenizer
        self.base = None if os.path.isabs(self.path) else os.path.abspath(base or os.curdir)

    @property
    def folder(self) -> str:
        """The folder, as an absolute path."""
        return os.path.join(self.base or "", self.path)

    @property
    def collection(self) -> Any:
        """The Collection, opened at first use, and made where it is not there."""
        with OPENING:
            if "_collection" not in self.__dict__:
                made = open(self.folder, fields={}, metric=cast(Any, self.metric), tokenizer=self.tokenizer)
                if self.embedding_dim is not None:
                    need_field(made, FIELD, self.embedding_dim)
                self._collection = made
            return self._collection

    def is_there(self) -> bool:
        """Whether documents were ever written into the folder."""
        return "_collection" in self.__dict__ or looks_like_one(Path(self.folder))

    def close(self) -> None:
        """Give the folder's locks and files back; the next use opens it again."""
        with OPENING:
            opened = self.__dict__.pop("_collection", None)
        if opened is not None:
            opened.close()

    def to_dict(self) -> dict[str, Any]:
        """The path and the settings, for a pipeline's file; the documents stay in the folder."""
        return cast(
            "dict[str, Any]",
            default_to_dict(
                self, path=self.path, embedding_dim=self.embedding_dim, metric=self.metric, tokenizer=self.tokenizer,
                base=self.base,
            ),
        )  # fmt: skip

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> NearfieldDocumentStore:
        """The store that ``to_dict`` described, under the class's present or former module."""
        if data.get("type") == _FORMER:
            data = {**data, "type": f"{cls.__module__}.{cls.__qualname__}"}
        made = cast(NearfieldDocumentStore, default_from_dict(cls, data))
        made._described = True
        return made

    # -- documents ---------------------------------------------------------------------------------

    @before_any(int)
    def count_documents(self) -> int:
        """How many documents there are."""
        return len(self.collection)

    @before_any(list)
    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """The documents that a filter lets through, in the order of writing."""
        where = _where(filters)
        with _filter_errors():
            return [_document(row) for row in self.collection.get(where=where)]

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Write documents as one commit, all or none; returns how many were written."""
        if not isinstance(documents, list) or not all(isinstance(d, Document) for d in documents):
            raise BadInput("documents: expected a list of Documents")
        if policy == DuplicatePolicy.OVERWRITE:
            self._write(documents, self.collection.upsert)
            return len(documents)
        if policy != DuplicatePolicy.SKIP:
            _refuse_repeats(documents)
            try:
                self._write(documents, self.collection.add)
            except Exists as error:
                raise DuplicateDocumentError(f"{error} or another policy") from error
            return len(documents)
        while True:
            documents = self._new(documents)
            try:
                self._write(documents, self.collection.add)
                return len(documents)
            except Exists:  # others wrote some of them meanwhile
                continue

    def _write(self, documents: list[Document], write: Callable[..., Any]) -> None:
        """Write documents as one commit, within which ids are looked up where they have to be new."""
        if not documents:
            return
        vectors = [None if d.embedding is None else np.asarray(d.embedding, dtype=np.float32) for d in documents]
        dim = next((len(v) for v in vectors if v is not None), None)
        if dim is not None:
            need_field(self.collection, FIELD, dim)
        write(
            [d.id for d in documents],
            {} if dim is None else {FIELD: vectors},
            texts=[d.content for d in documents],
            meta=[meta_of(d) for d in documents],
            repeats="last",
        )

    def _new(self, documents: list[Document]) -> list[Document]:
        """The documents whose ids are not there, of several with one id the first."""
        there = set(self.collection.ids(key("$id").isin([d.id for d in documents])))
        out: dict[str, Document] = {}
        for document in documents:
            if document.id not in there:
                out.setdefault(document.id, document)
        return list(out.values())

    @before_any(lambda: None)
    def delete_documents(self, document_ids: list[str]) -> None:
        """Delete documents by id; ids that are not there are passed over."""
        self.collection.delete(list(document_ids))

    @before_any(lambda: None)
    def delete_all_documents(self, recreate_index: bool = False) -> None:
        """Delete every document; with ``recreate_index``, purge them from the disk, too."""
        self.collection.delete(where=EVERYTHING)
        if recreate_index:
            self.collection.compact(purge=True)

    @before_any(int)
    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Delete the documents that a filter lets through; returns how many."""
        where = _where(filters)
        with _filter_errors():
            return cast(int, self.collection.delete(where=where))

    @before_any(int)
    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Merge ``meta`` into that of the documents that a filter lets through; returns how many."""
        where = _where(filters)
        with _filter_errors():
            return cast(int, self.collection.update(where=where, meta=meta))

    # -- metadata ----------------------------------------------------------------------------------

    @before_any(int)
    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        """How many documents a filter lets through."""
        where = _where(filters)
        with _filter_errors():
            return cast(int, self.collection.count(where))

    def count_unique_metadata_by_filter(self, filters: dict[str, Any], metadata_fields: list[str]) -> dict[str, int]:
        """How many different values the keys have in the documents that a filter lets through."""
        where = _where(filters)
        return {name: len(self._values(name, where)) for name in metadata_fields}

    @before_any(dict)
    def get_metadata_fields_info(self) -> dict[str, dict[str, str]]:
        """The metadata keys, dotted where nested, with the type of their values: boolean, int, float or keyword."""
        out = {}
        for path, kinds in self.collection.keys().items():
            if path.split(".")[0] != REST and self.collection.count(~key(path).isnull()):
                known = [k for k in kinds if k != "null"]
                out[path] = {"type": _TYPES.get(known[0], "keyword") if len(known) == 1 else "keyword"}
        return out

    def get_metadata_field_min_max(self, metadata_field: str) -> dict[str, Any]:
        """The smallest and the largest value of a key, None where there is none or they have no order."""
        try:
            low, high = (self.is_there() and self.collection.bounds(path_of(metadata_field))) or (None, None)
        except BadInput:
            low = high = None
        return {"min": low, "max": high}

    def get_metadata_field_unique_values(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        """A page of a key's different values, in order, and how many there are; 1, 1.0, "1" and True are four.

        ``search_term`` is a part of the value, in any case of letters.
        """
        values = self._values(metadata_field, _where(filters))
        if search_term is not None:
            values = [v for v in values if search_term.lower() in str(v).lower()]
        return values[from_ : from_ + size], len(values)

    @before_any(list)
    def _values(self, name: str, where: Filter) -> list[Any]:
        """The different values of a key, whole lists among them, by type and then in order."""
        parts = path_of(name).split(".")
        found: dict[tuple[str, str], Any] = {}
        with _filter_errors():
            for rows in self.collection.scroll(where=where):
                for row in rows:
                    value: Any = row.meta
                    for part in parts:
                        value = value.get(part) if isinstance(value, dict) else None
                    if value is not None:
                        found.setdefault((type(value).__name__, json.dumps(value, sort_keys=True, default=str)), value)
        plain = (int, float, str)
        return [
            v for _, v in sorted(found.items(), key=lambda i: (i[0][0], i[1] if isinstance(i[1], plain) else i[0][1]))
        ]

    # -- retrieval ---------------------------------------------------------------------------------

    def embedding_retrieval(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        return_embedding: bool = False,
    ) -> list[Document]:
        """The ``top_k`` documents nearest to a vector, best first, with their scores; those without one never."""
        return self._retrieve(query_embedding, None, filters, top_k, return_embedding)

    def bm25_retrieval(
        self,
        query: str,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        return_embedding: bool = False,
    ) -> list[Document]:
        """The ``top_k`` documents that fit the words of a query best, by BM25; those without any of them never."""
        return self._retrieve(None, query, filters, top_k, return_embedding)

    def hybrid_retrieval(
        self,
        query: str,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        return_embedding: bool = False,
        fuse: str = "rrf",
        weights: list[float] | None = None,
    ) -> list[Document]:
        """The best documents by vector and by words, the two rankings fused; ``weights`` are of vector and words."""
        return self._retrieve(query_embedding, query, filters, top_k, return_embedding, fuse=fuse, weights=weights)

    def _retrieve(
        self, vector: Any, text: str | None, filters: Any, top_k: int, return_embedding: bool, **how: Any
    ) -> list[Document]:
        if isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 0:
            raise BadInput(f"top_k: expected a whole number, at least 0, got {top_k!r}")
        where = _where(filters)
        if not self.is_there():
            if self._described:
                told = f"{self.folder}: expected documents, nothing was written there yet; is path or base another?"
                warnings.warn(told, DataWarning, stacklevel=3)
            return []
        if vector is not None and FIELD not in self.collection.fields:  # no document with an embedding came yet
            vector, how = None, {}
        if top_k == 0 or (vector is None and text is None):
            return []
        if vector is not None:
            vector, how["field"] = np.asarray(vector, dtype=np.float32), FIELD
        with _filter_errors():
            hits = self.collection.search(vector, top_k, text=text, where=where, **how)
        return [_document(hit, score=hit.score, embedding=return_embedding) for hit in hits]

    count_documents_async = twin(count_documents)
    filter_documents_async = twin(filter_documents)
    write_documents_async = twin(write_documents)
    delete_documents_async = twin(delete_documents)
    delete_all_documents_async = twin(delete_all_documents)
    delete_by_filter_async = twin(delete_by_filter)
    update_by_filter_async = twin(update_by_filter)
    count_documents_by_filter_async = twin(count_documents_by_filter)
    count_unique_metadata_by_filter_async = twin(count_unique_metadata_by_filter)
    get_metadata_fields_info_async = twin(get_metadata_fields_info)
    get_metadata_field_min_max_async = twin(get_metadata_field_min_max)
    get_metadata_field_unique_values_async = twin(get_metadata_field_unique_values)
    embedding_retrieval_async = twin(embedding_retrieval)
    bm25_retrieval_async = twin(bm25_retrieval)
    hybrid_retrieval_async = twin(hybrid_retrieval)
