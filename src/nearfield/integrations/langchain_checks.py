"""What LangChain's store looks at before it searches: which model made the vectors, and which keys a filter names."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from nearfield.core.arrays import to_f32, unit_rows
from nearfield.core.errors import DataWarning, Unsupported
from nearfield.store.filters import Filter, Not, misspelt, parse_where, unknown_paths
from nearfield.store.filters.tree import And, Leaf, Or, every, some

_NAMES = ("model", "model_name", "model_id", "repo_id")  # where LangChain's Embeddings keep the name of a model
_WRAPPED = "underlying_embeddings"  # of a cache before a model
_ROWS = 3  # whose texts are embedded again
_ALIKE = 0.8  # cosine of two vectors of one text by one model, where the prefix or the rounding differ
_ALIKE_CODED = 0.5  # ... and where one of them is what codes give back
_PREFIX = "metadata."


def model_name(embedding: Any) -> str | None:
    """The name of an embedding model, where it has one.

    >>> model_name(type("Model", (), {"model_name": "e5"})())
    'e5'
    """
    embedding = getattr(embedding, _WRAPPED, embedding)
    named = (getattr(embedding, name, None) for name in _NAMES)
    return next((name for name in named if isinstance(name, str) and name), None)


def recorded_name(collection: Any, field: str | None, embedding: Any) -> str | None:
    """The name of a model as the field's record has it, where only the owner before a ``/`` or the case differs."""
    own, known = model_name(embedding), _known(collection.fields, field)
    same = own is not None and known is not None and _bare(own) == _bare(known)
    return known if same else own


def _known(fields: Any, field: str | None) -> str | None:
    """The model that the record of a field names."""
    found = fields.get(next(iter(fields), None) if field is None else field)
    return None if found is None else dict(found.space).get("model")


def _bare(name: str) -> str:
    return name.rpartition("/")[2].lower()


def check_model(collection: Any, field: str | None, embedding: Any) -> None:
    """Refuse a model that did not make the vectors of a field.

    Two names decide where both are known. Otherwise a few texts that are there are embedded again, and the model is
    refused where not one of them comes out near its own vector, and the model gives one text one vector.
    """
    fields = collection.fields
    name = field if field is not None else next(iter(fields), None)
    if name is None or name not in fields or fields[name].kind != "dense":
        return
    known, own = _known(fields, name), recorded_name(collection, name, embedding)
    if known is not None and own is not None:
        collection.check_encoder(name, fields[name], own, note=False)
        return
    rows = _some(collection, name)
    alike = _ALIKE_CODED if name in collection.plans else _ALIKE
    if rows and not _made(embedding, [text for text, _ in rows], np.stack([vector for _, vector in rows]), alike):
        raise Unsupported(
            f"{name}: the rows were made by {'another model' if known is None else repr(known)}: texts that are there "
            f"get other vectors from {type(embedding).__name__}; use the same model, or another collection"
        )


def _some(collection: Any, name: str) -> list[tuple[str, Any]]:
    """A few texts with their vectors."""
    for rows in collection.scroll(batch=8 * _ROWS):
        found = [(row.text, vector) for row in rows if row.text and (vector := row.vectors.get(name)) is not None]
        return found[:_ROWS]
    return []


def _made(embedding: Any, texts: list[str], vectors: Any, alike: float) -> bool:
    """Whether a model may have made some vectors of these texts."""
    first = np.asarray(embedding.embed_documents(texts), dtype=np.float32)
    if first.shape != vectors.shape:
        return True  # the width is refused elsewhere, by name
    if _cosines(first, vectors).max() >= alike:
        return True
    again = np.asarray(embedding.embed_documents(texts), dtype=np.float32)
    return bool(_cosines(first, again).min() < alike)  # by chance, as of a model for tests: nothing can be told


def _cosines(a: Any, b: Any) -> Any:
    return (unit_rows(to_f32(a), on_zero="keep") * unit_rows(to_f32(b), on_zero="keep")).sum(axis=1)


def where_of(collection: Any, given: Any) -> Filter | None:
    """A filter as a Collection takes it; keys may be named as in ``metadata.lang``, as other stores want it.

    Warns of keys that no row has: they choose nothing, or with ``!=`` everything. Of those that look misspelt the
    Collection itself warns.
    """
    if given is None:
        return None
    paths = collection.keys()
    where = parse_where(given)
    if not any(path.startswith(_PREFIX) for path in paths):
        where = _without_prefix(where)
    slips = misspelt(where, paths)
    unknown = {path: hint for path, hint in unknown_paths(where, paths).items() if path not in slips}
    if paths and unknown:
        told = "; ".join(f"{path!r}: {hint}" for path, hint in unknown.items())
        warnings.warn(f"filter: expected keys of the documents' metadata, no row has {told}", DataWarning, stacklevel=4)
    return where


def _without_prefix(where: Filter) -> Filter:
    if isinstance(where, Leaf):
        return replace(where, path=where.path.removeprefix(_PREFIX))
    if isinstance(where, Not):
        return Not(_without_prefix(where.part))
    if isinstance(where, And | Or) and where.parts:
        parts = [_without_prefix(part) for part in where.parts]
        return every(parts) if isinstance(where, And) else some(parts)
    return where
