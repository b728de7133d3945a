"""A fitted Plan over vectors: searches, tells its size, takes rows in and out, saves to one file."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.arrays import Moved, as_batch, block_rows, check_on_zero
from nearfield.core.bitmaps import Bitmap
from nearfield.core.errors import BadInput, NearfieldError
from nearfield.core.habits import answering
from nearfield.core.hits import Hits
from nearfield.core.indexes import Index
from nearfield.core.protocols import F32, I64, U8, Metric
from nearfield.search.encoding import as_encoder, check_space, encode_texts, loads
from nearfield.search.fit import Fitted, mapped_blocks
from nearfield.search.searching import Searched
from nearfield.search.tiers import DiskColumn, sizes, told
from nearfield.store.blame import blaming
from nearfield.store.locks import on_fork

if TYPE_CHECKING:
    from nearfield.search.changing import Held
    from nearfield.search.plan import Plan
    from nearfield.store.segments import Segment


@answering
class Packed:
    """Vectors under a fitted Plan; made by ``Plan.fit`` or ``nearfield.load``.

    ``bytes_per_row`` counts codes, per-row constants and re-score columns; ``shared_bytes`` the
    matrices and codebooks beside them; ``nbytes`` what it takes in memory, ``disk_bytes`` in its file.

    Any number of threads may search it while others change it. A search sees the rows as they were before a change or
    as they are after it, never half of it; what ``add`` or ``delete`` did when they returned, every search that begins
    later sees. Changes wait for each other. Where ``background`` is true, deleted rows are taken out of the index by a
    thread of its own while searches and changes go on; else by the call that makes it due, and then what is found
    depends on the calls and their order alone.
    """

    background = True

    def __init__(
        self,
        fitted: Fitted,
        columns: dict[str, NDArray[Any]],
        segment: Segment | None = None,
        on_disk: dict[str, DiskColumn] | None = None,
    ) -> None:
        self._encoder: Any = None
        self._held: Held | None = None  # what changes need, from the first on
        self._torn = False  # whether rows were on their way in when a change was cut off
        self.changing = threading.Condition(threading.RLock())  # held by whoever changes it
        self.attach(fitted, columns, segment, on_disk)
        on_fork(self)

    def attach(
        self,
        fitted: Fitted,
        columns: dict[str, NDArray[Any]],
        segment: Segment | None = None,
        on_disk: dict[str, DiskColumn] | None = None,
        *,
        indexed: int | None = None,
    ) -> None:
        """Search these columns from now on; ``indexed`` tells that the index is of so many rows alone."""
        self.now = Searched(fitted, columns, segment, on_disk, indexed=indexed)

    def forked(self) -> None:
        """In a forked child: a thread that held the lock is not there, and what it was changing begins from ``now``."""
        if self.changing.acquire(blocking=False):
            self.changing.release()
        else:
            self.changing = threading.Condition(threading.RLock())
            self._torn, self._held = True, None

    def __getstate__(self) -> dict[str, Any]:
        """What a copy in another process is made of; locks, threads and files stay here."""
        self.now.verify()
        with self.changing:
            self._settle()
            return {"fitted": self.fitted, "columns": self.columns, "background": self.background}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["fitted"], state["columns"])  # type: ignore[misc]
        self.background = state["background"]

    # -- what it is --------------------------------------------------------------------------------

    @property
    def fitted(self) -> Fitted:
        """What the Plan learned, and which rows there are."""
        return self.now.fitted

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """Codes, terms, what the index keeps, ids and texts."""
        return self.now.columns

    @property
    def on_disk(self) -> dict[str, DiskColumn]:
        """The columns that are read from disk."""
        return self.now.on_disk

    @property
    def index(self) -> Index:
        """The index over the rows."""
        return self.now.index

    @property
    def plan(self) -> Plan:
        """The Plan."""
        return self.fitted.plan

    @property
    def metric(self) -> Metric:
        """The metric under which rows are near."""
        return self.fitted.metric

    @property
    def space(self) -> dict[str, Any]:
        """The record of the space that the rows live in."""
        return self.fitted.space

    def __len__(self) -> int:
        return len(self.now)

    @property
    def span(self) -> int:
        """The number behind the last row's, and the length of ``allow``: rows that were deleted keep their numbers."""
        return self.fitted.n

    @property
    def dim(self) -> int:
        """Width of the rows as they came (bits under Hamming)."""
        return self.fitted.d

    def __repr__(self) -> str:
        return f"<Packed {len(self)} rows x {self.dim}, {self.metric}, {self.bytes_per_row:g} bytes a row: {self.plan}>"

    @property
    def bytes_per_row(self) -> float:
        """Bytes of one row in memory and on disk: codes, per-row constants, re-score columns."""
        return self.now.bytes_per_row

    @property
    def shared_bytes(self) -> int:
        """Bytes of matrices, codebooks and levels, shared by all rows."""
        return self.fitted.shared_bytes

    @property
    def nbytes(self) -> int:
        """Bytes in memory when every column has been touched: those not read from disk, and everything shared."""
        held = 0 if self._held is None else self._held.nbytes
        return self.now.nbytes + held

    @property
    def disk_bytes(self) -> int | None:
        """Bytes of the file that it was loaded from; None while it was never saved."""
        return self.now.segment.nbytes if self.now.segment else None

    @property
    def least_memory(self) -> int:
        """Bytes below which ``nearfield.load(path, memory=...)`` cannot go: what every search goes through."""
        return sizes(self.fitted, self.columns)[0]

    def tier_stats(self) -> dict[str, dict[str, float]]:
        """For each column that is read from disk, what searches have asked of it so far.

        ``wanted`` rows were needed, some at once in each of ``rounds``; ``early`` of them were asked for while the
        search went on, ``ready`` were there without waiting; ``unused`` were asked for in vain. ``hit_rate`` is ready
        over wanted.
        """
        return told(self.on_disk)

    @property
    def ids(self) -> Sequence[Any] | None:
        """The rows' own ids, or None where rows are known by number."""
        return self.now.ids

    @property
    def texts(self) -> Sequence[str] | None:
        """The rows' texts, where they were kept."""
        return self.now.texts

    # -- searching ---------------------------------------------------------------------------------

    def search(
        self,
        queries: Any,
        k: int = 10,
        *,
        budget: int | None = None,
        allow: NDArray[np.bool_] | Bitmap | None = None,
        on_zero: str = "raise",
        encoder: Any = None,
        expand: Any = None,
    ) -> Hits:
        """The ``k`` best rows for each query: vectors ``[m, d]``, one vector ``[d]``, a text or texts.

        ``allow`` is a bool a row, or a ``Bitmap`` made of them that serves many searches: only rows where it is true
        are found, and always ``min(k, matches)`` of them; bool ``[m, n]`` is a filter for each query. ``budget`` is how
        many rows the first stage may score (a flat index scores them all).
        ``expand`` makes the vectors of texts from more than the texts: ``nearfield.HyDE(...)``.
        Raises ``BadInput`` for queries of another width, not finite, or zero under cosine.
        """
        now = self.now
        if allow is None and on_zero == "raise" and type(queries) is np.ndarray:
            quick = now.search_settled(queries, k, budget)
            if quick is not None:
                return quick
        return now.search(queries, k, budget, allow, on_zero, self._vectors, encoder, expand)

    def _vectors(self, now: Searched, queries: Any, encoder: Any, expand: Any, allow: NDArray[np.bool_] | None) -> Any:
        if isinstance(queries, str):
            queries = [queries]
        if isinstance(queries, (list, tuple)) and queries and all(isinstance(q, str) for q in queries):
            if expand is not None:
                made = self._text_encoder(encoder)

                def nearest(vector: F32, n: int) -> F32:
                    rows = now.search(vector, min(n, len(now)), allow=allow).rows[0]
                    return _decode(now, rows[rows >= 0])

                return np.stack([expand.vector(text, made, nearest) for text in queries])
            return encode_texts(self._text_encoder(encoder), list(queries), queries=True)
        try:
            one = isinstance(queries, (list, np.ndarray)) and np.ndim(queries) == 1 and len(queries) > 0
        except ValueError:  # a ragged list, which as_queries refuses
            return queries
        return np.asanyarray(queries)[None, :] if one else queries

    def _text_encoder(self, encoder: Any) -> Any:
        name, space = self.fitted.encoder, self.fitted.space
        made = self._encoder if encoder is None else as_encoder(encoder, space)
        if made is None:
            if name is None:
                raise BadInput("this file records no encoder: search it with vectors, or pass encoder=")
            if not loads(name):
                raise BadInput(f"this file was encoded by {name!r}, which is not loaded by name: pass encoder=")
            made = as_encoder(name, space)
        check_space(space, getattr(made, "space", {}), "encoder", "search with the encoder of the rows")
        self._encoder = made
        return self._encoder

    # -- reading back ------------------------------------------------------------------------------

    def codes(self, rows: I64 | None = None) -> U8:
        """The codes of some rows (all where None), one row after another: ``uint8 [r, bytes]``."""
        return self.now.codes(rows)

    def numbers(self, rows: Any) -> I64:
        """Row numbers, checked: those of deleted rows among them."""
        return self.now.numbers(rows)

    def encode(self, x: Any, *, on_zero: str = "raise") -> U8:
        """Codes of other rows ``[r, d]`` under the fitted plan, without keeping them: ``uint8 [r, bytes]``."""
        check_on_zero(on_zero)
        given = as_batch(x)
        if given.shape[1] * (8 if self.metric == "hamming" else 1) != self.dim:
            raise BadInput(f"vectors: expected width {self.dim}, as the rows, got {given.shape[1]}")
        f = self.fitted
        if f.origin is not None:
            given = Moved(given, f.origin)
        blocks = given.blocks(block_rows(self.dim)) if f.as_given else mapped_blocks(given, f.maps, f.metric, on_zero)
        if not f.as_given and self.fitted.index.orders:
            blocks = (x if (o := self.fitted.index.origins(x)) is None else x - o for x in blocks)
        return np.concatenate([np.zeros((0, f.codec.bytes_per_row), np.uint8), *map(f.codec.encode, blocks)])

    def decode(self, rows: I64 | None = None) -> F32:
        """The vectors as the codec gives them back, in the space after the Maps: ``float32 [r, width]``."""
        return _decode(self.now, rows)

    def decoded(self, rows: I64) -> F32:
        """Some rows as the codec gives them back, as the Maps gave them."""
        return self.now.decoded(rows)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one ``.nf`` file, whole or not at all."""
        from nearfield.search.file import save

        self.now.verify()
        with self.changing:
            self._settle()
            save(self, path)

    # -- changing ----------------------------------------------------------------------------------

    def add(
        self,
        x: Any = None,
        *,
        ids: Sequence[Any] | None = None,
        texts: Sequence[str] | None = None,
        on_zero: str = "raise",
        encoder: Any = None,
    ) -> I64:
        """Add rows ``[r, d]`` under the fitted plan, without fitting or building anew; returns their numbers.

        ``ids`` and ``texts`` are given where the rows that are there have them; without ``x``, ``texts`` are encoded.
        Numbers go on from ``span``. All rows come in or none, also where Ctrl-C ends it.
        """
        rows = self._rows_to_add(x, texts, encoder)
        with self._change() as held:
            return held.add(rows, ids, texts, on_zero=on_zero)

    def upsert(
        self,
        x: Any = None,
        *,
        ids: Sequence[Any],
        texts: Sequence[str] | None = None,
        on_zero: str = "raise",
        encoder: Any = None,
    ) -> I64:
        """Add rows in place of those that have the same ids; returns their numbers, which are new."""
        rows = self._rows_to_add(x, texts, encoder)
        with self._change() as held:
            return held.add(rows, ids, texts, on_zero=on_zero, replace=True)

    def delete(self, ids: Sequence[Any] | None = None, *, rows: Any = None) -> int:
        """Delete rows by id or number; those that are not there are passed over. Returns how many went.

        They are found no more, and keep their numbers until ``compact``.
        """
        with self._change() as held:
            return held.delete(ids, rows)

    def consolidate(self, *, wait: bool = True) -> None:
        """Take deleted rows out of the index, and late ones in; begun by itself when a tenth of the rows is gone.

        With ``wait=False`` it goes on in the background.
        """
        with self._change() as held:
            if wait:
                held.consolidate()
            else:
                held.begin()

    def compact(self) -> I64:
        """Give the space of deleted rows back; returns the numbers ``[n]`` that the rows had before."""
        with self._change() as held:
            return held.compact()

    @contextmanager
    def _change(self) -> Iterator[Held]:
        """What changes need, for one that has it alone. Where one is cut off, it is made anew, of what is searched."""
        with self.changing:
            held = self._changes()
            try:
                yield held
            except NearfieldError:  # refused, before anything was changed
                raise
            except BaseException:
                self._torn, self._held = True, None
                held.leave()
                raise

    def _settle(self) -> None:
        if self._held is not None or self._torn:
            with self._change() as held:
                held.settle()

    def _changes(self) -> Held:
        if self._held is None:
            from nearfield.search.changing import Held

            self._held, self._torn = Held(self, torn=self._torn), False
        self._held.tell()
        return self._held

    def _rows_to_add(self, x: Any, texts: Sequence[str] | None, encoder: Any) -> Any:
        if x is not None:
            return x
        if texts is None:
            raise BadInput("add: expected vectors, or texts for an encoder, got neither")
        return encode_texts(self._text_encoder(encoder), texts)

    # -- damage ------------------------------------------------------------------------------------

    def verify_column(self, *names: str) -> None:
        """Check the bytes of columns that have not been touched yet."""
        self.now.verify_column(*names)

    def verify(self) -> None:
        """Check the file behind it: every byte, and whether it makes sense; raises ``Corrupt`` naming the place.

        Ids are each there once, texts are UTF-8, codes and terms finite and of one another, links lead to rows.
        """
        now = self.now
        now.verify()
        if now.segment is not None:
            from nearfield.search.whole import check_whole

            with blaming(now.segment.path):
                check_whole(now)


def _decode(now: Searched, rows: I64 | None) -> F32:
    wanted = np.arange(now.span) if rows is None else now.numbers(rows)
    step = block_rows(now.fitted.d)
    parts = [now.decoded(wanted[i : i + step]) for i in range(0, wanted.size, step)]
    whole = np.concatenate(parts) if parts else np.zeros((0, now.fitted.d), np.float32)
    origin = now.fitted.origin
    return whole if origin is None or now.fitted.maps else whole + origin
