"""One vector as a row of a file or frame has it: a list, an array, indices and values, or any of these as text.

A cell that holds no vector is refused, never passed over: a row that came with one must not get another in its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import BadInput
from nearfield.store import io_base as base
from nearfield.store.rows import RowVectors

_WHOLE = re.compile(r"[+-]?\d{1,18}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*([eE][+-]?\d{1,4})?|\.\d+([eE][+-]?\d{1,4})?|inf|nan)", re.IGNORECASE)
_SAY = "repair it, or say which part holds the vectors with vector=..."


def vector_of(value: Any, where: str) -> Any:
    """A vector as an array ``[d]`` or ``[t, d]``, or ``{term: weight}``; None for None.

    Lists may come as text: ``[1, 2]``, ``[1. 2.]`` as NumPy prints them, ``1,2``. Raises ``BadInput`` naming ``where``
    for anything else: bytes, single numbers, names, texts that NumPy shortened with ``...``.
    """
    if isinstance(value, str):
        return _from_text(value, where)
    if value is None:
        return None
    if isinstance(value, dict):
        return _sparse(value, where)
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.ndim in (1, 2) and value.size:
        return value
    if isinstance(value, np.ndarray):
        value = _lists(value)
    if not isinstance(value, (list, tuple)):
        raise BadInput(f"{where}: expected a list of numbers, got {_told(value)}; {_SAY}")
    if len(value) and isinstance(value[0], (list, tuple, np.ndarray)):
        return _numbers([_lists(v) for v in value], where, 2)
    return _numbers(value, where, 1) if len(value) else np.zeros((0, 0))


def _told(value: Any) -> str:
    """A value, and of what kind it is where that does not show."""
    plain = isinstance(value, (str, int, float)) or value is None
    return base.shown(value, 60) if plain else f"{type(value).__name__} {base.shown(value, 40)}"


def _lists(value: Any) -> Any:
    """Arrays within arrays, as Arrow hands lists of lists to pandas, as lists."""
    return [_lists(v) for v in value.tolist()] if isinstance(value, np.ndarray) and value.ndim else value


def _sparse(value: dict[Any, Any], where: str) -> dict[int, float]:
    indices, values = (_lists(value.get(name)) for name in ("indices", "values"))
    if not isinstance(indices, list) or not isinstance(values, list) or len(indices) != len(values):
        raise BadInput(f"{where}: expected indices and values of one length, got {base.shown(value, 60)}")
    return dict(zip(_numbers(indices, where, 1).tolist(), _numbers(values, where, 1).tolist()))


def _numbers(value: Sequence[Any], where: str, axes: int) -> NDArray[Any]:
    out: NDArray[Any]
    try:
        out = np.array(value) if len(value) else np.zeros(0)
    except (ValueError, OverflowError, TypeError):
        out = np.array(None)
    if out.ndim != axes or out.dtype.kind not in "fiu" or (axes == 2 and out.shape[1] == 0):
        raise BadInput(f"{where}: expected numbers of one width, got {base.shown(value, 60)}; repair the row")
    return out


# ---- text -----------------------------------------------------------------------------------------
def _from_text(text: str, where: str) -> Any:
    inner = text.strip()
    if "..." in inner:
        raise BadInput(
            f"{where}: expected a list of numbers, got one that NumPy shortened with '...'; write x.tolist() instead"
        )
    if inner.startswith(("[", "{")):
        try:
            found = json.loads(inner)
        except (ValueError, RecursionError):
            found = None  # not as JSON has it
        if isinstance(found, (list, dict)):
            return vector_of(found, where)
    listed = _listed(inner)
    if listed is None:
        raise BadInput(f"{where}: expected a list of numbers, got the text {base.shown(text, 40)}; {_SAY}")
    return listed


def _listed(text: str) -> NDArray[Any] | None:
    """Numbers between brackets, or at least two of them without, with commas or blanks between; None for all else."""
    bare = text[1:-1].strip() if text[:1] + text[-1:] in ("[]", "()") else None
    inner = text if bare is None else bare
    parts = [p.strip() for p in inner.removesuffix(",").split(",")] if "," in inner else inner.split()
    if len(parts) < (2 if bare is None else 1):
        return None
    if all(map(_WHOLE.fullmatch, parts)):
        return np.array([int(p) for p in parts], dtype=np.int64)
    if all(map(_NUMBER.fullmatch, parts)):
        return np.array([float(p) for p in parts], dtype=np.float64)
    return None


# ---- rows -----------------------------------------------------------------------------------------
def vector_keys(record: Mapping[str, Any], guessed: Iterable[str]) -> list[str]:
    """Which of the keys that are named as vectors hold one.

    Lists, objects and null do. Where a row has none of these but for null, anything else under such a name was meant
    for a vector: it is read, or refused. Beside a list it is metadata, such as the name of a model.
    """
    keys = list(guessed)
    whole = [k for k in keys if record[k] is None or isinstance(record[k], (list, dict))]
    return whole if any(record[k] is not None for k in whole) else keys


def side_by_side(found: list[Any], name: str, start: int) -> RowVectors:
    """The vectors of rows as one array where all are dense, else as a list with one number type and width."""
    arrays = [v for v in found if isinstance(v, np.ndarray)]
    if not arrays:
        return found
    dtype = np.result_type(*{a.dtype for a in arrays})
    first, like = next(((i, v) for i, v in enumerate(found) if isinstance(v, np.ndarray) and v.size), (0, arrays[0]))
    for row, v in enumerate(found):
        if not isinstance(v, np.ndarray):
            continue
        if not v.size and like.ndim == 1:
            raise BadInput(f"{name}: expected {like.size} numbers, got [] in row {start + row}; write null for none")
        if v.size and (v.shape[-1] != like.shape[-1] or v.ndim != like.ndim):
            raise BadInput(
                f"{name}: expected vectors of width {like.shape[-1]} as in row {start + first}, got shape {v.shape} in "
                f"row {start + row}"
            )
    if len(arrays) == len(found) and like.ndim == 1:
        return np.stack(arrays).astype(dtype)
    width = like.shape[-1]
    shaped = [v if not isinstance(v, np.ndarray) or v.size else np.zeros((0, width)) for v in found]
    return [v.astype(dtype) if isinstance(v, np.ndarray) else v for v in shaped]
