"""Rows that change in part: metadata merged, texts and vectors in place of the old ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

from nearfield.collection.intake import Intake, ragged_columns, sound_texts, sparse_columns, take_rows
from nearfield.collection.reading import matching
from nearfield.collection.results import Row
from nearfield.collection.state import State
from nearfield.collection.writing import write_rows
from nearfield.core.errors import BadInput
from nearfield.core.protocols import F32
from nearfield.store.fields import Field
from nearfield.store.filters import Filter
from nearfield.store.ids import IdKind, check_ids, refuse_repeats
from nearfield.store.rows import unpacked
from nearfield.store.snapshot import Snapshot


@dataclass
class Renewal:
    """The encoder of a field for texts that change: each is encoded once, and never while others wait to write."""

    field: str
    encode: Callable[[list[str]], F32]
    made: dict[str | None, F32 | None] = dataclass_field(default_factory=lambda: {None: None})

    def make(self, texts: Iterable[str | None]) -> None:
        """Make the vectors of these texts; a blank one has none."""
        fresh = [t for t in dict.fromkeys(texts) if isinstance(t, str) and t not in self.made]
        words = [t for t in fresh if t.strip()]
        self.made.update(dict.fromkeys(fresh))
        self.made.update(zip(words, self.encode(words) if words else ()))


@dataclass
class Update:
    """What changes: of rows by id, each with its own text, or of all that a filter lets through."""

    asked: list[Any] | None
    where: Filter | None
    meta: Any
    texts: Any
    vectors: dict[str, Any]
    replace: bool
    renewal: Renewal | None

    def __post_init__(self) -> None:
        if (self.asked is None) == (self.where is None):
            raise BadInput("update: expected either ids or where=, and not both")
        if self.meta is None and self.texts is None and not self.vectors:
            raise BadInput("update: expected meta=, texts= or vectors, got nothing to change")
        if self.asked is not None:
            self.asked = check_ids(self.asked)[0]
            refuse_repeats(self.asked)
        elif self.texts is not None or self.vectors or isinstance(self.meta, list):
            raise BadInput("update: expected one dictionary as meta= with where=, got something for each row")
        if self.asked is not None:
            self.texts = sound_texts(self.texts, len(self.asked))

    def lines(self, snapshot: Snapshot) -> tuple[list[Row], list[int], int]:
        """The rows that are there, which of those asked for they are, and how many were asked for."""
        if self.asked is None:
            rows = [Row(snapshot, v.part, p) for v in snapshot.views for p in matching(v, self.where).tolist()]
            return rows, list(range(len(rows))), len(rows)
        kind: IdKind = "str" if self.asked and isinstance(self.asked[0], str) else "int"
        views, at = snapshot.find(self.asked, kind)
        there = [i for i, view in enumerate(views.tolist()) if view >= 0]
        return [Row(snapshot, snapshot.view(views[i]).part, int(at[i])) for i in there], there, len(self.asked)

    def changed(self, rows: list[Row], at: list[int]) -> list[int]:
        """Which of the rows get another text."""
        return [] if self.texts is None else [j for j, i in enumerate(at) if rows[j].text != self.texts[i]]

    def ready(self, snapshot: Snapshot) -> None:
        """Make the vectors of texts that change."""
        if self.renewal is not None:
            rows, at, _ = self.lines(snapshot)
            self.renewal.make(self.texts[at[j]] for j in self.changed(rows, at))

    def rows(self, snapshot: Snapshot, fields: Mapping[str, Field], on_zero: str) -> Intake | None:
        """The rows as they are to be; None where texts changed meanwhile, so that vectors are not ready."""
        rows, at, n = self.lines(snapshot)
        each = self.meta is not None and not isinstance(self.meta, Mapping)
        if each:
            _refuse_length("meta", self.meta, n)
        metas = list(self.meta) if each else [self.meta] * n
        columns = {name: _new_vectors(name, spec, rows, at, self.vectors, n) for name, spec in fields.items()}
        texts = [row.text for row in rows] if self.texts is None else [self.texts[i] for i in at]
        changed = self.changed(rows, at)
        if self.renewal is not None:
            if any(texts[j] not in self.renewal.made for j in changed):
                return None
            columns[self.renewal.field] = _renewed(columns[self.renewal.field], self.renewal, texts, changed)
        elif not self.vectors:
            _refuse_stale([rows[j] for j in changed])
        for name in fields.keys() - self.vectors.keys():
            _refuse_lost(name, rows, columns[name])
        meta = [_merged_meta(row.meta, metas[i], self.replace) for row, i in zip(rows, at)]
        return take_rows([row.id for row in rows], columns, texts, meta, fields, on_zero=on_zero)


def update_rows(state: State, fields: Mapping[str, Field], on_zero: str, update: Update) -> int:
    """Write rows anew with some of their parts changed; a text that changes takes its vector with it."""
    while True:
        update.ready(state.snapshot())
        with state.writing() as snapshot:
            given = update.rows(snapshot, fields, on_zero)
            if given is not None:
                write_rows(state, given)
                return len(given)


def _renewed(old: Any, renewal: Renewal, texts: list[str | None], changed: list[int]) -> list[Any]:
    """The vectors of a field with those of changed texts made anew."""
    out = [None] * len(texts) if old is None else list(old)
    for j in changed:
        out[j] = renewal.made[texts[j]]
    return out


def _refuse_stale(changed: list[Row]) -> None:
    stale = [row.id for row in changed if row.vectors]
    if stale:
        more = f" and {len(stale) - 5} more" if len(stale) > 5 else ""
        raise BadInput(
            "update: expected x=, the vectors of the new texts (or the old ones, to keep them), as no encoder is "
            f"recorded that could make them; got texts alone for {', '.join(map(repr, stale[:5]))}{more}"
        )


def _refuse_lost(name: str, rows: list[Row], made: Any) -> None:
    """Refuse rows whose vector would not come with them: it is there as a code alone."""
    values = [None] * len(rows) if made is None else made
    lost = [row.id for row, value in zip(rows, values) if value is None and name in row.only_coded]
    if lost:
        more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
        raise BadInput(
            f"update: expected x=, the vectors of field {name!r}: its originals were dropped, and its plan cannot turn "
            f"codes back into vectors, so that they would be lost; got none for {', '.join(map(repr, lost[:5]))}{more}"
        )


def _refuse_length(name: str, values: Any, n: int) -> None:
    if values is not None and (isinstance(values, (str, bytes, Mapping, Set)) or not hasattr(values, "__len__")):
        raise BadInput(f"{name}: expected a list, one a row, got {type(values).__name__}")
    if values is not None and len(values) != n:
        raise BadInput(f"{name}: expected one for each of {n} ids, got {len(values)}")


def _new_vectors(
    name: str, spec: Field, rows: list[Row], at: list[int], vectors: dict[str, Any], n: int
) -> Any:  # fmt: skip
    """The vectors of a field: those that were given, else those that the rows have."""
    if name in vectors and spec.kind != "dense":  # in one of several forms, not all of which have an item a row
        made = sparse_columns if spec.kind == "sparse" else ragged_columns
        each = unpacked(made(name, spec, vectors[name], n))
        return [each[i] for i in at]
    if name in vectors:
        _refuse_length(name, vectors[name], n)
        return [vectors[name][i] for i in at]
    old = [row.vectors.get(name) for row in rows]
    return None if all(v is None for v in old) else old


def _merged_meta(old: dict[str, Any], new: Any, replace: bool) -> dict[str, Any]:
    if new is None:
        return old
    if not isinstance(new, Mapping):
        raise BadInput(f"meta: expected a dictionary, got {type(new).__name__}")
    if replace:
        return dict(new)
    return {k: v for k, v in {**old, **new}.items() if not (k in new and v is None)}
