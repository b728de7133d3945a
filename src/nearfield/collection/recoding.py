"""Puts a field under a Plan: fitted on a sample, every segment encoded aside, then one commit swaps it in."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from nearfield.collection import coded
from nearfield.collection.fieldrows import FieldRows
from nearfield.collection.plans import Coded, dropped, plan_file
from nearfield.collection.state import State
from nearfield.collection.upkeep import give_back
from nearfield.collection.writing import discard, entries, seal
from nearfield.core.errors import BadInput, Unsupported
from nearfield.core.protocols import I64, Progress
from nearfield.search.apart import fit_apart
from nearfield.search.plan import Plan
from nearfield.store.catalog import Change
from nearfield.store.ids import IdKind
from nearfield.store.parts import Entry, Part, SegmentPart, write_part
from nearfield.store.snapshot import Snapshot

ORIGINALS = ("keep", "float16", "drop")


def recode(
    state: State, number: int, plan: Any, *, originals: str, queries: Any, rng: int, progress: Progress | None,
    stopped: Callable[[], bool] = lambda: False,
) -> None:  # fmt: skip
    """Encode every row of a field under a Plan and search by that; goes on where an earlier call was stopped."""
    made = Plan(plan) if isinstance(plan, str) else plan
    if not isinstance(made, Plan):
        raise BadInput(f"recode: expected a Plan or its text, got {type(plan).__name__}")
    if originals not in ORIGINALS:
        raise BadInput(f"originals: expected one of {', '.join(ORIGINALS)}, got {originals!r}")
    with state.work.held(state.timeout):
        with state.writing() as snapshot:
            _check(snapshot, number, originals)
            seal(state, snapshot)
        file = _fitted(state, number, made, originals, queries, rng)
        done, total = 0, len(state.snapshot())
        for view in state.snapshot().segments:
            if stopped():
                return
            if isinstance(view.part, SegmentPart):
                coded.encode_part(view.part, number, file)
            done += view.count
            if progress:
                progress("recode", done, total)
        _swap(state, number, str(made), file, originals)
        give_back(state)


def _check(snapshot: Snapshot, number: int, originals: str) -> None:
    field = snapshot.fields[number]
    if field.kind != "dense":
        raise Unsupported(f"recode: expected a dense field, got {field.kind}")
    known = Coded.of(snapshot, number)
    if known is not None and known.keep is None:
        raise Unsupported("recode: the originals of this field were dropped; its vectors must be written again")
    if originals == "float16" and field.dtype not in ("float32", "float16"):
        raise Unsupported(f"recode: originals='float16' expects a field of float32, got {field.dtype}")


def _fitted(state: State, number: int, plan: Plan, originals: str, queries: Any, rng: int) -> str:
    """The file of the fitted Plan: that of a job that was stopped, or a new one."""
    snapshot = state.snapshot()
    job = {"field": number, "plan": str(plan), "originals": originals}
    known = state.catalog.get("recoding", {})
    if {k: known.get(k) for k in job} == job and plan_file(state.folder, known["file"]).exists():
        return str(known["file"])
    rows = FieldRows(snapshot, number)
    if not rows.shape[0]:
        raise BadInput("recode: expected rows with vectors to fit the plan on, got none")
    fitted = fit_apart(plan, rows, metric=snapshot.fields[number].nearness, queries=queries, rng=rng, on_zero="keep")
    with state.catalog.telling():
        file = coded.new_plan(state.place, fitted)
    with state.writing():
        state.commit(Change(manifest={"recoding": {**job, "file": file}}))
    return file


def _swap(state: State, number: int, plan: str, file: str, originals: str) -> None:
    with state.writing() as snapshot:
        seal(state, snapshot)
        now = state.snapshot()
        field = now.fields[number]
        keep = None if originals == "drop" else "float16" if originals == "float16" else field.dtype
        old = entries(now)
        made: list[Entry] = []
        for view in now.segments:
            if isinstance(view.part, SegmentPart):
                coded.encode_part(view.part, number, file)
        try:
            segments = old
            if keep != field.dtype:
                made = _rewritten(state, now, number, file, keep)
                segments = made
            plans = {**now.plans, str(number): {"plan": plan, "file": file, "keep": keep}}
            fields = state.catalog.get("fields", {})
            if keep is not None and keep != field.dtype:
                fields[str(number)]["field"] = replace(field, dtype=keep).record()
            manifest = {
                "plans": plans, "fields": fields, "recoding": {}, "segments": [asdict(e) for e in segments]
            }  # fmt: skip
            state.commit(Change(manifest=manifest, new_generation=True), unlink=tuple(old) if made else ())
        except BaseException:
            discard(state, made)
            raise


def _rewritten(state: State, now: Snapshot, number: int, file: str, keep: str | None) -> list[Entry]:
    """Every segment anew, with the originals of a field narrower or gone."""
    kind: IdKind = "int" if now.head.ids == "int" else "str"
    fields = dict(now.fields)
    if keep is not None:
        fields[number] = replace(fields[number], dtype=keep)
    gone = dropped(now) | ({number} if keep is None else set())
    made = []
    for view in now.segments:
        if view.count:
            sources: list[tuple[Part, I64]] = [(view.part, view.positions())]
            entry = write_part(state.place, sources, fields, kind, gone)
            coded.write_codes(state.place, now, entry, sources)
            coded.write_codes_of(state.place, number, file, entry, sources)
            made.append(entry)
    return made


class Recoding:
    """A recode that goes on in the background: ``done``, ``wait()``, ``stop()``; an error is raised by ``wait``."""

    def __init__(self, run: Callable[[Callable[[], bool]], None]) -> None:
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(run,), name="nearfield-recode", daemon=True)
        self._thread.start()

    def _run(self, run: Callable[[Callable[[], bool]], None]) -> None:
        try:
            run(self._stop.is_set)
        except BaseException as error:
            self._error = error

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return not self._thread.is_alive()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for its end; returns whether it has come."""
        self._thread.join(timeout)
        if self._error is not None:
            raise self._error
        return self.done

    def stop(self) -> None:
        """Stop after the segment that is being encoded; the same recode goes on from there another time."""
        self._stop.set()
        self._thread.join()
