"""The NumPy twin of every native function: the definition of what the kernels compute.

Integer and table layouts agree with the native kernels bit for bit, float layouts within 1e-5.
Nothing here is fast; it runs where the extension cannot, and the tests hold the kernels to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nearfield.core.protocols import BLOCK, F32, I64, TABLE_LAYOUTS, U8, Constant, Folded, Layout, RowFormat

_TINY = np.float32(np.finfo(np.float32).tiny)
_ENTRY = 32767.0  # the largest entry of a table
_EVEN = 16384.0  # likewise where tables hold whole numbers of 0 to 4: their entries have no lower bits, and stay whole
_CHUNK = 4096  # rows opened at once


def pack(codes: U8, width: int) -> U8:
    """Interleave rows of bytes in blocks of 32: ``[n, width]`` to ``[ceil(n / 32), width, 32]``."""
    n = codes.shape[0]
    blocks = -(-n // BLOCK)
    padded = codes
    if n != blocks * BLOCK:
        padded = np.zeros((blocks * BLOCK, width), np.uint8)
        padded[:n] = codes
    return np.ascontiguousarray(padded.reshape(blocks, BLOCK, width).transpose(0, 2, 1))


def unpack(blocks: U8, n: int) -> U8:
    """Undo :func:`pack`: ``[ceil(n / 32), width, 32]`` to ``[n, width]``."""
    width = blocks.shape[1]
    return np.ascontiguousarray(blocks.transpose(0, 2, 1).reshape(-1, width)[:n])


def widen(codes: U8, element: str, dim: int) -> F32:
    """Read ``dim`` floats of an element type from the front of each row of bytes."""
    bytes_each = {"f32": 4, "f16": 2, "bf16": 2, "e4m3": 1, "e5m2": 1}[element]
    raw = np.ascontiguousarray(codes[:, : dim * bytes_each])
    if element == "f32":
        return raw.view("<f4").astype(np.float32, copy=False).reshape(len(codes), dim)
    if element == "f16":
        return raw.view("<f2").astype(np.float32).reshape(len(codes), dim)
    if element == "bf16":
        return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(len(codes), dim)
    if element == "e5m2":
        return (raw.astype(np.uint16) << 8).view(np.float16).astype(np.float32)
    wide = raw.astype(np.uint16)
    bits = ((wide & 0x80) << 8) | ((wide & 0x7F) << 7)
    bits[(wide & 0x7F) == 0x7F] = 0x7E00
    return np.asarray(bits.view(np.float16).astype(np.float32) * np.float32(256.0))


def coefficients(fmt: RowFormat, codes: U8) -> NDArray[np.int64]:
    """Read the integers of rows in an affine layout, ``[n, dim]``."""
    if fmt.layout == Layout.AFFINE8:
        raw = codes[:, : fmt.dim]
        return (raw.view(np.int8) if fmt.element == "i8" else raw).astype(np.int64)
    raw = codes[:, : (fmt.dim + 1) // 2]
    nibbles = np.stack([raw & 15, raw >> 4], axis=2).reshape(len(codes), 2 * raw.shape[1])[:, : fmt.dim]
    return np.asarray(np.array(levels(fmt), np.int64)[nibbles])


def levels(fmt: RowFormat) -> tuple[int, ...]:
    """Return the 16 values of a nibble."""
    return tuple(range(16)) if fmt.levels is None else fmt.levels


def weight_limit(fmt: RowFormat) -> int:
    """Return the largest integer weight for which no sum over a row leaves 32 bits."""
    most = 128 if fmt.element == "i8" else 255
    if fmt.layout == Layout.AFFINE4:
        most = max(1, *(abs(v) for v in levels(fmt)))
    largest = 32639 if fmt.layout == Layout.AFFINE4 else 32767  # two signed bytes hold the first
    return min(largest, max(1, (2**31 - 1) // (most * max(fmt.dim, 1))))


def quantise(weights: F32, limit: int) -> tuple[NDArray[np.int64], F32]:
    """Turn each query's weights into integers of at most ``limit``, and the step of each query."""
    most = np.abs(weights).max(axis=1, initial=0.0)
    step = most / np.float32(limit)
    whole = np.zeros(weights.shape, np.int64)
    live = step >= _TINY
    whole[live] = _within(np.rint(weights[live] / step[live, None]), -32768, 32767)
    return whole, step


def quantise_tables(tables: Sequence[F32]) -> tuple[list[NDArray[np.int64]], np.float32, np.float32]:
    """Turn one query's nibble and byte tables into 15-bit entries; return entries, step and bias.

    Values that lie farther apart than float32 can tell leave no entries: all are 0, and the step is infinite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return _quantise_tables(tables)


def _quantise_tables(tables: Sequence[F32]) -> tuple[list[NDArray[np.int64]], np.float32, np.float32]:
    lows = [t.min(axis=1) for t in tables if t.size]
    widest = max((float((t.max(axis=1) - lo).max()) for t, lo in zip((t for t in tables if t.size), lows)), default=0.0)
    bias = np.float32(0.0)
    if lows:
        bias = np.float32(np.cumsum(np.concatenate(lows), dtype=np.float64)[-1])
    step = np.float32(widest) / np.float32(_EVEN)
    entries = _entries(tables, step)
    if tables[1].size or any(np.any(e & 255) for e in entries):
        step = np.float32(widest) / np.float32(_ENTRY)
        entries = _entries(tables, step)
    return entries, step, bias


def _entries(tables: Sequence[F32], step: np.float32) -> list[NDArray[np.int64]]:
    if step < _TINY:
        return [np.zeros(t.shape, np.int64) for t in tables]
    return [_within(np.rint((t - t.min(axis=1, initial=np.inf)[:, None]) / step), 0, _ENTRY) for t in tables]


def _within(x: F32, low: float, high: float) -> NDArray[np.int64]:
    """Whole numbers within bounds, the lower one for what is none: what lies as far apart as no float32 tells."""
    above = np.where(x > low, x, np.float32(low))
    return np.where(above < high, above, np.float32(high)).astype(np.int64)


def constant(c: Constant | None, codes: U8) -> F32 | None:
    """Read a per-row constant, ``[n]``."""
    if c is None:
        return None
    if c.kind == "u8":
        return np.asarray(np.float32(c.low) + np.float32(c.step) * codes[:, c.offset].astype(np.float32))
    size, kind = (2, "<f2") if c.kind == "f16" else (4, "<f4")
    raw = np.ascontiguousarray(codes[:, c.offset : c.offset + size])
    return np.asarray(raw.view(kind)[:, 0].astype(np.float32))


def _table_values(fmt: RowFormat, codes: U8, folded: Folded, i: int) -> F32:
    n4, n8 = fmt.nibble_columns, fmt.byte_columns
    tables = [np.empty((0, 16), np.float32), np.empty((0, 256), np.float32)]
    if n4 and folded.nibble_tables is not None:
        tables[0] = folded.nibble_tables[i]
    if n8 and folded.byte_tables is not None:
        tables[1] = folded.byte_tables[i]
    (nibbles, whole), step, bias = quantise_tables(tables)
    acc = np.zeros(len(codes), np.int64)
    for p in range(n4):
        acc += nibbles[2 * p][codes[:, p] & 15] + nibbles[2 * p + 1][codes[:, p] >> 4]
    for p in range(n8):
        acc += whole[p][codes[:, n4 + p]]
    return np.asarray(acc.astype(np.float32) * step + bias)


def _values(fmt: RowFormat, codes: U8, folded: Folded, m: int) -> F32:
    if fmt.layout in TABLE_LAYOUTS:
        return np.array([_table_values(fmt, codes, folded, i) for i in range(m)], np.float32).reshape(m, len(codes))
    assert folded.weights is not None
    if fmt.layout in (Layout.F32, Layout.F16):
        return np.asarray(folded.weights @ widen(codes, fmt.element, fmt.dim).T)
    whole, step = quantise(folded.weights, weight_limit(fmt))
    # float64 is exact here: every sum stays below 2^31
    sums = whole.astype(np.float64) @ coefficients(fmt, codes).T.astype(np.float64)
    return np.asarray(sums.astype(np.int64).astype(np.float32) * step[:, None])


def _of_queries(v: F32 | None, m: int) -> F32:
    return np.zeros((m, 1), np.float32) if v is None else v.reshape(m, 1)


def score_rows(
    fmt: RowFormat, codes: U8, folded: Folded, metric: str, rows: I64 | None, terms: F32 | None, m: int
) -> F32:
    """Score row-major codes: ``scores[i, r]`` of query ``i`` and row ``rows[r]``."""
    if rows is not None:
        codes = codes[rows]
        terms = None if terms is None else terms[rows]
    scores = _values(fmt, codes, folded, m)
    with np.errstate(over="ignore", invalid="ignore"):
        scores = scores + _of_queries(folded.inside, m)
        scale, shift = constant(fmt.scale, codes), constant(fmt.shift, codes)
        if scale is not None:
            scores = scale * scores
        if shift is not None:
            scores = scores + shift * _of_queries(folded.slope, m)
        scores = scores + _of_queries(folded.outside, m)
        if metric == "l2":
            assert terms is not None
            scores = (np.float32(2.0) * scores - terms) - _of_queries(folded.squares, m)
        elif metric == "cosine" and terms is not None:
            scores = scores * terms
    return np.asarray(scores, np.float32)


def scan(
    fmt: RowFormat,
    codes: U8,
    folded: Folded,
    metric: str,
    k: int,
    n: int,
    terms: F32 | None,
    allow: NDArray[np.bool_] | None,
    m: int,
) -> tuple[I64, F32]:
    """Return the best ``k`` rows of each query; blocks for table layouts, row-major codes otherwise."""
    rows = unpack(codes, n) if fmt.layout in TABLE_LAYOUTS else codes
    ids, scores = topk(np.empty((m, 0), np.float32), k)
    for start in range(0, n, _CHUNK):
        stop = min(start + _CHUNK, n)
        part = None if terms is None else terms[start:stop]
        got = score_rows(fmt, rows[start:stop], folded, metric, None, part, m)
        if allow is not None:
            got = np.where(allow[start:stop], got, np.float32(np.nan))
        found, best = topk(got, k)
        found[found >= 0] += start
        ids, scores = merge([(ids, scores), (found, best)], k)
    return ids, scores


def topk(scores: F32, k: int) -> tuple[I64, F32]:
    """Return the positions and values of the ``k`` largest scores of each row; NaN never counts."""
    m, n = scores.shape
    return _best(np.broadcast_to(np.arange(n, dtype=np.int64), (m, n)), scores, k)


def merge(parts: Sequence[tuple[I64, F32]], k: int) -> tuple[I64, F32]:
    """Merge several lists of best rows; equal scores by the smaller row number, -1 is no row."""
    ids = np.concatenate([ids for ids, _ in parts], axis=1)
    scores = np.concatenate([scores for _, scores in parts], axis=1)
    return _best(ids, scores, k)


def _best(ids: I64, scores: F32, k: int) -> tuple[I64, F32]:
    m = scores.shape[0]
    out = np.full((m, k), -1, np.int64), np.full((m, k), -np.inf, np.float32)
    for i in range(m):
        there = np.flatnonzero((ids[i] >= 0) & ~np.isnan(scores[i]))
        order = there[np.lexsort((ids[i][there], -scores[i][there]))[:k]]
        out[0][i, : len(order)] = ids[i][order]
        out[1][i, : len(order)] = scores[i][order] + np.float32(0.0)
    return out


def assign(x: F32, centroids: F32) -> tuple[NDArray[np.int32], F32]:
    """Return the nearest centroid of each row and the squared distance to it; ties to the lowest."""
    ids = np.empty(len(x), np.int32)
    half = np.float32(0.5) * np.einsum("cd,cd->c", centroids, centroids, dtype=np.float64).astype(np.float32)
    for start in range(0, len(x), _CHUNK):
        ids[start : start + _CHUNK] = np.argmax(x[start : start + _CHUNK] @ centroids.T - half, axis=1)
    rest = x - centroids[ids]
    return ids, np.einsum("nd,nd->n", rest, rest)


def plus_plus(x: F32, first: int, draws: NDArray[np.float64]) -> I64:
    """Return the rows that k-means++ draws by these numbers in [0, 1), until no row differs from them all."""
    ids = [first]
    best = np.full(len(x), np.inf)
    for draw in draws:
        gap = x - x[ids[-1]]
        best = np.minimum(best, np.einsum("nd,nd->n", gap, gap))
        total = np.cumsum(best)
        if not total[-1] > 0:
            break
        ids.append(min(int(np.searchsorted(total, draw * total[-1], side="right")), len(x) - 1))
    return np.array(ids, np.int64)


def part_tables(q: F32, codebooks: F32) -> F32:
    """Dot products of each part of each query with that part's centroids, ``[m, parts, c]``."""
    parts, _, sub = codebooks.shape
    split = q.reshape(len(q), parts, sub).transpose(1, 0, 2)
    return np.ascontiguousarray((split @ codebooks.transpose(0, 2, 1)).transpose(1, 0, 2))


def hamming(q: U8, codes: U8) -> NDArray[np.int32]:
    """Count the bits that differ, ``[m, n]``."""
    out = np.empty((len(q), len(codes)), np.int32)
    for i in range(len(q)):
        out[i] = popcount(codes ^ q[i]).sum(axis=1)
    return out


_BITS = np.array([bin(v).count("1") for v in range(256)], np.int32)


def popcount(x: U8) -> NDArray[np.int32]:
    """Count the ones of each byte."""
    return np.asarray(_BITS[x])


def dots(q: F32, x: F32) -> F32:
    """Dot products of every query with every row, ``[m, n]``."""
    return np.asarray(q @ x.T)


def group_sums(x: F32, labels: NDArray[np.int32], k: int) -> NDArray[np.float64]:
    """Return the sums ``[k, d]`` of the rows that bear each label, in float64."""
    out = np.zeros((k, x.shape[1]))
    order = np.argsort(labels, kind="stable")
    for start in range(0, len(order), _CHUNK):  # a block of sorted rows: a copy of all would double the memory
        rows = order[start : start + _CHUNK]
        used, firsts = np.unique(labels[rows], return_index=True)
        out[used] += np.add.reduceat(x[rows], firsts, axis=0, dtype=np.float64)
    return out


def spans(x: F32, mean: F32) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the least and the greatest value of each row about the mean."""
    rest = x.astype(np.float64) - mean
    return rest.min(axis=1, initial=np.inf), rest.max(axis=1, initial=-np.inf)


def even_steps(
    x: F32,
    mean: F32,
    firsts: NDArray[np.float64],
    lasts: NDArray[np.float64],
    bits: int,
    cell_bits: int,
) -> tuple[NDArray[np.uint8] | NDArray[np.uint16], NDArray[np.float64]]:
    """Return rows about the mean as numbers of even steps, and the sums that ``coding.even_steps`` names."""
    wide = mean.astype(np.float64)
    step = np.where(firsts[:, 1] > 0, firsts[:, 1], 1)[:, None]
    steps = (x.astype(np.float64) - wide - firsts[:, :1]) / step
    numbers = np.clip(np.rint(steps), 0, (1 << bits) - 1)
    if cell_bits:
        cells = 1 << cell_bits
        numbers = numbers * cells + np.clip(np.floor((steps - numbers + 0.5) * cells), 0, cells - 1)
    level = lasts[:, :1] + lasts[:, 1:] * numbers
    own = np.einsum("ij,ij->i", x, x, dtype=np.float64)
    sums = np.stack([np.einsum("ij,ij->i", level, level), np.einsum("ij,j->i", level, wide), own], axis=1)
    return (numbers.astype(np.uint8) if bits + cell_bits <= 8 else numbers.astype(np.uint16)), sums


def weighted_sums(weights: F32, rows: F32) -> F32:
    """Return sums of rows times weights."""
    return np.asarray(weights @ rows)


def level_codes(
    columns: F32,
    sums: F32,
    codes: NDArray[np.uint16],
    starts: I64,
    pieces: NDArray[np.int32],
    inside: NDArray[np.float64],
    width: int,
) -> tuple[U8, NDArray[np.float64]]:
    """Return the codes of the nearest sums of each column, and the measures that ``coding.level_codes`` names."""
    found, decoded = np.empty(columns.shape, np.uint16), np.empty_like(columns)
    for j, column in enumerate(columns):
        own = slice(int(starts[j]), int(starts[j + 1]))
        at = np.searchsorted((sums[own][1:] + sums[own][:-1]) / 2, column)
        found[j], decoded[j] = codes[own][at], sums[own][at]
    out = np.zeros((columns.shape[1], width), np.uint8)
    for j, byte, shift, _, _ in pieces.tolist():
        out[:, byte] |= ((found[j] & 15) << shift).astype(np.uint8)
        found[j] >>= 4
    whole = decoded + inside[:, None]
    products = np.einsum("ji,ji->i", columns + inside[:, None], whole)
    return out, np.stack([np.einsum("ji,ji->i", whole, whole), products])


def level_values(codes: U8, pieces: NDArray[np.int32], levels: F32, columns: int) -> F32:
    """Return the sums of the levels that the pieces of codes name."""
    out = np.zeros((len(codes), columns), np.float32)
    for j, byte, shift, bits, first in pieces.tolist():
        out[:, j] += levels[first + ((codes[:, byte] >> shift) & ((1 << bits) - 1))]
    return out
