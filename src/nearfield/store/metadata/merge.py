"""Rows of several ``Metadata`` in one, column by column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nearfield.store.metadata.build import build
from nearfield.store.metadata.columns import Column, join
from nearfield.store.metadata.ints import I64, Ints
from nearfield.store.metadata.schema import Schema, Signature
from nearfield.store.metadata.table import Metadata

_MOST_PIECES = 50_000  # above that rows are so unlike one another that they are joined faster as dicts


def merge(parts: Sequence[tuple[Metadata, Any]]) -> Metadata:
    """The chosen rows of several, one after the other (see ``Metadata.merge``)."""
    chosen = [(part, part.positions(positions)) for part, positions in parts]
    templates, numbers = _templates(chosen)
    ends = np.cumsum([len(at) for _, at in chosen]) if chosen else np.zeros(0, np.int64)
    counts = np.bincount(numbers, minlength=len(templates)).tolist()
    schema = Schema(templates, counts)
    if sum(map(len, schema.slots)) * len(chosen) > _MOST_PIECES:
        return build([row for part, at in chosen for row in part.rows(at)])
    sources = [_Source(part, at, new) for (part, at), new in zip(chosen, np.split(numbers, ends[:-1]))]
    pieces: list[list[tuple[Column, I64]]] = [[] for _ in schema.store_kinds]
    for column, leaf in enumerate(schema.columns):
        for template in schema.uses[column]:
            for source in sources:
                found = source.values(leaf, template)
                if found is not None:
                    pieces[schema.stores[column]].append(found)
    stores = {s: join(kind, pieces[s]) for s, kind in enumerate(schema.store_kinds)}
    return Metadata(len(numbers), Ints.of(numbers), schema, stores, None)


def _templates(chosen: Sequence[tuple[Metadata, I64]]) -> tuple[list[Signature], I64]:
    """The templates of all chosen rows as they first come, and each row's."""
    known: dict[Signature, int] = {}
    found = []
    for part, at in chosen:
        # templates that no chosen row has stay unnumbered
        table = np.array([known.setdefault(s, len(known)) for s in part.signatures], np.int64)
        found.append(table[part.templates_of(at)])
    numbers = np.concatenate(found) if found else np.zeros(0, np.int64)
    used, firsts = np.unique(numbers, return_index=True)
    order = np.argsort(firsts)
    signatures = list(known)
    table = np.zeros(len(known), np.int64)
    table[used[order]] = np.arange(len(used))
    return [signatures[i] for i in used[order].tolist()], table[numbers]


class _Source:
    """One part: its chosen rows, by their new template."""

    def __init__(self, part: Metadata, at: I64, numbers: I64) -> None:
        self.part = part
        self.at = at
        self.order = np.argsort(numbers, kind="stable")
        found, firsts = np.unique(numbers[self.order], return_index=True)
        ends = [*firsts[1:].tolist(), len(at)]
        self.runs = {t: (a, b) for t, a, b in zip(found.tolist(), firsts.tolist(), ends)}

    def values(self, leaf: tuple[str, str], template: int) -> tuple[Column, I64] | None:
        """The column of a leaf, and where in it the chosen rows of a template are."""
        run = self.runs.get(template)
        if run is None:
            return None
        return self.part.locate(leaf, self.at[self.order[run[0] : run[1]]])
