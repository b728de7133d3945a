"""Ids of the rows of a segment, found again without reading them all."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nearfield.core.arrays import some
from nearfield.core.checks import plain
from nearfield.core.errors import BadInput
from nearfield.core.protocols import I64
from nearfield.store.strings import Strings, check_encodable

Id: TypeAlias = int | str
IdKind: TypeAlias = Literal["int", "str"]
MAX_BYTES = 1 << 20
_HALF = 1 << 63


def check_ids(ids: Any, what: str = "ids") -> tuple[list[Any], IdKind]:
    """Ids as a plain list and of which kind: all int (64 bits) or all str, neither blank nor longer than 1 MiB.

    One id may stand alone.

    >>> check_ids(np.array([3, 1]))
    ([3, 1], 'int')
    """
    one = plain(ids)
    if isinstance(one, (str, int)) and not isinstance(one, bool):
        ids = [one]
    if isinstance(ids, (bytes, dict)) or not hasattr(ids, "__len__"):
        raise BadInput(f"{what}: expected a list of int or str, got {type(ids).__name__}")
    listed = ids.tolist() if hasattr(ids, "tolist") else list(ids)
    names = (
        listed
        if listed and all(type(i) is str for i in listed)
        else [_sound(i, row, what) for row, i in enumerate(listed)]
    )
    texts = [i for i in names if isinstance(i, str)]
    if texts and len(texts) < len(names):
        raise BadInput(f"{what}: expected all int or all str, got both")
    _check_strings(texts, what)
    return names, "str" if texts else "int"


def _sound(value: Any, row: int, what: str) -> Id:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_)):
        number = int(value)
        if not -_HALF <= number < _HALF:
            raise BadInput(f"{what}: expected whole numbers of 64 bits, got a larger one in row {row}; give it as text")
        return number
    raise BadInput(f"{what}: expected int or str, got {type(value).__name__} in row {row}")


def _check_strings(ids: list[str], what: str) -> None:
    for row, name in enumerate(ids):
        if not name:
            raise BadInput(f"{what}: expected a name, got an empty one in row {row}")
        if len(name) > MAX_BYTES // 4 and len(name.encode(errors="replace")) > MAX_BYTES:
            raise BadInput(f"{what}: expected at most 1 MiB, got {len(name)} characters in row {row}")
    check_encodable(ids, what)


def refuse_repeats(ids: list[Any], what: str = "ids") -> None:
    """Raise ``BadInput`` naming the rows whose id came before."""
    if len(set(ids)) == len(ids):
        return
    seen: set[Any] = set()
    rows = [i for i, name in enumerate(ids) if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
    raise BadInput(f"{what}: expected each id once, got it again in row {some(rows)}")


def hashes(names: Sequence[str]) -> NDArray[np.uint32]:
    """CRC-32 of each name's UTF-8 bytes: the same in every process."""
    crc = zlib.crc32
    return np.array([crc(name.encode()) for name in names], dtype=np.uint32)


class Wanted:
    """Ids that are looked for in several places; their hashes are taken once."""

    def __init__(self, names: list[Any], kind: IdKind) -> None:
        self.names = names
        self.kind = kind
        self.keys: NDArray[Any] = np.array(names, dtype=np.int64) if kind == "int" else hashes(names)

    def some(self, at: I64) -> Wanted:
        """A few of them."""
        out = Wanted.__new__(Wanted)
        out.names, out.kind, out.keys = [self.names[i] for i in at.tolist()], self.kind, self.keys[at]
        return out


class IntIds:
    """Whole numbers; ``order`` sorts them, None where they ascend already."""

    kind: IdKind = "int"

    def __init__(self, values: NDArray[Any], order: NDArray[Any] | None = None) -> None:
        self.values = values
        self.order = order

    @classmethod
    def build(cls, values: I64) -> IntIds:
        """Take the ids of rows, each once."""
        if bool((values[1:] > values[:-1]).all()):
            return cls(values)
        return cls(values, np.argsort(values, kind="stable").astype(np.uint32))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def largest(self) -> int:
        """The largest of them, -1 where there are none from 0 on."""
        if not len(self.values):
            return -1
        return max(-1, int(self.values[-1 if self.order is None else self.order[-1]]))

    def at(self, positions: I64) -> list[Any]:
        """The ids of some rows."""
        return [int(v) for v in self.values[positions]]

    def all(self) -> list[Any]:
        """Every id."""
        return [int(v) for v in self.values.tolist()]

    def find(self, wanted: Wanted) -> I64:
        """The position of each id, -1 where it is not there."""
        n = len(self.values)
        if wanted.kind != "int" or not n:
            return np.full(len(wanted.names), -1, np.int64)
        at = np.minimum(np.searchsorted(self.values, wanted.keys, sorter=self.order), n - 1)
        found = at if self.order is None else self.order[at].astype(np.int64)
        return np.where(self.values[found] == wanted.keys, found, -1).astype(np.int64)


class StrIds:
    """Names; ``hashes`` ascending and ``order``, which row each of them belongs to."""

    kind: IdKind = "str"

    def __init__(self, names: Strings, sorted_hashes: NDArray[np.uint32], order: NDArray[np.uint32]) -> None:
        self.names = names
        self.hashes = sorted_hashes
        self.order = order

    @classmethod
    def build(cls, names: Strings) -> StrIds:
        """Take the ids of rows, each once."""
        found = hashes([n or "" for n in names.all()])
        order = np.argsort(found, kind="stable").astype(np.uint32)
        return cls(names, found[order], order)

    def __len__(self) -> int:
        return len(self.names)

    def at(self, positions: I64) -> list[Any]:
        """The ids of some rows."""
        return self.names.at(positions)

    def all(self) -> list[Any]:
        """Every id."""
        return self.names.all()

    def find(self, wanted: Wanted) -> I64:
        """The position of each id, -1 where it is not there."""
        out = np.full(len(wanted.names), -1, dtype=np.int64)
        if wanted.kind != "str":
            return out
        first = np.searchsorted(self.hashes, wanted.keys, side="left")
        last = np.searchsorted(self.hashes, wanted.keys, side="right")
        for i in np.flatnonzero(last > first).tolist():
            for position in self.order[first[i] : last[i]].tolist():
                if self.names.one(position) == wanted.names[i]:
                    out[i] = position
                    break
        return out


Ids: TypeAlias = IntIds | StrIds


def build_ids(names: Sequence[Any], kind: IdKind) -> Ids:
    """Ids of one kind, ready to be found."""
    if kind == "int":
        return IntIds.build(np.array(names, dtype=np.int64))
    return StrIds.build(Strings.build(names, "ids"))
