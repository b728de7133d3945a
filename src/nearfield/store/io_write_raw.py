"""Writers of numbers alone: npy, npz, safetensors, the benchmark formats, HDF5; a block at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import BadInput
from nearfield.core.optional import require
from nearfield.core.protocols import Batch
from nearfield.store import io_base, io_safetensors


@dataclass
class Job:
    """What is to be written: rows of one width, perhaps their ids, and the name of the array where a format has one."""

    path: str
    suffix: str
    batch: Batch
    ids: Sequence[Any] | None = None
    key: str | None = None

    @property
    def rows(self) -> int:
        return int(self.batch.shape[0])

    @property
    def width(self) -> int:
        return int(self.batch.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The number type in little-endian order, as all these formats have it."""
        return self.batch.dtype.newbyteorder("<")

    def blocks(self) -> Iterator[NDArray[Any]]:
        """The rows in C order, ``BadInput`` where the source does not give what it promised."""
        step = max(1, io_base.BLOCK_BYTES // (self.width * self.dtype.itemsize))
        seen = 0
        for block in self.batch.blocks(step):
            if block.ndim != 2 or block.shape[1] != self.width or seen + len(block) > self.rows:
                raise self._broken(f"a block of shape {block.shape} after {seen} rows")
            if block.dtype.newbyteorder("<") != self.dtype:
                raise self._broken(f"a block of {block.dtype}")
            seen += len(block)
            yield np.ascontiguousarray(block, dtype=self.dtype)
        if seen != self.rows:
            raise self._broken(f"{seen} rows")

    def _broken(self, got: str) -> BadInput:
        form = f"{self.rows} rows of {self.width} {self.batch.dtype.name} values"
        return BadInput(f"{self.path!r}: expected the {form} that the source promised, got {got}; nothing was written")


def write_npy(file: IO[bytes], job: Job) -> None:
    """Write .npy version 1, in C order."""
    head = {"descr": np.lib.format.dtype_to_descr(job.dtype), "fortran_order": False, "shape": (job.rows, job.width)}
    np.lib.format.write_array_header_1_0(file, head)
    for block in job.blocks():
        file.write(block.data)


def write_npz(file: BinaryIO, job: Job) -> None:
    """Write .npz with one array, stored plain, so that rows can be read at random."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        info = zipfile.ZipInfo(f"{job.key or 'vectors'}.npy")  # a fixed date: the same rows make the same bytes
        with archive.open(info, "w", force_zip64=True) as member:
            write_npy(member, job)


def write_safetensors(file: BinaryIO, job: Job) -> None:
    """Write .safetensors with one tensor."""
    file.write(io_safetensors.header_bytes(job.key or "vectors", (job.rows, job.width), job.dtype))
    for block in job.blocks():
        file.write(block.data)


def write_vecs(file: BinaryIO, job: Job) -> None:
    """Write fvecs, bvecs or ivecs: each row behind its width as int32."""
    size = job.width * job.dtype.itemsize
    width = np.array([job.width], dtype="<i4").view(np.uint8)
    for block in job.blocks():
        out = np.empty((len(block), 4 + size), dtype=np.uint8)
        out[:, :4] = width
        out[:, 4:] = block.view(np.uint8).reshape(len(block), size)
        file.write(out.data)


def write_bin(file: BinaryIO, job: Job) -> None:
    """Write a bin file of big-ann-benchmarks: two uint32 (rows, width), then the values."""
    if job.rows >= 1 << 32:
        raise BadInput(f"{job.path!r}: a bin file counts up to {(1 << 32) - 1} rows, got {job.rows}; write .npy")
    file.write(np.array([job.rows, job.width], dtype="<u4").data)
    for block in job.blocks():
        file.write(block.data)


def write_hdf5(file: BinaryIO, job: Job) -> None:
    """Write one dataset of an HDF5 file, stored without gaps."""
    h5py = require("h5py", extra="hdf5")
    at = 0
    # HDF5 reads what it wrote, which the open file does not allow: it gets the name of it instead.
    with h5py.File(str(file.name), "w", locking=False) as made:
        data = made.create_dataset(job.key or "train", shape=(job.rows, job.width), dtype=job.dtype)
        for block in job.blocks():
            data[at : at + len(block)] = block
            at += len(block)
