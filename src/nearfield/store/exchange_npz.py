"""Ids and texts beside the vectors of an .npz, as ``numpy.savez(name, ids=, vectors=, texts=)`` writes them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nearfield.core.errors import BadInput, DataWarning
from nearfield.store import io_base as base
from nearfield.store import io_npy
from nearfield.store.exchange_names import ID, TEXT, Names
from nearfield.store.rows import RowBatch

_IDS, _TEXTS = (*ID, "ids"), (*TEXT, "texts")  # an array of many is named in the plural as often


@dataclass(frozen=True)
class Beside:
    """The ids and the texts of all rows of a file; None where it has none."""

    ids: list[Any] | None
    texts: list[str | None] | None

    def joined(self, batches: Iterator[RowBatch]) -> Iterator[RowBatch]:
        """The batches of the file, each with its ids and texts."""
        at = 0
        for batch in batches:
            stop = at + len(batch)
            ids, texts = (None if part is None else part[at:stop] for part in (self.ids, self.texts))
            yield RowBatch(ids, texts, vectors=batch.vectors)
            at = stop


def read_beside(path: str, key: str | None, names: Names, rows: int, max_ratio: float) -> Beside | None:
    """Read the ids and the texts of an .npz with ``rows`` vectors, found as ``ids`` and ``texts`` or as columns are.

    Use it where rows are wanted, not vectors alone; None where there are neither. Other arrays are not read, which a
    ``DataWarning`` says unless ``key`` chose the vectors. Raises ``BadInput`` for arrays of another length, ids that
    are no integers or text, and texts that are no text.
    """
    arrays = io_npy.members(path, None)
    vectors = key if key is not None else io_npy.only(path, arrays)
    others = [name for name in arrays if name != vectors]
    id_key, text_key = _chosen(names, "id", others, path), _chosen(names, "text", others, path)
    left = [name for name in others if name not in (id_key, text_key)]
    if left and key is None:
        what = ", ".join(base.shown(name, 40) for name in left[:8])
        warnings.warn(
            f"{base.named(path)}: read are the vectors in {vectors!r} and arrays named ids and texts, not {what}; "
            "choose with vector=, id= and text=",
            DataWarning,
            stacklevel=2,
        )
    if id_key is None and text_key is None:
        return None
    ids = None if id_key is None else io_npy.column(path, arrays, id_key, rows, "iuU", max_ratio)
    texts = None if text_key is None else io_npy.column(path, arrays, text_key, rows, "U", max_ratio)
    return Beside(ids, texts)


def _chosen(names: Names, what: str, arrays: list[str], path: str) -> str | None:
    """The array that was named, or the one whose name says what it is."""
    given = names.id if what == "id" else names.text
    if given is None:
        return next((k for k in (_IDS if what == "id" else _TEXTS) if k in arrays), None)
    listed = [given] if isinstance(given, str) else list(given)
    if len(listed) > 1:
        raise base.bad(path, f"expected one array of texts, got text={base.shown(listed, 80)}; join them before saving")
    if not any(listed):
        return None
    if listed[0] not in arrays:
        there = ", ".join(base.shown(name, 40) for name in arrays[:8]) or "none"
        raise BadInput(f"{base.named(path)}: {what}={listed[0]!r} names no array beside the vectors, there is: {there}")
    return listed[0]
