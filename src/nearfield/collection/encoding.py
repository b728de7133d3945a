"""Which model made the vectors of a field: recorded, and held to. Texts become vectors by that model."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nearfield.collection.fieldrows import FieldRows
from nearfield.collection.intake import Intake
from nearfield.collection.state import State
from nearfield.core.arrays import to_f32
from nearfield.core.checks import plain
from nearfield.core.errors import BadInput, warn
from nearfield.core.protocols import F32, Progress
from nearfield.numerics.likeness import LEAST, look_alike
from nearfield.search.encoding import as_encoder, check_space, encode_texts, encoder_of, loads
from nearfield.store.catalog import Change
from nearfield.store.fields import Field
from nearfield.store.snapshot import Snapshot

if TYPE_CHECKING:
    from nearfield.collection.updating import Renewal

_KNOWN = 256  # vectors that must be there before others are compared with them
_LOOKED = 1000


def space_of(encoder: Any) -> dict[str, Any]:
    """The record of an encoder: its name, and what it says of its model."""
    made = as_encoder(encoder)
    name = type(made).__module__.rsplit(".", 1)[-1]
    own = {k: plain(v) for k, v in dict(getattr(made, "space", {})).items()}
    return {"encoder": name, **{k: v for k, v in own.items() if isinstance(v, (str, int, float, bool))}}


class Encoding:
    """The encoder of a Collection, found when it is first needed."""

    def __init__(self, state: State, encoder: Any) -> None:
        self._state = state
        self.given = encoder
        self._made: Any = None
        self._samples: dict[str, F32] = {}

    def of_texts(self, texts: Any, fields: dict[str, Field], progress: Progress | None) -> dict[str, Any]:
        """Vectors of texts for the field that the encoder belongs to; none where a Collection has no fields."""
        name = self._field(fields)
        if name is None:
            if fields:
                raise BadInput(
                    "vectors: expected some, as this collection records no encoder; pass them (None for a row without "
                    "one), or open it with encoder="
                )
            return {}
        if texts is None:
            raise BadInput("upsert: expected vectors, or texts for the encoder, got neither")
        if isinstance(texts, str):
            texts = [texts]
        there = [i for i, text in enumerate(texts) if isinstance(text, str) and text.strip()]
        if not there:
            return {name: [None] * len(texts)}
        encoder = self._encoder(name, fields[name])
        if len(there) == len(texts):
            return {name: encode_texts(encoder, list(texts), progress=progress)}
        rows: list[Any] = [None] * len(texts)
        for i, vector in zip(there, encode_texts(encoder, [texts[i] for i in there], progress=progress)):
            rows[i] = vector
        return {name: rows}

    def renewal(self, fields: dict[str, Field], given: Container[str]) -> Renewal | None:
        """What makes the vectors of texts that change; None where no field has an encoder, or its vectors are given."""
        name = self._field(fields)
        if name is None or name in given:
            return None
        from nearfield.collection.updating import Renewal

        return Renewal(name, lambda texts: encode_texts(self._encoder(name, fields[name]), texts))

    def query(self, text: str, snapshot: Snapshot, expand: Any = None, nearest: Any = None) -> Any:
        """The vector of a query text, as ``{field: vector}``; None where no encoder is known.

        ``expand`` makes it in its own way (``HyDE``); ``nearest(name, vector, n)`` are the vectors of rows near one.
        """
        fields = {name: snapshot.fields[number] for name, number in snapshot.names.items()}
        name = self._field(fields)
        if name is None or not text.strip():
            return None
        encoder = self._encoder(name, fields[name])
        if expand is not None:
            return {name: expand.vector(text, encoder, partial(nearest, name))}
        made: F32 = encode_texts(encoder, [text], queries=True)
        return {name: made[0]}

    def check(self, name: str, field: Field, encoder: Any, *, note: bool = True) -> None:
        """Refuse vectors of another model than the field's by name; where none is recorded, record this one.

        With ``note=False`` nothing is recorded, as before a search.
        """
        space = {"encoder": encoder, "model": encoder} if _unknown(encoder) else space_of(encoder)
        known = dict(field.space)
        if not known:
            if note:
                record(self._state, name, space)
            return
        check_space(known, space, name, "use the same model and revision, or another field")

    def watch(self, given: Intake, fields: dict[str, Field]) -> None:
        """Warn where vectors of a field without a record do not look like those that are there."""
        for name, vectors in given.vectors.items():
            field = fields[name]
            if field.kind != "dense" or field.space or field.metric == "hamming" or len(given) < LEAST:
                continue
            old = self._sample(name)
            if old is None:
                continue
            alike, found, expected = look_alike(old, to_f32(vectors.take(slice(0, min(len(given), _LOOKED))).values))
            if not alike:
                told = (
                    f"their coordinates vary differently (correlation {found:.2f}, the same model gives {expected:.2f})"
                )
                warn(f"{name}: these vectors do not look like those that are there: {told}; another model?")

    def _sample(self, name: str) -> F32 | None:
        """Some vectors that are there, once there are enough; read once."""
        if name not in self._samples:
            snapshot = self._state.snapshot()
            rows = FieldRows(snapshot, snapshot.names[name])
            if rows.shape[0] < _KNOWN:
                return None
            self._samples[name] = to_f32(rows.take(np.arange(min(rows.shape[0], _LOOKED), dtype=np.int64)))
        return self._samples[name]

    def _field(self, fields: dict[str, Field]) -> str | None:
        for name, field in fields.items():
            if field.kind == "dense" and (dict(field.space).get("encoder") or self.given is not None):
                return name
        return None

    def _encoder(self, name: str, field: Field) -> Any:
        if self._made is None:
            recorded = dict(field.space).get("encoder")
            if self.given is None and not loads(recorded):
                raise BadInput(
                    f"{name}: was encoded by {recorded!r}, which no name loads: open with encoder=, or pass vectors"
                )
            self._made = encoder_of(self.given if self.given is not None else recorded, field.dim, dict(field.space))
            self.check(name, field, self._made)
        return self._made


def _unknown(encoder: Any) -> bool:
    """Whether this is only the name of a model."""
    return isinstance(encoder, str) and not loads(encoder)


def record(state: State, name: str, space: dict[str, Any]) -> None:
    """Write down what makes the vectors of a field."""
    with state.writing() as snapshot:
        number = snapshot.names[name]
        field = replace(snapshot.fields[number], space=tuple(sorted(space.items())))
        records = state.catalog.get("fields", {})
        records[str(number)] = {"name": name, "field": field.record()}
        state.commit(Change(manifest={"fields": records}, new_generation=True))
