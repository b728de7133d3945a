"""Does what a file says of itself hold together? Asked once when it is opened, so that no search stumbles later.

Checksums tell damage from what was written; they do not tell a file that was written wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import Corrupt
from nearfield.core.protocols import METRICS
from nearfield.search.fit import INDEX, Fitted, coded_columns, column_shapes, sized_index
from nearfield.search.packed import Packed

_WIDEST = 1 << 24  # far beyond any embedding; a query of it still fits in memory
_FREE = 1 << 20  # dimensions that a file of any size may claim: a plan may keep a few of them, and learn nothing
_BITS = 8  # beyond those: a bit a dimension
_CODE_BYTES, _CONSTANTS = 16, 4096  # the most of a dimension, and of a row beside them
_KINDS: dict[str, tuple[type, ...]] = {
    "plan": (str,), "metric": (str,), "n": (int,), "d": (int,), "encoder": (str, type(None)),
    "space": (dict, type(None)), "state": (dict,),
}  # fmt: skip
_OPTIONAL = ("encoder", "space")


def check_meta(meta: dict[str, Any], nbytes: int) -> None:
    """Raise ``Corrupt`` unless every key is there, of its type and within its range, in a file of so many bytes."""
    for key, kinds in _KINDS.items():
        if key not in meta and key not in _OPTIONAL:
            raise Corrupt(f"the key {key!r} is missing")
        value = meta.get(key)
        if key in meta and (not isinstance(value, kinds) or isinstance(value, bool)):
            names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
            raise Corrupt(f"{key}: expected {names}, got {type(value).__name__}")
    if meta["metric"] not in METRICS:
        raise Corrupt(f"metric: expected one of {', '.join(METRICS)}, got {meta['metric'][:40]!r}")
    if meta["n"] < 1 or not 1 <= meta["d"] <= _WIDEST or (meta["metric"] == "hamming" and meta["d"] % 8):
        raise Corrupt("n and d: expected the number of rows and their width (under hamming a multiple of 8)")
    if meta["d"] > max(_FREE, _BITS * nbytes):
        raise Corrupt(f"claims {meta['d']} dimensions, which {nbytes} bytes cannot hold")


def check_columns(fitted: Fitted, columns: dict[str, NDArray[Any]]) -> None:
    """Raise ``Corrupt`` unless every column has the type and shape that the plan and the rows need."""
    for name, codec, _ in coded_columns(fitted):
        width = codec.bytes_per_row
        if not isinstance(width, int) or width < 1:
            raise Corrupt(f"the codec of {name!r} has rows of {width!r} bytes")
    wanted = column_shapes(fitted)
    if "ids" in columns:
        wanted["ids"] = ("<i8", (fitted.n,))
    for name in ("ids", "texts"):
        if f"{name}.bytes" in columns or f"{name}.ends" in columns:
            wanted[f"{name}.ends"] = ("<i8", (fitted.n,))
            wanted[f"{name}.bytes"] = ("|u1", columns[f"{name}.bytes"].shape[:1] if f"{name}.bytes" in columns else ())
    for name, (dtype, shape) in wanted.items():
        if name not in columns:
            raise Corrupt(f"the column {name!r} is missing")
        got = columns[name]
        if got.dtype.str != dtype or got.shape != shape:
            raise Corrupt(f"the column {name!r} should be {dtype} of shape {shape}, got {got.dtype.str} of {got.shape}")


def check_widths(fitted: Fitted) -> None:
    """Raise ``Corrupt`` where codes claim to be wider than rows and what was learned of them; no room is made for it.

    Codes are of the rows or of what Maps make of them, and those have learned at least a byte for each dimension.
    """
    most = _CODE_BYTES * max(fitted.d, fitted.shared_bytes) + _CONSTANTS
    for method in (*fitted.maps, fitted.codec, *fitted.rescore_codecs):
        for name in ("dim", "dim_", "bytes_per_row"):
            width = getattr(method, name, 0)
            if type(width) is int and width > most:
                raise Corrupt(f"{method.name()}: claims {name} {width}, for rows of {fitted.d} dimensions")


def check_zeros(zeros: NDArray[Any], n: int, name: str = "zeros") -> None:
    """Raise ``Corrupt`` unless these are row numbers, ascending and each once."""
    if zeros.dtype.str != "<i8" or zeros.ndim != 1:
        raise Corrupt(f"the column {name!r} should be <i8 of one dimension, got {zeros.dtype.str} of {zeros.shape}")
    if zeros.size and not (zeros[0] >= 0 and zeros[-1] < n and (zeros[1:] > zeros[:-1]).all()):
        raise Corrupt(f"the column {name!r} should hold row numbers from 0 to {n - 1}, ascending")


def check_origin(origin: NDArray[Any], d: int) -> None:
    """Raise ``Corrupt`` unless it is a point in the space of the rows."""
    if origin.dtype.str != "<f4" or origin.shape != (d,) or not np.isfinite(origin).all():
        raise Corrupt(f"'state.origin' should be finite <f4 of {d}, got {origin.dtype.str} of {origin.shape}")


def check_learned(fitted: Fitted) -> None:
    """Raise ``Corrupt`` unless everything that the steps of a Plan learned is finite."""
    methods = [*fitted.maps, fitted.codec, *fitted.rescore_codecs, *([fitted.learned] if fitted.learned else [])]
    for method in methods:
        for name, value in vars(method).items():
            learned = name.endswith("_") and not name.startswith("_")
            if learned and not all(np.isfinite(v).all() for v in _floats(value)):
                raise Corrupt(f"{method.name()}: {name} should be finite, got NaN or infinity")


def _floats(value: Any) -> Iterator[Any]:
    if isinstance(value, float) or (isinstance(value, np.ndarray) and value.dtype.kind == "f"):
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from _floats(inner)


def rehearse(fitted: Fitted) -> None:
    """Search and decode two made-up rows: raises, in whatever way, where the parts of the plan do not fit together."""
    check_widths(fitted)
    few = fitted.of_rows(2)
    columns = {name: np.zeros(shape, dtype) for name, (dtype, shape) in column_shapes(few).items()}
    columns |= {INDEX + name: column for name, column in sized_index(few).blank(2).items()}
    packed = Packed(few, columns)
    bits = fitted.metric == "hamming"
    query = np.full((1, fitted.d // 8), 255, np.uint8) if bits else np.ones((1, fitted.d), np.float32)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        hits = packed.search(query, k=2)
    if not np.isfinite(hits.scores).all():
        raise Corrupt("what the plan learned gives no finite scores")
    for _, codec, _ in coded_columns(fitted):
        codec.decode(np.zeros((2, codec.bytes_per_row), np.uint8))
