"""Which column or key holds what: the ids, the text, the vectors; all others are metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from nearfield.core.errors import BadInput, did_you_mean

ID = ("id", "_id", "doc_id")
TEXT = ("text", "body", "content")
VECTOR = ("vector", "embedding", "vec", "emb", "embeddings", "vectors")
META = ("meta", "metadata")  # keys that may hold all metadata as one object


@dataclass(frozen=True)
class Names:
    """What the caller says holds the ids, the text (several are joined by a space), vectors and metadata.

    None means by name: ``id``, ``_id`` or ``doc_id``; ``text``, ``body`` or ``content``; ``vector``, ``embedding``
    and the like; all others. An empty string or sequence means none.
    """

    id: str | None = None
    text: str | Sequence[str] | None = None
    vector: str | Sequence[str] | None = None
    meta: Sequence[str] | None = None
    sparing: bool = False  # a row need not have the vectors that were named

    def id_in(self, keys: Sequence[str], where: str) -> str | None:
        """The key of the ids among those there."""
        if self.id is None:
            return self._guess(ID, keys)
        return next(iter(_known(_listed(self.id), keys, "id", where)), None)

    def texts_in(self, keys: Sequence[str], where: str) -> list[str]:
        """The keys of the text among those there."""
        if self.text is None:
            found = self._guess(TEXT, keys)
            return [] if found is None else [found]
        return _known(_listed(self.text), keys, "text", where)

    def vectors_in(self, keys: Sequence[str], where: str) -> list[str]:
        """The keys of vectors among those there, by name alone."""
        if self.vector is None:
            return [k for k in keys if k in VECTOR and k not in self.given]
        if self.sparing:
            return [k for k in self.listed_vectors if k in keys]
        return _known(self.listed_vectors, keys, "vector", where)

    @property
    def listed_vectors(self) -> list[str]:
        """What the caller named as vectors."""
        return _listed(self.vector or ())

    def optional_vectors(self) -> Names:
        """The same for rows of which each may lack a vector, once some row has been seen to have one."""
        return replace(self, sparing=True)

    @cached_property
    def given(self) -> frozenset[str]:
        """What the caller named as something else than vectors: no guess takes it for one."""
        return frozenset(name for part in (self.id, self.text, self.meta) for name in _listed(part or ()))

    def _guess(self, known: Sequence[str], keys: Sequence[str]) -> str | None:
        vectors = _listed(self.vector or ())
        return next((k for k in known if k in keys and k not in vectors), None)

    def meta_in(self, keys: Sequence[str], taken: Sequence[str | None], where: str) -> list[str]:
        """The keys of metadata among those there."""
        if self.meta is None:
            return [k for k in keys if k not in taken]
        return _known(list(self.meta), keys, "meta", where)


def _listed(given: str | Sequence[str]) -> list[str]:
    return [g for g in ([given] if isinstance(given, str) else given) if g]


def _known(wanted: list[str], keys: Sequence[str], what: str, where: str) -> list[str]:
    for name in wanted:
        if name not in keys:
            raise BadInput(f"{where}: {what}={name!r} names nothing there; {did_you_mean(name, map(str, keys))}"[:600])
    return wanted


def poured(record: dict[str, Any], keys: Sequence[str], where: str) -> dict[str, Any]:
    """The metadata of a row: its keys, an object under ``meta`` or ``metadata`` being poured out among them."""
    out: dict[str, Any] = {}
    for key in keys:
        value = record[key]
        inner = value if key in META and isinstance(value, dict) else {key: value}
        for name, found in inner.items():
            if name in out:
                raise BadInput(f"{where}: expected {name!r} once in the metadata, got it twice; rename one of them")
            out[name] = found
    return out
