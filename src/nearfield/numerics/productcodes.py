"""What product and residual quantizers share: parts of rows, and indices of 4 or 8 bits packed for kernels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from nearfield.core.protocols import F32, U8, Constant, Folded, Layout, RowFormat
from nearfield.numerics import kernels, kmeans
from nearfield.numerics.scalars import filled

SAMPLE_ROWS, SAMPLE_PER_CENTROID = 16_384, 128


@dataclass(frozen=True)
class Indices:
    """``parts`` indices a row, of 4 bits (two a byte, an odd last one beside zero) or 8 bits."""

    parts: int
    bits: int

    @property
    def columns(self) -> int:
        """Bytes of a row's indices."""
        return self.parts if self.bits == 8 else -(-self.parts // 2)

    def pack(self, indices: U8) -> U8:
        """Indices ``[n, parts]`` as bytes ``[n, columns]``."""
        if self.bits == 8:
            return indices
        even = np.zeros((len(indices), 2 * self.columns), np.uint8)
        even[:, : self.parts] = indices
        return np.asarray(even[:, ::2] | even[:, 1::2] << 4, dtype=np.uint8)

    def unpack(self, codes: U8) -> U8:
        """Bytes ``[n, columns]`` as indices ``[n, parts]``."""
        if self.bits == 8:
            return np.asarray(codes)
        out = np.empty((len(codes), self.columns, 2), np.uint8)
        out[:, :, 0] = codes & 15
        out[:, :, 1] = codes >> 4
        return out.reshape(len(codes), -1)[:, : self.parts]

    def row_format(self, dim: int, scale: Constant | None) -> RowFormat:
        """How table kernels read such a row, with a one-byte gain behind it where there is one."""
        width = self.columns + (scale is not None)
        if self.bits == 8:
            return RowFormat(Layout.LUT8, width, dim, byte_columns=self.columns, scale=scale)
        return RowFormat(Layout.LUT4, width, dim, nibble_columns=self.columns, scale=scale)

    def folded(self, tables: F32) -> Folded:
        """Tables ``[m, parts, 2 ** bits]`` as kernels take them."""
        if self.bits == 8:
            return Folded(byte_tables=np.ascontiguousarray(tables))
        if self.parts % 2:
            tables = np.concatenate([tables, np.zeros((len(tables), 1, 16), np.float32)], axis=1)
        return Folded(nibble_tables=tables)


def part_width(d: int, parts: int) -> int:
    """Dimensions of a part: the last part is filled up with zeros."""
    return -(-d // parts)


def split(x: F32, parts: int) -> F32:
    """Rows ``[n, d]`` as parts ``[parts, n, width]``, zeros behind."""
    n, d = x.shape
    width = part_width(d, parts)
    return np.ascontiguousarray(filled(x, parts * width).reshape(n, parts, width).transpose(1, 0, 2))


def join(split_rows: F32, d: int) -> F32:
    """The inverse of ``split``."""
    parts, n, width = split_rows.shape
    return np.ascontiguousarray(split_rows.transpose(1, 0, 2).reshape(n, parts * width)[:, :d])


def rows_wanted(centroids: int) -> int:
    """How many rows training a codebook takes profit from."""
    return max(SAMPLE_ROWS, SAMPLE_PER_CENTROID * centroids)


def sample(x: F32, centroids: int, rng: np.random.Generator) -> F32:
    """At most so many rows as training a codebook takes profit from."""
    most = rows_wanted(centroids)
    if len(x) <= most:
        return x
    return x[np.sort(rng.choice(len(x), most, replace=False))]


def fit_codebooks(parts: F32, size: int, rng: np.random.Generator, *, rounds: int = 20) -> F32:
    """One codebook ``[size, width]`` for each part ``[n, width]``: ``[parts, size, width]``; parts side by side."""
    with ThreadPoolExecutor(kernels.thread_count()) as pool:
        made = pool.map(
            lambda p, own: kmeans.kmeans(p, size, rng=own, rounds=rounds, threads=1), parts, rng.spawn(len(parts))
        )
        return np.stack(list(made))


def assign(parts: F32, codebooks: F32) -> U8:
    """The nearest centroid of each part: ``[n, parts]``."""
    return np.stack([kmeans.nearest(p, c) for p, c in zip(parts, codebooks)], axis=1).astype(np.uint8)


def centroids_of(indices: U8, codebooks: F32) -> F32:
    """The centroids that indices ``[n, parts]`` name: ``[parts, n, width]``."""
    return np.stack([c[i] for c, i in zip(codebooks, indices.T)])


def tables(q: F32, codebooks: F32) -> F32:
    """The dot product of each part of each query with each centroid: ``[m, parts, size]``."""
    parts, _, width = codebooks.shape
    return kernels.part_tables(filled(q, parts * width), codebooks)


def refine(parts: F32, codebooks: F32, *, rounds: int) -> F32:
    """Improve codebooks by Lloyd's rounds over their parts ``[parts, n, width]``."""
    return np.stack([kmeans.lloyd(p, c, rounds=rounds) for p, c in zip(parts, codebooks)])
