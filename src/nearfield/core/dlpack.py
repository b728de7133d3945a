"""Tensors of other libraries as NumPy arrays, through DLPack, without a copy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import BadInput


def from_dlpack(x: Any, name: str = "vectors") -> NDArray[Any]:
    """Take a tensor in main memory (torch, JAX, TensorFlow, CuPy's host arrays ...) as an array on the same memory.

    Use it where a library has no ``__array__`` of its own, or to be sure that nothing is copied. The array may be
    read-only. Raises ``BadInput`` for tensors on another device, for those that require gradients, and for types that
    NumPy does not have (bfloat16).

    >>> a = np.arange(4, dtype=np.float32)
    >>> bool(np.shares_memory(from_dlpack(a), a))
    True
    """
    if not hasattr(x, "__dlpack__"):
        raise BadInput(f"{name}: expected a tensor that speaks DLPack, got {type(x).__name__}; pass a NumPy array")
    if not _in_main_memory(x):
        raise BadInput(f"{name}: expected a tensor in main memory, got one on another device; move it: x.cpu()")
    if getattr(x, "requires_grad", False):
        raise BadInput(f"{name}: expected a tensor without gradients, got one that requires them; pass x.detach()")
    try:
        return np.from_dlpack(x)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        kind = getattr(x, "dtype", "another type")
        reason = str(error).partition("\n")[0][:120]
        raise BadInput(f"{name}: expected numbers that NumPy has, got {kind} ({reason}); convert: x.float()") from None


def without_tensors(x: Any, name: str) -> Any:
    """Tensors as arrays, by themselves and in a list; anything else as it is.

    Use it before NumPy looks at what a user gave: it raises errors of many lines and kinds on tensors that it cannot
    take. Raises ``BadInput`` as ``from_dlpack`` does.
    """
    if isinstance(x, (list, tuple)) and any(map(_is_tensor, x)):
        return [from_dlpack(v, name) if _is_tensor(v) else v for v in x]
    return from_dlpack(x, name) if _is_tensor(x) else x


def _is_tensor(x: Any) -> bool:
    return not isinstance(x, (np.ndarray, np.generic)) and hasattr(x, "__dlpack__")


def _in_main_memory(x: Any) -> bool:
    try:
        return not hasattr(x, "__dlpack_device__") or int(x.__dlpack_device__()[0]) == 1
    except (ValueError, RuntimeError, BufferError):  # a device that DLPack has no number for, such as torch's "meta"
        return False
