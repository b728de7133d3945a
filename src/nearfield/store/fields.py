"""Vector fields of a Collection: their kinds, and vectors as they come made into what is kept."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core import arrays
from nearfield.core.checks import shown, whole
from nearfield.core.errors import BadInput, BadParameter, Unknown, Unsupported, did_you_mean
from nearfield.core.habits import answering
from nearfield.core.protocols import METRICS, Kind, Metric

WIDEST = 1 << 24
_NAME = re.compile(r"[^\W\d]\w*")
_DENSE = ("float32", "float16", "int8", "uint8")


@dataclass(frozen=True)
class Field:
    """What the vectors of a field are: ``kind``, width ``dim``, number type ``dtype`` and ``metric``.

    Made by ``dense``, ``sparse`` and ``ragged``; ``metric=None`` takes the Collection's. ``space`` records what made
    the vectors: encoder, revision, prefix.
    """

    kind: Kind
    dim: int
    dtype: str = "float32"
    metric: Metric | None = None
    space: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        least = 0 if self.kind == "sparse" else 1
        object.__setattr__(self, "dim", whole("dim", self.dim, least, WIDEST, error=BadParameter))
        if self.metric is not None and self.metric not in METRICS:
            raise BadParameter(f"metric: expected one of {', '.join(METRICS)}, got {self.metric!r}")
        known = _DENSE if self.kind == "dense" else ("float32", "float16") if self.kind == "ragged" else ("float32",)
        if self.dtype not in known:
            raise BadParameter(f"dtype: expected one of {', '.join(known)} for a {self.kind} field, got {self.dtype!r}")
        if self.metric == "hamming" and (self.kind != "dense" or self.dtype != "uint8" or self.dim % 8):
            raise Unsupported("metric 'hamming': expected a dense field of dtype uint8 whose dim counts bits, 8 a byte")
        if self.kind == "ragged" and self.metric == "l2":
            raise Unsupported("metric 'l2': expected dot or cosine for a ragged field (MaxSim adds up similarities)")
        if self.kind == "sparse" and self.metric not in (None, "dot", "cosine"):
            raise Unsupported(f"metric {self.metric!r}: expected dot or cosine for a sparse field")

    @property
    def width(self) -> int:
        """Values of a stored row: bytes of packed bits under hamming."""
        return self.dim // 8 if self.metric == "hamming" else self.dim

    @property
    def values(self) -> np.dtype[Any]:
        """The type of the stored values."""
        return np.dtype(self.dtype)

    @property
    def nearness(self) -> Metric:
        """The metric, once the field belongs to a Collection."""
        return self.metric or "dot"

    def within(self, metric: Metric) -> Field:
        """The same field, with the Collection's metric where it has none of its own."""
        if self.metric is not None:
            return self
        if self.kind == "sparse":
            return replace(self, metric="dot")
        return replace(self, metric="cosine" if self.kind == "ragged" and metric == "l2" else metric)

    def record(self) -> dict[str, Any]:
        """The field as JSON."""
        return dataclasses.asdict(self) | {"space": dict(self.space)}

    @classmethod
    def of(cls, record: dict[str, Any]) -> Field:
        """The inverse of ``record``."""
        known = {f.name for f in dataclasses.fields(cls)}
        given = {k: v for k, v in record.items() if k in known}
        return cls(**given | {"space": tuple(sorted(dict(given.get("space") or {}).items()))})

    def __str__(self) -> str:
        return f"{self.kind} {self.dim} {self.dtype} {self.metric or ''}".strip()


@answering
def dense(dim: int, *, dtype: str = "float32", metric: Metric | None = None) -> Field:
    """A field with one vector of ``dim`` values a row; ``dtype`` float32, float16, int8 or uint8 is how it is kept.

    Under ``hamming`` rows are packed bits: ``dim`` counts bits, ``dtype`` is uint8.

    >>> str(dense(384))
    'dense 384 float32'
    """
    return Field("dense", dim, "uint8" if metric == "hamming" else dtype, metric)


@answering
def sparse(dim: int = 0, *, metric: Metric | None = None) -> Field:
    """A field with a sparse vector a row, ``{term number: weight}``; ``dim`` 0 leaves the number of terms open.

    >>> str(sparse())
    'sparse 0 float32'
    """
    return Field("sparse", dim, "float32", metric)


@answering
def ragged(dim: int, *, dtype: str = "float32", metric: Metric | None = None) -> Field:
    """A field with many vectors of ``dim`` values a row, scored by MaxSim (late interaction).

    >>> str(ragged(128))
    'ragged 128 float32'
    """
    return Field("ragged", dim, dtype, metric)


def check_fields(fields: Any) -> None:
    """Refuse names that are no identifiers, and what is no field."""
    if not isinstance(fields, Mapping):
        raise BadInput(f"fields: expected a dictionary such as {{'body': dense(384)}}, got {type(fields).__name__}")
    for name, field in fields.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > 64:
            raise BadInput(f"fields: expected a name of letters, digits and _, such as 'body', got {shown(name)}")
        if not isinstance(field, Field):
            raise BadInput(f"fields: expected dense(dim), sparse() or ragged(dim) for {name!r}, got {shown(field)}")


def known_field(name: Any, known: Collection[str]) -> str:
    """The name of a field that is there, or an error that says which are."""
    if not isinstance(name, str):
        raise BadInput(
            f"field: expected the name of a field, one of {', '.join(known) or 'none'}, got {type(name).__name__}; "
            "rows come with their vectors from get(ids)"
        )
    if name not in known:
        raise Unknown(f"field: no field {name!r}; {did_you_mean(name, known)}")
    return name


def exactly(block: NDArray[Any], dtype: np.dtype[Any], start: int, name: str) -> NDArray[Any]:
    """Rows in the type that is kept; ``BadInput`` naming the rows where that would lose more than rounding."""
    if block.dtype == dtype and dtype.kind != "f":
        return np.ascontiguousarray(block)
    if dtype.kind == "f":
        values = arrays.to_f32(block, start, name)
        if dtype == np.float32:
            return values
        with np.errstate(over="ignore"):
            out = values.astype(dtype)
        _refuse(~np.isfinite(out).all(axis=1), start, name, f"values that {dtype} can hold (up to 65504)")
        return out
    info = np.iinfo(dtype)
    fits = (block >= info.min) & (block <= info.max)
    with np.errstate(invalid="ignore"):
        out = np.where(fits, block, 0).astype(dtype)
    _refuse(~(fits & (out == block)).all(axis=1), start, name, f"whole numbers from {info.min} to {info.max} ({dtype})")
    return out


def _refuse(bad: NDArray[np.bool_], start: int, name: str, expected: str) -> None:
    if bad.any():
        raise BadInput(f"{name}: expected {expected}, got others in row {arrays.some(np.flatnonzero(bad) + start)}")
