"""Writers of vectors: one function, the format told by the suffix, each file whole or not at all.

A type that a format cannot hold is refused by name, never narrowed; so are ids, texts and metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import numpy as np

from nearfield.core.arrays import as_batch
from nearfield.core.errors import BadInput
from nearfield.core.protocols import Batch
from nearfield.store import exchange, io, io_base, io_records, io_text, io_write_raw, io_write_text
from nearfield.store.atomic import AtomicFile
from nearfield.store.io_base import PathLike
from nearfield.store.io_write_raw import Job
from nearfield.store.rows import RowBatch

_ROWS = frozenset(exchange.WRITERS) - {".csv"}  # CSV is a table of numbers here, one of rows there
WRITERS: dict[str, Callable[[BinaryIO, Job], None]] = {
    ".npy": io_write_raw.write_npy,
    ".npz": io_write_raw.write_npz,
    ".safetensors": io_write_raw.write_safetensors,
    **dict.fromkeys(io_records.VECS, io_write_raw.write_vecs),
    **dict.fromkeys(io_records.BINS, io_write_raw.write_bin),
    **dict.fromkeys(io.HDF5, io_write_raw.write_hdf5),
    **dict.fromkeys((".vec", ".txt"), io_write_text.write_word_text),
    ".bin": io_write_text.write_word_bin,
    ".csv": io_write_text.write_csv,
}
_FLOATS = frozenset(["float16", "float32", "float64"])
_EXACT = _FLOATS | {"int8", "uint8", "int16", "uint16", "int32", "uint32"}  # what a float64 holds
HOLDS = {  # the number types of formats that do not hold all
    **{s: frozenset([np.dtype(t).newbyteorder("=").name]) for s, t in {**io_records.VECS, **io_records.BINS}.items()},
    ".vec": frozenset(["float32"]), ".txt": frozenset(["float32"]), ".bin": frozenset(["float32"]), ".csv": _EXACT,
    ".jsonl": _EXACT, ".ndjson": _EXACT,
}  # fmt: skip
_WITH_IDS = frozenset([".vec", ".txt", ".bin", ".csv", *_ROWS])


def write_vectors(
    path: PathLike,
    x: Any,
    *,
    ids: Sequence[Any] | Literal[False] | None = None,
    texts: Sequence[str | None] | None = None,
    meta: Sequence[dict[str, Any]] | None = None,
    key: str | None = None,
    column: str | None = None,
) -> int:
    """Write vectors ``[n, d]``, an array or a source that is streamed, to a file of the format its suffix names.

    Use it to hand vectors to other tools: ``.npy``, ``.npz``, ``.safetensors``, ``.fvecs .bvecs .ivecs``, ``.fbin
    .f16bin .u8bin .i8bin .ibin``, ``.hdf5`` (extra ``hdf5``), word2vec as text (``.vec``, ``.txt``) or binary
    (``.bin``), ``.csv``, ``.jsonl``, ``.parquet`` and ``.arrow`` (extra ``arrow``). ``ids`` are those of the source
    where it has some; word2vec needs them, the formats that are numbers alone refuse them: ``ids=False`` leaves them
    out. ``texts`` and ``meta`` (a dict a row) fit into jsonl, Parquet and Arrow. ``key`` names the array of an .npz,
    tensor or dataset (``vectors``; HDF5: ``train``), ``column`` the field of jsonl, Parquet and Arrow (``vector``).
    Returns the number of rows.

    Types are kept exactly: a format that cannot hold the type of ``x`` raises ``BadInput`` naming those it can. CSV and
    JSON lines hold decimals without a type, read as float64: converted to the type they had they are the same values.

    >>> import tempfile
    >>> name = tempfile.mkdtemp() + "/x.fvecs"
    >>> write_vectors(name, np.eye(3, dtype=np.float32))
    3
    >>> io.read_vectors(name).array().tolist()[1]
    [0.0, 1.0, 0.0]
    """
    name = io_base.named(path)
    suffix = io_text.suffix_of(str(path))
    if (suffix not in WRITERS and suffix not in _ROWS) or str(path).lower().endswith(".gz"):
        known = " ".join(sorted({*WRITERS, *_ROWS}))
        raise BadInput(f"{name}: expected one of {known}, got {suffix or 'no suffix'!r}; choose another name")
    batch = as_batch(x)
    found = getattr(x, "ids", None) if ids is None else ids
    names = None if found is None or found is False else found
    _check(str(path), suffix, batch, names, texts, meta, key, column)
    job = Job(str(path), suffix, batch, names, key)
    if suffix in _ROWS:
        source = Blocks(job, texts, meta, column or "vector")
        exchange.write_rows(path, source)
        return job.rows
    with AtomicFile(path) as made:
        with made.writing():
            WRITERS[suffix](made.file, job)
        made.publish()
    return job.rows


def _check(
    path: str, suffix: str, batch: Batch, ids: Any, texts: Any, meta: Any, key: str | None, column: str | None
) -> None:
    """Refuse what the format cannot hold, before anything is written."""
    name = io_base.named(path)
    dtype = io_base.check_dtype(path, batch.dtype)
    rows, width = batch.shape
    io_base.check_form(path, rows, width, "the array")
    if dtype.name not in HOLDS.get(suffix, io_base.DTYPES):
        can = ", ".join(sorted(HOLDS[suffix]))
        raise BadInput(f"{name}: {suffix} holds {can}, got {dtype}; convert with x.astype(...), or choose another")
    if ids is not None and suffix not in _WITH_IDS:
        raise BadInput(f"{name}: {suffix} holds no ids; write .parquet, .arrow, .jsonl or .csv, or pass ids=False")
    for what, given in (("ids", ids), ("texts", texts), ("meta", meta)):
        if given is not None and len(given) != rows:
            raise BadInput(f"{name}: expected one of {what} for each of {rows} rows, got {len(given)}")
        if given is not None and what != "ids" and suffix not in _ROWS:
            raise BadInput(f"{name}: {suffix} holds no {what}; write .parquet, .arrow or .jsonl, or leave them out")
    if key is not None and suffix not in (".npz", ".safetensors", *io.HDF5):
        raise BadInput(f"{name}: key={key!r} names an array in .npz, .safetensors or HDF5, got {suffix}; leave it out")
    if column is not None and suffix not in _ROWS:
        raise BadInput(f"{name}: column={column!r} names a field of .jsonl, .parquet or .arrow; leave it out")


@dataclass
class Blocks:
    """Vectors with what belongs to them, as batches of rows."""

    job: Job
    texts: Sequence[str | None] | None
    meta: Sequence[dict[str, Any]] | None
    column: str

    def __iter__(self) -> Iterator[RowBatch]:
        at = 0
        for block in self.job.blocks():
            part = slice(at, at + len(block))
            at += len(block)
            ids, texts, meta = (_cut(values, part) for values in (self.job.ids, self.texts, self.meta))
            yield RowBatch(ids, texts, meta, {self.column: block})


def _cut(values: Any, part: slice) -> Any:
    return None if values is None else list(values[part])
