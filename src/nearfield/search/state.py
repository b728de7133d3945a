"""Rows under a fitted Plan as they are at one time: their columns, the index over them, and what they are read by."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import BadInput, Corrupt
from nearfield.core.protocols import F32, I64, U8, Rows
from nearfield.numerics import kernels
from nearfield.search.columns import Texts
from nearfield.search.fit import INDEX, Fitted, coded_columns, first_scorer, interleaved
from nearfield.search.tailed import Tailed
from nearfield.search.tiers import DiskColumn
from nearfield.store.segments import Segment


class State:
    """What a search reads. It stays as it is: a change makes another, which takes its place."""

    def __init__(
        self,
        fitted: Fitted,
        columns: dict[str, NDArray[Any]],
        segment: Segment | None = None,
        on_disk: dict[str, DiskColumn] | None = None,
        *,
        indexed: int | None = None,
    ) -> None:
        """Take up columns; ``indexed`` tells that the index is of so many rows alone."""
        self.fitted = fitted
        self.columns = columns
        self.on_disk = on_disk or {}
        self.segment = segment
        self._strings: dict[str, Texts] = {}
        name, codec = fitted.searched
        self.live: NDArray[np.bool_] | None = None
        if fitted.gone.size:
            self.live = np.ones(fitted.n, np.bool_)
            self.live[fitted.gone] = False
        index = copy.copy(fitted.index)
        scorer = first_scorer(codec, fitted.scoring(fitted.codec, first=True), index)
        packed = interleaved(codec, index)
        rows = Rows(columns[name], scorer, codec.decode, fitted.n, columns.get(f"{name}.terms"), packed)
        self.scorer = scorer
        self.rescorers = [c.scorer(fitted.scoring_again(i)) for i, c in enumerate(fitted.rescore_codecs)]
        own = {name.removeprefix(INDEX): self.finer(name) for name in columns if name.startswith(INDEX)}
        self._own = own
        if indexed is None or indexed == fitted.n:
            self.index = index.attach(rows, own)
        else:
            self.index = Tailed().over(index, own, rows, indexed)
        inner = (INDEX + column for column in own if INDEX + column not in self.on_disk)
        self.searched = (name, f"{name}.terms", *inner)

    def __len__(self) -> int:
        return self.fitted.n - self.fitted.gone.size

    @property
    def span(self) -> int:
        """The number behind the last row's."""
        return self.fitted.n

    @property
    def bytes_per_row(self) -> float:
        """Bytes of one row: codes, per-row constants, re-score columns, what the index keeps."""
        total = float(sum(codec.bytes_per_row for _, codec, _ in coded_columns(self.fitted)))
        total += 4 * sum(name.endswith(".terms") for name in self.columns)
        return total + self.index.bytes_per_row

    @property
    def nbytes(self) -> int:
        """Bytes in memory when every column has been touched, and everything shared."""
        columns = sum(c.nbytes for name, c in self.columns.items() if name not in self.on_disk)
        return columns + self.fitted.shared_bytes

    # -- names ---------------------------------------------------------------------------------------

    @property
    def ids(self) -> Sequence[Any] | None:
        """The rows' own ids, or None where rows are known by number."""
        if "ids" in self.columns:
            return _Ints(self._column("ids"))
        names: Sequence[str] | None = self._texts("ids")
        return names

    @property
    def texts(self) -> Sequence[str] | None:
        """The rows' texts, where they were kept."""
        texts: Sequence[str] | None = self._texts("texts")
        return texts

    @cached_property
    def named(self) -> tuple[Sequence[Any] | None, Sequence[str] | None]:
        """Ids and texts, looked up once."""
        return self.ids, self.texts

    def _texts(self, name: str) -> Any:
        if f"{name}.bytes" not in self.columns:
            return None
        if name not in self._strings:
            touch = partial(self.segment.touch_part, f"{name}.bytes") if self.segment else None
            found = Texts(self.columns[f"{name}.bytes"], self._column(f"{name}.ends"), touch)
            if self.segment and not found.in_order():
                raise Corrupt(f"{self.segment.path}: the column '{name}.ends' is not ascending within '{name}.bytes'")
            self._strings[name] = found
        return self._strings[name]

    def _column(self, name: str) -> NDArray[Any]:
        return self.segment.column(name) if self.segment else self.columns[name]

    # -- rows ----------------------------------------------------------------------------------------

    def finer(self, name: str) -> Any:
        """A column, wherever it is."""
        return self.on_disk.get(name, self.columns[name])

    def codes(self, rows: I64 | None = None) -> U8:
        """The codes of some rows (all where None), one row after another: ``uint8 [r, bytes]``."""
        self.touch("codes")
        stored = self.columns["codes"]
        rows = None if rows is None else self.numbers(rows)
        if self.index.orders:
            rows = self.index.places(np.arange(self.fitted.n) if rows is None else rows)
        if interleaved(self.fitted.codec, self.fitted.index):
            if rows is None:
                return kernels.unpack(stored, self.fitted.n)
            return np.ascontiguousarray(stored[rows // 32, :, rows % 32])
        return np.ascontiguousarray(stored if rows is None else stored[rows])

    def numbers(self, rows: Any) -> I64:
        """Row numbers, checked: those of deleted rows among them."""
        found = np.asarray(rows)
        if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
            raise BadInput(f"rows: expected row numbers in one dimension, got {found.dtype} of shape {found.shape}")
        if found.size and (int(found.min()) < 0 or int(found.max()) >= self.span):
            raise BadInput(f"rows: expected numbers from 0 to {self.span - 1}")
        return found.astype(np.int64)

    def decoded(self, rows: I64) -> F32:
        """Some rows as the codec gives them back, as the Maps gave them."""
        decoded = self.fitted.codec.decode(self.codes(rows))
        origins = self.index.origins_at(self._own, self.index.places(rows))
        return decoded if origins is None else decoded + origins

    # -- damage --------------------------------------------------------------------------------------

    def touch(self, *names: str) -> None:
        """Check columns of a file before they are read, as far as that has not been done."""
        if self.segment:
            for name in names:
                if name in self.columns:
                    self.segment.touch(name, 0, self.columns[name].nbytes)

    def touch_rows(self, name: str, rows: I64) -> None:
        """The same of some rows of a column, and of its terms."""
        if self.segment:
            if name not in self.on_disk:
                self.segment.touch_rows(name, rows[rows >= 0], self.columns[name].shape[1])
            self.touch(f"{name}.terms")

    def verify_column(self, *names: str) -> None:
        """Check the bytes of columns that have not been touched yet."""
        self.touch(*names, *(f"{name}.terms" for name in names))

    def verify(self) -> None:
        """Check every byte of the file behind it; raises ``Corrupt`` naming the place."""
        if self.segment:
            self.segment.verify()
            for name in ("ids", "texts"):
                self._texts(name)


class _Ints(Sequence[int]):
    """int64 ids as Python ints."""

    def __init__(self, values: I64) -> None:
        self.values = values

    def __len__(self) -> int:
        return int(self.values.size)

    def __getitem__(self, row: Any) -> Any:
        return int(self.values[row])
