"""One BLAS thread, for a sweep or a factorisation.

A sweep makes thousands of small products and factorisations. OpenBLAS's threads wait for each other by spinning, so
that on a machine with other work two of them were measured 2 to 20 times slower than one; and each holds a buffer.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

_NAMES = ("scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads64_", "openblas_{}_num_threads")


@cache
def _openblas() -> tuple[Any, Any] | None:
    """Reader and setter of the number of threads of the OpenBLAS that NumPy brought, where it did."""
    home = Path(np.__file__).resolve().parent
    for file in [*home.parent.glob("numpy.libs/*openblas*"), *home.glob(".dylibs/*openblas*")]:
        try:
            library = ctypes.CDLL(str(file))  # loaded long ago: this is the same one
        except OSError:
            continue
        for name in _NAMES:
            if hasattr(library, name.format("set")):
                return getattr(library, name.format("get")), getattr(library, name.format("set"))
    return None


class _Held:
    """Who holds it to one thread: the last to leave gives back as many as the first found."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.holders = self.before = 0


_HELD = _Held()


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold NumPy's OpenBLAS to one thread, in all threads of the process; nothing where NumPy uses another BLAS."""
    found = _openblas()
    if found is None:
        yield
        return
    read, write = found
    with _HELD.guard:
        if _HELD.holders == 0:
            _HELD.before = int(read())
            write(1)
        _HELD.holders += 1
    try:
        yield
    finally:
        with _HELD.guard:
            _HELD.holders -= 1
            if _HELD.holders == 0:
                write(_HELD.before)
