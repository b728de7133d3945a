"""What suites that measure time share: one pinned thread, and the spread of a few repeats."""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Iterator

DISTURBED = 1.15  # wall over processor time from which a figure is doubtful


@contextlib.contextmanager
def pinned(threads: int) -> Iterator[bool]:
    """Keep one thread on one core; says whether it could."""
    if threads != 1 or not hasattr(os, "sched_setaffinity"):
        yield False
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield True
    finally:
        os.sched_setaffinity(0, before)


def spread(values: list[float], digits: int = 3) -> dict[str, float]:
    """Median, least and most."""
    figures = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, digits) for name, value in figures.items()}
