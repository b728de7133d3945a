"""The Collection: rows with ids, texts, metadata and vectors in one folder, durable and searched with filters.

Several encoders are several fields, whose rankings and that of the words are fused; a copy of the folder is a replica.

paper: Monir, Lau, Yang, Zhao, 2024, arXiv:2409.17383 (S060);
    Han, Liu, Wang, 2023, arXiv:2310.11703 (S138: storage, rows that change, copies; not its families of indexes)
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from nearfield.collection import reading, searches, upkeep, writing
from nearfield.collection.encoding import Encoding
from nearfield.collection.fieldrows import FieldRows
from nearfield.collection.intake import take_rows
from nearfield.collection.querylog import QueryLog
from nearfield.collection.results import Row, walk
from nearfield.collection.searching import field_named
from nearfield.collection.state import Frozen, Settings, State
from nearfield.collection.tending import Tending
from nearfield.collection.twins import Twins
from nearfield.core.checks import check_progress, whole
from nearfield.core.errors import BadInput, Unsupported
from nearfield.core.habits import answering
from nearfield.core.hits import HitList, HitLists
from nearfield.core.protocols import F32, Metric, Progress
from nearfield.core.report import Report
from nearfield.store.fields import Field, known_field

if TYPE_CHECKING:
    from nearfield.collection.recoding import Recoding

# What most processes never call is imported where it is called: opening a Collection takes half the time.


@answering
class Collection(Twins):
    """Rows in one folder; made by ``nearfield.open``.

    Every write is one commit: when a method returns, what it did is on the disk (under ``durability="full"``), and
    other processes see all of it or nothing. Threads may share a Collection.

    >>> import tempfile, numpy as np, nearfield as nf
    >>> c = nf.open(tempfile.mkdtemp() + "/notes", dim=2)
    >>> c.upsert(["a", "b"], np.eye(2), texts=["warm socks", "cold tea"], meta=[{"year": 2021}, {"year": 2024}])
    ['a', 'b']
    >>> c.search([1.0, 0.2], k=1).ids, c.search([1.0, 0.2], k=1, where="year > 2022").ids
    (['a'], ['b'])
    >>> c.close()
    """

    def __init__(self, state: State, settings: Settings, encoder: Any) -> None:
        self._state = state
        self._settings = settings
        self._encoding = Encoding(state, encoder)
        self._log = QueryLog(state, settings.keep_queries)
        self._tending = Tending(state)

    # -- what it is --------------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """The folder."""
        return self._state.folder

    @property
    def metric(self) -> Metric:
        """The metric of fields that name none of their own."""
        return self._settings.metric

    @property
    def fields(self) -> dict[str, Field]:
        """The vector fields by name."""
        snapshot = self._state.snapshot()
        return {name: snapshot.fields[number] for name, number in snapshot.names.items()}

    def __len__(self) -> int:
        return len(self._state.snapshot())

    def __contains__(self, name: Any) -> bool:
        return bool(self.get([name]))

    def __copy__(self) -> Self:
        """The same: whoever copies what holds a Collection shares its folder, locks and files."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __repr__(self) -> str:
        if self._state.closed:
            return f"<Collection {str(self.path)!r}: closed>"
        fields = ", ".join(f"{name}: {field}" for name, field in self.fields.items())
        return f"<Collection {str(self.path)!r}: {len(self):,} rows; {fields}>"

    def snapshot(self) -> Collection:
        """The rows as they are now, for several reads that must agree; what is written meanwhile is not seen.

        It only reads; until it is closed (``with c.snapshot() as s``) its files stay on the disk.
        """
        if self._state.closed:
            raise BadInput(f"{self.path}: this collection was closed; open it again")
        return Collection(Frozen(self._state), self._settings, self._encoding.given)

    def close(self) -> None:
        """Give locks and files back; nothing but the last logged queries is lost without it.

        Waits for upkeep that goes on in the background; an interrupt meanwhile ends that.
        """
        self._tending.wait()
        if not self._state.closed:
            self._log.flush()
        self._state.close()
        self._tending.tell()

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise Unsupported(
            f"{self.path}: an open collection holds files and locks, and is neither copied nor pickled; pass its path, "
            "and open it again there"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is not None:
            self._tending.stop()
        self.close()

    # -- writing -----------------------------------------------------------------------------------

    def upsert(
        self,
        ids: Any,
        x: Any = None,
        *,
        texts: Sequence[str | None] | None = None,
        meta: Sequence[Mapping[str, Any]] | None = None,
        field: str | None = None,
        encoder: Any = None,
        repeats: str = "raise",
        progress: Progress | None = None,
    ) -> list[Any]:
        """Write rows, in place of those of the same ids; returns the ids once all of it is durable.

        Parameters
        ----------
        ids: str or int, one a row, each once (``repeats="last"``: the last of equal ones wins). None: numbers behind
            all that are there, or random names (UUID) where the ids there are str; no row is replaced.
        x: vectors ``[n, dim]`` of the one dense field (or of ``field``), or ``{field: vectors}``; a list may hold None
            for rows without. Sparse fields take ``{term: weight}`` a row or CSR arrays, ragged ones a list of
            ``[t, dim]``. None: the Collection's encoder makes them from ``texts``.
        texts: a text a row, or None.
        meta: a dictionary a row: bool, int, float, str, datetime, lists of these, None, nested.
        encoder: what made ``x``, where it is known; another one than the field's is refused.

        Raises ``BadInput`` naming the rows for whatever is wrong with them, and then nothing is written; ``Locked``
        where another process writes for longer than the timeout, ``StorageFull`` where the disk is full.
        """
        return self._write(ids, x, texts, meta, field, encoder, repeats, progress, new_only=False)

    def add(
        self,
        ids: Any,
        x: Any = None,
        *,
        texts: Sequence[str | None] | None = None,
        meta: Sequence[Mapping[str, Any]] | None = None,
        field: str | None = None,
        encoder: Any = None,
        repeats: str = "raise",
        progress: Progress | None = None,
    ) -> list[Any]:
        """Write rows whose ids are new; ``Exists`` names those that are there. Otherwise as ``upsert``."""
        return self._write(ids, x, texts, meta, field, encoder, repeats, progress, new_only=True)

    def _write(
        self, ids: Any, x: Any, texts: Any, meta: Any, field: str | None, encoder: Any, repeats: str,
        progress: Progress | None, *, new_only: bool, since: int | None = None,
    ) -> list[Any]:  # fmt: skip
        check_progress(progress)
        if repeats not in ("raise", "last"):
            raise BadInput(f"repeats: expected 'raise' or 'last', got {repeats!r}")
        fields = self.fields
        vectors = self._by_field(x, field, fields)
        if x is None:
            vectors = self._encoding.of_texts(texts, fields, progress)
        elif encoder is not None:
            for name in vectors:
                self._encoding.check(name, fields[name], encoder)
        given = take_rows(ids, vectors, texts, meta, fields, on_zero=self._settings.on_zero, repeats=repeats)
        self._encoding.watch(given, fields)
        writing.write_rows(self._state, given, new_only=new_only, since=since)
        self._tending.after_write()
        return given.ids

    def _by_field(self, x: Any, field: str | None, fields: dict[str, Field]) -> dict[str, Any]:
        if isinstance(x, Mapping) and field is None and all(isinstance(k, str) for k in x):
            for name in x:
                known_field(name, fields)
            return dict(x)
        if x is None:
            return {}
        if field is None:
            if not fields:
                raise BadInput("vectors: this collection has no fields; add one, or leave the vectors out")
            if len(fields) > 1:
                raise BadInput(f"vectors: expected field= or {{field: vectors}}, one of {', '.join(fields)}")
            field = next(iter(fields))
        known_field(field, fields)
        return {field: x}

    def writer(self, *, new_only: bool) -> Callable[..., list[Any]]:
        """``upsert`` or ``add`` for the batches of one source, of which none replaces rows of another."""
        since = self._state.snapshot().head.next_row

        def write(ids: Any, x: Any, texts: Any, meta: Any, encoder: Any) -> list[Any]:
            return self._write(ids, x, texts, meta, None, encoder, "raise", None, new_only=new_only, since=since)

        return write

    def vectors_of_texts(self, texts: Sequence[str | None] | None) -> dict[str, Any]:
        """What ``upsert`` makes of texts that come without vectors, by field; None for those that are blank."""
        return self._encoding.of_texts(texts, self.fields, None)

    def check_encoder(self, name: str, field: Field, encoder: Any, *, note: bool = True) -> None:
        """Refuse an encoder that did not make the vectors of a field; where none is recorded, record it if ``note``."""
        self._encoding.check(name, field, encoder, note=note)

    def load(
        self,
        source: Any,
        *,
        id: str | None = None,
        text: str | Sequence[str] | None = None,
        vector: str | Sequence[str] | None = None,
        meta: Sequence[str] | None = None,
        new_only: bool = False,
        encoder: Any = None,
        rows: int = 10_000,
        progress: Progress | None = None,
    ) -> int:
        """Write the rows of a file, a frame or a data set, ``rows`` of them a commit; returns how many.

        ``source``: a path (JSON lines, CSV, Parquet, Arrow, a BEIR folder, any format of vectors), a pandas or polars
        frame, an Arrow table, or a ``datasets.Dataset``. Columns are found by name and type, or named by ``id``,
        ``text``, ``vector`` and ``meta``; what is none of these is metadata.

        An id that comes twice is refused. Rows without ids are numbered behind those that are there (a second load of
        them appends); the ids of a pandas frame may be its index. Where no row has a vector, titles and texts are
        encoded; where some have, a row without one stays without.
        """
        from nearfield.collection import exchange

        check_progress(progress)
        names = {"id": id, "text": text, "vector": vector, "meta": meta}
        batches = exchange.batches_of(source, whole("rows", rows, 1), **names)
        return exchange.load(self, batches, new_only=new_only, encoder=encoder, progress=progress).rows

    def update(
        self,
        ids: Any = None,
        *,
        where: Any = None,
        meta: Any = None,
        texts: Sequence[str | None] | None = None,
        x: Any = None,
        field: str | None = None,
        replace: bool = False,
    ) -> int:
        """Change rows that are there, by id or by filter; returns how many.

        ``meta`` (one dictionary for all, or one a row) is merged into theirs, None taking a key away; with
        ``replace=True`` it takes its place. Texts and vectors that are given replace the old ones; others stay. Ids
        that are not there are passed over. Where a text changes, the recorded encoder makes its vector anew; without
        one, ``BadInput`` asks for ``x``.
        """
        from nearfield.collection import updating

        fields = self.fields
        vectors = self._by_field(x, field, fields)
        renewal = None if texts is None else self._encoding.renewal(fields, vectors)
        update = updating.Update(ids, self._filter(where, changes=True), meta, texts, vectors, replace, renewal)
        count = updating.update_rows(self._state, fields, self._settings.on_zero, update)
        self._tending.after_write()
        return count

    def delete(self, ids: Any = None, *, where: Any = None) -> int:
        """Delete rows by id or by filter; returns how many. Readers see it at once; ``compact`` frees the space.

        Every row is deleted by ``where="true"``; a filter without a condition is refused.
        """
        if (ids is None) == (where is None):
            raise BadInput("delete: expected either ids or where=, and not both")
        count = writing.delete_rows(self._state, ids, self._filter(where, changes=True))
        self._tending.after_write()
        return count

    # -- reading -----------------------------------------------------------------------------------

    def _filter(self, where: Any, *, changes: bool = False) -> Any:
        """A filter as it is kept, under one rule for every verb; see ``reading.sound_filter``."""
        return None if where is None else reading.sound_filter(self._state.snapshot(), where, changes=changes)

    def get(self, ids: Any = None, *, where: Any = None, limit: int | None = None, offset: int = 0) -> list[Row]:
        """Rows by id, in the order asked, without those that are not there; or by filter, in the order of writing."""
        return reading.get(self._state.snapshot(), ids, self._filter(where), limit, offset)

    def count(self, where: Any = None) -> int:
        """How many rows there are, or how many a filter lets through."""
        return reading.count(self._state.snapshot(), self._filter(where))

    def ids(self, where: Any = None) -> list[Any]:
        """The ids of all rows, or of those that a filter lets through, in the order of writing."""
        return reading.ids(self._state.snapshot(), self._filter(where))

    def __iter__(self) -> Iterator[Row]:
        return walk(self._state.snapshot())

    def scroll(self, *, where: Any = None, batch: int = 1000, after: int | None = None) -> Iterator[list[Row]]:
        """All rows, ``batch`` at a time, as they are now: rows that arrive meanwhile do not disturb it.

        ``after`` is the ``row`` number of the last row that was seen, to go on from there another time.
        """
        return reading.scroll(self._state.snapshot(), self._filter(where), batch, after)

    def export(
        self,
        target: Any = "arrow",
        *,
        where: Any = None,
        vectors: bool = True,
        overwrite: bool = False,
        guard: bool = True,
        progress: Progress | None = None,
    ) -> Any:
        """Give rows as ``"arrow"``, ``"pandas"``, ``"polars"`` or ``"dataset"`` (Hugging Face), or write a file.

        A file is named by its path (.jsonl, .csv, .parquet, .arrow); then the number of rows comes back. What is
        exported is one state of the rows, and ``load`` takes it back as it was. A file that is there is replaced only
        with ``overwrite=True``; a link, or a place in a collection's folder, is refused. In CSV, text that a
        spreadsheet would run as a formula gets an apostrophe before it, unless ``guard=False``.
        """
        from nearfield.collection import exchange

        how = {"vectors": vectors, "overwrite": overwrite, "guard": guard}
        check_progress(progress)
        return exchange.export(self, target, self._filter(where), progress=progress, **how)

    def facets(self, key: str, *, where: Any = None, k: int | None = None) -> list[tuple[Any, int]]:
        """Each value of a metadata key with the number of rows that have it, most first."""
        return reading.facets(self._state.snapshot(), key, self._filter(where), k)

    def unique(self, key: str, *, where: Any = None) -> list[Any]:
        """The different values of a metadata key, in their order."""
        return reading.unique(self._state.snapshot(), key, self._filter(where))

    def bounds(self, key: str, *, where: Any = None) -> tuple[Any, Any] | None:
        """The smallest and the largest value of a metadata key, None where no row has one."""
        return reading.bounds(self._state.snapshot(), key, self._filter(where))

    def keys(self) -> dict[str, list[str]]:
        """The metadata keys, dotted where nested, with the types of their values."""
        return reading.keys(self._state.snapshot())

    def search(
        self,
        q: Any = None,
        k: int | None = 10,
        *,
        text: str | None = None,
        vector: Any = None,
        id: Any = None,
        where: Any = None,
        field: str | None = None,
        fuse: Any = None,
        weights: Sequence[float] | None = None,
        depth: int | None = None,
        budget: int | None = None,
        min_score: float | None = None,
        group_by: str | None = None,
        diversity: float | None = None,
        expand: Any = None,
        offset: int = 0,
        on_zero: str = "raise",
        exact: bool = False,
        explain: bool = False,
        timeout: float | None = None,
        cancel: threading.Event | None = None,
    ) -> HitList | HitLists:
        """The ``k`` best rows: always ``min(k, matches)``, of those that ``where`` lets through.

        What cannot be scored is no match: a row without a vector in the field that is searched, a row without one of
        the words of a ``text``. A fused search finds what one of its rankings does.

        Parameters
        ----------
        q: a vector ``[dim]``; vectors ``[m, dim]`` (then a list of hits for each comes back); a text, which the encoder
            makes a vector of, or which is searched for its words where there is no encoder; or ``{field: query}``.
        text: words to rank by BM25; with a vector, or an encoder, both rankings are fused (hybrid).
        vector: the same as ``q``. id: search with the vector of this row, which is not found itself.
        fuse: how rankings are fused: the name of a fuser (``rrf``, ``weighted``, ``combsum`` ...; default rrf, or
            weighted where there are ``weights``, one a ranking of at least 0). depth: how many rows of each.
        budget: how many rows an index may score for a query.
        min_score: only rows that score at least so much; with ``k=None`` all of them (a range search).
        group_by: a metadata key; of each value only the best row is found.
        diversity: from 0 to 1, how much results should differ from one another (maximal marginal relevance).
        expand: makes the vector of a text from more than the text: ``nearfield.HyDE(...)``.
        exact: search the vectors themselves, not by a Plan. offset: leave out so many of the best.
        timeout: seconds; ``cancel``: an event that stops the search.
        explain: tell in ``.explain`` which way was taken.
        """
        request = searches.Request(
            k=k, text=text, id=id, where=self._filter(where), field=field, fuse=fuse, weights=weights, depth=depth,
            budget=budget, min_score=min_score, group_by=group_by, diversity=diversity, offset=offset, on_zero=on_zero,
            exact=exact, explain=explain, timeout=timeout, cancel=cancel,
            expand=expand,
        )  # fmt: skip
        given = q if vector is None else vector
        if q is not None and vector is not None:
            raise BadInput("search: expected q or vector=, and not both")
        return searches.run(self._state, self._settings, self._encoding, self._log, given, request)

    # -- upkeep ------------------------------------------------------------------------------------

    def recode(
        self,
        plan: Any,
        *,
        field: str | None = None,
        originals: str = "keep",
        queries: Any = None,
        rng: int = 0,
        background: bool = False,
        progress: Progress | None = None,
    ) -> Recoding | None:
        """Encode every row under a Plan and search by its codes; reads and writes go on, the old way until the swap.

        The Plan is fitted on a sample. ``originals``: ``"keep"`` them beside the codes, keep them as ``"float16"``,
        or ``"drop"`` them (then vectors come back as the codes give them). A recode that was stopped or killed goes on
        from there when it is called again. ``background=True`` returns at once a handle: ``done``, ``wait``, ``stop``.
        """
        from nearfield.collection import recoding

        _, number = field_named(self._state.snapshot(), field, "dense")
        check_progress(progress)
        how = {"originals": originals, "queries": queries, "rng": rng, "progress": progress}
        self._tending.stop()
        if not background:
            recoding.recode(self._state, number, plan, **how)
            return None
        return recoding.Recoding(lambda stopped: recoding.recode(self._state, number, plan, **how, stopped=stopped))

    @property
    def plans(self) -> dict[str, str]:
        """The Plan of each field that has one."""
        snapshot = self._state.snapshot()
        return {
            name: str(snapshot.plans[str(n)]["plan"]) for name, n in snapshot.names.items() if str(n) in snapshot.plans
        }

    def queries(self, field: str | None = None) -> F32:
        """The last queries of a field, float32 ``[m, dim]``, where they are kept (``open(keep_queries=)``)."""
        snapshot = self._state.snapshot()
        name, number = field_named(snapshot, field, "dense")
        return self._log.queries(name, snapshot.fields[number].dim)

    def vectors(self, field: str | None = None) -> FieldRows:
        """The vectors of a dense field of all rows, as a source of blocks: what ``advise`` and ``Plan.fit`` take."""
        snapshot = self._state.snapshot()
        return FieldRows(snapshot, field_named(snapshot, field, "dense")[1])

    def recall(
        self, k: int = 10, *, field: str | None = None, queries: Any = None, budget: int | None = None, rng: Any = 0
    ) -> Report:
        """Live recall against exact search, with an interval; of ``queries``, else of 200 rows that are there."""
        from nearfield.collection import measuring

        return measuring.recall(self._state, field, whole("k", k, 1), queries, budget, rng)

    def watch(
        self, *, field: str | None = None, new: Any = None, alarm: float = 0.01, rng: Any = 0
    ) -> dict[str, Report]:
        """Recall, canary queries, and whether the newest rows (or the vectors ``new``) are like the older ones.

        The test of drift (energy distance, by permutation) raises a false alarm with probability ``alarm``; it is left
        out where there are fewer than 40 rows.
        """
        from nearfield.collection import measuring

        out = {"recall": self.recall(field=field, rng=rng)}
        canaries = measuring.canaries(self._state)
        if canaries is not None:
            out["canaries"] = canaries
        if new is not None or len(self) >= 2 * measuring.LEAST:
            out["drift"] = measuring.drift(self._state, field, new, alarm, rng)
        return out

    def set_canaries(self, queries: Any = None, k: int = 10, *, field: str | None = None) -> int:
        """Remember queries (200 rows where None) with what they find exactly now, for ``watch``; returns how many."""
        from nearfield.collection import measuring

        return measuring.set_canaries(self._state, field, queries, whole("k", k, 1))

    def add_field(self, name: str, field: Field) -> None:
        """Add a vector field; rows get vectors in it by ``update`` or ``upsert``."""
        from nearfield.collection import changing

        changing.add_field(self._state, self._settings, name, field)

    def drop_field(self, name: str) -> None:
        """Drop a vector field with all its vectors; ``compact`` gives their space back."""
        from nearfield.collection import changing

        changing.drop_field(self._state, name)

    def info(self) -> dict[str, Any]:
        """Rows, bytes (live and dead), segments, fields, Plans, metadata keys, versions."""
        from nearfield.collection import health

        return health.info(self._state)

    def check(self, progress: Progress | None = None) -> list[str]:
        """Read every byte; returns a line for each thing that is wrong: none where all is sound."""
        from nearfield.collection import health

        check_progress(progress)
        return health.check(self._state, progress)

    def backup(self, target: Any, progress: Progress | None = None) -> None:
        """Write a consistent copy into a new folder, while others read and write."""
        from nearfield.collection import health

        if not isinstance(target, (str, os.PathLike)):
            raise BadInput(f"backup: expected the path of a new folder, got {type(target).__name__}")
        check_progress(progress)
        self._tending.stop()
        health.backup(self._state, target, progress)

    def compact(self, *, purge: bool = False, progress: Progress | None = None) -> None:
        """Merge segments, drop what was deleted, give the space back; ``purge`` leaves no trace of it on the disk."""
        check_progress(progress)
        self._tending.stop()
        upkeep.compact(self._state, purge=purge, progress=progress)
