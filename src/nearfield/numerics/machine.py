"""The compiled module where it can be imported, the instruction set and the threads to use.

``NEARFIELD_ISA`` forces an instruction set (``numpy`` forces the NumPy twin), ``NEARFIELD_THREADS`` the number of
threads; both are read at each call. Results never depend on the number of threads.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from nearfield.core.errors import BadParameter

if TYPE_CHECKING:
    from nearfield import _native
else:
    try:
        from nearfield import _native
    except ImportError:  # no compiler where it was installed: the twin does the work
        _native = None

compiled = _native

_EVERY_ISA = ("base", "avx2", "avx512", "neon")
_SMALL = 1 << 18  # bytes times queries below which one thread is quicker than waking others


def _compiled() -> list[tuple[str, bool]]:
    return [] if _native is None else _native.isas()


@lru_cache(maxsize=16)
def _resolve(name: str) -> int:
    """Return the number of an instruction set, -1 for NumPy."""
    isas = _compiled()
    runnable = [isa for isa, runs in isas if runs]
    if name == "":
        return max((i for i, (_, runs) in enumerate(isas) if runs), default=-1)
    if name == "numpy":
        return -1
    if name not in runnable:
        choices = ", ".join(["numpy", *runnable])
        why = "does not run here" if name in _EVERY_ISA else "is not an instruction set"
        raise BadParameter(f"NEARFIELD_ISA: {name!r} {why}; choose one of {choices}")
    return [isa for isa, _ in isas].index(name)


def current_isa() -> int:
    """The number of the instruction set in use, -1 for NumPy."""
    return _resolve(os.environ.get("NEARFIELD_ISA", ""))


def native() -> Any:
    """The compiled module, or None where it is not installed."""
    return _native


def which_isa() -> int:
    """The number of the instruction set for what has no NumPy twin: the one in use, or the plainest."""
    return max(current_isa(), 0)


@lru_cache(maxsize=1)
def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def thread_count(threads: int | None = None) -> int:
    """Return the number of threads to use: the argument, else ``NEARFIELD_THREADS``, else the cores."""
    if threads is not None:
        if threads < 1:
            raise BadParameter(f"threads: expected at least 1, got {threads}")
        return threads
    text = os.environ.get("NEARFIELD_THREADS", "")
    if not text:
        return _cores()
    if not text.isdecimal() or int(text) < 1:
        raise BadParameter(f"NEARFIELD_THREADS: expected a whole number of at least 1, got {text!r}")
    return min(int(text), 1024)


def workers_for(threads: int | None, size: int) -> int:
    """The threads for so many bytes times queries: one where that is quicker than waking others."""
    return 1 if threads is None and size <= _SMALL else thread_count(threads)


def info() -> dict[str, Any]:
    """Return the instruction set in use, which were compiled, which cannot run here, and the threads."""
    isas = _compiled()
    which = current_isa()
    return {
        "isa": "numpy" if which < 0 else isas[which][0],
        "compiled": [name for name, _ in isas],
        "not run": [name for name in _EVERY_ISA if not dict(isas).get(name, False)],
        "threads": thread_count(),
    }
