"""Rows of a Packed that come and go: columns with room to grow, an index that is kept up, deleted rows marked.

A row's number stays its own until ``compact``. An index that has no way to take rows in and out scans those that came
late, and is built anew when there are many of them. What changes need is held in memory from the first change on.

Every change ends with one assignment, of a state that searches from then on read. What an older state holds stays:
rows are written behind its last one, and columns that move leave the old ones to it. Whoever changes something holds
``packed.changing``.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.arrays import Moved, as_batch, check_on_zero, named_in_full
from nearfield.core.errors import BadInput, Unsupported, UpkeepWarning
from nearfield.core.indexes import Columns, Step, Updater
from nearfield.core.protocols import I64, Batch
from nearfield.numerics import kernels
from nearfield.numerics.growing import Grown
from nearfield.numerics.linking import within_rows
from nearfield.numerics.runs import within
from nearfield.search.background import Job, Stopped
from nearfield.search.columns import MemorySink
from nearfield.search.decoded import Decoded
from nearfield.search.fit import INDEX, Fitted, MappedRows, encode_codes, interleaved, listed_ids, row_columns
from nearfield.search.ordered import gather_ordered
from nearfield.search.tailed import Tailed

if TYPE_CHECKING:
    from nearfield.search.packed import Packed

CONSOLIDATE = 0.1  # share of the rows that walks pass over, from which they are taken out
_OUTRUN = 2.0  # so many times what makes it due, and changes wait for what goes on in the background
_TAIL, _TAIL_SHARE = 512, 0.125  # rows that are scanned behind an index that is built anew at the most
_TEXTS = ("ids", "texts")


class Held:
    """What a Packed needs while it changes."""

    def __init__(self, packed: Packed, *, torn: bool = False) -> None:
        steps = [name for name in packed.on_disk if not name.startswith(INDEX)]
        if steps:
            names = ", ".join(steps)
            raise Unsupported(f"{names}: read from disk, and changes are made in memory: load the file without memory=")
        packed.now.verify()
        self.packed = packed
        f = packed.fitted
        self.blocks = interleaved(f.codec, f.index)
        own = {name: c for name, c in packed.columns.items() if not name.startswith(INDEX)}
        self.columns = {name: Grown(column) for name, column in own.items()}
        self.dead = Grown(np.zeros(f.n, np.bool_))
        self.dead.values[f.gone] = True
        self.index: Columns = {n.removeprefix(INDEX): c for n, c in packed.columns.items() if n.startswith(INDEX)}
        self.indexed = packed.index.indexed if isinstance(packed.index, Tailed) else f.n
        self.updater: Updater | None = None
        if torn and "links" in self.index:
            self.index["links"] = within_rows(self.index["links"], f.n)
        if self.index:
            self.updater = f.index.updater(self.index, Decoded([(packed, np.arange(f.n))]))
        self.job: Job | None = None  # what goes on beside
        self._failure: Exception | None = None  # why that came to no end, until somebody is told
        self.passed = 0 if f.mended else int(f.gone.size)  # deleted rows that may still be linked to
        self._places: dict[Any, int] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes held for changes alone: room to grow, and what the index needs."""
        spare = sum(g.nbytes - g.values.nbytes for g in self.columns.values()) + self.dead.nbytes
        return spare + (0 if self.updater is None else self.updater.nbytes)

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng([self.packed.fitted.seed, self.packed.fitted.n])

    # -- rows in -----------------------------------------------------------------------------------

    def add(
        self, x: Any, ids: Sequence[Any] | None, texts: Sequence[str] | None, *, on_zero: str, replace: bool = False
    ) -> I64:
        """Add rows, in place of those of the same ids where ``replace``; all of them or none."""
        check_on_zero(on_zero)
        f = self.packed.fitted
        given = self._checked(as_batch(x))
        extra = self._named(given.shape[0], ids, texts)
        old = self._known(ids, replace=replace)
        if not given.shape[0]:
            return np.zeros(0, np.int64)
        fresh = f.of_rows(given.shape[0])
        batch: Batch = given if f.origin is None else Moved(given, f.origin)
        sink = MemorySink()
        with named_in_full(batch, f.metric, on_zero):
            encode_codes(fresh, batch, sink, on_zero=on_zero)
        made = sink.columns | extra
        if f.index.orders:
            made = self._among(fresh, sink.columns) | extra
        elif self.blocks:
            made["codes"] = kernels.unpack(made["codes"], fresh.n)
        self._reserve(f.n + fresh.n, made)
        if self.updater is not None:
            self.updater.add(MappedRows(fresh, batch, on_zero), self.dead.values, self._rng())
        self._append(f.n, made)
        if f.index.orders:
            self.index = {name.removeprefix(INDEX): c for name, c in made.items() if name.startswith(INDEX)}
        self.dead.append(np.zeros(fresh.n, np.bool_))
        self.passed += len(old)
        self.dead.values[old] = True
        self._name_places(f.n, ids)
        self._refresh(f, f.n + fresh.n, np.concatenate([f.zero_rows, fresh.zero_rows + f.n]))
        self._keep_up()
        return np.arange(f.n, f.n + fresh.n)

    def _among(self, fresh: Fitted, late: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The columns of all rows, late ones among the others, where the index keeps rows in an order of its own."""
        f = self.packed.fitted
        sources = [(self.packed, np.arange(f.n)), (type(self.packed)(fresh, late), np.arange(fresh.n))]
        return self._gathered(f.of_rows(f.n + fresh.n), sources)

    def _gathered(self, fitted: Fitted, sources: list[tuple[Packed, I64]]) -> dict[str, NDArray[Any]]:
        sink = MemorySink()
        gather_ordered(fitted, sources, sink)
        return sink.columns

    def _ordered(self, name: str) -> bool:
        """Whether a column lies in the order of the index."""
        return self.packed.fitted.index.orders and name.partition(".")[0] not in _TEXTS

    def _checked(self, given: Batch) -> Batch:
        f = self.packed.fitted
        if given.shape[1] * (8 if f.metric == "hamming" else 1) != f.d:
            raise BadInput(f"vectors: expected width {f.d}, as the rows, got {given.shape[1]}")
        kept = np.dtype(f.space.get("dtype", given.dtype))
        if f.as_given and given.dtype != kept and (kept.kind != "f" or given.dtype.kind != "f"):
            raise BadInput(f"vectors: expected {kept}, as the rows that are kept as they came, got {given.dtype}")
        return given

    def _named(self, n: int, ids: Any, texts: Any) -> dict[str, NDArray[Any]]:
        """Ids and texts as columns, of the same kind as those that are there."""
        extra = row_columns(n, ids, texts)
        there = {name for name in self.columns if name.partition(".")[0] in _TEXTS}
        for name in _TEXTS:
            want, got = ({c for c in some if c.partition(".")[0] == name} for some in (there, extra))
            if want != got and n:
                kinds = ["int" if some == {name} else "str" if some else "none" for some in (want, got)]
                raise BadInput(f"{name}: expected {kinds[0]}, as the rows that are there, got {kinds[1]}")
        return extra

    def _known(self, ids: Any, *, replace: bool) -> I64:
        """The rows that have these ids; refused unless they are to be replaced."""
        if ids is None:
            if replace:
                raise BadInput("upsert: expected ids, got none; delete rows by number, and add others")
            return np.zeros(0, np.int64)
        found = self._rows_of(ids)
        if len(found) and not replace:
            names = self.packed.ids
            some = ", ".join(repr(names[int(row)]) for row in found[:5]) if names is not None else ""
            raise BadInput(f"ids: expected new ones, got {some}, which are there; use upsert")
        return found

    def _reserve(self, n: int, made: dict[str, NDArray[Any]]) -> None:
        """Room for every column, so that appending cannot fail half-way."""
        for name, column in self.columns.items():
            if self._ordered(name):
                continue
            if self.blocks and name == "codes":
                column.reserve(-(-n // 32))
            else:
                column.reserve(column.n + len(made[name]))
        self.dead.reserve(n)

    def _append(self, n: int, made: dict[str, NDArray[Any]]) -> None:
        for name, column in self.columns.items():
            rows = made[name]
            if self._ordered(name):
                self.columns[name] = Grown(rows)
            elif self.blocks and name == "codes":
                at = np.arange(n, n + len(rows))
                column.whole[column.n : -(-(n + len(rows)) // 32)] = 0
                column.n = -(-(n + len(rows)) // 32)
                column.values[at // 32, :, at % 32] = rows
            elif name.endswith(".ends"):
                column.append(rows + (column.values[-1] if column.n else 0))
            else:
                column.append(rows)

    # -- rows out ----------------------------------------------------------------------------------

    def delete(self, ids: Any, rows: Any) -> int:
        """Mark rows as gone; returns how many were there."""
        if (ids is None) == (rows is None):
            raise BadInput("delete: expected either ids or rows=, and not both")
        if ids is not None:
            if self.packed.ids is None:
                raise BadInput("delete: these rows have no ids; give their numbers as rows=")
            if isinstance(ids, (str, int, np.integer)):
                ids = [ids]
            found = self._rows_of(ids)
        else:
            asked = np.unique(self.packed.numbers(np.atleast_1d(rows)))
            found = asked[~self.dead.values[asked]]
        if len(found):
            self.passed += len(found)
            self.dead.values[found] = True
            self._refresh_now()
            self._keep_up()
        return len(found)

    def _rows_of(self, ids: Any) -> I64:
        """The rows that are there of these ids, each once."""
        if self._places is None:
            names = self.packed.ids
            living = np.flatnonzero(~self.dead.values).tolist()
            self._places = {} if names is None else {names[row]: row for row in living}
        listed = listed_ids(ids)
        found = {self._places[i] for i in listed if isinstance(i, (int, str)) and i in self._places}
        return np.array(sorted(row for row in found if not self.dead.values[row]), np.int64)

    def _name_places(self, start: int, ids: Any) -> None:
        if ids is not None and self._places is not None:
            listed = listed_ids(ids)
            self._places.update(zip(listed, range(start, start + len(listed))))

    # -- the index ---------------------------------------------------------------------------------

    def _due(self, times: float = 1) -> bool:
        """Whether walks pass over many deleted rows, or many rows are scanned behind the index."""
        n = self.packed.fitted.n
        if self.updater is not None:
            return self.passed > times * CONSOLIDATE * n and not self.dead.values.all()
        return n - self.indexed > times * max(_TAIL, _TAIL_SHARE * n)

    def _keep_up(self) -> None:
        """Consolidate where it is due: beside what goes on, unless that is told to wait or comes faster."""
        if not self._due():
            return
        if not self.packed.background:
            self.consolidate()
            return
        self.begin()
        if self._due(_OUTRUN):
            self.wait()

    def begin(self) -> None:
        """Consolidate in the background."""
        if self.job is not None and self.job.alive:
            return
        self.job = Job(self._aside)
        try:
            self.job.start()
        except RuntimeError:  # there are no more threads to be had
            self.job = None
            self.consolidate()

    def wait(self) -> None:
        """Let what goes on in the background come to its end."""
        self.packed.changing.wait_for(lambda: self.job is None or not self.job.alive)

    def tell(self) -> None:
        """Warn of what failed in the background, once."""
        failure, self._failure = self._failure, None
        if failure is not None:
            warnings.warn(
                f"taking rows in and out of the index {self.packed.fitted.index.name()} failed in the background "
                f"({type(failure).__name__}: {failure}); searches go on with the index as it was; "
                "consolidate() does it again",
                UpkeepWarning,
                stacklevel=4,
            )

    def leave(self) -> None:
        """Another one takes its place: what goes on in the background is not to take over."""
        if self.job is not None:
            self.job.end()

    def _aside(self, step: Step) -> None:
        """As ``consolidate``, with a copy of what there is; changes wait while it is made, and while it takes over."""
        again = True
        while again:
            try:
                if self.updater is not None:
                    self._mend_aside(self.updater, step)
                else:
                    self._build_aside(step)
            except Exception as error:
                self._ended(None if isinstance(error, Stopped) else error)
                return
            except BaseException:
                self._ended()
                raise
            with self.packed.changing:  # a change that comes behind this finds either the job or none
                again = self._due()
                if not again:
                    self._ended()

    def _ended(self, failure: Exception | None = None) -> None:
        with self.packed.changing:
            self.job, self._failure = None, failure or self._failure
            self.packed.changing.notify_all()

    def _mend_aside(self, updater: Updater, step: Step) -> None:
        with self.packed.changing:
            dead, fork, rng = self.dead.values.copy(), updater.fork(), self._rng()
        if dead.all():
            return
        fork.consolidate(dead, rng, step=step)
        fork.columns(dead, rng)
        with self.packed.changing:
            step(1, 1)  # who asked for an end meanwhile has no use for it
            updater.join(fork, dead, rng)
            self.passed = int(np.count_nonzero(self.dead.values) - np.count_nonzero(dead))
            self._refresh_now()

    def _build_aside(self, step: Step) -> None:
        with self.packed.changing:
            now = self.packed.now
        f = now.fitted
        if not self.index or self.indexed == f.n:
            return
        x = Decoded([(now, np.arange(f.n))])
        rng = np.random.default_rng(f.seed)
        made = f.index.build(x, rng=rng, progress=lambda _, done, total: step(done, total))
        with self.packed.changing:
            step(1, 1)
            self.index, self.indexed = made, f.n
            self._refresh_now()

    def consolidate(self) -> None:
        """Take deleted rows out of the index, or build it anew with those that came late."""
        self.wait()
        f = self.packed.fitted
        if self.dead.values.all():
            return  # there is nothing that could be found, and rows to come find their way by those that are gone
        if self.updater is not None:
            self.updater.consolidate(self.dead.values, self._rng())
            self.passed = 0
            self.updater.columns(self.dead.values, self._rng())
        elif self.index and self.indexed < f.n:
            self._build(f, np.arange(f.n))
        self._failure = None
        self._refresh_now()

    def _build(self, f: Fitted, rows: I64) -> None:
        x = Decoded([(self.packed, rows)])
        self.index = f.index.build(x, rng=np.random.default_rng(f.seed))
        self.indexed = len(rows)

    def settle(self) -> None:
        """Make the columns those that a file holds."""
        self.wait()
        self.tell()
        f = self.packed.fitted
        if self.updater is not None:
            self.index = self.updater.columns(self.dead.values, self._rng())
        elif self.index and self.indexed < f.n:
            self._build(f, np.arange(f.n))
        self._refresh(f, f.n, f.zero_rows, settled=True)

    def _refresh_now(self) -> None:
        f = self.packed.fitted
        self._refresh(f, f.n, f.zero_rows)

    def _refresh(self, f: Fitted, n: int, zeros: I64, *, settled: bool = False) -> None:
        """Let the Packed search what is there now."""
        if self.updater is not None and not settled:
            self.index = self.updater.walked()
        if self.updater is not None or not self.index or f.index.orders:
            self.indexed = n
        columns = {name: g.values for name, g in self.columns.items()}
        columns |= {INDEX + name: column for name, column in self.index.items()}
        gone = np.flatnonzero(self.dead.values)
        mended = self.updater is not None and not self.passed
        fitted = replace(f, n=n, zero_rows=zeros, gone=gone, mended=mended)
        self.packed.attach(fitted, columns, indexed=self.indexed)

    # -- space -------------------------------------------------------------------------------------

    def compact(self) -> I64:
        """Leave out what was deleted, and number the rows anew; returns the numbers that they had."""
        self.wait()
        f = self.packed.fitted
        rows = np.flatnonzero(~self.dead.values)
        if not len(rows):
            raise BadInput("compact: expected at least one row that is left; delete the file instead")
        if len(rows) == f.n:
            return rows
        columns = self._only(rows)
        if f.index.orders:
            made = self._gathered(f.of_rows(len(rows)), [(self.packed, rows)])
            columns |= {name: Grown(made[name]) for name in self.columns if self._ordered(name)}
            self.index = {name.removeprefix(INDEX): c for name, c in made.items() if name.startswith(INDEX)}
        elif self.updater is not None:
            self.updater.consolidate(self.dead.values, self._rng())
            self.updater.keep(rows)
        elif self.index:
            self._build(f, rows)
        self.columns = columns
        self.dead, self.passed, self._places = Grown(np.zeros(len(rows), np.bool_)), 0, None
        self._refresh(f, len(rows), np.flatnonzero(np.isin(rows, f.zero_rows)))
        self.settle()
        return rows

    def _only(self, rows: I64) -> dict[str, Grown]:
        """The columns of some rows."""
        out: dict[str, NDArray[Any]] = {}
        for name, column in self.columns.items():
            if self._ordered(name):
                continue
            if self.blocks and name == "codes":
                out[name] = kernels.pack(self.packed.codes(rows), column.values.shape[1])
            elif name.endswith(".ends"):
                starts = np.concatenate([np.zeros(1, np.int64), column.values[:-1]])[rows]
                sizes = column.values[rows] - starts
                data = self.columns[name.replace(".ends", ".bytes")].values
                out[name] = np.cumsum(sizes)
                out[name.replace(".ends", ".bytes")] = data[within(starts, sizes)]
            elif not name.endswith(".bytes"):
                out[name] = column.values[rows]
        return {name: Grown(out[name]) for name in self.columns if name in out}
