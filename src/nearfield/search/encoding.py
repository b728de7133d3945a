"""Finds the encoder that turns texts into vectors, and looks at what it is given."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from nearfield.core import rooms
from nearfield.core.arrays import some
from nearfield.core.errors import BadInput, DataWarning, Unknown, Unsupported, did_you_mean
from nearfield.core.protocols import F32, Progress

# A file may name these: they load nothing but what is installed. Others must be passed by the caller.
_SAFE = ("static", "minilm")
_REVISED = ("static",)  # of these the revision may be named too: static-1
_TELLING = ("model", "revision", "prefix")  # what must agree where both sides say it


def loads(encoder: Any) -> bool:
    """Whether this is a name that may be loaded wherever it is met: ``static``, ``static-1``, ``minilm``."""
    return isinstance(encoder, str) and _parts(encoder)[0] in _SAFE


def _parts(name: str) -> tuple[str, str | None]:
    """The encoder that is named, and its revision where the name tells one."""
    first, _, last = name.rpartition("-")
    return (first, last) if first in _REVISED and last.isdigit() else (name, None)


def as_encoder(encoder: Any, space: Mapping[str, Any] | None = None) -> Any:
    """An encoder object from its name, or the object itself.

    ``space`` is the record of the rows that a named encoder has to fit: it comes in the revision that made them,
    where it still has that one. A name may tell the revision itself (``static-1``).
    Raises ``BadInput`` where it is neither, ``Unknown`` for a name that no encoder has.
    """
    if isinstance(encoder, str):
        known, (name, revision) = rooms.catalog("encoders"), _parts(encoder)
        if name not in known:
            raise Unknown(f"encoder: no encoder {encoder!r}; {did_you_mean(encoder, known)}")
        made = rooms.load("encoders", name)
        if name not in _SAFE:
            raise BadInput(f"encoder: {encoder!r} needs a model, and is made in Python: {made.__name__}(...)")
        recorded = (space or {}).get("revision")
        if revision is None and recorded in getattr(made, "revisions", ()):
            revision = recorded
        return made() if revision is None else made(revision=revision)
    if not hasattr(encoder, "encode"):
        raise BadInput(f"encoder: expected a name or an object with encode(texts), got {type(encoder).__name__}")
    return encoder


def encoder_of(encoder: Any, width: int, space: Mapping[str, Any] | None = None) -> Any:
    """The encoder that made vectors of this width; ``BadInput`` where it cannot have made them."""
    made = as_encoder(encoder, space)
    dim = getattr(made, "dim", None)
    if dim is not None and dim != width:
        name = encoder if isinstance(encoder, str) else type(made).__name__
        raise BadInput(
            f"encoder: {name!r} gives {dim} dimensions and the vectors have {width}, so it did not make them: "
            "name the one that did, or none"
        )
    return made


def check_space(rows: Mapping[str, Any], encoder: Mapping[str, Any], what: str, remedy: str) -> None:
    """Refuse an encoder by name whose vectors are in another space than the rows.

    ``rows`` and ``encoder`` are space records; ``what`` names the rows, ``remedy`` says what to do.
    Raises ``Unsupported``.
    """
    for key in _TELLING:
        if key in rows and key in encoder and rows[key] != encoder[key]:
            raise Unsupported(
                f"{what}: the rows are in the space of {rows.get('model')!r} ({key} {rows[key]!r}), these come "
                f"from {encoder.get('model')!r} ({key} {encoder[key]!r}); {remedy}"
            )


def encode_texts(encoder: Any, texts: Any, *, queries: bool = False, progress: Progress | None = None) -> F32:
    """Encode texts, and say which are blank: their vectors are all the same and mean nothing.

    Raises ``BadInput`` where there is nothing but blank texts.
    """
    what = "queries" if queries else "texts"
    if isinstance(texts, str) or not hasattr(texts, "__len__"):
        raise BadInput(f"{what}: expected a list of texts, got {type(texts).__name__}")
    blank = [i for i, text in enumerate(texts) if isinstance(text, str) and not text.strip()]
    if blank and len(blank) == len(texts):
        raise BadInput(f"{what}: expected words, got nothing but blank texts ({len(blank)})")
    if blank:
        warnings.warn(
            f"{what}: {len(blank)} of {len(texts)} are blank, in row {some(blank)}: these get one and the same vector, "
            "which means nothing; fill or remove them",
            DataWarning,
            stacklevel=2,
        )
    encode = encoder.encode_queries if queries else encoder.encode
    vectors: F32 = encode(texts) if progress is None else encode(texts, progress=progress)
    return vectors
