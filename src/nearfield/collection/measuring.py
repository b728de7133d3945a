"""How good a Collection's answers are, and whether they still are: live recall, canary queries, drift."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.collection import searching
from nearfield.collection.fieldrows import FieldRows
from nearfield.collection.searching import Stop
from nearfield.collection.state import State
from nearfield.core.arrays import as_generator, to_f32, unit_rows
from nearfield.core.checks import real
from nearfield.core.errors import BadInput
from nearfield.core.protocols import F32
from nearfield.core.report import Report
from nearfield.search.queries import as_queries
from nearfield.store.catalog import Change
from nearfield.store.fields import Field
from nearfield.store.snapshot import Snapshot

QUERIES = 200
LEAST = 20  # rows on either side of a comparison
DRIFT_ROWS = 400
_SHUFFLES = 999


def recall(state: State, field: str | None, k: int, queries: Any, budget: int | None, rng: Any) -> Report:
    """Of the exact ``k`` best rows, the share that a search by the Plan finds, with a 95% interval."""
    snapshot = state.snapshot()
    name, number = searching.field_named(snapshot, field, "dense")
    spec = snapshot.fields[number]
    generator = as_generator(rng)
    q = _queries(snapshot, number, spec, queries, generator)
    if not len(q):
        raise BadInput("recall: expected rows to measure on, got none")
    exact = searching.make_scope(snapshot, None, Stop(None, None), exact=True)
    live = searching.make_scope(snapshot, None, Stop(None, None))
    truth, found = searching.rank_dense(exact, number, q, k), searching.rank_dense(live, number, q, k, budget)
    shares = np.array([_share(t, f) for t, f in zip(truth, found)])
    mean = float(shares.mean())
    error = 1.96 * float(shares.std(ddof=1)) / math.sqrt(len(shares)) if len(shares) > 1 else 1.0
    low = max(0.0, min(mean - error, _wilson(mean, len(shares) * k)))
    plan = snapshot.plans.get(str(number), {}).get("plan", "exact search")
    return Report(
        f"recall@{k}", mean, low, min(1.0, mean + error),
        reading=f"of the exact {k} best rows of {name!r}, {mean:.1%} are found by {plan} ({len(q)} queries)",
        details={"plan": plan, "queries": len(q), "rows": len(snapshot)},
    )  # fmt: skip


def _wilson(p: float, n: int) -> float:
    """The lower end of Wilson's interval: where every answer was right, the spread alone would say 1."""
    z = 1.96
    return (p + z * z / (2 * n) - z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))) / (1 + z * z / n)


def _share(truth: Any, found: Any) -> float:
    """Of the rows of one ranking, the share that is in another."""
    rows = truth[0]
    return float(np.isin(rows, found[0]).mean()) if len(rows) else 1.0


def _queries(snapshot: Snapshot, number: int, spec: Field, queries: Any, rng: np.random.Generator) -> NDArray[Any]:
    if queries is not None:
        return as_queries(queries, spec.nearness, spec.dim)
    rows = FieldRows(snapshot, number)
    n = rows.shape[0]
    at = np.sort(rng.choice(n, size=min(QUERIES, n), replace=False)).astype(np.int64)
    found = rows.take(at)
    if spec.nearness == "hamming":
        return found
    if spec.nearness == "cosine":
        x = to_f32(found)
        return unit_rows(x[np.abs(x).max(axis=1) > 0])
    return to_f32(found)


# ---- drift -----------------------------------------------------------------------------------------
def energy_test(old: F32, new: F32, rng: np.random.Generator, shuffles: int = _SHUFFLES) -> tuple[float, float]:
    """The energy distance of two samples and its p-value by permutation: exact at any size, whatever the rows are like.

    Source: Székely and Rizzo, Testing for equal distributions in high dimension, 2004.
    """
    x = np.concatenate([old, new]).astype(np.float64)
    squares = np.einsum("ij,ij->i", x, x)
    apart = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * (x @ x.T), 0))
    n, m = len(old), len(new)
    marks = np.zeros((shuffles + 1, n + m))
    marks[0, n:] = 1
    for i in range(1, shuffles + 1):
        marks[i, rng.permutation(n + m)[:m]] = 1
    within_new = np.einsum("ij,ij->i", marks @ apart, marks)
    rows = apart.sum(axis=1)
    across = marks @ rows - within_new
    within_old = rows.sum() - within_new - 2 * across
    energy = 2 * across / (n * m) - within_new / (m * m) - within_old / (n * n)
    p = (1 + int(np.count_nonzero(energy[1:] >= energy[0] - 1e-12))) / (shuffles + 1)
    return float(energy[0]), p


def drift(state: State, field: str | None, new: Any, alarm: float, rng: Any) -> Report:
    """Are the newest rows (or ``new`` vectors) like the older ones? An alarm is false with probability ``alarm``."""
    alarm = real("alarm", alarm, "a probability between 0 and 1", above=0, below=1)
    snapshot = state.snapshot()
    name, number = searching.field_named(snapshot, field, "dense")
    spec = snapshot.fields[number]
    generator = as_generator(rng)
    rows = FieldRows(snapshot, number)
    n = rows.shape[0]
    fresh = None if new is None else as_queries(new, spec.nearness, spec.dim)
    newest = 0 if fresh is not None else min(DRIFT_ROWS, n // 2)
    if min(n - newest, newest if fresh is None else len(fresh)) < LEAST:
        raise BadInput(f"watch: expected at least {LEAST} old and {LEAST} new rows to compare, got fewer")
    old = _ready(rows, np.sort(generator.choice(n - newest, min(DRIFT_ROWS, n - newest), replace=False)), spec)
    if fresh is None:
        fresh = _ready(rows, np.arange(n - newest, n, dtype=np.int64), spec)
    fresh = fresh[generator.permutation(len(fresh))[:DRIFT_ROWS]]
    energy, p = energy_test(old, fresh, generator)
    far = _farthest(old, fresh)
    return Report(
        "drift", energy,
        reading=f"new rows of {name!r} {'differ from' if p <= alarm else 'are like'} the old ones (p = {p:.3f})",
        advice="look at the rows in details['farthest']" if p <= alarm else "",
        details={
            "p": p, "alarm": bool(p <= alarm), "false_alarms": alarm, "old": len(old), "new": len(fresh),
            "farthest": far,
        },
    )  # fmt: skip


def _ready(rows: FieldRows, at: NDArray[np.int64], spec: Field) -> F32:
    if spec.nearness == "hamming":
        return np.unpackbits(rows.take(at), axis=1, bitorder="little").astype(np.float32)
    x = to_f32(rows.take(at))
    return unit_rows(x, on_zero="keep") if spec.nearness == "cosine" else x


def _farthest(old: F32, new: F32, most: int = 10) -> list[int]:
    """Which of the new rows lie farthest from their nearest old one: places among the new ones."""
    squares = np.einsum("ij,ij->i", old, old)[None, :] - 2 * (new @ old.T)
    return [int(i) for i in np.argsort(-squares.min(axis=1) - np.einsum("ij,ij->i", new, new))[:most]]


# ---- canaries --------------------------------------------------------------------------------------
def set_canaries(state: State, field: str | None, queries: Any, k: int) -> int:
    """Remember queries with the rows that they find exactly now; returns how many."""
    with state.writing() as snapshot:
        name, number = searching.field_named(snapshot, field, "dense")
        spec = snapshot.fields[number]
        q = _queries(snapshot, number, spec, queries, np.random.default_rng(0))
        scope = searching.make_scope(snapshot, None, Stop(None, None), exact=True)
        found = [_ids(snapshot, rows) for rows, _ in searching.rank_dense(scope, number, q, k)]
        record = {"field": name, "k": k, "queries": [[float(v) for v in row] for row in q], "ids": found}
        state.commit(Change(manifest={"canaries": record}))
    return len(q)


def _ids(snapshot: Snapshot, rows: Any) -> list[Any]:
    return [part.id(at) for part, at in (snapshot.place(int(row)) for row in rows)]


def canaries(state: State) -> Report | None:
    """The share of the rows that the canary queries found when they were set which they find now; None without any."""
    record = state.catalog.get("canaries", {})
    if not record:
        return None
    snapshot = state.snapshot()
    _, number = searching.field_named(snapshot, str(record["field"]), "dense")
    spec, k = snapshot.fields[number], int(record["k"])
    q = np.array(record["queries"], dtype=np.uint8 if spec.nearness == "hamming" else np.float32)
    scope = searching.make_scope(snapshot, None, Stop(None, None))
    shares = []
    for (rows, _), before in zip(searching.rank_dense(scope, number, q, k), record["ids"]):
        now = set(_ids(snapshot, rows))
        shares.append(sum(name in now for name in before) / max(1, len(before)))
    worst = int(np.argmin(shares))
    return Report(
        "canaries", float(np.mean(shares)), min(shares), max(shares),
        reading=f"of what {len(shares)} canary queries found when they were set, {np.mean(shares):.1%} is found now",
        details={"worst": worst, "shares": shares},
    )  # fmt: skip
