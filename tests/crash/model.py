"""What a collection should hold: rows that are functions of small numbers, operations on them, and a dict as oracle.

A row is known by its number; its text and vector are a function of (number, version), its metadata of (number,
mark). So a state of thousands of rows is a dict of pairs of integers, and any row that was read back tells by itself
which version it is, or that it is torn.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIM = 8
State = dict[int, tuple[int, int]]  # row number: (version of text and vector, mark of the metadata)


class Torn(Exception):
    """A row that no operation ever wrote."""


def name(number: int) -> str:
    """The id of a row.

    >>> number_of(name(12))
    12
    """
    return f"row-{number}"


def number_of(id_: str) -> int:
    """The number of a row, from its id."""
    return int(id_.removeprefix("row-"))


def text(number: int, version: int) -> str:
    """The text of a row; some are longer than a page, most are short."""
    words = 900 if number % 97 == 5 else number % 7
    return f"{number} v{version}" + f" word{version * 31 % 89}" * words


def meta(number: int, mark: int) -> dict[str, Any]:
    """The metadata of a row."""
    return {"mark": mark, "version": -1, "kind": "abc"[(number + mark) % 3], "score": (number * 7 + mark) % 1000 / 8}


def vectors(numbers: Iterable[int], version: int | Sequence[int]) -> NDArray[np.float32]:
    """The vectors of rows of one version, or of one each, ``[n, DIM]``: multiples of 1/256, exact even in float16."""
    rows, written = np.fromiter(numbers, np.uint64)[:, None], np.asarray(version, np.uint64).reshape(-1, 1)
    columns = np.arange(1, DIM + 1, dtype=np.uint64)
    mixed = rows * np.uint64(2654435761) + (written * np.uint64(40503) + np.uint64(1)) * columns
    return ((mixed >> np.uint64(7)) % 256 + 1).astype(np.float32) / 256


def decode(rows: Iterable[tuple[str, str, Mapping[str, Any], NDArray[np.float32]]]) -> State:
    """The state that rows tell (id, text, metadata, vector); ``Torn`` where a row's parts are not of one writing."""
    out: State = {}
    found = []
    for id_, said, data, vector in rows:
        number = number_of(id_)
        if number in out:
            raise Torn(f"{id_} is there twice")
        out[number] = _version(number, said), _mark(number, data)
        found.append(vector)
    right = vectors(out, [version for version, _ in out.values()])
    wrong = (np.asarray(found, np.float32).reshape(-1, DIM) != right).any(axis=1)
    if wrong.any():
        number = list(out)[int(np.argmax(wrong))]
        raise Torn(f"{name(number)}: its vector is not that of version {out[number][0]}, as its text is")
    return out


def _version(number: int, said: str) -> int:
    head = said.split(" ", 2)
    if len(head) < 2 or head[0] != str(number) or not head[1][1:].isdigit():
        raise Torn(f"{name(number)}: its text is {said[:40]!r}")
    version = int(head[1][1:])
    if said != text(number, version):
        raise Torn(f"{name(number)}: its text is cut or mixed: {said[:40]!r}")
    return version


def _mark(number: int, data: Mapping[str, Any]) -> int:
    mark = data.get("mark")
    if not isinstance(mark, int) or dict(data) != meta(number, mark):
        raise Torn(f"{name(number)}: its metadata are {data}")
    return mark


@dataclass(frozen=True)
class Op:
    """One operation; ``version`` is that of the text and vector it writes, or the mark for an update."""

    do: str  # upsert, update, delete, compact, reopen
    numbers: list[int] = field(default_factory=list)
    version: int = 0

    def applied(self, state: State) -> State:
        """The state after it."""
        if self.do == "upsert":
            return state | dict.fromkeys(self.numbers, (self.version, self.version))
        if self.do == "update":
            return state | {n: (state[n][0], self.version) for n in self.numbers}
        if self.do == "delete":
            gone = set(self.numbers)
            return {n: pair for n, pair in state.items() if n not in gone}
        return state

    def json(self) -> dict[str, Any]:
        """As a dict for JSON; ``Op(**…)`` reads it."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.do}({len(self.numbers)} rows, version {self.version})" if self.numbers else self.do


def states(start: State, ops: Iterable[Op]) -> list[State]:
    """The state before the first operation and after each."""
    out = [start]
    for op in ops:
        out.append(op.applied(out[-1]))
    return out


def workload(
    seed: int | str, count: int, state: State | None = None, *, largest: int = 30, universe: int = 200, first: int = 1
) -> list[Op]:
    """Random operations that fit a state; sizes of batches are spread evenly over their logarithm, 1 to ``largest``.

    ``first`` is the version that the first operation writes: later ones count up from it.
    """
    chance = random.Random(f"workload {seed}")
    now, out = dict(state or {}), []
    for version in range(first, first + count):
        op = _one(chance, now, version, largest, universe)
        out.append(op)
        now = op.applied(now)
    return out


def _one(chance: random.Random, now: State, version: int, largest: int, universe: int) -> Op:
    size = round(largest ** chance.random())
    do = chance.choices(["upsert", "update", "delete", "compact", "reopen"], [10, 4, 4, 2, 1])[0] if now else "upsert"
    if do in ("compact", "reopen"):
        return Op(do)
    if do == "upsert":
        start, step = chance.randrange(universe), chance.choice([1, 1, 3])
        return Op(do, sorted({(start + i * step) % universe for i in range(size)}), version)
    numbers = chance.sample(sorted(now), min(size, len(now), max(1, largest // 4)))
    return Op(do, sorted(numbers), version)


def difference(got: State, expected: State) -> str:
    """How two states differ, in a line."""
    lost, extra = expected.keys() - got.keys(), got.keys() - expected.keys()
    other = [n for n in got.keys() & expected.keys() if got[n] != expected[n]]
    told = [
        f"{len(numbers)} {what} (such as {name(min(numbers))})"
        for numbers, what in ((lost, "rows missing"), (extra, "rows too many"), (other, "rows of another version"))
        if numbers
    ]
    return "; ".join(told) or "the same"
