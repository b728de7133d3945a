"""The shapes of rows: each distinct template once, and which column holds which of its leaves.

A *signature* is a template as a flat tuple: key, type, key, type ... in the order of the row. The type of an inner dict
is ``"{"``, and ``END`` closes it; None, ``{}`` and ``[]`` are constants of the template. As text a template is JSON
with a column's number for each leaf: ``{"year":0,"author":{"name":1},"note":null}``.

Rows of one template lie together in each column, in row order, template after template. So where a row's values are
follows from two numbers (its template, and how many rows of that came before it), whatever the columns are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Self

from nearfield.core.errors import Corrupt
from nearfield.store.metadata.check import MAX_DEPTH
from nearfield.store.metadata.columns import KINDS

END = 0
CONSTANTS: dict[str, Any] = {"null": None, "{}": {}, "[]": []}
POOLED = 256  # columns of fewer values share one array for each type: each array costs room and time of its own

Signature = tuple[Any, ...]


def leaves_of(signature: Signature) -> list[tuple[str, str]]:
    """Path and type of each leaf in order, constants among them; an inner dict comes as ``{`` before its leaves.

    >>> leaves_of(("a", "{", "b", "int", "c", "null", END, "d", "str"))
    [('a', '{'), ('a.b', 'int'), ('a.c', 'null'), ('d', 'str')]
    """
    out: list[tuple[str, str]] = []
    above: list[str] = []
    tokens = iter(signature)
    for key in tokens:
        if key == END and type(key) is int:
            above.pop()
            continue
        kind, path = next(tokens), above[-1] + key if above else key
        out.append((path, kind))
        if kind == "{":
            above.append(path + ".")
    return out


class Schema:
    """Templates, their columns, and where the rows of each template begin in them."""

    def __init__(self, templates: Sequence[Signature], counts: Sequence[int]) -> None:
        self.templates, self.counts = list(templates), list(counts)
        self.columns: list[tuple[str, str]] = []  # path and type
        self.slots: list[list[int]] = []  # of each template, the columns of its leaves in order
        self.starts: list[list[int]] = []  # beside each of them, where the rows of the template begin in the column
        self.uses: list[list[int]] = []  # of each column, the templates that have it
        self.sizes: list[int] = []
        numbers: dict[tuple[str, str], int] = {}
        for t, (signature, count) in enumerate(zip(self.templates, self.counts)):
            slots, starts = [], []
            for leaf in leaves_of(signature):
                if leaf[1] in KINDS:
                    c = numbers.setdefault(leaf, len(numbers))
                    if c == len(self.columns):
                        self.columns.append(leaf)
                        self.uses.append([])
                        self.sizes.append(0)
                    slots.append(c)
                    starts.append(self.sizes[c])
                    self.uses[c].append(t)
                    self.sizes[c] += count
            self.slots.append(slots)
            self.starts.append(starts)
        self.share(self._pools())

    def _pools(self) -> list[int]:
        stores: dict[Any, int] = {}
        return [
            stores.setdefault(kind if size < POOLED else c, len(stores))
            for c, ((_, kind), size) in enumerate(zip(self.columns, self.sizes))
        ]

    def share(self, stores: Sequence[int]) -> None:
        """Say which array each column lies in; those of one array follow one another."""
        self.stores = list(stores)
        self.store_kinds = [""] * (1 + max(stores, default=-1))
        self.store_sizes = [0] * len(self.store_kinds)
        self.places: list[int] = []
        for (_, kind), store, size in zip(self.columns, stores, self.sizes):
            self.places.append(self.store_sizes[store])
            self.store_kinds[store] = kind
            self.store_sizes[store] += size

    def describe(self) -> dict[str, Any]:
        """Everything but the counts, ready for JSON."""
        columns = [[path, store] for (path, _), store in zip(self.columns, self.stores)]
        texts = [_text(signature, slots) for signature, slots in zip(self.templates, self.slots)]
        return {"templates": texts, "columns": columns, "kinds": self.store_kinds}

    @classmethod
    def restore(cls, stored: Any, counts: Sequence[int]) -> Self:
        """Read what ``describe`` gave; raises ``Corrupt`` unless templates, columns and types agree."""
        if not isinstance(stored, dict):
            raise Corrupt("metadata: expected a description")
        templates, columns, kinds = (stored.get(k) for k in ("templates", "columns", "kinds"))
        if not (isinstance(templates, list) and isinstance(columns, list) and isinstance(kinds, list)):
            raise Corrupt("metadata: expected templates, columns and kinds")
        if len(templates) != len(counts):
            raise Corrupt(f"metadata: expected {len(counts)} templates, got {len(templates)}")
        leaves = [_leaf(column, kinds) for column in columns]
        read = [_Reader(text, leaves) for text in templates]
        out = cls([r.signature for r in read], counts)
        # columns are numbered as they first come, so that reading and writing give the same numbers
        if out.columns != leaves or out.slots != [r.slots for r in read]:
            raise Corrupt("metadata: columns and templates do not agree")
        stores = [store for _, store in columns]
        if set(stores) != set(range(len(kinds))):
            raise Corrupt("metadata: columns and arrays do not agree")
        out.share(stores)
        return out


def _leaf(column: Any, kinds: list[Any]) -> tuple[str, str]:
    if isinstance(column, list) and len(column) == 2 and isinstance(column[0], str) and type(column[1]) is int:
        path, store = column
        if 0 <= store < len(kinds) and isinstance(kinds[store], str) and kinds[store] in KINDS:
            return path, kinds[store]
    raise Corrupt("metadata: expected a path and the number of an array for each column")


def _text(signature: Signature, slots: list[int]) -> str:
    top: dict[str, Any] = {}
    open_: list[dict[str, Any]] = [top]
    tokens, numbers = iter(signature), iter(slots)
    for key in tokens:
        if key == END and type(key) is int:
            open_.pop()
            continue
        kind = next(tokens)
        if kind == "{":
            open_.append({})
            open_[-2][key] = open_[-1]
        else:
            open_[-1][key] = CONSTANTS[kind] if kind in CONSTANTS else next(numbers)
    return json.dumps(top, ensure_ascii=False, separators=(",", ":"))


class _Reader:
    """One template's text, checked against the columns."""

    def __init__(self, text: Any, leaves: list[tuple[str, str]]) -> None:
        self.leaves = leaves
        self.slots: list[int] = []
        self.tokens: list[Any] = []
        self.paths: set[str] = set()
        try:
            top = json.loads(text) if isinstance(text, str) else None
        except (ValueError, RecursionError):
            top = None
        if not isinstance(top, dict):
            raise Corrupt("metadata: expected templates of JSON")
        self._dict(top, "", 1)
        self.signature = tuple(self.tokens)

    def _dict(self, value: dict[str, Any], above: str, depth: int) -> None:
        for key, inner in value.items():
            path = above + key
            self.tokens.append(key)
            if isinstance(inner, dict) and inner:
                if depth >= MAX_DEPTH:
                    raise Corrupt(f"metadata: expected templates of at most {MAX_DEPTH} levels")
                self.tokens.append("{")
                self._dict(inner, path + ".", depth + 1)
                self.tokens.append(END)
                continue
            if key.startswith("$") or not _encodable(key) or path in self.paths:
                raise Corrupt("metadata: expected templates of distinct paths")
            self.paths.add(path)
            self.tokens.append(self._kind(inner, path))

    def _kind(self, inner: Any, path: str) -> str:
        if type(inner) is int and 0 <= inner < len(self.leaves) and self.leaves[inner][0] == path:
            self.slots.append(inner)
            return self.leaves[inner][1]
        for kind, constant in CONSTANTS.items():
            if type(inner) is type(constant) and inner == constant:
                return kind
        raise Corrupt(f"metadata: expected columns and constants in templates, got {str(inner)[:40]!r}")


def _encodable(key: str) -> bool:
    try:
        return bool(key.encode()) or not key
    except UnicodeEncodeError:
        return False
