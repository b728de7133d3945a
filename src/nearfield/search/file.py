"""A Packed in one ``.nf`` file, written whole or not at all, read without running anything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import BadInput, Corrupt, NearfieldError
from nearfield.core.habits import answering
from nearfield.core.indexes import Index
from nearfield.core.method import Method
from nearfield.core.protocols import Batch, Progress
from nearfield.numerics import kernels
from nearfield.search.fit import Fitted, encode_columns, interleaved, read_by_rows
from nearfield.search.packed import Packed
from nearfield.search.plan import Plan
from nearfield.search.sound import check_columns, check_learned, check_meta, check_origin, check_zeros, rehearse
from nearfield.search.tiers import DiskColumn, Memory, TooLittle, as_bytes, choose
from nearfield.store.blame import blaming
from nearfield.store.io_base import check_path, shown
from nearfield.store.segments import WITHOUT_SOME, Segment, SegmentWriter

KIND = "packed"
BUILDING = ".building"


def save(packed: Packed, path: str | os.PathLike[str]) -> None:
    """Write a Packed to ``path``."""
    with _writer(path) as writer:
        for name, column in packed.columns.items():
            writer.add(name, column, paged=read_by_rows(name, packed.fitted.index))
        writer.finish(add_state(writer, packed.fitted))


def _writer(path: str | os.PathLike[str]) -> SegmentWriter:
    try:
        return SegmentWriter(path, KIND)
    except NearfieldError:
        raise
    except (TypeError, ValueError, OSError) as error:  # no text, one with NUL, a name that is too long
        why = getattr(error, "strerror", None) or error
        raise BadInput(f"expected the path of a .nf file to write, got {shown(path)}: {why}") from None


class Building:
    """What a build keeps beside the file that it is for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def take(self, key: str) -> dict[str, NDArray[Any]] | None:
        """What was kept of a build of this key; None where there is nothing sound."""
        if not self.path.exists():
            return None
        try:
            kept = Segment(self.path, BUILDING)
            return {name: kept.column(name).copy() for name in kept.names()} if kept.meta.get("key") == key else None
        except (NearfieldError, OSError):
            return None

    def put(self, key: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Keep these in the place of what was kept, whole or not at all."""
        with SegmentWriter(self.path, BUILDING) as writer:
            for name, values in arrays.items():
                writer.add(name, values)
            writer.finish({"key": key})

    def remove(self) -> None:
        """The build has come to its end."""
        self.path.unlink(missing_ok=True)


def save_streamed(
    path: str | os.PathLike[str],
    fitted: Fitted,
    batch: Batch,
    extra: dict[str, NDArray[Any]],
    *,
    on_zero: str,
    progress: Progress | None,
) -> Packed:
    """Encode straight into a file, then open it; memory holds one block at a time.

    A graph that is being built stands beside it, and is taken up again where the same is fitted to the same file.
    """
    aside = Building(Path(os.fspath(path) + BUILDING))
    with _writer(path) as writer:
        encode_columns(fitted, batch, writer, on_zero=on_zero, progress=progress, aside=aside)
        for name, column in extra.items():
            writer.add(name, column, paged=read_by_rows(name, fitted.index))
        writer.finish(add_state(writer, fitted))
    aside.remove()
    return load(path)


@answering
def load(path: str | os.PathLike[str], *, memory: Memory | None = None) -> Packed:
    """Open a ``.nf`` file for searching; codes stay in the mapped file until they are touched.

    ``memory`` is how many bytes (or ``"200MB"``) may stay in memory: re-score columns beyond that are read from
    disk, the rows of a short list at a time. Raises ``Corrupt`` naming the file and the place where it is damaged.
    """
    most = None if memory is None else as_bytes(memory)
    segment = Segment(check_path(path), KIND)
    kernels.info()  # refuses settings of the environment that are wrong: below they would look like faults of the file
    with blaming(segment.path, but=(TooLittle,)):
        return _open(segment, most)


def _open(segment: Segment, memory: int | None) -> Packed:
    fitted = restore_state(segment)
    names = [c for c in segment.names() if not c.startswith("state.") and c not in ("zeros", "gone")]
    columns = {name: segment.column(name, verify=False) for name in names}
    if (
        interleaved(fitted.codec, fitted.index) and columns["codes"].ndim == 2
    ):  # so nibbles of levels were first written
        columns["codes"] = kernels.pack(segment.column("codes"), fitted.codec.bytes_per_row)
    check_columns(fitted, columns)
    rehearse(fitted)
    chosen = choose(fitted, columns, memory, str(segment.path))
    return Packed(fitted, columns, segment, {name: DiskColumn(segment, name, columns[name].shape) for name in chosen})


def _methods(fitted: Fitted) -> list[tuple[str, Method]]:
    out: list[tuple[str, Method]] = [(f"map{i}", m) for i, m in enumerate(fitted.maps)]
    out.append(("codec", fitted.codec))
    out += [(f"rescore{i}", c) for i, c in enumerate(fitted.rescore_codecs)]
    if fitted.learned is not None:
        out.append(("index", fitted.learned))
    return out


def add_state(writer: SegmentWriter, fitted: Fitted) -> dict[str, Any]:
    """Write what the steps of a Plan learned; returns the rest, for the footer."""
    scalars: dict[str, dict[str, Any]] = {}
    for label, method in _methods(fitted):
        scalars[label] = {}
        for key, value in method.state().items():
            if isinstance(value, np.ndarray):
                writer.add(f"state.{label}.{key}", value)
            else:
                scalars[label][key] = value
    if fitted.zero_rows.size:
        writer.add("zeros", fitted.zero_rows)
    if fitted.gone.size:
        writer.version = WITHOUT_SOME  # whoever knows nothing of deleted rows would find them
        writer.add("gone", fitted.gone)
    if fitted.origin is not None:
        writer.add("state.origin", fitted.origin)
    return {
        "plan": str(fitted.plan),
        "metric": fitted.metric,
        "n": fitted.n,
        "d": fitted.d,
        "encoder": fitted.encoder,
        "space": fitted.space,
        "state": scalars,
        "seed": fitted.seed,
    } | ({"mended": True} if fitted.mended and fitted.gone.size else {})


def restore_state(segment: Segment) -> Fitted:
    """The inverse of ``add_state``."""
    meta = segment.meta
    check_meta(meta, segment.nbytes)
    plan, n, d = Plan(meta["plan"]), meta["n"], meta["d"]
    fitted = Fitted(
        plan, meta["metric"], n, d, plan.maps, plan.codec_for(meta["metric"]), [r.make_codec() for r in plan.rescores],
        encoder=meta.get("encoder"), space=meta.get("space") or {},
        seed=int(meta.get("seed", 0)),
    )  # fmt: skip
    if "index" in meta["state"]:
        fitted.learned = plan.index.fresh()
    for label, method in _methods(fitted):
        scalars = meta["state"].get(label)
        if not isinstance(scalars, dict):
            raise Corrupt(f"state: expected an object for the step {label!r}, got {type(scalars).__name__}")
        state = dict(scalars)
        prefix = f"state.{label}."
        for name in segment.names():
            if name.startswith(prefix):
                state[name[len(prefix) :]] = segment.column(name)
        method.restore(state)
    if "zeros" in segment:
        check_zeros(segment.column("zeros"), n)
        fitted.zero_rows = segment.column("zeros")
    if "gone" in segment:
        check_zeros(segment.column("gone"), n, "gone")
        fitted.gone = segment.column("gone")
        mends = type(plan.index).updater is not Index.updater  # only links that are mended lead to no deleted row
        fitted.mended = mends and meta.get("mended") is True
    if "state.origin" in segment:
        check_origin(segment.column("state.origin"), d)
        fitted.origin = segment.column("state.origin")
    check_learned(fitted)
    return fitted
