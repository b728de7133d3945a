"""Fields under a Plan: the fitted Plan in one file, the codes of each segment in a file beside it.

The codes of a segment are derived from its vectors as long as these are kept, and then made anew where they are
missing or damaged; where the originals were dropped, the codes are all there is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nearfield.collection.plans import PLANS, Coded, plan_file
from nearfield.core.arrays import ArraySource
from nearfield.core.errors import Corrupt, NearfieldError
from nearfield.core.indexes import Step
from nearfield.core.protocols import F32, I64
from nearfield.search.apart import encode_apart, gather_codes, load_plan, open_codes, save_plan
from nearfield.search.fit import Fitted
from nearfield.search.packed import Packed
from nearfield.store.atomic import sync_folder
from nearfield.store.folder import Folder
from nearfield.store.parts import FOLDER, Entry, Part, SegmentPart
from nearfield.store.snapshot import Snapshot

_LOADED: dict[tuple[str, str], Fitted] = {}


def new_plan(folder: Folder, fitted: Fitted) -> str:
    """Write what a Plan learned into a new file; returns its name."""
    name = os.urandom(8).hex()
    if folder.make(PLANS):
        sync_folder(folder.path)  # the name of the new folder too must survive a power cut
    save_plan(plan_file(folder.path, name), fitted, folder)
    return name


def fitted_of(folder: Folder, name: str) -> Fitted:
    """What a Plan learned; read once."""
    key = (str(folder.path), name)
    if key not in _LOADED:
        if len(_LOADED) > 64:
            _LOADED.clear()
        _LOADED[key] = load_plan(plan_file(folder.path, name))
    return _LOADED[key]


def codes_file(part: SegmentPart, coded_file: str, number: int) -> Path:
    """Where the codes of a segment lie."""
    return part.path.parent / f"{part.path.stem}.{number}.{coded_file}.nf"


def encode_part(part: SegmentPart, number: int, file: str) -> None:
    """Write the codes of a segment, unless they are there."""
    found = part.vectors(number)
    target = codes_file(part, file, number)
    if found is None or target.exists():
        return
    part.verify_vectors(number)
    fitted = fitted_of(part.folder, file)
    encode_apart(target, fitted, ArraySource(found.values), on_zero="keep", folder=part.folder)


def write_codes(
    folder: Folder, snapshot: Snapshot, made: Entry, sources: Sequence[tuple[Part, I64]], step: Step | None = None
) -> None:
    """Write the codes of a segment that was just made of some rows of these parts, for each field under a Plan."""
    for number in snapshot.fields:
        coded = Coded.of(snapshot, number)
        if coded is not None:
            write_codes_of(folder, number, coded.file, made, sources, step)


def write_codes_of(
    folder: Folder, number: int, file: str, made: Entry, sources: Sequence[tuple[Part, I64]], step: Step | None = None
) -> None:
    """The codes of one field: gathered where all parts have some, else encoded."""
    target = folder.path / FOLDER / f"{made.file.partition('.')[0]}.{number}.{file}.nf"
    if target.exists():
        return
    picked = [(part, _places(part, number, at)) for part, at in sources]
    picked = [(part, places) for part, places in picked if len(places)]
    if not picked:
        return
    if all(isinstance(part, SegmentPart) and has_codes(part, number, file) for part, _ in picked):
        packed = [(packed_of(p, number, file), at) for p, at in picked if isinstance(p, SegmentPart)]
        gather_codes(target, packed, step, folder)
        return
    blocks = []
    for part, places in picked:
        found = part.vectors(number)
        if found is None:
            raise Corrupt(f"{target}: the codes of a segment are missing, and its vectors were dropped")
        blocks += list(found.blocks(places))
    rows = ArraySource(np.concatenate(blocks))
    encode_apart(target, fitted_of(folder, file), rows, on_zero="keep", step=step, folder=folder)


def has_codes(part: SegmentPart, number: int, file: str) -> bool:
    """Whether a segment has codes under a Plan."""
    return codes_file(part, file, number).exists()


def _places(part: Part, number: int, at: I64) -> I64:
    """Where the vectors of some rows lie among all vectors of a part."""
    having = part.having(number)
    if len(having) == part.n:
        return at
    return np.flatnonzero(np.isin(having, at))


def packed_of(part: SegmentPart, number: int, file: str) -> Packed:
    """The codes of a segment, ready to be searched; derived anew where that is possible and needed."""
    known: dict[tuple[int, str], Packed] = part.__dict__.setdefault("_packed", {})
    if (number, file) in known:
        return known[number, file]
    target = codes_file(part, file, number)
    fitted = fitted_of(part.folder, file)
    if not part.fits(number, fitted.d, fitted.metric):
        raise Corrupt(
            f"{plan_file(part.folder.path, file)}: was fitted to rows of another width or metric than those there"
        )
    found = part.vectors(number)
    try:
        packed = open_codes(target, fitted, len(part.having(number)))
    except NearfieldError:
        if found is None:
            raise
        packed = _again(part, number, file, target, fitted)
    known[number, file] = packed
    return packed


def _again(part: SegmentPart, number: int, file: str, target: Path, fitted: Fitted) -> Packed:
    from nearfield.search.columns import MemorySink
    from nearfield.search.fit import encode_columns

    with contextlib.suppress(OSError):
        part.folder.delete(FOLDER, target.name)
        encode_part(part, number, file)
        return open_codes(target, fitted, len(part.having(number)))
    sink = MemorySink()  # a folder that cannot be written
    found = part.vectors(number)
    if found is None:
        raise Corrupt(f"{target}: the codes are missing")
    mine = replace(fitted, n=found.count, zero_rows=np.zeros(0, np.int64))
    encode_columns(mine, ArraySource(found.values), sink, on_zero="keep")
    return Packed(mine, sink.columns)


def best_coded(
    packed: Packed, part: Part, number: int, q: Any, k: int, mask: Any, budget: int | None
) -> tuple[I64, F32, int, str | None]:
    """Row numbers ``[m, j]`` and scores of the best rows by their codes, how many were scored for a query, and how.

    The last is how the index met the filter, where it has several ways: for the first of the queries.
    """
    having = part.having(number)
    allow = None if mask is None else mask if len(having) == part.n else mask[having]
    if allow is not None and not allow.any():
        return np.full((len(q), 0), -1, np.int64), np.zeros((len(q), 0), np.float32), 0, None
    hits = packed.search(q, k=k, budget=budget, allow=allow, on_zero="keep")
    at = np.where(hits.rows >= 0, having[np.maximum(hits.rows, 0)], -1)
    strategy = hits.strategy[0] if hits.strategy else None
    return np.where(at >= 0, part.rows[at], -1), hits.scores, int(hits.scored.max(initial=0)), strategy


def decoded(part: SegmentPart, number: int, file: str, position: int) -> F32 | None:
    """A vector as the codes give it back, where the original was dropped; None where the Plan cannot go back."""
    at = _places(part, number, np.array([position], dtype=np.int64))
    if not len(at):  # where no row has a vector, there is no file of codes
        return None
    packed = packed_of(part, number, file)
    maps = packed.fitted.maps
    if not all(hasattr(step, "inverse") for step in maps):
        return None
    values: Any = packed.decode(at)
    for step in reversed(maps):
        back: Any = step
        values = back.inverse(values)
    origin = packed.fitted.origin
    return np.asarray(values[0] if origin is None or not maps else values[0] + origin, dtype=np.float32)
