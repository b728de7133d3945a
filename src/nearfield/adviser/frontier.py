"""The Pareto frontier and the choice on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nearfield.adviser.rows import Row
from nearfield.core.checks import real
from nearfield.core.errors import BadParameter

SAME = 0.001  # two figures nearer than this are the same to a user: the smaller plan is taken


_WISHES: dict[str, tuple[str, dict[str, float]]] = {
    "keep": ("a share of float32's quality, above 0 and at most 1", {"above": 0, "most": 1}),
    "bytes": ("at least 1 byte a row", {"least": 1}),
    "smaller": ("a factor above 0, such as 8", {"above": 0}),
    "latency_us": ("microseconds above 0", {"above": 0}),
}


@dataclass(frozen=True)
class Wish:
    """What the user asked for; None where nothing."""

    keep: float | None = None
    bytes: float | None = None
    smaller: float | None = None
    latency_us: float | None = None

    def __post_init__(self) -> None:
        for name, (what, bounds) in _WISHES.items():
            if getattr(self, name) is not None:
                number = real(name, getattr(self, name), what, error=BadParameter, **bounds)
                object.__setattr__(self, name, number)

    @property
    def nothing(self) -> bool:
        """Whether nothing was asked: the knee is chosen."""
        return self.keep is self.bytes is self.smaller is self.latency_us is None

    def most_bytes(self, full: int) -> float:
        """The most bytes a row that are allowed."""
        limits = [math.inf]
        if self.bytes is not None:
            limits.append(self.bytes)
        if self.smaller is not None:
            limits.append(full / self.smaller)
        return min(limits)


def mark_frontier(rows: Sequence[Row], measure: str) -> None:
    """Set ``frontier`` on the rows that no row beats in bytes without losing quality."""
    best = -math.inf
    for row in sorted(rows, key=lambda r: (r.bytes_per_row, -value(r, measure), r.us_per_query, r.plan)):
        row.frontier = value(row, measure) > best
        best = max(best, value(row, measure))


def value(row: Row, measure: str) -> float:
    """The row's figure of one measure, 0 where it was not measured."""
    return row.quality[measure].value if measure in row.quality else 0.0


def knee(rows: Sequence[Row], measure: str) -> Row:
    """The point of the frontier farthest above the chord between its ends, in (log bytes, quality).

    Where none is above, the frontier bends nowhere, and its best end is taken.
    """
    line = sorted((r for r in rows if r.frontier), key=lambda r: r.bytes_per_row)
    first, last = line[0], line[-1]
    width = math.log(last.bytes_per_row / first.bytes_per_row) or 1.0
    height = value(last, measure) - value(first, measure) or 1.0

    def above(row: Row) -> float:
        x = math.log(row.bytes_per_row / first.bytes_per_row) / width
        return (value(row, measure) - value(first, measure)) / height - x

    best = max(line, key=above)
    return best if above(best) > 0 else last


def allowed(row: Row, wish: Wish, full: int) -> bool:
    """Whether a plan may be advised: all of it proven, within the bytes and the time."""
    quick = wish.latency_us is None or row.us_per_query <= wish.latency_us
    return row.proven and quick and row.bytes_per_row <= wish.most_bytes(full)


def too_slow(rows: Sequence[Row], wish: Wish, measure: str, full: int, target: float) -> bool:
    """Whether a latency is asked for, and no plan that keeps enough within the bytes answers as quickly."""
    if wish.latency_us is None:
        return False
    most, latency = wish.most_bytes(full), wish.latency_us
    able = [r for r in rows if r.proven and r.bytes_per_row <= most and value(r, measure) >= target]
    return not any(r.us_per_query <= latency for r in able)


def fastest(rows: Sequence[Row], wish: Wish, measure: str, full: int, target: float, n: int) -> str | None:
    """The quickest plan that keeps what was asked within the bytes; None where nothing was asked to be kept.

    An index that pays from more than ``n`` rows on is slower than a scan of its codes.
    """
    most = wish.most_bytes(full)
    able = [r for r in rows if r.proven and r.bytes_per_row <= most and value(r, measure) >= target]
    able = [r for r in able if r.pays_from is None or r.pays_from < n] or able
    quick = min(able, key=lambda r: (r.us_per_query, r.plan), default=None)
    return None if quick is None or target <= 0 else quick.plan


def ordered(rows: Sequence[Row], wish: Wish, measure: str, full: int, target: float) -> tuple[list[Row], list[str]]:
    """Plans in the order in which they are to be tried, best first, and words where the wish cannot be met.

    ``target`` is the quality that ``keep`` asks for (0 where it does not).
    """
    able = [r for r in rows if r.proven] or list(rows)
    mark = {r.plan: r.frontier for r in rows}
    mark_frontier(able, measure)  # the frontier among what may be advised
    words: list[str] = []
    if wish.nothing:
        start = knee(able, measure)
        line = sorted((r for r in able if r.frontier), key=lambda r: r.bytes_per_row)
        tries = line[line.index(start) :]
    else:
        tries = _asked(able, wish, measure, full, target, words)
    for row in rows:
        row.frontier = mark[row.plan]
    return tries, words


def _asked(able: list[Row], wish: Wish, measure: str, full: int, target: float, words: list[str]) -> list[Row]:
    most = wish.most_bytes(full)
    fitting = [r for r in able if r.bytes_per_row <= most]
    if not fitting:
        least = min(able, key=lambda r: (r.bytes_per_row, -value(r, measure)))
        words.append(f"no plan fits in {most:g} bytes a row; the smallest takes {least.bytes_per_row:g}: {least.plan}")
        fitting = [least]
    if wish.latency_us is not None:
        quick = [r for r in fitting if r.us_per_query <= wish.latency_us]
        if not quick:
            fastest = min(fitting, key=lambda r: r.us_per_query)
            words.append(
                f"no plan{_within(most)} answers in {wish.latency_us:g} us a query over all rows on one thread; "
                f"the quickest takes {fastest.us_per_query:.0f} us: {fastest.plan}"
            )
            quick = [fastest]
        fitting = quick
    if wish.keep is None:
        top = max(value(r, measure) for r in fitting)
        return sorted(
            (r for r in fitting if value(r, measure) >= top - SAME), key=lambda r: (r.bytes_per_row, r.us_per_query)
        )
    good = [r for r in fitting if value(r, measure) >= target]
    if good:
        return sorted(good, key=lambda r: (r.bytes_per_row, -value(r, measure), r.us_per_query))
    best = max(fitting, key=lambda r: (value(r, measure), -r.bytes_per_row))
    reach = sorted((r for r in able if value(r, measure) >= target), key=lambda r: r.bytes_per_row)
    need = f"; that takes {reach[0].bytes_per_row:g} bytes ({reach[0].plan})" if reach else ""
    words.append(
        f"no plan{_within(most)}{_quickly(wish)} keeps {wish.keep:g} of float32's {measure} ({target:.3f}): the best "
        f"reaches {value(best, measure):.3f} with {best.bytes_per_row:g} bytes: {best.plan}{need}"
    )
    return [best]


def _within(most: float) -> str:
    return "" if math.isinf(most) else f" within {most:g} bytes"


def _quickly(wish: Wish) -> str:
    return "" if wish.latency_us is None else f" and {wish.latency_us:g} us"
