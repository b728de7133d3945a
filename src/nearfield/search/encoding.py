"""Finds the encoder that turns texts into vectors."""

from __future__ import annotations

from typing import Any

from nearfield.core import rooms
from nearfield.core.errors import BadInput

# A file may name these: they load nothing but what is installed. Others must be passed by the caller.
SAFE = ("static", "minilm")


def as_encoder(encoder: Any) -> Any:
    """An encoder object from its name, or the object itself.

    Raises ``BadInput`` where it is neither, ``Unknown`` for a name that no encoder has.
    """
    if isinstance(encoder, str):
        made = rooms.load("encoders", encoder)
        if encoder not in SAFE:
            raise BadInput(f"encoder: {encoder!r} needs a model, and is made in Python: {made.__name__}(...)")
        return made()
    if not hasattr(encoder, "encode"):
        raise BadInput(f"encoder: expected a name or an object with encode(texts), got {type(encoder).__name__}")
    return encoder
