"""Reader of safetensors: named tensors behind a JSON header, every size of which is checked before it is used.

The format (huggingface/safetensors): a little-endian uint64 with the length of the header, the header in JSON
(name to dtype, shape and byte range), then the bytes of the tensors, end to end without holes.
"""

from __future__ import annotations

import json
import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.store import io_base as base

MAX_HEADER = 4 << 20  # bytes of JSON: 30,000 tensors
TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1",
}  # fmt: skip
NAMES = {np.dtype(code): name for name, code in TYPES.items() if name != "BF16"}
_BITS = {"BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "C64": 64}


@dataclass(frozen=True)
class Tensor:
    """What the header says of one tensor: its type by name, its shape, and where its bytes lie in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def read_safetensors(path: str, key: str | None, limit: int | None) -> base.Source:
    """Open one 2-D tensor: the one named ``key``, or the only one there is. bfloat16 is widened to float32.

    Raises ``Corrupt`` for a header that does not fit the bytes there, ``BadInput`` for what is no table of vectors.
    """
    with base.positioned(path) as file:
        tensors = read_header(path, file)
        size = file.size
    name = key if key is not None else _only(path, tensors)
    if name not in tensors:
        raise base.bad(path, f"expected a key among {_listed(tensors)}, got {base.shown(name)}; pass one of them")
    found = tensors[name]
    if found.dtype not in TYPES:
        raise base.bad(path, f"expected numbers of 1 to 8 bytes in {base.shown(name)}, got {found.dtype}; convert them")
    if len(found.shape) != 2:
        raise base.bad(
            path,
            f"expected a 2-D tensor (rows, width), {base.shown(name)} is {len(found.shape)}-D of shape "
            f"{base.shown(found.shape)}; reshape it before saving",
        )
    rows, width = found.shape
    base.check_form(path, rows, width, f"the tensor {base.shown(name)}")
    kind = BrainRows if found.dtype == "BF16" else base.RowFile
    dtype, opener = np.dtype(TYPES[found.dtype]), base.file_opener(path, size)
    return kind(path, rows, width, dtype, limit, offset=found.start, opener=opener)


def read_header(path: str, file: base.Positioned) -> dict[str, Tensor]:
    """Return what the header says, once it fits the bytes of the file without holes and overlaps."""
    head = file.bytes_at(0, 8)
    length = int.from_bytes(head, "little")
    if len(head) < 8 or length > file.size - 8 or length > MAX_HEADER or length < 2:
        raise base.corrupt(
            path,
            f"expected a safetensors header of up to {min(MAX_HEADER, max(file.size - 8, 0))} bytes, got one of "
            f"{length}; it is cut short or of another format, fetch it again",
        )
    entries = _json(path, file.bytes_at(8, length))
    entries.pop("__metadata__", None)
    tensors = {name: _tensor(path, name, entry, 8 + length) for name, entry in entries.items()}
    _check_cover(path, tensors, 8 + length, file.size)
    return tensors


def _json(path: str, data: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(pairs)
        if len(out) < len(pairs):
            raise ValueError("a key comes twice")
        return out

    try:
        out = json.loads(data.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        what = "nesting too deep" if isinstance(error, RecursionError) else str(error)
        raise base.corrupt(
            path, f"expected a JSON header (safetensors), got {base.shown(data[:24])} ({base.shown(what, 80)})"
        ) from None
    if not isinstance(out, dict):
        raise base.corrupt(path, f"expected a JSON object as header (safetensors), got {base.shown(out, 40)}")
    return out


def _tensor(path: str, name: str, entry: Any, origin: int) -> Tensor:
    """Check one entry by itself: types, signs, and that shape and type make up the byte range."""
    shown = base.shown(name, 40)
    fields = entry if isinstance(entry, dict) else {}
    dtype, shape, offsets = (fields.get(k) for k in ("dtype", "shape", "data_offsets"))
    sizes, span = _counts(shape), _counts(offsets)
    if not isinstance(dtype, str) or sizes is None or span is None or len(span) != 2:
        raise base.corrupt(
            path, f"expected dtype, shape and data_offsets of the tensor {shown}, got {base.shown(entry, 120)}"
        )
    bits = 8 * np.dtype(TYPES[dtype]).itemsize if dtype in TYPES else _BITS.get(dtype)
    if bits is None:
        raise base.corrupt(
            path, f"expected a known number type in {shown}, got {base.shown(dtype, 40)}; fetch it again"
        )
    start, stop = span
    need = math.prod(sizes) * bits
    if start > stop or need != 8 * (stop - start):
        raise base.corrupt(
            path,
            f"the tensor {shown} says {dtype} of shape {base.shown(shape)} = {base.shown(need // 8)} bytes, but the "
            f"byte range {base.shown(offsets)}; its header is wrong, fetch it again",
        )
    return Tensor(dtype, sizes, origin + start, origin + stop)


def _counts(values: Any) -> tuple[int, ...] | None:
    """A list of a few whole numbers from 0 on that 64 bits hold; None for anything else."""
    if not isinstance(values, list) or len(values) > 64:
        return None
    fit = all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 1 << 63 for v in values)
    return tuple(values) if fit else None


def _check_cover(path: str, tensors: dict[str, Tensor], origin: int, size: int) -> None:
    """The ranges follow one another from the header to the end, as the format demands: nothing hides between."""
    at = origin
    for name, found in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)):
        if found.start != at:
            what = "overlaps the one before" if found.start < at else "leaves a hole before it"
            raise base.corrupt(path, f"the tensor {base.shown(name, 40)} {what} (byte {found.start}); fetch it again")
        at = found.stop
    if at != size:
        what = f"end at byte {at} of {size}"
        raise base.corrupt(path, f"expected tensors up to the end of the file, they {what}; fetch it again")


def _listed(tensors: dict[str, Tensor], most: int = 8) -> str:
    items = [f"{base.shown(k, 40)} {t.dtype} {base.shown(t.shape)}" for k, t in tensors.items()]
    return "; ".join(items[:most]) + (f"; and {len(items) - most} more" if len(items) > most else "") or "none"


def _only(path: str, tensors: dict[str, Tensor]) -> str:
    if len(tensors) == 1:
        return next(iter(tensors))
    fit = [k for k, t in tensors.items() if len(t.shape) == 2 and t.dtype in TYPES]
    if len(fit) != 1:
        advice = "choose one with key=..." if fit else "save the vectors as a 2-D tensor"
        raise base.bad(path, f"expected one 2-D tensor, got {len(fit)} among {_listed(tensors)}; {advice}")
    return fit[0]


class BrainRows(base.RowFile):
    """Rows of bfloat16, the upper half of a float32, given as float32: nothing is lost."""

    def __init__(
        self, path: str, rows: int, width: int, dtype: np.dtype[Any], limit: int | None, *, offset: int,
        opener: base.Opener,
    ) -> None:  # fmt: skip
        super().__init__(path, rows, width, dtype, limit, offset=offset, opener=opener)
        self._dtype = np.dtype(np.float32)
        self.span = max(1, self.span // 2)

    def _open(self) -> AbstractContextManager[base.Positioned]:
        return self.opener()

    def _read(self, handle: base.Positioned, start: int, stop: int) -> NDArray[Any]:
        wide = super()._read(handle, start, stop).astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)


def header_bytes(name: str, shape: tuple[int, int], dtype: np.dtype[Any]) -> bytes:
    """The length and the header of a file that holds one tensor, filled up with spaces to a multiple of 8 bytes."""
    size = shape[0] * shape[1] * dtype.itemsize
    entry = {"dtype": NAMES[dtype.newbyteorder("<")], "shape": list(shape), "data_offsets": [0, size]}
    text = json.dumps({name: entry}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
