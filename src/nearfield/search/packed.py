"""A fitted Plan over vectors: searches, tells its size, saves to one file."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.arrays import Moved, as_batch, block_rows, check_on_zero
from nearfield.core.bitmaps import Bitmap
from nearfield.core.errors import BadInput, Corrupt, Unsupported
from nearfield.core.hits import Hits
from nearfield.core.indexes import check_search
from nearfield.core.protocols import F32, I64, U8, Metric, Rows
from nearfield.numerics import finders, kernels
from nearfield.search.columns import Texts
from nearfield.search.compiled import compile_plan
from nearfield.search.encoding import SAFE, as_encoder, encode_texts
from nearfield.search.filtering import each_filter, several
from nearfield.search.fit import INDEX, Fitted, coded_columns, first_scorer, interleaved, mapped_blocks
from nearfield.search.queries import as_queries
from nearfield.search.rescore import rescore
from nearfield.search.tailed import Tailed
from nearfield.search.tiers import DiskColumn, faults, native_checks, sizes, told

if TYPE_CHECKING:
    from nearfield.search.changing import Held
    from nearfield.search.plan import Plan
    from nearfield.store.segments import Segment

_UNKNOWN = object()  # a pipeline that was not asked for yet
_FLOATS = np.dtype(np.float32)
_SETTLED = 256  # ways to search that are remembered
QUERY_BLOCK = 512  # queries prepared together: their tables stay within a few megabytes


class Packed:
    """Vectors under a fitted Plan; made by ``Plan.fit`` or ``nearfield.load``.

    ``bytes_per_row`` counts codes, per-row constants and re-score columns; ``shared_bytes`` the
    matrices and codebooks beside them; ``nbytes`` what it takes in memory, ``disk_bytes`` in its file.
    """

    def __init__(
        self,
        fitted: Fitted,
        columns: dict[str, NDArray[Any]],
        segment: Segment | None = None,
        on_disk: dict[str, DiskColumn] | None = None,
    ) -> None:
        self._encoder: Any = None
        self._held: Held | None = None  # what changes need, from the first on
        self.attach(fitted, columns, segment, on_disk)

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
        self.fitted = fitted
        self.columns = columns
        self.on_disk = on_disk or {}
        self._segment = segment
        self._strings: dict[str, Texts] = {}
        self._pipeline: Any = _UNKNOWN
        self._settled: dict[tuple[int, int | None], tuple[int, int]] = {}
        name, codec = fitted.searched
        self.__dict__.pop("_named", None)
        self._live: NDArray[np.bool_] | None = None
        if fitted.gone.size:
            self._live = np.ones(fitted.n, np.bool_)
            self._live[fitted.gone] = False
        index = copy.copy(fitted.index)
        scorer = first_scorer(codec, fitted.scoring(fitted.codec, first=True), index)
        packed = interleaved(codec, index)
        rows = Rows(columns[name], scorer, codec.decode, fitted.n, columns.get(f"{name}.terms"), packed)
        self._scorer = scorer
        self._rescorers = [c.scorer(fitted.scoring_again(i)) for i, c in enumerate(fitted.rescore_codecs)]
        own = {name.removeprefix(INDEX): self._finer(name) for name in columns if name.startswith(INDEX)}
        self._own = own
        if indexed is None or indexed == fitted.n:
            self.index = index.attach(rows, own)
        else:
            self.index = Tailed().over(index, own, rows, indexed)
        inner = (INDEX + column for column in own if INDEX + column not in self.on_disk)
        self._searched = (name, f"{name}.terms", *inner)

    # -- what it is --------------------------------------------------------------------------------

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
        return self.fitted.n - self.fitted.gone.size

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
        total = float(sum(codec.bytes_per_row for _, codec, _ in coded_columns(self.fitted)))
        total += 4 * sum(name.endswith(".terms") for name in self.columns)
        return total + self.index.bytes_per_row

    @property
    def shared_bytes(self) -> int:
        """Bytes of matrices, codebooks and levels, shared by all rows."""
        return self.fitted.shared_bytes

    @property
    def nbytes(self) -> int:
        """Bytes in memory when every column has been touched: those not read from disk, and everything shared."""
        held = 0 if self._held is None else self._held.nbytes
        return sum(c.nbytes for name, c in self.columns.items() if name not in self.on_disk) + self.shared_bytes + held

    @property
    def disk_bytes(self) -> int | None:
        """Bytes of the file that it was loaded from; None while it was never saved."""
        return self._segment.nbytes if self._segment else None

    @property
    def least_memory(self) -> int:
        """Bytes below which ``nearfield.load(path, memory=...)`` cannot go: what every search goes through."""
        return sizes(self.fitted, self.columns)[0]

    def tier_stats(self) -> dict[str, dict[str, float]]:
        """For each column that is read from disk, what searches have asked of it so far.

        ``wanted`` rows were needed; ``early`` of them were asked for while the search went on, ``ready`` were there
        without waiting; ``unused`` were asked for in vain. ``hit_rate`` is ready over wanted.
        """
        return told(self.on_disk)

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
    def _named(self) -> tuple[Sequence[Any] | None, Sequence[str] | None]:
        return self.ids, self.texts

    def _texts(self, name: str) -> Any:
        if f"{name}.bytes" not in self.columns:
            return None
        if name not in self._strings:
            touch = partial(self._segment.touch_part, f"{name}.bytes") if self._segment else None
            found = Texts(self.columns[f"{name}.bytes"], self._column(f"{name}.ends"), touch)
            if self._segment and not found.in_order():
                raise Corrupt(f"{self._segment.path}: the column '{name}.ends' is not ascending within '{name}.bytes'")
            self._strings[name] = found
        return self._strings[name]

    def _column(self, name: str) -> NDArray[Any]:
        return self._segment.column(name) if self._segment else self.columns[name]

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
        if allow is None and type(queries) is np.ndarray:
            settled = self._search_settled(queries, k, budget)
            if settled is not None:
                check_on_zero(on_zero)
                return settled
        n, asked = self.fitted.n, k
        check_on_zero(on_zero)
        if type(k) is not int or allow is not None or not 0 < k <= n:  # the usual is plainly sound
            k = check_search(k, n, allow)
        bare = allow is None and self.fitted.mended  # deleted rows need no mask where no link leads to them
        if self._live is not None:
            given = allow.flags if isinstance(allow, Bitmap) else allow
            allow, k = self._live if given is None else given & self._live, max(1, min(k, len(self)))
        sound = budget is None or (type(budget) is int and budget > 0)
        if sound and type(queries) is np.ndarray and queries.dtype == np.float32:
            quick = self._search_compiled(queries, k, budget or 0, None if bare else allow)
            if quick is not None:
                if bare or allow is None:
                    self._settle(asked, budget, k)
                return quick
        if isinstance(allow, Bitmap):
            allow = allow.flags
        if budget is not None and (isinstance(budget, bool) or not isinstance(budget, (int, np.integer)) or budget < 1):
            raise BadInput(f"budget: expected a whole number of rows, at least 1, got {budget!r}")
        vectors = self._vectors(queries, encoder, expand, None if several(allow) else allow)
        if several(allow):
            return each_filter(partial(self.search, k=k, budget=budget, on_zero=on_zero), vectors, allow)
        q = as_queries(vectors, self.metric, self.dim, on_zero)
        if self.fitted.origin is not None:
            q = q - self.fitted.origin
        self._verify(*self._searched)
        zeros = self.fitted.zero_rows
        admit = self._without(allow, zeros)
        found = [self._search_block(q[i : i + QUERY_BLOCK], k, budget, admit) for i in range(0, len(q), QUERY_BLOCK)]
        hits = _stack(found, k, n)
        hits.metric, hits.names, hits.texts = self.metric, self.ids, self.texts
        if zeros.size:
            _merge_zeros(hits, zeros if allow is None else zeros[allow[zeros]], k)
        if self.metric == "cosine" and on_zero == "keep":
            _blank_queries(hits, np.abs(q).max(axis=1, initial=0) == 0, allow, n)
        return hits

    def _settle(self, asked: int, budget: int | None, k: int) -> None:
        """What such a search is for ``_search_settled``: ``k`` of the rows there are, and what the index spends."""
        effort = self.index.effort(k, budget or 0, self.fitted.n)
        if len(self._settled) >= _SETTLED:
            self._settled.clear()
        if effort is not None:
            self._settled[asked, budget] = (k, effort)

    def _search_settled(self, q: NDArray[Any], k: int, budget: int | None) -> Hits | None:
        """The answer to one query in the way that an earlier one went: a search of microseconds is not asked twice
        whether its arguments are sound. None where anything is otherwise."""
        if type(k) is not int or not (budget is None or type(budget) is int) or q.dtype is not _FLOATS:
            return None
        settled = self._settled.get((k, budget))
        if settled is None or not 1 <= q.ndim <= 2 or (q.ndim == 2 and len(q) != 1):
            return None
        found = finders.run_one(self._pipeline, q if q.ndim == 2 else q[None, :], *settled)
        if found is None:
            return None
        rows, scores, counts = found
        names, texts = self._named
        return Hits(rows, scores, counts[0], self.fitted.metric, names, texts, counts[1] if self._rescorers else None)

    def _search_compiled(self, q: F32, k: int, budget: int, allow: NDArray[np.bool_] | Bitmap | None) -> Hits | None:
        """The answer of one native call, or None where the plan, the queries or the filter need more care."""
        if self._pipeline is _UNKNOWN:
            self._pipeline = self._compile()
        if self._pipeline is None or not 1 <= q.ndim <= 2:
            return None
        q = q if q.ndim == 2 else q[None, :]
        matches, given = self.fitted.n, None if allow is None else finders.filters(allow)
        if given is not None:
            if len(given[1]) not in (1, len(q)):
                return None
            matches = int(given[1].min(initial=matches))
            given = given if matches < self.fitted.n else None
        effort = self.index.effort(k, budget, matches)
        if effort is None:
            return None
        with faults():
            found = finders.run(self._pipeline, q, k, effort, given)
        if found is None:
            return None
        rows, scores, scored, rescored, ways = found
        names, texts = self._named
        return Hits(rows, scores, scored, self.fitted.metric, names, texts, rescored if self._rescorers else None,
                    ways if given is not None else None)  # fmt: skip

    def _compile(self) -> Any:
        f = self.fitted
        if f.zero_rows.size or f.origin is not None or f.as_given or f.metric == "hamming":
            return None
        if self.index.finder() is None:
            return None
        names = [f"rescore{i}" for i in range(len(self._rescorers))]
        if self._segment:  # these are not verified as they are touched
            self._verify(*self._searched, *(f"{name}.terms" for name in names))
        finer = [
            (s, self._finer(n), self.columns.get(f"{n}.terms"), self._checks(n)) for s, n in zip(self._rescorers, names)
        ]
        steps = list(zip(self.plan.rescores, finer))
        return compile_plan(self.index, self._scorer, f.maps, steps, f.d, unit=f.metric == "cosine")

    def _checks(self, name: str) -> Any:
        """Checksums by which native code checks the rows of a mapped column that it touches."""
        if self._segment is None or name in self.on_disk:
            return None
        return native_checks(self._segment, name)

    def _finer(self, name: str) -> Any:
        """The codes of a re-scoring step, wherever they are."""
        return self.on_disk.get(name, self.columns[name])

    def _vectors(self, queries: Any, encoder: Any, expand: Any, allow: NDArray[np.bool_] | None) -> Any:
        if isinstance(queries, str):
            queries = [queries]
        if isinstance(queries, (list, tuple)) and queries and all(isinstance(q, str) for q in queries):
            if expand is not None:
                made = self._text_encoder(encoder)

                def nearest(vector: F32, n: int) -> F32:
                    rows = self.search(vector, min(n, len(self)), allow=allow).rows[0]
                    return self.decode(rows[rows >= 0])

                return np.stack([expand.vector(text, made, nearest) for text in queries])
            return encode_texts(self._text_encoder(encoder), list(queries), queries=True)
        try:
            one = isinstance(queries, (list, np.ndarray)) and np.ndim(queries) == 1 and len(queries) > 0
        except ValueError:  # a ragged list, which as_queries refuses
            return queries
        return np.asanyarray(queries)[None, :] if one else queries

    def _text_encoder(self, encoder: Any) -> Any:
        name = self.fitted.encoder
        if encoder is not None:
            self._encoder = as_encoder(encoder)
        if self._encoder is None:
            if name is None:
                raise BadInput("this file records no encoder: search it with vectors, or pass encoder=")
            if name not in SAFE:
                raise BadInput(f"this file was encoded by {name!r}, which is not loaded by name: pass encoder=")
            self._encoder = as_encoder(name)
        space, own = self.fitted.space, getattr(self._encoder, "space", {})
        for key in ("model", "revision"):
            if key in space and key in own and space[key] != own[key]:
                raise Unsupported(f"the rows are in the space of {space[key]!r}, the encoder is {own[key]!r}")
        return self._encoder

    def _search_block(self, q: F32, k: int, budget: int | None, allow: NDArray[np.bool_] | None) -> Hits:
        mapped, bias = q, None
        for map_ in self.fitted.maps:
            extra = map_.query_bias(mapped)
            if extra is not None:
                bias = extra if bias is None else bias + extra
            mapped = map_.transform_queries(mapped)
        wanted = k
        for step in reversed(self.plan.rescores):
            wanted = max(wanted, step.depth * k)
        wanted = min(wanted, self.fitted.n)
        with faults():
            hits = self.index.search(self._scorer.prepare(mapped), wanted, budget=budget or 0, allow=allow)
        if not self.plan.rescores:
            if bias is not None:
                hits.scores += bias[:, None]
            return hits
        rows, scores = hits.rows, hits.scores
        counted = np.zeros(len(q), dtype=np.int64)
        for i, (step, scorer) in enumerate(zip(self.plan.rescores, self._rescorers)):
            later = [s.depth for s in self.plan.rescores[i + 1 :]]
            keep = min(max([k, *(depth * k for depth in later)]), self.fitted.n)
            name = f"rescore{i}"
            places = np.where(rows >= 0, self.index.places(rows), -1)
            self._verify_rows(name, places)
            prepared = scorer.prepare(q if step.of == "input" else mapped)
            counted += (rows >= 0).sum(axis=1)
            first = scores if step.of == "residual" else None
            if first is not None and prepared.folded is not None:
                prepared.folded.squares = None if prepared.metric != "l2" else np.zeros(len(q), np.float32)
            terms = self.columns.get(f"{name}.terms")
            rows, scores = rescore(prepared, scorer, self._finer(name), terms, rows, keep, first, places)
            if step.of != "input" and bias is not None:
                scores += bias[:, None]
        return Hits(rows, scores, hits.scored, rescored=counted)

    def _without(self, allow: NDArray[np.bool_] | None, zeros: I64) -> NDArray[np.bool_] | None:
        if not zeros.size:
            return allow
        admit = np.ones(self.fitted.n, dtype=np.bool_) if allow is None else allow.copy()
        admit[zeros] = False
        return admit

    # -- reading back ------------------------------------------------------------------------------

    def codes(self, rows: I64 | None = None) -> U8:
        """The codes of some rows (all where None), one row after another: ``uint8 [r, bytes]``."""
        self._verify("codes")
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
        if not f.as_given and self.index.orders:
            blocks = (x if (o := self.index.origins(x)) is None else x - o for x in blocks)
        return np.concatenate([np.zeros((0, f.codec.bytes_per_row), np.uint8), *map(f.codec.encode, blocks)])

    def decode(self, rows: I64 | None = None) -> F32:
        """The vectors as the codec gives them back, in the space after the Maps: ``float32 [r, width]``."""
        wanted = np.arange(self.span) if rows is None else self.numbers(rows)
        step = block_rows(self.dim)
        parts = [self.decoded(wanted[i : i + step]) for i in range(0, wanted.size, step)]
        whole = np.concatenate(parts) if parts else np.zeros((0, self.dim), np.float32)
        origin = self.fitted.origin
        return whole if origin is None or self.fitted.maps else whole + origin

    def decoded(self, rows: I64) -> F32:
        """Some rows as the codec gives them back, as the Maps gave them."""
        decoded = self.fitted.codec.decode(self.codes(rows))
        origins = self.index.origins_at(self._own, self.index.places(rows))
        return decoded if origins is None else decoded + origins

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one ``.nf`` file, whole or not at all."""
        from nearfield.search.file import save

        self.verify()
        if self._held is not None:
            self._held.settle()
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
        Numbers go on from ``span``. Nothing has changed where it raises. Searches in other threads must wait meanwhile.
        """
        return self._changes().add(self._rows_to_add(x, texts, encoder), ids, texts, on_zero=on_zero)

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
        return self._changes().add(self._rows_to_add(x, texts, encoder), ids, texts, on_zero=on_zero, replace=True)

    def delete(self, ids: Sequence[Any] | None = None, *, rows: Any = None) -> int:
        """Delete rows by id or number; those that are not there are passed over. Returns how many went.

        They are found no more, and keep their numbers until ``compact``.
        """
        return self._changes().delete(ids, rows)

    def consolidate(self) -> None:
        """Take deleted rows out of the index, and late ones in; done by itself when a tenth of the rows is gone."""
        self._changes().consolidate()

    def compact(self) -> I64:
        """Give the space of deleted rows back; returns the numbers ``[n]`` that the rows had before."""
        return self._changes().compact()

    def _changes(self) -> Held:
        if self._held is None:
            from nearfield.search.changing import Held

            self._held = Held(self)
        return self._held

    def _rows_to_add(self, x: Any, texts: Sequence[str] | None, encoder: Any) -> Any:
        if x is not None:
            return x
        if texts is None:
            raise BadInput("add: expected vectors, or texts for an encoder, got neither")
        return encode_texts(self._text_encoder(encoder), texts)

    # -- damage ------------------------------------------------------------------------------------

    def _verify(self, *names: str) -> None:
        if self._segment:
            for name in names:
                if name in self.columns:
                    self._segment.touch(name, 0, self.columns[name].nbytes)

    def _verify_rows(self, name: str, rows: I64) -> None:
        if self._segment:
            if name not in self.on_disk:
                self._segment.touch_rows(name, rows[rows >= 0], self.columns[name].shape[1])
            self._verify(f"{name}.terms")

    def verify_column(self, *names: str) -> None:
        """Check the bytes of columns that have not been touched yet."""
        self._verify(*names, *(f"{name}.terms" for name in names))

    def verify(self) -> None:
        """Check every byte of the file behind it; raises ``Corrupt`` naming the place."""
        if self._segment:
            self._segment.verify()
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


def _stack(found: list[Hits], k: int, n: int) -> Hits:
    if not found:
        return Hits(np.zeros((0, k), np.int64), np.zeros((0, k), np.float32), np.zeros(0, np.int64))
    if len(found) == 1:
        return found[0]
    rescored = [h.rescored for h in found if h.rescored is not None]
    return Hits(
        np.concatenate([h.rows for h in found]),
        np.concatenate([h.scores for h in found]),
        np.concatenate([h.scored for h in found]),
        rescored=np.concatenate(rescored) if rescored else None,
    )


def _merge_zeros(hits: Hits, zeros: I64, k: int) -> None:
    """Zero rows score 0 under cosine: merge them into results that left them out."""
    m = len(hits)
    extra = zeros[:k]
    rows = np.concatenate([hits.rows, np.broadcast_to(extra, (m, extra.size))], axis=1)
    scores = np.concatenate([hits.scores, np.zeros((m, extra.size), np.float32)], axis=1)
    order = np.lexsort((np.where(rows < 0, np.iinfo(np.int64).max, rows), -scores), axis=1)[:, :k]
    hits.rows = np.take_along_axis(rows, order, axis=1)
    hits.scores = np.take_along_axis(scores, order, axis=1)


def _blank_queries(hits: Hits, blank: NDArray[np.bool_], allow: NDArray[np.bool_] | None, n: int) -> None:
    """A zero query is as near to every row: all score 0, and rows come in their own order."""
    rows = np.arange(n) if allow is None else np.flatnonzero(allow)
    k = hits.rows.shape[1]
    for i in np.flatnonzero(blank):
        count = min(k, rows.size)
        hits.rows[i], hits.scores[i] = -1, -np.inf
        hits.rows[i, :count], hits.scores[i, :count] = rows[:count], 0
