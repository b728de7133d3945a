"""``Metadata``: the metadata of n rows as columns, immutable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import BadInput, Corrupt
from nearfield.numerics.runs import within
from nearfield.store.metadata import facets as counting
from nearfield.store.metadata.columns import Column, restore
from nearfield.store.metadata.ints import I64, Ints, Mask, starts_of
from nearfield.store.metadata.schema import CONSTANTS, END, Schema, Signature, leaves_of

Within = Callable[[Callable[[], Column]], Column]
_FEW = 24
_PUBLIC = {"date": "time", "zoned": "time", "date[]": "time[]", "zoned[]": "time[]"}


@dataclass(frozen=True)
class Leaf:
    """The values that one path has of one type, and the rows (None: all, in order) that they belong to."""

    kind: str
    values: Column
    rows: I64 | None


class Metadata:
    """The metadata of n rows: what rows share is kept once, values in columns of the fewest bytes.

    Use ``build`` for rows given as dicts, ``columns`` and ``description`` to store it, ``restore`` to read it again
    (each column when it is first needed), ``row`` and ``rows`` for the dicts, exactly as they came.

    >>> m = Metadata.build([{"year": 2024, "tags": ["a"]}, {"year": 2025}])
    >>> m.row(1), m.paths()["tags"]
    ({'year': 2025}, frozenset({'str[]'}))
    >>> m.facets("year")
    [(2024, 1), (2025, 1)]
    >>> Metadata.restore(2, m.description(), m.columns().__getitem__).rows([0])
    [{'year': 2024, 'tags': ['a']}]
    """

    def __init__(
        self, n: int, numbers: Ints, schema: Schema, stores: dict[int, Column], read: Callable[[int], Column] | None
    ) -> None:
        self.n = n
        self._numbers, self._schema, self._stores, self._read = numbers, schema, stores, read

    @classmethod
    def build(cls, rows: Sequence[dict[str, Any] | None]) -> Metadata:
        """Make columns of rows; each is checked as by ``check_metadata``, ``BadInput`` names the row and the path."""
        from nearfield.store.metadata.build import build

        return build(rows)

    @classmethod
    def merge(cls, parts: Sequence[tuple[Metadata, Any]]) -> Metadata:
        """The chosen rows (positions of each part) of several, one after the other, as ``build`` would make them."""
        from nearfield.store.metadata.merge import merge

        return merge(parts)

    @classmethod
    def restore(
        cls, n: int, description: Any, column: Callable[[str], NDArray[Any]], within: Within = lambda read: read()
    ) -> Self:
        """Open what ``description`` and ``columns`` gave; ``column`` reads one array by name.

        All of it may come from anyone: a column is checked when it is first read, and raises ``Corrupt``. ``within``
        runs each such read, and may name in the error where it was read from.
        """
        if not isinstance(description, dict) or not isinstance(description.get("arrays"), list):
            raise Corrupt("metadata: expected a description")
        numbers = Ints.restore(description.get("rows"), n, column, "rows")
        templates = description.get("templates")
        found, counted = numbers.counted(None)
        count = len(templates) if isinstance(templates, list) else 0
        if found and not 0 <= found[0] <= found[-1] < count:
            raise Corrupt(f"metadata: expected templates below {count}, got {found[-1]}")
        counts = [0] * count
        for t, rows in zip(found, counted):
            counts[t] = rows
        schema, arrays = Schema.restore(description, counts), description["arrays"]
        if len(arrays) != len(schema.store_kinds):
            raise Corrupt(f"metadata: expected {len(schema.store_kinds)} arrays, got {len(arrays)}")

        def read(store: int) -> Column:
            kind, size = schema.store_kinds[store], schema.store_sizes[store]
            return within(lambda: restore(kind, arrays[store], size, column, f"c{store}"))

        return cls(n, numbers, schema, {}, read)

    def description(self) -> dict[str, Any]:
        """What ``restore`` needs beside the columns, ready for JSON."""
        arrays = [self._store(s).describe() for s in range(len(self._schema.store_kinds))]
        return {"rows": self._numbers.describe(), **self._schema.describe(), "arrays": arrays}

    def columns(self) -> dict[str, NDArray[Any]]:
        """The arrays to store, by name."""
        out = self._numbers.arrays("rows")
        for s in range(len(self._schema.store_kinds)):
            out |= self._store(s).arrays(f"c{s}")
        return out

    def verify(self) -> None:
        """Read every column, and raise ``Corrupt`` where one cannot be."""
        for store in range(len(self._schema.store_kinds)):
            self._store(store)

    def __len__(self) -> int:
        return self.n

    def row(self, at: int) -> dict[str, Any]:
        """One row's metadata: about a microsecond a value."""
        if not 0 <= at < self.n:
            raise BadInput(f"metadata: expected a row of 0 to {self.n - 1}, got {at}")
        t = self._numbers.item(at)
        return _filled(self._plan(t), at if self._rank is None else self._rank.item(at))

    def rows(self, positions: Any) -> list[dict[str, Any]]:
        """The metadata of these rows, in this order."""
        at = self.positions(positions)
        if len(at) <= max(_FEW, len(self._schema.templates)):
            return [self.row(i) for i in at.tolist()]
        return self._many(at)

    def positions(self, given: Any) -> I64:
        """Row numbers as int64, or ``BadInput`` where one is not there."""
        at = np.asarray(given)
        if at.size == 0:
            return np.zeros(0, np.int64)
        if at.dtype.kind not in "iu" or at.ndim != 1 or int(at.min()) < 0 or int(at.max()) >= self.n:
            raise BadInput(f"metadata: expected a list of rows of 0 to {self.n - 1}, got others")
        return at.astype(np.int64)

    def _many(self, at: I64) -> list[dict[str, Any]]:
        numbers = self._numbers.take(at)
        ranks = at if self._rank is None else self._rank[at]
        order = np.argsort(numbers, kind="stable")
        found, firsts = np.unique(numbers[order], return_index=True)
        out: list[Any] = [None] * len(at)
        for t, chosen in zip(found.tolist(), np.split(order, firsts[1:])):
            slots, starts = self._schema.slots[t], self._schema.starts[t]
            values = [self._column(c).pick(ranks[chosen] + start) for c, start in zip(slots, starts)]
            signature = self._schema.templates[t]
            if len(signature) == 2 * len(slots):
                keys = signature[::2]
                made: list[Any] = [dict(zip(keys, row)) for row in zip(*values)] if slots else [{} for _ in chosen]
            else:
                made = [_nested(signature, iter(row)) for row in (zip(*values) if slots else [()] * len(chosen))]
            for place, row in zip(chosen.tolist(), made):
                out[place] = row
        return out

    def paths(self) -> dict[str, frozenset[str]]:
        """The types of each path: ``bool int float str time json``, and ``str[]`` and so on for lists of one type.

        A path that holds nothing but None, ``{}`` or ``[]`` has no type.
        """
        out: dict[str, set[str]] = {}
        for t, signature in enumerate(self._schema.templates):
            if self._schema.counts[t]:
                for path, kind in leaves_of(signature):
                    if kind != "{":
                        types = out.setdefault(path, set())
                        if kind not in CONSTANTS:
                            types.add(_PUBLIC.get(kind, kind.replace("zoned", "time")))
        return {path: frozenset(types) for path, types in out.items()}

    def facets(self, path: str, mask: Mask | None = None) -> list[tuple[Any, int]]:
        """The distinct values of a path and how many there are of each, the most frequent first.

        ``mask`` bool ``[n]`` chooses rows; a list counts each of its elements; json is left out; 1 and 1.0 are one
        value, True is another.
        """
        return counting.facets(self.leaves(path), mask)

    def bounds(self, path: str, mask: Mask | None = None) -> tuple[Any, Any] | None:
        """The smallest and the largest value of a path, None where it has none.

        Raises ``BadInput`` where it has values of types that do not compare, such as numbers and text.
        """
        return counting.bounds(path, self.leaves(path), mask)

    @property
    def signatures(self) -> list[Signature]:
        """The templates of the rows (see ``schema``)."""
        return self._schema.templates

    def templates_of(self, at: I64) -> I64:
        """The number of each row's template."""
        return self._numbers.take(at)

    def locate(self, leaf: tuple[str, str], at: I64) -> tuple[Column, I64]:
        """The column of a path and type, and where in it are the values of these rows, all of one template."""
        column = self._numbered[leaf]
        template = self._numbers.item(int(at[0]))
        start = self._schema.starts[template][self._schema.slots[template].index(column)]
        return self._column(column), (at if self._rank is None else self._rank[at]) + start

    @cached_property
    def _numbered(self) -> dict[tuple[str, str], int]:
        return {leaf: c for c, leaf in enumerate(self._schema.columns)}

    def leaves(self, path: str) -> list[Leaf]:
        """The typed values of a path, one ``Leaf`` for each type."""
        return [Leaf(self._schema.columns[c][1], self._column(c), self._rows(c)) for c in self._by_path.get(path, ())]

    def present(self, path: str) -> Mask:
        """Which rows have something at a path that is not None: a value, a list, a dict."""
        return self._with_templates(self._present.get(path, ()))

    def blank(self, path: str) -> Mask:
        """Which rows have an empty list or an empty dict at a path."""
        return self._with_templates(self._blank.get(path, ()))

    def _with_templates(self, templates: Sequence[int]) -> Mask:
        if len(templates) == len(self._schema.templates):
            return np.ones(self.n, np.bool_)
        if not templates:
            return np.zeros(self.n, np.bool_)
        return self._numbers.among(np.array(templates, np.int64))

    @cached_property
    def _by_path(self) -> dict[str, list[int]]:
        out: dict[str, list[int]] = {}
        for c, (path, _) in enumerate(self._schema.columns):
            if self._schema.sizes[c]:
                out.setdefault(path, []).append(c)
        return out

    @cached_property
    def _present(self) -> dict[str, list[int]]:
        return self._templates_by(lambda kind: kind != "null")

    @cached_property
    def _blank(self) -> dict[str, list[int]]:
        return self._templates_by(lambda kind: kind in ("[]", "{}"))

    def _templates_by(self, wanted: Callable[[str], bool]) -> dict[str, list[int]]:
        out: dict[str, list[int]] = {}
        for t, signature in enumerate(self._schema.templates):
            for path in {path for path, kind in leaves_of(signature) if wanted(kind)}:
                out.setdefault(path, []).append(t)
        return out

    @cached_property
    def _order(self) -> I64 | None:
        """Rows by template, those of one in order; None where that is as they are."""
        if self._numbers.codes is None:
            return None
        return np.argsort(self._numbers.codes, kind="stable")

    @cached_property
    def _firsts(self) -> I64:
        return starts_of(np.array(self._schema.counts, np.int64))

    @cached_property
    def _rank(self) -> I64 | None:
        """How many rows of its own template come before each row; None where that is its number."""
        if self._order is None:
            return None
        out = np.empty(self.n, np.int64)
        out[self._order] = np.arange(self.n) - np.repeat(self._firsts[:-1], self._schema.counts)
        return out

    def _rows(self, column: int) -> I64 | None:
        order, uses = self._order, self._schema.uses[column]
        if order is None:
            return None
        if len(uses) == len(self._schema.templates):
            return order
        if len(uses) == 1:
            return order[self._firsts[uses[0]] : self._firsts[uses[0] + 1]]
        templates = np.array(uses, np.int64)
        return order[within(self._firsts[templates], np.diff(self._firsts)[templates])]

    def _store(self, store: int) -> Column:
        found = self._stores.get(store)
        if found is None:
            if self._read is None:
                raise Corrupt("metadata: a column is missing")
            found = self._stores[store] = self._read(store)
        return found

    @cached_property
    def _views(self) -> dict[int, Column]:
        return {}

    def _column(self, column: int) -> Column:
        found = self._views.get(column)
        if found is None:
            whole = self._store(self._schema.stores[column])
            size = self._schema.sizes[column]
            found = whole if size == whole.n else whole.part(self._schema.places[column], size)
            self._views[column] = found
        return found

    @cached_property
    def _plans(self) -> dict[int, list[Any]]:
        return {}

    def _plan(self, template: int) -> list[Any]:
        found = self._plans.get(template)
        if found is None:
            slots, starts = self._schema.slots[template], self._schema.starts[template]
            leaves = iter([(self._column(c), start) for c, start in zip(slots, starts)])
            found = self._plans[template] = _planned(iter(self._schema.templates[template]), leaves)
        return found


def _planned(tokens: Any, leaves: Any) -> list[Any]:
    """A template as (key, column, where its rows begin); (key, None, plan) for a dict, (key, None, kind) else."""
    out: list[Any] = []
    for key in tokens:
        if key == END and type(key) is int:
            return out
        kind = next(tokens)
        if kind == "{":
            out.append((key, None, _planned(tokens, leaves)))
        else:
            out.append((key, None, kind) if kind in CONSTANTS else (key, *next(leaves)))
    return out


def _filled(plan: list[Any], rank: int) -> dict[str, Any]:
    out = {}
    for key, column, start in plan:
        if column is not None:
            out[key] = column.item(start + rank)
        elif isinstance(start, list):
            out[key] = _filled(start, rank)
        else:
            out[key] = None if start == "null" else type(CONSTANTS[start])()
    return out


def _nested(signature: tuple[Any, ...], values: Any) -> dict[str, Any]:
    open_: list[dict[str, Any]] = [{}]
    tokens = iter(signature)
    for key in tokens:
        if key == END and type(key) is int:
            open_.pop()
            continue
        kind = next(tokens)
        if kind == "{":
            open_.append({})
            open_[-2][key] = open_[-1]
        elif kind in CONSTANTS:
            open_[-1][key] = None if kind == "null" else type(CONSTANTS[kind])()
        else:
            open_[-1][key] = next(values)
    return open_[0]
