"""A Collection under MTEB: the index that its retrieval tasks search, and the cache of its encoders' vectors.

Needs the extra ``mteb``. With a Plan, the index tells what the Plan costs on a task:

    from mteb.models import CachedEmbeddingWrapper, SearchEncoderWrapper
    from nearfield.integrations.mteb import NearfieldCache, NearfieldSearchIndex

    model = CachedEmbeddingWrapper(mteb.get_model(name), "cache", cache_backend=NearfieldCache)
    plain = SearchEncoderWrapper(model, index_backend=NearfieldSearchIndex(model))
    small = SearchEncoderWrapper(model, index_backend=NearfieldSearchIndex(model, plan="rabitq(bits=1)"))
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from nearfield.core.errors import BadInput, Unsupported
from nearfield.core.optional import require
from nearfield.core.protocols import F32, Metric
from nearfield.integrations.common import OPENING, need_field
from nearfield.opening import open
from nearfield.store.filters import key

__all__ = ["NearfieldCache", "NearfieldSearchIndex"]

_METRICS: dict[str, Metric] = {"cosine": "cosine", "dot": "dot", "euclidean": "l2"}
_FIELD = "vector"


def _vectors(given: Any) -> F32:
    """Vectors of NumPy or PyTorch as float32 ``[n, dim]``."""
    if hasattr(given, "detach"):
        given = given.detach().cpu().float().numpy()
    out = np.asarray(given, dtype=np.float32)
    if out.ndim == 1:
        out = out[None, :]
    if out.ndim != 2:
        raise BadInput(f"vectors: expected one a row, [n, dim], got the shape {out.shape}")
    return out


def _temporary(owner: Any, directory: Any = None) -> tuple[Path, Any]:
    """A new folder, and what removes it: a call, or at the latest the end of its owner."""
    folder = Path(tempfile.mkdtemp(dir=directory, prefix="nearfield-"))
    return folder, weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)


class NearfieldSearchIndex:
    """The documents of a retrieval or re-ranking task in a Collection: mteb's ``IndexEncoderSearchProtocol``.

    Use it as ``index_backend`` of mteb's ``SearchEncoderWrapper``. The folder is temporary: ``clear``, which mteb calls
    after each search, removes it. Scores are those of mteb: cosine, dot product, or the negative Euclidean distance.

    Parameters
    ----------
    model: the encoder, whose similarity tells the metric; or its name: ``cosine``, ``dot`` or ``euclidean``.
    plan: a Plan to encode the documents under, which are then searched by their codes alone; None: exact search.
    directory: where the temporary folder lies; None: where the system keeps such.
    rng: a seed for fitting the Plan.

    Raises ``Unsupported`` for an encoder of another similarity, ``BadInput`` for a search of nothing.
    """

    def __init__(
        self, model: Any = "cosine", *, plan: Any = None, directory: str | os.PathLike[str] | None = None, rng: int = 0
    ) -> None:
        similarity = model if isinstance(model, str) else model.mteb_model_meta.similarity_fn_name
        name = str(getattr(similarity, "value", similarity))
        if name not in _METRICS:
            raise Unsupported(f"model: expected a similarity of {', '.join(_METRICS)}, got {name!r}")
        self.metric: Metric = _METRICS[name]
        self.plan, self.directory, self.rng = plan, directory, rng
        self._at: dict[str, int] = {}
        self._collection: Any = None
        self._remove: Any = None
        self._encoded = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        if self._collection is not None:
            raise Unsupported(
                "NearfieldSearchIndex: expected an index without documents to copy, got one with a temporary folder; "
                "copy it before add_documents, or make another"
            )
        return type(self)(
            self.metric if self.metric != "l2" else "euclidean", plan=self.plan, directory=self.directory, rng=self.rng
        )

    def add_documents(self, embeddings: Any, idxs: Any) -> None:
        """Add vectors ``[n, dim]`` of the documents of these ids, after those that are there."""
        vectors, ids = _vectors(embeddings), list(idxs)
        if self._collection is None:
            folder, self._remove = _temporary(self, self.directory)
            self._collection = open(
                folder / "documents", dim=vectors.shape[1], metric=self.metric, on_zero="keep",
                durability="relaxed",
            )  # fmt: skip
        self._collection.add(ids, vectors)
        self._at |= {name: i for i, name in enumerate(ids, start=len(self._at))}
        self._encoded = False

    def search(
        self,
        embeddings: Any,
        top_k: int,
        similarity_fn: Any = None,
        top_ranked: Mapping[str, list[str]] | None = None,
        query_idx_to_id: Mapping[int, str] | None = None,
    ) -> tuple[list[list[float]], list[list[int]]]:
        """Scores and documents of each query ``[m, dim]``, best first: two lists of ``m`` lists.

        Documents are told by their place among those added; with ``top_ranked``, a list of document ids a query id,
        only those are ranked, and told by their place in that list. ``similarity_fn`` is not looked at: the metric is
        the model's.
        """
        if self._collection is None:
            raise BadInput("search: expected documents, got none; call add_documents first")
        if self.plan is not None and not self._encoded:
            self._collection.recode(self.plan, originals="drop", rng=self.rng)
            self._encoded = True
        q = _vectors(embeddings)
        if top_ranked is None:
            found = self._collection.search(q, top_k, on_zero="keep")
            return [self._scores(hits) for hits in found], [[self._at[hit.id] for hit in hits] for hits in found]
        if query_idx_to_id is None:
            raise BadInput("search: expected query_idx_to_id= together with top_ranked=")
        scores, places = [], []
        for i, vector in enumerate(q):
            ranked = list(top_ranked.get(query_idx_to_id[i], []))
            hits = self._collection.search(vector, top_k, where=key("$id").isin(ranked), on_zero="keep")
            place = {name: j for j, name in enumerate(ranked)}
            scores.append(self._scores(hits))
            places.append([place[hit.id] for hit in hits])
        return scores, places

    def _scores(self, hits: Any) -> list[float]:
        return [-hit.distance if self.metric == "l2" else hit.score for hit in hits]

    def clear(self) -> None:
        """Remove the documents and their folder."""
        if self._collection is not None:
            self._collection.close()
            self._remove()
        self._at, self._collection, self._encoded = {}, None, False


class NearfieldCache:
    """Vectors of an encoder by what they were made of, in a Collection: mteb's ``CacheBackendProtocol``.

    Use it as ``cache_backend`` of mteb's ``CachedEmbeddingWrapper``. Vectors are kept as float32; each ``add`` is on
    the disk when it returns, so that a run that was killed loses nothing, and several runs may share a folder.

    Parameters
    ----------
    directory: the folder, made where it is not there; None: a temporary one, gone with the cache.
    """

    def __init__(self, directory: str | os.PathLike[str] | None = None, **options: Any) -> None:
        if options:
            raise BadInput(f"cache: expected directory= alone, got {', '.join(options)}")
        self.directory = _temporary(self)[0] if directory is None else Path(directory)
        self._collection: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # one folder, which a temporary one's copy must not outlive

    def _opened(self) -> Any:
        with OPENING:
            if self._collection is None:
                self.directory.mkdir(parents=True, exist_ok=True)
                # A folder of its own below: mteb puts the caches of queries and documents within that of a task.
                self._collection = open(self.directory / "vectors", fields={}, metric="dot")
            return self._collection

    def add(self, item: list[dict[str, Any]], vectors: Any) -> None:
        """Keep a vector ``[n, dim]`` of each item, in place of one that is there."""
        made = _vectors(vectors)
        if len(item) != len(made):
            raise BadInput(f"cache: expected a vector for each of {len(item)} items, got {len(made)}")
        if not len(made):
            return
        collection = self._opened()
        need_field(collection, _FIELD, made.shape[1])
        collection.upsert([_name(i) for i in item], made, repeats="last")

    def get_vector(self, item: dict[str, Any]) -> F32 | None:
        """The vector of an item, float32 ``[dim]``, None where it is not there."""
        rows = self._opened().get([_name(item)])
        return np.asarray(rows[0].vector, dtype=np.float32) if rows else None

    def __contains__(self, item: Any) -> bool:
        return _name(item) in self._opened()

    def save(self) -> None:
        """Nothing is left to do: what was added is on the disk."""

    def load(self) -> None:
        """Open the folder, which else is done at the first use."""
        self._opened()

    def close(self) -> None:
        """Give locks and files back; the next use opens the folder again."""
        if self._collection is not None:
            self._collection.close()
            self._collection = None


def _name(item: Any) -> str:
    """What mteb itself tells items apart by: a hash of text, image, audio and video."""
    return str(require("mteb._content_hashes", extra="mteb").hash_item(item))
