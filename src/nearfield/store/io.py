"""Readers of vectors, texts and judgements: one function for each, the format told by the suffix.

Vectors are streamed: what ``read_vectors`` returns is a ``Batch`` of the file's own number type. Files
are not trusted: sizes are checked against the bytes there before anything is allocated, pickles and
links to other files are refused, and whatever is wrong is one ``BadInput`` or ``Corrupt`` line.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.store import io_base as base
from nearfield.store import io_csv, io_npy, io_records, io_safetensors, io_table, io_text, io_word_bin, io_words
from nearfield.store.atomic import AtomicFile
from nearfield.store.io_base import MAX_RATIO, PathLike, Source
from nearfield.store.io_text import Labels, Pairs, Texts

__all__ = [
    "Labels", "Pairs", "PathLike", "Source", "Texts", "is_text", "read_labels", "read_pairs", "read_qrels",
    "read_texts", "read_vectors", "write_npy",
]  # fmt: skip

PARQUET = (".parquet", ".pq")
IPC = (".arrow", ".feather")
HDF5 = (".hdf5", ".h5")
CSV = (".csv", ".tsv")
WORDS = (".vec", ".txt", ".glove")
SUFFIXES = (
    ".npy", ".npz", ".safetensors", *PARQUET, *IPC, *io_records.VECS, *io_records.BINS, *HDF5, *CSV, *WORDS, ".bin",
)  # fmt: skip
TEXT = (*WORDS, *CSV)
KEYED = (".npz", ".safetensors", *HDF5)  # a file of several arrays, one of which is chosen by its key
_HINTS = {
    ".jsonl": "JSON lines hold rows: read_rows reads them whole, read_texts their texts",
    ".ndjson": "JSON lines hold rows: read_rows reads them whole, read_texts their texts",
    ".pkl": "pickles are never loaded; save with numpy.save", ".pickle": "pickles are never loaded; save "
    "with numpy.save",
    ".pt": "pickles are never loaded; save with numpy.save(path, tensor.numpy())",
}  # fmt: skip


def read_vectors(
    path: PathLike,
    *,
    key: str | None = None,
    column: str | None = None,
    limit: int | None = None,
    max_ratio: float = MAX_RATIO,
) -> Source:
    """Open a file of vectors as rows that are read a block at a time.

    Use it for anything too large for memory, or in a format of other tools: ``.npy``, ``.npz``, ``.safetensors``,
    Parquet and Arrow IPC (extra ``arrow``), fvecs, bvecs, ivecs, the bin files of big-ann-benchmarks (fbin, f16bin,
    u8bin, i8bin, ibin), HDF5 of ann-benchmarks (extra ``hdf5``), numbers in CSV and TSV and in .txt as
    ``numpy.savetxt`` writes them (also .gz), word2vec, GloVe and fastText text (.vec, .txt, also .gz) and word2vec
    binary (.bin), the words being ``ids``, and a folder of Parquet or Arrow parts.

    ``key`` names an array of an .npz, a tensor of a .safetensors or a dataset of an HDF5 file (default ``train``),
    ``column`` a Parquet or Arrow column, ``limit`` keeps the first rows only, ``max_ratio`` is how many times its
    packed size an array over 256 MiB may unpack to. Values are not looked at: NaN is found when rows are used.

    Raises ``BadInput`` for what is no table of vectors, ``Corrupt`` for damaged files, ``MissingExtra``.

    >>> import numpy as np, tempfile, os
    >>> name = os.path.join(tempfile.mkdtemp(), "x.npy")
    >>> np.save(name, np.arange(6, dtype=np.int8).reshape(3, 2))
    >>> rows = read_vectors(name)
    >>> rows.shape, rows.dtype, rows.take(np.array([2, 0])).tolist()
    ((3, 2), dtype('int8'), [[4, 5], [0, 1]])
    """
    most = base.check_limit(limit)
    if isinstance(path, (str, os.PathLike)) and os.path.isdir(path):
        return _read_parts(os.fspath(path), key, column, most, max_ratio)
    name = base.check_path(path)
    suffix = io_text.suffix_of(name)
    packed = name.lower().endswith(".gz")
    if suffix not in SUFFIXES or (packed and suffix not in TEXT):
        shown = f"{suffix}.gz" if packed else suffix or "no suffix"
        hint = (
            "unpack it first (gunzip)" if packed and suffix in SUFFIXES else _HINTS.get(suffix, "convert or rename it")
        )
        raise base.bad(name, f"expected one of {' '.join(SUFFIXES)} (text also .gz), got {shown!r}; {hint}")
    _check_options(name, suffix, key, column)
    return _opener(name, suffix, key, column, most, max_ratio)()


def _read_parts(folder: str, key: str | None, column: str | None, limit: int | None, max_ratio: float) -> Source:
    from nearfield.store import io_parts

    names = io_parts.parts_in(folder)
    if not names:
        base.check_path(folder)  # says what is there
    io_parts.check_columns(folder, names)
    parts = [
        read_vectors(name, key=key, column=column, max_ratio=max_ratio) for name in names if not io_parts.is_empty(name)
    ]
    if not parts:
        raise base.bad(folder, "expected at least one row in its parts, got none")
    return io_parts.PartRows(folder, parts, limit)


def inside(path: PathLike, name: str | None) -> dict[str, Any]:
    """The option of ``read_vectors`` that chooses ``name`` in a file or folder: a column, or an array by its key."""
    column = os.path.isdir(path) or io_text.suffix_of(os.fspath(path)) in (*PARQUET, *IPC)
    return {"column" if column else "key": name}


def _check_options(name: str, suffix: str, key: str | None, column: str | None) -> None:
    """An option that a format has no use for is a mistake, not something to pass over."""
    if key is not None and suffix not in KEYED:
        instead = "name its column with column=..." if suffix in (*PARQUET, *IPC) else "leave it out"
        raise base.bad(
            name, f"key={key!r} names an array in .npz, .safetensors or HDF5, got a {suffix} file; {instead}"
        )
    if column is not None and suffix not in (*PARQUET, *IPC):
        raise base.bad(name, f"column={column!r} names a Parquet or Arrow column, got a {suffix} file; leave it out")


def _opener(
    name: str, suffix: str, key: str | None, column: str | None, limit: int | None, max_ratio: float
) -> Callable[[], Source]:
    if suffix == ".npy":
        return lambda: io_npy.read_npy(name, limit)
    if suffix == ".npz":
        return lambda: io_npy.read_npz(name, key, limit, max_ratio)
    if suffix == ".safetensors":
        return lambda: io_safetensors.read_safetensors(name, key, limit)
    if suffix in CSV or (suffix in WORDS and io_table.is_plain(name, max_ratio)):
        return lambda: io_csv.read_csv(name, limit, max_ratio)
    if suffix in io_records.VECS:
        return lambda: io_records.read_vecs(name, suffix, limit)
    if suffix in io_records.BINS:
        return lambda: io_records.read_bin(name, suffix, limit)
    if suffix == ".bin":
        return lambda: io_word_bin.read_word_bin(name, limit)
    if suffix in WORDS:
        return lambda: io_words.read_word_text(name, limit, max_ratio)
    if suffix in PARQUET:
        from nearfield.store import io_arrow

        return lambda: io_arrow.read_parquet(name, column, limit, max_ratio)
    if suffix in IPC:
        from nearfield.store import io_ipc

        return lambda: io_ipc.read_ipc(name, column, limit, max_ratio)
    from nearfield.store import io_hdf5

    return lambda: io_hdf5.read_hdf5(name, key, limit, max_ratio)


def read_texts(
    path: PathLike, *, field: str | None = None, limit: int | None = None, max_ratio: float = MAX_RATIO
) -> Texts:
    """Read texts from JSON lines (``{"_id" or "id", "title", "text"}``, ``{"text"}`` or a bare string) or .txt.

    Use it for a corpus or queries in the BEIR layout, or for a text on each line; ``.gz`` too. A title is
    put before its text; ``field`` names another key than ``text`` and then takes that alone. Texts are
    held in memory. Lines of .txt are kept even where blank, so that line and row number agree.

    Raises ``BadInput`` with the line number: no JSON, no text, an id twice or on some lines only.

    >>> import tempfile, os
    >>> name = os.path.join(tempfile.mkdtemp(), "x.jsonl")
    >>> with open(name, "w") as f: _ = f.write('{"_id": "a", "title": "T", "text": "one"}')
    >>> read_texts(name).texts
    ['T one']
    """
    return io_text.texts_of(base.check_path(path), field, base.check_limit(limit), max_ratio)


def read_qrels(path: PathLike, *, max_ratio: float = MAX_RATIO) -> dict[str, dict[str, int]]:
    """Read relevance judgements as ``{query: {document: grade}}``: BEIR's tsv with a header, or TREC's 4 columns.

    Raises ``BadInput`` with the line number for other columns, grades that are no integers, contradictions.
    """
    return io_text.qrels_of(base.check_path(path), max_ratio)


def read_pairs(path: PathLike, *, max_ratio: float = MAX_RATIO) -> Pairs:
    """Read scored pairs (STS): sentence1, sentence2, score, or row numbers i, j, score, in jsonl, csv or tsv.

    Tables without a header have three columns, the score last. Raises ``BadInput`` with the line number.
    """
    return io_text.pairs_of(base.check_path(path), max_ratio)


def read_labels(
    path: PathLike, *, key: str | None = None, limit: int | None = None, max_ratio: float = MAX_RATIO
) -> Labels:
    """Read a label a row: .npy (numbers or strings), .txt, .csv, .tsv or .jsonl; ``key`` names the column or key.

    Raises ``BadInput`` with the line number for blank labels, missing keys and other types.
    """
    return io_text.labels_of(base.check_path(path), key, base.check_limit(limit), max_ratio)


def is_text(path: PathLike) -> bool:
    """Say by its name whether a file holds texts (.jsonl, .json, .txt; .gz too) rather than vectors.

    >>> is_text("corpus.jsonl.gz"), is_text("corpus.npy"), is_text("glove.6B.300d.txt")
    (True, False, False)
    """
    name = os.path.basename(os.fspath(path)).lower().removesuffix(".gz")
    if name.endswith((".jsonl", ".ndjson", ".json")):
        return True
    # Word vectors come as .txt too: a file whose first line ends in numbers holds those.
    return name.endswith(".txt") and not _starts_with_numbers(path)


def _starts_with_numbers(path: PathLike) -> bool:
    name = os.path.basename(os.fspath(path)).lower()
    if "glove" in name or "word2vec" in name:
        return True
    try:
        opener = gzip.open if name.endswith(".gz") else open
        with opener(path, "rb") as file:
            line = file.readline(1 << 16)
            while line.startswith(b"# "):  # as NumPy begins the text of an array
                line = file.readline(1 << 16)
    except (OSError, EOFError, zlib.error):
        return False
    parts = line.replace(b",", b" ").split()
    numbers = [io_words.is_number(p) for p in parts]
    array = len(parts) > 1 and all(numbers) and not all(p.isdigit() for p in parts)
    return array or (len(parts) > 8 and all(numbers[1:9]))


def write_npy(path: PathLike, vectors: NDArray[Any]) -> None:
    """Write an array as .npy, whole or not at all."""
    with AtomicFile(path) as made:
        with made.writing():
            np.save(made.file, vectors, allow_pickle=False)
        made.publish()
