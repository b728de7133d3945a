"""Batches: arrays or re-iterable sources of blocks, and the checks that every row passes once.

Data keeps the type it came in (float16, int8, uint8, packed bits) until a block of it is needed as
float32; so nothing larger than a block is ever copied.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.checks import shown, whole
from nearfield.core.dlpack import from_dlpack
from nearfield.core.errors import BadInput, BadRows
from nearfield.core.protocols import F32, Batch, Metric

_LARGE_PAGE = 2 << 20
_LINE = 64
BLOCK_BYTES = 1 << 20  # the working set of one block of float32 rows
_KINDS = "fiu"
_MIDDLE_ROWS = 1000
_FAR = 64  # squared length of the mean over the mean squared distance from it: below, six digits of distances are left
_LONGEST = 4e18  # lengths whose squares, four of them added, float32 can hold
_LISTED = 32  # so few values are looked at sooner by Python than by NumPy
_SMALLEST, _LARGEST = 1.1e-30, 0.9e30  # squares of values that float32 squares without loss


def block_rows(d: int, budget: int = BLOCK_BYTES) -> int:
    """Rows of width ``d`` that fill one block: a multiple of 32, at least 32.

    >>> block_rows(384)
    672
    """
    return max(32, budget // max(1, 4 * d) // 32 * 32)


def roomy(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """An array without contents, in large pages where the system has them: rows taken at random are found sooner.

    It begins on a line of memory, as columns do in a file.
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if size < _LARGE_PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        small = np.empty(size + _LINE, np.uint8)
        start = -small.ctypes.data % _LINE
        return np.asarray(small[start : start + size].view(kind).reshape(shape))
    room = mmap.mmap(-1, size + _LARGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without large pages
        room.madvise(mmap.MADV_HUGEPAGE)
    whole = np.frombuffer(room, np.uint8)
    at = -whole.ctypes.data % _LARGE_PAGE
    return np.asarray(whole[at : at + size].view(kind).reshape(shape))


class ArraySource:
    """An array seen as a ``Batch``."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    def blocks(self, rows: int = 0) -> Iterator[NDArray[Any]]:
        step = rows or block_rows(self.shape[1])
        for start in range(0, self.shape[0], step):
            yield self.array[start : start + step]

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        if len(rows) == len(self.array) and np.array_equal(rows, np.arange(len(rows))):
            return self.array  # all rows in their order need no copy
        return np.asarray(self.array[rows])


@dataclass
class Moved:
    """Rows of a batch as float32, seen from another origin."""

    batch: Batch
    origin: F32

    @property
    def shape(self) -> tuple[int, ...]:
        return self.batch.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.origin.dtype

    def blocks(self, rows: int = 0) -> Iterator[NDArray[Any]]:
        for block in self.batch.blocks(rows or block_rows(self.shape[1])):
            yield _as_f32(block) - self.origin

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        return _as_f32(self.batch.take(rows)) - self.origin


def far_origin(batch: Batch, metric: Metric) -> F32 | None:
    """The middle of float rows that lie far from zero for their spread, where distances may be taken from there.

    A squared distance is what is left of products as large as the squared lengths: the longer rows are beside the
    distances between them, the fewer digits are left. l2 does not change when everything is moved.
    """
    n = batch.shape[0]
    if metric != "l2" or batch.dtype.kind != "f" or n < 2:
        return None
    some_rows = _as_f32(batch.take(sample_rows(n, _MIDDLE_ROWS, np.random.default_rng(0)))).astype(np.float64)
    middle = some_rows.mean(axis=0)
    spread = np.square(some_rows - middle).sum(axis=1).mean()
    far = np.isfinite(middle).all() and 0 < _FAR * spread < middle @ middle
    return middle.astype(np.float32) if far else None


def as_batch(x: Any, name: str = "vectors") -> Batch:
    """Take an array, a nested list or a source as a batch of dense rows, checking only its form.

    Raises ``BadInput`` where it is not a 2-D array of real numbers.

    >>> as_batch([[1.0, 2.0]]).shape
    (1, 2)
    """
    if not isinstance(x, np.ndarray) and isinstance(x, Batch):
        _check_form(x.shape, x.dtype, name)
        return x
    if isinstance(x, (str, bytes)) or x is None:
        raise BadInput(f"{name}: expected a 2-D array of numbers, got {type(x).__name__}")
    if type(x) is not np.ndarray and isinstance(x, np.ma.MaskedArray):  # to ask imports numpy.ma
        raise BadInput(f"{name}: expected a value in every place, got a masked array; fill it, or drop the masked rows")
    if not isinstance(x, np.ndarray) and hasattr(x, "__dlpack__"):
        x = from_dlpack(x, name)
    try:
        array = np.asarray(x)
    except (ValueError, TypeError):
        raise BadInput(f"{name}: expected rows of one width, got {_uneven(x)}") from None
    if array.dtype.kind in "OUSMm" and array.ndim and hasattr(x, "__len__"):
        row, value = _odd(x if isinstance(x, (list, tuple)) else array)
        raise BadInput(f"{name}: expected real numbers, got {shown(value)} ({type(value).__name__}) in row {row}")
    _check_form(array.shape, array.dtype, name)
    return ArraySource(array)


def refuse_empty(name: str, rows: Sequence[Any], start: int = 0) -> None:
    """Refuse vectors of no numbers: what a call that failed leaves behind, and no row without a vector."""
    bad = [start + i for i, v in enumerate(rows) if isinstance(v, (list, tuple, np.ndarray)) and not len(v)]
    if bad:
        raise BadInput(
            f"{name}: expected a vector, got an empty one in row {some(bad)}; make it again, or give None (null in a "
            "file) for a row without one"
        )


def _uneven(x: Any) -> str:
    """In which row a list that is no array is otherwise than in its first."""
    what = [f"{len(v)} numbers" if hasattr(v, "__len__") and np.ndim(v) == 1 else type(v).__name__ for v in _listed(x)]
    row = next((i for i, told in enumerate(what) if told != what[0]), None)
    return "a mixed list" if row is None else f"{what[0]} in row 0 and {what[row]} in row {row}"


def _odd(rows: Any) -> tuple[int, Any]:
    """The first value of rows that is no number, and its row."""
    for row, values in enumerate(rows):
        for value in np.ravel(np.asarray(values, dtype=object)).tolist():
            if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
                return row, value
    return 0, rows


def _listed(x: Any) -> list[Any]:
    return (
        [np.asarray(v, dtype=object) if isinstance(v, (list, tuple)) else v for v in x] if hasattr(x, "__len__") else []
    )


def _check_form(shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> None:
    if dtype.kind not in _KINDS:
        raise BadInput(f"{name}: expected real numbers (float, int or uint), got dtype {dtype}")
    if len(shape) == 1:
        raise BadInput(f"{name}: expected a 2-D array [rows, dimensions], got 1-D of {shape[0]}; one row is x[None, :]")
    if len(shape) != 2:
        raise BadInput(f"{name}: expected a 2-D array [rows, dimensions], got {len(shape)}-D of shape {shape}")
    if shape[1] == 0:
        raise BadInput(f"{name}: expected at least one dimension, got shape {shape}")


def to_f32(block: NDArray[Any], start: int = 0, name: str = "vectors") -> F32:
    """Return a block as C-ordered float32 and refuse NaN, infinities and overflow by row number.

    >>> to_f32(np.array([[1, 2]], dtype=np.int8)).dtype
    dtype('float32')
    """
    out = _as_f32(block)
    if block.dtype.kind == "f" and not seems_finite(out):
        refuse_nonfinite(out, start, name)
    return out


def _measurable(block: NDArray[Any], start: int, name: str) -> F32:
    """A finite float32 block whose distances and products float32 can hold."""
    out = _as_f32(block)
    if block.dtype.kind != "f" or seems_finite(out):
        return out
    refuse_nonfinite(out, start, name)
    long = _too_long(out)
    if long.size:
        raise _not_held(long + start, name)
    return out


def _too_long(block: F32) -> NDArray[np.int64]:
    return np.flatnonzero(np.sqrt(np.einsum("ij,ij->i", block, block, dtype=np.float64)) > _LONGEST)


def _not_held(rows: NDArray[Any], name: str) -> BadRows:
    return BadRows(
        f"{name}: expected lengths of at most {_LONGEST:g}, got longer ones in row {some(rows)}; scale all rows"
    )


def _as_f32(block: NDArray[Any]) -> F32:
    if block.dtype == np.float32:
        return np.ascontiguousarray(block)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(block, dtype=np.float32)


def seems_finite(values: F32) -> bool:
    """Whether no value is NaN or infinite; may be false for large finite values too. One quick pass."""
    # NaN and infinity survive a sum of squares; unlike other products, vdot does not warn when it overflows.
    return math.isfinite(np.vdot(values, values))


def refuse_nonfinite(block: F32, start: int, name: str) -> None:
    """Raise ``BadInput`` naming the first rows that hold NaN or infinity, if any does."""
    bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
    if bad.size:
        raise _not_finite(bad + start, name)


def _not_finite(rows: NDArray[Any], name: str) -> BadRows:
    return BadRows(
        f"{name}: expected finite float32 values, got NaN or infinity in row {some(rows)}; remove or repair these rows"
    )


def _no_direction(rows: NDArray[Any], name: str) -> BadRows:
    return BadRows(
        f"{name}: cosine needs a direction, got zero vectors in row {some(rows)}; "
        'remove them, or pass on_zero="keep" to score them 0'
    )


@contextmanager
def named_in_full(batch: Batch, metric: Metric, on_zero: str) -> Iterator[None]:
    """Where some rows of a sample or block turn out bad, name the bad rows of the whole batch instead."""
    try:
        yield
    except BadRows:
        refuse_bad_rows(batch, metric, on_zero)
        raise


def refuse_bad_rows(batch: Batch, metric: Metric, on_zero: str) -> None:
    """Read every row; raise ``BadRows`` naming those that are not finite, or zero under cosine, if any is."""
    if metric == "hamming":
        return
    start = 0
    odd: list[NDArray[np.int64]] = []
    zero: list[NDArray[np.int64]] = []
    long: list[NDArray[np.int64]] = []
    for block in batch.blocks(block_rows(batch.shape[1])):
        x = _as_f32(block)
        odd.append(np.flatnonzero(~np.isfinite(x).all(axis=1)) + start)
        zero.append(np.flatnonzero(~x.any(axis=1)) + start)
        long.append(_too_long(x) + start)
        start += len(x)
    cosine = metric == "cosine"
    faults = (
        (odd, _not_finite, True),
        (zero, _no_direction, cosine and on_zero != "keep"),
        (long, _not_held, not cosine),
    )
    for found, error, counts in faults:
        rows = np.concatenate([np.zeros(0, np.int64), *found])
        if rows.size and counts:
            raise error(rows, "vectors")


def some(rows: NDArray[Any] | list[int], most: int = 5) -> str:
    """The first of these row numbers, and how many more there are.

    >>> some([3, 5, 8], most=2)
    '3, 5 and 1 more'
    """
    rows = np.asarray(rows)
    shown = ", ".join(str(int(r)) for r in rows[:most])
    more = f" and {rows.size - most} more" if rows.size > most else ""
    return shown + more


def unit_rows(block: F32, start: int = 0, name: str = "vectors", on_zero: str = "raise") -> F32:
    """Scale rows to unit length; a zero row is refused, or kept as zeros with ``on_zero="keep"``.

    NaN and infinities are refused, as by ``to_f32``.

    >>> unit_rows(np.array([[3.0, 4.0]], dtype=np.float32)).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    squares = np.einsum("ij,ij->i", block, block)
    least = _SMALLEST * block.shape[1]
    if _all_within(squares, least):
        return np.asarray(block / np.sqrt(squares)[:, None], dtype=np.float32)
    refuse_nonfinite(block, start, name)
    # A row may hold values whose squares leave float32's range: scale by the largest first.
    peak = np.abs(block).max(axis=1, initial=0.0)
    odd = (peak > 1e15) | ((peak < 1e-15) & (peak > 0))
    if odd.any():
        block = np.asarray(block / np.where(odd, peak, 1)[:, None], dtype=np.float32)
    norms = np.sqrt(np.einsum("ij,ij->i", block, block))
    zero = norms == 0
    if zero.any():
        if on_zero != "keep":
            raise _no_direction(np.flatnonzero(zero) + start, name)
        norms[zero] = 1.0
    return np.asarray(block / norms[:, None], dtype=np.float32)


def _all_within(squares: F32, least: float) -> bool:
    if len(squares) <= _LISTED:
        return all(least < s < _LARGEST for s in squares.tolist())
    return bool(least < squares.min() and squares.max() < _LARGEST)


def packed_bits(block: NDArray[Any], name: str = "vectors") -> NDArray[np.uint8]:
    """Take packed bits as they are; Hamming distance is defined on nothing else."""
    if block.dtype != np.uint8:
        raise BadInput(f"{name}: metric 'hamming' expects packed bits as uint8 (numpy.packbits), got {block.dtype}")
    return np.ascontiguousarray(block)


def ready(block: NDArray[Any], metric: Metric, start: int = 0, name: str = "vectors", on_zero: str = "raise") -> F32:
    """Make a block ready for the Maps: float32, finite, of unit length under cosine."""
    if metric == "hamming":
        bits = np.unpackbits(packed_bits(block, name), axis=1, bitorder="little")
        return bits.astype(np.float32)
    return unit_rows(_as_f32(block), start, name, on_zero) if metric == "cosine" else _measurable(block, start, name)


def check_on_zero(on_zero: Any) -> None:
    """Raise ``BadInput`` unless it is ``"raise"`` or ``"keep"``."""
    if on_zero not in ("raise", "keep"):
        raise BadInput(f"on_zero: expected 'raise' or 'keep', got {on_zero!r}")


def as_generator(rng: Any) -> np.random.Generator:
    """A Generator from a seed, or the one given; ``BadInput`` for what is neither.

    >>> bool(as_generator(3).integers(10) == as_generator(np.random.default_rng(3)).integers(10))
    True
    """
    if isinstance(rng, np.random.Generator):
        return rng
    return np.random.default_rng(whole("rng", rng, 0, what="a numpy Generator, or a whole number"))


def sample_rows(n: int, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Row numbers of a uniform sample without repetition, ascending; all rows when ``size >= n``."""
    if size >= n:
        return np.arange(n, dtype=np.int64)
    return np.sort(rng.choice(n, size=size, replace=False)).astype(np.int64)
