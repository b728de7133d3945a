"""Curves of recall against queries a second: which points are worth timing, and the speed at a recall between two."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import Any

SLACK = 1.2  # a rough time is so much off


@dataclass
class Times:
    """The rounds of one point in one mode: queries a second, and milliseconds a query."""

    qps: list[float] = field(default_factory=list)
    wall_qps: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)


@dataclass
class Point:
    """One effort of one engine: the recall it gives, a rough time, and times by mode."""

    effort: Any
    recall: float
    rough: float
    times: dict[str, Times] = field(default_factory=dict)

    def speed(self, mode: str) -> float:
        """The median over the rounds."""
        return statistics.median(self.times[mode].qps)


def worth(points: list[Point], targets: list[float]) -> list[Point]:
    """Points near the front, from the best that misses the lowest target to the first that meets the highest."""
    near = [p for p in points if not any(o.recall >= p.recall and o.rough * SLACK < p.rough for o in points)]
    below = [p.recall for p in near if p.recall < targets[0]]
    above = [p.recall for p in near if p.recall >= targets[-1]]
    low, high = max(below, default=0.0), min(above, default=1.0)
    return sorted((p for p in near if low <= p.recall <= high), key=lambda p: (p.recall, p.rough))


def front(points: list[Point], mode: str) -> list[Point]:
    """The points that no other beats in both recall and speed, by recall."""
    best: list[Point] = []
    for p in sorted(points, key=lambda p: (-p.recall, -p.speed(mode))):
        if not best or p.speed(mode) > best[-1].speed(mode):
            best.append(p)
    return best[::-1]


def at(points: list[Point], mode: str, target: float) -> list[float] | None:
    """Queries a second at a recall, of each round: between two neighbours of the front the logarithm is linear.

    None where no point reaches it. A curve that begins above the target gives its first point, which is slower than
    what the engine could do there.
    """
    found = front(points, mode)
    right = next((i for i, p in enumerate(found) if p.recall >= target), None)
    if right is None:
        return None
    b = found[right]
    if right == 0 or b.recall == target:
        return list(b.times[mode].qps)
    a = found[right - 1]
    share = (target - a.recall) / (b.recall - a.recall)
    pairs = zip(a.times[mode].qps, b.times[mode].qps)
    return [math.exp((1 - share) * math.log(x) + share * math.log(y)) for x, y in pairs]
